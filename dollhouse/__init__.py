"""The laboratory of the small bundle: rooms that the project draws itself, networks trained on them, and their measure.

    python -m dollhouse             trains everything and publishes a release: see ``--help``
    python -m dollhouse.evaluate    measures a release on held-out rooms

Imports go one way: evaluate → train → metrics → data → render.
"""

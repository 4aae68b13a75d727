"""How a photo of a room is restyled, or analysed: everything that the models `restyle` and `analyse` do.

``pipeline`` strings the ``stages`` together; ``analysis`` runs the first of them alone. ``pictures`` holds what is
computed on pixels. ``serving`` and ``triton_io`` speak with Triton.

A package, and not files beside model.py, so that import-linter can hold its arrows (pyproject.toml).
"""

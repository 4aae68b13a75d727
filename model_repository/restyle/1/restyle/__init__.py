"""How a photo of a room is restyled, or analysed: everything that the models `restyle` and `analyse` do.

``pipeline`` strings the ``stages`` together; ``pictures`` holds what is computed on pixels. Only ``triton_io`` touches
Triton. A package, and not files beside model.py, so that import-linter can hold its arrows (pyproject.toml).
"""

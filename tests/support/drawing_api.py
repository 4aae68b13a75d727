"""The API's own program, with a model in the place of Triton that sees the same in every photo:
``python drawing_api.py``, settings as usual. :mod:`tests.support.drawing_worker` does its jobs."""

from __future__ import annotations

from orchestrator import app
from tests.support.drawing_worker import drawing

if __name__ == "__main__":
    app.__dict__["open_adapters"] = drawing
    app.main()

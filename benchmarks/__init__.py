"""Benchmarks: one script a question. Each prints a table and writes JSON to benchmarks/results/.

    python -m benchmarks.dollhouse         does a bundle restyle rooms well, quickly and in little memory?
    python -m benchmarks.gallery           what does that look like? (pictures for docs/gallery)
    python -m benchmarks.room_confidence   is the room type right where `restyle` says that it is sure?
    python -m benchmarks.judge             makes judge.safetensors, the classifier of styles that judges results

They may import every island, and only tests import them. ``gates.toml`` holds the least that figures must reach.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

# The code of `restyle` itself is measured, and its files import each other by bare names.
sys.path.append(str(ROOT / "model_repository" / "restyle" / "1"))

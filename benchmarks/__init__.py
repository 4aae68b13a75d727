"""Benchmarks: one script a question. Each prints a table and writes JSON to benchmarks/results/.

    python -m dollhouse.evaluate         does a bundle restyle rooms well, quickly and in little memory?
    python -m dollhouse.evaluate.finishing         what does finishing at the photo's size gain, and how long does it take?
    python -m dollhouse.evaluate.room_confidence   is the room type right where `restyle` says that it is sure?
    python -m benchmarks.end_to_end        how long does a restyle take, against diffusers in torch?
    python -m benchmarks.overhead          how much of that lies outside the denoiser, or in no model at all?
    python -m benchmarks.batching          what do several jobs at once gain?
    python -m benchmarks.perf              perf_analyzer on every model; also writes its input files for people
    python -m benchmarks.stubs             what do jobs notice when the processes of Python models are killed?
    python -m benchmarks.attack            do honest people wait when somebody attacks the API?
    python -m dollhouse.evaluate.gallery           what does that look like? (pictures for docs/gallery)
    python -m dollhouse.evaluate.style_classifier             makes judge.safetensors, the classifier of styles that judges results

``make bench`` runs those of speed, from end_to_end to perf. They may import every island, and only tests import them.
``gates.toml`` holds the least that figures of the first must reach; the goals of speed stand in their scripts.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

# The code of `restyle` itself is measured, and its files import each other by bare names.
sys.path.append(str(ROOT / "model_repository" / "restyle" / "1"))

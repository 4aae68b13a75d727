"""A release served by a real Triton, for measurements: dollhouse/evaluate (quality) and benchmarks (speed)."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# The package `restyle` is measured too; it lies in the folder of the model's version, from which Triton imports it.
sys.path.append(str(ROOT / "model_repository" / "restyle" / "1"))

"""A release served by a real Triton, for those who measure it: dollhouse/evaluate (quality) and benchmarks (speed)."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# The code of `restyle` itself is measured, and its files import each other by bare names.
sys.path.append(str(ROOT / "model_repository" / "restyle" / "1"))

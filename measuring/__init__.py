"""What measurements of quality (dollhouse/evaluate) and of speed (benchmarks) share: a release that a real Triton serves."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# The code of `restyle` itself is measured, and its files import each other by bare names.
sys.path.append(str(ROOT / "model_repository" / "restyle" / "1"))

"""Code that Triton runs imports the standard library and the serving environment's packages, nothing of ours.

The arrows between our packages are import-linter contracts in pyproject.toml.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVING = {"cv2", "numpy", "onnxruntime", "tokenizers", "triton_python_backend_utils"}
PACKAGE = "restyle"
"""In model_repository/restyle/1, where its model.py finds it."""
SERVED = sorted([*ROOT.glob("model_repository/**/*.py"), *ROOT.glob("stack/backends/**/*.py")])


def imported(file: Path) -> set[str]:
    """Top-level names of everything that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
    return names


def siblings(file: Path) -> set[str]:
    """Modules beside a file and in its model's folder: Triton puts both on sys.path."""
    return {path.stem for folder in (file.parent, file.parent.parent) for path in folder.glob("*.py")}


def test_there_is_something_to_check() -> None:
    assert len(SERVED) >= 2


@pytest.mark.parametrize("file", SERVED, ids=lambda file: str(file.relative_to(ROOT)))
def test_served_code_imports_only_what_the_serving_environment_has(file: Path) -> None:
    assert imported(file) <= SERVING | set(sys.stdlib_module_names) | siblings(file) | {PACKAGE}


def test_the_guard_needs_only_the_standard_library() -> None:
    assert imported(ROOT / "stack/guard.py") <= set(sys.stdlib_module_names)


def test_backend_folders_are_not_packages() -> None:
    backends = ROOT / "stack/backends"
    assert not list(backends.glob("**/__init__.py")), (
        "Triton puts backends/ on sys.path: it would hide the library"
    )

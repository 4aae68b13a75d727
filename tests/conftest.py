"""Fixtures that several folders share: real servers, started once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.embedded.triton import TritonServer

ROOT = Path(__file__).resolve().parents[1]
RELEASE = ROOT / "releases" / "tiny"


@pytest.fixture(scope="session")
def triton() -> Iterator[TritonServer]:
    """A real Triton with the whole model repository of the bundle `tiny`."""
    with TritonServer([ROOT / "model_repository", RELEASE / "models"], release=RELEASE) as server:
        yield server

"""Fixtures that several folders share: real servers, started once a session."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from measuring.s3_server import S3Server, running_s3
from stack.triton import TritonServer
from tests.support.servers import free_port

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before anything imports torch. These processes share the cores, and threads that wait for each other spin.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]
RELEASE = ROOT / "releases" / "tiny"


def pytest_configure(config: pytest.Config) -> None:
    """Give children the defaults of signals that whoever started pytest ignores, as in ``nohup make test &``.

    An ignored signal stays ignored in every program that is started, a handled one does not; pytest itself goes on
    ignoring them.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """For modules whose tensors are so small that threads only wait for each other."""
    # Most of the tests need no torch, which takes seconds to import.
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def triton() -> Iterator[TritonServer]:
    """A real Triton with the whole model repository of the bundle `tiny`."""
    with TritonServer([ROOT / "model_repository", RELEASE / "models"], release=RELEASE) as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server."""
    with running_s3(tmp_path_factory.mktemp("s3"), free_port()) as server:
        yield server

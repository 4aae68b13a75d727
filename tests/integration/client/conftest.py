"""Fixtures of the client's tests: a service with faults on order, and either shell of the client connected to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import reroom
from tests.support.client_service import QUICK, Driven, Service, running


@pytest.fixture(scope="module")
def served() -> Iterator[Service]:
    with running() as service:
        yield service


@pytest.fixture
def service(served: Service) -> Iterator[Service]:
    served.reset()
    yield served
    served.loop.call_soon_threadsafe(served.relay.cut)


@pytest.fixture(params=[reroom.Client, Driven])
def client(request: pytest.FixtureRequest, service: Service) -> Iterator[Any]:
    client = request.param(service.url, timeout=2.0, retry=QUICK)
    yield client
    client.close()

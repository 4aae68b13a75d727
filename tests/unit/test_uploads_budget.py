from __future__ import annotations

import pytest

from orchestrator.api.middleware.clients import Clients
from orchestrator.api.requests.budget import UploadBudget
from orchestrator.api.requests.forms import FORM_OVERHEAD
from orchestrator.api.responses.errors import Problem
from orchestrator.app import UPLOADS_AT_ONCE, upload_budget
from orchestrator.settings import Settings

ONE, OTHER = "192.0.2.1", "192.0.2.2"


def budget(limit: int = 10, share: int = 6) -> UploadBudget:
    return UploadBudget(limit, share)


def test_uploads_share_the_budget_and_give_it_back() -> None:
    shared = budget()
    with shared.hold(ONE) as first:
        first(6)
        with shared.hold(OTHER) as second:
            second(4)
            with pytest.raises(Problem) as caught:
                second(1)
        assert (caught.value.status, caught.value.code) == (503, "unavailable")
    with shared.hold(None) as third:
        third(10)


def test_one_client_holds_its_share_at_most_in_all_its_requests() -> None:
    shared = budget()
    with shared.hold(ONE) as first, shared.hold(ONE) as second:
        first(5)
        with pytest.raises(Problem) as caught:
            second(2)
        assert (caught.value.status, caught.value.code) == (429, "too_many_uploads")
        assert int((caught.value.headers or {})["Retry-After"]) > 0
        with shared.hold(OTHER) as third:
            third(5)
    with shared.hold(ONE) as fourth:
        fourth(6)


@pytest.mark.parametrize("processes", [1, 2, UPLOADS_AT_ONCE, 64])
def test_several_processes_share_what_one_would_hold(processes: int) -> None:
    settings = Settings.model_validate({"signing_key": "a key of some length", "api_processes": processes})
    largest = settings.max_upload_bytes + FORM_OVERHEAD

    def held(client: str | None) -> int:
        """In pieces, as uploads come."""
        piece, count = 64 * 1024, 0
        with upload_budget(settings).hold(client) as count_bytes:
            while True:
                try:
                    count_bytes(piece)
                except Problem:
                    return count
                count += piece

    assert held(ONE) >= largest - 64 * 1024, "or a client could not send the largest upload"
    together = held(None)
    assert processes * together <= max(UPLOADS_AT_ONCE * settings.max_upload_bytes, processes * largest)


@pytest.mark.parametrize(
    ("address", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),  # of one household
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("not an address", "another", False),
    ],
)
def test_which_addresses_are_one_client(address: str, other: str, same: bool) -> None:
    clients = Clients([])
    assert (clients.asking(address) == clients.asking(other)) == same


def test_networks_of_proxies_are_trusted() -> None:
    clients = Clients(["10.0.0.0/8", "::1"])
    for proxy in ("10.1.2.3", "::1", "::ffff:10.1.2.3"):
        assert clients.asking(proxy) is clients.connected(proxy) is None
    everyone = Clients(["*"])
    assert everyone.connected("192.0.2.1") is None
    assert everyone.asking("192.0.2.1") == "192.0.2.1", "named by whoever is trusted"

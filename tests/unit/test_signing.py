from __future__ import annotations

from collections import Counter
from urllib.parse import parse_qs, urlsplit

import pytest

from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.ports import BadSignature, LinkExpired
from tests.support.clock import Clock

KEY = "results/j/1/transformed.jpg"
OTHER_HEX = "0" * 64


def parts(url: str) -> tuple[str, str, str]:
    split = urlsplit(url)
    query = parse_qs(split.query)
    return split.path.removeprefix("/files/"), query["expires"][0], query["signature"][0]


@pytest.mark.parametrize("lifetime", [1, 60, 61, 3600])
def test_a_url_holds_for_half_of_its_life_at_least(lifetime: int) -> None:
    clock = Clock(1_000_000.5)
    signer = UrlSigner(b"secret" * 4, "https://rooms.example", clock)
    url = signer.url(KEY, lifetime)
    assert url.startswith(f"https://rooms.example/files/{KEY}?")
    clock.now += max(0, lifetime / 2 - 1)
    signer.verify(*parts(url))
    clock.now += lifetime / 2 + 1
    with pytest.raises(LinkExpired):
        signer.verify(*parts(url))


def test_a_url_stays_the_same_for_half_of_its_life() -> None:
    clock, seen = Clock(1_000_000.5), Counter[str]()
    signer, elsewhere = [UrlSigner(b"secret" * 4, "https://rooms.example", clock) for _ in range(2)]
    for _ in range(3600):
        url = signer.url(KEY, 600)
        seen[url] += 1
        assert elsewhere.url(KEY, 600) == url, "another process makes another link"
        clock.now += 1
    assert len(seen) == 13
    assert set(list(seen.values())[1:-1]) == {300}


def test_not_all_urls_change_at_once() -> None:
    signer = UrlSigner(b"secret" * 4, "", Clock(1_000_000.5))
    ends = {parts(signer.url(f"results/{n}/1/a.jpg", 3600))[1] for n in range(100)}
    assert len(ends) > 50


@pytest.mark.parametrize(
    "change", ["key", "expires", "signature", "secret", "empty", "not ascii", "surrogate"]
)
def test_anything_changed_is_refused(change: str) -> None:
    signer = UrlSigner(b"secret" * 4, "https://rooms.example", Clock(1_000_000.5))
    key, expires, signature = parts(signer.url(KEY, 60))
    match change:
        case "key":
            key = KEY.replace("/1/", "/2/")
        case "expires":
            expires = str(int(expires) + 1)
        case "signature":
            signature = OTHER_HEX
        case "secret":
            signer = UrlSigner(b"another" * 4, "https://rooms.example", Clock(1_000_000.5))
        case "empty":
            expires = signature = ""
        case "not ascii":
            signature = "ä" * 64
        case "surrogate":
            key, signature = "\udcff", "\udcff"
    with pytest.raises(BadSignature):
        signer.verify(key, expires, signature)


def test_expiry_and_key_cannot_trade_places() -> None:
    signer = UrlSigner(b"secret" * 4, "", Clock(1_000_000.5))
    _, expires, signature = parts(signer.url("1/2", 60))
    with pytest.raises(BadSignature):
        signer.verify("2", f"{expires}\n1/", signature)

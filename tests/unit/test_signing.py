from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from orchestrator.ports import BadSignature, LinkExpired
from orchestrator.storage.signing import UrlSigner

KEY = "results/j/1/transformed.jpg"
OTHER_HEX = "0" * 64


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.5

    def __call__(self) -> float:
        return self.now


def parts(url: str) -> tuple[str, str, str]:
    split = urlsplit(url)
    query = parse_qs(split.query)
    return split.path.removeprefix("/files/"), query["expires"][0], query["signature"][0]


def test_a_url_holds_until_it_expires() -> None:
    clock = Clock()
    signer = UrlSigner(b"secret" * 4, "https://rooms.example", clock)
    url = signer.url(KEY, 60)
    assert url.startswith(f"https://rooms.example/files/{KEY}?")
    clock.now += 60
    signer.verify(*parts(url))
    clock.now += 0.5
    with pytest.raises(LinkExpired):
        signer.verify(*parts(url))


@pytest.mark.parametrize(
    "change", ["key", "expires", "signature", "secret", "empty", "not ascii", "surrogate"]
)
def test_anything_changed_is_refused(change: str) -> None:
    signer = UrlSigner(b"secret" * 4, "https://rooms.example", Clock())
    key, expires, signature = parts(signer.url(KEY, 60))
    match change:
        case "key":
            key = KEY.replace("/1/", "/2/")
        case "expires":
            expires = str(int(expires) + 1)
        case "signature":
            signature = OTHER_HEX
        case "secret":
            signer = UrlSigner(b"another" * 4, "https://rooms.example", Clock())
        case "empty":
            expires = signature = ""
        case "not ascii":
            signature = "ä" * 64
        case "surrogate":
            key, signature = "\udcff", "\udcff"
    with pytest.raises(BadSignature):
        signer.verify(key, expires, signature)


def test_expiry_and_key_cannot_trade_places() -> None:
    signer = UrlSigner(b"secret" * 4, "", Clock())
    _, expires, signature = parts(signer.url("1/2", 60))
    with pytest.raises(BadSignature):
        signer.verify("2", f"{expires}\n1/", signature)

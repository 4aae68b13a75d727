"""Signed, expiring URLs for objects that this service serves itself."""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections.abc import Callable
from urllib.parse import quote, urlencode

from orchestrator.adapters.storage.common import link_begin
from orchestrator.ports import BadSignature, LinkExpired, PageLinks


class UrlSigner(PageLinks):
    """Signs with HMAC-SHA256 what a link allows and when it expires. ``base_url`` is that of ``/files/{key}`` and
    ``/pages/{job}``."""

    def __init__(self, secret: bytes, base_url: str, clock: Callable[[], float] = time.time) -> None:
        self._secret, self._base_url, self._clock = secret, base_url, clock

    def url(self, key: str, expires_in: int) -> str:
        """A URL for ``key``; see :meth:`orchestrator.ports.Storage.url`."""
        expires = link_begin(key, self._clock(), expires_in) + expires_in
        return self._link(_reading(key), f"files/{quote(key)}", expires)

    def upload_url(self, key: str, content_type: str, size: int, expires_in: int) -> str:
        """A URL to PUT an object of this type and size. It works for ``expires_in`` seconds, rounded up."""
        expires = math.ceil(self._clock() + expires_in)
        return self._link(_writing(key, content_type, size), f"files/{quote(key)}", expires)

    def page_url(self, job_id: str, expires: int) -> str:
        return self._link(_showing(job_id), f"pages/{quote(job_id)}", expires)

    def verify(self, key: str, expires: str, signature: str) -> None:
        """Raises BadSignature unless this signer made the link, and LinkExpired when its time is over."""
        # Else a link to a page, or for an upload, would open the "key" that is the text of its own right.
        if "\n" in key:
            raise BadSignature
        self._verify(_reading(key), expires, signature)

    def verify_upload(self, key: str, content_type: str, size: int, expires: str, signature: str) -> None:
        """As :meth:`verify`, for :meth:`upload_url`."""
        self._verify(_writing(key, content_type, size), expires, signature)

    def check_page(self, job_id: str, expires: str, signature: str) -> None:
        self._verify(_showing(job_id), expires, signature)

    def _link(self, right: str, path: str, expires: int) -> str:
        query = urlencode({"expires": expires, "signature": self._signature(right, str(expires))})
        return f"{self._base_url}/{path}?{query}"

    def _verify(self, right: str, expires: str, signature: str) -> None:
        expected = self._signature(right, expires)
        # Only digits, so that it cannot contain part of another message.
        if not expires.isdecimal() or not hmac.compare_digest(
            expected.encode(), signature.encode("utf-8", "replace")
        ):
            raise BadSignature
        if self._clock() >= int(expires):
            raise LinkExpired

    def _signature(self, right: str, expires: str) -> str:
        message = f"{expires}\n{right}".encode("utf-8", "replace")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()


# A key cannot contain a newline, so that no two rights have the same text.
def _reading(key: str) -> str:
    return key


def _showing(job_id: str) -> str:
    return f"PAGE\n{job_id}"


def _writing(key: str, content_type: str, size: int) -> str:
    return f"PUT\n{size}\n{content_type}\n{key}"

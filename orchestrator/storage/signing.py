"""Signed, expiring URLs for objects that this service serves itself."""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections.abc import Callable
from urllib.parse import quote, urlencode

from orchestrator.ports import BadSignature, LinkExpired


class UrlSigner:
    """HMAC-SHA256 over key and expiry; ``base_url`` is where ``GET /files/{key}`` is reached."""

    def __init__(self, secret: bytes, base_url: str, clock: Callable[[], float] = time.time) -> None:
        self._secret, self._base_url, self._clock = secret, base_url, clock

    def url(self, key: str, expires_in: int) -> str:
        """A URL for ``key`` that works for ``expires_in`` seconds, and less than a second longer."""
        expires = str(math.ceil(self._clock() + expires_in))
        query = urlencode({"expires": expires, "signature": self._signature(key, expires)})
        return f"{self._base_url}/files/{quote(key)}?{query}"

    def verify(self, key: str, expires: str, signature: str) -> None:
        """Raises BadSignature unless we signed exactly this, LinkExpired if that was too long ago."""
        expected = self._signature(key, expires)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            raise BadSignature
        if self._clock() >= int(expires):
            raise LinkExpired

    def _signature(self, key: str, expires: str) -> str:
        # A key cannot hold a newline, so that no two pairs give the same message.
        message = f"{expires}\n{key}".encode("utf-8", "replace")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()

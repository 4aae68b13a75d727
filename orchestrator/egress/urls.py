"""Checks the URL of a user before anything is called, and takes it apart in one way only."""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv6Address
from urllib.parse import quote, urlsplit

import idna
import msgspec

MAX_URL = 2048
"""Characters."""
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_PATH_SAFE = "/:@!$&'()*+,;=~-._%"


class BadUrl(Exception):
    """The URL may not be called. The message is a sentence for its sender."""


class Target(msgspec.Struct, frozen=True):
    """Where a URL leads."""

    scheme: str
    host: str
    """In ASCII: a name, or an address without brackets."""
    port: int
    path: str
    """With the query."""

    @property
    def authority(self) -> str:
        """For the header ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def at(self, address: str) -> str:
        """The URL with an address in place of the host."""
        host = f"[{address}]" if ":" in address else address
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def parse(url: str, ports: Collection[int]) -> Target:
    """Take apart a URL whose port is one of ``ports``; none = every port. Raises BadUrl."""
    if not 1 <= len(url) <= MAX_URL:
        raise BadUrl(f"the URL may have at most {MAX_URL} characters")
    # Programs disagree about what these mean.
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise BadUrl("the URL has spaces, control characters or backslashes: write them in percent-encoding")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadUrl("this is not a URL such as https://example.org/path") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not parts.hostname:
        raise BadUrl("the URL must begin with https:// or http:// and name a host")
    if "@" in parts.netloc:
        raise BadUrl("the URL may not contain a user name or password")
    port = _PORTS[scheme] if port is None else port
    if ports and port not in ports:
        known = ", ".join(map(str, sorted(ports)))
        raise BadUrl(f"port {port} is not called; allowed are {known}")
    path = quote(parts.path or "/", safe=_PATH_SAFE)
    query = f"?{quote(parts.query, safe=_PATH_SAFE + '?')}" if parts.query else ""
    return Target(scheme, _ascii(parts.hostname), port, path + query)


def _ascii(host: str) -> str:
    """The host as a resolver gets it. Raises BadUrl."""
    if ":" in host:
        try:
            return str(IPv6Address(host))
        except ValueError:
            raise BadUrl("the host is not an IPv6 address") from None
    try:
        name = (
            idna.encode(host.removesuffix("."), uts46=True).decode() if not host.isascii() else host.lower()
        )
    except idna.IDNAError:
        raise BadUrl("the host is not a valid name") from None
    name = name.removesuffix(".")
    if len(name) > 253 or not _HOST.fullmatch(name):
        raise BadUrl("the host is not a valid name")
    return name

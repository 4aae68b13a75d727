"""Identifies the client of a connection or a request by its address."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

IPV6_NETWORK = 64
"""The bits of an IPv6 address that identify a client: a household or a rented server has all addresses below them."""

EVERYBODY = "*"


class Clients:
    """Distinguishes clients by address. ``trusted``: addresses and networks of proxies, or ``*`` for all addresses. A
    proxy's own address identifies no client."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusts_all = EVERYBODY in trusted
        self._trusted = [ipaddress.ip_network(each, strict=False) for each in trusted if each != EVERYBODY]
        self._of = lru_cache(4096)(self._find)

    def connected(self, peer: str | None) -> str | None:
        """The client at the other end of a connection; None if it is a proxy, which stands for many clients, or
        unknown."""
        return None if self._trusts_all else self.asking(peer)

    def asking(self, address: str | None) -> str | None:
        """The client behind a request, whose ``address`` a trusted proxy may have named; None as in ``connected``."""
        return None if address is None else self._of(address)

    def _find(self, address: str) -> str | None:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return address[:100]
        if any(found in network for network in self._trusted):
            return None
        if isinstance(found, ipaddress.IPv6Address):
            if found.ipv4_mapped:
                return self._find(str(found.ipv4_mapped))
            return str(ipaddress.ip_network((found, IPV6_NETWORK), strict=False))
        return str(found)

"""Which addresses may be called on behalf of a user.

IANA's registries of special-purpose addresses decide. Python's ``is_global`` alone does not do: for it, multicast, and
NAT64 and 6to4 of private addresses, are global.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_REFUSED: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by providers' customers, and some clouds' metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's own services, from within a machine there
        "169.254.0.0/16",  # link-local, and the clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments, and Oracle's metadata
        "192.0.2.0/24",
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks …
        "2001:db8::/32",
        "2002::/16",  # 6to4: whoever relays it may live in our network
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # the 6bone that was
        "3fff::/20",
    )
)
_UNICAST = IPv6Network("2000::/3")
"""The only part of IPv6 from which global addresses are given out."""
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")


def is_allowed(text: str, exceptions: Iterable[Network] = ()) -> bool:
    """Whether an address, as a resolver gives it, may be called. ``exceptions``: networks that the operator allows."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    meant = _meant(address)
    if any(each in network for network in exceptions for each in {address, meant}):
        return True
    return _is_public(meant)


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where the system or its network translates it back."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(address.packed[12:])
    return address


def _is_public(address: Address) -> bool:
    if any(address in network for network in _REFUSED):
        return False
    if isinstance(address, IPv6Address):
        if address not in _UNICAST:
            return False
        # A tunnel within one site; what is at its end decides.
        if address.packed[8:12] in _ISATAP and not _is_public(IPv4Address(address.packed[12:])):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_private)

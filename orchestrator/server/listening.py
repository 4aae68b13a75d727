"""Opens listening sockets."""

from __future__ import annotations

import socket


def bound(host: str, port: int) -> list[socket.socket]:
    """Sockets at all addresses of ``host``, like those that asyncio's create_server makes for a single process. Raises
    OSError; the sockets that it made are closed then."""
    made: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            each = socket.socket(family, kind, protocol)
            made.append(each)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # Without it, "::" would take the IPv4 port too.
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.bind(address)
    except OSError:
        for each in made:
            each.close()
        raise
    return made

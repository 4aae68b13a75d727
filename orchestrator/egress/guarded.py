"""Calls a URL that a user chose: its name is resolved once, every address is checked, and one of them is called."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import httpx2

from orchestrator.egress.addresses import Network, is_allowed
from orchestrator.egress.urls import Target, parse

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host. Raises OSError."""

RESOLVE_SECONDS = 5.0
RESOLVERS = 64
"""Threads that resolve names. They are apart from all others, so that a user's slow name servers delay only users'
URLs."""


class NotAllowed(Exception):
    """The host's addresses are not to be called: one of them is not on the internet."""


class Unreachable(Exception):
    """The URL could not be called; the message is a short reason without addresses, for its user."""


class Guarded:
    """Open it as an async context manager. ``ports``: those that may be called, none = every one; ``exceptions``:
    networks of the operator that may be called too.

    Connections are not used twice: one that was verified for a name would otherwise serve another name at the same
    address.
    """

    def __init__(
        self,
        *,
        ports: Collection[int] = (),
        exceptions: Collection[Network] = (),
        resolve: Resolve | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._ports, self._exceptions = ports, exceptions
        self._threads = ThreadPoolExecutor(RESOLVERS, "resolver")
        self._resolve = resolve or self._ask_system
        self._verify = verify

    async def __aenter__(self) -> Guarded:
        self._http = httpx2.AsyncClient(
            verify=self._verify,
            follow_redirects=False,
            trust_env=False,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
        # Threads that still wait for a name server end by themselves.
        self._threads.shutdown(wait=False, cancel_futures=True)

    def check(self, url: str) -> Target:
        """Where the URL leads, without asking for its addresses. Raises BadUrl."""
        return parse(url, self._ports)

    async def resolved(self, target: Target) -> str:
        """The address to call. Raises NotAllowed, Unreachable."""
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await self._resolve(target.host, target.port)
        except TimeoutError:
            raise Unreachable("its name could not be resolved in time") from None
        except (OSError, UnicodeError):
            raise Unreachable("its name could not be resolved") from None
        # One bad address spoils all: a name that leads to both sides is made to get past this check.
        if not all(is_allowed(address, self._exceptions) for address in found):
            raise NotAllowed(target.host)
        if not found:
            raise Unreachable("its name has no addresses")
        return next((address for address in found if ":" not in address), found[0])

    @asynccontextmanager
    async def call(
        self, method: str, target: Target, *, headers: Mapping[str, str], body: bytes = b"", seconds: float
    ) -> AsyncGenerator[httpx2.Response]:
        """The answer's status and headers, within ``seconds``, which also end the block's reading of its body; a
        redirect is an answer like others. Raises NotAllowed, Unreachable."""
        try:
            async with asyncio.timeout(seconds):
                address = await self.resolved(target)
                request = self._http.build_request(
                    method,
                    target.at(address),
                    headers={"Host": target.authority, "Accept-Encoding": "identity", **headers},
                    content=body or None,
                    extensions={"sni_hostname": target.host},
                    timeout=seconds,
                )
                answer = await self._http.send(request, stream=True)
                try:
                    yield answer
                finally:
                    await answer.aclose()
        except (TimeoutError, httpx2.TimeoutException):
            raise Unreachable(f"it did not answer within {seconds:g} s") from None
        except httpx2.ConnectError as error:
            secured = "certificate" in str(error).lower() or "ssl" in str(error).lower()
            raise Unreachable(
                "its certificate is not valid" if secured else "no connection was made"
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL):
            raise Unreachable("it did not answer in HTTP") from None

    async def _ask_system(self, host: str, port: int) -> list[str]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return [str(each[4][0]) for each in found]

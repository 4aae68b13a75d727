"""Fetches a photo from a URL that a user names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urljoin

import httpx2

from orchestrator.domain.codes import ProblemCode
from orchestrator.egress.guarded import Guarded, NotAllowed, Unreachable
from orchestrator.egress.urls import BadUrl
from orchestrator.photos.gate import PhotoRejected

FIELD = "image_url"
REDIRECTS = 3
FETCH_SECONDS = 8.0
"""For all redirects together; the gate still has to look at the photo before the request's answer is due."""
_REDIRECTS = (301, 302, 303, 307, 308)
_PIECE = 64 * 1024


class PhotoFetcher:
    """``seconds``: for one photo, from the first name to its last byte."""

    def __init__(self, guarded: Guarded, seconds: float = FETCH_SECONDS) -> None:
        self._guarded, self._seconds = guarded, seconds

    async def fetch(
        self, url: str, limit: int, count_bytes: Callable[[int], None] | None = None
    ) -> bytearray:
        """The bytes at the URL, whatever their type is said to be; each redirect is checked like the URL. Before bytes
        are kept, ``count_bytes`` is called with their number.

        Raises PhotoRejected for the field image_url, also for more than ``limit`` bytes, and the errors of
        ``count_bytes``.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(url, limit, count_bytes or (lambda count: None))
        except BadUrl as error:
            raise _rejected(ProblemCode.INVALID_URL, str(error)) from None
        except NotAllowed:
            inside = "the URL leads to an address that is not on the internet; this service does not call it"
            raise _rejected(ProblemCode.URL_NOT_ALLOWED, inside) from None
        except TimeoutError:
            slow = f"the photo did not arrive within {self._seconds:g} s"
            raise _rejected(ProblemCode.URL_UNREACHABLE, slow) from None
        except Unreachable as error:
            raise _rejected(ProblemCode.URL_UNREACHABLE, f"the photo cannot be fetched: {error}") from None

    async def _follow(self, url: str, limit: int, count_bytes: Callable[[int], None]) -> bytearray:
        for _ in range(1 + REDIRECTS):
            target = self._guarded.check(url)
            headers = {"Accept": "image/*", "User-Agent": "reroom-fetch/1"}
            async with self._guarded.call("GET", target, headers=headers, seconds=self._seconds) as answer:
                location = answer.headers.get("location")
                if answer.status_code not in _REDIRECTS or location is None:
                    return await _body(answer, limit, count_bytes)
            try:
                url = urljoin(str(target), location)
            except ValueError:
                raise BadUrl("the URL redirects to what is not a URL") from None
        raise Unreachable(f"it redirects more than {REDIRECTS} times")


async def _body(answer: httpx2.Response, limit: int, count_bytes: Callable[[int], None]) -> bytearray:
    if answer.status_code != 200:
        raise Unreachable(f"it answered with status {answer.status_code}")
    if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Unreachable("it answered with a compressed body, which was not asked for")
    large = _rejected(ProblemCode.BODY_TOO_LARGE, f"the photo may have at most {limit} bytes")
    stated = answer.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > limit:
        raise large
    data = bytearray()
    async for piece in answer.aiter_raw(_PIECE):
        if len(data) + len(piece) > limit:
            raise large
        count_bytes(len(piece))
        data += piece
    return data


def _rejected(code: ProblemCode, detail: str) -> PhotoRejected:
    return PhotoRejected(code, detail, FIELD)

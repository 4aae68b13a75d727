"""What a model hub says of a file, and the bytes of it. The protocol, tokens and proxies are huggingface_hub's.

Its own download is not used: it compares sizes only, and what another process had loaded is lost to it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec
from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from export.bundle import BundleError
from export.sources.wanted import Repo

Result = TypeVar("Result")

_BLOB = re.compile(r"[0-9A-Za-z._-]{1,128}")
_RANGE = re.compile(r"bytes (\d+)-")


class Passing(Exception):
    """A failure that another try may not meet; the message says what the hub did."""


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """A file as the hub describes it."""

    repo: Repo
    file: str
    etag: str
    """SHA-256 of a large file, the Git blob's id of a small one; the cache names its blob by it."""
    size: int
    location: str
    """Where its bytes are: a hub sends large files from elsewhere, under a link that lasts minutes."""


class Hub(msgspec.Struct, frozen=True, kw_only=True):
    """A model hub and the cache for it. By default huggingface_hub's own settings: HF_ENDPOINT, HF_HOME, HF_HUB_CACHE,
    HF_HUB_OFFLINE, HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT, and the token of HF_TOKEN or `hf auth login`."""

    endpoint: str = constants.ENDPOINT
    cache: Path = Path(constants.HF_HUB_CACHE)
    offline: bool = constants.HF_HUB_OFFLINE
    answer_timeout: float = constants.HF_HUB_ETAG_TIMEOUT
    """Seconds for what the hub says of a file."""
    read_timeout: float = constants.HF_HUB_DOWNLOAD_TIMEOUT
    """Seconds without a byte."""
    slowest: float = 1024.0
    """Bytes a second, over ``patience`` seconds; what is slower would take weeks."""
    patience: float = 60.0
    waits: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """Seconds before the second, third, … try of what failed."""

    def look(self, repo: Repo, file: str) -> Remote | None:
        """What the hub says of a file; None when it has no such file at that commit.

        Raises BundleError when it cannot be asked, has no such repository or commit, refuses, or names another commit.
        """
        return self.retry(lambda: self._look(repo, file), f"{repo.name}/{file}")

    def retry(self, attempt: Callable[[], Result], what: str) -> Result:
        """The result of ``attempt``, which is called again after a Passing failure. Raises BundleError at the last."""
        for wait in (*self.waits, None):
            try:
                return attempt()
            except Passing as failure:
                if wait is None:
                    self.give_up(what, failure)
                time.sleep(wait)
        raise AssertionError

    def give_up(self, what: str, failure: Passing) -> NoReturn:
        """Raises the BundleError of a failure that did not pass."""
        raise BundleError(
            f"{what}: {self.endpoint} {failure} ({len(self.waits) + 1} tries): look at the connection, the proxy "
            "(HTTPS_PROXY) and HF_ENDPOINT, and run the command again: it goes on where it was"
        ) from failure

    @contextmanager
    def read(self, remote: Remote, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The file's bytes from ``start`` on, as (where they begin, chunks): a server may begin at 0 all the same.

        Raises Passing, from the chunks too, and BundleError when the hub refuses.
        """
        headers = self._headers()
        elsewhere = urlsplit(remote.location).netloc != urlsplit(self.endpoint).netloc
        if elsewhere:
            headers.pop("authorization", None)
        if start:
            headers["Range"] = f"bytes={start}-"
        timeout = httpx2.Timeout(self.read_timeout)
        with (
            self._failures(remote.repo, remote.file),
            get_session().stream("GET", remote.location, headers=headers, timeout=timeout) as answer,
        ):
            if answer.status_code == 416 or (elsewhere and answer.status_code in (400, 401, 403, 404)):
                # The link has run out: asking the hub again gives a new one.
                raise Passing(f"does not send the file ({answer.status_code})")
            answer.raise_for_status()
            found = _RANGE.match(answer.headers.get("Content-Range", ""))
            begin = int(found[1]) if answer.status_code == 206 and found else 0
            yield begin, self._quick_enough(answer.iter_bytes())

    def _quick_enough(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        begun, received = time.monotonic(), 0
        for chunk in chunks:
            yield chunk
            received += len(chunk)
            if (passed := time.monotonic() - begun) > self.patience:
                if received < self.slowest * passed:
                    raise Passing(f"sends {received / passed / 1000:.2g} kB a second")
                begun, received = time.monotonic(), 0

    def _headers(self) -> dict[str, str]:
        return {**build_hf_headers(library_name="reroom"), "Accept-Encoding": "identity"}

    def _look(self, repo: Repo, file: str) -> Remote | None:
        url = hf_hub_url(repo.name, file, revision=repo.revision, endpoint=self.endpoint)
        try:
            with self._failures(repo, file):
                found = get_hf_file_metadata(
                    url, headers=self._headers(), timeout=self.answer_timeout, endpoint=self.endpoint
                )
        except FileNotFoundError:
            return None
        if found.commit_hash is None or found.etag is None or found.size is None:
            raise BundleError(
                f"{repo}: {url} does not answer as a model hub does (X-Repo-Commit, ETag, size): look at HF_ENDPOINT"
            )
        if found.commit_hash != repo.revision:
            raise BundleError(
                f"{repo}: {self.endpoint} answers with commit {found.commit_hash} for {file}, {repo.revision} was "
                "asked for: take another hub or mirror (HF_ENDPOINT), or pin that commit once you have looked at it"
            )
        if not _BLOB.fullmatch(found.etag):
            raise BundleError(
                f"{repo}: {self.endpoint} gives {file} the ETag {found.etag!r}: take another hub"
            )
        return Remote(repo=repo, file=file, etag=found.etag, size=found.size, location=found.location)

    @contextmanager
    def _failures(self, repo: Repo, file: str) -> Iterator[None]:
        """Turns the client's errors into Passing, FileNotFoundError (no such file) or BundleError."""
        try:
            yield
        except (HfHubHTTPError, httpx2.HTTPStatusError) as error:
            self._refused(repo, file, error.response, error)
        except httpx2.TimeoutException as error:
            raise Passing("is slow: no answer in time") from error
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.TooManyRedirects) as error:
            raise BundleError(f"{repo}: {file}: {self.endpoint}: {error}: look at HF_ENDPOINT") from error
        except (httpx2.ConnectError, httpx2.ProxyError) as error:
            raise Passing(f"cannot be reached ({error})") from error
        except httpx2.TransportError as error:
            raise Passing(f"broke the connection ({error})") from error
        except httpx2.DecodingError as error:
            raise Passing(f"sends what cannot be unpacked ({error})") from error

    def _refused(self, repo: Repo, file: str, answer: httpx2.Response, error: Exception) -> NoReturn:
        status, code = answer.status_code, answer.headers.get("X-Error-Code")
        if status in (408, 429) or status >= 500:
            raise Passing(f"answers {status}") from error
        if isinstance(error, RevisionNotFoundError):
            raise BundleError(
                f"{repo}: {self.endpoint} has no commit {repo.revision} of {repo.name}: it was moved or taken away: "
                "pin one that is there, or take a mirror that has it (HF_ENDPOINT)"
            ) from error
        if status in (401, 403) or code in ("RepoNotFound", "GatedRepo"):
            raise BundleError(
                f"{repo}: {self.endpoint} does not give out {repo.name} ({status}): if it is private or asks for an "
                "agreement, agree on its page and set HF_TOKEN to a token that may read it; else correct the name"
            ) from error
        if status == 404:
            raise FileNotFoundError(file) from error
        raise BundleError(
            f"{repo}: {self.endpoint} answers {status} for {file}: look at HF_ENDPOINT"
        ) from error

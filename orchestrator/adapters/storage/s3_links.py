"""Links for reading objects on S3 that stay the same for half of their life."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from orchestrator.adapters.storage.common import link_begin


class ReadingLinks:
    """Presigned GETs. botocore signs with the current time, so that no two of its links are equal.

    Signature Version 4 accepts a date in the past until the link's life, counted from that date, is over.
    """

    def __init__(
        self, endpoint: str, region: str, credentials: Credentials, clock: Callable[[], float]
    ) -> None:
        self._endpoint, self._region, self._credentials = endpoint.rstrip("/"), region, credentials
        self._clock = clock

    def url(self, path: str, expires_in: int) -> str:
        """The URL for ``path``, an object's bucket and key; see :meth:`orchestrator.ports.Storage.url`."""
        return self.signed(path, link_begin(path, self._clock(), expires_in), expires_in)

    def signed(self, path: str, begin: int, expires_in: int) -> str:
        """The URL as signed at ``begin``, in UNIX seconds."""
        request = AWSRequest("GET", f"{self._endpoint}/{quote(path)}")
        at = datetime.fromtimestamp(begin, UTC)
        _SignedAt(at, self._credentials, "s3", self._region, expires=expires_in).add_auth(request)
        return str(request.url)


class _SignedAt(S3SigV4QueryAuth):  # type: ignore[misc]
    """botocore's signer with a fixed time."""

    def __init__(self, at: datetime, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self._at = at

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = self._at.strftime("%Y%m%dT%H%M%SZ")
        super()._modify_request_before_signing(request)

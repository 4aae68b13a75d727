"""Releases in a bucket of Cloudflare R2, or of another server of the S3 protocol.

::

    <prefix>/rollout.json                  what the operator wants; changed only by conditional writes
    <prefix>/versions/<n>/files.json       the manifest of version n, and last
    <prefix>/versions/<n>/release.json     its parts: the same bytes as in a release folder
    <prefix>/versions/<n>/checked.json     who compared all of it with the manifest, when it was pushed
    <prefix>/hosts/<name>.json             what the agent of each host says of it
    <prefix>/files/<sha256>                every other file of every version, under the digest of its bytes

Files have the names of their contents. So a graph that several versions share is stored once, two publishers cannot
overwrite each other's, and an upload that was interrupted can be continued by any machine that has the same bytes.
files.json is written under the condition that there is none, when all that it names is there: of two publishers of one
number the first wins, and the other learns it before anything is wrong.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.loaders import create_loader
from botocore.session import Session
from urllib3.exceptions import HTTPError

from export.releases.checksums import CHECKED, MANIFEST
from export.releases.device import this_device
from export.releases.places.port import (
    HOSTS,
    NO_DOCUMENT,
    DamagedError,
    Part,
    PlaceError,
    UnreachableError,
    VersionMissingError,
    VersionTakenError,
)
from export.releases.rollout import (
    FORMAT,
    ROLLOUT,
    Rollout,
    RolloutConflictError,
    RolloutError,
    check_revision,
    decode,
    encode,
    newly_served,
    now,
)

SCHEME = "s3"
FILES = "files"
PART_BYTES = 32 * 1024 * 1024
"""Larger files are stored in parts of this size, the last one excepted. S3 takes 5 MiB or more, and 10,000 parts."""
PIECE_BYTES = 1024 * 1024
PARTS_AT_ONCE = 3
CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
"""Seconds that the server may send nothing."""
ATTEMPTS = 5
"""How often botocore tries a request in all, with waits that grow. What breaks off amid a body is tried by readers."""
_MISSING = {"NoSuchKey", "404", "NotFound"}
_CONFLICT = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
_UNCHANGED = {"304", "NotModified"}
_NO_UPLOAD = {"NoSuchUpload"}
_PASSING = {
    "429",
    "500",
    "502",
    "503",
    "504",
    "SlowDown",
    "TooManyRequests",
    "InternalError",
    "ServiceUnavailable",
}
_FORBIDDEN = {"403", "401", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Unauthorized"}


class S3Place:
    """The folder ``prefix`` (empty, or without slashes at its ends) of a bucket. Open one with :func:`open_s3`."""

    def __init__(self, client: Any, bucket: str, prefix: str, part_bytes: int = PART_BYTES) -> None:
        self.name = f"{SCHEME}://{bucket}" + (f"/{prefix}" if prefix else "")
        self._client, self._bucket, self._prefix = client, bucket, f"{prefix}/" if prefix else ""
        self._part_bytes = part_bytes

    @property
    def rollouts(self) -> S3Rollouts:
        """See Place."""
        return S3Rollouts(self)

    def versions(self) -> list[int]:
        """See Place."""
        found = (path.split("/") for path in self.names("versions/"))
        return sorted(
            int(number) for _, number, *rest in found if rest == ["release.json"] and number.isdecimal()
        )

    def manifest(self, version: int) -> bytes:
        """See Place."""
        if (found := self.get(f"versions/{version}/{MANIFEST}")) is None:
            raise VersionMissingError(f"{self.name} has no version {version}: push it there first")
        return found

    def has(self, part: Part) -> bool:
        """See Place."""
        with self._calls():
            try:
                found = self._client.head_object(**self._at(_file(part)))
            except ClientError as error:
                if _code(error) in _MISSING:
                    return False
                raise
        return bool(found["ContentLength"] == part.bytes)

    def store(self, part: Part, file: Path) -> None:
        """See Place."""
        if self.has(part):
            return
        if part.bytes > self._part_bytes:
            self._store_in_parts(part, file)
        else:
            self._put(_file(part), file.read_bytes(), IfNoneMatch="*")

    @contextmanager
    def read(self, part: Part, start: int = 0) -> Iterator[Iterator[bytes]]:
        """See Place."""
        with self._calls():
            try:
                answer = self._client.get_object(**self._at(_file(part)), Range=f"bytes={start}-")
            except ClientError as error:
                if _code(error) in _MISSING:
                    raise DamagedError(f"{self._lost(part)} is gone: {_PUSH_AGAIN}") from error
                if _code(error) in {"InvalidRange", "416"}:
                    raise DamagedError(f"{self._lost(part)} is shorter than its version says") from error
                raise
        with closing(answer["Body"]) as body:
            if answer["ContentLength"] != part.bytes - start:
                raise DamagedError(f"{self._lost(part)} has another size: {_PUSH_AGAIN}")
            yield self._pieces(body)

    def _pieces(self, body: Any) -> Iterator[bytes]:
        # Not around what the reader does with them: its own errors are no errors of the server's.
        with self._calls():
            yield from body.iter_chunks(PIECE_BYTES)

    def commit(self, version: int, manifest: bytes, release: bytes, by: str) -> None:
        """See Place."""
        folder = f"versions/{version}"
        self._put_once(f"{folder}/{MANIFEST}", manifest, version)
        self._put(f"{folder}/{CHECKED}", _checked(manifest, by))
        self._put_once(f"{folder}/release.json", release, version)

    def tell(self, host: str, document: bytes) -> None:
        """See Place."""
        self._put(f"{HOSTS}/{host}.json", document)

    def poll(self, tag: str) -> tuple[Rollout, str] | None:
        """See Place."""
        try:
            found = self._get_tagged(ROLLOUT, tag)
        except _UnchangedError:
            return None
        if found is None:
            return None if tag == NO_DOCUMENT else (Rollout(), NO_DOCUMENT)
        content, new = found
        return decode(content, f"{self.name}/{ROLLOUT}"), new

    def get(self, path: str) -> bytes | None:
        """A small file; None = there is none."""
        found = self._get_tagged(path)
        return found and found[0]

    def _get_tagged(self, path: str, unlike: str = "") -> tuple[bytes, str] | None:
        """A small file and its ETag; None = there is none.

        Raises _UnchangedError when it has the ETag ``unlike``.
        """
        condition = {"IfNoneMatch": unlike} if unlike not in ("", NO_DOCUMENT) else {}
        with self._calls():
            try:
                answer = self._client.get_object(**self._at(path), **condition)
                with closing(answer["Body"]) as body:
                    return body.read(), answer["ETag"]
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                if _code(error) in _UNCHANGED:
                    raise _UnchangedError from error
                raise

    def swap(self, path: str, content: bytes, tag: str) -> str | None:
        """Replace a file that has the ETag ``tag``, or NO_DOCUMENT; returns the new ETag, None = it has another."""
        condition = {"IfNoneMatch": "*"} if tag == NO_DOCUMENT else {"IfMatch": tag}
        if new := self._put(path, content, **condition):
            return new
        found = self._get_tagged(path)
        # An earlier try of this very write may have come through, its answer lost.
        return found[1] if found and found[0] == content else None

    def objects(self, begin: str) -> Iterator[tuple[str, int, datetime]]:
        """Path, size and last change of all that begins with a path."""
        for found in self._list(self._key(begin)):
            yield found["Key"].removeprefix(self._prefix), found["Size"], found["LastModified"]

    def names(self, begin: str) -> list[str]:
        """All paths that begin with this one."""
        return [path for path, _, _ in self.objects(begin)]

    def unfinished(self) -> dict[int, datetime]:
        """Versions whose push or removal goes on, or was stopped, and since when."""
        whole = set(self.versions())
        found = {
            path.split("/")[1]: changed
            for path, _, changed in self.objects("versions/")
            if path.endswith(MANIFEST)
        }
        return {
            int(name): since for name, since in found.items() if name.isdecimal() and int(name) not in whole
        }

    def remove_version(self, version: int) -> None:
        """Remove a version. Its files stay, since others may name them too."""
        folder = f"versions/{version}"
        names = self.names(f"{folder}/")
        for path in sorted(
            names, key=lambda path: (path != f"{folder}/release.json", path == f"{folder}/{MANIFEST}")
        ):
            self.remove(path)

    def remove(self, path: str) -> None:
        """Remove one object."""
        with self._calls():
            self._client.delete_object(**self._at(path))

    def _key(self, path: str) -> str:
        """The key of a path of this place."""
        return f"{self._prefix}{path}"

    @contextmanager
    def _calls(self) -> Iterator[None]:
        """Translates errors of the calls inside it."""
        try:
            yield
        except ClientError as error:
            raise self._refusal(error) from error
        except (BotoCoreError, HTTPClientError, HTTPError, ConnectionError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise UnreachableError(f"{self.name} cannot be reached ({reason})") from error

    def _refusal(self, error: ClientError) -> PlaceError:
        code = _code(error)
        if code in _PASSING:
            return UnreachableError(f"{self.name} is not able to answer now ({code})")
        if code in _FORBIDDEN:
            return PlaceError(
                f"{self.name} refuses these credentials ({code}): give a key that may read there, and write if it "
                "shall publish, as R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY"
            )
        if code == "NoSuchBucket":
            return PlaceError(
                f"{self.name}: there is no such bucket at this endpoint: make it, or mend the name"
            )
        return PlaceError(f"{self.name}: {error}")

    def _at(self, path: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._key(path)}

    def _lost(self, part: Part) -> str:
        return f"{self.name}/{_file(part)} ({part.path})"

    def _list(self, prefix: str) -> Iterator[dict[str, Any]]:
        more: dict[str, str] = {}
        while True:
            with self._calls():
                page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **more)
            yield from page.get("Contents", ())
            if not page["IsTruncated"]:
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _put_once(self, path: str, content: bytes, version: int) -> None:
        """Write one object of a version that is not there. Raises VersionTakenError when another one is."""
        if not self._put(path, content, IfNoneMatch="*") and self.get(path) != content:
            raise VersionTakenError(
                f"{self.name} has a version {version} already, with other files: a published version is never changed, "
                "so give yours another number"
            )

    def _put(self, path: str, content: bytes, **condition: str) -> str | None:
        """Write one object; returns its ETag, None when the condition does not hold."""
        with self._calls():
            try:
                answer = self._client.put_object(
                    **self._at(path), Body=content, ContentMD5=_md5(content), **condition
                )
            except ClientError as error:
                # Without an object to match R2 and S3 answer 412 or 404.
                if _code(error) in _CONFLICT or (_code(error) in _MISSING and "IfMatch" in condition):
                    return None
                raise
        return str(answer["ETag"])

    def _store_in_parts(self, part: Part, file: Path) -> None:
        """Go on with an upload of these bytes that was interrupted, or begin one, and complete it.

        Which parts are there is known by their numbers and sizes alone, since R2's ETags of parts tell nothing. That is
        enough: every upload to this key is of the same bytes, and each part's were checked when it arrived.
        """
        where = self._at(_file(part))
        with self._calls():
            upload = self._begun(where["Key"]) or self._client.create_multipart_upload(**where)["UploadId"]
            where["UploadId"] = upload
            try:
                there = self._parts_there(where)
                wanted = _ranges(part.bytes, self._part_bytes)
                missing = [
                    number for number, (_, size) in wanted.items() if there.get(number, ("", 0))[1] != size
                ]

                def send(number: int) -> tuple[int, str]:
                    begin, size = wanted[number]
                    with file.open("rb") as stream:
                        stream.seek(begin)
                        content = stream.read(size)
                    answer = self._client.upload_part(
                        **where, PartNumber=number, Body=content, ContentMD5=_md5(content)
                    )
                    return number, answer["ETag"]

                tags = {number: tag for number, (tag, _) in there.items() if number in wanted}
                with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
                    tags |= dict(pool.map(send, missing))
                self._client.complete_multipart_upload(
                    **where,
                    MultipartUpload={"Parts": [{"PartNumber": n, "ETag": tags[n]} for n in sorted(tags)]},
                    IfNoneMatch="*",
                )
            except ClientError as error:
                # Somebody else has stored it meanwhile.
                if _code(error) not in _CONFLICT | _NO_UPLOAD or not self.has(part):
                    raise
                with suppress(ClientError):
                    self._client.abort_multipart_upload(**where)

    def _begun(self, key: str) -> str | None:
        """An upload to ``key`` that was begun and not completed."""
        found = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=key)
        uploads = [each for each in found.get("Uploads", ()) if each["Key"] == key]
        return uploads[0]["UploadId"] if uploads else None

    def _parts_there(self, where: Mapping[str, str]) -> dict[int, tuple[str, int]]:
        """ETag and size of the parts of an upload that have arrived, by number."""
        there: dict[int, tuple[str, int]] = {}
        more: dict[str, int] = {}
        while True:
            page = self._client.list_parts(**where, **more)
            there |= {each["PartNumber"]: (each["ETag"], each["Size"]) for each in page.get("Parts", ())}
            if not page.get("IsTruncated"):
                return there
            more = {"PartNumberMarker": page["NextPartNumberMarker"]}


class S3Rollouts:
    """The rollout document of a place."""

    def __init__(self, place: S3Place) -> None:
        self._place = place

    def read(self) -> Rollout:
        """See Rollouts."""
        return self._read()[0]

    def write(self, new: Rollout, after: int) -> Rollout:
        """See Rollouts."""
        found, tag = self._read()
        check_revision(found, after)
        for version in newly_served(found, new):
            self._check_there(version)
        written = msgspec.structs.replace(new, format=FORMAT, revision=after + 1)
        with _rollout_errors():
            if not self._place.swap(ROLLOUT, encode(written), tag):
                # Read again only for the sentence.
                check_revision(self._read()[0], after)
                raise RolloutConflictError(
                    f"{self._place.name}: another change came first, and nothing was done"
                )
        return written

    def follow(self) -> bool:
        """See Rollouts. The document is all of it: each host has a ``live`` of its own."""
        return False

    def versions(self) -> list[int]:
        """See Rollouts."""
        with _rollout_errors():
            return self._place.versions()[::-1]

    def first_missing(self, version: int) -> str | None:
        """See Rollouts. A version is seen there when all of it is."""
        return None

    def _check_there(self, version: int) -> None:
        with _rollout_errors():
            self._place.manifest(version)

    def _read(self) -> tuple[Rollout, str]:
        with _rollout_errors():
            found = self._place.poll("")
            assert found is not None, "only an unchanged document is None"
            return found


@contextmanager
def _rollout_errors() -> Iterator[None]:
    try:
        yield
    except PlaceError as error:
        raise RolloutError(str(error)) from error


class _UnchangedError(Exception):
    """What was asked for is still what the asker knows."""


_PUSH_AGAIN = "delete that object and push the version again from a folder that has it"


def open_s3(
    url: str,
    environment: Mapping[str, str],
    *,
    connect_seconds: float = CONNECT_SECONDS,
    read_seconds: float = READ_SECONDS,
    attempts: int = ATTEMPTS,
    part_bytes: int = PART_BYTES,
) -> S3Place:
    """The place at ``url``, s3://bucket or s3://bucket/prefix.

    Endpoint and keys are the service's own variables (R2_ENDPOINT_URL, R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY,
    REROOM_S3_REGION) in ``environment``; what is not there botocore looks for as AWS's own tools do (AWS_…, profiles,
    the roles of a machine or a pod). Raises PlaceError when nothing is found.
    """
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    if parts.scheme != SCHEME or not parts.netloc or parts.query or parts.fragment:
        raise PlaceError(f"{url} names no place in a bucket: write s3://bucket or s3://bucket/prefix")
    given = {name: value for name, value in environment.items() if value}
    endpoint = given.get("R2_ENDPOINT_URL")
    session = Session()
    session.register_component("data_loader", _descriptions())
    region = given.get("REROOM_S3_REGION") or ("auto" if endpoint else session.get_config_variable("region"))
    try:
        client = session.create_client(
            "s3",
            endpoint_url=endpoint,
            region_name=region or "auto",
            aws_access_key_id=given.get("R2_ACCESS_KEY_ID"),
            aws_secret_access_key=given.get("R2_SECRET_ACCESS_KEY"),
            config=Config(
                signature_version="s3v4",
                # The SHA-256 of every body is signed, so the server refuses one that was changed on its way; botocore
                # would leave that to TLS. Its own checksums, sent over HTTPS as trailers, R2 refuses.
                s3={"addressing_style": "path", "payload_signing_enabled": True},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                connect_timeout=connect_seconds,
                read_timeout=read_seconds,
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=16,
            ),
        )
        if session.get_credentials() is None and not given.get("R2_ACCESS_KEY_ID"):
            raise PlaceError(
                f"{url} needs keys: set R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY, and R2_ENDPOINT_URL unless it is AWS"
            )
    except (BotoCoreError, ValueError) as error:
        raise PlaceError(f"{url} cannot be opened: {error}") from error
    client.meta.events.register_last("before-call.s3", _expect_nothing)
    return S3Place(client, parts.netloc, prefix, part_bytes)


def _expect_nothing(params: dict[str, Any], **_: object) -> None:
    # R2 sends no "100 Continue", and botocore would wait a second for it with each body.
    params["headers"].pop("Expect", None)


@cache
def _descriptions() -> Any:
    """botocore's descriptions of services: reading them is most of what opening a place takes."""
    return create_loader()


def _file(part: Part) -> str:
    return f"{FILES}/{part.sha256}"


def _checked(manifest: bytes, by: str) -> bytes:
    """A checked.json. It names no files' stamps, which are a host's own."""
    document = {
        "format": FORMAT,
        "release": json.loads(manifest)["release"],
        "when": now(),
        "by": by,
        "device": this_device(),
        "manifest": hashlib.sha256(manifest).hexdigest(),
        "stamps": {},
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def _md5(content: bytes) -> str:
    # It guards against accidents alone; S3 knows no other digest that every server checks.
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def _ranges(size: int, part: int) -> dict[int, tuple[int, int]]:
    """Begin and size of each part of a file, by its number, from 1."""
    return {number: (begin, min(part, size - begin)) for number, begin in enumerate(range(0, size, part), 1)}


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))

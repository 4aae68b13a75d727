"""The certificate with which the operator signs pictures: read from its files, and read anew when they change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

LOOK_SECONDS = 60.0
"""Seconds between looks whether the files have changed."""

SAY_SECONDS = 3600.0
"""Seconds between complaints about the same thing."""

WARN_SECONDS = 14 * 86400.0
"""Seconds before its end from which on a certificate is complained of."""

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_log = logging.getLogger("reroom.credentials")


class CredentialsError(Exception):
    """Pictures cannot be signed with what the operator gave. One sentence; it never has a part of the key."""


@dataclass(frozen=True)
class Certificate:
    """A signer's certificate. ``begin`` and ``end`` are UNIX seconds."""

    algorithm: str
    """The name of the C2PA algorithm that its key signs with."""
    chain: bytes
    key: bytes
    begin: float
    end: float

    def valid(self, now: float) -> bool:
        return self.begin <= now < self.end


class CertificateFiles:
    """The certificate in ``chain_file`` (PEM, the signer's own first) and ``key_file`` (PKCS #8 PEM without a
    password), as the files are now; may be used by several threads. Raises CredentialsError when they are not good at
    first; later they are left for the ones before.

    ``check`` raises CredentialsError for a certificate that must not be taken; it is not called for one that is
    not valid now.
    """

    def __init__(
        self,
        chain_file: Path,
        key_file: Path,
        check: Callable[[Certificate], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files, self._check, self._clock = (chain_file, key_file), check, clock
        self._lock = threading.Lock()
        self._seen = self._state()
        self._now = self._read()
        self._look_again = clock() + LOOK_SECONDS
        self._say_again = 0.0
        self._complain()

    def current(self) -> Certificate | None:
        """The certificate to sign with now; None while there is none that is valid."""
        with self._lock:
            if self._clock() >= self._look_again:
                self._look_again = self._clock() + LOOK_SECONDS
                self._renew()
                self._complain()
            return self._now if self._now.valid(self._clock()) else None

    @property
    def end(self) -> float:
        """UNIX seconds."""
        return self._now.end

    def _renew(self) -> None:
        state = self._state()
        if state == self._seen:
            return
        try:
            self._now = self._read()
        except CredentialsError as error:
            # Perhaps only one of the two files was replaced yet: it looks again.
            _log.error("the new certificate is not taken: %s", error)
            return
        self._seen = state
        self._say_again = 0.0
        _log.info("pictures are signed with the new certificate, which ends %s", self._until())

    def _complain(self) -> None:
        now = self._clock()
        if (now < self._now.end - WARN_SECONDS and now >= self._now.begin) or now < self._say_again:
            return
        self._say_again = now + SAY_SECONDS
        if self._now.valid(now):
            _log.warning(
                "REROOM_C2PA_CHAIN: the certificate ends %s; put a new one in its place", self._until()
            )
        else:
            _log.error(
                "REROOM_C2PA_CHAIN: the certificate is not valid now (it ends %s), so pictures are NOT SIGNED; "
                "put a new one in its place",
                self._until(),
            )

    def _until(self) -> str:
        return datetime.fromtimestamp(self._now.end, UTC).isoformat(timespec="minutes")

    def _state(self) -> list[tuple[int, int, int] | None]:
        """What changes when a file is written or replaced, also through a link as Kubernetes does it."""
        found: list[tuple[int, int, int] | None] = []
        for path in self._files:
            try:
                status = path.stat()
            except OSError:
                found.append(None)
            else:
                found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return found

    def _read(self) -> Certificate:
        chain = _read("REROOM_C2PA_CHAIN", self._files[0])
        found = read_certificate(chain, _read("REROOM_C2PA_KEY", self._files[1]))
        if found.valid(self._clock()):
            self._check(found)
        return found


def read_certificate(chain: bytes, key: bytes) -> Certificate:
    """From PEM. Raises CredentialsError, also for a key of another certificate."""
    # A dependency of c2pa-python.
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        raise CredentialsError("REROOM_C2PA_CHAIN: the file has no certificates in PEM") from None
    convert = "convert it with `openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW`"
    if b"-----BEGIN PRIVATE KEY-----" not in key:
        raise CredentialsError(
            f"REROOM_C2PA_KEY: the file has no PKCS #8 key in PEM without a password; {convert}"
        )
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Without the library's reason, which might quote the file.
        raise CredentialsError(f"REROOM_C2PA_KEY: the key cannot be read; {convert}") from None
    if private.public_key() != certificate.public_key():
        raise CredentialsError(
            "REROOM_C2PA_KEY: the key is not that of the first certificate in REROOM_C2PA_CHAIN, which must be the "
            "signer's own"
        )
    match private:
        case ec.EllipticCurvePrivateKey() if private.curve.name in _CURVES:
            algorithm = _CURVES[private.curve.name]
        case ed25519.Ed25519PrivateKey():
            algorithm = "ED25519"
        case rsa.RSAPrivateKey() if private.key_size >= 2048:
            algorithm = "PS256"
        case _:
            raise CredentialsError(
                "REROOM_C2PA_KEY: C2PA signs with ECDSA on P-256, P-384 or P-521, with Ed25519, or with RSA of at "
                "least 2048 bits"
            )
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Certificate(algorithm, chain, key, begin.timestamp(), end.timestamp())


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsError(f"{name}: {path} cannot be read: {error.strerror}") from None

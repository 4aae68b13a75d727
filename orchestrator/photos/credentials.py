"""Signs pictures as C2PA says ("Content Credentials"), with the operator's certificate and the library c2pa-python.

The library is imported only where a certificate is given: it is an extra of this package, ``reroom-server[c2pa]``.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.domain.marks import SOURCE_TYPE, SYSTEM, Facts

STAMP_SECONDS = 10.0
"""Seconds that the time-stamping authority may take for one picture."""

STAMP_PAUSE = 60.0
"""Seconds without time stamps after the authority failed, so that its outage does not delay every job."""

ASSERTION = "org.reroom.job"
"""The label of our own assertion in the manifest: id, models, provider, and what was kept."""

_PURPOSES = "1.3.6.1.5.5.7.3.4\n1.3.6.1.5.5.7.3.36\n1.3.6.1.4.1.62558.2.1\n"
"""The extended key usages that a signer's certificate may have: e-mail protection, document signing, and C2PA's own
claim signing."""

_SETTINGS = {
    # Otherwise a thumbnail of the photo, of 300 KB and more, would be in every result.
    "builder": {"thumbnail": {"enabled": False}},
    "trust": {"trust_config": _PURPOSES},
    # It costs a third of the time, and open_credentials has tried the certificate.
    "verify": {"verify_after_sign": False},
}

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_log = logging.getLogger("reroom.credentials")


class CredentialsError(Exception):
    """Pictures cannot be signed with what the operator gave. One sentence; it never has a part of the key."""


@dataclass(frozen=True)
class Source:
    """A picture from which another was made."""

    title: str
    data: bytes
    """A JPEG or PNG file; the credentials that it has are kept."""


class Credentials:
    """Signs pictures; may be used by several threads. Made by :func:`open_credentials`."""

    def __init__(self, algorithm: str, chain: bytes, key: bytes, stamp_url: str | None) -> None:
        import c2pa

        self._c2pa, self._stamp_url = c2pa, stamp_url
        self._algorithm, self._chain, self._key = getattr(c2pa.C2paSigningAlg, algorithm), chain, key
        self._context = c2pa.Context.from_dict(_SETTINGS)
        self._stamp_again = 0.0

    def sign(
        self, picture: bytes, facts: Facts, sources: Sequence[Source] = (), *, stamped: bool = False
    ) -> bytes:
        """The JPEG or PNG with a signed manifest; nothing may change it afterwards.

        A picture is not held back because the time-stamping authority fails: it is then signed without its time.
        """
        if stamped and self._stamp_url is not None and time.monotonic() >= self._stamp_again:
            done = self._stamped(picture, facts, sources)
            if done is not None:
                return done
        return self._sign(picture, facts, sources, None)

    def _stamped(self, picture: bytes, facts: Facts, sources: Sequence[Source]) -> bytes | None:
        """None when the authority does not answer in time. The library has no limit of time, and a thread cannot be
        stopped, so one that waits for ever is left behind; it does not keep the process from ending."""
        done: list[bytes] = []
        reasons: list[str] = []

        def work() -> None:
            try:
                done.append(self._sign(picture, facts, sources, self._stamp_url))
            except self._c2pa.C2paError as error:
                reasons.append(str(error))

        thread = threading.Thread(target=work, name="time stamp", daemon=True)
        thread.start()
        thread.join(STAMP_SECONDS)
        if done:
            return done[0]
        self._stamp_again = time.monotonic() + STAMP_PAUSE
        reason = reasons[0] if reasons else f"no answer within {STAMP_SECONDS:.0f} s"
        _log.warning("pictures are signed without a time stamp for %.0f s: %s", STAMP_PAUSE, reason)
        return None

    def _sign(self, picture: bytes, facts: Facts, sources: Sequence[Source], stamp_url: str | None) -> bytes:
        c2pa, kind = self._c2pa, _media_type(picture)
        info = c2pa.C2paSignerInfo(self._algorithm, self._chain, self._key, stamp_url)
        out = io.BytesIO()
        with (
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(manifest(facts, len(sources)), self._context) as builder,
        ):
            for number, source in enumerate(sources):
                ingredient = {
                    "title": source.title,
                    "format": _media_type(source.data),
                    "relationship": "parentOf" if len(sources) == 1 else "componentOf",
                    "label": _source_id(number),
                }
                builder.add_ingredient(ingredient, ingredient["format"], io.BytesIO(source.data))
            builder.sign(signer, kind, io.BytesIO(picture), out)
        return out.getvalue()


def manifest(facts: Facts, sources: int) -> dict[str, Any]:
    """The manifest's definition. One source was opened and edited; several were placed in a new picture; without any,
    the manifest says only that the picture was created."""
    agent = {"name": SYSTEM, "version": facts.version}
    edited = {
        "when": facts.time,
        "digitalSourceType": SOURCE_TYPE,
        "softwareAgent": agent,
        "description": facts.sentence,
    }
    ids = [_source_id(number) for number in range(sources)]
    actions: list[dict[str, Any]]
    if sources == 1:
        actions = [
            {"action": "c2pa.opened", "parameters": {"ingredientIds": ids}},
            {"action": "c2pa.edited", **edited},
        ]
    else:
        actions = [{"action": "c2pa.created", **edited}]
        actions += [{"action": "c2pa.placed", "parameters": {"ingredientIds": [each]}} for each in ids]
    job: dict[str, Any] = {"job": facts.job_id, "release": facts.release, "provider": facts.provider}
    if facts.kept is not None:
        job["kept"] = {"share": round(facts.kept, 4), "source": "the ingredient", "rest": SOURCE_TYPE}
    return {
        "claim_generator_info": [agent],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}},
            {"label": ASSERTION, "data": {name: value for name, value in job.items() if value != ""}},
        ],
    }


def open_credentials(chain_file: Path, key_file: Path, stamp_url: str | None) -> Credentials:
    """The signer of the certificates in ``chain_file`` (PEM, the signer's own first) and its ``key_file`` (PKCS #8 PEM
    without a password); ``stamp_url`` is an RFC 3161 authority's, which is not asked here. Raises CredentialsError."""
    try:
        import c2pa
    except ImportError:
        raise CredentialsError(
            "REROOM_C2PA_CHAIN needs the package c2pa-python: pip install 'reroom-server[c2pa]', or unset it"
        ) from None
    chain = _read("REROOM_C2PA_CHAIN", chain_file)
    key = _read("REROOM_C2PA_KEY", key_file)
    found = Credentials(_algorithm(chain, key), chain, key, stamp_url)
    tried = Facts(job_id="", made_at=time.time(), version="")
    try:
        found._sign(_a_picture(), tried, (), None)
    except c2pa.C2paError:
        raise CredentialsError(
            "REROOM_C2PA_CHAIN: C2PA does not accept this certificate; it must not be a CA's, must have the key usage "
            "digitalSignature, an authority key identifier, and the extended key usage emailProtection, "
            "documentSigning or C2PA claimSigning (docs/marks.md shows how to make one)"
        ) from None
    return found


def _algorithm(chain: bytes, key: bytes) -> str:
    """The name of the algorithm that the key signs with. Raises CredentialsError, also for a key of another
    certificate and for one that is not valid now."""
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
    if (
        not certificate.not_valid_before_utc.timestamp()
        <= time.time()
        < certificate.not_valid_after_utc.timestamp()
    ):
        raise CredentialsError("REROOM_C2PA_CHAIN: the certificate is not valid now; renew it")
    match private:
        case ec.EllipticCurvePrivateKey() if private.curve.name in _CURVES:
            return _CURVES[private.curve.name]
        case ed25519.Ed25519PrivateKey():
            return "ED25519"
        case rsa.RSAPrivateKey() if private.key_size >= 2048:
            return "PS256"
        case _:
            raise CredentialsError(
                "REROOM_C2PA_KEY: C2PA signs with ECDSA on P-256, P-384 or P-521, with Ed25519, or with RSA of at "
                "least 2048 bits"
            )


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsError(f"{name}: {path} cannot be read: {error.strerror}") from None


def _a_picture() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "JPEG")
    return out.getvalue()


def _media_type(picture: bytes) -> str:
    return "image/png" if picture.startswith(b"\x89PNG") else "image/jpeg"


def _source_id(number: int) -> str:
    return f"source-{number}"

"""Signs pictures as C2PA says ("Content Credentials"), with the operator's certificate and the library c2pa-python.

The library is imported only where a certificate is given: it is an extra of this package, ``reroom-server[c2pa]``.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.domain.marks import SYSTEM, Facts
from orchestrator.photos.certificate import Certificate, CertificateFiles, CredentialsError
from orchestrator.telemetry import metrics

STAMP_SECONDS = 10.0
"""Seconds that the time-stamping authority may take for one picture."""

STAMP_PAUSE = 60.0
"""Seconds without time stamps after the authority failed, so that its outage does not delay every job."""

ASSERTION = "org.reroom.job"
"""The label of our own assertion in the manifest: id, models, provider, and what was kept."""

_PURPOSES = "1.3.6.1.5.5.7.3.4\n1.3.6.1.5.5.7.3.36\n1.3.6.1.4.1.62558.2.1\n"
"""The extended key usages that a signer's certificate may have: e-mail protection, document signing, and C2PA's own
claim signing."""

_ARCHIVE = "application/c2pa"
"""The media type of an ingredient that c2pa has read before."""

_SETTINGS = {
    # Otherwise a thumbnail of the photo, of 300 KB and more, would be in every result.
    "builder": {"thumbnail": {"enabled": False}},
    "trust": {"trust_config": _PURPOSES},
    # It costs a third of the time, and the certificate has been tried.
    "verify": {"verify_after_sign": False, "remote_manifest_fetch": False},
}

_log = logging.getLogger("reroom.credentials")


@dataclass(frozen=True)
class Source:
    """A picture from which another was made."""

    title: str
    data: bytes
    """A JPEG or PNG file; the credentials that it has are kept."""
    manifests: bytes = b""
    """The manifests that the file carried before it was encoded anew, as c2pa's archive of an ingredient
    (:attr:`orchestrator.photos.gate.Photo.manifests`); empty for none."""


class Credentials:
    """Signs pictures; may be used by several threads. Made by :func:`open_credentials`."""

    def __init__(
        self, chain_file: Path, key_file: Path, stamp_url: str | None, clock: Callable[[], float] = time.time
    ) -> None:
        import c2pa

        self._c2pa, self._stamp_url = c2pa, stamp_url
        self._context = c2pa.Context.from_dict(_SETTINGS)
        self._stamp_again = 0.0
        self._files = CertificateFiles(chain_file, key_file, self._try, clock)
        metrics.SIGNING_CERTIFICATE_END.set(self._files.end)

    def sign(
        self, picture: bytes, facts: Facts, sources: Sequence[Source] = (), *, stamped: bool = False
    ) -> bytes | None:
        """The JPEG or PNG with a signed manifest; nothing may change it afterwards. None when it cannot be signed now,
        which is logged: no job fails because of a certificate that has ended.

        A picture is not held back because the time-stamping authority fails either: it is then signed without its time.
        """
        certificate = self._files.current()
        metrics.SIGNING_CERTIFICATE_END.set(self._files.end)
        if certificate is None:
            metrics.UNSIGNED_PICTURES.labels("certificate").inc()
            return None
        try:
            return self._signed(certificate, picture, facts, sources, stamped)
        except self._c2pa.C2paError as error:
            if any(source.manifests for source in sources):
                _log.warning("job %s: its photo's manifests are left out: %s", facts.job_id, error)
                plain = [replace(source, manifests=b"") for source in sources]
                return self.sign(picture, facts, plain, stamped=stamped)
            metrics.UNSIGNED_PICTURES.labels("error").inc()
            _log.error("job %s: a picture is not signed: %s", facts.job_id, error)
            return None

    def _signed(
        self,
        certificate: Certificate,
        picture: bytes,
        facts: Facts,
        sources: Sequence[Source],
        stamped: bool,
    ) -> bytes:
        if stamped and self._stamp_url is not None and time.monotonic() >= self._stamp_again:
            done = self._stamped(certificate, picture, facts, sources)
            if done is not None:
                return done
        return self._sign(certificate, picture, facts, sources, None)

    def _stamped(
        self, certificate: Certificate, picture: bytes, facts: Facts, sources: Sequence[Source]
    ) -> bytes | None:
        """None when the authority does not answer in time. The library has no limit of time, and a thread cannot be
        stopped, so one that waits for ever is left behind; it does not keep the process from ending."""
        done: list[bytes] = []
        reasons: list[str] = []

        def work() -> None:
            try:
                done.append(self._sign(certificate, picture, facts, sources, self._stamp_url))
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

    def _sign(
        self,
        certificate: Certificate,
        picture: bytes,
        facts: Facts,
        sources: Sequence[Source],
        stamp_url: str | None,
    ) -> bytes:
        c2pa, kind = self._c2pa, _media_type(picture)
        algorithm = getattr(c2pa.C2paSigningAlg, certificate.algorithm)
        info = c2pa.C2paSignerInfo(algorithm, certificate.chain, certificate.key, stamp_url)
        out = io.BytesIO()
        with (
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(manifest(facts, len(sources)), self._context) as builder,
        ):
            for number, source in enumerate(sources):
                ingredient = {
                    "title": source.title,
                    "relationship": "parentOf" if len(sources) == 1 else "componentOf",
                    "label": _source_id(number),
                }
                data, kept_as = (source.manifests, _ARCHIVE) if source.manifests else (source.data, None)
                builder.add_ingredient(ingredient, kept_as or _media_type(source.data), io.BytesIO(data))
            builder.sign(signer, kind, io.BytesIO(picture), out)
        return out.getvalue()

    def _try(self, certificate: Certificate) -> None:
        tried = Facts(job_id="", made_at=time.time(), version="")
        try:
            self._sign(certificate, _a_picture(), tried, (), None)
        except self._c2pa.C2paError:
            raise CredentialsError(
                "REROOM_C2PA_CHAIN: C2PA does not accept this certificate; it must not be a CA's, must have the key "
                "usage digitalSignature, an authority key identifier, and the extended key usage emailProtection, "
                "documentSigning or C2PA claimSigning (docs/marks.md shows how to make one)"
            ) from None


def manifest(facts: Facts, sources: int) -> dict[str, Any]:
    """The manifest's definition. One source was opened and edited; several were placed in a new picture; without any,
    the manifest says only that the picture was created."""
    agent = {"name": SYSTEM, "version": facts.version}
    edited = {
        "when": facts.time,
        "digitalSourceType": facts.source_type,
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
        job["kept"] = {"share": round(facts.kept, 4), "source": "the ingredient", "rest": facts.source_type}
    return {
        "claim_generator_info": [agent],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}},
            {"label": ASSERTION, "data": {name: value for name, value in job.items() if value != ""}},
        ],
    }


def open_credentials(
    chain_file: Path, key_file: Path, stamp_url: str | None, clock: Callable[[], float] = time.time
) -> Credentials:
    """The signer of the certificates in ``chain_file`` (PEM, the signer's own first) and its ``key_file`` (PKCS #8 PEM
    without a password); ``stamp_url`` is an RFC 3161 authority's, which is not asked here. Raises CredentialsError; a
    certificate that is not valid now is complained of in the log instead."""
    try:
        return Credentials(chain_file, key_file, stamp_url, clock)
    except ImportError:
        raise CredentialsError(
            "REROOM_C2PA_CHAIN needs the package c2pa-python: run `make setup`, or pip install '.[c2pa]', or unset it"
        ) from None


def _a_picture() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "JPEG")
    return out.getvalue()


def _media_type(picture: bytes) -> str:
    return "image/png" if picture.startswith(b"\x89PNG") else "image/jpeg"


def _source_id(number: int) -> str:
    return f"source-{number}"

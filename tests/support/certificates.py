"""A certificate authority of a test's own, and signers for C2PA of every kind that an operator may come with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID, ObjectIdentifier

EMAIL, DOCUMENTS, CLAIMS = "1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1"
"""Purposes of a certificate (extended key usages) that C2PA takes."""
SERVERS = "1.3.6.1.5.5.7.3.1"
"""One that it does not take."""

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Signer:
    """Files in PEM."""

    chain: Path
    key: Path
    anchor: str
    """The authority's certificate, which a reader trusts."""


def a_signer(
    folder: Path, key: Key | None = None, purpose: str = EMAIL, days: int = 30, name: str = "signer"
) -> Signer:
    """A leaf certificate for ``days`` from now (negative: it has expired) with its authority's, in ``folder``."""
    authority, own = ec.generate_private_key(ec.SECP256R1()), key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    until = now + timedelta(days=days)

    def begun(subject: str, public: CertificatePublicKeyTypes) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name("authority"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, until) - timedelta(days=1))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(subject == "authority", None), True)
            .add_extension(_usage(of_authority=subject == "authority"), True)
        )

    root = begun("authority", authority.public_key()).sign(authority, hashes.SHA256())
    leaf = (
        begun(name, own.public_key())
        .add_extension(x509.ExtendedKeyUsage([ObjectIdentifier(purpose)]), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False)
        .sign(authority, hashes.SHA256())
    )
    chain, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    anchor = root.public_bytes(ser.Encoding.PEM)
    chain.write_bytes(leaf.public_bytes(ser.Encoding.PEM) + anchor)
    key_file.write_bytes(own.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()))
    return Signer(chain, key_file, anchor.decode())


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "reroom's tests"),
        ]
    )


def _usage(*, of_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=of_authority, crl_sign=of_authority, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip

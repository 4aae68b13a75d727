"""Fingerprints of files."""

from export.releases.checksums import sha256

__all__ = ["sha256"]

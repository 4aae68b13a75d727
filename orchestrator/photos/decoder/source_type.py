"""Reads what IPTC calls the source type of a picture: whether a camera took it, or AI made it."""

from __future__ import annotations

import re

GENERATED = "trainedAlgorithmicMedia"
"""IPTC's term for a picture that AI made without a photo."""

_VOCABULARY = r"https?://cv\.iptc\.org/newscodes/digitalsourcetype/([A-Za-z]{1,60})"
_URI = re.compile(_VOCABULARY + "/?")
_IN_XMP = re.compile(
    rb"DigitalSourceType(?:\s*=\s*[\"']|\s+rdf:resource\s*=\s*[\"']|\s*>)\s*" + _VOCABULARY.encode() + rb"\b"
)


def xmp_source_type(text: bytes) -> str:
    """The last part of the DigitalSourceType in an XMP packet, such as ``digitalCapture``; "" when it has none."""
    match = _IN_XMP.search(text)
    return match[1].decode() if match else ""


def source_type_of(uri: str) -> str:
    """The last part of a term of IPTC's vocabulary; "" for anything else."""
    match = _URI.fullmatch(uri)
    return match[1] if match else ""

"""What a picture says about how it was made, inside its file: the facts, and their XMP packet.

XMP is read by search engines, picture editors and agencies. The names are those of the IPTC Photo Metadata Standard
2025.1 (``Iptc4xmpExt``), Dublin Core (``dc``) and XMP itself. Nothing about the user is in it, and not the prompt.
"""

from __future__ import annotations

from datetime import UTC, datetime
from xml.sax.saxutils import escape, quoteattr

import msgspec

SYSTEM = "reroom"
"""The name of the AI system."""

GENERATED, CHANGED = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"
"""IPTC's terms for a picture that generative AI made, and for one that it made from a photo."""

_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""IPTC's vocabulary. It begins with http:// by definition."""

_NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}

MAX_MANIFESTS = 2**20
"""Bytes of the C2PA manifests of an upload that are kept, as its decoder limits them; they are in every result."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """How a picture was made: what the law asks such a file to say (California's SB 942: provider, system, version,
    time, a unique id)."""

    job_id: str
    made_at: float
    """UNIX seconds."""
    version: str
    """Of this service."""
    release: str = ""
    """The models that made it; "" where it is not known yet, as in a preview."""
    provider: str = ""
    """Who runs the service, in words; "" = it was not said."""
    kept: float | None = None
    """The share of the picture, 0..1, that a keep mask left as photographed; None = there was no mask."""
    photo_type: str = ""
    """What the upload said of where it comes from: a term of IPTC's, such as GENERATED; "" = nothing."""
    of_several: bool = False
    """Whether the picture shows others side by side: the photo, and what was made of it."""

    @property
    def source_type(self) -> str:
        """IPTC's term for the picture, as a URI. What AI makes of a picture that AI made has no photo in it."""
        return _TERMS + (GENERATED if self.photo_type == GENERATED else CHANGED)

    @property
    def time(self) -> str:
        """RFC 3339 in UTC, in whole seconds."""
        return datetime.fromtimestamp(int(self.made_at), UTC).isoformat().replace("+00:00", "Z")

    @property
    def sentence(self) -> str:
        """For people. It names both sources, the photo and the AI."""
        generated = self.photo_type == GENERATED
        original = "picture of a room that AI made" if generated else "photo of a room"
        if self.of_several:
            return f"A {original}, beside what AI made of it."
        said = f"A {original}, changed by AI again." if generated else f"A {original} that was changed by AI."
        if self.kept is None:
            return said
        share, how = f"{100 * self.kept:.0f} %", "it was" if generated else "photographed"
        return f"{said} A mask kept {share} of it as {how}; the AI made the rest."


def xmp(facts: Facts) -> bytes:
    """The XMP packet of a picture."""
    models = f", models {facts.release}" if facts.release else ""
    attributes = {
        "Iptc4xmpExt:DigitalSourceType": facts.source_type,
        "Iptc4xmpExt:AISystemUsed": SYSTEM,
        "Iptc4xmpExt:AISystemVersionUsed": f"{facts.version}{models}",
        "xmp:CreatorTool": f"{SYSTEM} {facts.version}",
        "xmp:CreateDate": facts.time,
        "dc:identifier": facts.job_id,
        "dc:source": f"the photo of job {facts.job_id}",
    }
    attributes |= {f"xmlns:{prefix}": uri for prefix, uri in _NAMESPACES.items() if prefix != "rdf"}
    written = " ".join(f"{name}={quoteattr(value)}" for name, value in attributes.items())
    description = f'<rdf:Alt><rdf:li xml:lang="x-default">{escape(facts.sentence)}</rdf:li></rdf:Alt>'
    inner = f"<dc:description>{description}</dc:description>"
    if facts.provider:
        publisher = f"<rdf:Bag><rdf:li>{escape(facts.provider)}</rdf:li></rdf:Bag>"
        inner += f"<dc:publisher>{publisher}</dc:publisher>"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_NAMESPACES["rdf"]}">'
        f'<rdf:Description rdf:about="" {written}>{inner}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    ).encode()

"""Reads the marks of pictures with other people's tools: c2pa's reader, and Pillow with an XML parser for XMP."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from typing import Any

import c2pa
from PIL import Image

from tests.support.certificates import CLAIMS, DOCUMENTS, EMAIL, Signer

VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
COMPOSITE = f"{VOCABULARY}compositeWithTrainedAlgorithmicMedia"
GENERATED = f"{VOCABULARY}trainedAlgorithmicMedia"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
DC = "{http://purl.org/dc/elements/1.1/}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


def xmp_of(picture: bytes) -> dict[str, str]:
    """The properties of a picture's XMP packet by name; {} without one."""
    with Image.open(io.BytesIO(picture)) as opened:
        opened.load()  # a PNG's text may come after its pixels
        packet = opened.info.get("xmp") or opened.info.get("XML:com.adobe.xmp") or b""
    if not packet:
        return {}
    text = packet.decode() if isinstance(packet, bytes) else packet
    (description,) = ET.fromstring(text.strip("\ufeff\0")).iter(f"{_RDF}Description")
    return dict(description.attrib) | {child.tag: "".join(child.itertext()) for child in description}


def manifests_of(picture: bytes, anchor: str = "") -> tuple[str, dict[str, Any]]:
    """What c2pa says of the signature, Trusted, Valid or Invalid, and its JSON. Raises c2pa.C2paError without a
    manifest."""
    trust = {"trust_config": "\n".join((EMAIL, DOCUMENTS, CLAIMS)) + "\n"}
    if anchor:
        trust["user_anchors"] = anchor
    kind = "image/png" if picture.startswith(b"\x89PNG") else "image/jpeg"
    context = c2pa.Context.from_dict({"trust": trust})
    with c2pa.Reader(kind, io.BytesIO(picture), context=context) as reader:
        return reader.get_validation_state(), json.loads(reader.json())


def as_camera(
    picture: bytes, signer: Signer, kind: str = "image/jpeg", source: str = "digitalCapture"
) -> bytes:
    """The picture as a camera, or another maker of pictures, signs it: with where it comes from, without XMP."""
    action = {"action": "c2pa.created", "digitalSourceType": f"{VOCABULARY}{source}"}
    definition = {
        "claim_generator_info": [{"name": "A camera"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    chain, key, out = signer.chain.read_bytes(), signer.key.read_bytes(), io.BytesIO()
    context = c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})
    info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, chain, key, None)
    with c2pa.Signer.from_info(info) as signs, c2pa.Builder(definition, context) as builder:
        builder.sign(signs, kind, io.BytesIO(picture), out)
    return out.getvalue()


def codes(ingredient: dict[str, Any], what: str = "success") -> set[str]:
    """What was found when the ingredient was read: of a kind, "success" or "failure"."""
    return {each["code"] for each in ingredient["validation_results"]["activeManifest"].get(what, [])}


def active(found: dict[str, Any]) -> dict[str, Any]:
    manifest: dict[str, Any] = found["manifests"][found["active_manifest"]]
    return manifest


def assertion(manifest: dict[str, Any], label: str) -> dict[str, Any]:
    (data,) = [each["data"] for each in manifest["assertions"] if each["label"].startswith(label)]
    assert isinstance(data, dict)
    return data

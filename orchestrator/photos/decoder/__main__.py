"""Decodes pictures from standard input and writes answers to standard output:
``python -m orchestrator.photos.decoder MAX_PIXELS MEMORY CPU_SECONDS require|prefer``.

A request is a byte that says what is wanted (0 the picture, 1 its manifests), two 4-byte big-endian numbers, the most
pixels that the picture may have and the file's length, and then the file's bytes. An answer is the byte 1, sent as soon
as the request is complete, a length and a JSON head, ``{"ok": true, "width", "height", "source_type", "credentialed"}``
or ``{"ok": false, "code", "detail"}``, then a length and the bytes of the JPEG or of the manifests' archive (none on
failure). The first answer comes without a request, when the process is warm and confined. Its ``detail`` names the part
of the sandbox that is missing on this machine; with ``require`` the process ends instead. The process ends at the end
of standard input, so it never outlives its parent. SIGPROF ends it when a picture takes more than CPU_SECONDS.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import signal
import struct
import sys
import warnings
from typing import BinaryIO

import numpy
import pi_heif
from PIL import AvifImagePlugin, Image, ImageCms

from orchestrator.photos.decoder import picture, provenance, sandbox
from orchestrator.photos.decoder.limits import MIN_SIDE, Rejected
from orchestrator.photos.decoder.small_heic import SMALL_HEIC

RECEIVED = b"\1"
PICTURE, MANIFESTS = 0, 1
_HEAD = ">BII"


def answer(data: bytes, max_pixels: int) -> tuple[dict[str, object], bytes]:
    try:
        made = picture.normalise(data, max_pixels)
    except Rejected as error:
        return {"ok": False, "code": error.code, "detail": error.detail}, b""
    except MemoryError:
        detail = "the picture needs too much memory to decode; scale it down"
        return {"ok": False, "code": "image_too_large", "detail": detail}, b""
    said = {"source_type": made.source_type, "credentialed": made.credentialed}
    return {"ok": True, "width": made.width, "height": made.height, **said}, made.jpeg


def manifests(data: bytes, reader: provenance.Reader) -> tuple[dict[str, object], bytes]:
    try:
        source_type, archive = reader.read(data)
    except provenance.NoProvenance as error:
        return {"ok": False, "detail": str(error)}, b""
    except MemoryError:
        return {"ok": False, "detail": "they need too much memory"}, b""
    return {"ok": True, "source_type": source_type}, archive


def serve(
    requests: BinaryIO, answers: BinaryIO, max_pixels: int, cpu_seconds: float, reader: provenance.Reader
) -> None:
    while len(head := requests.read(struct.calcsize(_HEAD))) == struct.calcsize(_HEAD):
        wanted, pixels, length = struct.unpack(_HEAD, head)
        data = requests.read(length)
        answers.write(RECEIVED)
        answers.flush()
        # A limit of processor time that Python need not handle: a library may loop in C.
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        if wanted == MANIFESTS:
            fields, file = manifests(data, reader)
        else:
            fields, file = answer(data, min(pixels, max_pixels))
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(answers, fields, file)


def send(answers: BinaryIO, fields: dict[str, object], file: bytes) -> None:
    for part in (json.dumps(fields).encode(), file):
        answers.write(struct.pack(">I", len(part)) + part)
    answers.flush()


def warm_up(max_pixels: int) -> provenance.Reader:
    """Make the libraries load their late parts while files can still be opened."""
    Image.init()
    with contextlib.suppress(MemoryError):
        numpy.empty(2**60, numpy.uint8)
    profile = ImageCms.ImageCmsProfile(picture.SRGB).tobytes()
    files = [SMALL_HEIC]
    for format in ("JPEG", "PNG", "WEBP", "AVIF"):
        out = io.BytesIO()
        Image.new("RGB", (MIN_SIDE, MIN_SIDE)).save(out, format, icc_profile=profile)
        files.append(out.getvalue())
    for file in files:
        answer(file, max_pixels)
        answer(file[:-20], max_pixels)
    reader = provenance.Reader()
    reader.warm_up()
    return reader


def confine(memory: int, required: bool) -> str:
    """Enter the sandbox. Returns what is missing of it on this machine, empty for nothing. Raises SandboxMissing if it
    is ``required``."""
    missing = ""
    try:
        sandbox.load_libraries()
    except sandbox.SandboxMissing as error:
        missing = str(error)
    sandbox.confine(memory)
    if not missing:
        try:
            sandbox.filter_system_calls()
        except sandbox.SandboxMissing as error:
            missing = str(error)
    if missing and required:
        raise sandbox.SandboxMissing(missing)
    if missing:
        sandbox.forbid_processes()
        picture.without_threads = True
    return missing


def parse(arguments: list[str]) -> argparse.Namespace:
    """The arguments. Wrong ones end the program with a usage message and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator.photos.decoder",
        description="Decodes pictures from standard input. The API starts it.",
    )
    parser.add_argument("max_pixels", type=int, help="width × height of a picture, at most")
    parser.add_argument("memory", type=int, help="bytes of address space")
    parser.add_argument("cpu_seconds", type=float, help="processor time of a picture, at most")
    parser.add_argument("sandbox", choices=("require", "prefer"), help="whether it serves without all of it")
    return parser.parse_args(arguments)


def main() -> None:
    given = parse(sys.argv[1:])
    # Ctrl-C and a service manager's stop reach every process of a group. Only the end of standard input ends this one.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    Image.MAX_IMAGE_PIXELS = given.max_pixels
    # One thread each: further ones would only take turns with other decoders.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pi_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    reader = warm_up(given.max_pixels)
    try:
        missing = confine(given.memory, given.sandbox == "require")
    except sandbox.SandboxMissing as error:
        sys.exit(f"the sandbox is required, but {error}")
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(RECEIVED)
    send(answers, {"ok": True, "detail": missing}, b"")
    serve(requests, answers, given.max_pixels, given.cpu_seconds, reader)


if __name__ == "__main__":
    main()

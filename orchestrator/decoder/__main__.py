"""Serves pictures on standard input and output: ``python -m orchestrator.decoder MAX_PIXELS MEMORY CPU_SECONDS``.

A request is a 4-byte big-endian length and the file's bytes. An answer is the byte 1 as soon as all has come in, a
length and a JSON head, ``{"ok": true, "width", "height"}`` or ``{"ok": false, "code", "detail"}``, then a length and
the JPEG's bytes (none on failure). A first one comes unasked, when the process is warm. It ends at the end
of standard input, so it never outlives its parent; SIGPROF ends it over a picture that takes more than CPU_SECONDS.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import signal
import struct
import sys
import warnings
from typing import BinaryIO

from PIL import Image, ImageCms

from orchestrator.decoder.limits import MIN_SIDE, Rejected
from orchestrator.decoder.picture import SRGB, normalise

RECEIVED = b"\1"


def answer(data: bytes, max_pixels: int) -> tuple[dict[str, object], bytes]:
    try:
        jpeg, width, height = normalise(data, max_pixels)
    except Rejected as error:
        return {"ok": False, "code": error.code, "detail": error.detail}, b""
    except MemoryError:
        detail = "the picture needs too much memory to decode; scale it down"
        return {"ok": False, "code": "image_too_large", "detail": detail}, b""
    return {"ok": True, "width": width, "height": height}, jpeg


def serve(requests: BinaryIO, answers: BinaryIO, max_pixels: int, cpu_seconds: float) -> None:
    answers.write(RECEIVED)
    send(answers, {"ok": True}, b"")
    while len(head := requests.read(4)) == 4:
        (length,) = struct.unpack(">I", head)
        data = requests.read(length)
        answers.write(RECEIVED)
        answers.flush()
        # Of processor time, and not to be caught: libraries may loop where no Python runs.
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        fields, jpeg = answer(data, max_pixels)
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(answers, fields, jpeg)


def send(answers: BinaryIO, fields: dict[str, object], jpeg: bytes) -> None:
    for part in (json.dumps(fields).encode(), jpeg):
        answers.write(struct.pack(">I", len(part)) + part)
    answers.flush()


def warm_up(max_pixels: int) -> None:
    """Let Pillow load what it loads late, while files can still be opened."""
    Image.init()
    profile = ImageCms.ImageCmsProfile(SRGB).tobytes()
    for format in ("JPEG", "PNG", "WEBP"):
        out = io.BytesIO()
        Image.new("RGB", (MIN_SIDE, MIN_SIDE)).save(out, format, icc_profile=profile)
        answer(out.getvalue(), max_pixels)
        answer(out.getvalue()[:-20], max_pixels)


def give_up_rights(memory: int) -> None:
    """Keep so many bytes of address space and the three open pipes: no file, socket or process can be added."""
    for kind, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 3),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (limit, limit))


def parse(arguments: list[str]) -> tuple[int, int, float]:
    """(pixels, bytes, seconds); a usage message and exit status 2 for anything else."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator.decoder",
        description="Decodes pictures from standard input. The API starts it.",
    )
    parser.add_argument("max_pixels", type=int, help="width × height of a picture, at most")
    parser.add_argument("memory", type=int, help="bytes of address space")
    parser.add_argument("cpu_seconds", type=float, help="processor time of a picture, at most")
    given = parser.parse_args(arguments)
    return given.max_pixels, given.memory, given.cpu_seconds


def main() -> None:
    max_pixels, memory, cpu_seconds = parse(sys.argv[1:])
    # Ctrl-C and a service manager's stop reach every process of a group; the end of standard input ends this one.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    Image.MAX_IMAGE_PIXELS = max_pixels
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    warm_up(max_pixels)
    give_up_rights(memory)
    serve(sys.stdin.buffer, sys.stdout.buffer, max_pixels, cpu_seconds)


if __name__ == "__main__":
    main()

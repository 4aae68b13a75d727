"""``GET /studio``: the page for people. Its files are in ``orchestrator/studio/``, and are served as they are; those of
the page for administrators too (admin_page.py), which shares some of them.

The page itself is asked for again each time, and names the version of all other files in their address, so that those
may be cached for ever. ``{{name}}`` in the page is what :func:`page` fills in.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import html
import posixpath
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec
from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from orchestrator.api.middleware.access import Rule, access, recognised
from orchestrator.api.responses.errors import Problem
from orchestrator.api.routes.files import etag, known
from orchestrator.domain.codes import ProblemCode
from orchestrator.settings import Settings

FOLDER = Path(__file__).parents[2] / "studio"
PAGE = "index.html"
FIRST = "first.html"
"""The first view, as compose.mjs makes it: it is seen before the modules are there."""
START = "app.mjs"
"""The module that the page begins with. It loads other views than the first later."""
DEFAULT_LANGUAGE = "en"
WORKER = "worker.js"
"""The service worker, at an address that stays: browsers look there for newer ones."""
MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
}
"""By the ending of the name. Others in the folder, such as licences, are not served."""

FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "private, no-cache"
APART = ("admin/", "shared/")
"""Folders of other pages."""
KEPT_OFFLINE = frozenset({".css", ".js", ".json", ".mjs", ".svg"})
"""What the page needs to open without a network, by the ending of the name."""
_FILLED_IN = frozenset({PAGE, FIRST, WORKER})
_AS_IT_IS = frozenset({".png", ".webp"})


class StudioFile(msgspec.Struct, frozen=True, kw_only=True):
    content: bytes
    media_type: str
    small: bytes | None
    """The content by gzip; None where that is no smaller."""


class StudioController(Controller):
    path = "/studio"
    include_in_schema = False
    opt = access(Rule.PUBLIC)

    @get("/")
    async def page(
        self, request: Request[Any, Any, Any], settings: NamedDependency[Settings]
    ) -> Response[bytes]:
        is_open = await recognised(request) is not None
        language = language_of(request.headers.get("accept-language", ""))
        headers = {
            "Content-Security-Policy": policy(settings),
            "Cache-Control": ASK_AGAIN,
            "Vary": "Accept-Language",
        }
        return answer(request, packed(page(settings, is_open, language), ".html"), headers)

    @get(f"/{WORKER}")
    async def worker(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        headers = {
            "Content-Security-Policy": "default-src 'none'; connect-src 'self'",
            "Cache-Control": ASK_AGAIN,
            # It is for the page above its own folder, and for nothing else.
            "Service-Worker-Allowed": "../studio",
        }
        return answer(request, worker(), headers)

    @get("/{of:str}/{name:path}")
    async def file(
        self, request: Request[Any, Any, Any], of: FromPath[str], name: FromPath[str]
    ) -> Response[bytes]:
        found = files().get(name.removeprefix("/"))
        if found is None:
            raise Problem(ProblemCode.NOT_FOUND, "there is nothing at this address")
        # While processes of two versions answer, what one has must not be kept for ever as the other's.
        return answer(request, found, {"Cache-Control": FOR_EVER if of == version() else ASK_AGAIN})


@cache
def files() -> Mapping[str, StudioFile]:
    """What is served beside the page, by its path in the folder."""
    paths = (
        path
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in MEDIA_TYPES and path.name not in _FILLED_IN
    )
    return MappingProxyType(
        {path.relative_to(FOLDER).as_posix(): packed(path.read_bytes(), path.suffix) for path in paths}
    )


@cache
def version() -> str:
    """Changes with any of the files."""
    contents = [file.content for file in files().values()] + [
        (FOLDER / name).read_bytes() for name in sorted(_FILLED_IN)
    ]
    return hashlib.sha256(b"\0".join(contents)).hexdigest()[:16]


@cache
def worker() -> StudioFile:
    """The service worker, which knows the version and the files that are to be kept."""
    names = [name for name in files() if Path(name).suffix in KEPT_OFFLINE and not name.startswith(APART)]
    filled = {"version": version(), "names": " ".join(names)}
    return packed(fill((FOLDER / WORKER).read_text(), filled), ".js")


@cache
def words(language: str, folder: str = "words") -> Mapping[str, Any]:
    """What a page says in a language, by kinds, as its folder of words has it."""
    found: dict[str, Any] = msgspec.json.decode(files()[f"{folder}/{language}.json"].content)
    return MappingProxyType(found)


@cache
def texts(language: str, folder: str = "words") -> Mapping[str, str]:
    """A page's texts by their names, as HTML."""
    found = words(language, folder)["texts"]
    return MappingProxyType({name: html.escape(text) for name, text in found.items()})


def language_of(accept_language: str) -> str:
    """The language of the page's that the header Accept-Language (RFC 9110, 12.5.4) likes best."""
    wanted: list[tuple[float, str]] = []
    for each in accept_language.split(","):
        name, _, weight = each.strip().partition(";q=")
        with contextlib.suppress(ValueError):
            wanted.append((float(weight or 1), name[:2].lower()))
    for _, name in sorted(wanted, key=lambda pair: -pair[0]):
        if f"words/{name}.json" in files():
            return name
    return DEFAULT_LANGUAGE


def page(settings: Settings, is_open: bool, language: str = DEFAULT_LANGUAGE) -> bytes:
    """``is_open``: whether the one who asks may use the service without a key."""
    filled = {
        "first": (FOLDER / FIRST).read_text().strip() if is_open else "",
        "language": language,
        "files": f"studio/{version()}",
        "open": "true" if is_open else "false",
        "api": html.escape(settings.api_base_url),
        "max_bytes": str(settings.max_upload_bytes),
        "max_pixels": str(settings.max_pixels),
        "modules": preloading(START),
    }
    filled |= {f"text:{name}": text for name, text in texts(language).items()}
    return fill((FOLDER / PAGE).read_text(), filled)


def preloading(start: str) -> str:
    """What has a browser load all modules of a page at once: those that are only found by reading others would come one
    after the other."""
    links = (f'<link rel="modulepreload" href="studio/{version()}/{name}">' for name in modules_of(start))
    return "\n".join(links)


@cache
def modules_of(start: str) -> tuple[str, ...]:
    """The module, and all that it imports before it runs."""
    found, waiting = set[str](), [start]
    while waiting:
        name = waiting.pop()
        if name not in found:
            text = files()[name].content.decode()
            imported = re.findall(r'^(?:import|export)\b[^;]*?from\s*"(\.[^"]+)"', text, re.M)
            found.add(name)
            waiting += [
                posixpath.normpath(posixpath.join(posixpath.dirname(name), each)) for each in imported
            ]
    return tuple(sorted(found))


def policy(settings: Settings) -> str:
    """Everything comes from this service, but for pictures that are read from a bucket."""
    stored = "'self'"
    if settings.r2_endpoint_url:
        parts = urlsplit(settings.r2_endpoint_url)
        stored += f" {parts.scheme}://{parts.netloc}"
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {stored} blob: data:; "
        f"connect-src {stored}; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types reroom"
    )


def answer(request: Request[Any, Any, Any], file: StudioFile, headers: dict[str, str]) -> Response[bytes]:
    """The file, smaller where the client takes that, or 304 where it has it."""
    content = file.content
    headers = {**headers, "Vary": ", ".join(filter(None, (headers.get("Vary"), "Accept-Encoding")))}
    if file.small is not None and "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["Content-Encoding"] = file.small, "gzip"
    headers["ETag"] = etag(content)
    if known(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(b"", status_code=304, headers=headers, media_type=file.media_type)
    return Response(content, headers=headers, media_type=file.media_type)


def fill(text: str, values: Mapping[str, str]) -> bytes:
    """A page with its ``{{name}}``s filled in."""
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    return text.encode()


def packed(content: bytes, suffix: str) -> StudioFile:
    """The content, and the same by gzip where that is smaller."""
    small = None if suffix in _AS_IT_IS else gzip.compress(content, mtime=0)
    if small is not None and len(small) >= len(content):
        small = None
    return StudioFile(content=content, media_type=MEDIA_TYPES[suffix], small=small)

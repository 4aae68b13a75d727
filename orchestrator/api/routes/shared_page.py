"""The HTML of a shared link's page (pages.py), in the looks of ``/studio`` and in the reader's language. Its files are
in ``orchestrator/studio/shared/``. Its address is ``pages/{job}``, and all others here are relative to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from html import escape

import msgspec

from orchestrator.api.routes import studio

FOLDER = "shared"
PAGE = f"{FOLDER}/index.html"
STUDIO = "../studio"
"""The page for people, from here. Relative, since a proxy may serve this under a path of its own."""
REFUSALS = ("wrong", "expired", "gone")
"""Names of texts: why nothing is shown. Each has one more, with ``Text`` at its end."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows, as plain text and URLs."""

    job_id: str
    changed_url: str
    original_url: str
    style: str
    """Its title in the reader's language."""
    size: tuple[int, int] | None
    """Width and height of both pictures in pixels, if they are known."""
    generated: bool
    """Whether the original was no photo, but a picture that AI had made."""
    kept: float | None
    """The share, in 0..1, that was kept as it was; None where nothing was to be kept."""
    made: float
    """UNIX seconds. Days are those of UTC."""
    models: str
    """Which release made it; "" = not known."""
    provider: str
    """Who runs the service; "" = not said."""
    until: float
    """UNIX seconds until which the page is there, unless it is erased."""


def picture_page(shown: Shown, base_url: str, language: str) -> bytes:
    """``base_url`` is where the service is reached, for those who ask for the page's icon from elsewhere."""
    texts = _texts(language)
    title = texts["title"].replace("{style}", escape(shown.style))
    description = texts["descriptionPicture" if shown.generated else "description"]
    main = f"<h1>{title}</h1>\n{_pictures(shown, title, texts)}"
    facts = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _facts(shown, texts))
    section = f'<section class="facts" aria-label="{texts["howMade"]}"><dl>{facts}</dl></section>'
    return _page(title, description, main, section, base_url, language)


def refusal_page(why: str, base_url: str, language: str) -> bytes:
    """``why`` is one of REFUSALS."""
    title, text = _texts(language)[why], _texts(language)[f"{why}Text"]
    return _page(title, text, f'<h1>{title}</h1>\n<p class="lead">{text}</p>', "", base_url, language)


def style_title(name: str, title: str, language: str) -> str:
    """A style's title in the language, where its words have one, else ``title``, which for a style of a caller's own
    is its name."""
    plain = name.removeprefix("my-").replace("-", " ")
    return studio.words(language)["styles"].get(name) or (plain.capitalize() if title == name else title)


def _pictures(shown: Shown, title: str, texts: Mapping[str, str]) -> str:
    original = texts["originalPicture" if shown.generated else "original"]
    link = texts["openOriginalPicture" if shown.generated else "openOriginal"]
    size = "" if shown.size is None else ' width="{}" height="{}"'.format(*shown.size)
    parts = (
        ("after", shown.changed_url, f"{title}: {texts['changed']}", texts["changed"]),
        ("before", shown.original_url, original, original),
    )
    pair = "\n".join(
        f'<div class="one {kind}"><img src="{escape(url)}" alt="{alt}"{size}>'
        f'<span class="mark" aria-hidden="true">{mark}</span></div>'
        for kind, url, alt, mark in parts
    )
    also = f" {texts['ofPicture']}" if shown.generated else ""
    return (
        f'<figure class="shown"><div class="pair" data-compare="{texts["compare"]}" data-share="{texts["share"]}">\n'
        f"{pair}\n</div>\n<figcaption><p><strong>{texts['changed']}.</strong> {texts['mayNotExist']}{also} "
        f'<a href="{escape(shown.original_url)}">{link}</a></p></figcaption></figure>'
    )


def _facts(shown: Shown, texts: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    if shown.kept is not None:
        yield texts["kept"], f"{100 * shown.kept:.0f} %"
    yield texts["made"], _date(shown.made, texts)
    models = f", {texts['models'].replace('{models}', escape(shown.models))}" if shown.models else ""
    yield texts["system"], f"reroom{models}"
    if shown.provider:
        yield texts["provider"], escape(shown.provider)
    yield texts["until"], _date(shown.until, texts)
    yield texts["id"], f"<code>{escape(shown.job_id)}</code>"


def _date(seconds: float, texts: Mapping[str, str]) -> str:
    day = datetime.fromtimestamp(seconds, UTC)
    parts = {"day": str(day.day), "month": texts["months"].split()[day.month - 1], "year": str(day.year)}
    text = texts["date"]
    for name, value in parts.items():
        text = text.replace("{" + name + "}", value)
    return f'<time datetime="{day:%Y-%m-%d}">{text}</time>'


def _page(title: str, description: str, main: str, facts: str, base_url: str, language: str) -> bytes:
    # Messengers get the service's icon, not the picture: what they copy outlasts its erasure.
    files = f"studio/{studio.version()}"
    filled = {f"text:{name}": text for name, text in _texts(language).items()} | {
        "language": language,
        "title": title,
        "description": description,
        "icon": f"{escape(base_url)}/{files}/icons/512.png",
        "files": f"../{files}",
        "studio": STUDIO,
        "main": main,
        "facts": facts,
    }
    return studio.fill(template(), filled)


@cache
def template() -> str:
    """The page, with ``{{name}}`` for what is filled in."""
    return (studio.FOLDER / PAGE).read_text()


def _texts(language: str) -> Mapping[str, str]:
    return studio.texts(language, f"{FOLDER}/words")

"""``GET /pages/{job}``: a page for everyone who has its signed link. It says that AI changed the picture and shows the
photo beside it, as California's AB 723 and the EU's AI Act ask of those who publish such a picture.

No script, no cookie, nothing from other servers but the pictures. Erasing the job ends it.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from urllib.parse import urlsplit

from litestar import Controller, MediaType, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.responses.presenters import Presenter, rfc3339
from orchestrator.domain.job import Job
from orchestrator.domain.marks import GENERATED
from orchestrator.ports import BadSignature, JobNotFound, JobStore, LinkExpired, PageLinks
from orchestrator.settings import Settings

STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { margin: 0 auto; max-width: 72rem; padding: 1rem }
h1 { font-size: 1.4rem; line-height: 1.2 }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)) }
figure { margin: 0 }
img { display: block; height: auto; width: 100% }
figcaption { font-weight: 600; padding: .5rem 0 }
"""
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

EXPIRED = "This page has expired."
WRONG = "This link is not complete. Open it as it was given."
GONE = "The pictures of this page were erased."


class PagesController(Controller):
    path = "/pages"
    # For people, not for programs: its answers are HTML, its refusals too.
    include_in_schema = False

    @get("/{job_id:str}", opt=access(Rule.SIGNED))
    async def page(
        self,
        job_id: FromPath[str],
        page_links: NamedDependency[PageLinks],
        store: NamedDependency[JobStore],
        presenter: NamedDependency[Presenter],
        settings: NamedDependency[Settings],
        expires: FromQuery[str] = "",
        signature: FromQuery[str] = "",
    ) -> Response[str]:
        try:
            page_links.check_page(job_id, expires, signature)
            job = await store.get(job_id)
        except BadSignature:
            return _answer(WRONG, f"<p>{WRONG}</p>", 403)
        except LinkExpired:
            return _answer(EXPIRED, f"<p>{EXPIRED}</p>", 403)
        except JobNotFound:
            return _answer(GONE, f"<p>{GONE}</p>", 404)
        changed = await presenter.picture(job, "labelled") or await presenter.picture(job, "transformed")
        photo = await presenter.picture(job, "original")
        if changed is None or photo is None:
            return _answer(GONE, f"<p>{GONE}</p>", 404)
        return _answer(TITLE, _body(job, changed, photo, settings.provider), 200, changed, photo)


TITLE = "This picture was changed by AI"


def _body(job: Job, changed: str, photo: str, provider: str) -> str:
    made = f"{rfc3339(job.updated_at)[:10]} (UTC)"
    metadata = job.result.metadata if job.result is not None else {}
    kept = metadata.get("kept")
    generated = job.photo_type == GENERATED
    what = "picture of a room that AI had made" if generated else "photo of a room"
    original = "The original picture" if generated else "The original photo"
    how = "it was" if generated else "photographed"
    share = "" if kept is None else f" {100 * kept:.0f} % of it was kept as {how}."
    models = metadata.get("release")
    facts = [f"Style: {job.style}", f"made on {made}", "by the AI system reroom"]
    facts += [f"with the models {models}"] if models else []
    facts += [f"run by {provider}"] if provider else []
    return (
        f"<h1>{TITLE}</h1>"
        f"<p>An AI system restyled a {what}: furniture, materials, colours and light may not exist as shown."
        f"{share} {original} is beside it.</p>"
        f"<main>{_figure(changed, 'Changed by AI')}{_figure(photo, original)}</main>"
        f"<p>{escape(', '.join(facts))}. Id: <code>{escape(job.id)}</code></p>"
    )


def _figure(url: str, caption: str) -> str:
    return (
        f'<figure><figcaption>{caption}</figcaption><img src="{escape(url, quote=True)}" alt="{caption}: a room">'
        "</figure>"
    )


def _answer(title: str, body: str, status: int, *pictures: str) -> Response[str]:
    """``pictures`` are the URLs that the page may load."""
    origins = sorted({f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, pictures)}) or ["'none'"]
    policy = (
        f"default-src 'none'; img-src {' '.join(origins)}; style-src 'sha256-{_DIGEST}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "X-Robots-Tag": "noindex, nofollow, noarchive",
        # Its links to the pictures expire, and it must be gone when the job is.
        "Cache-Control": "no-store",
    }
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )
    return Response(text, status_code=status, media_type=MediaType.HTML, headers=headers)

"""``GET /pages/{job}``: a page for everyone who has its signed link. It says that AI changed the picture, and shows
the photo as well, as California's AB 723 and the EU's AI Act ask of those who publish such a picture.

No cookie, nothing from other servers but the pictures, and all of it there without script. Erasing the job ends it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from litestar import Controller, MediaType, Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.responses.presenters import Presenter
from orchestrator.api.routes.shared_page import Shown, picture_page, refusal_page, style_title
from orchestrator.api.routes.studio import language_of
from orchestrator.domain.job import Job
from orchestrator.domain.keeping import kept_since
from orchestrator.domain.marks import GENERATED
from orchestrator.ports import BadSignature, JobNotFound, JobStore, LinkExpired, PageLinks
from orchestrator.services.styles import StyleService
from orchestrator.settings import Settings


class PagesController(Controller):
    path = "/pages"
    # For people, not for programs: its answers are HTML, its refusals too.
    include_in_schema = False

    @get("/{job_id:str}", opt=access(Rule.SIGNED))
    async def page(
        self,
        job_id: FromPath[str],
        request: Request[Any, Any, Any],
        page_links: NamedDependency[PageLinks],
        store: NamedDependency[JobStore],
        presenter: NamedDependency[Presenter],
        styles: NamedDependency[StyleService],
        settings: NamedDependency[Settings],
        expires: FromQuery[str] = "",
        signature: FromQuery[str] = "",
    ) -> Response[bytes]:
        language = language_of(request.headers.get("accept-language", ""))

        def refused(why: str, status: int) -> Response[bytes]:
            return _answer(refusal_page(why, settings.api_base_url, language), status)

        try:
            page_links.check_page(job_id, expires, signature)
            job = await store.get(job_id)
        except BadSignature:
            return refused("wrong", 403)
        except LinkExpired:
            return refused("expired", 403)
        except JobNotFound:
            return refused("gone", 404)
        changed = await presenter.picture(job, "labelled") or await presenter.picture(job, "transformed")
        photo = await presenter.picture(job, "original")
        if changed is None or photo is None:
            return refused("gone", 404)
        title = style_title(job.style, styles.title(job.style), language)
        shown = _shown(job, changed, photo, title, settings, int(expires))
        return _answer(picture_page(shown, settings.api_base_url, language), 200, changed, photo)


def _shown(job: Job, changed: str, photo: str, style: str, settings: Settings, link_ends: int) -> Shown:
    metadata = job.result.metadata if job.result is not None else {}
    width, height = metadata.get("width"), metadata.get("height")
    since = kept_since(job, [])
    return Shown(
        job_id=job.id,
        changed_url=changed,
        original_url=photo,
        style=style,
        size=(width, height) if width and height else None,
        generated=job.photo_type == GENERATED,
        kept=metadata.get("kept"),
        # Its last change is no measure: to unmark a favourite is one.
        made=job.created_at,
        models=str(metadata.get("release") or ""),
        provider=settings.provider,
        # The link of one that was a favourite may outlast its pictures.
        until=link_ends if since is None else min(link_ends, since + settings.times.both),
    )


def _answer(page: bytes, status: int, *pictures: str) -> Response[bytes]:
    """``pictures`` are the URLs that the page may load."""
    origins = {f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, pictures)}
    loaded = " ".join(["'self'", *sorted(origins)])
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {loaded}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "X-Robots-Tag": "noindex, nofollow, noarchive",
        # Its links to the pictures expire, and it must be gone when the job is.
        "Cache-Control": "no-store",
        "Vary": "Accept-Language",
    }
    return Response(page, status_code=status, media_type=MediaType.HTML, headers=headers)

"""``/styles``: the styles that a caller may choose, their pictures, and the styles that callers make for themselves."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any

import msgspec
from litestar import Controller, MediaType, Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath
from msgspec import Meta

from orchestrator.api.middleware.access import Rule, access, recognised
from orchestrator.api.requests.bodies import json_body, operation_with
from orchestrator.api.requests.small_bodies import MAX_BODY_BYTES, read_json
from orchestrator.api.responses.errors import Problem, problems
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.keys import Caller
from orchestrator.domain.plans import Plans
from orchestrator.domain.styles import DEFAULT_STYLE, MAX_WORDS, OWN_NAME, Color, RoomType, Style
from orchestrator.services.styles import StyleService
from orchestrator.settings import Settings

PUBLIC = "public, max-age=60"
PRIVATE = "private, no-cache"
PICTURE = "public, max-age=86400"
"""A picture's URL changes with it, so that a day is never too long."""
VARY = "Authorization, X-API-Key"

NOT_MODIFIED: dict[int, ResponseSpec] = {
    304: ResponseSpec(None, description="As it was: see the header ETag", generate_examples=False)
}


class StylePictureData(msgspec.Struct, frozen=True, kw_only=True):
    """A small picture, which needs no key."""

    url: str
    made_by: Annotated[
        str | None,
        Meta(description="The release that restyled a photo; null: an illustration, which no release made"),
    ]


class StyleData(msgspec.Struct, frozen=True, kw_only=True):
    """A style that can be named in a submission."""

    name: str
    title: str
    rooms: Annotated[list[RoomType], Meta(description="The rooms that it suits best; none: any")]
    colors: Annotated[list[Color], Meta(description="What it is known by, as sRGB")]
    picture: StylePictureData | None
    custom: Annotated[bool, Meta(description="Whether it is the caller's own")]
    in_plan: Annotated[
        bool, Meta(description="Whether the caller's plan includes it; true where no key was sent")
    ]
    prompt: Annotated[str | None, Meta(description="Of the caller's own styles")] = None
    negative_prompt: Annotated[str | None, Meta(description="Of the caller's own styles")] = None


class StyleList(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    default: Annotated[str, Meta(description="What a submission gets that names none")] = DEFAULT_STYLE
    data: list[StyleData]


class StyleAnswer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: StyleData


class StyleDeleted(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    name: str


class NewStyle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /styles``."""

    name: Annotated[str, Meta(pattern=OWN_NAME)]
    title: Annotated[str, Meta(pattern=r"\S", max_length=60)]
    prompt: Annotated[str, Meta(pattern=r"\S", max_length=MAX_WORDS)]
    negative_prompt: Annotated[str, Meta(max_length=MAX_WORDS)] = ""
    rooms: Annotated[list[RoomType], Meta(max_length=6)] = []
    colors: Annotated[list[Color], Meta(max_length=8)] = []

    def __post_init__(self) -> None:
        # In Python, unlike JSON Schema, "$" also matches before a line break at the end.
        if self.name.endswith("\n") or any(color.endswith("\n") for color in self.colors):
            raise ValueError("a name or a color ends with a line break")

    def style(self) -> Style:
        return Style(
            title=self.title,
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            rooms=self.rooms,
            colors=self.colors,
        )


class StylesController(Controller):
    path = "/styles"
    tags = ("styles",)

    @get(
        "/",
        opt=access(Rule.PUBLIC),
        operation_id="list_styles",
        summary="The styles to choose from; with a key also the caller's own",
        responses={**NOT_MODIFIED, **problems(503)},
    )
    async def index(
        self,
        request: Request[Any, Any, Any],
        styles: NamedDependency[StyleService],
        plans: NamedDependency[Plans],
        settings: NamedDependency[Settings],
    ) -> Response[StyleList]:
        caller = await recognised(request)
        shown = StyleList(data=await _listed(styles, plans, settings.api_base_url, caller))
        headers = {"Cache-Control": PUBLIC if caller is None else PRIVATE, "Vary": VARY}
        return _unless_known(request, shown, msgspec.json.encode(shown), headers)

    @get(
        "/{style:str}/picture",
        opt=access(Rule.PUBLIC),
        operation_id="get_style_picture",
        summary="A small picture of a style",
        responses={
            200: ResponseSpec(
                bytes, description="A WebP, JPEG or PNG", media_type="image/webp", generate_examples=False
            ),
            **NOT_MODIFIED,
            **problems(400, 404),
        },
        media_type="image/webp",
    )
    async def picture(
        self, request: Request[Any, Any, Any], style: FromPath[str], styles: NamedDependency[StyleService]
    ) -> Response[bytes]:
        found = styles.picture(style)
        if found is None:
            raise Problem(ProblemCode.STYLE_NOT_FOUND, "no style of this name has a picture")
        headers = {"Cache-Control": PICTURE}
        return _unless_known(request, found.data, found.data, headers, found.media_type)

    @post(
        "/",
        status_code=201,
        opt=access(Rule.TRANSFORM),
        operation_id="create_style",
        summary="Make a style of the caller's own, or replace it",
        operation_class=operation_with(json_body("NewStyle")),
        responses=problems(400, 403, 408, 409, 413, 422, 503),
        request_max_body_size=MAX_BODY_BYTES,
    )
    async def create(
        self,
        request: Request[Any, Any, Any],
        caller: NamedDependency[Caller],
        styles: NamedDependency[StyleService],
    ) -> StyleAnswer:
        asked = await read_json(request, NewStyle)
        style = asked.style()
        await styles.put(caller, asked.name, style)
        return StyleAnswer(data=_own(asked.name, style, in_plan=True))

    @delete(
        "/{style:str}",
        status_code=200,
        opt=access(Rule.TRANSFORM),
        operation_id="delete_style",
        summary="Delete a style of the caller's own; jobs that were submitted with it keep its words",
        responses=problems(400, 404, 503),
    )
    async def remove(
        self, style: FromPath[str], caller: NamedDependency[Caller], styles: NamedDependency[StyleService]
    ) -> StyleDeleted:
        await styles.delete(caller, style)
        return StyleDeleted(name=style)


async def _listed(
    styles: StyleService, plans: Plans, base_url: str, caller: Caller | None
) -> list[StyleData]:
    plan = None if caller is None else plans.of(caller.plan)
    now = styles.now()
    shown = [
        StyleData(
            name=name,
            title=style.title,
            rooms=style.rooms,
            colors=style.colors,
            picture=_picture(styles, name, base_url),
            custom=False,
            in_plan=plan is None or plan.allows_style(name),
        )
        for name, style in now.by_name.items()
    ]
    if caller is not None:
        own = await styles.own(caller)
        shown += [_own(name, style, plan is None or plan.allows_style(name)) for name, style in own.items()]
    return shown


def _picture(styles: StyleService, name: str, base_url: str) -> StylePictureData | None:
    found = styles.picture(name)
    if found is None:
        return None
    url = f"{base_url}/styles/{name}/picture?v={found.digest}"
    return StylePictureData(url=url, made_by=found.made_by)


def _own(name: str, style: Style, in_plan: bool) -> StyleData:
    return StyleData(
        name=name,
        title=style.title,
        rooms=style.rooms,
        colors=style.colors,
        picture=None,
        custom=True,
        in_plan=in_plan,
        prompt=style.prompt,
        negative_prompt=style.negative_prompt,
    )


def _unless_known(
    request: Request[Any, Any, Any],
    content: Any,
    data: bytes,
    headers: dict[str, str],
    media_type: str = MediaType.JSON,
) -> Response[Any]:
    """The answer with the ETag of ``data``, or 304 where the client has it (RFC 9110, 13.1.2)."""
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    sent = request.headers.get("if-none-match", "")
    known = sent.strip() == "*" or tag in re.findall(r'"[^"]*"', sent)
    headers = {**headers, "ETag": tag}
    if known:
        return Response(None, status_code=304, headers=headers, media_type=MediaType.TEXT)
    return Response(content, headers=headers, media_type=media_type)

"""Warnings: what a request asked for that had no effect, or another effect. No errors, so they come with the result."""

from collections.abc import Sequence

from restyle.colours import colour_of
from restyle.events import ResultWarning
from restyle.prompt import ROOM, Cut
from restyle.request import Request
from restyle.solver import Table

QUOTED = 40
"""The longest quotation of a prompt, in characters."""


def result_warnings(
    request: Request,
    prompt: Sequence[Cut],
    negative_prompt: Sequence[Cut],
    table: Table,
    unseen: Sequence[str] = (),
) -> list[ResultWarning]:
    """The warnings for a finished request: cuts of its prompts, and inputs that did not do what they say. ``unseen``:
    words of ``keep`` for things that are not in the photo."""
    found = []
    for name, cuts in (("prompt", prompt), ("negative_prompt", negative_prompt)):
        if cuts:
            found.append(ResultWarning(f"{name}_truncated", _left_out(name, cuts)))
    if unseen:
        words = ", ".join(f"“{_quoted(word)}”" for word in unseen)
        detail = f"keep has no effect for {words}: the models do not see it in the photo"
        found.append(ResultWarning("keep_unseen", detail))
    unmeasured = [word for word in request.palette if colour_of(word) is None]
    if unmeasured and request.palette_strength > 0:
        words = ", ".join(f"“{_quoted(word)}”" for word in unmeasured)
        detail = f"{words} is in the prompt only: give #rrggbb, or a plain name, for what the picture is to be near"
        found.append(ResultWarning("palette_unmeasured", detail))
    if any(part.strip() for part in request.negative_prompt) and not request.guided:
        found.append(
            ResultWarning(
                "negative_prompt_unused",
                f"negative_prompt has no effect at guidance_scale {request.guidance_scale:g}: it needs one above 1, "
                "which takes about twice as long",
            )
        )
    if request.quality not in (None, request.tier.quality):
        instead = (
            f"made the picture as {request.tier.quality}"
            if request.tier.quality
            else "knows one quality only"
        )
        found.append(
            ResultWarning("quality_unused", f"quality {request.quality} has no effect: the release {instead}")
        )
    # Rounded like the solver's table, for FP32.
    if round(request.strength, 6) * request.steps < 1 - 1e-9:
        found.append(
            ResultWarning(
                "strength_raised",
                f"strength {request.strength:g} of {request.steps} steps is less than one step: one was run, as at "
                f"strength {1 / request.steps:.2g}",
            )
        )
    if request.latents is not None and not table.start[1]:
        found.append(
            ResultWarning(
                "latents_unused",
                f"latents has no effect at strength {request.strength:g}: these networks start from the photo without "
                "noise",
            )
        )
    steps_run = len(table)
    if request.preview_every >= steps_run:
        found.append(
            ResultWarning(
                "preview_every_unused",
                f"preview_every {request.preview_every} gave no preview: the picture took {steps_run} "
                f"step{'' if steps_run == 1 else 's'}, and after the last one comes the result",
            )
        )
    return found


def _left_out(name: str, cuts: Sequence[Cut]) -> str:
    ends = "; ".join(
        f"the last {len(cut.text.split())} of {len(cut.part.split())} words, from “{_quoted(cut.text)}” on"
        for cut in cuts
    )
    return f"{name} is longer than the {ROOM} tokens that the model reads; left out: {ends}"


def _quoted(text: str) -> str:
    text = " ".join(text.lstrip(" ,").split())
    return text if len(text) <= QUOTED else text[:QUOTED].rstrip() + "…"

"""What a kind of pictures costs in quality: a trained release on rooms apart from training, as the dollhouse's
evaluation measures it, beside the seconds.

The kinds are a release's tiers; of a release without tiers, numbers of steps. What a request gets that asks for nothing
is the ``reference``: figures of the others are compared with its own. All kinds of a picture are made one after the
other, alone, so their seconds share the machine's state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dollhouse.evaluate.answers import Answers, StyledResult, used_palette
from dollhouse.evaluate.figures import restyling_figures
from dollhouse.evaluate.held_out import MEASURED, HeldOutRoom, held_out_rooms
from dollhouse.evaluate.perceived import perceive
from dollhouse.evaluate.style_classifier import read_classifier
from dollhouse.render.rooms import STYLES, ColourWish
from dollhouse.train.style_classifier import StyleClassifier
from measuring import report
from measuring.releases import Release
from measuring.service import Service
from measuring.serving import asked
from orchestrator.domain.preferences import Preferences

FIGURES = ("style_accuracy", "depth_rank", "edge_f1")
"""Of 0..1; more is better. A hundredth is a point."""
LOSS = 0.03
"""How much of a figure a kind may lose before it is named."""
STEPS = (1, 2, 3, 4)
"""Steps that are run, of a release without tiers."""
SHOWN = 4
"""Rooms of which pictures are kept for the eye."""

Pictures = NDArray[np.uint8]


@dataclass
class Kind:
    """Wishes by which pictures are made, and what was made by them."""

    wishes: dict[str, Any]
    answers: list[Answers] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def pictures(self) -> Pictures:
        """UINT8 [R·5,H,W,3]: by room, then by style."""
        return np.stack([each.results[style].seen.picture for each in self.answers for style in STYLES])


def kinds_of(release: Release) -> tuple[dict[str, Kind], str]:
    """The kinds by name, and which is the reference."""
    facts = release.facts
    if tiers := facts.get("tiers"):
        return {name: Kind({"quality": name}) for name in tiers}, facts["quality"]
    defaults = facts["defaults"]
    usual = round(defaults["steps"] * defaults.get("strength", 1.0))
    counts = sorted({usual, *STEPS})
    found = {_steps(count): Kind({"steps": count * defaults["steps"] // usual}) for count in counts}
    return found, _steps(usual)


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"


async def restyle(service: Service, rooms: Iterable[HeldOutRoom], kinds: Mapping[str, Kind]) -> None:
    """Every room in every style by every kind, into the kinds."""
    warm = True
    for room in rooms:
        photo = await perceive(service, room.photo)
        made: dict[str, dict[str, StyledResult]] = {name: {} for name in kinds}
        for style in STYLES:
            truths: dict[tuple[str, ...], Pictures] = {}
            for name, kind in kinds.items():
                wishes = Preferences(seed=room.seed, **kind.wishes)
                if warm:
                    await service.restyle(room.photo, style, wishes)
                begun = time.perf_counter()
                result = (await service.restyle(room.photo, style, wishes)).result
                kind.seconds.append(time.perf_counter() - begun)
                palette = used_palette(result, ())
                if palette not in truths:
                    (truths[palette],) = room.restyled([(style, ColourWish(palette))])
                made[name][style] = StyledResult(
                    await perceive(service, result.image), palette, truths[palette]
                )
            warm = False
        for name, kind in kinds.items():
            kind.answers.append(Answers(room, photo, "", made[name]))
        print(f"room {len(kind.answers)}", flush=True)


@torch.no_grad()
def features(classifier: StyleClassifier, pictures: Pictures) -> NDArray[np.float32]:
    """FP32 [N,F] of UINT8 [N,H,W,3]."""
    parts = np.array_split(pictures, -(-len(pictures) // 32))
    found: NDArray[np.float32] = np.concatenate(
        [classifier.features(classifier.prepare(torch.from_numpy(part))).numpy() for part in parts]
    )
    return found


def distance(made: NDArray[np.float32], reference: NDArray[np.float32], rooms: int) -> float:
    """How far features [R·5,F] are from those of the reference, on average: 0 = the same pictures, 1 = as far as the
    reference's pictures of the next room in the same style."""
    apart = np.linalg.norm(made - reference, axis=1).mean()
    another = np.roll(reference.reshape(rooms, len(STYLES), -1), 1, axis=0).reshape(reference.shape)
    return float(apart / np.linalg.norm(another - reference, axis=1).mean())


def losses(figures: Mapping[str, Mapping[str, float]], reference: str) -> dict[str, dict[str, float]]:
    """By kind, the figures of which it loses more than LOSS against the reference, in points."""
    best = figures[reference]
    found = {
        kind: {name: 100.0 * (best[name] - each[name]) for name in FIGURES if best[name] - each[name] > LOSS}
        for kind, each in figures.items()
    }
    return {kind: lost for kind, lost in found.items() if lost}


def sheet(kinds: Mapping[str, Kind], file: Path, style: str) -> None:
    """Pictures for the eye: a room a row; the photo, every kind in ``style``, the true render."""
    rows = []
    for number in range(min(SHOWN, len(next(iter(kinds.values())).answers))):
        each = [kind.answers[number] for kind in kinds.values()]
        made = [answers.results[style] for answers in each]
        rows.append(np.hstack([each[0].room.photo, *(one.seen.picture for one in made), made[0].truth]))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(rows)).save(file)


def measure(release: Release, rooms: int, pictures: Path | None = None) -> dict[str, Any]:
    """Everything that goes into the JSON. ``pictures``: a folder for sheets to look at."""
    around, (kinds, reference) = report.circumstances(), kinds_of(release)
    some = held_out_rooms(MEASURED[:rooms], release.side)

    async def ask(service: Service) -> None:
        await restyle(service, some, kinds)

    asked(release, ask)
    if pictures is not None:
        for style in STYLES:
            sheet(kinds, pictures / f"{style}.png", style)
    return {
        "kinds_are": "tiers" if "tiers" in release.facts else "numbers of steps: the release has no tiers",
        **judged(kinds, reference),
        **around,
        "release": release.facts["release"],
        "rooms": rooms,
    }


def judged(
    kinds: Mapping[str, Kind],
    reference: str,
    figures: Callable[[Sequence[Answers], Any], Mapping[str, float]] = restyling_figures,
) -> dict[str, Any]:
    """Figures of every kind, its distance from the reference and its seconds; and who loses."""
    classifier = read_classifier()
    best = features(classifier, kinds[reference].pictures())
    found = {
        name: {
            **figures(kind.answers, classifier.name_styles),
            "feature_distance": distance(features(classifier, kind.pictures()), best, len(kind.answers)),
            "seconds": median(kind.seconds),
        }
        for name, kind in kinds.items()
    }
    return {"reference": reference, "kinds": found, "loses_points": losses(found, reference)}

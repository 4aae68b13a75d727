"""What a job costs the models: steps × pixels × halves, and what a picture takes beside its steps.

One unit is a picture of the release's default quality at its native size, so that the costs of two releases, or of one
release on two devices, are about alike: a job in the queue stays worth what it was. A guided step runs the networks
twice, with the words and without them: two halves. Where the release has a profile (``python -m benchmarks.profile``),
measured seconds take the place of the calculated ones, and tell what is saved when jobs share a batch.

The API estimates by it how long a job takes, and a worker chooses by it among several Tritons.
"""

from __future__ import annotations

import math
from functools import cached_property

import msgspec

DECODER, TINY_DECODER, PERCEPTION = 1.8, 0.1, 0.8
"""What a picture takes beside its steps, in halves of a step: decoding it, and depth, objects and text. Counted for
Stable Diffusion 1.5 (benchmarks/results/tiers.json); a profile replaces them."""

DEFAULT = ""
"""The kind of picture of a release without qualities."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """How the pictures of one quality are made, as ``restyle`` describes it."""

    steps: int
    """Solver steps, of which the share ``strength`` is run."""
    strength: float = 1.0
    run: int
    """Steps that are run at these settings."""
    guided: int
    """How many of those are guided."""
    denoiser: str = "denoiser"
    decoder: str = "vae_decoder"


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of a run, as measured on one device."""

    batches: list[int]
    """The sizes of the batches, rising, from 1."""
    seconds: dict[str, dict[str, list[float]]]
    """By :func:`measured` name, then by bucket as "HEIGHTxWIDTH": of a run of each of the batches."""
    device: str = ""
    """For people."""


class Work(msgspec.Struct, frozen=True):
    """One job's work, in units of a default picture."""

    steps: int
    step: float
    """One step, the mean over guided and other ones."""
    rest: float
    """Everything beside the steps."""
    seen: float = 0.0
    """The part of the rest that is spared where the models have seen the photo before."""
    shape: str = ""
    """Only steps of the same shape can share a batch; "" = it shares none."""
    most: int = 1
    """The largest batch."""
    shared: float = 0.0
    """What each step of a batch but the first is spared, as a share of one: 0 = batches save nothing."""

    @property
    def cost(self) -> float:
        return self.steps * self.step + self.rest


class WorkTable(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What pictures cost with one release, as its ``restyle`` tells who probes it."""

    buckets: list[tuple[int, int]]
    """(height, width) that photos are fitted to."""
    side: int
    """Of the native square."""
    kinds: dict[str, Kind]
    """By quality; DEFAULT where there is one kind only."""
    quality: str = DEFAULT
    """The kind of a request that names none, or one that is not there."""
    max_batch: int = 1
    profile: Profile | None = None

    @cached_property
    def unit(self) -> float:
        """A default picture at the native size, in seconds of the profile or in halves of a step."""
        work = self._work(self.kinds[self.quality], (self.side, self.side))
        return work.cost or 1.0

    def work(
        self,
        height: int,
        width: int,
        *,
        quality: str | None = None,
        steps: int | None = None,
        strength: float | None = None,
        max_strength: float | None = None,
        guidance_scale: float | None = None,
    ) -> Work:
        """The work of a request for a photo of that size; None = the release's own settings."""
        kind = self.kinds.get(quality or "", self.kinds[self.quality])
        usual = min(kind.strength, 1.0 if max_strength is None else max_strength)
        asked, share = steps or kind.steps, usual if strength is None else strength
        run = kind.run if (asked, share) == (kind.steps, kind.strength) else max(1, int(share * asked + 1e-9))
        guided = round(run * kind.guided / kind.run)
        if guidance_scale is not None:
            # Outside its interval, steps are not guided at any scale; a kind that is never guided has no interval.
            guided = 0 if guidance_scale <= 1.0 else guided or run
        kind = msgspec.structs.replace(kind, run=run, guided=guided)
        found = self._work(kind, self.bucket(height, width))
        return msgspec.structs.replace(
            found, step=found.step / self.unit, rest=found.rest / self.unit, seen=found.seen / self.unit
        )

    def analysis(self, height: int, width: int) -> Work:
        """The work of looking at a photo alone."""
        seen = self._seconds("perception", self.bucket(height, width), PERCEPTION) / self.unit
        return Work(0, 0.0, seen, seen)

    def bucket(self, height: int, width: int) -> tuple[int, int]:
        """The one that a photo is fitted to: that of the nearest aspect, as ``restyle`` chooses it."""
        return min(self.buckets, key=lambda size: abs(math.log(size[1] / size[0] * height / width)))

    def _work(self, kind: Kind, bucket: tuple[int, int]) -> Work:
        """In seconds of the profile or in halves of a step."""
        guided, plain = (self._seconds(measured(kind.denoiser, rows), bucket, rows) for rows in (2, 1))
        others = kind.run - kind.guided
        decoding = TINY_DECODER if kind.decoder == "tiny_decoder" else DECODER
        seen = self._seconds("perception", bucket, PERCEPTION)
        rows = 2 if kind.guided > others else 1
        return Work(
            steps=kind.run,
            step=(kind.guided * guided + others * plain) / kind.run,
            rest=seen + self._seconds(kind.decoder, bucket, decoding),
            seen=seen,
            shape=f"{kind.denoiser} {bucket[0]}x{bucket[1]}",
            most=self.max_batch,
            shared=self._shared(measured(kind.denoiser, rows), bucket),
        )

    def _seconds(self, name: str, bucket: tuple[int, int], halves: float) -> float:
        """Of one sample: as measured, or else ``halves`` of a step. A profile that lacks one of the names is not used:
        seconds and halves must not be mixed."""
        area = bucket[0] * bucket[1]
        if self.profile is None or not self._complete:
            return halves * area / self.side**2
        seconds, measured_area = self._nearest(name, area)
        return seconds[0] * area / measured_area

    def _shared(self, name: str, bucket: tuple[int, int]) -> float:
        if self.profile is None or not self._complete:
            return 0.0
        seconds, _ = self._nearest(name, bucket[0] * bucket[1])
        batches = self.profile.batches[: len(seconds)]
        if batches[-1] == 1:
            return 0.0
        another = (seconds[-1] - seconds[0]) / (batches[-1] - 1)
        return min(1.0, max(0.0, 1.0 - another / seconds[0]))

    def _nearest(self, name: str, area: int) -> tuple[list[float], int]:
        """The seconds of the bucket whose area is nearest, and that area."""
        assert self.profile is not None
        found = {_area(bucket): seconds for bucket, seconds in self.profile.seconds[name].items()}
        nearest = min(found, key=lambda each: abs(each - area))
        return found[nearest], nearest

    @cached_property
    def _complete(self) -> bool:
        """Whether the profile has positive seconds for everything that the kinds need."""
        if self.profile is None or self.profile.batches[:1] != [1]:
            return False
        names = {"perception"}
        for kind in self.kinds.values():
            names |= {kind.decoder, measured(kind.denoiser, 1), measured(kind.denoiser, 2)}
        found = self.profile.seconds
        return all(
            found.get(name) and all(each and min(each) > 0 for each in found[name].values()) for name in names
        )


def measured(denoiser: str, rows: int) -> str:
    """A profile's name of a step of that graph: ``rows`` of text, 2 = guided. Decoders go by their graph's name, and
    everything that is seen in a photo by "perception"."""
    return f"{denoiser} {'guided' if rows == 2 else 'plain'}"


def _area(bucket: str) -> int:
    height, width = map(int, bucket.split("x"))
    return height * width

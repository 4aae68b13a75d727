"""Releases that something is wrong with: what stops each before it serves everyone? And do good ones pass?

    python -m benchmarks.sabotage                     # into results/releases.json, under ``sabotage``
    python -m benchmarks.sabotage --good 2 --kinds "hints swapped" "a slower graph"

The embedded stack serves the dollhouse, with an agent. Each release of ``measuring.sabotage`` is published with digests
of its own and put on trial, twice:

- ``exported`` wrong: its weights are right, and the exporting machine recorded the picture that they make. What the
  graph makes of it on this host is another one.
- ``trained`` wrong: the fault was in the weights or the code before the export, so the recorded picture has it too.

A release that the agent finds ready is tried on pairs, the same photo and seed through it and the live one, in rooms
that no network has seen, until the sequential test of the service decides. ``stopped_by`` is the probe (by the agent's
sentence, which says whether loading, warming or the picture failed), or the canary (by the judgement's). Good releases
are the live one with weights a little elsewhere, as another run of the same training leaves them.

Where the exporting machine itself can make no picture, the release is stopped by its ``export``.

- ``sabotage_caught`` of ``sabotaged``: stopped in each of the two ways in which it can be wrong
- ``good_refused`` of ``good``

The figures are written after each, and a run goes on where one of the same live release was stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from dollhouse.evaluate.held_out import CHOOSING, HeldOutRoom, held_out_rooms
from dollhouse.render.rooms import STYLES
from export.proofs.recording import record_picture
from export.proofs.rehearsal import RehearsalError
from export.releases.changes import end_canary, start_canary
from export.releases.folder import live_version, make_live, version_folder
from export.releases.host import Host, read_host
from export.releases.rollout import FolderRollouts
from export.releases.served import follow_folder
from export.releases.trying import RECORDED
from measuring import report
from measuring.releases import find_release
from measuring.sabotage import SABOTAGED, Change, good_retraining, publish_changed
from measuring.variants import seal
from orchestrator.domain.comparing import Measured, made_of, measured, pair_sums, tried_sums
from orchestrator.domain.judging import MOST_PAIRS, Judgement, judge
from orchestrator.domain.styles import STYLES as WORDS
from reroom.triton import RestyleError, RestyleRequest, TritonClient
from stack.stack import Stack
from stack.triton import ROOT

BUNDLE = "dollhouse"
GOOD = 20
READY_SECONDS = 300.0
PICTURE_SECONDS = 60.0
SIZES = ((256, 256), (192, 384), (224, 288), (288, 224))
"""Of the rooms, in turn: the graphs that fail do so for one of them."""

WAYS = ("exported", "trained")

Stopped = dict[str, Any]


def published(release: Path, changes: dict[str, Change], *, recorded_wrong: bool) -> int:
    """A version with ``changes``, checked and sealed. The picture recorded beside it is its own with
    ``recorded_wrong``, else the live version's."""
    live = live_version(release)
    version = publish_changed(release, changes)
    if recorded_wrong:
        # The program that paints takes the live version of a folder: of one beside, made of links.
        with TemporaryDirectory() as name:
            beside = Path(name, release.name)
            follow_folder(beside, release)
            make_live(beside, version)
            record_picture(beside, version)
    else:
        recorded = version_folder(release, live) / RECORDED
        shutil.copy2(recorded, version_folder(release, version) / RECORDED)
    seal(release, version)
    return version


async def tried(stack: Stack, version: int, rooms: Iterator[HeldOutRoom], most: int) -> Stopped:
    """Put ``version`` on trial; what became of it: ``stopped_by`` is empty when it would be promoted."""
    release, rollouts = stack.release, FolderRollouts(stack.release)
    start_canary(release, rollouts, version, "cpu", share=1.0, shadow=True, by="a benchmark")
    try:
        began = time.monotonic()
        while True:
            host = read_host(stack.served_release) or Host()
            if problem := host.problems.get(str(version)):
                return {"stopped_by": "probe", "why": problem, "seconds": time.monotonic() - began}
            if version in host.ready:
                break
            if time.monotonic() - began > READY_SECONDS:
                raise TimeoutError(f"the agent says nothing of version {version}: {host}")
            await asyncio.sleep(0.1)
        ready = time.monotonic() - began
        judgement = await compared(stack, version, rooms, most)
    finally:
        end_canary(release, rollouts, by="a benchmark", withdraw=True)
    stopped = {"promote": "", "roll_back": "canary"}.get(judgement.decision, "undecided")
    return {
        "stopped_by": stopped,
        "why": judgement.reason,
        "pairs": judgement.pairs,
        "seconds": time.monotonic() - began,
        "ready_seconds": ready,
    }


async def compared(stack: Stack, version: int, rooms: Iterator[HeldOutRoom], most: int) -> Judgement:
    live, sums, order = live_version(stack.served_release), Counter[str](), random.Random(version)
    client = TritonClient(next(iter(stack.triton_urls.values())))
    try:
        judgement = judge(sums, 0)
        for made, room in zip(range(most), rooms, strict=False):
            style = WORDS[STYLES[made % len(STYLES)]]
            asked = RestyleRequest(image=room.photo, prompt=style.prompt, seed=room.seed % 1000)
            turns = [live, version]
            order.shuffle(turns)
            answers = {}
            for turn in turns:
                answers[turn] = await picture_of(client, msgspec.structs.replace(asked, release=turn))
            before, after = answers[live], answers[version]
            assert before.failure is None, before.failure
            sums.update(tried_sums(after.failure))
            sums.update(pair_sums(before, after))
            judgement = judge(sums, made + 1)
            if judgement.decision != "running":
                break
        return judgement
    finally:
        await client.close()


async def picture_of(client: TritonClient, asked: RestyleRequest) -> Measured:
    try:
        async with aclosing(client.restyle(asked, deadline=PICTURE_SECONDS)) as events:
            made = await made_of(events)
    except RestyleError as error:
        return Measured(failure=error.code)
    return Measured(failure="model_error") if made is None else measured(*made)


def endless_rooms() -> Iterator[HeldOutRoom]:
    """Rooms for which nothing was chosen or trained, one in four of each size."""
    for index, seed in enumerate(itertools.cycle(CHOOSING)):
        yield from held_out_rooms([seed], SIZES[index % len(SIZES)])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sabotage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kinds", nargs="*", choices=sorted(SABOTAGED), default=list(SABOTAGED))
    parser.add_argument("--good", type=int, default=GOOD)
    parser.add_argument("--pairs", type=int, default=MOST_PAIRS, help="at most, for each release")
    parser.add_argument("--out", type=Path, default=RESULTS / "releases.json")
    given = parser.parse_args(arguments)
    console = Console()
    found = earlier(given.out)
    kinds: dict[str, dict[str, Stopped]] = found["kinds"]
    good: dict[str, Stopped] = found["good_releases"]
    with TemporaryDirectory(prefix="reroom-sabotage-") as name:
        release = shutil.copytree(ROOT / "releases" / BUNDLE, Path(name) / BUNDLE)
        record_picture(release, live_version(release))
        seal(release, live_version(release))
        stack = Stack(Path(name) / "run", release=release, device="cpu", agent=True)
        with stack, stack.supervised():
            rooms = endless_rooms()

            def try_one(changes: dict[str, Change], *, recorded_wrong: bool) -> Stopped:
                try:
                    version = published(release, changes, recorded_wrong=recorded_wrong)
                except RehearsalError as error:
                    return {"stopped_by": "export", "why": str(error)}
                return asyncio.run(tried(stack, version, rooms, given.pairs))

            def keep(into: dict[str, Stopped], key: str, one: Stopped, what: str) -> None:
                into[key] = one
                console.print(f"{what}: {one['stopped_by'] or 'not stopped'}: {one['why']}")
                report.write(given.out, report.read(given.out) | {"sabotage": document(kinds, good)})

            for kind in given.kinds:
                ways = kinds.setdefault(kind, {})
                for way in WAYS:
                    if way not in ways:
                        one = try_one(SABOTAGED[kind], recorded_wrong=way == "trained")
                        keep(ways, way, one, f"{kind}, {way}")
            for seed in range(given.good):
                if str(seed) not in good:
                    keep(good, str(seed), try_one(good_retraining(seed), recorded_wrong=True), f"good {seed}")
    made = document(kinds, good)
    console.print(table(kinds))
    console.print(f"{made['good_refused']} of {made['good']} good releases refused; wrote {given.out}")
    return int(made["sabotage_caught"] < made["sabotaged"])


def earlier(file: Path) -> dict[str, dict[str, Any]]:
    """What was measured of the same live release."""
    found: dict[str, Any] = report.read(file).get("sabotage", {})
    if found.get("digest") != find_release(BUNDLE).digest:
        found = {}
    return {"kinds": found.get("kinds", {}), "good_releases": found.get("good_releases", {})}


def document(kinds: dict[str, dict[str, Stopped]], good: dict[str, Stopped]) -> dict[str, Any]:
    whole = [ways for ways in kinds.values() if len(ways) == len(WAYS)]
    release = find_release(BUNDLE)
    return {
        "release": release.facts["release"],
        "digest": release.digest,
        "sabotaged": len(whole),
        "sabotage_caught": sum(all(way["stopped_by"] for way in ways.values()) for ways in whole),
        "good": len(good),
        "good_refused": sum(bool(each["stopped_by"]) for each in good.values()),
        "kinds": kinds,
        "good_releases": good,
    } | report.circumstances()


def table(kinds: dict[str, dict[str, Stopped]]) -> Table:
    made = Table("what is wrong", "exported so", "trained so", box=None)
    for kind, ways in kinds.items():
        made.add_row(kind, *(ways[way]["stopped_by"] or "not stopped" for way in WAYS if way in ways))
    return made


if __name__ == "__main__":
    sys.exit(main())

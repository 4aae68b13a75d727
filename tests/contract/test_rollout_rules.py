"""The export's commands and the service change the same document by the same rules, and share no code: these cases are
held against both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from export.releases import changes
from export.releases import rollout as exports
from orchestrator.domain import releases as service
from tests.support.made_releases import publish_made

TRIAL = {"version": 2, "mode": "shadow", "share": 1.0, "since": "2026-11-27T03:00:00Z", "id": "c-1"}
Document = dict[str, Any]
Change = Callable[[Document], Document]
"""Of a document; raises Refused."""


class Refused(Exception):
    """With the sentence."""


class Side(NamedTuple):
    promote: Callable[[Document, int], Document]
    trial: Callable[[Document, int], Document]
    roll_back: Callable[[Document], Document]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    release = tmp_path_factory.mktemp("releases") / "version"
    for version in (1, 2, 3):
        publish_made(release, version, seed={"denoiser": version})
    return release


@pytest.fixture(params=["commands", "service"])
def side(request: pytest.FixtureRequest, release: Path) -> Side:
    return of_commands(release) if request.param == "commands" else of_service()


def of_commands(release: Path) -> Side:
    def changed(document: Document, change: Callable[[exports.FolderRollouts], exports.Rollout]) -> Document:
        (release / exports.ROLLOUT).write_bytes(msgspec.json.encode(document))
        before = (release / exports.ROLLOUT).read_bytes()
        try:
            found = change(exports.FolderRollouts(release))
        except changes.ReleaseError as error:
            assert (release / exports.ROLLOUT).read_bytes() == before
            raise Refused(str(error)) from error
        assert exports.read_rollout(release) == found
        return as_document(found)

    def trial(document: Document, version: int) -> Document:
        return changed(
            document,
            lambda rollouts: changes.start_canary(release, rollouts, version, "cpu", share=1.0, shadow=True),
        )

    return Side(
        lambda document, version: changed(
            document, lambda rollouts: changes.promote(release, rollouts, version, "cpu")
        ),
        trial,
        lambda document: changed(document, lambda rollouts: changes.roll_back(release, rollouts)),
    )


def of_service() -> Side:
    def changed(document: Document, change: Callable[[service.Rollout], service.Rollout]) -> Document:
        try:
            return as_document(change(msgspec.convert(document, service.Rollout)))
        except service.NotPossible as error:
            raise Refused(str(error)) from error

    def version(number: int) -> service.ReleaseVersion:
        return service.ReleaseVersion(version=number, release=f"version-{number}", verified=True)

    return Side(
        lambda document, number: changed(
            document, lambda now: service.promoted(now, version(number), "me", 1.0)
        ),
        lambda document, number: changed(
            document, lambda now: service.tried(now, version(number), "shadow", 1.0, "me", 1.0)
        ),
        lambda document: changed(document, lambda now: service.taken_back(now, "me", 1.0)),
    )


def as_document(rollout: exports.Rollout | service.Rollout) -> Document:
    """Without who and when, which are told in other words."""
    found: Document = msgspec.to_builtins(rollout)
    return {name: found[name] for name in found if name not in ("by", "changed")}


def a_document(live: int, **members: Any) -> Document:
    return {
        "format": 1,
        "revision": 4,
        "live": live,
        "previous": None,
        "withdrawn": [],
        "canary": None,
        **members,
    }


def test_a_version_goes_live_before_the_one_before(side: Side) -> None:
    assert side.promote(a_document(1), 2) == a_document(2, previous=1, revision=5)


def test_a_version_that_goes_live_ends_its_trial(side: Side) -> None:
    assert side.promote(a_document(1, canary=TRIAL), 2) == a_document(2, previous=1, revision=5)


def test_promoting_what_is_live_asks_the_hosts_again_that_refused_it(side: Side) -> None:
    """They try again at another revision."""
    for document in (a_document(2, previous=1, withdrawn=[3]), a_document(1, canary=TRIAL)):
        assert side.promote(document, document["live"]) == {**document, "revision": 5}


def test_a_trial_begins(side: Side) -> None:
    found = side.trial(a_document(1, previous=3), 2)
    canary = found.pop("canary")
    assert (canary["version"], canary["mode"], canary["share"]) == (2, "shadow", 1.0)
    expected = a_document(1, previous=3, revision=5)
    del expected["canary"]
    assert found == expected


def test_a_rollback_ends_the_trial_first(side: Side) -> None:
    document = a_document(1, previous=3, canary=TRIAL)
    assert side.roll_back(document) == a_document(1, previous=3, withdrawn=[2], revision=5)


def test_a_rollback_goes_to_the_version_before(side: Side) -> None:
    document = a_document(2, previous=1, withdrawn=[3])
    assert side.roll_back(document) == a_document(1, withdrawn=[2, 3], revision=5)


@pytest.mark.parametrize(
    ("change", "document", "sentence"),
    [
        (lambda side, now: side.promote(now, 3), a_document(1, canary=TRIAL), "version.2 is on trial"),
        (lambda side, now: side.trial(now, 3), a_document(1, canary=TRIAL), "version.2 is on trial"),
        (lambda side, now: side.trial(now, 2), a_document(1, canary=TRIAL), "version.2 is on trial"),
        (lambda side, now: side.trial(now, 1), a_document(1), "version.1 is live"),
        (lambda side, now: side.trial(now, 1), a_document(0), "live.*: promote (a version|one) first"),
        (
            lambda side, now: side.promote(now, 3),
            a_document(1, withdrawn=[3]),
            "version.3 (is|was) withdrawn",
        ),
        (lambda side, now: side.trial(now, 3), a_document(1, withdrawn=[3]), "version.3 (is|was) withdrawn"),
        (lambda side, now: side.roll_back(now), a_document(1), "go back to"),
        (
            lambda side, now: side.roll_back(now),
            a_document(1, previous=3, withdrawn=[3]),
            "version.3, which was live before, is withdrawn",
        ),
    ],
)
def test_what_both_refuse(
    change: Callable[[Side, Document], Document], document: Document, sentence: str, side: Side
) -> None:
    with pytest.raises(Refused, match=sentence):
        change(side, document)

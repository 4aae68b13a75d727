"""The life of a release on disk: publishing, checking, switching, going back and removing.

The releases are made up (tests/support/made_releases.py); what loads them is not run here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from export import release as export_release
from export.__main__ import main
from export.bundle import Bundle
from export.releases import changes, served
from export.releases.agent.record import Record
from export.releases.checksums import CHECKED, MANIFEST, read_manifest, sha256
from export.releases.device import fits
from export.releases.difference import differences
from export.releases.durable import write_whole
from export.releases.folder import (
    AGENT_LOCK,
    documents,
    graph_places,
    live_document,
    live_version,
    make_live,
    next_version,
)
from export.releases.host import Host, read_host, write_host
from export.releases.importing import publish_copy
from export.releases.places.port import PlaceError, VersionTakenError
from export.releases.pruning import Plan, plan, prune
from export.releases.rollout import (
    FolderRollouts,
    Rollout,
    RolloutConflictError,
    RolloutError,
    changed,
    locked,
    read_rollout,
)
from export.releases.served import Served, follow_folder
from export.releases.served import main as serve
from export.releases.sources import FolderSource
from export.releases.verifying import unverified, verify_rest, verify_version
from export.sources import announcing
from stack.process import StackError
from stack.triton import TritonServer
from tests.conftest import ROOT
from tests.support.made_releases import SIZES, publish_made
from tests.support.programs import ran

CHECK = ROOT / "export" / "releases" / "checksums.py"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 (live), 2 and 3 of the bundle `made`."""
    release = tmp_path_factory.mktemp("releases") / "made"
    publish_made(release, 1, live=True)
    publish_made(release, 2, seed={"denoiser": 2}, defaults={"solver": "ddim", "steps": 9})
    publish_made(release, 3, seed={"denoiser": 3, "depth": 3})
    return release


@pytest.fixture
def release(three: Path, tmp_path: Path) -> Path:
    """The same for one test. Its files are links, which nothing may write into."""
    copy = tmp_path / "releases" / "made"
    shutil.copytree(three, copy, copy_function=os.link)
    return copy


def say(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """The status of a command, and what it printed."""
    status = main(["release", *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


def promote(release: Path, version: int) -> Rollout:
    return changes.promote(release, FolderRollouts(release), version, "cpu")


def roll_back(release: Path, to: int | None = None) -> Rollout:
    return changes.roll_back(release, FolderRollouts(release), to)


def spoil(file: Path) -> None:
    """Flip one bit in the middle; its link elsewhere stays as it was."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()
    file.write_bytes(content)


# --- publishing ---


def test_a_version_is_published_beside_the_ones_before(release: Path) -> None:
    assert sorted(documents(release)) == [1, 2, 3]
    assert live_version(release) == 1
    assert graph_places(documents(release)[2])["denoiser"] == ("denoiser", 2)
    assert graph_places(documents(release)[2])["vae_encoder"] == ("vae_encoder", 1)
    assert (release / "models/denoiser/1/model.onnx").read_bytes() != (
        release / "models/denoiser/2/model.onnx"
    ).read_bytes()
    assert live_document(release).parent.name == "1"
    with pytest.raises(FileExistsError):
        publish_made(release, 2)


@pytest.mark.parametrize(("mode", "step", "least"), [("kill", 6, 55), ("full", 15, 30)])
def test_a_kill_or_a_full_disk_at_any_moment_leaves_what_was_live(mode: str, step: int, least: int) -> None:
    """Of more than 300 moments every ``step``-th; the program with step 1 tries all of them."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="reroom-kills-", dir=memory if memory.is_dir() else None
    ) as folder:
        script = ROOT / "tests" / "support" / "kill_points.py"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = ran(sys.executable, script, folder, mode, str(step), env=environment, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    moments = {name: int(number) for name, number in map(str.split, done.stdout.splitlines())}
    assert sorted(moments) == ["copy", "export", "promote", "prune", "rollback"]
    assert sum(moments.values()) >= least, moments


def test_an_export_says_what_is_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The graphs are made up; all that comes after them is the export's own."""

    def build(bundle: Bundle, releases: Path, *_: object, promoted: bool) -> Path:
        target = releases / bundle.name
        number = next_version(target)
        publish_made(target, number, seed={"denoiser": number}, verified=False)
        export_release._finish(target, number, new=True, promoted=promoted, report=lambda _: None)
        return target

    monkeypatch.setattr(export_release, "build_release", build)
    monkeypatch.setattr(announcing, "fetch_with_progress", lambda *_, **__: None)

    def export(*more: str) -> list[str]:
        assert main(["tiny", "--releases", str(tmp_path), "--work", str(tmp_path / "work"), *more]) == 0
        return capsys.readouterr().out.splitlines()

    said = export()
    assert (said[0], said[-1]) == ("published tiny-1 (fp32)", "tiny-1 is live")
    assert export()[-1] == (
        "tiny-1 stays live: `python -m export release promote tiny 2` makes this one live"
    )
    assert live_version(tmp_path / "tiny") == 1
    assert export("--promote")[-1] == "tiny-3 is live"
    assert read_rollout(tmp_path / "tiny").previous == 1
    with locked(tmp_path / "tiny" / AGENT_LOCK):
        assert export("--promote")[-2:] == [
            "tiny-4 is live",
            "this host's agent loads it, and switches when it is ready",
        ]
        assert export()[-1].startswith("tiny-4 stays live: ")


def test_a_version_made_elsewhere_is_published_as_it_is(release: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "artefact" / "made"
    shutil.copytree(release, elsewhere)
    publish_made(elsewhere, 4, seed={"denoiser": 4})
    assert publish_copy(elsewhere, 4, release, "a test")
    assert not publish_copy(elsewhere, 4, release, "a test"), "it is there"
    spoil(release / "models/denoiser/4/model.onnx")
    assert not publish_copy(elsewhere, 4, release, "a test"), "and put back where it is damaged"
    assert live_version(release) == 1
    assert unverified(release, 4) is None
    assert (release / "versions/4/release.json").read_bytes() == (
        elsewhere / "versions/4/release.json"
    ).read_bytes()


def test_a_copy_that_was_stopped_while_it_was_put_in_place_completes(release: Path, tmp_path: Path) -> None:
    """What arrived and what is published are then two names of one file."""
    elsewhere = tmp_path / "artefact" / "made"
    shutil.copytree(release, elsewhere)
    publish_made(elsewhere, 4, seed={"denoiser": 4})
    publish_copy(elsewhere, 4, release, "a test")
    arrived = release.parent / ".made.incoming"
    arrived.mkdir()
    digests = read_manifest(release, 4)
    weights, graph = "models/denoiser/4/model.onnx.data", "models/denoiser/4/model.onnx"
    os.link(release / weights, arrived / digests[weights])
    # And after a power cut a file may have other bytes than were written.
    (release / graph).unlink()
    (arrived / f"{digests[graph]}.part").write_bytes(b"other")
    assert not publish_copy(elsewhere, 4, release, "a test")
    assert verify_version(release, 4, "a test").problems == []


def test_a_number_that_is_taken_by_another_version_is_refused(release: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "artefact" / "made"
    publish_made(elsewhere, 3, seed={"denoiser": 33})
    with pytest.raises(
        VersionTakenError, match=r"has a version 3 already, with other files: a published version is never"
    ):
        publish_copy(elsewhere, 3, release, "a test")
    publish_made(elsewhere, 4, seed={"denoiser": 33})
    with pytest.raises(
        PlaceError, match=r"models/denoiser/3/model.onnx belongs to version 3 and has other b"
    ):
        publish_copy(elsewhere, 4, release, "a test")
    assert sorted(documents(release)) == [1, 2, 3]
    assert not (release.parent / ".made").exists()


# --- checking ---


def test_a_flipped_bit_in_any_file_is_found_and_named(release: Path) -> None:
    """What may be added to a version, or changes by its nature, is no part of what was published."""
    mutable = {CHECKED, "live", "rollout.json"}
    files = [file for file in sorted(release.rglob("*")) if file.is_file() and file.name not in mutable]
    assert len(files) > 30
    for file in files:
        kept = file.read_bytes()
        spoil(file)
        problems = [
            problem for version in (1, 2, 3) for problem in verify_version(release, version, "x").problems
        ]
        assert str(file.relative_to(release)) in {problem.split(" ")[0] for problem in problems}, file
        file.write_bytes(kept)
    for version in (1, 2, 3):
        assert verify_version(release, version, "x").problems == []


def test_missing_and_surplus_files_are_found_and_named(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (release / "models/depth/3/model.onnx").unlink()
    (release / "models/denoiser/2/more.bin").touch()
    (release / "versions/1/more.txt").touch()
    (release / "models/other/1").mkdir(parents=True)
    status, out, err = say(capsys, "verify", release)
    assert status == 1
    assert "made-1 is whole" not in out
    for line in (
        "models/depth/3/model.onnx is missing",
        "models/denoiser/2/more.bin is no file of made-2",
        "versions/1/more.txt is no file of made-1",
        "models/other/1 belongs to no version",
    ):
        assert f"{release}/{line}\n" in err
    assert "put back what was published" in err


def test_a_copy_beside_the_versions_is_none(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promote(release, 2)
    shutil.copytree(release / "versions/2", release / "versions/2.bak")
    status, _, err = say(capsys, "verify", release)
    assert (status, err.splitlines()[0]) == (1, f"{release}/versions/2.bak is no version")
    assert say(capsys, "list", release)[0] == 0
    assert say(capsys, "rollback", release)[1] == "made-1 is live, made-2 is withdrawn\n"


def test_the_committed_releases_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    for bundle in ("tiny", "dollhouse"):
        assert say(capsys, "verify", bundle)[0] == 0
        assert verify_rest(ROOT / "releases" / bundle).problems == []


def test_a_version_from_before_there_were_manifests_is_checked_and_sealed(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (release / f"versions/1/{MANIFEST}").unlink()
    status, out, err = say(capsys, "verify", release, 1)
    assert (status, out) == (0, "made-1 is whole\n")
    assert "its graphs were compared with release.json, and nothing says how its other files must be" in err
    assert say(capsys, "verify", release, 1, "--seal")[0] == 0
    spoil(release / "versions/1/tokenizer.json")
    status, _, err = say(capsys, "verify", release, 1)
    assert status == 1
    assert "versions/1/tokenizer.json is not the file that was published" in err


def test_the_manifest_can_be_checked_without_us(release: Path) -> None:
    document = json.loads((release / f"versions/2/{MANIFEST}").read_bytes())
    assert {path: facts["sha256"] for path, facts in document["files"].items()} == {
        path: sha256(release / path) for path in document["files"]
    }


# --- what a server loads ---


def started(release: Path) -> tuple[int, str, str]:
    """The starter, with a server that says one word."""
    done = ran(sys.executable, "-I", "-S", CHECK, release, "echo", "served")
    return done.returncode, done.stdout, done.stderr


def test_a_server_starts_with_what_was_published(release: Path) -> None:
    (release / f"versions/1/{CHECKED}").unlink()
    assert started(release) == (0, "served\n", "")
    checked = json.loads((release / f"versions/1/{CHECKED}").read_bytes())
    assert checked["by"] == "the server's start"
    assert started(release) == (0, "served\n", "")


@pytest.mark.parametrize(
    "path", ["models/denoiser/1/model.onnx.data", "models/depth/config.pbtxt", "versions/1/tokenizer.json"]
)
def test_a_damaged_file_is_refused_by_its_name_before_a_server_loads_it(path: str, release: Path) -> None:
    spoil(release / path)
    status, out, err = started(release)
    assert (status, out) == (1, "")
    assert err.startswith(
        f"error: made-1 is not loaded: {release}/{path} is not the file that was published; put"
    )
    assert err.count("\n") == 1
    (release / path).unlink()
    assert f"{path} is missing" in started(release)[2]


@pytest.mark.parametrize("content", [b"four\n", b"", b"\xff"])
def test_a_garbled_pointer_is_one_sentence(
    content: bytes, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(release, 2)
    (release / "live").unlink()
    (release / "live").write_bytes(content)
    sentence = f"{release}/live names no version: write the number of the live one into it\n"
    assert say(capsys, "list", release) == (1, "", sentence)
    assert served.main([str(release)]) == 1
    assert capsys.readouterr().err == f"error: {sentence}"
    # Where it is known what shall be live, going back needs no other file.
    assert say(capsys, "rollback", release) == (0, "made-1 is live, made-2 is withdrawn\n", "")
    assert live_version(release) == 1
    (release / "rollout.json").unlink()
    (release / "live").write_bytes(content)
    for command in ("list", "prune", "rollback"):
        assert say(capsys, command, release) == (1, "", sentence)


def test_a_host_whose_pointer_is_garbled_follows_a_folder_anew(release: Path, tmp_path: Path) -> None:
    host = tmp_path / "host" / "made"
    served.follow_folder(host, release)
    (host / "live").write_text("four\n")
    served.follow_folder(host, release)
    assert live_version(host) == 1


def test_the_stack_names_a_damaged_file(tmp_path: Path) -> None:
    release = tmp_path / "tiny"
    shutil.copytree(ROOT / "releases" / "tiny", release)
    spoil(release / "models/denoiser/1/model.onnx")
    server = TritonServer([ROOT / "model_repository", release / "models"], tmp_path / "run", release=release)
    with pytest.raises(
        StackError, match=r"tiny-1 is not loaded: .*/models/denoiser/1/model.onnx is not the file"
    ):
        server.start()


def test_what_is_for_people_stops_no_server(release: Path) -> None:
    spoil(release / "versions/1/report.html")
    assert started(release) == (0, "served\n", "")


def test_a_host_whose_files_are_damaged_serves_the_version_before(release: Path) -> None:
    promote(release, 2)
    spoil(release / "models/denoiser/2/model.onnx")
    status, out, err = started(release)
    assert (status, out) == (0, "served\n")
    assert err.startswith(
        f"warning: made-2 is not loaded: {release}/models/denoiser/2/model.onnx is not the file"
    )
    assert "this host serves version 1 instead" in err
    assert live_version(release) == 1
    assert read_rollout(release).live == 2, "what the operator wants is not ours to change"


def test_a_host_does_not_fall_back_to_what_is_damaged_or_withdrawn(release: Path) -> None:
    promote(release, 2)
    spoil(release / "models/denoiser/2/model.onnx")
    spoil(release / "models/denoiser/1/model.onnx")
    assert started(release)[0] == 1
    assert live_version(release) == 2


def test_a_host_leaves_out_what_is_damaged_and_tells_its_agent(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also while the agent runs, which alone writes host.json then: it makes nothing live that was left out."""
    promote(release, 2)
    write_host(release, Host(live=2, ready=[1, 2, 3]))
    spoil(release / "models/denoiser/2/model.onnx")
    spoil(release / "models/denoiser/3/model.onnx")
    host = (release / "host.json").read_bytes()
    served = Served(release)
    for running in (True, False):
        with locked(release / AGENT_LOCK) if running else nullcontext():
            assert serve([str(release)]) == 0
        assert live_version(release) == 1
        assert served.places() == served.wanted([1])
        assert sorted(path.name for path in release.glob("left-out-*")) == ["left-out-2", "left-out-3"]
        if running:
            assert (release / "host.json").read_bytes() == host
        assert "made-3 is not loaded: " in capsys.readouterr().err
    found = read_host(release)
    assert found is not None
    assert (found.live, found.ready) == (1, [1])


def test_a_version_that_was_pruned_is_left_out_without_a_word(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_host(release, Host(live=1, ready=[1, 2]))
    prune(release, Plan([2], [("denoiser", 2)], 0, {}))
    assert serve([str(release)]) == 0
    assert capsys.readouterr().err == ""
    found = read_host(release)
    assert found is not None
    assert found.ready == [1]


# --- switching ---


def test_promote_and_roll_back(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, "promote", release, 2, "--by", "Ada") == (0, "made-2 is live, before made-1\n", "")
    rollout = read_rollout(release)
    assert (rollout.live, rollout.previous, rollout.withdrawn, rollout.by) == (2, 1, [], "Ada")
    assert live_version(release) == 2
    assert say(capsys, "rollback", release) == (0, "made-1 is live, made-2 is withdrawn\n", "")
    rollout = read_rollout(release)
    assert (rollout.live, rollout.previous, rollout.withdrawn) == (1, None, [2])
    assert live_version(release) == 1
    # A second person in a hurry does not go back further.
    status, _, err = say(capsys, "rollback", release)
    assert (status, err) == (1, "nothing says what made-1 is to go back to: name it with --to (3 can be)\n")
    status, _, err = say(capsys, "promote", release, 2)
    assert (status, err.split(":")[0]) == (1, "made-2 was withdrawn")
    assert say(capsys, "promote", release, 2, "--again")[0] == 0
    assert read_rollout(release).withdrawn == []


def test_the_live_version_is_promoted_again_to_complete_what_was_stopped(release: Path) -> None:
    rollouts = FolderRollouts(release)
    before = rollouts.read()
    rollouts.write(changed(before, live=2, previous=1), before.revision)
    make_live(release, 1)  # It was killed before it came to that.
    again = promote(release, 2)
    assert (again.revision, again.live, again.previous) == (2, 2, 1), "hosts that refused it try again"
    assert live_version(release) == 2


@pytest.mark.parametrize("to", [None, 1])
def test_a_rollback_that_was_stopped_half_way_is_completed_by_the_same_command(
    to: int | None, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(release, 2)
    command = ("rollback", release, *(("--to", to) if to else ()))
    assert say(capsys, *command)[0] == 0
    make_live(release, 2)  # It was killed before it came to that.
    before = read_rollout(release)
    assert say(capsys, *command) == (0, "made-1 is live\n", "")
    assert live_version(release) == 1
    assert read_rollout(release) == before
    assert say(capsys, *command)[0] == 1


def test_what_is_live_is_never_older_than_the_document(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody rolls back between the two files that a promotion writes."""
    rolling_back = threading.Thread(target=roll_back, args=(release,))

    def slowly(file: Path, content: bytes) -> None:
        if file.name == "live" and rolling_back.ident is None:
            rolling_back.start()
            rolling_back.join(0.3)
        write_whole(file, content)

    monkeypatch.setattr("export.releases.folder.write_whole", slowly)
    promote(release, 2)
    rolling_back.join()
    rollout = read_rollout(release)
    assert (rollout.live, rollout.withdrawn, live_version(release)) == (1, [2], 1)


def test_where_an_agent_runs_it_alone_changes_what_is_live_here(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked(release / AGENT_LOCK):
        status, out, _ = say(capsys, "promote", release, 2)
        assert (status, out.splitlines()[-1]) == (
            0,
            "this host's agent loads it, and switches when it is ready",
        )
        assert (live_version(release), read_rollout(release).live) == (1, 2)
    assert promote(release, 2).live == 2
    assert live_version(release) == 2


def test_an_unverified_version_is_not_promoted(release: Path) -> None:
    (release / f"versions/2/{CHECKED}").unlink()
    with pytest.raises(
        changes.RefusedError, match=r"made-2 has not been verified on this machine: `python -m export"
    ):
        promote(release, 2)
    verify_version(release, 2, "x")
    spoil(release / "models/denoiser/2/model.onnx")
    with pytest.raises(
        changes.RefusedError,
        match=r"made-2 is damaged: models/denoiser/2/model.onnx is not the file that was",
    ):
        promote(release, 2)
    assert (live_version(release), read_rollout(release).live) == (1, 1)


def test_a_release_for_other_hardware_is_not_promoted(release: Path) -> None:
    publish_made(release, 4, targets=["Tesla T4"])
    rollouts = FolderRollouts(release)
    with pytest.raises(
        changes.RefusedError, match="made-4 was made for Tesla T4, and this is for cpu: export it"
    ):
        changes.promote(release, rollouts, 4, "cpu")
    with pytest.raises(changes.RefusedError, match="this is for NVIDIA L4"):
        changes.promote(release, rollouts, 4, "NVIDIA L4")
    assert changes.promote(release, rollouts, 4, "Tesla T4").live == 4
    assert [fits(["gpu"], device) for device in ("cpu", "NVIDIA L4")] == [False, True]
    assert fits([], "cpu")


def test_tensors_that_clash_with_anothers_configuration_are_refused(release: Path) -> None:
    """As a version from before graphs had names of their own may."""
    document = release / "versions/2/release.json"
    facts = json.loads(document.read_bytes())
    facts["sizes"] = SIZES | {"text_width": 64}
    document.unlink()
    document.write_text(json.dumps(facts))
    (release / f"versions/2/{MANIFEST}").unlink()
    verify_version(release, 2, "x")
    with pytest.raises(
        changes.RefusedError,
        match=r"made-2 cannot be loaded beside .*models/\w+/config.pbtxt has the tensors of",
    ):
        promote(release, 2)


def test_versions_that_are_not_there_are_named(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("promote", "show", "verify", "canary", "prune"):
        status, _, err = say(capsys, command, release, 9)
        assert (status, err) == (1, "there is no version 9 of made; published: 1, 2, 3\n")
    status, _, err = say(capsys, "list", "none", "--releases", release.parent)
    assert (status, err) == (1, f"there is no release in {release.parent / 'none'}: made can be named\n")


def test_of_two_who_promote_at_once_one_wins(release: Path) -> None:
    class Slow(FolderRollouts):
        """Reads, and then somebody else is faster."""

        def read(self) -> Rollout:
            found = super().read()
            if found.live == 1:
                promote(release, 3)
            return found

    with pytest.raises(
        RolloutConflictError, match=r"another change came first \(version 3 is live since .*\) and n"
    ):
        changes.promote(release, Slow(release), 2, "cpu")
    assert (live_version(release), read_rollout(release).live, read_rollout(release).revision) == (3, 3, 1)


def test_promoters_in_processes_of_their_own_never_both_win(release: Path) -> None:
    """Each promotes after the same revision; the lock lets one write."""
    code = (
        "import sys; from pathlib import Path; from export.releases.rollout import *\n"
        "place = FolderRollouts(Path(sys.argv[1])); read = place.read(); print(flush=True); input()\n"
        "try: place.write(changed(read, live=int(sys.argv[2])), read.revision); print('won')\n"
        "except RolloutConflictError: print('lost')\n"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(release), str(number)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in (1, 2, 3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        racer.stdout.readline()
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    assert sorted(racer.communicate()[0] for racer in racers) == ["lost\n", "lost\n", "won\n"]
    assert read_rollout(release).revision == 1


def test_a_trial_begins_and_ends(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = say(capsys, "canary", release, 2, "--share", "0.25", "--shadow")
    assert status == 0
    assert out.startswith("made-2 is compared on 0.25 of the jobs beside made-1, as soon as")
    canary = read_rollout(release).canary
    assert canary is not None
    assert (canary.version, canary.mode, canary.share, canary.id[:2]) == (2, "shadow", 0.25, "c-")
    for other in ("canary", "promote"):
        assert say(capsys, other, release, 3)[2].startswith("made-2 is on trial, since")
    assert "on trial: shadows every 4th job" in say(capsys, "list", release)[1]
    # In a hurry the trial is what ends first, and what is live stays.
    assert say(capsys, "rollback", release) == (0, "made-1 is live, made-2 is withdrawn\n", "")
    rollout = read_rollout(release)
    assert (rollout.canary, rollout.live, rollout.withdrawn) == (None, 1, [2])
    assert say(capsys, "canary", release, 2)[0] == 1
    assert say(capsys, "canary", release, 1)[2] == "made-1 is live: there is nothing to compare it with\n"
    assert say(capsys, "canary", release, 3)[0] == 0
    assert say(capsys, "promote", release, 3)[0] == 0
    assert read_rollout(release).canary is None
    assert say(capsys, "canary", release, "--end")[2] == "no version of made is on trial\n"
    # A trial beside what is taken back would compare with it.
    publish_made(release, 4, seed={"denoiser": 4})
    assert say(capsys, "canary", release, 4)[0] == 0
    said = "made-1 is live, made-3 is withdrawn, made-4 is not on trial any more\n"
    assert say(capsys, "rollback", release, "--to", 1) == (0, said, "")
    rollout = read_rollout(release)
    assert (rollout.canary, rollout.live, rollout.withdrawn) == (None, 1, [2, 3])


def test_a_trial_is_not_begun_or_ended_by_mistake(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = say(capsys, "canary", release, 3, "--withdraw")
    assert (status, err) == (
        1,
        "--withdraw goes with --end: give both to end the trial and withdraw its version\n",
    )
    assert read_rollout(release).canary is None
    say(capsys, "canary", release, 3)
    status, _, err = say(capsys, "canary", release, 2, "--end", "--withdraw")
    assert (status, err) == (
        1,
        "made-2 is not on trial, but made-3 is: name that one, or none, to end its trial\n",
    )
    assert read_rollout(release).canary is not None
    assert say(capsys, "canary", release, 3, "--end", "--withdraw")[0] == 0
    assert read_rollout(release).withdrawn == [3]


def test_a_rollback_needs_no_server_and_little_time(release: Path) -> None:
    """Among its imports are none of what takes long: numpy, torch."""
    promote(release, 2)
    code = (
        "import sys, export.__main__ as m; status = m.main(['release', 'rollback', sys.argv[1]]);"
        "print(sorted({'numpy', 'torch', 'transformers', 'redis'} & set(sys.modules))); sys.exit(status)"
    )
    done = ran(sys.executable, "-c", code, release, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "made-1 is live, made-2 is withdrawn\n[]\n")


def test_a_rollback_to_what_has_files_missing_is_refused(release: Path) -> None:
    promote(release, 2)
    (release / "models/denoiser/1/model.onnx").unlink()
    with pytest.raises(
        changes.RefusedError, match=r"made-1 cannot be served, models/\S+/model.onnx is missing: n"
    ):
        roll_back(release)
    assert roll_back(release, to=3).live == 3


def test_a_rollback_leaves_a_version_whose_document_is_damaged(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(release, 2)
    spoil(release / "versions/2/release.json")
    spoil(release / "versions/3/release.json")
    assert "made-2 is live" in say(capsys, "list", release)[1]
    assert say(capsys, "rollback", release)[1] == "made-1 is live, made-2 is withdrawn\n"
    status, _, err = say(capsys, "show", release, 3)
    assert (status, err.count("\n")) == (1, 1)
    assert "versions/3/release.json cannot be read" in err


def test_a_rollout_that_cannot_be_read_is_one_sentence(release: Path) -> None:
    for content in (b'{"live": "two"}', b'{"by": "\xff"}', b"\xff"):
        (release / "rollout.json").write_bytes(content)
        with pytest.raises(
            RolloutError, match=r"rollout.json cannot be read \(.*\): restore it, or remove it and promote"
        ):
            read_rollout(release)
    (release / "rollout.json").write_text('{"format": 2}')
    with pytest.raises(RolloutError, match="was written by a newer version of reroom"):
        read_rollout(release)


# --- removing ---


def test_what_is_needed_is_not_removed(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promote(release, 2)
    for version, reason in ((2, "it is live"), (1, "a rollback goes to it")):
        status, _, err = say(capsys, "prune", release, version)
        assert (status, err) == (1, f"made-{version} is not removed: {reason}\n")
    changes.start_canary(release, FolderRollouts(release), 3, "cpu", share=0.1, shadow=False)
    assert say(capsys, "prune", release, 3)[2] == "made-3 is not removed: it is on trial\n"
    changes.end_canary(release, FolderRollouts(release))
    assert say(capsys, "prune", release, 3, "--keep", 3)[2] == "made-3 is not removed: --keep names it\n"
    (release / "host.json").write_text('{"live": 2, "ready": [2, 3]}')
    assert say(capsys, "prune", release, 3)[2] == "made-3 is not removed: this host's Triton holds it\n"
    assert sorted(documents(release)) == [1, 2, 3]


def test_what_hosts_say_that_they_hold_is_not_removed(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They follow the folder, each with an agent and a folder of its own."""
    host = tmp_path / "run" / "made"
    follow_folder(host, release)
    agent = Record(host, FolderSource(release, shared=True), "gpu-1", print)
    agent.state.live, agent.state.ready = 1, [1]
    agent.save()
    promote(release, 2)
    promote(release, 3)
    said = "hosts/gpu-1.json says that it is there"
    assert f"made-1 stays: {said}\n" in say(capsys, "prune", release)[1]
    assert say(capsys, "prune", release, 1) == (1, "", f"made-1 is not removed: {said}\n")
    for member in ("loading", "leaving"):
        document = json.dumps({"live": 3, "ready": [3], member: 1})
        (release / "hosts/gpu-1.json").write_text(document)
        assert say(capsys, "prune", release, 1)[0] == 1
    assert sorted(documents(release)) == [1, 2, 3]
    FolderSource(release, shared=True).forget("gpu-1")
    assert say(capsys, "prune", release, 1)[0] == 0


class InUse(BaseHTTPRequestHandler):
    """GET /admin/releases of a service."""

    answer: ClassVar[bytes] = b'{"success": true, "data": {"in_use": [3]}}'
    keys: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.keys.append(self.headers["Authorization"])
        self.send_response(200 if self.path == "/admin/releases" else 404)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), InUse)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_jobs_began_with_is_not_removed(
    release: Path, service: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REROOM_ADMIN_TOKEN", "t" * 16)
    status, _, err = say(capsys, "prune", release, 3, "--api", service)
    assert (status, err) == (1, "made-3 is not removed: jobs that are not finished began with it\n")
    assert InUse.keys == [f"Bearer {'t' * 16}"]
    status, _, err = say(capsys, "prune", release, 3, "--api", f"{service}/elsewhere")
    assert status == 1
    assert err.endswith("HTTP Error 404: Not Found): nothing was removed\n")
    assert sorted(documents(release)) == [1, 2, 3]


def test_a_prune_says_what_it_frees_and_leaves_what_others_share(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(release, 2)
    promote(release, 3)
    before = {path for path in release.rglob("*") if path.is_file()}
    status, out, _ = say(capsys, "prune", release, "--dry-run", "--newest", 1)
    assert status == 0
    assert out.splitlines()[:2] == ["made-2 stays: a rollback goes to it", "made-3 stays: it is live"]
    assert out.splitlines()[2].startswith("would remove made-1: 1 graphs, ")
    assert {path for path in release.rglob("*") if path.is_file()} == before
    assert (
        say(capsys, "prune", release, "--newest", 1)[1].splitlines()[2].startswith("removed made-1: 1 graphs")
    )
    assert sorted(documents(release)) == [2, 3]
    assert not (release / "models/denoiser/1").exists()
    assert (release / "models/vae_encoder/1/model.onnx").is_file(), "the others use it"
    assert say(capsys, "verify", release)[0] == 0
    assert [path.name for path in release.parent.iterdir()] == ["made"]


def test_a_prune_that_was_stopped_is_no_hindrance_when_the_version_comes_back(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(release, 2)
    promote(release, 3)
    elsewhere = tmp_path / "artefact" / "made"
    shutil.copytree(release, elsewhere)
    # It was killed after its first step.
    (release / "versions/1").rename(release / "versions/.pruned-1")
    assert publish_copy(elsewhere, 1, release, "a test")
    status, out, _ = say(capsys, "prune", release, 1)
    assert (status, out.splitlines()[-1].split(":")[0]) == (0, "removed made-1")
    assert {path.name for path in (release / "versions").iterdir()} == {"2", "3"}
    assert not (release / "models/denoiser/1").exists()
    assert say(capsys, "verify", release)[0] == 0
    assert say(capsys, "prune", release)[0] == 0


def test_versions_newer_than_what_is_live_stay(release: Path) -> None:
    planned = plan(release, read_rollout(release), newest=0)
    assert planned.versions == []
    assert planned.kept == {1: "it is live", **dict.fromkeys((2, 3), "it is newer than what is live")}


# --- in words ---


def test_a_difference_is_told_in_words(release: Path) -> None:
    publish_made(
        release,
        4,
        seed={"denoiser": 4},
        sizes=SIZES | {"text_width": 64},
        names={"text_encoder": "text_encoder-4", "denoiser": "denoiser-4"},
        sources={"unet": "somebody/unet@2"},
        precision="fp16",
        targets=["gpu"],
    )
    versions = documents(release)
    found = differences(release, versions[1], versions[4])
    assert found["networks"] == [
        "denoiser is another graph (0.0 MB as before)",
        "unchanged: depth, detector, text_encoder, vae_encoder, vae_decoder",
    ]
    assert found["sources"] == ["unet: somebody/unet@1 → somebody/unet@2"]
    assert found["sizes"] == ["text_width: 32 → 64"]
    assert found["precision"] == ["release: fp32 → fp16"]
    assert found["hardware"] == ['targets is new: ["gpu"]']
    assert "denoiser is Triton's model denoiser-4, before denoiser" in found["tensors"]
    assert "denoiser, input text: FP32 [any, 77, 32] → FP32 [any, 77, 64]" in found["tensors"]
    assert found["proofs"] == ["pictures differ from diffusers' by at most 0.001 → 0.004 of 255"]
    assert differences(release, versions[1], versions[2])["defaults"] == ["steps: 8 → 9"]


def test_what_is_shown_and_listed(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promote(release, 2)
    status, out, _ = say(capsys, "list", release)
    assert status == 0
    assert out.startswith("made-2 is live since 2")
    assert "a rollback goes here" in out
    assert json.loads(say(capsys, "list", release, "--json")[1])["previous"] == 1
    out = say(capsys, "show", release)[1]
    assert out.startswith("made-2 (live): fp32\nverified 2")
    assert "unet: somebody/unet@1" in out
    assert sha256(release / "models/denoiser/2/model.onnx")[:12] in out
    facts = json.loads(say(capsys, "show", release, 3, "--json")[1])
    assert facts["models"]["denoiser"]["version"] == 3
    same = say(capsys, "diff", release, 2, 2)[1]
    assert same == "made-2 is made-2 under another number\n"

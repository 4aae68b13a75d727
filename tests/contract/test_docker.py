"""The containers and the embedded stack have the same settings, and docker/ is what its tools and readers expect."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml  # type: ignore[import-untyped]

from orchestrator.settings import Settings
from stack.redis import SETTINGS, RedisServer
from stack.stack import Stack
from stack.triton import CHECK, EXIT_SECONDS, OPTIONS, WATCH, triton_part
from tests.conftest import RELEASE, ROOT
from tests.support.programs import ran
from tests.support.servers import free_port, redis_binaries

DOCKER = ROOT / "docker"
COMPOSE = DOCKER / "compose.yml"
DOCKERFILES = [DOCKER / "server.Dockerfile", DOCKER / "triton.Dockerfile"]

Model = dict[str, Any]


@pytest.fixture(scope="module")
def services() -> dict[str, Model]:
    loaded: Model = yaml.safe_load(COMPOSE.read_text())
    found: dict[str, Model] = loaded["services"]
    return found


@pytest.fixture(scope="module")
def example() -> dict[str, str]:
    """Every variable in .env.example with the value that stands there, commented out or not."""
    return dict(
        re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", (DOCKER / ".env.example").read_text(), re.MULTILINE)
    )


def aliases() -> dict[str, str]:
    """The environment's name of every setting, and its attribute."""
    return {str(field.validation_alias): name for name, field in Settings.model_fields.items()}


def interpolated() -> dict[str, str | None]:
    """Variables that compose.yml itself reads, with their defaults; None = it must be set."""
    found = re.findall(r"\$\{([A-Z0-9_]+)(?::-([^}]*)|:\?[^}]+)\}", COMPOSE.read_text())
    return {name: default or None for name, default in found}


def tool(name: str) -> str:
    """A program that came with the test packages."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is not installed: run `make .venv/.tests-installed`"
    return found


# --- what tools check -------------------------------------------------------------------------------------------------


def fits_the_specification(file: Path) -> bool:
    schema = ("--builtin-schema", "vendor.compose-spec")
    return ran(sys.executable, "-m", "check_jsonschema", *schema, file).returncode == 0


def test_the_compose_file_fits_the_specification(tmp_path: Path) -> None:
    assert fits_the_specification(COMPOSE)
    misspelt = tmp_path / "compose.yml"
    misspelt.write_text(COMPOSE.read_text().replace("read_only: true", "readonly: true"))
    assert not fits_the_specification(misspelt)


def test_the_dockerfiles_pass_hadolint(tmp_path: Path) -> None:
    hadolint = tool("hadolint")
    assert ran(hadolint, *DOCKERFILES).stdout == ""
    careless = tmp_path / "Dockerfile"
    careless.write_text("FROM debian\nCMD python -m orchestrator.app\n")
    assert ran(hadolint, careless).returncode != 0


VERSION = r"version v?2\.[2-9]\d"


def docker_compose() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and re.search(VERSION, ran(*command, "version").stdout):
            return command
    pytest.skip("there is no Docker Compose 2.20 or newer on PATH")


@pytest.mark.parametrize(
    ("profile", "tritons"), [("cpu", {"triton-cpu"}), ("gpu", {"triton-gpu"}), ("remote", set())]
)
def test_docker_compose_reads_it(profile: str, tritons: set[str], tmp_path: Path) -> None:
    command = [
        *docker_compose(), "-f", str(COMPOSE), "--env-file", str(tmp_path / ".env"), "--profile", profile,
    ]  # fmt: skip
    text = (DOCKER / ".env.example").read_text().replace("COMPOSE_PROFILES=cpu", "")
    (tmp_path / ".env").write_text(text)
    refused = ran(*command, "config")
    assert refused.returncode != 0
    assert "in docker/.env" in refused.stderr
    for name in ("REROOM_SIGNING_KEY", "REDIS_PASSWORD"):
        text = text.replace(f"{name}=", f"{name}=0123456789abcdef")
    (tmp_path / ".env").write_text(text)
    listed = ran(*command, "config", "--services")
    assert set(listed.stdout.split()) == {"redis", "api", "worker", *tritons}


# --- settings -------------------------------------------------------------------------------------------------------


def test_every_setting_is_in_the_example_or_set_by_compose(
    services: dict[str, Model], example: dict[str, str]
) -> None:
    given = [pair for service in ("api", "worker") for pair in services[service]["environment"].items()]
    assert set(aliases()) == {name for name, _ in given}
    # Passed on from .env, so an operator must be able to read about it.
    passed = {name for name, value in given if value is None or f"{value}".startswith(f"${{{name}:")}
    assert set(example) == passed | set(interpolated()) | {"COMPOSE_PROFILES"}


def test_the_examples_values_are_the_defaults(
    example: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in aliases():
        monkeypatch.delenv(name, raising=False)
    fields = aliases()
    by_compose = interpolated()
    for name, value in example.items():
        if name in by_compose:
            assert value == (by_compose[name] or ""), name
        elif name in fields:
            given = Settings.model_validate(
                {"REROOM_SIGNING_KEY": "x" * 16} | ({name: value} if value else {})
            )
            assert getattr(given, fields[name]) == Settings.model_fields[fields[name]].default, name


def test_secrets_have_no_default() -> None:
    required = {name for name, default in interpolated().items() if default is None}
    assert required == {"REROOM_SIGNING_KEY", "REDIS_PASSWORD"}


# --- start commands and options -------------------------------------------------------------------------------------


def test_the_api_and_the_worker_start_alike(services: dict[str, Model], tmp_path: Path) -> None:
    parts = {part.name: part for part in Stack(tmp_path, release=RELEASE)._parts()}
    for service, part in (("api", parts["api"]), ("worker", parts["worker-1"])):
        assert services[service]["command"] == ["python", *part.command[1:]]
        assert str(part.command[0]) == sys.executable


BESIDE = (CHECK, WATCH, ROOT / "stack" / "tritonserver.options")
"""What the image has beside the script that starts Triton."""


def test_triton_starts_alike(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.mkdir()
    for file in (ROOT / "docker" / "serve_triton.sh", *BESIDE):
        shutil.copy(file, image)
    server = tmp_path / "bin" / "tritonserver"
    server.parent.mkdir()
    server.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    server.chmod(0o755)
    env = {"PATH": f"{server.parent}:{os.environ['PATH']}", "REROOM_RELEASE": "/release"}
    started = ran("/bin/sh", image / "serve_triton.sh", "--id=x", env=env, check=True)
    models = [f"--model-repository={image}/model_repository", "--model-repository=/release/models"]
    assert started.stdout.splitlines() == [*OPTIONS, *models, "--id=x"]
    assert len(OPTIONS) > 1
    embedded = triton_part([tmp_path], tmp_path, (1, 2, 3)).command
    assert WATCH in embedded
    assert CHECK in triton_part([tmp_path], tmp_path, (1, 2, 3), release=tmp_path).command
    assert set(OPTIONS) < {str(argument) for argument in embedded}


def test_triton_starts_with_the_releases_of_its_host(tmp_path: Path) -> None:
    for file in (WATCH, ROOT / "stack" / "tritonserver.options"):
        shutil.copy(file, tmp_path)
    (tmp_path / "export").symlink_to(ROOT / "export")
    served = tmp_path / "served"
    variables = {"REROOM_RELEASE": "/none", "REROOM_SERVED": str(served), "REROOM_FOLLOW": str(RELEASE)}
    started = run_in_image(tmp_path, "serve_triton.sh", "--id=x", **variables)
    models = [f"--model-repository={tmp_path}/model_repository", f"--model-repository={served}/served"]
    assert started.stdout.splitlines() == [*OPTIONS, *models, "--id=x"]
    assert (served / "served" / "denoiser" / "1" / "model.onnx").is_file()
    assert (served / "live").read_text() == "1\n"
    follow = yaml.safe_load((DOCKER / "releases.yml").read_text())
    agent = follow["services"]["agent"]["command"]
    assert agent[:3] == ["python", "-m", "export.releases.agent"]
    assert agent[3] == follow["x-follow"]["REROOM_SERVED"]
    assert agent[5] == f"--source={follow['x-follow']['REROOM_FOLLOW']}"


def run_in_image(
    image: Path, script: str, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A script of the image, with a tritonserver that prints its arguments a line."""
    shutil.copy(DOCKER / script, image)
    server = image / "bin" / "tritonserver"
    server.parent.mkdir(exist_ok=True)
    server.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    server.chmod(0o755)
    path = f"{server.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return ran("/bin/sh", image / script, *arguments, env={"PATH": path, **variables}, check=True)


def test_triton_serves_plans_that_fit(tmp_path: Path) -> None:
    for file in BESIDE:
        shutil.copy(file, tmp_path)
    variables = {"REROOM_RELEASE": str(RELEASE), "REROOM_PLANS": str(tmp_path)}

    def served() -> tuple[list[str], str]:
        started = run_in_image(tmp_path, "serve_triton.sh", "--id=x", **variables)
        options = started.stdout.splitlines()
        assert options[: len(OPTIONS)] == OPTIONS
        assert options[-1] == "--id=x"
        return options[len(OPTIONS) + 1 : -1], started.stderr

    graphs = [f"--model-repository={RELEASE}/models"]
    package = tmp_path / "export"
    package.symlink_to(ROOT / "export")
    options, sentence = served()
    assert options == graphs
    assert sentence.startswith("the ONNX graphs are served, since there ")
    package.unlink()
    stub(package / "plans" / "serving.py", "import sys; print('--one', *sys.argv[1:3], sep='\\n')")
    options, _ = served()
    assert options == ["--one", str(RELEASE), str(tmp_path)]
    # A choice that fails stops no service.
    stub(package / "plans" / "serving.py", "print('--one'); raise SystemExit(3)")
    options, _ = served()
    assert options == graphs


def stub(file: Path, code: str) -> None:
    """A module that stands in for one of ours."""
    folder = file.parent
    folder.mkdir(parents=True, exist_ok=True)
    while folder.name in ("plans", "export"):
        (folder / "__init__.py").touch()
        folder = folder.parent
    file.write_text(code)


def test_plans_are_made_of_the_images_release(tmp_path: Path) -> None:
    stub(tmp_path / "export" / "__main__.py", "import sys; print(*sys.argv[1:])")
    made = run_in_image(
        tmp_path, "plan_triton.sh", "--again", REROOM_RELEASE="/release", REROOM_PLANS="/plans"
    )
    assert made.stdout == "plan /release --plans /plans --again\n"


def test_plans_are_kept_where_the_image_looks(services: dict[str, Model]) -> None:
    (plans,) = re.findall(r"REROOM_PLANS=(\S+)", DOCKERFILES[1].read_text())
    assert services["triton-gpu"]["volumes"] == [f"plans:{plans}"]
    assert re.search(
        rf"RUN install --directory --owner=10001 .* {plans}$", DOCKERFILES[1].read_text(), re.MULTILINE
    )


def test_plans_need_no_more_than_the_image_has() -> None:
    code = "import sys, export.__main__, export.plans.making, export.plans.nvidia, export.plans.serving\n"
    code += "print(*sorted({m.__name__.partition('.')[0] for m in sys.modules.values()"
    code += " if 'site-packages' in (getattr(m, '__file__', None) or '')}))"
    found = ran(
        sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}", check=True
    )
    pinned = "".join(
        (ROOT / "requirements" / name).read_text() for name in ("serving.txt", "onnxruntime.txt", "plan.txt")
    )
    used = set(found.stdout.split()) - {"_distutils_hack"}  # which setuptools puts into every Python
    assert used >= {"msgspec", "numpy", "onnxruntime"}
    assert set(re.findall(r"^([\w-]+)==", pinned, re.MULTILINE)) > used
    bindings = re.search(r"^tensorrt-cu13-bindings==(\d+\.\d+\.\d+)", pinned, re.MULTILINE)
    assert bindings
    assert f"| TensorRT | {bindings[1]} |" in (DOCKER / "README.md").read_text()
    ours = (ROOT / "requirements" / "constraints.txt").read_text().splitlines()
    shared = [line for line in pinned.splitlines() if line.startswith(("msgspec", "cuda"))]
    assert len(shared) == 3
    assert set(shared) <= set(ours)


def test_the_images_first_command_is_the_services(services: dict[str, Model]) -> None:
    command = re.search(r"^CMD (.*)$", DOCKERFILES[0].read_text(), re.MULTILINE)
    assert command
    assert yaml.safe_load(command[1]) == services["api"]["command"]


REDIS_SETTINGS = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}
REDIS_SETTINGS |= {"maxmemory": str(2**30)}
"""What the file that both read sets."""


def test_the_embedded_redis_has_the_files_settings(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert {name: client.config_get(name)[name] for name in REDIS_SETTINGS} == REDIS_SETTINGS


@pytest.fixture
def containers_redis(services: dict[str, Model], tmp_path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The container's own command, with this machine's paths and a free port; its port and environment."""
    service = services["redis"]
    (mount,) = (volume for volume in service["volumes"] if volume.endswith(":ro"))
    source, target, _ = mount.split(":")
    assert (DOCKER / source).resolve() == SETTINGS
    binary = next(binary for binary in redis_binaries().values() if binary)
    port = free_port()
    script = str(service["command"][2]).replace("$$", "$")
    for theirs, ours in (
        (target, str(SETTINGS)),
        ("dir /data", f"dir {tmp_path}\nport {port}"),
        ("redis-server", str(binary)),
    ):
        assert theirs in script
        script = script.replace(theirs, ours)
    env = {**os.environ, "REDISCLI_AUTH": "a-password"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*service["command"][:2], script], env=env, stdout=log, stderr=log)
    try:
        yield port, env
    finally:
        process.terminate()
        process.wait(10)


def test_the_containers_redis_has_the_files_settings(
    containers_redis: tuple[int, dict[str, str]], services: dict[str, Model]
) -> None:
    port, env = containers_redis
    with redis.Redis(port=port, password="a-password", decode_responses=True) as client:
        assert client.ping()
        assert {name: client.config_get(name)[name] for name in REDIS_SETTINGS} == REDIS_SETTINGS
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    if not shutil.which("redis-cli"):
        pytest.skip("there is no redis-cli on PATH: the health check was not run")
    kind, check = services["redis"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    check = check.replace("$$", "$").replace("redis-cli", f"redis-cli -p {port}")
    assert ran("/bin/sh", "-c", check, env=env).returncode == 0
    env["REDISCLI_AUTH"] = "another"
    assert ran("/bin/sh", "-c", check, env=env).returncode != 0


# --- the rest of what a reader counts on ----------------------------------------------------------------------------


def test_every_service_is_checked_restarted_and_confined(services: dict[str, Model]) -> None:
    monitoring = {name for name, service in services.items() if service["profiles"] == ["monitoring"]}
    assert monitoring == {"prometheus", "alertmanager", "blackbox", "grafana"}
    assert set(services) - monitoring == {"redis", "triton-cpu", "triton-gpu", "api", "worker"}
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.keys() & {"user", "build"}, name
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {
        "api": ["${REROOM_PUBLISH:-127.0.0.1:8000}:8000"],
        "grafana": ["${REROOM_GRAFANA:-127.0.0.1:3000}:3000"],
    }
    for file in DOCKERFILES:
        users = re.findall(r"^USER (.*)$", file.read_text(), re.MULTILINE)
        assert users == ["10001:10001"], file


def test_whoever_stops_a_service_waits_for_it(services: dict[str, Model]) -> None:
    def seconds(service: str) -> int:
        found = re.search(r"(\d+)s\}?$", services[service]["stop_grace_period"])
        assert found
        return int(found[1])

    drain = Settings.model_fields["drain_seconds"].default
    assert min(seconds("api"), seconds("worker")) >= 2 * drain
    assert min(seconds("triton-cpu"), seconds("triton-gpu")) > 2 * EXIT_SECONDS


def test_tritons_tag_is_pinned_in_one_place_and_its_table_names_it() -> None:
    pin = r"tritonserver:(\d\d\.\d\d)-py3"
    files = [*DOCKER.iterdir(), *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml"]
    found = {file.name: re.findall(pin, file.read_text()) for file in files if file.is_file()}
    assert [name for name, tags in found.items() if tags] == ["triton.Dockerfile"]
    (tag,) = found["triton.Dockerfile"]
    assert f"| Triton's container | {tag}-py3 |" in (DOCKER / "README.md").read_text()
    assert f"| **{tag}** |" in (ROOT / "docs" / "gpu.md").read_text()


def test_the_build_context_holds_what_the_images_copy() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    let_in = [line[1:] for line in lines if line.startswith("!")]
    for file in DOCKERFILES:
        for arguments in re.findall(r"^COPY (?!--from)(.*)$", file.read_text(), re.MULTILINE):
            for source in arguments.split()[:-1]:
                known = [path for path in let_in if source == path or source.startswith(f"{path}/")]
                known += [path for path in let_in if path.startswith(f"{source}/")]
                assert known, f"{file.name} copies {source}, which .dockerignore leaves out"


# --- health checks --------------------------------------------------------------------------------------------------


def test_a_heartbeat_is_healthy_for_a_minute(services: dict[str, Model], tmp_path: Path) -> None:
    heartbeat = services["worker"]["environment"]["REROOM_HEARTBEAT_FILE"]
    kind, check = services["worker"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    file = tmp_path / "alive"
    check = check.replace("$$", "$").replace(heartbeat, str(file))

    def healthy() -> bool:
        return ran("/bin/sh", "-c", check).returncode == 0

    assert not healthy()
    file.touch()
    assert healthy()
    old = time.time() - 90
    os.utime(file, (old, old))
    assert not healthy()

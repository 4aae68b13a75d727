"""The TypeScript client, in Node and in Chromium, on a real API and a worker whose model is scripted."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.domain.keys import Scope
from stack.redis import RedisServer
from tests.conftest import ROOT
from tests.support import scripted_worker
from tests.support.api_server import SIGNING_KEY, photo, running_api, said
from tests.support.relay import Relay, relaying
from tests.support.servers import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

PACKAGE = ROOT / "client-typescript"
NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SEEDS = {
    "completes": scripted_worker.COMPLETES,
    "refused": scripted_worker.IS_REFUSED,
    "hangs": scripted_worker.HANGS,
}

if NODE is None:
    pytest.skip("there is no node on PATH", allow_module_level=True)
if not (PACKAGE / "node_modules").exists():
    pytest.skip("not installed: npm ci --prefix client-typescript", allow_module_level=True)


@asynccontextmanager
async def a_worker(settings: dict[str, str], log: Path) -> AsyncIterator[None]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            Path(scripted_worker.__file__),
            env=os.environ | settings,
            stdout=output,
            stderr=output,
        )
    try:
        yield
    finally:
        assert process.returncode is None, said(log)
        process.terminate()
        await asyncio.wait_for(process.wait(), 20)


@asynccontextmanager
async def cutting(relay: Relay) -> AsyncIterator[str]:
    """The address that cuts the relay's connections when a program asks for it."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        relay.cut()
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def built() -> None:
    await node("node_modules/typescript/bin/tsc", "--build", "tsconfig.node.json")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def setup(
    redis: RedisServer, tmp_path_factory: pytest.TempPathFactory, built: None
) -> AsyncIterator[dict[str, Any]]:
    """What tests/scenarios.mjs is told."""
    folder, port, prefix = tmp_path_factory.mktemp("typescript"), free_port(), "typescript:"
    common = {
        "REDIS_URL": redis.url, "REROOM_REDIS_PREFIX": prefix, "REROOM_SIGNING_KEY": SIGNING_KEY,
        "REROOM_STORAGE_DIR": str(folder / "storage"), "REROOM_RETRY_DELAY": "0.01",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    of_api = common | {"REROOM_OPEN": "", "ALLOWED_ORIGINS": f"http://127.0.0.1:{port}"}
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(running_api(redis.url, folder, **of_api))
        await stack.enter_async_context(a_worker(common, folder / "worker.log"))
        relay = await stack.enter_async_context(relaying(api.base_url))
        made = await api.keys.create("typescript", [Scope.TRANSFORM, Scope.READ])
        yield {
            "url": api.base_url,
            "relay": relay.url,
            "cut": await stack.enter_async_context(cutting(relay)),
            "key": made.text,
            "photo": base64.b64encode(photo()).decode(),
            "seeds": SEEDS,
            "port": port,
            "chromium": CHROMIUM,
        }


async def node(*arguments: str, **environment: str) -> str:
    """Runs Node in the package's folder; what it said."""
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(
        NODE, *arguments, cwd=PACKAGE, env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 180)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_in_node(setup: dict[str, Any]) -> None:
    options = ("--experimental-websocket", "--no-warnings", "--test", "tests/service.test.mjs")
    await node(*options, SETUP=json.dumps(setup))


async def test_in_chromium(setup: dict[str, Any]) -> None:
    if CHROMIUM is None:
        pytest.skip("there is no chromium on PATH (Debian: apt install chromium)")
    await node("--no-warnings", "--test", "tests/browser.test.mjs", SETUP=json.dumps(setup))


async def test_faults_other_origins_and_newer_services(built: None) -> None:
    await node("--no-warnings", "--test", "tests/client.test.mjs")


async def test_the_types_are_those_of_the_description(tmp_path: Path) -> None:
    description = str(ROOT / "docs" / "openapi.json")
    options = ("--default-non-nullable", "false", "--output", str(tmp_path / "api.ts"))
    said = await node("node_modules/openapi-typescript/bin/cli.js", description, *options)
    assert "warn" not in said.lower()
    assert (tmp_path / "api.ts").read_text() == (PACKAGE / "src" / "api.ts").read_text(), (
        "the description has changed: npm run types --prefix client-typescript"
    )


async def test_a_strict_program_compiles_against_the_package(built: None, tmp_path: Path) -> None:
    (tmp_path / "node_modules").mkdir()
    for name, place in (("reroom", PACKAGE), ("@types", PACKAGE / "node_modules" / "@types")):
        (tmp_path / "node_modules" / name).symlink_to(place)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copy(PACKAGE / "tests" / "consumer.ts", tmp_path)
    options = (
        "--noEmit",
        "--strict",
        "--exactOptionalPropertyTypes",
        "--target",
        "es2022",
        "--lib",
        "es2022,dom",
    )
    await node(
        "node_modules/typescript/bin/tsc", *options, "--module", "nodenext", str(tmp_path / "consumer.ts")
    )


async def test_what_npm_would_publish(built: None) -> None:
    npm = shutil.which("npm")
    assert npm is not None
    process = await asyncio.create_subprocess_exec(
        npm, "pack", "--dry-run", "--json", "--silent", cwd=PACKAGE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0
    [packed] = json.loads(output)
    modules = {file.stem for file in (PACKAGE / "src").iterdir()}
    built_files = {f"dist/{name}{kind}" for name in modules for kind in (".js", ".d.ts")}
    assert {file["path"] for file in packed["files"]} == built_files | {
        "LICENSE",
        "README.md",
        "package.json",
    }
    manifest = json.loads((PACKAGE / "package.json").read_text())
    assert not manifest.keys() & {
        "dependencies",
        "peerDependencies",
        "optionalDependencies",
        "bundleDependencies",
    }
    assert (PACKAGE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    portable = [file for file in (PACKAGE / "dist").glob("*.js") if file.name != "node.js"]
    assert not [file.name for file in portable if '"node:' in file.read_text()]

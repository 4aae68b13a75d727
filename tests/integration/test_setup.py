"""Set-up that was stopped, at whatever moment and for whatever reason, is completed by the next call of make."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.setup_checkout import FILES, SECONDS, Checkout

TRITON = ("alpha", "big", "onnxruntime", "server")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def triton(checkout: Checkout) -> Checkout:
    """With a complete .triton."""
    checkout.complete(".triton")
    return checkout


def after(seconds: float) -> Callable[[], bool]:
    begun = time.monotonic()
    return lambda: time.monotonic() >= begun + seconds


def test_killed_at_any_moment_it_is_completed_by_the_next_call(checkout: Checkout) -> None:
    seed = random.randrange(10**6)
    random_moments = random.Random(seed)

    def python_without_pip() -> bool:
        return (checkout.folder / ".triton" / "bin" / "python").exists()

    def half_copied() -> bool:
        """pip takes the package for installed: its METADATA is there."""
        return (checkout.site(".triton") / f"big/part{FILES // 2}.py").exists()

    def soon() -> Callable[[], bool]:
        return after(random_moments.uniform(0, 3))

    moments = [lambda: python_without_pip, lambda: half_copied, soon, soon]
    for moment in moments:
        checkout.kill_when(moment(), ".triton")
        assert not (checkout.folder / ".triton" / ".installed").exists(), "it ended before it was killed"
    checkout.complete(".triton")
    assert checkout.differences(".triton", *TRITON) == [], seed
    assert not (checkout.folder / ".triton" / ".tmp").exists()
    assert checkout.make("-q", ".triton")[0] == 0, "it would be done again"


def test_a_lost_network_costs_nothing_and_a_full_disk_is_got_over(triton: Checkout) -> None:
    configuration = triton.folder / ".triton" / "pyvenv.cfg"
    made = configuration.stat().st_mtime_ns
    triton.package("fat", 1, "# " + "x" * 3_000_000)
    triton.write("requirements/tritonserver.txt", "server==1\nfat==1\n")
    status, output = triton.make(".triton", env={"PIP_FIND_LINKS": str(triton.folder / "nowhere")})
    assert status == 2
    assert ".triton is not complete; the next call of make goes on from here" in output

    # As on a full disk, a file cannot grow beyond this.
    limit = (2_000_000, 2_000_000)
    status, output = triton.make(
        ".triton", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    )
    assert status == 2
    assert "File too large" in output
    assert configuration.stat().st_mtime_ns == made, "what was complete was made anew"

    triton.complete(".triton")
    assert triton.differences(".triton", *TRITON, "fat") == []


def test_one_make_waits_for_another_and_for_a_pip_whose_starter_was_killed(triton: Checkout) -> None:
    site = triton.site(".triton")
    (triton.folder / "requirements/serving.txt").touch()
    subprocess.run(["rm", "-r", site / "big", site / "big-1.dist-info"], check=True)
    with triton.start(".triton"):
        wait_for(lambda: running(triton, "install"))
        (pip,) = running(triton, "install")
        (script,) = running(triton, "setup/environment.py")
        os.kill(pip, signal.SIGSTOP)
        os.kill(script, signal.SIGKILL)
    with triton.start(".triton") as first, triton.start(".triton") as second:
        wait_for(lambda: len(running(triton, "setup/environment.py")) == 2)
        time.sleep(0.5)
        assert not (triton.folder / ".triton" / ".installed").exists(), "it did not wait"
        os.kill(pip, signal.SIGCONT)
        output = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], output
    assert all("waiting for another installation in this folder to end" in each for each in output)
    assert triton.differences(".triton", *TRITON) == []


def test_tests_that_were_not_installed_to_their_end_leave_a_server_that_is_completed(
    checkout: Checkout,
) -> None:
    assert checkout.make(".venv")[0] == 0
    checkout.kill_when(
        (checkout.site(".venv") / f"torch_like/part{FILES // 2}.py").exists, ".venv/.tests-installed"
    )
    for goal, packages in ((".venv", ["alpha"]), (".venv/.tests-installed", ["alpha", "torch_like"])):
        checkout.complete(goal)
        assert checkout.differences(".venv", *packages) == []


def test_an_environment_has_the_one_onnxruntime_of_its_device(triton: Checkout) -> None:
    """Both wheels write into one folder, so that the second breaks the first."""
    cpu, gpu, *libraries = "onnxruntime", "onnxruntime_gpu", "cudnn"
    for device, wheels, others in (("cuda", [gpu, *libraries], [cpu]), ("cpu", [cpu], [gpu, *libraries])):
        triton.complete(".triton", f"DEVICE={device}")
        assert triton.differences(".triton", "alpha", "big", "server", *wheels) == []
        assert not [name for name in others if (triton.site(".triton") / name).exists()]
        assert triton.make("-q", ".triton")[0] == 0, "DEVICE=auto takes what is there"
    assert triton.make("-q", ".triton", "DEVICE=cuda")[0] == 1


def test_nothing_is_fetched_for_a_gpu_that_is_not_there(checkout: Checkout) -> None:
    with suppress(OSError):
        ctypes.CDLL("libcuda.so.1")
        pytest.skip("this machine has NVIDIA's driver")
    for goal in ("up", "demo", "bench-gpu"):
        status, output = checkout.make(goal, *(["DEVICE=cuda"] if goal != "bench-gpu" else []))
        assert status == 2
        assert output.startswith(
            "DEVICE=cuda needs an NVIDIA GPU and its driver, and there is no libcuda.so.1 here"
        )
        assert "installing" not in output


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.001)


def running(checkout: Checkout, argument: str) -> list[int]:
    """Processes in the checkout that were started with this argument."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if argument.encode() in arguments and (process / "cwd").readlink() == checkout.folder:
                found.append(int(process.name))
    return found

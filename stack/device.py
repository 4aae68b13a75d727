"""What the networks run on: the CPU, or an NVIDIA GPU through CUDA. Of the embedded Triton only.

NVIDIA's own tritonserver has other backends, which choose for themselves.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from stack.process import StackError
from stack.terminal import report

DEVICES = ("auto", "cpu", "cuda")
"""As in stack/backends/onnxruntime/runners.py, which serves them."""
VARIABLE = "REROOM_DEVICE"
CHECK = Path(__file__).with_name("backends") / "onnxruntime" / "check_cuda.py"
CHECK_SECONDS = 120.0
"""How long the first use of a GPU may take: its driver may have to load, and kernels to be compiled for a new card."""
CUDA_PROVIDER = "lib/python3*/site-packages/onnxruntime/capi/libonnxruntime_providers_cuda.so"
"""Which of the two onnxruntime wheels an environment has."""


def asked_device() -> str:
    """The device in the environment. Raises StackError."""
    device = os.environ.get(VARIABLE) or "auto"
    if device not in DEVICES:
        raise StackError(f"{VARIABLE} is {device!r} and must be one of {', '.join(DEVICES)}")
    return device


def chosen_device(device: str, environment: Path) -> str:
    """cpu or cuda, for one of DEVICES and the wheel in ``environment``.

    auto is cuda where a graph really runs on a GPU. Raises StackError when cuda is asked for and none does.
    """
    if device == "cpu":
        return "cpu"
    if not any(environment.glob(CUDA_PROVIDER)):
        if device == "cuda":
            raise StackError(
                f"the onnxruntime in {environment} is the one without CUDA: install the other with "
                "`make .triton DEVICE=cuda`"
            )
        return "cpu"
    if not (fault := cuda_fault(environment)):
        return "cuda"
    if device == "cuda":
        raise StackError(f"the networks cannot run on a GPU here: {fault}")
    report(f"the networks run on the CPU: {fault}")
    return "cpu"


def cuda_fault(environment: Path) -> str:
    """Why no graph runs on a GPU with the packages of ``environment``; "" when one does."""
    command = [environment / "bin" / "python", CHECK]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"the GPU did not compute max(-3, 0) within {CHECK_SECONDS:.0f} s"
    if not done.returncode:
        return ""
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[-1] if lines else f"{CHECK.name} ended with status {done.returncode}"


def devices_in(folders: Iterable[Path]) -> set[str]:
    """What the graphs really run on, as their processes have written it into folders <model>/<version>."""
    return {file.read_text() for folder in folders for file in folder.glob("*/*")}

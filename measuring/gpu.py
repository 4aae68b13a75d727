"""An NVIDIA GPU's clocks, power and versions, as its driver tells them; nothing is set, locked or reset."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any, Self

import msgspec
import pynvml

EVERY = 0.1
"""Seconds between two readings."""

SLOWED = {
    "power": "nvmlClocksThrottleReasonSwPowerCap",
    "heat": "nvmlClocksThrottleReasonSwThermalSlowdown",
    "heat of the hardware": "nvmlClocksThrottleReasonHwThermalSlowdown",
    "power of the hardware": "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
}
"""Why a card may run below its clocks: NVML's names of the bits."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A moment. None: the card does not tell."""

    sm_mhz: float | None
    memory_mhz: float | None
    watts: float | None
    celsius: float | None
    memory_mb: float | None
    """In use, by all processes, in units of 10⁶ bytes."""
    slowed_by: list[str]
    """Keys of SLOWED."""


class Gpu:
    """The first card of this machine."""

    def __init__(self, nvml: Any = pynvml) -> None:
        """``nvml``: the module pynvml. Raises its NVMLError where there is no driver or no card."""
        self._nvml = nvml
        nvml.nvmlInit()
        self._card = nvml.nvmlDeviceGetHandleByIndex(0)

    @classmethod
    def found(cls, nvml: Any = pynvml) -> Self | None:
        """The card, or None where there is none."""
        try:
            return cls(nvml)
        except nvml.NVMLError:
            return None

    @property
    def described(self) -> dict[str, Any]:
        """Its name, its driver and its limits. What it does not tell is None."""
        nvml = self._nvml
        cuda = self._ask("nvmlSystemGetCudaDriverVersion")
        memory, limit = (
            self._of_card("nvmlDeviceGetMemoryInfo"),
            self._of_card("nvmlDeviceGetEnforcedPowerLimit"),
        )
        return {
            "name": self._of_card("nvmlDeviceGetName"),
            "driver": self._ask("nvmlSystemGetDriverVersion"),
            "cuda_of_driver": None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
            "memory_mb": None if memory is None else memory.total / 1e6,
            "power_limit_watts": None if limit is None else limit / 1e3,
            "sm_mhz_at_most": self._of_card("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
            "memory_mhz_at_most": self._of_card("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_MEM),
        }

    def read(self) -> Reading:
        """Now."""
        nvml = self._nvml
        power, memory = self._of_card("nvmlDeviceGetPowerUsage"), self._of_card("nvmlDeviceGetMemoryInfo")
        reasons = self._of_card("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        return Reading(
            sm_mhz=self._of_card("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            memory_mhz=self._of_card("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            watts=None if power is None else power / 1e3,
            celsius=self._of_card("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            memory_mb=None if memory is None else memory.used / 1e6,
            slowed_by=[why for why, bit in SLOWED.items() if reasons & getattr(nvml, bit)],
        )

    def _of_card(self, question: str, *about: Any) -> Any:
        return self._ask(question, self._card, *about)

    def _ask(self, question: str, *about: Any) -> Any:
        """NVML's answer, or None: some cards, and shares of cards, do not tell everything."""
        try:
            return getattr(self._nvml, question)(*about)
        except self._nvml.NVMLError:
            return None


@contextmanager
def watched(gpu: Gpu | None, into: list[Reading]) -> Iterator[None]:
    """Read the card all the while, beginning at once; nothing is read where there is none."""
    if gpu is None:
        yield
        return
    ended = threading.Event()

    def read() -> None:
        while True:
            into.append(gpu.read())
            if ended.wait(EVERY):
                return

    thread = threading.Thread(target=read, name="gpu-readings")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def summary(readings: Sequence[Reading]) -> dict[str, Any]:
    """Medians and largest values of what the card told; what it never told is left out."""
    found: dict[str, Any] = {}
    for name in ("sm_mhz", "memory_mhz", "watts", "celsius", "memory_mb"):
        values = [value for each in readings if (value := getattr(each, name)) is not None]
        if values:
            found |= {name: median(values), f"{name}_at_most": max(values)}
    slowed = sorted({why for each in readings for why in each.slowed_by})
    return found | ({"slowed_by": slowed} if slowed else {})

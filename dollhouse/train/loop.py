"""The training loop that the dollhouse's networks share: a budget of minutes, checkpoints, a moving average, a log.

A step's randomness comes from (seed, step) alone, so that a run that was stopped and resumed draws what an
uninterrupted one would have drawn.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .workers import ALONE, Workers


class Stateful(Protocol):
    """An object whose state a checkpoint holds."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Any, /) -> Any: ...


Losses = Mapping[str, Tensor]
"""Scalars by name; ``loss`` is the one that is minimised."""

WARMUP = 100
"""Steps until the learning rate is at its peak."""

MOST_REFUSED = 20
"""Consecutive steps with gradients that are not finite, after which a run ends with an error."""


@dataclass(frozen=True)
class Optimising:
    """How parameters are optimised. ``learning_rate`` is the peak; it falls along a cosine to a fiftieth of it."""

    learning_rate: float
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest norm of the gradient."""
    average: float = 0.999
    """Decay of the moving average of the weights, once the run is older than its length."""


@dataclass(frozen=True)
class Limit:
    """When a run ends: after ``minutes`` of training in all, resumed parts included, or after ``steps``."""

    minutes: float = math.inf
    steps: float = math.inf

    def progress(self, step: int, seconds: float) -> float:
        """0 at the start, ≥ 1 when it is time to stop."""
        return max(seconds / 60.0 / self.minutes, step / self.steps)


@dataclass(frozen=True)
class Pace:
    """Minutes between checkpoints, sample grids and log lines."""

    checkpoint: float = 4.0
    sample: float = 12.0
    log: float = 0.25


def pick_device() -> torch.device:
    """The GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device, training: bool = False) -> torch.autocast:
    """bf16 on a GPU, and with ``training`` (where rounding is harmless) on a CPU that multiplies it natively."""
    enabled = device.type == "cuda" or (training and _multiplies_bf16())
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def short_attention(device: torch.device) -> AbstractContextManager[None]:
    """The plain formula on a CPU, whose flash kernels are made for longer sequences: a tenth of the denoisers' step."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


@cache
def _multiplies_bf16() -> bool:
    """AMX makes steps 1.5 to 1.8 times as fast, AVX-512's bf16 1.1 to 1.3 times; emulated, it would be slower."""
    facts = Path("/proc/cpuinfo")
    flags = facts.read_text() if facts.is_file() else ""
    return "amx_bf16" in flags or "avx512_bf16" in flags


def step_randomness(
    seed: int, step: int, device: torch.device
) -> tuple[np.random.Generator, torch.Generator]:
    """(numpy's generator for choices, torch's for noise on ``device``) of one step."""
    choices = np.random.Generator(np.random.Philox(key=[seed, step]))
    return choices, torch.Generator(device).manual_seed(int(choices.integers(2**63)))


def descend(
    loss: Tensor,
    optimiser: torch.optim.Optimizer,
    parameters: Sequence[Tensor],
    clip: float = math.inf,
    workers: Workers = ALONE,
) -> bool:
    """One step along the loss's gradients, averaged over ``workers``, with their norm clipped to ``clip``.

    Returns False, and leaves the parameters, when a gradient is not finite: it would spoil all weights, their average
    and the next checkpoint.
    """
    torch.autograd.backward(loss)
    workers.average([p.grad for p in parameters if p.grad is not None])
    finite = bool(nn.utils.clip_grad_norm_(parameters, clip, error_if_nonfinite=False).isfinite())
    if finite:
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return finite


class Trainer:
    """Trains ``networks`` (by name) in ``folder``: checkpoint.pt, log.jsonl, samples/.

    ``losses(step)`` is a step's forward pass; ``sample(path)`` draws a grid with the networks as they are, which are
    the averaged ones while it runs; ``settings`` is whatever the losses depend on, kept so that a checkpoint of
    other settings is refused with a ValueError. With several ``workers`` each makes its own part of the batch, and
    the first does the rest. ``partners`` are trained by ``losses`` itself and kept in the checkpoint too.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        losses: Callable[[int], Losses],
        sample: Callable[[Path], None],
        optimising: Optimising,
        settings: Mapping[str, Any],
        folder: Path,
        pace: Pace | None = None,
        workers: Workers = ALONE,
        partners: Mapping[str, Stateful] | None = None,
    ) -> None:
        self.workers, self.partners = workers, dict(partners or {})
        self.networks = nn.ModuleDict(networks)
        self.losses, self.sample, self.optimising = losses, sample, optimising
        self.settings = json.loads(json.dumps({**settings, "optimising": asdict(optimising)}))
        self.folder, self.pace = folder, pace or Pace()
        self.parameters: list[Tensor] = [p for p in self.networks.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=0.0, betas=(0.9, 0.99), weight_decay=optimising.weight_decay, fused=True
        )
        self.step, self.seconds, self.progress = 0, 0.0, 0.0
        self._refused = 0
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        self._resume()

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def run(self, limit: Limit) -> None:
        """Train until ``limit``, then leave the averaged weights in the networks, in evaluation mode.

        Raises ArithmeticError when the gradients are no longer numbers; weights and checkpoint are then still sound.
        """
        due = dict.fromkeys(asdict(self.pace), self.seconds)
        due["checkpoint"] += self.pace.checkpoint * 60.0
        due["sample"] += self.pace.sample * 60.0
        recent: list[dict[str, Tensor]] = []
        self.networks.train()
        while self._agreed_progress(limit) < 1.0:
            began = time.perf_counter()
            losses = self._advance()
            if not self.workers.first:
                continue
            recent.append(losses)
            if self.seconds >= due["log"]:
                self._log(recent)
                due["log"] = self.seconds + self.pace.log * 60.0
                recent = []
            self.seconds += time.perf_counter() - began
            if self.seconds >= due["checkpoint"]:
                self.save()
                due["checkpoint"] = self.seconds + self.pace.checkpoint * 60.0
            if self.seconds >= due["sample"]:
                began = time.perf_counter()
                self._sample()
                self.seconds += time.perf_counter() - began
                due["sample"] = self.seconds + self.pace.sample * 60.0
        if self.workers.first:
            self.save()
        self._swap()
        self.networks.eval()
        if self.workers.first:
            self.sample(self.folder / "samples" / f"{self.step:07d}.png")

    def begin_average(self) -> None:
        """Start the moving average again from the present weights."""
        self.average = [p.detach().clone() for p in self.parameters]

    def save(self) -> None:
        """Write the checkpoint in one rename: readers find the old one or the new one, whole."""
        state = {
            "settings": self.settings,
            "step": self.step,
            "seconds": self.seconds,
            "networks": self.networks.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "partners": {name: partner.state_dict() for name, partner in self.partners.items()},
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.checkpoint)

    def _resume(self) -> None:
        if not self.checkpoint.is_file():
            return
        device = self.parameters[0].device
        state = torch.load(self.checkpoint, map_location=device, weights_only=True)
        if state["settings"] != self.settings:
            raise ValueError(f"{self.checkpoint} was made with other settings; train in another folder")
        self.step, self.seconds = state["step"], state["seconds"]
        self.networks.load_state_dict(state["networks"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        for name, partner in self.partners.items():
            partner.load_state_dict(state["partners"][name])

    def _agreed_progress(self, limit: Limit) -> float:
        self.progress = self.workers.agree(limit.progress(self.step, self.seconds))
        return self.progress

    def _advance(self) -> dict[str, Tensor]:
        rate = self._learning_rate(self.progress)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        losses = self.losses(self.step)
        moved = descend(losses["loss"], self.optimiser, self.parameters, self.optimising.clip, self.workers)
        self._refused = 0 if moved else self._refused + 1
        if self._refused == MOST_REFUSED:
            raise ArithmeticError(f"the loss is {losses['loss'].item()} at step {self.step}")
        self.step += 1
        decay = min(self.optimising.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1.0 - decay)
        return {name: value.detach() for name, value in losses.items()}

    def _learning_rate(self, progress: float) -> float:
        fall = 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
        return self.optimising.learning_rate * fall * min(1.0, (self.step + 1) / WARMUP)

    def _log(self, recent: list[dict[str, Tensor]]) -> None:
        """One JSON line: step, minutes, and the mean of every loss since the last line."""
        means = {name: round(float(torch.stack([r[name] for r in recent]).mean()), 5) for name in recent[0]}
        rate = self.optimiser.param_groups[0]["lr"]
        line = {"step": self.step, "minutes": round(self.seconds / 60.0, 2), "learning_rate": rate, **means}
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")

    def _sample(self) -> None:
        self._swap()
        self.networks.eval()
        self.sample(self.folder / "samples" / f"{self.step:07d}.png")
        self.networks.train()
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange weights and averaged weights."""
        for parameter, average in zip(self.parameters, self.average, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)

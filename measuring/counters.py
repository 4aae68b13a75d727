"""Triton's own statistics: how often each model ran, and where its time went."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from tritonclient.grpc.aio import InferenceServerClient

SETTLING = 0.1
"""Seconds. Triton counts a request a moment after its answer was sent."""


@dataclass(frozen=True)
class Counters:
    """One model's statistics since the server started, or between two readings. Times are in seconds, summed over
    requests: each request of a batch counts the whole run of the batch."""

    requests: int = 0
    samples: int = 0
    executions: int = 0
    """Batches."""
    seconds: float = 0.0
    """From a request's arrival to its answer, all of the following included."""
    queue: float = 0.0
    compute_input: float = 0.0
    compute_infer: float = 0.0
    compute_output: float = 0.0

    def __sub__(self, before: Counters) -> Counters:
        return Counters(*(now - then for now, then in zip(astuple(self), astuple(before), strict=True)))

    @property
    def batch(self) -> float:
        """Mean size of a batch; 0 where nothing ran."""
        return self.samples / self.executions if self.executions else 0.0


def parse(statistics: Mapping[str, Any]) -> dict[str, Counters]:
    """Triton's ModelStatistics message as JSON → counters by model, summed over versions."""
    found: dict[str, Counters] = {}
    for facts in statistics["model_stats"]:
        parts = facts.get("inference_stats", {})

        def seconds(name: str, parts: Mapping[str, Any] = parts) -> float:
            # What is zero is left out of the message.
            return int(parts.get(name, {}).get("ns", 0)) / 1e9

        one = Counters(
            requests=int(parts.get("success", {}).get("count", 0)),
            samples=int(facts.get("inference_count", 0)),
            executions=int(facts.get("execution_count", 0)),
            seconds=seconds("success"),
            queue=seconds("queue"),
            compute_input=seconds("compute_input"),
            compute_infer=seconds("compute_infer"),
            compute_output=seconds("compute_output"),
        )
        before = found.get(facts["name"], Counters())
        found[facts["name"]] = Counters(*(a + b for a, b in zip(astuple(one), astuple(before), strict=True)))
    return found


def difference(after: Mapping[str, Counters], before: Mapping[str, Counters]) -> dict[str, Counters]:
    """What happened between two readings, by model; models at rest are left out."""
    changes = {name: counters - before.get(name, Counters()) for name, counters in after.items()}
    return {name: change for name, change in changes.items() if change.requests}


async def read_counters(client: InferenceServerClient) -> dict[str, Counters]:
    """By model, once nothing changes any more: Triton counts a run a moment after its answer was sent.

    Read while no request is running.
    """
    found = parse(await client.get_inference_statistics(as_json=True))
    while True:
        await asyncio.sleep(SETTLING)
        before, found = found, parse(await client.get_inference_statistics(as_json=True))
        if found == before:
            return found

"""Probes whether the models of a Triton still answer, with small real requests at a bounded rate.

Triton 2.51 reports a model as ready although its process has died. A request shows that within a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from orchestrator.domain.cost import WorkTable
from orchestrator.ports import Unavailable
from reroom.triton import RestyleError, TritonClient

PROBE_SECONDS = 2.0
"""The age of a model's last answer at which it is probed again."""

SHARE = 0.02
"""The share of its time that a model may spend on one client's probes: the longer a probe takes, the rarer it is.
`restyle`, `analyse` and `edges` answer in 2 ms. A graph, where it is a process of its own, computes at most a 64th of a
step at 512²; depth and detector compute more, because they enlarge their input. The time of a probe is the shortest
that was measured: the others waited for other work, the first one for the network to be loaded."""

ANSWER_SECONDS = 4.0
"""Seconds to wait for an answer that decides whether the server is available."""

DEATH_SECONDS = 1.5
"""Seconds to wait for other answers: Triton takes one second to report that a process is dead."""

SERVICE_SECONDS, GRAPH_SECONDS = 30.0, 600.0
"""Seconds after which a probe without an answer is cancelled and sent again. They are long because a graph answers
between two steps, half a minute each on a CPU, and Triton 2.51 may crash when a stream is cancelled just as it ends."""

RESTYLE = "restyle"
SERVING = (RESTYLE, "analyse")
"""The models that the service calls. Each answers a probe with the names and versions of the models that it calls."""


class Prober:
    """Probes the models of one server, each with one request at a time, which all callers share.

    The server is unavailable when a model is dead, or when a model of SERVING is silent, since those answer a probe
    whatever they are doing. A graph that is silent may be busy, and proves nothing. But after a death, or after
    :meth:`doubt`, every model must answer before the server is available again.
    """

    def __init__(self, client: TritonClient) -> None:
        self._client = client
        self._serving = [
            _Question(model, partial(self._ask_serving, model), self.doubt, always=True) for model in SERVING
        ]
        self._calls: dict[str, dict[str, int]] = {}
        """The models that each model of SERVING calls, with their versions."""
        self._others: dict[str, tuple[int, _Question]] = {}
        """The called models by name: version and probe."""
        self._run_on: dict[str, frozenset[str]] = {}
        """What the models run on that each model of SERVING calls, as far as they say so."""
        self.releases: frozenset[int] | None = None
        """The versions that a request may name, as of the last answer of ``restyle``; None: it does not say."""
        self._asked_releases = False
        self.work_table: WorkTable | None = None
        """What pictures cost, as of the last answer of ``restyle`` that said so."""

    @property
    def devices(self) -> frozenset[str]:
        """What the called models run on, as of the last answers; see ``Inference.devices``."""
        return frozenset().union(*self._run_on.values())

    @property
    def models(self) -> dict[str, int]:
        """The called models with their versions, as of the last answers."""
        return {name: version for calls in self._calls.values() for name, version in calls.items()}

    def doubt(self) -> None:
        """Call this when a request failed as if a process had died: earlier answers no longer count."""
        for question in self._questions():
            question.doubt()

    async def knows_releases(self) -> bool:
        """Whether a request may name a release. Asks ``restyle`` if it has never answered; raises RestyleError."""
        if not self._asked_releases:
            await self._ask_serving(RESTYLE)
        return self.releases is not None

    async def check(self) -> None:
        """Probe the models whose answers are old, for at most ANSWER_SECONDS. Raises Unavailable with the reason."""
        deadline = time.monotonic() + ANSWER_SECONDS
        await asyncio.gather(*(question.check(deadline) for question in self._serving))
        await asyncio.gather(*(question.check(deadline) for _, question in self._others.values()))

    async def aclose(self) -> None:
        """Cancel the running probes."""
        for question in self._questions():
            await question.withdraw()

    def _questions(self) -> list[_Question]:
        return [*self._serving, *(question for _, question in self._others.values())]

    async def _ask_serving(self, model: str) -> None:
        alive = await self._client.probe(model, deadline=SERVICE_SECONDS)
        self._calls[model], self._run_on[model] = alive.models, frozenset(alive.devices.values())
        if model == RESTYLE:
            self.releases = None if alive.releases is None else frozenset(alive.releases)
            self._asked_releases = True
        if alive.work is not None:
            self.work_table = _read_table(alive.work, self.work_table)
        called = self.models
        before = self._others
        self._others = {
            name: before[name]
            if name in before and before[name][0] == version
            else (version, _Question(name, partial(self._ask, name, version), self.doubt))
            for name, version in called.items()
        }
        for name, (_, question) in before.items():
            if self._others.get(name) != before[name]:
                await question.withdraw()

    async def _ask(self, model: str, version: int) -> None:
        await self._client.probe_model(model, version, deadline=GRAPH_SECONDS)


def _read_table(told: dict[str, Any], before: WorkTable | None) -> WorkTable | None:
    """The table; None when it is one of another version, of which this one makes nothing."""
    try:
        table = msgspec.convert(told, WorkTable)
    except msgspec.ValidationError:
        return None
    if table.quality not in table.kinds or not table.buckets:
        return None
    # The same one, which has its sums made already.
    return before if before == table else table


class _Question:
    """The probe of one model. It calls ``died`` when the model is dead. With ``always`` the model must answer even when
    nothing casts doubt on it."""

    def __init__(
        self,
        model: str,
        ask: Callable[[], Awaitable[None]],
        died: Callable[[], None],
        *,
        always: bool = False,
    ) -> None:
        self._model, self._ask, self._died, self._always = model, ask, died, always
        self._doubts = 0
        self._doubted = False
        """Whether earlier answers no longer count."""
        self._asking: asyncio.Task[Unavailable | None] | None = None
        self._asked_at = self._due = 0.0
        self._answers, self._least_seconds = 0, float("inf")

    def doubt(self) -> None:
        self._doubted = True
        self._doubts += 1

    async def check(self, deadline: float) -> None:
        """Probe the model if its last answer is old or doubted. Raises Unavailable when the model is dead, or when it
        must answer and has not by ``deadline``."""
        while self._doubted or time.monotonic() >= self._due:
            if self._asking is None:
                # A task of its own, which goes on when a caller stops waiting: a second probe would queue behind it.
                self._asked_at = time.monotonic()
                self._asking = asyncio.create_task(self._run(), name=f"probe {self._model}")
            asking, must = self._asking, self._doubted or self._always
            until = deadline if must else min(deadline, self._asked_at + DEATH_SECONDS)
            await asyncio.wait([asking], timeout=max(0.0, until - time.monotonic()))
            if asking.done() and not asking.cancelled():
                if error := asking.result():
                    raise error
            elif must:
                raise Unavailable(f"{self._model}: no answer within {ANSWER_SECONDS:g} s")
            else:
                return

    async def _run(self) -> Unavailable | None:
        doubts = self._doubts
        try:
            await self._ask()
        except RestyleError as error:
            self._died()
            return Unavailable(f"{self._model}: {error.detail}")
        else:
            now = time.monotonic()
            self._answers += 1
            self._least_seconds = min(self._least_seconds, now - self._asked_at)
            rest = self._least_seconds / SHARE if self._answers > 1 else 0.0
            self._due = now + max(PROBE_SECONDS, rest)
            self._doubted = self._doubts != doubts
            return None
        finally:
            self._asking = None

    async def withdraw(self) -> None:
        if (asking := self._asking) is not None:
            asking.cancel()
            await asyncio.wait([asking])

"""Whether every model of a Triton that is a process of its own still answers: small real requests, at a bounded rate.

Triton 2.51 reports a model as ready whose process has died. A request shows it, within a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from orchestrator.ports import Unavailable
from reroom.triton import RestyleError, TritonClient

PROBE_SECONDS = 2.0
"""How old a model's last answer may be before it is asked again."""

SHARE = 0.02
"""How much of its time a model may spend on one client's probes: the longer they take, the rarer they are. `restyle`,
`analyse` and `edges` answer in 2 ms; a graph, where that too is a process of its own, computes a 64th of a step at 512²
or less, but for depth and detector, which enlarge what they see. What a probe takes is the least that one took: the
others waited for something else, the first one for the network to be loaded."""

ANSWER_SECONDS = 4.0
"""How long an answer that must come is waited for."""

DEATH_SECONDS = 1.5
"""How long other answers are waited for: Triton takes a second to say that a process is dead."""

SERVICE_SECONDS, GRAPH_SECONDS = 30.0, 600.0
"""When a question that was not answered is withdrawn, and asked anew. Late: a graph answers between two steps, of half
a minute each on a CPU, and Triton 2.51 may crash when a stream is cancelled just as it ends."""

SERVING = ("restyle", "analyse")
"""The models that the service itself calls; each answers a probe with the models that it calls in turn."""


class Prober:
    """The models of one server, each asked one question at a time, whoever waits for the answer.

    A model that is said to be dead makes the server unavailable. So does the silence of one of SERVING, which answer
    whatever they are doing. A graph's silence is no verdict, since it may be busy; but after a death, or after
    :meth:`doubt`, every model must answer before the server is available again.
    """

    def __init__(self, client: TritonClient) -> None:
        self._client = client
        self._serving = [
            _Question(model, partial(self._ask_serving, model), self.doubt, always=True) for model in SERVING
        ]
        self._calls: dict[str, dict[str, int]] = {}
        """By model of SERVING: the models that it calls, with their versions."""
        self._others: dict[str, tuple[int, _Question]] = {}
        """The models that those call: version and question."""

    def doubt(self) -> None:
        """A request failed as if a process had died: answers of before prove nothing."""
        for question in self._questions():
            question.doubt()

    async def check(self) -> None:
        """Ask the models whose answers are old; takes at most ANSWER_SECONDS. Raises Unavailable with what is wrong."""
        deadline = time.monotonic() + ANSWER_SECONDS
        await asyncio.gather(*(question.check(deadline) for question in self._serving))
        await asyncio.gather(*(question.check(deadline) for _, question in self._others.values()))

    async def aclose(self) -> None:
        """Withdraw what is being asked."""
        for question in self._questions():
            await question.withdraw()

    def _questions(self) -> list[_Question]:
        return [*self._serving, *(question for _, question in self._others.values())]

    async def _ask_serving(self, model: str) -> None:
        self._calls[model] = await self._client.probe(model, deadline=SERVICE_SECONDS)
        called = {name: version for calls in self._calls.values() for name, version in calls.items()}
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


class _Question:
    """Whether one model answers. ``died`` is called when it is dead; ``always``: its silence is a verdict also when
    there is no doubt."""

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
        """Whether only an answer that is still to come proves anything."""
        self._asking: asyncio.Task[Unavailable | None] | None = None
        self._asked_at = self._due = 0.0
        self._answers, self._least_seconds = 0, float("inf")

    def doubt(self) -> None:
        self._doubted = True
        self._doubts += 1

    async def check(self, deadline: float) -> None:
        """Ask when the last answer is old or doubted. Raises Unavailable when the model is dead, or must answer and has
        not until ``deadline``."""
        while self._doubted or time.monotonic() >= self._due:
            if self._asking is None:
                # A task of its own: who stops waiting does not withdraw it, for another would stand behind it.
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

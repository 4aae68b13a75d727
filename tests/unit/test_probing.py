"""Which models of a Triton are probed, how often, and what silence means; over a scripted client."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from orchestrator.adapters.triton import probing
from orchestrator.adapters.triton.probing import Prober
from orchestrator.ports import Unavailable
from reroom.triton import Alive, RestyleError
from reroom.triton.errors import from_message

MODELS = ["analyse", "denoiser", "depth", "edges", "restyle"]

DEAD = RestyleError("unavailable", "Stub process 'x_0_0' is not healthy.", retryable=True)


class ScriptedClient:
    """Answers probes after ``seconds`` of a model, unless it is ``dead``; remembers who was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.dead: set[str] = set()
        self.seconds: dict[str, float] = {}
        self.depth = 1
        """The version of `depth` that `analyse` calls now."""
        self.device = "cpu"
        """What `denoiser` runs on."""
        self.work: dict[str, Any] | None = None
        """What `restyle` says that pictures cost."""
        self.releases: list[int] | None = None
        """What `restyle` says that a request may name."""
        self.versions: list[int] = []
        """The versions of `depth` that were asked."""

    async def probe(self, model: str, *, deadline: float) -> Alive:
        await self._answer(model, deadline)
        return {
            "restyle": Alive(
                models={"edges": -1, "denoiser": 1},
                devices={"denoiser": self.device},
                work=self.work,
                releases=self.releases,
            ),
            "analyse": Alive(models={"edges": -1, "depth": self.depth}, devices={"depth": "cpu"}),
        }[model]

    async def probe_model(self, model: str, version: int, *, deadline: float) -> bool:
        if model == "depth":
            self.versions.append(version)
        await self._answer(model, deadline)
        return True

    async def _answer(self, model: str, deadline: float) -> None:
        self.asked.append(model)
        try:
            async with asyncio.timeout(deadline):
                await asyncio.sleep(self.seconds.get(model, 0.0))
        except TimeoutError:
            raise RestyleError("deadline_exceeded", "too late", retryable=True) from None
        if model in self.dead:
            raise DEAD


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    monkeypatch.setattr(probing, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(probing, "ANSWER_SECONDS", 0.6)
    monkeypatch.setattr(probing, "DEATH_SECONDS", 0.1)
    return ScriptedClient()


def a_prober(client: ScriptedClient) -> Prober:
    return Prober(client)  # type: ignore[arg-type]


async def test_many_who_ask_share_one_answer_of_each_model(client: ScriptedClient) -> None:
    prober = a_prober(client)
    client.seconds["edges"] = 0.05
    await asyncio.gather(*(prober.check() for _ in range(20)))
    await prober.check()
    assert sorted(client.asked) == MODELS
    await asyncio.sleep(0.25)
    await prober.check()
    assert sorted(client.asked) == sorted(MODELS * 2)


async def test_what_the_networks_run_on_is_as_new_as_the_last_answers(client: ScriptedClient) -> None:
    prober = a_prober(client)
    assert prober.devices == frozenset(), "nobody was asked"
    await prober.check()
    assert prober.devices == {"cpu"}
    client.device = "cuda"
    await asyncio.sleep(0.25)
    await prober.check()
    assert prober.devices == {"cpu", "cuda"}


@pytest.mark.parametrize("releases", [None, [4, 5]])
async def test_whether_a_request_may_name_a_release_is_asked_once(
    client: ScriptedClient, releases: list[int] | None
) -> None:
    prober = a_prober(client)
    client.releases = releases
    assert [await prober.knows_releases() for _ in range(3)] == [releases is not None] * 3
    assert client.asked == ["restyle"]
    assert prober.releases == (None if releases is None else {4, 5})


async def test_a_model_that_answers_slowly_is_asked_rarely(client: ScriptedClient) -> None:
    prober = a_prober(client)
    client.seconds["denoiser"] = 0.05
    for _ in range(5):
        await prober.check()
        await asyncio.sleep(0.21)
    # Twice, to leave out of account what only a first answer takes; then not for 2.5 s.
    assert (client.asked.count("edges"), client.asked.count("denoiser")) == (5, 2)


@pytest.mark.parametrize("model", MODELS)
async def test_a_dead_model_is_reported_until_it_answers(client: ScriptedClient, model: str) -> None:
    prober = a_prober(client)
    await prober.check()
    client.dead.add(model)
    await asyncio.sleep(0.25)
    for _ in range(2):
        with pytest.raises(Unavailable, match=f"{model}: Stub process"):
            await prober.check()
    client.dead.clear()
    client.asked.clear()
    await prober.check()
    assert sorted(client.asked) == MODELS, "every model, though four answered just before"


async def test_a_graph_that_answers_late_after_a_death_is_believed(client: ScriptedClient) -> None:
    prober = a_prober(client)
    await prober.check()
    client.seconds["denoiser"] = 0.9
    client.dead.add("edges")
    await asyncio.sleep(0.25)
    with pytest.raises(Unavailable, match="edges"):
        await prober.check()
    client.dead.clear()
    # Twice: the first question was asked before the death. Each waits longer than anybody who asks.
    with pytest.raises(Unavailable, match="denoiser: no answer"):
        await prober.check()
    async with asyncio.timeout(10):
        while True:
            with suppress(Unavailable):
                await prober.check()
                break
    assert client.asked.count("denoiser") == 3


@pytest.mark.parametrize("model", ["restyle", "analyse"])
async def test_the_silence_of_a_busy_graph_is_no_verdict_but_that_of_restyle_and_analyse_is(
    client: ScriptedClient, model: str
) -> None:
    prober = a_prober(client)
    client.seconds["denoiser"] = 30.0
    await prober.check()
    await asyncio.sleep(0.25)
    await prober.check()
    assert client.asked.count("denoiser") == 1, "a second question would only stand behind the first"
    client.seconds[model] = 30.0
    await asyncio.sleep(0.25)
    with pytest.raises(Unavailable, match=rf"{model}: no answer within 0\.6 s"):
        await prober.check()
    await prober.aclose()


async def test_a_model_is_asked_at_the_version_that_is_called_now(client: ScriptedClient) -> None:
    prober = a_prober(client)
    await prober.check()
    client.depth = 2
    await asyncio.sleep(0.25)
    await prober.check()
    assert client.versions[-1] == 2
    assert client.asked.count("depth") == client.asked.count("edges") == 2


async def test_after_a_death_every_model_must_answer(client: ScriptedClient) -> None:
    prober = a_prober(client)
    await prober.check()
    client.seconds["denoiser"] = 30.0
    prober.doubt()
    with pytest.raises(Unavailable, match=r"denoiser: no answer within 0\.6 s"):
        await prober.check()
    assert sorted(client.asked) == sorted(MODELS * 2), "answers of before prove nothing"
    await prober.aclose()
    client.seconds.clear()
    await prober.check()


async def test_a_caller_is_not_cancelled_with_a_withdrawn_question(client: ScriptedClient) -> None:
    prober = a_prober(client)
    await prober.check()
    client.seconds["edges"] = 30.0
    prober.doubt()
    checking = asyncio.create_task(prober.check())
    await asyncio.sleep(0.05)
    await prober.aclose()
    with pytest.raises(Unavailable, match="edges"):
        await checking


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Stub process 'restyle_0_0' is not healthy.", "unavailable"),
        ("model_error: edges: Stub process 'edges_0_0' is not healthy.", "unavailable"),
        (
            "Failed to process the request(s) for model instance 'edges_0_0', message: Stub process 'edges_0_0' is "
            "not healthy.",
            "unavailable",
        ),
        ("Stub process is unhealthy and it will be restarted.", "unavailable"),
        # What a user wrote comes back in refusals, and must not end a server's service.
        ("invalid_request: solver must be one of ddim, not \"Stub process 'x' is not healthy.\"", "invalid_request"),
        ("model_error: denoiser: out of memory", "model_error"),
    ],
)  # fmt: skip
def test_a_death_is_recognised_by_tritons_own_sentences_alone(message: str, code: str) -> None:
    error = from_message(message)
    assert (error.code, error.retryable) == (code, code != "invalid_request")


async def test_what_pictures_cost_is_what_restyle_said_last(client: ScriptedClient) -> None:
    prober = a_prober(client)
    await prober.check()
    assert costs(prober) == 0.0, "from a model that does not say"
    kind = {"steps": 4, "run": 4, "guided": 0}
    client.work = {"buckets": [[64, 64]], "side": 64, "kinds": {"": kind}}
    await again(prober)
    first = prober.work_table
    assert costs(prober) == 1.0
    await again(prober)
    assert prober.work_table is first
    others: list[dict[str, Any]] = [{"side": "of another version"}, {"quality": "splendid"}, {"buckets": []}]
    for unknown in others:
        client.work |= unknown
        await again(prober)
        assert costs(prober) == 0.0


def costs(prober: Prober) -> float:
    """Of a usual picture; 0 = not known."""
    return prober.work_table.work(64, 64).cost if prober.work_table else 0.0


async def again(prober: Prober) -> None:
    """A check whose answers are new."""
    await asyncio.sleep(0.21)
    await prober.check()

"""Both clients follow a job: every event once and in order, whatever happens to the connection."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

import reroom
from reroom import events
from reroom._sse import Parser, ServerEvent
from tests.support.client_service import CUT, EVENTS, JOB, Driven, Service, completed, seq, status

ALL = [seq(index) for index in range(len(EVENTS))]


def seqs(found: list[Any]) -> list[str]:
    return [event.seq for event in found]


def test_from_the_beginning(client: Any, service: Service) -> None:
    found = list(client.events(JOB, after="0"))
    assert seqs(found) == ALL
    assert [type(event) for event in found] == [
        events.StatusChanged, events.Analysis, events.Unknown, events.Step, events.Preview, events.Step,
        events.Completed,
    ]  # fmt: skip
    assert found[2].type == "weather"
    assert found[2].fields["sunny"] is True
    assert found[4].jpeg == b"\xff\xd8\xff"
    assert found[-1].data.result.metadata == {"seed": 0}
    assert service.afters == ["0"]


def test_from_now(client: Any, service: Service) -> None:
    service.seen_before = 3
    found = list(client.events(JOB))
    assert isinstance(found[0], events.Snapshot)
    assert found[0].data.status == "transforming"
    assert seqs(found) == ALL[2:]


def test_from_an_event(client: Any) -> None:
    assert seqs(list(client.events(JOB, after=seq(2)))) == ALL[3:]


@pytest.mark.parametrize("fault", [CUT, 1000, 1001, 1011, 1012, 1013, 503, 429])
@pytest.mark.parametrize("after", [None, "0"])
def test_drops_are_resumed(client: Any, service: Service, fault: Any, after: str | None) -> None:
    refusal = fault in (429, 503)  # of the handshake: no event comes with it
    service.plans = [
        (0, fault), (2, CUT if refusal else fault), (0, fault), (1, CUT if refusal else fault), (0, fault),
    ]  # fmt: skip
    service.repeat = 2
    found = list(client.events(JOB, after=after))
    assert seqs(found) == ([seq(-1)] if after is None else []) + ALL
    assert service.afters[-1] is not None
    assert service.afters[-1] != "0"
    assert service.plans == []


def test_the_service_away_for_a_moment(client: Any, service: Service) -> None:
    """Nothing listens between two connections: the same as a drop."""
    service.plans = [(2, CUT), (0, CUT), (0, CUT)]
    with pytest.raises(reroom.ConnectionFailed):
        list(client.events(JOB, after="0"))
    assert service.afters == ["0", seq(1), seq(1)]


@pytest.mark.parametrize("kind", [reroom.Client, Driven])
def test_a_service_that_restarts_is_waited_for(kind: Any, service: Service) -> None:
    """More often than a request is tried, once the watch has begun."""
    patient = reroom.RetryPolicy(attempts=2, base=0.01, watch_seconds=20.0)
    service.plans = [(2, CUT)] + [(0, CUT)] * 4
    client = kind(service.url, timeout=2.0, retry=patient)
    assert seqs(list(client.events(JOB, after="0"))) == ALL
    client.close()


def test_progress_restores_patience(client: Any, service: Service) -> None:
    service.plans = [(1, CUT)] * 6
    assert seqs(list(client.events(JOB, after="0"))) == ALL


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [(4404, reroom.NotFound, "job_not_found"), (4400, reroom.InvalidRequest, "invalid_after"),
     (4401, reroom.Forbidden, "unauthorized"), (4403, reroom.Forbidden, "origin_not_allowed"),
     (418, reroom.ApiError, "teapot")],
)  # fmt: skip
def test_what_cannot_be_cured_is_not_tried_again(
    client: Any, service: Service, code: int, kind: type, name: str
) -> None:
    service.plans = [(0, code)]
    with pytest.raises(reroom.ApiError) as caught:
        list(client.events(JOB))
    assert type(caught.value) is kind
    assert caught.value.code == name
    assert len(service.afters) == 1


@pytest.mark.parametrize(
    "ending", [{"type": "failed", "error": {"code": "c", "detail": "d"}}, {"type": "cancelled"}]
)
def test_bad_ends(client: Any, service: Service, ending: dict[str, Any]) -> None:
    service.events = [*EVENTS[:2], ending, EVENTS[3]]
    service.plans = [(9, "wait")]
    found = list(client.events(JOB, after="0"))
    assert seqs(found) == ALL[:3], "nothing comes after the terminal event"
    service.plans = [(9, "wait")]
    kind = reroom.JobFailed if ending["type"] == "failed" else reroom.JobCancelled
    with pytest.raises(kind):
        client.wait(JOB)


def test_wait(client: Any, service: Service) -> None:
    service.plans = [(2, CUT)]
    assert client.wait(JOB).result.metadata == {"seed": 0}


def test_wait_for_a_job_that_has_ended(client: Any, service: Service) -> None:
    service.events, service.state = [], "completed"
    assert client.wait(JOB).status == "completed"
    assert len(service.afters) == 1
    assert [type(event) for event in client.events(JOB)] == [events.Snapshot]
    service.state = "failed"
    with pytest.raises(reroom.JobFailed):
        client.wait(JOB)


def test_after_the_terminal_event_there_is_nothing(client: Any, service: Service) -> None:
    assert list(client.events(JOB, after=ALL[-1])) == []
    assert len(service.afters) == 1


@pytest.mark.parametrize("call", ["wait", "events"])
def test_timeouts(client: Any, service: Service, call: str) -> None:
    service.plans = [(1, CUT), (1, "wait")]
    began = time.monotonic()
    with pytest.raises(reroom.Timeout, match=r"did not end within 0\.5 s"):
        list(client.events(JOB, timeout=0.5)) if call == "events" else client.wait(JOB, timeout=0.5)
    assert 0.5 <= time.monotonic() - began < 3


@pytest.mark.parametrize("after", ["now", "1-x", "-", ""])
def test_an_after_that_is_no_seq(client: Any, service: Service, after: str) -> None:
    with pytest.raises(ValueError, match="seq"):
        list(client.events(JOB, after=after))
    assert service.afters == []


@pytest.mark.parametrize(
    "text", ["", "[]", '{"type":"step","seq":"1-1","step":"three"}', '{"seq":"1-1"}', b"\xff"]
)
def test_messages_that_are_not_understood(text: str | bytes) -> None:
    with pytest.raises(reroom.ProtocolError):
        events.decode(text)


def test_every_event_survives_new_fields() -> None:
    terminal: list[dict[str, Any]] = [
        {"type": "failed", "error": {"code": "c", "detail": "d", "hint": "h"}},
        {"type": "cancelled"},
    ]
    snapshots: list[dict[str, Any]] = [
        {"type": "snapshot", "data": data} for data in (completed(), status("a new state"))
    ]
    for event in [*EVENTS, *terminal, *snapshots]:
        assert events.decode(json.dumps({"seq": "5-0", "new": {}, **event})) is not None
    assert events.decode('{"type":"connected","job_id":"x","new":1}') is None


def test_seq_keys_order_as_numbers() -> None:
    assert sorted(["10-0", "9-10", "9-9", "9"], key=events.seq_key) == ["9", "9-9", "9-10", "10-0"]


def test_lines_of_server_sent_events() -> None:
    parser = Parser()
    lines = [
        ": hello",
        "retry: 50",
        "",
        "id: 1-0",
        "event: step",
        "data: a",
        "data:b",
        "unknown: x",
        "",
        "data",
        "",
        "id",
        "data: c",
        "",
    ]
    found = [event for line in lines if (event := parser.feed(line)) is not None]
    assert found == [
        ServerEvent("a\nb", "step", "1-0"),
        ServerEvent("", "message", "1-0"),
        ServerEvent("c", "message", ""),
    ]
    assert parser.retry_ms == 50

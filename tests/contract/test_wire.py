"""What crosses the wire is described in several islands: the client's tensors and messages, configurations, parsers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import numpy as np
import pytest

import reroom
from orchestrator.api.responses.messages import ConnectedMessage, Message, PongMessage
from orchestrator.domain.preferences import Solver
from reroom import events
from reroom.triton import messages, wire
from restyle.release import load_release
from restyle.request import InvalidRequest, is_probe, named_release, parse_photo, parse_request
from restyle.solver import DISTILLED, SPACINGS
from tests.conftest import RELEASE, ROOT
from tests.support.triton_configs import read_config, tensor_types

MODELS = ROOT / "model_repository"
SCHEMAS: dict[str, Any] = json.loads((ROOT / "docs" / "openapi.json").read_text())["components"]["schemas"]


class Recorded(dict[str, Any]):
    """A request's tensors, and the names that were asked for."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)


@pytest.fixture
def values() -> Recorded:
    return Recorded({"image": np.zeros((64, 64, 3), np.uint8), "prompt": ("a room",)})


def test_restyle_is_sent_what_its_configuration_lists_and_its_parser_reads(
    values: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REROOM_RELEASE", str(RELEASE))
    inputs = tensor_types(read_config(MODELS / "restyle" / "config.pbtxt").input)
    sent = {name: datatype.replace("BYTES", "STRING") for name, _, datatype in wire._TENSORS}
    assert sent | {"probe": "BOOL"} == inputs
    assert set(sent) == set(messages.RestyleRequest.__struct_fields__)
    assert not is_probe(values)
    assert named_release(values) == 0
    parse_request(values, load_release())
    values["structure"] = np.array([1.5], np.float32)
    with pytest.raises(InvalidRequest, match="structure must be 0 to 1"):
        parse_request(values, load_release())
    assert values.names == set(inputs)


def test_control_scales_and_structure_exclude_each_other(
    values: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REROOM_RELEASE", str(RELEASE))
    release = load_release()
    for structure, factor in ((0.0, 0.0), (0.5, 1.0), (0.75, 1.5)):
        asked = dict(values) | {"structure": np.array([structure], np.float32)}
        expected = tuple(min(2.0, factor * scale) for scale in release.defaults.control_scale)
        assert parse_request(asked, release).control_scale == pytest.approx(expected)
    both = {"structure": np.array([0.5]), "control_scale": np.array([1.0, 1.0])}
    with pytest.raises(InvalidRequest, match="give control_scale or structure, not both"):
        parse_request(dict(values) | both, release)


def test_analyse_is_sent_what_its_configuration_lists_and_its_parser_reads(values: Recorded) -> None:
    inputs = tensor_types(read_config(MODELS / "analyse" / "config.pbtxt").input)
    photo = [(each.name(), each.datatype()) for each in wire.encode_photo(values["image"])]
    assert dict(photo) | {"probe": "BOOL"} == inputs
    is_probe(values)
    parse_photo(values)
    assert values.names == set(inputs)


def test_the_api_names_the_solvers_of_restyle() -> None:
    assert set(get_args(Solver)) == set().union(*SPACINGS.values()) - DISTILLED


def tagged(union: Any) -> dict[str, dict[str, bool]]:
    """The fields of each struct of a union, and whether each must be there; by the struct's tag."""
    return {
        msgspec.inspect.type_info(each).tag: {  # type: ignore[attr-defined]
            field.encode_name: field.required for field in msgspec.structs.fields(each)
        }
        for each in structs(union)
    }


def structs(union: Any) -> Iterator[Any]:
    for each in get_args(union) or (union,):
        if get_args(each):
            yield from structs(each)
        else:
            yield each


def test_the_client_knows_every_message_and_every_member_of_it() -> None:
    sent = tagged(Message)
    schemas = [SCHEMAS[each.__name__] for each in structs(Message)]
    required = {schema["properties"]["type"]["enum"][0]: schema["required"] for schema in schemas}
    known = {tag: fields for tag, fields in tagged(events.Event).items() if tag is not None}
    without_events = {msgspec.inspect.type_info(each).tag for each in (ConnectedMessage, PongMessage)}  # type: ignore[attr-defined]
    assert set(known) == set(sent) - without_events == events._KNOWN
    for tag, fields in known.items():
        # The client may leave members out, but asks for none that is not sent.
        assert set(fields) <= set(sent[tag]), tag
        assert {name for name, needed in fields.items() if needed} <= set(required[tag]), tag


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (reroom.JobStatus, "StatusData"),
        (reroom.JobResult, "ResultData"),
        (reroom.JobError, "JobError"),
        (reroom.Analysis, "Analysis"),
        (reroom.Submitted, "Submitted"),
        (reroom.Health, "Health"),
    ],
)
def test_the_clients_types_are_the_described_ones(ours: Any, theirs: str) -> None:
    schema = SCHEMAS[theirs]
    fields = {field.encode_name: field.required for field in msgspec.structs.fields(ours)}
    if ours is reroom.Submitted:
        # The client's own: the job of an answer 200, which is a status, to a submission that waited.
        assert not fields.pop("job")
    assert set(fields) <= set(schema["properties"])
    assert {name for name, required in fields.items() if required} <= set(schema["required"])

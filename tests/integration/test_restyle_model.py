"""The model `restyle` on a real Triton, through the public gRPC client: what a user of it relies on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.grpc.aio import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype

from measuring.counters import read_counters
from reroom.triton import (
    Alive,
    Analysis,
    Preview,
    RestyleError,
    RestyleRequest,
    Result,
    Stage,
    Step,
    TritonClient,
)
from stack.triton import TritonServer
from tests.conftest import RELEASE
from tests.support.pictures import room
from tests.support.restyles import events_of, result_of

PHOTO = room(96, 120)


def ask(**changes: Any) -> RestyleRequest:
    given: dict[str, Any] = {"image": PHOTO, "prompt": "a boho living room", "seed": 5, "steps": 4}
    return RestyleRequest(**given | changes)


@pytest.fixture
async def raw(triton: TritonServer) -> AsyncIterator[InferenceServerClient]:
    async with InferenceServerClient(triton.grpc) as client:
        yield client


async def denoiser_counts(raw: InferenceServerClient) -> tuple[int, int]:
    """Triton's counters of the denoiser: (samples, executions)."""
    counters = (await read_counters(raw))["denoiser"]
    return counters.samples, counters.executions


async def test_events_come_in_order_and_progress_never_falls(client: TritonClient) -> None:
    events = await events_of(client, ask(preview_every=2))
    stages = [event.name for event in events if isinstance(event, Stage)]
    assert stages == ["analyzing", "generating", "transforming", "finalizing"]
    assert [event.step for event in events if isinstance(event, Step)] == [1, 2, 3, 4]
    assert {event.of for event in events if isinstance(event, Step)} == {4}
    assert sum(isinstance(event, Analysis) for event in events) == 1
    progress = [event.progress for event in events if not isinstance(event, Result)]
    assert progress == sorted(progress)
    assert progress[0] == 0
    assert progress[-1] < 1
    assert isinstance(events[-1], Result)


async def test_previews_are_small_jpegs(client: TritonClient) -> None:
    previews = [
        event for event in await events_of(client, ask(preview_every=1)) if isinstance(event, Preview)
    ]
    assert [preview.step for preview in previews] == [1, 2, 3]
    assert all(preview.jpeg[:3] == b"\xff\xd8\xff" and len(preview.jpeg) <= 20_000 for preview in previews)


async def test_a_result_says_how_it_was_made(client: TritonClient) -> None:
    result = await result_of(client, ask(prompt="a room " * 60))
    assert result.seed == 5
    assert result.attempts == 1
    assert result.prompt_truncated
    assert result.release == "tiny-1"
    assert (result.palette, result.strength) == ([], 1.0)
    assert set(result.timings) == {"analyzing", "generating", "transforming", "finalizing", "finishing"}
    # Openings and planes only where these random networks see any.
    assert set(result.quality) - {"openings", "planes"} == {
        "edge_agreement", "depth_agreement", "sharpness", "contrast", "exposure", "cleanliness", "changed",
        "score", "lines", "camera", "structure",
    }  # fmt: skip
    assert all(0 <= value <= 1 for value in result.quality.values())


async def test_the_seed_decides_the_picture(client: TritonClient) -> None:
    zero, again, one = [await result_of(client, ask(seed=seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(zero.image, again.image)
    assert np.abs(zero.image.astype(int) - one.image).mean() > 5
    assert zero.seed == 0


async def test_without_a_seed_one_is_drawn_and_can_be_repeated(client: TritonClient) -> None:
    first, second = await result_of(client, ask(seed=None)), await result_of(client, ask(seed=None))
    assert first.seed != second.seed
    np.testing.assert_array_equal((await result_of(client, ask(seed=first.seed))).image, first.image)


async def test_previews_do_not_change_the_picture(client: TritonClient) -> None:
    plain = await result_of(client, ask())
    np.testing.assert_array_equal((await result_of(client, ask(preview_every=1))).image, plain.image)


@pytest.mark.parametrize("shape", [(96, 128), (300, 200), (64, 256), (240, 64), (101, 99)])
async def test_the_result_has_the_photos_aspect(client: TritonClient, shape: tuple[int, int]) -> None:
    result = await result_of(client, ask(image=room(*shape), steps=2))
    height, width, _ = result.image.shape
    assert abs(width / height - shape[1] / shape[0]) <= 0.02 * shape[1] / shape[0] + 1 / height
    assert 0.7 * 128 * 128 <= height * width <= 1.4 * 128 * 128


async def test_a_finished_result_has_the_photos_size_and_comes_whole(client: TritonClient) -> None:
    photo = np.kron(room(256, 512), np.ones((8, 4, 1), np.uint8))
    plain, finished = [
        await result_of(client, ask(image=photo, steps=1, detail=detail)) for detail in (0.0, 1.0)
    ]
    assert finished.image.shape == photo.shape == (2048, 2048, 3)
    assert plain.image.shape[:2] == (128, 128)
    assert 0 < finished.timings["finishing"] < 20
    small = cv2.resize(finished.image, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - plain.image).mean() < 12, "the same picture"


async def test_strength_below_one_starts_from_the_photo(client: TritonClient) -> None:
    events = await events_of(client, ask(steps=10, strength=0.3))
    assert [event.step for event in events if isinstance(event, Step)] == [1, 2, 3]
    # Another photo makes another picture even where the hints have no say.
    one, other = [
        await result_of(client, ask(image=room(96, 120, seed), strength=0.3, control_scale=(0.0, 0.0)))
        for seed in (1, 2)
    ]
    assert np.abs(one.image.astype(int) - other.image).mean() > 5


async def test_kept_pixels_are_the_photos_own(client: TritonClient) -> None:
    photo = room(112, 144)
    mask = np.zeros((112, 144), np.uint8)
    mask[60:, 40:100] = 255
    result = await result_of(client, ask(image=photo, keep_mask=mask))
    assert result.image.shape == photo.shape
    np.testing.assert_array_equal(result.image[mask > 127], photo[mask > 127])
    assert np.abs(result.image[:30].astype(int) - photo[:30]).mean() > 5


async def test_eight_at_once_are_merged_and_no_value_differs_from_its_solo_run_by_more_than_one(
    client: TritonClient, raw: InferenceServerClient
) -> None:
    requests = [ask(seed=seed, image=room(112, 144, seed), steps=8) for seed in range(8)]
    alone = [await result_of(client, request) for request in requests]
    samples, executions = await denoiser_counts(raw)
    together = await asyncio.gather(*(result_of(client, request) for request in requests))
    samples_after, executions_after = await denoiser_counts(raw)
    assert samples_after - samples == 64
    # Merged perfectly they would be 8 executions, not merged at all 64.
    assert executions_after - executions <= 40
    for one, other in zip(alone, together, strict=True):
        # Sums of another batch size round differently in the last bit, which may tip a value over, rarely.
        differences = np.abs(one.image.astype(int) - other.image)
        assert differences.max() <= 1
        assert differences.mean() <= 1e-3


async def test_leaving_the_stream_stops_the_steps(client: TritonClient, raw: InferenceServerClient) -> None:
    before, _ = await denoiser_counts(raw)
    async with aclosing(client.restyle(ask(steps=100))) as events:
        async for event in events:
            if isinstance(event, Step) and event.step == 3:
                break
    await asyncio.sleep(0.5)
    stopped, _ = await denoiser_counts(raw)
    await asyncio.sleep(0.5)
    assert (await denoiser_counts(raw))[0] == stopped
    # The step that was running ends, and another may have begun while the cancel was on its way.
    assert 3 <= stopped - before <= 6


BAD = [
    ({"steps": 0}, "steps must be 1 to 100, not 0"),
    ({"steps": 10_000}, "steps must be 1 to 100, not 10000"),
    ({"solver": "plms"}, "solver must be one of ddim"),
    ({"guidance_scale": float("nan")}, "guidance_scale must be 0 to 50, not nan"),
    ({"guidance_scale": -1.0}, "guidance_scale must be"),
    ({"control_scale": (float("nan"), 1.0)}, "control_scale must be 0 to 2, not nan"),
    ({"control_scale": (0.5, float("inf"))}, "control_scale must be 0 to 2, not inf"),
    ({"detail": -0.1}, "detail must be 0 to 1, not -0.1"),
    ({"palette": ("oak",), "palette_strength": 1.5}, "palette_strength must be 0 to 1, not 1.5"),
    ({"reference_strength": float("nan")}, "reference_strength must be 0 to 1, not nan"),
    ({"size": "huge"}, "size must be one of models, photo, not 'huge'"),
    ({"keep_boxes": ((0, 0, 1, 2),)}, "keep_boxes must be 0 to 1"),
    ({"keep": ("unicorn",)}, "keep: 'unicorn' is nothing that these models know; they know chair, couch"),
    ({"strength": 0.0}, "strength must be above 0"),
    ({"strength": float("nan")}, "strength must be above 0 and at most 1, not nan"),
    ({"seed": -1}, "seed must be"),
    ({"attempts": 9}, "attempts must be 1 to 2"),
    ({"min_quality": 1.1}, "min_quality must be 0 to 1, not 1.1"),
    ({"min_planes": float("nan")}, "min_planes must be 0 to 1, not nan"),
    ({"preview_every": -1}, "preview_every must be"),
    ({"prompt": "x" * 5000}, "prompt must be at most 4000 characters"),
    ({"image": np.zeros((8, 8, 3), np.uint8)}, "image must have sides of 32 to 8192 pixels, not 8×8"),
    ({"image": np.zeros((40, 400, 3), np.uint8)}, "image must be at most 4 times as long as wide"),
    ({"keep_mask": np.zeros((5, 5), np.uint8)}, "keep_mask must be uint8 [96, 120]"),
    ({"latents": np.zeros((4, 3, 3), np.float32)}, "latents must be [4, "),
    ({"latents": np.full((4, 14, 18), np.nan, np.float32)}, "latents must be -10000 to 10000"),
]


@pytest.mark.parametrize(("changes", "sentence"), BAD, ids=lambda value: str(value)[:40])
async def test_bad_values_are_refused_in_one_sentence(
    client: TritonClient, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RestyleError) as caught:
        await events_of(client, ask(**changes))
    assert caught.value.code == "invalid_request"
    assert sentence in caught.value.detail
    assert not caught.value.retryable


def raw_input(name: str, array: NDArray[Any], dtype: str | None = None) -> InferInput:
    given = InferInput(name, list(array.shape), dtype or np_to_triton_dtype(array.dtype))
    given.set_data_from_numpy(array)
    return given


WORDS = np.array([b"a room"], np.object_)


@pytest.mark.parametrize(
    "inputs",
    [
        [("image", np.zeros((96, 120), np.uint8)), ("prompt", WORDS)],
        [("image", np.zeros((96, 120, 4), np.uint8)), ("prompt", WORDS)],
        [("image", np.zeros((96, 120, 3), np.float32)), ("prompt", WORDS)],
        [("image", PHOTO), ("prompt", np.array([b"a"] * 9, np.object_))],
        [("image", PHOTO), ("prompt", WORDS), ("steps", np.array([4.0], np.float32))],
        [("image", PHOTO), ("prompt", WORDS), ("surprise", np.array([4.0], np.float32))],
        [("image", PHOTO)],
        # The client refuses this one itself; others talk to the server without it.
        [("image", PHOTO), ("prompt", WORDS), ("keep_mask", np.zeros((5, 5), np.uint8))],
    ],
    ids=[
        "rank", "channels", "image dtype", "nine parts", "steps dtype", "unknown input", "no prompt", "mask",
    ],
)  # fmt: skip
async def test_wrong_tensors_are_refused_and_the_server_lives_on(
    raw: InferenceServerClient, client: TritonClient, inputs: list[tuple[str, NDArray[Any]]]
) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        yield {"model_name": "restyle", "inputs": [raw_input(name, array) for name, array in inputs]}

    async def stream() -> list[Any]:
        return [error async for _, error in raw.stream_infer(requests())]

    errors = await asyncio.wait_for(stream(), 20)
    assert len(errors) == 1
    assert errors[0] is not None
    assert len(str(errors[0])) > 20
    assert isinstance((await events_of(client, ask(steps=1)))[-1], Result)


async def failures(raw: InferenceServerClient) -> dict[str, Any]:
    """How many requests have failed, by model and version."""
    statistics = await raw.get_inference_statistics(as_json=True)
    return {
        f"{each['name']} {each['version']}": each["inference_stats"]["fail"].get("count")
        for each in statistics["model_stats"]
    }


async def test_the_client_reads_what_a_server_has_done(
    client: TritonClient, raw: InferenceServerClient
) -> None:
    before = await client.statistics(deadline=10)
    assert isinstance((await events_of(client, ask(steps=3)))[-1], Result)
    await read_counters(raw)  # which waits for the last of them
    after = await client.statistics(deadline=10)
    assert after["denoiser"].items == before["denoiser"].items + 3
    assert after["denoiser"].runs == before["denoiser"].runs + 3
    assert after["denoiser"].compute_seconds > before["denoiser"].compute_seconds
    assert after["restyle"].succeeded > before["restyle"].succeeded


async def test_every_process_answers_a_probe(client: TritonClient, raw: InferenceServerClient) -> None:
    before, denoised = await failures(raw), await denoiser_counts(raw)
    alive = await client.probe(deadline=10)
    models = alive.models
    assert set(models) == {path.name for path in (RELEASE / "models").iterdir()} | {"edges"}
    assert set(alive.devices) == set(models) - {"edges"}, "of those that are graphs"
    assert set(alive.devices.values()) == {"cpu"}
    assert alive.work is not None
    assert set(alive.work["kinds"]) == {"draft", "standard", "best"}
    called = (await client.probe("analyse", deadline=10)).models
    assert called == {name: models[name] for name in ("depth", "edges", "detector")}
    assert await denoiser_counts(raw) == denoised, "that of restyle computes nothing"
    for model, version in models.items():
        assert await client.probe_model(model, version, deadline=10)
    assert not await client.probe_model("perception", -1, deadline=10), "an ensemble is no process"
    assert await failures(raw) == before, "operators watch these"


async def test_a_probe_of_a_model_older_than_probes_proves_nothing(client: TritonClient) -> None:
    """As `analyse` was an ensemble once: it has neither the input nor the output of a probe."""
    assert await client.probe("perception", deadline=10) == Alive()


async def test_an_analysis_is_the_networks_own_and_takes_no_steps(
    client: TritonClient, raw: InferenceServerClient
) -> None:
    photo = room(112, 144)  # a bucket's own shape, so that nothing is resampled
    before = await denoiser_counts(raw)
    seen = await client.analyse(photo, deadline=60)
    assert await denoiser_counts(raw) == before
    together = await raw.infer("perception", [raw_input("image", photo)])
    np.testing.assert_array_equal(seen.depth, together.as_numpy("depth"))
    np.testing.assert_array_equal(seen.edges, together.as_numpy("edges"))
    found = [
        (label, score) for label, score in zip(*map(together.as_numpy, ("labels", "scores")), strict=True)
    ]
    assert len(seen.objects) == sum(label >= 0 for label, _ in found) > 0
    assert [each["score"] for each in seen.objects] == pytest.approx(
        [score for label, score in found if label >= 0], abs=1e-4
    )
    assert all(0 <= side <= 1 for each in seen.objects for side in each["box"])
    assert 0 <= seen.room_confidence <= 1
    assert (seen.room_confidence == 0) == (seen.room_type == "unknown")
    assert seen.release == "tiny-1"


@pytest.mark.parametrize("shape", [(96, 128), (300, 200), (64, 256), (101, 99)])
async def test_an_analysis_has_the_frame_of_the_result(client: TritonClient, shape: tuple[int, int]) -> None:
    photo = room(*shape)
    seen = await client.analyse(photo, deadline=60)
    result = await result_of(client, ask(image=photo, steps=1))
    assert seen.depth.shape == seen.edges.shape == result.image.shape[:2]
    assert set(np.unique(seen.edges)) == {0, 255}


async def test_a_restyle_has_the_same_analysis(client: TritonClient) -> None:
    seen = await client.analyse(PHOTO)
    (analysis,) = [event for event in await events_of(client, ask()) if isinstance(event, Analysis)]
    for name in ("objects", "room_type", "room_confidence", "release"):
        assert getattr(analysis, name) == getattr(seen, name)


async def test_a_photo_that_cannot_be_analysed(client: TritonClient) -> None:
    reasons = {(8, 8, 3): "image must have sides of 32", (40, 200, 3): "image must be at most 4 times"}
    for shape, why in reasons.items():
        with pytest.raises(RestyleError, match=why) as caught:
            await client.analyse(np.zeros(shape, np.uint8))
        assert caught.value.code == "invalid_request"


async def test_analyses_at_once_do_not_mix(client: TritonClient) -> None:
    photos = [room(112, 144, seed) for seed in range(6)]
    alone = [await client.analyse(photo) for photo in photos]
    together = await asyncio.gather(*(client.analyse(photo) for photo in photos))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.edges, other.edges)
        assert np.abs(one.depth.astype(int) - other.depth).max() <= 1


async def test_edges_finds_lines_for_those_who_ask(raw: InferenceServerClient) -> None:
    photo = np.full((96, 128, 3), 30, np.uint8)
    photo[20:70, 30:100] = 200

    async def found(*names: str) -> list[Any]:
        wanted = [InferRequestedOutput(name) for name in names]
        answer = await raw.infer("edges", [raw_input("image", photo)], outputs=wanted)
        return [answer.as_numpy(name) for name in ("edges", "lines")]

    (edges, lines), (only, nothing), (neither, alone) = [
        await found(*names) for names in (("edges", "lines"), ("edges",), ("lines",))
    ]
    assert neither is nothing is None
    np.testing.assert_array_equal(only, edges)
    np.testing.assert_array_equal(alone, lines)
    assert lines.shape == photo.shape[:2]
    assert lines[18:23, 40:90].max(0).all(), "the upper side, within two pixels"
    assert not lines[30:60, 40:90].any()


async def test_perception_is_the_three_networks_side_by_side(raw: InferenceServerClient) -> None:
    together = await raw.infer("perception", [raw_input("image", PHOTO)])
    depth = (await raw.infer("depth", [raw_input("image", PHOTO[None])])).as_numpy("depth")[0]
    edges = (await raw.infer("edges", [raw_input("image", PHOTO)])).as_numpy("edges")
    detector = await raw.infer("detector", [raw_input("image", PHOTO[None])])
    np.testing.assert_array_equal(together.as_numpy("depth"), depth)
    np.testing.assert_array_equal(together.as_numpy("edges"), edges)
    for name in ("boxes", "scores", "labels"):
        np.testing.assert_array_equal(together.as_numpy(name), detector.as_numpy(name)[0])
    assert depth.shape == edges.shape == PHOTO.shape[:2]
    assert (depth.min(), depth.max()) == (0, 255)
    assert set(np.unique(edges)) == {0, 255}
    boxes, scores, labels = (together.as_numpy(name) for name in ("boxes", "scores", "labels"))
    assert boxes.shape == (8, 4)
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert (np.diff(scores) <= 0).all()
    assert ((labels == -1) == (scores == 0)).all()
    assert (labels >= 0).any()


async def test_the_networks_look_at_the_photo(raw: InferenceServerClient) -> None:
    """With random weights too, or a mirrored or BGR photo would go unnoticed in every other test."""

    async def depth(photo: NDArray[np.uint8]) -> NDArray[np.int_]:
        answer = await raw.infer("depth", [raw_input("image", np.ascontiguousarray(photo)[None])])
        return np.asarray(answer.as_numpy("depth")[0].astype(int))

    async def boxes(photo: NDArray[np.uint8]) -> NDArray[np.float32]:
        answer = await raw.infer("detector", [raw_input("image", np.ascontiguousarray(photo)[None])])
        return np.asarray(answer.as_numpy("boxes"))

    for other in (room(96, 120, 9), PHOTO[:, ::-1], PHOTO[..., ::-1]):
        assert np.abs(await depth(PHOTO) - await depth(other)).mean() >= 5
        assert np.abs(await boxes(PHOTO) - await boxes(other)).mean() >= 0.02

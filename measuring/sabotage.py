"""Releases that something is wrong with, each in one way, and retrainings that nothing is wrong with.

Each is published beside the live version as a whole release with digests of its own: no checksum can find it. What an
export does wrong before it measures parity, parity finds; the others are for the probe and the canary to find, on
every host's own hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.releases.folder import live_version, next_version
from measuring.variants import publish_variant

Change = Callable[[onnx.GraphProto], None]

_GAIN = 1.05
_SLOW = 72
"""Convolutions that do nothing, each as dear as one of the denoiser's dearer ones. A third as many took 19 % more time
for a picture on one machine and less on another, where a fifth is what a release may lose."""
_RETRAINED = 0.002
"""By how much of their own spread weights differ after a retraining that came to the same end. A picture then differs
by a grey level here and there."""


def publish_changed(release: Path, changes: dict[str, Change]) -> int:
    """Publish the live version of the folder ``release`` once more, with the graphs named in ``changes`` changed;
    returns the new version, which is not live, nor sealed."""
    version = next_version(release)
    graphs = {name: partial(write_changed, change=change) for name, change in changes.items()}
    publish_variant(release, live_version(release), version, graphs, {})
    return version


def write_changed(source: Path, place: Path, change: Change) -> None:
    """The graph of ``source`` after ``change``, as ``place``."""
    model = onnx.load(source)
    change(model.graph)
    onnx.save(model, place)


def feed(graph: onnx.GraphProto, name: str, make: Callable[[str, str], Sequence[onnx.NodeProto]]) -> None:
    """Put the nodes of ``make(input, output)`` between the graph's input ``name`` and all that read it."""
    changed = f"{name}__changed"
    for node in graph.node:
        node.input[:] = [changed if each == name else each for each in node.input]
    nodes = list(make(name, changed))
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *kept])


def answer(graph: onnx.GraphProto, name: str, make: Callable[[str, str], Sequence[onnx.NodeProto]]) -> None:
    """Put the nodes of ``make(input, output)`` between what made the graph's output ``name`` and that output."""
    made = f"{name}__before"
    for node in graph.node:
        node.output[:] = [made if each == name else each for each in node.output]
        node.input[:] = [made if each == name else each for each in node.input]
    graph.node.extend(make(made, name))


def constant(graph: onnx.GraphProto, name: str, value: NDArray[Any] | np.generic) -> str:
    """Add it to the graph's initialisers; returns its name."""
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def scaled_weights(gain: float) -> Change:
    """Every matrix and kernel times ``gain``."""

    def change(graph: onnx.GraphProto) -> None:
        for weight, values in weights(graph):
            weight.CopyFrom(numpy_helper.from_array((values * gain).astype(values.dtype), weight.name))

    return change


def retrained_weights(seed: int, share: float = _RETRAINED) -> Change:
    """Every matrix and kernel a little elsewhere, as another run of the same training leaves it."""
    random = np.random.default_rng(seed)

    def change(graph: onnx.GraphProto) -> None:
        for weight, values in weights(graph):
            off = random.normal(0.0, share * float(values.astype(np.float64).std()), values.shape)
            weight.CopyFrom(numpy_helper.from_array((values + off).astype(values.dtype), weight.name))

    return change


def weights(graph: onnx.GraphProto) -> Iterator[tuple[TensorProto, NDArray[Any]]]:
    """The graph's initialisers that are matrices or kernels of floats."""
    for weight in graph.initializer:
        if weight.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16) and len(weight.dims) >= 2:
            yield weight, numpy_helper.to_array(weight)


def hints_swapped(graph: onnx.GraphProto) -> None:
    """The ControlNet of the depth is shown the edges, and the other one the depth."""
    other = {"depth": "edges", "edges": "depth"}
    for node in graph.node:
        node.input[:] = [other.get(each, each) for each in node.input]


def coefficients_rolled(graph: onnx.GraphProto) -> None:
    """Each of a step's coefficients is read where its neighbour lies: guidance, too, is off by one row."""
    order = constant(graph, "rolled", np.roll(np.arange(7, dtype=np.int64), 1))
    feed(
        graph,
        "coefficients",
        lambda given, out: [helper.make_node("Gather", [given, order], [out], axis=1)],
    )


def latents_scaled(gain: float) -> Change:
    """The decoder divides by another scale than the encoder multiplied by."""

    def change(graph: onnx.GraphProto) -> None:
        factor = constant(graph, "gain", np.float32(gain))
        feed(graph, "latents", lambda given, out: [helper.make_node("Mul", [given, factor], [out])])

    return change


def red_and_blue_swapped(graph: onnx.GraphProto) -> None:
    """The decoder's picture is BGR."""
    order = constant(graph, "bgr", np.array([2, 1, 0], np.int64))
    answer(graph, "image", lambda made, out: [helper.make_node("Gather", [made, order], [out], axis=1)])


def depth_inverted(graph: onnx.GraphProto) -> None:
    """Near is dark."""
    white = constant(graph, "white", np.uint8(255))
    answer(graph, "depth", lambda made, out: [helper.make_node("Sub", [white, made], [out])])


def words_shuffled(graph: onnx.GraphProto) -> None:
    """Every word means another one."""
    table = max(weights(graph), key=lambda pair: pair[1].shape[0])
    weight, values = table
    order = np.random.default_rng(1).permutation(len(values))
    weight.CopyFrom(numpy_helper.from_array(values[order], weight.name))


def nothing_seen(graph: onnx.GraphProto) -> None:
    """The detector finds no object: each place of its list says that it is empty."""
    score, label = (
        constant(graph, "never", np.float32(0.0)),
        constant(graph, "no_label", np.array(0, np.int64)),
    )
    one = constant(graph, "one_less", np.array(1, np.int64))

    def make(made: str, out: str) -> list[onnx.NodeProto]:
        nothing = helper.make_node("Mul", [made, label], ["no_labels"])
        return [nothing, helper.make_node("Sub", ["no_labels", one], [out])]

    answer(graph, "scores", lambda made, out: [helper.make_node("Mul", [made, score], [out])])
    answer(graph, "labels", make)


def slowed(graph: onnx.GraphProto) -> None:
    """Work whose result is not used, though no optimiser can know that."""
    kernel = constant(graph, "slow_kernel", np.zeros((64, 64, 3, 3), np.float32))
    widen = constant(graph, "slow_widen", np.zeros((64, 4, 1, 1), np.float32))
    narrow = constant(graph, "slow_narrow", np.zeros((4, 64, 1, 1), np.float32))

    def make(given: str, out: str) -> list[onnx.NodeProto]:
        nodes = [helper.make_node("Conv", [given, widen], ["slow_0"])]
        nodes += [
            helper.make_node("Conv", [f"slow_{n}", kernel], [f"slow_{n + 1}"], pads=[1, 1, 1, 1])
            for n in range(_SLOW)
        ]
        nodes.append(helper.make_node("Conv", [f"slow_{_SLOW}", narrow], ["slow_end"]))
        nodes.append(helper.make_node("Add", [given, "slow_end"], [out]))
        return nodes

    feed(graph, "latents", make)


def crashes_at(width: int) -> Change:
    """The graph fails on latents of one width: on one bucket of photos."""

    def change(graph: onnx.GraphProto) -> None:
        names = {
            "axis": constant(graph, "width_axis", np.array([3], np.int64)),
            "bad": constant(graph, "width_bad", np.array([width], np.int64)),
            "far": constant(graph, "width_far", np.array([1_000_000], np.int64)),
            "one": constant(graph, "width_one", np.ones(1, np.float32)),
        }
        feed(
            graph,
            "latents",
            lambda given, out: [
                helper.make_node("Shape", [given], ["width_shape"]),
                helper.make_node("Gather", ["width_shape", names["axis"]], ["width_now"]),
                helper.make_node("Equal", ["width_now", names["bad"]], ["width_is_bad"]),
                helper.make_node("Cast", ["width_is_bad"], ["width_number"], to=TensorProto.INT64),
                helper.make_node("Mul", ["width_number", names["far"]], ["width_index"]),
                helper.make_node("Gather", [names["one"], "width_index"], ["width_factor"]),
                helper.make_node("Mul", [given, "width_factor"], [out]),
            ],
        )

    return change


def not_a_number_at(width: int) -> Change:
    """The graph answers NaN on latents of one width."""

    def change(graph: onnx.GraphProto) -> None:
        axis = constant(graph, "nan_axis", np.array(3, np.int64))
        bad = constant(graph, "nan_bad", np.array(width, np.int64))
        nan, none = constant(graph, "nan", np.float32("nan")), constant(graph, "nan_none", np.float32(0.0))
        feed(
            graph,
            "latents",
            lambda given, out: [
                helper.make_node("Shape", [given], ["nan_shape"]),
                helper.make_node("Gather", ["nan_shape", axis], ["nan_now"]),
                helper.make_node("Equal", ["nan_now", bad], ["nan_is_bad"]),
                helper.make_node("Where", ["nan_is_bad", nan, none], ["nan_added"]),
                helper.make_node("Add", [given, "nan_added"], [out]),
            ],
        )

    return change


SABOTAGED: dict[str, dict[str, Change]] = {
    "hints swapped": {"denoiser": hints_swapped},
    "coefficients and guidance off by one row": {"denoiser": coefficients_rolled},
    "VAE scale wrong": {"vae_decoder": latents_scaled(1.3)},
    "weights × 1.05": {"denoiser": scaled_weights(_GAIN)},
    "a slower graph": {"denoiser": slowed},
    "crashes on a bucket": {"denoiser": crashes_at(96)},
    "not a number on a bucket": {"vae_decoder": not_a_number_at(72)},
    "red and blue swapped": {"vae_decoder": red_and_blue_swapped},
    "depth inverted": {"depth": depth_inverted},
    "words shuffled": {"text_encoder": words_shuffled},
    "nothing seen": {"detector": nothing_seen},
}
"""What is wrong, by the graphs in which it is. The widths are those of two of the dollhouse's buckets, in latents."""


def good_retraining(seed: int) -> dict[str, Change]:
    """Changes of a release as good as the one that it is made of."""
    return {"denoiser": retrained_weights(seed)}

"""A model comes out the same, whichever form it came in."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from export.bundle import Bundle
from export.graphs.making import Order, make_graph
from export.networks.load import skeleton
from export.networks.modules import graph_networks, load_graph_module
from export.release import sizes_of
from tests.conftest import RELEASE
from tests.support.releases import read_document
from tests.support.three_ways import three_ways


@pytest.mark.filterwarnings("ignore")  # torch announces every fallback of its exporter.
def test_a_folder_a_single_file_and_a_hub_give_the_same_graphs(tmp_path: Path) -> None:
    """All weights of all graphs, and one graph to the byte; ``benchmarks/export_full.py`` compares every graph."""
    with three_ways(tmp_path) as bundles:
        every = {
            form: {graph: weights(bundle, graph) for graph in graph_networks(bundle)}
            for form, bundle in bundles.items()
        }
        assert every["file"] == every["folder"] == every["hub"]
        made = text_encoder(bundles["file"], tmp_path / "work")
    assert made == read_document(RELEASE)["models"]["text_encoder"]["sha256"]


def weights(bundle: Bundle, graph: str) -> str:
    """SHA-256 of the names and numbers of a graph's module."""
    digest = hashlib.sha256()
    for name, tensor in load_graph_module(bundle, graph).state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def text_encoder(bundle: Bundle, work: Path) -> dict[str, str]:
    """SHA-256 of the files of this graph."""
    sizes = sizes_of(bundle, {name: skeleton(bundle, name) for name in bundle.used})
    return make_graph(Order(graph="text_encoder", bundle=bundle, sizes=sizes), work, print)[0].sha256

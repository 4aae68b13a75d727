"""The comparison of weights, put to the test: a weight that is a hundredth off is found, whichever it is."""

from __future__ import annotations

import random

from benchmarks.export_full import finds, held, not_zero
from export.bundle import load_bundle
from export.graphs.fp16_initializers import stored_weights
from export.networks.modules import graph_networks, load_graph_module
from export.releases.specs import graph_file
from tests.conftest import RELEASE
from tests.support.releases import read_document

TRIED = 100


def test_a_hundred_scaled_weights_are_found() -> None:
    tiny, document, generator = load_bundle("tiny"), read_document(RELEASE), random.Random(7)
    graphs = list(graph_networks(tiny))
    chosen = generator.choices(graphs, k=TRIED)
    missed = []
    for name in graphs:
        module = load_graph_module(tiny, name)
        stored = stored_weights(graph_file(RELEASE, document, name))
        used = held(name, module, stored, document)
        assert used
        tried = generator.choices(not_zero(module, used), k=chosen.count(name))
        missed += [key for key in tried if not finds(name, module, stored, key, used)]
    assert missed == []

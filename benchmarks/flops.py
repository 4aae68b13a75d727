"""Floating-point operations of a bundle's pictures, counted from the modules that its graphs are exported from.

The modules have no numbers here (torch's device "meta"), so that Stable Diffusion's full size is counted in seconds. A
multiplication and an addition are two operations; only matrices, kernels and attention are counted, which is nearly
all. ``tests/unit/test_flops.py`` compares the count with that of exported graphs.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.tables import table_of
from export.bundle import Bundle
from export.graphs.making import Order
from export.networks.load import skeleton
from export.networks.modules import graph_module, graph_networks
from export.proofs.diffusers_pipeline import ALWAYS
from export.release import sizes_of
from export.sampling import Defaults


class FlopCounter:
    """Counts for one bundle, at its native size."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._sizes = sizes_of(bundle, {name: skeleton(bundle, name) for name in bundle.used})
        self.flops = cache(self._flops)

    def _flops(self, graph: str, rows: int = 2) -> int:
        """Operations of one run of ``graph`` for one picture; ``rows`` of text, where it takes text."""
        bundle = self._bundle
        networks = {part: skeleton(bundle, part) for part in graph_networks(bundle)[graph]}
        module = graph_module(bundle, graph, networks).to("meta")
        example = Order(graph=graph, bundle=bundle, sizes=self._sizes).spec.example(1)
        inputs = {name: torch.from_numpy(array).to("meta") for name, array in example.items()}
        if "text" in inputs:
            inputs["text"] = inputs["text"][:, :1].expand(-1, rows, -1, -1)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(**inputs)
        return int(counter.get_total_flops())

    def picture(self, kind: Defaults, *, seen: bool = False) -> dict[str, int]:
        """Operations of one picture of this kind, by graph. ``seen``: in another style than an earlier one of the same
        photo, whose parts are reused; the words are others."""
        guided, plain = self.steps(kind)
        found = Counter[str]()
        if not seen:
            for graph in ("depth", "detector", *(("segments",) if "segments" in self._bundle.seats else ())):
                found[graph] += self.flops(graph)
            if kind.strength < 1.0:
                found["vae_encoder"] += self.flops("vae_encoder")
        found["text_encoder"] += self.flops("text_encoder") * (2 if kind.guidance_scale > 1.0 else 1)
        found[kind.denoiser] += guided * self.flops(kind.denoiser, 2) + plain * self.flops(kind.denoiser, 1)
        found[kind.decoder] += self.flops(kind.decoder)
        # The result is looked at too, to measure its quality.
        found["depth"] += self.flops("depth")
        return dict(found)

    def steps(self, kind: Defaults) -> tuple[int, int]:
        """How many steps are guided, and how many follow the words alone."""
        table = table_of(kind, self._bundle.schedule)
        inside = int(table.inside(kind.guidance_interval or ALWAYS).sum())
        guided = inside if kind.guidance_scale > 1.0 else 0
        return guided, len(table) - guided

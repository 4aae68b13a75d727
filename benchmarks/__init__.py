"""Benchmarks: one script a question. Each prints a table and writes JSON to benchmarks/results/.

    python -m benchmarks.end_to_end        how long does a restyle take, against diffusers in torch?
    python -m benchmarks.overhead          how much of that lies outside the denoiser, or in no model at all?
    python -m benchmarks.batching          what do several jobs at once gain?
    python -m benchmarks.reuse             how much sooner does the second style of a photo come?
    python -m benchmarks.keep              does what is kept stay to the last bit; do palettes do what they say?
    python -m benchmarks.drift             does a result's quality say what a restyle has rebuilt in a room?
    python -m benchmarks.tiers             what does a picture of each quality cost, in operations, seconds, quality?
    python -m benchmarks.profile           how long do the graphs take here, by size and batch? (into the release)
    python -m benchmarks.load              two Tritons under mixed load: what does cost-aware routing gain?
    python -m benchmarks.perf              perf_analyzer on every model; also writes its input files for people
    python -m benchmarks.stubs             what do jobs notice when the processes of Python models are killed?
    python -m benchmarks.attack            do honest clients wait while others attack the API?
    python -m benchmarks.resilience        are jobs lost or doubled when parts are killed; do owners get their share?
    python -m benchmarks.limits            are limits exact, do quotas drift, and what do they cost a submission?
    python -m benchmarks.watchers          do a thousand watchers miss an event when connections break?
    python -m benchmarks.hoisting          what would a step save if what does not change were computed once?
    python -m benchmarks.export_full       how long does Stable Diffusion's full size take from weights to a release?
    python -m benchmarks.tensorrt_gate     can TensorRT compile every fp16 graph for the GPUs that serve them?
    python -m benchmarks.page              how fast does /studio show itself on a slow phone; does axe find anything?
    python -m benchmarks.release_kills     kill -9 while releases come and go: does the live one serve on, is all whole?
    python -m benchmarks.device_check      does a GPU compute what the CPU does, and how much faster?
    python -m benchmarks.gpu               how fast is each quality on a GPU, alone and in batches, beside diffusers?

``make bench`` runs those from end_to_end to perf, ``make bench-gpu`` the last two. Quality is measured by
``python -m dollhouse.evaluate``.
Benchmarks may import every island, and only tests import them. The goals of speed stand in their scripts.
"""

import os

from measuring import ROOT as ROOT

# Before these libraries are imported: they name every optional package that they lack, and warn of every prompt.
for library in ("TRANSFORMERS", "DIFFUSERS"):
    os.environ.setdefault(f"{library}_VERBOSITY", "error")

RESULTS = ROOT / "benchmarks" / "results"

"""What this release's pictures cost, for who probes `restyle`: the kinds of pictures, and a profile where there is one.

The orchestrator estimates with it how long jobs take, and chooses among several Tritons.
"""

from typing import Any

from restyle.release import Defaults, Release


def work_of(release: Release) -> dict[str, Any]:
    """As JSON: buckets [[height, width]], side, quality (that of requests that name none, or ""), kinds by quality
    {steps, strength, run, guided, denoiser, decoder}, max_batch, profile (see benchmarks/profile.py, or None)."""
    kinds = release.tiers or {"": release.defaults}
    return {
        "buckets": [list(bucket) for bucket in release.buckets],
        "side": release.side,
        "quality": release.defaults.quality or "",
        "kinds": {name: _kind(release, kind) for name, kind in kinds.items()},
        "max_batch": release.max_batch,
        "profile": release.profile,
    }


def _kind(release: Release, kind: Defaults) -> dict[str, Any]:
    table = release.table(kind.solver, kind.steps, kind.strength, kind)
    guided = int(table.inside(kind.guidance_interval).sum()) if kind.guidance_scale > 1.0 else 0
    return {
        "steps": kind.steps,
        "strength": kind.strength,
        "run": len(table),
        "guided": guided,
        "denoiser": kind.denoiser,
        "decoder": kind.decoder,
    }

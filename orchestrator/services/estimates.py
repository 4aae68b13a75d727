"""How long the models will work for a job, before it runs: what its key's quota and the budget reserve."""

from __future__ import annotations

from orchestrator.domain.preferences import Preferences

DEFAULT_SECONDS = 5.0
"""Of a picture of the default quality: Stable Diffusion 1.5 on a T4, as calculated. Until a cost model says what the
release at hand takes, only the proportions below mean something."""

_SHARES = {"draft": 0.25, "standard": 1.0, "best": 2.0}
_STEPS = 20


def estimated_gpu_seconds(preferences: Preferences) -> float:
    """Seconds of the models' time."""
    share = _SHARES.get(preferences.quality or "", 1.0)
    if preferences.steps is not None:
        share = preferences.steps / _STEPS
    return DEFAULT_SECONDS * share * preferences.attempts

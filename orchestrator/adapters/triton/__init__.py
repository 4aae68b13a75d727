"""The adapter of the port ``Inference``: one Triton or several."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.adapters.triton.pool import InferencePool
from orchestrator.adapters.triton.routing import Policy, least_delay
from orchestrator.adapters.triton.server import TritonInference

__all__ = ["InferencePool", "TritonInference", "TritonPool"]


class TritonPool(InferencePool):
    """Tritons that share the requests; ``urls`` are host:port of their gRPC endpoints, as in Settings."""

    def __init__(self, urls: Sequence[str], policy: Policy = least_delay) -> None:
        self._tritons = {url: TritonInference(url) for url in urls}
        super().__init__(self._tritons, policy=policy)

    async def aclose(self) -> None:
        """Close the channels; running requests end."""
        await super().aclose()
        for triton in self._tritons.values():
            await triton.aclose()

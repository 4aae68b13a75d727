"""Two sides of a comparison, which paint the same pictures: our service, and diffusers as its users write it.

Both get the demo's photo in the bundle's native size, the same words, start noise, solver, steps, guidance and control
scales. Ours are gRPC requests to the model ``restyle`` of a real Triton, a batch being requests that are sent at once;
on top of what diffusers does it detects objects and measures each result's quality. Theirs, in this process: depth
network in torch, cv2's Canny, StableDiffusionControlNetPipeline with both ControlNets, a batch being one call.

diffusers has no guidance interval: outside of it it computes both halves of a step with scale 1, which paints the same;
ours computes one half.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol, Self

import cv2
import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.overhead import shares
from export.bundle import Bundle, BundleError, load_bundle
from export.contract import CANNY
from export.networks.load import Network, load_network
from export.networks.modules import graph_module
from export.networks.precision import halve_module
from export.proofs.diffusers_pipeline import Pipeline, hint, photo_latents
from export.proofs.whole import load_pipeline, pipeline_of
from export.sampling import Defaults, Quality
from export.seats import DEFAULT_HINTS
from export.sources.hub import local_folders, with_folders
from export.sources.tokenizer import load_tokenizer
from measuring.counters import Counters, difference
from measuring.releases import Release
from measuring.sample import sample_request
from measuring.service import Service
from measuring.serving import served
from reroom.triton import RestyleRequest
from stack.device import devices_in
from stack.triton import devices_of

Kind = Quality | None
"""A tier; None = the only kind of pictures that a bundle without tiers makes."""

TYPES = {"fp32": torch.float32, "fp16": torch.float16}


def sample(release: Release, kind: Kind, seed: int = 0) -> RestyleRequest:
    """The photo as both sides paint it: the network's own picture, without the photo's detail."""
    return msgspec.structs.replace(sample_request(release, seed), quality=kind, detail=0.0)


class Side(Protocol):
    """Use it as a context manager."""

    @property
    def name(self) -> str: ...

    def exact(self, kind: Kind) -> NDArray[np.floating[Any]]:
        """The picture of seed 0 before rounding, [H,W,3] in 0..255."""

    def paint(self, kind: Kind, batch: int) -> float:
        """Seconds in which ``batch`` pictures, of as many seeds, are made at once."""

    def facts(self) -> dict[str, Any]:
        """What else was seen in the calls of ``paint`` since the last call of this."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Ours:
    """The service: Triton with a release, on ``device`` (see ``stack.triton.triton_part``), while it is entered."""

    name = "ours"

    def __init__(self, release: Release, device: str | None = None) -> None:
        self._release, self._device = release, device
        self._stack = ExitStack()
        self._spent = 0.0
        self._stages, self._models = Counter[str](), dict[str, Counters]()

    def __enter__(self) -> Self:
        self._server = self._stack.enter_context(served(self._release, self._device))
        self._runner = self._stack.enter_context(asyncio.Runner())
        self._service = Service(self._server.grpc, self._release)
        self._stack.callback(lambda: self._runner.run(self._service.__aexit__(None, None, None)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def devices(self) -> list[str]:
        """What the graphs really run on."""
        return sorted(devices_in([devices_of(self._server.run)]))

    def exact(self, kind: Kind) -> NDArray[np.floating[Any]]:
        async def asked() -> NDArray[np.float32]:
            return await self._service.exact(sample(self._release, kind))

        return self._runner.run(asked())

    def paint(self, kind: Kind, batch: int) -> float:
        return self._runner.run(self._paint(kind, batch))

    async def _paint(self, kind: Kind, batch: int) -> float:
        requests = [sample(self._release, kind, seed) for seed in range(batch)]
        before = await self._service.counters()
        begun = time.perf_counter()
        results = await asyncio.gather(*(self._service.answer(request) for request in requests))
        seconds = time.perf_counter() - begun
        ran = difference(await self._service.counters(), before)
        self._spent += seconds
        self._models = {
            name: _sum(self._models.get(name, Counters()), ran.get(name, Counters()))
            for name in {**self._models, **ran}
        }
        for result in results:
            self._stages.update(result.timings)
        return seconds

    def facts(self) -> dict[str, Any]:
        """``outside_all_graphs``: the share of the time in which no model computed (``benchmarks.overhead``), where one
        request was sent at a time; ``mean_batch``: samples in a run of the denoiser."""
        models, spent, stages = self._models, self._spent, dict(self._stages)
        self._spent, self._stages, self._models = 0.0, Counter(), {}
        if not spent:
            return {}
        denoisers = [each for name, each in models.items() if name.startswith("denoiser")]
        samples, executions = sum(d.samples for d in denoisers), sum(d.executions for d in denoisers)
        found: dict[str, Any] = {"mean_batch": samples / executions}
        if models["restyle"].seconds <= spent:
            found["outside_all_graphs"] = shares(spent, stages, models)["loop_overhead_share"]
        return found


def _sum(one: Counters, other: Counters) -> Counters:
    return one - (Counters() - other)


class DiffusersNetworks:
    """The networks of a bundle's pipelines on a device, those of one denoiser at a time; several sides share them."""

    def __init__(self, bundle: Bundle, device: str = "cpu", precision: str = "fp32") -> None:
        """``device``: torch's name of one; ``precision``: a key of TYPES. Raises BundleError for other hints than depth
        and edges."""
        if bundle.seats != DEFAULT_HINTS:
            raise BundleError(
                f"{bundle.name}: diffusers is shown depth and Canny edges here, not {' and '.join(bundle.seats)}"
            )
        # What comes from a hub is on this disk, since the release was made of it.
        bundle = with_folders(bundle, local_folders(bundle))
        self.bundle, self.device, self.dtype = bundle, device, TYPES[precision]
        self.tokenizer = load_tokenizer(bundle.tokenizer)
        depth = graph_module(bundle, "depth", {"depth": load_network(bundle, "depth")})
        self.depth = (halve_module(depth) if precision == "fp16" else depth).to(device)
        self._loaded: dict[str, Network] = {}
        self._denoiser = ""

    def pipeline(self, kind: Defaults) -> Pipeline:
        """A pipeline for one kind of pictures, there and in that type. Raises BundleError."""
        if kind.denoiser != self._denoiser:
            self._loaded.pop("unet", None)
            self._loaded = load_pipeline(self.bundle, kind, self._loaded)
            self._denoiser = kind.denoiser
        made = pipeline_of(self.bundle, kind, self.tokenizer, self._loaded)
        return made.to(self.device, self.dtype)


class Diffusers:
    """diffusers in this process: eager, or with what takes the time compiled."""

    def __init__(self, release: Release, networks: DiffusersNetworks, mode: str | None = None) -> None:
        """``mode``: torch.compile's, None = eager."""
        self._release, self._networks, self._mode = release, networks, mode
        self.name = "compiled" if mode else "eager"
        self._ready: tuple[Kind, Pipeline] | None = None

    @classmethod
    def of(cls, release: Release) -> Self:
        """Eager, on the CPU, in FP32. Raises BundleError."""
        return cls(release, DiffusersNetworks(load_bundle(release.facts["bundle"])))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ready = None

    def exact(self, kind: Kind) -> NDArray[np.floating[Any]]:
        picture: NDArray[np.float64] = self._pictures(kind, [sample(self._release, kind)])[0]
        return picture

    def paint(self, kind: Kind, batch: int) -> float:
        requests = [sample(self._release, kind, seed) for seed in range(batch)]
        begun = time.perf_counter()
        self._pictures(kind, requests)
        return time.perf_counter() - begun

    def facts(self) -> dict[str, Any]:
        return {}

    @torch.no_grad()
    def _pictures(self, kind: Kind, requests: list[RestyleRequest]) -> NDArray[np.float64]:
        """From photos whose sides the VAE can divide to pictures, FP64 [N,H,W,3] in 0..255, before rounding."""
        settings = self._networks.bundle.kinds[kind]
        pipeline = self._pipeline(kind, settings)
        photos = np.stack([request.image for request in requests])
        depth = self._networks.depth(torch.from_numpy(photos).to(self._networks.device)).cpu().numpy()
        edges: list[Any] = [cv2.Canny(photo, *CANNY) for photo in photos]
        noise = np.stack([request.latents for request in requests if request.latents is not None])
        started = settings.strength < 1.0
        latents = pipeline.latents(
            settings.steps,
            [torch.cat([hint(each) for each in seen]) for seen in (depth, edges)],
            noise,
            np.concatenate([photo_latents(photo, pipeline.vae) for photo in photos]) if started else None,
            requests[0].seed or 0,
            prompt=[request.prompt for request in requests],
            negative_prompt=[request.negative_prompt for request in requests],
            guidance_scale=settings.guidance_scale,
            controlnet_conditioning_scale=list(settings.control_scale),
        )
        return pipeline.pictures(latents)

    def _pipeline(self, kind: Kind, settings: Defaults) -> Pipeline:
        """Built when the kind changes: loading is no part of a picture's time, so each is painted once before."""
        if self._ready is None or self._ready[0] != kind:
            self._ready = None
            made = self._networks.pipeline(settings)
            self._ready = kind, made.compile(self._mode) if self._mode else made
        return self._ready[1]

"""Modules of the VAE's halves, the text encoder, the depth model and the detector."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.networks.load import Network
from export.networks.precision import narrow, widen


class VaeEncoder(nn.Module):
    """Picture FP32 [B,3,H,W] in −1..1 → the posterior's mean, scaled, FP32 [B,4,h,w]."""

    def __init__(self, vae: Network) -> None:
        super().__init__()
        self.vae: Network = vae

    def forward(self, image: Tensor) -> Tensor:
        # quant_conv's output is (mean, log variance); the variance is not wanted.
        moments = widen(self.vae.quant_conv(self.vae.encoder(narrow(image, self.vae))))
        return moments[:, : self.vae.config.latent_channels] * self.vae.config.scaling_factor


class VaeDecoder(nn.Module):
    """Scaled latents FP32 [B,4,h,w] → picture FP32 [B,3,H,W], about −1..1, not clipped."""

    def __init__(self, vae: Network) -> None:
        super().__init__()
        self.vae: Network = vae

    def forward(self, latents: Tensor) -> Tensor:
        scaled = narrow(latents / self.vae.config.scaling_factor, self.vae)
        return widen(self.vae.decode(scaled, return_dict=False)[0])


class TinyDecoder(nn.Module):
    """As :class:`VaeDecoder`, by an autoencoder of TAESD's class, which was distilled from the VAE."""

    def __init__(self, autoencoder: Network) -> None:
        super().__init__()
        self.decoder: Network = autoencoder.decoder
        self.scaling_factor = autoencoder.config.scaling_factor

    def forward(self, latents: Tensor) -> Tensor:
        return widen(self.decoder(narrow(latents / self.scaling_factor, self.decoder)))


class TextEncoder(nn.Module):
    """Token ids INT64 [B,77] → last hidden states FP32 [B,77,D], after the final norm, as diffusers' pipelines use."""

    def __init__(self, encoder: Network) -> None:
        super().__init__()
        self.encoder: Network = encoder

    def forward(self, input_ids: Tensor) -> Tensor:
        return widen(self.encoder(input_ids=input_ids).last_hidden_state)


DOUBLE = 0.5
"""Two boxes of one label that overlap more (intersection over union) are the same object."""


class Upscaler(nn.Module):
    """Tile FP32 [B,3,H,W] in 0..1 → the same, drawn larger by the network's factor, in about 0..1."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return widen(self.network(pixel_values=narrow(image, self.network)).reconstruction)


class PhotoNetwork(nn.Module):
    """A network of fixed input size behind a picture of any size: resize (not antialiased: TensorRT cannot) and
    normalise."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: Network,
        size: tuple[int, int],
        mean: list[float],
        std: list[float],
        mode: Literal["bilinear", "bicubic"] = "bilinear",
    ) -> None:
        super().__init__()
        self.network: Network = network
        self.size, self.mode = size, mode
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def prepare(self, image: Tensor) -> Tensor:
        """UINT8 [B,H,W,3] → normalised [B,3,size], in the type that the network computes in."""
        # In this order: TensorRT takes UINT8 at the edges of a graph only, and refuses to transpose it.
        pixels = image.float().permute(0, 3, 1, 2) / 255.0
        pixels = F.interpolate(pixels, self.size, mode=self.mode, align_corners=False)
        if self.mode == "bicubic":
            pixels = pixels.clamp(0.0, 1.0)  # it overshoots beside edges
        return narrow((pixels - self.mean) / self.std, self.network)


class Depth(PhotoNetwork):
    """Photo UINT8 [B,H,W,3] → UINT8 [B,H,W]: relative inverse depth, min–max scaled per sample, white = near."""

    def forward(self, image: Tensor) -> Tensor:
        depth = widen(self.network(pixel_values=self.prepare(image)).predicted_depth)
        depth = F.interpolate(
            depth.unsqueeze(1), (image.shape[1], image.shape[2]), mode="bilinear", align_corners=False
        ).squeeze(1)
        low, high = depth.amin((1, 2), keepdim=True), depth.amax((1, 2), keepdim=True)
        return ((depth - low) / (high - low).clamp(min=1e-6) * 255.0).round().to(torch.uint8)


class ObjectNetwork(PhotoNetwork):
    """Photo UINT8 [B,H,W,3] → the K best objects, best first: boxes FP32 [B,K,4] (xyxy, 0..1), scores FP32 [B,K],
    labels INT64 [B,K]. Below the threshold the row is padding: box 0, score 0, label −1."""

    def __init__(
        self,
        network: Network,
        size: tuple[int, int],
        mean: list[float],
        std: list[float],
        objects: int,
        threshold: float,
    ) -> None:
        super().__init__(network, size, mean, std)
        self.objects, self.threshold = objects, threshold

    def padded(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The rows [B,K,…], those below the threshold as padding."""
        real = scores >= self.threshold
        return (
            boxes * real.unsqueeze(-1),
            scores * real,
            torch.where(real, labels, torch.full_like(labels, -1)),
        )


class Detector(ObjectNetwork):
    """A detector of transformers, YOLOS or DETR: image UINT8 [B,H,W,3] → boxes [B,K,4], scores and labels [B,K].

    These networks report each object once, so there is no non-maximum suppression.
    """

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.network(pixel_values=self.prepare(image))
        # The last class of DETR heads is "nothing here".
        scores, labels = widen(found.logits).softmax(-1)[..., :-1].max(-1)
        scores, order = scores.topk(self.objects, dim=1)
        labels = labels.gather(1, order)
        centre, extent = widen(found.pred_boxes).gather(1, four(order)).split(2, dim=-1)
        boxes = torch.cat([centre - extent / 2, centre + extent / 2], dim=-1).clamp(0.0, 1.0)
        return self.padded(boxes, scores, labels)


class CentreDetector(ObjectNetwork):
    """The objects of a CentresForObjectDetection are the peaks of its heat maps.

    When two boxes of one label overlap by more than DOUBLE, the one with the higher score stays.
    """

    layers: Tensor
    before: Tensor

    def __init__(
        self,
        network: Network,
        size: tuple[int, int],
        mean: list[float],
        std: list[float],
        objects: int,
        threshold: float,
    ) -> None:
        super().__init__(network, size, mean, std, objects, threshold)
        self.candidates = 2 * objects
        self.register_buffer("layers", torch.tensor(network.config.layers))
        order = torch.arange(self.candidates)
        self.register_buffer("before", order.unsqueeze(1) < order)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.pick(*self.network(pixel_values=self.prepare(image)))

    def pick(self, heat: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The network's answer → boxes [B,K,4], scores [B,K], labels [B,K]."""
        heat = heat.float().sigmoid()
        peaks = heat * (heat == F.max_pool2d(heat, 3, 1, 1))
        cells = heat.shape[2] * heat.shape[3]
        scores, order = peaks.flatten(1).topk(self.candidates, dim=1)
        labels, place = order // cells, order % cells
        index = self.layers[labels] * cells + place
        flat = widen(boxes).permute(0, 1, 3, 4, 2).flatten(1, 3)
        found = flat.gather(1, four(index)).clamp(0.0, 1.0)
        doubles = doubles_of_better(found, labels, self.before)
        scores, best = (scores * ~doubles).topk(self.objects, dim=1)
        labels, found = labels.gather(1, best), found.gather(1, four(best))
        return self.padded(found, scores, labels)


def four(index: Tensor) -> Tensor:
    """Indices [B,N] of boxes, as ``gather`` wants them: [B,N,4]."""
    return index.unsqueeze(-1).expand(-1, -1, 4)


def doubles_of_better(boxes: Tensor, labels: Tensor, before: Tensor) -> Tensor:
    """BOOL [B,N]: which of the boxes [B,N,4], the best first, are the same object as a better one. ``before`` BOOL
    [N,N]: whether the first index is smaller than the second."""
    same = (labels.unsqueeze(1) == labels.unsqueeze(2)) & (_overlap(boxes) > DOUBLE) & before
    return same.any(1)


def _overlap(boxes: Tensor) -> Tensor:
    """Intersection over union [B,N,N] of boxes xyxy [B,N,4] with one another."""
    one, other = boxes.unsqueeze(2), boxes.unsqueeze(1)
    sides = torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])
    sides = sides.clamp(min=0.0)
    both = sides[..., 0] * sides[..., 1]
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return both / (area.unsqueeze(2) + area.unsqueeze(1) - both).clamp(min=1e-9)

"""One guided step as a single graph: both ControlNets, the UNet, classifier-free guidance and the solver's update."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from export.networks.precision import narrow, widen

_EMBEDDING = "controlnet_cond_embedding"


class Denoiser(nn.Module):
    """The guided step of :mod:`solver` in the ``restyle`` model.

    Takes over the ControlNets that it is given: their hint embeddings are moved out, so that a hint is embedded once
    per sample and not once per half of the guidance pair. ``controlnets``: the two, by the hint that each is shown (see
    ``export.seats``), in the order of control_scale.
    """

    def __init__(self, unet: nn.Module, controlnets: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.unet = unet
        self.hints = tuple(controlnets)
        self.controlnets = nn.ModuleList(controlnets.values())
        self.embeddings = nn.ModuleList()
        for controlnet in self.controlnets:
            self.embeddings.append(controlnet.get_submodule(_EMBEDDING))
            controlnet.set_submodule(_EMBEDDING, nn.Identity())

    def forward(
        self,
        latents: Tensor,
        x0_previous: Tensor,
        noise: Tensor,
        timestep: Tensor,
        coefficients: Tensor,
        text: Tensor,
        depth: Tensor | None = None,
        edges: Tensor | None = None,
        lines: Tensor | None = None,
        segments: Tensor | None = None,
        *,
        control_scale: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """FP32 latents, x0_previous, noise [B,4,h,w]; timestep [B,1]; coefficients [B,7] = p,q,a,b,c,d,g;
        text [B,N,77,D], N = 2 for (unconditional, conditional) or 1; the two hints of the ControlNets: depth, edges,
        lines UINT8 [B,H,W], segments UINT8 [B,H,W,3]; control_scale [B,2].

        Returns the next latents and x0, FP32 [B,4,h,w].
        """
        rows = text.shape[1]
        given = {"depth": depth, "edges": edges, "lines": lines, "segments": segments}

        # expand + flatten instead of cat: torch.export would freeze the batch axis on cat and chunk.
        def per_row(tensor: Tensor) -> Tensor:
            return tensor.unsqueeze(1).expand(-1, rows, *[-1] * (tensor.dim() - 1)).flatten(0, 1)

        sample, steps = narrow(per_row(latents), self.unet), per_row(timestep[:, 0])
        words = narrow(text.flatten(0, 1), self.unet)
        down: list[Tensor] = []
        mid = torch.zeros((), dtype=sample.dtype)
        for index, (controlnet, name) in enumerate(zip(self.controlnets, self.hints, strict=True)):
            hint = given[name]
            assert hint is not None
            residuals, residual_mid = controlnet(
                sample,
                steps,
                encoder_hidden_states=words,
                controlnet_cond=per_row(self.embedded(index, hint)),
                conditioning_scale=narrow(per_row(control_scale[:, index]).view(-1, 1, 1, 1), self.unet),
                return_dict=False,
            )
            down = [a + b for a, b in zip(down, residuals, strict=True)] if down else list(residuals)
            mid = mid + residual_mid
        output = self.unet(
            sample,
            steps,
            encoder_hidden_states=words,
            down_block_additional_residuals=tuple(down),
            mid_block_additional_residual=mid,
            return_dict=False,
        )[0]
        pair = widen(output).unflatten(0, (-1, rows))
        p, q, a, b, c, d, guidance = coefficients.view(-1, 7, 1, 1, 1).unbind(1)
        unconditional, conditional = pair[:, 0], pair[:, -1]
        guided = unconditional + guidance * (conditional - unconditional)
        x0 = p * latents + q * guided
        return a * latents + b * x0 + c * x0_previous + d * noise, x0

    def embedded(self, index: int, hint: Tensor) -> Tensor:
        """The hint of ControlNet ``index``, UINT8 [B,H,W] or [B,H,W,3], as its first layer adds it: [B,C,h,w]."""
        embedded: Tensor = self.embeddings[index](narrow(_signal(hint), self.unet))
        return embedded


def _signal(hint: Tensor) -> Tensor:
    """A hint, UINT8 [B,H,W] or [B,H,W,3] → FP32 [B,3,H,W] in 0..1, as ControlNets take it."""
    pixels = hint.float() / 255.0
    return pixels.unsqueeze(1).expand(-1, 3, -1, -1) if hint.dim() == 3 else pixels.permute(0, 3, 1, 2)

"""Half precision: which parts of a network compute in FP16, and which stay in FP32.

FP16 holds ±65,504 with 11 bits. Matrix products and convolutions get along with that, because the hardware adds their
products up in FP32. These do not, and compute in FP32 (:func:`halve_module`):

- normalisations: they sum squares over whole pictures, and an ε of 1e-12 (DPT's) is 0 in FP16;
- softmax, and the products before it: queries and keys are scaled *before* they are multiplied (:func:`attention`), as
  a VAE's single head of 512 channels overflows otherwise;
- the sinusoids of the timestep (FP16 makes 856.5 of 856.29), classifier-free guidance and the solver's update; the
  scaling of depth to 0..255; boxes and scores.

So a graph's inputs and outputs are FP32 as before. It is strongly typed: a Cast stands wherever the type changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from transformers import PreTrainedModel

from export.bundle import BundleError

_NORMS = (nn.GroupNorm, nn.LayerNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


@torch.no_grad()
def round_weights(name: str, module: nn.Module) -> None:
    """Round the parameters that :func:`halve_module` converts to FP16, and keep them in FP32.

    Raises BundleError, with ``name``, when one is too large for FP16.
    """
    for key, child in module.named_modules():
        if isinstance(child, _NORMS):
            continue
        for own, parameter in child.named_parameters(recurse=False):
            half = parameter.half()
            if not half.isfinite().all():
                raise BundleError(
                    f'{name}: {key}.{own} does not fit in fp16: write fp32_graphs = ["{name}"] into the bundle'
                )
            parameter.copy_(half)


def halve_module(module: nn.Module) -> nn.Module:
    """Convert ``module`` in place: its parameters become FP16, except those of normalisations, which compute in FP32.

    Buffers stay as they are. Returns the module.
    """
    for child in module.modules():
        if isinstance(child, PreTrainedModel) and _knows_sdpa(child):
            child.set_attn_implementation("sdpa")  # which :func:`safe_attention` replaces
        if isinstance(child, _NORMS):
            child.register_forward_pre_hook(_to_float)
            child.register_forward_hook(_to_half)
            continue
        for name, parameter in child._parameters.items():
            if parameter is not None and parameter.is_floating_point():
                child._parameters[name] = nn.Parameter(parameter.detach().half(), requires_grad=False)
    return module


def computes_in_half(module: nn.Module) -> bool:
    """Whether :func:`halve_module` has been applied to ``module``."""
    return any(parameter.dtype == torch.float16 for parameter in module.parameters())


def narrow(tensor: Tensor, network: nn.Module) -> Tensor:
    """FP32 → the type in which ``network`` computes."""
    return tensor.half() if computes_in_half(network) else tensor


def widen(tensor: Tensor) -> Tensor:
    """FP32 of a network's output."""
    return tensor if tensor.dtype == torch.float32 else tensor.float()


def _knows_sdpa(network: PreTrainedModel) -> bool:
    """Whether every part of it can; the others' own attention scales after the product, with an FP32 softmax."""
    parts = [part for part in network.modules() if isinstance(part, PreTrainedModel)]
    return all(part._supports_sdpa for part in parts)


def _to_float(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.float() for tensor in inputs)


def _to_half(_: nn.Module, __: Any, output: Tensor) -> Tensor:
    return output.half()


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``F.scaled_dot_product_attention`` [B,heads,N,d] whose products cannot overflow and whose softmax is FP32.

    Half of the scaling is put on each factor. Raises NotImplementedError for what no network here asks for.
    """
    if dropout_p or enable_gqa:
        raise NotImplementedError("attention in half precision is without dropout and grouped queries")
    root = (query.shape[-1] ** -0.5 if scale is None else scale) ** 0.5
    scores = torch.matmul(query * root, (key * root).transpose(-2, -1)).float()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask.float()
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return torch.matmul(scores.softmax(-1).to(value.dtype), value)


@contextmanager
def safe_attention() -> Iterator[None]:
    """While it lasts, :func:`attention` stands for torch's own, which networks call by its name, and other softmaxes
    compute in FP32 too."""
    own = F.scaled_dot_product_attention, F.softmax
    F.scaled_dot_product_attention, F.softmax = attention, _softmax
    try:
        yield
    finally:
        F.scaled_dot_product_attention, F.softmax = own


def _softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> Tensor:
    return torch.softmax(input.float(), -1 if dim is None else dim).to(dtype or input.dtype)


class HalfArithmetic(TorchDispatchMode):
    """Runs FP16 operations as a GPU does: with FP32 inside, the result rounded to FP16.

    CPUs take a hundred times as long for FP16 itself, and ONNX Runtime's CPU provider leaves the rounding out: both
    would say nothing about overflow.
    """

    def __init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # What changes a tensor in place is small and elementwise: torch's own FP16 does.
        if func is torch.ops.aten._to_copy.default or func.is_view or func._schema.is_mutable:
            return func(*args, **kwargs)
        found: list[bool] = []

        def wide(value: Any) -> Any:
            if isinstance(value, Tensor) and value.dtype == torch.float16:
                found.append(True)
                return value.float()
            return value

        wide_args, wide_kwargs = tree_map(wide, args), tree_map(wide, kwargs)
        if not found:
            return func(*args, **kwargs)
        # Where an FP32 tensor of one dimension or more takes part, torch gives FP32: so here.
        result = func(*wide_args, **wide_kwargs)
        halves = _gives_half(func, args, kwargs)
        return tree_map(lambda value: value.half() if halves and _is_float(value) else value, result)


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float32


def _gives_half(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether torch's own result would be FP16: no FP32 tensor with dimensions takes part, nor a dtype is asked for."""
    if kwargs.get("dtype") is not None:
        return bool(kwargs["dtype"] == torch.float16)
    wide: list[bool] = []
    tree_map(lambda value: wide.append(True) if _is_float(value) and value.dim() else None, (args, kwargs))
    return not wide

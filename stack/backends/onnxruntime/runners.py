"""One ONNX graph in a session of ONNX Runtime's: on the CPU, or on an NVIDIA GPU.

    Runner ─┬─ CpuRunner
            └─ CudaRunner ── _Captured, one for each shape that is replayed as a CUDA graph

:func:`open_runner` chooses. It knows nothing of Triton, so that a benchmark can use it too. As in ``model.py``, nothing
here may turn this folder into a package.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import onnxruntime

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
"""ONNX Runtime's names."""

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = ("auto", "cpu", "cuda")
"""Where a graph is to run. auto: on the GPU where a session really runs there, else on the CPU."""

Array = np.ndarray[Any, Any]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""The name and the shape of each input."""

CUDA_OPTIONS = {
    # The models are processes that share the card. By default a session doubles its memory when it needs more, and
    # keeps from the others what it does not use.
    "arena_extend_strategy": "kSameAsRequested",
    # EXHAUSTIVE, the default, tries every algorithm of every convolution when it meets a new shape, and photos come in
    # a dozen shapes times the sizes of a batch: each would make a job wait for seconds.
    "cudnn_conv_algo_search": "HEURISTIC",
    # A release is proved in the precision that it is written in. TF32 would round the factors of its products to 10
    # bits on cards that have it (a T4 has not); who wants less precision for speed exports in FP16.
    "use_tf32": "0",
}
"""How the CUDA provider is set up unless a model's configuration says otherwise, and why."""

GRAPH_ID, NO_GRAPH = "gpu_graph_id", -1
"""The option of a run that names the CUDA graph to record or replay, and its value for a run without one."""


class CudaUnavailable(Exception):
    """A graph cannot run on the GPU here; the message is a sentence that says why."""


class Runtime(Protocol):
    """What the runners use of the module ``onnxruntime``. A test without a GPU gives another."""

    @property
    def InferenceSession(self) -> Any: ...

    @property
    def OrtValue(self) -> Any: ...

    @property
    def RunOptions(self) -> Any: ...

    def get_available_providers(self) -> list[str]: ...

    def preload_dlls(self) -> None: ...


INSTALLED = cast(Runtime, onnxruntime)


class Runner(Protocol):
    """A graph that is loaded. One thread uses it."""

    @property
    def device(self) -> str:
        """What it really runs on: cpu or cuda."""

    @property
    def inputs(self) -> Sequence[Any]:
        """The graph's inputs as ONNX Runtime describes them: ``name``, ``type`` (such as tensor(float)), ``shape``."""

    @property
    def outputs(self) -> Sequence[Any]:
        """The graph's outputs, likewise."""

    def run(self, names: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """The outputs ``names``, in that order, in memory of the host; they stay as they are whatever runs later.

        Raises ONNX Runtime's exceptions, which share no base class.
        """


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a graph is to be run."""

    device: Device = "auto"
    device_id: int = 0
    """Which GPU, as CUDA counts them."""
    session_options: Any = None
    cuda_options: Mapping[str, str] = field(default_factory=dict)
    """Options of ONNX Runtime's CUDA provider, in place of those in CUDA_OPTIONS or beside them."""
    cuda_graphs: int = 0
    """How many shapes of inputs may be recorded as CUDA graphs; further ones run without."""


def open_runner(
    file: str | os.PathLike[str],
    setup: Setup,
    warn: Callable[[str], None],
    runtime: Runtime = INSTALLED,
) -> Runner:
    """Load the graph. ``warn`` gets a sentence when it runs otherwise than one might think.

    Raises CudaUnavailable when it must run on the GPU and cannot, else ONNX Runtime's exceptions.
    """
    if setup.device == "cpu" or (setup.device == "auto" and CUDA not in runtime.get_available_providers()):
        return CpuRunner(file, setup, runtime)
    try:
        return CudaRunner(file, setup, warn, runtime)
    except CudaUnavailable as error:
        if setup.device == "cuda":
            raise
        warn(f"{error}; it runs on the CPU")
        return CpuRunner(file, setup, runtime)


class _Loaded:
    """A session, and what its graph takes and gives."""

    _session: Any

    @property
    def inputs(self) -> Sequence[Any]:
        return cast(Sequence[Any], self._session.get_inputs())

    @property
    def outputs(self) -> Sequence[Any]:
        return cast(Sequence[Any], self._session.get_outputs())


class CpuRunner(_Loaded):
    """On the CPU, whatever else there is.

    ONNX Runtime keeps the memory of a run for the next one, and what a run of another shape cannot use of it is taken
    once more: Stable Diffusion's denoiser kept about 2.4 GB for each new shape. So it is given back whenever the shapes
    change. That costs nothing that could be measured, while giving it back after every run would.
    """

    device = "cpu"

    def __init__(
        self,
        file: str | os.PathLike[str],
        setup: Setup,
        runtime: Runtime = INSTALLED,
    ) -> None:
        self._session = runtime.InferenceSession(file, setup.session_options, providers=[CPU])
        self._giving_back = runtime.RunOptions()
        self._giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._shapes: list[tuple[int, ...]] = []

    def run(self, names: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        shapes = [array.shape for array in inputs.values()]
        options = None if shapes == self._shapes else self._giving_back
        self._shapes = shapes
        return cast(list[Array], self._session.run(list(names), dict(inputs), options))


class CudaRunner(_Loaded):
    """On an NVIDIA GPU. Each input is copied there once, what is between stays there, each wanted output comes back.

    With CUDA graphs, the kernels of a shape that comes back are recorded and from then on started with one call: a
    denoiser has thousands, and a small one spends more time on starting them than on computing. A recording reads and
    writes fixed addresses, so each shape has buffers of its own. A shape is recorded when it comes for the second time,
    and there are ``Setup.cuda_graphs`` of them at most, since ONNX Runtime never lets go of one.

    A graph that cannot be recorded (it has control flow, or an operator that runs on the CPU) runs without, and
    ``warn`` says so.
    """

    device = "cuda"

    def __init__(
        self,
        file: str | os.PathLike[str],
        setup: Setup,
        warn: Callable[[str], None],
        runtime: Runtime = INSTALLED,
    ) -> None:
        """Raises CudaUnavailable."""
        if CUDA not in runtime.get_available_providers():
            raise CudaUnavailable(
                "this onnxruntime is the one without CUDA: install the other with `make .triton DEVICE=cuda`"
            )
        # CUDA's libraries from the packages beside it, which no search path names.
        runtime.preload_dlls()
        self._file, self._setup, self._warn, self._runtime = Path(file), setup, warn, runtime
        self._most_graphs = setup.cuda_graphs
        self._captured: dict[Shapes, _Captured] = {}
        self._seen: OrderedDict[Shapes, list[tuple[tuple[int, ...], Any]]] = OrderedDict()
        """Shapes that came once, with shapes and types of all outputs; the oldest go."""
        self._session = None
        try:
            self._session = self._open()
        except CudaUnavailable as error:
            if not self._most_graphs:
                raise
            self._without_graphs(str(error.__cause__ or error))

    @property
    def graphs(self) -> int:
        """How many shapes are recorded."""
        return len(self._captured)

    def run(self, names: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        if not self._most_graphs:
            return self._run_once(names, inputs)
        shapes = tuple((name, array.shape) for name, array in inputs.items())
        captured = self._captured.get(shapes)
        if captured is None and not (shapes in self._seen and len(self._captured) < self._most_graphs):
            return self._first_of(shapes, names, inputs)
        try:
            captured = captured or self._buffers(shapes, inputs)
            outputs = captured.run(inputs)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            if captured is not None and captured.ran:
                raise
            reason = str(error)
        else:
            return [outputs[name] for name in names]
        # Half a recording may be left in the session, which then refuses whatever comes. This stands outside of the
        # exception, which would keep that session and all its memory on the card.
        captured = None
        self._without_graphs(reason)
        return self._run_once(names, inputs)

    def _open(self) -> Any:
        """A session that runs on the GPU. Raises CudaUnavailable."""
        options = {
            **CUDA_OPTIONS,
            **self._setup.cuda_options,
            "device_id": str(self._setup.device_id),
            "enable_cuda_graph": str(int(self._most_graphs > 0)),
        }
        try:
            session = self._runtime.InferenceSession(
                self._file,
                self._setup.session_options,
                providers=[(CUDA, options), CPU],
                enable_fallback=0,
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise CudaUnavailable(f"{self._file} cannot run on the GPU: {error}") from error
        require_cuda(session)
        return session

    def _without_graphs(self, reason: str) -> None:
        """A new session that records nothing. Raises CudaUnavailable."""
        self._most_graphs = 0
        self._captured.clear()
        self._seen.clear()
        self._session = None
        self._session = self._open()
        self._warn(f"{self._file} runs without CUDA graphs, since it cannot be recorded: {reason}")

    def _run_once(self, names: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Run with buffers of this run's own; those of the outputs are ONNX Runtime's choice."""
        binding = self._session.io_binding()
        for name, array in inputs.items():
            # Copied to where the graph reads it, whatever its type: UINT8 too.
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        for name in names:
            binding.bind_output(name, "cuda", self._setup.device_id)
        # The copies and the kernels have streams of their own.
        binding.synchronize_inputs()
        self._session.run_with_iobinding(binding, self._run_options(NO_GRAPH))
        return cast(list[Array], binding.copy_outputs_to_cpu())

    def _first_of(self, shapes: Shapes, names: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Run without a recording, and remember what comes out: that is what the buffers of a recording must hold."""
        every = [output.name for output in self.outputs]
        arrays = self._run_once(every, inputs)
        self._seen[shapes] = [(array.shape, array.dtype.type) for array in arrays]
        self._seen.move_to_end(shapes)
        if len(self._seen) > self._most_graphs:
            self._seen.popitem(last=False)
        found = dict(zip(every, arrays, strict=True))
        return [found[name] for name in names]

    def _buffers(self, shapes: Shapes, inputs: Mapping[str, Array]) -> _Captured:
        def buffer(shape: Sequence[int], dtype: Any) -> Any:
            make = self._runtime.OrtValue.ortvalue_from_shape_and_type
            return make(list(shape), dtype, "cuda", self._setup.device_id)

        names = [output.name for output in self.outputs]
        captured = _Captured(
            self._session,
            self._run_options(1 + len(self._captured)),
            {name: buffer(array.shape, array.dtype.type) for name, array in inputs.items()},
            {name: buffer(*kind) for name, kind in zip(names, self._seen.pop(shapes), strict=True)},
        )
        self._captured[shapes] = captured
        return captured

    def _run_options(self, graph: int) -> Any:
        options = self._runtime.RunOptions()
        options.add_run_config_entry(GRAPH_ID, str(graph))
        return options


class _Captured:
    """Inputs of one shape: their buffers and the outputs', at addresses that stay, and the number of the CUDA graph.

    The first run records it (ONNX Runtime runs twice then), the others replay it.
    """

    def __init__(
        self, session: Any, run_options: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> None:
        self._session, self._run_options, self._inputs = session, run_options, inputs
        self._names = list(outputs)
        self._binding = session.io_binding()
        for name, value in inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self.ran = False
        """Whether it was recorded."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name. Raises ONNX Runtime's exceptions."""
        for name, array in inputs.items():
            self._inputs[name].update_inplace(np.ascontiguousarray(array))
        self._binding.synchronize_inputs()
        self._session.run_with_iobinding(self._binding, self._run_options)
        outputs = self._binding.copy_outputs_to_cpu()
        self.ran = True
        return dict(zip(self._names, outputs, strict=True))


def require_cuda(session: Any) -> None:
    """Raises CudaUnavailable unless the session runs on the GPU: ONNX Runtime falls back to the CPU without an error,
    also when only CUDA was asked for."""
    running = session.get_providers()
    if running[:1] != [CUDA]:
        raise CudaUnavailable(
            f"ONNX Runtime was asked for CUDA and uses {', '.join(running)}: there is no NVIDIA GPU, its driver is too "
            "old for this onnxruntime, or CUDA's libraries are missing (`nvidia-smi` shows the first two)"
        )

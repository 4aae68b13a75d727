"""Says whether ONNX Runtime computes on an NVIDIA GPU here: status 0, or 1 with a sentence that says why not.

    .triton/bin/python stack/backends/onnxruntime/check_cuda.py

The stack asks before it starts Triton, so that a GPU which is missing is one sentence and not one for each model.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from runners import INSTALLED, CudaRunner, CudaUnavailable, Runtime, Setup

RELU = (
    b'\x08\n:3\n\x0c\n\x01x\x12\x01y"\x04Relu\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x12"
)
"""An ONNX model y = max(x, 0) of one number: the serving environment has no package that could write it."""


def fault(runtime: Runtime = INSTALLED) -> str:
    """Why a graph cannot run on the GPU; "" when it does."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "relu.onnx")
        file.write_bytes(RELU)
        try:
            runner = CudaRunner(file, Setup(device="cuda"), lambda sentence: None, runtime)
            (y,) = runner.run(["y"], {"x": np.array([-3.0], np.float32)})
        except CudaUnavailable as error:
            return str(error)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            return f"a graph that was loaded into the GPU does not run there: {error}"
        return "" if y.tolist() == [0.0] else f"the GPU computes max(-3, 0) = {y.tolist()}"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    found = fault()
    print(found or "ONNX Runtime computes on the GPU")
    sys.exit(bool(found))

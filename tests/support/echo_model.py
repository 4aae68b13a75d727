"""A ``restyle`` of a few lines that speaks the wire contract without networks.

The result's ``release`` carries what the model was given, as JSON; a cancelled request leaves a file, named after its
prompt, with the step in it. Prompts with a meaning: ``error MESSAGE``, ``nonsense``, ``nothing``. An ``error`` and
``nonsense`` end a moment later than they are known, and leave a file ``ended``: whether they were cancelled meanwhile.
"""

from __future__ import annotations

from pathlib import Path

CONFIG = """
name: "restyle"
backend: "python"
max_batch_size: 0
model_transaction_policy { decoupled: true }
input [
  { name: "image" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] },
  { name: "prompt" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "negative_prompt" data_type: TYPE_STRING dims: [ 1 ] optional: true },
  { name: "palette" data_type: TYPE_STRING dims: [ -1 ] optional: true },
  { name: "palette_strength" data_type: TYPE_FP32 dims: [ 1 ] optional: true },
  { name: "reference" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] optional: true },
  { name: "reference_strength" data_type: TYPE_FP32 dims: [ 1 ] optional: true },
  { name: "seed" data_type: TYPE_INT64 dims: [ 1 ] optional: true },
  { name: "steps" data_type: TYPE_INT32 dims: [ 1 ] optional: true },
  { name: "solver" data_type: TYPE_STRING dims: [ 1 ] optional: true },
  { name: "guidance_scale" data_type: TYPE_FP32 dims: [ 1 ] optional: true },
  { name: "strength" data_type: TYPE_FP32 dims: [ 1 ] optional: true },
  { name: "max_strength" data_type: TYPE_FP32 dims: [ 1 ] optional: true },
  { name: "control_scale" data_type: TYPE_FP32 dims: [ 2 ] optional: true },
  { name: "keep_mask" data_type: TYPE_UINT8 dims: [ -1, -1 ] optional: true },
  { name: "keep" data_type: TYPE_STRING dims: [ -1 ] optional: true },
  { name: "keep_boxes" data_type: TYPE_FP32 dims: [ -1, 4 ] optional: true },
  { name: "change" data_type: TYPE_STRING dims: [ -1 ] optional: true },
  { name: "change_boxes" data_type: TYPE_FP32 dims: [ -1, 4 ] optional: true },
  { name: "preview_every" data_type: TYPE_INT32 dims: [ 1 ] optional: true },
  { name: "attempts" data_type: TYPE_INT32 dims: [ 1 ] optional: true },
  { name: "detail" data_type: TYPE_FP32 dims: [ 1 ] optional: true },
  { name: "size" data_type: TYPE_STRING dims: [ 1 ] optional: true },
  { name: "min_quality" data_type: TYPE_FP32 dims: [ 1 ] optional: true },
  { name: "min_openings" data_type: TYPE_FP32 dims: [ 1 ] optional: true },
  { name: "min_lines" data_type: TYPE_FP32 dims: [ 1 ] optional: true },
  { name: "min_camera" data_type: TYPE_FP32 dims: [ 1 ] optional: true },
  { name: "min_planes" data_type: TYPE_FP32 dims: [ 1 ] optional: true },
  { name: "latents" data_type: TYPE_FP32 dims: [ 4, -1, -1 ] optional: true }
]
output [
  { name: "event" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "image" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] }
]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""

MODEL = """
import asyncio
import json
import pathlib

import numpy as np
import triton_python_backend_utils as pb_utils

MARKS = pathlib.Path(MARKS_FOLDER)
OPTIONAL = ("negative_prompt", "seed", "steps", "solver", "guidance_scale", "strength", "control_scale", "keep_mask",
            "preview_every", "attempts", "detail", "latents", "palette", "max_strength", "palette_strength",
            "reference", "reference_strength", "keep", "keep_boxes", "change", "change_boxes", "size",
            "min_quality", "min_openings", "min_lines", "min_camera", "min_planes")
LISTS = ("palette", "keep", "change")


class TritonPythonModel:
    async def execute(self, requests):
        await asyncio.gather(*(self.answer(request) for request in requests))

    async def answer(self, request):
        sender = request.get_response_sender()
        try:
            await self.run(request, sender)
        except ValueError as error:
            sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error))))
            await self.linger(request)
        finally:
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    async def linger(self, request):
        await asyncio.sleep(0.1)
        (MARKS / "ended").write_text("cancelled" if request.is_cancelled() else "by itself")

    async def run(self, request, sender):
        def send(kind, image=None, **fields):
            event = np.array([json.dumps({"type": kind, **fields}).encode()], dtype=object)
            tensors = [pb_utils.Tensor("event", event)]
            if image is not None:
                tensors.append(pb_utils.Tensor("image", image))
            sender.send(pb_utils.InferenceResponse(output_tensors=tensors))

        given = {}
        for name in OPTIONAL:
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is not None:
                array = tensor.as_numpy()
                words = [text.decode() for text in array] if array.dtype == object else None
                given[name] = array.tolist() if words is None else words if name in LISTS else words[0]
        image = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        prompt = pb_utils.get_input_tensor_by_name(request, "prompt").as_numpy()[0].decode()
        if prompt.startswith("error "):
            raise ValueError(prompt.removeprefix("error "))
        if prompt == "nonsense":
            send("step", step="three")
            return await self.linger(request)
        if prompt == "nothing":
            return
        steps = given.get("steps", [3])[0]
        send("stage", name="analyzing", progress=0.0, invented_later=1)
        send("weather", sunny=True)
        send("analysis", objects=[{"label": "chair", "score": 0.5}], room_type="living_room", progress=0.1)
        for step in range(1, steps + 1):
            await asyncio.sleep(0.02)
            if request.is_cancelled():
                (MARKS / prompt).write_text(str(step))
                raise ValueError("cancelled: the request was cancelled")
            send("step", step=step, of=steps, progress=0.1 + 0.8 * step / steps)
        if "preview_every" in given:
            send("preview", step=steps, jpeg="/9j/", progress=0.9)
        send("result", image=255 - image, seed=given.get("seed", [7])[0], quality={"score": 0.5}, attempts=1,
             prompt_truncated=False, timings={"steps": 0.1}, release=json.dumps(given), invented_later=[1])
"""


def write_model(repository: Path, marks: Path) -> None:
    """Put the model into a model repository; cancelled requests leave their files in ``marks``."""
    version = repository / "restyle" / "1"
    version.mkdir(parents=True)
    (repository / "restyle" / "config.pbtxt").write_text(CONFIG)
    (version / "model.py").write_text(MODEL.replace("MARKS_FOLDER", repr(str(marks))))

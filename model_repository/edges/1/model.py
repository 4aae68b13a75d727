"""`edges`: see canny.py and lines.py, which know no Triton."""

import triton_python_backend_utils as pb_utils
from canny import canny
from lines import straight_lines

OUTPUTS = {"edges": canny, "lines": straight_lines}


class TritonPythonModel:
    """``image`` UINT8 [H,W,3] RGB → ``edges`` and ``lines`` UINT8 [H,W], 0 or 255: those that the request names."""

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        image = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        if image.size == 0:
            error = pb_utils.TritonError(f"edges: image must not be empty, as {list(image.shape)} is")
            return pb_utils.InferenceResponse(error=error)
        wanted = set(request.requested_output_names())
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, of(image)) for name, of in OUTPUTS.items() if name in wanted]
        )

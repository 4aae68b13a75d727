"""`edges`: see canny.py, which knows no Triton."""

import triton_python_backend_utils as pb_utils
from canny import canny


class TritonPythonModel:
    """``image`` UINT8 [H,W,3] RGB → ``edges`` UINT8 [H,W], 0 or 255."""

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        image = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        if image.size == 0:
            error = pb_utils.TritonError(f"edges: image must not be empty, as {list(image.shape)} is")
            return pb_utils.InferenceResponse(error=error)
        return pb_utils.InferenceResponse([pb_utils.Tensor("edges", canny(image))])

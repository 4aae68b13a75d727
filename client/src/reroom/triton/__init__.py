"""Direct access to the models ``restyle`` and ``analyse`` over gRPC, for internal tools; needs the extra ``triton``.

::

    async with TritonClient("localhost:8001") as triton:
        async for event in triton.restyle(RestyleRequest(image=photo, prompt="a bright loft", steps=20)):
            match event:
                case Step(step=step, of=of):
                    print(step, "of", of)
                case Result(image=image, seed=seed):
                    ...
"""

from reroom.models import ResultWarning
from reroom.triton.client import TritonClient
from reroom.triton.errors import RestyleError
from reroom.triton.messages import (
    Alive,
    Analysis,
    ModelStatistics,
    PhotoAnalysis,
    Preview,
    RestyleEvent,
    RestyleRequest,
    Result,
    Stage,
    Step,
)

__all__ = [
    "Alive",
    "Analysis",
    "ModelStatistics",
    "PhotoAnalysis",
    "Preview",
    "RestyleError",
    "RestyleEvent",
    "RestyleRequest",
    "Result",
    "ResultWarning",
    "Stage",
    "Step",
    "TritonClient",
]

"""Restyle one photo on Triton itself, over gRPC: no API, no job, no Redis.

    python examples/direct.py room.jpg "a bright loft, exposed brick" result.png

Triton is at REROOM_TRITON_URL, else at localhost:8001, where `make up` serves it. Needs the client with the extra
`triton`: pip install './client[triton]'
"""

import asyncio
import contextlib
import os
import sys

import numpy as np
from PIL import Image

from reroom.triton import RestyleError, RestyleRequest, Result, Step, TritonClient


async def main(photo: str, prompt: str, out: str) -> None:
    image = np.asarray(Image.open(photo).convert("RGB"))  # UINT8 [H, W, 3]
    request = RestyleRequest(image=image, prompt=prompt, seed=7)
    async with (
        TritonClient(os.environ.get("REROOM_TRITON_URL", "localhost:8001")) as triton,
        # Closing the iterator, or the passing of 60 s, stops the work on the server within a step.
        contextlib.aclosing(triton.restyle(request, deadline=60)) as events,
    ):
        async for event in events:
            match event:
                case Step(step=step, of=of):
                    print(f"step {step} of {of}")
                case Result(image=image):
                    Image.fromarray(image).save(out)
                    print("saved", out)


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:4]))
    except RestyleError as error:
        raise SystemExit(str(error)) from None

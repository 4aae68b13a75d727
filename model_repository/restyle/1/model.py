"""`restyle`: builds the pipeline, passes its events on, translates its errors."""

import asyncio
import base64
from contextlib import aclosing
from dataclasses import asdict

import triton_python_backend_utils as pb_utils

from restyle.events import Alive, Analysis, Event, Preview, Result, Stage, Step
from restyle.models import EDGES, ModelFailed
from restyle.pictures.images import to_bytes
from restyle.pipeline import Restyler
from restyle.prompt import Prompts
from restyle.release import load_release
from restyle.request import InvalidRequest, is_probe, parse_request
from restyle.triton_io import Responses, TritonModels, read_values


class TritonPythonModel:
    """An async decoupled BLS model: many requests at once on one event loop, each a stream of events."""

    def initialize(self, args):
        try:
            self.release = load_release()
            prompts = Prompts(self.release.tokenizer, self.release.frame)
        except ValueError as error:
            raise pb_utils.TritonModelException(str(error)) from error
        self.restyler = Restyler(self.release, prompts, TritonModels(pb_utils, self.release.versions))

    async def execute(self, requests):
        await asyncio.gather(*(self._answer(request) for request in requests))

    async def _answer(self, request):
        responses = Responses(pb_utils, request)
        try:
            values = read_values(pb_utils, request)
            if is_probe(values):
                await _send(responses, Alive(models={EDGES: -1, **self.release.versions}))
                responses.close()
                return
            parsed = parse_request(values, self.release)
            async with aclosing(self.restyler.restyle(parsed)) as events:
                async for event in events:
                    if responses.cancelled:
                        responses.fail("cancelled", "the client cancelled the request")
                        return
                    await _send(responses, event)
            responses.close()
        except InvalidRequest as error:
            responses.fail("invalid_request", str(error))
        except ModelFailed as error:
            responses.fail("model_error", str(error))
        except Exception as error:
            # Whatever it is, the stream must end: without a final response the client waits for ever.
            pb_utils.Logger.log_error(f"restyle: {error!r}")
            responses.fail("internal_error", f"{type(error).__name__} in restyle; the server's log has more")


async def _send(responses: Responses, event: Event | Alive) -> None:
    match event:
        case Result():
            fields = {key: value for key, value in vars(event).items() if key != "pixels"}
            fields["warnings"] = [asdict(warning) for warning in event.warnings]
            image = await asyncio.to_thread(to_bytes, event.pixels)
            responses.send({"type": "result", **fields}, image=image, image_exact=event.pixels)
        case Preview():
            jpeg = base64.b64encode(event.jpeg).decode()
            responses.send({"type": "preview", **asdict(event), "jpeg": jpeg})
        case Analysis():
            fields = {key: value for key, value in vars(event).items() if key not in ("depth", "edges")}
            responses.send({"type": "analysis", **fields}, depth=event.depth, edges=event.edges)
        case Stage() | Step() | Alive():
            responses.send({"type": type(event).__name__.lower(), **asdict(event)})

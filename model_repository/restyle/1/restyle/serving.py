"""A Triton request → a stream of events; used by the model.py of `restyle` and of `analyse`."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from restyle.demands import StructureLost
from restyle.devices import read_devices
from restyle.events import Alive, Analysis, Event, Preview, Result, Stage, Step
from restyle.models import ModelFailed
from restyle.pictures.images import to_bytes
from restyle.request import InvalidRequest, Values, is_probe
from restyle.triton_io import Responses, read_values


async def answer(
    pb_utils: Any,
    request: Any,
    model: str,
    calls: dict[str, int],
    run: Callable[[Values], AsyncGenerator[Event, None]],
    work: dict[str, Any] | None = None,
) -> None:
    """Send what ``run`` yields for the request's values, and end the stream, with an error where it raises one.

    ``model`` is the name for messages. ``calls``, the models that it calls with their versions, answers a probe, and
    so does ``work``, what its pictures cost.
    """
    responses = Responses(pb_utils, request)
    try:
        values = read_values(pb_utils, request)
        if is_probe(values):
            await _send(responses, Alive(models=calls, devices=read_devices(calls), work=work))
            responses.close()
            return
        async with aclosing(run(values)) as events:
            async for event in events:
                if responses.cancelled:
                    responses.fail("cancelled", "the client cancelled the request")
                    return
                await _send(responses, event)
        responses.close()
    except InvalidRequest as error:
        responses.fail("invalid_request", str(error))
    except StructureLost as error:
        responses.fail("structure_lost", str(error))
    except ModelFailed as error:
        responses.fail("model_error", str(error))
    except Exception as error:
        # Any other error too must end the stream: without a final response the client waits for ever.
        pb_utils.Logger.log_error(f"{model}: {error!r}")
        responses.fail("internal_error", f"{type(error).__name__} in {model}; the server's log has more")


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

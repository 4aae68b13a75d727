"""A Triton request → a stream of events; used by the model.py of `restyle` and of `analyse`."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any

from restyle.demands import StructureLost
from restyle.devices import read_devices
from restyle.events import Alive, Analysis, Event, Preview, Result, Stage, Step
from restyle.models import EDGES, ModelFailed
from restyle.pictures.images import to_bytes
from restyle.release import Release
from restyle.releases import Held, NotHere, Releases
from restyle.request import InvalidRequest, Values, is_probe, named_release
from restyle.triton_io import Responses, read_values


@dataclass(frozen=True)
class Served:
    """What a model does by one release."""

    run: Callable[[Values], AsyncGenerator[Event, None]]
    """The events of a request."""
    calls: dict[str, int]
    """The models that it calls, with their versions."""
    work: dict[str, Any] | None = None
    """What its pictures cost."""


def calls_of(release: Release, *graphs: str) -> dict[str, int]:
    """What a model calls that calls these graphs of a release, for ``Served``: `edges` too, which is code."""
    return dict(map(release.model, (EDGES, *graphs)))


async def answer(pb_utils: Any, request: Any, model: str, releases: Releases[Served]) -> None:
    """Send the events of a request, and end the stream, with an error where there is one. ``model`` is the name for
    messages."""
    responses = Responses(pb_utils, request)
    try:
        values = read_values(pb_utils, request)
        if is_probe(values):
            running = {str(version): count for version, count in releases.running.items()}
            async with releases.using(named_release(values)) as held:
                await _send(responses, _alive(held, releases.versions, running))
            responses.close()
            return
        async with (
            releases.using(named_release(values)) as held,
            aclosing(held.served.run(values)) as events,
        ):
            # The first event says which release it is, so that whoever asks again can name it.
            more = {"release": held.release.name}
            async for event in events:
                if responses.cancelled:
                    responses.fail("cancelled", "the client cancelled the request")
                    return
                await _send(responses, event, more)
                more = {}
        responses.close()
    except InvalidRequest as error:
        responses.fail("invalid_request", str(error))
    except NotHere as error:
        responses.fail("release_not_here", str(error))
    except StructureLost as error:
        responses.fail("structure_lost", str(error))
    except ModelFailed as error:
        responses.fail("model_error", str(error))
    except Exception as error:
        # Any other error too must end the stream: without a final response the client waits for ever.
        pb_utils.Logger.log_error(f"{model}: {error!r}")
        responses.fail("internal_error", f"{type(error).__name__} in {model}; the server's log has more")


def _alive(held: Held[Served], versions: list[int], running: dict[str, int]) -> Alive:
    served = held.served
    return Alive(
        models=served.calls,
        devices=read_devices(served.calls),
        work=served.work,
        release=held.release.version,
        releases=versions,
        running=running,
    )


async def _send(responses: Responses, event: Event | Alive, more: dict[str, Any] | None = None) -> None:
    """Send the event, with ``more`` members."""
    more = more or {}
    match event:
        case Result():
            fields = {key: value for key, value in vars(event).items() if key != "pixels"}
            fields["warnings"] = [asdict(warning) for warning in event.warnings]
            image = await asyncio.to_thread(to_bytes, event.pixels)
            responses.send({"type": "result", **more, **fields}, image=image, image_exact=event.pixels)
        case Preview():
            jpeg = base64.b64encode(event.jpeg).decode()
            responses.send({"type": "preview", **more, **asdict(event), "jpeg": jpeg})
        case Analysis():
            fields = {key: value for key, value in vars(event).items() if key not in ("depth", "edges")}
            responses.send({"type": "analysis", **more, **fields}, depth=event.depth, edges=event.edges)
        case Stage() | Step() | Alive():
            responses.send({"type": type(event).__name__.lower(), **more, **asdict(event)})

"""OpenTelemetry traces. Off until :func:`start` is called; until then every call here costs next to nothing.

OpenTelemetry is an extra (``otel``), so this module imports it only in :func:`start` and :func:`use`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.telemetry import CannotObserve

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

Kind = Literal["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]
Value = str | int | float | bool

_FLUSH_MS = 5000
"""The most milliseconds that a process which ends waits for its last spans to be taken."""
_PARENT = "traceparent"
_tracer: Tracer | None = None
_provider: TracerProvider | None = None


class Part:
    """A span, or nothing while traces are off."""

    def __init__(self, span: Span | None) -> None:
        self._span = span

    def note(self, **attributes: Value) -> None:
        """Add attributes; ``__`` in a name stands for a dot: ``http__route``."""
        if self._span is not None:
            self._span.set_attributes(_dotted(attributes))

    def rename(self, name: str) -> None:
        if self._span is not None:
            self._span.update_name(name)

    def failed(self, why: str) -> None:
        """``why`` is a code or the name of a class: messages may contain what must not leave the service."""
        if self._span is not None:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, why))

    def end(self) -> None:
        if self._span is not None:
            self._span.end()


NOTHING = Part(None)


def start(service: str, version: str, share: float) -> None:
    """Send the traces of this process to OTEL_EXPORTER_OTLP_ENDPOINT over HTTP. ``share``, 0 … 1, is how many of the
    traces that begin here are recorded; those that began elsewhere are if they were there. The SDK reads its other
    variables, such as OTEL_EXPORTER_OTLP_HEADERS, itself. Raises CannotObserve without the extra ``otel``."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise CannotObserve(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, and {error.name} is not installed: run `make setup`, or pip install "
            "'.[otel]', or unset it"
        ) from error
    resource = Resource.create({"service.name": f"reroom-{service}", "service.version": version})
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(share)), resource=resource, shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=_FLUSH_MS // 1000)))
    use(provider)


def use(provider: TracerProvider | None) -> None:
    """Record spans with this provider; None turns traces off."""
    global _provider, _tracer
    _provider, _tracer = provider, None if provider is None else provider.get_tracer("reroom")


def stop() -> None:
    """Send what was recorded and turn traces off."""
    if _provider is not None:
        _provider.force_flush(_FLUSH_MS)
        _provider.shutdown()
    use(None)


@contextmanager
def span(
    name: str, kind: Kind = "INTERNAL", parent: str | None = None, **attributes: Value
) -> Iterator[Part]:
    """A span round the block, the parent of those that begin in it. Its own parent is ``parent``, a W3C traceparent of
    ours, or the span that it begins in."""
    if _tracer is None:
        yield NOTHING
        return
    from opentelemetry import trace

    opened = _open(name, kind, _extracted(parent), attributes)
    part = Part(opened)
    with trace.use_span(opened, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield part
        except (asyncio.CancelledError, GeneratorExit):
            part.note(cancelled=True)
            raise
        except BaseException as error:
            part.failed(type(error).__name__)
            raise


def begin(
    name: str,
    kind: Kind = "INTERNAL",
    *,
    since: float | None = None,
    under: Part | None = None,
    **attributes: Value,
) -> Part:
    """A span that lasts until its ``end``, for generators, whose blocks do not nest. ``since`` is when it began, in
    UNIX seconds; ``under`` is its parent, otherwise the span that is open here."""
    if _tracer is None:
        return NOTHING
    from opentelemetry import trace

    above = under._span if under is not None else None
    parent = None if above is None else trace.set_span_in_context(above)
    return Part(_open(name, kind, parent, attributes, since))


def _open(
    name: str, kind: Kind, parent: Context | None, attributes: dict[str, Value], since: float | None = None
) -> Span:
    from opentelemetry.trace import SpanKind

    assert _tracer is not None
    began = int((time.time() if since is None else since) * 1e9)
    return _tracer.start_span(name, parent, SpanKind[kind], attributes=_dotted(attributes), start_time=began)


def traceparent() -> str | None:
    """The open span as a W3C traceparent, for another process; None without one."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(_PARENT)


def trace_id() -> str:
    """The id of the open trace in hexadecimal digits; empty without one."""
    if _tracer is None:
        return ""
    from opentelemetry import trace

    found = trace.get_current_span().get_span_context()
    return trace.format_trace_id(found.trace_id) if found.is_valid else ""


def _extracted(parent: str | None) -> Context | None:
    if parent is None:
        return None
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({_PARENT: parent}, Context())


def _dotted(attributes: dict[str, Value]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in attributes.items()}

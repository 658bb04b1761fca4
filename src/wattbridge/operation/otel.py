"""Gives traces to OpenTelemetry: of each exchange that is sampled one span for the call, and one for the leg
to the other party, sent by OTLP over HTTP.

The spans are made of the journal's records when the exchange is over; which trace they belong to was decided
when it began (``relay/tracing.py``). Nothing here is imported where the configuration has no ``tracing``: the
packages are those of the extra ``otel``. What the variables ``OTEL_*`` of the environment say is heeded.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from wattbridge.ocpp.messages import CallError, Change, Loss, Side
from wattbridge.operation.exchanges import DIRECTIONS, NO_PROTOCOL, PROTOCOLS
from wattbridge.relay.journal import Event, Journal, Record
from wattbridge.relay.tracing import Trace

MOST_WAITING = 4096  # spans that wait for the collector; further ones are dropped, and counted
BATCH = 512  # spans of one delivery
EVERY = 2.0  # seconds between two deliveries
CLOSE_WITHIN = 3.0  # seconds for what is left at the end
PATH = "/v1/traces"  # OTLP/HTTP, of an address without a path

Attributes = dict[str, str | int | float]


class Spans:
    """Writes the journal's records as spans.

    *otlp* is the address of a collector (``http://127.0.0.1:4318``), *name* that of this gateway. ``actions``
    are those that become names of spans; every other one is ``other``. With *charger* a span names its charge
    point. Spans that never reach the collector are told to the journal.
    """

    def __init__(
        self,
        otlp: str,
        journal: Journal,
        *,
        name: str = "",
        version: str = "",
        actions: frozenset[str] = frozenset(),
        charger: bool = False,
        every: float = EVERY,
    ) -> None:
        self._otlp = otlp
        self._journal = journal
        self._actions = actions
        self._charger = charger
        self._ids = _Ids()
        self._said = _Said()
        self._exporter = _Counting(OTLPSpanExporter(endpoint=endpoint_of(otlp)))
        self._handed_over = self._told = 0  # spans, and those of them that failed
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # which ones are recorded was decided when they began
            resource=_resource(name, version),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=MOST_WAITING + BATCH,  # never full: what is too much is not handed over
                schedule_delay_millis=every * 1000,
                max_export_batch_size=BATCH,
            )
        )
        self._tracer = self._provider.get_tracer("wattbridge", version)

    def write(self, record: Record) -> None:
        """Hand over the spans of one exchange, if it is sampled. Never waits for the collector."""
        trace = record.trace
        if trace is None or not trace.sampled:
            return
        failed = self._exporter.failed
        if failed > self._told:
            self._tell(failed - self._told, self._said.last)
            self._told = failed
        if self._handed_over - self._exporter.done >= MOST_WAITING:
            self._tell(1, f"{MOST_WAITING} spans wait already")
            return
        action = record.action if record.action in self._actions else "other"
        began = round(record.began * 1e9)
        self._span(
            action,
            api.SpanKind.SERVER,
            trace,
            (trace.parent_id, trace.span_id),
            (began, began + round(record.seconds * 1e9)),
            self._of_call(record, action),
            record.reason,
        )
        if record.asked is None:
            return
        self._span(
            action,
            api.SpanKind.CLIENT,
            trace,
            (trace.span_id, trace.leg_id),
            (began + round(trace.asked * 1e9), began + round(trace.answered * 1e9)),
            self._of_leg(record, action),
            record.reason,
        )

    def _of_call(self, record: Record, action: str) -> Attributes:
        attributes: Attributes = {
            "ocpp.action": action,
            "ocpp.direction": DIRECTIONS[record.arrived_from],
            "ocpp.protocol": PROTOCOLS.get((record.arrived.transport, record.version), NO_PROTOCOL),
            "wattbridge.outcome": outcome_of(record),
        }
        for key, value in (
            ("wattbridge.listener", record.listener),
            ("wattbridge.route", record.route),
            ("wattbridge.upstream", record.upstream),
            ("wattbridge.profile", record.profile),
            ("wattbridge.losses", sum(isinstance(note, Loss) for note in record.notes)),
            ("wattbridge.changes", sum(isinstance(note, Change) for note in record.notes)),
            ("ocpp.charge_point", record.identity if self._charger else ""),
        ):
            if value:
                attributes[key] = value
        return attributes

    def _of_leg(self, record: Record, action: str) -> Attributes:
        attributes: Attributes = {
            "ocpp.action": action,
            "ocpp.direction": DIRECTIONS[record.arrived_from],
            "ocpp.protocol": PROTOCOLS.get((record.other_transport, record.other_version), NO_PROTOCOL),
            "wattbridge.waited_seconds": record.peer_seconds,
        }
        if record.arrived_from is Side.CHARGE_POINT and record.upstream:
            attributes["wattbridge.upstream"] = record.upstream
        return attributes

    def _span(
        self,
        name: str,
        kind: api.SpanKind,
        trace: Trace,
        ids: tuple[str, str],
        times: tuple[int, int],
        attributes: Attributes,
        reason: str,
    ) -> None:
        parent_id, span_id = ids
        self._ids.trace_id, self._ids.span_id = int(trace.trace_id, 16), int(span_id, 16)
        around = None
        if parent_id:
            parent = api.SpanContext(
                self._ids.trace_id,
                int(parent_id, 16),
                is_remote=kind is api.SpanKind.SERVER,
                trace_flags=api.TraceFlags(api.TraceFlags.SAMPLED),
            )
            around = api.set_span_in_context(api.NonRecordingSpan(parent))
        if reason:
            attributes["error.type"] = reason
        span = self._tracer.start_span(name, around, kind, attributes, start_time=times[0])
        if reason:  # and nothing of what was said: that may name an id tag
            span.set_status(api.Status(api.StatusCode.ERROR, reason))
        span.end(times[1])
        self._handed_over += 1

    def _tell(self, spans: int, text: str) -> None:
        labels = {"sink": "otlp", "count": str(spans)}
        text = f"{spans} spans did not reach {self._otlp}" + (f": {text}" if text else "")
        self._journal.event(Event("records dropped", text=text, labels=labels))

    async def close(self) -> None:
        """Deliver what is left, within seconds, and end."""
        ending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, CLOSE_WITHIN)
        self._exporter.shutdown()
        self._said.remove()


def endpoint_of(otlp: str) -> str:
    """Where spans are posted: *otlp* as it is when it has a path."""
    return otlp if urlsplit(otlp).path.strip("/") else otlp.rstrip("/") + PATH


def outcome_of(record: Record) -> str:
    """``ok``, ``kept``, ``offline``, ``local``, ``repeat`` or ``failed``."""
    return "failed" if isinstance(record.reply, CallError) else record.how or "ok"


def _resource(name: str, version: str) -> Resource:
    """What all spans have in common; what the environment says counts more."""
    ours: dict[str, str] = {"service.version": version}
    if name:
        ours["service.instance.id"] = name
    said = Resource.create({})
    if str(said.attributes[SERVICE_NAME]).startswith("unknown_service"):
        return Resource(ours).merge(said).merge(Resource({SERVICE_NAME: "wattbridge"}))
    return Resource(ours).merge(said)


class _Ids(IdGenerator):
    """The ids of the next span."""

    trace_id = span_id = 1

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id

    def is_trace_id_random(self) -> bool:
        return False


class _Counting(SpanExporter):
    """Counts what *exporter* was given: ``done`` spans, ``failed`` of them in vain. Works in a thread."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._ended = False
        self.done = 0
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            if result is not SpanExportResult.SUCCESS:
                self.failed += len(spans)
            self.done += len(spans)
        return result

    def shutdown(self) -> None:
        if not self._ended:
            self._ended = True
            self._exporter.shutdown()


class _Said(logging.Handler):
    """Remembers what the exporter said last, instead of a line of the log for every attempt."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._logger = logging.getLogger("opentelemetry.exporter")
        self._logger.addHandler(self)
        self._logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()

    def remove(self) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = True

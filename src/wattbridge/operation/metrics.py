"""What Prometheus scrapes: families fed by the journal, and gauges read from the gateway when asked.

Label values are closed sets: an action that OCPP does not know is ``other``, an identity is never a label.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from wattbridge.ocpp.messages import Loss, Passage, Side
from wattbridge.ocpp.reasons import REASONS
from wattbridge.relay.journal import Event, Journal, Record

DIRECTIONS = {Side.CHARGE_POINT: "to_csms", Side.CENTRAL_SYSTEM: "to_charger"}
PROTOCOLS = {"soap": "ocpp1.6-soap", "json": "ocpp1.6-json"}
# What the calling party waited: from a local answer to the longest call timeout.
CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# What the gateway itself took.
OWN_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05)
PAGE_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class State:
    """The gauges of one moment. ``sessions`` counts links to each upstream by state, ``connections`` the open
    TCP connections of each listener."""

    ready: bool
    draining: bool
    charge_points: int
    sessions: dict[tuple[str, str], int]
    connections: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Children:
    """The series of one direction and action, looked up once."""

    calls: Counter
    seconds: Histogram
    peer_seconds: Histogram
    own_seconds: Histogram


class Metrics:
    """The registry of the gateway's metrics.

    ``actions`` are the actions each party may be asked for; ``state`` gives the gauges when a scrape asks.
    """

    def __init__(
        self, version: str, actions: Iterable[tuple[Side, str]], state: Callable[[], State] | None = None
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._asked_actions = frozenset(actions)
        self._children: dict[tuple[Side, str], _Children] = {}
        build = Info("wattbridge_build", "What runs here", registry=self.registry)
        build.info({"version": version, "python_version": platform.python_version()})
        self._calls = self._counter(
            "calls", "Calls that a party made", ["direction", "action", "charger_protocol", "csms_protocol"]
        )
        self._failures = self._counter(
            "call_failures", "Calls that did not end with a result", ["direction", "action", "reason"]
        )
        self._seconds = self._histogram(
            "call_duration_seconds", "What the calling party waited", ["direction", "action"], CALL_SECONDS
        )
        self._peer_seconds = self._histogram(
            "peer_response_duration_seconds", "What the asked party took", ["peer"], CALL_SECONDS
        )
        self._own_seconds = self._histogram(
            "translation_duration_seconds",
            "What the gateway itself took after the peer had answered and before it was asked",
            ["source", "target"],
            OWN_SECONDS,
        )
        self._losses = self._counter(
            "translation_losses", "Parts that could not be carried", ["action", "rule"]
        )
        self._received = self._counter("received_bytes", "Bytes of messages read", ["side", "protocol"])
        self._sent = self._counter("sent_bytes", "Bytes of messages written", ["side", "protocol"])
        self._malformed = self._counter(
            "malformed_messages", "Messages that are not XML, SOAP or frames", ["side"]
        )
        self._violations = self._counter(
            "schema_violations", "Messages that break the schema", ["side", "action"]
        )
        self._refused = self._counter("connections_refused", "Connections refused", ["listener", "reason"])
        self._connects = self._counter("csms_connects", "WebSockets opened to a central system", ["upstream"])
        self._connect_failures = self._counter(
            "csms_connect_failures", "WebSockets that could not be opened", ["upstream", "reason"]
        )
        self._disconnects = self._counter(
            "csms_disconnects", "WebSockets that closed, by class of the close code", ["upstream", "code"]
        )
        for side, action in self._asked_actions:
            direction = DIRECTIONS[side.other]
            self._children_of(side.other, action)
            for reason in REASONS:
                self._failures.labels(direction, action, reason)
        if state is not None:
            self.registry.register(_StateCollector(state))
        # The stock collectors register themselves where they are told to.
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"wattbridge_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, labels: list[str], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"wattbridge_{name}", text, labels, registry=self.registry, buckets=buckets)

    def listen_to(self, journal: Journal) -> None:
        journal.listen(record=self.count, event=self.count_event)

    def page(self) -> bytes:
        """The page of ``/metrics`` in Prometheus' text format 0.0.4."""
        return generate_latest(self.registry)

    def count(self, record: Record) -> None:
        known = (record.arrived_from.other, record.action) in self._asked_actions
        action = record.action if known else "other"
        children = self._children_of(record.arrived_from, action)
        children.calls.inc()
        children.seconds.observe(record.seconds)
        if record.asked is not None:
            children.peer_seconds.observe(record.peer_seconds)
            children.own_seconds.observe(max(0.0, record.seconds - record.peer_seconds))
        reason = record.reason
        if reason:
            self._failures.labels(DIRECTIONS[record.arrived_from], action, reason).inc()
            if reason == "schema":
                side = record.arrived_from if record.asked is None else record.arrived_from.other
                self._violations.labels(side.value, action).inc()
            if reason == "malformed":
                self._malformed.labels(record.arrived_from.value).inc()
        for note in record.notes:
            if isinstance(note, Loss):
                self._losses.labels(action, note.rule).inc()
        self._count_bytes(record.arrived_from, record.arrived, record.replied)
        if record.asked is not None:
            self._count_bytes(record.arrived_from.other, record.answered, record.asked)

    def _count_bytes(self, side: Side, read: Passage | None, written: Passage) -> None:
        if read is not None:
            self._received.labels(side.value, read.transport).inc(len(read.text))
        self._sent.labels(side.value, written.transport).inc(len(written.text))

    def _children_of(self, arrived_from: Side, action: str) -> _Children:
        children = self._children.get((arrived_from, action))
        if children is None:
            direction, peer = DIRECTIONS[arrived_from], arrived_from.other
            soap_to_json = arrived_from is Side.CHARGE_POINT
            children = self._children[arrived_from, action] = _Children(
                calls=self._calls.labels(direction, action, PROTOCOLS["soap"], PROTOCOLS["json"]),
                seconds=self._seconds.labels(direction, action),
                peer_seconds=self._peer_seconds.labels("csms" if peer is Side.CENTRAL_SYSTEM else "charger"),
                own_seconds=self._own_seconds.labels(
                    *(("soap", "json") if soap_to_json else ("json", "soap"))
                ),
            )
        return children

    def count_event(self, event: Event) -> None:
        upstream = event.labels.get("upstream", "_other")
        match event.kind:
            case "connection refused":
                self._refused.labels(event.labels.get("listener", "_other"), event.reason).inc()
            case "central system connected":
                self._connects.labels(upstream).inc()
            case "central system unreachable":
                self._connect_failures.labels(upstream, event.reason).inc()
            case "central system lost":
                self._disconnects.labels(upstream, event.labels.get("code", "none")).inc()
            case "malformed message":
                self._malformed.labels(event.labels.get("side", "_other")).inc()
            case _:
                pass


class _StateCollector(Collector):
    """Reads the gauges when a scrape asks, so that nobody has to keep them true in between."""

    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state

    def describe(self) -> list[Metric]:
        return []  # asked at registration, before there is a state

    def collect(self) -> Iterable[Metric]:
        now = self._state()
        yield GaugeMetricFamily(
            "wattbridge_ready", "1 while the gateway accepts messages", value=int(now.ready)
        )
        yield GaugeMetricFamily(
            "wattbridge_draining", "1 while the gateway is stopping", value=int(now.draining)
        )
        charge_points = GaugeMetricFamily(
            "wattbridge_chargers", "Charge points with a session", labels=["protocol", "state"]
        )
        charge_points.add_metric([PROTOCOLS["soap"], "connected"], now.charge_points)
        yield charge_points
        sessions = GaugeMetricFamily(
            "wattbridge_csms_sessions", "Links to a central system", labels=["upstream", "state"]
        )
        for labels, count in sorted(now.sessions.items()):
            sessions.add_metric(list(labels), count)
        yield sessions
        connections = GaugeMetricFamily(
            "wattbridge_connections", "Open TCP connections of charge points", labels=["listener"]
        )
        for listener, count in sorted(now.connections.items()):
            connections.add_metric([listener], count)
        yield connections

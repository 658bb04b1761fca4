"""What Prometheus scrapes: families fed by the journal, and gauges read from the gateway when asked.

Label values are closed sets: an action that OCPP does not know is ``other``, a name that is not in the
configuration ``_other``, an identity is never a label. The families are the table in ``families.py``.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from wattbridge.ocpp.local_answers import TABLE
from wattbridge.ocpp.messages import Breach, CallError, Loss, Passage, Side
from wattbridge.ocpp.older import NEWEST
from wattbridge.ocpp.reasons import PROFILE_RULES, REASONS
from wattbridge.operation.families import FAMILIES
from wattbridge.relay.journal import Event, Journal, Record
from wattbridge.relay.offline import ANSWERED_ACTIONS, KEPT_ACTIONS
from wattbridge.relay.session import TRANSACTION_ACTIONS

PAGE_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# The values of labels, besides names of the configuration.
DIRECTIONS = {Side.CHARGE_POINT: "to_csms", Side.CENTRAL_SYSTEM: "to_charger"}  # by the party that asks
PEERS = {Side.CHARGE_POINT: "charger", Side.CENTRAL_SYSTEM: "csms"}
PROTOCOLS = {  # transport, version → name
    ("soap", "1.6"): "ocpp1.6-soap",
    ("soap", "1.5"): "ocpp1.5-soap",
    ("soap", "1.2"): "ocpp1.2-soap",
    ("json", "1.6"): "ocpp1.6-json",
}
TRANSPORTS = ("soap", "json")
NO_PROTOCOL = "none"  # of a party that is not known, or not there
CONNECT_REASONS = ("refused", "timeout", "unreachable")
CONNECTION_REASONS = ("auth", "rate_limited", "duplicate", "unsupported", "busy", "draining")
REQUEST_REASONS = ("timeout", "too_large", "malformed", "unsupported")
# Reasons for which a charge point was not asked, or whatever was asked is no charge point.
CALLBACK_FAILURES = (
    "not_connected", "refused", "unreachable", "timeout", "busy", "draining", "malformed", "too_large",
)  # fmt: skip
MIRROR_REASONS = ("queue_full", "untranslatable", "timeout", "unreachable")
DROP_REASONS = ("expired", "operator")  # of what waited for a central system
PARK_REASONS = ("call_error", "fault", "schema", "unsupported", "untranslatable")
USUAL_LOSSES = ("unknown-field", "bad-optional", "bad-item")  # of all actions
LATE_ACTIONS = KEPT_ACTIONS | {"BootNotification", "StartTransaction"}
UNKNOWN_FOR = 3600.0  # seconds that a refused identity is counted
MOST_UNKNOWN = 10_000  # identities; who sends more is counted as so many


@dataclass(frozen=True, slots=True)
class State:
    """The gauges of one moment.

    ``charge_points`` counts those with a session by transport and version, ``offline`` those configured that
    have none.
    ``sessions`` counts links by upstream and state, ``connections`` the open TCP connections of each
    listener, ``in_flight`` calls by the party that asked. ``waiting`` messages of ``waiting_bytes`` wait for
    central systems, the oldest since ``waiting_seconds``. ``notes_dropped`` is since the start.
    """

    ready: bool
    draining: bool
    charge_points: Mapping[tuple[str, str], int] = field(default_factory=dict)
    offline: int = 0
    sessions: dict[tuple[str, str], int] = field(default_factory=dict)
    connections: dict[str, int] = field(default_factory=dict)
    in_flight: dict[Side, int] = field(default_factory=dict)
    waiting_for_mirrors: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    waiting_seconds: float = 0.0
    parked: int = 0
    open_transactions: int = 0
    store_works: bool = True
    notes_dropped: int = 0


@dataclass(frozen=True, slots=True)
class _Action:
    """The series of one direction and action; calls by transport and version of who asked and who was
    asked."""

    calls: dict[tuple[str, str, str, str], Counter]
    seconds: Histogram


@dataclass(frozen=True, slots=True)
class _Direction:
    """The series that a call of one party feeds, looked up once.

    Those of bytes are found by transport, the gateway's own time by those of who asked and who was asked.
    """

    actions: dict[str, _Action]
    peer_seconds: Histogram
    own_seconds: dict[tuple[str, str], Histogram]
    received: dict[str, Counter]  # from the asking party
    sent: dict[str, Counter]
    peer_received: dict[str, Counter]  # from the asked party
    peer_sent: dict[str, Counter]


# What one version cannot say need not reach it (``older.untold``), besides the table.
LOCALLY_ANSWERED = {row.action for row in TABLE} | {
    "DiagnosticsStatusNotification", "FirmwareStatusNotification", "MeterValues",
}  # fmt: skip


class Metrics:
    """The registry of the gateway's metrics.

    ``actions`` are the actions each party may be asked for; ``state`` gives the gauges when a scrape asks.
    ``upstreams`` and ``listeners`` are the names in the configuration, ``pairs`` the transports of charge
    point and central system that may meet.
    """

    def __init__(
        self,
        version: str,
        actions: Iterable[tuple[Side, str]],
        state: Callable[[], State] | None = None,
        *,
        upstreams: Iterable[str] = (),
        listeners: Iterable[str] = (),
        pairs: Iterable[tuple[str, str]] = (
            ("soap", "json"),
            ("json", "json"),
            ("soap", "soap"),
            ("json", "soap"),
        ),
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._clock = clock
        self._upstreams = frozenset(upstreams)
        self._listeners = frozenset(listeners)
        self._pairs = tuple(pairs)
        self._unknown: dict[int, float] = {}  # hash of an identity → when it was last refused, latest last
        self._calls = self._counter("calls")
        self._failures = self._counter("call_failures")
        self._seconds = self._histogram("call_duration_seconds")
        self._peer_seconds = self._histogram("peer_response_duration_seconds")
        self._own_seconds = self._histogram("translation_duration_seconds")
        self._lag = self._histogram("event_loop_lag_seconds")
        self._callbacks = self._counter("callbacks")
        self._callback_failures = self._counter("callback_failures")
        self._losses = self._counter("translation_losses")
        self._quirks = self._counter("quirks_applied")
        self._violations = self._counter("schema_violations")
        self._malformed = self._counter("malformed_messages")
        self._received = self._counter("received_bytes")
        self._sent = self._counter("sent_bytes")
        self._opened = self._counter("connections_opened")
        self._connections_refused = self._counter("connections_refused")
        self._requests_refused = self._counter("requests_refused")
        self._connects = self._counter("csms_connects")
        self._connect_failures = self._counter("csms_connect_failures")
        self._disconnects = self._counter("csms_disconnects")
        self._directions = {side: self._direction(side) for side in Side}
        self._reloads = self._counter("config_reloads")
        self._reload_failures = self._counter("config_reload_failures")
        self._failovers = self._counter("failovers")
        self._dropped = self._counter("queue_dropped")
        self._mirror_refusals = self._counter("mirror_refusals")
        self._late = self._counter("messages_delivered_late")
        self._parked = self._counter("messages_parked")
        self._offline_answers = self._counter("offline_answers")
        self._duplicates = self._counter("duplicates_suppressed")
        self._local_answers = self._counter("local_answers")
        self._conflicts = self._counter("transaction_id_conflicts")
        self._store_errors = self._counter("store_errors")
        self._store_rows = self._counter("store_rows")
        self._store_seconds = self._histogram("store_operation_duration_seconds")
        self._reloaded = True, wall_clock()  # whether the last time went well, and when it last did
        self._wall_clock = wall_clock
        self._begin_at_zero(actions)
        self.know(upstreams, listeners)
        self.registry.register(_StateCollector(version, state, self._count_unknown, lambda: self._reloaded))
        # The stock collectors register themselves where they are told to.
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def _counter(self, name: str) -> Counter:
        family = FAMILIES[name]
        return Counter(f"wattbridge_{name}", family.text, family.labels, registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        family = FAMILIES[name]
        return Histogram(
            f"wattbridge_{name}", family.text, family.labels, registry=self.registry, buckets=family.buckets
        )

    def _direction(self, arrived_from: Side) -> _Direction:
        peer = arrived_from.other

        def by_transport(family: Counter, side: Side) -> dict[str, Counter]:
            return {transport: family.labels(side.value, transport) for transport in TRANSPORTS}

        return _Direction(
            actions={"other": self._action(arrived_from, "other")},
            peer_seconds=self._peer_seconds.labels(PEERS[peer]),
            own_seconds={pair: self._own_seconds.labels(*pair) for pair in self._met(arrived_from)},
            received=by_transport(self._received, arrived_from),
            sent=by_transport(self._sent, arrived_from),
            peer_received=by_transport(self._received, peer),
            peer_sent=by_transport(self._sent, peer),
        )

    def _met(self, arrived_from: Side) -> Iterable[tuple[str, str]]:
        """The transports of who asks and who is asked, as they may meet."""
        return (pair if arrived_from is Side.CHARGE_POINT else pair[::-1] for pair in self._pairs)

    def _action(self, arrived_from: Side, action: str) -> _Action:
        return _Action(
            {
                (asking, NEWEST, asked, NEWEST): self._calls_of(
                    arrived_from, action, (asking, NEWEST), (asked, NEWEST)
                )
                for asking, asked in self._met(arrived_from)
            },
            self._seconds.labels(DIRECTIONS[arrived_from], action),
        )

    def _calls_of(
        self, arrived_from: Side, action: str, asking: tuple[str, str], asked: tuple[str, str]
    ) -> Counter:
        protocols = PROTOCOLS.get(asking, NO_PROTOCOL), PROTOCOLS.get(asked, NO_PROTOCOL)
        charger, csms = protocols if arrived_from is Side.CHARGE_POINT else protocols[::-1]
        return self._calls.labels(DIRECTIONS[arrived_from], action, charger, csms)

    def _begin_at_zero(self, actions: Iterable[tuple[Side, str]]) -> None:
        """Make the series that can be foreseen, so that a rate sees their first event."""
        for asked, action in actions:
            arrived_from = asked.other
            self._directions[arrived_from].actions[action] = self._action(arrived_from, action)
            self._violations.labels(asked.value, action)
            self._violations.labels(arrived_from.value, action)
            for reason in REASONS:
                self._failures.labels(DIRECTIONS[arrived_from], action, reason)
            for rule in USUAL_LOSSES:
                self._losses.labels(action, rule)
        for side in Side:
            self._malformed.labels(side.value)
        for reason in CALLBACK_FAILURES:
            self._callback_failures.labels(reason)
        for queue, reasons in (("mirror", MIRROR_REASONS), ("to_csms", DROP_REASONS)):
            for reason in reasons:
                self._dropped.labels(queue, reason)
        for reason in PARK_REASONS:
            self._parked.labels(reason)
        for family, foreseen in (
            (self._late, LATE_ACTIONS),
            (self._offline_answers, ANSWERED_ACTIONS),
            (self._duplicates, TRANSACTION_ACTIONS),
            (self._local_answers, LOCALLY_ANSWERED),
        ):
            for action in foreseen:
                family.labels(action)

    def know(self, upstreams: Iterable[str], listeners: Iterable[str], profiles: Iterable[str] = ()) -> None:
        """The names in the configuration, or in another one; what was counted of the old ones stays."""
        self._profiles = frozenset(profiles)
        for profile in self._profiles:
            for rule in PROFILE_RULES:
                self._quirks.labels(profile, rule)
        self._upstreams, self._listeners = frozenset(upstreams), frozenset(listeners)
        for upstream in self._upstreams:
            self._failovers.labels(upstream)
            self._mirror_refusals.labels(upstream)
            self._connects.labels(upstream)
            for reason in CONNECT_REASONS:
                self._connect_failures.labels(upstream, reason)
            for code in ("1000", "1001", "1006"):
                self._disconnects.labels(upstream, code)
        for listener in self._listeners:
            self._opened.labels(listener)
            for reason in REQUEST_REASONS:
                self._requests_refused.labels(listener, reason)
            for reason in CONNECTION_REASONS:
                self._connections_refused.labels(listener, reason)

    def listen_to(self, journal: Journal) -> None:
        journal.listen(record=self.count, event=self.count_event, commit=self.count_commit)

    def page(self) -> bytes:
        """The page of ``/metrics`` in Prometheus' text format 0.0.4."""
        return generate_latest(self.registry)

    def observe_lag(self, seconds: float) -> None:
        self._lag.observe(seconds)

    def count(self, record: Record) -> None:
        direction = self._directions[record.arrived_from]
        action = record.action if record.action in direction.actions else "other"
        series = direction.actions[action]
        arrived, asked, answered, replied = record.arrived, record.asked, record.answered, record.replied
        met = arrived.transport, record.version, record.other_transport, record.other_version
        calls = series.calls.get(met)
        if calls is None:
            calls = series.calls[met] = self._calls_of(record.arrived_from, action, met[:2], met[2:])
        calls.inc()
        series.seconds.observe(record.seconds)
        direction.received[arrived.transport].inc(len(arrived.text))
        direction.sent[replied.transport].inc(len(replied.text))
        if asked is not None:
            direction.peer_seconds.observe(record.peer_seconds)
            own = direction.own_seconds.get((arrived.transport, asked.transport))
            if own is None:
                own = self._own_seconds.labels(arrived.transport, asked.transport)
            own.observe(max(0.0, record.seconds - record.peer_seconds))
            direction.peer_sent[asked.transport].inc(len(asked.text))
            if answered is not None:
                direction.peer_received[answered.transport].inc(len(answered.text))
        if _is_callback(record):
            self._callbacks.inc()
        if record.how:
            answers = {"repeat": self._duplicates, "local": self._local_answers}
            answers.get(record.how, self._offline_answers).labels(action).inc()
        if isinstance(record.reply, CallError):
            self._count_failure(record, record.reply.reason)
        for passage in (arrived, asked, answered, replied):
            if passage is not None and passage.notes:
                self._count_notes(record, passage)

    def _known(self, record: Record) -> str:
        """The action as a label."""
        return record.action if record.action in self._directions[record.arrived_from].actions else "other"

    def _count_failure(self, record: Record, reason: str) -> None:
        action = self._known(record)
        self._failures.labels(DIRECTIONS[record.arrived_from], action, reason).inc()
        # What breaks the rules before anybody is asked, its asker has sent; after that, the asked party.
        culprit = record.arrived_from if record.asked is None else record.arrived_from.other
        if reason == "schema":
            self._violations.labels(culprit.value, action).inc()
        elif reason == "malformed":
            self._malformed.labels(culprit.value).inc()
        elif reason == "auth" and record.arrived_from is Side.CHARGE_POINT:
            self._remember_unknown(record.identity)
        if _is_callback(record) and reason in CALLBACK_FAILURES:
            self._callback_failures.labels(reason).inc()

    def _count_notes(self, record: Record, passage: Passage) -> None:
        action = self._known(record)
        for note in passage.notes:
            if isinstance(note, Loss):
                self._losses.labels(action, note.rule).inc()
            if note.rule in PROFILE_RULES:
                profile = record.profile if record.profile in self._profiles else "_other"
                self._quirks.labels(profile, note.rule).inc()
        if any(isinstance(note, Breach) for note in passage.notes):
            sender = record.arrived_from if passage is record.arrived else record.arrived_from.other
            self._violations.labels(sender.value, action).inc()

    def _remember_unknown(self, identity: str) -> None:
        key = hash(identity)
        self._unknown.pop(key, None)
        self._unknown[key] = self._clock()
        if len(self._unknown) > MOST_UNKNOWN:
            del self._unknown[next(iter(self._unknown))]

    def _count_unknown(self) -> int:
        since = self._clock() - UNKNOWN_FOR
        while self._unknown and next(iter(self._unknown.values())) < since:
            del self._unknown[next(iter(self._unknown))]
        return len(self._unknown)

    def count_commit(self, seconds: float, rows: int) -> None:
        self._store_seconds.observe(seconds)
        self._store_rows.inc(rows)

    def count_event(self, event: Event) -> None:
        upstream = event.labels.get("upstream", "")
        upstream = upstream if upstream in self._upstreams else "_other"
        listener = event.labels.get("listener", "")
        listener = listener if listener in self._listeners else "_other"
        match event.kind:
            case "connection opened":
                self._opened.labels(listener).inc()
            case "connection refused":
                self._connections_refused.labels(listener, event.reason).inc()
                if event.reason == "auth" and event.identity:
                    self._remember_unknown(event.identity)
            case "request refused":
                self._requests_refused.labels(listener, event.reason).inc()
            case "central system connected":
                self._connects.labels(upstream).inc()
            case "central system unreachable":
                self._connect_failures.labels(upstream, event.reason).inc()
            case "central system lost" | "central system left":
                self._disconnects.labels(upstream, event.labels.get("code", "1006")).inc()
            case "configuration reloaded":
                self._reloads.inc()
                self._reloaded = True, self._wall_clock()
            case "reload failed":
                self._reloads.inc()
                self._reload_failures.inc()
                self._reloaded = False, self._reloaded[1]
            case "fail-over" | "fail-back":
                self._failovers.labels(upstream).inc()
            case "mirror dropped":
                self._dropped.labels("mirror", event.reason).inc()
            case "message expired":
                self._dropped.labels("to_csms", "expired").inc()
            case "message dropped":
                self._dropped.labels("to_csms", "operator").inc()
            case "message parked":
                self._parked.labels(event.reason).inc()
            case "message delivered":
                action = event.labels.get("action", "")
                known = action in self._directions[Side.CHARGE_POINT].actions
                self._late.labels(action if known else "other").inc()
            case "transaction renumbered":
                if event.labels.get("by") == "gateway":
                    self._conflicts.inc()
            case "store broken":
                self._store_errors.inc()
            case "mirror refused":
                self._mirror_refusals.labels(upstream).inc()
            case "malformed message":
                self._malformed.labels(event.labels.get("side", "_other")).inc()
            case _:
                pass


def _is_callback(record: Record) -> bool:
    """Whether it is a call that could be read, for a charge point."""
    return record.arrived_from is Side.CENTRAL_SYSTEM and record.payload is not None


class _StateCollector(Collector):
    """Reads the gauges when a scrape asks, so that nobody has to keep them true in between."""

    def __init__(
        self,
        version: str,
        state: Callable[[], State] | None,
        unknown: Callable[[], int],
        reloaded: Callable[[], tuple[bool, float]],
    ) -> None:
        self._version = version
        self._state = state
        self._unknown = unknown
        self._reloaded = reloaded

    def describe(self) -> list[Metric]:
        return []  # asked at registration, before there is a state

    def collect(self) -> Iterable[Metric]:
        yield _gauge("build_info", {(self._version, platform.python_version()): 1})
        yield _gauge("chargers_unknown", {(): self._unknown()})
        successful, last = self._reloaded()
        yield _gauge("config_last_reload_successful", {(): successful})
        yield _gauge("config_last_reload_success_timestamp_seconds", {(): last})
        if self._state is None:
            return
        now = self._state()
        yield _gauge("ready", {(): now.ready})
        yield _gauge("draining", {(): now.draining})
        chargers = {(name, "connected"): now.charge_points.get(each, 0) for each, name in PROTOCOLS.items()}
        yield _gauge("chargers", chargers | {(NO_PROTOCOL, "offline"): now.offline})
        yield _gauge("csms_sessions", now.sessions)
        yield _gauge("queue_depth", {("to_csms",): now.waiting, ("mirror",): now.waiting_for_mirrors})
        yield _gauge("queue_oldest_seconds", {("to_csms",): now.waiting_seconds})
        yield _gauge("queue_bytes", {("to_csms",): now.waiting_bytes})
        yield _gauge("queue_parked", {("to_csms",): now.parked})
        yield _gauge("transactions_open", {(): now.open_transactions})
        yield _gauge("store_works", {(): now.store_works})
        dropped = FAMILIES["store_notes_dropped"]
        yield CounterMetricFamily(f"wattbridge_{dropped.name}", dropped.text, value=now.notes_dropped)
        yield _gauge("upstream_up", _up(now.sessions))
        yield _gauge("connections", {(name,): count for name, count in now.connections.items()})
        yield _gauge("calls_in_flight", {(DIRECTIONS[side],): count for side, count in now.in_flight.items()})


def _up(sessions: Mapping[tuple[str, str], int]) -> Mapping[tuple[str], float]:
    """Of each upstream, whether anybody is connected to it, or nobody wants to be."""
    up = {}
    for upstream in {upstream for upstream, _ in sessions}:
        wanted = sum(count for (name, _), count in sessions.items() if name == upstream)
        up[(upstream,)] = not wanted or sessions.get((upstream, "open"), 0) > 0
    return up


def _gauge(name: str, values: Mapping[Any, float]) -> GaugeMetricFamily:
    """The gauge *name* with its *values*, by the tuple of its labels."""
    family = FAMILIES[name]
    gauge = GaugeMetricFamily(f"wattbridge_{name}", family.text, labels=family.labels)
    for labels, value in sorted(values.items()):
        gauge.add_metric(labels, float(value))
    return gauge

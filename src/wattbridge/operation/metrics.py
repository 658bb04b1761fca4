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
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from wattbridge.ocpp.local_answers import TABLE
from wattbridge.ocpp.messages import Breach, CallError, Loss, Passage, Side
from wattbridge.ocpp.older import NEWEST
from wattbridge.ocpp.reasons import PROFILE_RULES, REASONS
from wattbridge.ocpp.security_extension import is_of_it
from wattbridge.operation.exchanges import (
    DIRECTIONS,
    NO_PROTOCOL,
    OTHER,
    PROTOCOLS,
    Exchanges,
    counter,
)
from wattbridge.operation.families import CHARGER_FAMILIES, FAMILIES, SINKS
from wattbridge.relay.duty import STATES
from wattbridge.relay.duty import State as DutyState
from wattbridge.relay.journal import Event, Journal, Record
from wattbridge.relay.offline import ANSWERED_ACTIONS, KEPT_ACTIONS
from wattbridge.relay.session import TRANSACTION_ACTIONS

# The values of labels, besides names of the configuration and those in exchanges.py.
CONNECT_REASONS = ("refused", "timeout", "unreachable")
CONNECTION_REASONS = ("auth", "rate_limited", "duplicate", "unsupported", "busy", "draining")
REQUEST_REASONS = ("timeout", "too_large", "malformed", "unsupported")
AUTH_REASONS = ("auth", "rejected")
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

    ``charge_points`` counts those with a session by transport and version, ``stale`` those of them that have
    been silent for too long, ``offline`` those configured that have no session. ``certificates`` tells when
    each certificate that the configuration names expires, in seconds since the epoch.
    ``sessions`` counts links by upstream and state, ``duties`` are what the operator says of each upstream,
    ``connections`` the open TCP connections of each listener, ``in_flight`` calls by the party that asked.
    ``waiting`` messages of ``waiting_bytes`` wait for central systems, the oldest since ``waiting_seconds``.
    ``notes_dropped`` is since the start.
    """

    ready: bool
    draining: bool
    charge_points: Mapping[tuple[str, str], int] = field(default_factory=dict)
    stale: Mapping[tuple[str, str], int] = field(default_factory=dict)
    offline: int = 0
    certificates: Mapping[str, float] = field(default_factory=dict)
    sessions: dict[tuple[str, str], int] = field(default_factory=dict)
    duties: Mapping[str, DutyState] = field(default_factory=dict)
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
class ChargePointState:
    """What the page of charge points tells of one. ``heard`` is when it last spoke, in seconds since the
    epoch; None when nobody knows."""

    identity: str
    up: bool
    heard: float | None = None
    vendor: str = ""
    model: str = ""
    firmware: str = ""
    profile: str = ""
    route: str = ""


# What one version cannot say need not reach it (``older.untold``), besides the table.
LOCALLY_ANSWERED = {row.action for row in TABLE if not is_of_it(Side.CHARGE_POINT, row.action)} | {
    "DiagnosticsStatusNotification", "FirmwareStatusNotification", "MeterValues",
}  # fmt: skip


class Metrics:
    """The registry of the gateway's metrics.

    ``actions`` are the actions each party may be asked for; ``state`` gives the gauges when a scrape asks.
    ``revision`` is that of the source, where it is known. ``upstreams`` and ``listeners`` are the names in
    the configuration, ``pairs`` the transports of charge point and central system that may meet.
    """

    def __init__(
        self,
        version: str,
        actions: Iterable[tuple[Side, str]],
        state: Callable[[], State] | None = None,
        *,
        revision: str = "",
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
        self._exchanges = Exchanges(NEWEST, pairs)
        self._unknown: dict[int, float] = {}  # hash of an identity → when it was last refused, latest last
        self._failures = self._counter("call_failures")
        self._lag = self._histogram("event_loop_lag_seconds")
        self._callback_failures = self._counter("callback_failures")
        self._losses = self._counter("translation_losses")
        self._quirks = self._counter("quirks_applied")
        self._violations = self._counter("schema_violations")
        self._malformed = self._counter("malformed_messages")
        self._opened = self._counter("connections_opened")
        self._connections_refused = self._counter("connections_refused")
        self._requests_refused = self._counter("requests_refused")
        self._connects = self._counter("csms_connects")
        self._connect_failures = self._counter("csms_connect_failures")
        self._disconnects = self._counter("csms_disconnects")
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
        seconds = self._histogram("store_operation_duration_seconds")
        self._store_seconds, self._store_read_seconds = seconds.labels("write"), seconds.labels("read")
        self._auth_failures = self._counter("auth_failures")
        self._rate_limited = self._counter("rate_limited")
        self._records_dropped = self._counter("trace_records_dropped")
        self._noted: dict[tuple[str, str, str], Counter] = {}  # series of notes, looked up once
        self._reloaded = True, wall_clock()  # whether the last time went well, and when it last did
        self._wall_clock = wall_clock
        self._begin_at_zero(actions)
        self.know(upstreams, listeners)
        self.registry.register(_ExchangesCollector(self._exchanges))
        self.registry.register(
            _StateCollector((version, revision), state, self._count_unknown, lambda: self._reloaded)
        )
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

    def _begin_at_zero(self, actions: Iterable[tuple[Side, str]]) -> None:
        """Make the series that can be foreseen, so that a rate sees their first event."""
        for asked, action in actions:
            arrived_from = asked.other
            self._exchanges.know(arrived_from, action)
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
        for sink in SINKS:
            self._records_dropped.labels(sink)
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
        self._exchanges.upstreams = self._upstreams
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
            self._rate_limited.labels(listener)
            for reason in AUTH_REASONS:
                self._auth_failures.labels(listener, reason)
            for reason in REQUEST_REASONS:
                self._requests_refused.labels(listener, reason)
            for reason in CONNECTION_REASONS:
                self._connections_refused.labels(listener, reason)

    def listen_to(self, journal: Journal) -> None:
        journal.listen(
            record=self.count,
            event=self.count_event,
            commit=self.count_commit,
            look_up=self._store_read_seconds.observe,
        )

    def page(self) -> bytes:
        """The page of ``/metrics`` in Prometheus' text format 0.0.4."""
        return generate_latest(self.registry)

    def page_for(self, accept: str) -> tuple[bytes, str]:
        """The page of ``/metrics`` and its media type, as whoever asks says by *accept* (HTTP's Accept).

        That is Prometheus' text format 0.0.4, or OpenMetrics, in which histograms have exemplars.
        """
        write, media_type = choose_encoder(accept)
        return write(self.registry), media_type

    def page_of_charge_points(
        self, charge_points: Iterable[ChargePointState], most: int, accept: str = ""
    ) -> tuple[bytes, str]:
        """The page of ``/metrics/chargers``, likewise: *most* charge points by name, the others together."""
        registry = CollectorRegistry()
        registry.register(_ChargePointsCollector(charge_points, most))
        write, media_type = choose_encoder(accept)
        return write(registry), media_type

    def observe_lag(self, seconds: float) -> None:
        self._lag.observe(seconds)

    def count(self, record: Record) -> None:
        if record.asked_by:  # what is counted is what charge points and central systems ask of each other
            return
        self._exchanges.count(record)
        if record.how:
            answers = {"repeat": self._duplicates, "local": self._local_answers}
            action = self._exchanges.name_of(record)
            answers.get(record.how, self._offline_answers).labels(action).inc()
        if isinstance(record.reply, CallError):
            self._count_failure(record, record.reply.reason)
        asked, answered = record.asked, record.answered
        if record.arrived.notes:
            self._count_notes(record, record.arrived)
        if asked is not None and asked.notes:
            self._count_notes(record, asked)
        if answered is not None and answered.notes:
            self._count_notes(record, answered)
        if record.replied.notes:
            self._count_notes(record, record.replied)

    def _count_failure(self, record: Record, reason: str) -> None:
        action = self._exchanges.name_of(record)
        self._failures.labels(DIRECTIONS[record.arrived_from], action, reason).inc()
        # What breaks the rules before anybody is asked, its asker has sent; after that, the asked party.
        culprit = record.arrived_from if record.asked is None else record.arrived_from.other
        if reason == "schema":
            self._violations.labels(culprit.value, action).inc()
        elif reason == "malformed":
            self._malformed.labels(culprit.value).inc()
        elif reason == "rate_limited":
            self._rate_limited.labels(self._listener(record.listener)).inc()
        elif reason in AUTH_REASONS:
            self._auth_failures.labels(self._listener(record.listener), reason).inc()
            if reason == "auth" and record.arrived_from is Side.CHARGE_POINT:
                self._remember_unknown(record.identity)
        if record.arrived_from is Side.CENTRAL_SYSTEM:
            if record.payload is None:
                self._exchanges.unread += 1
            elif reason in CALLBACK_FAILURES:
                self._callback_failures.labels(reason).inc()

    def _listener(self, name: str) -> str:
        return name if name in self._listeners else OTHER

    def _count_notes(self, record: Record, passage: Passage) -> None:
        action = self._exchanges.name_of(record)
        for note in passage.notes:
            if isinstance(note, Loss):
                self._series(self._losses, action, note.rule).inc()
            if note.rule in PROFILE_RULES:
                profile = record.profile if record.profile in self._profiles else OTHER
                self._series(self._quirks, profile, note.rule).inc()
        if any(isinstance(note, Breach) for note in passage.notes):
            sender = record.arrived_from if passage is record.arrived else record.arrived_from.other
            self._violations.labels(sender.value, action).inc()

    def _series(self, family: Counter, *labels: str) -> Counter:
        key = family._name, *labels
        known = self._noted.get(key)
        if known is None:
            known = self._noted[key] = family.labels(*labels)
        return known

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
        upstream = upstream if upstream in self._upstreams else OTHER
        listener = self._listener(event.labels.get("listener", ""))
        match event.kind:
            case "connection opened":
                self._opened.labels(listener).inc()
            case "connection refused":
                self._connections_refused.labels(listener, event.reason).inc()
                if event.reason in AUTH_REASONS:
                    self._auth_failures.labels(listener, event.reason).inc()
                elif event.reason == "rate_limited":
                    self._rate_limited.labels(listener).inc()
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
                self._late.labels(self._exchanges.named(Side.CHARGE_POINT, action)).inc()
            case "transaction renumbered":
                if event.labels.get("by") == "gateway":
                    self._conflicts.inc()
            case "store broken":
                self._store_errors.inc()
            case "mirror refused":
                self._mirror_refusals.labels(upstream).inc()
            case "malformed message":
                self._malformed.labels(event.labels.get("side", OTHER)).inc()
            case "records dropped":
                sink = event.labels.get("sink", "")
                count = int(event.labels.get("count", "1"))
                self._records_dropped.labels(sink if sink in SINKS else OTHER).inc(count)
            case _:
                pass


class _ExchangesCollector(Collector):
    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return self._exchanges.families()


class _ChargePointsCollector(Collector):
    """The page of charge points. What is beyond *most* is one row, whose ``up`` counts those that are."""

    def __init__(self, charge_points: Iterable[ChargePointState], most: int) -> None:
        self._charge_points = charge_points
        self._most = most

    def collect(self) -> Iterable[Metric]:
        up, heard, info = (
            GaugeMetricFamily(family.full_name, family.text, labels=family.labels)
            for family in CHARGER_FAMILIES
        )
        others, others_up, others_heard = 0, 0, 0.0
        for number, each in enumerate(self._charge_points):
            if number >= self._most:
                others += 1
                others_up += each.up
                others_heard = max(others_heard, each.heard or 0.0)
                continue
            up.add_metric((each.identity,), float(each.up))
            if each.heard is not None:
                heard.add_metric((each.identity,), each.heard)
            known = each.vendor, each.model, each.firmware, each.profile, each.route
            info.add_metric((each.identity, *known), 1.0)
        if others:
            up.add_metric((OTHER,), float(others_up))
            if others_heard:
                heard.add_metric((OTHER,), others_heard)
        return up, heard, info


class _StateCollector(Collector):
    """Reads the gauges when a scrape asks, so that nobody has to keep them true in between."""

    def __init__(
        self,
        build: tuple[str, str],
        state: Callable[[], State] | None,
        unknown: Callable[[], int],
        reloaded: Callable[[], tuple[bool, float]],
    ) -> None:
        self._build = build  # version and revision
        self._state = state
        self._unknown = unknown
        self._reloaded = reloaded

    def describe(self) -> list[Metric]:
        return []  # asked at registration, before there is a state

    def collect(self) -> Iterable[Metric]:
        yield _gauge("build_info", {(*self._build, platform.python_version()): 1})
        yield _gauge("chargers_unknown", {(): self._unknown()})
        successful, last = self._reloaded()
        yield _gauge("config_last_reload_successful", {(): successful})
        yield _gauge("config_last_reload_success_timestamp_seconds", {(): last})
        if self._state is None:
            return
        now = self._state()
        yield _gauge("ready", {(): now.ready})
        yield _gauge("draining", {(): now.draining})
        chargers = {(NO_PROTOCOL, "offline"): now.offline}
        for each, name in PROTOCOLS.items():
            stale = now.stale.get(each, 0)
            chargers[name, "connected"] = now.charge_points.get(each, 0) - stale
            chargers[name, "stale"] = stale
        yield _gauge("chargers", chargers)
        certificates = {(name,): when for name, when in now.certificates.items()}
        yield _gauge("tls_certificate_not_after_timestamp_seconds", certificates)
        yield _gauge("csms_sessions", now.sessions)
        yield _gauge("queue_depth", {("to_csms",): now.waiting, ("mirror",): now.waiting_for_mirrors})
        yield _gauge("queue_oldest_seconds", {("to_csms",): now.waiting_seconds})
        yield _gauge("queue_bytes", {("to_csms",): now.waiting_bytes})
        yield _gauge("queue_parked", {("to_csms",): now.parked})
        yield _gauge("transactions_open", {(): now.open_transactions})
        yield _gauge("store_works", {(): now.store_works})
        yield counter("store_notes_dropped", {(): now.notes_dropped})
        yield _gauge("upstream_up", _up(now.sessions, now.duties))
        yield _gauge(
            "upstream_in_service",
            {(name, each): each == state for name, state in now.duties.items() for each in STATES},
        )
        yield _gauge("connections", {(name,): count for name, count in now.connections.items()})
        yield _gauge("calls_in_flight", {(DIRECTIONS[side],): count for side, count in now.in_flight.items()})


def _up(
    sessions: Mapping[tuple[str, str], int], duties: Mapping[str, DutyState]
) -> Mapping[tuple[str], float]:
    """Of each upstream, whether anybody is connected to it, or nobody wants to be; in maintenance none is."""
    up = {}
    for upstream in {upstream for upstream, _ in sessions}:
        wanted = sum(count for (name, _), count in sessions.items() if name == upstream)
        up[(upstream,)] = not wanted or sessions.get((upstream, "open"), 0) > 0
        if duties.get(upstream) == "maint":
            up[(upstream,)] = False
    return up


def _gauge(name: str, values: Mapping[Any, float]) -> GaugeMetricFamily:
    """The gauge *name* with its *values*, by the tuple of its labels."""
    family = FAMILIES[name]
    gauge = GaugeMetricFamily(f"wattbridge_{name}", family.text, labels=family.labels)
    for labels, value in sorted(values.items()):
        gauge.add_metric(labels, float(value))
    return gauge

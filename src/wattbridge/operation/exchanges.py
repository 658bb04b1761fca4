"""What every exchange is counted in, and how that becomes families when a scrape asks.

This is on the way of every message, so an exchange finds all it is counted in by one look-up, and adds to
plain numbers: the client library's own series cost three times as much, for locks that nobody here needs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, Exemplar, HistogramMetricFamily, Metric

from wattbridge.ocpp.messages import Side
from wattbridge.operation.families import CALL_SECONDS, FAMILIES, OWN_SECONDS
from wattbridge.relay.journal import Record

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
OTHER = "_other"

# Who asked, what, by which central system, and transport and version of who asked and who was asked.
_Key = tuple[Side, str, str, str, str, str, str]
_Labels = tuple[str, ...]
Example = tuple[str, float, float]  # of one exchange: its trace, what is counted, seconds since the epoch


class Times:
    """A histogram of seconds: ``within`` counts by the first bound that is not exceeded."""

    __slots__ = ("bounds", "examples", "sum", "within")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.within = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.examples: dict[int, Example] = {}  # the last one of each bucket that has one

    def show(self, seconds: float, trace_id: str, when: float) -> None:
        """Let *seconds*, which was counted, stand for others of its bucket."""
        bucket = bisect_left(self.bounds, seconds)
        self.examples[bucket] = trace_id, seconds, when

    def add(self, other: Times) -> None:
        self.sum += other.sum
        self.within = [mine + its for mine, its in zip(self.within, other.within, strict=True)]
        for bucket, example in other.examples.items():
            known = self.examples.get(bucket)
            if known is None or known[2] < example[2]:
                self.examples[bucket] = example


@dataclass(slots=True)
class Flow:
    """Exchanges that are alike in every label. ``peer`` and ``own`` are of calls that went out."""

    calls: _Labels  # labels of ``calls``
    seconds_of: _Labels
    peer_of: _Labels
    own_of: _Labels
    asking: tuple[str, str]  # side and transport
    asked: tuple[str, str]
    seconds: Times = field(default_factory=lambda: Times(CALL_SECONDS))
    peer: Times = field(default_factory=lambda: Times(CALL_SECONDS))
    own: Times = field(default_factory=lambda: Times(OWN_SECONDS))
    received: int = 0  # bytes from who asks
    sent: int = 0
    peer_received: int = 0  # bytes from who is asked
    peer_sent: int = 0


class Exchanges:
    """Counts exchanges, and gives the families of them.

    ``upstreams`` are the names of central systems; another configuration may have others. ``pairs`` are the
    transports of charge point and central system that may meet, and ``NEWEST`` what is spoken between them:
    their series begin at 0.
    """

    def __init__(self, newest: str, pairs: Iterable[tuple[str, str]]) -> None:
        self.upstreams: frozenset[str] = frozenset()
        self._newest = newest
        self._pairs = tuple(pairs)
        self._actions: dict[Side, dict[str, None]] = {side: {"other": None} for side in Side}
        self._flows: dict[_Key, Flow] = {}
        self.unread = 0  # calls of central systems that could not be read

    def know(self, arrived_from: Side, action: str) -> None:
        """*action* is one that a party may ask: it has series of its own."""
        self._actions[arrived_from][action] = None

    def name_of(self, record: Record) -> str:
        """The action as a label."""
        return self.named(record.arrived_from, record.action)

    def named(self, arrived_from: Side, action: str) -> str:
        return action if action in self._actions[arrived_from] else "other"

    def count(self, record: Record) -> None:
        """Count one exchange. This costs about a microsecond; see bench/counting.py."""
        arrived, asked = record.arrived, record.asked
        flow = self._flows.get(
            (
                record.arrived_from,
                record.action,
                record.upstream,
                arrived.transport,
                record.version,
                record.other_transport if asked is None else asked.transport,
                record.other_version,
            )
        )
        if flow is None:
            flow = self._flow(record)
        seconds, times = record.seconds, flow.seconds
        times.sum += seconds
        times.within[bisect_left(CALL_SECONDS, seconds)] += 1
        flow.received += len(arrived.text)
        flow.sent += len(record.replied.text)
        if asked is not None:
            peer_seconds, times = record.peer_seconds, flow.peer
            times.sum += peer_seconds
            times.within[bisect_left(CALL_SECONDS, peer_seconds)] += 1
            own, times = seconds - peer_seconds - record.delay_seconds, flow.own
            if own > 0.0:
                times.sum += own
            times.within[bisect_left(OWN_SECONDS, own)] += 1
            flow.peer_sent += len(asked.text)
            if record.answered is not None:
                flow.peer_received += len(record.answered.text)
        if record.trace is not None and record.trace.sampled:
            self._show(record, flow)

    @staticmethod
    def _show(record: Record, flow: Flow) -> None:
        assert record.trace is not None
        trace_id, when = record.trace.trace_id, record.began + record.seconds
        flow.seconds.show(record.seconds, trace_id, when)
        if record.asked is not None:
            flow.peer.show(record.peer_seconds, trace_id, when)
            flow.own.show(record.own_seconds, trace_id, when)

    def _flow(self, record: Record) -> Flow:
        """The flow of a record that is the first of its kind, or of an action that nobody knows."""
        arrived_from, action = record.arrived_from, self.name_of(record)
        asking = record.arrived.transport, record.version
        other = record.other_transport if record.asked is None else record.asked.transport
        asked = other, record.other_version
        key = arrived_from, action, record.upstream, *asking, *asked
        known = self._flows.get(key)
        if known is not None:
            return known
        upstream = record.upstream if record.upstream in self.upstreams else OTHER
        peer = arrived_from.other
        self._flows[key] = flow = Flow(
            calls=self._calls_of(arrived_from, action, asking, asked),
            seconds_of=(DIRECTIONS[arrived_from], action),
            peer_of=(PEERS[peer], upstream),
            own_of=(asking[0], asked[0]),
            asking=(arrived_from.value, asking[0]),
            asked=(peer.value, asked[0]),
        )
        return flow

    @staticmethod
    def _calls_of(side: Side, action: str, asking: tuple[str, str], asked: tuple[str, str]) -> _Labels:
        protocols = PROTOCOLS.get(asking, NO_PROTOCOL), PROTOCOLS.get(asked, NO_PROTOCOL)
        charger, csms = protocols if side is Side.CHARGE_POINT else protocols[::-1]
        return DIRECTIONS[side], action, charger, csms

    def _met(self, arrived_from: Side) -> Iterable[tuple[str, str]]:
        """The transports of who asks and who is asked, as they may meet."""
        return (pair if arrived_from is Side.CHARGE_POINT else pair[::-1] for pair in self._pairs)

    # --- when a scrape asks ---

    def families(self) -> Iterable[Metric]:
        newest = self._newest
        calls: dict[_Labels, float] = {}
        seconds: dict[_Labels, Times] = {}
        peer: dict[_Labels, Times] = {
            (name, upstream): Times(CALL_SECONDS)
            for name in PEERS.values()
            for upstream in sorted(self.upstreams)
        }
        own: dict[_Labels, Times] = {}
        received: dict[_Labels, float] = {
            (side.value, transport): 0.0 for side in Side for transport in TRANSPORTS
        }
        sent = dict(received)
        for side, actions in self._actions.items():
            for asking, asked in self._met(side):
                own.setdefault((asking, asked), Times(OWN_SECONDS))
                for action in actions:
                    calls[self._calls_of(side, action, (asking, newest), (asked, newest))] = 0.0
            for action in actions:
                seconds[DIRECTIONS[side], action] = Times(CALL_SECONDS)
        for flow in self._flows.values():
            calls[flow.calls] = calls.get(flow.calls, 0.0) + sum(flow.seconds.within)
            seconds[flow.seconds_of].add(flow.seconds)
            _add(received, flow.asking, flow.received)
            _add(sent, flow.asking, flow.sent)
            if any(flow.peer.within):
                peer.setdefault(flow.peer_of, Times(CALL_SECONDS)).add(flow.peer)
                own.setdefault(flow.own_of, Times(OWN_SECONDS)).add(flow.own)
                _add(received, flow.asked, flow.peer_received)
                _add(sent, flow.asked, flow.peer_sent)
        to_charger = DIRECTIONS[Side.CENTRAL_SYSTEM]
        callbacks = sum(count for labels, count in calls.items() if labels[0] == to_charger) - self.unread
        yield counter("calls", calls)
        yield histogram("call_duration_seconds", seconds)
        yield histogram("peer_response_duration_seconds", peer)
        yield histogram("translation_duration_seconds", own)
        yield counter("received_bytes", received)
        yield counter("sent_bytes", sent)
        yield counter("callbacks", {(): callbacks})


def _add(sums: dict[_Labels, float], labels: _Labels, amount: int) -> None:
    sums[labels] = sums.get(labels, 0.0) + amount


def counter(name: str, values: Mapping[_Labels, float]) -> CounterMetricFamily:
    """The counter *name* of the table with its *values*, by the tuple of its labels."""
    family = FAMILIES[name]
    made = CounterMetricFamily(f"wattbridge_{name}", family.text, labels=family.labels)
    for labels, value in sorted(values.items()):
        made.add_metric(labels, value)
    return made


def histogram(name: str, values: Mapping[_Labels, Times]) -> HistogramMetricFamily:
    family = FAMILIES[name]
    made = HistogramMetricFamily(f"wattbridge_{name}", family.text, labels=family.labels)
    ends = [str(float(bound)) for bound in family.buckets] + ["+Inf"]
    for labels, times in sorted(values.items(), key=lambda item: item[0]):
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for at, count in enumerate(accumulate(times.within)):
            example = times.examples.get(at)
            if example is None:
                buckets.append((ends[at], count))
            else:
                trace_id, seconds, when = example
                buckets.append((ends[at], count, Exemplar({"trace_id": trace_id}, seconds, when)))
        made.add_metric(labels, buckets, times.sum)
    return made

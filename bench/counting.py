"""What it costs to count one exchange: the journal and the metrics, of the same record again and again.

Beside it stands the same counting with the client library's own series, found by their labels each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram

from bench.measure import Row, cpu_times
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.messages import CallResult, Change, Passage, Side
from wattbridge.operation.exchanges import DIRECTIONS, PEERS
from wattbridge.operation.families import FAMILIES
from wattbridge.operation.metrics import Metrics
from wattbridge.relay.journal import Journal, Record

CHANGE = Change("MeterValues.meterValue[0].timestamp", "12:00+01:00", "11:00Z", "to-utc")


def rows(*, rounds: int, seconds: float) -> Iterator[Row]:
    for name, arrived_from, notes in (
        ("MeterValues(4)", Side.CHARGE_POINT, ()),
        ("MeterValues(4) with 2 changes", Side.CHARGE_POINT, (CHANGE, CHANGE)),
        ("RemoteStartTransaction", Side.CENTRAL_SYSTEM, ()),
    ):
        record = _record(name.partition("(")[0].partition(" ")[0], arrived_from, notes)
        journal = Journal()
        Metrics("1", dialect().operations, upstreams=("main",)).listen_to(journal)
        naive = _Naive()
        actions: dict[str, Callable[[], object]] = {
            "ours": lambda journal=journal, record=record: journal.record(record),  # type: ignore[misc]
            "naive": lambda naive=naive, record=record: naive.count(record),  # type: ignore[misc]
        }
        yield Row("counting", f"{name}: counted", "µs", cpu_times(actions, rounds, seconds))


def _record(action: str, arrived_from: Side, notes: tuple[Change, ...]) -> Record:
    ours, theirs = ("soap", "json") if arrived_from is Side.CHARGE_POINT else ("json", "soap")
    return Record(
        identity="CP1",
        arrived_from=arrived_from,
        action=action,
        payload={},
        reply=CallResult({}),
        began=1.7e9,
        seconds=0.0612,
        peer_seconds=0.0601,
        arrived=Passage(ours, b"a" * 1900, notes),
        asked=Passage(theirs, b"b" * 700),
        answered=Passage(theirs, b"c" * 24),
        replied=Passage(ours, b"d" * 600),
        route="all",
        upstream="main",
        other_transport=theirs,
    )


class _Naive:
    """The families of an exchange, as the client library's guide has it."""

    def __init__(self) -> None:
        registry = CollectorRegistry()

        def histogram(name: str) -> Histogram:
            family = FAMILIES[name]
            buckets = family.buckets
            return Histogram(name, family.text, family.labels, registry=registry, buckets=buckets)

        def counter(name: str) -> Counter:
            return Counter(name, FAMILIES[name].text, FAMILIES[name].labels, registry=registry)

        self._calls = counter("calls")
        self._received, self._sent = counter("received_bytes"), counter("sent_bytes")
        self._seconds = histogram("call_duration_seconds")
        self._peer = histogram("peer_response_duration_seconds")
        self._own = histogram("translation_duration_seconds")

    def count(self, record: Record) -> None:
        side, direction = record.arrived_from, DIRECTIONS[record.arrived_from]
        asking, asked = record.arrived.transport, record.other_transport
        protocols = f"ocpp{record.version}-{asking}", f"ocpp{record.other_version}-{asked}"
        charger, csms = protocols if side is Side.CHARGE_POINT else protocols[::-1]
        self._calls.labels(direction, record.action, charger, csms).inc()
        self._seconds.labels(direction, record.action).observe(record.seconds)
        self._peer.labels(PEERS[side.other], record.upstream).observe(record.peer_seconds)
        self._own.labels(asking, asked).observe(record.seconds - record.peer_seconds)
        for family, side_of, passage in (
            (self._received, side, record.arrived),
            (self._sent, side.other, record.asked),
            (self._received, side.other, record.answered),
            (self._sent, side, record.replied),
        ):
            if passage is not None:
                family.labels(side_of.value, passage.transport).inc(len(passage.text))

"""What must hold between the two books. Pure: a ledger goes in, findings come out.

``findings`` may be asked at any time for what is wrong already; that a message is lost can only be said when
everything is healed and has come to rest.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.torture.ledger import (
    TRANSACTION_ACTIONS,
    Arrival,
    Key,
    Ledger,
    Sent,
    Transaction,
    has_no_mark,
)

# The ids that the gateway gives transactions while the central system is away.
PROVISIONAL = range(2_000_000_000, 2_147_483_648)

# Kind of finding → what the gateway has done.
KINDS = {
    "lost": "acknowledged to the charge point, or refused for good, never seen by the central system",
    "doubled": "StartTransaction or StopTransaction that reached the central system as two messages",
    "doubled-readings": "the same of another message",
    "out-of-order": "transaction messages that overtook others of their charge point",
    "status-out-of-order": "StatusNotifications that overtook others of their charge point",
    "wrong-id": "a transaction id that is not the one of its transaction",
    "altered": "content that is not what the charge point sent",
    "invented": "a message that no charge point sent",
    "reused-id": "two different messages with the same message id",
    "refused": "a transaction message answered with a fault or CALLERROR, though nobody refused it",
    "repeated-call": "a call of the central system that reached its charge point twice",
    "unanswered": "a call of the central system without a reply on a connection that stayed",
    "session": "a charge point that must say something after a restart before it or its messages get through",
    "heartbeat": "a Heartbeat answered while nothing could be kept",
    "hung": "a charge point that got no further, or a gateway that did not get ready",
    "died": "a gateway that ended by itself",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; ``about`` tells it from others of its kind, and stays the same."""

    kind: str
    identity: str
    about: str
    text: str


# Calls that change nothing at a charge point; one whose answer was lost may reach it again.
SAFE_TO_REPEAT = frozenset({"GetConfiguration"})


def findings(ledger: Ledger, *, at_rest: bool, gateway_ids: range = PROVISIONAL) -> list[Finding]:
    """All that is wrong, and with *at_rest* what is lost."""
    books = _Books(ledger)
    found = [
        *_unlike_what_was_sent(books),
        *_twice(books),
        *_order(books),
        *_ids(books, gateway_ids),
        *_refusals(books),
        *_calls(books),
    ]
    return [*found, *_lost(books)] if at_rest else found


def missing(ledger: Ledger) -> set[Key]:
    """Keys of what was acknowledged and has not arrived, or not yet."""
    return {key for key, _ in _missing(_Books(ledger))}


class _Books:
    """The ledger, with both sides found by key."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.sent: dict[Key, list[Sent]] = defaultdict(list)
        self.arrivals: dict[Key, list[Arrival]] = defaultdict(list)
        self.of_transaction: dict[Transaction, list[Sent]] = defaultdict(list)
        for sent in ledger.sent:
            self.sent[sent.key].append(sent)
            if sent.transaction is not None:
                self.of_transaction[sent.transaction].append(sent)
        for arrival in ledger.arrivals:
            self.arrivals[arrival.key].append(arrival)

    def given(self, transaction: Transaction) -> list[int]:
        """The ids the central system gave *transaction*; one, if it got its StartTransaction once."""
        key = (transaction.identity, "StartTransaction", str(transaction.meter_start))
        return [arrival.given for arrival in self.arrivals.get(key, ()) if arrival.given is not None]

    def known_from(self, identity: str, given: int) -> int | None:
        """The moment from which the gateway knows whose id *given* is: it has used it to the central system
        for a transaction that its charge point knows by another id. None when it has not."""
        moments = [
            arrival.moment
            for key, arrivals in self.arrivals.items()
            if key[0] == identity and key[1] in ("MeterValues", "StopTransaction") and key in self.sent
            for arrival in arrivals
            if arrival.payload.get("transactionId") == given
            and self._has_another_id(self.sent[key][0], given)
        ]
        return min(moments, default=None)

    def _has_another_id(self, sent: Sent, given: int) -> bool:
        return sent.transaction is not None and given not in sent.transaction.told


def _missing(books: _Books) -> Iterator[tuple[Key, int]]:
    for key, sent in books.sent.items():
        acknowledged = sum(1 for each in sent if each.answers or each.dropped)
        arrived = len(books.arrivals.get(key, ()))
        if not has_no_mark(key):
            acknowledged, arrived = min(acknowledged, 1), min(arrived, 1)
        if acknowledged > arrived:
            yield key, acknowledged - arrived


def _lost(books: _Books) -> Iterator[Finding]:
    for key, count in _missing(books):
        dropped = any(each.dropped for each in books.sent[key])
        became = "refused, so that it is not sent again," if dropped else "acknowledged"
        yield _finding("lost", key, f"{became} and never seen by the central system ({count})")


def _unlike_what_was_sent(books: _Books) -> Iterator[Finding]:
    for key, arrivals in books.arrivals.items():
        sent = books.sent.get(key)
        for arrival in arrivals:
            if sent is None:
                yield _finding("invented", key, f"{arrival.payload}, message id {arrival.message_id}")
            elif arrival.content != sent[0].content:
                yield _finding("altered", key, f"{arrival.payload} arrived, {sent[0].payload} was sent")
    for arrival, payload in books.ledger.reused:
        yield _finding("reused-id", arrival.key, f"{arrival.message_id} came again with {payload}")


def _twice(books: _Books) -> Iterator[Finding]:
    for key, arrivals in books.arrivals.items():
        if has_no_mark(key) or len(arrivals) < 2:
            continue
        kind = "doubled" if key[1] in ("StartTransaction", "StopTransaction") else "doubled-readings"
        yield _finding(kind, key, f"message ids {', '.join(arrival.message_id for arrival in arrivals)}")


def _order(books: _Books) -> Iterator[Finding]:
    """A charge point sends its next transaction message when it has the answer to the last, so that as first
    received they are in the order in which they were made. Of StatusNotifications that it does not repeat,
    those that were acknowledged are."""
    made: dict[tuple[str, str], list[tuple[int, int, Sent]]] = defaultdict(list)
    for key, sent in books.sent.items():
        if key in books.arrivals:
            first = min(arrival.moment for arrival in books.arrivals[key])
            entry = (sent[0].moment, first, sent[0])
            if key[1] in TRANSACTION_ACTIONS:
                made[key[0], "out-of-order"].append(entry)
            elif key[1] == "StatusNotification" and sent[0].answers and not has_no_mark(key):
                made[key[0], "status-out-of-order"].append(entry)
    for (_, kind), entries in made.items():
        latest = 0
        before: Sent | None = None
        for _, first, one in sorted(entries, key=lambda entry: entry[0]):
            if first < latest and before is not None:
                text = f"arrived before {before.action} {before.key[2]}, which was made earlier"
                yield _finding(kind, one.key, text)
            else:
                latest, before = first, one


def _ids(books: _Books, gateway_ids: range) -> Iterator[Finding]:
    owners: dict[tuple[str, int], Transaction] = {}
    for transaction in books.ledger.transactions:
        key = (transaction.identity, "StartTransaction", str(transaction.meter_start))
        given, told = set(books.given(transaction)), set(transaction.told)
        if len(told) > 1:
            yield _finding("wrong-id", key, f"the charge point was told {sorted(told)}")
        for id_ in told:
            if owners.setdefault((transaction.identity, id_), transaction) is not transaction:
                yield _finding("wrong-id", key, f"{id_} was told for another transaction, too")
            # Its own, too, where the central system's id is one that it gives itself.
            own = not transaction.identity.startswith("HOLD") or any(each in gateway_ids for each in given)
            may_be_the_gateways = own and id_ in gateway_ids
            if given and id_ not in given and not may_be_the_gateways:
                yield _finding("wrong-id", key, f"the charge point was told {id_}, given was {sorted(given)}")
        used: set[object] = set()
        for sent in books.of_transaction.get(transaction, ()):
            if sent.action == "StartTransaction":
                continue
            for arrival in books.arrivals.get(sent.key, ()):
                used.add(arrival.payload.get("transactionId"))
                if given and arrival.payload.get("transactionId") not in given:
                    wrong = arrival.payload.get("transactionId")
                    yield _finding("wrong-id", sent.key, f"arrived with {wrong}, given was {sorted(given)}")
        if len(used) > 1:
            yield _finding("wrong-id", key, f"its messages arrived with {used}")


def _refusals(books: _Books) -> Iterator[Finding]:
    for key, sent in books.sent.items():
        if key[1] in TRANSACTION_ACTIONS and sent[0].refusals:
            yield _finding("refused", key, f"{len(sent[0].refusals)} times: {sent[0].refusals[0]}")


def _calls(books: _Books) -> Iterator[Finding]:
    """RemoteStopTransaction reaches the right transaction, and nothing reaches a charge point twice."""
    ledger = books.ledger
    by_id = {(each.identity, id_): each for each in ledger.transactions for id_ in each.told}
    by_start = {(each.identity, str(each.meter_start)): each for each in ledger.transactions}
    asked: dict[Key, list[int]] = defaultdict(list)
    for call in ledger.asked:
        if call.outcome == "not sent":  # in OCPP-S one calls without knowing whether anybody is there
            continue
        asked[call.identity, call.action, _about(call.action, call.payload)].append(call.moment)
    heard = Counter((each.identity, each.action, _about(each.action, each.payload)) for each in ledger.heard)
    for key, count in heard.items():
        identity, action, about = key
        times, kind = len(asked.get(key, ())), "invented"
        if action == "RemoteStopTransaction":
            kind = "wrong-id"
            transaction = by_id.get((identity, int(about)))
            if transaction is not None:
                given = books.given(transaction)
                times = sum(len(asked.get((identity, action, str(id_)), ())) for id_ in given)
            # An id that the charge point does not know is the central system's. It may pass only as long as
            # the answer to StartTransaction is under way.
            elif known := books.known_from(identity, int(about)):
                times = sum(1 for moment in asked.get(key, ()) if moment < known)
                if count > times:
                    yield _finding(kind, key, "reached the charge point with the central system's id")
                continue
        if not times:
            yield _finding(kind, key, "reached the charge point, and nobody asked it")
        elif count > times and action not in SAFE_TO_REPEAT:
            text = f"asked {times} times, reached the charge point {count} times"
            yield _finding("repeated-call", key, text)
    for each in ledger.asked:
        key = (each.identity, each.action, _about(each.action, each.payload))
        if each.outcome == "unanswered":
            yield _finding("unanswered", key, "the connection is still there")
        if each.arrival is not None and each.outcome == "result" and each.reply.get("status") == "Accepted":
            stopped = by_start.get((each.identity, each.arrival.key[2]))
            if stopped is None or not stopped.remote_stop:
                yield _finding("wrong-id", key, "accepted for another transaction")


def _about(action: str, payload: dict[str, object]) -> str:
    return str(payload["transactionId"] if action == "RemoteStopTransaction" else payload.get("key"))


def _finding(kind: str, key: Key, text: str) -> Finding:
    return Finding(kind, key[0], f"{key[1]} {key[2]}", text)

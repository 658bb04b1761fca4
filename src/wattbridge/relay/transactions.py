"""What each side calls a transaction: two numbers for one thing.

A charge point knows the number that its central system gave, or one of the gateway's: when the central system
was away, or gave a number that the charge point cannot say. Whoever gets copies of its messages gave another
one for the same transaction.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from wattbridge.ocpp.messages import Call, CallResult, Reply
from wattbridge.store.base import Transaction

# The numbers that the gateway gives. A central system that gives one of these is not taken at its word: the
# charge point is told another, so that no two transactions of a charge point ever have the same.
OURS = range(2_000_000_000, 2**31)
INT32 = range(-(2**31), 2**31)  # what the transactionId of OCPP-S holds
# What a charge point says that never was told a number (OCPP 1.6 errata, 3.18), or has forgotten it
# (mikuso/ocpp-rpc #82).
NO_NUMBER = (-1, 0)
MOST_ENDED = 20  # transactions that have ended with both their numbers known; in memory

# Where calls of a central system name a transaction: the path to it.
NAMED_BY = {
    "RemoteStopTransaction": ("transactionId",),
    "SetChargingProfile": ("csChargingProfiles", "transactionId"),
    "RemoteStartTransaction": ("chargingProfile", "transactionId"),
}


class Transactions:
    """The transactions of one charge point and their two numbers, the latest last.

    Rows are given back for whoever keeps them; nothing is written here.
    """

    # There is one for each charge point.
    __slots__ = (
        "_by_local",
        "_chance",
    )

    def __init__(self, rows: Iterable[Transaction] = (), chance: Callable[[], float] = random.random) -> None:
        self._by_local = {int(row.local_id): row for row in rows}
        self._chance = chance

    def __iter__(self) -> Iterator[Transaction]:
        return iter(list(self._by_local.values()))

    def find(self, local_id: int) -> Transaction | None:
        return self._by_local.get(local_id)

    def put(self, row: Transaction) -> Transaction:
        number = int(row.local_id)
        self._by_local.pop(number, None)
        self._by_local[number] = row
        ended = [each for each, other in self._by_local.items() if other.state != "open" and other.remote_id]
        for each in ended[:-MOST_ENDED]:
            del self._by_local[each]
        return row

    def new_number(self) -> int:
        """A number of ours that this charge point does not know yet."""
        while True:
            number = OURS.start + int(self._chance() * len(OURS))
            if number not in self._by_local:
                return number

    def number_for_charge_point(self, remote_id: int, upstream: str, *, any_size: bool) -> int:
        """What a charge point is told where its central system *upstream* says *remote_id*.

        Another number where it cannot say that one, or where another transaction has it: one of another
        central system, or one that has not ended. *any_size* is of charge points that speak JSON, whose
        numbers have no limit (steve #740).
        """
        known = self._by_local.get(remote_id)
        sayable = (any_size or remote_id in INT32) and remote_id not in OURS
        if sayable and (known is None or (known.stopped and known.upstream == upstream)):
            return remote_id
        return self.new_number()

    def meant_by(self, call: Call) -> Transaction | None:
        """The transaction that a charge point's message is about.

        A message without a usable number means the open transaction of its connector, or of the charge point
        where there is no connector in it, if there is only one. None for what nobody knows.
        """
        number = call.payload.get("transactionId")
        if type(number) is not int:
            return None
        known = self._by_local.get(number)
        if known is not None or number not in NO_NUMBER:
            return known
        connector = call.payload.get("connectorId") if call.action == "MeterValues" else None
        open_ones = [
            row
            for row in self._by_local.values()
            if row.state == "open" and connector in (None, 0, _number(row.connector_id))
        ]
        return open_ones[0] if len(open_ones) == 1 else None

    def for_charge_point(self, call: Call, upstream: str) -> Call:
        """A call of the central system *upstream*, with the charge point's number for the transaction."""
        path = NAMED_BY.get(call.action)
        if path is None:
            return call
        number: object = call.payload
        for name in path:
            number = number.get(name) if isinstance(number, dict) else None
        if type(number) is not int:
            return call
        text = str(number)
        found = [row for row in self._by_local.values() if row.remote_id == text]
        found.sort(key=lambda row: (row.state == "open", row.upstream == upstream))
        if not found or int(found[-1].local_id) == number:
            return call
        local = int(found[-1].local_id)
        payload = _with(call.payload, path, local)
        return replace(call, payload=payload, original=None)


def with_remote_id(call: Call, row: Transaction | None) -> Call:
    """*call* with the central system's number for its transaction."""
    return call if row is None or not row.remote_id else with_number(call, int(row.remote_id))


def with_number(call: Call, number: int) -> Call:
    """*call* with this transactionId."""
    if call.payload.get("transactionId") == number:
        return call
    return replace(call, payload={**call.payload, "transactionId": number}, original=None)


def _with(payload: dict[str, object], path: tuple[str, ...], value: object) -> dict[str, object]:
    name, *rest = path
    inner = payload.get(name)
    if rest and isinstance(inner, dict):
        return {**payload, name: _with(inner, tuple(rest), value)}
    return {**payload, name: value}


def _number(text: str) -> int | None:
    return int(text) if text else None


MOST_TRANSACTIONS = 100  # of one charge point, the oldest forgotten first; it has a handful of connectors


class UnknownTransaction(Exception):
    """The other central system never heard of the transaction that a message is about."""


class TransactionIds:
    """The transactions of one charge point, as one further central system numbers them."""

    def __init__(self) -> None:
        self._theirs: dict[object, object] = {}  # the charge point's number → theirs, the latest last

    def learn(self, told: Reply, by_them: Reply) -> None:
        """Both have answered the same StartTransaction: *told* went to the charge point."""
        if not (isinstance(told, CallResult) and isinstance(by_them, CallResult)):
            return
        ours, theirs = told.payload.get("transactionId"), by_them.payload.get("transactionId")
        if ours is None or theirs is None:
            return
        self._theirs.pop(ours, None)
        self._theirs[ours] = theirs
        if len(self._theirs) > MOST_TRANSACTIONS:
            del self._theirs[next(iter(self._theirs))]

    def for_them(self, call: Call) -> Call:
        """*call* with their number. Meter values without a known one are sent as those of no transaction.

        Raises UnknownTransaction for the end of a transaction that they never saw begin.
        """
        number = call.payload.get("transactionId")
        if number is None or call.action not in ("MeterValues", "StopTransaction"):
            return call
        theirs = self._theirs.get(number)
        if theirs == number:
            return call
        if theirs is None and call.action == "StopTransaction":
            raise UnknownTransaction(f"transaction {number} did not begin here")
        payload = {name: value for name, value in call.payload.items() if name != "transactionId"}
        if theirs is not None:
            payload["transactionId"] = theirs
        return replace(call, payload=payload, original=None)

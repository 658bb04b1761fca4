"""What each side calls a transaction: two numbers for one thing.

A charge point knows the number that its own central system gave; whoever gets copies of its messages gave
another one for the same transaction.
"""

from __future__ import annotations

from dataclasses import replace

from wattbridge.ocpp.messages import Call, CallResult, Reply

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

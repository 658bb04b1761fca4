"""One transaction, two numbers."""

from __future__ import annotations

import pytest

from wattbridge.ocpp.messages import Call, CallError, CallResult, Original
from wattbridge.relay.transactions import MOST_TRANSACTIONS, TransactionIds, UnknownTransaction

VALUES = {"connectorId": 1, "meterValue": []}


def started(number: object) -> CallResult:
    return CallResult({"transactionId": number, "idTagInfo": {"status": "Accepted"}})


def test_messages_of_a_transaction_carry_the_number_of_whoever_reads_them() -> None:
    ids = TransactionIds()
    ids.learn(started(42), started(7))
    values = Call("MeterValues", {"transactionId": 42, **VALUES}, Original("json 1.6", b"{}"))
    sent = ids.for_them(values)
    assert sent.payload == {"transactionId": 7, **VALUES}
    assert sent.original is None
    stop = Call("StopTransaction", {"transactionId": 42, "meterStop": 10})
    # Twice: the first may not have arrived.
    assert [ids.for_them(stop).payload["transactionId"] for _ in range(2)] == [7, 7]


def test_what_needs_no_other_number_stays_as_it_was_written() -> None:
    ids = TransactionIds()
    ids.learn(started(42), started(42))
    same = Call("MeterValues", {"transactionId": 42, **VALUES}, Original("json 1.6", b"{}"))
    none = Call("MeterValues", VALUES)
    other = Call("StatusNotification", {"transactionId": 1})
    assert [ids.for_them(call) is call for call in (same, none, other)] == [True, True, True]


def test_meter_values_of_an_unknown_transaction_are_sent_without_one() -> None:
    sent = TransactionIds().for_them(Call("MeterValues", {"transactionId": 42, **VALUES}))
    assert sent.payload == VALUES


def test_the_end_of_an_unknown_transaction_cannot_be_sent() -> None:
    with pytest.raises(UnknownTransaction, match="transaction 42 did not begin here"):
        TransactionIds().for_them(Call("StopTransaction", {"transactionId": 42}))


@pytest.mark.parametrize(
    ("told", "by_them"),
    [
        (started(1), CallError("GenericError")),
        (CallError("GenericError"), started(1)),
        (CallResult({}), started(1)),
        (started(1), CallResult({})),
    ],
)
def test_a_transaction_that_one_of_them_refused_is_none(
    told: CallResult | CallError, by_them: CallResult | CallError
) -> None:
    ids = TransactionIds()
    ids.learn(told, by_them)
    with pytest.raises(UnknownTransaction):
        ids.for_them(Call("StopTransaction", {"transactionId": 1}))


def test_the_oldest_transactions_are_forgotten() -> None:
    ids = TransactionIds()
    for number in range(MOST_TRANSACTIONS + 1):
        ids.learn(started(number), started(-number))
    with pytest.raises(UnknownTransaction):
        ids.for_them(Call("StopTransaction", {"transactionId": 0}))
    assert ids.for_them(Call("StopTransaction", {"transactionId": 1})).payload == {"transactionId": -1}

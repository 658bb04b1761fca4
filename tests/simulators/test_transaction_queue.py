"""When a charge point sends a message of a transaction again, and when it throws it away."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from wattbridge.simulators.transaction_queue import HEARTBEAT, Outcome, TransactionQueue

FAILED, UNANSWERED = Outcome.FAILED, Outcome.UNANSWERED
STARTED = {"transactionId": 7, "idTagInfo": {"status": "Accepted"}}


@dataclass
class Charge:
    transaction_id: int = -1


def a_queue(*, probes: bool = True, attempts: int = 3) -> TransactionQueue:
    """With the messages of one transaction."""
    queue, charge = TransactionQueue(attempts=attempts, retry=60.0, probes=probes), Charge()
    queue.add("StartTransaction", {"idTag": "A"}, charge)
    queue.add("StopTransaction", {"transactionId": -1, "meterStop": 9}, charge)
    return queue


def counts(queue: TransactionQueue) -> dict[str, int]:
    found = queue.counts
    return {name: value for name in found.__slots__ if (value := getattr(found, name))}


def test_messages_go_one_after_the_other_with_the_number_that_was_told() -> None:
    queue = a_queue()
    assert queue.next(now=0.0) == ("StartTransaction", {"idTag": "A"})
    queue.told(STARTED, now=0.1)
    assert queue.next(now=0.1) == ("StopTransaction", {"meterStop": 9, "transactionId": 7})
    queue.told({}, now=0.2)
    assert (queue.next(now=0.2), queue.due) == (None, None)
    assert counts(queue) == {"acknowledged": 2, "sent": 2}


def test_after_so_many_failures_that_are_its_own_a_message_is_discarded() -> None:
    """TransactionMessageRetryInterval times the attempts before (OCPP 1.6 edition 2, 3.7.1)."""
    queue, sent = a_queue(), []
    for now in range(1000):
        while (call := queue.next(now)) is not None and queue.counts.discarded == 0:
            sent.append((now, call[0]))
            queue.told({} if call == HEARTBEAT else FAILED, now)
    start, heartbeat = "StartTransaction", "Heartbeat"
    assert sent == [
        (0, start), (0, heartbeat), (60, start), (60, heartbeat), (180, start), (180, heartbeat)
    ]  # fmt: skip


def test_what_never_got_a_number_goes_on_without_one() -> None:
    """-1 stands for it (OCPP 1.6 errata, 3.18)."""
    queue = a_queue(attempts=1)
    queue.next(now=0.0)
    queue.told(FAILED, now=0.0)
    assert queue.next(now=0.0) == HEARTBEAT
    queue.told({}, now=0.0)
    assert queue.next(now=0.0) == ("StopTransaction", {"meterStop": 9, "transactionId": -1})
    assert counts(queue) == {"failed": 1, "discarded": 1, "sent": 2, "queued": 1}


@pytest.mark.parametrize("probe", [FAILED, UNANSWERED])
def test_a_failure_counts_for_nothing_when_a_heartbeat_fails_too(probe: Outcome) -> None:
    """It is the central system that is away then, and not the message that is wrong (OCPP-S errata, 3.2)."""
    queue = a_queue(attempts=1)
    for turn in range(10):
        now = 60.0 * turn
        assert queue.next(now - 0.1) is None or turn == 0
        assert queue.next(now) == ("StartTransaction", {"idTag": "A"})
        queue.told(FAILED, now)
        assert queue.next(now) == HEARTBEAT
        queue.told(probe, now)
    assert counts(queue) == {"failed": 10, "sent": 10, "queued": 2}


def test_of_json_every_failure_is_the_messages_own() -> None:
    """A CALLERROR is one (OCPP-J errata, 3.2), and needs no Heartbeat to be understood."""
    queue, sent = a_queue(probes=False), []
    for now in range(1000):
        if queue.counts.discarded == 0 and (call := queue.next(now)) is not None:
            sent.append((now, call[0]))
            queue.told(FAILED, now)
    assert sent == [(0, "StartTransaction"), (60, "StartTransaction"), (180, "StartTransaction")]


def test_what_was_refused_once_is_never_sent_again_before_1_6() -> None:
    """OCPP 1.5, 8.2: data is lost, and no Heartbeat is asked whose fault that is."""
    discarded: list[str] = []
    queue = a_queue(attempts=3)
    queue.once = True
    queue.on_discarded = lambda message: discarded.append(message.action)
    queue.next(now=0.0)
    queue.told(UNANSWERED, now=0.0)
    assert queue.next(now=60.0) == ("StartTransaction", {"idTag": "A"})
    queue.told(FAILED, now=60.0)
    assert queue.next(now=60.0) == ("StopTransaction", {"transactionId": -1, "meterStop": 9})
    assert discarded == ["StartTransaction"]
    assert counts(queue) == {"unanswered": 1, "failed": 1, "discarded": 1, "sent": 3, "queued": 1}


def test_a_message_without_a_number_stays_without_one() -> None:
    """MeterValues of 1.2 do not say which transaction they are of."""
    queue = a_queue()
    queue.add("MeterValues", {"values": []}, Charge(transaction_id=7))
    assert queue.messages[-1].write() == {"values": []}


def test_no_answer_is_no_failure() -> None:
    queue = a_queue(attempts=1)
    for turn in range(10):
        assert queue.next(now=60.0 * turn) == ("StartTransaction", {"idTag": "A"})
        queue.told(UNANSWERED, now=60.0 * turn)
        assert queue.next(now=60.0 * turn + 59.9) is None
    assert counts(queue) == {"unanswered": 10, "sent": 10, "queued": 2}


def test_a_connection_that_has_come_back_ends_the_wait_for_it() -> None:
    queue = a_queue()
    queue.next(now=0.0)
    queue.told(UNANSWERED, now=1.0)
    queue.connected(now=5.0)
    assert queue.next(now=5.0) == ("StartTransaction", {"idTag": "A"})
    queue.told(FAILED, now=5.0)
    queue.next(now=5.0)
    queue.told({}, now=5.0)
    queue.connected(now=6.0)  # which has nothing to do with a failure of the message's own
    assert queue.due == 65.0


def test_a_new_transaction_waits_until_the_queue_is_empty() -> None:
    """OCPP 1.6 edition 2, 3.7."""
    queue, another = a_queue(), Charge()
    queue.next(now=0.0)
    queue.told(UNANSWERED, now=0.0)
    queue.add("StartTransaction", {"idTag": "B"}, another)
    assert queue.next(now=1.0) is None
    sent = []
    while (call := queue.next(now=60.0)) is not None:
        sent.append(call[1].get("idTag", "stop"))
        queue.told(STARTED | {"transactionId": len(sent)}, now=60.0)
    assert sent == ["A", "stop", "B"]
    assert another.transaction_id == 3


def test_who_leaves_is_told() -> None:
    acknowledged: list[str] = []
    discarded: list[str] = []
    queue = a_queue(probes=False, attempts=1)
    queue.on_acknowledged = lambda message: acknowledged.append(message.action)
    queue.on_discarded = lambda message: discarded.append(message.action)
    queue.next(now=0.0)
    queue.told(FAILED, now=0.0)
    queue.next(now=0.0)
    queue.told({}, now=0.0)
    assert (acknowledged, discarded) == (["StopTransaction"], ["StartTransaction"])

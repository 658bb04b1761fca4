"""The journal tells everybody, and nobody's failure is another's."""

from __future__ import annotations

import pytest

from tests.fakes import listen
from wattbridge.ocpp.messages import Call, CallError, CallResult, Change, Loss, Passage, Reply, Side
from wattbridge.relay.journal import Event, Journal, Record

LOSS = Loss("MeterValues.meterValue[0].sampledValue[0].unit", "Hertz", "unsayable-unit", "no such unit")
CHANGE = Change("MeterValues.meterValue[0].timestamp", "12:00+01:00", "11:00Z", "to-utc")


def a_record(reply: Reply) -> Record:
    call = Call("Heartbeat", {})
    return Record(
        identity="CP1",
        arrived_from=Side.CHARGE_POINT,
        action=call.action,
        payload=call.payload,
        reply=reply,
        began=0.0,
        seconds=0.1,
        peer_seconds=0.1,
        arrived=Passage("soap", b"", (CHANGE,)),
        asked=None,
        answered=None,
        replied=Passage("soap", b"", (LOSS,)),
    )


def test_records_and_events_go_to_every_listener_in_order() -> None:
    journal, order = Journal(), list[str]()
    journal.listen(record=lambda record: order.append("a"), event=lambda event: order.append("x"))
    journal.listen(record=lambda record: order.append("b"))
    journal.listen(event=lambda event: order.append("y"))
    journal.record(a_record(CallResult({})))
    journal.event(Event("session opened", "CP1"))
    assert order == ["a", "b", "x", "y"]


def test_a_failing_listener_is_told_of_and_keeps_nobody_from_listening() -> None:
    journal = Journal()

    def fail(record: Record) -> None:
        raise ZeroDivisionError("oops")

    journal.listen(record=fail)
    heard = listen(journal)
    journal.record(a_record(CallResult({})))
    assert len(heard.records) == 1
    assert heard.events == [
        Event(
            "internal error",
            "CP1",
            "Heartbeat: a listener of the journal failed: ZeroDivisionError('oops')",
            "internal",
        )
    ]


def test_a_listener_that_fails_on_an_event_is_told_to_the_logging_of_the_library(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = Journal()

    def fail(event: Event) -> None:
        raise ZeroDivisionError("oops")

    journal.listen(event=fail)
    heard = listen(journal)
    journal.event(Event("session opened", "CP\n1"))
    assert heard.events == [Event("session opened", "CP\n1")]
    assert caplog.messages == [r"a listener of the journal failed on session opened of 'CP\n1'"]
    assert "ZeroDivisionError: oops" in caplog.text


def test_the_reason_of_a_record_is_one_word() -> None:
    assert a_record(CallResult({})).reason == ""
    assert a_record(CallError("GenericError", "…", reason="timeout")).reason == "timeout"


def test_the_notes_of_a_record_are_those_of_all_its_passages() -> None:
    record = a_record(CallResult({}))
    assert record.notes == (CHANGE, LOSS)
    assert record.losses == (LOSS,)

"""``Session.relay`` against parties without a transport; time is a number."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes import Clock, FakeLink, Listened, away, listen
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Call, CallError, CallResult, Loss, Passage, Payload, Reply, Side
from wattbridge.relay.journal import Journal, Record
from wattbridge.relay.session import (
    TRANSACTION_ACTIONS,
    Session,
    still_deliverable,
    still_deliverable_after,
    told_heartbeat_interval,
)

ARRIVED = Passage("soap", b"arrived")
REPLIED = Passage("soap", b"replied")
HEARTBEAT = Call("Heartbeat", {})
RESET = Call("Reset", {"type": "Hard"})


def a_session(clock: Clock) -> tuple[Session, Listened]:
    journal = Journal()
    heard = listen(journal)
    return Session("CP1", journal, clock=clock, wall_clock=lambda: 1_714_557_600.0 + clock.now), heard


def write(reply: Reply) -> Passage:
    return REPLIED


async def relay(
    session: Session, call: Call = HEARTBEAT, side: Side = Side.CHARGE_POINT, began: float | None = None
) -> Reply:
    reply, replied = await session.relay(call, ARRIVED, side, write, began)
    assert replied is REPLIED
    return reply


# --- carrying ---


async def test_a_call_is_carried_across_and_its_reply_back() -> None:
    clock = Clock(100.0)
    session, heard = a_session(clock)
    central_system = FakeLink(CallResult({"currentTime": "2024-05-01T10:00:00Z"}), clock=clock, takes=2.0)
    session.attach(Side.CENTRAL_SYSTEM, central_system)

    assert await relay(session) == CallResult({"currentTime": "2024-05-01T10:00:00Z"})
    assert central_system.asked == [HEARTBEAT]
    assert heard.records == [
        Record(
            identity="CP1",
            arrived_from=Side.CHARGE_POINT,
            action="Heartbeat",
            payload={},
            reply=CallResult({"currentTime": "2024-05-01T10:00:00Z"}),
            began=1_714_557_700.0,
            seconds=2.0,
            peer_seconds=0.0,
            arrived=ARRIVED,
            asked=Passage("json", b"asked"),
            answered=Passage("json", b"answered"),
            replied=REPLIED,
            known_as="CP1",
            other_transport="json",
        )
    ]


async def test_the_record_is_written_before_the_reply_leaves() -> None:
    session, heard = a_session(Clock())
    session.attach(Side.CENTRAL_SYSTEM, FakeLink())
    await relay(session)
    assert len(heard.records) == 1


async def test_a_refusal_is_carried_like_any_reply() -> None:
    session, heard = a_session(Clock())
    refusal = CallError("SecurityError", "boot first", {"x": 1})
    session.attach(Side.CENTRAL_SYSTEM, FakeLink(refusal))
    assert await relay(session) is refusal
    assert heard.records[0].reason == "call_error"


async def test_an_absent_party_becomes_an_error_that_says_why() -> None:
    session, heard = a_session(Clock())
    session.attach(Side.CENTRAL_SYSTEM, FakeLink(away("refused", "connection refused by 10.0.0.1:80")))
    assert await relay(session) == CallError(
        "GenericError", "connection refused by 10.0.0.1:80", reason="refused"
    )
    [record] = heard.records
    assert (record.asked, record.answered) == (None, None)


async def test_what_was_sent_to_a_party_that_fell_silent_is_recorded() -> None:
    clock = Clock()
    session, heard = a_session(clock)
    silent = away("timeout", "no reply to Heartbeat within 30 s")
    silent.asked = Passage("json", b'[2,"1","Heartbeat",{}]')
    session.attach(Side.CENTRAL_SYSTEM, FakeLink(silent, clock=clock, takes=30.0))
    await relay(session)
    [record] = heard.records
    assert record.asked == Passage("json", b'[2,"1","Heartbeat",{}]')
    assert record.answered is None
    assert (record.seconds, record.peer_seconds) == (30.0, 30.0)


async def test_a_call_that_the_other_encoding_cannot_say_is_refused_with_its_path() -> None:
    session, _ = a_session(Clock())
    broken = Violation("PropertyConstraintViolation", "Reset.type", "'Warm' is not one of 'Hard', 'Soft'")
    session.attach(Side.CHARGE_POINT, FakeLink(broken))
    assert await relay(session, RESET, Side.CENTRAL_SYSTEM) == CallError(
        "PropertyConstraintViolation",
        "Reset.type: 'Warm' is not one of 'Hard', 'Soft'",
        {"path": "Reset.type"},
        reason="untranslatable",
    )


async def test_an_action_that_the_other_party_does_not_have_is_unsupported() -> None:
    session, _ = a_session(Clock())
    unknown = Violation(
        "NotSupported", "Reset", "is not an action that a charge point answers", "unsupported"
    )
    session.attach(Side.CHARGE_POINT, FakeLink(unknown))
    reply = await relay(session, RESET, Side.CENTRAL_SYSTEM)
    assert isinstance(reply, CallError)
    assert (reply.code, reply.reason) == ("NotSupported", "unsupported")


@pytest.mark.parametrize(
    ("asker", "said"),
    [
        (Side.CHARGE_POINT, "no central system for charge point CP1"),
        (Side.CENTRAL_SYSTEM, "charge point CP1 has not been heard of"),
    ],
)
async def test_a_party_without_a_link_is_not_connected(asker: Side, said: str) -> None:
    session, _ = a_session(Clock())
    assert await relay(session, HEARTBEAT, asker) == CallError("GenericError", said, reason="not_connected")
    for link in session.links.values():
        await link.close("nothing to close")


async def test_meter_values_without_a_value_are_answered_here() -> None:
    """OCPP-S allows what OCPP-J cannot say (WSDL MeterValuesRequest; MeterValues.json)."""
    session, heard = a_session(Clock())
    central_system = FakeLink()
    session.attach(Side.CENTRAL_SYSTEM, central_system)
    assert await relay(session, Call("MeterValues", {"connectorId": 1})) == CallResult({})
    assert central_system.asked == []
    assert heard.records[0].asked is None


async def test_meter_values_that_lost_all_they_had_are_refused() -> None:
    """Nothing is acknowledged that did not arrive."""
    session, heard = a_session(Clock())
    session.attach(Side.CENTRAL_SYSTEM, FakeLink())
    lost = Loss("MeterValues.meterValue[0].timestamp", "soon", "bad-item", "'soon' is not a dateTime")
    reply, _ = await session.relay(
        Call("MeterValues", {"connectorId": 1}),
        Passage("soap", b"", (lost,)),
        Side.CHARGE_POINT,
        lambda reply: Passage("soap", b"<fault/>"),
    )
    assert isinstance(reply, CallError)
    assert (reply.code, reply.reason) == ("PropertyConstraintViolation", "schema")
    assert reply.description == (
        "nothing that can be carried is left; MeterValues.meterValue[0].timestamp: 'soon' is not a dateTime"
    )
    assert heard.records[0].asked is None


async def test_notes_are_told_in_the_order_of_the_walk() -> None:
    session, heard = a_session(Clock())
    session.attach(Side.CENTRAL_SYSTEM, FakeLink())
    first, last = Loss("a", "1", "unknown-field", "…"), Loss("b", "2", "bad-item", "…")
    await session.relay(
        HEARTBEAT,
        Passage("soap", b"", (first,)),
        Side.CHARGE_POINT,
        lambda reply: Passage("soap", b"", (last,)),
    )
    assert heard.records[0].notes == heard.records[0].losses == (first, last)


# --- crossing, counting, cancelling ---


async def test_calls_of_the_two_parties_cross() -> None:
    session, heard = a_session(Clock())
    central_system, charge_point = FakeLink(), FakeLink(CallResult({"status": "Accepted"}))
    central_system.may_answer.clear()
    session.attach(Side.CENTRAL_SYSTEM, central_system)
    session.attach(Side.CHARGE_POINT, charge_point)
    async with asyncio.TaskGroup() as tasks:
        pending = tasks.create_task(relay(session))
        await asyncio.sleep(0)
        assert await relay(session, RESET, Side.CENTRAL_SYSTEM) == CallResult({"status": "Accepted"})
        assert not pending.done()
        central_system.may_answer.set()
    assert [record.action for record in heard.records] == ["Reset", "Heartbeat"]


async def test_calls_under_way_are_counted_by_who_asked() -> None:
    session, _ = a_session(Clock())
    central_system = FakeLink(away())
    central_system.may_answer.clear()
    session.attach(Side.CENTRAL_SYSTEM, central_system)
    in_flight = session._journal.in_flight
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(relay(session))
        await asyncio.sleep(0)
        assert session.calls_in_flight == 1
        assert in_flight == {Side.CHARGE_POINT: 1, Side.CENTRAL_SYSTEM: 0}
        central_system.may_answer.set()
    assert session.calls_in_flight == 0
    assert in_flight == {Side.CHARGE_POINT: 0, Side.CENTRAL_SYSTEM: 0}


async def test_a_call_that_the_stopping_gateway_gives_up_is_recorded() -> None:
    clock = Clock()
    session, heard = a_session(clock)
    central_system = FakeLink()
    central_system.may_answer.clear()
    session.attach(Side.CENTRAL_SYSTEM, central_system)

    async def give_up() -> None:
        async with asyncio.timeout(0):
            await relay(session)

    with pytest.raises(TimeoutError):
        await give_up()
    [record] = heard.records
    assert record.reason == "draining"
    assert record.replied == Passage("soap", b"")
    assert session.calls_in_flight == 0


async def test_a_mistake_of_ours_is_raised_and_leaves_nothing_behind() -> None:
    session, heard = a_session(Clock())
    session.attach(Side.CENTRAL_SYSTEM, FakeLink(ZeroDivisionError("oops")))
    with pytest.raises(ZeroDivisionError):
        await relay(session)
    assert (heard.records, session.calls_in_flight) == ([], 0)


# --- whose time ---


async def test_time_in_which_there_was_no_way_to_ask_is_nobodys() -> None:
    clock = Clock()
    session, heard = a_session(clock)
    session.attach(
        Side.CENTRAL_SYSTEM, FakeLink(away("not_connected", "no connection"), clock=clock, takes=10.0)
    )
    await relay(session)
    [record] = heard.records
    assert (record.asked, record.seconds, record.peer_seconds) == (None, 10.0, 0.0)
    assert (record.delay_seconds, record.own_seconds) == (10.0, 0.0)


async def test_a_wait_for_the_connection_is_no_part_of_the_wait_for_the_reply() -> None:
    clock = Clock()
    session, heard = a_session(clock)
    silent = away("timeout", "no reply to Heartbeat within 30 s")
    silent.asked, silent.delay = Passage("json", b'[2,"1","Heartbeat",{}]'), 4.0
    session.attach(Side.CENTRAL_SYSTEM, FakeLink(silent, clock=clock, takes=34.0))
    await relay(session)
    [record] = heard.records
    assert (record.seconds, record.peer_seconds, record.delay_seconds) == (34.0, 30.0, 4.0)


async def test_the_gateways_time_is_what_the_link_did_not_wait() -> None:
    """From the request's last byte to the reply, without what the asked party took of it."""
    clock = Clock(10.0)
    session, heard = a_session(clock)

    # Half a second of the 503 ms is the central system's.
    session.attach(Side.CENTRAL_SYSTEM, FakeLink(clock=clock, takes=0.503, waited=0.5))

    def write_slowly(reply: Reply) -> Passage:
        clock.now += 0.004
        return REPLIED

    await session.relay(HEARTBEAT, ARRIVED, Side.CHARGE_POINT, write_slowly, began=9.992)
    [record] = heard.records
    assert round(record.seconds, 6) == 0.515
    assert record.peer_seconds == 0.5
    assert round(record.own_seconds, 6) == 0.015
    assert round(record.began - 1_714_557_600.0, 3) == 9.992


# --- alive ---


async def test_a_charge_point_is_heard_when_it_calls() -> None:
    clock = Clock()
    session, _ = a_session(clock)
    clock.now = 50.0
    await relay(session)
    assert session.heard == 50.0


@pytest.mark.parametrize(
    "reply",
    [
        CallResult({"status": "Accepted"}),
        CallError("InternalError", "busy now", reason="fault"),
        CallError("TypeConstraintViolation", "ResetResponse.status: …", reason="schema"),
    ],
)
async def test_a_charge_point_is_heard_when_it_answers(reply: Reply) -> None:
    clock = Clock()
    session, _ = a_session(clock)
    session.attach(Side.CHARGE_POINT, FakeLink(reply, clock=clock, takes=7.0))
    await relay(session, RESET, Side.CENTRAL_SYSTEM)
    assert session.heard == 7.0


@pytest.mark.parametrize(
    "outcome",
    [
        away("timeout", "no answer from 10.0.0.1:80 within 30 s"),
        CallError("GenericError", "answered HTTP 404 with an HTML page", reason="malformed"),
    ],
)
async def test_what_is_no_answer_of_a_charge_point_does_not_keep_it_alive(outcome: Exception | Reply) -> None:
    clock = Clock()
    session, _ = a_session(clock)
    session.attach(Side.CHARGE_POINT, FakeLink(outcome, clock=clock, takes=7.0))
    await relay(session, RESET, Side.CENTRAL_SYSTEM)
    assert session.heard == 0.0


async def test_calls_of_the_central_system_alone_do_not_keep_a_session_alive() -> None:
    clock = Clock()
    session, _ = a_session(clock)
    clock.now = 9.0
    await relay(session, RESET, Side.CENTRAL_SYSTEM)
    assert session.heard == 0.0


# --- heartbeat interval ---

INTERVAL = {"key": "HeartbeatInterval", "readonly": False, "value": "900"}


@pytest.mark.parametrize(
    ("action", "asked", "result", "told"),
    [
        ("BootNotification", {}, {"status": "Accepted", "interval": 600}, 600.0),
        ("BootNotification", {}, {"status": "Rejected", "interval": 60}, 60.0),
        ("BootNotification", {}, {"status": "Accepted", "interval": 0}, None),
        ("BootNotification", {}, {"status": "Accepted", "interval": -5}, None),
        ("BootNotification", {}, {"status": "Accepted", "interval": 10**30}, None),
        ("BootNotification", {}, {"status": "Accepted"}, None),
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "900"}, {"status": "Accepted"}, 900.0),
        ("ChangeConfiguration", {"key": "heartBeatInterval", "value": "900"}, {"status": "Accepted"}, 900.0),
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "900"}, {"status": "Rejected"}, None),
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "soon"}, {"status": "Accepted"}, None),
        ("ChangeConfiguration", {"key": "ClockAligned", "value": "900"}, {"status": "Accepted"}, None),
        ("GetConfiguration", {}, {"configurationKey": [{"key": "A", "readonly": True}, INTERVAL]}, 900.0),
        ("GetConfiguration", {}, {"configurationKey": [{"key": "HeartbeatInterval"}]}, None),
        ("GetConfiguration", {}, {}, None),
    ],
)  # fmt: skip
def test_the_heartbeat_interval_is_learned(
    action: str, asked: Payload, result: Payload, told: float | None
) -> None:
    """OCPP 1.6, 4.2: the interval of BootNotification.conf; 9.1.10: HeartbeatInterval."""
    assert told_heartbeat_interval(Call(action, asked), CallResult(result)) == told


async def test_the_interval_stays_until_another_is_told() -> None:
    session, _ = a_session(Clock())
    central_system = FakeLink(CallResult({"interval": 600}))
    session.attach(Side.CENTRAL_SYSTEM, central_system)
    await relay(session, Call("BootNotification", {}))
    assert session.heartbeat_interval == 600.0
    central_system.outcome = CallResult({"interval": 0})
    await relay(session, Call("BootNotification", {}))
    assert session.heartbeat_interval == 600.0
    central_system.outcome = CallError("InternalError")
    await relay(session, Call("BootNotification", {}))
    assert session.heartbeat_interval == 600.0


# --- what can still be delivered ---


@pytest.mark.parametrize("reason", ["timeout", "unreachable", "refused", "not_connected", "busy", "draining"])
@pytest.mark.parametrize("action", sorted(TRANSACTION_ACTIONS))
def test_a_transaction_message_that_did_not_arrive_can_still_be_delivered(action: str, reason: str) -> None:
    """OCPP 1.6 errata 3.2: a fault tells the charge point that the message is bad."""
    assert still_deliverable(action, CallError("GenericError", reason=reason))


@pytest.mark.parametrize("action", sorted(TRANSACTION_ACTIONS))
def test_a_mistake_of_ours_costs_no_transaction(action: str) -> None:
    assert still_deliverable(action, CallError("InternalError", reason="internal"))


@pytest.mark.parametrize("reason", ["call_error", "schema", "malformed", "untranslatable", "auth"])
def test_a_refused_transaction_message_will_not_be_better_the_next_time(reason: str) -> None:
    assert not still_deliverable("StopTransaction", CallError("GenericError", reason=reason))


@pytest.mark.parametrize("reason", ["malformed", "too_large", "timeout"])
def test_what_something_else_than_the_central_system_answered_refuses_nothing(reason: str) -> None:
    """A login page is not its word: the message that was relayed can still be delivered."""
    reply = CallError("GenericError", "answered HTTP 200 with an HTML page", reason=reason)
    assert still_deliverable_after("StopTransaction", reply)
    assert not still_deliverable_after("Heartbeat", reply)
    assert not still_deliverable_after("StopTransaction", CallError("GenericError", reason="fault"))


def test_only_transaction_messages_are_kept_by_charge_points() -> None:
    assert not still_deliverable("Heartbeat", CallError("GenericError", reason="timeout"))
    assert not still_deliverable("StopTransaction", CallResult({}))

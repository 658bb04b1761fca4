"""What a charge point says reaches its central system, once: in virtual time, against a store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.fakes import away
from tests.relay.deliveries import (
    ACCEPTED,
    AUTHORIZE,
    BOOT,
    EPOCH,
    HEARTBEAT,
    World,
    meter_values,
    start,
    status,
    stop,
)
from wattbridge.ocpp.messages import Call, CallError, CallResult, Passage, Side
from wattbridge.relay.offline import Answers, Rules
from wattbridge.relay.transactions import OURS
from wattbridge.store.base import Transaction, Waiting

PROVISIONAL = Answers(start_transaction="provisional")


@contextmanager
def a_world(**settings: Any) -> Iterator[World]:
    world = World(**settings)
    try:
        yield world
    finally:
        world.close()


# --- repetitions ---


@pytest.mark.parametrize("call", [start(), stop(101), meter_values(101)], ids=lambda call: call.action)
def test_a_repeated_message_gets_the_reply_of_the_first(call: Call) -> None:
    """Known by its content: retries have new message ids (EVerest/libocpp #298)."""
    with a_world() as world:
        first = world.result(call)
        assert world.result(call) == first
        assert len(world.got) == 1
        assert [record.how for record in world.heard.records] == ["", "repeat"]


@pytest.mark.parametrize("call", [start(), stop(101), meter_values(101)], ids=lambda call: call.action)
def test_also_after_a_crash(call: Call) -> None:
    with a_world() as world:
        first = world.result(call)
        world.run_for(1.0)
        world.crash()
        assert world.result(call) == first
        assert len(world.got) == 1


def test_a_start_is_remembered_however_many_came_since() -> None:
    with a_world() as world:
        first = world.result(start(0))
        for number in range(1, 60):
            world.result(start(number))
        world.crash()
        assert world.result(start(0)) == first
        assert len(world.got) == 60


def test_after_the_window_it_is_a_new_message() -> None:
    with a_world(rules=Rules(replies=60.0)) as world:
        world.result(start())
        world.run_for(61.0)
        world.result(start())
        assert len(world.got) == 2


def test_a_repetition_of_what_is_under_way_waits_for_the_same_reply() -> None:
    with a_world() as world:
        world.central_system.slow = 5.0
        first, second = world.asking(start()), world.asking(start())
        world.run_for(5.0)
        assert first.result() == second.result() == CallResult({"transactionId": 101, "idTagInfo": ACCEPTED})
        assert len(world.got) == 1


def test_what_differs_in_anything_is_another_message() -> None:
    with a_world() as world:
        world.result(start(0))
        world.result(start(1))
        world.result(start(0, connector=2))
        world.result(start(0, tag="OTHER"))
        assert len(world.got) == 4


def test_what_the_central_system_refuses_is_asked_again_under_another_id() -> None:
    with a_world() as world:
        world.central_system.refuses = {"StopTransaction"}
        assert world.error(stop(101)).description == "no"
        world.central_system.refuses = set()
        assert world.result(stop(101)) == {}
        first, second = world.central_system.got
        assert first.message_id != second.message_id


def test_what_was_sent_and_not_answered_is_sent_again_with_the_same_id() -> None:
    """Also when nothing was written down before the crash: the id is made of the content."""
    with a_world(rules=Rules(hold=0.0)) as world:
        world.central_system.loses = True
        assert world.error(start(), within=1.0).reason == "unreachable"
        world.crash()
        world.come_back()
        assert world.result(start())["transactionId"] == 101
        first, second = world.central_system.got
        assert first.message_id == second.message_id


# --- the outbox ---


def test_what_can_wait_is_confirmed_and_sent_later_in_order() -> None:
    with a_world() as world:
        world.central_system.away = True
        for call in (meter_values(7, 1), status(2), stop(7, 3), status(4)):
            assert world.result(call) == {}
        assert [record.how for record in world.heard.records] == ["kept"] * 4
        world.run_for(60.0)
        assert world.got == []
        world.come_back()
        world.run_for(1.0)
        assert [call.payload for call in world.central_system.got] == [
            meter_values(7, 1).payload,
            status(2).payload,
            stop(7, 3).payload,
            status(4).payload,
        ]
        assert world.delivery.outbox.waiting.messages == world.deliveries.waiting.messages == 0
        assert len(world.heard.told("message delivered")) == 4


def test_since_when_the_oldest_waits_is_known_from_the_first_on() -> None:
    """And within a minute when some of it is gone."""
    with a_world() as world:
        seen = [world.deliveries.oldest]
        world.central_system.away = True
        for number in (1, 2):
            world.run_for(10.0)
            world.result(status(number))
            seen.append(world.deliveries.oldest)
        world.read(lambda: world.deliveries.drop("CP1", 1))
        world.run_for(60.0)
        seen.append(world.deliveries.oldest)
        world.come_back()
        world.run_for(1.0)
        seen.append(world.deliveries.oldest)
        assert seen == [None, EPOCH + 10.0, EPOCH + 10.0, EPOCH + 20.0, None]


def test_what_waits_is_sent_after_a_crash_too_and_only_once() -> None:
    with a_world() as world:
        world.central_system.away = True
        for number in range(120):
            world.result(meter_values(7, number))
            world.run_for(0.1)
        world.crash()
        assert world.waiting == ["CP1"]
        assert world.result(meter_values(7, 119)) == {}  # repeated, for its reply did not come
        world.come_back()
        world.run_for(5.0)
        sent = [payload["meterValue"][0]["sampledValue"][0]["value"] for _, payload in world.got]
        assert sent == [str(number) for number in range(120)]


@pytest.mark.parametrize("moment", [0.1, 0.3, 0.5, 0.7, 0.9, 1.1])
def test_a_link_that_opens_while_the_disk_is_read_is_not_missed(moment: float) -> None:
    """Whatever the gateway does in that moment after a restart, nothing waits for half a minute more."""
    with a_world() as world:
        find = world.store.find

        async def find_slowly(*asked: Any, **how: Any) -> Any:
            await asyncio.sleep(0.1)
            return await find(*asked, **how)

        world.central_system.away = True
        for number in range(3):
            world.result(meter_values(7, number))
        world.store.find = find_slowly  # type: ignore[method-assign]
        world.crash()
        world.run_for(moment)
        world.come_back()
        world.run_for(2.0)
        assert len(world.got) == 3


def test_later_messages_queue_behind_and_others_overtake() -> None:
    """OCPP 1.6, 3.7: new transaction messages wait until the queue is empty."""
    with a_world(rules=Rules(rate=1.0)) as world:
        world.central_system.away = True
        for number in range(3):
            world.result(meter_values(7, number))
        world.come_back()
        world.run_for(0.5)
        assert world.result(meter_values(7, 3)) == {}
        assert world.result(HEARTBEAT) == {"currentTime": "2024-05-01T10:00:00Z"}
        world.run_for(10.0)
        actions = [call.action for call in world.central_system.got]
        assert actions == ["MeterValues", "Heartbeat", "MeterValues", "MeterValues", "MeterValues"]


def test_a_message_whose_answer_was_lost_is_kept_and_sent_with_the_same_id() -> None:
    with a_world() as world:
        world.central_system.loses = True
        assert world.result(stop(7)) == {}
        world.come_back()
        world.run_for(2.0)
        assert len(world.central_system.got) > 1
        assert len(world.central_system.messages) == 1


def test_a_silent_central_system_costs_the_later_ones_no_wait() -> None:
    with a_world() as world:
        world.central_system.silent = True
        assert world.result(meter_values(7, 1), within=30.0) == {}
        world.run_for(2.0)  # it is being sent again
        assert world.result(meter_values(7, 2)) == {}


def test_bounds_refuse_what_is_new_and_drop_nothing() -> None:
    with a_world(rules=Rules(most=2)) as world:
        world.central_system.away = True
        world.result(meter_values(7, 1))
        world.result(meter_values(7, 2))
        refused = world.error(meter_values(7, 3))
        assert refused.reason == "queue_full"
        assert "2 messages, " in refused.description
        world.come_back()
        world.run_for(1.0)
        assert len(world.got) == 2
        assert world.result(meter_values(7, 3)) == {}


def test_bounds_count_bytes_and_all_charge_points() -> None:
    with a_world(rules=Rules(most_bytes=200)) as world:
        world.central_system.away = True
        world.result(meter_values(7, 1))
        assert world.error(meter_values(7, 2)).reason == "queue_full"
    with a_world(rules=Rules(most_in_all=0)) as world:
        world.central_system.away = True
        assert "in all wait" in world.error(meter_values(7, 1)).description
        assert world.deliveries.is_full


def test_what_is_too_old_is_dropped_and_told_whole() -> None:
    with a_world(rules=Rules(max_age=3600.0)) as world:
        world.central_system.away = True
        world.result(stop(7))
        world.run_for(3640.0)
        world.result(stop(8))
        world.come_back()
        world.run_for(1.0)
        assert [payload["transactionId"] for _, payload in world.got] == [8]
        [expired] = world.heard.told("message expired")
        assert '"transactionId":7' in expired.text
        assert expired.reason == "expired"


def test_what_is_refused_again_and_again_is_parked_and_the_others_go_on() -> None:
    with a_world(rules=Rules(attempts=3, retry=10.0)) as world:
        world.central_system.away = True
        world.result(stop(7))
        world.result(status(1))
        world.central_system.refuses = {"StopTransaction"}
        world.come_back()
        world.run_for(9.0)
        assert [call.action for call in world.central_system.got] == ["StopTransaction"]
        world.run_for(100.0)
        assert [call.action for call in world.central_system.got] == [
            *(["StopTransaction"] * 3),
            "StatusNotification",
        ]
        assert len({call.message_id for call in world.central_system.got}) == 4
        [parked] = world.heard.told("message parked")
        assert "InternalError: no" in parked.text
        [row] = world.read(lambda: world.store.find(Waiting))
        assert (row.state, row.refusals, row.problem) == ("parked", 3, "InternalError: no")
        assert world.deliveries.parked == 1

        world.central_system.refuses = set()
        assert world.read(lambda: world.deliveries.retry("CP1", row.position)) is True
        world.run_for(1.0)
        assert world.central_system.got[-1].action == "StopTransaction"
        assert world.read(lambda: world.store.find(Waiting)) == []
        assert world.deliveries.parked == 0


def test_what_is_answered_with_rubbish_is_confirmed_and_parked() -> None:
    """Whether the central system has done it, it could not say; asking it for ever would do it for ever."""
    with a_world(rules=Rules(attempts=3, retry=1.0)) as world:
        world.central_system.babbles = {"StopTransaction"}
        assert world.result(stop(7)) == {}
        world.run_for(60.0)
        assert len(world.got) == 4
        assert len(world.central_system.messages) == 4
        [row] = world.read(lambda: world.store.find(Waiting))
        assert (row.state, row.problem) == ("parked", "InternalError: no JSON")
        assert world.result(stop(7)) == {}


def test_the_operator_drops_what_shall_not_be_sent() -> None:
    with a_world() as world:
        world.central_system.away = True
        world.result(stop(7))
        world.result(stop(8))
        assert world.read(lambda: world.deliveries.drop("CP1", 1)) is True
        assert world.read(lambda: world.deliveries.drop("CP1", 1)) is False
        [dropped] = world.heard.told("message dropped")
        assert dropped.labels == {"action": "StopTransaction"}
        assert '"transactionId":7' in dropped.text
        world.come_back()
        world.run_for(1.0)
        assert [payload["transactionId"] for _, payload in world.got] == [8]


# --- a store that cannot keep ---


def test_nothing_is_acknowledged_that_cannot_be_kept_and_no_heartbeat_either() -> None:
    """A good Heartbeat.conf would make the charge point blame its message (OCPP-S 1.6 errata, 3.2)."""
    with a_world() as world:
        world.central_system.away = True
        world.store.problem = "disk full"
        for call in (stop(7), meter_values(7), status()):
            assert world.error(call).reason == "queue_full"
        assert world.error(HEARTBEAT).reason == "queue_full"
        world.store.problem = ""
        assert world.result(stop(7)) == {}
        assert "currentTime" in world.result(HEARTBEAT)


def test_a_result_that_cannot_be_kept_is_not_shown_and_not_asked_for_again() -> None:
    with a_world() as world:
        world.store.problem = "disk full"
        assert world.error(start()).reason == "queue_full"
        assert world.error(start()).reason == "queue_full"
        world.store.problem = ""
        assert world.result(start())["transactionId"] == 101
        assert len(world.got) == 1
        world.crash()
        assert world.result(start())["transactionId"] == 101
        assert len(world.got) == 1


def test_what_was_delivered_is_not_sent_again_when_that_cannot_be_kept() -> None:
    with a_world() as world:
        world.central_system.away = True
        world.result(stop(7))
        world.come_back()
        world.store.problem = "disk full"
        world.run_for(30.0)
        assert len(world.got) == 1
        world.store.problem = ""
        world.run_for(2.0)
        assert world.read(lambda: world.store.find(Waiting)) == []
        assert len(world.got) == 1


# --- while the central system is away ---


def test_a_heartbeat_is_answered_with_the_time() -> None:
    with a_world() as world:
        world.central_system.away = True
        world.run_for(61.0)
        assert world.result(HEARTBEAT) == {"currentTime": "2024-05-01T10:01:01Z"}
        assert world.heard.records[-1].how == "offline"


def test_a_start_is_held_and_then_left_to_the_charge_point() -> None:
    with a_world(rules=Rules(hold=20.0)) as world:
        world.central_system.away = True
        asking = world.asking(start())
        world.run_for(19.0)
        assert not asking.done()
        world.run_for(2.0)
        reply = asking.result()
        assert isinstance(reply, CallError)
        assert reply.reason == "not_connected"
        assert "held for 20 s" in reply.description


def test_a_start_that_is_held_is_delivered_when_the_central_system_comes_back() -> None:
    with a_world() as world:
        world.central_system.away = True
        world.result(meter_values(7))
        asking = world.asking(start())
        world.run_for(10.0)
        world.come_back()
        world.run_for(1.0)
        reply = asking.result()
        assert reply == CallResult({"transactionId": 101, "idTagInfo": ACCEPTED})
        assert [call.action for call in world.central_system.got] == ["MeterValues", "StartTransaction"]


@pytest.mark.parametrize(
    ("policy", "reply"),
    [
        ("accept", {"idTagInfo": ACCEPTED}),
        ("cached", {"idTagInfo": {"status": "Blocked", "parentIdTag": "P"}}),
    ],
)
def test_authorize_follows_the_policy(policy: Any, reply: Any) -> None:
    with a_world(answers=Answers(authorize=policy)) as world:
        world.central_system.says = {"status": "Blocked", "parentIdTag": "P"}
        world.result(AUTHORIZE)
        world.run_for(1.0)
        world.crash()
        world.central_system.away = True
        assert world.result(Call("Authorize", {"idTag": "tag"})) == reply


def test_authorize_fails_for_whom_nobody_knows() -> None:
    with a_world() as world:
        world.central_system.away = True
        assert world.error(AUTHORIZE).reason == "not_connected"
    with a_world(answers=Answers(authorize="none")) as world:
        world.result(AUTHORIZE)
        world.central_system.away = True
        assert world.error(AUTHORIZE).reason == "not_connected"


def test_an_authorization_ends_with_its_expiry_date_and_with_its_age() -> None:
    with a_world(rules=Rules(authorizations=86400.0)) as world:
        world.central_system.says = {"status": "Accepted", "expiryDate": "2024-05-01T12:00:00Z"}
        world.result(AUTHORIZE)
        world.central_system.away = True
        assert world.result(AUTHORIZE)["idTagInfo"]["status"] == "Accepted"
        world.run_for(2 * 3600.0)
        assert world.result(AUTHORIZE)["idTagInfo"]["status"] == "Expired"
        world.run_for(86400.0)
        assert world.error(AUTHORIZE).reason == "not_connected"


def test_a_boot_gets_its_last_acceptance_and_is_told_later() -> None:
    with a_world() as world:
        world.result(BOOT)
        world.run_for(61.0)
        world.crash()
        world.central_system.away = True
        assert world.result(BOOT) == {
            "status": "Accepted",
            "currentTime": "2024-05-01T10:01:01Z",
            "interval": 120,
        }
        world.central_system.got.clear()
        world.come_back()
        world.run_for(1.0)
        assert [call.action for call in world.central_system.got] == ["BootNotification"]


def test_however_often_it_boots_meanwhile_that_is_told_once() -> None:
    with a_world() as world:
        world.result(BOOT)
        world.central_system.away = True
        world.result(BOOT)
        world.result(status(1))
        world.result(Call("BootNotification", {**BOOT.payload, "firmwareVersion": "2"}))
        assert world.deliveries.waiting.messages == world.delivery.outbox.waiting.messages == 2
        world.come_back()
        world.run_for(1.0)
        assert [(action, payload.get("firmwareVersion")) for action, payload in world.got[1:]] == [
            ("StatusNotification", None),
            ("BootNotification", "2"),
        ]


def test_a_boot_that_was_never_accepted_is_not_accepted_here() -> None:
    with a_world() as world:
        world.central_system.away = True
        assert world.error(BOOT).reason == "not_connected"
    with a_world(answers=Answers(boot_notification="pending")) as world:
        world.central_system.away = True
        assert world.result(BOOT)["status"] == "Pending"
        world.come_back()
        world.run_for(1.0)
        assert world.got == []


# --- provisional transactions ---


def begun_provisionally(world: World) -> int:
    world.central_system.away = True
    reply = world.result(start())
    assert reply["idTagInfo"] == ACCEPTED
    assert reply["transactionId"] in OURS
    return int(reply["transactionId"])


def test_a_provisional_number_is_replaced_in_every_later_message() -> None:
    with a_world(answers=PROVISIONAL) as world:
        number = begun_provisionally(world)
        world.result(meter_values(number, 1))
        world.come_back()
        world.run_for(1.0)
        world.result(meter_values(number, 2))
        world.crash()
        world.result(stop(number, 3))
        assert [(action, payload.get("transactionId")) for action, payload in world.got] == [
            ("StartTransaction", None),
            ("MeterValues", 101),
            ("MeterValues", 101),
            ("StopTransaction", 101),
        ]
        assert world.got[0][1] == start().payload
        [row] = world.read(lambda: world.store.find(Transaction))
        assert (row.local_id, row.remote_id, row.state) == (str(number), "101", "stopped")


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("RemoteStopTransaction", {"transactionId": 101}),
        (
            "SetChargingProfile",
            {"connectorId": 1, "csChargingProfiles": {"transactionId": 101, "stackLevel": 0}},
        ),
        ("RemoteStartTransaction", {"idTag": "T", "chargingProfile": {"transactionId": 101}}),
    ],
)
def test_and_the_other_way_in_calls_of_the_central_system(action: str, payload: Any) -> None:
    with a_world(answers=PROVISIONAL) as world:
        number = begun_provisionally(world)
        world.come_back()
        world.run_for(1.0)
        world.crash()  # it has not said a word since
        world.ask(Call(action, payload), Side.CENTRAL_SYSTEM)
        [asked] = world.charge_point.asked
        assert str(number) in str(asked.payload)
        assert "101" not in str(asked.payload).replace(str(number), "")


@pytest.mark.parametrize("crash", [False, True])
def test_however_many_transactions_an_outage_has_seen(crash: bool) -> None:
    with a_world(answers=PROVISIONAL) as world:
        world.central_system.away = True
        for second in range(30):
            number = world.result(start(second))["transactionId"]
            world.result(stop(number, second))
        if crash:
            world.crash()
        world.come_back()
        world.run_for(5.0)
        ends = [payload["transactionId"] for action, payload in world.got if action == "StopTransaction"]
        assert ends == list(range(101, 131))


def test_a_repeated_provisional_start_keeps_its_number() -> None:
    with a_world(answers=PROVISIONAL) as world:
        number = begun_provisionally(world)
        assert world.result(start())["transactionId"] == number
        world.crash()
        world.central_system.away = True
        assert world.result(start())["transactionId"] == number
        world.come_back()
        world.run_for(1.0)
        assert world.result(start())["transactionId"] == number
        assert len(world.got) == 1


def test_a_start_whose_answer_was_lost_becomes_provisional_under_the_same_id() -> None:
    with a_world(answers=PROVISIONAL) as world:
        world.central_system.loses = True
        number = world.result(start())["transactionId"]
        assert number in OURS
        world.come_back()
        world.run_for(2.0)
        world.result(stop(number))
        assert len(world.central_system.messages) == 2
        assert world.got[-1][1]["transactionId"] == 101


@pytest.mark.parametrize("policy", ["stop", "record"])
def test_a_late_refusal_stops_the_charging_or_is_only_told(policy: Any) -> None:
    with a_world(answers=replace(PROVISIONAL, late_refusal=policy)) as world:
        number = begun_provisionally(world)
        world.central_system.says = {"status": "Blocked"}
        world.come_back()
        world.run_for(1.0)
        [told] = world.heard.told("transaction refused")
        assert "its idTag is Blocked" in told.text
        asked = [(call.action, call.payload) for call in world.charge_point.asked]
        stopping = [("RemoteStopTransaction", {"transactionId": number})]
        assert asked == (stopping if policy == "stop" else [])
        world.result(stop(number))
        assert world.got[-1] == ("StopTransaction", {**stop(number).payload, "transactionId": 101})


def test_a_charge_point_that_is_away_is_asked_to_stop_when_it_comes_back() -> None:
    with a_world(answers=PROVISIONAL) as world:
        number = begun_provisionally(world)
        world.charge_point.outcome = away()
        world.central_system.says = {"status": "Blocked"}
        world.come_back()
        world.run_for(60.0)
        assert len(world.heard.told("transaction not stopped")) == 1
        world.crash()
        world.result(HEARTBEAT)
        world.charge_point.outcome = CallResult(dict(ACCEPTED))
        world.charge_point.asked.clear()
        world.run_for(600.0)
        [asked] = world.charge_point.asked
        assert (asked.action, asked.payload) == ("RemoteStopTransaction", {"transactionId": number})
        assert len(world.heard.told("charging stopped")) == 1


def test_a_message_that_is_never_answered_is_parked_when_others_are() -> None:
    with a_world(rules=Rules(attempts=2, retry=1.0)) as world:
        world.central_system.ignores = {"MeterValues"}
        world.central_system.away = True
        world.result(meter_values(7))
        world.result(stop(7))
        world.come_back()
        for _ in range(20):
            world.run_for(40.0)
            world.result(HEARTBEAT)
        assert [call.action for call in world.central_system.got if call.action != "Heartbeat"] == [
            "StopTransaction"
        ]
        [row] = world.read(lambda: world.store.find(Waiting))
        assert (row.action, row.state) == ("MeterValues", "parked")
        assert row.problem.startswith("it was sent and not answered, though others were")


def test_a_start_that_is_never_answered_is_not_refused_and_its_charging_goes_on() -> None:
    with a_world(answers=PROVISIONAL, rules=Rules(attempts=2, retry=1.0)) as world:
        world.central_system.ignores = {"StartTransaction"}
        begun_provisionally(world)
        world.come_back()
        for _ in range(20):
            world.run_for(40.0)
            world.result(HEARTBEAT)
        assert len(world.heard.told("message parked")) == 1
        assert world.heard.told("transaction refused") == []
        assert world.charge_point.asked == []


def test_a_central_system_that_answers_nothing_parks_nothing() -> None:
    with a_world(rules=Rules(attempts=2, retry=1.0)) as world:
        world.central_system.silent = True
        world.result(meter_values(7), within=30.0)
        for _ in range(20):
            world.result(HEARTBEAT, within=30.0)
            world.run_for(40.0)
        assert world.heard.told("message parked") == []
        world.come_back()
        world.run_for(60.0)
        assert [call.action for call in world.central_system.got] == ["MeterValues"]


def test_a_clock_that_jumps_costs_no_message_while_the_central_system_is_there() -> None:
    with a_world(rules=Rules(max_age=3600.0, rate=0.1)) as world:
        world.central_system.away = True
        world.result(stop(7))
        world.result(stop(8))
        world.come_back()
        world.deliveries.now = lambda: 2_000_000_000.0
        world.run_for(60.0)
        assert [payload["transactionId"] for _, payload in world.got] == [7, 8]


def test_a_number_by_hand_takes_the_place_of_the_start() -> None:
    with a_world(answers=PROVISIONAL, rules=Rules(attempts=1)) as world:
        number = begun_provisionally(world)
        world.result(stop(number, 2))
        world.central_system.refuses = {"StartTransaction"}
        world.come_back()
        world.run_for(5.0)
        assert world.read(lambda: world.deliveries.set_remote_id("CP1", number, 4711)) is True
        [row] = world.read(lambda: world.store.find(Waiting))
        assert (row.action, world.deliveries.parked) == ("StopTransaction", 1)
        assert world.read(lambda: world.deliveries.retry("CP1", row.position)) is True
        world.run_for(1.0)
        assert world.got[-1] == ("StopTransaction", {**stop(number, 2).payload, "transactionId": 4711})
        [transaction] = world.read(lambda: world.store.find(Transaction))
        assert (transaction.remote_id, transaction.state) == ("4711", "stopped")


def test_a_number_that_the_central_system_gave_is_not_changed_by_hand() -> None:
    with a_world() as world:
        number = world.result(start())["transactionId"]
        with pytest.raises(ValueError, match="gave transaction 101 its number itself"):
            world.read(lambda: world.deliveries.set_remote_id("CP1", number, 4711))


def test_what_follows_a_start_that_is_refused_for_good_is_parked_with_it() -> None:
    with a_world(answers=PROVISIONAL, rules=Rules(attempts=2, retry=1.0)) as world:
        number = begun_provisionally(world)
        world.result(meter_values(number, 1))
        world.result(stop(number, 2))
        world.result(status())
        world.central_system.refuses = {"StartTransaction"}
        world.come_back()
        world.run_for(60.0)
        assert world.got[-1][0] == "StatusNotification"
        rows = world.read(lambda: world.store.find(Waiting))
        assert [(row.action, row.state) for row in rows] == [
            ("StartTransaction", "parked"),
            ("MeterValues", "parked"),
            ("StopTransaction", "parked"),
        ]
        # The operator has found out the number, and sends the rest.
        assert world.read(lambda: world.deliveries.set_remote_id("CP1", number, 4711)) is True
        assert world.heard.told("transaction renumbered")[-1].labels == {"by": "operator"}
        for row in rows[1:]:
            assert world.read(partial(world.deliveries.retry, "CP1", row.position)) is True
        world.run_for(1.0)
        assert [payload["transactionId"] for _, payload in world.got[-2:]] == [4711, 4711]


# --- numbers ---


def test_a_number_that_the_charge_point_cannot_say_is_another_one_there() -> None:
    """transactionId is xs:int in OCPP-S; JSON has no limit (steve #740)."""
    with a_world() as world:
        world.central_system.next_id = 2**40
        number = world.result(start())["transactionId"]
        assert number in OURS
        [told] = world.heard.told("transaction renumbered")
        assert told.labels == {"by": "gateway"}
        world.result(stop(number))
        assert world.got[-1][1]["transactionId"] == 2**40
        world.ask(Call("RemoteStopTransaction", {"transactionId": 2**40}), Side.CENTRAL_SYSTEM)
        assert world.charge_point.asked[0].payload == {"transactionId": number}


def test_a_charge_point_that_speaks_json_says_any_number() -> None:
    with a_world() as world:
        world.charge_point.transport = "json"
        world.central_system.next_id = 2**70
        assert world.result(start())["transactionId"] == 2**70
        world.result(stop(2**70))
        world.crash()
        world.result(meter_values(2**70))
        assert [payload.get("transactionId") for _, payload in world.got] == [None, 2**70, 2**70]


def test_a_number_out_of_our_range_is_not_taken_at_its_word() -> None:
    with a_world() as world:
        world.central_system.next_id = OURS.start + 5
        number = world.result(start())["transactionId"]
        world.result(stop(number))
        assert world.got[-1][1]["transactionId"] == OURS.start + 5


@pytest.mark.parametrize("number", [-2, -1, 0])
def test_numbers_that_are_not_positive_are_numbers_where_they_were_given(number: int) -> None:
    with a_world() as world:
        world.central_system.next_id = number
        assert world.result(start())["transactionId"] == number
        world.result(stop(number))
        assert world.got[-1][1]["transactionId"] == number


@pytest.mark.parametrize("number", [-1, 0])
def test_whoever_was_told_no_number_means_the_open_transaction(number: int) -> None:
    """OCPP 1.6 errata, 3.18; mikuso/ocpp-rpc #82."""
    with a_world() as world:
        world.result(start())
        world.result(meter_values(number, 1))
        world.result(stop(number, 2))
        assert [payload.get("transactionId") for _, payload in world.got] == [None, 101, 101]
        world.result(stop(number, 3))  # nothing is open any more
        assert world.got[-1][1]["transactionId"] == number


def test_of_two_open_transactions_the_connector_tells_which() -> None:
    with a_world() as world:
        world.result(start(0, connector=1))
        world.result(start(1, connector=2))
        world.result(meter_values(-1, 1, connector=2))
        assert world.got[-1][1]["transactionId"] == 102
        world.result(stop(-1))
        assert world.got[-1][1]["transactionId"] == -1


def test_no_number_is_answered_as_valid_whatever_the_central_system_says() -> None:
    with a_world() as world:
        world.central_system.refuses = {"StopTransaction", "MeterValues"}
        assert world.result(stop(-1)) == {}
        assert world.result(meter_values(-1)) == {}
        assert world.error(stop(7)).description == "no"
        rows = world.read(lambda: world.store.find(Waiting))
        assert [(row.action, row.state) for row in rows] == [
            ("StopTransaction", "parked"),
            ("MeterValues", "parked"),
        ]


@pytest.mark.parametrize("number", [-1, 0])
def test_what_a_kept_message_means_is_settled_when_it_is_kept(number: int) -> None:
    """When it is sent, that transaction has ended, and another may be open."""
    with a_world(answers=PROVISIONAL) as world:
        first = world.result(start(0))["transactionId"]
        world.central_system.away = True
        world.result(meter_values(number, 1))
        world.result(stop(number, 2))
        second = world.result(start(3))["transactionId"]
        world.result(meter_values(number, 4))
        world.come_back()
        world.run_for(1.0)
        assert [payload.get("transactionId") for _, payload in world.got] == [None, 101, 101, None, 102]
        assert (first, second in OURS) == (101, True)


def test_a_number_that_is_given_twice_is_another_one_for_the_charge_point() -> None:
    with a_world() as world:
        first = world.result(start(0))["transactionId"]
        world.central_system.next_id = 101
        second = world.result(start(1))["transactionId"]
        assert (first, second in OURS) == (101, True)
        world.result(stop(second, 1))
        world.result(stop(first, 0))
        assert [payload["meterStop"] for action, payload in world.got if action == "StopTransaction"] == [
            1,
            0,
        ]
        rows = world.read(lambda: world.store.find(Transaction))
        assert {(row.meter_start, row.state) for row in rows} == {("0", "stopped"), ("1", "stopped")}


def test_a_start_that_is_begun_again_keeps_its_number() -> None:
    """Its reply is forgotten, and the central system knows the message."""
    with a_world(rules=Rules(replies=60.0)) as world:
        number = world.result(start())["transactionId"]
        world.run_for(61.0)
        assert world.result(start())["transactionId"] == number
        world.result(stop(number))
        assert len(world.read(lambda: world.store.find(Transaction))) == 1


def test_a_result_without_a_number_is_not_repeated() -> None:
    with a_world() as world:
        world.charge_point.transport = "json"
        world.central_system.answered[""] = {}
        call, given = start(), world.central_system._reply
        world.central_system._reply = lambda call: {"bogus": 1}  # type: ignore[method-assign]
        assert world.result(call) == {"bogus": 1}
        world.central_system._reply = given  # type: ignore[method-assign]
        assert world.result(call)["transactionId"] == 101


# --- fail-over ---


def test_a_transaction_ends_where_it_began() -> None:
    """The second of two central systems does not know it."""
    with a_world() as world:
        world.session.upstreams = ("main", "second")
        world.result(start())
        world.session.upstream = "second"
        assert world.result(meter_values(101, 1)) == {}
        assert world.result(stop(101, 2)) == {}
        world.central_system.next_id = 101  # it counts for itself
        there = world.result(start(5))["transactionId"]  # what begins now begins there
        assert there in OURS
        assert world.delivery.has_business_with("second")
        world.run_for(60.0)
        assert [call.action for call in world.central_system.got] == ["StartTransaction"] * 2
        world.session.upstream = "main"
        world.delivery.wake()
        world.run_for(1.0)
        assert [payload.get("transactionId") for _, payload in world.got[2:]] == [101, 101]


def test_of_two_that_know_each_others_transactions_any_gets_its_end() -> None:
    with a_world() as world:
        world.result(start())
        world.session.upstream = "second"
        assert world.result(stop(101, 2)) == {}
        assert world.got[-1] == ("StopTransaction", stop(101, 2).payload)


# --- calls of the central system ---


def test_only_what_changes_nothing_is_asked_a_second_time() -> None:
    with a_world() as world:
        lost = away("unreachable", "the connection broke")
        lost.asked = Passage("soap", b"asked")
        world.charge_point.outcome = lost
        reply = world.ask(Call("Reset", {"type": "Hard"}), Side.CENTRAL_SYSTEM)
        assert isinstance(reply, CallError)
        assert reply.details == {"uncertain": True}
        assert len(world.charge_point.asked) == 1
        world.ask(Call("GetConfiguration", {}), Side.CENTRAL_SYSTEM)
        assert len(world.charge_point.asked) == 3

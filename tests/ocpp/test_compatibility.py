"""What is foretold of two parties is what happens to their messages."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ocpp.strategies import payloads
from wattbridge.ocpp import older
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.compatibility import answered_here, carried, effect_of, happens
from wattbridge.ocpp.differences import DIFFERENCES
from wattbridge.ocpp.messages import Loss, Note, Side
from wattbridge.ocpp.older import BOTH, ROWS, Row

UP, DOWN = Side.CENTRAL_SYSTEM, Side.CHARGE_POINT
DIALECTS = ("soap 1.2", "soap 1.5", "soap 1.6", "json 1.6")


def told(charge_point: str, central_system: str, towards: Side) -> dict[str, str]:
    return {one.path: one.effect for one in carried(charge_point, central_system, towards)}


def test_reserved_words_reasons_and_phases_are_told_of_before_they_are_lost() -> None:
    older_central_system = told("json 1.6", "soap 1.5", UP)
    assert older_central_system["StopTransaction.reason"] == "lost"
    assert older_central_system["MeterValues.meterValue"] == "lost"
    assert older_central_system["StatusNotification.status"] == "changed"
    older_charge_point = told("soap 1.5", "json 1.6", DOWN)
    assert older_charge_point == {
        "RemoteStartTransaction.chargingProfile": "lost",
        "BootNotificationResponse.status": "changed",
        "ChangeConfiguration.key": "changed",
        "GetConfiguration.key": "changed",
    }


def test_what_is_only_called_otherwise_is_not_told() -> None:
    for version in BOTH:
        up = told(f"soap {version}", "json 1.6", UP)
        assert "StatusNotification.errorCode" not in up  # Mode3Error
        assert "UnlockConnectorResponse.status" not in up
        assert not any(path.endswith("unit") for path in up)
    assert "SendLocalList.localAuthorizationList" not in told("soap 1.5", "json 1.6", DOWN)


def test_an_interval_is_made_up_only_where_it_may_be_missing() -> None:
    """heartbeatInterval is optional in 1.2 (WSDL 1.2) and required in 1.5."""
    assert told("json 1.6", "soap 1.2", DOWN)["BootNotificationResponse.interval"] == "changed"
    assert "BootNotificationResponse.interval" not in told("json 1.6", "soap 1.5", DOWN)


def test_what_neither_of_two_older_parties_has_is_not_told() -> None:
    paths = told("soap 1.2", "soap 1.5", UP)
    assert "StopTransaction.reason" not in paths
    assert "StopTransaction.reason" not in told("soap 1.5", "soap 1.2", UP)
    assert told("soap 1.5", "soap 1.2", UP)["StatusNotification.info"] == "lost"


def test_operations_that_one_of_the_two_lacks_are_not_carried() -> None:
    assert "GetConfiguration.key" not in told("soap 1.2", "json 1.6", DOWN)
    assert "SendLocalList.hash" not in told("soap 1.2", "soap 1.5", DOWN)
    assert told("json 1.6", "soap 1.5", DOWN)["SendLocalList.hash"] == "lost"


def test_what_only_the_transport_cannot_say_is_told_where_the_version_has_not_lost_it() -> None:
    assert told("json 1.6", "soap 1.6", UP)["MeterValues.meterValue.sampledValue"] == "lost"
    assert "MeterValues.meterValue.sampledValue" not in told("json 1.6", "soap 1.5", UP)
    assert told("soap 1.6", "json 1.6", UP) == {"MeterValues.meterValue": "lost"}
    assert told("soap 1.6", "json 1.6", DOWN) == {}  # a command is carried whole or refused
    assert any("chargingSchedulePeriod" in row.path and "a loss" in row.towards_soap for row in DIFFERENCES)


@pytest.mark.parametrize("spoken", ["soap 1.6", "json 1.6"])
def test_nothing_is_lost_between_equals_of_the_newest_version(spoken: str) -> None:
    for side in Side:
        assert carried(spoken, spoken, side) == ()
        assert answered_here(spoken, spoken, side) == ()


def test_losses_come_first() -> None:
    effects = [one.effect for one in carried("json 1.6", "soap 1.5", UP)]
    assert effects == sorted(effects, reverse=True)
    assert effects[0] == "lost"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.path} {'+'.join(row.versions)}")
def test_the_words_of_a_row_are_what_it_does(row: Row) -> None:
    """A field that a version lacks, or words it has none for, are a loss; and the row says so."""
    version = row.versions[0]
    if row.lacking or row.transient:
        assert effect_of(row, "down", version) == "lost"
    if row.only_older:
        assert effect_of(row, "up", version) == "lost"
    assert effect_of(row, "up", "1.6") is None
    for way, said in (("up", row.up), ("down", row.down)):
        if not happens(said):
            assert effect_of(row, way, version) is None  # type: ignore[arg-type]


MESSAGES = [
    (version, asked, action, is_request)
    for version in BOTH
    for (asked, action), operation in dialect(version).operations.items()
    for is_request, message in ((True, operation.request), (False, operation.response))
    if any(row.message == message.name for row in ROWS)
]


@pytest.mark.parametrize(("version", "asked", "action", "is_request"), MESSAGES)
@given(data=st.data())
def test_everything_that_is_lost_on_the_way_down_was_foretold(
    version: str, asked: Side, action: str, is_request: bool, data: st.DataObject
) -> None:
    operation, newest = dialect(version).operation(asked, action), dialect().operation(asked, action)
    message, fields = (
        (operation.request, newest.request.fields)
        if is_request
        else (operation.response, newest.response.fields)
    )
    notes: list[Note] = []
    convert = older.lower(version, message.name)
    if convert is not None:
        convert(data.draw(payloads(fields)), message.name, notes)
    towards = asked if is_request else asked.other
    parties = ("json 1.6", f"soap {version}") if towards is UP else (f"soap {version}", "json 1.6")
    foretold = told(*parties, towards)
    for note in notes:
        path = re.sub(r"\[\d+\]", "", note.path)
        rows = [known for known in foretold if f"{path}.".startswith(f"{known}.") or note.rule == "and-more"]
        assert rows, note
        assert not isinstance(note, Loss) or any(foretold[known] == "lost" for known in rows), note


def test_what_is_answered_here_is_what_the_other_side_can_ask_for() -> None:
    by_json = {row.action for row in answered_here("soap 1.2", "json 1.6", Side.CHARGE_POINT)}
    assert {"ReserveNow", "TriggerMessage", "GetLog"} <= by_json
    by_soap = {row.action for row in answered_here("soap 1.2", "soap 1.6", Side.CHARGE_POINT)}
    assert {"ReserveNow", "TriggerMessage"} <= by_soap
    assert "GetLog" not in by_soap  # who speaks SOAP cannot ask for it
    assert answered_here("json 1.6", "soap 1.2", Side.CHARGE_POINT) == ()
    for_central_system = {row.action for row in answered_here("json 1.6", "soap 1.2", Side.CENTRAL_SYSTEM)}
    assert {"DataTransfer", "SecurityEventNotification"} <= for_central_system


def test_every_pair_can_be_told_of() -> None:
    for charge_point in DIALECTS:
        for central_system in DIALECTS:
            for side in Side:
                assert all(one.said and one.source for one in carried(charge_point, central_system, side))

"""The published table: what is answered here is what a dialect lacks, and every answer is one of OCPP."""

from __future__ import annotations

import pytest

from wattbridge.ocpp import security_extension
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.local_answers import TABLE, LocalAnswer, find, kept_from, only_recorded
from wattbridge.ocpp.messages import Call, CallError, CallResult, Side

VERSIONS = ("1.2", "1.5", "1.6")


@pytest.mark.parametrize("version", VERSIONS)
def test_exactly_what_a_version_lacks_is_answered_here(version: str) -> None:
    own = set(dialect(version).operations)
    extension = {(side, action) for side, actions in security_extension.ACTIONS.items() for action in actions}
    everything = set(dialect().operations) | extension
    answered = {(row.asked, row.action) for row in TABLE if f"soap {version}" in row.lacking}
    assert answered == everything - own
    for asked, action in everything:
        row = find(asked, f"soap {version}", action)
        assert (row is not None) == ((asked, action) in answered)


def test_json_is_asked_everything() -> None:
    assert all(find(row.asked, "json 1.6", row.action) is None for row in TABLE)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.action} of {row.asked.value}")
def test_every_answer_is_one_of_ocpp(row: LocalAnswer) -> None:
    assert row.said
    assert row.source
    for lacking in row.lacking:
        reply = row.reply(lacking)
        if isinstance(reply, CallError):
            assert (reply.code, reply.reason) == ("NotSupported", "unsupported")
            assert lacking.removeprefix("soap ") in reply.description
        elif not security_extension.is_of_it(row.asked, row.action):
            payload, notes = dialect().operation(row.asked, row.action).response.read_json(reply.payload)
            assert (payload, notes) == (reply.payload, [])


@pytest.mark.parametrize("asked_for", sorted(action for side, action in dialect().operations))
def test_what_a_profile_keeps_from_a_charge_point_is_answered_too(asked_for: str) -> None:
    reply = kept_from(asked_for).reply()
    if isinstance(reply, CallError):
        said = f"{asked_for}: the profile of the charge point keeps it from being asked"
        assert reply == CallError("NotSupported", said, reason="unsupported")
    else:
        response = dialect().operation(Side.CHARGE_POINT, asked_for).response
        assert response.read_json(reply.payload) == (reply.payload, [])


def test_some_answers_in_the_place_of_a_charge_point() -> None:
    assert kept_from("Reset").reply() == CallResult({"status": "Rejected"})
    assert kept_from("UnlockConnector").reply() == CallResult({"status": "NotSupported"})
    assert kept_from("GetConfiguration").story == "configuration"
    assert isinstance(kept_from("GetDiagnostics").reply(), CallError)
    assert isinstance(kept_from("GetLog").reply(), CallError)


def test_what_is_confirmed_and_carried_nowhere_is_a_loss() -> None:
    lost = only_recorded(Call("SecurityEventNotification", {"type": "x"}))
    assert (lost.path, lost.value, lost.rule) == (
        "SecurityEventNotification",
        '{"type": "x"}',
        "no-operation",
    )


def test_some_answers() -> None:
    profile = find(Side.CHARGE_POINT, "soap 1.5", "SetChargingProfile")
    assert profile is not None
    assert profile.reply("soap 1.5") == CallResult({"status": "NotSupported"})
    key = find(Side.CHARGE_POINT, "soap 1.6", "SignedUpdateFirmware")
    assert key is not None
    assert key.reply("soap 1.6") == CallError(
        "NotSupported",
        "SignedUpdateFirmware: the charge point speaks OCPP-S 1.6, which has no such operation",
        reason="unsupported",
    )

"""Who refuses is heard on the other side, with its own word and sentence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.interop.running import Running, configuration, running
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.charge_point_soap import SoapChargePoint
from wattbridge.simulators.outcomes import CallRefused, Refused

IDENTITY = "CP3211"


@dataclass
class Chain:
    charge_point: SoapChargePoint
    gateway: Running
    central_system: JsonCentralSystem


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    async with (
        JsonCentralSystem(call_timeout=5.0) as central_system,
        running(configuration(central_system.url)) as gateway,
        SoapChargePoint(IDENTITY, gateway.url, call_timeout=5.0) as charge_point,
    ):
        yield Chain(charge_point, gateway, central_system)
        assert charge_point.problems + charge_point.failures + central_system.problems == []


async def test_every_call_error_becomes_the_fault_that_says_most(chain: Chain) -> None:
    """OCPP 1.6 errata, 3.38 and 3.39; the Reason keeps the word that OCPP-S does not have."""
    heard = {}
    for code in (
        "NotImplemented",
        "NotSupported",
        "InternalError",
        "ProtocolError",
        "SecurityError",
        "FormationViolation",
        "FormatViolation",
        "PropertyConstraintViolation",
        "OccurenceConstraintViolation",
        "OccurrenceConstraintViolation",
        "TypeConstraintViolation",
        "GenericError",
    ):
        chain.central_system.errors["Authorize"] = (code, "not «you» & me")
        with pytest.raises(Refused) as refusal:
            await chain.charge_point.authorize("1")
        heard[code] = str(refusal.value)
    assert heard == {
        "NotImplemented": "Receiver/NotSupported: NotImplemented: not «you» & me",
        "NotSupported": "Receiver/NotSupported: NotSupported: not «you» & me",
        "InternalError": "Receiver/InternalError: InternalError: not «you» & me",
        "ProtocolError": "Sender/ProtocolError: ProtocolError: not «you» & me",
        "SecurityError": "Sender/SecurityError: SecurityError: not «you» & me",
        "FormationViolation": "Sender/ProtocolError: FormationViolation: not «you» & me",
        "FormatViolation": "Sender/ProtocolError: FormationViolation: not «you» & me",
        "PropertyConstraintViolation": "Sender/ProtocolError: PropertyConstraintViolation: not «you» & me",
        "OccurenceConstraintViolation": "Sender/ProtocolError: OccurenceConstraintViolation: not «you» & me",
        "OccurrenceConstraintViolation": "Sender/ProtocolError: OccurenceConstraintViolation: not «you» & me",
        "TypeConstraintViolation": "Sender/ProtocolError: TypeConstraintViolation: not «you» & me",
        "GenericError": "Receiver/InternalError: GenericError: not «you» & me",
    }


@pytest.mark.parametrize("action", ["StartTransaction", "StopTransaction", "MeterValues", "Heartbeat"])
async def test_what_the_central_system_has_refused_is_refused_to_the_charge_point(
    chain: Chain, action: str
) -> None:
    """Also a transaction message: it was delivered, and will not be taken the next time either."""
    chain.central_system.errors["*"] = ("InternalError", "never heard")
    chain.central_system.errors[action] = ("PropertyConstraintViolation", "never in my life")
    calls = {
        "StartTransaction": {
            "connectorId": 1, "idTag": "1", "timestamp": "2024-05-01T10:00:00Z", "meterStart": 0,
        },
        "StopTransaction": {"transactionId": 1, "timestamp": "2024-05-01T10:00:00Z", "meterStop": 0},
        "MeterValues": {
            "connectorId": 1,
            "meterValue": [{"timestamp": "2024-05-01T10:00:00Z", "sampledValue": [{"value": "1"}]}],
        },
        "Heartbeat": {},
    }  # fmt: skip
    with pytest.raises(Refused, match="never in my life"):
        await chain.charge_point.call(action, **calls[action])
    [record] = chain.gateway.records
    assert (record.action, record.reason) == (action, "call_error")


FAULTS = {
    ("Sender", "SecurityError", "not from you"): ("SecurityError", "not from you"),
    ("Sender", "IdentityMismatch", "I am CP1"): ("SecurityError", "IdentityMismatch: I am CP1"),
    ("Sender", "ProtocolError", "idTag is missing"): ("ProtocolError", "idTag is missing"),
    ("Sender", "ProtocolError", "type 'Warm' & more"): ("PropertyConstraintViolation", "type 'Warm' & more"),
    ("Receiver", "InternalError", "relay stuck"): ("InternalError", "relay stuck"),
    ("Receiver", "NotSupported", "no such thing"): ("NotSupported", "no such thing"),
    ("Sender", "", "bad"): ("GenericError", "bad"),
    ("Receiver", "", "busy"): ("InternalError", "busy"),
}


async def test_every_fault_becomes_the_call_error_that_says_most(chain: Chain) -> None:
    await chain.charge_point.heartbeat()
    heard = {}
    for code, subcode, reason in FAULTS:
        chain.charge_point.refuse("Reset", Refused(code, subcode, reason))
        with pytest.raises(CallRefused) as refusal:
            await chain.central_system.call(IDENTITY, "Reset", type="Soft")
        assert refusal.value.details == {}
        heard[code, subcode, reason] = (refusal.value.code, refusal.value.description)
    assert heard == FAULTS

    chain.charge_point.refuse("Reset", None)
    assert await chain.central_system.call(IDENTITY, "Reset", type="Soft") == {"status": "Accepted"}
    await chain.central_system.arrival_of("BootNotification")
    await chain.charge_point.settled()


async def test_charge_point_that_nobody_knows_is_refused_and_not_announced() -> None:
    async with (
        JsonCentralSystem() as central_system,
        running(configuration(central_system.url, unknown="refuse", more="chargers: {CP1: {}}")) as gateway,
        SoapChargePoint("CP2", gateway.url, call_timeout=5.0) as stranger,
        SoapChargePoint("CP1", gateway.url, call_timeout=5.0) as known,
    ):
        for _ in range(2):
            with pytest.raises(Refused) as refusal:
                await stranger.boot()
            assert (refusal.value.code, refusal.value.subcode) == ("Sender", "SecurityError")
            assert "'CP2' is not known" in refusal.value.reason
        assert (await known.boot())["status"] == "Accepted"
        assert central_system.connected == ["CP1"]
        assert stranger.problems == []


async def test_charge_point_that_is_gone_is_told_to_the_central_system(chain: Chain) -> None:
    await chain.charge_point.heartbeat()
    port = chain.charge_point.callback_url.split(":")[2].partition("/")[0]
    await chain.charge_point.stop()
    with pytest.raises(CallRefused) as refusal:
        await chain.central_system.call(IDENTITY, "ClearCache")
    assert refusal.value.code == "GenericError"
    assert "refused" in refusal.value.description
    assert f"127.0.0.1:{port}" in refusal.value.description
    assert chain.gateway.records[-1].reason == "refused"


async def test_command_that_soap_cannot_say_is_refused_with_its_place(chain: Chain) -> None:
    """Half of a charging profile would charge differently, so it is all or nothing."""
    await chain.charge_point.heartbeat()
    profile = {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": []},
    }
    with pytest.raises(CallRefused) as refusal:
        await chain.central_system.call(
            IDENTITY, "SetChargingProfile", connectorId=1, csChargingProfiles=profile
        )
    assert refusal.value.code == "OccurenceConstraintViolation"
    assert "csChargingProfiles.chargingSchedule.chargingSchedulePeriod" in refusal.value.description
    assert chain.charge_point.received == []

"""The simulated charge point as a whole: what it sends, what it answers, and what it then does."""

from __future__ import annotations

import asyncio
import re
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone

import pytest

from wattbridge.simulators.charge_point_soap import SoapChargePoint
from wattbridge.simulators.outcomes import Refused, Unanswered

from .canned import BODIES, Canned, CannedCentralSystem, fault, result

NOW = datetime(2024, 5, 1, 11, 30, tzinfo=timezone(timedelta(hours=1)))
REQUEST = """\
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing">
 <s:Header>
  <chargeBoxIdentity xmlns="urn://Ocpp/Cp/2015/10/">{identity}</chargeBoxIdentity>
  <a:Action>/{action}</a:Action><a:MessageID>1001001</a:MessageID><a:To>{url}</a:To>
 </s:Header>
 <s:Body><{element}Request xmlns="urn://Ocpp/Cp/2015/10/">{body}</{element}Request></s:Body>
</s:Envelope>"""


@pytest.fixture
def central_system() -> Iterator[CannedCentralSystem]:
    canned = CannedCentralSystem()
    yield canned
    canned.close()


@pytest.fixture
async def charge_point(central_system: CannedCentralSystem) -> AsyncIterator[SoapChargePoint]:
    charge_point = SoapChargePoint("CP 1/2", central_system.url, call_timeout=5.0, now=lambda: NOW)
    async with charge_point:
        yield charge_point
    assert charge_point.problems == []


async def ask(charge_point: SoapChargePoint, action: str, body: str = "") -> str:
    """Post a literal request; returns the body of the response, or of the fault, without prefixes."""
    element = action[0].lower() + action[1:]
    text = REQUEST.format(
        identity=charge_point.identity,
        url=charge_point.callback_url,
        action=action,
        element=element,
        body=body,
    )
    request = urllib.request.Request(
        charge_point.callback_url, text.encode(), {"Content-Type": "application/soap+xml; charset=utf-8"}
    )

    def post() -> str:
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                request, timeout=5
            ) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()

    response = await asyncio.to_thread(post)
    found = re.search(r"Body>(.*)</[\w-]+:Body>", response)
    assert found is not None
    return re.sub(r' xmlns:\w+="[^"]*"', "", found[1]).replace("ns0:", "")


# --- What it says --------------------------------------------------------------------------------------


async def test_it_says_nothing_before_it_is_told_to(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    await charge_point.settled()
    assert central_system.requests == []


async def test_powering_up_is_boot_and_the_status_of_each_connector(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    answer = await charge_point.power_up()

    assert answer == {"status": "Accepted", "currentTime": "2024-05-01T10:00:00Z", "interval": 300}
    assert charge_point.configuration["HeartbeatInterval"].value == "300"
    assert central_system.bodies("BootNotification") == [
        "<bootNotificationRequest><chargePointVendor>ACME</chargePointVendor>"
        "<chargePointModel>CC-1</chargePointModel>"
        "<chargePointSerialNumber>ACME-0001</chargePointSerialNumber>"
        "<firmwareVersion>1.3</firmwareVersion><meterType>MID-3P</meterType></bootNotificationRequest>"
    ]
    assert central_system.bodies("StatusNotification") == [
        f"<statusNotificationRequest><connectorId>{connector_id}</connectorId><status>Available</status>"
        "<errorCode>NoError</errorCode><timestamp>2024-05-01T11:30:00.000+01:00</timestamp>"
        "</statusNotificationRequest>"
        for connector_id in (0, 1, 2)
    ]


async def test_it_boots_again_after_the_interval_it_is_told_while_it_is_pending(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    def pending_once(action: str, relates_to: str) -> Canned:
        right = result(action, relates_to)
        if len(central_system.requests) == 1:
            right.body = right.body.replace("Accepted", "Pending").replace(">300<", ">0<")
        return right

    central_system.answer = pending_once
    charge_point.own_interval = 0.0
    assert (await charge_point.power_up())["status"] == "Accepted"
    assert central_system.actions[:3] == ["BootNotification", "BootNotification", "StatusNotification"]


async def test_a_charge_is_authorized_metered_and_stopped(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    assert await charge_point.charge("04E91C5A", meter_values=2) == {"status": "Accepted", "transactionId": 7}

    assert central_system.actions == [
        "Authorize",
        "StatusNotification",
        "StartTransaction",
        "StatusNotification",
        "MeterValues",
        "MeterValues",
        "StopTransaction",
        "StatusNotification",
        "StatusNotification",
    ]
    statuses = re.findall(r"<status>(\w+)<", "".join(central_system.bodies("StatusNotification")))
    assert statuses == ["Preparing", "Charging", "Finishing", "Available"]
    [stop] = central_system.bodies("StopTransaction")
    assert stop.startswith(
        "<stopTransactionRequest><transactionId>7</transactionId><idTag>04E91C5A</idTag>"
        "<timestamp>2024-05-01T11:30:00.000+01:00</timestamp><meterStop>1500</meterStop>"
        "<transactionData><timestamp>2024-05-01T11:30:00.000+01:00</timestamp><sampledValue>"
        "<value>1000</value><context>Transaction.Begin</context>"
    )
    assert stop.count("<transactionData>") == 2
    assert "<context>Transaction.End</context>" in stop


async def test_meter_values_have_phases_state_of_charge_and_celsius(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    await charge_point.start_transaction("04E91C5A")
    await charge_point.meter_values()

    def sampled(value: str, measurand: str, where: str, location: str = "Outlet") -> str:
        phase, _, unit = where.rpartition(" ")
        phase = f"<phase>{phase}</phase>" if phase else ""
        return (
            f"<sampledValue><value>{value}</value><context>Sample.Periodic</context><format>Raw</format>"
            f"<measurand>{measurand}</measurand>{phase}<location>{location}</location><unit>{unit}</unit>"
            "</sampledValue>"
        )

    assert central_system.bodies("MeterValues") == [
        "<meterValuesRequest><connectorId>1</connectorId><transactionId>7</transactionId>"
        "<meterValue><timestamp>2024-05-01T11:30:00.000+01:00</timestamp>"
        + sampled("1250", "Energy.Active.Import.Register", "Wh")
        + sampled("10971", "Power.Active.Import", "W")
        + sampled("15.9", "Current.Import", "L1 A")
        + sampled("230.1", "Voltage", "L1-N V")
        + sampled("15.9", "Current.Import", "L2 A")
        + sampled("230.1", "Voltage", "L2-N V")
        + sampled("15.9", "Current.Import", "L3 A")
        + sampled("230.1", "Voltage", "L3-N V")
        + sampled("21", "SoC", "Percent", "EV")
        + sampled("31.5", "Temperature", "Celsius", "Body")
        + "</meterValue></meterValuesRequest>"
    ]


async def test_what_it_says_of_data_diagnostics_and_firmware(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    assert await charge_point.heartbeat() == {"currentTime": "2024-05-01T10:00:00Z"}
    assert await charge_point.transfer_data("m", "<a>\n&") == {"status": "Accepted"}
    assert await charge_point.transfer_data() == {"status": "Accepted"}
    assert await charge_point.notify_diagnostics_status("Uploaded") == {}
    assert await charge_point.notify_firmware_status("Installed") == {}
    assert central_system.bodies("DataTransfer") == [
        "<dataTransferRequest><vendorId>ACME</vendorId><messageId>m</messageId><data>&lt;a&gt;\n&amp;</data>"
        "</dataTransferRequest>",
        "<dataTransferRequest><vendorId>ACME</vendorId></dataTransferRequest>",
    ]
    assert central_system.bodies("DiagnosticsStatusNotification") == [
        "<diagnosticsStatusNotificationRequest><status>Uploaded</status>"
        "</diagnosticsStatusNotificationRequest>"
    ]
    assert charge_point.answered == 5


async def test_an_idtag_that_is_not_accepted_does_not_charge(
    monkeypatch: pytest.MonkeyPatch, central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    monkeypatch.setitem(BODIES, "Authorize", "<idTagInfo><status>Blocked</status></idTagInfo>")
    assert await charge_point.charge("04E91C5A") == {"status": "Blocked"}
    assert central_system.actions == ["Authorize"]


async def test_a_transaction_that_is_not_accepted_is_stopped(
    monkeypatch: pytest.MonkeyPatch, central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    """StopTransactionOnInvalidId (OCPP 1.6, 9.1.26)."""
    invalid = "<transactionId>7</transactionId><idTagInfo><status>Invalid</status></idTagInfo>"
    monkeypatch.setitem(BODIES, "StartTransaction", invalid)
    assert await charge_point.charge("04E91C5A") == {"status": "Invalid", "transactionId": 7}
    [stop] = central_system.bodies("StopTransaction")
    assert "<reason>DeAuthorized</reason>" in stop
    assert "MeterValues" not in central_system.actions


async def test_a_fault_is_raised(central_system: CannedCentralSystem, charge_point: SoapChargePoint) -> None:
    central_system.answer = fault
    with pytest.raises(Refused, match="Receiver/InternalError: out of order"):
        await charge_point.heartbeat()


async def test_a_transaction_message_is_tried_again(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    """TransactionMessageAttempts (OCPP 1.6, 3.7.1): the same message, under another id."""
    charge_point.configuration["TransactionMessageAttempts"].value = "3"
    charge_point.configuration["TransactionMessageRetryInterval"].value = "0"

    def third_time(action: str, relates_to: str) -> Canned | None:
        return result(action, relates_to) if len(central_system.requests) == 3 else None

    central_system.answer = third_time
    await charge_point.start_transaction("04E91C5A")
    bodies = central_system.bodies("StartTransaction")
    assert len(bodies) == 3
    assert len(set(bodies)) == 1
    assert len({text for _, text in central_system.requests}) == 3


class Clock:
    """Time that goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def later(charge_point: SoapChargePoint, clock: Clock, seconds: float) -> None:
    """Let time go on, and the charge point do what is due then."""
    clock.now += seconds
    queue = charge_point.queue
    assert queue is not None
    await charge_point.settled()
    while queue.due is not None and queue.due <= clock.now:
        await charge_point.settled()


@asynccontextmanager
async def keeping(url: str, attempts: int = 3) -> AsyncIterator[tuple[SoapChargePoint, Clock]]:
    """A charge point that keeps messages of transactions, and its clock."""
    clock = Clock()
    charge_point = SoapChargePoint("CP1", url, call_timeout=5.0, now=lambda: NOW)
    charge_point.clock = clock
    charge_point.keep_messages(attempts, retry=60.0)
    async with charge_point:
        yield charge_point, clock


def failing(*actions: str, how: Callable[[str, str], Canned | None]) -> Callable[[str, str], Canned | None]:
    return lambda action, relates_to: (how if action in actions else result)(action, relates_to)


@pytest.mark.parametrize(
    "how",
    [fault, lambda action, relates_to: Canned(503, "text/plain", ""),
     lambda action, relates_to: Canned(503, "text/html", "<html><p>busy")],
)  # fmt: skip
async def test_a_message_that_alone_is_refused_is_discarded(
    central_system: CannedCentralSystem, how: Callable[[str, str], Canned | None]
) -> None:
    """A fault or an HTTP error status, while Heartbeats are answered (OCPP-S errata, 3.1 and 3.2)."""
    central_system.answer = failing("StartTransaction", how=how)
    async with keeping(central_system.url) as (charge_point, clock):
        charged = await charge_point.charge("04E91C5A", meter_values=1)
        assert charged == {"status": "Accepted", "transactionId": -1}
        transactional = ("StartTransaction", "MeterValues", "StopTransaction", "Heartbeat")
        for seconds in (59.0, 1.0, 119.0, 1.0):
            await later(charge_point, clock, seconds)
        assert [action for action in central_system.actions if action in transactional] == [
            *["StartTransaction", "Heartbeat"] * 3, "MeterValues", "StopTransaction"
        ]  # fmt: skip
        assert "<transactionId>-1</transactionId>" in central_system.bodies("StopTransaction")[0]
        assert charge_point.queue is not None
        counts = charge_point.queue.counts
        assert (counts.sent, counts.failed, counts.discarded, counts.acknowledged) == (5, 3, 1, 2)
        assert counts.queued == 0


async def test_nothing_is_discarded_while_heartbeats_fail_too(central_system: CannedCentralSystem) -> None:
    central_system.answer = failing("StartTransaction", "Heartbeat", how=fault)
    async with keeping(central_system.url, attempts=1) as (charge_point, clock):
        await charge_point.start_transaction("04E91C5A")
        for _ in range(10):
            await later(charge_point, clock, 60.0)
        central_system.answer = result
        await later(charge_point, clock, 60.0)
        await charge_point.stop_transaction()
        assert charge_point.queue is not None
        assert (charge_point.queue.counts.failed, charge_point.queue.counts.discarded) == (11, 0)
        assert "<transactionId>7</transactionId>" in central_system.bodies("StopTransaction")[0]
        ids = re.findall(r"MessageID>([^<]+)<", "".join(text for _, text in central_system.requests))
        assert len(set(ids)) == len(central_system.requests)


async def test_what_is_not_answered_is_sent_again_until_it_is(central_system: CannedCentralSystem) -> None:
    central_system.answer = lambda action, relates_to: None
    async with keeping(central_system.url, attempts=1) as (charge_point, clock):
        assert (await charge_point.charge("04E91C5A"))["transactionId"] == -1
        for _ in range(3):
            await later(charge_point, clock, 60.0)
        central_system.answer = result
        await later(charge_point, clock, 60.0)
        assert charge_point.queue is not None
        assert charge_point.queue.counts.queued == 0
        assert (charge_point.queue.counts.unanswered, charge_point.queue.counts.acknowledged) == (4, 5)
        assert central_system.actions[-5:] == ["StartTransaction", *["MeterValues"] * 3, "StopTransaction"]
        assert "<transactionId>7</transactionId>" in central_system.bodies("MeterValues")[0]


async def test_other_messages_are_not_tried_again(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    charge_point.configuration["TransactionMessageAttempts"].value = "3"
    central_system.answer = lambda action, relates_to: None
    with pytest.raises(Unanswered):
        await charge_point.heartbeat()
    assert len(central_system.requests) == 1


async def test_heartbeats_come_by_themselves_once_it_is_accepted(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    await charge_point.boot()
    charge_point.configuration["HeartbeatInterval"].value = "0.01"
    await charge_point.settled()
    await asyncio.to_thread(central_system.wait_for, "Heartbeat", 2)


async def test_meter_values_come_by_themselves_while_it_charges(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    charge_point.configuration["MeterValueSampleInterval"].value = "0.01"
    await charge_point.start_transaction("04E91C5A", connector_id=2)
    await asyncio.to_thread(central_system.wait_for, "MeterValues", 2)


async def test_what_nobody_waits_for_and_fails_is_a_failure(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    central_system.answer = fault
    await ask(charge_point, "TriggerMessage", "<requestedMessage>Heartbeat</requestedMessage>")
    await charge_point.settled()
    assert charge_point.failures == ["CP 1/2: Receiver/InternalError: out of order"]


async def test_after_stopping_nothing_can_be_said(central_system: CannedCentralSystem) -> None:
    charge_point = SoapChargePoint("CP1", central_system.url)
    await charge_point.start()
    await charge_point.stop()
    await charge_point.stop()
    with pytest.raises(Unanswered, match="CP1 is not started"):
        await charge_point.heartbeat()


async def test_stopping_waits_for_no_central_system_that_does_not_answer(
    central_system: CannedCentralSystem,
) -> None:
    answered = threading.Event()

    def answer(action: str, relates_to: str) -> Canned:
        answered.wait(5)
        return result(action, relates_to)

    central_system.answer = answer
    charge_point = SoapChargePoint("CP1", central_system.url, call_timeout=5.0)
    charge_point.patience = 0.05
    await charge_point.start()
    async with asyncio.TaskGroup() as calls:
        under_way = calls.create_task(charge_point.heartbeat())
        queued = calls.create_task(ending(charge_point.heartbeat()))
        await asyncio.to_thread(central_system.wait_for, "Heartbeat", 1)
        await charge_point.stop()
        assert await queued == "the charge point was stopped"
        assert not under_way.done()
        answered.set()
    assert under_way.result() == {"currentTime": "2024-05-01T10:00:00Z"}


async def ending(call: Awaitable[object]) -> str:
    with pytest.raises(Unanswered) as unanswered:
        await call
    return str(unanswered.value)


async def test_an_address_that_is_not_ours_is_told(central_system: CannedCentralSystem) -> None:
    with pytest.raises(Unanswered, match=r"cannot listen at 192\.0\.2\.1: "):
        await SoapChargePoint("CP1", central_system.url, "192.0.2.1").start()


async def test_it_can_be_started_again(central_system: CannedCentralSystem) -> None:
    charge_point = SoapChargePoint("CP1", central_system.url)
    for _ in range(2):
        async with charge_point:
            await charge_point.heartbeat()
            assert await ask(charge_point, "ClearCache") == (
                "<clearCacheResponse><status>Accepted</status></clearCacheResponse>"
            )


# --- What it answers -----------------------------------------------------------------------------------

PROFILE = (
    "<csChargingProfiles><chargingProfileId>{profile_id}</chargingProfileId><stackLevel>{level}</stackLevel>"
    "<chargingProfilePurpose>{purpose}</chargingProfilePurpose>"
    "<chargingProfileKind>Relative</chargingProfileKind>"
    "<chargingSchedule><chargingRateUnit>A</chargingRateUnit>"
    "<chargingSchedulePeriod><startPeriod>0</startPeriod><limit>{limit}</limit></chargingSchedulePeriod>"
    "</chargingSchedule></csChargingProfiles>"
)
RESERVATION = (
    "<connectorId>{connector_id}</connectorId><expiryDate>2024-05-01T12:00:00Z</expiryDate><idTag>A</idTag>"
    "<reservationId>{reservation_id}</reservationId>"
)
SETTING = "<configurationKey><key>{}</key><readonly>{}</readonly><value>{}</value></configurationKey>"


@pytest.mark.parametrize(
    ("action", "body", "answer"),
    [
        ("CancelReservation", "<reservationId>1</reservationId>", "<status>Rejected</status>"),
        (
            "ChangeAvailability",
            "<connectorId>9</connectorId><type>Operative</type>",
            "<status>Rejected</status>",
        ),
        ("ChangeConfiguration", "<key>Sparkle</key><value>1</value>", "<status>NotSupported</status>"),
        ("ChangeConfiguration", "<key>NumberOfConnectors</key><value>1</value>", "<status>Rejected</status>"),
        ("ChangeConfiguration", "<key>HeartbeatInterval</key><value>x</value>", "<status>Rejected</status>"),
        ("ChangeConfiguration", "<key>HeartbeatInterval</key><value/>", "<status>Rejected</status>"),
        ("ChangeConfiguration", "<key>ConnectorPhaseRotation</key><value/>", "<status>Accepted</status>"),
        ("ChangeConfiguration", "<key>ResetRetries</key><value>2</value>", "<status>RebootRequired</status>"),
        ("ClearCache", "", "<status>Accepted</status>"),
        ("ClearChargingProfile", "", "<status>Unknown</status>"),
        ("DataTransfer", "<vendorId>ACME</vendorId>", "<status>Accepted</status>"),
        (
            "DataTransfer",
            "<vendorId>ACME</vendorId><data>&lt;</data>",
            "<status>Accepted</status><data>&lt;</data>",
        ),
        ("DataTransfer", "<vendorId>Other</vendorId>", "<status>UnknownVendorId</status>"),
        (
            "GetCompositeSchedule",
            "<connectorId>1</connectorId><duration>60</duration><chargingRateUnit>A</chargingRateUnit>",
            "<status>Accepted</status><connectorId>1</connectorId>"
            "<scheduleStart>2024-05-01T11:30:00.000+01:00</scheduleStart><chargingSchedule>"
            "<duration>60</duration><chargingRateUnit>A</chargingRateUnit><chargingSchedulePeriod>"
            "<startPeriod>0</startPeriod><limit>16.0</limit><numberPhases>3</numberPhases>"
            "</chargingSchedulePeriod></chargingSchedule>",
        ),
        (
            "GetCompositeSchedule",
            "<connectorId>9</connectorId><duration>60</duration>",
            "<status>Rejected</status>",
        ),
        (
            "GetConfiguration",
            "<key>Sparkle</key><key>NumberOfConnectors</key><key>ConnectorPhaseRotation</key>",
            SETTING.format("NumberOfConnectors", "true", "2")
            + SETTING.format("ConnectorPhaseRotation", "false", "1.RST")
            + "<unknownKey>Sparkle</unknownKey>",
        ),
        ("GetDiagnostics", "<location>ftp://x/</location>", "<fileName>diagnostics-CP 1/2.txt</fileName>"),
        ("GetLocalListVersion", "", "<listVersion>0</listVersion>"),
        ("RemoteStartTransaction", "<idTag>A</idTag>", "<status>Accepted</status>"),
        (
            "RemoteStartTransaction",
            "<connectorId>9</connectorId><idTag>A</idTag>",
            "<status>Rejected</status>",
        ),
        ("RemoteStopTransaction", "<transactionId>7</transactionId>", "<status>Rejected</status>"),
        ("ReserveNow", RESERVATION.format(connector_id=1, reservation_id=5), "<status>Accepted</status>"),
        ("ReserveNow", RESERVATION.format(connector_id=0, reservation_id=5), "<status>Rejected</status>"),
        ("Reset", "<type>Soft</type>", "<status>Accepted</status>"),
        (
            "SendLocalList",
            "<listVersion>0</listVersion><updateType>Full</updateType>",
            "<status>Failed</status>",
        ),
        (
            "SetChargingProfile",
            "<connectorId>1</connectorId>"
            + PROFILE.format(profile_id=1, level=0, purpose="TxProfile", limit="8.1"),
            "<status>Rejected</status>",
        ),
        (
            "SetChargingProfile",
            "<connectorId>9</connectorId>"
            + PROFILE.format(profile_id=1, level=0, purpose="TxDefaultProfile", limit="8.1"),
            "<status>Rejected</status>",
        ),
        (
            "TriggerMessage",
            "<requestedMessage>Heartbeat</requestedMessage>",
            "<status>Accepted</status>",
        ),
        (
            "TriggerMessage",
            "<requestedMessage>MeterValues</requestedMessage><connectorId>9</connectorId>",
            "<status>Rejected</status>",
        ),
        ("UnlockConnector", "<connectorId>1</connectorId>", "<status>Unlocked</status>"),
        ("UnlockConnector", "<connectorId>9</connectorId>", "<status>NotSupported</status>"),
        (
            "UpdateFirmware",
            "<retrieveDate>2024-05-01T12:00:00Z</retrieveDate><location>ftp://x/</location>",
            "",
        ),
    ],
)
async def test_every_operation_is_answered(
    charge_point: SoapChargePoint, action: str, body: str, answer: str
) -> None:
    element = action[0].lower() + action[1:]
    expected = f"<{element}Response>{answer}</{element}Response>" if answer else f"<{element}Response/>"
    assert await ask(charge_point, action, body) == expected
    await charge_point.settled()
    assert [name for name, _ in charge_point.received] == [action]


async def test_all_settings_are_given_when_none_is_named(charge_point: SoapChargePoint) -> None:
    answer = await ask(charge_point, "GetConfiguration")
    assert re.findall(r"<key>(\w+)<", answer) == list(charge_point.configuration)
    assert charge_point.received == [("GetConfiguration", {})]


async def test_a_refusal_can_be_arranged(charge_point: SoapChargePoint) -> None:
    charge_point.refuse("Reset", Refused("Receiver", "NotSupported", "no relay"))
    assert "<soap:Value>cp:NotSupported</soap:Value>" in await ask(charge_point, "Reset", "<type>Hard</type>")
    charge_point.refuse("Reset", None)
    assert "Accepted" in await ask(charge_point, "Reset", "<type>Hard</type>")


# --- What it then does ---------------------------------------------------------------------------------


async def test_a_remote_start_starts_and_a_remote_stop_stops(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    await ask(charge_point, "RemoteStartTransaction", "<connectorId>2</connectorId><idTag>A</idTag>")
    await charge_point.settled()
    assert central_system.actions == [
        "Authorize",
        "StatusNotification",
        "StartTransaction",
        "StatusNotification",
        "MeterValues",
    ]
    busy = await ask(charge_point, "RemoteStartTransaction", "<connectorId>2</connectorId><idTag>A</idTag>")
    assert "Rejected" in busy

    central_system.requests.clear()
    stopped = await ask(charge_point, "RemoteStopTransaction", "<transactionId>7</transactionId>")
    assert "Accepted" in stopped
    await charge_point.settled()
    assert central_system.actions == ["StopTransaction", "StatusNotification", "StatusNotification"]
    assert "<reason>Remote</reason>" in central_system.bodies("StopTransaction")[0]


async def test_a_charge_that_is_stopped_from_remote_just_ends_earlier(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    async with asyncio.TaskGroup() as driver:
        charge = driver.create_task(charge_point.charge("A", meter_values=1000, pause=0.001))
        await asyncio.to_thread(central_system.wait_for, "MeterValues", 1)
        await ask(charge_point, "RemoteStopTransaction", "<transactionId>7</transactionId>")
    assert charge.result() == {"status": "Accepted", "transactionId": 7}
    await charge_point.settled()
    assert central_system.actions.count("StopTransaction") == 1


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ("<requestedMessage>BootNotification</requestedMessage>", ["BootNotification"]),
        (
            "<requestedMessage>DiagnosticsStatusNotification</requestedMessage>",
            ["DiagnosticsStatusNotification"],
        ),
        ("<requestedMessage>FirmwareStatusNotification</requestedMessage>", ["FirmwareStatusNotification"]),
        ("<requestedMessage>Heartbeat</requestedMessage>", ["Heartbeat"]),
        ("<requestedMessage>MeterValues</requestedMessage>", ["MeterValues"] * 2),
        (
            "<requestedMessage>MeterValues</requestedMessage><connectorId>1</connectorId>",
            ["MeterValues"],
        ),
        ("<requestedMessage>StatusNotification</requestedMessage>", ["StatusNotification"] * 3),
        (
            "<requestedMessage>StatusNotification</requestedMessage><connectorId>0</connectorId>",
            ["StatusNotification"],
        ),
    ],
)
async def test_a_trigger_sends_the_message(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint, body: str, sent: list[str]
) -> None:
    await ask(charge_point, "TriggerMessage", body)
    await charge_point.settled()
    assert central_system.actions == sent


async def test_a_reset_stops_transactions_and_boots(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    await charge_point.start_transaction("A")
    central_system.requests.clear()
    await ask(charge_point, "Reset", "<type>Hard</type>")
    await charge_point.settled()
    assert central_system.actions == ["StopTransaction", "BootNotification", *["StatusNotification"] * 3]
    assert "<reason>HardReset</reason>" in central_system.bodies("StopTransaction")[0]


async def test_unlocking_stops_the_transaction(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    await charge_point.start_transaction("A")
    await ask(charge_point, "UnlockConnector", "<connectorId>1</connectorId>")
    await charge_point.settled()
    assert "<reason>UnlockCommand</reason>" in central_system.bodies("StopTransaction")[0]


async def test_a_reservation_is_told_used_and_gone(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    await ask(charge_point, "ReserveNow", RESERVATION.format(connector_id=1, reservation_id=5))
    await charge_point.settled()
    assert "<status>Reserved</status>" in central_system.bodies("StatusNotification")[-1]
    occupied = await ask(charge_point, "ReserveNow", RESERVATION.format(connector_id=1, reservation_id=6))
    assert "Occupied" in occupied
    stranger = "<connectorId>1</connectorId><idTag>B</idTag>"
    assert "Rejected" in await ask(charge_point, "RemoteStartTransaction", stranger)

    await charge_point.charge("A", meter_values=0)
    assert "<reservationId>5</reservationId>" in central_system.bodies("StartTransaction")[0]
    gone = await ask(charge_point, "CancelReservation", "<reservationId>5</reservationId>")
    assert "Rejected" in gone


async def test_a_cancelled_reservation_makes_the_connector_available(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    await ask(charge_point, "ReserveNow", RESERVATION.format(connector_id=1, reservation_id=5))
    assert "Accepted" in await ask(charge_point, "CancelReservation", "<reservationId>5</reservationId>")
    await charge_point.settled()
    assert "<status>Available</status>" in central_system.bodies("StatusNotification")[-1]


async def test_availability_changes_after_the_transaction(
    central_system: CannedCentralSystem, charge_point: SoapChargePoint
) -> None:
    await charge_point.start_transaction("A")
    off = "<connectorId>0</connectorId><type>Inoperative</type>"
    assert "Scheduled" in await ask(charge_point, "ChangeAvailability", off)
    await ask(charge_point, "RemoteStopTransaction", "<transactionId>7</transactionId>")
    await charge_point.settled()
    assert charge_point.connectors[1].status == charge_point.connectors[2].status == "Unavailable"
    assert "Rejected" in await ask(charge_point, "RemoteStartTransaction", "<idTag>A</idTag>")
    unavailable = await ask(charge_point, "ReserveNow", RESERVATION.format(connector_id=1, reservation_id=5))
    assert "Unavailable" in unavailable

    on = "<connectorId>0</connectorId><type>Operative</type>"
    assert "Accepted" in await ask(charge_point, "ChangeAvailability", on)
    await charge_point.settled()
    assert charge_point.connectors[1].status == charge_point.connectors[2].status == "Available"


async def test_the_local_list_is_kept(charge_point: SoapChargePoint) -> None:
    entry = "<localAuthorizationList><idTag>{}</idTag>{}</localAuthorizationList>"
    accepted = "<idTagInfo><status>Accepted</status></idTagInfo>"
    full = (
        f"<listVersion>3</listVersion>{entry.format('A', accepted)}{entry.format('B', accepted)}"
        "<updateType>Full</updateType>"
    )
    change = f"<listVersion>4</listVersion>{entry.format('A', '')}<updateType>Differential</updateType>"
    assert "Accepted" in await ask(charge_point, "SendLocalList", full)
    assert "Accepted" in await ask(charge_point, "SendLocalList", change)
    assert "VersionMismatch" in await ask(charge_point, "SendLocalList", change)
    assert "<listVersion>4</listVersion>" in await ask(charge_point, "GetLocalListVersion")
    assert charge_point.local_list == {"B": {"status": "Accepted"}}


async def test_charging_profiles_shape_the_composite_schedule(charge_point: SoapChargePoint) -> None:
    async def put(connector_id: int, **profile: object) -> None:
        body = f"<connectorId>{connector_id}</connectorId>" + PROFILE.format(**profile)
        assert "Accepted" in await ask(charge_point, "SetChargingProfile", body)

    async def limits(unit: str) -> list[str]:
        asked = (
            f"<connectorId>1</connectorId><duration>60</duration><chargingRateUnit>{unit}</chargingRateUnit>"
        )
        return re.findall(r"<limit>(.*?)<", await ask(charge_point, "GetCompositeSchedule", asked))

    await put(0, profile_id=1, level=0, purpose="ChargePointMaxProfile", limit="12.0")
    await put(1, profile_id=2, level=0, purpose="TxDefaultProfile", limit="14.0")
    assert await limits("A") == ["12.0"]
    await put(1, profile_id=3, level=1, purpose="TxDefaultProfile", limit="10.3")
    assert await limits("A") == ["10.3"]
    assert await limits("W") == ["7107.0"]  # 10.3 A on 3 phases of 230 V

    await charge_point.start_transaction("A")
    await put(1, profile_id=4, level=0, purpose="TxProfile", limit="8.1")
    assert await limits("A") == ["8.1"]
    await charge_point.stop_transaction()
    assert await limits("A") == ["10.3"]  # a TxProfile ends with its transaction

    assert "Accepted" in await ask(charge_point, "ClearChargingProfile", "<id>3</id>")
    assert await limits("A") == ["12.0"]
    assert "Accepted" in await ask(charge_point, "ClearChargingProfile", "<connectorId>1</connectorId>")
    assert [profile["chargingProfileId"] for _, profile in charge_point.profiles] == [1]

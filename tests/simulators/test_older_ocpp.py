"""Simulated parties of OCPP 1.5 and 1.2: what they look like on the wire, and all they say to each other."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from wattbridge.simulators.central_system_soap import SoapCentralSystem
from wattbridge.simulators.charge_point_soap import SoapChargePoint
from wattbridge.simulators.dialects import Version
from wattbridge.simulators.outcomes import Refused, Unanswered
from wattbridge.simulators.quirks import quirks_of
from wattbridge.simulators.scenario import PARTS, charging_day, play

from .all_operations import Told
from .canned import Canned, CannedCentralSystem, fault, result_of
from .test_charge_point_soap import Clock, later

Payload = dict[str, Any]
NOW = datetime(2024, 5, 1, 11, 30, tzinfo=timezone(timedelta(hours=1)))
OLDER: tuple[Version, ...] = ("1.5", "1.2")
older = pytest.mark.parametrize("version", OLDER)


@dataclass
class Pair:
    central_system: SoapCentralSystem
    charge_point: SoapChargePoint

    @property
    def problems(self) -> list[str]:
        both = self.charge_point, self.central_system
        return [*self.charge_point.failures, *(problem for party in both for problem in party.problems)]

    @property
    def said(self) -> list[tuple[str, Payload]]:
        return [(action, payload) for _, action, payload in self.central_system.received]


@asynccontextmanager
async def a_pair(version: Version, **options: Any) -> AsyncIterator[Pair]:
    async with SoapCentralSystem(call_timeout=5.0, version=version, **options) as central_system:
        url = central_system.url
        async with SoapChargePoint(
            "CP1", url, call_timeout=5.0, now=lambda: NOW, version=version
        ) as charge_point:
            yield Pair(central_system, charge_point)


# --- On the wire -----------------------------------------------------------------------------------------


@pytest.fixture
def canned() -> Iterator[CannedCentralSystem]:
    canned = CannedCentralSystem()
    yield canned
    canned.close()


@asynccontextmanager
async def one_charge(canned: CannedCentralSystem, version: Version) -> AsyncIterator[SoapChargePoint]:
    """A charge point that has booted and charged, at a central system of fixed texts."""
    canned.answer = result_of(version)
    async with SoapChargePoint(
        "CP1", canned.url, call_timeout=5.0, now=lambda: NOW, version=version
    ) as charge_point:
        await charge_point.power_up()
        charged = await charge_point.charge("04E91C5A", meter_values=1)
        assert charged == {"status": "Accepted", "transactionId": 7}
        yield charge_point
        assert charge_point.problems + charge_point.failures == []


async def test_a_charge_in_1_5(canned: CannedCentralSystem) -> None:
    async with one_charge(canned, "1.5") as charge_point:
        assert charge_point.configuration["HeartBeatInterval"].value == "300"
        assert "SupportedFeatureProfiles" not in charge_point.configuration
    assert all("urn://Ocpp/Cs/2012/06/" in text for _, text in canned.requests)
    statuses = re.findall(r"<status>(\w+)<", "".join(canned.bodies("StatusNotification")))
    assert statuses == ["Available"] * 3 + ["Occupied"] * 3 + ["Available"]
    assert "<timestamp>" in canned.bodies("StatusNotification")[0]

    def value(text: str, measurand: str, unit: str, context: str, location: str = "Outlet") -> str:
        return (
            f'<value context="{context}" format="Raw" measurand="{measurand}" location="{location}" '
            f'unit="{unit}">{text}</value>'
        )

    def reading(register: str, context: str, *, charging: bool = True) -> str:
        return (
            "<timestamp>2024-05-01T11:30:00.000+01:00</timestamp>"
            + value(register, "Energy.Active.Import.Register", "Wh", context)
            + value("10971" if charging else "0", "Power.Active.Import", "W", context)
            + value("15.9" if charging else "0.0", "Current.Import", "Amp", context)
            + value("230.1", "Voltage", "Volt", context)
            + value("31.5", "Temperature", "Celsius", context, "Body")
        )

    assert canned.bodies("MeterValues") == [
        "<meterValuesRequest><connectorId>1</connectorId><transactionId>7</transactionId>"
        f"<values>{reading('1250', 'Sample.Periodic')}</values></meterValuesRequest>"
    ]
    assert canned.bodies("StopTransaction") == [
        "<stopTransactionRequest><transactionId>7</transactionId><idTag>04E91C5A</idTag>"
        "<timestamp>2024-05-01T11:30:00.000+01:00</timestamp><meterStop>1250</meterStop><transactionData>"
        f"<values>{reading('1000', 'Transaction.Begin', charging=False)}</values>"
        f"<values>{reading('1250', 'Transaction.End', charging=False)}</values>"
        "</transactionData></stopTransactionRequest>"
    ]


async def test_a_charge_in_1_2(canned: CannedCentralSystem) -> None:
    async with one_charge(canned, "1.2"):
        pass
    assert all("urn://Ocpp/Cs/2010/08/" in text for _, text in canned.requests)
    assert canned.bodies("StatusNotification")[3] == (
        "<statusNotificationRequest><connectorId>1</connectorId><status>Occupied</status>"
        "<errorCode>NoError</errorCode></statusNotificationRequest>"
    )
    assert canned.bodies("MeterValues") == [
        "<meterValuesRequest><connectorId>1</connectorId>"
        "<values><timestamp>2024-05-01T11:30:00.000+01:00</timestamp><value>1250</value></values>"
        "</meterValuesRequest>"
    ]
    assert canned.bodies("StopTransaction") == [
        "<stopTransactionRequest><transactionId>7</transactionId><idTag>04E91C5A</idTag>"
        "<timestamp>2024-05-01T11:30:00.000+01:00</timestamp><meterStop>1250</meterStop>"
        "</stopTransactionRequest>"
    ]


async def test_a_boot_of_1_2_need_not_be_answered_with_an_interval(canned: CannedCentralSystem) -> None:
    def bare(action: str, relates_to: str) -> Canned:
        right = result_of("1.2")(action, relates_to)
        right.body = re.sub(r"<currentTime>.*</heartbeatInterval>", "", right.body)
        return right

    canned.answer = bare
    async with SoapChargePoint("CP1", canned.url, call_timeout=5.0, version="1.2") as charge_point:
        assert await charge_point.boot() == {"status": "Accepted"}
        assert charge_point.accepted
        assert charge_point.configuration["HeartBeatInterval"].value == "0"
        assert charge_point.problems == []


@pytest.mark.parametrize(("version", "other"), [("1.5", "1.6"), ("1.2", "1.5"), ("1.6", "1.5")])
async def test_an_answer_of_another_version_is_no_answer(
    canned: CannedCentralSystem, version: Version, other: Version
) -> None:
    canned.answer = result_of(other)
    async with SoapChargePoint("CP1", canned.url, call_timeout=5.0, version=version) as charge_point:
        with pytest.raises(Unanswered, match="heartbeatResponse"):
            await charge_point.heartbeat()
        assert "heartbeatResponse" in charge_point.problems[0]


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        ("/HeartbeatResponse", None),
        ("urn://Ocpp/Cs/2010/08/CentralSystemService/HeartbeatResponse", None),
        ("/Heartbeat", "wsa:Action is '/Heartbeat'; expected "),
    ],
)
async def test_an_answer_in_1_2_has_one_of_two_actions(
    canned: CannedCentralSystem, action: str, problem: str | None
) -> None:
    """The description names none, so that stacks write what WS-Addressing makes of the names."""

    def answer(asked: str, relates_to: str) -> Canned:
        right = result_of("1.2")(asked, relates_to)
        right.body = right.body.replace(">/HeartbeatResponse<", f">{action}<")
        return right

    canned.answer = answer
    async with SoapChargePoint("CP1", canned.url, call_timeout=5.0, version="1.2") as charge_point:
        await charge_point.heartbeat()
        assert [problem in found for found in charge_point.problems if problem] == [True] * bool(problem)
        assert len(charge_point.problems) == bool(problem)


# --- What a refusal is -----------------------------------------------------------------------------------


@older
@pytest.mark.parametrize(
    "how", [fault, lambda action, relates_to: Canned(503, "text/plain", "")], ids=["fault", "HTTP 503"]
)
async def test_a_transaction_message_that_is_refused_is_lost(
    canned: CannedCentralSystem, version: Version, how: Any
) -> None:
    """OCPP 1.5, 8.2: it should not be sent again, and nobody is asked with a Heartbeat whose fault it is."""
    right = result_of(version)
    canned.answer = lambda action, relates_to: (how if action == "StopTransaction" else right)(
        action, relates_to
    )
    clock = Clock()
    charge_point = SoapChargePoint("CP1", canned.url, call_timeout=5.0, now=lambda: NOW, version=version)
    charge_point.clock = clock
    charge_point.keep_messages(attempts=3, retry=60.0)
    async with charge_point:
        await charge_point.charge("04E91C5A", meter_values=1)
        await later(charge_point, clock, 600.0)
        assert canned.actions.count("StopTransaction") == 1
        assert "Heartbeat" not in canned.actions
        assert charge_point.queue is not None
        counts = charge_point.queue.counts
        assert (counts.failed, counts.discarded, counts.acknowledged, counts.queued) == (1, 1, 2, 0)


@older
async def test_without_a_queue_what_was_refused_is_not_tried_again_either(
    canned: CannedCentralSystem, version: Version
) -> None:
    canned.answer = fault
    async with SoapChargePoint("CP1", canned.url, call_timeout=5.0, version=version) as charge_point:
        charge_point.configuration["TransactionMessageAttempts"].value = "3"
        with pytest.raises(Refused):
            await charge_point.start_transaction("A")
    assert canned.actions == ["StartTransaction"]


@older
async def test_what_is_not_answered_is_sent_again(canned: CannedCentralSystem, version: Version) -> None:
    canned.answer = lambda action, relates_to: None
    clock = Clock()
    charge_point = SoapChargePoint("CP1", canned.url, call_timeout=5.0, now=lambda: NOW, version=version)
    charge_point.clock = clock
    charge_point.keep_messages(attempts=1, retry=60.0)
    async with charge_point:
        await charge_point.charge("04E91C5A", meter_values=1)
        await later(charge_point, clock, 60.0)
        canned.answer = result_of(version)
        await later(charge_point, clock, 60.0)
        assert canned.actions[-3:] == ["StartTransaction", "MeterValues", "StopTransaction"]
        assert "<transactionId>7</transactionId>" in canned.bodies("StopTransaction")[0]
        assert ("<transactionId>" in canned.bodies("MeterValues")[0]) == (version == "1.5")
        assert charge_point.queue is not None
        assert charge_point.queue.counts.discarded == 0


# --- All there is to say, between the two witnesses --------------------------------------------------------

MOMENT = "2024-05-01T10:00:00Z"
INFO = {"status": "Accepted", "expiryDate": "2025-03-30T01:30:00Z", "parentIdTag": "FLEET <7>"}
VOLTAGE = {
    "value": "230.1",
    "context": "Sample.Clock",
    "format": "Raw",
    "measurand": "Voltage",
    "location": "Inlet",
    "unit": "Volt",
}
READINGS: dict[Version, list[Payload]] = {
    "1.5": [
        {"timestamp": MOMENT, "value": [VOLTAGE, {"value": "7"}]},
        {"timestamp": MOMENT, "value": [VOLTAGE]},
    ],
    "1.2": [{"timestamp": MOMENT, "value": 7}, {"timestamp": MOMENT, "value": 2147483647}],
}
# What a charge point asks: in both, and in 1.5 alone.
SAID: dict[str, Payload] = {
    "Authorize": {"idTag": "04Ä9 <&>7"},
    "BootNotification": {
        "chargePointVendor": "Böhm & Söhne",
        "chargePointModel": "<Säule> 2×22",
        "chargePointSerialNumber": "SN-0007",
        "chargeBoxSerialNumber": "CB 0007",
        "firmwareVersion": "1.0.49-β",
        "iccid": "89490200001234567890",
        "imsi": "262011234567890",
        "meterType": "Zähler",
        "meterSerialNumber": "000123",
    },
    "DiagnosticsStatusNotification": {"status": "UploadFailed"},
    "FirmwareStatusNotification": {"status": "InstallationFailed"},
    "Heartbeat": {},
    "StartTransaction": {"connectorId": 2, "idTag": "A", "timestamp": MOMENT, "meterStart": 0},
    "StatusNotification": {"connectorId": 0, "status": "Faulted", "errorCode": "Mode3Error"},
    "StopTransaction": {"transactionId": 1, "idTag": "A", "timestamp": MOMENT, "meterStop": 9},
}
SAID_OF: dict[Version, dict[str, Payload]] = {
    "1.5": SAID
    | {
        "DataTransfer": {"vendorId": "V", "messageId": "m", "data": '{"a": "<b>"}\n\tü '},
        "MeterValues": {"connectorId": 1, "transactionId": 7, "values": READINGS["1.5"]},
        "StartTransaction": SAID["StartTransaction"] | {"reservationId": 5},
        "StatusNotification": {
            "connectorId": 1,
            "status": "Reserved",
            "errorCode": "OtherError",
            "info": "x" * 51,
            "timestamp": MOMENT,
            "vendorId": "V",
            "vendorErrorCode": "E",
        },
        "StopTransaction": SAID["StopTransaction"] | {"transactionData": [{"values": READINGS["1.5"]}]},
    },
    "1.2": SAID | {"MeterValues": {"connectorId": 1, "values": READINGS["1.2"]}},
}
# What a central system asks, and what it is answered.
ASKED: dict[str, tuple[Payload, Payload]] = {
    "ChangeAvailability": ({"connectorId": 0, "type": "Operative"}, {"status": "Scheduled"}),
    "ChangeConfiguration": ({"key": "HeartBeatInterval", "value": "60"}, {"status": "NotSupported"}),
    "ClearCache": ({}, {"status": "Rejected"}),
    "GetDiagnostics": (
        {
            "location": "ftp://example.org/d",
            "startTime": MOMENT,
            "stopTime": MOMENT,
            "retries": 3,
            "retryInterval": 60,
        },
        {"fileName": "d.txt"},
    ),
    "RemoteStartTransaction": ({"idTag": "A", "connectorId": 1}, {"status": "Accepted"}),
    "RemoteStopTransaction": ({"transactionId": 7}, {"status": "Rejected"}),
    "Reset": ({"type": "Hard"}, {"status": "Accepted"}),
    "UnlockConnector": ({"connectorId": 1}, {"status": "Rejected"}),
    "UpdateFirmware": (
        {"retrieveDate": MOMENT, "location": "ftp://example.org/f", "retries": 1, "retryInterval": 2},
        {},
    ),
}
ASKED_OF: dict[Version, dict[str, tuple[Payload, Payload]]] = {
    "1.5": ASKED
    | {
        "CancelReservation": ({"reservationId": 5}, {"status": "Accepted"}),
        "DataTransfer": ({"vendorId": "V", "data": "<"}, {"status": "UnknownMessageId", "data": ">"}),
        "GetConfiguration": (
            {"key": ["HeartBeatInterval", "Sparkle"]},
            {
                "configurationKey": [{"key": "HeartBeatInterval", "readonly": False, "value": "300"}],
                "unknownKey": ["Sparkle"],
            },
        ),
        "GetLocalListVersion": ({}, {"listVersion": -1}),
        "ReserveNow": (
            {
                "connectorId": 1,
                "expiryDate": MOMENT,
                "idTag": "A",
                "parentIdTag": "P",
                "reservationId": 5,
            },
            {"status": "Occupied"},
        ),
        "SendLocalList": (
            {
                "updateType": "Differential",
                "listVersion": 4,
                "localAuthorisationList": [{"idTag": "A", "idTagInfo": INFO}, {"idTag": "B"}],
                "hash": "0f1e",
            },
            {"status": "HashError", "hash": "0f1f"},
        ),
    },
    "1.2": ASKED,
}


def meant(value: Any) -> Any:
    """What a payload says, with its moments in UTC."""
    if isinstance(value, dict):
        return {name: meant(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [meant(inner) for inner in value]
    try:
        return (
            datetime.fromisoformat(value).astimezone(UTC)
            if isinstance(value, str) and "T" in value
            else value
        )
    except ValueError:
        return value


class ToldChargePoint(Told, SoapChargePoint):
    pass


@older
async def test_all_there_is_to_ask_arrives_and_is_answered(version: Version) -> None:
    async with (
        SoapCentralSystem(call_timeout=5.0, version=version) as central_system,
        ToldChargePoint("CP1", central_system.url, call_timeout=5.0, version=version) as charge_point,
    ):
        assert set(SAID_OF[version]) == central_system.dialect.says
        for action, payload in SAID_OF[version].items():
            answer = await charge_point.call(action, **payload)
            assert central_system.received[-1] == ("CP1", action, meant_as(central_system, payload))
            assert ("heartbeatInterval" in answer) == (action == "BootNotification")
        assert set(ASKED_OF[version]) == central_system.dialect.answers
        for action, (payload, answer) in ASKED_OF[version].items():
            charge_point.told = answer
            assert await central_system.call("CP1", action, **payload) == answer
            name, heard = charge_point.received[-1]
            assert (name, meant(heard)) == (action, meant(payload))
        assert charge_point.problems + charge_point.failures + central_system.problems == []


def meant_as(central_system: SoapCentralSystem, payload: Payload) -> Payload:
    """*payload*, where the last that arrived says the same."""
    found = central_system.received[-1][2]
    assert meant(found) == meant(payload)
    return found


@older
async def test_what_there_is_not_cannot_be_asked(version: Version) -> None:
    async with a_pair(version) as pair:
        await pair.charge_point.heartbeat()
        with pytest.raises(ValueError, match=f"TriggerMessage: OCPP {version} has no such call"):
            await pair.central_system.call("CP1", "TriggerMessage", requestedMessage="Heartbeat")
        with pytest.raises(ValueError, match="SignCertificate: OCPP"):
            await pair.charge_point.call("SignCertificate")
        assert (pair.charge_point.received, pair.problems) == ([], [])


async def test_1_2_has_no_data_transfer() -> None:
    async with a_pair("1.2") as pair:
        with pytest.raises(ValueError, match=r"DataTransfer: OCPP 1\.2 has no such call"):
            await pair.charge_point.transfer_data("m", "d")


# --- What they play ----------------------------------------------------------------------------------------


@older
async def test_a_day_is_played_as_far_as_there_are_words_for_it(version: Version) -> None:
    evening = asyncio.Event()
    steps: list[str] = []

    def on_step(step: str) -> None:
        steps.append(step.partition(" ")[2])
        if steps.count("firmware") == 2:
            evening.set()

    async with a_pair(version) as pair:
        result = await charging_day(
            pair.charge_point, pair.central_system, until=evening, pause=0, on_step=on_step
        )
        assert (result.failures, pair.problems) == ([], [])
    asked = {step for step in steps if step in pair.charge_point.dialect.answers}
    assert {
        "ChangeConfiguration",
        "RemoteStartTransaction",
        "RemoteStopTransaction",
        "UnlockConnector",
    } <= asked
    assert ("GetConfiguration" in asked) == ("DataTransfer" in asked) == (version == "1.5")
    transactions = pair.central_system.transactions.values()
    assert [known.meter_stop is None for known in transactions] == [False] * 4


@older
@pytest.mark.parametrize("name", ["charge", "boot-storm", "offline"])
async def test_every_part_is_played(version: Version, name: str) -> None:
    async with a_pair(version) as pair:
        for _ in range(2):
            assert await play(pair.charge_point, PARTS[name]) == []
        assert pair.problems == []
        assert None not in [known.meter_stop for known in pair.central_system.transactions.values()]


@older
async def test_quirks_are_those_of_the_version(version: Version) -> None:
    async with a_pair(version) as pair:
        failures = await play(pair.charge_point, PARTS["quirks"])
        names = [failure.split(": ")[1] for failure in failures]
        assert pair.charge_point.answered == 4 + len(quirks_of(version))
        assert ("attributes with a prefix" in names) == (version == "1.5")
        assert "a byte order mark" not in names


@older
async def test_what_the_charge_point_is_asked_it_does(version: Version) -> None:
    async with a_pair(version) as pair:
        cp, cs = pair.charge_point, pair.central_system
        await cp.power_up()
        assert await cs.call("CP1", "RemoteStartTransaction", idTag="A", connectorId=2) == {
            "status": "Accepted"
        }
        await cp.settled()
        assert await cs.call("CP1", "RemoteStopTransaction", transactionId=1) == {"status": "Accepted"}
        await cp.settled()
        assert await cs.call("CP1", "UnlockConnector", connectorId=9) == {"status": "Rejected"}
        restart = await cs.call("CP1", "ChangeConfiguration", key="ResetRetries", value="2")
        assert restart == {"status": "Accepted"}
        cs.received.clear()
        await cs.call("CP1", "UpdateFirmware", retrieveDate=MOMENT, location="ftp://example.org/f")
        await cs.call("CP1", "GetDiagnostics", location="ftp://example.org/d")
        await cp.settled()
        assert pair.said == [
            ("FirmwareStatusNotification", {"status": "Downloaded"}),
            ("FirmwareStatusNotification", {"status": "Installed"}),
            ("DiagnosticsStatusNotification", {"status": "Uploaded"}),
        ]
        assert pair.problems == []


async def test_a_local_list_of_1_5_comes_with_a_hash() -> None:
    async with a_pair("1.5") as pair:
        await pair.charge_point.heartbeat()
        answer = await pair.central_system.call(
            "CP1",
            "SendLocalList",
            updateType="Full",
            listVersion=3,
            localAuthorisationList=[{"idTag": "A", "idTagInfo": {"status": "Accepted"}}],
            hash="0f1e",
        )
        assert answer == {"status": "Accepted", "hash": "0f1e"}
        assert pair.charge_point.local_list == {"A": {"status": "Accepted"}}


@older
async def test_a_boot_that_is_pending_is_rejected(version: Version) -> None:
    async with a_pair(version) as pair:
        pair.central_system.boot_status = "Pending"
        assert (await pair.charge_point.boot())["status"] == "Rejected"
        assert not pair.charge_point.accepted


@pytest.mark.parametrize(
    ("version", "namespace"), [("1.5", "urn://Ocpp/2012/02/"), ("1.2", "urn://Ocpp/2010/08/")]
)
async def test_faults_stand_in_their_own_namespace(version: Version, namespace: str) -> None:
    """OCPP-S 1.2 and 1.5, 8.2."""
    async with a_pair(version) as pair:
        cp, cs = pair.charge_point, pair.central_system
        cs.errors["Heartbeat"] = ("InternalError", "worn out")
        with pytest.raises(Refused, match="Receiver/InternalError: worn out"):
            await cp.heartbeat()
        cp.refuse("Reset", Refused("Receiver", "NotSupported", "no relay"))
        with pytest.raises(Refused, match="Receiver/NotSupported: no relay"):
            await cs.call("CP1", "Reset", type="Hard")
        assert pair.problems == []

        envelope = (
            '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>'
            '<heartbeatRequest xmlns="urn://Ocpp/Cs/2015/10/"/></s:Body></s:Envelope>'
        )
        content_type = {"Content-Type": "application/soap+xml"}
        status, text = await cp.post("Heartbeat", envelope.encode(), content_type)
        assert (status, f'"{namespace}"' in text) == (500, True)
        assert f"is no request of CentralSystemService {version}" in cs.problems[0]

"""What is said otherwise in 1.5 and 1.2: by the descriptions, and by the words of spyne's models."""

from __future__ import annotations

import pytest

from wattbridge.simulators import spyne_models
from wattbridge.simulators.dialects import DIALECTS, Version
from wattbridge.simulators.soap_by_zeep import service

versions = pytest.mark.parametrize("version", ["1.6", "1.5", "1.2"])
OLDER: tuple[Version, ...] = ("1.5", "1.2")
older = pytest.mark.parametrize("version", OLDER)
NOW = "2024-05-01T10:00:00Z"
SAMPLES = [
    {"value": "1000", "measurand": "Energy.Active.Import.Register", "unit": "Wh", "location": "Outlet"},
    {"value": "15.9", "measurand": "Current.Import", "phase": "L1", "unit": "A"},
    {"value": "15.8", "measurand": "Current.Import", "phase": "L2", "unit": "A"},
    {"value": "230.1", "measurand": "Voltage", "phase": "L1-N", "unit": "V"},
    {"value": "21", "measurand": "SoC", "location": "EV", "unit": "Percent"},
]


@versions
def test_what_can_be_said_is_what_the_descriptions_have(version: Version) -> None:
    assert DIALECTS[version].version == version
    assert DIALECTS[version].says == set(service("CentralSystemService", version).operations)
    assert DIALECTS[version].answers == set(service("ChargePointService", version).operations)


@versions
def test_every_word_of_1_6_is_said_with_one_that_there_is(version: Version) -> None:
    for status in spyne_models.STATUS["1.6"]:
        if (version, status) == ("1.2", "Reserved"):  # which has no reservations
            continue
        for code in spyne_models.ERROR_CODE["1.6"]:
            said = DIALECTS[version].status({"connectorId": 1, "status": status, "errorCode": code})
            assert said["status"] in spyne_models.STATUS[version]
            assert said["errorCode"] in spyne_models.ERROR_CODE[version]


@versions
@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("DiagnosticsStatusNotification", spyne_models.DIAGNOSTICS),
        ("FirmwareStatusNotification", spyne_models.FIRMWARE),
    ],
)
def test_statuses_that_have_no_word_are_known(
    version: Version, action: str, words: dict[Version, tuple[str, ...]]
) -> None:
    known = [status for status in words["1.6"] if DIALECTS[version].knows(action, status)]
    assert sorted(known) == sorted(words[version])


def test_a_status_of_1_2_has_three_fields() -> None:
    status = {"connectorId": 1, "status": "Charging", "errorCode": "NoError", "info": None, "timestamp": NOW}
    assert DIALECTS["1.5"].status(status) == status | {"status": "Occupied"}
    assert DIALECTS["1.2"].status(status) == {"connectorId": 1, "status": "Occupied", "errorCode": "NoError"}


def test_a_reading_says_what_its_version_can() -> None:
    assert DIALECTS["1.6"].reading(NOW, SAMPLES) == {"timestamp": NOW, "sampledValue": SAMPLES}
    assert DIALECTS["1.5"].reading(NOW, SAMPLES) == {
        "timestamp": NOW,
        "value": [
            SAMPLES[0],
            {"value": "15.9", "measurand": "Current.Import", "unit": "Amp"},
            {"value": "230.1", "measurand": "Voltage", "unit": "Volt"},
        ],
    }
    assert DIALECTS["1.2"].reading(NOW, SAMPLES) == {"timestamp": NOW, "value": 1000}


def test_meter_values_are_named_as_in_their_version() -> None:
    found = [DIALECTS[version].meter_values(1, 7, {}) for version in ("1.6", "1.5", "1.2")]
    assert found == [
        {"connectorId": 1, "transactionId": 7, "meterValue": [{}]},
        {"connectorId": 1, "transactionId": 7, "values": [{}]},
        {"connectorId": 1, "values": [{}]},
    ]
    assert DIALECTS["1.5"].meter_values(1, None, {}) == {"connectorId": 1, "values": [{}]}


def test_a_stop_has_no_reason_and_one_more_level_or_none() -> None:
    stop = {"transactionId": 7, "meterStop": 9, "reason": "Local"}
    found = [DIALECTS[version].stop(stop, [{}, {}]) for version in ("1.6", "1.5", "1.2")]
    assert found == [
        stop | {"transactionData": [{}, {}]},
        {"transactionId": 7, "meterStop": 9, "transactionData": [{"values": [{}, {}]}]},
        {"transactionId": 7, "meterStop": 9},
    ]


@older
def test_a_boot_is_answered_with_a_heartbeat_interval(version: Version) -> None:
    booted = DIALECTS[version].booted("Pending", NOW, 300)
    assert booted == {"status": "Rejected", "currentTime": NOW, "heartbeatInterval": 300}
    assert DIALECTS[version].interval(booted) == 300


def test_1_2_need_not_say_an_interval() -> None:
    assert DIALECTS["1.2"].interval({"status": "Accepted"}) == 0


@older
def test_answers_have_the_words_of_their_version(version: Version) -> None:
    dialect = DIALECTS[version]
    assert dialect.answer("UnlockConnector", {"status": "UnlockFailed"}) == {"status": "Rejected"}
    assert dialect.answer("ChangeConfiguration", {"status": "RebootRequired"}) == {"status": "Accepted"}
    assert dialect.answer("GetDiagnostics", {"fileName": "Unlocked"}) == {"fileName": "Unlocked"}

"""The operations of OCPP 1.2 and 1.5 as their charge points see them, and as a central system of 1.6 does.

Where the versions say the same, the examples are those of ``operations.py``. Source: the service descriptions
of 1.2 and 1.5.
"""

from __future__ import annotations

from tests.interop import operations
from tests.interop.operations import ALL_OF_IT, TAG, Asked

_OF_THE_CENTRAL_SYSTEM = operations.ASKED_OF_THE_CENTRAL_SYSTEM
_OF_THE_CHARGE_POINT = operations.ASKED_OF_THE_CHARGE_POINT

BOOT = {"status": "Accepted", "currentTime": "2024-05-01T10:00:00Z", "interval": 86400}
BOOT_TOLD = {"status": "Accepted", "currentTime": "2024-05-01T10:00:00Z", "heartbeatInterval": 86400}

# What a value is stands in attributes, and amperes and volts are spelt out.
VALUES = {
    "timestamp": "2024-05-01T12:00:00+02:00",
    "value": [
        {
            "$value": "8.1",
            "@context": "Sample.Clock",
            "@format": "Raw",
            "@measurand": "Current.Import",
            "@location": "Outlet",
            "@unit": "Amp",
        },
        {"$value": "230", "@measurand": "Voltage", "@unit": "Volt"},
        {"$value": "AAEC/+8=", "@context": "Transaction.End", "@format": "SignedData"},
    ],
}
METER_VALUE = {
    "timestamp": "2024-05-01T10:00:00Z",
    "sampledValue": [
        {
            "value": "8.1",
            "context": "Sample.Clock",
            "format": "Raw",
            "measurand": "Current.Import",
            "location": "Outlet",
            "unit": "A",
        },
        {"value": "230", "measurand": "Voltage", "unit": "V"},
        {"value": "AAEC/+8=", "context": "Transaction.End", "format": "SignedData"},
    ],
}
LAST_VALUES = {"timestamp": "2024-05-01T11:00:00Z", "value": "12345"}
LAST_METER_VALUE = {"timestamp": "2024-05-01T11:00:00Z", "sampledValue": [{"value": "12345"}]}

OF_THE_CENTRAL_SYSTEM_1_5: dict[str, dict[str, Asked]] = {
    "Authorize": _OF_THE_CENTRAL_SYSTEM["Authorize"],
    "BootNotification": {
        case: Asked(same.asked, BOOT, told=BOOT_TOLD)
        for case, same in _OF_THE_CENTRAL_SYSTEM["BootNotification"].items()
    },
    "DataTransfer": _OF_THE_CENTRAL_SYSTEM["DataTransfer"],
    "DiagnosticsStatusNotification": {
        "full": Asked({"status": "UploadFailed"}, {}),
        "minimal": Asked({"status": "Uploaded"}, {}),
    },
    "FirmwareStatusNotification": {
        "full": Asked({"status": "InstallationFailed"}, {}),
        "minimal": Asked({"status": "Downloaded"}, {}),
    },
    "Heartbeat": _OF_THE_CENTRAL_SYSTEM["Heartbeat"],
    "MeterValues": {
        "full": Asked(
            {"connectorId": 2, "transactionId": 2147483647, "values": [VALUES, LAST_VALUES]},
            {},
            heard={
                "connectorId": 2,
                "transactionId": 2147483647,
                "meterValue": [METER_VALUE, LAST_METER_VALUE],
            },
        ),
        "minimal": Asked(
            {"connectorId": 0, "values": [LAST_VALUES]},
            {},
            heard={"connectorId": 0, "meterValue": [LAST_METER_VALUE]},
        ),
    },
    "StartTransaction": _OF_THE_CENTRAL_SYSTEM["StartTransaction"],
    "StatusNotification": {
        "full": Asked(
            {
                "connectorId": 1,
                "status": "Faulted",
                "errorCode": "Mode3Error",
                "info": "Tür <offen> & zu",
                "timestamp": "2024-05-01T10:00:00Z",
                "vendorId": "org.example",
                "vendorErrorCode": "E-0815",
            },
            {},
            heard={
                "connectorId": 1,
                "status": "Faulted",
                "errorCode": "EVCommunicationError",  # its name in 1.6
                "info": "Tür <offen> & zu",
                "timestamp": "2024-05-01T10:00:00Z",
                "vendorId": "org.example",
                "vendorErrorCode": "E-0815",
            },
        ),
        "minimal": Asked({"connectorId": 0, "status": "Available", "errorCode": "NoError"}, {}),
    },
    "StopTransaction": {
        "full": Asked(
            {
                "transactionId": 1,
                "idTag": TAG,
                "timestamp": "2024-05-01T11:00:00Z",
                "meterStop": 12345,
                "transactionData": [{"values": [VALUES]}, {"values": [LAST_VALUES]}],
            },
            {"idTagInfo": ALL_OF_IT},
            heard={
                "transactionId": 1,
                "idTag": TAG,
                "timestamp": "2024-05-01T11:00:00Z",
                "meterStop": 12345,
                "transactionData": [METER_VALUE, LAST_METER_VALUE],
            },
        ),
        "minimal": _OF_THE_CENTRAL_SYSTEM["StopTransaction"]["minimal"],
    },
}

OF_THE_CHARGE_POINT_1_5: dict[str, dict[str, Asked]] = {
    **{
        action: _OF_THE_CHARGE_POINT[action]
        for action in (
            "CancelReservation",
            "ChangeAvailability",
            "ClearCache",
            "DataTransfer",
            "GetDiagnostics",
            "GetLocalListVersion",
            "RemoteStopTransaction",
            "ReserveNow",
            "Reset",
            "UpdateFirmware",
        )
    },
    "ChangeConfiguration": {
        "full": Asked({"key": "Menü & <Text>", "value": '"Wh" & <b>\n'}, {"status": "Accepted"}),
        "minimal": Asked({"key": "A", "value": "0"}, {"status": "NotSupported"}),
    },
    "GetConfiguration": {
        "full": Asked(
            {"key": ["HeartbeatInterval", "<Menü> & Text"]},
            {
                "configurationKey": [
                    {"key": "HeartBeatInterval", "readonly": False, "value": "300"},
                    {"key": "None", "readonly": True},
                ],
                "unknownKey": ["<Menü> & Text"],
            },
            heard={"key": ["HeartBeatInterval", "<Menü> & Text"]},  # its name in 1.5
            told={
                "configurationKey": [
                    {"key": "HeartbeatInterval", "readonly": False, "value": "300"},
                    {"key": "None", "readonly": True},
                ],
                "unknownKey": ["<Menü> & Text"],
            },
        ),
        "minimal": Asked({}, {}),
    },
    "RemoteStartTransaction": {
        "full": Asked({"connectorId": 1, "idTag": TAG}, {"status": "Accepted"}),
        "minimal": Asked({"idTag": "1"}, {"status": "Rejected"}),
    },
    "SendLocalList": {
        "full": Asked(
            {
                "listVersion": 3,
                "localAuthorizationList": [{"idTag": TAG, "idTagInfo": ALL_OF_IT}, {"idTag": "B"}],
                "updateType": "Differential",
            },
            {"status": "VersionMismatch"},
            heard={
                "listVersion": 3,
                "localAuthorisationList": [{"idTag": TAG, "idTagInfo": ALL_OF_IT}, {"idTag": "B"}],
                "updateType": "Differential",
            },
        ),
        "minimal": Asked(
            {"listVersion": 1, "updateType": "Full"}, {"status": "HashError"}, told={"status": "Failed"}
        ),
    },
    "UnlockConnector": {
        "full": Asked({"connectorId": 2}, {"status": "Rejected"}, told={"status": "UnlockFailed"}),
        "minimal": Asked({"connectorId": 1}, {"status": "Accepted"}, told={"status": "Unlocked"}),
    },
}

ENERGY = {"measurand": "Energy.Active.Import.Register", "unit": "Wh"}  # what every value of 1.2 is

OF_THE_CENTRAL_SYSTEM_1_2: dict[str, dict[str, Asked]] = {
    **{
        action: OF_THE_CENTRAL_SYSTEM_1_5[action]
        for action in (
            "Authorize",
            "BootNotification",
            "DiagnosticsStatusNotification",
            "FirmwareStatusNotification",
            "Heartbeat",
        )
    },
    "MeterValues": {
        "full": Asked(
            {
                "connectorId": 2,
                "values": [
                    {"timestamp": "2024-05-01T10:00:00Z", "value": 12000},
                    {"timestamp": "2024-05-01T11:00:00Z", "value": 12345},
                ],
            },
            {},
            heard={
                "connectorId": 2,
                "meterValue": [
                    {"timestamp": "2024-05-01T10:00:00Z", "sampledValue": [{"value": "12000", **ENERGY}]},
                    {"timestamp": "2024-05-01T11:00:00Z", "sampledValue": [{"value": "12345", **ENERGY}]},
                ],
            },
        ),
    },
    "StartTransaction": {
        "full": Asked(
            {"connectorId": 1, "idTag": TAG, "timestamp": "2024-05-01T10:00:00Z", "meterStart": 0},
            {"transactionId": 1, "idTagInfo": ALL_OF_IT},
        ),
    },
    "StatusNotification": {
        "full": Asked(
            {"connectorId": 1, "status": "Faulted", "errorCode": "Mode3Error"},
            {},
            heard={"connectorId": 1, "status": "Faulted", "errorCode": "EVCommunicationError"},
        ),
        "minimal": OF_THE_CENTRAL_SYSTEM_1_5["StatusNotification"]["minimal"],
    },
    "StopTransaction": {
        "full": Asked(
            {"transactionId": 1, "idTag": TAG, "timestamp": "2024-05-01T11:00:00Z", "meterStop": 12345},
            {"idTagInfo": ALL_OF_IT},
        ),
        "minimal": Asked({"transactionId": 1, "timestamp": "2024-05-01T11:00:00Z", "meterStop": 0}, {}),
    },
}

OF_THE_CHARGE_POINT_1_2 = {
    action: OF_THE_CHARGE_POINT_1_5[action]
    for action in (
        "ChangeAvailability",
        "ChangeConfiguration",
        "ClearCache",
        "GetDiagnostics",
        "RemoteStartTransaction",
        "RemoteStopTransaction",
        "Reset",
        "UnlockConnector",
        "UpdateFirmware",
    )
}

# Each version: what is asked of the central system, and of the charge point.
OPERATIONS = {
    "1.2": (OF_THE_CENTRAL_SYSTEM_1_2, OF_THE_CHARGE_POINT_1_2),
    "1.5": (OF_THE_CENTRAL_SYSTEM_1_5, OF_THE_CHARGE_POINT_1_5),
    "1.6": (_OF_THE_CENTRAL_SYSTEM, _OF_THE_CHARGE_POINT),
}

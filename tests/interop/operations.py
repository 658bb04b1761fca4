"""All 29 operations of OCPP 1.6 with everything they can say, and with no more than they must.

Payloads are those of OCPP-J; a simulator that speaks SOAP takes and gives the same. Times are in UTC, so that
they look the same on both sides, but for a few.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Payload = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One call and its result, as its sender writes them, and as the other party sees them.

    ``heard`` and ``told`` are given where they are not the same as ``asked`` and ``answered``.
    """

    asked: Payload
    answered: Payload
    heard: Payload | None = None
    told: Payload | None = None

    @property
    def arrives(self) -> Payload:
        return self.asked if self.heard is None else self.heard

    @property
    def returns(self) -> Payload:
        return self.answered if self.told is None else self.told


ALL_OF_IT = {"status": "Accepted", "expiryDate": "2025-03-30T01:30:00Z", "parentIdTag": 'FLEET & "Söhne" <7>'}
TAG = "04Ä9 <&>7"

SAMPLE_FULL = {
    "value": "8.1",
    "context": "Sample.Clock",
    "format": "Raw",
    "measurand": "Current.Import",
    "phase": "L1-N",
    "location": "Outlet",
    "unit": "A",
}
SIGNED = {"value": "AAEC/+8=", "format": "SignedData", "context": "Transaction.End"}

# What the simulated central system answers to each is its own; see ``FullCentralSystem``.
ASKED_OF_THE_CENTRAL_SYSTEM: dict[str, dict[str, Asked]] = {
    "Authorize": {
        "full": Asked({"idTag": TAG}, {"idTagInfo": ALL_OF_IT}),
        "minimal": Asked({"idTag": "1"}, {"idTagInfo": {"status": "Invalid"}}),
    },
    "BootNotification": {
        "full": Asked(
            {
                "chargePointVendor": "Böhm & Söhne",
                "chargePointModel": "<Säule> 2×22",
                "chargePointSerialNumber": "SN-0007",
                "chargeBoxSerialNumber": "CB 0007",
                "firmwareVersion": "1.0.49-β",
                "iccid": "89490200001234567890",
                "imsi": "262011234567890",
                "meterType": "\"Zähler\" 'A'",
                "meterSerialNumber": "000123",
            },
            {"status": "Accepted", "currentTime": "2024-05-01T10:00:00Z", "interval": 86400},
        ),
        "minimal": Asked(
            {"chargePointVendor": "V", "chargePointModel": "M"},
            {"status": "Accepted", "currentTime": "2024-05-01T10:00:00Z", "interval": 86400},
        ),
    },
    "DataTransfer": {
        "full": Asked(
            {"vendorId": "org.example/ü", "messageId": '<Tarif> & "Preis"', "data": '{"a": "<b>"}\n\tü 🔌 '},
            {"status": "Accepted", "data": '{"a": "<b>"}\n\tü 🔌 '},
        ),
        "minimal": Asked({"vendorId": "V"}, {"status": "Accepted"}),
    },
    "DiagnosticsStatusNotification": {
        "full": Asked({"status": "UploadFailed"}, {}),
        "minimal": Asked({"status": "Idle"}, {}),
    },
    "FirmwareStatusNotification": {
        "full": Asked({"status": "InstallationFailed"}, {}),
        "minimal": Asked({"status": "Idle"}, {}),
    },
    "Heartbeat": {
        "full": Asked({}, {"currentTime": "2024-05-01T10:00:00Z"}),
        "minimal": Asked({}, {"currentTime": "2024-05-01T10:00:00Z"}),
    },
    "MeterValues": {
        "full": Asked(
            {
                "connectorId": 2,
                "transactionId": 2147483647,
                "meterValue": [
                    {"timestamp": "2024-05-01T12:00:00+02:00", "sampledValue": [SAMPLE_FULL, SIGNED]},
                    {
                        "timestamp": "2024-05-01T10:15:00Z",
                        "sampledValue": [{"value": "7", "unit": "Celsius"}],
                    },
                ],
            },
            {},
            heard={
                "connectorId": 2,
                "transactionId": 2147483647,
                "meterValue": [
                    {"timestamp": "2024-05-01T10:00:00Z", "sampledValue": [SAMPLE_FULL, SIGNED]},
                    {
                        "timestamp": "2024-05-01T10:15:00Z",
                        "sampledValue": [{"value": "7", "unit": "Celsius"}],
                    },
                ],
            },
        ),
        "minimal": Asked(
            {
                "connectorId": 0,
                "meterValue": [{"timestamp": "2024-05-01T10:00:00Z", "sampledValue": [{"value": "0"}]}],
            },
            {},
        ),
    },
    "StartTransaction": {
        "full": Asked(
            {
                "connectorId": 1,
                "idTag": TAG,
                "timestamp": "2024-05-01T11:00:00.250+01:00",
                "meterStart": -2147483648,
                "reservationId": 5,
            },
            {"transactionId": 1, "idTagInfo": ALL_OF_IT},
            heard={
                "connectorId": 1,
                "idTag": TAG,
                "timestamp": "2024-05-01T10:00:00Z",
                "meterStart": -2147483648,
                "reservationId": 5,
            },
        ),
        "minimal": Asked(
            {"connectorId": 1, "idTag": "1", "timestamp": "2024-05-01T10:00:00Z", "meterStart": 0},
            {"transactionId": 2, "idTagInfo": {"status": "Invalid"}},
        ),
    },
    "StatusNotification": {
        "full": Asked(
            {
                "connectorId": 1,
                "status": "Faulted",
                "errorCode": "OtherError",
                "info": "Tür <offen> & zu",
                "timestamp": "2024-05-01T10:00:00Z",
                "vendorId": "org.example",
                "vendorErrorCode": "E-0815",
            },
            {},
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
                "reason": "EVDisconnected",
                "transactionData": [
                    {"timestamp": "2024-05-01T10:00:00Z", "sampledValue": [SAMPLE_FULL, SIGNED]},
                    {"timestamp": "2024-05-01T11:00:00Z", "sampledValue": [{"value": "12345", "unit": "Wh"}]},
                ],
            },
            {"idTagInfo": ALL_OF_IT},
        ),
        "minimal": Asked({"transactionId": 2, "timestamp": "2024-05-01T11:00:00Z", "meterStop": 0}, {}),
    },
}

PROFILE_FULL = {
    "chargingProfileId": 7,
    "transactionId": 1,
    "stackLevel": 2,
    "chargingProfilePurpose": "TxProfile",
    "chargingProfileKind": "Recurring",
    "recurrencyKind": "Weekly",
    "validFrom": "2024-05-01T00:00:00Z",
    "validTo": "2024-06-01T00:00:00Z",
    "chargingSchedule": {
        "duration": 3600,
        "startSchedule": "2024-05-01T10:00:00Z",
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [
            {"startPeriod": 0, "limit": Decimal("8.1"), "numberPhases": 3},
            {"startPeriod": 1800, "limit": Decimal("16.0")},
        ],
        "minChargingRate": Decimal("0.1"),
    },
}
PROFILE_MINIMAL = {
    "chargingProfileId": 1,
    "stackLevel": 0,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Absolute",
    "chargingSchedule": {
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": Decimal("11000.5")}],
    },
}

ASKED_OF_THE_CHARGE_POINT: dict[str, dict[str, Asked]] = {
    "CancelReservation": {
        "full": Asked({"reservationId": 2147483647}, {"status": "Accepted"}),
        "minimal": Asked({"reservationId": -1}, {"status": "Rejected"}),
    },
    "ChangeAvailability": {
        "full": Asked({"connectorId": 1, "type": "Inoperative"}, {"status": "Scheduled"}),
        "minimal": Asked({"connectorId": 0, "type": "Operative"}, {"status": "Accepted"}),
    },
    "ChangeConfiguration": {
        "full": Asked({"key": "Menü & <Text>", "value": '"Wh" & <b>\n'}, {"status": "RebootRequired"}),
        "minimal": Asked({"key": "A", "value": "0"}, {"status": "NotSupported"}),
    },
    "ClearCache": {
        "full": Asked({}, {"status": "Accepted"}),
        "minimal": Asked({}, {"status": "Rejected"}),
    },
    "ClearChargingProfile": {
        "full": Asked(
            {
                "id": 7,
                "connectorId": 1,
                "chargingProfilePurpose": "ChargePointMaxProfile",
                "stackLevel": 2,
            },
            {"status": "Accepted"},
        ),
        "minimal": Asked({}, {"status": "Unknown"}),
    },
    "DataTransfer": {
        "full": Asked(
            {"vendorId": "org.example/ü", "messageId": "<Tarif> & Preis", "data": '{"a": "<b>"} '},
            {"status": "UnknownMessageId", "data": " <c d='e'/> & 🔌"},
        ),
        "minimal": Asked({"vendorId": "V"}, {"status": "UnknownVendorId"}),
    },
    "GetCompositeSchedule": {
        "full": Asked(
            {"connectorId": 1, "duration": 3600, "chargingRateUnit": "A"},
            {
                "status": "Accepted",
                "connectorId": 1,
                "scheduleStart": "2024-05-01T12:00:00+02:00",
                "chargingSchedule": PROFILE_FULL["chargingSchedule"],
            },
            told={
                "status": "Accepted",
                "connectorId": 1,
                "scheduleStart": "2024-05-01T10:00:00Z",
                "chargingSchedule": PROFILE_FULL["chargingSchedule"],
            },
        ),
        "minimal": Asked({"connectorId": 0, "duration": 0}, {"status": "Rejected"}),
    },
    "GetConfiguration": {
        "full": Asked(
            {"key": ["HeartbeatInterval", "<Menü> & Text"]},
            {
                "configurationKey": [
                    {"key": "HeartbeatInterval", "readonly": False, "value": "300"},
                    {"key": "None", "readonly": True},
                ],
                "unknownKey": ["<Menü> & Text"],
            },
        ),
        "minimal": Asked({}, {}),
    },
    "GetDiagnostics": {
        "full": Asked(
            {
                "location": "ftp://user:p%40ss@files.example/up?a=1&b=2",
                "startTime": "2024-05-01T00:00:00Z",
                "stopTime": "2024-05-01T10:00:00Z",
                "retries": 3,
                "retryInterval": 60,
            },
            {"fileName": "Säule <7> & co.zip"},
        ),
        "minimal": Asked({"location": "ftp://files.example/"}, {}),
    },
    "GetLocalListVersion": {
        "full": Asked({}, {"listVersion": 2147483647}),
        "minimal": Asked({}, {"listVersion": -1}),
    },
    "RemoteStartTransaction": {
        "full": Asked(
            {"connectorId": 1, "idTag": TAG, "chargingProfile": PROFILE_FULL}, {"status": "Accepted"}
        ),
        "minimal": Asked({"idTag": "1"}, {"status": "Rejected"}),
    },
    "RemoteStopTransaction": {
        "full": Asked({"transactionId": 2147483647}, {"status": "Accepted"}),
        "minimal": Asked({"transactionId": 0}, {"status": "Rejected"}),
    },
    "ReserveNow": {
        "full": Asked(
            {
                "connectorId": 1,
                "expiryDate": "2024-05-01T14:00:00+02:00",
                "idTag": TAG,
                "parentIdTag": "FLEET",
                "reservationId": 5,
            },
            {"status": "Unavailable"},
            heard={
                "connectorId": 1,
                "expiryDate": "2024-05-01T12:00:00Z",
                "idTag": TAG,
                "parentIdTag": "FLEET",
                "reservationId": 5,
            },
        ),
        "minimal": Asked(
            {"connectorId": 0, "expiryDate": "2024-05-01T12:00:00Z", "idTag": "1", "reservationId": 0},
            {"status": "Occupied"},
        ),
    },
    "Reset": {
        "full": Asked({"type": "Hard"}, {"status": "Accepted"}),
        "minimal": Asked({"type": "Soft"}, {"status": "Rejected"}),
    },
    "SendLocalList": {
        "full": Asked(
            {
                "listVersion": 3,
                "localAuthorizationList": [{"idTag": TAG, "idTagInfo": ALL_OF_IT}, {"idTag": "B"}],
                "updateType": "Differential",
            },
            {"status": "VersionMismatch"},
        ),
        "minimal": Asked({"listVersion": 1, "updateType": "Full"}, {"status": "Failed"}),
    },
    "SetChargingProfile": {
        "full": Asked({"connectorId": 1, "csChargingProfiles": PROFILE_FULL}, {"status": "Rejected"}),
        "minimal": Asked({"connectorId": 0, "csChargingProfiles": PROFILE_MINIMAL}, {"status": "Accepted"}),
    },
    "TriggerMessage": {
        "full": Asked(
            {"requestedMessage": "FirmwareStatusNotification", "connectorId": 1}, {"status": "Rejected"}
        ),
        "minimal": Asked({"requestedMessage": "Heartbeat"}, {"status": "NotImplemented"}),
    },
    "UnlockConnector": {
        "full": Asked({"connectorId": 2}, {"status": "UnlockFailed"}),
        "minimal": Asked({"connectorId": 1}, {"status": "NotSupported"}),
    },
    "UpdateFirmware": {
        "full": Asked(
            {
                "location": "https://files.example/fw.bin?a=1&b=2",
                "retries": 3,
                "retrieveDate": "2024-05-01T10:00:00Z",
                "retryInterval": 60,
            },
            {},
        ),
        "minimal": Asked({"location": "ftp://f/", "retrieveDate": "2024-05-01T10:00:00Z"}, {}),
    },
}

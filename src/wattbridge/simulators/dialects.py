"""What the simulators say otherwise in OCPP 1.5 and 1.2 than in 1.6, in whose words they think.

Written from the three specifications, for the simulators alone: nothing of the gateway's is in it, so that
the two can disagree. A payload has the names of its version; a text with attributes, which are the meter
values of 1.5, is an object: ``<value unit="Wh">5</value>`` is ``{"value": "5", "unit": "Wh"}``.
"""

from __future__ import annotations

from typing import Any, Literal

Payload = dict[str, Any]
Version = Literal["1.6", "1.5", "1.2"]

# Words of 1.6 → what is said for them in an older version (OCPP 1.5, 7; OCPP 1.6 edition 2, appendix A).
OCCUPIED = dict.fromkeys(("Preparing", "Charging", "SuspendedEV", "SuspendedEVSE", "Finishing"), "Occupied")
ERROR_CODES: dict[str, dict[str, str]] = {
    "1.5": {
        "EVCommunicationError": "Mode3Error",
        "InternalError": "OtherError",
        "LocalListConflict": "OtherError",
        "OverVoltage": "OtherError",
    },
    # What is beyond the eight codes of 1.2 is told by the status alone.
    "1.2": {
        "EVCommunicationError": "Mode3Error",
        "GroundFailure": "NoError",
        "InternalError": "NoError",
        "LocalListConflict": "NoError",
        "OtherError": "NoError",
        "OverCurrentFailure": "NoError",
        "OverVoltage": "NoError",
        "UnderVoltage": "NoError",
        "WeakSignal": "NoError",
    },
}
UNITS = {"A": "Amp", "V": "Volt"}
ANSWERS = {  # action → status of its .conf in 1.6 → that in 1.5 and 1.2
    "ChangeConfiguration": {"RebootRequired": "Accepted"},
    "UnlockConnector": {"Unlocked": "Accepted", "UnlockFailed": "Rejected", "NotSupported": "Rejected"},
}


class Dialect:
    """OCPP 1.6 itself; the older ones differ from it as told below.

    ``says`` are the actions that a charge point can say, ``answers`` those it can be asked.
    """

    version: Version = "1.6"
    says = frozenset(
        {
            *("Authorize", "BootNotification", "DataTransfer", "DiagnosticsStatusNotification"),
            *("FirmwareStatusNotification", "Heartbeat", "MeterValues", "StartTransaction"),
            *("StatusNotification", "StopTransaction"),
        }
    )
    answers = frozenset(
        {
            *("CancelReservation", "ChangeAvailability", "ChangeConfiguration", "ClearCache"),
            *("ClearChargingProfile", "DataTransfer", "GetCompositeSchedule", "GetConfiguration"),
            *("GetDiagnostics", "GetLocalListVersion", "RemoteStartTransaction", "RemoteStopTransaction"),
            *("ReserveNow", "Reset", "SendLocalList", "SetChargingProfile", "TriggerMessage"),
            *("UnlockConnector", "UpdateFirmware"),
        }
    )
    local_list = "localAuthorizationList"
    unlocked = "Unlocked"
    # Whether a message that was refused is sent again (OCPP-S 1.6 errata, 3.1), or never.
    repeats_what_was_refused = True

    def key(self, name: str) -> str:
        """What a configuration key is called."""
        return name

    def interval(self, booted: Payload) -> int:
        """Seconds until the next Heartbeat or boot, as BootNotification.conf says; 0 when it does not."""
        return int(booted["interval"])

    def booted(self, status: str, now: str, interval: int) -> Payload:
        """BootNotification.conf."""
        return {"status": status, "currentTime": now, "interval": interval}

    def status(self, payload: Payload) -> Payload:
        """StatusNotification.req."""
        return payload

    def reading(self, timestamp: str, samples: list[Payload]) -> Payload:
        """What was measured at one moment; *samples* are SampledValues of 1.6."""
        return {"timestamp": timestamp, "sampledValue": samples}

    def meter_values(self, connector_id: int, transaction_id: int | None, reading: Payload) -> Payload:
        """MeterValues.req, with what ``reading`` gave."""
        payload = {"connectorId": connector_id, "meterValue": [reading]}
        return payload if transaction_id is None else payload | {"transactionId": transaction_id}

    def stop(self, payload: Payload, readings: list[Payload]) -> Payload:
        """StopTransaction.req, from that of 1.6 without transactionData, and with what ``reading`` gave."""
        return payload | {"transactionData": readings}

    def knows(self, action: str, status: str) -> bool:
        """Whether a DiagnosticsStatusNotification or FirmwareStatusNotification has a word for *status*."""
        return True

    def answer(self, action: str, payload: Payload) -> Payload:
        """The .conf of a charge point, from that of 1.6."""
        return payload


class _Ocpp15(Dialect):
    """OCPP 1.5 against 1.6 (OCPP 1.5, 6 and 7; OCPP 1.6 edition 2, appendix A)."""

    version: Version = "1.5"
    answers = Dialect.answers - {
        *("ClearChargingProfile", "GetCompositeSchedule", "SetChargingProfile", "TriggerMessage")
    }
    local_list = "localAuthorisationList"
    unlocked = "Accepted"
    # A receiver of a fault should not send the same message again (OCPP 1.5, 8.2).
    repeats_what_was_refused = False

    def key(self, name: str) -> str:
        return "HeartBeatInterval" if name == "HeartbeatInterval" else name

    def interval(self, booted: Payload) -> int:
        return int(booted["heartbeatInterval"])

    def booted(self, status: str, now: str, interval: int) -> Payload:
        status = "Rejected" if status == "Pending" else status
        return {"status": status, "currentTime": now, "heartbeatInterval": interval}

    def status(self, payload: Payload) -> Payload:
        status, code = payload["status"], payload["errorCode"]
        return payload | {
            "status": OCCUPIED.get(status, status),
            "errorCode": ERROR_CODES[self.version].get(code, code),
        }

    def reading(self, timestamp: str, samples: list[Payload]) -> Payload:
        """Without phases, of which one is measured, and without the car's battery, which 1.5 cannot name."""
        values = []
        for sample in samples:
            if sample.get("measurand") == "SoC" or not sample.get("phase", "L1").startswith("L1"):
                continue
            value = {name: word for name, word in sample.items() if name != "phase"}
            if "unit" in value:
                value["unit"] = UNITS.get(value["unit"], value["unit"])
            values.append(value)
        return {"timestamp": timestamp, "value": values}

    def meter_values(self, connector_id: int, transaction_id: int | None, reading: Payload) -> Payload:
        payload = {"connectorId": connector_id, "values": [reading]}
        return payload if transaction_id is None else payload | {"transactionId": transaction_id}

    def stop(self, payload: Payload, readings: list[Payload]) -> Payload:
        without = {name: value for name, value in payload.items() if name != "reason"}
        return without | {"transactionData": [{"values": readings}]}

    def knows(self, action: str, status: str) -> bool:
        return status not in ("Idle", "Uploading", "Downloading", "Installing")

    def answer(self, action: str, payload: Payload) -> Payload:
        status = payload.get("status", "")
        word = ANSWERS.get(action, {}).get(status, status)
        return payload | {"status": word} if status else payload


class _Ocpp12(_Ocpp15):
    """OCPP 1.2 against 1.5 (OCPP 1.2, 6 and 7)."""

    version: Version = "1.2"
    says = _Ocpp15.says - {"DataTransfer"}
    answers = _Ocpp15.answers - {
        *("CancelReservation", "DataTransfer", "GetConfiguration", "GetLocalListVersion", "ReserveNow"),
        "SendLocalList",
    }

    def interval(self, booted: Payload) -> int:
        return int(booted.get("heartbeatInterval", 0))

    def status(self, payload: Payload) -> Payload:
        said = super().status(payload)
        return {name: said[name] for name in ("connectorId", "status", "errorCode")}

    def reading(self, timestamp: str, samples: list[Payload]) -> Payload:
        """The register of the meter, in Wh."""
        [register] = [
            sample["value"]
            for sample in samples
            if sample.get("measurand", "Energy.Active.Import.Register") == "Energy.Active.Import.Register"
        ]
        return {"timestamp": timestamp, "value": int(register)}

    def meter_values(self, connector_id: int, transaction_id: int | None, reading: Payload) -> Payload:
        """Which transaction they are of has to be known to who hears it."""
        return {"connectorId": connector_id, "values": [reading]}

    def stop(self, payload: Payload, readings: list[Payload]) -> Payload:
        return {name: value for name, value in payload.items() if name != "reason"}


DIALECTS: dict[Version, Dialect] = {"1.6": Dialect(), "1.5": _Ocpp15(), "1.2": _Ocpp12()}

"""The security extension of OCPP-J 1.6, as far as OCPP-S can say it.

OCPP-S has none of it (OCPP 1.6 security whitepaper, 1.4). What a SOAP charge point can do under another name
is asked of it under that name; everything else is answered by the table of ``local_answers.py``. Payloads of
these actions are not checked: the gateway has no description of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from wattbridge.ocpp.messages import Call, CallError, CallResult, Payload, Reply, Side

# Who is asked (security whitepaper, chapter 5).
ACTIONS = {
    Side.CENTRAL_SYSTEM: frozenset(
        {
            "LogStatusNotification",
            "SecurityEventNotification",
            "SignCertificate",
            "SignedFirmwareStatusNotification",
        }
    ),
    Side.CHARGE_POINT: frozenset(
        {
            "CertificateSigned",
            "DeleteCertificate",
            "ExtendedTriggerMessage",
            "GetInstalledCertificateIds",
            "GetLog",
            "InstallCertificate",
            "SignedUpdateFirmware",
        }
    ),
}

# requestedMessage of ExtendedTriggerMessage → of TriggerMessage; what is not here has no counterpart.
_TRIGGERED = {
    name: name
    for name in (
        "BootNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "MeterValues",
        "StatusNotification",
    )
} | {"LogStatusNotification": "DiagnosticsStatusNotification"}

# status of DiagnosticsStatusNotification → of LogStatusNotification.
_LOG_STATUS = {
    "Idle": "Idle",
    "Uploaded": "Uploaded",
    "UploadFailed": "UploadFailure",
    "Uploading": "Uploading",
}

# Names of configuration keys whose value is a password: AuthorizationKey (security whitepaper, 2.4), and what
# vendors call theirs.
PASSWORD_KEYS = re.compile(
    r"authorizationkey|password|passwd|passphrase|pwd|secret|psk|api_?key|credential", re.I
)


def is_of_it(asked: Side, action: str) -> bool:
    """Whether *asked* is asked for *action* by the security extension."""
    return action in ACTIONS[asked]


def in_words_of_soap(call: Call) -> Call | CallError | None:
    """The call of OCPP-S that asks a charge point for the same; None when there is none.

    A CallError for a call that breaks its schema. ``ExtendedTriggerMessage`` is ``TriggerMessage``,
    ``GetLog`` of a DiagnosticsLog is ``GetDiagnostics``.
    """
    said = call.payload
    if call.action == "ExtendedTriggerMessage":
        message = _TRIGGERED.get(str(said.get("requestedMessage")))
        if message is None:
            return None
        connector = {"connectorId": said["connectorId"]} if "connectorId" in said else {}
        return Call("TriggerMessage", {"requestedMessage": message, **connector})
    if call.action != "GetLog" or said.get("logType") != "DiagnosticsLog":
        return None
    log = said.get("log")
    location = log.get("remoteLocation") if isinstance(log, dict) else None
    if not isinstance(log, dict) or not isinstance(location, str) or type(said.get("requestId")) is not int:
        problem = "GetLog: expected log with remoteLocation, and requestId"
        return CallError("OccurenceConstraintViolation", problem, reason="schema")
    named: dict[str, Any] = {
        "location": location,
        "startTime": log.get("oldestTimestamp"),
        "stopTime": log.get("latestTimestamp"),
        "retries": said.get("retries"),
        "retryInterval": said.get("retryInterval"),
    }
    return Call("GetDiagnostics", {name: value for name, value in named.items() if value is not None})


def reply_to(call: Call, reply: Reply) -> Reply:
    """The reply to *call*, made of what the charge point replied to ``in_words_of_soap(call)``.

    A GetDiagnostics.conf without a name says that there is nothing to upload (OCPP 1.6, GetDiagnostics.conf).
    """
    if isinstance(reply, CallError) or call.action == "ExtendedTriggerMessage":
        return reply
    name = reply.payload.get("fileName")
    return CallResult({"status": "Accepted", "filename": name} if name else {"status": "Rejected"})


@dataclass(frozen=True, slots=True)
class ExpectedLog:
    """What a DiagnosticsStatusNotification tells of: the upload that GetLog asked for under ``request_id``,
    or, ``once``, what ExtendedTriggerMessage asked for."""

    request_id: int | None = None
    once: bool = False


def log_asked_by(call: Call) -> ExpectedLog | None:
    """What the charge point will tell of when it is asked *call* by another name; None: of no log."""
    if call.action == "GetLog":
        return ExpectedLog(call.payload["requestId"])
    wanted = call.payload.get("requestedMessage")
    return ExpectedLog(once=True) if wanted == "LogStatusNotification" else None


def log_status(diagnostics_status: Payload, log: ExpectedLog) -> Call:
    """The LogStatusNotification that says what a DiagnosticsStatusNotification.req says."""
    status = _LOG_STATUS.get(str(diagnostics_status.get("status")), "UploadFailure")
    of_request = {} if log.request_id is None else {"requestId": log.request_id}
    return Call("LogStatusNotification", {"status": status, **of_request})


def ends_log(call: Call) -> bool:
    """Whether a LogStatusNotification is the last one of its upload."""
    return call.payload.get("status") in ("Uploaded", "UploadFailure")


VENDOR_ID = "org.openchargealliance.ocpp.security"


def as_data_transfer(call: Call, text: str) -> Call:
    """*call* in a DataTransfer, for a central system that wants it so; *text* is its payload in JSON."""
    return Call("DataTransfer", {"vendorId": VENDOR_ID, "messageId": call.action, "data": text})

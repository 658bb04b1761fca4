"""What the gateway answers itself, because the party that is asked has no such operation: a published table.

A row is an answer that is true whatever the charge point does, or the name of a story that needs to know more
of it (``relay/stand_in.py``). Nothing here asks the other party.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wattbridge.ocpp import security_extension
from wattbridge.ocpp.errors import excerpt
from wattbridge.ocpp.messages import Call, CallError, CallResult, Loss, Payload, Reply, Side

# What needs more than a row: the configuration as far as it is known, a message sent in the charge point's
# place, a call by another name.
Story = Literal["configuration", "trigger", "other-name", "data-transfer"]


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """Who is asked for what, and what the gateway says.

    ``lacking`` are the dialects that have no such operation: ``"soap 1.2"``, ``"soap 1.5"``, ``"soap 1.6"``.
    ``payload`` is that of the .conf; None where the answer is NotSupported. ``story`` answers first, where
    it can. ``said`` tells in words what happens.
    """

    asked: Side
    action: str
    lacking: tuple[str, ...]
    payload: Payload | None
    said: str
    source: str
    story: Story | None = None

    def reply(self, dialect: str = "") -> Reply:
        """The reply to who asked a party that speaks *dialect*; "" where its profile keeps it from that."""
        if self.payload is not None:
            return CallResult(self.payload)
        party = self.asked.value.replace("_", " ")
        problem = f"{self.action}: the profile of the {party} keeps it from being asked"
        if dialect:
            problem = f"{self.action}: the {party} speaks {_SPOKEN[dialect]}, which has no such operation"
        return CallError("NotSupported", problem, reason="unsupported")


_SPOKEN = {f"soap {version}": f"OCPP-S {version}" for version in ("1.2", "1.5", "1.6")}
_OLDER = ("soap 1.2", "soap 1.5")
_12 = ("soap 1.2",)
_ALL = ("soap 1.2", "soap 1.5", "soap 1.6")
_WHITEPAPER = "OCPP 1.6 security whitepaper, 1.4: not supported by OCPP-S"


def _at_charge_point(
    action: str,
    lacking: tuple[str, ...],
    payload: Payload | None,
    said: str,
    source: str,
    story: Story | None = None,
) -> LocalAnswer:
    return LocalAnswer(Side.CHARGE_POINT, action, lacking, payload, said, source, story)


TABLE = (
    _at_charge_point(
        "TriggerMessage",
        _OLDER,
        {"status": "NotImplemented"},
        "Accepted, and the last BootNotification, StatusNotification or MeterValues is sent again, or a "
        "Heartbeat of the gateway's own; NotImplemented where none is known, and of everything else",
        "OCPP 1.6, TriggerMessage",
        "trigger",
    ),
    _at_charge_point(
        "SetChargingProfile",
        _OLDER,
        {"status": "NotSupported"},
        "status NotSupported",
        "OCPP 1.6, ChargingProfileStatus",
    ),
    _at_charge_point(
        "ClearChargingProfile",
        _OLDER,
        {"status": "Unknown"},
        "status Unknown",
        "OCPP 1.6, ClearChargingProfileStatus",
    ),
    _at_charge_point(
        "GetCompositeSchedule",
        _OLDER,
        {"status": "Rejected"},
        "status Rejected",
        "OCPP 1.6, GetCompositeScheduleStatus",
    ),
    _at_charge_point(
        "GetConfiguration",
        _12,
        {},
        "what is known: the heartbeat interval that the central system gave, and what ChangeConfiguration "
        "was accepted for; other keys are unknown",
        "WSDL 1.2",
        "configuration",
    ),
    _at_charge_point(
        "ReserveNow", _12, {"status": "Rejected"}, "status Rejected", "OCPP 1.6, ReservationStatus"
    ),
    _at_charge_point(
        "CancelReservation",
        _12,
        {"status": "Rejected"},
        "status Rejected",
        "OCPP 1.6, CancelReservationStatus",
    ),
    _at_charge_point(
        "SendLocalList", _12, {"status": "NotSupported"}, "status NotSupported", "OCPP 1.6, UpdateStatus"
    ),
    _at_charge_point(
        "GetLocalListVersion",
        _12,
        {"listVersion": -1},
        "listVersion -1: there is no local list",
        "OCPP 1.6, GetLocalListVersion.conf",
    ),
    _at_charge_point(
        "DataTransfer",
        _12,
        {"status": "UnknownVendorId"},
        "status UnknownVendorId",
        "OCPP 1.6, DataTransferStatus",
    ),
    LocalAnswer(
        Side.CENTRAL_SYSTEM,
        "DataTransfer",
        _12,
        {"status": "UnknownVendorId"},
        "status UnknownVendorId",
        "OCPP 1.6, DataTransferStatus",
    ),
    _at_charge_point(
        "ExtendedTriggerMessage",
        _ALL,
        {"status": "NotImplemented"},
        "asked as TriggerMessage, where that knows the message; NotImplemented where not",
        _WHITEPAPER,
        "other-name",
    ),
    _at_charge_point(
        "GetLog",
        _ALL,
        None,
        "a DiagnosticsLog is asked for as GetDiagnostics, and DiagnosticsStatusNotification told as "
        "LogStatusNotification; NotSupported for a SecurityLog",
        _WHITEPAPER,
        "other-name",
    ),
    *(
        _at_charge_point(action, _ALL, None, "CALLERROR NotSupported", _WHITEPAPER)
        for action in sorted(security_extension.ACTIONS[Side.CHARGE_POINT])
        if action not in ("ExtendedTriggerMessage", "GetLog")
    ),
    *(
        LocalAnswer(
            Side.CENTRAL_SYSTEM,
            action,
            _ALL,
            {"status": "Rejected"} if action == "SignCertificate" else {},
            "status Rejected: nobody here signs certificates"
            if action == "SignCertificate"
            else "confirmed and recorded; carried as DataTransfer where the configuration says so",
            _WHITEPAPER,
            None if action == "SignCertificate" else "data-transfer",
        )
        for action in sorted(security_extension.ACTIONS[Side.CENTRAL_SYSTEM])
    ),
)

_FOUND = {(row.asked, dialect, row.action): row for row in TABLE for dialect in row.lacking}


def find(asked: Side, dialect: str, action: str) -> LocalAnswer | None:
    """What is answered here where *asked* speaks *dialect* (``"soap 1.5"``) and is asked for *action*; None
    where it is asked itself."""
    return _FOUND.get((asked, dialect, action))


# What the charge point would say that does not do what it is asked; of the rest, TABLE has it.
_REJECTED = (
    "ChangeAvailability",
    "ChangeConfiguration",
    "ClearCache",
    "RemoteStartTransaction",
    "RemoteStopTransaction",
    "Reset",
)
_KEPT_FROM = {row.action: row for row in TABLE if row.asked is Side.CHARGE_POINT} | {
    action: _at_charge_point(action, (), {"status": "Rejected"}, "status Rejected", "OCPP 1.6")
    for action in _REJECTED
}
_KEPT_FROM["UnlockConnector"] = _at_charge_point(
    "UnlockConnector", (), {"status": "NotSupported"}, "status NotSupported", "OCPP 1.6, UnlockStatus"
)


def kept_from(action: str) -> LocalAnswer:
    """What is answered where the profile of a charge point keeps *action* from it."""
    row = _KEPT_FROM.get(action)
    if row is None or row.story == "other-name":
        return _at_charge_point(action, (), None, "CALLERROR NotSupported", "its profile")
    return row


def only_recorded(call: Call) -> Loss:
    """What becomes of a message that is confirmed here and carried nowhere."""
    why = "the central system has no such operation; it is recorded here"
    return Loss(call.action, excerpt(call.payload), "no-operation", why)

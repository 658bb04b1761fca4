"""Where OCPP-S and OCPP-J 1.6 differ, a row each with its source.

The service descriptions and the JSON schemas agree on every other field; a test holds them against each
other, and every row here for needed. The neutral form has the shape of the service description, changed by
those rows that matter when messages travel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from wattbridge.ocpp.messages import Call, CallError, CallResult, Loss, Note, Reply
from wattbridge.ocpp.shapes import Field

# The JSON schemas exist twice: as they were published, and as libraries have corrected them since.
Edition = Literal["both", "published", "corrected"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that the two descriptions tell differently.

    ``path`` is ``Action.field.field`` (``ActionResponse`` for a .conf). ``towards_soap`` and ``towards_json``
    say in words what the gateway does. What the JSON schema has where the service description differs:
    ``required``, ``min_items`` of the array, ``more_values`` and ``fewer_values`` of the enumeration;
    ``edition`` tells in which of the JSON schemas. ``laxity`` marks a row where only the schema says less
    than the text of the specification does: the neutral form keeps to the service description.
    """

    path: str
    name: str
    source: str
    towards_soap: str
    towards_json: str
    edition: Edition = "both"
    required: bool | None = None
    min_items: int | None = None
    more_values: tuple[str, ...] = ()
    fewer_values: tuple[str, ...] = ()
    laxity: bool = False


_CELCIUS = Difference(
    path="",
    name="celcius",
    source="OCPP-J 1.6 errata, 2.1; WSDL UnitOfMeasure",
    towards_soap="Celcius is written Celsius",
    towards_json="Celsius is written as the central system's setting says (Celsius, or Celcius)",
    more_values=("Celcius",),
)
_NO_SAMPLES = Difference(
    path="",
    name="empty-sampled-value",
    source="WSDL MeterValue: sampledValue 1..n; OCPP 1.6, 7.33: 1..*; no minItems in JSON",
    towards_soap="a meter value without samples is dropped (a loss), the others stay (lbbrhzn/ocpp #466)",
    towards_json="nothing to do: OCPP-S cannot say it",
    min_items=0,
    laxity=True,
)
_NO_PERIODS = Difference(
    path="",
    name="empty-charging-schedule",
    source="WSDL ChargingSchedule: chargingSchedulePeriod 1..n; OCPP 1.6, 7.13: 1..*; no minItems in JSON",
    towards_soap="a command without periods is refused; in a .conf the schedule is dropped (a loss)",
    towards_json="nothing to do: OCPP-S cannot say it",
    min_items=0,
    laxity=True,
)

DIFFERENCES = (
    Difference(
        path="MeterValues.meterValue",
        name="empty-meter-values",
        source="WSDL MeterValuesRequest: minOccurs 0; MeterValues.json: required",
        towards_soap="nothing to do: OCPP-S allows what OCPP-J requires",
        towards_json="a message without meter values cannot be said: the gateway answers it itself (a loss)",
        required=True,
    ),
    Difference(
        path="MeterValues.meterValue",
        name="empty-meter-values",
        source="mobilityhouse/ocpp MeterValues.json: minItems 1; OCPP 1.6, 6.31: 1..*",
        towards_soap="nothing to do: OCPP-S allows what OCPP-J requires",
        towards_json="an empty list is answered like a missing one",
        edition="corrected",
        min_items=1,
    ),
    replace(_NO_SAMPLES, path="MeterValues.meterValue.sampledValue", edition="published"),
    replace(_NO_SAMPLES, path="StopTransaction.transactionData.sampledValue"),
    replace(_NO_PERIODS, path="GetCompositeScheduleResponse.chargingSchedule.chargingSchedulePeriod"),
    replace(
        _NO_PERIODS, path="RemoteStartTransaction.chargingProfile.chargingSchedule.chargingSchedulePeriod"
    ),
    replace(
        _NO_PERIODS, path="SetChargingProfile.csChargingProfiles.chargingSchedule.chargingSchedulePeriod"
    ),
    replace(_CELCIUS, path="MeterValues.meterValue.sampledValue.unit"),
    replace(_CELCIUS, path="StopTransaction.transactionData.sampledValue.unit"),
    Difference(
        path="StopTransaction.transactionData.sampledValue.unit",
        name="celcius",
        source="StopTransaction.json as published knows Celcius only; OCPP-J 1.6 errata, 2.1",
        towards_soap="nothing to do: Celcius is read as Celsius",
        towards_json="Celsius is written as the central system's setting says (Celsius, or Celcius)",
        edition="published",
        fewer_values=("Celsius",),
        laxity=True,
    ),
    Difference(
        path="MeterValues.meterValue.sampledValue.unit",
        name="hertz",
        source="mobilityhouse/ocpp #70; WSDL UnitOfMeasure has no unit of frequency",
        towards_soap="Hertz and Hz are dropped (a loss); the measurand Frequency stays",
        towards_json="Hz is written Hertz; OCPP-S itself cannot say it",
        edition="corrected",
        more_values=("Hertz",),
    ),
)

# Not differences of the descriptions, but what travels differently all the same; for `explain` and readers.
HABITS = (
    Difference(
        path="BootNotificationResponse.interval",
        name="heartbeat-interval",
        source="OCPP-J 1.6, 4.2.2 (example); steve #145",
        towards_soap="heartbeatInterval is read as interval",
        towards_json="heartbeatInterval is read as interval",
    ),
    Difference(
        path="DataTransfer.data",
        name="data-as-text",
        source="DataTransfer.json: string; JSON peers send objects",
        towards_soap="an object, list or number is serialised to text",
        towards_json="elements inside it are serialised to text; text stays text",
    ),
    Difference(
        path="DataTransferResponse.data",
        name="data-as-text",
        source="DataTransferResponse.json: string; JSON peers send objects",
        towards_soap="an object, list or number is serialised to text",
        towards_json="elements inside it are serialised to text; text stays text",
    ),
    Difference(
        path="GetConfiguration.key",
        name="empty-list",
        source="OCPP 1.6, 6.23: key 0..*; XML has no empty list",
        towards_soap="an empty list is written as no element: both ask for every key",
        towards_json="no element is written as no field",
    ),
)

# What a local answer is recorded as.
EMPTY_METER_VALUES = CallResult({})


def neutral(action_path: str, fields: tuple[Field, ...], *, cardinality: bool = True) -> tuple[Field, ...]:
    """The shape of the neutral form: *fields* of the service description, changed by the rows that matter.

    ``action_path`` is ``"MeterValues"`` for a .req, ``"MeterValuesResponse"`` for a .conf. Without
    ``cardinality`` only the values are widened: what OCPP-S may leave out may still be left out.
    """
    changed = []
    for field in fields:
        path = f"{action_path}.{field.name}"
        for row in DIFFERENCES:
            if row.path == path and not row.laxity:
                field = replace(field, enum=(*field.enum, *row.more_values))
                if cardinality:
                    field = replace(
                        field, min_items=max(field.min_items, row.required or 0, row.min_items or 0)
                    )
        changed.append(replace(field, fields=neutral(path, field.fields, cardinality=cardinality)))
    return tuple(changed)


def left_out_by_soap(path: str) -> str:
    """Why the list at *path* may end up empty although OCPP-J requires it; "" where it may not."""
    return next((row.towards_json for row in DIFFERENCES if row.path == path and row.required), "")


def answered_here(call: Call, notes: Iterable[Note] = ()) -> Reply | None:
    """The reply that the gateway itself must give, because the other encoding cannot say the call.

    ``notes`` are what reading the call lost: a MeterValues.req that came empty says nothing, and is
    confirmed; one that lost all it had is refused, for nothing is acknowledged that did not arrive.
    Source: WSDL MeterValuesRequest against MeterValues.json (``empty-meter-values`` above).
    """
    if call.action != "MeterValues" or call.payload.get("meterValue"):
        return None
    for note in notes:
        if isinstance(note, Loss) and note.rule == "bad-item":
            problem = f"nothing that can be carried is left; {note.path}: {note.reason}"
            return CallError("PropertyConstraintViolation", problem, {"path": note.path}, reason="schema")
    return EMPTY_METER_VALUES

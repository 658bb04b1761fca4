"""Where OCPP-S and OCPP-J 1.6 differ, a row each with its source.

The service descriptions and the JSON schemas agree on every other field. The shapes of the neutral form are
those of the service description plus these rows; a test holds them against the JSON schemas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wattbridge.ocpp.messages import Call, CallResult
from wattbridge.ocpp.shapes import Field


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that the two descriptions tell differently.

    ``path`` is ``Action.field.field`` (``ActionResponse`` for a .conf). ``json`` is what the JSON schema has
    instead; ``towards_soap`` and ``towards_json`` say in words what the gateway does.
    """

    path: str
    name: str
    source: str
    towards_soap: str
    towards_json: str
    min_items: int | None = None  # the JSON schema's, where it differs
    more_values: tuple[str, ...] = ()  # enumeration values that only the JSON schema has


CELCIUS = Difference(
    path="",
    name="celcius",
    source="OCPP-J 1.6 errata, 2.1; WSDL UnitOfMeasure",
    towards_soap="Celcius is written Celsius",
    towards_json="Celsius is written as the central system's setting says (Celsius, or Celcius)",
    more_values=("Celcius",),
)
HERTZ = Difference(
    path="",
    name="hertz",
    source="mobilityhouse/ocpp #70; WSDL UnitOfMeasure has no unit of frequency",
    towards_soap="Hertz and Hz are dropped (a loss); the measurand Frequency stays",
    towards_json="nothing to do: OCPP-S cannot say it",
    more_values=("Hertz",),
)

DIFFERENCES = (
    Difference(
        path="MeterValues.meterValue",
        name="empty-meter-values",
        source="WSDL MeterValuesRequest: minOccurs 0; MeterValues.json: required, minItems 1",
        towards_soap="nothing to do: OCPP-S allows what OCPP-J requires",
        towards_json="an empty list cannot be said: the gateway answers MeterValues.conf itself (a loss)",
        min_items=1,
    ),
    replace(CELCIUS, path="MeterValues.meterValue.sampledValue.unit"),
    replace(CELCIUS, path="StopTransaction.transactionData.sampledValue.unit"),
    replace(HERTZ, path="MeterValues.meterValue.sampledValue.unit"),
)

# Not differences of the descriptions, but what travels differently all the same; for `explain` and readers.
HABITS = (
    Difference(
        path="BootNotificationResponse.interval",
        name="heartbeat-interval",
        source="OCPP-J 1.6, 4.2.2 (example); WSDL BootNotificationResponse",
        towards_soap="heartbeatInterval is read as interval",
        towards_json="heartbeatInterval is read as interval",
    ),
    Difference(
        path="DataTransfer.data",
        name="data-as-text",
        source="DataTransfer.json: string; JSON peers send objects",
        towards_soap="an object, list or number is serialised to text",
        towards_json="nothing to do: text stays text",
    ),
    Difference(
        path="DataTransferResponse.data",
        name="data-as-text",
        source="DataTransferResponse.json: string; JSON peers send objects",
        towards_soap="an object, list or number is serialised to text",
        towards_json="nothing to do: text stays text",
    ),
)

# What a local answer is recorded as.
EMPTY_METER_VALUES = CallResult({})


def neutral(action_path: str, fields: tuple[Field, ...], *, cardinality: bool = True) -> tuple[Field, ...]:
    """The shape of the neutral form: *fields* of the service description, widened by the rows.

    ``action_path`` is ``"MeterValues"`` for a .req, ``"MeterValuesResponse"`` for a .conf. Without
    ``cardinality`` only the values are widened: what OCPP-S may leave out may still be left out.
    """
    widened = []
    for field in fields:
        path = f"{action_path}.{field.name}"
        for row in DIFFERENCES:
            if row.path == path and row.more_values:
                field = replace(field, enum=(*field.enum, *row.more_values))
            if row.path == path and row.min_items is not None and cardinality:
                field = replace(field, min_items=row.min_items)
        if field.fields:
            field = replace(field, fields=neutral(path, field.fields, cardinality=cardinality))
        widened.append(field)
    return tuple(widened)


def answered_here(call: Call) -> CallResult | None:
    """The reply that the gateway itself must give, because the other encoding cannot say the call.

    Source: WSDL MeterValuesRequest against MeterValues.json (``empty-meter-values`` above).
    """
    if call.action == "MeterValues" and not call.payload.get("meterValue"):
        return EMPTY_METER_VALUES
    return None

"""OCPP 1.2 and 1.5 against 1.6: rows, each with its source, and the few functions that are stories.

The neutral form is that of 1.6. *Up* is from an older version to the neutral form, *down* from it to an older
version. What is only called otherwise (``heartbeatInterval``, ``Amp``) is translated without a note: nothing
of it is lost. Everything else that changes is noted. Reading takes what 1.6 says in an envelope of 1.5, too:
vasyas and Efacec write that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal, DecimalException
from functools import partial
from typing import Any

from wattbridge.ocpp.errors import excerpt
from wattbridge.ocpp.messages import Call, CallResult, Change, Loss, Note, Payload, add_note
from wattbridge.ocpp.shapes import Field

NEWEST = "1.6"
BOTH = ("1.2", "1.5")

Conversion = Callable[[Payload, str, list[Note]], Payload]


@dataclass(frozen=True, slots=True)
class Row:
    """One field of 1.6 that older ``versions`` tell otherwise, or do not tell.

    ``path`` is ``Action.field.field`` of the neutral form (``ActionResponse`` for a .conf). ``up`` and
    ``down`` say in words what the gateway does; what is lost they call "a loss". ``older_name`` is the name
    in the older versions, ``words_up`` and ``words_down`` translate words of an enumeration; ``unnoted``
    words mean the same and need no note. ``lacking``: the older versions have no such field; ``usual`` is
    what its absence means. ``only_older``: 1.6 has no such field. ``absent``: what stands for it where an
    older version may leave it out and 1.6 may not. ``transient``: words that the older versions do not have
    and that are left untold.
    """

    path: str
    versions: tuple[str, ...]
    source: str
    up: str
    down: str
    older_name: str = ""
    words_up: Mapping[str, str] = field(default_factory=dict)
    words_down: Mapping[str, str] = field(default_factory=dict)
    unnoted: frozenset[str] = frozenset()
    lacking: bool = False
    usual: str = ""
    only_older: bool = False
    absent: object = None
    transient: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        return self.path.partition(".")[0]

    @property
    def field(self) -> str:
        return self.path.partition(".")[2]


_BUSY = ("Preparing", "Charging", "SuspendedEV", "SuspendedEVSE", "Finishing")
_NOTHING = "nothing to do: it does not exist there"
_LEFT_OUT = "left out (a loss)"
_ERRORS_OF_12 = (
    "GroundFailure", "InternalError", "LocalListConflict", "OtherError", "OverCurrentFailure", "OverVoltage",
    "UnderVoltage", "WeakSignal",
)  # fmt: skip
SHELLS_INTERVAL = 900  # seconds
# Where names of configuration keys stand → the field of the payload that holds one or several.
_FIELDS_OF_KEYS = {
    "ChangeConfiguration.key": "key",
    "GetConfiguration.key": "key",
    "GetConfigurationResponse.configurationKey.key": "configurationKey",
    "GetConfigurationResponse.unknownKey": "unknownKey",
}

ROWS = (
    Row(
        "BootNotificationResponse.interval",
        ("1.5",),
        "WSDL 1.5: heartbeatInterval",
        up="heartbeatInterval is interval",
        down="interval is heartbeatInterval",
        older_name="heartbeatInterval",
    ),
    Row(
        "BootNotificationResponse.interval",
        ("1.2",),
        "WSDL 1.2: heartbeatInterval, optional; ShellRecharge takes 900 s for none",
        up="heartbeatInterval is interval; where there is none, 900 s",
        down="interval is heartbeatInterval",
        older_name="heartbeatInterval",
        absent=SHELLS_INTERVAL,
    ),
    Row(
        "BootNotificationResponse.currentTime",
        ("1.2",),
        "WSDL 1.2: optional",
        up="where there is none, the time of the gateway",
        down="stays",
    ),
    Row(
        "BootNotificationResponse.status",
        BOTH,
        "WSDL RegistrationStatus; SteVe, Server15to16Impl",
        up="stays",
        down="Pending becomes Rejected: both say that the charge point is to ask again",
        words_down={"Pending": "Rejected"},
    ),
    Row(
        "StatusNotification.status",
        ("1.5",),
        "WSDL ChargePointStatus; OCPP 1.6, StatusNotification",
        up="Occupied is Charging while a transaction is open on the connector, Finishing after it, else "
        "Preparing",
        down="Preparing, Charging, SuspendedEV, SuspendedEVSE and Finishing become Occupied",
        words_down=dict.fromkeys(_BUSY, "Occupied"),
    ),
    Row(
        "StatusNotification.status",
        ("1.2",),
        "WSDL ChargePointStatus; OCPP 1.6, StatusNotification; shiv3/ocpp-cp-simulator, statusProjection.ts",
        up="Occupied is Charging while a transaction is open on the connector, Finishing after it, else "
        "Preparing",
        down="Preparing, Charging, SuspendedEV, SuspendedEVSE and Finishing become Occupied, Reserved "
        "becomes Unavailable",
        words_down={**dict.fromkeys(_BUSY, "Occupied"), "Reserved": "Unavailable"},
    ),
    Row(
        "StatusNotification.errorCode",
        ("1.5",),
        "WSDL ChargePointErrorCode; OCPP 1.6 edition 2, appendix A",
        up="Mode3Error is EVCommunicationError, its new name",
        down="EVCommunicationError is Mode3Error; InternalError, LocalListConflict and OverVoltage become "
        "OtherError",
        words_up={"Mode3Error": "EVCommunicationError"},
        words_down={
            "EVCommunicationError": "Mode3Error",
            **dict.fromkeys(("InternalError", "LocalListConflict", "OverVoltage"), "OtherError"),
        },
        unnoted=frozenset({"Mode3Error", "EVCommunicationError"}),
    ),
    Row(
        "StatusNotification.errorCode",
        ("1.2",),
        "WSDL ChargePointErrorCode; OCPP 1.6 edition 2, appendix A; shiv3/ocpp-cp-simulator",
        up="Mode3Error is EVCommunicationError, its new name",
        down="EVCommunicationError is Mode3Error; what 1.2 has no word for becomes Mode3Error too, so that "
        "an error stays one",
        words_up={"Mode3Error": "EVCommunicationError"},
        words_down={"EVCommunicationError": "Mode3Error", **dict.fromkeys(_ERRORS_OF_12, "Mode3Error")},
        unnoted=frozenset({"Mode3Error", "EVCommunicationError"}),
    ),
    *(
        Row(f"StatusNotification.{name}", ("1.2",), "WSDL 1.2", up=_NOTHING, down=_LEFT_OUT, lacking=True)
        for name in ("info", "timestamp", "vendorId", "vendorErrorCode")
    ),
    Row(
        "MeterValues.transactionId",
        ("1.2",),
        "WSDL 1.2",
        up="the transaction that was open on the connector at that time, where there was one",
        down=_LEFT_OUT,
        lacking=True,
    ),
    Row(
        "MeterValues.meterValue",
        BOTH,
        "WSDL MeterValue; OCPP 1.6, MeterValue and SampledValue",
        up="values are meter values, their attributes fields; the integer of 1.2 is "
        "Energy.Active.Import.Register in Wh",
        down="meter values are values; what 1.5 has no measurand for is left out (a loss), phases are added "
        "up where that says the same and otherwise left out; 1.2 takes the energy register only, in whole Wh",
        older_name="values",
    ),
    Row(
        "MeterValues.meterValue.sampledValue.unit",
        ("1.5",),
        "WSDL UnitOfMeasure; steve #59",
        up="Amp is A, Volt is V",
        down="A is Amp, V is Volt; K and Fahrenheit are converted to Celsius; VA, kVA (as VA) and Percent "
        "have no word: the unit is left out (a loss), and with it an energy that would then be one in Wh",
    ),
    Row("StartTransaction.reservationId", ("1.2",), "WSDL 1.2", up=_NOTHING, down=_LEFT_OUT, lacking=True),
    Row(
        "StopTransaction.reason",
        BOTH,
        "WSDL 1.2 and 1.5; absent means Local (OCPP 1.6, StopTransaction.req)",
        up=_NOTHING,
        down="left out; a loss where it is not Local",
        lacking=True,
        usual="Local",
    ),
    Row(
        "StopTransaction.transactionData",
        ("1.5",),
        "WSDL 1.5 TransactionData; SteVe, toOcpp16TransactionData",
        up="the values of all transactionData in one list, as those of MeterValues",
        down="wrapped in one transactionData; what is a loss in MeterValues is one here",
    ),
    Row("StopTransaction.transactionData", ("1.2",), "WSDL 1.2", up=_NOTHING, down=_LEFT_OUT, lacking=True),
    Row(
        "DiagnosticsStatusNotification.status",
        BOTH,
        "WSDL DiagnosticsStatus",
        up="stays",
        down="Idle and Uploading are confirmed here and not told (a loss)",
        transient=("Idle", "Uploading"),
    ),
    Row(
        "FirmwareStatusNotification.status",
        BOTH,
        "WSDL FirmwareStatus",
        up="stays",
        down="Idle, Downloading and Installing are confirmed here and not told (a loss)",
        transient=("Idle", "Downloading", "Installing"),
    ),
    Row(
        "UnlockConnectorResponse.status",
        BOTH,
        "WSDL UnlockStatus",
        up="Accepted is Unlocked, Rejected is UnlockFailed",
        down="Unlocked is Accepted, UnlockFailed is Rejected; NotSupported becomes Rejected",
        words_up={"Accepted": "Unlocked", "Rejected": "UnlockFailed"},
        words_down={"Unlocked": "Accepted", "UnlockFailed": "Rejected", "NotSupported": "Rejected"},
        unnoted=frozenset({"Accepted", "Rejected", "Unlocked", "UnlockFailed"}),
    ),
    Row(
        "ChangeConfigurationResponse.status",
        BOTH,
        "WSDL ConfigurationStatus",
        up="stays",
        down="RebootRequired becomes Accepted",
        words_down={"RebootRequired": "Accepted"},
    ),
    *(
        Row(
            path,
            BOTH if path == "ChangeConfiguration.key" else ("1.5",),
            "HeartBeatInterval in OCPP 1.5, HeartbeatInterval in 1.6 (9.1.10)",
            up="keys of 1.2 and 1.5 get their names of 1.6, in whatever letter case they come",
            down="keys that had another name get that",
        )
        for path in _FIELDS_OF_KEYS
    ),
    Row(
        "RemoteStartTransaction.chargingProfile",
        BOTH,
        "WSDL 1.2 and 1.5",
        up=_NOTHING,
        down="left out (a loss); the transaction is begun without it",
        lacking=True,
    ),
    Row(
        "SendLocalList.localAuthorizationList",
        ("1.5",),
        "WSDL 1.5: localAuthorisationList",
        up="another spelling",
        down="another spelling",
        older_name="localAuthorisationList",
    ),
    *(
        Row(
            f"{message}.hash",
            ("1.5",),
            "WSDL 1.5; OCPP 1.6 has no hash",
            up=_LEFT_OUT,
            down=_NOTHING,
            only_older=True,
        )
        for message in ("SendLocalList", "SendLocalListResponse")
    ),
    Row(
        "SendLocalListResponse.status",
        ("1.5",),
        "WSDL UpdateStatus",
        up="HashError becomes Failed",
        down="stays",
        words_up={"HashError": "Failed"},
    ),
)

# Configuration keys by their names of 1.6: what 1.2 and 1.5 call them.
OLDER_KEYS = {"HeartbeatInterval": "HeartBeatInterval"}
_KEYS = {name.lower(): name for name in OLDER_KEYS}

# Texts for people. Older versions do not bound them; a longer one is cut, so that the message arrives. What
# names something (an idTag, a key) is not: its beginning would name something else.
TRUNCATED = frozenset(
    {
        "chargeBoxSerialNumber", "chargePointModel", "chargePointSerialNumber", "chargePointVendor",
        "fileName", "firmwareVersion", "iccid", "imsi", "info", "meterSerialNumber", "meterType", "value",
        "vendorErrorCode",
    }
)  # fmt: skip

LARGEST_INTEGER = 2**31 - 1  # of xs:int

# Losses that are the rule on the way down: a command goes all the same.
BY_RULE = frozenset({"older-field", "older-sample", "older-phase"})


def rows_of(version: str, message: str) -> tuple[Row, ...]:
    return tuple(row for row in ROWS if version in row.versions and row.message == message)


# ---------------------------------------------------------------------------- shapes


def readable(
    version: str, name: str, fields: tuple[Field, ...], newer: tuple[Field, ...]
) -> tuple[Field, ...]:
    """What is read as a message of *version*: its own *fields*, with the words of 1.6 (*newer*) beside its
    own, and meter values of 1.6 where 1.5 has its own."""
    names = {row.field: row.older_name for row in rows_of(version, name) if row.older_name}
    by_older_name = {names.get(one.name, one.name): one for one in newer}
    widened = tuple(_widened(one, by_older_name.get(one.name)) for one in fields)
    if version != "1.5" or name not in ("MeterValues", "StopTransaction"):
        return widened
    meter_value = next(one for one in newer if one.name in ("meterValue", "transactionData"))
    sampled_value = meter_value.fields[-1]
    own = tuple(_with_samples(one, sampled_value) for one in widened)
    if name == "MeterValues":
        return (*own, _optional(meter_value))
    return tuple(
        replace(one, fields=(*one.fields, *map(_optional, meter_value.fields)))
        if one.name == "transactionData"
        else one
        for one in own
    )


def _widened(older: Field, newer: Field | None) -> Field:
    if newer is None:
        return older
    enum = _with_words(older.enum, newer.enum)
    length = older.max_length
    if older.name not in TRUNCATED and newer.max_length is not None:
        length = newer.max_length
    inside = {one.name: one for one in newer.fields}
    fields = tuple(_widened(one, inside.get(one.name)) for one in older.fields)
    # 1.2 has texts where later versions have tokens: blanks around one are no part of it.
    name = newer.type_name if newer.type_name == "IdToken" else older.type_name
    return replace(older, enum=enum, max_length=length, fields=fields, type_name=name)


def _with_words(older: tuple[str, ...], newer: tuple[str, ...]) -> tuple[str, ...]:
    """The words of an enumeration of both versions; none where the older has no enumeration."""
    return older and (*older, *(word for word in newer if word not in older))


def _with_samples(older: Field, sampled_value: Field) -> Field:
    """A ``values`` of 1.5 in which samples may stand as 1.6 has them, in it or in a ``values`` of its own
    (Efacec QC45), and their attributes say what 1.6 can say."""
    if older.name == "transactionData":
        return replace(older, fields=tuple(_with_samples(one, sampled_value) for one in older.fields))
    if older.name != "values":
        return older
    timestamp, value = older.fields
    words = {one.name: one.enum for one in sampled_value.fields}
    attributes = [replace(one, enum=_with_words(one.enum, words[one.name])) for one in value.fields]
    phase = next(one for one in sampled_value.fields if one.name == "phase")
    text = replace(value, min_items=0, fields=(*attributes, replace(phase, place="attribute")))
    nested = replace(_optional(sampled_value), name="values")
    return replace(older, fields=(timestamp, text, _optional(sampled_value), nested))


def _optional(one: Field) -> Field:
    return replace(one, min_items=0)


def table_name(version: str, name: str) -> str:
    """The name of a message in the tables of tolerances: that of 1.6, but for MeterValues, whose list has
    another name here, so that its absence is for ``lift`` to see."""
    return f"{name} {version}" if name == "MeterValues" else name


# ---------------------------------------------------------------------------- up


def lift(version: str, name: str, newer: tuple[Field, ...]) -> Conversion | None:
    """What makes a payload of *version* a neutral one; None where it is one. *newer* is the shape of 1.6."""
    steps: list[Conversion] = []
    for row in rows_of(version, name):
        if row.lacking:
            continue
        if row.only_older:
            steps.append(partial(_leave_out, row))
        elif row.path in _STORIES_UP:
            steps.append(_STORIES_UP[row.path](version))
        elif row.path in _FIELDS_OF_KEYS:
            steps.append(partial(_rename_keys, _FIELDS_OF_KEYS[row.path], _newer_key))
        elif row.older_name or row.absent is not None:
            steps.append(partial(_rename_up, row))
        elif row.words_up:
            steps.append(partial(_translate, row.field, row.words_up, row.unnoted))
    lengths = {
        one.name: one.max_length for one in newer if one.max_length is not None and one.name in TRUNCATED
    }
    if lengths:
        steps.append(partial(_shorten, lengths))
    return _one_after_the_other(steps)


def _one_after_the_other(steps: list[Conversion]) -> Conversion | None:
    if not steps:
        return None

    def convert(payload: Payload, path: str, notes: list[Note]) -> Payload:
        converted = dict(payload)
        for step in steps:
            converted = step(converted, path, notes)
        return converted

    return convert


def _leave_out(row: Row, payload: Payload, path: str, notes: list[Note]) -> Payload:
    if row.field in payload:
        value = payload.pop(row.field)
        if value != row.usual:
            where = f"{path}.{row.field}"
            older = " and ".join(row.versions)
            why = f"OCPP {NEWEST} has no such field" if row.only_older else f"OCPP {older} has no such field"
            add_note(notes, Loss(where, excerpt(value), "older-field", why))
    return payload


def _rename_up(row: Row, payload: Payload, path: str, notes: list[Note]) -> Payload:
    if row.older_name in payload:
        payload[row.field] = payload.pop(row.older_name)
    elif row.absent is not None and row.field not in payload:
        payload[row.field] = row.absent
        add_note(notes, Change(f"{path}.{row.field}", "", excerpt(row.absent), "older-default"))
    return payload


def _rename_down(row: Row, payload: Payload, path: str, notes: list[Note]) -> Payload:
    if row.field in payload:
        payload[row.older_name] = payload.pop(row.field)
    return payload


def _translate(
    name: str,
    words: Mapping[str, str],
    unnoted: frozenset[str],
    payload: Payload,
    path: str,
    notes: list[Note],
) -> Payload:
    word = payload.get(name)
    if isinstance(word, str) and word in words:
        payload[name] = words[word]
        if word not in unnoted:
            add_note(notes, Change(f"{path}.{name}", word, words[word], "older-word"))
    return payload


def _shorten(lengths: Mapping[str, int], payload: Payload, path: str, notes: list[Note]) -> Payload:
    for name, length in lengths.items():
        text = payload.get(name)
        if isinstance(text, str) and len(text) > length:
            payload[name] = text[:length]
            add_note(notes, Change(f"{path}.{name}", excerpt(text), excerpt(text[:length]), "older-length"))
    return payload


def _newer_key(key: str) -> str:
    return _KEYS.get(key.lower(), key)


def _older_key(key: str) -> str:
    return OLDER_KEYS.get(_newer_key(key), key)


def _rename_keys(
    name: str, named: Callable[[str], str], payload: Payload, path: str, notes: list[Note]
) -> Payload:
    """The payload with other names of configuration keys; *name* is the field that holds one or several."""

    def renamed(key: Any, where: str) -> Any:
        if isinstance(key, dict):
            return {**key, "key": renamed(key.get("key"), f"{where}.key")}
        if not isinstance(key, str) or named(key) == key:
            return key
        add_note(notes, Change(where, excerpt(key), named(key), "older-key"))
        return named(key)

    held, where = payload.get(name), f"{path}.{name}"
    if isinstance(held, list):
        payload[name] = [renamed(key, f"{where}[{index}]") for index, key in enumerate(held)]
    elif held is not None:
        payload[name] = renamed(held, where)
    return payload


UNITS_UP = {"Amp": "A", "Volt": "V"}
_UNITS_DOWN = {newer: older for older, newer in UNITS_UP.items()}


def _meter_values_up(version: str) -> Conversion:
    samples = _samples_of_12 if version == "1.2" else _samples_of_15

    def convert(payload: Payload, path: str, notes: list[Note]) -> Payload:
        values = payload.pop("values", [])
        lifted = [
            *_lifted(values, f"{path}.values", samples, notes),
            *_lifted(payload.pop("meterValue", []), f"{path}.meterValue", _samples_of_15, notes),
        ]
        if lifted:
            payload["meterValue"] = lifted
        else:
            mark = f"{path}.values"
            if not any(note.path.startswith(mark) for note in notes):
                why = "there is no meter value in it: the gateway answers it itself"
                add_note(notes, Loss(f"{path}.meterValue", "", "empty-meter-values", why))
        return payload

    return convert


def _transaction_data_up(version: str) -> Conversion:
    def convert(payload: Payload, path: str, notes: list[Note]) -> Payload:
        lifted: list[Payload] = []
        for index, data in enumerate(payload.pop("transactionData", [])):
            where = f"{path}.transactionData[{index}]"
            lifted += _lifted(data.get("values", []), f"{where}.values", _samples_of_15, notes)
            if "sampledValue" in data:
                lifted += _lifted([data], path + ".transactionData", _samples_of_15, notes, first=index)
        if lifted:
            payload["transactionData"] = lifted
        return payload

    return convert


def _lifted(
    values: list[Payload],
    path: str,
    samples_of: Callable[[Payload], list[Payload]],
    notes: list[Note],
    first: int = 0,
) -> Iterable[Payload]:
    for index, value in enumerate(values, first):
        samples = samples_of(value)
        if samples and "timestamp" in value:
            yield {"timestamp": value["timestamp"], "sampledValue": samples}
        elif not any(note.path.startswith(f"{path}[{index}]") for note in notes):
            missing = "timestamp" if samples else "value"
            add_note(notes, Loss(f"{path}[{index}]", "", "bad-item", f"has no {missing}"))


def _samples_of_12(value: Payload) -> list[Payload]:
    # Explicit, though both are what is meant without them: nobody has to know what 1.2 meant.
    measurand, unit = "Energy.Active.Import.Register", "Wh"
    return [{"value": str(value["value"]), "measurand": measurand, "unit": unit}] if "value" in value else []


def _samples_of_15(value: Payload) -> list[Payload]:
    samples = [*value.get("value", []), *value.get("values", []), *value.get("sampledValue", [])]
    return [
        {**sample, "unit": UNITS_UP[sample["unit"]]} if sample.get("unit") in UNITS_UP else sample
        for sample in samples
    ]


_STORIES_UP: dict[str, Callable[[str], Conversion]] = {
    "MeterValues.meterValue": _meter_values_up,
    "StopTransaction.transactionData": _transaction_data_up,
}


# ---------------------------------------------------------------------------- down


def lower(version: str, name: str) -> Conversion | None:
    """What makes a neutral payload one of *version*; None where it is one."""
    steps: list[Conversion] = []
    for row in rows_of(version, name):
        if row.lacking:
            steps.append(partial(_leave_out, row))
        elif row.path in _STORIES_DOWN:
            steps.append(_STORIES_DOWN[row.path](version))
        elif row.path in _FIELDS_OF_KEYS:
            steps.append(partial(_rename_keys, _FIELDS_OF_KEYS[row.path], _older_key))
        elif row.older_name:
            steps.append(partial(_rename_down, row))
        elif row.words_down:
            steps.append(partial(_translate, row.field, row.words_down, row.unnoted))
    return _one_after_the_other(steps)


def _meter_values_down(version: str) -> Conversion:
    def convert(payload: Payload, path: str, notes: list[Note]) -> Payload:
        lowered = _lowered(payload.pop("meterValue", []), f"{path}.meterValue", version, notes)
        if lowered:
            payload["values"] = lowered
        return payload

    return convert


def _transaction_data_down(version: str) -> Conversion:
    def convert(payload: Payload, path: str, notes: list[Note]) -> Payload:
        data = payload.pop("transactionData", None)
        lowered = _lowered(data or [], f"{path}.transactionData", version, notes)
        if lowered:
            payload["transactionData"] = [{"values": lowered}]
        return payload

    return convert


_STORIES_DOWN: dict[str, Callable[[str], Conversion]] = {
    "MeterValues.meterValue": _meter_values_down,
    "StopTransaction.transactionData": _transaction_data_down,
}

_REGISTER = "Energy.Active.Import.Register"
_PER_PHASE = (("L1", "L2", "L3"), ("L1-N", "L2-N", "L3-N"))
# What three phases have together is their sum; of a voltage, a current or a temperature it is not.
_ADDED_UP = ("Energy.", "Power.Active.", "Power.Reactive.")
NOT_IN_15 = {
    "measurand": frozenset(
        {
            "Current.Offered", "Frequency", "Power.Factor", "Power.Offered", "RPM", "SoC",
        }
    ),
    "unit": frozenset({"VA", "kVA", "Percent", "Hertz"}),
    "context": frozenset({"Other", "Trigger"}),
    "location": frozenset({"Cable", "EV"}),
}  # fmt: skip
_USUAL = {
    "context": "Sample.Periodic", "format": "Raw", "measurand": _REGISTER, "location": "Outlet", "unit": "Wh",
}  # fmt: skip


def _lowered(meter_values: list[Payload], path: str, version: str, notes: list[Note]) -> list[Payload]:
    lowered = []
    for index, meter_value in enumerate(meter_values):
        where = f"{path}[{index}]"
        samples: list[tuple[str, Payload]] = []
        for number, sample in enumerate(meter_value.get("sampledValue", ())):
            said = f"{where}.sampledValue[{number}]"
            kept = _sample_for_15(sample, said, notes)
            if kept is not None and version == "1.2":
                kept = _sample_for_12(kept, said, notes)
            if kept is not None:
                samples.append((said, kept))
        samples = _without_phases(samples, version, notes)
        value: list[Payload] | int | None
        if version == "1.2":
            value = _register(samples, notes)
        else:
            value = [_in_words_of_15(sample) for _, sample in samples] or None
        if value is not None:
            lowered.append({"timestamp": meter_value.get("timestamp"), "value": value})
    return lowered


def _lost(path: str, value: object, why: str, notes: list[Note], rule: str) -> None:
    add_note(notes, Loss(path, excerpt(value), rule, why))


def _sample_for_15(sample: Payload, path: str, notes: list[Note]) -> Payload | None:
    """A sample with nothing in it that 1.5 has no word for; None where it would then say something else."""
    measurand = sample.get("measurand", _REGISTER)
    if measurand in NOT_IN_15["measurand"]:
        _lost(
            path,
            f"{measurand} {sample.get('value')}",
            "it is no measurand of OCPP 1.5",
            notes,
            "older-sample",
        )
        return None
    kept = dict(sample)
    for name in ("context", "location"):
        if kept.get(name) in NOT_IN_15[name]:
            word = kept.pop(name)
            _lost(f"{path}.{name}", word, f"OCPP 1.5 has no such {name}", notes, "older-field")
    unit = kept.get("unit")
    if unit in ("K", "Fahrenheit"):
        number = _number(kept)
        if number is None:
            _lost(path, sample.get("value"), f"{unit} is no unit of OCPP 1.5", notes, "older-sample")
            return None
        celsius = number - Decimal("273.15") if unit == "K" else (number - 32) * 5 / 9
        text = _plain(celsius.quantize(Decimal("0.01"), ROUND_HALF_UP))
        said = f"{sample['value']} {unit}"
        add_note(notes, Change(path, excerpt(said), f"{text} Celsius", "older-unit"))
        kept["value"], kept["unit"] = text, "Celsius"
    elif unit in NOT_IN_15["unit"]:
        if measurand.startswith("Energy."):  # which would then be one in Wh (OCPP 1.5, MeterValue)
            _lost(path, f"{sample.get('value')} {unit}", "OCPP 1.5 has no such unit", notes, "older-sample")
            return None
        number = _number(kept)
        if unit == "kVA" and number is None:
            _lost(path, f"{sample.get('value')} kVA", "OCPP 1.5 has no such unit", notes, "older-sample")
            return None
        if unit == "kVA" and number is not None:  # without a unit nobody would think of thousands
            kept["value"] = _plain(number * 1000)
            add_note(notes, Change(path, f"{sample['value']} kVA", f"{kept['value']} VA", "older-unit"))
        del kept["unit"]
        _lost(f"{path}.unit", unit, "OCPP 1.5 has no such unit", notes, "older-field")
    return kept


def _sample_for_12(sample: Payload, path: str, notes: list[Note]) -> Payload | None:
    """A sample of the energy register; None for all others."""
    measurand, said = sample.get("measurand", _REGISTER), f"{sample.get('value')} {sample.get('unit', 'Wh')}"
    number = _number(sample)
    if measurand != _REGISTER or number is None or sample.get("unit", "Wh") not in ("Wh", "kWh"):
        _lost(
            path,
            f"{measurand} {said}",
            "OCPP 1.2 takes the energy register in Wh only",
            notes,
            "older-sample",
        )
        return None
    for name in ("context", "location"):
        if sample.get(name, _USUAL[name]) != _USUAL[name]:
            _lost(f"{path}.{name}", sample[name], f"OCPP 1.2 has no {name}", notes, "older-field")
    value = sample["value"]
    if sample.get("unit") == "kWh":
        value = _plain(number * 1000)
        add_note(notes, Change(path, excerpt(said), f"{value} Wh", "older-unit"))
    return {"value": value} | {name: sample[name] for name in ("phase", "location") if name in sample}


def _register(samples: list[tuple[str, Payload]], notes: list[Note]) -> int | None:
    """The one value that 1.2 takes at a time, in whole Wh; None where there is none."""
    found: int | None = None
    for path, sample in sorted(samples, key=lambda each: each[1].get("location", "Outlet") != "Outlet"):
        whole = Decimal(str(sample["value"]).strip()).quantize(Decimal(1), ROUND_HALF_UP)
        if found is not None:
            _lost(path, sample["value"], "OCPP 1.2 takes one value at a time", notes, "older-sample")
        elif abs(whole) > LARGEST_INTEGER:
            why = "OCPP 1.2 takes no larger number than an xs:int"
            _lost(path, sample["value"], why, notes, "older-sample")
        else:
            found = int(whole)
            if sample["value"] != str(found):
                add_note(notes, Change(path, excerpt(f"{sample['value']} Wh"), f"{found} Wh", "older-unit"))
    return found


def _number(sample: Payload) -> Decimal | None:
    """The value as a number, None where it is none: signed data, or whatever stands there."""
    if sample.get("format", "Raw") != "Raw":
        return None
    try:
        number = Decimal(str(sample.get("value")).strip())
        return number if number.is_finite() and abs(number) < Decimal("1e15") else None
    except DecimalException:
        return None


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _in_words_of_15(sample: Payload) -> Payload:
    unit = sample.get("unit")
    return {**sample, "unit": _UNITS_DOWN[unit]} if unit in _UNITS_DOWN else sample


def _without_phases(
    samples: list[tuple[str, Payload]], version: str, notes: list[Note]
) -> list[tuple[str, Payload]]:
    """Samples that say what they say without a phase: three phases never become three values of the same.

    Where the sum stands beside them, phases are left out; where their sum is what they measure together, they
    are added up; of everything else one phase is kept.
    """
    if not any("phase" in sample for _, sample in samples):
        return samples
    groups: dict[tuple[object, ...], list[tuple[str, Payload]]] = {}
    for path, sample in samples:
        key = tuple(_plain_unit(sample.get(name, usual)) for name, usual in _USUAL.items())
        groups.setdefault(key, []).append((path, sample))
    kept: list[tuple[str, Payload]] = []
    for group in groups.values():
        kept += _one_phase(group, version, notes)
    return kept


_THOUSANDS = {"kWh": "Wh", "kvarh": "varh", "kW": "W", "kvar": "var"}


def _plain_unit(word: object) -> object:
    """What kilowatt-hours and watt-hours have in common."""
    return _THOUSANDS.get(word, word) if isinstance(word, str) else word


def _one_phase(
    group: list[tuple[str, Payload]], version: str, notes: list[Note]
) -> list[tuple[str, Payload]]:
    whole = [(path, sample) for path, sample in group if "phase" not in sample]
    phased = [(path, sample) for path, sample in group if "phase" in sample]
    why = f"OCPP {version} cannot tell phases apart"
    if whole or not phased:
        for path, sample in phased:
            _lose_phase(path, sample, f"{why}; the sum stands beside it", notes)
        return whole
    family = next((each for each in _PER_PHASE if any(s["phase"] in each for _, s in phased)), ())
    of_family = {sample["phase"]: (path, sample) for path, sample in reversed(phased)}
    lines = [of_family[phase] for phase in family if phase in of_family]
    if len({sample.get("unit", "Wh") for _, sample in lines}) > 1:
        lines = [(path, _in_plain_unit(sample)) for path, sample in lines]
    numbers = [_number(sample) for _, sample in lines]
    measurand = lines[0][1].get("measurand", _REGISTER) if lines else ""
    if len(lines) > 1 and measurand.startswith(_ADDED_UP) and None not in numbers:
        total = _plain(sum((number for number in numbers if number is not None), Decimal(0)))
        said = ", ".join(f"{sample['phase']} {sample['value']}" for _, sample in lines)
        path, first = lines[0]
        add_note(notes, Change(path, excerpt(said), total, "older-phase"))
        taken = [path for path, _ in lines]
        result = [(path, {**_bare(first), "value": total})]
    else:
        taken = [path for path, _ in lines[:1]]
        result = [(path, _bare(sample)) for path, sample in lines[:1]]
        for path, sample in lines[:1]:
            _lost(f"{path}.phase", sample["phase"], why, notes, "older-phase")
    for path, sample in phased:
        if path not in taken:
            _lose_phase(path, sample, why, notes)
    return result


def _in_plain_unit(sample: Payload) -> Payload:
    number, unit = _number(sample), sample.get("unit", "Wh")
    if unit not in _THOUSANDS or number is None:
        return sample
    return {**sample, "unit": _THOUSANDS[unit], "value": _plain(number * 1000)}


def _bare(sample: Payload) -> Payload:
    return {name: value for name, value in sample.items() if name != "phase"}


def _lose_phase(path: str, sample: Payload, why: str, notes: list[Note]) -> None:
    _lost(path, f"{sample['phase']} {sample.get('value')}", why, notes, "older-phase")


# ---------------------------------------------------------------------------- what needs to be known


@dataclass(frozen=True, slots=True)
class Connector:
    """What is known of a connector when its charge point speaks of it.

    ``transaction_id`` is that of the transaction the message belongs to, None when there is none;
    ``has_charged``: a transaction has ended on it, and it has not been free since.
    """

    transaction_id: int | None = None
    has_charged: bool = False


UNKNOWN = Connector()


def asks_for_connector(call: Call, version: str) -> bool:
    """Whether *call*, read from a message of *version*, can only be understood by who knows its connector."""
    if version == NEWEST:
        return False
    if call.action == "StatusNotification":
        return call.payload.get("status") == "Occupied"
    return version == "1.2" and call.action == "MeterValues" and "transactionId" not in call.payload


def occupied(connector_id: object, connector: Connector) -> str:
    """The status of 1.6 that Occupied is. Connector 0, the whole charge point, can be no more than Available
    (OCPP 1.6 edition 2, appendix A)."""
    if connector_id == 0:
        return "Available"
    if connector.transaction_id is not None:
        return "Charging"
    return "Finishing" if connector.has_charged else "Preparing"


def understood(call: Call, connector: Connector) -> tuple[Call, tuple[Note, ...]]:
    """*call* as 1.6 says it, by what is known of its connector.

    Source: OCPP 1.6, ChargePointStatus (what Preparing, Charging and Finishing are) and MeterValues.req.
    """
    if call.action == "StatusNotification":
        status = occupied(call.payload.get("connectorId"), connector)
        note = Change("StatusNotification.status", "Occupied", status, "older-word")
        added = (*call.added, "status")
        return replace(call, payload={**call.payload, "status": status}, added=added), (note,)
    if connector.transaction_id is None:
        return call, ()
    number = connector.transaction_id
    note = Change("MeterValues.transactionId", "", str(number), "open-transaction")
    added = (*call.added, "transactionId")
    return replace(call, payload={**call.payload, "transactionId": number}, added=added), (note,)


def with_time(reply: CallResult, now: str) -> tuple[CallResult, tuple[Note, ...]]:
    """The reply to a BootNotification; in 1.2 it need not tell the time, and 1.6 cannot do without."""
    if reply.original is not None or "currentTime" in reply.payload:
        return reply, ()
    told = Change("BootNotificationResponse.currentTime", "", now, "older-default")
    return CallResult({**reply.payload, "currentTime": now}), (told,)


_TRANSIENT = {
    (version, row.message, row.field): row.transient
    for row in ROWS
    for version in row.versions
    if row.transient
}


def untold(call: Call, version: str) -> tuple[CallResult, tuple[Note, ...]] | None:
    """The confirmation of what a party of *version* has no words for at all, and what is lost with it; None
    of everything else."""
    notes: list[Note] = []
    word = call.payload.get("status")
    if word in _TRANSIENT.get((version, call.action, "status"), ()):
        _lost(f"{call.action}.status", word, f"OCPP {version} has no such status", notes, "older-word")
        return CallResult({}), tuple(notes)
    if version != NEWEST and call.action == "MeterValues" and call.payload.get("meterValue"):
        lowered = _lowered(call.payload["meterValue"], f"{call.action}.meterValue", version, notes)
        if not lowered:
            return CallResult({}), tuple(notes)
    return None

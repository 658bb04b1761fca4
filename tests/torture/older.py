"""What charge points of OCPP 1.5 and 1.2 say, and what becomes of it at a central system of 1.6.

The books are kept in the terms of OCPP-J 1.6, but for what the older ones have no words for: a connector that
is in use is ``Occupied``, and a StatusNotification of 1.2 says nothing that tells it from the next. Pure, and
written from the specifications alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Payload = dict[str, Any]
Speaks = Literal["JSON", "SOAP", "S15", "S12"]  # as it stands in an identity

# Namespaces of CentralSystemService and ChargePointService (OCPP-S 1.6, 1.5 and 1.2).
NAMESPACES: dict[Speaks, tuple[str, str]] = {
    "SOAP": ("urn://Ocpp/Cs/2015/10/", "urn://Ocpp/Cp/2015/10/"),
    "S15": ("urn://Ocpp/Cs/2012/06/", "urn://Ocpp/Cp/2012/06/"),
    "S12": ("urn://Ocpp/Cs/2010/08/", "urn://Ocpp/Cp/2010/08/"),
}
# What 1.6 says for a connector in use.
OCCUPIED = frozenset({"Preparing", "Charging", "SuspendedEV", "SuspendedEVSE", "Finishing"})
# What a SampledValue means where it says nothing (OCPP 1.6, 7.43), and all that one of 1.2 can mean.
DEFAULTS = {
    "context": "Sample.Periodic",
    "format": "Raw",
    "measurand": "Energy.Active.Import.Register",
    "location": "Outlet",
    "unit": "Wh",
}


@dataclass(frozen=True, slots=True)
class Text:
    """A text with attributes, as the meter values of 1.5 are: ``<value unit="Wh">5</value>``."""

    text: str
    attributes: tuple[tuple[str, str], ...] = ()


def speaks(identity: str) -> Speaks:
    """``HOLD-S15-2`` speaks ``S15``."""
    for word in ("SOAP", "S15", "S12"):
        if f"-{word}-" in identity:
            return word
    return "JSON"


def is_older(identity: str) -> bool:
    return speaks(identity) in ("S15", "S12")


def is_counted(identity: str, action: str) -> bool:
    """Whether nothing tells a message of this kind from the next: StatusNotifications of 1.2."""
    return action == "StatusNotification" and speaks(identity) == "S12"


def as_made(identity: str, action: str, payload: Payload) -> Payload:
    """What of *payload*, which one of 1.6 would send, a charge point makes; as it is kept in the books."""
    if not is_older(identity):
        return payload
    if action == "StopTransaction":
        return {name: value for name, value in payload.items() if name != "reason"}
    if action == "StatusNotification":
        status = "Occupied" if payload["status"] in OCCUPIED else payload["status"]
        made = payload | {"status": status}
        names = ("connectorId", "status", "errorCode")
        return {name: made[name] for name in names} if is_counted(identity, action) else made
    return payload


def as_written(identity: str, action: str, payload: Payload) -> Payload:
    """A payload of the books as it goes over the wire, in the order of the WSDL."""
    version = speaks(identity)
    if action != "MeterValues" or not is_older(identity):
        return payload
    written = {"connectorId": payload["connectorId"]}
    if version == "S15" and "transactionId" in payload:
        written["transactionId"] = payload["transactionId"]
    written["values"] = [
        {"timestamp": reading["timestamp"], "value": _values(version, reading["sampledValue"])}
        for reading in payload["meterValue"]
    ]
    return written


def _values(version: Speaks, samples: list[Payload]) -> list[Text] | str:
    if version == "S12":
        return str(samples[0]["value"])
    return [
        Text(sample["value"], tuple((name, word) for name, word in sample.items() if name != "value"))
        for sample in samples
    ]


def as_meant(identity: str, action: str, payload: Payload) -> Payload:
    """A payload of either book, without what an older charge point cannot have said."""
    if not is_older(identity):
        return payload
    if action == "StatusNotification" and payload["status"] in OCCUPIED:
        return payload | {"status": "Occupied"}
    if action == "MeterValues":
        readings = [
            reading | {"sampledValue": [_without_defaults(sample) for sample in reading["sampledValue"]]}
            for reading in payload["meterValue"]
        ]
        return payload | {"meterValue": readings}
    return payload


def _without_defaults(sample: Payload) -> Payload:
    return {name: word for name, word in sample.items() if DEFAULTS.get(name) != word}

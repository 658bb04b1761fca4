"""The messages of an exchange taken apart: who said what to whom, how encoded, with which id and payload."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from wattbridge.ocpp import ocppj, soap
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import CallError, Payload, Side
from wattbridge.store.base import Exchange

Kind = Literal["CALL", "CALLRESULT", "CALLERROR"]
Leg = Literal["charger", "csms"]

_ID = re.compile(r"<(?:[\w.-]{1,40}:)?(MessageID|RelatesTo)(?:\s[^>]{0,300})?>\s*([^<]{1,300}?)\s*</")


@dataclass(frozen=True, slots=True)
class Message:
    """One message on one leg.

    ``place`` is ``arrived``, ``asked``, ``answered`` or ``replied``; ``when`` in seconds since the epoch.
    ``message_id`` is that of the call that it is, or answers; minted when the wire does not say one.
    ``payload`` is that of OCPP-J, None when the message cannot be read; ``error`` is there of a CALLERROR.
    """

    place: str
    leg: Leg
    to_csms: bool
    transport: str
    version: str
    when: float
    text: str
    kind: Kind
    message_id: str
    minted: bool
    action: str
    payload: Payload | None
    error: CallError | None = None


def messages_of(exchange: Exchange) -> Iterator[Message]:
    """Those that there were, in the order in which they travelled."""
    from_charger = exchange.arrived_from == Side.CHARGE_POINT.value
    calling: Leg = "charger" if from_charger else "csms"
    asked: Leg = "csms" if from_charger else "charger"
    ended = exchange.began + exchange.seconds
    came = ended - exchange.write_seconds
    places: tuple[tuple[str, Leg, str, str, float], ...] = (
        ("arrived", calling, exchange.arrived, "", exchange.began),
        ("asked", asked, exchange.asked, "", exchange.began + exchange.read_seconds),
        ("answered", asked, exchange.answered, exchange.asked, came),
        ("replied", calling, exchange.replied, exchange.arrived, ended),
    )
    actions: dict[Leg, str] = {}
    for place, leg, text, answers, when in places:
        if not text:
            continue
        is_charger = leg == "charger"
        transport = exchange.charger_transport if is_charger else exchange.csms_transport
        version = (exchange.charger_version if is_charger else exchange.csms_version) or "1.6"
        is_call = place in ("arrived", "asked")
        asked_side = Side.CENTRAL_SYSTEM if from_charger else Side.CHARGE_POINT
        # The other party may have been asked by another name.
        read = _read(transport, text, is_call, actions.get(leg, exchange.action), asked_side)
        actions[leg] = read.action
        named = _named_id(transport, answers or text)
        yield Message(
            place,
            leg,
            from_charger is is_call,
            transport,
            version,
            when,
            text,
            read.kind,
            named or f"{exchange.number}-{leg}",
            not named,
            read.action,
            read.payload,
            read.error,
        )


def id_of(transport: str, text: str) -> str:
    """The message id that a message carries: UniqueId, or wsa:MessageID. Raises Violation."""
    return _named_id(transport, text)


def _named_id(transport: str, text: str) -> str:
    if transport == "soap":
        found = {match[1]: match[2] for match in _ID.finditer(text[:4000])}
        return found.get("MessageID") or found.get("RelatesTo", "")
    try:
        return ocppj.read_frame(text).message_id
    except ocppj.BrokenFrame as broken:
        return broken.message_id


@dataclass(frozen=True, slots=True)
class _Read:
    kind: Kind
    action: str
    payload: Payload | None = None
    error: CallError | None = None


def _read(transport: str, text: str, is_call: bool, action: str, asked: Side) -> _Read:
    try:
        if transport == "soap":
            return _read_soap(text.encode(errors="replace"), is_call, action, asked)
        frame = ocppj.read_frame(text)
    except Violation:
        return _Read("CALL" if is_call else "CALLRESULT", action)
    if isinstance(frame, ocppj.ErrorFrame):
        return _Read("CALLERROR", action, error=CallError(frame.code, frame.description, frame.details))
    if isinstance(frame, ocppj.CallFrame):
        return _Read("CALL", frame.action, frame.payload)
    return _Read("CALLRESULT", action, frame.payload)


def _read_soap(text: bytes, is_call: bool, action: str, asked: Side) -> _Read:
    envelope = soap.read_envelope(text)
    if is_call:
        read = soap.read_call(envelope, dialect(), asked)
        payload = read.operation.request.write_json(read.call.payload)[0]
        return _Read("CALL", read.call.action, payload)
    operation = dialect(soap.version_in(envelope)).operation(asked, action)
    reply, _ = soap.read_reply(200, soap.CONTENT_TYPE[envelope.soap], text, operation)
    if isinstance(reply, CallError):
        return _Read("CALLERROR", action, error=reply)
    return _Read("CALLRESULT", action, operation.response.write_json(reply.payload)[0])


def plain(value: Any) -> Any:
    """What a payload of OCPP-J is to Python's own json: decimals as numbers, and nothing else changed."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return float(value)

"""Exchanges as files: Open OCPP Trace, NDJSON of whole exchanges, plain text, the folders of a test corpus.

Open OCPP Trace 1.1 (github.com/open-ocpp-trace/specification) is one JSON object a message and line. Of JSON,
``raw`` is the frame as it was; of SOAP, which its ``raw`` has no place for, the envelope is in
``meta.envelope`` and ``payload`` is what it says, as OCPP-J would say it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from wattbridge.ocpp.printable import printable
from wattbridge.ocpp.reasons import PROFILE_RULES
from wattbridge.operation.trace.filter import OUTCOMES, notes_of, outcome_of
from wattbridge.operation.trace.messages import Message, messages_of, plain
from wattbridge.operation.trace.view import moment
from wattbridge.store.base import Exchange

Legs = Literal["both", "charger", "csms"]
LEGS: tuple[Legs, ...] = ("both", "charger", "csms")
SCHEMA_VERSION = "1.1"
LONGEST_LINE = 16 << 20  # characters
DIRECTION = {True: "cp-to-csms", False: "csms-to-cp"}
_KINDS = ("CALL", "CALLRESULT", "CALLERROR")
_PARTY = {"charger": "charge_point", "csms": "central_system"}


class BadTrace(ValueError):
    """A file is no trace: the line, and why."""


# --- Open OCPP Trace ---


def open_ocpp_trace(exchange: Exchange, legs: Legs = "both") -> Iterator[str]:
    """The lines of one exchange, without line feeds: each message on the *legs* that are wanted."""
    for message in messages_of(exchange):
        if legs in ("both", message.leg):
            yield json.dumps(_record(exchange, message), ensure_ascii=False, separators=(",", ":"))


def _record(exchange: Exchange, message: Message) -> dict[str, Any]:
    record: dict[str, Any] = {
        "schemaVersion": SCHEMA_VERSION,
        "timestamp": moment(message.when),
        "ocppVersion": message.version,
        "transport": message.transport,
        "chargePointId": exchange.identity
        if message.leg == "charger"
        else exchange.known_as or exchange.identity,
        "direction": DIRECTION[message.to_csms],
        "messageType": message.kind,
        "messageId": message.message_id,
        "action": message.action or "unknown",
    }
    raw = _frame(message)
    said = raw if raw is not None else _as_read(message)
    record |= said
    payload = said.get("payload")
    connector = payload.get("connectorId") if isinstance(payload, dict) else None
    if isinstance(connector, int) and not isinstance(connector, bool) and connector >= 0:
        record["connectorId"] = connector
    if raw is not None:
        record["raw"] = message.text
    meta: dict[str, Any] = {"exchange": exchange.number, "leg": message.leg, "place": message.place}
    if message.transport == "soap":
        meta["envelope"] = message.text
    elif "raw" not in record:
        meta["text"] = message.text
    if message.minted:
        meta["messageIdMinted"] = True
    if message.place == "arrived":
        meta |= _meta_of(exchange)
    record["meta"] = meta
    return record


def _frame(message: Message) -> dict[str, Any] | None:
    """What a frame itself says, which has to agree with ``raw``; None of what is none as OCPP-J has it."""
    if message.transport != "json":
        return None
    try:
        frame = json.loads(message.text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(frame, list) or len(frame) < 3 or frame[1] != message.message_id:
        return None
    if frame[0] == 2 and len(frame) == 4 and message.kind == "CALL":
        return {"action": frame[2], "payload": frame[3]} if isinstance(frame[2], str) else None
    if frame[0] == 3 and len(frame) == 3 and message.kind == "CALLRESULT":
        return {"payload": frame[2]}
    if frame[0] == 4 and len(frame) == 5 and message.kind == "CALLERROR":
        code, description, details = frame[2:]
        if isinstance(code, str) and isinstance(description, str):
            return {"error": {"code": code, "description": description, "details": details}}
    return None


def _as_read(message: Message) -> dict[str, Any]:
    """What a message says to whoever reads it as the gateway does."""
    error = message.error
    if error is not None:
        told = {"code": error.code, "description": error.description, "details": plain(error.details)}
        return {"error": told}
    return {} if message.payload is None else {"payload": plain(message.payload)}


def _meta_of(exchange: Exchange) -> dict[str, Any]:
    """What there is to say of the whole exchange; with its first message."""
    notes = notes_of(exchange)
    told: dict[str, Any] = {
        "outcome": outcome_of(exchange),
        "seconds": round(exchange.seconds, 6),
        "peerSeconds": round(exchange.peer_seconds, 6),
    }
    for name in ("reason", "route", "upstream", "profile"):
        if value := getattr(exchange, name):
            told[name] = value
    if exchange.asked_by:
        told["askedBy"] = exchange.asked_by
    if notes:
        told["notes"] = notes
    return told


@dataclass(frozen=True, slots=True)
class Told:
    """One message of a trace, whoever wrote it down.

    ``when`` is in seconds since the epoch; ``payload`` that of OCPP-J, where it is known. ``leg`` is empty
    in traces of others.
    """

    when: float
    identity: str
    transport: str
    version: str
    to_csms: bool
    kind: str
    message_id: str
    action: str
    payload: dict[str, Any] | None
    text: str
    leg: str = ""
    error: dict[str, Any] = field(default_factory=dict)


def read_trace(lines: Iterable[str]) -> Iterator[Told]:
    """The messages of a trace in Open OCPP Trace, or in NDJSON as it is written here.

    Raises BadTrace.
    """
    answered: dict[tuple[str, str, bool], str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if len(line) > LONGEST_LINE:
            raise BadTrace(f"line {number}: it is longer than {LONGEST_LINE} characters")
        try:
            record = json.loads(line, parse_float=Decimal)  # payloads are exact
        except ValueError as problem:
            raise BadTrace(f"line {number}: is not JSON: {problem}") from None
        except RecursionError:
            raise BadTrace(f"line {number}: is nested too deep") from None
        if not isinstance(record, dict):
            raise BadTrace(f"line {number}: found {line.strip()[:40]!r}, expected an object")
        if "schemaVersion" in record:
            told = _told(record, number)
            key = (told.identity, told.message_id, told.to_csms)
            if told.kind == "CALL":
                answered[key] = told.action
            elif not told.action:
                action = answered.get((told.identity, told.message_id, not told.to_csms), "")
                told = _with_action(told, action)
            yield told
        else:
            yield from _told_of(exchange_of(record, number))


def _with_action(told: Told, action: str) -> Told:
    return Told(**{each.name: getattr(told, each.name) for each in fields(told)} | {"action": action})


def _told(record: dict[str, Any], number: int) -> Told:
    """One record of Open OCPP Trace; what a newer version of it adds is passed over."""

    def text(name: str, expected: tuple[str, ...] = (), required: bool = True) -> str:
        value = record.get(name, "" if not required else None)
        if not isinstance(value, str) or (expected and value not in expected):
            among = f"one of {', '.join(expected)}" if expected else "a text"
            raise BadTrace(f"line {number}: {name}: found {str(value)[:40]!r}, expected {among}")
        return value

    if text("schemaVersion").partition(".")[0] != "1":
        raise BadTrace(f"line {number}: schemaVersion: found {record['schemaVersion'][:20]!r}, expected 1.x")
    kind = text("messageType", _KINDS)
    meta = record.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    payload, error = record.get("payload"), record.get("error")
    if payload is None and "payload" in record:  # which stands for an empty one
        payload = {}
    raw = record.get("raw") or meta.get("envelope") or meta.get("text") or ""
    leg = meta.get("leg")
    return Told(
        when=_seconds(text("timestamp"), number),
        identity=text("chargePointId", required=False),
        transport=text("transport", ("json", "soap")),
        version=text("ocppVersion", required=False) or "1.6",
        to_csms=text("direction", tuple(DIRECTION.values())) == DIRECTION[True],
        kind=kind,
        message_id=text("messageId", required=False),
        action=text("action", required=kind == "CALL"),
        payload=payload if isinstance(payload, dict) else None,
        text=raw if isinstance(raw, str) else "",
        leg=leg if leg in ("charger", "csms") else "",
        error=error if isinstance(error, dict) else {},
    )


def _told_of(exchange: Exchange) -> Iterator[Told]:
    for message in messages_of(exchange):
        error = message.error
        yield Told(
            message.when,
            exchange.identity,
            message.transport,
            message.version,
            message.to_csms,
            message.kind,
            message.message_id,
            message.action,
            message.payload,
            message.text,
            message.leg,
            {} if error is None else {"code": error.code, "description": error.description},
        )


def _seconds(text: str, number: int) -> float:
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise BadTrace(f"line {number}: timestamp: found {text[:40]!r}, expected RFC 3339") from None


# --- NDJSON ---


def ndjson(exchange: Exchange) -> str:
    """One exchange as one line, with all that is kept of it; ``exchange_of`` is its way back."""
    told = {each.name: getattr(exchange, each.name) for each in fields(exchange)}
    told["notes"] = notes_of(exchange)
    return json.dumps(
        {"time": moment(exchange.began), "outcome": outcome_of(exchange), **told}, ensure_ascii=False
    )


def exchange_of(record: dict[str, Any], number: int = 1) -> Exchange:
    """One exchange as ``ndjson`` wrote it. Raises BadTrace."""
    told: dict[str, Any] = {}
    for each in fields(Exchange):
        if each.name not in record:
            if each.name in ("number", "identity", "began", "arrived_from", "action", "arrived"):
                raise BadTrace(f"line {number}: {each.name} is missing: this is neither format of a trace")
            continue
        value = record[each.name]
        if each.name == "notes":
            told["notes"] = json.dumps(value, separators=(",", ":")) if value else ""
            continue
        expected: tuple[type, ...] = {"str": (str,), "int": (int,)}.get(str(each.type), (int, float, Decimal))
        if not isinstance(value, expected) or isinstance(value, bool):
            raise BadTrace(f"line {number}: {each.name}: found {str(value)[:40]!r}")
        told[each.name] = float(value) if isinstance(value, Decimal) else value
    missing: dict[str, Any] = {"reason": "", "seconds": 0.0, "peer_seconds": 0.0, "upstream": "", "asked": ""}
    missing |= {"answered": "", "replied": ""}
    if told["arrived_from"] not in _PARTY.values():
        raise BadTrace(f"line {number}: arrived_from: found {told['arrived_from'][:40]!r}")
    return Exchange(**missing | told)


# --- text ---


def text(exchange: Exchange) -> str:
    """An exchange for people: a head, its messages in their order, and what was changed or lost."""
    to_csms = exchange.arrived_from == "charge_point"
    arrow = "→" if to_csms else "←"
    outcome = exchange.reason or outcome_of(exchange)
    where = f" at {exchange.upstream}" if exchange.upstream else ""
    if exchange.asked_by:
        where = f" from the {exchange.asked_by}"
    took = (
        f"{exchange.seconds * 1000:.1f} ms ({exchange.peer_seconds * 1000:.1f} ms of them the other party's)"
    )
    what = f"{exchange.identity} {arrow}{where} {exchange.action or 'unreadable'}: {outcome}"
    lines = [printable(f"{moment(exchange.began)} {what}, {took} #{exchange.number}")]
    for message in messages_of(exchange):
        spoken = f"{message.transport} {message.version}"
        who = "charge point" if message.leg == "charger" else exchange.asked_by or "central system"
        out = message.place in ("asked", "replied")
        lines.append(f"  {'to' if out else 'from'} the {who} ({spoken})")
        lines += [f"    {printable(line.expandtabs(4))}" for line in message.text.splitlines()]
    for note in notes_of(exchange):
        word = next(word for word in ("changed", "lost", "broken") if word in note)
        became = f" → {note['became']}" if note.get("became") else ""
        reason = f": {note['reason']}" if note.get("reason") else ""
        told = f"{word}: {note[word]}: {note['value']}{became}{reason} ({note['rule']})"
        lines.append(f"  # {printable(told)}")
    return "\n".join([*lines, ""])


def write(wanted: str, exchanges: Iterable[Exchange], legs: Legs = "both") -> str:
    """*exchanges* as ``oot``, ``ndjson`` or ``text``: whole lines."""
    if wanted == "oot":
        return "".join(f"{line}\n" for each in exchanges for line in open_ocpp_trace(each, legs))
    return "".join(f"{ndjson(each) if wanted == 'ndjson' else text(each)}\n" for each in exchanges)


# --- the folders of a test corpus ---


class CannotExport(Exception):
    """An exchange has no place in a corpus: a sentence that says why."""


# What is always the same in the corpus: the identity, and the ids and addresses that a gateway gives.
IDENTITY = "CP3211"
MESSAGE_ID = "1"
SOAP_MESSAGE_ID = "urn:uuid:00000000-0000-4000-8000-000000000001"
GATEWAY_URL = "http://wattbridge.example/ocpp"
ADDRESSES = {
    "charger": "http://10.1.2.3:8080/ocpp",
    "csms": "http://central.example/services/CentralSystemService",
}


def exchange_folder(exchange: Exchange) -> tuple[str, dict[str, bytes]]:
    """``("exchanges/MeterValues", {"1-charge_point.xml": …, "2-central_system.json": …, "notes.txt": …})``.

    The files of a case of the test corpus: everything as it travelled, each with one line feed at its end,
    but for the identity and for the ids and addresses that the gateway gives, which are those of the corpus.
    Raises CannotExport when the corpus has no place for the exchange.
    """
    messages = {message.place: message for message in messages_of(exchange)}
    _check_exportable(exchange, messages)
    files: dict[str, bytes] = {}
    for number, place in enumerate(("arrived", "asked", "answered", "replied"), start=1):
        if message := messages.get(place):
            suffix = "xml" if message.transport == "soap" else "json"
            text = _as_in_corpus(message, messages.get("asked"))
            files[f"{number}-{_PARTY[message.leg]}.{suffix}"] = text.strip().encode() + b"\n"
    lines = [_note_line(note) for note in notes_of(exchange)]
    if lines:
        files["notes.txt"] = "\n".join(lines).encode() + b"\n"
    return f"{_corpus_of(exchange)}/{_action_of(exchange)}", files


def _check_exportable(exchange: Exchange, messages: Mapping[str, Message]) -> None:
    if not exchange.action or "arrived" not in messages or "replied" not in messages:
        raise CannotExport("it has no call that could be read, or no answer to it")
    if ("asked" in messages) is not ("answered" in messages):
        raise CannotExport("the other party was asked, and has not answered")
    if exchange.how in ("kept", "offline", "repeat"):
        raise CannotExport(f"{OUTCOMES[exchange.how]}: that is no matter of one exchange")
    if any(note["rule"] in PROFILE_RULES for note in notes_of(exchange)):
        raise CannotExport(f"the profile {exchange.profile} has changed it: it is a sample of that profile")
    spoken = (exchange.charger_transport, exchange.charger_version)
    if spoken == (exchange.csms_transport, exchange.csms_version):
        raise CannotExport("it was passed on as it is, and nothing was translated")


def _corpus_of(exchange: Exchange) -> str:
    versions = {"charge_point": exchange.charger_version, "central_system": exchange.csms_version}
    older = [f"{version}-{party}" for party, version in versions.items() if version not in ("", "1.6")]
    if len(older) > 1:
        raise CannotExport("both parties speak an older version")
    return f"exchanges-of-older-versions/{older[0]}" if older else "exchanges"


def _action_of(exchange: Exchange) -> str:
    both_ways = exchange.action == "DataTransfer" and exchange.arrived_from == "central_system"
    return f"{exchange.action}.from-central-system" if both_ways else exchange.action


_IDENTITY_ELEMENT = re.compile(
    r"(<(?:[\w.-]{1,40}:)?chargeBoxIdentity(?:\s[^>]{0,300})?>\s*)(?:[^<\s][^<]{0,300}?)?(\s*</)"
)


def _as_in_corpus(message: Message, asked: Message | None) -> str:
    """The text of a message as the corpus has it."""
    text = message.text
    if message.transport == "json":
        if message.place in ("asked", "answered"):  # the gateway's own id, and the answer to it
            text = _JSON_ID.sub(lambda head: f'{head[1]}"{MESSAGE_ID}"', text, count=1)
        return text
    text = _IDENTITY_ELEMENT.sub(rf"\g<1>{IDENTITY}\g<2>", text)
    if message.place in ("asked", "replied"):
        text = _header("MessageID", text, SOAP_MESSAGE_ID)
    if message.place == "asked":
        text = _header("To", text, ADDRESSES[message.leg])
        text = _FROM.sub(rf"\g<1>{GATEWAY_URL}\g<2>", text, count=1)
    if message.place == "answered" and asked is not None and not asked.minted:
        text = text.replace(f">{asked.message_id}<", f">{SOAP_MESSAGE_ID}<")
    return text


_JSON_ID = re.compile(r'(\[\s*[234]\s*,\s*)"(?:[^"\\]|\\.){0,300}"')
_FROM = re.compile(r"(<wsa:From>(?:<wsa:Address>)?)[^<]{0,2000}(</)")


def _header(name: str, text: str, value: str) -> str:
    """*text*, which the gateway has written, with another value in a header of WS-Addressing."""
    return re.sub(
        rf"(<wsa:{name}(?:\s[^>]{{0,100}})?>)[^<]{{0,2000}}(</)", rf"\g<1>{value}\g<2>", text, count=1
    )


def _note_line(note: dict[str, str]) -> str:
    """``loss <path> <value> <rule>``, ``breach`` likewise, ``change <path> <value> -> <became> <rule>``."""
    if "changed" in note:
        words = (
            "change",
            note["changed"],
            _unquoted(note["value"]),
            "->",
            _unquoted(note["became"]),
            note["rule"],
        )
        return " ".join(" ".join(words).split())
    word, path = ("loss", note["lost"]) if "lost" in note else ("breach", note["broken"])
    return " ".join(" ".join((word, path, _unquoted(note["value"]), note["rule"])).split())


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value

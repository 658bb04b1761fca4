"""An exchange as the API and files show it: a row of a list, or the whole of it."""

from __future__ import annotations

from typing import Any

from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.reasons import REASONS, RULES
from wattbridge.ocpp.times import date_time_text
from wattbridge.operation.redaction import TOO_LONG
from wattbridge.operation.trace.filter import OUTCOMES, notes_of, outcome_of, sizes_of
from wattbridge.operation.trace.messages import id_of
from wattbridge.operation.trace.pairs import pairs_of
from wattbridge.store.base import Exchange

_SIDE = {"charge_point": "charger", "central_system": "csms"}
_OTHER = {"charger": "csms", "csms": "charger"}
_PARTY = {"charger": "charge point", "csms": "central system"}
_WHAT = {"changed": "changed", "lost": "lost", "broken": "breach"}


def row_of(exchange: Exchange) -> dict[str, Any]:
    """One line of a list of messages."""
    to_csms = exchange.arrived_from == "charge_point"
    return {
        "number": exchange.number,
        "time": moment(exchange.began),
        "charger": exchange.identity,
        "action": exchange.action,
        "direction": "to_csms" if to_csms else "to_charger",
        "charger_transport": exchange.charger_transport,
        "csms_transport": exchange.csms_transport,
        "charger_version": exchange.charger_version,
        "csms_version": exchange.csms_version,
        "outcome": outcome_of(exchange),
        "reason": exchange.reason,
        "ms": _milliseconds(exchange.seconds),
        "peer_ms": _milliseconds(exchange.peer_seconds),
        "route": exchange.route,
        "upstream": exchange.upstream,
        "profile": exchange.profile,
        "losses": exchange.losses,
        "changes": exchange.changes,
        "size": max(sizes_of(exchange)),
    }


def whole_of(exchange: Exchange) -> dict[str, Any]:
    """All that is known of one exchange."""
    asked_by = _SIDE[exchange.arrived_from]
    outcome = outcome_of(exchange)
    reason = REASONS.get(exchange.reason, "")
    own = exchange.seconds - exchange.peer_seconds - exchange.delay_seconds
    return {
        **row_of(exchange),
        "known_as": exchange.known_as,
        "source": exchange.source,
        "asked_by": exchange.asked_by or exchange.arrived_from,
        "outcome_said": f"{OUTCOMES[outcome]}: {reason}" if reason else OUTCOMES[outcome],
        "sides": {side: _side(exchange, side, asks=side == asked_by) for side in ("charger", "csms")},
        "notes": [_note(note, asked_by) for note in notes_of(exchange)],
        "timeline": _timeline(exchange, asked_by),
        "legs": {
            "read_ms": _milliseconds(exchange.read_seconds),
            "peer_ms": _milliseconds(exchange.peer_seconds),
            "write_ms": _milliseconds(exchange.write_seconds),
            "own_ms": _milliseconds(max(0.0, own)),
        },
        "pairs": pairs_of(exchange),
    }


def moment(seconds: float) -> str:
    """``2024-05-01T10:00:00.061Z``"""
    return date_time_text(seconds, milliseconds=True)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _side(exchange: Exchange, side: str, *, asks: bool) -> dict[str, Any]:
    texts = (exchange.arrived, exchange.replied) if asks else (exchange.asked, exchange.answered)
    arrived, asked, answered, replied = sizes_of(exchange)
    sizes = (arrived, replied) if asks else (asked, answered)
    is_charger = side == "charger"
    transport = exchange.charger_transport if is_charger else exchange.csms_transport
    try:
        message_id = id_of(transport, texts[0] or texts[1])
    except Violation:
        message_id = ""
    return {
        "transport": transport,
        "version": exchange.charger_version if is_charger else exchange.csms_version,
        "message_id": message_id,
        "call": texts[0],
        "reply": texts[1],
        "call_bytes": sizes[0],
        "reply_bytes": sizes[1],
        "call_note": _kept_short(texts[0], sizes[0]),
        "reply_note": _kept_short(texts[1], sizes[1]),
    }


def _kept_short(text: str, size: int) -> str:
    return f"too long to keep: {size:,} bytes" if text.startswith(TOO_LONG) else ""


def _note(note: dict[str, str], asked_by: str) -> dict[str, str]:
    word = next(word for word in _WHAT if word in note)
    at = note.get("at", "")
    side = {"arrived": asked_by, "replied": asked_by}.get(at, _OTHER[asked_by] if at else "")
    return {
        "side": side,
        "message": {"arrived": "call", "asked": "call", "answered": "reply", "replied": "reply"}.get(at, ""),
        "what": _WHAT[word],
        "path": note[word],
        "value": note["value"],
        "became": note.get("became", ""),
        "rule": note["rule"],
        "reason": note.get("reason", ""),
        "said": RULES.get(note["rule"], ""),
    }


def _timeline(exchange: Exchange, asked_by: str) -> list[dict[str, Any]]:
    """What happened when, in milliseconds from the arrival of the call."""
    caller, asked = exchange.asked_by or _PARTY[asked_by], _PARTY[_OTHER[asked_by]]
    ended = exchange.seconds
    told = [(0.0, f"the {caller}'s call arrived")]
    if exchange.read_seconds:
        told.append((exchange.read_seconds, "read and understood"))
    came = ended - exchange.write_seconds
    if exchange.asked:  # a little later than it was, by what it took to translate the reply
        late = " when it had a connection" if exchange.delay_seconds else ""
        sent = max(exchange.read_seconds, came - exchange.peer_seconds)
        told.append((sent, f"the {asked} was asked{late}"))
    if exchange.answered:
        told.append((came, f"the {asked}'s reply was read"))
    elif exchange.asked:
        told.append((came, f"no reply of the {asked}: {exchange.reason or exchange.how}"))
    elif exchange.how or exchange.reason:
        told.append((came, f"the {asked} was not asked: {exchange.reason or exchange.how}"))
    last = "answered" if exchange.replied else "left without an answer"
    told.append((ended, f"the {caller} was {last}"))
    return [{"at_ms": _milliseconds(at), "what": what} for at, what in told]

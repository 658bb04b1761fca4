"""Whose fault it is: a message that breaks the rules, a party that is not there; how an error names a value;
and how the error words of the two transports correspond.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from wattbridge.ocpp.messages import Breach, CallError, Check, Loss, Note, Passage, Payload, Side

LONGEST_SHOWN = 60  # characters of a value that errors and notes repeat


class Violation(Exception):
    """A message breaks its schema.

    ``code`` is the error code of OCPP-J 1.6 (table 7); ``path`` says where
    (``MeterValues.meterValue[0].sampledValue[1].unit``), ``problem`` what was found and what was expected.
    ``reason`` is ``"schema"``, or ``"malformed"`` when it is no message at all.
    """

    def __init__(self, code: str, path: str, problem: str, reason: str = "schema") -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.code = code
        self.path = path
        self.problem = problem
        self.reason = reason


def broken_reply(broken: Violation, party: Side) -> CallError:
    """What whoever asked *party* is told when its reply breaks the rules.

    The asker is not to blame, and the codes of violations would blame it: the code is a detail.
    """
    problem = f"the reply of the {party.value.replace('_', ' ')} breaks the rules: {broken}"
    return CallError(
        "InternalError", problem, {"code": broken.code, "path": broken.path}, reason=broken.reason
    )


def breaches(notes: Iterable[Note], broken: Violation | None = None) -> tuple[Breach, ...]:
    """What breaks the schema in a message that is carried as it is.

    *notes* are those of reading it: what a translation would have lost breaks the schema; what it would only
    have written otherwise does not, nor does a field that another version has not. *broken* is what ended the
    reading.
    """
    found = [
        Breach(note.path, note.value, note.rule, note.reason)
        for note in notes
        if isinstance(note, Loss) and note.rule != "older-field"
    ]
    if broken is not None:
        found.append(Breach(broken.path, "", "schema", broken.problem))
    return tuple(found)


def checked(
    read: Callable[[], tuple[Payload, list[Note]]], unread: Payload | None, check: Check
) -> tuple[Payload, tuple[Note, ...]]:
    """Look at a payload that is carried as it is, by *read*, as *check* says.

    Returns the payload, and what of it breaks the schema. The payload is *unread* where it could not be read,
    or need not be looked at; None where there is nothing yet but by reading.
    Raises Violation when what breaks the schema is to be refused.
    """
    if check == "off" and unread is not None:
        return unread, ()
    try:
        payload, notes = read()
    except Violation as broken:
        if check == "refuse":
            raise
        payload, found = unread or {}, breaches((), broken)
    else:
        found = breaches(notes)
        if found and check == "refuse":
            raise Violation("FormationViolation", found[0].path, f"{found[0].value!r}: {found[0].reason}")
    return payload, found if check == "report" else ()


class Unreachable(Exception):
    """Nobody is there: a party could not be asked, or did not answer.

    ``reason`` is a word of ``reasons.REASONS``, ``description`` a sentence for people. ``asked`` is what had
    been written to the party by then; None when it was never asked. ``waited`` is for how many seconds
    somebody waited for the party, ``delay`` for how many before that there was no way to ask it, where that
    is known.
    """

    waited = 0.0
    delay = 0.0

    def __init__(self, reason: str, description: str, asked: Passage | None = None) -> None:
        super().__init__(description)
        self.reason = reason
        self.description = description
        self.asked = asked

    def saying(self, description: str) -> Unreachable:
        """The same in other words."""
        again = Unreachable(self.reason, description, self.asked)
        again.waited, again.delay = self.waited, self.delay
        return again


def shown(value: object) -> str:
    """*value* as an error names it: a text in quotes, anything else as JSON; no line breaks.

    At most 60 characters of it are looked at, however large it is or deeply nested.
    """
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST_SHOWN else value[: LONGEST_SHOWN - 3] + "…")
    return excerpt(value)


def excerpt(value: object) -> str:
    """*value* as a note repeats it: like ``shown``, but a text without quotes. At most 60 characters."""
    text = ""
    for piece in [value] if isinstance(value, str) else _json(value):
        piece = piece[: LONGEST_SHOWN + 1]
        text += piece if piece.isprintable() else repr(piece)[1:-1]
        if len(text) > LONGEST_SHOWN:
            return text[: LONGEST_SHOWN - 1] + "…"
    return text


def _json(value: object) -> Iterator[str]:
    """The JSON of *value*, piece by piece, so that nobody waits for the end of a large one."""
    if isinstance(value, str):
        yield json.dumps(value[: LONGEST_SHOWN + 1], ensure_ascii=False)
    elif isinstance(value, dict):
        yield "{"
        for index, (name, member) in enumerate(value.items()):
            yield ", " if index else ""
            yield from _json(name)
            yield ": "
            yield from _json(member)
        yield "}"
    elif isinstance(value, list | tuple):
        yield "["
        for index, item in enumerate(value):
            yield ", " if index else ""
            yield from _json(item)
        yield "]"
    elif value is None or isinstance(value, bool):
        yield json.dumps(value)
    elif isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to print the largest
        yield f"a number of {value.bit_length()} bits"
    else:
        yield str(value) if isinstance(value, int | float | Decimal) else type(value).__name__


# CALLERROR code → SOAP fault code and subcode (OCPP 1.5, 8.2; OCPP 1.6 errata 3.38, 3.39). OCPP-S has five
# subcodes; the description keeps what they cannot say.
FAULT_BY_CODE = {
    "NotImplemented": ("Receiver", "NotSupported"),  # OCPP-S has no word for an unknown action
    "NotSupported": ("Receiver", "NotSupported"),
    "InternalError": ("Receiver", "InternalError"),
    "GenericError": ("Receiver", "InternalError"),
    "ProtocolError": ("Sender", "ProtocolError"),
    "SecurityError": ("Sender", "SecurityError"),
    "FormationViolation": ("Sender", "ProtocolError"),
    "PropertyConstraintViolation": ("Sender", "ProtocolError"),
    "OccurenceConstraintViolation": ("Sender", "ProtocolError"),
    "TypeConstraintViolation": ("Sender", "ProtocolError"),
}

# Word in a SOAP fault's code or subcode, lower case → CALLERROR code. Where several stand in one fault,
# the innermost counts.
FAULT_CODE_BY_WORD = {
    "sender": "GenericError",
    "receiver": "InternalError",
    "client": "GenericError",  # SOAP 1.1
    "server": "InternalError",
    "securityerror": "SecurityError",
    "identitymismatch": "SecurityError",  # OCPP-J has no such code; the description says it
    "protocolerror": "ProtocolError",
    "notsupported": "NotSupported",  # the action exists, or it would not have been asked for
    "internalerror": "InternalError",
    "versionmismatch": "GenericError",
    "mustunderstand": "GenericError",
    "dataencodingunknown": "GenericError",
    "actionnotsupported": "NotImplemented",  # WS-Addressing 1.0 SOAP binding, 6.4
    "procedurenotpresent": "NotImplemented",  # PHP's rpc:ProcedureNotPresent
    "messageaddressingheaderrequired": "ProtocolError",
    "invalidaddressingheader": "ProtocolError",
    "destinationunreachable": "GenericError",
    "urlmismatch": "SecurityError",  # ShellRecharge's addition
    # CALLERROR codes where a subcode belongs (GIR), in both spellings (OCPP-J 1.6 errata, 5.1, 5.2).
    **{code.lower(): code for code in FAULT_BY_CODE},
    "formatviolation": "FormationViolation",
    "occurrenceconstraintviolation": "OccurenceConstraintViolation",
}

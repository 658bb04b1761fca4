"""The neutral form that travels between the two sides of the gateway.

A payload is the payload of OCPP-J 1.6 as a plain dict, names exactly as the specification spells them;
integers are ``int`` of any size, decimals ``decimal.Decimal``, everything else what JSON has. How
a message looked on the wire stays with the links; what was changed or lost on the way travels as notes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

Payload = dict[str, Any]
# What happens to a message that needs no translation and breaks the schema: nothing, it is told, or refused.
Check = Literal["off", "report", "refuse"]


@dataclass(frozen=True, slots=True)
class Original:
    """A payload exactly as its sender wrote it, for a party that speaks the same.

    ``form`` names the encoding (``"json 1.6"``, ``"soap 1.6 http://www.w3.org/2003/05/soap-envelope"``); only
    a link of the same form may write it. ``text`` is the payload: in JSON what follows the head of the frame
    up to its closing bracket, in SOAP what follows the Header up to the end of the envelope. ``opening`` is
    what the text needs before it: the start tag of a SOAP Envelope, with its namespaces. ``status`` is the
    HTTP status that a SOAP reply came with.
    """

    form: str
    text: bytes
    opening: bytes = b""
    status: int = 200


class Side(Enum):
    """One of the two parties of OCPP 1.6."""

    CHARGE_POINT = "charge_point"
    CENTRAL_SYSTEM = "central_system"

    # There is one of each. Enum hashes the name, by a function in Python, a dozen times for every exchange.
    __hash__ = object.__hash__

    @property
    def other(self) -> Side:
        return Side.CENTRAL_SYSTEM if self is Side.CHARGE_POINT else Side.CHARGE_POINT


@dataclass(frozen=True, slots=True)
class Call:
    """One party asks: ``Call("Reset", {"type": "Hard"})``.

    ``original`` is there when nothing needs to be translated: whoever speaks its form writes it as it is.
    ``message_id`` is the id it has to carry, each time it is sent; empty for a new one. ``added`` are fields
    that its sender has not said, and that the gateway has put in.
    """

    action: str
    payload: Payload
    original: Original | None = field(default=None, compare=False, repr=False)
    message_id: str = field(default="", compare=False)
    added: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class CallResult:
    """The other party answers: the payload of the action's .conf."""

    payload: Payload
    original: Original | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CallError:
    """The other party refuses, or cannot be asked.

    ``code`` is an error code of OCPP-J 1.6, table 7. ``reason`` is the one word the operator sees in log,
    metric and record (``reasons.py``). ``blames_envelope``: a SOAP fault that is about what the gateway wrote
    around the message, and not about the message.
    """

    code: str
    description: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    reason: str = "call_error"
    original: Original | None = field(default=None, compare=False, repr=False)
    blames_envelope: bool = field(default=False, compare=False)


Reply = CallResult | CallError


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that could not be carried:
    ``Loss("StopTransaction.transactionData[0].sampledValue[1].unit", "Hertz", "unsayable-unit", …)``.

    ``value`` is what stood there, at most 60 characters of it; ``rule`` is a word of ``reasons.RULES`` (it is
    a metric label), ``reason`` a sentence for people.
    """

    path: str
    value: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was carried in another form:
    ``Change("StartTransaction.timestamp", "2024-05-01T10:00:00+01:00", "2024-05-01T09:00:00Z", "to-utc")``.
    """

    path: str
    value: str
    became: str
    rule: str


@dataclass(frozen=True, slots=True)
class Breach:
    """Something that breaks the schema of OCPP and was carried all the same, to a party of the same form:
    ``Breach("Authorize.idTag", "04E91C5A7710204E91C5A77102", "schema", "found 26 characters, expected …")``.
    """

    path: str
    value: str
    rule: str
    reason: str


Note = Loss | Change | Breach

MOST_NOTES = 200  # of one message; a message of a million mistakes must not become a million notes


def add_note(notes: list[Note], note: Note) -> None:
    """Append *note*; from the 200th on, the last note counts those that are not listed."""
    if len(notes) < MOST_NOTES:
        notes.append(note)
        return
    last = notes[-1]
    more = int(last.value) + 1 if last.rule == "and-more" else 2
    if isinstance(last, Loss) or isinstance(note, Loss):
        notes[-1] = Loss("", str(more), "and-more", f"{more} more notes of this message are not listed")
    else:
        notes[-1] = Change("", str(more), "", "and-more")


@dataclass(frozen=True, slots=True)
class Passage:
    """One message as it crossed one border of the gateway.

    ``text`` is the wire form (a SOAP body or a frame, UTF-8), ``transport`` is ``"soap"`` or ``"json"``,
    ``notes`` what reading or writing it changed or lost.
    """

    transport: str
    text: bytes
    notes: tuple[Note, ...] = ()

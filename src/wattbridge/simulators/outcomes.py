"""How a simulator's call can end, and what is told of one that has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call and how it ended, as a simulator tells it to whoever looks on.

    ``asked`` is ``"central system"`` or ``"charge point"``: who had to answer. ``outcome`` is ``"ok"``, or
    what went wrong. ``seconds`` passed until the answer; the party that answers sees only its own time.
    """

    identity: str
    action: str
    asked: str
    outcome: str
    seconds: float


def tell_nobody(exchange: Exchange) -> None:
    """Nobody looks on."""


class Refusal(Exception):
    """The other party answered a call with an error. ``code`` is its word for it."""

    code: str


class Refused(Refusal):
    """The answer was a SOAP fault.

    ``code`` is ``"Sender"`` or ``"Receiver"`` (SOAP 1.2, 5.4.6), ``subcode`` the local name of OCPP's word
    (``"SecurityError"``; empty when there is none), ``reason`` the text for people.
    """

    def __init__(self, code: str, subcode: str, reason: str) -> None:
        super().__init__(f"{code}/{subcode}: {reason}" if subcode else f"{code}: {reason}")
        self.code = code
        self.subcode = subcode
        self.reason = reason


class CallRefused(Refusal):
    """The answer was a CALLERROR (OCPP-J 1.6, 4.2.3)."""

    def __init__(self, code: str, description: str, details: dict[str, Any]) -> None:
        super().__init__(f"{code}: {description}" if description else code)
        self.code = code
        self.description = description
        self.details = details


class Unanswered(Exception):
    """No usable answer came: no connection, closed without an answer, too late, or not OCPP."""


class BadStatus(Unanswered):
    """The answer was an HTTP error status without a fault, which says as much (OCPP-S errata, 3.1)."""

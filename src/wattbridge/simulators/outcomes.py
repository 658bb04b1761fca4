"""How a simulator's call can end other than with an answer."""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """The central system answered a SOAP charge point with a fault.

    ``code`` is ``"Sender"`` or ``"Receiver"`` (SOAP 1.2, 5.4.6), ``subcode`` the local name of OCPP's word
    (``"SecurityError"``; empty when there is none), ``reason`` the text for people.
    """

    def __init__(self, code: str, subcode: str, reason: str) -> None:
        super().__init__(f"{code}/{subcode}: {reason}" if subcode else f"{code}: {reason}")
        self.code = code
        self.subcode = subcode
        self.reason = reason


class CallRefused(Exception):
    """A charge point answered a JSON central system with a CALLERROR (OCPP-J 1.6, 4.2.3)."""

    def __init__(self, code: str, description: str, details: dict[str, Any]) -> None:
        super().__init__(f"{code}: {description}" if description else code)
        self.code = code
        self.description = description
        self.details = details


class Unanswered(Exception):
    """No usable answer came: no connection, closed without an answer, too late, or not OCPP."""

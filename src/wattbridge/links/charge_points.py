"""What the configuration says of a charge point, and whether a credential is its own."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from wattbridge.links.handling import USUAL, Boot, Handling
from wattbridge.ocpp.actions import Dialect
from wattbridge.relay.session import Session


@dataclass(frozen=True, slots=True)
class ChargePoint:
    """What the configuration says of one charge point.

    ``dialect`` reads and writes its messages. ``callback_url`` pins the address where it is called by SOAP,
    ``to`` is what it wants to read in wsa:To (some answer only to exactly their own URL). ``password`` is
    what it has to present, its AuthorizationKey; None: nothing. The rest is about its WebSocket: pings every
    ``ping_interval`` seconds (None: never), each answered within ``ping_timeout``; after ``unanswered`` calls
    in a row without an answer it is cut off (0: never); ``subprotocol_required`` says whether it must name
    the subprotocol. ``handling`` is what its profile says.
    """

    dialect: Dialect
    callback_url: str | None = None
    to: str | None = None
    password: bytes | None = None
    ping_interval: float | None = 60.0
    ping_timeout: float | None = 30.0
    unanswered: int = 3
    subprotocol_required: bool = False
    handling: Handling = USUAL
    # Whether payloads may pass as they are between it and a party that speaks the same.
    passes: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "passes", self.dialect.options.rules is None)

    def tell(self, session: Session) -> None:
        """Say on the session of the charge point what its profile says of it."""
        session.profile, session.answered_here = self.handling.profile, self.handling.answered_here


# Gives what is configured for an identity that speaks from an address through a listener; None when it is
# not to be served: ``admit(identity, source, listener)``.
Admit = Callable[[str, str, str], ChargePoint | None]
# The same for one that was let in and has just said what it is: ``hear(identity, source, listener, boot)``.
Hear = Callable[[str, str, str, Boot], ChargePoint | None]


class Once:
    """Remembers of whom something was told, so that it is told once; of the latest *most*."""

    def __init__(self, most: int = 20_000) -> None:
        self._most = most
        self._told: dict[str, None] = {}

    def first(self, identity: str) -> bool:
        """Whether it was not told of *identity* before."""
        if identity in self._told:
            return False
        self._told[identity] = None
        if len(self._told) > self._most:
            del self._told[next(iter(self._told))]
        return True


def presents(authorization: str | None, identity: str, password: bytes | None) -> bool:
    """Whether the value of an Authorization header is the credential of *identity*.

    The AuthorizationKey is bytes, often written as hexadecimal digits; half of the field sends the digits
    themselves. So a key counts in both forms, whichever of them was configured (OCPP-J 1.6, 6.2.2). The user
    name is the identity; what follows it and a colon is the password, and both may hold colons: a MAC address
    is an identity in the field, though RFC 7617 (2) has no room for it.
    """
    if password is None:
        return True
    scheme, _, encoded = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        credential = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return False
    username = identity.encode() + b":"
    right = hmac.compare_digest(credential[: len(username)], username)
    presented = credential[len(username) :]
    # Every form is compared, so that the time tells nothing of which one was close.
    matches = [hmac.compare_digest(theirs, ours) for theirs in _forms(presented) for ours in _forms(password)]
    return any(matches) and right


def _forms(key: bytes) -> list[bytes]:
    """A key as it is, and as the bytes its hexadecimal digits stand for."""
    forms = [key]
    if len(key) >= 32 and len(key) % 2 == 0:
        with suppress(ValueError):
            forms.append(bytes.fromhex(key.decode("ascii")))
    return forms

"""How a charge point is handled besides its payloads, as its profile says; and what it tells of its make.

That has to be known before the message that tells it can be read by the rules of the profile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from sys import intern
from typing import Any, Literal, NamedTuple

from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call
from wattbridge.ocpp.payloads import Element, local_name
from wattbridge.relay.offline import SAFE_TO_REPEAT
from wattbridge.relay.session import Answer

LONGEST = 255  # characters of a vendor, model or firmware that are looked at
# Reasons after which a call may reach the charge point at another time.
PASSING = frozenset({"refused", "unreachable", "timeout"})

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Handling:
    """What a profile says of a charge point besides its payloads.

    ``profile`` is its name. ``sender`` is the form of wsa:From in calls to it, ``reply_to`` and
    ``must_understand`` whether these are there; with ``to_is_from`` wsa:To is the address it gives itself.
    ``fault_status`` is the HTTP status of faults it is answered with (None: as SOAP has it).
    ``call_timeout`` (seconds) is how long its replies may take (None: as long as all others'); a call that
    did not reach it is tried ``retries`` more times, each ``retry_after`` seconds later. ``answered_here``
    are actions it is not asked for. ``subprotocols`` are names that mean OCPP 1.6 when it says them.
    """

    profile: str = ""
    sender: Literal["address", "text", "none"] = "address"
    reply_to: bool = True
    must_understand: bool = True
    to_is_from: bool = False
    fault_status: int | None = None
    call_timeout: float | None = None
    retries: int = 0
    retry_after: float = 1.0
    answered_here: frozenset[str] = frozenset()
    subprotocols: tuple[str, ...] = ()


USUAL = Handling()


class Boot(NamedTuple):
    """What a BootNotification says of the make of its charge point; "" where it says nothing."""

    vendor: str
    model: str
    firmware: str


_FIELDS = {"chargepointvendor": 0, "chargepointmodel": 1, "firmwareversion": 2}


def boot_of_payload(payload: Any) -> Boot:
    """What the payload of a frame says, whatever else is wrong with it."""
    return _boot(payload.items() if isinstance(payload, dict) else ())


def boot_of_element(element: Element) -> Boot:
    """What the element of an envelope says, whatever else is wrong with it."""
    return _boot((local_name(child), child.text) for child in element.iterchildren("{*}*"))


def _boot(found: Iterable[tuple[Any, Any]]) -> Boot:
    told = ["", "", ""]
    for name, value in found:
        place = _FIELDS.get(str(name).lower())
        if place is not None and isinstance(value, str | int | float) and not told[place]:
            told[place] = intern(str(value).strip()[:LONGEST])  # a fleet is of few makes
    return Boot(*told)


async def repeated(
    call: Call,
    handling: Handling,
    ask: Callable[[Call], Awaitable[Answer]],
    sleep: Sleep = asyncio.sleep,
) -> Answer:
    """*ask* a charge point, and again as often as its profile says.

    What may have reached it is asked again only when that changes nothing. Raises Unreachable and Violation,
    as *ask* does.
    """
    for _ in range(handling.retries):
        try:
            return await ask(call)
        except Unreachable as gone:
            surely_unheard = gone.asked is None or call.action in SAFE_TO_REPEAT
            if gone.reason not in PASSING or not surely_unheard:
                raise
        await sleep(handling.retry_after)
    return await ask(call)

"""One charge point and its central system: ``Session.relay`` carries a call across and its reply back.

A session knows no transport. Its two links know how each party is reached; each keeps to one CALL at a
time in its direction, and registers its correlation before it sends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wattbridge.ocpp.differences import answered_here
from wattbridge.ocpp.errors import Unreachable, Violation
from wattbridge.ocpp.messages import Call, CallError, CallResult, Passage, Reply, Side
from wattbridge.relay.journal import Journal, Record

# The messages a charge point must deliver, sooner or later (OCPP 1.6, 3.7.1).
TRANSACTION_ACTIONS = frozenset({"StartTransaction", "StopTransaction", "MeterValues"})
# Reasons after which the other party may still get the message, later.
UNDELIVERED = frozenset({"timeout", "unreachable", "refused", "not_connected", "busy", "draining"})


def still_deliverable(action: str, reply: Reply) -> bool:
    """Whether an error reply would make a charge point give up a message that could yet be delivered.

    A fault tells it that the message is bad (OCPP 1.6 errata 3.2; OCPP 1.5, 8.2); left without any answer, it
    keeps a transaction message and sends it again.
    """
    return isinstance(reply, CallError) and reply.reason in UNDELIVERED and action in TRANSACTION_ACTIONS


@dataclass(frozen=True, slots=True)
class Answer:
    """What a link brings back from its party."""

    reply: Reply
    asked: Passage  # the call as it was written to the party
    answered: Passage | None  # the reply as it was read; None when none came


class Link(Protocol):
    """How one party is reached."""

    transport: str

    async def call(self, call: Call) -> Answer:
        """Ask the party and bring back its answer.

        Raises Unreachable when it cannot be asked or does not answer in time, Violation when the call
        cannot be written in its encoding.
        """
        ...

    async def close(self, reason: str) -> None:
        """Let the exchange in flight finish, then let go of the party."""
        ...


class NoLink:
    """Stands where no link is attached: the party was never heard of."""

    transport = ""

    def __init__(self, description: str) -> None:
        self.description = description

    async def call(self, call: Call) -> Answer:
        raise Unreachable("not_connected", self.description)

    async def close(self, reason: str) -> None:
        return None


class Session:
    """One charge point and its central system, as long as the charge point speaks."""

    def __init__(
        self,
        identity: str,
        journal: Journal,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.identity = identity
        self.links: dict[Side, Link] = {
            Side.CHARGE_POINT: NoLink(f"charge point {identity} has not been heard of"),
            Side.CENTRAL_SYSTEM: NoLink(f"no central system for charge point {identity}"),
        }
        self.heard = clock()  # when the charge point last spoke
        self.heartbeat_interval: float | None = None  # seconds, from BootNotification.conf
        self.calls_in_flight = 0
        self._journal = journal
        self._clock = clock
        self._wall_clock = wall_clock

    def attach(self, side: Side, link: Link) -> None:
        self.links[side] = link

    async def relay(
        self, call: Call, arrived: Passage, arrived_from: Side, write: Callable[[Reply], Passage]
    ) -> tuple[Reply, Passage]:
        """Carry *call* to the other side and bring back the reply.

        ``arrived`` is the call as it was read, ``write`` gives the reply the form its asker understands
        and never raises. Returns the reply and what ``write`` made of it; the record is written by then.
        """
        began, wall = self._clock(), self._wall_clock()
        if arrived_from is Side.CHARGE_POINT:
            self.heard = began
        self.calls_in_flight += 1
        asked = answered = None
        try:
            here = answered_here(call)
            if here is not None:
                reply: Reply = here
            else:
                answer = await self.links[arrived_from.other].call(call)
                reply, asked, answered = answer.reply, answer.asked, answer.answered
        except Unreachable as gone:
            reply = CallError("GenericError", gone.description, reason=gone.reason)
        except Violation as broken:
            reply = CallError(broken.code, str(broken), {"path": broken.path}, reason="untranslatable")
        finally:
            self.calls_in_flight -= 1
        answered_at = self._clock()
        if answered is not None and arrived_from is Side.CENTRAL_SYSTEM:
            self.heard = answered_at
        if isinstance(reply, CallResult) and call.action == "BootNotification":
            self._learn_heartbeat_interval(reply)
        replied = write(reply)
        self._journal.record(
            Record(
                identity=self.identity,
                arrived_from=arrived_from,
                action=call.action,
                payload=call.payload,
                reply=reply,
                began=wall,
                seconds=self._clock() - began,
                peer_seconds=answered_at - began,
                arrived=arrived,
                asked=asked,
                answered=answered,
                replied=replied,
            )
        )
        return reply, replied

    def _learn_heartbeat_interval(self, accepted: CallResult) -> None:
        interval = accepted.payload.get("interval", 0)
        if isinstance(interval, int) and interval > 0:
            self.heartbeat_interval = float(interval)

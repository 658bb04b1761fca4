"""How a charge point delivers the messages of its transactions: in order, again and again, until it gives up.

The rules of OCPP 1.6 edition 2, 3.7 and 3.7.1, of OCPP-S 1.6 errata, 3.1 and 3.2, and of OCPP 1.6 errata,
3.18; with ``once`` those of OCPP 1.5, 8.2. Knows no clock and no connection: whoever has both asks ``next``
what is to be said, and tells the queue what came of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

Payload = dict[str, Any]

NEVER_TOLD = -1  # the transactionId of a transaction whose StartTransaction.conf never came (errata, 3.18)
HEARTBEAT: tuple[str, Payload] = ("Heartbeat", {})


class Outcome(Enum):
    """How a call ended that got no answer with a result."""

    FAILED = "the central system has failed to process it: a CALLERROR, a fault, an HTTP error status"
    UNANSWERED = "no answer came, or the connection was closed"


class Begun(Protocol):
    """A transaction, as far as its messages know it."""

    transaction_id: int


@dataclass(eq=False, slots=True)
class Message:
    """A message of a transaction; ``answer`` is the payload of its .conf, once that has come."""

    action: str
    payload: Payload
    transaction: Begun
    failures: int = 0  # those that count
    answer: Payload | None = None

    def write(self) -> Payload:
        """Its payload, with the transactionId, where it has one, as that is known by now."""
        if "transactionId" not in self.payload:
            return dict(self.payload)
        return self.payload | {"transactionId": self.transaction.transaction_id}


@dataclass(slots=True)
class Counts:
    """What became of the messages: ``sent`` counts each time one was sent, the first three its outcomes."""

    acknowledged: int = 0
    failed: int = 0
    unanswered: int = 0
    discarded: int = 0
    sent: int = 0
    queued: int = 0


@dataclass(slots=True)
class TransactionQueue:
    """The messages that the central system has not acknowledged, the oldest first.

    ``attempts`` is TransactionMessageAttempts, ``retry`` TransactionMessageRetryInterval (seconds). With
    ``probes`` a failure is the message's own only when a Heartbeat is answered right after it (OCPP-S errata,
    3.2); without, each one is. With ``once`` the first failure is the last: what was refused should not be
    said again (OCPP 1.5, 8.2). ``on_acknowledged`` and ``on_discarded`` hear of messages that leave.
    """

    attempts: int = 3
    retry: float = 60.0
    probes: bool = True
    once: bool = False
    on_acknowledged: Callable[[Message], None] = lambda message: None
    on_discarded: Callable[[Message], None] = lambda message: None
    messages: deque[Message] = field(default_factory=deque)
    _counts: Counts = field(default_factory=Counts)
    _due: float = 0.0
    _probing: bool = False

    @property
    def counts(self) -> Counts:
        self._counts.queued = len(self.messages)
        return self._counts

    @property
    def due(self) -> float | None:
        """When the next call is to be made; None when nothing waits."""
        return self._due if self.messages else None

    def add(self, action: str, payload: Payload, transaction: Begun) -> Message:
        """Queue a message behind all others, also that of a new transaction (OCPP 1.6 edition 2, 3.7)."""
        message = Message(action, payload, transaction)
        self.messages.append(message)
        return message

    def connected(self, now: float) -> None:
        """The connection has come back: nothing is waited for that only it was missing for."""
        if self.messages and not self.messages[0].failures:
            self._due = now

    def next(self, now: float) -> tuple[str, Payload] | None:
        """Action and payload of the call to make now, None when there is none; ``told`` must follow."""
        if not self.messages or now < self._due:
            return None
        if self._probing:
            return HEARTBEAT
        self._counts.sent += 1
        return self.messages[0].action, self.messages[0].write()

    def told(self, outcome: Payload | Outcome, now: float) -> None:
        """What came of the last call: the payload of its answer, or what there was instead."""
        message = self.messages[0]
        if self._probing:
            self._probing = False
            self._failed(message, now, its_own=not isinstance(outcome, Outcome))
        elif outcome is Outcome.FAILED:
            self._counts.failed += 1
            self._probing = self.probes and not self.once
            if not self._probing:
                self._failed(message, now, its_own=True)
        elif outcome is Outcome.UNANSWERED:  # which says nothing of the message
            self._counts.unanswered += 1
            self._due = now + self.retry
        else:
            self._leave(message, now)
            self._counts.acknowledged += 1
            message.answer = outcome
            if message.action == "StartTransaction":
                message.transaction.transaction_id = outcome["transactionId"]
            self.on_acknowledged(message)

    def _failed(self, message: Message, now: float, *, its_own: bool) -> None:
        """The central system would not have it: that is *its own* fault, or the central system is away."""
        if its_own:
            message.failures += 1
        if message.failures < self.attempts and not self.once:
            self._due = now + self.retry * max(1, message.failures)
            return
        self._leave(message, now)
        self._counts.discarded += 1
        self.on_discarded(message)

    def _leave(self, message: Message, now: float) -> None:
        self.messages.remove(message)
        self._due = now

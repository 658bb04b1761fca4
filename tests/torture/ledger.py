"""What both parties wrote down, in the order in which it happened.

Every message has a mark that no gateway changes: a reading of the meter, which only grows, or a text in
``info``; those without one are counted. By it one message is known on both sides, whatever becomes of its
ids. What follows from the books is told by ``invariants``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.torture.older import as_meant, is_counted

Payload = dict[str, Any]

TRANSACTION_ACTIONS = ("StartTransaction", "MeterValues", "StopTransaction")
# Notifications whose content comes again, so that only their number can be compared.
COUNTED_ACTIONS = ("FirmwareStatusNotification", "DiagnosticsStatusNotification")


Key = tuple[str, str, str]  # identity, action, mark


def has_no_mark(key: Key) -> bool:
    """Whether messages of the same key are many."""
    return key[1] in COUNTED_ACTIONS or is_counted(key[0], key[1])


def mark(action: str, payload: Payload) -> str:
    """What tells this message from all others of its charge point and action."""
    match action:
        case "StartTransaction":
            return str(payload["meterStart"])
        case "StopTransaction":
            return str(payload["meterStop"])
        case "MeterValues":
            return str(payload["meterValue"][0]["sampledValue"][0]["value"])
        case "StatusNotification":
            return str(payload.get("info", f"{payload['connectorId']} {payload['status']}"))
    return str(payload["status"])


@dataclass(eq=False, slots=True)
class Transaction:
    """One transaction as its charge point knows it; ``told`` are the ids it was given, usually one.

    It is ``unknown`` when its StartTransaction was refused for good: nothing more is said of it.
    """

    identity: str
    connector_id: int
    meter_start: int
    told: list[int] = field(default_factory=list)
    stopped: bool = False
    remote_stop: bool = False
    unknown: bool = False

    def __str__(self) -> str:
        return f"transaction from {self.meter_start} Wh"


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply that a charge point got."""

    moment: int
    payload: Payload


@dataclass(eq=False, slots=True)
class Sent:
    """A message of a charge point; its payload is without transactionId, which belongs to ``transaction``.

    One that is ``dropped`` was refused to a charge point of before 1.6, and is never sent again.
    """

    moment: int
    identity: str
    action: str
    payload: Payload
    transaction: Transaction | None = None
    tries: int = 0
    answers: list[Answer] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    dropped: bool = False

    @property
    def key(self) -> Key:
        return self.identity, self.action, mark(self.action, self.payload)

    @property
    def content(self) -> Payload:
        return as_meant(self.identity, self.action, self.payload)


@dataclass(eq=False, slots=True)
class Arrival:
    """A CALL as the central system got it; the same message id again is the same CALL, and counted in
    ``again``. ``given`` is the transaction id it was answered with."""

    moment: int
    identity: str
    message_id: str
    action: str
    payload: Payload
    given: int | None = None
    again: int = 0

    @property
    def key(self) -> Key:
        return self.identity, self.action, mark(self.action, self.content)

    @property
    def content(self) -> Payload:
        content = {name: value for name, value in self.payload.items() if name != "transactionId"}
        return as_meant(self.identity, self.action, content)


@dataclass(eq=False, slots=True)
class Asked:
    """A call of the central system. ``outcome`` is "", "result", "error", "gone" (with the connection),
    "not sent" (OCPP-S only: there was no connection for it) or "unanswered"; ``arrival`` is the
    StartTransaction of the transaction it is about."""

    moment: int
    identity: str
    action: str
    payload: Payload
    arrival: Arrival | None = None
    outcome: str = ""
    reply: Payload = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Heard:
    """A call as a charge point got it."""

    moment: int
    identity: str
    action: str
    payload: Payload


@dataclass(slots=True)
class Ledger:
    """Both books. A moment is a number that grows with each entry of either."""

    transactions: list[Transaction] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    reused: list[tuple[Arrival, Payload]] = field(default_factory=list)  # a message id with other content
    asked: list[Asked] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    events: list[tuple[int, float, str]] = field(default_factory=list)  # moment, seconds, what happened
    began: float = field(default_factory=time.monotonic)
    last_moment: int = 0

    def moment(self) -> int:
        self.last_moment += 1
        return self.last_moment

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def note(self, text: str) -> None:
        """Note a fault, or another thing that helps to understand the books."""
        self.events.append((self.moment(), self.seconds, text))

    def lines_of(self, identity: str) -> Iterator[str]:
        """Everything about one charge point and all faults, in order, for people."""
        lines = [(moment, f"    -- {seconds:.2f} s: {text}") for moment, seconds, text in self.events]
        for sent in self.sent:
            if sent.identity == identity:
                about = f" ({sent.transaction})" if sent.transaction else ""
                name = f"{sent.action} {sent.key[2]}"
                lines.append((sent.moment, f"made {sent.action} {sent.payload}{about}, {sent.tries} tries"))
                lines += [(answer.moment, f"  answered {name}: {answer.payload}") for answer in sent.answers]
        for arrival in self.arrivals:
            if arrival.identity == identity:
                about = f", given {arrival.given}" if arrival.given is not None else ""
                about += f", {arrival.again} times again" if arrival.again else ""
                text = f"{arrival.message_id} {arrival.action} {arrival.payload}{about}"
                lines.append((arrival.moment, f"  ▶ central system {text}"))
        for asked in self.asked:
            if asked.identity == identity:
                text = f"{asked.action} {asked.payload}: {asked.outcome} {asked.reply}"
                lines.append((asked.moment, f"central system asks {text}"))
        for heard in self.heard:
            if heard.identity == identity:
                lines.append((heard.moment, f"  ▶ charge point {heard.action} {heard.payload}"))
        yield from (f"{moment:>7} {line}" for moment, line in sorted(lines))

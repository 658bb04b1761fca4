"""One record per exchange, handed to every listener: metrics, log, live view, message history.

Nothing else in the gateway counts or prints. What is not an exchange (a session opened, a reply that came
too late) is an event; it goes the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from wattbridge.ocpp.messages import CallError, Loss, Note, Passage, Payload, Reply, Side
from wattbridge.relay.tracing import Trace, Tracing

_log = logging.getLogger(__name__)

AskedBy = Literal["", "operator"]
How = Literal["", "kept", "offline", "repeat", "local"]


@dataclass(frozen=True, slots=True)
class Record:
    """One exchange: a call, its reply, and how both looked on each border.

    ``action`` is empty when the message could not be read that far. ``began`` is when the call arrived, in
    seconds since the epoch; ``seconds`` what the calling party waited from then on, ``peer_seconds`` how
    long the asked party had the call, ``delay_seconds`` how long before that there was no connection to ask
    it on. The rest is the gateway's own time.
    ``asked`` is None when the other party was never asked, ``answered`` when it never answered. ``replied``
    is empty when the calling party was left without an answer. ``how`` tells where the reply comes from when
    it is not from the other party: ``kept`` when the message waits in the outbox, ``offline`` when the
    gateway answers for a central system that is away, ``local`` when it answers what the other party has no
    operation or no words for, ``repeat`` when it was given before. ``asked_by`` is ``operator`` when one has
    asked in the place of the central system, and ``upstream`` is empty then.
    """

    identity: str
    arrived_from: Side
    action: str
    payload: Payload | None
    reply: Reply
    began: float
    seconds: float
    peer_seconds: float
    arrived: Passage
    asked: Passage | None
    answered: Passage | None
    replied: Passage
    source: str = ""  # the address it came from, where no session vouches for it
    known_as: str = ""  # what the central system calls the charge point
    route: str = ""
    upstream: str = ""  # the central system, by its name in the configuration
    other_transport: str = ""  # of the asked party
    version: str = "1.6"  # of OCPP, that the calling party speaks
    other_version: str = "1.6"  # and the asked one
    profile: str = ""  # of the charge point
    how: How = ""
    address: str = ""  # of the charge point, as its session knows it
    read_seconds: float = 0.0  # from the call's arrival until it was understood
    write_seconds: float = 0.0  # from the reply's coming until it was written
    listener: str = ""  # by which the charge point is heard, or the call came that was refused
    trace: Trace | None = None  # of the exchange, where the gateway traces
    delay_seconds: float = 0.0
    asked_by: AskedBy = ""

    @property
    def own_seconds(self) -> float:
        """What the gateway itself took for it."""
        return max(0.0, self.seconds - self.peer_seconds - self.delay_seconds)

    @property
    def reason(self) -> str:
        """The word for why it failed (``reasons.REASONS``), empty when it did not."""
        return self.reply.reason if isinstance(self.reply, CallError) else ""

    @property
    def notes(self) -> tuple[Note, ...]:
        """What was changed or lost, in the order of the message's walk."""
        asked = self.asked.notes if self.asked else ()
        answered = self.answered.notes if self.answered else ()
        return self.arrived.notes + asked + answered + self.replied.notes

    @property
    def losses(self) -> tuple[Loss, ...]:
        return tuple(note for note in self.notes if isinstance(note, Loss))


@dataclass(frozen=True, slots=True)
class Event:
    """Something the operator may want to know that is no exchange.

    ``kind`` is a word of a closed set: ``administered`` (by an
    operator, says the label ``who``), ``session opened``, ``session closed``,
    ``session not restored``, ``sign-in refused`` (to the admin API), ``route changed``,
    ``route kept`` (the new one leads nowhere), ``name taken``, ``mirror dropped``, ``mirror refused``,
    ``charge point connected``, ``charge point disconnected``, ``central system connected``,
    ``central system lost``, ``central system left`` (closed by us), ``central system unreachable``,
    ``central system answers`` (again), ``central system out of service``, ``central system in service``
    (again, says the operator; the label ``who`` is which), ``fail-over``, ``fail-back``,
    ``callback address``, ``connection opened``, ``connection refused``, ``connection cut off``,
    ``request refused``, ``wrong address``, ``no subprotocol``, ``late reply``, ``answer not delivered``,
    ``unknown reply``, ``repeated call``, ``reused message id``, ``malformed message``, ``internal error``,
    ``message kept``, ``message delivered`` (late), ``message parked``, ``message expired``,
    ``message dropped`` (by the operator), ``repeated message``, ``transaction renumbered`` (by the gateway
    or the operator, says the label ``by``),
    ``transaction refused``, ``transaction not stopped``, ``charging stopped``, ``store broken``,
    ``store works`` (again), ``sent in its place`` (a message of a charge point, by the gateway),
    ``envelope refused`` (by a SOAP central system, which blames the gateway), ``version changed`` (of OCPP,
    that a charge point speaks),
    ``database set aside``, ``nothing is kept`` (in a store in memory), ``messages
    wait`` (at the start), ``records dropped`` (by a reader that is too slow; the labels ``sink`` and
    ``count`` say by which, and how many).
    ``internal error`` is told while the exception is being handled: a listener can show where it came from.
    """

    kind: str
    identity: str = ""
    text: str = ""
    reason: str = ""
    labels: dict[str, str] = field(default_factory=dict)


RecordListener = Callable[[Record], None]
CommitListener = Callable[[float, int], None]
LookUpListener = Callable[[float], None]
EventListener = Callable[[Event], None]


class Journal:
    """Hands every record and event to its listeners, in the order they were added.

    ``in_flight`` counts the calls under way, by the party that asked. ``tracing`` begins the trace of
    each exchange; None where none is traced.
    A listener that fails keeps nobody else from listening, and costs no exchange: what one does on a record
    is told as an event, and on an event to the standard library's logging.
    """

    def __init__(self) -> None:
        self.in_flight = {Side.CHARGE_POINT: 0, Side.CENTRAL_SYSTEM: 0}
        self.tracing: Tracing | None = None
        self._record_listeners: list[RecordListener] = []
        self._event_listeners: list[EventListener] = []
        self._commit_listeners: list[CommitListener] = []
        self._look_up_listeners: list[LookUpListener] = []

    def listen(
        self,
        record: RecordListener | None = None,
        event: EventListener | None = None,
        commit: CommitListener | None = None,
        look_up: LookUpListener | None = None,
    ) -> None:
        if record is not None:
            self._record_listeners.append(record)
        if event is not None:
            self._event_listeners.append(event)
        if commit is not None:
            self._commit_listeners.append(commit)
        if look_up is not None:
            self._look_up_listeners.append(look_up)

    def committed(self, seconds: float, rows: int) -> None:
        """The store has made so many rows durable, and took so many seconds for it."""
        for listener in self._commit_listeners:
            listener(seconds, rows)

    def looked_up(self, seconds: float) -> None:
        """Something was looked for in the store, and that took so many seconds."""
        for listener in self._look_up_listeners:
            listener(seconds)

    def record(self, record: Record) -> None:
        for listener in self._record_listeners:
            try:
                listener(record)
            except Exception as bug:
                text = f"{record.action}: a listener of the journal failed: {bug!r}"
                self.event(Event("internal error", record.identity, text, "internal"))

    def event(self, event: Event) -> None:
        for listener in self._event_listeners:
            try:
                listener(event)
            except Exception:
                _log.exception("a listener of the journal failed on %s of %r", event.kind, event.identity)

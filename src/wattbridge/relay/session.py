"""One charge point and its central system: ``Session.relay`` carries a call across and its reply back.

A session knows no transport. Its two links know how each party is reached; each keeps to one CALL at a
time in its direction, and registers its correlation before it sends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from wattbridge.ocpp import local_answers, ocppj, security_extension
from wattbridge.ocpp.actions import in_words_of_soap
from wattbridge.ocpp.differences import answered_here
from wattbridge.ocpp.errors import Unreachable, Violation
from wattbridge.ocpp.local_answers import LocalAnswer
from wattbridge.ocpp.messages import Call, CallError, CallResult, Check, Note, Passage, Reply, Side
from wattbridge.ocpp.older import NEWEST, UNKNOWN, Connector, asks_for_connector, understood
from wattbridge.ocpp.security_extension import ExpectedLog
from wattbridge.relay.journal import AskedBy, How, Journal, Record
from wattbridge.relay.offline import SAFE_TO_REPEAT
from wattbridge.relay.tracing import Trace

# The messages a charge point must deliver, sooner or later (OCPP 1.6, 3.7.1).
TRANSACTION_ACTIONS = frozenset({"StartTransaction", "StopTransaction", "MeterValues"})
# Reasons after which the other party may still get the message, later. A mistake of ours is one of them: it
# must not cost a transaction.
UNDELIVERED = frozenset(
    {"timeout", "unreachable", "refused", "not_connected", "busy", "queue_full", "draining", "internal"}
)
# Answers with which a party has not spoken: whatever sits at its address does not know SOAP.
NOT_ITS_WORD = frozenset({"malformed", "too_large"})
# Refusals that are the other party's own.
ITS_WORD = frozenset({"call_error", "fault"})


def still_deliverable(action: str, reply: Reply) -> bool:
    """Whether an error reply would make a charge point give up a message that could yet be delivered.

    A fault tells it that the message is bad (OCPP 1.6 errata 3.2; OCPP 1.5, 8.2); left without any answer, it
    keeps a transaction message and sends it again.
    """
    return isinstance(reply, CallError) and reply.reason in UNDELIVERED and action in TRANSACTION_ACTIONS


def still_deliverable_after(action: str, reply: Reply) -> bool:
    """The same of a reply that was relayed: the login page of a proxy is not the central system's word."""
    return still_deliverable(action, reply) or (
        isinstance(reply, CallError) and reply.reason in NOT_ITS_WORD and action in TRANSACTION_ACTIONS
    )


def left_unanswered(action: str, reply: Reply, version: str) -> bool:
    """Whether a charge point that speaks *version* of OCPP-S gets no answer rather than this one.

    To 1.2 and 1.5 a fault says "never send this again" (OCPP 1.5, 8.2): a transaction message gets one only
    when the central system itself has refused it.
    """
    if still_deliverable_after(action, reply):
        return True
    is_old = version != NEWEST and action in TRANSACTION_ACTIONS
    return is_old and isinstance(reply, CallError) and reply.reason not in ITS_WORD


@dataclass(frozen=True, slots=True)
class Answer:
    """What a link brings back from its party.

    ``waited`` is for how many seconds the link waited: for its turn, for the reply; ``delay`` for how many
    before that it had no connection to ask on. The rest of the time that ``Link.call`` took is the gateway's
    own. ``how`` is as in ``Record``. ``notes`` tell what was lost where nothing was asked.
    """

    reply: Reply
    asked: Passage | None  # the call as it was written to the party; None when the gateway answers for it
    answered: Passage | None  # the reply as it was read; None when none came
    waited: float = field(default=0.0, compare=False)
    how: How = ""
    notes: tuple[Note, ...] = ()
    delay: float = field(default=0.0, compare=False)


class Link(Protocol):
    """How one party is reached.

    ``transport`` is ``"soap"`` or ``"json"``, ``version`` the version of OCPP that is spoken. ``form`` is the
    form of payloads that it can write as they are (``messages.Original``), ``""`` when there is none: because
    something has to be changed for this party.
    """

    @property
    def transport(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def form(self) -> str: ...

    async def call(self, call: Call) -> Answer:
        """Ask the party and bring back its answer.

        Raises Unreachable when it cannot be asked or does not answer in time, Violation when the call
        cannot be written in its encoding.
        """
        ...

    async def close(self, reason: str) -> None:
        """Let the exchange in flight finish, then let go of the party."""
        ...


class Connection(Link, Protocol):
    """A link to a charge point that keeps a connection."""

    async def is_alive(self, within: float) -> bool:
        """Whether the charge point answers a ping within so many seconds."""
        ...


class NoLink:
    """Stands where no link is attached: the party was never heard of."""

    transport = ""
    version = NEWEST
    form = ""

    def __init__(self, description: str) -> None:
        self.description = description

    async def call(self, call: Call) -> Answer:
        raise Unreachable("not_connected", self.description)

    async def close(self, reason: str) -> None:
        return None


class Delivers(Protocol):
    """What lies between a session and its central system: what it says reaches it, once (``delivery.py``).

    ``expected_log`` is what the next DiagnosticsStatusNotification tells of, where that is a log.
    """

    expected_log: ExpectedLog | None

    async def ask(self, call: Call) -> Answer: ...

    async def for_charge_point(self, call: Call) -> Call: ...

    async def connector(self, call: Call) -> Connector: ...

    async def stand_in_for(self, answer: LocalAnswer, call: Call) -> Reply | None: ...

    def configured(self, call: Call, reply: CallResult) -> None: ...

    async def notify(self, call: Call) -> Answer: ...


class Relays(Protocol):
    """Whom a link brings the calls of its party to: a session, or what stands in for one."""

    @property
    def identity(self) -> str: ...

    @property
    def known_as(self) -> str: ...

    @property
    def check(self) -> Check: ...

    def passes(self, arrived_from: Side, form: str) -> bool: ...

    async def relay(
        self,
        call: Call,
        arrived: Passage,
        arrived_from: Side,
        write: Callable[[Reply], Passage],
        began: float | None = None,
    ) -> tuple[Reply, Passage]: ...


class Session:
    """One charge point and its central system, as long as the charge point speaks.

    ``identity`` is what the charge point calls itself, ``known_as`` what its central system calls it.
    ``heard`` is when the charge point last spoke, on *clock*; ``heartbeat_interval`` (seconds) what the
    central system told it, None when that is not known. ``connection`` is that of a charge point that keeps
    one, ``gone`` when it was lost; None while there is one, or never was. ``check`` is what happens to
    messages that need no translation and break the schema. ``route`` and ``upstream`` are names of the
    configuration, ``upstreams`` those of two central systems of one route that do not know each other's
    transactions; ``profile`` is that of the charge point, ``answered_here`` are the actions it must not be
    asked for. ``security_as_data_transfer``: a SOAP central system gets the messages of the security
    extension as DataTransfer. ``listener``, ``source`` and ``callback`` are where it came from and how it is
    called, for a store to remember. Without a ``delivery`` nothing is.
    """

    # There is one for each charge point.
    __slots__ = (
        "_clock",
        "_journal",
        "_wall_clock",
        "after_relay",
        "answered_here",
        "before_relay",
        "callback",
        "calls_in_flight",
        "check",
        "connection",
        "delivery",
        "gone",
        "heard",
        "heartbeat_interval",
        "identity",
        "known_as",
        "links",
        "listener",
        "profile",
        "route",
        "security_as_data_transfer",
        "source",
        "until_free",
        "upstream",
        "upstreams",
    )

    def __init__(
        self,
        identity: str,
        journal: Journal,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.identity = identity
        self.known_as = identity
        self.check: Check = "report"
        self.route = ""
        self.upstream = ""
        self.upstreams: tuple[str, ...] = ()
        self.profile = ""
        self.answered_here: frozenset[str] = frozenset()
        self.security_as_data_transfer = False
        self.listener = ""
        self.source = ""
        self.callback = ""
        self.delivery: Delivers | None = None
        self.gone: float | None = None
        self.connection: Connection | None = None
        # Told of a charge point's call before it is relayed, and of what its central system answered.
        self.before_relay: Callable[[Call], None] | None = None
        self.after_relay: Callable[[Call, Reply], None] | None = None
        # Waits until no earlier link is connected with a central system, by its name, under ``known_as``.
        self.until_free: Callable[[str], Awaitable[None]] | None = None
        self.links: dict[Side, Link] = {
            Side.CHARGE_POINT: NoLink(f"charge point {identity} has not been heard of"),
            Side.CENTRAL_SYSTEM: NoLink(f"no central system for charge point {identity}"),
        }
        self.heard = clock()
        self.heartbeat_interval: float | None = None
        self.calls_in_flight = 0
        self._journal = journal
        self._clock = clock
        self._wall_clock = wall_clock

    def attach(self, side: Side, link: Link) -> None:
        self.links[side] = link

    def connect(self, connection: Connection) -> Link:
        """The charge point has a connection: it is there as long as that is.

        Returns the link that it takes the place of. Whoever closes that sends the calls that wait there on
        their way through the new one.
        """
        former = self.links[Side.CHARGE_POINT]
        self.links[Side.CHARGE_POINT] = self.connection = connection
        self.gone = None
        self.heard = self._clock()
        return former

    def disconnect(self, connection: Connection, why: str) -> None:
        """*connection* is gone. One that another has taken the place of touches nothing."""
        if self.connection is connection:
            self.connection = None
            self.gone = self._clock()
            away = f"charge point {self.identity} is not connected: {why}"
            self.links[Side.CHARGE_POINT] = NoLink(away)

    def passes(self, arrived_from: Side, form: str) -> bool:
        """Whether payloads of *form* go to the other party as they are."""
        return bool(form) and self.links[arrived_from.other].form == form

    async def relay(
        self,
        call: Call,
        arrived: Passage,
        arrived_from: Side,
        write: Callable[[Reply], Passage],
        began: float | None = None,
        asked_by: AskedBy = "",
    ) -> tuple[Reply, Passage]:
        """Carry *call* to the other side and bring back the reply.

        ``arrived`` is the call as it was read, ``began`` when its last byte had come, on the session's clock
        (now, when nobody knows better). ``write`` gives the reply the form its asker understands and never
        raises. ``asked_by`` is as in ``Record``. Returns the reply and what ``write`` made of it; the record
        is written by then.
        """
        now = self._clock()
        began = now if began is None else began
        if arrived_from is Side.CHARGE_POINT:
            self.heard = now
        reply: Reply
        asked = answered = None
        waited = delay = 0.0
        how: How = ""
        tracing = self._journal.tracing
        trace = tracing.begin() if tracing is not None else None
        self.calls_in_flight += 1
        self._journal.in_flight[arrived_from] += 1
        try:
            if arrived_from is Side.CHARGE_POINT and self.before_relay is not None:
                self.before_relay(call)
            here = answered_here(call, arrived.notes) if call.original is None else None
            if here is not None:
                reply = here
            else:
                if trace is not None:
                    trace.asked = self._clock() - began
                if arrived_from is Side.CENTRAL_SYSTEM:
                    answer = await self._ask_charge_point(call)
                else:
                    if call.original is None and asks_for_connector(call, self._spoken_by_charge_point):
                        call, notes = understood(call, await self._connector(call))
                        arrived = replace(arrived, notes=(*arrived.notes, *notes))
                    answer = await self._ask_central_system(call)
                reply, asked, answered, waited = answer.reply, answer.asked, answer.answered, answer.waited
                how, delay = answer.how, answer.delay
                if answer.notes:
                    arrived = replace(arrived, notes=(*arrived.notes, *answer.notes))
        except Unreachable as gone:
            details = {"uncertain": True} if gone.asked and arrived_from is Side.CENTRAL_SYSTEM else {}
            reply = CallError("GenericError", gone.description, details, reason=gone.reason)
            asked, waited = gone.asked, self._clock() - now
            waited, delay = (0.0, waited) if asked is None else (waited - gone.delay, gone.delay)
        except Violation as broken:
            reason = "unsupported" if broken.reason == "unsupported" else "untranslatable"
            reply = CallError(broken.code, str(broken), {"path": broken.path}, reason=reason)
        except asyncio.CancelledError:
            # The gateway is stopping and could wait no longer. Nobody is answered, but it has happened.
            reply = CallError("GenericError", "the gateway stopped before a reply came", reason="draining")
            times, unsaid = (0.0, self._clock() - now), Passage(arrived.transport, b"")
            passages = arrived, asked, answered, unsaid
            self._record(call, reply, arrived_from, began, times, passages, trace=trace, asked_by=asked_by)
            raise
        finally:
            self.calls_in_flight -= 1
            self._journal.in_flight[arrived_from] -= 1
            if tracing is not None and trace is not None:
                trace.answered = self._clock() - began
                tracing.end()
        if isinstance(reply, CallResult):
            if call.action in TELLING_ACTIONS:
                self.heartbeat_interval = told_heartbeat_interval(call, reply) or self.heartbeat_interval
                if self.delivery is not None and answered is not None:
                    self.delivery.configured(call, reply)
            elif call.action == "GetDiagnostics" and self.delivery is not None:
                self.delivery.expected_log = None  # what is uploaded now is no log that was asked for
            if arrived_from is Side.CENTRAL_SYSTEM and answered is not None:
                self.heard = self._clock()  # by its own word, and not by one that was said in its place
        elif (
            answered is not None and arrived_from is Side.CENTRAL_SYSTEM and reply.reason not in NOT_ITS_WORD
        ):
            self.heard = self._clock()
        came = self._clock()
        replied = write(reply)
        passages = arrived, asked, answered, replied
        times = waited, delay
        read = now - began
        self._record(
            call, reply, arrived_from, began, times, passages, how, trace, read, came, asked_by=asked_by
        )
        if arrived_from is Side.CHARGE_POINT and self.after_relay is not None and answered is not None:
            self.after_relay(call, reply)
        return reply, replied

    @property
    def _spoken_by_charge_point(self) -> str:
        return self.links[Side.CHARGE_POINT].version

    def _answered_here(self, asked: Side, action: str) -> tuple[LocalAnswer, str] | None:
        """The row by which the gateway answers itself, and the dialect that lacks the operation."""
        link = self.links[asked]
        dialect = f"{link.transport} {link.version}"
        row = local_answers.find(asked, dialect, action)
        return None if row is None else (row, dialect)

    async def _connector(self, call: Call) -> Connector:
        return await self.delivery.connector(call) if self.delivery is not None else UNKNOWN

    async def _ask_central_system(self, call: Call) -> Answer:
        here = self._answered_here(Side.CENTRAL_SYSTEM, call.action) if call.original is None else None
        if here is not None:
            return await self._answer_for_central_system(*here, call)
        if self.delivery is not None:
            return await self.delivery.ask(call)
        return await self.ask(Side.CENTRAL_SYSTEM, call)

    async def _answer_for_central_system(self, row: LocalAnswer, dialect: str, call: Call) -> Answer:
        """Confirm what the central system has no operation for, and carry it another way where that is wanted
        (``local_answers.TABLE``)."""
        reply = row.reply(dialect)
        if row.story != "data-transfer":
            return Answer(reply, None, None, how="local")
        if not self.security_as_data_transfer or dialect == "soap 1.2":
            return Answer(reply, None, None, how="local", notes=(local_answers.only_recorded(call),))
        other = security_extension.as_data_transfer(call, ocppj.write_payload(call.payload))
        if self.delivery is not None:
            carried = await self.delivery.notify(other)
        else:
            carried = await self.ask(Side.CENTRAL_SYSTEM, other)
        return replace(carried, reply=reply, how=carried.how or "local")

    async def _answer_for_charge_point(self, row: LocalAnswer, dialect: str, call: Call) -> Answer:
        """Answer what the charge point has no operation for (``local_answers.TABLE``)."""
        if row.story == "other-name":
            other, notes = in_words_of_soap(call)
            if isinstance(other, Call):
                answer = await self._ask_by_another_name(call, other)
                return replace(answer, notes=(*notes, *answer.notes))
            if other is not None:
                return Answer(other, None, None, how="local")
        reply = await self.delivery.stand_in_for(row, call) if self.delivery is not None else None
        return Answer(reply or row.reply(dialect), None, None, how="local")

    async def _ask_by_another_name(self, call: Call, other: Call) -> Answer:
        log, delivery = security_extension.log_asked_by(call), self.delivery
        if log is None or delivery is None:
            answer = await self._ask_charge_point(other)
            return replace(answer, reply=security_extension.reply_to(call, answer.reply))
        before = delivery.expected_log
        # Before it is asked: the first DiagnosticsStatusNotification may come before its answer.
        delivery.expected_log = before if log.once and before is not None else log
        accepted = False
        try:
            answer = await self._ask_charge_point(other)
            reply = security_extension.reply_to(call, answer.reply)
            accepted = isinstance(reply, CallResult) and reply.payload.get("status") == "Accepted"
        finally:
            if not accepted:
                delivery.expected_log = before
        return replace(answer, reply=reply)

    async def _ask_charge_point(self, call: Call) -> Answer:
        """Ask the charge point; where nobody knows whether it did what it was asked, say so.

        Only what changes nothing is asked a second time.
        """
        here = self._answered_here(Side.CHARGE_POINT, call.action)
        if call.action in self.answered_here:
            here = local_answers.kept_from(call.action), ""
        if here is not None:
            return await self._answer_for_charge_point(*here, call)
        if self.delivery is not None:
            call = await self.delivery.for_charge_point(call)
        try:
            return await self.ask(Side.CHARGE_POINT, call)
        except Unreachable as gone:
            if gone.asked is None:
                raise
            if gone.reason == "unreachable" and call.action in SAFE_TO_REPEAT:
                with suppress(Unreachable):
                    return await self.ask(Side.CHARGE_POINT, call)
            gone.description += "; it was sent, and whether the charge point has done it is uncertain"
            raise

    async def ask(self, side: Side, call: Call) -> Answer:
        """Ask through the link of *side*, and through the one that took its place while the call waited."""
        while True:
            link = self.links[side]
            try:
                return await link.call(call)
            except Unreachable as gone:
                if gone.asked is not None or self.links[side] is link:
                    raise

    def _record(
        self,
        call: Call,
        reply: Reply,
        arrived_from: Side,
        began: float,
        times: tuple[float, float],
        passages: tuple[Passage, Passage | None, Passage | None, Passage],
        how: How = "",
        trace: Trace | None = None,
        read: float = 0.0,
        came: float | None = None,
        *,
        asked_by: AskedBy = "",
    ) -> None:
        """Tell the journal. ``times`` are those that the other party had the call, and that there was no way
        to ask it. ``read`` is how long it took to understand the call, ``came`` when the reply was there.
        """
        arrived, asked, answered, replied = passages
        waited, delay = times
        now = self._clock()
        seconds = now - began
        self._journal.record(
            Record(
                identity=self.identity,
                known_as=self.known_as,
                route=self.route,
                upstream="" if asked_by else self.upstream,
                profile=self.profile,
                arrived_from=arrived_from,
                action=call.action,
                payload=call.payload,
                reply=reply,
                began=self._wall_clock() - seconds,
                seconds=seconds,
                peer_seconds=waited,
                arrived=arrived,
                asked=asked,
                answered=answered,
                replied=replied,
                other_transport=self.links[arrived_from.other].transport,
                version=self.links[arrived_from].version,
                other_version=self.links[arrived_from.other].version,
                how=how,
                address=self.source,
                read_seconds=read,
                write_seconds=0.0 if came is None else now - came,
                listener=self.listener,
                trace=trace,
                delay_seconds=delay,
                asked_by=asked_by,
            )
        )


# Whose results may tell how often the charge point sends a Heartbeat.
TELLING_ACTIONS = frozenset({"BootNotification", "ChangeConfiguration", "GetConfiguration"})


def told_heartbeat_interval(call: Call, result: CallResult) -> float | None:
    """The heartbeat interval (seconds) that *result* tells, or agrees to; None when it says nothing of it.

    Source: OCPP 1.6, 4.2 (BootNotification.conf) and 9.1.10 (HeartbeatInterval; keys in any letter case).
    """
    told: object = None
    if call.action == "BootNotification":
        told = result.payload.get("interval")
    elif call.action == "ChangeConfiguration":
        if result.payload.get("status") == "Accepted" and _is_heartbeat_interval(call.payload):
            told = call.payload.get("value")
    elif call.action == "GetConfiguration":
        keys = result.payload.get("configurationKey", ())
        told = next((key.get("value") for key in keys if _is_heartbeat_interval(key)), None)
    try:
        seconds = int(str(told))
    except ValueError:
        return None
    return float(seconds) if 0 < seconds <= LONGEST_INTERVAL else None


LONGEST_INTERVAL = 2**31 - 1  # seconds; xs:int ends here


def _is_heartbeat_interval(configuration_key: dict[str, object]) -> bool:
    return str(configuration_key.get("key", "")).lower() == "heartbeatinterval"

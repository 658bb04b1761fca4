"""SOAP central systems: calls CentralSystemService on them, serves ChargePointService to them.

The link posts the calls of one charge point; there is no connection that stands for it, so what the central
system knows of a charge point is what it was told, and the address where to call back. The service takes the
calls that come to that address, finds the session and answers with what ``Session.relay`` brings back.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal
from urllib.parse import quote, unquote

from wattbridge.links import bodies
from wattbridge.links.callbacks import Network
from wattbridge.links.central_system_json import LinkState
from wattbridge.links.http_client import AWAY_STATUSES, Address, KeptClient, NotSent, read_ip
from wattbridge.links.listener import HttpRequest, HttpResponse
from wattbridge.links.soap_service import SoapService, call_error, new_message_id, response
from wattbridge.ocpp import older, soap
from wattbridge.ocpp.actions import Dialect
from wattbridge.ocpp.errors import Unreachable, Violation, shown
from wattbridge.ocpp.messages import Call, CallError, CallResult, Passage, Reply, Side
from wattbridge.ocpp.times import date_time_text
from wattbridge.ocpp.tolerances import WSA_2004, WSA_2005
from wattbridge.relay.duty import Duty
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.registry import Registry
from wattbridge.relay.session import NOT_ITS_WORD, UNDELIVERED, Answer, Relays, Session
from wattbridge.relay.tracing import headers_to_send

SOAP_BY_VERSION = {"1.1": soap.SOAP_11, "1.2": soap.SOAP_12}
WSA_BY_DATE = {"2004/08": WSA_2004, "2005/08": WSA_2005}
# Failures that say nothing of the central system.
_OURS = frozenset({"busy", "draining", "too_large"})


@dataclass(frozen=True, slots=True)
class SoapLimits:
    """What one charge point may take of its central system."""

    waiting_timeout: float = 30.0  # seconds a call may wait for its turn
    max_waiting: int = 32  # calls that wait
    close_wait: float = 10.0  # seconds that what is in flight may take when the link is closed


USUAL_LIMITS = SoapLimits()


@dataclass(frozen=True, slots=True)
class SoapCentralSystem:
    """How one central system is reached, for all its charge points.

    ``{charger}`` in ``url``, ``callback_url``, ``to`` and ``username`` stands for the identity,
    percent-encoded in the first three. ``callback_url`` is where the central system calls the charge point
    (wsa:From), ``to`` what it wants to read in wsa:To: "" for the URL. ``password`` None sends no credential.
    """

    url: str
    callback_url: str
    name: str = "default"  # in events and descriptions
    to: str = ""
    username: str = "{charger}"
    password: bytes | None = None
    ocpp: Literal["1.2", "1.5", "1.6"] = "1.6"
    version: Literal["1.1", "1.2"] = "1.2"  # of SOAP
    addressing: Literal["2004/08", "2005/08"] = "2005/08"  # the date of the WS-Addressing namespace
    from_header: bool = True  # whether wsa:From is sent
    must_understand: bool = True  # whether Action and To have to be understood
    compression: bool = False  # gzip of what is sent
    probe_every: float = 10.0  # seconds between looks at one that cannot be reached
    limits: SoapLimits = USUAL_LIMITS

    def addressing_of(self, identity: str) -> soap.Addressing:
        """The header of calls of one charge point."""
        return soap.Addressing(
            identity,
            filled(self.to or self.url, identity),
            filled(self.callback_url, identity) if self.from_header else "",
            SOAP_BY_VERSION[self.version],
            WSA_BY_DATE[self.addressing],
            self.must_understand,
        )


def filled(url: str, identity: str) -> str:
    """*url* with the identity where it says ``{charger}``."""
    return url.replace("{charger}", quote(identity, safe=""))


class CentralSystemSoap:
    """The way to one charge point's SOAP central system.

    ``run`` goes on until ``close``. ``state`` is where it stands: ``open`` while nothing says otherwise,
    ``backoff`` when the central system could not be reached; ``on_state`` is called when that changes.
    ``unreachable_since`` is since when it cannot be reached, on *clock*; None while it can, or nobody tried.
    From then on *reachable* is asked now and then, or the next call tells that it is back. There is no
    connection, so what goes on while the operator lets it run dry (*duty*) is a link that ran before, for as
    long as it is answered.
    Raises ValueError for what is no URL.
    """

    transport = "soap"

    def __init__(
        self,
        session: Relays,
        dialect: Dialect,
        journal: Journal,
        central_system: SoapCentralSystem,
        client: KeptClient,
        *,
        duty: Duty | None = None,
        reachable: Callable[[], Awaitable[bool]] | None = None,
        on_state: Callable[[LinkState], None] = lambda state: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall_clock: Callable[[], float] = time.time,
        message_id: Callable[[], str] = new_message_id,
    ) -> None:
        self.state: LinkState = "connecting"
        self.unreachable_since: float | None = None
        self._session = session
        self._dialect = dialect.of(central_system.ocpp)
        self._journal = journal
        self._central_system = central_system
        self._client = client
        self._address = Address.of(filled(central_system.url, session.known_as))
        self._addressing = central_system.addressing_of(session.known_as)
        self._duty = duty or Duty()
        self._goes_on = False  # while it is drained
        self._reachable = reachable or partial(client.answers, self._address)
        self._on_state = on_state
        self._clock = clock
        self._sleep = sleep
        self._wall_clock = wall_clock
        self._message_id = message_id
        # One CALL at a time in this direction; calls of the central system may cross.
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0
        self._closing = ""
        self._closed = asyncio.Event()
        self._lost = asyncio.Event()  # set while it cannot be reached

    @property
    def version(self) -> str:
        """The version of OCPP it speaks."""
        return self._dialect.version

    @property
    def form(self) -> str:
        return soap.form_of(self._addressing.soap, self.version)

    @property
    def away(self) -> bool:
        """Whether it could not be reached when that was last tried, or must not be."""
        return self.unreachable_since is not None or self.held

    @property
    def held(self) -> bool:
        """Whether the operator does not want it to be called."""
        return not self._duty.is_ready and not self._goes_on

    async def call(self, call: Call) -> Answer:
        """Post one call and read the answer.

        A call that went out is never sent again: nobody knows whether it was read. What an older version of
        OCPP has no words for is confirmed here.
        Raises Unreachable, its ``asked`` None when nothing went out, and Violation when SOAP cannot say the
        call.
        """
        self._open_for(call)
        if call.original is None and (untold := older.untold(call, self.version)) is not None:
            return Answer(untold[0], None, None, how="local", notes=untold[1])
        turn = await self._turn(call)
        try:
            self._open_for(call)
            answer = await self._post(call)
        finally:
            self._one_at_a_time.release()
        return replace(answer, waited=answer.waited + turn) if turn else answer

    async def _turn(self, call: Call) -> float:
        """Wait for the calls before this one; returns for how many seconds."""
        if not self._waiting and not self._one_at_a_time.locked():
            await self._one_at_a_time.acquire()
            return 0.0
        limits = self._central_system.limits
        if self._waiting >= limits.max_waiting:
            raise Unreachable("busy", f"{self._waiting} calls wait already; {call.action} was not sent")
        began = self._clock()
        self._waiting += 1
        try:
            async with asyncio.timeout(limits.waiting_timeout):
                await self._one_at_a_time.acquire()
        except TimeoutError:
            problem = f"{call.action} was not sent: the calls before it took {limits.waiting_timeout:g} s"
            raise Unreachable("busy", problem) from None
        finally:
            self._waiting -= 1
        return self._clock() - began

    def _open_for(self, call: Call) -> None:
        if self._closing:
            raise Unreachable("draining", f"{self._closing}; {call.action} was not sent")
        if self.held:
            raise self._unreachable("not_connected", f"it {self._duty.why}")

    async def _post(self, call: Call) -> Answer:
        written = soap.write_call(
            call, self._addressing, self._dialect, Side.CENTRAL_SYSTEM, self._message_id_of(call)
        )
        asked = Passage("soap", written.body, written.notes)
        body, headers = written.body, self._credential() | headers_to_send()
        if self._central_system.compression:
            body, headers["Content-Encoding"] = bodies.encode_gzip(body), "gzip"
        sent = self._clock()
        soap_action = written.soap_action.strip('"') or None
        try:
            answer = await self._client.post(
                self._address, body, written.content_type, soap_action, headers=headers
            )
        except Unreachable as gone:
            if gone.reason not in _OURS:
                self._failed(gone.reason, gone.description)
            unreachable = self._unreachable(gone.reason, gone.description)
            unreachable.asked = None if isinstance(gone, NotSent) else asked
            raise unreachable from None
        waited = self._clock() - sent
        passing = call.original is not None and call.original.form == self.form
        reply, notes = soap.read_reply(
            answer.status,
            answer.content_type,
            answer.body,
            self._dialect.operation(Side.CENTRAL_SYSTEM, call.action),
            form=self.form if passing else "",
            check=self._session.check,
        )
        if isinstance(reply, CallResult) and call.action == "BootNotification":
            reply, told = older.with_time(reply, date_time_text(self._wall_clock()))
            notes += told
        if answer.status in AWAY_STATUSES and isinstance(reply, CallError) and reply.reason in NOT_ITS_WORD:
            reply = replace(reply, reason="unreachable")  # a proxy speaks, and says so
            self._failed(reply.reason, reply.description)
        else:
            self._succeeded()
            if isinstance(reply, CallError) and reply.blames_envelope:
                # What the gateway wrote around the message is not taken; the message itself was not judged.
                reply = replace(reply, reason="unreachable", original=None)
                self._tell("envelope refused", reply.description, "fault")
        return Answer(reply, asked, Passage("soap", answer.body, notes), waited)

    def _message_id_of(self, call: Call) -> Callable[[], str]:
        """What gives *call* its wsa:MessageID."""
        return (lambda: f"urn:uuid:{call.message_id}") if call.message_id else self._message_id

    def _credential(self) -> dict[str, str]:
        central_system = self._central_system
        if central_system.password is None:
            return {}
        username = central_system.username.replace("{charger}", self._session.known_as)
        if ":" in username:
            problem = f"the user name {username!r} has a colon, which Basic authentication cannot carry"
            raise self._unreachable("refused", problem)
        credential = base64.b64encode(username.encode() + b":" + central_system.password)
        return {"Authorization": f"Basic {credential.decode()}"}

    def _unreachable(self, reason: str, problem: str) -> Unreachable:
        return Unreachable(reason, f"central system {self._central_system.name}: {problem}")

    async def run(self) -> None:
        """Go on until ``close``; while the central system cannot be reached, see whether it is back."""
        self._goes_on = self._duty.is_ready
        if self.held:
            self._become("backoff")
        elif self.unreachable_since is None:
            self._become("open")  # nothing says otherwise
        try:
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(self._watch())
                with self._duty.followed_by(self._follow):
                    await self._closed.wait()
                watch.cancel()
        finally:
            self._become("closed")

    def _follow(self) -> None:
        """The operator has another word on the central system."""
        if self._duty.is_ready:
            self._goes_on, self.unreachable_since = True, None  # nothing says otherwise
            self._lost.clear()
            self._become("open")
        elif self._duty.state == "maint" or self.unreachable_since is not None:
            self._goes_on = False
            self._become("backoff")

    async def _watch(self) -> None:
        while True:
            await self._lost.wait()
            await self._sleep(self._central_system.probe_every)
            if self._lost.is_set() and not self.held and await self._reachable():
                self._succeeded()

    async def close(self, reason: str) -> None:
        """Take no more calls and let the one in flight end; ``run`` returns."""
        self._closing = reason or "the session is closed"
        with suppress(TimeoutError):
            async with asyncio.timeout(self._central_system.limits.close_wait), self._one_at_a_time:
                pass
        self._closed.set()

    def _succeeded(self) -> None:
        if self.unreachable_since is not None:
            self.unreachable_since = None
            self._lost.clear()
            self._tell("central system answers")
        if not self.held:  # the answer to what was in flight
            self._become("open")

    def _failed(self, reason: str, problem: str) -> None:
        if self.held:
            return  # that something in flight failed says no more than the operator has
        if self.unreachable_since is None:
            self.unreachable_since = self._clock()
            self._lost.set()
            self._tell("central system unreachable", problem, reason)
        self._goes_on = self._duty.is_ready
        self._become("backoff")

    def _become(self, state: LinkState) -> None:
        if state != self.state and self.state != "closed":
            self.state = state
            self._on_state(state)

    def _tell(self, kind: str, text: str = "", reason: str = "") -> None:
        labels = {"upstream": self._central_system.name}
        self._journal.event(Event(kind, self._session.identity, text, reason, labels))


@dataclass(frozen=True, slots=True)
class Caller:
    """A central system that may call charge points: from these networks (none: from anywhere).

    ``answer_within`` is how many seconds it waits for an answer.
    """

    networks: tuple[Network, ...] = ()
    answer_within: float = 25.0

    def may_call_from(self, source: str) -> bool:
        address = read_ip(source)
        return not self.networks or any(address in network for network in self.networks if address)


GREETING = (
    b"This is the OCPP-S address of a charge point behind a Wattbridge gateway.\n"
    b"Central systems POST their SOAP messages here; the service description is at ?wsdl.\n"
)


class ChargePointService(SoapService):
    """Answers the HTTP requests of SOAP central systems.

    ``path`` is where it is served: ``/ocpp/cp/{charger}``, in any letter case but for the identity.
    ``callers`` are the central systems that are told of this path, by their names; ``dialect_of`` gives the
    dialect of a session where it is not the usual one. ``run`` has to go on while requests are answered.
    """

    name = "ChargePointService"
    asked = Side.CHARGE_POINT

    def __init__(
        self,
        registry: Registry,
        journal: Journal,
        dialect: Dialect,
        callers: Mapping[str, Caller],
        *,
        path: str = "/ocpp/cp/{charger}",
        public_url: str = "",
        dialect_of: Callable[[Session], Dialect] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        message_id: Callable[[], str] = new_message_id,
    ) -> None:
        super().__init__(
            journal,
            dialect,
            public_url=public_url,
            clock=clock,
            wall_clock=wall_clock,
            message_id=message_id,
        )
        self._registry = registry
        self._callers = callers
        self._path = path
        self._home = path.removesuffix("/{charger}").lower()
        self._dialect_of = dialect_of or (lambda session: dialect)
        self._tasks: asyncio.TaskGroup | None = None
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Carry the calls until ``stop``, and those that are under way then to their end."""
        async with asyncio.TaskGroup() as self._tasks:
            await self._stopped.wait()
        self._tasks = None

    def stop(self) -> None:
        """Take no more calls; ``run`` returns when the last one has ended."""
        self._stopped.set()

    def identity_in(self, request: HttpRequest) -> str | None:
        """The identity at the end of the path of *request*; None when that is not a path of this service."""
        raw_path = request.raw_path or quote(request.path)
        before, _, identity = raw_path.rstrip("/").rpartition("/")
        at_home = unquote(before).lower() == self._home
        return unquote(identity) if at_home and identity else None

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one HTTP request: a SOAP call, or a look at the service description."""
        identity = self.identity_in(request)
        if identity is None:
            return self._not_here(request, self._path)
        if request.method == "POST":
            return await self._answer_call(request, identity)
        if request.method in ("GET", "HEAD"):
            return self._describe(request, request.raw_path, GREETING)
        return HttpResponse(405, b"OCPP-S messages come by POST\n", headers={"Allow": "POST, GET, HEAD"})

    async def _answer_call(self, request: HttpRequest, identity: str) -> HttpResponse:
        began = self._clock()
        self._heed_trace(request)
        envelope, session, call = soap.Envelope(), None, None
        try:
            try:
                envelope = soap.read_envelope(request.body)
                session = self._session(envelope, request, identity)
                dialect = self._dialect_of(session)
                located = soap.locate_call(envelope, dialect, Side.CHARGE_POINT)
                form = soap.form_of(envelope.soap, located.operation.version)
                if session.passes(Side.CENTRAL_SYSTEM, form):
                    read = soap.pass_located(located, envelope, request.body, session.check)
                else:
                    read = soap.read_located(located, envelope)
                call = read.call
                if self._tasks is None or self._stopped.is_set():
                    raise Unreachable("draining", "the gateway is stopping")
            except soap.BrokenEnvelope as broken:
                return self._refuse(broken.envelope, call_error(broken), request, began)
            except Violation as broken:
                return self._refuse(envelope, call_error(broken), request, began, session=session)
            except Unreachable as gone:
                error = CallError("GenericError", gone.description, reason=gone.reason)
                return self._refuse(envelope, error, request, began, call, session=session)
            return await self._relayed(self._tasks, session, envelope, read, dialect, request, began)
        except Exception as bug:  # the edge of the task: the central system must not wait for our mistake
            known = session.identity if session else envelope.identity
            error = self._failed(bug, envelope, call, known)
            return self._refuse(envelope, error, request, began, call, session=session)

    async def _relayed(
        self,
        tasks: asyncio.TaskGroup,
        session: Session,
        envelope: soap.Envelope,
        read: soap.ReadCall,
        dialect: Dialect,
        request: HttpRequest,
        began: float,
    ) -> HttpResponse:
        """Relay a call and answer it, with a fault when no reply comes in time.

        It is relayed to its end all the same: what a charge point answers late has happened.
        """
        call = read.call
        answer: HttpResponse | None = None
        late: soap.Written | None = None

        def write(reply: Reply) -> Passage:
            nonlocal answer
            if late is not None:
                if not (isinstance(reply, CallError) and reply.reason in UNDELIVERED):
                    text = f"the central system waits no more for the reply to {call.action}"
                    labels = {"side": Side.CHARGE_POINT.value}
                    self._journal.event(Event("late reply", session.identity, text, labels=labels))
                return Passage("soap", late.body)
            written = soap.write_reply(envelope, read.operation, reply, dialect, self._message_id())
            answer = response(written, partial(self._unheard, session.identity, call.action))
            return Passage("soap", written.body, written.notes)

        async def relay() -> None:
            nonlocal answer
            try:
                arrived = Passage("soap", request.body, read.notes)
                await session.relay(call, arrived, Side.CENTRAL_SYSTEM, write, began)
            except Exception as bug:  # the edge of the task: the central system must not wait for our mistake
                error = self._failed(bug, envelope, call, session.identity)
                silent = late is not None
                answer = self._refuse(envelope, error, request, began, call, session=session, silent=silent)

        within = self._callers[session.upstream].answer_within
        relaying = tasks.create_task(relay(), name=f"{call.action} for {session.identity}")
        await asyncio.wait([relaying], timeout=within)
        if answer is None:
            problem = f"charge point {session.identity} did not answer within {within:g} s"
            error = CallError("GenericError", problem, reason="timeout")
            late = soap.write_fault(envelope, error, self._message_id())
            answer = response(late)
        return answer

    def _unheard(self, identity: str, action: str) -> None:
        text = f"{action}: the central system had closed the connection before its answer came"
        self._journal.event(Event("answer not delivered", identity, text))

    def _session(self, envelope: soap.Envelope, request: HttpRequest, named: str) -> Session:
        """The session of the charge point that is called.

        Raises Violation when it may not be called so, or from there, and Unreachable when it has no session.
        """
        where, identity, source = "Header.chargeBoxIdentity", envelope.identity, request.source
        if not identity:
            raise Violation(
                "ProtocolError", where, "is missing or empty, expected which charge point is called"
            )
        if not any(caller.may_call_from(source) for caller in self._callers.values()):
            raise self._from_elsewhere(request, identity)
        if identity != named:
            problem = f"found {shown(identity)}, but this is the address of {shown(named)}"
            raise Violation(soap.IDENTITY_MISMATCH, where, problem, "auth")

        def is_theirs(session: Session) -> bool:
            return session.upstream in self._callers

        def is_the_callers(session: Session) -> bool:
            return is_theirs(session) and self._callers[session.upstream].may_call_from(source)

        session = self._registry.find_known_as(identity, is_the_callers)
        if session is not None:
            return session
        if self._registry.find_known_as(identity, is_theirs) is not None:
            raise self._from_elsewhere(request, identity)
        raise Unreachable("not_connected", f"charge point {identity!r} is not connected to this gateway")

    def _from_elsewhere(self, request: HttpRequest, identity: str) -> Violation:
        problem = f"{request.source} is in no network from which charge points are called"
        labels = {"listener": request.listener, "source": request.source}
        self._journal.event(Event("request refused", identity, problem, "auth", labels))
        return Violation("SecurityError", "", problem, "auth")

"""SOAP charge points: serves CentralSystemService to them, calls ChargePointService on them.

The service reads the call, finds the session and answers with what ``Session.relay`` brings back. The link is
the other way: it posts the central system's calls to the address the charge point gave as its own.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

from wattbridge.links.callbacks import ANONYMOUS, AddressPolicy, CallbackClient, Refusal, choose
from wattbridge.links.charge_points import Admit, ChargePoint, Hear, Once, presents
from wattbridge.links.handling import boot_of_element, repeated
from wattbridge.links.http_client import Address
from wattbridge.links.listener import HttpRequest, HttpResponse
from wattbridge.links.paths import Paths, Place, Protocol, read_segment
from wattbridge.links.soap_service import SoapService, call_error, new_message_id, response
from wattbridge.ocpp import soap
from wattbridge.ocpp.actions import Dialect
from wattbridge.ocpp.errors import Unreachable, Violation
from wattbridge.ocpp.messages import Call, CallError, Check, Passage, Reply, Side
from wattbridge.ocpp.older import NEWEST
from wattbridge.ocpp.tolerances import WSA_2005
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.registry import Registry, told
from wattbridge.relay.routes import Heard
from wattbridge.relay.session import Answer, Session, left_unanswered
from wattbridge.relay.tracing import headers_to_send

VERSIONS = ("1.6", "1.5", "1.2")  # of OCPP-S
MOST_WAITING = 32  # calls of the central system, for one charge point


@dataclass(frozen=True, slots=True)
class HeardFrom:
    """Where a message of a charge point came from, what it said about where to call back, and in which words.

    ``from_address`` and ``reply_to`` are wsa:From and wsa:ReplyTo, ``""`` when absent; ``soap_version`` and
    ``wsa`` the namespaces it speaks, ``ocpp`` the version of OCPP.
    """

    source: str
    from_address: str = ""
    reply_to: str = ""
    soap_version: str = soap.SOAP_12
    wsa: str = WSA_2005
    ocpp: str = NEWEST

    def write(self) -> str:
        """JSON, for a store; what is usual is left out."""
        usual = asdict(HeardFrom(""))
        return json.dumps({name: value for name, value in asdict(self).items() if value != usual[name]})

    @property
    def names_an_address(self) -> bool:
        return any(address and address not in ANONYMOUS for address in (self.from_address, self.reply_to))


class CentralSystemService(SoapService):
    """Answers the HTTP requests of SOAP charge points, and of whoever looks.

    ``paths`` are the addresses of the listener, for both transports, and ``protocol`` says which of them are
    served; what is posted to the address of a WebSocket is served too. ``admit`` gives what is configured for
    a charge point, None when it is not to be served, ``hear`` the same when it has said what it is;
    ``versions`` are those of OCPP-S that are served.
    ``public_url`` is how charge points reach this gateway, for the service description and wsa:From. *clock*
    is the one of the sessions.
    """

    name = "CentralSystemService"
    asked = Side.CENTRAL_SYSTEM

    def __init__(
        self,
        registry: Registry,
        journal: Journal,
        admit: Admit,
        dialect: Dialect,
        policy: AddressPolicy,
        client: CallbackClient,
        *,
        paths: tuple[str, ...],
        protocol: Protocol = "any",
        versions: tuple[str, ...] = VERSIONS,
        public_url: str = "",
        hear: Hear | None = None,
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
        self._admit = admit
        self._hear_of = hear
        self._policy = policy
        self._client = client
        self._paths = Paths(paths, protocol)
        self._versions = frozenset(versions)
        served = self._paths.soap
        self._from_address = f"{self._public_url}{served[0]}" if public_url and served else ""
        self._wrong_addresses = Once()

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one HTTP request: a SOAP call, or a look at the service description."""
        place = self._paths.find(request.raw_path)
        if place is None:
            return self._not_here(request, self._paths.addresses("soap"))
        unserved = self._paths.refusal("soap")
        if request.method == "POST":
            if unserved is not None:
                self._tell_refusal(request, unserved)
                return HttpResponse(403, f"{unserved}\n".encode())
            return await self._answer_call(request, place)
        if request.method in ("GET", "HEAD"):
            greeting = self._paths.greeting(place).encode()
            if place.transport == "json" or unserved is not None:
                return HttpResponse(body=greeting)
            return self._describe(request, place.address, greeting)
        return HttpResponse(405, b"OCPP-S messages come by POST\n", headers={"Allow": "POST, GET, HEAD"})

    async def _answer_call(self, request: HttpRequest, place: Place) -> HttpResponse:
        began = self._clock()
        self._heed_trace(request)
        envelope, call = soap.Envelope(), None
        charge_point: ChargePoint | None = None
        try:
            try:
                envelope = soap.read_envelope(request.body)
                charge_point = self._authenticated(envelope, request)
                self._tell_wrong_address(place, envelope.identity, request)
                session = self._registry.find(envelope.identity)
                if session is not None:
                    await self._claim(session)
                    session.heard = began  # also by a message that turns out to be broken
                located = soap.locate_call(envelope, charge_point.dialect, Side.CENTRAL_SYSTEM)
                if located.operation.action == "BootNotification" and self._hear_of is not None:
                    charge_point = self._told_by(located, envelope, request) or charge_point
                    located = soap.locate_call(envelope, charge_point.dialect, Side.CENTRAL_SYSTEM)
                version = self._served(located.operation.version)
                form = soap.form_of(envelope.soap, version) if charge_point.passes else ""
                if session is None:
                    read = soap.read_located(located, envelope)  # or a broken one would open a session
                    call = read.call
                    session = self._open(envelope.identity, request, call)
                if session.passes(Side.CHARGE_POINT, form):
                    read = soap.pass_located(located, envelope, request.body, session.check)
                elif call is None:
                    read = soap.read_located(located, envelope)
                call = read.call
            except soap.BrokenEnvelope as broken:
                return self._turn_away(broken.envelope, call_error(broken), request, began)
            except Violation as broken:
                return self._turn_away(envelope, call_error(broken), request, began, None, charge_point)
            except Unreachable as gone:
                error = CallError("GenericError", gone.description, reason=gone.reason)
                return self._turn_away(envelope, error, request, began, call, charge_point)

            self._hear(session, charge_point, request.source, envelope)
            written: soap.Written | None = None

            def write(reply: Reply) -> Passage:
                nonlocal written
                if left_unanswered(read.call.action, reply, version):
                    return Passage("soap", b"")
                written = soap.write_reply(
                    envelope, read.operation, reply, charge_point.dialect, self._message_id()
                )
                if written.status != 200 and charge_point.handling.fault_status is not None:
                    written = replace(written, status=charge_point.handling.fault_status)
                return Passage("soap", written.body, written.notes)

            arrived = Passage("soap", request.body, read.notes)
            await session.relay(call, arrived, Side.CHARGE_POINT, write, began)
            return response(written, partial(self._unheard, envelope.identity, call.action))
        except Exception as bug:  # the edge of the task: the charge point must not wait for our mistake
            error = self._failed(bug, envelope, call, envelope.identity)
            return self._turn_away(envelope, error, request, began, call, charge_point)

    def _told_by(
        self, located: soap.Located, envelope: soap.Envelope, request: HttpRequest
    ) -> ChargePoint | None:
        """What is configured for a charge point of the make that a BootNotification names."""
        assert self._hear_of is not None
        boot = boot_of_element(located.element)
        return self._hear_of(envelope.identity, request.source, request.listener, boot)

    def _served(self, version: str) -> str:
        if version not in self._versions:
            problem = f"is OCPP {version}; this address serves OCPP-S {', '.join(sorted(self._versions))}"
            raise Violation("NotSupported", "Body", problem, "unsupported")
        return version

    def _unheard(self, identity: str, action: str) -> None:
        """The charge point had hung up before its answer came: it will send the message again."""
        text = f"{action}: the charge point had closed the connection before its answer came"
        self._journal.event(Event("answer not delivered", identity, text))

    def restore(self, session: Session) -> None:
        """Make the link of a session that comes back after a restart: ``session.callback`` is what it was."""
        charge_point = self._admit(session.identity, session.source, session.listener)
        if charge_point is not None and session.callback:
            heard = HeardFrom(**{"source": "", **json.loads(session.callback)})
            self._link_of(session, charge_point).heard_from(heard)

    def _hear(
        self, session: Session, charge_point: ChargePoint, source: str, envelope: soap.Envelope
    ) -> None:
        """Let the session's link know where its charge point speaks from."""
        link = self._link_of(session, charge_point)
        link.heard_from(
            HeardFrom(
                source,
                envelope.from_address,
                envelope.reply_to,
                envelope.soap,
                envelope.wsa,
                soap.version_in(envelope),
            )
        )
        session.source, session.callback = source, link.callback
        if session.profile != charge_point.handling.profile:
            charge_point.tell(session)

    def _link_of(self, session: Session, charge_point: ChargePoint) -> ChargePointLink:
        link = session.links[Side.CHARGE_POINT]
        if not isinstance(link, ChargePointLink):
            link = ChargePointLink(
                session.identity,
                charge_point,
                self._policy,
                self._client,
                self._journal,
                check=lambda: session.check,
                from_address=self._from_address,
                clock=self._clock,
                message_id=self._message_id,
            )
            session.attach(Side.CHARGE_POINT, link)
        else:
            link.go_by(charge_point, self._policy, self._client, self._from_address)
        return link

    def _open(self, identity: str, request: HttpRequest, call: Call) -> Session:
        heard = Heard(identity, request.source, request.listener)
        return self._registry.session(told(heard, call) if call.action == "BootNotification" else heard)

    async def _claim(self, session: Session) -> None:
        """Raises Violation while the charge point is connected by a WebSocket."""
        if not await self._registry.claim(session):
            problem = f"charge point {session.identity!r} is connected by a WebSocket, which answers"
            raise Violation("SecurityError", "Header.chargeBoxIdentity", problem, "duplicate")

    def _authenticated(self, envelope: soap.Envelope, request: HttpRequest) -> ChargePoint:
        if not envelope.identity:
            raise Violation(
                "ProtocolError",
                "Header.chargeBoxIdentity",
                "is missing or empty, expected who the charge point is",
            )
        charge_point = self._admit(envelope.identity, request.source, request.listener)
        if charge_point is None:
            raise Violation(
                "SecurityError",
                "Header.chargeBoxIdentity",
                f"charge point {envelope.identity!r} is not known to this gateway",
                "auth",
            )
        if not presents(request.headers.get("authorization"), envelope.identity, charge_point.password):
            problem = "its password is missing or wrong, expected HTTP Basic authentication"
            raise Violation("SecurityError", "Authorization", problem, "auth")
        return charge_point

    def _tell_wrong_address(self, place: Place, identity: str, request: HttpRequest) -> None:
        expected = place.transport == "soap" and place.segment is None
        if expected or not self._wrong_addresses.first(identity):
            return
        text = f"it posts its messages to {request.path!r}, which is no address of OCPP-S; that is served, "
        text += f"but its address is {self._paths.served('soap') or 'that of another listener'}"
        named = _named(place)
        if named not in ("", identity):
            text += f". The path names charge point {named!r}; what the message says counts"
        labels = {"listener": request.listener, "source": request.source}
        self._journal.event(Event("wrong address", identity, text, labels=labels))

    def _turn_away(
        self,
        envelope: soap.Envelope,
        error: CallError,
        request: HttpRequest,
        began: float,
        call: Call | None = None,
        charge_point: ChargePoint | None = None,
    ) -> HttpResponse:
        """Answer with a fault, or not at all when the message can still be delivered later."""
        action = call.action if call else self._action_of(envelope)
        # Before the action is known, a bug of ours may well have hit a transaction message.
        unread = error.reason == "internal" and not action
        version = soap.version_in(envelope)
        silent = (
            unread
            or left_unanswered(action, error, version)
            or (envelope.body is None and soap.looks_like_older_transaction(request.body))
        )
        refused = self._refuse(envelope, error, request, began, call, silent=silent)
        if charge_point is None or charge_point.handling.fault_status is None or silent:
            return refused
        return replace(refused, status=charge_point.handling.fault_status)


class ChargePointLink:
    """The way to one SOAP charge point: its ChargePointService at the address it gave.

    A message from another host does not move that address while the old one still answers: whoever claims
    an identity must not be sent its calls. When the old one is gone, the new one takes its place.
    """

    transport = "soap"

    # There is one for each charge point.
    __slots__ = (
        "_charge_point",
        "_check",
        "_client",
        "_clock",
        "_closed",
        "_contender",
        "_found",
        "_from_address",
        "_heard",
        "_identity",
        "_journal",
        "_message_id",
        "_one_at_a_time",
        "_policy",
        "_told",
        "_waiting",
        "call_problem",
        "callback",
        "called_at",
    )

    def __init__(
        self,
        identity: str,
        charge_point: ChargePoint,
        policy: AddressPolicy,
        client: CallbackClient,
        journal: Journal,
        *,
        check: Callable[[], Check] = lambda: "report",
        from_address: str = "",
        clock: Callable[[], float] = time.monotonic,
        message_id: Callable[[], str] = new_message_id,
    ) -> None:
        self._identity = identity
        self._charge_point = charge_point
        self._policy = policy
        self._client = client
        self._journal = journal
        self._check = check
        self._from_address = from_address
        self._clock = clock
        self._message_id = message_id
        self._heard: HeardFrom | None = None
        self._told: HeardFrom | None = None
        self.callback = ""  # how it is called, for a store to remember; what ``restore`` reads
        self._contender: HeardFrom | None = None
        self._found: tuple[HeardFrom, Address] | None = None
        self._closed = ""  # why no more calls are taken
        self.called_at = ""  # the URL of the last call, and why that did not get through
        self.call_problem = ""
        # One CALL at a time in this direction; calls of the charge point may cross.
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0  # calls

    @property
    def version(self) -> str:
        """The version of OCPP of its last message."""
        return self._heard.ocpp if self._heard else NEWEST

    @property
    def form(self) -> str:
        if not self._charge_point.passes:
            return ""
        return _form_of(self._heard) if self._heard else soap.form_of(soap.SOAP_12)

    def go_by(
        self, charge_point: ChargePoint, policy: AddressPolicy, client: CallbackClient, from_address: str
    ) -> None:
        """What is configured may have changed since it last spoke: from now on this counts."""
        if (charge_point, policy) != (self._charge_point, self._policy):
            self._charge_point, self._policy = charge_point, policy
            self._found = None  # whether that may be called is to be seen again
        self._client, self._from_address = client, from_address

    def take(self, charge_point: ChargePoint) -> None:
        """The same for calls that come before it speaks again."""
        if charge_point != self._charge_point:
            self._charge_point, self._found = charge_point, None

    def heard_from(self, heard: HeardFrom) -> None:
        """The charge point has spoken: remember where from, and what it calls its address."""
        self._hear(heard)
        if self._heard is not None and self._told is not self._heard:
            self._told = self._heard
            self.callback = self._heard.write()

    def _hear(self, heard: HeardFrom) -> None:
        known = self._heard
        if heard == known:
            self._contender = None
            return
        if known is not None and heard.ocpp != known.ocpp:
            text = f"it speaks OCPP {heard.ocpp} now, and spoke {known.ocpp} before"
            self._journal.event(Event("version changed", self._identity, text))
        if known is None or self._charge_point.callback_url is not None:
            self._heard, self._contender = heard, None
        elif heard.source == known.source:
            if not heard.names_an_address:  # some name it in a BootNotification only
                heard = replace(heard, from_address=known.from_address, reply_to=known.reply_to)
            self._heard, self._contender = heard, None
        else:
            if self._contender is None:
                text = f"{heard.source} speaks for it too; calls go to {known.source} while that answers"
                self._journal.event(Event("callback address", self._identity, text))
            self._contender = heard

    async def call(self, call: Call, *, again: bool = False) -> Answer:
        """Post one call, *again* when it was posted before, and read the answer.

        Raises Unreachable, or Violation when SOAP cannot say the call.
        """
        handling = self._charge_point.handling
        if handling.retries and not again:
            return await repeated(call, handling, partial(self.call, again=True))
        if self._waiting >= MOST_WAITING:
            raise Unreachable("busy", f"{self._waiting} calls wait already; {call.action} was not sent")
        began = self._clock()
        self._waiting += 1
        try:
            await self._one_at_a_time.acquire()
        finally:
            self._waiting -= 1
        try:
            turn = self._clock() - began
            if self._closed:
                raise Unreachable("draining", f"{self._closed}; {call.action} was not sent")
            if self._heard is None:
                raise Unreachable("not_connected", f"charge point {self._identity} has not been heard of")
            try:
                answer = await self._call_at(self._heard, call)
            except Unreachable as gone:
                moved = self._moved()
                # Only what surely never reached the old address is sent to the new one at once.
                if moved is None or gone.reason not in ("refused", "not_connected"):
                    raise
                answer = await self._call_at(moved, call)
            else:
                if isinstance(answer.reply, CallError) and answer.reply.reason == "malformed":
                    self._moved()  # whatever answers there now, it is no charge point
            return replace(answer, waited=answer.waited + turn)
        finally:
            self._one_at_a_time.release()

    async def reach(self) -> str:
        """Open a connection to where it is called, and close it again; nothing is posted.

        Returns what was seen, in a sentence. Raises Unreachable.
        """
        if self._heard is None:
            raise Unreachable("not_connected", f"charge point {self._identity} has not been heard of")
        address = await self._address(self._heard)
        connection = await self._client.connect(address)
        connection.close()
        by = f", which is from {address.origin}"
        return f"{address} takes connections{' by TLS' if address.scheme == 'https' else ''}{by}"

    def _moved(self) -> HeardFrom | None:
        """The address that takes the place of the one that did not answer; None when there is none."""
        if self._contender is not None:
            self._heard, self._contender = self._contender, None
            self._told, self.callback = self._heard, self._heard.write()
            self._journal.event(Event("callback address", self._identity, f"moved to {self._heard.source}"))
            return self._heard
        return None

    async def _address(self, heard: HeardFrom) -> Address:
        """Where the charge point is called. Raises Unreachable when there is nowhere it may be."""
        if self._found is not None and self._found[0] == heard:
            return self._found[1]
        address = await choose(
            self._policy,
            identity=self._identity,
            source_ip=heard.source,
            pinned=self._charge_point.callback_url,
            from_address=heard.from_address or None,
            reply_to=heard.reply_to or None,
        )
        if isinstance(address, Refusal):
            raise Unreachable(address.reason, address.text)
        # A name may lead elsewhere at the next call; an IP address stays what it was when it was checked.
        self._found = (heard, address) if address.host == address.ip else None
        return address

    async def _call_at(self, heard: HeardFrom, call: Call) -> Answer:
        began = self._clock()
        try:
            address = await self._address(heard)
        except Unreachable as gone:
            self.called_at, self.call_problem = "", gone.description
            raise
        self.called_at, self.call_problem = address.url, ""
        charge_point, handling = self._charge_point, self._charge_point.handling
        dialect = charge_point.dialect.of(heard.ocpp)
        resolved = self._clock()
        written = soap.write_call(
            call,
            soap.Addressing(
                self._identity,
                charge_point.to or (heard.from_address if handling.to_is_from else "") or address.url,
                self._from_address if handling.sender != "none" else "",
                heard.soap_version,
                heard.wsa,
                handling.must_understand,
                handling.sender == "text",
                handling.reply_to,
            ),
            dialect,
            Side.CHARGE_POINT,
            self._message_id,
        )
        asked = Passage("soap", written.body, written.notes)
        sent = self._clock()
        try:
            answer = await self._client.post(
                address,
                written.body,
                written.content_type,
                written.soap_action.strip('"') or None,
                handling.call_timeout,
                headers=headers_to_send(),
            )
        except Unreachable as gone:
            self.call_problem = gone.description
            if gone.reason != "refused":
                gone.asked = asked
            raise
        waited = self._clock() - sent + resolved - began
        operation = dialect.operation(Side.CHARGE_POINT, call.action)
        form = _form_of(heard)
        passing = call.original is not None and call.original.form == form
        reply, notes = soap.read_reply(
            answer.status,
            answer.content_type,
            answer.body,
            operation,
            form=form if passing else "",
            check=self._check(),
        )
        if isinstance(reply, CallError) and reply.reason == "malformed":
            self.call_problem = reply.description
        return Answer(reply, asked, Passage("soap", answer.body, notes), waited)

    async def close(self, reason: str) -> None:
        """Take no more calls. There is no connection to close; what is in flight ends by itself."""
        self._closed = reason or "the session is closed"


def _form_of(heard: HeardFrom) -> str:
    return soap.form_of(heard.soap_version, heard.ocpp)


def _named(place: Place) -> str:
    """Whom a path names; ``""`` when it names nobody, or in no way that can be read."""
    try:
        return read_segment(place.segment or "")
    except ValueError:
        return ""

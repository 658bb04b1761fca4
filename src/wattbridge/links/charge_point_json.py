"""JSON charge points: takes their WebSockets in, one for each, and lets them go.

The endpoint decides from the request who may connect, before the WebSocket is there. What happens on an open
connection is ``json_link``'s; the session lives on for a moment when it is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from wattbridge.links.charge_points import Admit, ChargePoint, Hear, Once, presents
from wattbridge.links.handling import Boot, boot_of_payload, repeated
from wattbridge.links.json_link import USUAL_LIMITS, Closed, JsonLimits, JsonLink
from wattbridge.links.listener import HttpRequest, HttpResponse
from wattbridge.links.paths import Paths, Place, Protocol, read_segment
from wattbridge.links.upgrades import RETRY_AFTER, Seldom, WebSocket
from wattbridge.ocpp.actions import JsonCodec
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call, Side
from wattbridge.ocpp.older import NEWEST
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.registry import Registry
from wattbridge.relay.routes import Heard
from wattbridge.relay.session import Answer, Link, Session

# OCPP-J 1.6, 3.1.2; the second is seen with charge points that were made for other gateways. In this order.
SUBPROTOCOLS = ("ocpp1.6", "ocpp1.6j")
NOBODYS_PASSWORD = b"nobody has this password, of whom no other is known"

# Of one charge point: one that comes and goes all the time must not take the turns of the others.
MOST_CONNECTS = 20  # at once
CONNECTS_PER_SECOND = 0.5

PROTOCOL_ERROR = 1002  # close codes (RFC 6455, 7.4.1)
INTERNAL_ERROR = 1011


class CentralSystemEndpoint:
    """Answers the requests of JSON charge points for a WebSocket.

    ``paths`` are the addresses of the listener, for both transports, and ``protocol`` says which of them are
    served; ``admit`` gives what is configured for a charge point, None when it is not to be served, ``hear``
    the same when it has said what it is. ``link_options`` are those of ``JsonLink``, *clock* the one of the
    sessions.
    """

    def __init__(
        self,
        registry: Registry,
        journal: Journal,
        admit: Admit,
        *,
        paths: tuple[str, ...],
        protocol: Protocol = "any",
        limits: JsonLimits = USUAL_LIMITS,
        hear: Hear | None = None,
        clock: Callable[[], float] = time.monotonic,
        **link_options: Any,
    ) -> None:
        self._registry = registry
        self._journal = journal
        self._admit = admit
        self._hear = hear
        self._paths = Paths(paths, protocol)
        self._limits = limits
        self._link_options = {"clock": clock, **link_options}
        self._wrong_addresses = Once()
        self._without_subprotocol = Once()
        self._connects = Seldom(MOST_CONNECTS, CONNECTS_PER_SECOND, clock)

    async def handle(self, request: HttpRequest, offered: tuple[str, ...]) -> HttpResponse | WebSocket:
        """Answer one request for a WebSocket; ``offered`` are the subprotocols as the peer spelled them.

        Source: OCPP-J 1.6, 3.1 and 3.2.
        """
        place = self._paths.find(request.raw_path)
        if place is None:
            there = self._paths.addresses("json")
            return self._refuse(404, f"no OCPP service at {request.path!r}; there is one at {there}", request)
        unserved = self._paths.refusal("json")
        if unserved is not None:
            return self._refuse(403, unserved, request)
        if place.segment is None:
            text = f"no identity in the path: expected {self._paths.served('json') or place.address}"
            return self._refuse(404, text, request)
        try:
            identity = read_segment(place.segment)
        except ValueError:
            return self._refuse(400, f"the identity {place.segment!r} is not UTF-8", request, "malformed")

        charge_point = self._admit(identity, request.source, request.listener)
        # The same work is done for whoever is not known, so that its time does not tell who is.
        password = charge_point.password if charge_point is not None else NOBODYS_PASSWORD
        genuine = presents(request.headers.get("authorization"), identity, password)
        if charge_point is None:
            text = f"charge point {identity!r} is not known to this gateway"
            return self._refuse(404, text, request, "auth", identity)
        if not genuine:
            text = "its password is missing or wrong, expected HTTP Basic authentication"
            return self._refuse(401, text, request, "auth", identity)
        self._tell_wrong_address(place, identity, request)

        also = charge_point.handling.subprotocols
        subprotocol = _chosen(offered, also)
        if not is_spoken(offered, also, required=charge_point.subprotocol_required):
            # The rules want the handshake completed without a subprotocol, and the connection closed.
            found = ", ".join(offered)[:200] or "no subprotocol"
            text = f"{found} is offered; expected {SUBPROTOCOLS[0]}"
            self._tell("connection refused", identity, text, request, "unsupported")
            return WebSocket(_Goodbye(PROTOCOL_ERROR, f"subprotocol {SUBPROTOCOLS[0]} expected"))
        if subprotocol is None and self._without_subprotocol.first(identity):
            text = f"it offers no subprotocol; it is served as if it had offered {SUBPROTOCOLS[0]}"
            self._tell("no subprotocol", identity, text, request)

        if not self._connects.may(identity):
            return self._refuse(503, "it connects too often", request, "rate_limited", identity)
        try:
            session = await self._claimed(Heard(identity, request.source, request.listener))
        except Unreachable as gone:
            return self._refuse(503, gone.description, request, gone.reason, identity)
        if session is None:
            text = f"charge point {identity!r} has another connection, which answers"
            return self._refuse(409, text, request, "duplicate", identity)
        link = ChargePointConnection(
            session,
            charge_point,
            self._journal,
            self._limits,
            {"listener": request.listener, "source": request.source},
            hear=partial(self._hear, identity, request.source, request.listener) if self._hear else None,
            **self._link_options,
        )
        # Nothing else has run since the place was claimed; from here on it is taken.
        link.replaces = session.connect(link)
        self._connects.does(identity)
        return WebSocket(
            link,
            subprotocol,
            charge_point.ping_interval,
            charge_point.ping_timeout,
            unheard=lambda: session.disconnect(link, "it had gone before its connection was there"),
        )

    async def _claimed(self, heard: Heard) -> Session | None:
        """The session of the charge point, free to be connected; None when another connection has it.

        Raises Unreachable when there can be no session.
        """
        while True:
            session = self._registry.session(heard)
            if not await self._registry.claim(session):
                return None
            if self._registry.find(heard.identity) is session:  # it may have been closed meanwhile
                return session

    def _refuse(
        self, status: int, text: str, request: HttpRequest, reason: str = "unsupported", identity: str = ""
    ) -> HttpResponse:
        self._tell("connection refused" if identity else "request refused", identity, text, request, reason)
        headers = {}
        if status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="OCPP", charset="UTF-8"'
        if status == 503:
            headers["Retry-After"] = str(RETRY_AFTER)
        return HttpResponse(
            status, f"{text}\n".encode(errors="backslashreplace"), headers=headers, close=True
        )

    def _tell_wrong_address(self, place: Place, identity: str, request: HttpRequest) -> None:
        if place.transport == "soap" and self._wrong_addresses.first(identity):
            expected = self._paths.served("json")
            text = f"it opens its WebSocket at {place.address}, where SOAP messages are posted"
            text += f"; that is served, but its address is {expected}" if expected else ""
            self._tell("wrong address", identity, text, request)

    def _tell(self, kind: str, identity: str, text: str, request: HttpRequest, reason: str = "") -> None:
        labels = {"listener": request.listener, "source": request.source}
        self._journal.event(Event(kind, identity, text, reason, labels))


class ChargePointConnection:
    """The way to one JSON charge point: the WebSocket it has opened.

    It has the place of its session before the WebSocket is there, so that no other connection gets it.
    ``labels`` say in events where it came from; ``hear`` gives what is configured for a charge point of the
    make that it has named.
    """

    transport = "json"
    version = NEWEST

    def __init__(
        self,
        session: Session,
        charge_point: ChargePoint,
        journal: Journal,
        limits: JsonLimits = USUAL_LIMITS,
        labels: dict[str, str] | None = None,
        *,
        hear: Callable[[Boot], ChargePoint | None] | None = None,
        **link_options: Any,
    ) -> None:
        self._session = session
        self._charge_point = charge_point
        self._codec = JsonCodec(charge_point.dialect, Side.CHARGE_POINT)
        self._hear = hear
        self._journal = journal
        self._limits = limits
        self._labels = labels or {}
        self._link_options = link_options
        self.replaces: Link | None = None  # what it has taken the place of
        self._open: tuple[JsonLink, Connection, asyncio.TaskGroup] | None = None
        self._closing = ""  # why it is closed as soon as it is open
        self._silent = False
        self._unanswered = 0  # calls in a row

    @property
    def form(self) -> str:
        return self._codec.form

    def go_by(self, charge_point: ChargePoint) -> None:
        """What is configured may have changed, or it is known of what make it is: from now on this counts.

        Pings and the subprotocol are agreed upon when a connection is made, and stay.
        """
        if charge_point is not self._charge_point:
            self._charge_point = charge_point
            self._codec.go_by(charge_point.dialect)
            if self._open is not None:
                self._open[0].set_call_timeout(charge_point.handling.call_timeout)
        charge_point.tell(self._session)

    def _booted(self, payload: Any) -> None:
        """It says what it is: that very message is read by the rules for its make."""
        known = self._hear(boot_of_payload(payload)) if self._hear is not None else None
        if known is not None:
            self.go_by(known)

    async def run(self, socket: Connection) -> None:
        """Serve the connection until it ends. Every call has ended by then."""
        async with asyncio.TaskGroup() as tasks:
            link = JsonLink(
                socket,
                self._session,
                Side.CHARGE_POINT,
                self._codec,
                self._journal,
                tasks,
                self._limits,
                **self._link_options,
            )
            self._open = link, socket, tasks
            link.on_boot = self._booted
            link.set_call_timeout(self._charge_point.handling.call_timeout)
            self._charge_point.tell(self._session)
            self._tell("charge point connected")
            if self.replaces is not None:
                tasks.create_task(self.replaces.close("the charge point has opened a WebSocket"))
                self.replaces = None
            closed = Closed(1001, "the gateway let go of the connection")
            try:
                if self._closing:
                    await link.close(self._closing)
                closed = await link.run()
            finally:
                self._open = None
                # What it has asked may still be under way; it can come back before that has ended.
                self._session.disconnect(self, closed.description)
                self._tell("charge point disconnected", closed.description, code=closed.code_class)

    async def call(self, call: Call, *, again: bool = False) -> Answer:
        """Ask the charge point, *again* when it was asked before. Raises Unreachable and, when JSON cannot
        say the call, Violation.

        Whoever leaves too many calls in a row without an answer is cut off, so that it comes back.
        """
        handling = self._charge_point.handling
        if handling.retries and not again:
            return await repeated(call, handling, partial(self.call, again=True))
        if self._open is None:
            away = f"charge point {self._session.identity} is not connected; {call.action} was not sent"
            raise Unreachable("not_connected", away)
        link, socket, tasks = self._open
        try:
            answer = await link.call(call)
        except Unreachable as gone:
            if gone.reason == "timeout":
                self._unanswered += 1
                if self._unanswered == self._charge_point.unanswered and self._open is not None:
                    text = f"{self._unanswered} calls in a row were not answered; the last was {call.action}"
                    self._tell("connection cut off", text)
                    tasks.create_task(socket.close(INTERNAL_ERROR, "calls are not answered"))
            raise
        self._unanswered = 0
        return answer

    async def is_alive(self, within: float) -> bool:
        """Whether the charge point answers a ping within so many seconds."""
        if self._open is None:
            return not self._closing  # its WebSocket is opened at this moment
        _, socket, _ = self._open
        if socket.state is not State.OPEN:  # one of the two has said goodbye, and nothing more will come
            self._silent = True
            return False
        try:
            async with asyncio.timeout(within):
                await (await socket.ping())
        except (TimeoutError, ConnectionClosed):
            self._silent = True
            return False
        return True

    async def close(self, reason: str) -> None:
        """Let what is in flight end, then close the connection; one that was silent is cut at once."""
        self._closing = reason or "the session is closed"
        if self._open is not None:
            link, socket, _ = self._open
            if self._silent:
                socket.transport.abort()
            else:
                await link.close(reason)

    def _tell(self, kind: str, text: str = "", **labels: str) -> None:
        self._journal.event(Event(kind, self._session.identity, text, labels=self._labels | labels))


class _Goodbye:
    """A WebSocket that is closed as soon as it is open."""

    def __init__(self, code: int, reason: str) -> None:
        self._code = code
        self._reason = reason

    async def run(self, socket: Connection) -> None:
        await socket.close(self._code, self._reason)

    async def close(self, reason: str) -> None:
        return None  # it is closing already


def is_spoken(offered: tuple[str, ...], also: tuple[str, ...] = (), *, required: bool) -> bool:
    """Whether who offers these subprotocols is served; who offers none is, unless one is *required*."""
    return _chosen(offered, also) is not None or not (offered or required)


def _chosen(offered: tuple[str, ...], also: tuple[str, ...] = ()) -> str | None:
    """The subprotocol among those *offered* that is spoken here, as the peer spells it; None: none is.

    *also* are other names for it.
    """
    spelled = {each.lower(): each for each in reversed(offered)}
    spoken = (*SUBPROTOCOLS, *(name.lower() for name in also))
    return next((spelled[name] for name in spoken if name in spelled), None)

"""Keeps one WebSocket open to a JSON central system for one charge point: connects, reconnects, lets go.

What happens on an open connection is ``json_link``'s. The central system sees a charge point by its
connection, so there is exactly one for each, and it is open as long as ``run`` runs.
"""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
    NegotiationError,
    WebSocketException,
)
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from wattbridge.links.json_link import USUAL_LIMITS, Closed, Codec, JsonLimits, JsonLink
from wattbridge.links.upgrades import cut_off_who_does_not_read
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call, Side
from wattbridge.ocpp.older import NEWEST
from wattbridge.relay.duty import Duty
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.pace import Pacer
from wattbridge.relay.session import Answer, Relays

LinkState = Literal["connecting", "open", "backoff", "closed"]

# HTTP statuses that another attempt will not change: the operator of the central system has to act.
HOPELESS_STATUSES = frozenset({401, 403, 404})
SPREAD = 1.0  # seconds in which the connections of a fleet are closed


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between attempts: ``first``, doubled with each failure up to ``longest``; seconds.

    ``jitter`` is the share of a wait that is left to chance, 1.0 the full jitter that spreads a fleet best.
    A connection that held for ``steady`` seconds begins the count anew; one that is cut at once does not.
    """

    first: float = 1.0
    longest: float = 120.0
    jitter: float = 1.0
    steady: float = 10.0

    def wait(self, failures: int, chance: float) -> float:
        """Seconds to wait after so many failures in a row; ``chance`` is from 0 to 1."""
        whole = min(self.longest, self.first * 2.0 ** min(failures - 1, 60))
        return whole * (1.0 - self.jitter * chance)


@dataclass(frozen=True, slots=True)
class CentralSystem:
    """How one central system is reached, for all its charge points.

    ``{charger}`` in ``url`` and ``username`` stands for the identity, percent-encoded in the URL; a URL
    without it gets it as its last segment (OCPP-J 1.6, 3.1.1). ``password`` are bytes: an
    AuthorizationKey need not be text (OCPP-J 1.6, 6.2.2); None sends no credential.
    """

    url: str
    name: str = "default"  # in events and descriptions
    username: str = "{charger}"
    password: bytes | None = None
    tls: ssl.SSLContext | None = None  # for wss; None trusts what the system trusts
    subprotocol: str = "ocpp1.6"
    require_subprotocol: bool = True  # False: be content when the answer names none
    user_agent: str = "wattbridge"
    open_timeout: float = 10.0  # seconds for TCP, TLS and handshake together
    connect_wait: float = 10.0  # seconds a call may wait for the connection
    backoff: Backoff = Backoff()
    ping_interval: float | None = 30.0  # seconds; None sends none
    ping_timeout: float | None = 20.0  # seconds
    close_timeout: float = 5.0  # seconds for the closing handshake
    compression: bool = False  # permessage-deflate costs 30 KiB a connection
    max_size: int = 256 * 1024  # bytes of one message of the central system
    limits: JsonLimits = USUAL_LIMITS

    def url_of(self, identity: str) -> str:
        """Where one charge point is connected. Raises ValueError for what is no URL of a WebSocket."""
        segment = quote(identity, safe="")
        url = self.url
        if "{charger}" in url:
            url = url.replace("{charger}", segment)
        else:
            parts = urlsplit(url)
            url = parts._replace(path=f"{parts.path.rstrip('/')}/{segment}").geturl()
        if not url.isascii():  # or all of it would be encoded, the identity a second time
            raise ValueError(f"the URL of central system {self.name} is not written in ASCII")
        try:
            parsed = parse_uri(url)
        except InvalidURI as bad:
            raise ValueError(f"central system {self.name}: {bad}") from None
        if parsed.user_info is not None:
            raise ValueError(f"the URL of central system {self.name} holds a user name and a password")
        return url


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why there is no connection: a word of ``reasons.REASONS`` and a sentence."""

    reason: str
    problem: str
    hopeless: bool = False


NOT_YET = _Failure("not_connected", "no connection has been made yet")


class CentralSystemJson:
    """The way to one charge point's JSON central system.

    ``run`` keeps the connection until ``close``, as far as the operator lets it (*duty*). ``state`` is where
    it stands; ``on_state`` is called when that changes. ``unreachable_since`` is since when there is no
    connection, on *clock*; None while there is. Connects, failures and losses are events of the journal.
    """

    transport = "json"
    version = NEWEST

    # There is one for each charge point.
    __slots__ = (
        "_central_system",
        "_chance",
        "_changed",
        "_clock",
        "_closing",
        "_codec",
        "_duty",
        "_failure",
        "_failures",
        "_in_line",
        "_interrupt",
        "_journal",
        "_link",
        "_link_options",
        "_next_attempt",
        "_on_state",
        "_pacer",
        "_session",
        "_sleep",
        "_url",
        "state",
        "unreachable_since",
    )

    def __init__(
        self,
        session: Relays,
        codec: Codec,
        journal: Journal,
        central_system: CentralSystem,
        pacer: Pacer,
        *,
        duty: Duty | None = None,
        on_state: Callable[[LinkState], None] = lambda state: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        **link_options: Any,
    ) -> None:
        self.state: LinkState = "connecting"
        self._session = session
        self._codec = codec
        self._journal = journal
        self._central_system = central_system
        self._pacer = pacer
        self._duty = duty or Duty()
        self._on_state = on_state
        self.unreachable_since: float | None = clock()
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._link_options = link_options
        self._url = central_system.url_of(session.known_as)
        self._link: JsonLink | None = None
        # Set when a connection is open, or none will be any more; made by who waits for it.
        self._changed: asyncio.Event | None = None
        self._closing = ""
        self._interrupt: asyncio.Timeout | None = None
        self._failures = 0  # in a row
        self._in_line = False  # whether it waits for its turn to connect
        self._next_attempt = 0.0  # when the pause between attempts is over
        self._failure = NOT_YET

    @property
    def form(self) -> str:
        return self._codec.form

    @property
    def away(self) -> bool:
        """Whether there is no connection, and the last attempt at one failed or the last one was lost."""
        return self._link is None and (self._failures > 0 or self.state == "closed" or self.held)

    @property
    def held(self) -> bool:
        """Whether there is no connection because the operator does not want one."""
        return self._link is None and not self._duty.is_ready

    async def call(self, call: Call) -> Answer:
        """Ask the central system; waits for a connection, but not long.

        Raises Unreachable with the reason the last attempt failed for, and Violation.
        """
        if self._link is not None:
            return await self._link.call(call)
        began = self._clock()
        link = await self._wait_for_link(call)
        delay = self._clock() - began  # neither the central system has the call, nor the gateway works on it
        try:
            answer = await link.call(call)
        except Unreachable as gone:
            gone.delay = delay
            raise
        return replace(answer, delay=delay)

    async def _wait_for_link(self, call: Call) -> JsonLink:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._central_system.connect_wait):
                while self._link is None and not self._closing and not self._hopeless:
                    if self._changed is None:
                        self._changed = asyncio.Event()
                    await self._changed.wait()
        if self._link is not None:
            return self._link
        if self._closing:
            raise Unreachable("draining", f"{self._closing}; {call.action} was not sent")
        failure = self._failure
        if self.held:
            failure = _Failure("not_connected", f"it {self._duty.why}")
        elif self._in_line and failure.reason == "not_connected":  # nothing worse is known of it
            failure = _Failure("not_connected", self._not_its_turn())
        raise Unreachable(failure.reason, f"central system {self._central_system.name}: {failure.problem}")

    def _not_its_turn(self) -> str:
        setting = f"upstreams.{self._central_system.name}.connect.rate"
        return f"it is not this charge point's turn yet to connect: {setting} is {self._pacer.rate:g}/s"

    @property
    def _hopeless(self) -> bool:
        """Whether waiting for a connection is in vain: none will come for a long time, or ever."""
        late = self._next_attempt - self._clock() > self._central_system.connect_wait
        return self.state == "closed" or (self.state == "backoff" and late) or self.held

    async def run(self) -> None:
        """Keep the connection: connect, serve it until it is closed, wait, and again; until ``close``."""
        try:
            async with asyncio.TaskGroup() as tasks:
                with self._duty.followed_by(partial(self._follow, tasks)):
                    while not self._closing:
                        if not self._duty.is_ready:
                            await self._interruptibly(self._hold)
                            continue
                        await self._interruptibly(lambda: self._connect(tasks))
                        if self._link is not None:
                            await self._keep(self._link)
                        await self._interruptibly(self._pause)
        finally:
            self._become("closed")
            self._wake()

    async def close(self, reason: str, code: int = 1001) -> None:
        """Let what is in flight end, then close the connection for good; ``run`` returns."""
        self._closing = reason or "the connection is being closed"
        self._wake()
        if self._link is not None:
            await self._link.close(reason, code)
        else:
            self._break_off()

    async def _interruptibly(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do what ``close``, or another word of the operator, may break off."""
        if self._closing:
            return
        try:
            async with asyncio.timeout(None) as self._interrupt:
                await work()
        except TimeoutError:  # only _break_off() sets a time
            pass
        finally:
            self._interrupt = None

    def _break_off(self) -> None:
        if self._interrupt is not None:
            self._interrupt.reschedule(asyncio.get_running_loop().time())
            self._interrupt = None

    def _follow(self, tasks: asyncio.TaskGroup) -> None:
        """The operator has another word on the central system."""
        link = self._link
        if link is not None and self._duty.state != "maint":
            return  # what is connected goes on
        # As after one failure: away until there is a connection, which is not waited for for long.
        self._failures, self._failure, self.unreachable_since = 1, NOT_YET, self._clock()
        if link is not None:
            self._link = None  # nobody calls on it any more; what is in flight ends
            tasks.create_task(self._let_go(link, f"the central system {self._duty.why}"))
            self._become("backoff")
        self._break_off()
        self._wake()

    async def _let_go(self, link: JsonLink, why: str) -> None:
        # A fleet that closes its connections all at once would hold up everybody else.
        wait = SPREAD * self._chance()
        if wait:
            await self._sleep(wait)
        await link.close(why)

    async def _hold(self) -> None:
        """Wait for another word of the operator."""
        self._become("backoff")
        self._wake()
        await asyncio.get_running_loop().create_future()

    async def _connect(self, tasks: asyncio.TaskGroup) -> None:
        self._become("connecting")
        self._in_line = True
        try:
            await self._pacer.turn()
        finally:
            self._in_line = False
        opened = await self._open()
        if isinstance(opened, _Failure):
            self._failures += 1
            self._failure = opened
            self._tell("central system unreachable", opened.problem, opened.reason)
            return
        self._link = JsonLink(
            opened,
            self._session,
            Side.CENTRAL_SYSTEM,
            self._codec,
            self._journal,
            tasks,
            self._central_system.limits,
            clock=self._clock,
            **self._link_options,
        )

    async def _open(self) -> ClientConnection | _Failure:
        """Open a WebSocket, or say why there is none."""
        central_system = self._central_system
        headers = []
        if central_system.password is not None:
            username = central_system.username.replace("{charger}", self._session.known_as)
            if ":" in username:
                problem = f"the user name {username!r} has a colon, which Basic authentication cannot carry"
                return _Failure("refused", problem, hopeless=True)
            credential = base64.b64encode(username.encode() + b":" + central_system.password)
            headers.append(("Authorization", f"Basic {credential.decode()}"))
        secure: dict[str, Any] = (
            {"ssl": central_system.tls} if central_system.tls and self._url.startswith("wss:") else {}
        )
        try:
            socket = await _Connect(
                self._url,
                create_connection=_Connection,
                subprotocols=[Subprotocol(central_system.subprotocol)],
                additional_headers=headers,
                user_agent_header=central_system.user_agent,
                compression="deflate" if central_system.compression else None,
                proxy=None,  # whatever the environment says
                open_timeout=central_system.open_timeout,
                ping_interval=central_system.ping_interval,
                ping_timeout=central_system.ping_timeout,
                close_timeout=central_system.close_timeout,
                max_size=central_system.max_size,
                **secure,
            )
        except (OSError, EOFError, WebSocketException, UnicodeError) as error:
            return _explain(error, central_system.open_timeout)
        if socket.subprotocol is None and central_system.require_subprotocol:
            try:
                await socket.close(1002, f"subprotocol {central_system.subprotocol} expected")
            finally:
                socket.transport.abort()
            problem = f"its answer names no subprotocol, expected {central_system.subprotocol}"
            return _Failure("refused", problem, hopeless=True)
        return socket

    async def _keep(self, link: JsonLink) -> None:
        began = self._clock()
        self.unreachable_since = None
        self._become("open")
        self._wake()
        self._tell("central system connected")
        closed = Closed(1001, "the gateway let go of the connection")
        try:
            # close(), or the operator's word, came in the moment of connecting, and found no link.
            if self._closing or self._duty.state == "maint":
                await link.close(self._closing or f"the central system {self._duty.why}")
            closed = await link.run()
        finally:
            let_go = self._closing or self._link is not link or self._duty.state == "maint"
            if self._link is link:
                self._link, self.unreachable_since = None, self._clock()
                held = self.unreachable_since - began
                self._failures = 1 if held >= self._central_system.backoff.steady else self._failures + 1
                self._failure = _Failure("not_connected", closed.description)
            kind = "central system left" if let_go else "central system lost"
            self._tell(kind, closed.description, code=closed.code_class)

    async def _pause(self) -> None:
        self._become("backoff")
        backoff = self._central_system.backoff
        failures = 1000 if self._failure.hopeless else self._failures  # the longest wait at once
        wait = backoff.wait(failures, self._chance())
        self._next_attempt = self._clock() + wait
        self._wake()  # who waits may wait in vain now
        await self._sleep(wait)

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def _become(self, state: LinkState) -> None:
        if state != self.state:
            self.state = state
            self._on_state(state)

    def _tell(self, kind: str, text: str = "", reason: str = "", **labels: str) -> None:
        labels = {"upstream": self._central_system.name, **labels}
        self._journal.event(Event(kind, self._session.identity, text, reason, labels))


class _Connection(ClientConnection):
    """A WebSocket that is cut off when the central system asks and does not read."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cut_off_who_does_not_read(self.transport)


class _Connect(connect):
    """websockets' connect, but a redirect leads to another host only if the operator writes it down."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        try:
            target = super().process_redirect(exc)
        except WebSocketException:  # not to a WebSocket at all: a login page
            return exc
        if isinstance(target, str):
            here, there = self.ws_uri, parse_uri(target)
            if (here.secure, here.host, here.port) != (there.secure, there.host, there.port):
                return exc
        return target


def _explain(error: Exception, open_timeout: float) -> _Failure:
    if isinstance(error, InvalidStatus):
        response = error.response
        problem = f"it answered HTTP {response.status_code} {response.reason_phrase}".rstrip()
        if "Location" in response.headers:
            problem += f" to {response.headers['Location'][:200]}, which is not followed"
        return _Failure("refused", problem, response.status_code in HOPELESS_STATUSES)
    if isinstance(error, NegotiationError):
        return _Failure("refused", f"its answer breaks what was offered: {error}", hopeless=True)
    if isinstance(error, TimeoutError):
        return _Failure("timeout", f"no connection within {open_timeout:g} s")
    if isinstance(error, ConnectionRefusedError):
        return _Failure("refused", f"it refused the connection: {error}")
    if isinstance(error, InvalidHandshake | EOFError):
        return _Failure("refused", f"it did not complete the WebSocket handshake: {error}")
    return _Failure("unreachable", f"no connection could be made: {str(error) or type(error).__name__}")

"""Builds the gateway from its configuration and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import ssl
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import version

import structlog

from wattbridge.config import Bind, Config, Upstream
from wattbridge.config.values import read_identity
from wattbridge.links.callbacks import AddressPolicy, CallbackClient, own_addresses
from wattbridge.links.central_system_json import (
    Backoff,
    CentralSystem,
    CentralSystemJson,
    LinkState,
    Pacer,
)
from wattbridge.links.charge_point_json import CentralSystemEndpoint
from wattbridge.links.charge_point_soap import CentralSystemService
from wattbridge.links.charge_points import ChargePoint
from wattbridge.links.json_link import JsonLimits
from wattbridge.links.listener import HttpRequest, Limits, Listener
from wattbridge.ocpp.actions import Dialect, JsonCodec, dialect
from wattbridge.ocpp.messages import Side
from wattbridge.ocpp.payloads import Options
from wattbridge.operation import logs
from wattbridge.operation.health import HealthPort
from wattbridge.operation.metrics import Metrics, State
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.registry import Registry
from wattbridge.relay.routes import Heard
from wattbridge.relay.session import Session

# How a listener refuses: HTTP status → reason. With the first two it is a connection, else a request.
REFUSED_CONNECTIONS = {403: "auth", 503: "rate_limited"}
REFUSED_REQUESTS = {400: "malformed", 408: "timeout", 413: "too_large", 431: "too_large"}

# Where charge points open their WebSockets; the second is where they do with a SteVe.
WEBSOCKET_PATHS = ("/ocpp/{charger}", "/steve/websocket/CentralSystemService/{charger}")

LAG_EVERY = 1.0  # seconds
OWN_FILES = 64  # what the gateway itself keeps open, and room for callbacks


class CannotStart(Exception):
    """The gateway cannot start: a sentence that says why not."""


class Gateway:
    """The whole gateway: listeners, sessions, links, metrics, built from one configuration.

    Whoever wants to see exchanges listens to ``journal`` before ``run``. After ``on_ready`` of ``run``,
    ``addresses`` tells where each listener is reached, and ``metrics_address`` where the metrics are.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.journal = Journal()
        self._not_ready_because = ["the gateway is starting"]
        self._draining = False
        self._links: Counter[tuple[str, str]] = Counter()  # to each upstream, by state
        self._upstreams = {
            name: _Upstream(name, upstream, config.gateway.drain)
            for name, upstream in config.upstreams.items()
        }
        self.registry = Registry(
            self.journal,
            self._open_way,
            alive=config.sessions.alive,
            heartbeat_interval=config.sessions.heartbeat,
            most_sessions=max(config.sessions.most, len(config.chargers)),
        )
        usual = self._dialect(config.time.zone.key)
        self._unlisted = ChargePoint(usual) if config.gateway.unknown == "accept" else None
        self._listed = {
            identity: ChargePoint(
                self._dialect(config.zone_of(identity).key), callback_url=known.callback_url, to=known.to
            )
            for identity, known in config.chargers.items()
        }
        self.metrics = Metrics(
            version("wattbridge"),
            usual.operations,
            self._state,
            upstreams=config.upstreams,
            listeners=config.listeners,
            pairs=(("soap", "json"), ("json", "json")),
        )
        self.metrics.listen_to(self.journal)
        callbacks = config.callbacks
        self._client = CallbackClient(
            timeout=callbacks.timeout, connect_timeout=callbacks.connect_timeout, limit=callbacks.answer
        )
        binds = [config.metrics.bind, *(section.bind for section in config.listeners.values())]
        policy = AddressPolicy(
            networks=callbacks.networks,
            template=callbacks.template,
            own=own_addresses(bind.host for bind in binds),
        )
        limits = JsonLimits(close_wait=min(10.0, config.gateway.drain))
        self._listeners = [
            self._listener(name, CentralSystemService(
                self.registry, self.journal, self._admit, usual, policy, self._client,
                paths=section.paths + WEBSOCKET_PATHS, public_url=config.gateway.public_url or "",
            ), CentralSystemEndpoint(
                self.registry, self.journal, self._admit, paths=section.paths + WEBSOCKET_PATHS, limits=limits
            ))
            for name, section in config.listeners.items()
        ]  # fmt: skip
        self._health = HealthPort(
            config.metrics.bind.host, config.metrics.bind.port, self.metrics, lambda: self._not_ready_because
        )

    @property
    def addresses(self) -> dict[str, str]:
        """Where each listener is reached, by its name: ``{"soap": "http://127.0.0.1:8080/ocpp/cs"}``."""
        sections = self.config.listeners
        return {
            bound.name: f"http://{Bind(bound.host or '', bound.port)}{sections[bound.name].paths[0]}"
            for bound in self._listeners
        }

    @property
    def metrics_address(self) -> str:
        return f"http://{Bind(self.config.metrics.bind.host, self._health.port)}/metrics"

    async def run(self, stopping: asyncio.Event, on_ready: Callable[[], None] = lambda: None) -> None:
        """Serve until *stopping* is set, then let go of everything in order.

        Raises CannotStart when an address cannot be bound.
        """
        async with AsyncExitStack() as stack:
            # The health port answers from the beginning to the end.
            await _bind("metrics", self.config.metrics.bind, self._health.start)
            stack.push_async_callback(self._health.stop)
            async with asyncio.TaskGroup() as tasks:
                sessions = tasks.create_task(self.registry.run(), name="sessions")
                lag = tasks.create_task(self._watch_loop(), name="event loop lag")
                try:
                    problem = await self._listen()
                    if problem is None:
                        self._not_ready_because = []
                        on_ready()
                        await stopping.wait()
                finally:
                    lag.cancel()
                    await self._stop(sessions)
            if problem is not None:
                raise problem

    async def _listen(self) -> CannotStart | None:
        """Start every listener; returns why one of them cannot."""
        for listener in self._listeners:
            bind = self.config.listeners[listener.name].bind
            try:
                await _bind(f"listeners.{listener.name}", bind, listener.start)
            except CannotStart as problem:
                return problem
        return None

    async def _stop(self, sessions: asyncio.Task[None]) -> None:
        """Readiness first, so that whoever sends us traffic stops; then what is in flight ends; then the
        central systems see their charge points go.

        What is in flight has ``gateway.drain`` to end. A central system that is silent and takes no part in
        the closing handshake costs up to 15 s more.
        """
        self._draining = True
        self._not_ready_because = ["the gateway is stopping"]
        self.registry.drain()
        drain = self.config.gateway.drain
        ends = asyncio.get_running_loop().time() + drain
        await asyncio.gather(*(listener.stop(drain) for listener in self._listeners))
        self.registry.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(ends):
                await asyncio.wait([sessions])
        await self._client.close()  # whoever still waits for a charge point is told so

    async def _watch_loop(self) -> None:
        """See how late timers fire."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY
            await asyncio.sleep(LAG_EVERY)
            self.metrics.observe_lag(max(0.0, loop.time() - due))

    def _listener(
        self, name: str, service: CentralSystemService, endpoint: CentralSystemEndpoint
    ) -> Listener:
        section = self.config.listeners[name]
        limits = section.limits

        def connected() -> None:
            self.journal.event(Event("connection opened", labels={"listener": name}))

        def refused(source: str, status: int, text: str) -> None:
            connection = REFUSED_CONNECTIONS.get(status)
            kind = "connection refused" if connection else "request refused"
            reason = connection or REFUSED_REQUESTS.get(status, "unsupported")
            labels = {"listener": name, "source": source}
            self.journal.event(Event(kind, text=text, reason=reason, labels=labels))

        def failed(problem: Exception, request: HttpRequest | None) -> None:
            text = f"{request.method} {request.path}: {problem!r}" if request else repr(problem)
            self.journal.event(
                Event("internal error", text=text, reason="internal", labels={"listener": name})
            )

        return Listener(
            name,
            section.bind.host,
            section.bind.port,
            service.handle,
            Limits(
                body=limits.body,
                header_timeout=limits.header_timeout,
                body_timeout=limits.body_timeout,
                idle=limits.idle,
                connections=limits.connections,
                connections_per_source=limits.connections_per_source,
            ),
            section.allow,
            upgrade=endpoint.handle,
            on_connection=connected,
            on_refusal=refused,
            on_error=failed,
        )

    def _admit(self, identity: str, source: str, listener: str) -> ChargePoint | None:
        """What is configured for a charge point; None when it is not to be served."""
        known = self._listed.get(identity)
        if known is not None or self._unlisted is None:
            return known
        try:
            read_identity(identity)  # whoever is not listed still has to be one that could be
        except ValueError:
            return None
        return self._unlisted

    def _dialect(self, zone: str, celsius: str = "Celsius") -> Dialect:
        return dialect("1.6", Options(zone=zone, milliseconds=self.config.time.milliseconds, celsius=celsius))

    def _open_way(self, session: Session, heard: Heard) -> _Way:
        name = self.config.route_of(session.identity).upstream
        upstream = self._upstreams[name]
        zone = self.config.zone_of(session.identity).key
        codec = JsonCodec(self._dialect(zone, upstream.celsius), Side.CENTRAL_SYSTEM)
        session.upstream = name
        return _Way(
            CentralSystemJson(
                session,
                codec,
                self.journal,
                upstream.central_system,
                upstream.pacer,
                on_state=self._count_states(name),
            )
        )

    def _count_states(self, upstream: str) -> Callable[[LinkState], None]:
        """Count one more link to *upstream*; what is returned is told how its state changes."""
        counted: LinkState = "connecting"
        self._links[upstream, counted] += 1

        def changed(state: LinkState) -> None:
            nonlocal counted
            self._links[upstream, counted] -= 1
            if state != "closed":
                self._links[upstream, state] += 1
            counted = state

        return changed

    def _state(self) -> State:
        states = ("open", "connecting", "backoff")
        return State(
            ready=not self._not_ready_because,
            draining=self._draining,
            charge_points=Counter(
                session.links[Side.CHARGE_POINT].transport for session in self.registry.sessions()
            ),
            offline=sum(identity not in self.registry for identity in self._listed),
            sessions={
                (name, state): self._links[name, state] for name in self._upstreams for state in states
            },
            connections={listener.name: listener.open for listener in self._listeners},
            in_flight=self.journal.in_flight,
        )


@dataclass(frozen=True, slots=True)
class _Way:
    link: CentralSystemJson

    def leads(self, heard: Heard) -> bool:
        return True


class _Upstream:
    """One central system as its links share it: one pace for all of them, one TLS context."""

    def __init__(self, name: str, section: Upstream, drain: float) -> None:
        basic = section.auth.basic if section.auth else None
        connect, ping = section.connect, section.ping
        self.celsius = section.celsius
        self.pacer = Pacer(connect.rate)
        self.central_system = CentralSystem(
            url=section.url,
            name=name,
            username=basic.username if basic else "",
            password=basic.password.get_secret_value().encode() if basic else None,
            tls=_tls(section) if section.url.startswith("wss:") else None,
            subprotocol=section.subprotocol,
            user_agent=f"wattbridge/{version('wattbridge')}",
            open_timeout=connect.timeout,
            connect_wait=connect.timeout,
            backoff=Backoff(connect.backoff.first, connect.backoff.max, connect.backoff.jitter),
            ping_interval=ping.every or None,
            ping_timeout=ping.timeout,
            compression=section.compression,
            max_size=section.max_frame,
            limits=JsonLimits(call_timeout=section.call_timeout, close_wait=min(10.0, drain)),
        )


def _tls(section: Upstream) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(section.tls.ca) if section.tls.ca else None)
    if not section.tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def run(config: Config, *, exit_when_ready: bool = False) -> int:
    """Run the gateway until SIGTERM or SIGINT; a second one ends it at once.

    Returns the exit code: 0, or 2 when it cannot start.
    """
    logs.set_up(config.logging.level, config.logging.format)
    log = structlog.get_logger()
    make_room_for_files(config)
    gateway = Gateway(config)
    logs.ExchangeLog().listen_to(gateway.journal)

    async def serve() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()

        def told_to_stop(number: signal.Signals) -> None:
            if stopping.is_set():
                log.warning("stopped at once", signal=number.name)
                os._exit(128 + number)
            log.info("stopping", signal=number.name, drain=config.gateway.drain)
            stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told_to_stop, number)

        def ready() -> None:
            log.info(
                "ready",
                name=config.gateway.name,
                version=version("wattbridge"),
                listeners=gateway.addresses,
                metrics=gateway.metrics_address,
            )
            if exit_when_ready:
                stopping.set()

        await gateway.run(stopping, ready)
        log.info("stopped")

    # What was built lives as long as the gateway, and messages leave no cycles behind: without this the
    # collector walks everything again and again for nothing (measured: 5 % of the CPU under load).
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 20)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve())
    except CannotStart as problem:
        sys.stderr.write(f"wattbridge: cannot start: {problem}\n")
        return 2
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # it is not made for every Python
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def make_room_for_files(config: Config) -> None:
    """Raise the limit of open files to what the listeners may need, or as far as that goes, and say so."""
    # Each connection of a charge point takes one, and each session a WebSocket: a charge point that closes
    # its connection after every message still has a session.
    connections = sum(section.limits.connections for section in config.listeners.values())
    needed = connections + max(connections, len(config.chargers)) + OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    possible = max(needed, soft) if hard == resource.RLIM_INFINITY else hard
    if possible > soft:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
            soft = possible
    if soft < needed:
        structlog.get_logger().warning(
            "too few open files allowed",
            allowed=soft,
            needed=needed,
            text=f"the listeners' limits allow {connections} connections, and every charge point needs a "
            "WebSocket: raise the limit of open files (ulimit -n, LimitNOFILE) or lower limits.connections",
        )


async def _bind(section: str, bind: Bind, start: Callable[[], Awaitable[None]]) -> None:
    """Start what listens on *bind*. Raises CannotStart, which names the section of the configuration."""
    try:
        await start()
    except OSError as problem:
        said = os.strerror(problem.errno) if problem.errno and problem.errno > 0 else str(problem)
        raise CannotStart(f"{section}.bind: {bind}: {said[:1].lower()}{said[1:]}") from None

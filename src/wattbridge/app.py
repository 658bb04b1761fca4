"""Builds the gateway from its configuration and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import ssl
import sys
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version

import structlog
import uvloop

from wattbridge.config import Config, Upstream
from wattbridge.links.callbacks import AddressPolicy, CallbackClient
from wattbridge.links.central_system_json import Backoff, CentralSystem, CentralSystemJson, Pacer
from wattbridge.links.charge_point_soap import CentralSystemService, ChargePoint
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
from wattbridge.relay.session import Session


class Gateway:
    """The whole gateway: listeners, sessions, links, metrics, built from one configuration.

    Whoever wants to see exchanges listens to ``journal`` before ``run``. After ``on_ready`` of ``run``,
    ``addresses`` tells where each listener is reached, and ``metrics_port`` where the metrics are.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.journal = Journal()
        self._ready = False
        self._draining = False
        self._upstreams = {name: _Upstream(name, upstream) for name, upstream in config.upstreams.items()}
        self.registry = Registry(
            self.journal,
            self._open_link,
            alive=config.sessions.alive,
            heartbeat_interval=config.sessions.heartbeat,
        )
        usual = self._dialect(config.time.zone.key)
        self.metrics = Metrics(version("wattbridge"), usual.operations, self._state)
        self.metrics.listen_to(self.journal)
        callbacks = config.callbacks
        self._client = CallbackClient(
            timeout=callbacks.timeout, connect_timeout=callbacks.connect_timeout, limit=callbacks.answer
        )
        policy = AddressPolicy(networks=callbacks.networks, template=callbacks.template)
        self._listeners = [
            self._listener(name, CentralSystemService(
                self.registry, self.journal, self._charge_point, usual, policy, self._client,
                paths=section.paths, public_url=config.gateway.public_url or "",
            ))
            for name, section in config.listeners.items()
        ]  # fmt: skip
        self._health = HealthPort(
            config.metrics.bind.host, config.metrics.bind.port, self.metrics, self._not_ready
        )

    @property
    def addresses(self) -> dict[str, str]:
        """Where each listener is reached, by its name: ``{"soap": "http://127.0.0.1:8080/ocpp/cs"}``."""
        listeners = self.config.listeners
        return {
            bound.name: f"http://{bound.host}:{bound.port}{listeners[bound.name].paths[0]}"
            for bound in self._listeners
        }

    @property
    def metrics_address(self) -> str:
        return f"http://{self.config.metrics.bind.host}:{self._health.port}/metrics"

    async def run(self, stopping: asyncio.Event, on_ready: Callable[[], None] = lambda: None) -> None:
        """Serve until *stopping* is set, then let go of everything in order.

        Raises OSError when an address cannot be bound.
        """
        async with asyncio.TaskGroup() as tasks:
            try:
                await self._health.start()
                for listener in self._listeners:
                    await listener.start()
                tasks.create_task(self.registry.run(), name="registry")
                self._ready = True
                on_ready()
                await stopping.wait()
            finally:
                # Readiness first, so that whoever sends us traffic stops; then what is in flight ends;
                # then the central systems see their charge points go. The health port answers to the end.
                self._draining = True
                self._ready = False
                drain = self.config.gateway.drain
                await asyncio.gather(*(listener.stop(drain) for listener in self._listeners))
                self.registry.stop()
        await self._client.close()
        await self._health.stop()

    def _listener(self, name: str, service: CentralSystemService) -> Listener:
        section = self.config.listeners[name]
        limits = section.limits

        def refused(source: str, status: int, text: str) -> None:
            log = structlog.get_logger("wattbridge")
            log.warning("request refused", listener=name, source=source, status=status, text=text)

        def failed(problem: Exception, request: HttpRequest | None) -> None:
            structlog.get_logger("wattbridge").error("internal error", listener=name, exc_info=problem)

        def happened(kind: str, reason: str) -> None:
            if kind.endswith("_refused"):
                self.journal.event(Event("connection refused", reason=reason, labels={"listener": name}))

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
            on_event=happened,
            on_refusal=refused,
            on_error=failed,
        )

    def _charge_point(self, identity: str) -> ChargePoint | None:
        """What is configured for a charge point; None when it is not to be served."""
        known = self.config.chargers.get(identity)
        if known is None and self.config.gateway.unknown == "refuse":
            return None
        compiled = self._dialect(self.config.zone_of(identity).key)
        return ChargePoint(
            dialect=compiled,
            callback_url=known.callback_url if known else None,
            to=known.to if known else None,
        )

    def _dialect(self, zone: str, celsius: str = "Celsius") -> Dialect:
        return dialect("1.6", Options(zone=zone, milliseconds=self.config.time.milliseconds, celsius=celsius))

    def _open_link(self, session: Session) -> CentralSystemJson:
        upstream = self._upstreams[self.config.route_of(session.identity).upstream]
        zone = self.config.zone_of(session.identity).key
        codec = JsonCodec(self._dialect(zone, upstream.celsius), Side.CENTRAL_SYSTEM)
        return CentralSystemJson(session, codec, self.journal, upstream.central_system, upstream.pacer)

    def _not_ready(self) -> list[str]:
        if self._draining:
            return ["the gateway is stopping"]
        return [] if self._ready else ["the gateway is starting"]

    def _state(self) -> State:
        sessions: Counter[tuple[str, str]] = Counter()
        for session in self.registry.sessions():
            link = session.links[Side.CENTRAL_SYSTEM]
            if isinstance(link, CentralSystemJson):
                sessions[self.config.route_of(session.identity).upstream, link.state] += 1
        return State(
            ready=self._ready,
            draining=self._draining,
            charge_points=len(self.registry),
            sessions=dict(sessions),
            connections={listener.name: listener.open for listener in self._listeners},
        )


class _Upstream:
    """One central system as its links share it: one pace for all of them, one TLS context."""

    def __init__(self, name: str, section: Upstream) -> None:
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
            limits=JsonLimits(call_timeout=section.call_timeout),
        )


def _tls(section: Upstream) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(section.tls.ca) if section.tls.ca else None)
    if not section.tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def run(config: Config, *, exit_when_ready: bool = False) -> int:
    """Run the gateway until SIGTERM or SIGINT. Returns the exit code: 0, or 2 when it cannot start."""
    logs.set_up(config.logging.level, config.logging.format)
    log = structlog.get_logger("wattbridge")
    gateway = Gateway(config)
    logs.ExchangeLog().listen_to(gateway.journal)

    async def serve() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)

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

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())
    except OSError as problem:
        sys.stderr.write(f"wattbridge: cannot start: {problem}\n")
        return 2
    return 0

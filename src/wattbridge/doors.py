"""The doors of the gateway: each listener of the configuration with everything that is served at it.

A door leads to a fleet: which charge points are let in there, which way they go, and how they and their
central systems are spoken with. Another configuration leads an open door to another fleet.
"""

from __future__ import annotations

import asyncio

from wattbridge.config import Bind
from wattbridge.config import Listener as ListenerSection
from wattbridge.fleet import Fleet
from wattbridge.links import tls
from wattbridge.links.central_system_soap import ChargePointService
from wattbridge.links.charge_point_json import CentralSystemEndpoint
from wattbridge.links.charge_point_soap import CentralSystemService
from wattbridge.links.json_link import JsonLimits
from wattbridge.links.listener import HttpRequest, HttpResponse, Limits, Listener
from wattbridge.links.paths import SEGMENT
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.registry import Registry
from wattbridge.relay.session import Session

# How a listener refuses: HTTP status → reason. With the first two it is a connection, else a request.
REFUSED_CONNECTIONS = {403: "auth", 503: "rate_limited"}
REFUSED_REQUESTS = {400: "malformed", 408: "timeout", 413: "too_large", 431: "too_large"}


class Door:
    """One listener, open from ``start`` to ``stop``. Raises OSError when a file of its TLS cannot be used."""

    def __init__(
        self, name: str, section: ListenerSection, fleet: Fleet, registry: Registry, journal: Journal
    ) -> None:
        self.name = name
        self.section = section
        self._registry = registry
        self._journal = journal
        self._tls = _context(section)
        self._trusts = _trusted(section)
        self._callbacks: list[ChargePointService] = []
        self._tasks: asyncio.TaskGroup | None = None
        bind = section.bind
        self._listener = Listener(
            name,
            bind.host,
            bind.port,
            self._handle,
            tls=self._tls,
            on_connection=self._connected,
            on_refusal=self._refused,
            on_error=self._failed,
        )
        self.lead_to(section, fleet)

    @property
    def address(self) -> str:
        """Where SOAP messages are posted: ``http://127.0.0.1:8080/ocpp/cs``, the first of its addresses."""
        return self._reached("http", [path for path in self.section.paths if not path.endswith(SEGMENT)])

    @property
    def websocket_address(self) -> str:
        """Where WebSockets are opened: ``ws://127.0.0.1:8080/ocpp/{charger}``, the first of its addresses."""
        return self._reached("ws", [path for path in self.section.paths if path.endswith(SEGMENT)])

    def _reached(self, scheme: str, paths: list[str]) -> str:
        bound = Bind(self._listener.host or "", self._listener.port)
        return f"{scheme}{'s' if self._tls else ''}://{bound}{paths[0] if paths else ''}"

    @property
    def open(self) -> int:
        """How many connections there are."""
        return self._listener.open

    def fits(self, section: ListenerSection) -> bool:
        """Whether *section* can be served without opening another door. Raises OSError.

        Whom TLS trusts can be added to an open door, but not taken away.
        """
        return self.section.bind == section.bind and self._trusts == _trusted(section)

    def lead_to(self, section: ListenerSection, fleet: Fleet) -> None:
        """Serve *section*, which fits, and lead what comes from now on to *fleet*."""
        config = fleet.config
        self.section = section
        limits, listener = section.limits, self._listener
        listener.set_limits(
            Limits(
                body=limits.body,
                header_timeout=limits.header_timeout,
                body_timeout=limits.body_timeout,
                idle=limits.idle,
                connections=limits.connections,
                connections_per_source=limits.connections_per_source,
                handshakes=limits.handshakes,
                handshake_rate=limits.handshake_rate,
                max_frame=limits.max_frame,
            )
        )
        listener.allow = section.allow
        listener.compression = config.websocket.compression
        public_url = config.gateway.public_url or ""
        self._service = CentralSystemService(
            self._registry,
            self._journal,
            fleet.admit,
            fleet.usual,
            fleet.callback_policy,
            fleet.callback_client,
            paths=section.paths,
            protocol=section.protocol,
            versions=section.versions,
            public_url=public_url,
            hear=fleet.hear,
        )
        endpoint = CentralSystemEndpoint(
            self._registry,
            self._journal,
            fleet.admit,
            paths=section.paths,
            protocol=section.protocol,
            limits=JsonLimits(
                call_timeout=config.websocket.call_timeout, close_wait=min(10.0, config.gateway.drain)
            ),
            hear=fleet.hear,
        )
        listener.upgrade = endpoint.handle
        earlier = self._callbacks
        self._callbacks = [
            ChargePointService(
                self._registry,
                self._journal,
                fleet.usual,
                callers,
                path=path,
                public_url=public_url,
                dialect_of=fleet.dialect_of,
            )
            for path, callers in fleet.callbacks_at(self.name).items()
        ]
        for service in earlier:
            service.stop()
        self._run_callbacks()

    def restore(self, session: Session) -> None:
        """Make the link to a SOAP charge point whose session comes back after a restart."""
        self._service.restore(session)

    async def start(self, owner: Door | None = None) -> None:
        """Open it; on the socket of *owner*, which has the address, when there is one.

        Raises OSError when the address cannot be had.
        """
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()  # left in stop()
        self._run_callbacks()
        try:
            await self._listener.start(owner._listener if owner is not None else None)
        except OSError:
            await self._end_callbacks()
            raise

    async def stop(self, drain: float, why: str = "the gateway is stopping") -> None:
        """Take nothing more, let what is in flight end within *drain* seconds, and close.

        *why* is what those on a WebSocket are told.
        """
        await self._listener.stop(drain, why)
        await self._end_callbacks()

    async def _end_callbacks(self) -> None:
        for service in self._callbacks:
            service.stop()
        if self._tasks is not None:
            await self._tasks.__aexit__(None, None, None)
            self._tasks = None

    def reload_certificates(self, section: ListenerSection) -> None:
        """Read the certificates of *section* again. Raises OSError; what was there is kept then."""
        if self._tls is not None and section.tls is not None:
            files = section.tls
            tls.reload(self._tls, certificate=files.certificate, key=files.key)

    def _run_callbacks(self) -> None:
        if self._tasks is not None:
            for service in self._callbacks:
                self._tasks.create_task(service.run(), name=f"calls of central systems at {self.name}")

    async def _handle(self, request: HttpRequest) -> HttpResponse:
        for service in self._callbacks:
            if service.identity_in(request) is not None:
                return await service.handle(request)
        return await self._service.handle(request)

    def _connected(self) -> None:
        self._journal.event(Event("connection opened", labels={"listener": self.name}))

    def _refused(self, source: str, status: int, text: str) -> None:
        connection = REFUSED_CONNECTIONS.get(status)
        kind = "connection refused" if connection else "request refused"
        reason = connection or REFUSED_REQUESTS.get(status, "unsupported")
        labels = {"listener": self.name, "source": source}
        self._journal.event(Event(kind, text=text, reason=reason, labels=labels))

    def _failed(self, problem: Exception, request: HttpRequest | None) -> None:
        text = f"{request.method} {request.path}: {problem!r}" if request else repr(problem)
        labels = {"listener": self.name}
        self._journal.event(Event("internal error", text=text, reason="internal", labels=labels))


def _context(section: ListenerSection) -> tls.Context | None:
    if section.tls is None:
        return None
    files = section.tls
    return tls.server_context(files.certificate, files.key, files.client_ca, files.client_auth)


def _trusted(section: ListenerSection) -> tuple[object, ...]:
    """Whether there is TLS, and whose certificates it takes from those who connect."""
    if section.tls is None:
        return ()
    return section.tls.client_auth, tls.contents(section.tls.client_ca)

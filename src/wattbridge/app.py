"""Builds the gateway from its configuration and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import structlog

from wattbridge.administration import Administration
from wattbridge.config import Admin as AdminSection
from wattbridge.config import Bind, Config, Loaded
from wattbridge.config.places import store_path
from wattbridge.counting import counted
from wattbridge.doors import Door
from wattbridge.fleet import Counts, Fleet, Way
from wattbridge.keeping import audit_of, history_of, open_store, rules_of
from wattbridge.links import tls
from wattbridge.links.handling import Boot
from wattbridge.observing import charge_points, expirations, revision
from wattbridge.ocpp.actions import counted_actions
from wattbridge.ocpp.messages import Side
from wattbridge.operation import logs
from wattbridge.operation.api import Access, AdminPort, Page, Site, Token, openapi, pages_of, signing_in
from wattbridge.operation.api.pages import Handler
from wattbridge.operation.audit import Audit
from wattbridge.operation.health import HealthPort
from wattbridge.operation.history import History
from wattbridge.operation.losses import Losses
from wattbridge.operation.metrics import ChargePointState, Metrics, State
from wattbridge.operation.problems import Problems
from wattbridge.operation.rates import Rates
from wattbridge.operation.systemd import ServiceManager
from wattbridge.relay.delivery import Deliveries
from wattbridge.relay.duty import Duties
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.registry import Registry
from wattbridge.relay.routes import Heard
from wattbridge.relay.session import Session
from wattbridge.reloading import CannotReload, Reloader
from wattbridge.showing import Showing
from wattbridge.store.base import CannotOpen, ChargePoint, NotKept, Store
from wattbridge.store.memory import MemoryStore
from wattbridge.tracing import CannotTrace, Traces

LAG_EVERY = 1.0  # seconds
TIDY_HISTORY_EVERY = 60.0  # seconds
CLOSING = 20.0  # seconds that may go by after gateway.drain, and some to spare
OWN_FILES = 64  # what the gateway itself keeps open, and room for callbacks


class CannotStart(Exception):
    """The gateway cannot start: a sentence that says why not."""


class Gateway:
    """The whole gateway: listeners, sessions, links, metrics, built from one configuration, or one after the
    other.

    Whoever wants to see exchanges listens to ``journal`` before ``run``. After ``on_ready`` of ``run``,
    ``addresses`` tells where each listener is reached, and ``metrics_address`` where the metrics are.
    ``reload_with`` gives it an admin API, where the configuration asks for one, that can reload. *store* is
    open, and closed by whoever opened it; without one, what is remembered is gone with the gateway. One in
    memory keeps no message history.
    Raises CannotStart when a file that the configuration names can no longer be used.
    """

    def __init__(self, config: Config, store: Store | None = None, journal: Journal | None = None) -> None:
        self.config = config
        self.journal = journal or Journal()
        self._not_ready = ["the gateway is starting"]
        self._draining = False
        self.counts = Counts()
        self.duties = Duties(self.journal)
        self.duties.go_by(config.upstreams)
        self.deliveries = Deliveries(store or MemoryStore(), self.journal, rules_of(config))
        try:
            self.fleet = Fleet(config, self.journal, self.counts, self.deliveries, self.duties)
        except OSError as problem:
            raise CannotStart(f"TLS: {problem}") from None
        self.registry = Registry(self.journal, self._open_way, deliveries=self.deliveries)
        self._set_up_registry()
        actions = counted_actions(self.fleet.usual)
        self.metrics = Metrics(version("wattbridge"), actions, self._state, revision=revision())
        self.traces = Traces(self.journal)
        self._set_up_metrics()
        self.metrics.listen_to(self.journal)
        self.losses = Losses()
        self.losses.listen_to(self.journal)
        kept = self.deliveries.store
        # A store in memory is for what the gateway needs.
        self.history = History(None if isinstance(kept, MemoryStore) else kept, history_of(config))
        self.history.listen_to(self.journal)
        self.showing = Showing(self.history, kept, self.journal, self.fleet.profiles)
        self.rates = Rates()
        self.rates.listen_to(self.journal)
        self.problems = Problems()
        self.problems.listen_to(self.journal)
        self.audit = Audit(self.deliveries.store, self.journal, audit_of(config))
        self.access = Access(_tokens(config))
        self._doors = {name: self._door(name, self.fleet) for name in config.listeners}
        self.deliveries.on_waiting = self._open_for_waiting
        self._health = self._health_port(config)
        self._admin: AdminPort | None = None
        self._administration: Administration | None = None
        self._tasks: asyncio.TaskGroup | None = None

    def reload_with(self, reloader: Reloader) -> None:
        self._administration = Administration(self, reloader)

    @property
    def addresses(self) -> dict[str, str]:
        """Where each listener is reached, by its name: ``{"soap": "http://127.0.0.1:8080/ocpp/cs"}``."""
        return {name: door.address for name, door in self._doors.items()}

    @property
    def websocket_addresses(self) -> dict[str, str]:
        """Where WebSockets are opened, likewise: ``{"soap": "ws://127.0.0.1:8080/ocpp/{charger}"}``."""
        return {name: door.websocket_address for name, door in self._doors.items()}

    @property
    def checks(self) -> dict[str, list[str]]:
        """What has to be well for messages to be accepted, each with why it is not."""
        problem, full = self.deliveries.store.problem, self.deliveries.is_full
        return {
            "running": list(self._not_ready),
            "store": [f"messages cannot be kept: {problem}"] if problem else [],
            "queue": ["messages cannot be kept: as many wait as offline.queue allows"] if full else [],
        }

    @property
    def not_ready_because(self) -> list[str]:
        return [why for causes in self.checks.values() for why in causes]

    @property
    def summary(self) -> str:
        """How it does, in a line: ``ready: 120 charge points, 4 messages wait``."""
        if why := self.not_ready_because:
            return f"not ready: {'; '.join(why)}"
        sessions, waiting = len(self.registry), self.deliveries.waiting.messages
        return f"ready: {counted(sessions, 'charge point')}, {counted(waiting, 'message')} to deliver"

    @property
    def metrics_address(self) -> str:
        return f"http://{Bind(self.config.metrics.bind.host, self._health.port)}/metrics"

    @property
    def admin_address(self) -> str | None:
        """Where the admin API is; None where there is none."""
        if self._admin is None or self.config.admin is None:
            return None
        scheme = "https" if self.config.admin.tls else "http"
        return f"{scheme}://{Bind(self.config.admin.bind.host, self._admin.port)}"

    @property
    def admin_pages(self) -> list[Page]:
        """What the admin API serves; none before ``reload_with``."""
        if self._administration is None:
            return []
        pages = [
            *pages_of(self._administration),
            *self.showing.pages,
            *signing_in.pages(self.access),
        ]
        return [*pages, openapi.page(pages, version("wattbridge"))]

    @property
    def doors(self) -> dict[str, Door]:
        return self._doors

    @property
    def draining(self) -> bool:
        return self._draining

    async def run(self, stopping: asyncio.Event, on_ready: Callable[[], None] = lambda: None) -> None:
        """Serve until *stopping* is set, then let go of everything in order.

        Raises CannotStart when an address cannot be bound.
        """
        async with AsyncExitStack() as stack:
            # The health port answers from the beginning to the end.
            await _bind("metrics", self.config.metrics.bind, self._health.start)
            stack.push_async_callback(self._stop_health)
            try:
                self.traces.go_by(self.config, self.traces.prepared(self.config))
            except CannotTrace as missing:
                raise CannotStart(str(missing)) from None
            stack.push_async_callback(self.traces.close)
            waiting = await self.deliveries.open()
            if waiting or self.deliveries.parked:
                amount, parked = self.deliveries.waiting, self.deliveries.parked
                text = f"{amount.messages} of {len(waiting)} charge points, and {parked} are parked"
                self.journal.event(Event("messages wait", text=text))
            with suppress(NotKept):  # the store says so itself
                await self.showing.begin()
            await self._recall()
            async with self.deliveries.running(), asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                restoring: asyncio.Task[None] | None = None
                sessions = tasks.create_task(self.registry.run(), name="sessions")
                lag = tasks.create_task(self._watch_loop(), name="event loop lag")
                tidying = tasks.create_task(self._tidy_history(), name="message history")
                try:
                    problem = await self._listen()
                    if problem is None:
                        self._not_ready = []
                        restoring = tasks.create_task(self._restore(waiting), name="sessions of before")
                        on_ready()
                        await stopping.wait()
                finally:
                    lag.cancel()
                    tidying.cancel()
                    if restoring is not None:
                        restoring.cancel()
                    await self._stop(sessions)
            if problem is not None:
                raise problem

    async def _listen(self) -> CannotStart | None:
        """Start everything that listens; returns why something cannot."""
        try:
            self._admin = await self._start_admin(self.config)
            for name, door in self._doors.items():
                await _bind(f"listeners.{name}", door.section.bind, door.start)
        except CannotStart as problem:
            return problem
        return None

    async def _recall(self) -> None:
        """Learn again what charge points have said they are: it decides how their first message is read."""
        after: tuple[str, ...] = ()
        with suppress(NotKept):  # the store says so itself
            while rows := await self.deliveries.store.find(ChargePoint, after=after):
                for row in rows:
                    if row.vendor is not None:
                        boot = Boot(row.vendor, row.model or "", row.firmware or "")
                        self.fleet.recall(row.identity, boot)
                after = (rows[-1].identity,)

    async def _restore(self, waiting: list[str]) -> None:
        """Open the sessions of charge points that had one when the gateway stopped, or for which messages
        wait. Central systems see them connect at the pace of ``connect.rate``.
        """
        try:
            rows = {row.identity: row for row in await self._alive()}
            for identity in waiting:
                if identity not in rows:
                    known = await self.deliveries.store.find(ChargePoint, {"identity": identity})
                    rows[identity] = known[0] if known else ChargePoint(identity)
        except NotKept as broken:
            self.journal.event(Event("store broken", "", f"sessions were not restored: {broken}", "internal"))
            return
        wait = set(waiting)
        for count, row in enumerate(rows.values()):
            # A JSON charge point comes back by itself.
            if row.dialect.startswith("soap") or row.identity in wait:
                self._restore_session(row)
            if count % 100 == 0:
                await asyncio.sleep(0)

    def _restore_session(self, row: ChargePoint) -> None:
        if self.fleet.admit(row.identity, row.source, row.listener) is None:
            text = "it is not known to this gateway any more"
            self.journal.event(Event("session not restored", row.identity, text, "auth"))
            return
        session = self.registry.restore(row)
        if session is None:
            return
        door = self._doors.get(row.listener) or next(iter(self._doors.values()))
        door.restore(session)
        if self.deliveries.rules.boot_after_restart and row.dialect.startswith("soap"):
            self.deliveries.of(row.identity).boot_again()

    async def _alive(self) -> list[ChargePoint]:
        found: list[ChargePoint] = []
        while True:
            after = (found[-1].identity,) if found else ()
            rows = await self.deliveries.store.find(ChargePoint, {"alive": 1}, after=after)
            found += rows
            if len(rows) < 1000:
                return found

    def _open_for_waiting(self, identity: str) -> None:
        """Messages wait for a charge point that may have no session."""
        if identity not in self.registry and self._tasks is not None:
            self._tasks.create_task(self._restore([identity]), name=f"session of {identity}")

    async def _stop(self, sessions: asyncio.Task[None]) -> None:
        """Readiness first, so that whoever sends us traffic stops; then what is in flight ends; then the
        central systems see their charge points go.

        What is in flight has ``gateway.drain`` to end. A central system that is silent and takes no part in
        the closing handshake costs up to 15 s more.
        """
        self._draining = True
        self._not_ready = ["the gateway is stopping"]
        self.registry.drain()
        self.showing.hub.close()
        drain = self.config.gateway.drain
        ends = asyncio.get_running_loop().time() + drain
        if self._admin is not None:
            await self._admin.stop()
        await asyncio.gather(*(door.stop(drain) for door in self._doors.values()))
        self.registry.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(ends):
                await asyncio.wait([sessions])
        await self.fleet.close()  # whoever still waits for a party is told so

    async def _stop_health(self) -> None:
        await self._health.stop()

    async def _watch_loop(self) -> None:
        """See how late timers fire."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY
            await asyncio.sleep(LAG_EVERY)
            self.metrics.observe_lag(max(0.0, loop.time() - due))

    async def _tidy_history(self) -> None:
        while True:
            await asyncio.sleep(TIDY_HISTORY_EVERY)
            with suppress(NotKept):  # the store says so itself
                await self.showing.captures.save()
                await self.history.prune()
                await self.audit.prune()

    # --- another configuration ---

    async def take_over(self, config: Config) -> None:
        """Go on with another configuration. Sessions keep their ways; everything that is heard or opened from
        now on follows the new one.

        Raises CannotReload when an address cannot be bound or a file cannot be used; nothing has changed then
        but the certificates that could be read.
        """
        assert self._tasks is not None
        if self._draining:
            raise CannotReload("the gateway is stopping")
        if config.store.url != self.config.store.url:
            raise CannotReload("store.url cannot change while the gateway runs: restart it")
        former = self.config
        if (config.tracing, config.gateway.name) == (former.tracing, former.gateway.name):
            await self._go_on_with(config)
            return
        try:
            spans = self.traces.prepared(config)
        except CannotTrace as problem:
            raise CannotReload(str(problem)) from None
        try:
            await self._go_on_with(config)
        except BaseException:
            if spans is not None:
                await spans.close()
            raise
        left = self.traces.go_by(config, spans)
        if left is not None:
            self._tasks.create_task(left.close(), name="last spans")

    async def _go_on_with(self, config: Config) -> None:
        assert self._tasks is not None
        try:
            fleet = Fleet(config, self.journal, self.counts, self.deliveries, self.duties, self.fleet)
            fleet.reload_certificates()
            for name, door in self._doors.items():
                if name in config.listeners:
                    door.reload_certificates(config.listeners[name])
            if self._admin is not None and self._admin.tls is not None and config.admin and config.admin.tls:
                files = config.admin.tls
                tls.reload(self._admin.tls, certificate=files.certificate, key=files.key)
            doors, opened, closed = await self._new_doors(config, fleet)
        except OSError as problem:
            raise CannotReload(f"TLS: {problem}") from None
        try:
            health = await self._moved_health(config)
            try:
                admin = await self._moved_admin(config)
            except CannotStart:
                if health is not self._health:
                    await health.stop()
                raise
        except CannotStart as problem:
            await asyncio.gather(*(door.stop(0.0) for door in opened))
            raise CannotReload(str(problem)) from None
        # From here on nothing can fail, and nobody can come in between.
        left = [
            each for each, new in ((self._health, health), (self._admin, admin)) if each and each is not new
        ]
        drain = self.config.gateway.drain
        self.config, self.fleet, self._doors = config, fleet, doors
        self.duties.go_by(config.upstreams)
        self._health, self._admin = health, admin
        for name, door in doors.items():
            door.lead_to(config.listeners[name], fleet)
        self._set_up_registry()
        self._set_up_metrics()
        self.deliveries.go_by(rules_of(config))
        self.history.go_by(history_of(config))
        self.showing.profiles = fleet.profiles
        self.audit.go_by(audit_of(config))
        self.access.go_by(_tokens(config))
        self.problems.forget_unknown(fleet.listed.__contains__)
        for session in self.registry.sessions():
            self.fleet.follow(session)
        for door in closed:
            stopping = door.stop(drain, "the configuration has closed this listener")
            self._tasks.create_task(stopping, name=f"closing listener {door.name}")
        if admin is not None and config.admin is not None:
            admin.site = _site(config.admin)
        for port in left:  # beside: one of them may be waiting for this very reload
            self._tasks.create_task(port.stop(), name="closing a port of the operator")

    def move_all(self) -> int:
        """Send every session the way its route now is; returns how many went another way."""
        return sum(self.registry.move(session, self.fleet.leads) for session in self.registry.sessions())

    async def _new_doors(
        self, config: Config, fleet: Fleet
    ) -> tuple[dict[str, Door], list[Door], list[Door]]:
        """The doors of a configuration, those of them that were opened for it, and those nobody needs."""
        doors: dict[str, Door] = {}
        opened: list[Door] = []
        for name, section in config.listeners.items():
            known = self._doors.get(name)
            if known is not None and known.fits(section):
                doors[name] = known
                continue
            door = Door(name, section, fleet, self.registry, self.journal)
            # Who has the address already hands its socket over: what waits there is not lost.
            owner = next((each for each in self._doors.values() if each.section.bind == section.bind), None)
            try:
                await _bind(f"listeners.{name}", section.bind, lambda: door.start(owner))  # noqa: B023
            except CannotStart as problem:
                await asyncio.gather(*(each.stop(0.0) for each in opened))
                raise CannotReload(str(problem)) from None
            doors[name] = door
            opened.append(door)
        return doors, opened, [door for door in self._doors.values() if door not in doors.values()]

    async def _moved_health(self, config: Config) -> HealthPort:
        if config.metrics.bind == self.config.metrics.bind:
            return self._health
        health = self._health_port(config)
        await _bind("metrics", config.metrics.bind, health.start)
        return health

    async def _moved_admin(self, config: Config) -> AdminPort | None:
        old, new = self.config.admin, config.admin
        if self._admin is not None and old is not None and new is not None and old.bind == new.bind:
            if (old.tls is None) != (new.tls is None):
                raise CannotStart(
                    "admin.tls cannot come or go at one address: change admin.bind too, or restart"
                )
            return self._admin
        return await self._start_admin(config)

    # --- its parts ---

    def _open_way(self, session: Session, heard: Heard) -> Way:
        return self.fleet.open_way(session, heard)

    def _set_up_registry(self) -> None:
        registry, sessions = self.registry, self.config.sessions
        registry.alive = sessions.alive
        registry.heartbeat_interval = sessions.heartbeat
        registry.linger = sessions.linger
        registry.takeover = self.config.websocket.takeover
        registry.most_sessions = sessions.most
        registry.is_listed = self.fleet.listed.__contains__

    def _set_up_metrics(self) -> None:
        self._certificates = expirations(self.config)
        self.metrics.know(self.config.upstreams, self.config.listeners, self.fleet.profiles.names())

    def _door(self, name: str, fleet: Fleet) -> Door:
        return Door(name, self.config.listeners[name], fleet, self.registry, self.journal)

    def _health_port(self, config: Config) -> HealthPort:
        bind = config.metrics.bind

        def told() -> tuple[Iterator[ChargePointState], int] | None:
            section = self.config.metrics
            if not section.per_charger:
                return None
            return charge_points(self.registry, self.fleet), section.max_chargers

        return HealthPort(bind.host, bind.port, self.metrics, lambda: self.checks, told)

    async def _start_admin(self, config: Config) -> AdminPort | None:
        section = config.admin
        if section is None or self._administration is None:
            return None
        context = tls.server_context(section.tls.certificate, section.tls.key) if section.tls else None
        admin = AdminPort(
            section.bind.host,
            section.bind.port,
            self.access,
            self.admin_pages,
            audit=self.audit,
            journal=self.journal,
            site=_site(section),
            tls=context,
        )
        await _bind("admin", section.bind, admin.start)
        return admin

    def _state(self) -> State:
        states = ("open", "connecting", "backoff")
        spoken: Counter[tuple[str, str]] = Counter()
        stale: Counter[tuple[str, str]] = Counter()
        for session in self.registry.sessions():
            link = session.links[Side.CHARGE_POINT]
            spoken[link.transport, link.version] += 1
            if self.registry.is_stale(session):
                stale[link.transport, link.version] += 1
        deliveries = self.deliveries
        oldest = deliveries.oldest
        return State(
            ready=not self.not_ready_because,
            draining=self._draining,
            charge_points=spoken,
            stale=stale,
            certificates=self._certificates,
            offline=sum(identity not in self.registry for identity in self.fleet.listed),
            sessions={
                (name, state): self.counts.links[name, state]
                for name in self.config.upstreams
                for state in states
            },
            duties={name: self.duties.of(name).state for name in self.config.upstreams},
            connections={name: door.open for name, door in self._doors.items()},
            in_flight=self.journal.in_flight,
            waiting_for_mirrors=self.counts.waiting_for_mirrors,
            waiting=deliveries.waiting.messages,
            waiting_bytes=deliveries.waiting.bytes,
            waiting_seconds=max(0.0, deliveries.now() - oldest) if oldest is not None else 0.0,
            parked=deliveries.parked,
            open_transactions=deliveries.open_transactions,
            store_works=not deliveries.store.problem,
            notes_dropped=deliveries.store.notes_dropped,
        )


def _tokens(config: Config) -> list[Token]:
    """Who may ask, as the configuration says."""
    section = config.admin
    if section is None:
        return []
    tokens = [
        Token(name, each.role, each.token.get_secret_value() if each.token else "", each.hash or "")
        for name, each in section.tokens.items()
    ]
    if section.token is not None:
        tokens.append(Token("admin", "admin", section.token.get_secret_value()))
    return tokens


def _site(section: AdminSection) -> Handler | None:
    """The console, where it is wanted and there is one."""
    if not section.console:
        return None
    site = Site(files("wattbridge.operation") / "console")
    return site.answer if site.is_there else None


def run(
    loaded: Loaded,
    load: Callable[[], Loaded],
    *,
    read: Callable[[str], Loaded] | None = None,
    exit_when_ready: bool = False,
) -> int:
    """Run the gateway until SIGTERM or SIGINT; a second one ends it at once. SIGHUP reads the configuration
    again, by *load*, and so does a change of its files. *read* reads a text as if it stood in its file.

    Returns the exit code: 0, or 2 when it cannot start.
    """
    config = loaded.config
    logs.set_up(config.logging.level, config.logging.format)
    make_room_for_files(config)
    try:
        # What was built lives as long as the gateway, and messages leave no cycles behind: without this the
        # collector walks everything again and again for nothing (measured: 5 % of the CPU under load).
        gc.set_threshold(20_000, 10, 20)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(loaded, load, read, exit_when_ready=exit_when_ready))
    except CannotStart as problem:
        sys.stderr.write(f"wattbridge: cannot start: {problem}\n")
        return 2
    return 0


async def _run(
    loaded: Loaded,
    load: Callable[[], Loaded],
    read: Callable[[str], Loaded] | None,
    *,
    exit_when_ready: bool,
) -> None:
    """The gateway with its store. Raises CannotStart."""
    journal = Journal()
    exchange_log = logs.ExchangeLog()
    exchange_log.listen_to(journal)
    path = store_path(loaded.config, loaded.file)
    try:
        store = await open_store(path, journal)
    except CannotOpen as problem:
        raise CannotStart(f"store: {problem}") from None
    try:
        gateway = Gateway(loaded.config, store, journal)
        gc.collect()
        gc.freeze()
        reloader = Reloader(gateway, load, loaded, read)
        await _serve(gateway, reloader, exchange_log, exit_when_ready=exit_when_ready)
    finally:
        await store.close()


async def _serve(
    gateway: Gateway, reloader: Reloader, exchange_log: logs.ExchangeLog, *, exit_when_ready: bool
) -> None:
    log = structlog.get_logger()
    is_ready, stopping = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    gateway.reload_with(reloader)
    manager = ServiceManager()
    refused = ""  # why the last reload was

    def status() -> str | None:
        if stopping.is_set() or not is_ready.is_set():
            return None
        return gateway.summary + refused

    def on_reloaded(problem: CannotReload | None) -> None:
        nonlocal refused
        refused = f"; the last reload was refused: {problem}" if problem else ""
        if line := status():
            manager.ready(line)

    reloader.on_begin, reloader.on_end = manager.reloading, on_reloaded

    def told_to_stop(number: signal.Signals) -> None:
        if stopping.is_set():
            log.warning("stopped at once", signal=number.name)
            os._exit(128 + number)
        stopping.set()
        drain = gateway.config.gateway.drain
        manager.stopping(f"stopping, within {drain:g} s", drain + CLOSING)
        log.info("stopping", signal=number.name, drain=drain)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop, number)

    async def reload() -> None:
        with suppress(CannotReload):  # it is told
            await reloader.reload("SIGHUP")

    async with asyncio.TaskGroup() as tasks:
        loop.add_signal_handler(signal.SIGHUP, lambda: tasks.create_task(reload(), name="SIGHUP"))
        watching: list[asyncio.Task[None]] = []  # one, or none

        def watch_where_wanted() -> None:
            wanted = gateway.config.gateway.reload
            if wanted and not watching:
                watching.append(tasks.create_task(reloader.watch(), name="configuration"))
            elif watching and not wanted:
                watching.pop().cancel()

        def follow(event: Event) -> None:
            if event.kind == "configuration reloaded":
                logging = gateway.config.logging
                logs.set_up(logging.level, logging.format)
                exchange_log.follow()
                make_room_for_files(gateway.config)
                watch_where_wanted()

        gateway.journal.listen(event=follow)

        def ready() -> None:
            addresses: dict[str, Any] = {
                "listeners": gateway.addresses,
                "websockets": gateway.websocket_addresses,
                "metrics": gateway.metrics_address,
            }
            if gateway.admin_address is not None:
                addresses["admin"] = gateway.admin_address
            name = gateway.config.gateway.name
            log.info("ready", name=name, version=version("wattbridge"), **addresses)
            if exit_when_ready:
                stopping.set()
            else:
                is_ready.set()
                manager.ready(gateway.summary)
                watch_where_wanted()

        problem = None
        alive = tasks.create_task(manager.run(status), name="service manager")
        try:
            await gateway.run(stopping, ready)
        except CannotStart as cannot:
            problem = cannot
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            for task in (alive, *watching):
                task.cancel()
    if problem is not None:
        raise problem
    log.info("stopped")


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
        number = problem.errno
        if number is None and "could not bind on any address" in str(problem):  # Python 3.13 tells no more
            number = errno.EADDRNOTAVAIL
        said = os.strerror(number) if number and number > 0 else str(problem)
        raise CannotStart(f"{section}.bind: {bind}: {said[:1].lower()}{said[1:]}") from None

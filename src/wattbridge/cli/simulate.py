"""``wattbridge simulate``: charge points or a central system, for whoever wants somebody to talk to.

Starts simulators, shows every exchange, sums up. Whatever stands at the other end is none of its business: no
part of the gateway is in here.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import math
import os
import resource
import signal
import ssl
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, TextIO

from wattbridge.cli import streams

if TYPE_CHECKING:
    from wattbridge.simulators.central_system import CentralSystem
    from wattbridge.simulators.charge_point import ChargePoint
    from wattbridge.simulators.dialects import Version
    from wattbridge.simulators.outcomes import Exchange

GRACE = 3.0  # seconds that a part under way is given to come to its end when the time is over
RECONNECT = 1.0  # seconds before a lost WebSocket is made again
THREADS = 64
REMEMBERED = 100_000  # exchanges whose time counts for the percentiles: the last ones
MOST_TOLD = 10  # failures, and problems, that are told to people one by one


@dataclass(frozen=True, slots=True)
class ChargePoints:
    """Which charge points are simulated, and what they play; times in seconds, ``rate`` in calls a second.

    With ``attempts`` they keep the messages of transactions.
    """

    transport: Literal["soap", "json"]
    ocpp: Version
    url: str
    identities: list[str]
    scenario: str
    password: bytes | None
    ca_file: str | None
    callback_host: str
    call_timeout: float
    rate: float | None
    attempts: int | None = None
    retry: float = 60.0


def identities(identity: str | None, number: int | None) -> list[str]:
    """Who the charge points are: one as it is named, several with a number behind the name."""
    if number is None:
        return [identity or "CP-0001"]
    return [f"{identity or 'CP'}-{count:04}" for count in range(1, number + 1)]


def charge_points(wanted: ChargePoints, duration: float | None, *, as_json: bool, quiet: bool) -> int:
    """Let charge points play until they have done their part once or, with a *duration*, until that is over.

    Returns 0, or 1 when anything failed or a rule was broken.
    """
    count = len(wanted.identities)
    who = wanted.identities[0] if count == 1 else f"{wanted.identities[0]} to {wanted.identities[-1]}"
    over, show = asyncio.Event(), _show(as_json, quiet)
    show.begin(
        f"{who}, OCPP {wanted.ocpp} {wanted.transport.upper()}, call {wanted.url}",
        {
            "transport": wanted.transport,
            "ocpp": wanted.ocpp,
            "url": wanted.url,
            "identities": wanted.identities,
        },
    )
    _make_room_for(count)
    return _run(_play(wanted, duration, over, show), over, show)


def central_system(
    transport: Literal["soap", "json"],
    ocpp: Version,
    host: str,
    port: int,
    habits: Literal["steve", "ev-server"] | None,
    duration: float | None,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Serve charge points until *duration* seconds are over, or until Ctrl-C.

    Returns 0, or 1 when a charge point broke a rule or the address cannot be had.
    """
    from wattbridge.simulators.compat_spyne import NotInstalled

    over = asyncio.Event()
    serving: CentralSystem
    if transport == "soap":
        from wattbridge.simulators.central_system_soap import SoapCentralSystem

        serving = SoapCentralSystem(host=host, port=port, habits=habits, version=ocpp)
    else:
        from wattbridge.simulators.central_system_json import JsonCentralSystem

        serving = JsonCentralSystem(host=host, port=port)
    show = _show(as_json, quiet)
    try:
        return _run(_serve(serving, transport, duration, over, show), over, show)
    except NotInstalled as missing:
        sys.stderr.write(f"wattbridge: {missing}\n")
        return 2
    except OSError as problem:
        reason = str(problem) if problem.errno is None else os.strerror(problem.errno)
        sys.stderr.write(f"wattbridge: cannot listen at {host}:{port}: {reason}\n")
        return 1


def _make_room_for(count: int) -> None:
    """Allow as many open files as so many charge points need, or as far as that goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 100 + 4 * count
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _run(work: Coroutine[Any, Any, None], over: asyncio.Event, show: Show) -> int:
    async def until_over() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, over.set)
        show.on_unwritable = lambda: loop.call_soon_threadsafe(over.set)
        # The default is so few threads that many charge points would wait for each other when they stop.
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(THREADS))
        await work

    asyncio.run(until_over())
    code = show.end()
    if show.unwritable is None:
        return code
    streams.forget_stdout()
    if isinstance(show.unwritable, BrokenPipeError):  # whoever read along has gone: `| head`
        return code
    sys.stderr.write(f"wattbridge: cannot write to standard output: {show.unwritable.strerror}\n")
    return 1


# --- Charge points ---------------------------------------------------------------------------------------


async def _play(wanted: ChargePoints, duration: float | None, over: asyncio.Event, show: Show) -> None:
    pace = _Pace(wanted.rate)
    players = [_new_charge_point(wanted, identity) for identity in wanted.identities]
    for player in players:
        player.before_call = pace.wait
        player.on_exchange = show.exchange
        if wanted.attempts is not None:
            player.keep_messages(wanted.attempts, wanted.retry)
    try:
        async with asyncio.TaskGroup() as playing:
            all_parts = playing.create_task(_all_play(players, wanted.scenario, duration, over, show))
            await _either(all_parts, over, duration)
            over.set()
            await asyncio.wait([all_parts], timeout=GRACE)
            pace.stop()
            for player in players:
                player.patience = 0.0
            all_parts.cancel()
    finally:
        pace.stop()
        for player in players:
            show.problems += player.problems
            show.add_messages(player)


async def _either(parts: asyncio.Task[None], over: asyncio.Event, duration: float | None) -> None:
    """Wait until all parts are played, *over* is set, or *duration* seconds are over."""
    async with asyncio.TaskGroup() as waiting:
        told = waiting.create_task(over.wait())
        await asyncio.wait([parts, told], timeout=duration, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()


async def _all_play(
    players: list[ChargePoint], scenario: str, duration: float | None, over: asyncio.Event, show: Show
) -> None:
    async with asyncio.TaskGroup() as playing:
        for player in players:
            playing.create_task(_plays(player, scenario, duration, over, show))


async def _plays(
    player: ChargePoint, scenario: str, duration: float | None, over: asyncio.Event, show: Show
) -> None:
    """One charge point's time, from its first connection on."""
    from wattbridge.simulators.outcomes import Unanswered

    while True:
        try:
            async with player:
                await _rounds(player, scenario, duration, over, show)
        except Unanswered as failure:  # it could not connect
            show.failures.append(f"{player.identity}: {failure}")
        if duration is None or over.is_set():
            return
        await _pause(over, RECONNECT)


async def _rounds(
    player: ChargePoint, scenario: str, duration: float | None, over: asyncio.Event, show: Show
) -> None:
    """Play the part once or, when there is a duration, over and over."""
    from wattbridge.simulators.scenario import PARTS, play

    while not over.is_set():
        failures = await play(player, PARTS[scenario])
        show.failures += failures
        if duration is None:
            await player.delivered()
            return
        if failures:
            await _pause(over, RECONNECT)
        elif scenario == "boot-storm":  # a storm is one boot; then they stay
            await over.wait()


async def _pause(over: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None if seconds == math.inf else seconds):
            await over.wait()


def _new_charge_point(wanted: ChargePoints, identity: str) -> ChargePoint:
    if wanted.transport == "soap":
        from wattbridge.simulators.charge_point_soap import SoapChargePoint

        return SoapChargePoint(
            identity,
            wanted.url,
            wanted.callback_host,
            password=wanted.password,
            ca_file=wanted.ca_file,
            call_timeout=wanted.call_timeout,
            version=wanted.ocpp,
        )
    from wattbridge.simulators.charge_point_json import JsonChargePoint

    return JsonChargePoint(
        identity,
        wanted.url,
        password=wanted.password,
        tls=_trust(wanted.ca_file) if wanted.url.startswith("wss:") else None,
        reconnect=RECONNECT,
        call_timeout=wanted.call_timeout,
    )


def _trust(ca_file: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


class _Pace:
    """At most so many calls a second, of all charge points together; called from their threads."""

    def __init__(self, rate: float | None) -> None:
        self._interval = 0.0 if rate is None else 1 / rate
        self._next = time.monotonic()
        self._taking_turns = threading.Lock()
        self._stopped = threading.Event()

    def wait(self) -> None:
        """Wait for one's turn; raises Unanswered when there will be none."""
        from wattbridge.simulators.outcomes import Unanswered

        with self._taking_turns:
            due = max(self._next, time.monotonic())
            self._next = due + self._interval
        if self._stopped.wait(max(0.0, due - time.monotonic())):
            raise Unanswered("stopped before it was said")

    def stop(self) -> None:
        self._stopped.set()


# --- The central system ----------------------------------------------------------------------------------


async def _serve(
    serving: CentralSystem, transport: str, duration: float | None, over: asyncio.Event, show: Show
) -> None:
    serving.on_exchange = show.exchange
    async with serving:
        show.begin(
            f"a central system, OCPP {serving.dialect.version} {transport.upper()}, at {serving.url}",
            {"transport": transport, "ocpp": serving.dialect.version, "url": serving.url},
        )
        await _pause(over, math.inf if duration is None else duration)
    show.problems += serving.problems


# --- What is shown ---------------------------------------------------------------------------------------


def _show(as_json: bool, quiet: bool) -> Show:
    return JsonLines(sys.stdout, quiet) if as_json else Lines(streams.for_people(sys.stdout), quiet)


class Show:
    """Counts the exchanges and writes them, line by line as long as that is possible; from any thread.

    The percentiles are of what charge points ask. When nothing can be written any more, ``unwritable`` says
    why and ``on_unwritable`` was called.
    """

    def __init__(self, out: TextIO, quiet: bool) -> None:
        self.failures: list[str] = []
        self.problems: list[str] = []
        self.messages: Counter[str] = Counter()  # of transactions: what became of them
        self.unwritable: OSError | None = None
        self.on_unwritable: Callable[[], object] = lambda: None
        self._out = out
        self._quiet = quiet
        self._calls = 0
        self._failed = 0
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)
        self._began = time.monotonic()
        self._writing = threading.Lock()

    def begin(self, parties: str, facts: dict[str, Any]) -> None:
        """Say who talks to whom: as a sentence, and for programs."""
        raise NotImplementedError

    def exchange(self, exchange: Exchange) -> None:
        with self._writing:
            self._calls += 1
            self._failed += exchange.outcome != "ok"
            if exchange.asked == "central system":
                self._seconds.append(exchange.seconds)
            if not self._quiet:
                self._tell(exchange)

    def add_messages(self, player: ChargePoint) -> None:
        """What became of a charge point's messages of transactions, when it keeps them."""
        if player.queue is None:
            return
        counts = asdict(player.queue.counts)
        self.messages.update(counts)
        for word, became in (("discarded", "were discarded"), ("queued", "still wait")):
            if counts[word]:
                self.failures.append(f"{player.identity}: messages of transactions {became}: {counts[word]}")

    def end(self) -> int:
        """Sum up; returns the exit code."""
        raise NotImplementedError

    def _tell(self, exchange: Exchange) -> None:
        raise NotImplementedError

    def _write(self, *lines: str) -> None:
        if self.unwritable:
            return
        try:
            self._out.write("".join(f"{line}\n" for line in lines))
            self._out.flush()
        except OSError as problem:
            self.unwritable = problem
            self.on_unwritable()

    def _percentile(self, share: float) -> float | None:
        """Seconds within which *share* of the calls had an answer, by nearest rank."""
        ordered = sorted(self._seconds)
        return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


class Lines(Show):
    """One line for each exchange, for people."""

    def begin(self, parties: str, facts: dict[str, Any]) -> None:
        self._write(
            f"wattbridge {version('wattbridge')} simulate: {parties}; Ctrl-C ends it",
            "▶ goes to the central system, ◀ to the charge point",
        )

    def _tell(self, exchange: Exchange) -> None:
        arrow = "▶" if exchange.asked == "central system" else "◀"
        outcome = "ok" if exchange.outcome == "ok" else f"failed: {' '.join(exchange.outcome.split())}"
        when = f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3]
        took = f"{exchange.seconds * 1000:.1f} ms"
        self._write(f"{when}  {exchange.identity} {arrow} {exchange.action}  {outcome} in {took}")

    def end(self) -> int:
        elapsed = time.monotonic() - self._began
        half, nearly_all = self._percentile(0.5), self._percentile(0.99)
        times = (
            ""
            if half is None or nearly_all is None
            else f"; answered in {half * 1000:.1f} ms (p50), {nearly_all * 1000:.1f} ms (p99)"
        )
        self._write(
            f"{self._calls} calls in {elapsed:.1f} s, {self._failed} failed{times}",
            *self._of_transactions(),
            *self._some("failed", self.failures),
            *self._some("problem", self.problems),
        )
        return int(bool(self.failures or self.problems))

    def _of_transactions(self) -> list[str]:
        told = ", ".join(f"{count} {word}" for word, count in self.messages.items())
        return [f"messages of transactions: {told}"] if told else []

    def _some(self, word: str, sentences: list[str]) -> list[str]:
        told = [f"{word}: {sentence}" for sentence in sentences[:MOST_TOLD]]
        more = len(sentences) - len(told)
        return [*told, f"{word}: … and {more} more"] if more else told


class JsonLines(Show):
    """One JSON object for each exchange, and the sum at the end, for programs."""

    def begin(self, parties: str, facts: dict[str, Any]) -> None:
        self._object({"kind": "simulate", "version": version("wattbridge"), **facts})

    def _tell(self, exchange: Exchange) -> None:
        from wattbridge.ocpp.times import date_time_text

        self._object(
            {
                "kind": "exchange",
                "time": date_time_text(time.time(), milliseconds=True),
                "identity": exchange.identity,
                "action": exchange.action,
                "asked": exchange.asked,
                "outcome": exchange.outcome,
                "seconds": round(exchange.seconds, 6),
            }
        )

    def end(self) -> int:
        self._object(
            {
                "kind": "summary",
                "calls": self._calls,
                "failed": self._failed,
                "seconds": round(time.monotonic() - self._began, 3),
                "p50": self._percentile(0.5),
                "p99": self._percentile(0.99),
                "failures": self.failures,
                "problems": self.problems,
            }
            | ({"transaction_messages": dict(self.messages)} if self.messages else {})
        )
        return int(bool(self.failures or self.problems))

    def _object(self, line: dict[str, Any]) -> None:
        self._write(json.dumps(line))  # ASCII: who reads it need not know our locale

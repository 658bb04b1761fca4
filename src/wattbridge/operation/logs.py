"""One log line per exchange and per event, with the same keys everywhere, as JSON or for people.

Text that a peer chose (identities, descriptions) is escaped: a line break in an identity never makes a
second line. Payloads are not written, and nothing else that could be a secret, but for messages that are
given up: the line is all that is left of them.

Each line is of one logger: ``exchanges`` and ``events`` of the journal, ``gateway``, or the library that says
it. Its level can be changed for a while, as ``set_level`` says.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

import orjson
import structlog

from wattbridge.ocpp.messages import Breach, CallError, Change, Loss
from wattbridge.ocpp.printable import printable
from wattbridge.relay.journal import Event, Journal, Record

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
OWN = ("events", "exchanges", "gateway")  # the loggers of this gateway
LONGEST_CHANGE = 86400.0  # seconds that a changed level may last
LISTED_LOSSES = 3  # of one exchange
LONGEST_VALUE = 300  # characters of one value that a peer chose
LONGEST_LOST = 1 << 18  # of a message that is given up: all of it

# Events that someone should look at, and those that only count.
WARNINGS = frozenset(
    {
        "central system unreachable",
        "central system lost",
        "central system out of service",
        "connection refused",
        "connection cut off",
        "wrong address",
        "no subprotocol",
        "route kept",
        "name taken",
        "configuration refused",
        "reload failed",
        "fail-over",
        "mirror dropped",
        "mirror refused",
        "request refused",
        "malformed message",
        "answer not delivered",
        "late reply",
        "unknown reply",
        "repeated call",
        "reused message id",
        "message parked",
        "message expired",
        "message dropped",
        "transaction refused",
        "transaction not stopped",
        "session not restored",
        "sign-in refused",
        "nothing is kept",
        "records dropped",
    }
)
# Of these every single one matters: what is too much for warnings is written all the same.
SAID_EACH = frozenset(
    {"message parked", "message expired", "message dropped", "transaction refused", "transaction not stopped"}
)
LOST = frozenset({"message expired", "message dropped"})  # their text has the payload
# Those that someone has to do something about, and what that is.
ERRORS = {
    "store broken": "charge points get no answer to what they must deliver, and keep it themselves; make "
    "room on the disk, or repair what the text says: it goes on by itself as soon as that is possible",
    "database set aside": "the gateway goes on with an empty database; what waited for central systems, open "
    "transactions and remembered answers are in the file that was set aside: keep it",
}
# The line of the call says the same.
SMALL_TALK = frozenset({"connection opened", "message kept", "repeated message"})

# How a call went that its charge point got an answer to, and its central system had no part in.
SAID = {
    "": "call relayed",
    "kept": "call kept",
    "offline": "call answered here",
    "local": "call answered here",
    "repeat": "call repeated",
}

# A refusal is the other party's own word. That a central system is away is told by its link, once; a line for
# each message it misses says nothing more.
REFUSALS = frozenset({"call_error", "fault"})
ABSENCES = frozenset({"not_connected", "refused", "unreachable", "draining"})

# Of one matter, so many warnings a minute are written; the others are counted and written less severely.
MOST_SAID = 10
WINDOW = 60.0  # seconds

# What a pipe that is ready takes for certain without waiting (pipe(7), PIPE_BUF on Linux).
CHUNK = 4096


def set_up(level: str, form: str, stream: TextIO | None = None) -> None:
    """Write log lines of *level* and above to *stream* (stderr), as ``"json"`` or ``"console"`` lines.

    What libraries tell the standard library's logging, from warnings on, is written the same way. A line that
    cannot be written at once, to a full disk or a pipe that nobody reads, is lost, and nothing waits for it;
    how many there were is the first thing written when that goes again.
    """
    out = stream if stream is not None else sys.stderr
    render: Any
    if form == "json":
        render = structlog.processors.JSONRenderer(serializer=_json)
    else:
        colors = out is not None and not out.closed and out.isatty()
        render = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0, sort_keys=False)
    lines = _Lines(out)
    _levels.usual = LEVELS[level]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escape,
            render,
        ],
        wrapper_class=_levels.filter_of("gateway"),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _Libraries):
            root.removeHandler(handler)
    root.addHandler(_Libraries())
    _levels.apply()


@dataclass(frozen=True, slots=True)
class LoggerLevel:
    """The least severe lines that a logger writes. ``reverts`` is when that becomes *usual* again, in seconds
    since the epoch; None when it is usual."""

    name: str
    level: str
    usual: str
    reverts: float | None = None


def list_loggers() -> list[LoggerLevel]:
    """Every logger: those of this gateway, then those of libraries."""
    manager = logging.root.manager
    libraries = {name.partition(".")[0] for name in list(manager.loggerDict)} - {"wattbridge", *OWN}
    return [_levels.told(name) for name in (*OWN, *sorted(libraries))]


def set_level(name: str, level: str, for_seconds: float) -> LoggerLevel:
    """Let logger *name* write lines of *level* and above; after *for_seconds* (1 to 86400) that ends.

    What was changed before is forgotten. Has to be called in the event loop. Raises LookupError when there is
    no such logger, ValueError when it cannot have that level, or not for so long.
    """
    if name not in {known.name for known in list_loggers()}:
        raise LookupError(f"there is no logger {name!r}")
    if level not in LEVELS:
        raise ValueError(f"{level!r} is no level: write {', '.join(LEVELS)}")
    if not 1 <= for_seconds <= LONGEST_CHANGE:
        raise ValueError(f"a level can be changed for 1 to {LONGEST_CHANGE:g} seconds, found {for_seconds:g}")
    if name not in OWN and LEVELS[level] < logging.INFO:
        raise ValueError(f"{name} would write messages and credentials as they are: not below info")
    _levels.choose(name, LEVELS[level], for_seconds)
    structlog.get_logger().info("log level changed", logger=name, to=level, for_seconds=for_seconds)
    return _levels.told(name)


def reset_level(name: str) -> None:
    """What ``set_level`` has changed is as usual again."""
    if _levels.forget(name):
        usual = _levels.told(name).level
        structlog.get_logger().info("log level is as usual again", logger=name, to=usual)


@dataclass(frozen=True, slots=True)
class _Chosen:
    level: int
    until: float  # seconds since the epoch
    timer: asyncio.TimerHandle


class _Levels:
    """The level of each logger: as usual, or as somebody has chosen for a while."""

    def __init__(self) -> None:
        self.usual = logging.NOTSET
        self.followers: weakref.WeakSet[ExchangeLog] = weakref.WeakSet()
        self._chosen: dict[str, _Chosen] = {}

    def of(self, name: str) -> int:
        chosen = self._chosen.get(name)
        return chosen.level if chosen is not None else self._usual_of(name)

    def _usual_of(self, name: str) -> int:
        return self.usual if name in OWN else max(self.usual, logging.WARNING)

    def filter_of(self, name: str) -> Any:
        return structlog.make_filtering_bound_logger(self.of(name))

    def told(self, name: str) -> LoggerLevel:
        chosen = self._chosen.get(name)
        level, usual = _word_of(self.of(name)), _word_of(self._usual_of(name))
        return LoggerLevel(name, level, usual, chosen.until if chosen is not None else None)

    def choose(self, name: str, level: int, for_seconds: float) -> None:
        self._cancel(name)
        timer = asyncio.get_running_loop().call_later(for_seconds, reset_level, name)
        self._chosen[name] = _Chosen(level, time.time() + for_seconds, timer)
        if name not in OWN:
            logging.getLogger(name).setLevel(level)
        self.apply()

    def forget(self, name: str) -> bool:
        if not self._cancel(name):
            return False
        if name not in OWN:
            logging.getLogger(name).setLevel(logging.NOTSET)
        self.apply()
        return True

    def _cancel(self, name: str) -> bool:
        chosen = self._chosen.pop(name, None)
        if chosen is not None:
            chosen.timer.cancel()
        return chosen is not None

    def apply(self) -> None:
        if structlog.is_configured():
            structlog.configure(**structlog.get_config() | {"wrapper_class": self.filter_of("gateway")})
        for follower in self.followers:
            follower.follow()


_levels = _Levels()


def _word_of(level: int) -> str:
    return next((word for word, number in LEVELS.items() if number >= level), "error")


def _logger(name: str) -> Any:
    """A logger that writes as ``set_up`` has said, and what its level lets through."""
    wrapper = _levels.filter_of(name) if structlog.is_configured() else None
    return structlog.wrap_logger(structlog.get_config()["logger_factory"](), wrapper_class=wrapper).bind()


class _Lines:
    """Where lines go: to *stream*, and never waiting for it. Without one, as with stderr closed, nowhere."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lost = 0
        self._half = False  # the last line was not written to its end
        self._ready = select.poll()
        try:
            self._file = stream.fileno() if stream is not None else -1
        except (OSError, ValueError):  # closed, or no file
            self._file = -1
        if self._file >= 0:
            self._ready.register(self._file, select.POLLOUT)

    def msg(self, message: str) -> None:
        """Write one line. Never raises."""
        try:
            self._write(message + "\n")
        except (OSError, ValueError):  # ValueError: a closed stream
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            structlog.get_logger().warning("log lines lost", lines=lost)

    log = debug = info = warning = error = critical = exception = msg

    def _write(self, line: str) -> None:
        """Raises OSError when it cannot be written, or not without waiting."""
        if self._stream is None:
            return
        if self._file < 0:
            self._stream.write(line)
            self._stream.flush()
            return
        data = line.encode("utf-8", "backslashreplace")
        if self._half:
            data = b"\n" + data
        while data:
            if not self._ready.poll(0):
                raise BlockingIOError("nobody reads the log")
            data = data[os.write(self._file, data[:CHUNK]) :]
            self._half = bool(data)


class _Libraries(logging.Handler):
    """Carries what libraries log into our lines."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < _levels.of(record.name.partition(".")[0]):
            return
        try:
            _logger(record.name.partition(".")[0]).log(
                record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
            )
        except Exception:
            self.handleError(record)


def _json(line: dict[str, Any], **_: Any) -> str:
    head = {key: line.pop(key) for key in ("timestamp", "level", "event")}
    return orjson.dumps(head | line, default=str).decode()


def _escape(_: Any, __: str, line: Any) -> Any:
    """Make every text one line of printable characters, cut where it is long."""
    longest = LONGEST_LOST if line.get("event") in LOST else LONGEST_VALUE
    for key, value in line.items():
        if not isinstance(value, str) or (value.isprintable() and len(value) <= longest):
            continue
        if key == "exception":
            # Its lines are ours, but for what the exceptions say: nothing that begins a line is theirs.
            line[key] = "\n    ".join(printable(each) for each in value.split("\n"))
        else:
            line[key] = printable(value if len(value) <= longest else value[:longest] + "…")
    return line


class ExchangeLog:
    """Writes the journal's records and events as log lines, where ``set_up`` has said."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        _levels.followers.add(self)
        self.follow()
        self._warnings = _Sparingly(clock)
        self._unconnected: set[str] = set()  # charge points whose last attempt to connect failed

    def follow(self) -> None:
        """Write as ``set_up`` and ``set_level`` have said since."""
        self._exchanges, self._events = _logger("exchanges"), _logger("events")
        self._writes_results = self._exchanges.is_enabled_for(logging.INFO)

    def listen_to(self, journal: Journal) -> None:
        journal.listen(record=self.write, event=self.write_event)

    def write(self, record: Record) -> None:
        error = record.reply if isinstance(record.reply, CallError) else None
        if error is None and not self._writes_results:
            return
        keys: dict[str, Any] = {"identity": record.identity}
        if record.known_as not in ("", record.identity):
            keys["known_as"] = record.known_as
        keys |= {
            "action": record.action,
            "arrived_from": record.arrived_from.value,
            "seconds": round(record.seconds, 6),
        }
        if record.upstream:
            keys["upstream"] = record.upstream
        if record.profile:
            keys["profile"] = record.profile
        if record.notes:
            losses = [f"{note.path} ({note.rule})" for note in record.notes if isinstance(note, Loss)]
            changes = sum(isinstance(note, Change) for note in record.notes)
            keys |= {"losses": len(losses), "changes": changes}
            breaches = [f"{note.path} ({note.reason})" for note in record.notes if isinstance(note, Breach)]
            if breaches:
                keys |= {"breaches": len(breaches), "broken": ", ".join(breaches[:LISTED_LOSSES])}
            if losses:
                keys["lost"] = ", ".join(losses[:LISTED_LOSSES])
        if record.source:
            keys["source"] = record.source
        if record.how:
            keys["how"] = record.how
        if record.asked_by:
            keys["asked_by"] = record.asked_by
        if record.trace is not None and record.trace.sampled:
            keys["trace"] = record.trace.trace_id
        if error is None:
            if record.asked is None and not record.how:
                # The other party never saw it: what was lost on the way here was all there was.
                self._warn(self._exchanges, "call answered here", keys, (record.action, "here"), logging.INFO)
            else:
                self._exchanges.info(SAID[record.how], **keys)
            return
        keys |= {"reason": error.reason, "code": error.code, "description": error.description}
        if not record.replied.text:
            keys["answered"] = False
        away = error.reason in ABSENCES and record.arrived_from.value == "charge_point"
        if away or error.reason in REFUSALS:
            self._exchanges.info("call failed", **keys)
        else:
            self._warn(
                self._exchanges, "call failed", keys, (record.arrived_from.value, error.reason), logging.INFO
            )

    def write_event(self, event: Event) -> None:
        keys: dict[str, Any] = dict(event.labels)
        if "count" in keys:
            keys["count"] = int(keys["count"])
        if event.identity:
            keys["identity"] = event.identity
        if event.reason:
            keys["reason"] = event.reason
        if event.text:
            keys["text"] = event.text
        kind = event.kind
        again = False
        if kind == "central system unreachable":
            again = event.identity in self._unconnected
            self._unconnected.add(event.identity)
        elif kind in ("central system connected", "central system answers", "session closed"):
            self._unconnected.discard(event.identity)
        if kind == "internal error":
            self._events.error(kind, **keys, exc_info=True)
        elif kind in ERRORS:
            keys["do"] = ERRORS[kind]
            self._warn(self._events, kind, keys, (kind,), logging.DEBUG, level=logging.ERROR)
        elif kind in WARNINGS:
            party = event.labels.get("upstream") or event.labels.get("listener") or ""
            otherwise = logging.INFO if kind in SAID_EACH else logging.DEBUG
            self._warn(self._events, kind, keys, (kind, party, event.reason), otherwise, again=again)
        elif kind in SMALL_TALK:
            self._events.debug(kind, **keys)
        else:
            self._events.info(kind, **keys)

    def _warn(
        self,
        log: Any,
        said: str,
        keys: dict[str, Any],
        matter: tuple[str, ...],
        otherwise: int,
        *,
        level: int = logging.WARNING,
        again: bool = False,
    ) -> None:
        unsaid = self._warnings.say(matter, again=again)
        if unsaid is None:
            log.log(otherwise, said, **keys)
            return
        if unsaid:
            keys["unsaid"] = unsaid
        log.log(level, said, **keys)


@dataclass(slots=True)
class _Matter:
    began: float
    said: int = 1
    unsaid: int = 0


class _Sparingly:
    """Which warnings are worth a line.

    When a central system goes away, ten thousand charge points say so, and again at each attempt. Of one
    matter ten are named; after that it takes a minute until the next line, which tells how many were not.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._matters: dict[tuple[str, ...], _Matter] = {}

    def say(self, matter: tuple[str, ...], *, again: bool) -> int | None:
        """How many went unsaid since the last line of *matter*; None when this one shall, too.

        *again* is for what was told of the same charge point before: it waits for the minute to be over.
        """
        now = self._clock()
        known = self._matters.get(matter)
        if known is None or now - known.began >= WINDOW:
            self._matters[matter] = _Matter(now)
            return known.unsaid if known else 0
        if again or known.said >= MOST_SAID:
            known.unsaid += 1
            return None
        known.said += 1
        unsaid, known.unsaid = known.unsaid, 0
        return unsaid

"""One log line per exchange and per event, with the same keys everywhere, as JSON or for people.

Text that a peer chose (identities, descriptions) is escaped: a line break in an identity never makes a
second line. Payloads are not written, and nothing else that could be a secret, but for messages that are
given up: the line is all that is left of them.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

import orjson
import structlog

from wattbridge.ocpp.messages import Breach, CallError, Change, Loss
from wattbridge.relay.journal import Event, Journal, Record

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
LISTED_LOSSES = 3  # of one exchange
LONGEST_VALUE = 300  # characters of one value that a peer chose
LONGEST_LOST = 1 << 18  # of a message that is given up: all of it

# Events that someone should look at, and those that only count.
WARNINGS = frozenset(
    {
        "central system unreachable",
        "central system lost",
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
        "nothing is kept",
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
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escape,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _Libraries):
            root.removeHandler(handler)
    root.addHandler(_Libraries(logging.WARNING))


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
        try:
            structlog.get_logger().log(
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
            line[key] = "\n    ".join(_printable(each) for each in value.split("\n"))
        else:
            line[key] = _printable(value if len(value) <= longest else value[:longest] + "…")
    return line


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class ExchangeLog:
    """Writes the journal's records and events as log lines, where ``set_up`` has said."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.follow()
        self._warnings = _Sparingly(clock)
        self._unconnected: set[str] = set()  # charge points whose last attempt to connect failed

    def follow(self) -> None:
        """Write as ``set_up`` has said since."""
        self._log = structlog.get_logger().bind()
        self._writes_results = self._log.is_enabled_for(logging.INFO)

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
        if error is None:
            if record.asked is None and not record.how:
                # The other party never saw it: what was lost on the way here was all there was.
                self._warn("call answered here", keys, (record.action, "here"), logging.INFO)
            else:
                self._log.info(SAID[record.how], **keys)
            return
        keys |= {"reason": error.reason, "code": error.code, "description": error.description}
        if not record.replied.text:
            keys["answered"] = False
        away = error.reason in ABSENCES and record.arrived_from.value == "charge_point"
        if away or error.reason in REFUSALS:
            self._log.info("call failed", **keys)
        else:
            self._warn("call failed", keys, (record.arrived_from.value, error.reason), logging.INFO)

    def write_event(self, event: Event) -> None:
        keys: dict[str, Any] = dict(event.labels)
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
            self._log.error(kind, **keys, exc_info=True)
        elif kind in ERRORS:
            keys["do"] = ERRORS[kind]
            self._warn(kind, keys, (kind,), logging.DEBUG, level=logging.ERROR)
        elif kind in WARNINGS:
            party = event.labels.get("upstream") or event.labels.get("listener") or ""
            otherwise = logging.INFO if kind in SAID_EACH else logging.DEBUG
            self._warn(kind, keys, (kind, party, event.reason), otherwise, again=again)
        elif kind in SMALL_TALK:
            self._log.debug(kind, **keys)
        else:
            self._log.info(kind, **keys)

    def _warn(
        self,
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
            self._log.log(otherwise, said, **keys)
            return
        if unsaid:
            keys["unsaid"] = unsaid
        self._log.log(level, said, **keys)


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

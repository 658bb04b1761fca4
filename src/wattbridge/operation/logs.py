"""One log line per exchange and per event, with the same keys everywhere, as JSON or for people.

Text that a peer chose (identities, descriptions) is escaped: a line break in an identity never makes a
second line.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog

from wattbridge.ocpp.messages import CallError, Change, Loss
from wattbridge.relay.journal import Event, Journal, Record

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
LONGEST_VALUE = 300  # characters of one value that a peer chose

# Events that someone should look at.
WARNINGS = frozenset(
    {"central system unreachable", "central system lost", "connection refused", "malformed message"}
)


def set_up(level: str, form: str, stream: TextIO | None = None) -> None:
    """Write log lines of *level* and above to *stream* (stderr), as ``"json"`` or ``"console"`` lines."""
    out = stream if stream is not None else sys.stderr
    render: Any
    if form == "json":
        render = structlog.processors.JSONRenderer(sort_keys=False)
    else:
        render = structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=0, sort_keys=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _escape,
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


def _escape(_: Any, __: str, line: Any) -> Any:
    """Make every text one line of printable characters, cut where it is long."""
    for key, value in line.items():
        if (
            isinstance(value, str)
            and key != "exception"
            and (len(value) > LONGEST_VALUE or not value.isprintable())
        ):
            cut = value if len(value) <= LONGEST_VALUE else value[:LONGEST_VALUE] + "…"
            line[key] = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return line


class ExchangeLog:
    """Writes the journal's records and events as log lines."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("wattbridge")

    def listen_to(self, journal: Journal) -> None:
        journal.listen(record=self.write, event=self.write_event)

    def write(self, record: Record) -> None:
        losses = sum(isinstance(note, Loss) for note in record.notes)
        changes = sum(isinstance(note, Change) for note in record.notes)
        keys: dict[str, Any] = {
            "identity": record.identity,
            "action": record.action,
            "arrived_from": record.arrived_from.value,
            "seconds": round(record.seconds, 6),
        }
        if losses:
            keys["losses"] = losses
        if changes:
            keys["changes"] = changes
        if isinstance(record.reply, CallError):
            error = record.reply
            keys |= {"reason": error.reason, "code": error.code, "description": error.description}
            # A refusal by the other party is its business; the rest is the operator's.
            refused = error.reason in ("call_error", "fault")
            (self._log.info if refused else self._log.warning)("call failed", **keys)
        else:
            self._log.info("call relayed", **keys)

    def write_event(self, event: Event) -> None:
        keys: dict[str, Any] = dict(event.labels)
        if event.identity:
            keys["identity"] = event.identity
        if event.reason:
            keys["reason"] = event.reason
        if event.text:
            keys["text"] = event.text
        if event.kind == "internal error":
            self._log.error(event.kind, **keys)
        elif event.kind in WARNINGS:
            self._log.warning(event.kind, **keys)
        else:
            self._log.info(event.kind, **keys)

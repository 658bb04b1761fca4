"""Traces as the configuration says: who begins them, and who is given the spans."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from wattbridge.config import Config
from wattbridge.config.findings import NO_OTEL
from wattbridge.ocpp.actions import dialect
from wattbridge.relay.journal import Journal, Record
from wattbridge.relay.tracing import Tracing

if TYPE_CHECKING:
    from wattbridge.operation.otel import Spans


class CannotTrace(Exception):
    """The packages that tracing needs are not there, or ``OTEL_*`` says what they do not understand."""


class Traces:
    """Lets the exchanges of *journal* be traced as ``go_by`` last said; not at all before."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._spans: Spans | None = None
        self._listens = False

    def prepared(self, config: Config) -> Spans | None:
        """What is given the spans by *config*. Raises CannotTrace."""
        section = config.tracing
        if section is None:
            return None
        try:
            from wattbridge.operation.otel import Spans  # its packages are an extra, and take a while
        except ImportError as missing:
            raise CannotTrace(f"tracing: {NO_OTEL}: {missing}") from None
        try:
            return Spans(
                section.otlp,
                self._journal,
                name=config.gateway.name,
                version=version("wattbridge"),
                actions=frozenset(action for _, action in dialect().operations),
                charger=section.charger,
            )
        except ValueError as wrong:  # in what the environment says
            raise CannotTrace(f"tracing: {wrong}") from None

    def go_by(self, config: Config, spans: Spans | None) -> Spans | None:
        """Trace as *config* says from now on, with what was prepared; returns what is to be closed."""
        former, self._spans = self._spans, spans
        section = config.tracing
        self._journal.tracing = Tracing(section.sample) if section is not None else None
        if spans is not None and not self._listens:
            self._listens = True
            self._journal.listen(record=self._write)
        return former

    def _write(self, record: Record) -> None:
        if self._spans is not None:
            self._spans.write(record)

    async def close(self) -> None:
        self._journal.tracing = None
        spans, self._spans = self._spans, None
        if spans is not None:
            await spans.close()

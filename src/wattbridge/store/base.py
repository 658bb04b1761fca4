"""What the gateway remembers, and how it asks for it to be kept.

A store knows rows and nothing of what they mean. ``write`` is a promise: when it has returned, the rows
survive a crash and a power cut. ``note`` is for what may be lost with the last second before a crash.
Everything is of one charge point, so that charge points can be spread over several hosts later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar


class NotKept(Exception):
    """The store could not keep what it was given: a sentence that says why. Nothing of it was kept."""


class CannotOpen(Exception):
    """The store cannot be opened: a sentence that says why, and what to do."""


class Row:
    """One row: the fields of a dataclass are the columns, ``key`` the columns that tell it from others.

    Values are ``str``, ``int`` within 64 bits, ``float`` and None. Numbers that OCPP lets grow further
    (transaction ids) are text. Times are seconds since the epoch, unless they are a charge point's own.
    """

    table: ClassVar[str]
    key: ClassVar[tuple[str, ...]]


def as_text(value: object) -> str:
    """A value as a column of texts has it: ``""`` for None."""
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class ChargePoint(Row):
    """What is known of one charge point, so that its session can come back after a restart."""

    table: ClassVar[str] = "charge_point"
    key: ClassVar[tuple[str, ...]] = ("identity",)

    identity: str
    dialect: str = ""  # what it speaks: "soap 1.5", "json 1.6"
    listener: str = ""  # where it came in last
    source: str = ""  # the address it came from
    callback: str = ""  # where and how it is called, as the link of SOAP charge points wrote it (JSON)
    vendor: str | None = None
    model: str | None = None
    firmware: str | None = None
    boot: str = ""  # the payload of its last BootNotification.req (JSON)
    accepted: float | None = None  # when a central system last accepted it
    heartbeat_interval: float | None = None  # seconds
    heard: float = 0.0
    alive: int = 0  # 1 while it has a session


@dataclass(frozen=True, slots=True)
class ConnectorStatus(Row):
    """The last StatusNotification.req of one connector."""

    table: ClassVar[str] = "connector_status"
    key: ClassVar[tuple[str, ...]] = ("identity", "connector_id")

    identity: str
    connector_id: str
    payload: str  # JSON
    heard: float


@dataclass(frozen=True, slots=True)
class ConfigurationKey(Row):
    """A configuration key of a charge point: what it told, or what it accepted. Passwords are never kept."""

    table: ClassVar[str] = "configuration_key"
    key: ClassVar[tuple[str, ...]] = ("identity", "key_name")

    identity: str
    key_name: str
    value: str | None
    readonly: int
    told: float


@dataclass(frozen=True, slots=True)
class Authorization(Row):
    """What the central system last said of an idTag that a charge point asked about."""

    table: ClassVar[str] = "authorization_answer"
    key: ClassVar[tuple[str, ...]] = ("identity", "id_tag")

    identity: str
    id_tag: str
    info: str  # the idTagInfo (JSON)
    told: float


@dataclass(frozen=True, slots=True)
class Transaction(Row):
    """One transaction, with its number on either side.

    ``local_id`` is the number that the charge point knows, ``remote_id`` that of its central system; empty
    while that has not given one. ``state`` is ``open``, ``stopped``, or ``refused`` when the central system
    refused a StartTransaction that had been answered here.
    """

    table: ClassVar[str] = "charging_transaction"
    key: ClassVar[tuple[str, ...]] = ("identity", "local_id")

    identity: str
    local_id: str
    remote_id: str = ""
    upstream: str = ""  # the central system that gave ``remote_id``
    provisional: int = 0  # 1 when ``local_id`` was given by the gateway
    connector_id: str = ""
    id_tag: str = ""
    meter_start: str = ""  # Wh
    started: str = ""  # timestamp of StartTransaction.req
    stopped: str = ""  # timestamp of StopTransaction.req
    state: str = "open"
    changed: float = 0.0


@dataclass(frozen=True, slots=True)
class Waiting(Row):
    """A message that was acknowledged to the charge point and has not reached its central system.

    ``position`` orders the messages of one charge point. ``upstream`` is the only central system that may get
    it, empty for whichever the charge point belongs to. ``state`` is ``waiting`` or ``parked``.
    """

    table: ClassVar[str] = "outbox"
    key: ClassVar[tuple[str, ...]] = ("identity", "position")

    identity: str
    position: int
    action: str
    payload: str  # as the charge point said it (JSON)
    message_id: str  # what it carries to a JSON central system, each time it is sent
    form: str = ""  # of an Original, when ``payload`` is one
    content_key: str = ""  # of ``Remembered``
    upstream: str = ""
    kept: float = 0.0
    refusals: int = 0
    state: str = "waiting"
    problem: str = ""  # what the central system said last


@dataclass(frozen=True, slots=True)
class Remembered(Row):
    """The reply to a message that may be repeated; ``content_key`` is made of the message's content."""

    table: ClassVar[str] = "remembered_reply"
    key: ClassVar[tuple[str, ...]] = ("identity", "content_key")

    identity: str
    content_key: str
    action: str
    reply: str  # the payload of the .conf (JSON)
    answered: float


@dataclass(frozen=True, slots=True)
class Exchange(Row):
    """One exchange of the message history, with both encodings of both messages.

    ``number`` orders the history; it is unique and grows. The four texts are wire forms, empty when there was
    no such message. ``how``, ``route``, ``profile`` and ``known_as`` are as in the journal's record,
    ``source`` is the address that the charge point speaks from. ``losses`` and ``changes`` count notes. The
    four ``_bytes`` are how large the messages were on the wire; a text may be kept shorter. ``asked_by`` is
    ``operator`` when one asked in the place of the central system. Rows of before there was such a column
    have nothing in it.
    """

    table: ClassVar[str] = "exchange"
    key: ClassVar[tuple[str, ...]] = ("number",)

    number: int
    identity: str
    began: float
    arrived_from: str  # "charge_point", "central_system"
    action: str
    reason: str  # why it failed, a word of reasons.REASONS; empty when it did not
    seconds: float
    peer_seconds: float
    upstream: str
    arrived: str
    asked: str
    answered: str
    replied: str
    notes: str = ""  # JSON
    how: str = ""
    route: str = ""
    profile: str = ""
    known_as: str = ""
    source: str = ""
    charger_transport: str = ""  # "soap", "json"
    csms_transport: str = ""
    charger_version: str = ""  # of OCPP
    csms_version: str = ""
    losses: int = 0
    changes: int = 0
    read_seconds: float = 0.0  # until the call was understood
    write_seconds: float = 0.0  # from the reply's coming until it was written
    delay_seconds: float = 0.0  # without a connection to ask on
    arrived_bytes: int = 0
    asked_bytes: int = 0
    answered_bytes: int = 0
    replied_bytes: int = 0
    asked_by: str = ""


@dataclass(frozen=True, slots=True)
class Capture(Row):
    """Exchanges that somebody wants to keep, whatever becomes of the history.

    ``wanted`` is a filter. ``ended`` is None while it goes on; ``reason`` then says why it has ended.
    """

    table: ClassVar[str] = "capture"
    key: ClassVar[tuple[str, ...]] = ("id",)

    id: str
    name: str
    wanted: str
    began: float
    ends: float
    ended: float | None
    reason: str
    records: int
    bytes: int
    limit_records: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Captured(Row):
    """One exchange of a capture; ``content`` is all of it (JSON)."""

    table: ClassVar[str] = "captured"
    key: ClassVar[tuple[str, ...]] = ("capture", "number")

    capture: str
    number: int
    began: float
    content: str


@dataclass(frozen=True, slots=True)
class AuditEntry(Row):
    """One action of somebody who administers the gateway. ``number`` orders them; it is unique and grows."""

    table: ClassVar[str] = "audit_entry"
    key: ClassVar[tuple[str, ...]] = ("number",)

    number: int
    happened: float
    who: str  # the name of the token
    role: str
    source: str  # the address it came from
    request: str  # "POST /chargers/CP1/calls"
    identity: str  # of the charge point it was about; empty when it was about none
    details: str  # what was asked for (JSON), without secrets; empty when the request tells everything
    status: int  # of HTTP
    result: str  # in a sentence, when it was refused


ROWS: tuple[type[Row], ...] = (
    ChargePoint,
    ConnectorStatus,
    ConfigurationKey,
    Authorization,
    Transaction,
    Waiting,
    Remembered,
    Exchange,
    Capture,
    Captured,
    AuditEntry,
)


@dataclass(frozen=True, slots=True)
class Forget:
    """Take away the row of *kind* with this key, in the order of ``kind.key``; nothing when there is none."""

    kind: type[Row]
    key: tuple[str | int, ...]


Change = Row | Forget

AnyRow = TypeVar("AnyRow", bound=Row)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is of one kind of row. ``bytes`` counts texts only, ``oldest`` is None of nothing."""

    rows: int
    bytes: int
    oldest: float | None


Order = Literal["first", "last"]


class Store(Protocol):
    """Rows on disk, or what stands in for it in a test.

    All methods belong to one event loop. ``problem`` says why nothing can be kept at this moment; it is
    empty while things can, and becomes so again by itself when the cause is gone. ``notes_dropped`` counts
    the changes that were noted and not kept.
    """

    @property
    def problem(self) -> str: ...

    @property
    def notes_dropped(self) -> int: ...

    def write(self, *changes: Change) -> asyncio.Future[None]:
        """Keep *changes*, all of them or none; rows take the place of those with the same key.

        The future is done when they are durable, and raises NotKept when they are not. Changes are made in
        the order in which ``write`` and ``note`` were called.
        """
        ...

    def note(self, *changes: Change) -> None:
        """Keep *changes* within a second or so, without telling whether that worked.

        When the store cannot keep up or cannot keep anything, they are dropped and counted.
        """
        ...

    async def find(
        self,
        kind: type[AnyRow],
        where: Mapping[str, Any] | None = None,
        *,
        after: Sequence[Any] = (),
        order: Order = "first",
        by: str = "",
        limit: int = 1000,
    ) -> list[AnyRow]:
        """The rows of *kind* whose columns have the values of *where*, those with the lowest key first.

        *by* names a column to order by before the key; ``order="last"`` turns the order around. *after* is
        the key of the last row of the page before (only without *by*). Reads see everything whose ``write``
        is done. Raises NotKept when the store cannot be read.
        """
        ...

    async def sizes(self, kind: type[Row], where: Mapping[str, Any] | None = None) -> Sizes:
        """How many rows there are, how large, and since when (by ``kept``, ``began``, ``answered``, ``told``,
        ``changed`` or ``happened``, whichever the kind has)."""
        ...

    async def prune(self, kind: type[Row], before: float, *, most_bytes: int | None = None) -> int:
        """Take away rows older than *before*, and the oldest beyond *most_bytes*; returns how many.

        Of transactions only those that are not open, of the outbox none; of charge points for which messages
        wait or are parked, neither transactions nor replies.
        """
        ...

    async def close(self) -> None:
        """Keep what was noted, and let go of the file."""
        ...

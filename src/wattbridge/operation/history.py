"""The message history: every exchange with both encodings of both messages, for some time, to be looked at.

It listens to the journal and hands rows to the store, which keeps them when it finds the time; what happens
between charge point and central system never waits for it. Where nothing is remembered over a restart, the
last exchanges are kept in memory as they are, and become rows when somebody looks. What is not to be kept, or
shown, is blotted out of every row. Whoever watches gets each row when it is made.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from wattbridge.ocpp.messages import Breach, Change, Loss, Note, Passage, Side
from wattbridge.operation.redaction import Redaction
from wattbridge.relay.journal import Journal, Record
from wattbridge.store.base import Exchange, NotKept, Store

# What is over the limit is taken away a little further than to it: the store reads all of it for that.
SHARE_LEFT = 0.95


@dataclass(frozen=True, slots=True)
class Keeping:
    """For how long exchanges are kept, how much of them, and what of them is blotted out."""

    age: float = 0.0  # seconds; 0 keeps none
    most_bytes: int = 256 << 20
    redaction: Redaction = Redaction(passwords=True)  # noqa: RUF009 -- frozen


MOST_RECENT = 2000  # exchanges in memory, where there is no database
MOST_RECENT_BYTES = 16 << 20  # of their messages
LONGEST_EXCHANGE = 3600.0  # seconds; no call timeout is as long
PAGE = 200  # rows that are read at a time

Watcher = Callable[[Exchange], None]


class History:
    """Keeps exchanges in *store*, or only the last ones when there is none, as ``go_by`` last said.

    Nothing is kept or watched before ``begin``. ``number`` is that of the last exchange, 0 while nobody has
    looked for it.
    """

    def __init__(
        self, store: Store | None, keeping: Keeping, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._keeping = keeping
        self._wall_clock = wall_clock
        self.number = 0
        self._most_kept: int | None = None  # bytes that there may be; None before anything was counted
        self._recent: deque[tuple[int, Record, int]] = deque()  # with the bytes of its messages
        self._recent_bytes = 0
        self._watchers: list[Watcher] = []

    def go_by(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._most_kept = None
        if not keeping.age:
            self._recent.clear()
            self._recent_bytes = 0

    def listen_to(self, journal: Journal) -> None:
        journal.listen(record=self.note)

    def watch(self, watcher: Watcher) -> None:
        """Tell *watcher* of every exchange from now on. Rows are made for it even when none are kept."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.remove(watcher)

    async def begin(self) -> None:
        """Go on behind the last exchange of before, also when the clock was set back since."""
        number = int(self._wall_clock() * 1e6)
        if self._store is not None:
            with suppress(NotKept):
                for last in await self._store.find(Exchange, order="last", limit=1):
                    number = max(number, last.number)
        self.number = number

    def note(self, record: Record) -> None:
        kept, watchers = self._keeping.age, self._watchers
        if not (kept or watchers) or not self.number:
            return
        self.number += 1
        if kept and self._store is None:
            self._remember(record)
            if not watchers:
                return
        row = self.row(self.number, record)
        if kept and self._store is not None:
            self._store.note(row)
            if self._most_kept is not None:
                self._most_kept += _length(row)
        for watcher in watchers:
            watcher(row)

    def _remember(self, record: Record) -> None:
        passages = (record.arrived, record.asked, record.answered, record.replied)
        length = sum(len(passage.text) for passage in passages if passage is not None)
        self._recent.append((self.number, record, length))
        self._recent_bytes += length
        while len(self._recent) > MOST_RECENT or self._recent_bytes > MOST_RECENT_BYTES:
            self._recent_bytes -= self._recent.popleft()[2]

    def row(self, number: int, record: Record) -> Exchange:
        """*record* as a row, without what is to be blotted out."""
        arrived, asked, answered = _text(record.arrived), _text(record.asked), _text(record.answered)
        replied = _text(record.replied)
        notes = record.notes
        texts = (arrived, asked, answered, replied)
        redaction = self._keeping.redaction
        if redaction.concerns(texts, record.action, readable=record.payload is not None):
            (arrived, asked, answered, replied), notes = redaction.blot(texts, notes)
        called = record.arrived_from is Side.CHARGE_POINT
        ours, theirs = record.arrived.transport, record.other_transport
        our_version, their_version = record.version, record.other_version
        losses = sum(isinstance(note, Loss) for note in notes) if notes else 0
        return Exchange(
            number,
            _clean(record.identity),
            record.began,
            record.arrived_from.value,
            _clean(record.action),
            record.reason,
            record.seconds,
            record.peer_seconds,
            record.upstream,
            arrived,
            asked,
            answered,
            replied,
            _written(record, notes) if notes else "",
            record.how,
            record.route,
            record.profile,
            _clean(record.known_as),
            record.address or record.source,
            ours if called else theirs,
            theirs if called else ours,
            our_version if called else their_version,
            their_version if called else our_version,
            losses,
            sum(isinstance(note, Change) for note in notes) if notes else 0,
            record.read_seconds,
            record.write_seconds,
            record.delay_seconds,
            len(record.arrived.text),
            len(record.asked.text) if record.asked is not None else 0,
            len(record.answered.text) if record.answered is not None else 0,
            len(record.replied.text),
            record.asked_by,
        )

    # --- reading ---

    async def flush(self) -> None:
        """Come back when all that was noted can be read. Raises NotKept."""
        if self._store is not None and self._keeping.age:
            await self._store.write()

    async def find(self, number: int) -> Exchange | None:
        """One exchange. Raises NotKept."""
        if self._store is None:
            return next((self.row(n, record) for n, record, _ in self._recent if n == number), None)
        rows = await self._store.find(Exchange, {"number": number}, limit=1)
        if not rows:
            await self.flush()
            rows = await self._store.find(Exchange, {"number": number}, limit=1)
        return completed(rows[0]) if rows else None

    async def oldest(self) -> int:
        """The number of the oldest exchange that is kept; 0 when none is. Raises NotKept."""
        if self._store is None:
            return self._recent[0][0] if self._recent else 0
        rows = await self._store.find(Exchange, limit=1)
        return rows[0].number if rows else 0

    async def before(
        self, number: int | None = None, charger: str = "", until: float = float("inf")
    ) -> AsyncIterator[list[Exchange]]:
        """Pages of rows, the newest first: those before *number*, of one charge point or of all, and not much
        newer than *until*. Raises NotKept.
        """
        if self._store is None:
            rows = [entry for entry in reversed(self._recent) if number is None or entry[0] < number]
            rows = [entry for entry in rows if not charger or entry[1].identity == charger]
            for at in range(0, len(rows), PAGE):
                yield [self.row(each, record) for each, record, _ in rows[at : at + PAGE]]
                await asyncio.sleep(0)
            return
        await self.flush()
        if until + LONGEST_EXCHANGE < self._wall_clock():
            number = await self._first_after(until + LONGEST_EXCHANGE, number)
        while True:
            after = () if number is None else (number,)
            where = {"identity": charger} if charger else {}
            page = await self._store.find(Exchange, where, after=after, order="last", limit=PAGE)
            if page:
                yield list(map(completed, page))
            if len(page) < PAGE:
                return
            number = page[-1].number

    async def after(self, number: int) -> AsyncIterator[list[Exchange]]:
        """Pages of rows, the oldest first: those after *number*. Raises NotKept."""
        if self._store is None:
            while rows := [entry for entry in self._recent if entry[0] > number][:PAGE]:
                yield [self.row(each, record) for each, record, _ in rows]
                number = rows[-1][0]
            return
        await self.flush()
        while page := await self._store.find(Exchange, after=(number,), limit=PAGE):
            yield list(map(completed, page))
            number = page[-1].number

    async def _first_after(self, moment: float, highest: int | None) -> int | None:
        """A number behind which there is nothing that had ended by *moment*.

        Numbers grow in the order in which exchanges end, so it is looked for by halves.
        """
        assert self._store is not None
        low = await self.oldest()
        high = self.number if highest is None else min(self.number, highest - 1)
        if not low:
            return highest
        while low < high:
            middle = (low + high) // 2
            rows = await self._store.find(Exchange, after=(middle,), limit=1)
            if rows and rows[0].number <= high and rows[0].began + rows[0].seconds <= moment:
                low = rows[0].number
            else:
                high = middle
        return low + 1 if highest is None else min(low + 1, highest)

    async def prune(self) -> None:
        """Take away what is too old or too much. Raises NotKept."""
        keeping, now = self._keeping, self._wall_clock()
        if self._store is None:
            while self._recent and self._recent[0][1].began < now - keeping.age:
                self._recent_bytes -= self._recent.popleft()[2]
            return
        if not keeping.age:
            if self._most_kept != 0:
                await self._store.prune(Exchange, float("inf"))
                self._most_kept = 0
            return
        await self._store.prune(Exchange, now - keeping.age)
        known = self._most_kept
        if known is None or known > keeping.most_bytes:
            self._most_kept = left = int(keeping.most_bytes * SHARE_LEFT)  # what comes meanwhile is added
            try:
                await self._store.prune(Exchange, now - keeping.age, most_bytes=left)
            except NotKept:
                self._most_kept = known
                raise


def completed(row: Exchange) -> Exchange:
    """A row of before there were columns for it, with what can be seen from its texts."""
    if row.charger_transport or row.csms_transport:
        return row
    how = row.how
    if not how and row.notes.startswith('[{"how"'):
        how = str(json.loads(row.notes)[0]["how"])
    calling, asked = _form(row.arrived or row.replied), _form(row.asked or row.answered)
    if row.arrived_from == Side.CENTRAL_SYSTEM.value:
        calling, asked = asked, calling
    return replace(
        row,
        how=how,
        charger_transport=calling,
        csms_transport=asked,
        losses=row.notes.count('{"lost":'),
        changes=row.notes.count('{"changed":'),
    )


def _form(text: str) -> str:
    begin = text[:200].lstrip("\ufeff \t\r\n")[:1]
    return {"<": "soap", "[": "json"}.get(begin, "")


def _length(row: Exchange) -> int:
    return len(row.arrived) + len(row.asked) + len(row.answered) + len(row.replied) + len(row.notes)


def _text(passage: Passage | None) -> str:
    """A wire form as text; bytes that are none of UTF-8 are replaced."""
    if passage is None:
        return ""
    text = passage.text
    try:
        said = text.decode()
    except UnicodeDecodeError:
        wide = text[:2] in (b"\xff\xfe", b"\xfe\xff")
        said = text.decode("utf-16" if wide else "utf-8", "replace")
    if "\0" in said:  # XML in UTF-16 without a mark, or no text at all
        said = said.replace("\0", "")
    return said


def _clean(text: str) -> str:
    """Without half of a surrogate pair, which no store takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _written(record: Record, notes: tuple[Note, ...]) -> str:
    """JSON: ``[{"changed": "StartTransaction.timestamp", "value": …, "became": …, "at": "arrived"}, …]``.

    ``at`` is the message that it is of: ``arrived``, ``asked``, ``answered`` or ``replied``.
    """
    passages = (record.arrived, record.asked, record.answered, record.replied)
    counted = ((at, passage.notes if passage else ()) for at, passage in zip(MESSAGES, passages, strict=True))
    places = [at for at, of_passage in counted for _ in of_passage]
    told = [_note(note, at) for note, at in zip(notes, places, strict=True)]
    return json.dumps(told, separators=(",", ":"))


# The messages of an exchange, in the order in which they travel.
MESSAGES = ("arrived", "asked", "answered", "replied")


def _note(note: Note, at: str) -> dict[str, str]:
    if isinstance(note, Change):
        told = {"changed": note.path, "value": note.value, "became": note.became, "rule": note.rule}
    else:
        word = "broken" if isinstance(note, Breach) else "lost"
        told = {word: note.path, "value": note.value, "rule": note.rule, "reason": note.reason}
    return told | {"at": at}

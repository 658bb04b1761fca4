"""The message history: every exchange with both encodings of both messages, for some time, to be looked at.

It listens to the journal and hands rows to the store, which keeps them when it finds the time; what happens
between charge point and central system never waits for it. What is not to be kept is blotted out before the
store sees it. Nobody reads it here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from wattbridge.ocpp.messages import Breach, Change, Note, Passage
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


class History:
    """Keeps exchanges in *store*, as ``go_by`` last said. Nothing is kept before ``begin``."""

    def __init__(self, store: Store, keeping: Keeping, wall_clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._keeping = keeping
        self._wall_clock = wall_clock
        self._number = 0  # of the last exchange; 0 while nobody has looked for it
        self._most_kept: int | None = None  # bytes that there may be; None before anything was counted

    def go_by(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._most_kept = None

    def listen_to(self, journal: Journal) -> None:
        journal.listen(record=self.note)

    async def begin(self) -> None:
        """Go on behind the last exchange of before, also when the clock was set back since."""
        number = int(self._wall_clock() * 1e6)
        with suppress(NotKept):
            for last in await self._store.find(Exchange, order="last", limit=1):
                number = max(number, last.number)
        self._number = number

    def note(self, record: Record) -> None:
        keeping = self._keeping
        if not keeping.age or not self._number:
            return
        arrived, asked, answered = _text(record.arrived), _text(record.asked), _text(record.answered)
        replied = _text(record.replied)
        notes = record.notes
        texts = (arrived, asked, answered, replied)
        redaction = keeping.redaction
        if redaction.concerns(texts, record.action, readable=record.payload is not None):
            (arrived, asked, answered, replied), notes = redaction.blot(texts, notes)
        number = self._number = self._number + 1
        row = Exchange(
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
            _written(record, notes) if notes or record.how else "",
        )
        self._store.note(row)
        if self._most_kept is not None:
            self._most_kept += len(arrived) + len(asked) + len(answered) + len(replied) + len(row.notes)

    async def prune(self) -> None:
        """Take away what is too old or too much. Raises NotKept."""
        keeping, now = self._keeping, self._wall_clock()
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
    """JSON: ``[{"how": "kept"}, {"changed": "StartTransaction.timestamp", "value": …, "became": …}]``."""
    how = [{"how": record.how}] if record.how else []
    return json.dumps(how + [_note(note) for note in notes], separators=(",", ":"))


def _note(note: Note) -> dict[str, str]:
    if isinstance(note, Change):
        return {"changed": note.path, "value": note.value, "became": note.became, "rule": note.rule}
    word = "broken" if isinstance(note, Breach) else "lost"
    return {word: note.path, "value": note.value, "rule": note.rule, "reason": note.reason}

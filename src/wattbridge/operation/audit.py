"""The audit log: who did what by the admin interface, from where, and what came of it.

Every entry is also a line of the log. What is kept in the store is bounded by age and size.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wattbridge.relay.journal import Event, Journal
from wattbridge.store.base import AuditEntry, NotKept, Store

LONGEST = 2000  # characters of what was asked for
WRITTEN_WITHIN = 2.0  # seconds that an answer waits for its entry
SHARE_LEFT = 0.9  # of the size, when the oldest had to give way


@dataclass(frozen=True, slots=True)
class AuditKeeping:
    """For how long entries are kept, in seconds, and how many bytes of them."""

    age: float = 365 * 86400.0
    most_bytes: int = 16 << 20


class Audit:
    """Keeps entries in *store*, as ``go_by`` last said, and tells *journal* of each."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        keeping: AuditKeeping = AuditKeeping(),
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._journal = journal
        self._keeping = keeping
        self._wall_clock = wall_clock
        self._number = 0

    def go_by(self, keeping: AuditKeeping) -> None:
        self._keeping = keeping

    async def note(
        self,
        *,
        who: str,
        role: str,
        source: str,
        request: str,
        status: int,
        identity: str = "",
        details: Any = None,
        result: str = "",
    ) -> None:
        """Keep one entry; when it cannot be kept, the log has it all the same."""
        labels = {"who": who, "role": role, "source": source, "request": request, "status": str(status)}
        text = _short(details)
        said = "; ".join(each for each in (text, result) if each)
        self._journal.event(Event("administered", identity, said, labels=labels))
        now = self._wall_clock()
        # Microseconds: it grows over restarts too, unless the clock was set back; then the first entry looks.
        self._number = max(self._number or await self._last(), int(now * 1e6) - 1) + 1
        row = AuditEntry(
            self._number, now, who, role, source, request, _clean(identity), text, status, result[:LONGEST]
        )
        written = self._store.write(row)
        await asyncio.wait({written}, timeout=WRITTEN_WITHIN)
        # The store says itself that it cannot keep anything; here that only has to be looked at.
        written.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def list(self, before: int | None, most: int, who: str = "") -> list[AuditEntry]:
        """The entries, the latest first; only those with a lower number than *before*. Raises NotKept."""
        return await self._store.find(
            AuditEntry,
            {"who": who} if who else {},
            after=() if before is None else (before,),
            order="last",
            limit=most,
        )

    async def prune(self) -> None:
        """Take away what is too old or too much. Raises NotKept."""
        keeping = self._keeping
        before = self._wall_clock() - keeping.age
        sizes = await self._store.sizes(AuditEntry)
        too_much = sizes.bytes > keeping.most_bytes
        most = int(keeping.most_bytes * SHARE_LEFT) if too_much else None
        await self._store.prune(AuditEntry, before, most_bytes=most)

    async def _last(self) -> int:
        try:
            last = await self._store.find(AuditEntry, order="last", limit=1)
        except NotKept:
            return 0
        return last[0].number if last else 0


def _short(details: Any) -> str:
    if details is None:
        return ""
    text = _clean(json.dumps(details, ensure_ascii=False, separators=(",", ":")))
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _clean(text: str) -> str:
    """Without half of a surrogate pair, which no store takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()

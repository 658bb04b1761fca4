"""What has been lost on the way of messages, counted for each charge point while the gateway runs.

It listens to the journal. Only rules and places are kept, never what stood there; and no more of them than a
bound, whatever charge points send.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from wattbridge.ocpp.messages import Loss
from wattbridge.relay.journal import Journal, Record

MOST_PLACES = 32  # of one charge point; the rest is counted together
MOST_IN_ALL = 50_000  # of all charge points, about 20 MB; who lost nothing for longest is forgotten
LONGEST_PATH = 120  # characters; names of unknown fields are the sender's own

_INDEX = re.compile(r"\[\d+\]")
_MORE = ("and-more", "")


@dataclass(slots=True)
class Lost:
    """Losses of one rule (``reasons.LOSSES``) at one place: ``MeterValues.meterValue[].sampledValue[].unit``.

    ``path`` is empty of those that are counted together. ``last`` is when, in seconds since the epoch.
    """

    rule: str
    path: str
    count: int = 0
    last: float = 0.0


class Losses:
    """Counts what is lost, by charge point, rule and place; ``since`` when, in seconds since the epoch."""

    def __init__(
        self,
        *,
        most_places: int = MOST_PLACES,
        most_in_all: int = MOST_IN_ALL,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.since = wall_clock()
        self._most_places = most_places
        self._most_in_all = most_in_all
        self._wall_clock = wall_clock
        # Who lost something last comes last.
        self._of: dict[str, dict[tuple[str, str], Lost]] = {}
        self._in_all = 0

    def listen_to(self, journal: Journal) -> None:
        journal.listen(record=self.note)

    def note(self, record: Record) -> None:
        if record.source:  # no session vouches for who it is from
            return
        for note in record.notes:
            if isinstance(note, Loss):
                self._count(record.identity, note)

    def of(self, identity: str) -> list[Lost]:
        """What was lost of one charge point's messages, and of those to it; the most frequent first."""
        return sorted(self._of.get(identity, {}).values(), key=lambda lost: (-lost.count, lost.path))

    def _count(self, identity: str, note: Loss) -> None:
        places = self._of.pop(identity, {})
        self._of[identity] = places
        place = note.rule, _INDEX.sub("[]", note.path[: 2 * LONGEST_PATH])[:LONGEST_PATH]
        if place not in places and len(places) >= self._most_places - 1:
            place = _MORE
        lost = places.get(place)
        if lost is None:
            lost = places[place] = Lost(*place)
            self._in_all += 1
        lost.count += int(note.value) if note.rule == "and-more" else 1
        lost.last = self._wall_clock()
        while self._in_all > self._most_in_all and len(self._of) > 1:
            self._in_all -= len(self._of.pop(next(iter(self._of))))

"""Whether a central system is in service, as an operator says: the word that every link to it goes by.

There is one ``Duty`` for each name of a central system, and it outlives configurations, not the gateway. What
the word means for a connection is the business of the links.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from wattbridge.relay.journal import Event, Journal

State = Literal["ready", "drain", "maint"]  # as HAProxy calls them
STATES: tuple[State, ...] = ("ready", "drain", "maint")

# What may be said of a central system in each state, and what that means from now on.
_WHY = {"ready": "is in service", "drain": "is being drained", "maint": "is in maintenance"}
_MEANS = {
    "ready": "charge points are connected to it again",
    "drain": "what is connected goes on, and nothing is connected anew",
    "maint": "nothing goes there; what charge points have to say waits",
}


class Duty:
    """The operator's word on one central system: ``ready``, ``drain`` (what is connected goes on, nothing is
    connected anew) or ``maint`` (nothing goes there).

    ``since`` is when it was said, in seconds since the epoch; None when nothing was.
    """

    __slots__ = ("_followers", "since", "state")

    def __init__(self) -> None:
        self.state: State = "ready"
        self.since: float | None = None
        self._followers: dict[Callable[[], None], None] = {}  # in the order they came

    @property
    def is_ready(self) -> bool:
        return self.state == "ready"

    @property
    def why(self) -> str:
        """``is in maintenance``"""
        return _WHY[self.state]

    def become(self, state: State, now: float) -> None:
        """All that follow are told at once, when it is another state."""
        if state != self.state:
            self.state, self.since = state, now
            for follower in list(self._followers):
                follower()

    @contextmanager
    def followed_by(self, follower: Callable[[], None]) -> Iterator[None]:
        """Inside of this *follower* is called when there is another word."""
        self._followers[follower] = None
        try:
            yield
        finally:
            del self._followers[follower]


class Duties:
    """Those of all central systems, by their names; every change is an event of *journal*."""

    def __init__(self, journal: Journal, wall_clock: Callable[[], float] = time.time) -> None:
        self._journal = journal
        self._wall_clock = wall_clock
        self._known: dict[str, Duty] = {}
        self._listed: frozenset[str] = frozenset()

    def of(self, name: str) -> Duty:
        return self._known.setdefault(name, Duty())

    def go_by(self, names: Iterable[str]) -> None:
        """The names of another configuration: one that was not in the last one begins as ready."""
        before, self._listed = self._listed, frozenset(names)
        for name in self._listed - before:
            self.change(name, "ready")

    def change(self, name: str, state: State, who: str = "") -> None:
        """An operator, *who*, has a word on a central system; what he has said before is no news."""
        duty = self.of(name)
        if state == duty.state:
            return
        kind = "central system in service" if state == "ready" else "central system out of service"
        labels = {"upstream": name, "state": state} | ({"who": who} if who else {})
        self._journal.event(Event(kind, text=_MEANS[state], labels=labels))
        duty.become(state, self._wall_clock())

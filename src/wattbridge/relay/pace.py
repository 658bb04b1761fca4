"""A pace that many share: a fleet that connects, messages that are sent late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


class Pacer:
    """``rate`` turns a second, first come first served.

    After a pause ``burst`` turns are given at once.
    """

    def __init__(
        self,
        rate: float,
        burst: float = 1.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate = rate
        self._burst = max(1.0, burst)
        self._clock = clock
        self._sleep = sleep
        self._turns = self._burst
        self._counted = clock()
        # Its waiters queue in order; one that is cancelled leaves no gap.
        self._queue = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for one's turn."""
        async with self._queue:
            self._count()
            while self._turns < 1.0:
                await self._sleep((1.0 - self._turns) / self._rate)
                self._count()
            self._turns -= 1.0

    @property
    def rate(self) -> float:
        return self._rate

    def go_at(self, rate: float) -> None:
        """From now on, so many turns a second."""
        self._count()
        self._rate = rate

    def _count(self) -> None:
        now = self._clock()
        # Rounded, so that the sum of many small waits is not a hair short of a turn.
        self._turns = min(self._burst, round(self._turns + (now - self._counted) * self._rate, 9))
        self._counted = now

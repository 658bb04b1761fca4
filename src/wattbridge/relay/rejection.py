"""The answers to charge points that their route rejects: the gateway stands where a central system would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from wattbridge.ocpp.messages import Call, CallError, CallResult
from wattbridge.ocpp.older import NEWEST
from wattbridge.ocpp.times import date_time_text
from wattbridge.relay.routes import Reject
from wattbridge.relay.session import Answer


class Rejection:
    """A link to no central system. A BootNotification gets the status that the route names, everything else
    its error (OCPP 1.6, 4.2; OCPP-J 1.6 errata, 3.8)."""

    transport = ""
    version = NEWEST
    form = ""
    away = False

    def __init__(self, reject: Reject, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._reject = reject
        self._wall_clock = wall_clock
        self._closed = asyncio.Event()

    async def call(self, call: Call) -> Answer:
        reject = self._reject
        if call.action == "BootNotification":
            result = CallResult(
                {
                    "status": reject.boot_status,
                    "currentTime": date_time_text(self._wall_clock()),
                    "interval": round(reject.interval),
                }
            )
            return Answer(result, None, None)
        return Answer(CallError(reject.error, reject.description, reason="rejected"), None, None)

    async def run(self) -> None:
        await self._closed.wait()

    async def close(self, reason: str) -> None:
        self._closed.set()

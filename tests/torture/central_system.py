"""What a central system does, however it is spoken to: it writes down every call, mints transaction ids, and
asks charge points now and then. It can be told to be of little help.

It does what OCPP asks for: it never refuses, and answers a message id that comes again as it did before. How
messages travel is a matter of ``JsonCentralSystem`` and ``SoapCentralSystem``.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Literal

from tests.torture.ledger import COUNTED_ACTIONS, TRANSACTION_ACTIONS, Arrival, Asked, Ledger, Payload
from tests.torture.older import speaks

Mode = Literal["well", "slow", "deaf", "mute", "unavailable"]
NOTED = {*TRANSACTION_ACTIONS, *COUNTED_ACTIONS, "StatusNotification"}
PATIENCE = 90.0  # seconds for the answer to a call of its own


class CentralSystem(ABC):
    """``mode`` is ``well``, ``slow`` (answers late), ``deaf`` (drops what it reads), ``mute`` (does what it
    is told, and never answers) or ``unavailable`` (a proxy answers for it; OCPP-S only)."""

    def __init__(self, ledger: Ledger, randomly: random.Random, *, awkward_ids: bool = False) -> None:
        self.port = 0
        self.mode: Mode = "well"
        self.asks = True  # whether it calls charge points by itself
        self._ledger = ledger
        self._randomly = randomly
        self._awkward_ids = awkward_ids
        self._arrivals: dict[tuple[str, str], Arrival] = {}
        self._replies: dict[tuple[str, str], Payload] = {}
        self._minted: dict[str, int] = defaultdict(int)
        self._open: dict[tuple[str, int], Arrival] = {}
        self._in_doubt: set[Arrival] = set()  # whose transaction may have been stopped already
        self._calls = 0

    @abstractmethod
    def at_work(self) -> AbstractAsyncContextManager[None]:
        """Take what comes to ``port``."""

    # --- what charge points say ----------------------------------------------------------------------------

    async def _answer(self, identity: str, message_id: str, action: str, payload: Payload) -> Payload | None:
        """The reply to what a charge point says, in its time; None when it gets none."""
        if self.mode == "deaf":
            return None
        reply = self._note(identity, message_id, action, payload)
        if self.mode == "mute":
            return None
        if self.mode == "slow":
            await asyncio.sleep(self._randomly.uniform(0.05, 1.5))
        return reply

    def _note(self, identity: str, message_id: str, action: str, payload: Payload) -> Payload:
        """Write the call down; the reply to it."""
        known = self._arrivals.get((identity, message_id))
        if known is not None and (known.action, known.payload) == (action, payload):
            known.again += 1
            return self._replies[identity, message_id]
        if known is not None:
            self._ledger.reused.append((known, payload))
        reply = self._reply(identity, action)
        if action in NOTED:
            given = reply.get("transactionId")
            arrival = Arrival(self._ledger.moment(), identity, message_id, action, payload, given)
            self._ledger.arrivals.append(arrival)
            self._arrivals[identity, message_id] = arrival
            self._replies[identity, message_id] = reply
            if given is not None:
                self._open[identity, given] = arrival
            if action == "StopTransaction":
                self._open.pop((identity, payload.get("transactionId", 0)), None)
        return reply

    def _reply(self, identity: str, action: str) -> Payload:
        """In the order of the WSDL, which OCPP-J does not mind."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        match action:
            case "BootNotification":
                return {"status": "Accepted", "currentTime": now, "interval": 5}
            case "Heartbeat":
                return {"currentTime": now}
            case "Authorize":
                return {"idTagInfo": {"status": "Accepted"}}
            case "StartTransaction":
                return {"transactionId": self._mint(identity), "idTagInfo": {"status": "Accepted"}}
            case "StopTransaction":
                return {"idTagInfo": {"status": "Accepted"}}
        return {}

    def _mint(self, identity: str) -> int:
        """An id that is new for this charge point; others have the same. Some are large, none is beyond the
        32 bits that OCPP-S has for it."""
        self._minted[identity] += 1
        number = self._minted[identity]
        if number % 5 == 0:
            return (2_000_000_000 if self._awkward_ids else 1_999_900_000) + number
        return number

    # --- what it asks --------------------------------------------------------------------------------------

    async def ask_now_and_then(self) -> None:
        """Stop transactions and ask for configuration, at random, for ever; one call at a time and charge
        point."""
        busy: set[str] = set()

        async def ask(identity: str, action: str, payload: Payload, arrival: Arrival | None = None) -> None:
            try:
                await self._call(identity, action, payload, arrival)
            finally:
                busy.discard(identity)

        async with asyncio.TaskGroup() as tasks:
            while True:
                await asyncio.sleep(self._randomly.uniform(0.02, 0.25))
                there = [name for name in self._within_reach() if name not in busy]
                if not there or not self.asks:
                    continue
                open_ = [
                    arrival
                    for (name, _), arrival in self._open.items()
                    if name in there and arrival not in self._in_doubt
                ]
                if open_ and self._randomly.random() < 0.6:
                    arrival = self._randomly.choice(open_)
                    payload: Payload = {"transactionId": arrival.given}
                    busy.add(arrival.identity)
                    tasks.create_task(ask(arrival.identity, "RemoteStopTransaction", payload, arrival))
                else:
                    identity = self._randomly.choice(there)
                    busy.add(identity)
                    tasks.create_task(ask(identity, *self._about_a_key(identity)))

    async def ask_for_configuration(self, identity: str) -> str:
        """The outcome, "" when it cannot be asked."""
        asked = await self._call(identity, *self._about_a_key(identity), None)
        return asked.outcome if asked is not None else ""

    def _about_a_key(self, identity: str) -> tuple[str, Payload]:
        """Action and payload of a call that a charge point can answer, about a key that no other is about."""
        self._calls += 1
        key = f"Key{self._calls}"
        if speaks(identity) == "S12":  # which can be told a configuration, and not asked for it
            return "ChangeConfiguration", {"key": key, "value": "1"}
        return "GetConfiguration", {"key": [key]}

    async def _call(
        self, identity: str, action: str, payload: Payload, arrival: Arrival | None
    ) -> Asked | None:
        """None when it has just gone."""
        if identity not in self._within_reach():
            return None
        asked = Asked(self._ledger.moment(), identity, action, payload, arrival)
        self._ledger.asked.append(asked)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._ask(asked)
        except TimeoutError:
            asked.outcome = "unanswered"
        # It may or may not have been done. It is not asked again, or nobody could tell whose repetition it is
        # that reaches the charge point.
        if arrival is not None and asked.outcome not in ("result", "not sent"):
            self._in_doubt.add(arrival)
        return asked

    @abstractmethod
    def _within_reach(self) -> Collection[str]:
        """The identities of those that it knows how to call."""

    @abstractmethod
    async def _ask(self, asked: Asked) -> None:
        """Send the call, and write down what comes back. May be ended by a timeout."""

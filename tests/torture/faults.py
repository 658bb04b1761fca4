"""What goes wrong beside the gateway: its central system, the network, its disk. Everything at random, from a
seed, and everything can be healed.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.torture.central_system import CentralSystem, Mode
from tests.torture.charge_points import ChargePoint
from tests.torture.disk import Disk
from tests.torture.gateway import Gateway
from tests.torture.ledger import Ledger
from tests.torture.wires import Wire

# What may be wrong with the central system, and how often.
TROUBLES = {"stopped": 4, "black hole": 2, "deaf": 2, "mute": 3, "slow": 3}
SOAP_TROUBLES = {**TROUBLES, "unavailable": 3}
MODES: dict[str, Mode] = {"deaf": "deaf", "mute": "mute", "slow": "slow", "unavailable": "unavailable"}


@dataclass(frozen=True, slots=True)
class Wires:
    """All cables: from charge points to the gateway, from there to the central system, and from there to the
    callback servers of SOAP charge points; and the one on which a SOAP central system calls the gateway."""

    field: Wire
    central_system: Wire
    callbacks: Wire
    calls: Wire | None = None

    @property
    def all(self) -> tuple[Wire, ...]:
        wires = self.field, self.central_system, self.callbacks
        return wires if self.calls is None else (*wires, self.calls)

    @property
    def of_central_system(self) -> tuple[Wire, ...]:
        """Those without which it is away, and nothing comes from it either."""
        return (self.central_system,) if self.calls is None else (self.central_system, self.calls)


class Faults:
    """``count`` says what has happened; ``heartbeats`` are those that were answered though nothing was
    kept."""

    def __init__(
        self,
        ledger: Ledger,
        randomly: random.Random,
        central_system: CentralSystem,
        wires: Wires,
        disk: Disk,
        *,
        away: float = 0.35,
    ) -> None:
        self.count: Counter[str] = Counter()
        self.heartbeats: list[tuple[str, str]] = []  # identity, when
        self._ledger = ledger
        self._randomly = randomly
        self._central_system = central_system
        self._wires = wires
        self._disk = disk
        self._away = away
        self._trouble = ""
        self._lasts = 0  # rounds
        self._stalled: Wire | None = None

    @property
    def wires(self) -> tuple[Wire, ...]:
        return self._wires.all

    @property
    def disk_is_full(self) -> bool:
        return self._disk.full

    async def turn(self) -> None:
        """Another round: some of what is wrong ends, something else begins."""
        self._lasts -= 1
        if self._stalled is not None:
            self._stalled.flow()
            self._stalled = None
        if self._trouble and self._lasts <= 0:
            await self._end_trouble()
        if not self._trouble and self._randomly.random() < self._away:
            troubles = TROUBLES if self._wires.calls is None else SOAP_TROUBLES
            await self._begin_trouble(self._randomly.choices(list(troubles), list(troubles.values()))[0])
        if self._disk.full and self._randomly.random() < 0.6:
            self._free()
        elif not self._disk.problem and self._randomly.random() < 0.08:
            await self._fill()
        while self._randomly.random() < 0.5:
            self._cut()
        if self._randomly.random() < 0.08:
            self._stalled = self._randomly.choice([self._wires.field, self._wires.callbacks])
            self._stalled.stall()
            self._tell(f"{self._stalled.name} stalled")
        if self._randomly.random() < 0.08:
            wire = self._randomly.choice(self._wires.all)
            wire.cut_all()
            self._tell(f"{wire.name} reset")

    async def heal(self) -> None:
        """Nothing is wrong any more."""
        if self._disk.full:
            self._free()
        await self._end_trouble()
        for wire in self._wires.all:
            wire.forget_cuts()
            wire.flow()
            await wire.open()
        self._stalled = None
        self._ledger.note("all is well")

    async def take_central_system_away(self) -> None:
        await self._end_trouble()
        await self._begin_trouble("stopped")

    def free_disk(self) -> None:
        if self._disk.full:
            self._free()

    async def watch_heartbeats(self, gateway: Gateway, charge_points: Sequence[ChargePoint]) -> None:
        """Ask with a Heartbeat, for ever, whenever nothing can be kept: the central system is stopped, and
        the gateway itself says that it is not ready. It must not be answered (OCPP-S 1.6 errata, 3.2)."""
        while True:
            await asyncio.sleep(0.1)
            if not await self._nothing_is_kept(gateway):
                continue
            starts = gateway.starts
            charge_point = self._randomly.choice(charge_points)
            outcome = await charge_point.transport.call("Heartbeat", {})
            if (
                isinstance(outcome, dict)
                and gateway.starts == starts
                and await self._nothing_is_kept(gateway)
            ):
                self.heartbeats.append((charge_point.identity, f"{self._ledger.seconds:.2f} s"))
            self.count["Heartbeats asked for while nothing could be kept"] += 1

    async def _nothing_is_kept(self, gateway: Gateway) -> bool:
        away = self._disk.full and self._trouble == "stopped" and gateway.works
        return away and await gateway.readiness() == 503 and gateway.works

    async def _begin_trouble(self, trouble: str) -> None:
        self._trouble = trouble
        self._lasts = self._randomly.randrange(1, 5)
        match trouble:
            case "stopped":
                for wire in self._wires.of_central_system:
                    await wire.close()
            case "black hole":
                for wire in self._wires.of_central_system:
                    wire.stall()
            case _:
                self._central_system.mode = MODES[trouble]
        self._tell(f"central system {trouble}")

    async def _end_trouble(self) -> None:
        if self._trouble:
            self._ledger.note(f"central system no longer {self._trouble}")
        self._trouble = ""
        self._central_system.mode = "well"
        for wire in self._wires.of_central_system:
            wire.flow()
            await wire.open()

    async def _fill(self) -> None:
        self._disk.fill()
        self._tell("disk full")
        if self._trouble != "stopped" and self._randomly.random() < 0.7:
            await self._end_trouble()
            await self._begin_trouble("stopped")

    def _free(self) -> None:
        self._disk.free()
        self._ledger.note("disk no longer full")

    def _cut(self) -> None:
        wire = self._randomly.choice(self._wires.all)
        after = int(self._randomly.expovariate(1 / 400))
        wire.cut_after(self._randomly.choice(("there", "back")), after)

    def _tell(self, text: str) -> None:
        self.count[text] += 1
        self._ledger.note(text)

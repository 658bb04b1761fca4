"""One run: a fleet at work, rounds of faults that each end with the death of the gateway, and rests between
them in which everything has to come out even.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.torture.central_system import CentralSystem
from tests.torture.central_system_json import JsonCentralSystem
from tests.torture.central_system_soap import SoapCentralSystem
from tests.torture.charge_points import Callbacks, ChargePoint, Json, Soap
from tests.torture.disk import Disk
from tests.torture.faults import Faults, Wires
from tests.torture.gateway import COMMAND, STARTS_WITHIN, Died, Gateway
from tests.torture.invariants import KINDS, Finding, findings, missing
from tests.torture.ledger import Ledger
from tests.torture.wires import Wire, a_free_port

Speaks = Literal["json", "soap"]
CENTRAL_SYSTEMS: dict[Speaks, type[CentralSystem]] = {"json": JsonCentralSystem, "soap": SoapCentralSystem}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done; after ``seconds`` no further round begins, however few kills there were."""

    seed: int
    kills: int = 200
    seconds: float = 86_400.0
    charge_points: int = 20
    rest_every: int = 20  # rounds
    in_memory: bool = False  # the gateway remembers nothing, and must lose something
    disk: bool = True
    awkward_ids: bool = False
    central_system: Speaks = "json"
    only_json: bool = False
    command: tuple[str, ...] = COMMAND  # that starts the gateway, but for -c and its configuration
    no_progress: float = 45.0  # seconds without any, when all is well, until somebody hangs
    nothing_comes: float = 20.0  # seconds without a message, likewise, until what is missing is lost


@dataclass(slots=True)
class Found:
    """A finding, with what was known when it was first seen."""

    finding: Finding
    round: int
    seconds: float
    log: list[str]


@dataclass(slots=True)
class Result:
    plan: Plan
    ledger: Ledger = field(default_factory=Ledger)
    found: dict[tuple[str, str, str], Found] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    repeats: int = 0
    heartbeats: int = 0
    disk_problem: str = ""
    late: int = 0  # said to be lost, and came after all

    def count(self, kind: str) -> int:
        return sum(1 for found in self.found.values() if found.finding.kind == kind)


async def run(plan: Plan, folder: Path, tell: Callable[[str], None]) -> Result:
    """Run *plan* with all files in *folder*; *tell* gets a line now and then."""
    randomly = random.Random(plan.seed)
    result = Result(plan)
    disk = Disk(folder / "state")
    async with AsyncExitStack() as stack:
        if plan.disk and not plan.in_memory:
            stack.callback(disk.unmount)
            disk.mount()
        else:
            disk.problem = "not asked for"
            disk.folder.mkdir(exist_ok=True)
        result.disk_problem = disk.problem
        central_system = CENTRAL_SYSTEMS[plan.central_system](
            result.ledger, _of(plan, "central system"), awkward_ids=plan.awkward_ids
        )
        callbacks = Callbacks()
        await stack.enter_async_context(central_system.at_work())
        await stack.enter_async_context(callbacks.at_work())
        port, *ports = (a_free_port() for _ in range(6))
        wires = Wires(
            Wire("field", ports[0], lambda: port),
            Wire("link to the central system", ports[1], lambda: central_system.port),
            Wire("callbacks", ports[2], lambda: callbacks.port),
            Wire("calls of the central system", ports[4], lambda: port)
            if plan.central_system == "soap"
            else None,
        )
        for wire in wires.all:
            stack.push_async_callback(wire.close)
            await wire.open()
        store = "memory" if plan.in_memory else "sqlite:///state/state.db"
        gateway = Gateway(
            folder,
            port,
            ports[3],
            wires.central_system.port,
            store,
            plan.command,
            calls=wires.calls.port if wires.calls is not None else None,
        )
        stack.push_async_callback(gateway.kill)
        faults = Faults(result.ledger, randomly, central_system, wires, disk)
        result.faults = faults.count
        fleet = [
            _charge_point(plan, number, result.ledger, wires, callbacks)
            for number in range(plan.charge_points)
        ]
        tasks = [*(each.run() for each in fleet), central_system.ask_now_and_then(),
                 faults.watch_heartbeats(gateway, fleet)]  # fmt: skip
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(task) for task in tasks]
            try:
                await Run(plan, randomly, result, gateway, central_system, faults, fleet, tell).go()
            finally:
                for task in running:
                    task.cancel()
    return result


def _of(plan: Plan, name: str) -> random.Random:
    return random.Random(f"{plan.seed} {name}")


def _charge_point(plan: Plan, number: int, ledger: Ledger, wires: Wires, callbacks: Callbacks) -> ChargePoint:
    """SOAP of three versions and JSON by turns; of each, some hold, and others get provisional ids."""
    policy = ("HOLD", "PROV")[(number + number // 4) % 2]
    speaks = "JSON" if plan.only_json else ("SOAP", "JSON", "S15", "S12")[number % 4]
    identity = f"{policy}-{speaks}-{number}"
    randomly = _of(plan, identity)
    if speaks == "JSON":
        url = f"ws://127.0.0.1:{wires.field.port}/ocpp/{identity}"
        return ChargePoint(identity, ledger, randomly, Json(url, randomly))
    callback = f"http://127.0.0.1:{wires.callbacks.port}/{identity}"
    return ChargePoint(identity, ledger, randomly, Soap(identity, wires.field.port, callbacks, callback))


class Run:
    """The rounds of one run."""

    def __init__(
        self,
        plan: Plan,
        randomly: random.Random,
        result: Result,
        gateway: Gateway,
        central_system: CentralSystem,
        faults: Faults,
        fleet: list[ChargePoint],
        tell: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._randomly = randomly
        self._result = result
        self._ledger = result.ledger
        self._gateway = gateway
        self._central_system = central_system
        self._faults = faults
        self._fleet = fleet
        self._tell = tell
        self._hung: set[ChargePoint] = set()

    async def go(self) -> None:
        """All of it, or until the gateway does not start any more."""
        with suppress(Died):
            await self._rounds()
        self._result.faults["link cut within a message"] = sum(wire.cuts_made for wire in self._faults.wires)
        self._result.repeats = sum(each.repeats for each in self._fleet)
        self._result.heartbeats = sum(each.heartbeats for each in self._fleet)

    async def _rounds(self) -> None:
        await self._start()
        kills = 0
        while kills < self._plan.kills and self._ledger.seconds < self._plan.seconds:
            self._result.rounds += 1
            await self._faults.turn()
            await asyncio.sleep(self._life())
            kills += await self._end()
            await asyncio.sleep(self._randomly.choice([0.0, self._randomly.uniform(0.0, 0.4)]))
            kills += await self._start(may_be_killed=True)
            self._look(at_rest=False)
            if self._result.rounds % self._plan.rest_every == 0:
                await self._rest()
        await self._rest()
        await self._see_what_comes_back()
        await self._rest()

    def _life(self) -> float:
        """How long the gateway may live: mostly too short for anything to time out, sometimes long enough."""
        return (
            self._randomly.uniform(0.05, 1.0)
            if self._randomly.random() < 0.75
            else self._randomly.uniform(1.0, 4.0)
        )

    # --- the gateway ---------------------------------------------------------------------------------------

    async def _end(self) -> int:
        """End the gateway, mostly by SIGKILL; returns the kills."""
        if self._gateway.ended:
            self._find("died", "", f"round {self._result.rounds}", "the gateway ended by itself")
            return 0
        if self._randomly.random() < 0.05:
            self._note("gateway stopped by SIGTERM")
            if not await self._gateway.stop():
                self._find(
                    "hung", "", f"round {self._result.rounds}", "the gateway did not end well on SIGTERM"
                )
            return 0
        await self._gateway.kill()
        self._note("gateway killed")
        return 1

    async def _start(self, *, may_be_killed: bool = False) -> int:
        """Start it, and see that it gets ready; sometimes it is killed once before. Returns the kills."""
        await self._gateway.spawn()
        kills = 0
        if may_be_killed and self._randomly.random() < 0.1:
            await asyncio.sleep(self._randomly.uniform(0.0, 1.5))
            await self._gateway.kill()
            self._note("gateway killed while it started")
            await self._gateway.spawn()
            kills = 1
        full = self._faults.disk_is_full
        try:
            await self._gateway.until_ready(10.0 if full else STARTS_WITHIN)
        except Died as died:
            if not full:
                self._find("died", "", f"round {self._result.rounds}", str(died))
                raise
            # On a full disk it may refuse to start, for the one who starts it to try again.
            self._note("gateway did not start on a full disk")
            self._faults.free_disk()
            await self._gateway.kill()
            await self._gateway.spawn()
            try:
                await self._gateway.until_ready()
            except Died as died_again:
                self._find(
                    "died", "", f"round {self._result.rounds}", f"{died_again}, with room on the disk again"
                )
                raise
        self._ledger.note("gateway ready")
        return kills

    def _note(self, text: str) -> None:
        self._faults.count[text] += 1
        self._ledger.note(text)

    # --- what is seen --------------------------------------------------------------------------------------

    async def _rest(self) -> None:
        """Heal everything, let the fleet end what it has begun, and compare the books."""
        await self._faults.heal()
        if self._gateway.ended:
            self._find("died", "", f"round {self._result.rounds}", "the gateway ended by itself")
            await self._start()
        for each in self._fleet:
            each.finish()
        await self._until_drained()
        await self._until_ready()
        await self._until_nothing_is_missing()
        self._look(at_rest=True)
        answered = sum(each.answered for each in self._fleet)
        kills = sum(count for name, count in self._faults.count.items() if "killed" in name)
        self._tell(
            f"{self._ledger.seconds:6.0f} s  round {self._result.rounds}, {kills} kills, {answered} answers, "
            f"{len(self._ledger.arrivals)} messages arrived, {len(self._result.found)} findings"
        )
        for each in self._fleet:
            each.go_on()

    async def _until_drained(self) -> None:
        """Until every charge point is at rest; who gets no further for too long hangs."""
        since = {
            each: (self._ledger.seconds, _progress(each)) for each in self._fleet if each not in self._hung
        }
        while waiting := [each for each in since if not each.at_rest]:
            await asyncio.sleep(0.05)
            for each in waiting:
                began, progress = since[each]
                if progress != _progress(each):
                    since[each] = (self._ledger.seconds, _progress(each))
                elif self._ledger.seconds - began > self._plan.no_progress:
                    head = each.queue[0] if each.queue else None
                    about = f"{head.action} {head.key[2]}, {head.tries} tries" if head else "no message"
                    last = (head.failures or head.refusals or [""])[-1] if head else ""
                    self._find("hung", each.identity, about, f"{len(each.queue)} messages wait; {last}")
                    self._hung.add(each)
                    del since[each]

    async def _until_ready(self) -> None:
        began = self._ledger.seconds
        while (status := await self._gateway.readiness()) != 200:
            if self._ledger.seconds - began > self._plan.no_progress:
                self._find("hung", "", f"round {self._result.rounds}", f"/readyz says {status}")
                return
            await asyncio.sleep(0.1)

    async def _until_nothing_is_missing(self) -> None:
        lost = {key[1:] for key in self._result.found if key[0] == "lost"}
        came, since = len(self._ledger.arrivals), self._ledger.seconds
        while [key for key in missing(self._ledger) if (key[0], f"{key[1]} {key[2]}") not in lost]:
            await asyncio.sleep(0.2)
            if came != len(self._ledger.arrivals):
                came, since = len(self._ledger.arrivals), self._ledger.seconds
            elif self._ledger.seconds - since > self._plan.nothing_comes:
                return

    async def _see_what_comes_back(self) -> None:
        """Kill it while messages are kept and nobody says anything more: what it was told is delivered all
        the same, and the central system finds all charge points."""
        await asyncio.sleep(1.0)
        await self._faults.take_central_system_away()
        await asyncio.sleep(1.5)
        self._central_system.asks = False
        for each in self._fleet:
            each.may_speak.clear()
        await asyncio.sleep(0.5)
        await self._gateway.kill()
        self._note("gateway killed in silence")
        await self._start()
        await self._faults.heal()
        await self._until_nothing_is_missing()
        for identity, count in Counter(key[0] for key in missing(self._ledger)).items():
            if not any(found.finding.identity == identity for found in self._found_lost()):
                self._find("session", identity, "its messages", f"{count} wait until it says something")
        began, away = self._ledger.seconds, [each.identity for each in self._fleet if each not in self._hung]
        while away and self._ledger.seconds - began < self._plan.no_progress:
            await asyncio.sleep(0.1)
            outcomes = {each: await self._central_system.ask_for_configuration(each) for each in away}
            away = [identity for identity in away if outcomes[identity] != "result"]
        for identity in away:
            text = f"asked for its configuration: {outcomes[identity] or 'not connected'}"
            self._find("session", identity, "its connection", text)
        for each in self._fleet:
            each.may_speak.set()
        self._central_system.asks = True

    def _found_lost(self) -> list[Found]:
        return [found for found in self._result.found.values() if found.finding.kind == "lost"]

    def _look(self, *, at_rest: bool) -> None:
        for identity, when in self._faults.heartbeats:
            self._find("heartbeat", identity, when, KINDS["heartbeat"])
        for finding in findings(self._ledger, at_rest=at_rest):
            self._find(finding.kind, finding.identity, finding.about, finding.text)
        if at_rest:
            gone = {(each[0], f"{each[1]} {each[2]}") for each in missing(self._ledger)}
            for key in [key for key in self._result.found if key[0] == "lost" and key[1:] not in gone]:
                del self._result.found[key]
                self._result.late += 1

    def _find(self, kind: str, identity: str, about: str, text: str) -> None:
        key = (kind, identity, about)
        if key not in self._result.found:
            log = self._gateway.last_lines(15, identity) if self._result.count(kind) < 3 else []
            finding = Finding(kind, identity, about, text)
            self._result.found[key] = Found(finding, self._result.rounds, self._ledger.seconds, log)
            if self._result.count(kind) < 4:
                self._ledger.note(f"found: {kind} {identity} {about}")


def _progress(charge_point: ChargePoint) -> tuple[int, int, int]:
    last = charge_point.queue[0].moment if charge_point.queue else 0
    return len(charge_point.queue), charge_point.charging, last

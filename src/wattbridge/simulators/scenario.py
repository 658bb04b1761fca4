"""What simulators play: a day of one charge point and one central system, as the demo shows it, and what
charge points do by themselves towards a central system that nobody here knows.

Knows the simulators and nothing of what stands between them. Parties of an older OCPP play what they have
words for. What does not go as it should is collected, and the play goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from typing import Any, TypeVar

from wattbridge.simulators.central_system import CentralSystem
from wattbridge.simulators.charge_point import ChargePoint
from wattbridge.simulators.outcomes import Refusal, Unanswered

Payload = dict[str, Any]
T = TypeVar("T")

ID_TAG = "04E91C5A123456"
LIMIT = Decimal("8.1")  # A; a float of it is no multiple of 0.1, as its schema wants
ENOUGH = 5000  # calls that are kept of the past: the demo may run for days


@dataclass(slots=True)
class ScenarioResult:
    """How the day went: ``calls`` that were answered, in both directions, and each failure as a sentence."""

    calls: int = 0
    failures: list[str] = field(default_factory=list)


# A charge point plays its part once, and comes back with what went wrong that it did not record itself.
Part = Callable[[ChargePoint], Awaitable[list[str]]]


async def charge(charge_point: ChargePoint) -> list[str]:
    """Boot unless that is done, authorize, start, meter values, stop."""
    await _be_accepted(charge_point)
    charged = await charge_point.charge(ID_TAG)
    return _of_a_charge(charge_point, charged)


async def boot_storm(charge_point: ChargePoint) -> list[str]:
    """What charge points do when the power is back: boot, and tell the status of each connector."""
    await charge_point.power_up()
    return []


async def offline(charge_point: ChargePoint) -> list[str]:
    """Charge, lose the connection in the middle of the transaction, come back, deliver what was kept.

    One that keeps all messages of transactions also begins one while nobody hears of it.
    """
    await _be_accepted(charge_point)
    await charge_point.authorize(ID_TAG)
    started = await charge_point.start_transaction(ID_TAG)
    await charge_point.notify_status(1, "Charging")
    await charge_point.meter_values()
    await charge_point.go_offline()
    await charge_point.meter_values()
    await charge_point.stop_transaction(id_tag=ID_TAG)
    if charge_point.queue is not None:
        await charge_point.start_transaction(ID_TAG)
        await charge_point.meter_values()
        await charge_point.stop_transaction(id_tag=ID_TAG)
    await charge_point.come_back()
    # It has not booted in between, so a central system over JSON wants no BootNotification (OCPP-J 1.6, 5.4).
    await charge_point.notify_status(1, "Available")
    return _of_a_charge(charge_point, {"status": started["idTagInfo"]["status"]})


async def quirks(charge_point: ChargePoint) -> list[str]:
    """Everything that real charge points do against the specification, one after the other.

    A quirk that the central system does not live with is told by its name.
    """
    from wattbridge.simulators.quirks import show

    await _be_accepted(charge_point)
    return await show(charge_point)


PARTS: dict[str, Part] = {
    "charge": charge,
    "boot-storm": boot_storm,
    "offline": offline,
    "quirks": quirks,
}


async def _be_accepted(charge_point: ChargePoint) -> None:
    if not charge_point.accepted:
        await charge_point.power_up()


def _of_a_charge(charge_point: ChargePoint, charged: Payload) -> list[str]:
    status = charged["status"]
    return [] if status == "Accepted" else [f"{charge_point.identity}: idTag {ID_TAG} is {status}"]


async def play(charge_point: ChargePoint, part: Part) -> list[str]:
    """Let a charge point play a part; returns each failure as a sentence, its own and those it found.

    What is refused or unanswered ends the part. The charge point can then play another one.
    """
    before = len(charge_point.failures)
    try:
        if charge_point.offline:  # since an earlier part failed
            await charge_point.come_back()
        failures = await part(charge_point)
    except (Refusal, Unanswered) as failure:
        failures = [f"{charge_point.identity}: {failure}"]
        charge_point.forget()
    return failures + charge_point.failures[before:]


async def charging_day(
    charge_point: ChargePoint,
    central_system: CentralSystem,
    *,
    until: asyncio.Event | None = None,
    duration: float | None = None,
    pause: float = 0.4,
    on_step: Callable[[str], None] | None = None,
    outage: bool = False,
) -> ScenarioResult:
    """Let the two work with each other until *until* is set, or *duration* seconds are over.

    The charge point boots; then come rounds of a charge at the plug, a charge started from remote, and
    what else there is to say, with *pause* seconds after each step. The step under way is always finished,
    and so is a running transaction. *on_step* hears each step before it is taken. Both simulators are
    started and stopped by the caller. With *outage* the central system goes away in the middle of a charge:
    whoever stands between the two has to keep what the charge point says meanwhile. Days of several charge
    points may run beside each other; the problems that their central system saw are then in each result.
    """
    return await _Day(charge_point, central_system, until, duration, pause, on_step, outage=outage).play()


class _Over(Exception):
    """The day is over."""


class _Failed(Exception):
    """A step failed, and is recorded; what was to follow from it makes no sense."""


class _Day:
    def __init__(
        self,
        charge_point: ChargePoint,
        central_system: CentralSystem,
        until: asyncio.Event | None,
        duration: float | None,
        pause: float,
        on_step: Callable[[str], None] | None,
        *,
        outage: bool,
    ) -> None:
        self.charge_point = charge_point
        self.central_system = central_system
        self.identity = charge_point.identity
        self._until = until or asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._evening = float("inf") if duration is None else self._clock() + duration
        self._pause = pause
        self._on_step = on_step
        self._outage = outage
        self._failures: list[str] = []

    async def play(self) -> ScenarioResult:
        cp, cs = self.charge_point, self.central_system
        answered = cp.answered + cs.answered[self.identity]
        witnesses = [(notes, len(notes)) for notes in (cp.failures, cp.problems, cs.problems)]
        try:
            while not await self._succeeds(self._morning):
                await self._rest()
            while True:
                for part in (self._charge_at_the_plug, self._charge_from_remote, self._small_talk):
                    await self._succeeds(part)
        except _Over:
            await self._go_home()
        for notes, before in witnesses:
            self._failures += notes[before:]
        return ScenarioResult(cp.answered + cs.answered[self.identity] - answered, self._failures)

    # --- The parts of the day --------------------------------------------------------------------------

    async def _morning(self) -> None:
        cp = self.charge_point
        while (answer := await self._step("boot", cp.boot()))["status"] != "Accepted":
            await self._rest(cp.dialect.interval(answer))  # what the central system asks for (OCPP 1.6, 4.2)
        await self._step("status", self.charge_point.notify_all())

    async def _charge_at_the_plug(self) -> None:
        cp, connector_id = self.charge_point, 1
        await self._step("authorize", cp.authorize(ID_TAG), ("idTagInfo", {"status": "Accepted"}))
        await self._step("plug in", cp.notify_status(connector_id, "Preparing"))
        await self._step("start", cp.start_transaction(ID_TAG, connector_id))
        transaction_id = self._running(connector_id)
        await self._step("charge", cp.notify_status(connector_id, "Charging"))
        await self._step("meter values", cp.meter_values(connector_id))
        if self._outage:
            await self._without_a_central_system(connector_id)
        if self._can_be_asked("GetConfiguration"):
            keys = ["ResetRetries", "Sparkle"]
            await self._ask("GetConfiguration", ("unknownKey", ["Sparkle"]), key=keys)
        await self._ask(
            "ChangeConfiguration", ("status", "Accepted"), key="ConnectorPhaseRotation", value="1.RST"
        )
        if self._can_be_asked("SetChargingProfile"):
            await self._charge_by_a_profile(connector_id, transaction_id)
        if self._can_be_asked("TriggerMessage"):
            await self._and_then(
                "MeterValues",
                self._ask(
                    "TriggerMessage",
                    ("status", "Accepted"),
                    requestedMessage="MeterValues",
                    connectorId=connector_id,
                ),
            )
        crossing = "GetLocalListVersion" if self._can_be_asked("GetLocalListVersion") else "ClearCache"
        await self._at_once(cp.meter_values(connector_id), crossing)
        await self._step("stop", cp.stop_transaction(connector_id, id_tag=ID_TAG))
        self._expect_ended(transaction_id, connector_id)
        await self._step("unplug", cp.notify_status(connector_id, "Finishing"))
        await self._step("leave", cp.notify_status(connector_id, "Available"))

    async def _charge_by_a_profile(self, connector_id: int, transaction_id: int) -> None:
        await self._ask(
            "SetChargingProfile",
            ("status", "Accepted"),
            connectorId=connector_id,
            csChargingProfiles={
                "chargingProfileId": 1,
                "transactionId": transaction_id,
                "stackLevel": 0,
                "chargingProfilePurpose": "TxProfile",
                "chargingProfileKind": "Relative",
                "chargingSchedule": {
                    "chargingRateUnit": "A",
                    "chargingSchedulePeriod": [{"startPeriod": 0, "limit": LIMIT}],
                },
            },
        )
        schedule = await self._ask(
            "GetCompositeSchedule",
            ("status", "Accepted"),
            connectorId=connector_id,
            duration=3600,
            chargingRateUnit="A",
        )
        limit = schedule["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"]
        self._expect("GetCompositeSchedule: limit", limit, LIMIT)

    async def _without_a_central_system(self, connector_id: int) -> None:
        """The connection breaks and cannot be made again for a while; what was said meanwhile arrives."""
        cp, cs = self.charge_point, self.central_system
        before = cs.heard
        cs.refuse_handshakes = HTTPStatus.SERVICE_UNAVAILABLE
        cs.cut(self.identity)
        try:
            await cs.departure_of(self.identity)
            await self._step("meter values while nobody is there", cp.meter_values(connector_id))
            await self._step("a status likewise", cp.notify_status(connector_id, "SuspendedEV"))
        finally:
            cs.refuse_handshakes = None
        try:
            for action in ("MeterValues", "StatusNotification"):
                await cs.arrival_of(action, identity=self.identity, after=before, within=cs.call_timeout)
        except Unanswered as failure:
            raise self._failed("after the outage", str(failure)) from None

    async def _charge_from_remote(self) -> None:
        connector_id = max(self.charge_point.connectors)
        await self._and_then(
            "StartTransaction",
            self._ask(
                "RemoteStartTransaction", ("status", "Accepted"), connectorId=connector_id, idTag=ID_TAG
            ),
        )
        transaction_id = self._running(connector_id)
        await self._and_then(
            "StopTransaction",
            self._ask("RemoteStopTransaction", ("status", "Accepted"), transactionId=transaction_id),
        )
        self._expect_ended(transaction_id, connector_id)
        unlocked = self.central_system.dialect.unlocked
        await self._ask("UnlockConnector", ("status", unlocked), connectorId=connector_id)

    async def _small_talk(self) -> None:
        cp = self.charge_point
        await self._step("heartbeat", cp.heartbeat())
        if self._can_be_asked("DataTransfer"):
            greeting = cp.transfer_data("greeting", "<hello> & goodbye")
            await self._step("data", greeting, ("status", "Accepted"))
            await self._ask(
                "DataTransfer",
                ("data", '{"a": "<b>"}'),
                vendorId=cp.vendor,
                messageId="echo",
                data='{"a": "<b>"}',
            )
        await self._step("diagnostics", cp.notify_diagnostics_status("Uploaded"))
        await self._step("firmware", cp.notify_firmware_status("Installed"))
        for received in (cp.received, self.central_system.received):
            del received[:-ENOUGH]

    async def _go_home(self) -> None:
        """Leave nothing running: what the charge point still has to do, and transactions."""
        try:
            await self.charge_point.settled()
            for connector_id, connector in self.charge_point.connectors.items():
                if connector.transaction is not None:
                    await self.charge_point.stop_transaction(connector_id)
                    await self.charge_point.notify_status(connector_id, "Available")
        except (Refusal, Unanswered) as failure:
            self._failures.append(f"{self.identity} evening: {failure}")

    # --- Steps -----------------------------------------------------------------------------------------

    async def _succeeds(self, part: Callable[[], Awaitable[None]]) -> bool:
        try:
            await part()
        except _Failed:
            await self._go_home()
            await self._rest()
            return False
        return True

    async def _step(self, name: str, work: Awaitable[T], expected: tuple[str, object] | None = None) -> T:
        """Take one step, expect one field of its answer, and rest."""
        if self._on_step is not None:
            self._on_step(f"{self.identity} {name}")
        try:
            answer = await work
        except (Refusal, Unanswered) as failure:
            raise self._failed(name, str(failure)) from None
        if expected is not None and isinstance(answer, dict):
            self._expect(f"{name}: {expected[0]}", answer.get(expected[0]), expected[1])
        await self._rest()
        return answer

    async def _ask(self, action: str, expected: tuple[str, object] | None = None, **payload: Any) -> Payload:
        return await self._step(action, self.central_system.call(self.identity, action, **payload), expected)

    def _can_be_asked(self, action: str) -> bool:
        """Whether both have a word for it in their versions of OCPP."""
        return action in self.charge_point.dialect.answers & self.central_system.dialect.answers

    async def _and_then(self, action: str, asking: Awaitable[Payload]) -> None:
        """Take a step of the central system, and wait for what the charge point sends because of it."""
        cs = self.central_system
        before = cs.heard
        await asking
        try:
            await cs.arrival_of(action, identity=self.identity, after=before, within=cs.call_timeout)
            await self.charge_point.settled()
        except Unanswered as failure:
            raise self._failed(action, str(failure)) from None

    async def _at_once(self, saying: Awaitable[Payload], action: str) -> None:
        """Both parties call at the same time: calls of the two may cross (OCPP-J 1.6, 4.1.1)."""

        async def both() -> Payload:
            async with asyncio.TaskGroup() as crossing:
                asked = crossing.create_task(_result(self.central_system.call(self.identity, action)))
                said = crossing.create_task(_result(saying))
            for outcome in (asked.result(), said.result()):
                if isinstance(outcome, Exception):
                    raise outcome
            return {}

        await self._step(f"meter values and {action}", both())

    async def _rest(self, longer: float = 0.0) -> None:
        """Wait the usual pause, or *longer* seconds; raises _Over when the evening comes."""
        pause = max(0.0, min(self._pause + longer, self._evening - self._clock()))
        try:
            async with asyncio.timeout(pause):
                await self._until.wait()
        except TimeoutError:
            pass
        if self._until.is_set() or self._clock() >= self._evening:
            raise _Over

    # --- What ought to be ------------------------------------------------------------------------------

    def _failed(self, step: str, problem: str) -> _Failed:
        sentence = f"{self.identity} {step}: {problem}"
        self._failures.append(sentence)
        return _Failed(sentence)

    def _expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            raise self._failed(what, f"{found!r}; expected {expected!r}")

    def _running(self, connector_id: int) -> int:
        """The central system's own id of the transaction that runs on a connector."""
        for transaction_id, known in reversed(self.central_system.transactions.items()):
            if (known.identity, known.connector_id) == (self.identity, connector_id):
                if known.meter_stop is None:
                    return transaction_id
                break
        raise self._failed(f"connector {connector_id}", "the central system knows of no transaction")

    def _expect_ended(self, transaction_id: int, connector_id: int) -> None:
        meter = self.charge_point.connectors[connector_id].meter
        found = self.central_system.transactions[transaction_id].meter_stop
        self._expect(f"transaction {transaction_id}: meterStop at the central system", found, meter)


async def _result(work: Awaitable[Payload]) -> Payload | Exception:
    """The outcome as a value, so that one party's failure does not cut the other's call short."""
    try:
        return await work
    except (Refusal, Unanswered) as failure:
        return failure

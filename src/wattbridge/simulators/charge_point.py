"""What a simulated charge point does: its connectors and transactions, what it says and what it answers.

How it speaks is left to others (charge_point_json.py, charge_point_soap.py). Like a real one it has one mouth
and one ear: a thread that calls the central system, one call at a time, and whatever serves the calls back.
What it is asked to do it does: a RemoteStartTransaction starts a transaction, a TriggerMessage sends the
message. ``problems`` holds what the other party does
against the rules; ``failures`` what was refused or unanswered of the calls it makes by itself.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from types import TracebackType
from typing import Any, Self, TypeVar

from wattbridge.simulators.dialects import DIALECTS, Dialect, Version
from wattbridge.simulators.outcomes import BadStatus, Exchange, Refusal, Unanswered, tell_nobody
from wattbridge.simulators.transaction_queue import NEVER_TOLD, Message, Outcome, TransactionQueue

Payload = dict[str, Any]
T = TypeVar("T")

CENTRAL_EUROPE = timezone(timedelta(hours=1))
SAMPLE_WH = 250  # what one meter sample finds more than the last
VOLTS = Decimal(230)
PHASES = 3
MAX_LIMIT = {"A": Decimal("16.0"), "W": Decimal("11040.0")}  # of a connector without a charging profile


def local_time() -> datetime:
    """Now, with an offset that is not UTC, as many charge points send it."""
    return datetime.now(CENTRAL_EUROPE)


def wait_for_nothing() -> None:
    """There is no pace to keep."""


@dataclass(slots=True)
class Setting:
    """One configuration key (OCPP 1.6, 9)."""

    value: str
    readonly: bool = False
    reboot_required: bool = False


@dataclass(slots=True)
class Transaction:
    transaction_id: int
    id_tag: str
    connector_id: int
    meter_start: int  # Wh
    begun: str
    samples: list[Payload] = field(default_factory=list)  # readings, the transactionData of StopTransaction


@dataclass(slots=True)
class Reservation:
    reservation_id: int
    id_tag: str


@dataclass(slots=True)
class Connector:
    connector_id: int
    status: str = "Available"
    operative: bool = True
    wanted_operative: bool = True  # what a scheduled ChangeAvailability makes of it after the transaction
    meter: int = 1000  # Wh
    state_of_charge: int = 20  # percent
    transaction: Transaction | None = None
    reservation: Reservation | None = None


def factory_settings(connectors: int, dialect: Dialect) -> dict[str, Setting]:
    settings = {
        "AuthorizeRemoteTxRequests": Setting("true"),
        "ConnectorPhaseRotation": Setting("1.RST"),
        "GetConfigurationMaxKeys": Setting("50", readonly=True),
        "HeartbeatInterval": Setting("0"),
        "LocalAuthListEnabled": Setting("true"),
        "MeterValueSampleInterval": Setting("0"),
        "NumberOfConnectors": Setting(str(connectors), readonly=True),
        "ReserveConnectorZeroSupported": Setting("false", readonly=True),
        "ResetRetries": Setting("1", reboot_required=True),
        "StopTransactionOnInvalidId": Setting("true"),
        "SupportedFeatureProfiles": Setting(
            "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger",
            readonly=True,
        ),
        "TransactionMessageAttempts": Setting("1"),
        "TransactionMessageRetryInterval": Setting("1"),
    }
    if dialect.version != "1.6":  # which has brought the profiles
        del settings["SupportedFeatureProfiles"]
    return {dialect.key(name): setting for name, setting in settings.items()}


class ChargePoint:
    """One simulated charge point, but for the transport.

    It thinks in the words of OCPP 1.6, and says what ``version`` has for them; payloads that are given to
    ``call``, and those in ``received``, have the names of ``version``.

    ``now`` gives the time of its messages, with an offset. It says nothing before it is told to; once
    accepted it sends Heartbeat, and while charging MeterValues, at the intervals of its configuration (0:
    never).

    After ``keep_messages`` it charges without its central system too, and delivers the messages of its
    transactions when that is back; ``queue`` has them.

    ``before_call`` is called before each call it makes, and may wait: a pace for many of them.
    ``on_exchange`` hears of every call that has ended. Both are called from threads of the charge point.
    ``clock`` gives seconds; one that somebody else moves is looked at with each thing that is to be said.
    """

    probes = False  # whether a Heartbeat tells whose fault a failure is (OCPP-S errata, 3.2)

    def __init__(
        self,
        identity: str,
        *,
        vendor: str,
        model: str,
        firmware_version: str,
        connectors: int,
        now: Callable[[], datetime],
        version: Version = "1.6",
    ) -> None:
        self.identity = identity
        self.dialect = DIALECTS[version]
        self.vendor = vendor
        self.model = model
        self.firmware_version = firmware_version
        self.problems: list[str] = []
        self.failures: list[str] = []
        self.received: list[tuple[str, Payload]] = []
        self.answered = 0  # calls of ours that got an answer
        self.accepted = False
        self.connectors = {number: Connector(number) for number in range(1, connectors + 1)}
        self.operative = True  # connector 0: the charge point as a whole
        self.configuration = factory_settings(connectors, self.dialect)
        self.profiles: list[tuple[int, Payload]] = []  # (connector, csChargingProfiles)
        self.local_list: dict[str, Payload] = {}
        self.local_list_version = 0
        self.patience = 1.0  # seconds a call under way is given when the charge point is stopped
        self.own_interval = 10.0  # seconds between two boots when the central system leaves it to us
        self.offline = False
        self.kept: list[tuple[str, Payload]] = []  # transaction messages that wait for the connection
        self.before_call: Callable[[], None] = wait_for_nothing
        self.on_exchange: Callable[[Exchange], None] = tell_nobody
        self.queue: TransactionQueue | None = None
        self.clock: Callable[[], float] = time.monotonic
        self._refusals: dict[str, Refusal] = {}
        self._now = now
        self._state = threading.RLock()  # two threads know the state: the mouth and the ear
        self._mouth: _Mouth | None = None
        self._last_sent = self._last_sample = self.clock()
        self._answers: dict[str, Callable[[Payload], Payload]] = {
            "CancelReservation": self._cancel_reservation,
            "ChangeAvailability": self._change_availability,
            "ChangeConfiguration": self._change_configuration,
            "ClearCache": self._clear_cache,
            "ClearChargingProfile": self._clear_charging_profile,
            "DataTransfer": self._data_transfer,
            "GetCompositeSchedule": self._get_composite_schedule,
            "GetConfiguration": self._get_configuration,
            "GetDiagnostics": self._get_diagnostics,
            "GetLocalListVersion": self._get_local_list_version,
            "RemoteStartTransaction": self._remote_start_transaction,
            "RemoteStopTransaction": self._remote_stop_transaction,
            "ReserveNow": self._reserve_now,
            "Reset": self._reset,
            "SendLocalList": self._send_local_list,
            "SetChargingProfile": self._set_charging_profile,
            "TriggerMessage": self._trigger_message,
            "UnlockConnector": self._unlock_connector,
            "UpdateFirmware": self._update_firmware,
        }

    # --- Life ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Get ready to be called and to call; says nothing yet. Raises Unanswered when that fails."""
        self._mouth = _Mouth(self.identity, self._next_duty, self._failed, self.clock)
        try:
            await self._in_mouth(self._connect)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop calling and being called; a call under way is given a moment to end."""
        if self._mouth is not None:
            mouth, self._mouth = self._mouth, None
            await asyncio.to_thread(mouth.close, self.patience)
            await asyncio.to_thread(self._disconnect)

    def _connect(self) -> None:
        """Open what it takes to be called and to call. Blocking; raises Unanswered.

        From now on ``_answer_call`` may be called.
        """
        raise NotImplementedError

    def _disconnect(self) -> None:
        """Close it again, if it is open. Blocking."""
        raise NotImplementedError

    def _ask(self, action: str, payload: Payload) -> Payload:
        """Call the central system. Blocking; raises Refusal or Unanswered."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def settled(self) -> None:
        """Wait until everything the charge point was asked to do so far is done."""
        await self._in_mouth(lambda: None)

    # --- What it can say -------------------------------------------------------------------------------
    # Each gives the payload of the answer as a plain dict, times as text; raises Refusal for an error and
    # Unanswered when no usable answer came.

    async def call(self, action: str, **payload: Any) -> Payload:
        """Send any request: ``await cp.call("Authorize", idTag="04E91C5A123456")``."""
        return await self._in_mouth(self._call, action, payload)

    async def boot(self) -> Payload:
        return await self._in_mouth(self._boot)

    async def heartbeat(self) -> Payload:
        return await self.call("Heartbeat")

    async def authorize(self, id_tag: str) -> Payload:
        return await self.call("Authorize", idTag=id_tag)

    async def notify_status(
        self, connector_id: int, status: str, *, error_code: str = "NoError", info: str | None = None
    ) -> Payload:
        return await self._in_mouth(
            self._notify_status, connector_id, status, error_code=error_code, info=info
        )

    async def start_transaction(self, id_tag: str, connector_id: int = 1) -> Payload:
        """Begin a transaction; one that was reserved for this idTag says so."""
        return await self._in_mouth(self._start_transaction, id_tag, connector_id)

    async def meter_values(self, connector_id: int = 1, *, context: str = "Sample.Periodic") -> Payload:
        return await self._in_mouth(self._meter_values, connector_id, context)

    async def stop_transaction(
        self, connector_id: int = 1, *, reason: str | None = None, id_tag: str | None = None
    ) -> Payload:
        """End the connector's transaction, with its first and last sample as transactionData."""
        return await self._in_mouth(self._stop_transaction, connector_id, reason=reason, id_tag=id_tag)

    async def transfer_data(self, message_id: str | None = None, data: str | None = None) -> Payload:
        return await self.call("DataTransfer", vendorId=self.vendor, messageId=message_id, data=data)

    async def notify_diagnostics_status(self, status: str) -> Payload:
        return await self.call("DiagnosticsStatusNotification", status=status)

    async def notify_firmware_status(self, status: str) -> Payload:
        return await self.call("FirmwareStatusNotification", status=status)

    async def power_up(self) -> Payload:
        """Boot until the central system accepts, then tell the status of every connector (OCPP 1.6, 4.2).

        Between two attempts it waits the interval it was told, in seconds. Returns the last answer.
        """
        answer = await self.boot()
        while answer["status"] != "Accepted":
            await asyncio.sleep(self.dialect.interval(answer) or self.own_interval)
            answer = await self.boot()
        await self.notify_all()
        return answer

    async def notify_all(self) -> None:
        """Tell the status of the charge point as a whole and of every connector."""
        await self._in_mouth(self._notify_all)

    async def charge(
        self, id_tag: str, connector_id: int = 1, *, meter_values: int = 3, pause: float = 0.0
    ) -> Payload:
        """One charge as a driver sees it: present the tag, plug in, charge, present the tag, unplug.

        ``pause`` (seconds) is between two MeterValues. Returns ``{"status": …}`` of the authorization and,
        when there was a transaction, its ``transactionId``. A transaction that the central system
        stopped in between just ends earlier.
        """
        authorized = await self._in_mouth(self._authorize, id_tag)
        status = authorized["idTagInfo"]["status"]
        if status != "Accepted":
            return {"status": status}
        await self.notify_status(connector_id, "Preparing")
        started = await self.start_transaction(id_tag, connector_id)
        running = self.connectors[connector_id].transaction
        for_it = functools.partial(self._in_mouth, self._if_running, connector_id, running)
        await for_it(self._notify_status, connector_id, "Charging")
        for _ in range(meter_values):
            await asyncio.sleep(pause)
            if not await for_it(self._meter_values, connector_id, "Sample.Periodic"):
                break
        await for_it(self._finish, connector_id, None, id_tag)
        return {"status": started["idTagInfo"]["status"], "transactionId": started["transactionId"]}

    def keep_messages(self, attempts: int, retry: float) -> None:
        """From now on deliver the messages of transactions as the specification says (OCPP 1.6 edition 2,
        3.7.1): those that are not answered are kept, those that are refused so many *attempts* discarded.

        *retry* is TransactionMessageRetryInterval, in seconds. What they are answered is not waited for then.
        """
        self.configuration["TransactionMessageAttempts"].value = str(attempts)
        self.configuration["TransactionMessageRetryInterval"].value = f"{retry:g}"
        self.queue = TransactionQueue(
            probes=self.probes,
            once=not self.dialect.repeats_what_was_refused,
            on_acknowledged=self._acknowledged,
        )

    async def delivered(self) -> None:
        """Wait until all messages of transactions are acknowledged or discarded."""
        while self.queue is not None and self.queue.due is not None:
            await asyncio.sleep(0.05)
            await self.settled()

    async def go_offline(self) -> None:
        """Lose the connection.

        MeterValues of transactions and StopTransaction are kept from now on, all else is Unanswered. After
        ``keep_messages`` StartTransaction is kept, too.
        """
        await self._in_mouth(self._go_offline)

    async def come_back(self) -> None:
        """Connect again and deliver what was kept, in order; the rest stays kept when that fails."""
        await self._in_mouth(self._come_back)

    def forget(self) -> None:
        """Forget what runs and what was kept, as after an accident; what the queue has is on its disk."""
        if self.queue is not None:
            for connector_id in self.connectors:
                self._afterwards(self._finish_if_running, connector_id, "PowerLoss")
            return
        with self._state:
            self.kept.clear()
            for connector in self.connectors.values():
                connector.transaction = None

    def refuse(self, action: str, refusal: Refusal | None) -> None:
        """From now on answer the central system's *action* with this error; None to behave again."""
        with self._state:
            if refusal is None:
                self._refusals.pop(action, None)
            else:
                self._refusals[action] = refusal

    # --- The mouth -------------------------------------------------------------------------------------
    # All of this runs in the one thread that calls the central system.

    async def _in_mouth(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        if self._mouth is None:
            raise Unanswered(f"{self.identity} is not started")
        return await asyncio.wrap_future(self._mouth.say(functools.partial(work, *args, **kwargs)))

    def _afterwards(self, work: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Have something said as soon as the mouth is free, by the charge point itself."""
        if self._mouth is not None:
            self._mouth.say(functools.partial(work, *args, **kwargs), alone=True)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, Refusal | Unanswered):
            self.failures.append(f"{self.identity}: {error}")
        else:  # a fault of the simulator itself: loud
            self.problems.append("".join(traceback.format_exception(error)))

    def _next_duty(self) -> tuple[float, Callable[[], object]] | None:
        """When (monotonic seconds) something is due without anybody asking, and what."""
        duties: list[tuple[float, Callable[[], object]]] = []
        with self._state:
            heartbeat = float(self.configuration[self.dialect.key("HeartbeatInterval")].value)
            sample = float(self.configuration["MeterValueSampleInterval"].value)
            charging = [number for number, connector in self.connectors.items() if connector.transaction]
        if self.accepted and heartbeat > 0 and not self.offline:
            # Any other message tells the central system as well that we are there (OCPP 1.6, 4.6).
            duties.append((self._last_sent + heartbeat, lambda: self._call("Heartbeat", {})))
        if sample > 0 and charging:
            duties.append((self._last_sample + sample, lambda: self._sample(charging)))
        if self.queue is not None and self.queue.due is not None and not self.offline:
            duties.append((self.queue.due, self._deliver))
        return min(duties, key=lambda duty: duty[0], default=None)

    def _sample(self, connector_ids: list[int]) -> None:
        self._last_sample = self.clock()
        for connector_id in connector_ids:
            self._meter_values(connector_id, "Sample.Periodic")

    def _call(self, action: str, payload: Payload) -> Payload:
        return self._timed(action, functools.partial(self._ask, action, payload))

    def _timed(self, action: str, ask: Callable[[], T]) -> T:
        """Make one call, at its pace and before whoever looks on."""
        if self.offline:
            raise Unanswered(f"{action}: {self.identity} is offline")
        self.before_call()
        self._last_sent = self.clock()
        began = time.monotonic()
        outcome = "ok"
        try:
            answer = ask()
        except Exception as failure:
            outcome = str(failure)
            raise
        finally:
            seconds = time.monotonic() - began
            self.on_exchange(Exchange(self.identity, action, "central system", outcome, seconds))
        self.answered += 1
        return answer

    def _transaction_call(
        self, action: str, payload: Payload, transaction: Transaction | None = None
    ) -> Payload:
        """A transaction message is tried again, later each time, before it is given up (OCPP 1.6, 3.7.1).

        What was refused is not, before 1.6. With a queue, the answer is empty while there is none.
        """
        if self.queue is not None and transaction is not None:
            message = self.queue.add(action, payload, transaction)
            self._deliver()
            return message.answer or {}
        if self.offline and action != "StartTransaction":  # one that begins offline has no id to go on with
            self.kept.append((action, payload))
            return {}
        attempts = int(self.configuration["TransactionMessageAttempts"].value)
        interval = float(self.configuration["TransactionMessageRetryInterval"].value)
        for attempt in range(1, attempts):
            try:
                return self._call(action, payload)
            except (Refusal, Unanswered) as failure:
                refused = isinstance(failure, Refusal | BadStatus)
                if refused and not self.dialect.repeats_what_was_refused:
                    raise
                if self._mouth is None or self._mouth.closing.wait(interval * attempt):
                    raise
        return self._call(action, payload)

    def _deliver(self) -> None:
        """Say what the queue has to say by now."""
        assert self.queue is not None
        self.queue.attempts = int(self.configuration["TransactionMessageAttempts"].value)
        self.queue.retry = float(self.configuration["TransactionMessageRetryInterval"].value)
        while not self.offline and (call := self.queue.next(self.clock())) is not None:
            outcome: Payload | Outcome
            try:
                outcome = self._call(*call)
            except (Refusal, BadStatus):
                outcome = Outcome.FAILED
            except Unanswered:
                outcome = Outcome.UNANSWERED
            self.queue.told(outcome, self.clock())
            if self._mouth is None or self._mouth.closing.is_set():
                return

    def _acknowledged(self, message: Message) -> None:
        if message.action != "StartTransaction" or message.answer is None:
            return
        refused = message.answer["idTagInfo"]["status"] != "Accepted"
        if refused and self.configuration["StopTransactionOnInvalidId"].value == "true":
            for connector_id, connector in self.connectors.items():
                if connector.transaction is message.transaction:
                    self._afterwards(self._finish_if_running, connector_id, "DeAuthorized")

    def _authorize(self, id_tag: str) -> Payload:
        """With a queue a charge begins without the central system as well: LocalAuthorizeOffline and
        AllowOfflineTxForUnknownId are true then (OCPP 1.6, 3.5).
        """
        try:
            return self._call("Authorize", {"idTag": id_tag})
        except (Refusal, Unanswered):
            if self.queue is None:
                raise
            return {"idTagInfo": {"status": "Accepted"}}

    def _boot(self) -> Payload:
        answer = self._call(
            "BootNotification",
            {
                "chargePointVendor": self.vendor,
                "chargePointModel": self.model,
                "chargePointSerialNumber": f"{self.vendor}-0001"[:25],
                "firmwareVersion": self.firmware_version,
                "meterType": "MID-3P",
            },
        )
        self.accepted = answer["status"] == "Accepted"
        if self.accepted and (interval := self.dialect.interval(answer)):
            with self._state:
                self.configuration[self.dialect.key("HeartbeatInterval")].value = str(interval)
        return answer

    def _notify_status(
        self, connector_id: int, status: str, *, error_code: str = "NoError", info: str | None = None
    ) -> Payload:
        if connector_id in self.connectors:
            with self._state:
                self.connectors[connector_id].status = status
        payload = {
            "connectorId": connector_id,
            "status": status,
            "errorCode": error_code,
            "info": info,
            "timestamp": self._timestamp(),
        }
        try:
            return self._call("StatusNotification", self.dialect.status(payload))
        except Unanswered:
            if self.queue is None:
                raise
            return {}  # the next one tells more

    def _notify_current(self, connector_id: int) -> Payload:
        if connector_id == 0:
            return self._notify_status(0, "Available" if self.operative else "Unavailable")
        return self._notify_status(connector_id, self.connectors[connector_id].status)

    def _notify_all(self) -> None:
        for connector_id in (0, *self.connectors):
            self._notify_current(connector_id)

    def _rest(self, connector_id: int) -> None:
        """Say what a connector is when nothing goes on there."""
        with self._state:
            connector = self.connectors[connector_id]
            connector.operative = connector.wanted_operative
            if not connector.operative or not self.operative:
                connector.status = "Unavailable"
            else:
                connector.status = "Reserved" if connector.reservation else "Available"
        self._notify_current(connector_id)

    def _start_transaction(self, id_tag: str, connector_id: int) -> Payload:
        connector = self.connectors[connector_id]
        if connector.transaction is not None:
            raise ValueError(f"connector {connector_id} already has a transaction")
        begun = self._timestamp()
        payload = {
            "connectorId": connector_id,
            "idTag": id_tag,
            "timestamp": begun,
            "meterStart": connector.meter,
        }
        with self._state:
            if connector.reservation is not None and connector.reservation.id_tag == id_tag:
                payload["reservationId"] = connector.reservation.reservation_id
                connector.reservation = None
        transaction = Transaction(NEVER_TOLD, id_tag, connector_id, connector.meter, begun)
        if self.queue is None:
            answer = self._transaction_call("StartTransaction", payload)
            transaction.transaction_id = answer["transactionId"]
        with self._state:
            transaction.samples.append(self._take_sample(connector, "Transaction.Begin"))
            connector.transaction = transaction
        self._last_sample = self.clock()
        if self.queue is not None:
            answer = self._transaction_call("StartTransaction", payload, transaction)
            return {"transactionId": NEVER_TOLD, "idTagInfo": {"status": "Accepted"}} | answer
        refused = answer["idTagInfo"]["status"] != "Accepted"
        if refused and self.configuration["StopTransactionOnInvalidId"].value == "true":
            self._finish(connector_id, "DeAuthorized", None)
        return answer

    def _meter_values(self, connector_id: int, context: str) -> Payload:
        connector = self.connectors[connector_id]
        with self._state:
            transaction = connector.transaction
            if transaction is not None:
                connector.meter += SAMPLE_WH
                connector.state_of_charge = min(100, connector.state_of_charge + 1)
            transaction_id = None if transaction is None else transaction.transaction_id
            reading = self._take_sample(connector, context)
            payload = self.dialect.meter_values(connector_id, transaction_id, reading)
        if transaction is None:
            return self._call("MeterValues", payload)
        return self._transaction_call("MeterValues", payload, transaction)

    def _stop_transaction(self, connector_id: int, *, reason: str | None, id_tag: str | None) -> Payload:
        connector = self.connectors[connector_id]
        with self._state:
            transaction = connector.transaction
            if transaction is None:
                raise ValueError(f"connector {connector_id} has no transaction")
            connector.transaction = None
            self.profiles = [
                (number, profile)
                for number, profile in self.profiles
                if number != connector_id or profile["chargingProfilePurpose"] != "TxProfile"
            ]
            transaction.samples.append(self._take_sample(connector, "Transaction.End"))
        payload = {
            "transactionId": transaction.transaction_id,
            "idTag": id_tag,
            "timestamp": self._timestamp(),
            "meterStop": connector.meter,
            "reason": reason,
        }
        return self._transaction_call(
            "StopTransaction", self.dialect.stop(payload, transaction.samples), transaction
        )

    def _finish(self, connector_id: int, reason: str | None, id_tag: str | None) -> Payload:
        """End a transaction and tell what becomes of the connector."""
        answer = self._stop_transaction(connector_id, reason=reason, id_tag=id_tag)
        self._notify_status(connector_id, "Finishing")
        self._rest(connector_id)
        return answer

    def _if_running(
        self, connector_id: int, transaction: Transaction | None, work: Callable[..., object], *args: Any
    ) -> bool:
        """Do something for a transaction, unless it ended meanwhile; True when it was done."""
        with self._state:
            if transaction is None or self.connectors[connector_id].transaction is not transaction:
                return False
        work(*args)
        return True

    def _start_remotely(self, connector_id: int, id_tag: str) -> None:
        if self.configuration["AuthorizeRemoteTxRequests"].value == "true":
            authorized = self._authorize(id_tag)
            if authorized["idTagInfo"]["status"] != "Accepted":
                return
        self._notify_status(connector_id, "Preparing")
        self._start_transaction(id_tag, connector_id)
        if self.connectors[connector_id].transaction is not None:
            self._notify_status(connector_id, "Charging")
            self._meter_values(connector_id, "Sample.Periodic")

    def _finish_if_running(self, connector_id: int, reason: str) -> None:
        if self.connectors[connector_id].transaction is not None:
            self._finish(connector_id, reason, None)

    def _restart(self, reason: str) -> None:
        for connector_id, connector in self.connectors.items():
            if connector.transaction is not None:
                self._stop_transaction(connector_id, reason=reason, id_tag=None)
            connector.status = "Available" if connector.operative else "Unavailable"
        self.accepted = False
        self._boot()
        if self.accepted:
            self._notify_all()

    def _go_offline(self) -> None:
        self.offline = True
        self._disconnect()

    def _come_back(self) -> None:
        self._connect()
        self.offline = False
        self._connected_again()
        while self.kept:
            self._call(*self.kept[0])
            del self.kept[0]

    def _connected_again(self) -> None:
        if self.queue is not None:
            self.queue.connected(self.clock())
            self._deliver()

    def _report(self, action: str, *statuses: str) -> None:
        for status in statuses:
            if self.dialect.knows(action, status):
                self._call(action, {"status": status})

    # --- The ear ---------------------------------------------------------------------------------------
    # Runs in the threads that serve the central system; answers at once, and leaves the rest to the mouth.

    def _answer_call(self, action: str, payload: Payload) -> Payload:
        """What the transport calls: ``_answer``, with somebody who looks on."""
        began = time.monotonic()
        outcome = "ok"
        try:
            return self._answer(action, payload)
        except Exception as failure:
            outcome = str(failure)
            raise
        finally:
            seconds = time.monotonic() - began
            self.on_exchange(Exchange(self.identity, action, "charge point", outcome, seconds))

    def _answer(self, action: str, payload: Payload) -> Payload:
        with self._state:
            self.received.append((action, payload))
            if action in self._refusals:
                raise self._refusals[action]
            return self.dialect.answer(action, self._answers[action](payload))

    def _cancel_reservation(self, asked: Payload) -> Payload:
        for connector_id, connector in self.connectors.items():
            reservation = connector.reservation
            if reservation is not None and reservation.reservation_id == asked["reservationId"]:
                connector.reservation = None
                self._afterwards(self._rest, connector_id)
                return {"status": "Accepted"}
        return {"status": "Rejected"}

    def _change_availability(self, asked: Payload) -> Payload:
        connector_id, operative = asked["connectorId"], asked["type"] == "Operative"
        if connector_id == 0:
            self.operative = operative
            self._afterwards(self._notify_current, 0)
        elif connector_id not in self.connectors:
            return {"status": "Rejected"}
        busy = False
        for number in self.connectors if connector_id == 0 else (connector_id,):
            self.connectors[number].wanted_operative = operative
            if self.connectors[number].transaction is None:
                self._afterwards(self._rest, number)
            else:
                busy = True
        return {"status": "Scheduled" if busy else "Accepted"}

    def _change_configuration(self, asked: Payload) -> Payload:
        setting = self.configuration.get(asked["key"])
        value = asked.get("value", "")  # zeep reads an empty element as none
        if setting is None:
            return {"status": "NotSupported"}
        if setting.readonly or (setting.value.isdecimal() and not value.isdecimal()):
            return {"status": "Rejected"}
        setting.value = value
        self._afterwards(lambda: None)  # so that the mouth looks anew at what is due
        return {"status": "RebootRequired" if setting.reboot_required else "Accepted"}

    def _clear_cache(self, asked: Payload) -> Payload:
        return {"status": "Accepted"}

    def _clear_charging_profile(self, asked: Payload) -> Payload:
        def meant(number: int, profile: Payload) -> bool:
            if "id" in asked:  # the other fields are for callers that do not know the id
                return bool(profile["chargingProfileId"] == asked["id"])
            return (
                asked.get("connectorId") in (None, number)
                and asked.get("chargingProfilePurpose") in (None, profile["chargingProfilePurpose"])
                and asked.get("stackLevel") in (None, profile["stackLevel"])
            )

        kept = [(number, profile) for number, profile in self.profiles if not meant(number, profile)]
        cleared = len(kept) < len(self.profiles)
        self.profiles = kept
        return {"status": "Accepted" if cleared else "Unknown"}

    def _data_transfer(self, asked: Payload) -> Payload:
        if asked["vendorId"] != self.vendor:
            return {"status": "UnknownVendorId"}
        return {"status": "Accepted"} | ({"data": asked["data"]} if "data" in asked else {})

    def _get_composite_schedule(self, asked: Payload) -> Payload:
        connector_id, unit = asked["connectorId"], asked.get("chargingRateUnit", "W")
        if connector_id not in (0, *self.connectors):
            return {"status": "Rejected"}
        return {
            "status": "Accepted",
            "connectorId": connector_id,
            "scheduleStart": self._timestamp(),
            "chargingSchedule": {
                "duration": asked["duration"],
                "chargingRateUnit": unit,
                "chargingSchedulePeriod": self._composite(connector_id, asked["duration"], unit),
            },
        }

    def _get_configuration(self, asked: Payload) -> Payload:
        keys = asked.get("key") or list(self.configuration)
        known = {key: self.configuration[key] for key in keys if key in self.configuration}
        return {
            "configurationKey": [
                {"key": key, "readonly": setting.readonly, "value": setting.value}
                for key, setting in known.items()
            ],
            "unknownKey": [key for key in keys if key not in known],
        }

    def _get_diagnostics(self, asked: Payload) -> Payload:
        self._afterwards(self._report, "DiagnosticsStatusNotification", "Uploading", "Uploaded")
        return {"fileName": f"diagnostics-{self.identity}.txt"[:255]}

    def _get_local_list_version(self, asked: Payload) -> Payload:
        return {"listVersion": self.local_list_version}

    def _remote_start_transaction(self, asked: Payload) -> Payload:
        for number, connector in self.connectors.items():
            if asked.get("connectorId") not in (None, number) or connector.transaction is not None:
                continue
            if not (connector.operative and self.operative):
                continue
            if connector.reservation is not None and connector.reservation.id_tag != asked["idTag"]:
                continue
            if "chargingProfile" in asked:
                self._store_profile(number, asked["chargingProfile"])
            self._afterwards(self._start_remotely, number, asked["idTag"])
            return {"status": "Accepted"}
        return {"status": "Rejected"}

    def _remote_stop_transaction(self, asked: Payload) -> Payload:
        for number in self.connectors:
            if self._runs(number, asked["transactionId"]):
                self._afterwards(self._finish_if_running, number, "Remote")
                return {"status": "Accepted"}
        return {"status": "Rejected"}

    def _reserve_now(self, asked: Payload) -> Payload:
        connector = self.connectors.get(asked["connectorId"])
        if connector is None:  # also connector 0: ReserveConnectorZeroSupported is false
            return {"status": "Rejected"}
        if not (connector.operative and self.operative):
            return {"status": "Unavailable"}
        old = connector.reservation
        if connector.transaction is not None or (old and old.reservation_id != asked["reservationId"]):
            return {"status": "Occupied"}
        connector.reservation = Reservation(asked["reservationId"], asked["idTag"])
        self._afterwards(self._rest, connector.connector_id)
        return {"status": "Accepted"}

    def _reset(self, asked: Payload) -> Payload:
        self._afterwards(self._restart, f"{asked['type']}Reset")
        return {"status": "Accepted"}

    def _send_local_list(self, asked: Payload) -> Payload:
        version, differential = asked["listVersion"], asked["updateType"] == "Differential"
        if version <= 0:  # -1 and 0 have a meaning of their own (OCPP 1.6 errata, 3.52)
            return {"status": "Failed"}
        if differential and version <= self.local_list_version:
            return {"status": "VersionMismatch"}
        if not differential:
            self.local_list = {}
        for entry in asked.get(self.dialect.local_list, ()):
            if "idTagInfo" in entry:
                self.local_list[entry["idTag"]] = entry["idTagInfo"]
            else:
                self.local_list.pop(entry["idTag"], None)
        self.local_list_version = version
        # Until 1.6 a list comes with a hash, which the answer confirms (OCPP 1.5, SendLocalList.conf).
        return {"status": "Accepted"} | ({"hash": asked["hash"]} if "hash" in asked else {})

    def _set_charging_profile(self, asked: Payload) -> Payload:
        connector_id, profile = asked["connectorId"], asked["csChargingProfiles"]
        if connector_id not in (0, *self.connectors):
            return {"status": "Rejected"}
        if profile["chargingProfilePurpose"] == "TxProfile":
            transaction = self.connectors[connector_id].transaction if connector_id else None
            if transaction is None:
                return {"status": "Rejected"}
            if profile.get("transactionId", transaction.transaction_id) != transaction.transaction_id:
                return {"status": "Rejected"}
        self._store_profile(connector_id, profile)
        return {"status": "Accepted"}

    def _trigger_message(self, asked: Payload) -> Payload:
        wanted, connector_id = asked["requestedMessage"], asked.get("connectorId")
        if connector_id not in (None, 0, *self.connectors):
            return {"status": "Rejected"}
        if wanted == "BootNotification":
            self._afterwards(self._boot)
        elif wanted == "Heartbeat":
            self._afterwards(self._call, "Heartbeat", {})
        elif wanted == "StatusNotification":
            for number in (0, *self.connectors) if connector_id is None else (connector_id,):
                self._afterwards(self._notify_current, number)
        elif wanted == "MeterValues":
            for number in (connector_id,) if connector_id else tuple(self.connectors):
                self._afterwards(self._meter_values, number, "Trigger")
        else:
            self._afterwards(self._report, wanted, "Idle")
        return {"status": "Accepted"}

    def _unlock_connector(self, asked: Payload) -> Payload:
        if asked["connectorId"] not in self.connectors:
            return {"status": "NotSupported"}
        self._afterwards(self._finish_if_running, asked["connectorId"], "UnlockCommand")
        return {"status": "Unlocked"}

    def _update_firmware(self, asked: Payload) -> Payload:
        steps = ("Downloading", "Downloaded", "Installing", "Installed")
        self._afterwards(self._report, "FirmwareStatusNotification", *steps)
        return {}

    # --- What it knows ---------------------------------------------------------------------------------

    def _timestamp(self) -> str:
        return self._now().isoformat(timespec="milliseconds")

    def _runs(self, connector_id: int, transaction_id: int) -> bool:
        with self._state:
            transaction = self.connectors[connector_id].transaction
            return transaction is not None and transaction.transaction_id == transaction_id

    def _take_sample(self, connector: Connector, context: str) -> Payload:
        """One reading with what such devices measure: phases, state of charge, temperature."""
        charging = connector.transaction is not None
        amps = "15.9" if charging else "0.0"
        samples: list[Payload] = [
            {"value": str(connector.meter), "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
            {"value": "10971" if charging else "0", "measurand": "Power.Active.Import", "unit": "W"},
        ]
        for phase in ("L1", "L2", "L3"):
            samples.append({"value": amps, "measurand": "Current.Import", "phase": phase, "unit": "A"})
            samples.append({"value": "230.1", "measurand": "Voltage", "phase": f"{phase}-N", "unit": "V"})
        charge = str(connector.state_of_charge)
        samples.append({"value": charge, "measurand": "SoC", "location": "EV", "unit": "Percent"})
        samples.append({"value": "31.5", "measurand": "Temperature", "location": "Body", "unit": "Celsius"})
        samples = [{"context": context, "format": "Raw", "location": "Outlet"} | sample for sample in samples]
        return self.dialect.reading(self._timestamp(), samples)

    def _store_profile(self, connector_id: int, profile: Payload) -> None:
        """Keep a charging profile; one of the same id, or of the same purpose and level, is replaced."""

        def replaced(number: int, old: Payload) -> bool:
            return bool(old["chargingProfileId"] == profile["chargingProfileId"]) or (
                number == connector_id
                and old["stackLevel"] == profile["stackLevel"]
                and old["chargingProfilePurpose"] == profile["chargingProfilePurpose"]
            )

        self.profiles = [(number, old) for number, old in self.profiles if not replaced(number, old)]
        self.profiles.append((connector_id, profile))

    def _composite(self, connector_id: int, duration: int, unit: str) -> list[Payload]:
        """What a connector may draw from now on, as chargingSchedulePeriods in *unit*.

        The transaction's profile stands above the default one, a higher stackLevel above a lower one, and
        the charge point's maximum above all (OCPP 1.6, 3.13.2). All schedules are taken to begin now.
        """
        by_purpose: dict[str, Payload] = {}
        for number, profile in sorted(self.profiles, key=lambda entry: entry[1]["stackLevel"]):
            if number in (0, connector_id):
                by_purpose[profile["chargingProfilePurpose"]] = profile["chargingSchedule"]
        chosen = by_purpose.get("TxProfile") or by_purpose.get("TxDefaultProfile")
        schedules = [schedule for schedule in (chosen, by_purpose.get("ChargePointMaxProfile")) if schedule]
        starts = {0} | {
            period["startPeriod"] for schedule in schedules for period in schedule["chargingSchedulePeriod"]
        }
        return [
            {"startPeriod": start, "limit": min(_limits_at(start, schedules, unit)), "numberPhases": PHASES}
            for start in sorted(starts)
            if start < max(duration, 1)
        ]


def _limits_at(second: int, schedules: list[Payload], unit: str) -> Iterator[Decimal]:
    yield MAX_LIMIT[unit]
    for schedule in schedules:
        for period in reversed(schedule["chargingSchedulePeriod"]):
            if period["startPeriod"] > second:
                continue
            limit = Decimal(period["limit"])
            if schedule["chargingRateUnit"] != unit:
                watts_per_amp = VOLTS * period.get("numberPhases", PHASES)
                limit = limit * watts_per_amp if unit == "W" else limit / watts_per_amp
            yield limit.quantize(Decimal("0.1"), ROUND_HALF_UP)
            break


class _Mouth:
    """One thread that does one thing after the other, and what is due by itself when it has time.

    A daemon, so that a call that hangs never keeps the process alive.
    """

    def __init__(
        self,
        name: str,
        next_duty: Callable[[], tuple[float, Callable[[], object]] | None],
        failed: Callable[[Exception], None],
        clock: Callable[[], float],
    ) -> None:
        self.closing = threading.Event()
        self._clock = clock
        self._next_duty = next_duty
        self._failed = failed
        self._work: queue.SimpleQueue[tuple[concurrent.futures.Future[Any], Callable[[], Any], bool] | None]
        self._work = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"{name} mouth", daemon=True)
        self._thread.start()

    def say(self, work: Callable[[], T], *, alone: bool = False) -> concurrent.futures.Future[T]:
        """Queue something; *alone* when nobody waits for it, so that its failure is recorded."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._work.put((future, work, alone))
        return future

    def close(self, patience: float) -> None:
        """Stop after what is being said now; wait at most *patience* seconds for it. Blocking."""
        self.closing.set()
        self._work.put(None)
        self._thread.join(patience)
        self._turn_away()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            future, work, alone = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except Exception as error:
                if alone:
                    self._failed(error)
                future.set_exception(error)
        self._turn_away()

    def _turn_away(self) -> None:
        """Nobody will say what is still queued: whoever waits for it learns it now."""
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._work.get_nowait()
                if item is None:
                    self._work.put(None)  # for the thread, which may still have to read it
                    return
                if item[0].set_running_or_notify_cancel():
                    item[0].set_exception(Unanswered("the charge point was stopped"))

    def _next(self) -> tuple[concurrent.futures.Future[Any], Callable[[], Any], bool] | None:
        duty = None if self.closing.is_set() else self._next_duty()
        if self.closing.is_set():
            return None
        try:
            wait = None if duty is None else max(0.0, duty[0] - self._clock())
            return self._work.get(timeout=wait)
        except queue.Empty:
            assert duty is not None
            return concurrent.futures.Future(), duty[1], True

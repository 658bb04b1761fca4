"""From a charge point to its central system, once: what lies between a session and its link.

*Acknowledged to the charge point means: the central system has answered, or the message is on disk.* A
``Delivery`` belongs to one charge point and outlives its sessions. It answers repetitions with the reply of
the first, keeps what cannot be delivered and sends it later, in order, and knows both numbers of each
transaction. ``Deliveries`` are those of all charge points, with the store that they share.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from wattbridge.ocpp import ocppj
from wattbridge.ocpp.errors import Unreachable, Violation
from wattbridge.ocpp.messages import Call, CallError, CallResult, Original, Payload, Side
from wattbridge.relay import offline
from wattbridge.relay.journal import Event, How, Journal
from wattbridge.relay.offline import Answers, Rules
from wattbridge.relay.pace import Pacer
from wattbridge.relay.repeats import Answered, Replies, content_key, message_id_of
from wattbridge.relay.session import (
    NOT_ITS_WORD,
    TRANSACTION_ACTIONS,
    UNDELIVERED,
    Answer,
    Session,
    told_heartbeat_interval,
)
from wattbridge.relay.transactions import MOST_ENDED, NAMED_BY, NO_NUMBER, OURS, Transactions, with_remote_id
from wattbridge.store.base import (
    Authorization,
    Change,
    ChargePoint,
    ConnectorStatus,
    Forget,
    NotKept,
    Remembered,
    Store,
    Transaction,
    Waiting,
)

MOST_REFUSED = 64  # messages of one charge point whose refusals are counted in memory
HEARD_EVERY = 60.0  # seconds between notes that a charge point was heard
FIRST_WAIT = 1.0  # seconds after a kept message could not be sent, doubled each time
LONGEST_WAIT = 30.0
TIDY_EVERY = 60.0  # seconds
A_HAIR = 0.001  # seconds that a timer may fire early
LAST_WAIT = 2.0  # seconds for what is under way when the gateway stops
ROWS_AT_ONCE = 50  # of the outbox of one charge point, in memory


@dataclass(slots=True)
class Amount:
    """How much is kept."""

    messages: int = 0
    bytes: int = 0


class Delivery:
    """What one charge point says, on its way to its central system.

    ``answers`` is what its route says of the time when the central system is away. Nothing is read from the
    store before the charge point is heard.
    """

    def __init__(self, identity: str, shared: Deliveries) -> None:
        self.identity = identity
        self.answers = Answers()
        self.waiting = Amount()
        self.transactions = Transactions()
        self.known = ChargePoint(identity)
        self.session: Session | None = None
        self._shared = shared
        self._replies = Replies()
        self._pending: dict[str, asyncio.Future[Answer]] = {}  # by content
        self._refusals: dict[str, int] = {}  # by content: of messages that the charge point keeps itself
        self._position = 0  # of the message kept last
        self._loading = asyncio.Lock()
        self._loaded = False
        # One transaction message at a time: a later one must not overtake one that could not be delivered.
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._draining = False
        self._sending_kept = False  # whether it is a kept message that has the turn
        self._retry_at_once = False
        self._bound: Counter[str] = Counter()  # messages that wait, by the central system they are for
        self._head: list[Waiting] = []
        self._delivered: set[int] = set()  # positions that reached the central system and are still on disk
        self._noted = float("-inf")  # when it was last noted that it was heard
        self._callback = ""

    # --- what a charge point asks ---

    async def ask(self, call: Call) -> Answer:
        """Bring *call* to the central system, or answer for it.

        Raises Unreachable, and Violation when the call cannot be written for the central system.
        """
        await self._load()
        self._hear()
        action = call.action
        if action in TRANSACTION_ACTIONS:
            return await self._once(call)
        if action in offline.KEPT_ACTIONS:
            return await self._notify(call)
        if action == "Heartbeat":
            return await self._heartbeat(call)
        if action == "BootNotification":
            return await self._boot(call)
        if action == "Authorize":
            return await self._authorize(call)
        return await self._send(call)

    async def for_charge_point(self, call: Call) -> Call:
        """A call of the central system, with the charge point's number for the transaction it names.

        Raises Unreachable when the numbers cannot be read.
        """
        if call.action not in NAMED_BY:
            return call
        await self._load()
        upstream = self.session.upstream if self.session is not None else ""
        return self.transactions.for_charge_point(call, upstream)

    # --- transaction messages ---

    async def _once(self, call: Call) -> Answer:
        """Deliver a transaction message, unless it is the repetition of one."""
        key = content_key(call)
        first = self._pending.get(key)
        if first is not None:
            self._tell("repeated message", f"{call.action} is under way already; both get one reply")
            answer = await asyncio.shield(first)
            return Answer(answer.reply, None, None, how="repeat")
        first = self._pending[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await self._repeated(call, key) or await self._deliver(call, key)
        except BaseException as failed:
            gone = failed if isinstance(failed, Unreachable | Violation) else None
            first.set_exception(gone or Unreachable("draining", f"{call.action} was given up"))
            first.exception()  # nobody need wait for it
            raise
        else:
            first.set_result(answer)
            return answer
        finally:
            del self._pending[key]

    async def _repeated(self, call: Call, key: str) -> Answer | None:
        """The reply that was given before; None when there was none."""
        answered = self._replies.find(key)
        if answered is None and call.action != "MeterValues":  # those that matter are looked for on disk too
            rows = await self._shared.read(Remembered, {"identity": self.identity, "content_key": key})
            for row in rows:
                answered = Answered(CallResult(ocppj.read_payload(row.reply)), row.answered)
        if answered is None or self._shared.now() - answered.at > self._shared.rules.replies:
            return None
        if not answered.kept:  # it was not given to the charge point, for it could not be kept
            row = await self._transaction_of(call, answered.result)
            changes: list[Change] = [self._remembered(call.action, key, answered)]
            await self._keep_now(*changes, *([row] if row else []))
            answered.kept = True
        self._tell("repeated message", f"{call.action} was answered before and gets the same reply")
        return Answer(answered.result, None, None, how="repeat")

    async def _transaction_of(self, call: Call, result: CallResult) -> Transaction | None:
        if call.action == "StartTransaction":
            number = result.payload.get("transactionId")
            return self.transactions.find(number) if type(number) is int else None
        return await self._meant_by(call)

    async def _deliver(self, call: Call, key: str) -> Answer:
        refusals = self._refusals.get(key, 0)
        call = replace(call, message_id=message_id_of(self.identity, key, refusals))
        if call.action == "StartTransaction":
            return await self._start(call, key)
        transaction = await self._meant_by(call)
        if self._sending_kept:  # a slow central system, and more that waits for it
            return await self._keep(call, key, transaction)
        async with self._turn:
            transaction = self._latest(transaction)  # it may have got its number meanwhile
            if self._may_send(transaction):
                answer = await self._attempt(with_remote_id(call, transaction))
                if isinstance(answer, Answer):
                    return await self._answered(call, key, transaction, answer)
                return await self._keep(call, key, transaction, answer)
            return await self._keep(call, key, transaction)

    async def _meant_by(self, call: Call) -> Transaction | None:
        """The transaction that a message is about; one that ended long ago is looked for on disk."""
        known = self.transactions.meant_by(call)
        number = call.payload.get("transactionId")
        if known is not None or type(number) is not int or number in NO_NUMBER:
            return known
        session = self.session
        if number not in OURS and not (session is not None and session.upstreams):
            return None  # both sides call it so
        where = {"identity": self.identity, "local_id": str(number)}
        rows = await self._shared.read(Transaction, where)
        return rows[0] if rows else None

    def _latest(self, transaction: Transaction | None) -> Transaction | None:
        """What is known of *transaction* by now."""
        return transaction and (self.transactions.find(int(transaction.local_id)) or transaction)

    def _may_send(self, transaction: Transaction | None = None) -> bool:
        """Whether a message may go to the central system now: it is there, and nothing waits before it."""
        session = self.session
        if session is None or self._is_away:
            return False
        elsewhere = sum(self._bound[name] for name in session.upstreams if name != session.upstream)
        if self.waiting.messages > elsewhere:
            return False
        return transaction is None or (bool(transaction.remote_id) and not self._is_for_another(transaction))

    def _is_for_another(self, transaction: Transaction) -> bool:
        """Whether it is the other one of two central systems that knows the transaction (fail-over)."""
        session = self.session
        if session is None or transaction.upstream in ("", session.upstream):
            return False
        return transaction.upstream in session.upstreams

    @property
    def _is_away(self) -> bool:
        return self.session is None or bool(getattr(self.session.links[Side.CENTRAL_SYSTEM], "away", False))

    @property
    def _speaks_json(self) -> bool:
        session = self.session
        return session is not None and session.links[Side.CENTRAL_SYSTEM].transport == "json"

    async def _send(self, call: Call) -> Answer:
        session = self.session
        if session is None:
            raise Unreachable("not_connected", f"charge point {self.identity} has no session")
        return await session.ask(Side.CENTRAL_SYSTEM, call)

    async def _attempt(self, call: Call) -> Answer | Unreachable:
        """Send *call*: what the central system said, or why it has not said anything. Raises Violation."""
        began = self._shared.clock()
        try:
            answer = await self._send(call)
        except Unreachable as unreachable:
            unreachable.waited = self._shared.clock() - began
            return unreachable
        reply = answer.reply
        # What answers a POST in no way that SOAP knows is a proxy; behind a WebSocket there is nobody else.
        no_answer = UNDELIVERED if self._speaks_json else UNDELIVERED | NOT_ITS_WORD
        if isinstance(reply, CallError) and reply.reason in no_answer:
            gone = Unreachable(reply.reason, reply.description, answer.asked)
            gone.waited = answer.waited
            return gone
        return answer

    async def _answered(
        self, call: Call, key: str, transaction: Transaction | None, answer: Answer
    ) -> Answer:
        """The central system has answered StopTransaction or MeterValues."""
        reply = answer.reply
        if isinstance(reply, CallError):
            if call.payload.get("transactionId") == -1:
                # It never was told a number; its messages are answered as if valid (OCPP 1.6 errata, 3.18).
                await self._park(call, key, f"{reply.code}: {reply.description}")
                return replace(answer, reply=CallResult({}), how="kept")
            self._refused(key)
            if reply.reason not in NOT_ITS_WORD:
                return answer
            # It has got the message and cannot say so; it is asked again, but not for ever.
            again = replace(call, message_id=str(uuid.uuid4()))
            gone = Unreachable(reply.reason, reply.description, answer.asked)
            return await self._keep(again, key, transaction, gone)
        self._refusals.pop(key, None)
        if call.action == "MeterValues":
            self._remember(call.action, key, reply)
            return answer
        changes: list[Change] = self._authorized(call, reply)
        if transaction is not None:
            changes.append(self._stop(transaction, call))
        await self._remember_durably(call.action, key, reply, *changes)
        return answer

    # --- the begin of a transaction ---

    async def _start(self, call: Call, key: str) -> Answer:
        """Deliver a StartTransaction: only the central system has numbers, or the policy says otherwise."""
        shared = self._shared
        until = shared.clock() + shared.rules.hold - A_HAIR
        why = Unreachable("not_connected", f"messages of charge point {self.identity} wait before it")
        while True:
            if self._may_send():
                async with self._turn:
                    if self._may_send():
                        answer = await self._attempt(call)
                        if isinstance(answer, Answer):
                            return await self._started(call, key, answer)
                        why = answer
            if self.answers.start_transaction == "provisional" and (
                self._is_away or why.asked is not None or shared.clock() >= until
            ):
                return await self._begin_provisionally(call, key, why)
            if shared.clock() >= until:
                held = f"{why.description}; StartTransaction was held for {shared.rules.hold:g} s"
                raise Unreachable(why.reason, held, why.asked)
            await self._wait_for_news(min(FIRST_WAIT, max(0.0, until - shared.clock())))

    async def _started(self, call: Call, key: str, answer: Answer) -> Answer:
        reply = answer.reply
        if isinstance(reply, CallError):
            self._refused(key)
            return answer
        self._refusals.pop(key, None)
        changes: list[Change] = self._authorized(call, reply)
        remote = reply.payload.get("transactionId")
        if type(remote) is int:
            session = self.session
            json = session is not None and session.links[Side.CHARGE_POINT].transport == "json"
            local = self.transactions.number_for_charge_point(remote, any_size=json)
            row = self._begun(call, local, remote)
            if local != remote:
                reply = CallResult({**reply.payload, "transactionId": local})
                text = f"{remote} of the central system is {local} here"
                self._tell("transaction renumbered", text, by="gateway")
            changes.append(self.transactions.put(row))
        await self._remember_durably(call.action, key, reply, *changes)
        return replace(answer, reply=reply)

    async def _begin_provisionally(self, call: Call, key: str, gone: Unreachable) -> Answer:
        number = self.transactions.new_number()
        info: Payload = {"status": "Accepted"}
        if self.answers.authorize == "cached":
            info = await self._cached_info(call) or info
        reply = CallResult({"transactionId": number, "idTagInfo": info})
        row = replace(self._begun(call, number, None), provisional=1)
        await self._keep_waiting(call, key, "", row, self._remembered_now(call.action, key, reply))
        self.transactions.put(row)
        self._replies.remember(call.action, key, Answered(reply, self._shared.now()))
        return _here(reply, "kept", gone)

    def _begun(self, call: Call, local: int, remote: int | None) -> Transaction:
        said = call.payload
        return Transaction(
            self.identity,
            str(local),
            remote_id="" if remote is None else str(remote),
            upstream=self._upstream if remote is not None else "",
            connector_id=_text(said.get("connectorId")),
            id_tag=_text(said.get("idTag")),
            meter_start=_text(said.get("meterStart")),
            started=_text(said.get("timestamp")),
            changed=self._shared.now(),
        )

    def _stop(self, known: Transaction, call: Call) -> Transaction:
        """A transaction ends with *call*. It may have got its number while that was on its way."""
        row = self._latest(known) or known
        when = _text(call.payload.get("timestamp"))
        state = "stopped" if row.state == "open" else row.state
        return self.transactions.put(replace(row, stopped=when, state=state, changed=self._shared.now()))

    @property
    def _upstream(self) -> str:
        return self.session.upstream if self.session is not None else ""

    # --- everything else a charge point says ---

    async def _notify(self, call: Call) -> Answer:
        if call.action == "StatusNotification":
            self._shared.store.note(
                ConnectorStatus(
                    self.identity,
                    _text(call.payload.get("connectorId")),
                    ocppj.write_payload(call.payload),
                    self._shared.now(),
                )
            )
        call = replace(call, message_id=str(uuid.uuid4()))
        if self._sending_kept:
            return await self._keep(call, "", None)
        async with self._turn:
            if self._may_send():
                answer = await self._attempt(call)
                if isinstance(answer, Answer):
                    return answer
                return await self._keep(call, "", None, answer)
            return await self._keep(call, "", None)

    async def _heartbeat(self, call: Call) -> Answer:
        """A Heartbeat fails while messages cannot be kept, or the charge point would blame its message for
        what the store cannot do, and throw it away (OCPP-S 1.6 errata, 3.2)."""
        problem = self._shared.store.problem
        if problem:
            raise Unreachable("queue_full", f"messages cannot be kept: {problem}")
        gone: Unreachable | None = None
        if not self._is_away:
            answer = await self._attempt(call)
            if isinstance(answer, Answer):
                return answer
            if answer.reason == "draining":
                raise answer
            gone = answer
        return _here(offline.heartbeat(self._shared.now()), "offline", gone)

    async def _boot(self, call: Call) -> Answer:
        call = replace(call, message_id=str(uuid.uuid4()))
        policy = self.answers.boot_notification
        accepted = self.known.accepted is not None
        if self._is_away and (policy == "pending" or (policy == "last" and accepted)):
            return await self._boot_offline(call)
        answer = await self._attempt(call)
        if isinstance(answer, Unreachable):
            if answer.reason == "draining" or policy == "hold" or (policy == "last" and not accepted):
                raise answer
            return await self._boot_offline(call)
        if isinstance(answer.reply, CallResult):
            self._booted(call, answer.reply)
        return answer

    async def _boot_offline(self, call: Call) -> Answer:
        now = self._shared.now()
        if self.answers.boot_notification == "pending":
            return Answer(offline.boot("Pending", offline.PENDING_INTERVAL, now), None, None, how="offline")
        async with self._turn:
            await self._keep(call, "", None)  # the central system still has to learn of it
        interval = self.known.heartbeat_interval or offline.USUAL_INTERVAL
        return Answer(offline.boot("Accepted", interval, now), None, None, how="kept")

    def _booted(self, call: Call, reply: CallResult) -> None:
        said, now = call.payload, self._shared.now()
        interval = told_heartbeat_interval(call, reply)
        if interval is not None and self.session is not None:
            self.session.heartbeat_interval = interval
        self.known = replace(
            self.known,
            vendor=_text(said.get("chargePointVendor")),
            model=_text(said.get("chargePointModel")),
            firmware=None if said.get("firmwareVersion") is None else _text(said.get("firmwareVersion")),
            boot=ocppj.write_payload(said),
            accepted=now if reply.payload.get("status") == "Accepted" else None,
        )
        self._note_charge_point()

    async def _authorize(self, call: Call) -> Answer:
        policy = self.answers.authorize
        if not self._is_away:
            answer = await self._attempt(call)
            if isinstance(answer, Answer):
                if isinstance(answer.reply, CallResult):
                    self._shared.store.note(*self._authorized(call, answer.reply))
                return answer
            gone = answer
        else:
            gone = Unreachable("not_connected", f"the central system of {self.identity} is away")
        if gone.reason == "draining" or policy == "none":
            raise gone
        if policy == "accept":
            return _here(CallResult({"idTagInfo": {"status": "Accepted"}}), "offline", gone)
        info = await self._cached_info(call)
        if info is None:
            raise Unreachable(gone.reason, f"{gone.description}; nothing is known of this idTag", gone.asked)
        return _here(CallResult({"idTagInfo": info}), "offline", gone)

    async def _cached_info(self, call: Call) -> Payload | None:
        """What the central system last said of the idTag of *call*; None when that is too long ago."""
        tag = _text(call.payload.get("idTag")).lower()  # idTags are case-insensitive (OCPP 1.6, 7.28)
        now = self._shared.now()
        rows = await self._shared.read(Authorization, {"identity": self.identity, "id_tag": tag})
        for row in rows:
            if now - row.told <= self._shared.rules.authorizations:
                info: Payload = offline.authorization(ocppj.read_payload(row.info), now).payload["idTagInfo"]
                return info
        return None

    def _authorized(self, call: Call, reply: CallResult) -> list[Change]:
        tag, info = call.payload.get("idTag"), reply.payload.get("idTagInfo")
        if not isinstance(tag, str) or not isinstance(info, dict):
            return []
        text = ocppj.write_payload(info)
        return [Authorization(self.identity, tag.lower(), text, self._shared.now())]

    # --- replies that may be asked for again ---

    def _remembered(self, action: str, key: str, answered: Answered) -> Remembered:
        reply = ocppj.write_payload(answered.result.payload)
        return Remembered(self.identity, key, action, reply, answered.at)

    def _remembered_now(self, action: str, key: str, reply: CallResult) -> Remembered:
        return self._remembered(action, key, Answered(reply, self._shared.now()))

    def _remember(self, action: str, key: str, reply: CallResult) -> None:
        answered = Answered(CallResult(reply.payload), self._shared.now())
        self._replies.remember(action, key, answered)
        self._shared.store.note(self._remembered(action, key, answered))

    async def _remember_durably(self, action: str, key: str, reply: CallResult, *changes: Change) -> None:
        """The reply is on disk before the charge point sees it. Raises Unreachable when it cannot be."""
        answered = Answered(CallResult(reply.payload), self._shared.now(), kept=False)
        self._replies.remember(action, key, answered)
        await self._keep_now(self._remembered(action, key, answered), *changes)
        answered.kept = True

    async def _keep_now(self, *changes: Change) -> None:
        try:
            await self._shared.store.write(*changes)
        except NotKept as broken:
            raise Unreachable("queue_full", f"it cannot be kept: {broken}") from None

    def _refused(self, key: str) -> None:
        self._refusals[key] = self._refusals.pop(key, 0) + 1
        if len(self._refusals) > MOST_REFUSED:
            del self._refusals[next(iter(self._refusals))]

    # --- the outbox ---

    async def _keep(
        self, call: Call, key: str, transaction: Transaction | None, gone: Unreachable | None = None
    ) -> Answer:
        """Acknowledge a message that cannot be delivered now. Raises Unreachable when it cannot be kept.

        *gone* is why it could not be delivered when that was tried.
        """
        changes: list[Change] = []
        reply = CallResult({})
        if key:
            changes.append(self._remembered_now(call.action, key, reply))
        bound = ""
        if transaction is not None:
            bound = transaction.upstream
            if call.action == "StopTransaction":
                changes.append(self._stop(transaction, call))
        await self._keep_waiting(call, key, bound, *changes)
        if key:
            self._replies.remember(call.action, key, Answered(reply, self._shared.now()))
        return _here(reply, "kept", gone)

    async def _keep_waiting(self, call: Call, key: str, bound: str, *changes: Change) -> None:
        row = self._row(call, key, bound)
        self._shared.check_room(self, len(row.payload))
        self._position = row.position
        await self._keep_now(row, *changes)
        self._count(row, 1)
        self._tell("message kept", f"{call.action} waits for the central system", action=call.action)
        self._drain_soon()

    def _row(self, call: Call, key: str, bound: str) -> Waiting:
        passes = call.original is not None and call.original.form == ocppj.FORM
        text = call.original.text.decode() if passes and call.original else ocppj.write_payload(call.payload)
        return Waiting(
            self.identity,
            self._position + 1,
            call.action,
            text,
            call.message_id,
            form=ocppj.FORM if passes else "",
            content_key=key,
            upstream=bound,
            kept=self._shared.now(),
        )

    async def _park(self, call: Call, key: str, problem: str) -> None:
        """Keep a message that its central system does not want, for the operator to see."""
        row = replace(self._row(call, key, ""), state="parked", refusals=1, problem=problem)
        reply = CallResult({})
        self._position = row.position
        await self._keep_now(row, self._remembered_now(call.action, key, reply))
        self._replies.remember(call.action, key, Answered(reply, self._shared.now()))
        self._shared.parked += 1
        self._tell("message parked", f"{call.action}: {problem}", "call_error", action=call.action)

    def _count(self, row: Waiting, change: int) -> None:
        self._bound[row.upstream] += change
        shared = self._shared
        for amount in (self.waiting, shared.waiting):
            amount.messages += change
            amount.bytes += change * len(row.payload)
        if not shared.waiting.messages:
            shared.oldest = None
        elif shared.oldest is None:
            shared.oldest = row.kept

    def wake(self) -> None:
        """Something has changed: the link, or what waits."""
        self._news.set()
        self._news = asyncio.Event()

    async def _wait_for_news(self, within: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._news.wait()

    def _drain_soon(self) -> None:
        if not self._draining and self.waiting.messages:
            self._draining = True
            self._shared.spawn(self._drain(), f"outbox of {self.identity}")

    async def _drain(self) -> None:
        """Send what waits, until nothing does."""
        failures = 0
        try:
            while self.waiting.messages and not self._shared.stopping:
                if self._is_away:
                    await self._wait_for_news(LONGEST_WAIT)
                    continue
                row = await self._next()
                if row is None:
                    await self._wait_for_news(LONGEST_WAIT)
                    continue
                await self._shared.pacer.turn()
                async with self._turn:
                    self._sending_kept = True
                    try:
                        wait = await self._send_kept(row)
                    finally:
                        self._sending_kept = False
                if wait is None:
                    failures = 0
                elif wait:
                    await self._give_it_time(wait)
                else:
                    failures += 1
                    await self._wait_for_news(min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 10)))
        finally:
            self._draining = False
            self.wake()

    async def _give_it_time(self, seconds: float) -> None:
        """Wait before the central system is asked again for what it has refused, or for the operator."""
        until = self._shared.clock() + seconds
        self._retry_at_once = False
        while not self._retry_at_once and not self._shared.stopping:
            left = until - self._shared.clock()
            if left < A_HAIR:
                return
            await self._wait_for_news(left)

    async def _next(self) -> Waiting | None:
        """The message to send now; None when none may be sent to this central system."""
        if not self._head:
            where = {"identity": self.identity, "state": "waiting"}
            rows = await self._shared.read(Waiting, where, limit=ROWS_AT_ONCE)
            self._head = [row for row in rows if row.position not in self._delivered]
        session = self.session
        for row in self._head:
            if self._shared.now() - row.kept > self._shared.rules.max_age:
                await self._expire(row)
                return await self._next()
            if session is None or row.upstream in ("", session.upstream):
                return row
            if row.upstream not in session.upstreams:
                return row
        self._head = []
        return None

    async def _expire(self, row: Waiting) -> None:
        text = f"{row.action} was kept for longer than {self._shared.rules.max_age:g} s and is dropped"
        if await self._settle(row, Forget(Waiting, (row.identity, row.position))):
            self._tell("message expired", f"{text}: {row.payload}", "expired", action=row.action)

    async def _send_kept(self, row: Waiting) -> float | None:
        """Send one message; None when it is settled, else for how long to wait, 0 for as long as usual."""
        if row not in self._head:
            return None  # the operator has taken it away meanwhile
        original = Original(row.form, row.payload.encode()) if row.form else None
        call = Call(row.action, ocppj.read_payload(row.payload), original, row.message_id)
        transaction = await self._meant_by(call) if row.action in TRANSACTION_ACTIONS else None
        if transaction is not None and not transaction.remote_id:
            await self._set_aside(row, "its StartTransaction has not been accepted", "call_error")
            return None
        try:
            answer = await self._attempt(with_remote_id(call, transaction))
        except Violation as broken:
            await self._set_aside(row, str(broken), "untranslatable")
            return None
        if isinstance(answer, Unreachable):
            return 0.0
        if isinstance(answer.reply, CallError):
            return await self._refuse_kept(row, answer.reply)
        reply = await self._settle_answered(row, call, answer.reply)
        session = self.session
        if session is not None and session.after_relay is not None:
            session.after_relay(replace(call, message_id=""), reply)
        return None

    async def _settle_answered(self, row: Waiting, call: Call, reply: CallResult) -> CallResult:
        changes: list[Change] = [Forget(Waiting, (row.identity, row.position))]
        changes += self._authorized(call, reply)
        if row.action == "BootNotification":
            self._booted(call, reply)
        begun: Transaction | None = None
        if row.action == "StartTransaction":
            begun = self._begun_by(call)
            remote = reply.payload.get("transactionId")
            if begun is not None and type(remote) is int:
                begun = replace(
                    begun, remote_id=str(remote), upstream=self._upstream, changed=self._shared.now()
                )
                self.transactions.put(begun)
                changes.append(begun)
                reply = CallResult({**reply.payload, "transactionId": int(begun.local_id)})
        late = self._shared.now() - row.kept
        if await self._settle(row, *changes):
            text = f"{row.action} reached the central system {late:.0f} s late"
            self._tell("message delivered", text, action=row.action)
        if begun is not None:
            begun = self._latest(begun) or begun  # it may have ended meanwhile
            status = (reply.payload.get("idTagInfo") or {}).get("status")
            if status not in (None, "Accepted"):
                await self._refuse_transaction(begun, f"its idTag is {status}")
        return reply

    def _begun_by(self, call: Call) -> Transaction | None:
        """The provisional transaction that a kept StartTransaction has begun."""
        wanted = _text(call.payload.get("connectorId")), _text(call.payload.get("timestamp"))
        for row in self.transactions:
            if row.provisional and not row.remote_id and (row.connector_id, row.started) == wanted:
                return row
        return None

    async def _refuse_kept(self, row: Waiting, error: CallError) -> float | None:
        """The central system has refused a kept message; the number of its refusals counts."""
        refusals = row.refusals + 1
        problem = f"{error.code}: {error.description}"
        if refusals >= self._shared.rules.attempts:
            row = replace(row, refusals=refusals)
            await self._set_aside(row, problem, error.reason)
            return None
        # The central system has had its word on the message of this id.
        refused = replace(row, refusals=refusals, problem=problem, message_id=str(uuid.uuid4()))
        await self._replace_row(refused)
        return self._shared.rules.retry * 2.0 ** (refusals - 1)

    async def _set_aside(self, row: Waiting, problem: str, reason: str) -> None:
        """Park a message: it is shown to the operator, and the next ones go on."""
        parked = replace(row, state="parked", problem=problem)
        if not await self._settle(row, parked):
            return
        self._shared.parked += 1
        self._tell("message parked", f"{row.action}: {problem}", reason, action=row.action)
        if row.action == "StartTransaction":
            begun = self._begun_by(Call(row.action, ocppj.read_payload(row.payload)))
            if begun is not None:
                await self._refuse_transaction(begun, problem)

    async def _refuse_transaction(self, transaction: Transaction, why: str) -> None:
        """The central system does not want a transaction that was begun without it."""
        refused = replace(transaction, state="refused" if transaction.state == "open" else transaction.state)
        self.transactions.put(refused)
        self._shared.store.note(refused)
        text = f"transaction {transaction.local_id} was begun without the central system, which refuses it: "
        self._tell("transaction refused", text + why, "call_error")
        session = self.session
        if self.answers.late_refusal == "stop" and transaction.state == "open" and session is not None:
            stop = Call("RemoteStopTransaction", {"transactionId": int(transaction.local_id)})
            self._shared.spawn(self._stop_charging(session, stop), f"stopping at {self.identity}")

    async def _stop_charging(self, session: Session, stop: Call) -> None:
        number = stop.payload["transactionId"]
        try:
            answer = await session.ask(Side.CHARGE_POINT, stop)
        except (Unreachable, Violation) as gone:
            self._tell("transaction not stopped", f"{number}: {gone}", "unreachable")
            return
        said = answer.reply.payload.get("status") if isinstance(answer.reply, CallResult) else answer.reply
        self._tell("charging stopped", f"transaction {number}: the charge point says {said}")

    async def _settle(self, row: Waiting, *changes: Change) -> bool:
        """Take *row* out of what waits, and keep *changes*; False when somebody else has done it.

        A store that cannot keep is waited for: what has reached the central system must not be sent again.
        """
        if row.position in self._delivered:
            return False
        self._delivered.add(row.position)
        self._head = [each for each in self._head if each.position != row.position]
        while True:
            try:
                await self._shared.store.write(*changes)
            except NotKept:
                await self._shared.sleep(FIRST_WAIT)
                continue
            break
        self._delivered.discard(row.position)
        self._count(row, -1)
        return True

    async def _replace_row(self, row: Waiting) -> None:
        self._head = [row if each.position == row.position else each for each in self._head]
        with suppress(NotKept):  # it is only how often it was refused
            await self._shared.store.write(row)

    # --- what the operator does ---

    async def retry(self, position: int) -> bool:
        await self._load()
        rows = await self._shared.read(Waiting, {"identity": self.identity, "position": position})
        if not rows:
            return False
        async with self._turn:
            row = replace(rows[0], state="waiting", refusals=0)
            if rows[0].state == "parked":
                row = replace(row, message_id=str(uuid.uuid4()))
            await self._shared.store.write(row)
            if rows[0].state == "parked":
                self._shared.parked -= 1
                self._count(row, 1)
            self._head = []
            self._retry_at_once = True
        self.wake()
        self._drain_soon()
        return True

    async def drop(self, position: int) -> bool:
        await self._load()
        rows = await self._shared.read(Waiting, {"identity": self.identity, "position": position})
        if not rows:
            return False
        async with self._turn:
            await self._shared.store.write(Forget(Waiting, (self.identity, position)))
            self._head = []
            if rows[0].state == "parked":
                self._shared.parked -= 1
            else:
                self._count(rows[0], -1)
        text = f"{rows[0].action}, by the operator: {rows[0].payload}"
        self._tell("message dropped", text, action=rows[0].action)
        self.wake()
        return True

    async def set_remote_id(self, local_id: int, remote_id: int) -> bool:
        await self._load()
        row = self.transactions.find(local_id)
        where = {"identity": self.identity, "local_id": str(local_id)}
        for kept in [] if row else await self._shared.read(Transaction, where):
            row = kept
        if row is None:
            return False
        changed = replace(row, remote_id=str(remote_id), upstream=self._upstream, changed=self._shared.now())
        await self._shared.store.write(self.transactions.put(changed))
        text = f"{local_id} is {remote_id} there, says the operator"
        self._tell("transaction renumbered", text, by="operator")
        self.wake()
        return True

    # --- its state ---

    async def _load(self) -> None:
        """Read what is known of the charge point, once. Raises Unreachable when it cannot be read."""
        if self._loaded:
            return
        async with self._loading:
            if self._was_loaded():
                return
            mine = {"identity": self.identity}
            shared = self._shared
            for known in await shared.read(ChargePoint, mine):
                self.known = known
            ended = await shared.read(Transaction, mine, order="last", by="changed", limit=MOST_ENDED)
            open_ones = await shared.read(Transaction, {**mine, "state": "open"})
            unknown_there = await shared.read(Transaction, {**mine, "remote_id": ""})
            self.transactions = Transactions([*reversed(ended), *open_ones, *unknown_there])
            for last in await shared.read(Waiting, mine, order="last", limit=1):
                self._position = last.position
            for row in await shared.read(Waiting, {**mine, "state": "waiting"}, limit=shared.rules.most):
                self._bound[row.upstream] += 1  # the sum of all was counted at the start
                self.waiting.messages += 1
                self.waiting.bytes += len(row.payload)
            for reply in reversed(await shared.read(Remembered, mine, order="last", by="answered", limit=64)):
                result = CallResult(ocppj.read_payload(reply.reply))
                self._replies.remember(reply.action, reply.content_key, Answered(result, reply.answered))
            self._loaded = True
        self._drain_soon()

    def _was_loaded(self) -> bool:
        """Whether somebody else has loaded it, while this one waited."""
        return self._loaded

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, so that everything can be read again from the store."""
        return not (self._pending or self._draining or self._turn.locked() or self.waiting.messages)

    def boot_again(self) -> None:
        """Tell the central system once more of the charge point, as it told of itself last."""
        self._shared.spawn(self._boot_again(), f"BootNotification of {self.identity}")

    async def _boot_again(self) -> None:
        with suppress(Unreachable):
            await self._load()
        if self.known.boot:
            boot = Call("BootNotification", ocppj.read_payload(self.known.boot))
            answer = await self._attempt(boot)
            if isinstance(answer, Answer) and isinstance(answer.reply, CallResult):
                self._booted(boot, answer.reply)

    def opened(self, session: Session) -> None:
        """The charge point has a session, or another one."""
        self.session = session
        self._noted = float("-inf")
        self.wake()
        if self._loaded:
            self._drain_soon()
        elif self._shared.waiting.messages:  # perhaps of this one; it need not say a word for them to go on
            self._shared.spawn(self._go_on(), f"outbox of {self.identity}")

    async def _go_on(self) -> None:
        """Send what waited before the gateway began."""
        while not self._shared.stopping:
            with suppress(Unreachable):
                return await self._load()
            await self._shared.sleep(FIRST_WAIT)

    def closed(self, session: Session, *, for_good: bool) -> None:
        """*session* is closed. *for_good* unless the gateway is stopping: then it comes back."""
        if self.session is session:
            self.session = None
            if for_good and self.known.alive:
                self.known = replace(self.known, alive=0)
                self._note_charge_point()

    def _hear(self) -> None:
        session, now = self.session, self._shared.clock()
        if session is None:
            return
        if now - self._noted < HEARD_EVERY and session.callback is self._callback:
            return
        self._note_charge_point()

    def _note_charge_point(self) -> None:
        session, shared = self.session, self._shared
        if session is not None:
            self._noted, self._callback = shared.clock(), session.callback
            transport = session.links[Side.CHARGE_POINT].transport
            self.known = replace(
                self.known,
                dialect=f"{transport} 1.6" if transport else self.known.dialect,
                listener=session.listener or self.known.listener,
                source=session.source or self.known.source,
                callback=session.callback or self.known.callback,
                heartbeat_interval=session.heartbeat_interval or self.known.heartbeat_interval,
                heard=shared.now(),
                alive=1,
            )
        shared.store.note(self.known)

    def _tell(self, kind: str, text: str, reason: str = "", **labels: str) -> None:
        self._shared.journal.event(Event(kind, self.identity, text, reason, labels))


class Deliveries:
    """The deliveries of all charge points, and what they share: the store, the rules, the pace.

    ``waiting`` is all that is kept for central systems, ``parked`` what they do not want. ``on_waiting`` is
    called with the identity of a charge point that has messages and may have no session.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        rules: Rules = Rules(),  # noqa: B008
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.store = store
        self.journal = journal
        self.rules = rules
        self.clock = clock
        self.now = wall_clock
        self.sleep = sleep
        self.waiting = Amount()
        self.parked = 0
        self.open_transactions = 0
        self.oldest: float | None = None  # when the oldest message was kept, as it was within a minute
        self.pacer = Pacer(rules.rate, max(1.0, rules.rate / 10), clock=clock, sleep=sleep)
        self.on_waiting: Callable[[str], None] = lambda identity: None
        self._known: dict[str, Delivery] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self.stopping = False

    def go_by(self, rules: Rules) -> None:
        """From now on these rules count."""
        self.rules = rules
        self.pacer.go_at(rules.rate)

    def of(self, identity: str) -> Delivery:
        """The delivery of a charge point."""
        known = self._known.get(identity)
        if known is None:
            known = self._known[identity] = Delivery(identity, self)
        return known

    def forget(self, identity: str) -> None:
        """Nobody speaks for a charge point any more: what is on disk is read again when somebody does."""
        known = self._known.get(identity)
        if known is not None and known.session is None and known.is_idle:
            del self._known[identity]

    async def open(self) -> list[str]:
        """Count what is kept; returns the charge points that have messages waiting."""
        size = await self.store.sizes(Waiting, {"state": "waiting"})
        self.waiting = Amount(size.rows, size.bytes)
        self.parked = (await self.store.sizes(Waiting, {"state": "parked"})).rows
        await self._count_what_is_old()
        return await self._identities_waiting()

    async def _identities_waiting(self) -> list[str]:
        found: dict[str, None] = {}
        after: tuple[Any, ...] = ()
        while True:
            rows = await self.store.find(Waiting, {"state": "waiting"}, after=after, limit=1000)
            found.update((row.identity, None) for row in rows)
            if len(rows) < 1000:
                return list(found)
            # On with the next charge point, not with the next message.
            after = (rows[-1].identity, 2**62)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send what waits while inside; what is under way at the end is given up, and sent again later."""
        async with asyncio.TaskGroup() as self._tasks:
            tidying = self._tasks.create_task(self._tidy_up(), name="store")
            try:
                yield
            finally:
                self.stopping = True
                tidying.cancel()
                for delivery in self._known.values():
                    delivery.wake()
                if self._sending:
                    await asyncio.wait(list(self._sending), timeout=LAST_WAIT)
                for task in list(self._sending):
                    task.cancel()
        self._tasks = None

    def spawn(self, work: Any, name: str) -> None:
        if self._tasks is None:
            work.close()
            return
        task = self._tasks.create_task(self._guard(work, name), name=name)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _guard(self, work: Awaitable[None], name: str) -> None:
        try:
            await work
        except NotKept as broken:
            self.journal.event(Event("store broken", "", f"{name}: {broken}", "internal"))
        except Exception as bug:  # the edge of the task: one charge point's bug must not end the others
            self.journal.event(Event("internal error", "", f"{name}: {bug!r}", "internal"))

    def check_room(self, delivery: Delivery, size: int) -> None:
        """Raises Unreachable when a message of so many bytes is more than may be kept."""
        rules = self.rules
        for amount, most, most_bytes, whose in (
            (delivery.waiting, rules.most, rules.most_bytes, "of this charge point"),
            (self.waiting, rules.most_in_all, rules.most_bytes_in_all, "in all"),
        ):
            if amount.messages >= most or amount.bytes + size > most_bytes:
                kept = f"{amount.messages} messages, {amount.bytes} bytes"
                raise Unreachable("queue_full", f"{kept} {whose} wait for central systems, as many as may")

    async def read(self, kind: Any, where: dict[str, Any], **how: Any) -> list[Any]:
        """``Store.find``. Raises Unreachable when the store cannot be read."""
        try:
            return await self.store.find(kind, where, **how)
        except NotKept as broken:
            raise Unreachable("queue_full", f"the store cannot be read: {broken}") from None

    async def _tidy_up(self) -> None:
        while True:
            await self.sleep(TIDY_EVERY)
            with suppress(NotKept):
                await self._prune()
                await self._count_what_is_old()
                for identity in await self._identities_waiting():
                    self.on_waiting(identity)

    async def _prune(self) -> None:
        rules, now = self.rules, self.now()
        await self.store.prune(Remembered, now - rules.replies)
        await self.store.prune(Authorization, now - rules.authorizations)
        await self.store.prune(Transaction, now - rules.transactions)

    async def _count_what_is_old(self) -> None:
        self.oldest = (await self.store.sizes(Waiting, {"state": "waiting"})).oldest
        self.open_transactions = (await self.store.sizes(Transaction, {"state": "open"})).rows

    # --- what the operator does ---

    async def retry(self, identity: str, position: int) -> bool:
        """Send a message again at once, also one that was parked; False when there is none."""
        done = await self.of(identity).retry(position)
        self.on_waiting(identity)
        return done

    async def drop(self, identity: str, position: int) -> bool:
        return await self.of(identity).drop(position)

    async def set_remote_id(self, identity: str, local_id: int, remote_id: int) -> bool:
        """What the central system calls a transaction, as the operator has found out."""
        return await self.of(identity).set_remote_id(local_id, remote_id)


def _here(reply: CallResult, how: How, gone: Unreachable | None) -> Answer:
    """An answer of the gateway; *gone* tells what became of the attempt to ask the central system."""
    if gone is None:
        return Answer(reply, None, None, how=how)
    return Answer(reply, gone.asked, None, gone.waited, how)


def _text(value: object) -> str:
    return "" if value is None else str(value)

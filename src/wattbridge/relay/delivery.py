"""From a charge point to its central system, once: what lies between a session and its link.

*Acknowledged to the charge point means: the central system has answered, or the message is on disk.* A
``Delivery`` belongs to one charge point and outlives its sessions. It answers repetitions with the reply of
the first, answers for a central system that is away, puts what waits into the outbox, and knows both numbers
of each transaction. ``Deliveries`` are those of all charge points.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Any

from wattbridge.ocpp import ocppj, security_extension
from wattbridge.ocpp.errors import Unreachable, Violation
from wattbridge.ocpp.local_answers import LocalAnswer
from wattbridge.ocpp.messages import Call, CallError, CallResult, Payload, Reply, Side
from wattbridge.ocpp.older import NEWEST, Connector
from wattbridge.ocpp.security_extension import ExpectedLog
from wattbridge.relay import offline
from wattbridge.relay.journal import Event, How, Journal
from wattbridge.relay.keeper import Keeper
from wattbridge.relay.offline import Answers, Rules
from wattbridge.relay.outbox import (
    A_HAIR,
    FIRST_WAIT,
    Delivered,
    Hopeless,
    Outbox,
    Outcome,
    Unanswered,
    call_of,
)
from wattbridge.relay.repeats import Answered, Replies, content_key, message_id_of
from wattbridge.relay.session import (
    NOT_ITS_WORD,
    TRANSACTION_ACTIONS,
    UNDELIVERED,
    Answer,
    Session,
    told_heartbeat_interval,
)
from wattbridge.relay.stand_in import StandIn
from wattbridge.relay.transactions import (
    MOST_ENDED,
    NAMED_BY,
    NO_NUMBER,
    OURS,
    Transactions,
    with_number,
    with_remote_id,
)
from wattbridge.store.base import (
    Authorization,
    Change,
    ChargePoint,
    ConfigurationKey,
    ConnectorStatus,
    Remembered,
    Store,
    Transaction,
    Waiting,
    as_text,
)

MOST_REFUSED = 64  # messages of one charge point whose refusals are counted in memory
FIRST_STOP_WAIT = 5.0  # seconds until a charge point is asked again to stop charging, doubled each time
LONGEST_STOP_WAIT = 300.0
HEARD_EVERY = 60.0  # seconds between notes that a charge point was heard


class Delivery:
    """What one charge point says, on its way to its central system.

    ``answers`` is what its route says of the time when the central system is away. Nothing is read from the
    store before the charge point is heard.
    """

    # There is one for each charge point.
    __slots__ = (
        "_answers",
        "_callback",
        "_keeper",
        "_loaded",
        "_loading",
        "_noted",
        "_pending",
        "_refusals",
        "_replies",
        "_stand_in",
        "_unanswered_since",
        "answers",
        "expected_log",
        "identity",
        "known",
        "outbox",
        "session",
        "transactions",
    )

    def __init__(self, identity: str, keeper: Keeper) -> None:
        self.identity = identity
        self.answers = Answers()
        self.transactions = Transactions()
        self.known = ChargePoint(identity)
        self.session: Session | None = None
        self.outbox = Outbox(identity, keeper, self)
        self._keeper = keeper
        self._replies = Replies()
        self._pending: dict[str, asyncio.Future[Answer]] = {}  # by content
        self._refusals: dict[str, int] = {}  # by content: of messages that the charge point keeps itself
        self._answers = 0  # of the central system
        self._unanswered_since: tuple[int, int] | None = None  # position of a message, and answers until then
        self._loading: asyncio.Lock | None = None  # while it is being read from the store
        self._loaded = False
        self._stand_in: StandIn | None = None  # of charge points of older versions, and where it was needed
        self.expected_log: ExpectedLog | None = None
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
        if self._needs_stand_in or self._stand_in is not None:
            (await self._who_stands_in()).heard(call, self._keeper.now())
        if action in TRANSACTION_ACTIONS:
            return await self._once(call)
        if action in offline.KEPT_ACTIONS:
            return await self.notify(call)
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

    # --- what a charge point of an older version cannot say, and cannot be asked ---

    @property
    def _speaks_older(self) -> bool:
        session = self.session
        return session is not None and session.links[Side.CHARGE_POINT].version != NEWEST

    @property
    def _needs_stand_in(self) -> bool:
        session = self.session
        return self._speaks_older or (session is not None and bool(session.answered_here))

    async def _who_stands_in(self) -> StandIn:
        """What is known of the charge point. Raises Unreachable when it cannot be read."""
        if self._stand_in is None:
            mine = {"identity": self.identity}
            statuses = await self._keeper.read(ConnectorStatus, mine)
            configuration = await self._keeper.read(ConfigurationKey, mine)
            if self._stand_in is None:
                self._stand_in = StandIn(self.identity)
                self._stand_in.load(statuses, configuration, is_older=self._speaks_older)
        return self._stand_in

    async def connector(self, call: Call) -> Connector:
        """What is known of the connector that a message is about. Raises Unreachable."""
        await self._load()
        return (await self._who_stands_in()).connector(call, self.transactions)

    async def stand_in_for(self, answer: LocalAnswer, call: Call) -> Reply | None:
        """Answer a call of the central system in the charge point's place; None where nothing true can be
        said. Raises Unreachable when what is known cannot be read."""
        await self._load()
        stand_in = await self._who_stands_in()
        if answer.story == "configuration":
            session = self.session
            return stand_in.configuration(call, session.heartbeat_interval if session is not None else None)
        if answer.story != "trigger":
            return None
        stand_in.boot = ocppj.read_payload(self.known.boot) if self.known.boot else None
        wanted = stand_in.triggered(call, self.transactions)
        if not wanted or not self._may_send():
            return None
        self._keeper.spawn(self._send_in_its_place(wanted), f"trigger of {self.identity}")
        return CallResult({"status": "Accepted"})

    async def _send_in_its_place(self, wanted: list[Call]) -> None:
        for call in wanted:
            async with self.outbox.turn:
                if not self._may_send():
                    return
                transaction = await self._meant_by(call)
                with suppress(Violation):
                    await self._attempt(with_remote_id(call, transaction))
            self._tell("sent in its place", f"{call.action}, because the central system asked for it")

    def configured(self, call: Call, reply: CallResult) -> None:
        """A charge point has told its configuration, or accepted a change of it."""
        if call.action in ("ChangeConfiguration", "GetConfiguration"):
            stand_in = self._stand_in or StandIn(self.identity)
            self._keeper.store.note(*stand_in.configured(call, reply, self._keeper.now()))
            if told_heartbeat_interval(call, reply) is not None:
                self._note_charge_point()

    def _of_log(self, call: Call) -> Call:
        """*call*, or the LogStatusNotification that it is to the central system."""
        log = self.expected_log
        if call.action != "DiagnosticsStatusNotification" or log is None:
            return call
        told = security_extension.log_status(call.payload, log)
        if log.once or security_extension.ends_log(told):
            self.expected_log = None
        return told

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
            rows = await self._keeper.read(Remembered, {"identity": self.identity, "content_key": key})
            for kept in rows:
                answered = Answered(CallResult(ocppj.read_payload(kept.reply)), kept.answered)
        if answered is None or self._keeper.now() - answered.at > self._keeper.rules.replies:
            return None
        if not answered.kept:  # it was not given to the charge point, for it could not be kept
            row = await self._transaction_of(call, answered.result)
            changes: list[Change] = [self._remembered(call.action, key, answered)]
            await self._keeper.keep(*changes, *([row] if row else []))
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
        if self.outbox.is_sending:  # a slow central system, and more that waits for it
            return await self._keep(call, key, transaction)
        async with self.outbox.turn:
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
        rows = await self._keeper.read(Transaction, where)
        return rows[0] if rows else None

    def _latest(self, transaction: Transaction | None) -> Transaction | None:
        """What is known of *transaction* by now."""
        return transaction and (self.transactions.find(int(transaction.local_id)) or transaction)

    def _may_send(self, transaction: Transaction | None = None) -> bool:
        """Whether a message may go to the central system now: it is there, and nothing waits before it."""
        session = self.session
        if session is None or self.is_away:
            return False
        others = (name for name in session.upstreams if name != session.upstream)
        if self.outbox.waiting.messages > sum(self.outbox.by_upstream.get(name, 0) for name in others):
            return False
        return transaction is None or (bool(transaction.remote_id) and not self._is_for_another(transaction))

    def _is_for_another(self, transaction: Transaction) -> bool:
        """Whether it is the other one of two central systems that knows the transaction (fail-over)."""
        session = self.session
        if session is None or transaction.upstream in ("", session.upstream):
            return False
        return transaction.upstream in session.upstreams

    @property
    def is_away(self) -> bool:
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
        began = self._keeper.clock()
        try:
            answer = await self._send(call)
        except Unreachable as unreachable:
            spent = self._keeper.clock() - began
            if unreachable.asked is None:
                unreachable.delay = spent
            else:
                unreachable.waited = spent - unreachable.delay
            return unreachable
        reply = answer.reply
        # What answers a POST in no way that SOAP knows is a proxy; behind a WebSocket there is nobody else.
        no_answer = UNDELIVERED if self._speaks_json else UNDELIVERED | NOT_ITS_WORD
        if isinstance(reply, CallError) and reply.reason in no_answer:
            gone = Unreachable(reply.reason, reply.description, answer.asked)
            gone.waited, gone.delay = answer.waited, answer.delay
            return gone
        if answer.answered is not None:
            self._answers += 1
        return answer

    def _is_failure(self, refusal: CallError) -> bool:
        """Whether a refusal says that something went wrong, and no more, to a charge point that would never
        send the message again (OCPP 1.5, 8.2; OCPP 1.6-S errata, 3.1, has it sent again)."""
        return self._speaks_older and refusal.code in ("InternalError", "GenericError")

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
            if reply.reason not in NOT_ITS_WORD and not self._is_failure(reply):
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
        keeper = self._keeper
        until = keeper.clock() + keeper.rules.hold - A_HAIR
        why = Unreachable("not_connected", f"messages of charge point {self.identity} wait before it")
        if self.is_away:
            why = Unreachable("not_connected", f"the central system of {self.identity} is away")
        while True:
            seen = self.outbox.changes
            if self._may_send():
                async with self.outbox.turn:
                    if self._may_send():
                        answer = await self._attempt(call)
                        if isinstance(answer, Answer):
                            return await self._started(call, key, answer)
                        why = answer
            if self.answers.start_transaction == "provisional" and (
                self.is_away or why.asked is not None or keeper.clock() >= until
            ):
                return await self._begin_provisionally(call, key, why)
            if keeper.clock() >= until:
                held = f"{why.description}; StartTransaction was held for {keeper.rules.hold:g} s"
                raise why.saying(held)
            await self.outbox.wait_for_news(min(FIRST_WAIT, max(0.0, until - keeper.clock())), seen)

    async def _started(self, call: Call, key: str, answer: Answer) -> Answer:
        reply = answer.reply
        if isinstance(reply, CallError):
            self._refused(key)
            if self._is_failure(reply):  # it is not told so, and sends the message again
                return replace(answer, reply=replace(reply, reason="unreachable"))
            return answer
        self._refusals.pop(key, None)
        changes: list[Change] = self._authorized(call, reply)
        remote = reply.payload.get("transactionId")
        if type(remote) is not int:  # between parties of one form such a result passes; it is none to repeat
            self._refused(key)
            return answer
        session = self.session
        json = session is not None and session.links[Side.CHARGE_POINT].transport == "json"
        same = self.transactions.find(remote)
        if same is not None and _content_of(same) == self._content(call):
            local = remote  # it was begun before, and is not another one of this number
        else:
            local = self.transactions.number_for_charge_point(remote, self._upstream, any_size=json)
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
        await self.outbox.keep(call, key, "", row, self._remembered_now(call.action, key, reply))
        self.transactions.put(row)
        self._replies.remember(call.action, key, Answered(reply, self._keeper.now()))
        return _here(reply, "kept", gone)

    def _begun(self, call: Call, local: int, remote: int | None) -> Transaction:
        said = call.payload
        return Transaction(
            self.identity,
            str(local),
            remote_id=as_text(remote),
            upstream=self._upstream if remote is not None else "",
            connector_id=as_text(said.get("connectorId")),
            id_tag=as_text(said.get("idTag")),
            meter_start=as_text(said.get("meterStart")),
            started=as_text(said.get("timestamp")),
            changed=self._keeper.now(),
        )

    def _stop(self, known: Transaction, call: Call) -> Transaction:
        """A transaction ends with *call*. It may have got its number while that was on its way."""
        row = self._latest(known) or known
        when = as_text(call.payload.get("timestamp"))
        state = "stopped" if row.state == "open" else row.state
        return self.transactions.put(replace(row, stopped=when, state=state, changed=self._keeper.now()))

    @property
    def _upstream(self) -> str:
        return self.session.upstream if self.session is not None else ""

    # --- everything else a charge point says ---

    async def notify(self, call: Call) -> Answer:
        """Deliver a message whose .conf says nothing, or keep it. Raises Unreachable and Violation."""
        if call.action == "StatusNotification":
            self._keeper.store.note(
                ConnectorStatus(
                    self.identity,
                    as_text(call.payload.get("connectorId")),
                    ocppj.write_payload(call.payload),
                    self._keeper.now(),
                )
            )
        call = replace(self._of_log(call), message_id=str(uuid.uuid4()))
        if self.outbox.is_sending:
            return await self._keep(call, "", None)
        async with self.outbox.turn:
            if self._may_send():
                answer = await self._attempt(call)
                if isinstance(answer, Answer):
                    return answer
                return await self._keep(call, "", None, answer)
            return await self._keep(call, "", None)

    async def _heartbeat(self, call: Call) -> Answer:
        """A Heartbeat fails while messages cannot be kept, or the charge point would blame its message for
        what the store cannot do, and throw it away (OCPP-S 1.6 errata, 3.2)."""
        problem = self._keeper.store.problem
        if problem:
            raise Unreachable("queue_full", f"messages cannot be kept: {problem}")
        gone: Unreachable | None = None
        if not self.is_away:
            answer = await self._attempt(call)
            if isinstance(answer, Answer):
                return answer
            if answer.reason == "draining":
                raise answer
            gone = answer
        return _here(offline.heartbeat(self._keeper.now()), "offline", gone)

    async def _boot(self, call: Call) -> Answer:
        call = replace(call, message_id=str(uuid.uuid4()))
        policy = self.answers.boot_notification
        accepted = self.known.accepted is not None
        if self.is_away and (policy == "pending" or (policy == "last" and accepted)):
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
        now = self._keeper.now()
        if self.answers.boot_notification == "pending":
            return Answer(offline.boot("Pending", offline.PENDING_INTERVAL, now), None, None, how="offline")
        await self.outbox.keep_only(call)  # the central system still has to learn of it, once
        interval = self.known.heartbeat_interval or offline.USUAL_INTERVAL
        return Answer(offline.boot("Accepted", interval, now), None, None, how="kept")

    def _booted(self, call: Call, reply: CallResult) -> None:
        said, now = call.payload, self._keeper.now()
        interval = told_heartbeat_interval(call, reply)
        if interval is not None and self.session is not None:
            self.session.heartbeat_interval = interval
            if self._needs_stand_in:  # the central system has set it, whatever it was before
                self.configured(
                    Call("ChangeConfiguration", {"key": "HeartbeatInterval", "value": f"{interval:.0f}"}),
                    CallResult({"status": "Accepted"}),
                )
        self.known = replace(
            self.known,
            vendor=as_text(said.get("chargePointVendor")),
            model=as_text(said.get("chargePointModel")),
            firmware=None if said.get("firmwareVersion") is None else str(said["firmwareVersion"]),
            boot=ocppj.write_payload(said),
            accepted=now if reply.payload.get("status") == "Accepted" else None,
        )
        self._note_charge_point()

    async def _authorize(self, call: Call) -> Answer:
        policy = self.answers.authorize
        if not self.is_away:
            answer = await self._attempt(call)
            if isinstance(answer, Answer):
                if isinstance(answer.reply, CallResult):
                    self._keeper.store.note(*self._authorized(call, answer.reply))
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
            raise gone.saying(f"{gone.description}; nothing is known of this idTag")
        return _here(CallResult({"idTagInfo": info}), "offline", gone)

    async def _cached_info(self, call: Call) -> Payload | None:
        """What the central system last said of the idTag of *call*; None when that is too long ago."""
        tag = as_text(call.payload.get("idTag")).lower()  # idTags are case-insensitive (OCPP 1.6, 7.28)
        now = self._keeper.now()
        rows = await self._keeper.read(Authorization, {"identity": self.identity, "id_tag": tag})
        for row in rows:
            if now - row.told <= self._keeper.rules.authorizations:
                info: Payload = offline.authorization(ocppj.read_payload(row.info), now).payload["idTagInfo"]
                return info
        return None

    def _authorized(self, call: Call, reply: CallResult) -> list[Change]:
        tag, info = call.payload.get("idTag"), reply.payload.get("idTagInfo")
        if not isinstance(tag, str) or not isinstance(info, dict):
            return []
        text = ocppj.write_payload(info)
        return [Authorization(self.identity, tag.lower(), text, self._keeper.now())]

    # --- replies that may be asked for again ---

    def _remembered(self, action: str, key: str, answered: Answered) -> Remembered:
        reply = ocppj.write_payload(answered.result.payload)
        return Remembered(self.identity, key, action, reply, answered.at)

    def _remembered_now(self, action: str, key: str, reply: CallResult) -> Remembered:
        return self._remembered(action, key, Answered(reply, self._keeper.now()))

    def _remember(self, action: str, key: str, reply: CallResult) -> None:
        answered = Answered(CallResult(reply.payload), self._keeper.now())
        self._replies.remember(action, key, answered)
        self._keeper.store.note(self._remembered(action, key, answered))

    async def _remember_durably(self, action: str, key: str, reply: CallResult, *changes: Change) -> None:
        """The reply is on disk before the charge point sees it. Raises Unreachable when it cannot be."""
        answered = Answered(CallResult(reply.payload), self._keeper.now(), kept=False)
        self._replies.remember(action, key, answered)
        await self._keeper.keep(self._remembered(action, key, answered), *changes)
        answered.kept = True

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
            call = with_number(call, int(transaction.local_id))  # which it means now, and perhaps not later
            if call.action == "StopTransaction":
                changes.append(self._stop(transaction, call))
        await self.outbox.keep(call, key, bound, *changes)
        if key:
            self._replies.remember(call.action, key, Answered(reply, self._keeper.now()))
        return _here(reply, "kept", gone)

    async def _park(self, call: Call, key: str, problem: str) -> None:
        """Acknowledge a message that its central system does not want; the operator will see it."""
        reply = CallResult({})
        await self.outbox.park(call, key, problem, self._remembered_now(call.action, key, reply))
        self._replies.remember(call.action, key, Answered(reply, self._keeper.now()))

    def may_go(self, row: Waiting) -> bool:
        session = self.session
        if session is None or row.upstream in ("", session.upstream):
            return True
        return row.upstream not in session.upstreams

    async def deliver(self, row: Waiting) -> Outcome:
        """Bring a kept message to the central system. Raises Unreachable when nothing can be read."""
        call = call_of(row)
        transaction = await self._meant_by(call) if row.action in TRANSACTION_ACTIONS else None
        if transaction is not None and not transaction.remote_id:
            return Hopeless("its StartTransaction has not been accepted", "call_error")
        try:
            answer = await self._attempt(with_remote_id(call, transaction))
        except Violation as broken:
            return Hopeless(str(broken), "untranslatable")
        if isinstance(answer, Unreachable):
            return self._unanswered(row, answer)
        self._unanswered_since = None
        reply = answer.reply
        if isinstance(reply, CallError):
            return reply
        if row.action == "BootNotification":
            self._booted(call, reply)
        if row.action == "StartTransaction":
            return self._begun_late(call, reply)
        return Delivered(self._authorized(call, reply), lambda: self._tell_mirrors(call, reply))

    def _unanswered(self, row: Waiting, gone: Unreachable) -> Outcome:
        """A message that was sent and not answered is at fault only when others are answered meanwhile."""
        if gone.asked is None:
            return None
        since = self._unanswered_since
        if since is None or since[0] != row.position:
            self._unanswered_since = row.position, self._answers
            return None
        self._unanswered_since = row.position, self._answers
        if self._answers == since[1]:
            return None
        return Unanswered(f"it was sent and not answered, though others were: {gone.description}")

    def _begun_late(self, call: Call, reply: CallResult) -> Delivered:
        """The central system has given a provisional transaction its number."""
        changes: list[Change] = self._authorized(call, reply)
        begun, remote = self._begun_by(call), reply.payload.get("transactionId")
        if begun is None or type(remote) is not int:
            return Delivered(changes, lambda: self._tell_mirrors(call, reply))
        begun = replace(begun, remote_id=str(remote), upstream=self._upstream, changed=self._keeper.now())
        changes.append(self.transactions.put(begun))
        told = CallResult({**reply.payload, "transactionId": int(begun.local_id)})

        def then() -> None:
            self._tell_mirrors(call, told)
            status = (reply.payload.get("idTagInfo") or {}).get("status")
            if status not in (None, "Accepted"):
                self._refuse_transaction(self._latest(begun) or begun, f"its idTag is {status}")

        return Delivered(changes, then)

    def _tell_mirrors(self, call: Call, reply: CallResult) -> None:
        session = self.session
        if session is not None and session.after_relay is not None:
            session.after_relay(replace(call, message_id=""), reply)

    def _content(self, call: Call) -> tuple[str, ...]:
        return _content_of(self._begun(call, 0, None))

    def _begun_by(self, call: Call) -> Transaction | None:
        """The provisional transaction that a kept StartTransaction has begun."""
        wanted = self._content(call)
        for row in self.transactions:
            if row.provisional and not row.remote_id and _content_of(row) == wanted:
                return row
        return None

    def parked(self, row: Waiting, problem: str, reason: str) -> None:
        begun = self._begun_by(call_of(row)) if row.action == "StartTransaction" else None
        if begun is not None and reason != "timeout":  # who says nothing has refused nothing
            self._refuse_transaction(begun, problem)

    def _refuse_transaction(self, transaction: Transaction, why: str) -> None:
        """The central system does not want a transaction that was begun without it."""
        text = f"transaction {transaction.local_id} was begun without the central system, which refuses it: "
        self._tell("transaction refused", text + why, "call_error")
        if transaction.state == "open":
            refused = self.transactions.put(replace(transaction, state="refused"))
            self._keeper.store.note(refused)
            self._stop_charging_soon(refused)

    def _stop_charging_soon(self, refused: Transaction) -> None:
        if self.answers.late_refusal == "stop":
            self._keeper.spawn(self._stop_charging(refused), f"stopping at {self.identity}")

    async def _stop_charging(self, refused: Transaction) -> None:
        """Ask the charge point to stop a refused transaction until it says yes, or has stopped it."""
        stop = Call("RemoteStopTransaction", {"transactionId": int(refused.local_id)})
        wait, why = FIRST_STOP_WAIT, ""
        while not self._keeper.stopping and not (self._latest(refused) or refused).stopped:
            session, said, seen = self.session, "it has no session", self.outbox.changes
            if session is not None:
                try:
                    reply = (await session.ask(Side.CHARGE_POINT, stop)).reply
                    said = str(reply.payload.get("status") if isinstance(reply, CallResult) else reply)
                except (Unreachable, Violation) as gone:
                    said = str(gone)
            if said == "Accepted":
                self._tell("charging stopped", f"transaction {refused.local_id}: the charge point agrees")
                return
            if said != why:  # and not again and again
                text = f"{refused.local_id}: {said}; it is asked again"
                self._tell("transaction not stopped", text, "unreachable")
            why = said
            await self.outbox.wait_for_news(wait, seen)
            wait = min(2 * wait, LONGEST_STOP_WAIT)

    # --- what the operator does ---

    async def retry(self, position: int) -> bool:
        await self._load()
        return await self.outbox.retry(position)

    async def drop(self, position: int) -> bool:
        await self._load()
        return await self.outbox.drop(position)

    async def set_remote_id(self, local_id: int, remote_id: int) -> bool:
        """The StartTransaction need not be sent any more; what it held up may be."""
        await self._load()
        row = self.transactions.find(local_id)
        where = {"identity": self.identity, "local_id": str(local_id)}
        for kept in [] if row else await self._keeper.read(Transaction, where):
            row = kept
        if row is None:
            return False
        if row.remote_id and not row.provisional:
            raise ValueError(f"central system {row.upstream} gave transaction {local_id} its number itself")
        state = "stopped" if row.stopped else "open"
        changed = replace(
            row,
            remote_id=str(remote_id),
            upstream=row.upstream or self._upstream,
            state=state,
            changed=self._keeper.now(),
        )
        self.transactions.put(changed)
        await self.outbox.settle_start(lambda call: self._content(call) == _content_of(row), changed)
        text = f"{local_id} is {remote_id} there, says the operator"
        self._tell("transaction renumbered", text, by="operator")
        self.outbox.wake()
        return True

    # --- its state ---

    async def _load(self) -> None:
        """Read what is known of the charge point, once. Raises Unreachable when it cannot be read."""
        if self._loaded:
            return
        self._loading = self._loading or asyncio.Lock()
        async with self._loading:
            if self._was_loaded():
                return
            mine = {"identity": self.identity}
            keeper = self._keeper
            for known in await keeper.read(ChargePoint, mine):
                self.known = known
            ended = await keeper.read(Transaction, mine, order="last", by="changed", limit=MOST_ENDED)
            open_ones = await keeper.read(Transaction, {**mine, "state": "open"})
            unknown_there = await keeper.read(Transaction, {**mine, "remote_id": ""})
            refused = await keeper.read(Transaction, {**mine, "state": "refused", "stopped": ""})
            self.transactions = Transactions([*reversed(ended), *open_ones, *unknown_there, *refused])
            await self.outbox.load()
            for reply in reversed(await keeper.read(Remembered, mine, order="last", by="answered", limit=64)):
                result = CallResult(ocppj.read_payload(reply.reply))
                self._replies.remember(reply.action, reply.content_key, Answered(result, reply.answered))
            self._loaded = True
        self._loading = None
        for each in refused:
            self._stop_charging_soon(each)
        self.outbox.drain_soon()

    def _was_loaded(self) -> bool:
        """Whether somebody else has loaded it, while this one waited."""
        return self._loaded

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, so that everything can be read again from the store."""
        return not self._pending and self.outbox.is_idle

    def has_business_with(self, upstream: str) -> bool:
        """Whether a transaction that began at this central system has not ended there."""
        if self.outbox.by_upstream.get(upstream):
            return True
        return any(row.upstream == upstream and not row.stopped for row in self.transactions)

    def boot_again(self) -> None:
        """Tell the central system once more of the charge point, as it told of itself last."""
        self._keeper.spawn(self._boot_again(), f"BootNotification of {self.identity}")

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
        self.outbox.wake()
        if self._loaded:
            self.outbox.drain_soon()
        elif self._keeper.waiting.messages:  # perhaps of this one; it need not say a word for them to go on
            self._keeper.spawn(self._go_on(), f"outbox of {self.identity}")

    def wake(self) -> None:
        """The link has changed."""
        self.outbox.wake()

    async def _go_on(self) -> None:
        """Send what waited before the gateway began."""
        while not self._keeper.stopping:
            with suppress(Unreachable):
                return await self._load()
            await self._keeper.sleep(FIRST_WAIT)

    def closed(self, session: Session, *, for_good: bool) -> None:
        """*session* is closed. *for_good* unless the gateway is stopping: then it comes back."""
        if self.session is session:
            self.session = None
            if for_good and self.known.alive:
                self.known = replace(self.known, alive=0)
                self._note_charge_point()

    def _hear(self) -> None:
        session, now = self.session, self._keeper.clock()
        if session is None:
            return
        if now - self._noted < HEARD_EVERY and session.callback is self._callback:
            return
        self._note_charge_point()

    def _note_charge_point(self) -> None:
        session, keeper = self.session, self._keeper
        if session is not None:
            self._noted, self._callback = keeper.clock(), session.callback
            link = session.links[Side.CHARGE_POINT]
            self.known = replace(
                self.known,
                dialect=f"{link.transport} {link.version}" if link.transport else self.known.dialect,
                listener=session.listener or self.known.listener,
                source=session.source or self.known.source,
                callback=session.callback or self.known.callback,
                heartbeat_interval=session.heartbeat_interval or self.known.heartbeat_interval,
                heard=keeper.now(),
                alive=1,
            )
        keeper.store.note(self.known)

    def _tell(self, kind: str, text: str, reason: str = "", **labels: str) -> None:
        self._keeper.journal.event(Event(kind, self.identity, text, reason, labels))


class Deliveries(Keeper):
    """The deliveries of all charge points, and what they share."""

    def __init__(self, store: Store, journal: Journal, rules: Rules = Rules(), **times: Any) -> None:  # noqa: B008
        super().__init__(store, journal, rules, **times)
        self._known: dict[str, Delivery] = {}

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

    def wake_all(self) -> None:
        for delivery in self._known.values():
            delivery.wake()

    # --- what the operator does ---

    async def retry(self, identity: str, position: int) -> bool:
        """Send a message again at once, also one that was parked; False when there is none."""
        done = await self.of(identity).retry(position)
        self.on_waiting(identity)
        self.forget(identity)
        return done

    async def drop(self, identity: str, position: int) -> bool:
        done = await self.of(identity).drop(position)
        self.forget(identity)
        return done

    async def set_remote_id(self, identity: str, local_id: int, remote_id: int) -> bool:
        """What the central system calls a transaction, as the operator has found out."""
        done = await self.of(identity).set_remote_id(local_id, remote_id)
        self.forget(identity)
        return done


def _content_of(row: Transaction) -> tuple[str, ...]:
    """What tells one StartTransaction from another."""
    return row.connector_id, row.id_tag, row.meter_start, row.started


def _here(reply: CallResult, how: How, gone: Unreachable | None) -> Answer:
    """An answer of the gateway; *gone* tells what became of the attempt to ask the central system."""
    if gone is None:
        return Answer(reply, None, None, how=how)
    return Answer(reply, gone.asked, None, gone.waited, how, delay=gone.delay)

"""What an operator does with one charge point: look at all of it, reach it, call it, list it, forget it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import yaml

from wattbridge.config.values import read_identity
from wattbridge.links.charge_point_soap import ChargePointLink
from wattbridge.ocpp import ocppj
from wattbridge.ocpp.actions import JsonCodec
from wattbridge.ocpp.errors import Unreachable, Violation
from wattbridge.ocpp.messages import CallError, Note, Passage, Reply, Side
from wattbridge.ocpp.times import date_time_text
from wattbridge.operation.api import Refusal
from wattbridge.operation.redaction import Redaction
from wattbridge.relay.routes import Heard
from wattbridge.relay.session import Session
from wattbridge.reports import Reports
from wattbridge.store.base import (
    ChargePoint,
    ConfigurationKey,
    ConnectorStatus,
    Forget,
    NotKept,
    Store,
    Transaction,
    Waiting,
)

if TYPE_CHECKING:
    from wattbridge.app import Gateway

SECRETS = Redaction(id_tags=True, passwords=True)


class Operating:
    """Acts for an operator on the charge points of *gateway*. Everything may raise Refusal."""

    def __init__(
        self,
        gateway: Gateway,
        store: Store,
        reports: Reports,
        write_transaction: Callable[[Transaction], dict[str, Any]],
    ) -> None:
        self._gateway = gateway
        self._store = store
        self._reports = reports
        self._write_transaction = write_transaction

    async def show(self, identity: str) -> dict[str, Any]:
        row = await self._reports.row(identity)
        try:
            connectors = await self._store.find(ConnectorStatus, {"identity": identity})
            transactions = await self._store.find(Transaction, {"identity": identity, "state": "open"})
        except NotKept as problem:
            raise Refusal(503, "internal", f"the store: {problem}") from None
        gateway = self._gateway
        session = gateway.registry.find(identity)
        known_as = session.known_as if session else gateway.fleet.route_of(_heard(row)).known_as(identity)
        return {
            **self._reports.listed(identity, row),
            "callback": self._callback(session, row),
            "connectors": sorted(map(_connector, connectors), key=_by_number),
            "open_transactions": [self._write_transaction(each) for each in transactions],
            "report": self._reports.report(identity, row),
            "known_as": known_as,
            "source": (session.source if session else "") or row.source or None,
            "listener": (session.listener if session else "") or row.listener or None,
            "listed": identity in gateway.fleet.listed,
            "boot": _object(row.boot),
            "last_messages_link": "/messages?filter=" + quote(f'charger:"{identity}"'),
        }

    async def test_callback(self, identity: str) -> dict[str, Any]:
        session = self.session(identity)
        link = session.links[Side.CHARGE_POINT]
        if session.connection is not None:
            text = "it is connected by a WebSocket, and is called on that"
            return {"reachable": True, "text": text}
        if not isinstance(link, ChargePointLink):
            raise Refusal(409, "not_connected", f"charge point {identity!r} has not been heard of by SOAP")
        try:
            return {"reachable": True, "text": await link.reach()}
        except Unreachable as gone:
            return {"reachable": False, "text": gone.description}

    async def call(self, identity: str, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Ask the charge point as its central system would; the exchange is recorded as the operator's."""
        session = self.session(identity)
        codec = JsonCodec(self._gateway.fleet.dialect_of(session), Side.CENTRAL_SYSTEM)
        message_id = f"operator-{secrets.token_hex(8)}"
        try:
            # As it would be read from a frame: numbers are exact.
            call, notes = codec.read_call(action, ocppj.read_payload(json.dumps(payload)))
        except Violation as wrong:
            reason = "unsupported" if wrong.reason == "unsupported" else "schema"
            raise Refusal(422, reason, str(wrong), path=wrong.path) from None
        written: dict[str, Any] = {}

        def write(reply: Reply) -> Passage:
            if isinstance(reply, CallError):
                failure = {"code": reply.code, "description": reply.description, "reason": reply.reason}
                written["error"] = failure
                text = ocppj.write_error(message_id, reply.code, reply.description, {})
                return Passage("json", text.encode(errors="replace"))
            answer = reply.payload
            lost: list[Note] = []
            try:
                if reply.original is None:
                    answer, lost = codec.write_result(action, reply.payload)
                text = ocppj.write_result(message_id, answer)
                written["reply"] = json.loads(text)[2]
            except Violation as wrong:
                failure = {"code": wrong.code, "description": str(wrong), "reason": "untranslatable"}
                written["error"] = failure
                text = ocppj.write_error(message_id, wrong.code, str(wrong), {})
            return Passage("json", text.encode(errors="replace"), tuple(lost))

        frame = ocppj.write_call(message_id, action, call.payload)
        arrived = Passage("json", frame.encode(errors="replace"), tuple(notes))
        await session.relay(call, arrived, Side.CENTRAL_SYSTEM, write, asked_by="operator")
        return written

    def told_of_call(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        [text], _ = SECRETS.blot([json.dumps(["", action, payload], ensure_ascii=False)])
        try:
            return {"action": action, "payload": json.loads(text)[2]}
        except ValueError:  # it was too long to look through
            return {"action": action}

    async def allow(self, identity: str) -> dict[str, Any]:
        if identity in self._gateway.fleet.listed:
            raise Refusal(409, "refused", f"charge point {identity!r} is listed already")
        try:
            read_identity(identity)
        except ValueError as problem:
            raise Refusal(400, "malformed", f"charger: {problem}") from None
        return {"charger": identity, "lines": lines_that_list(identity)}

    async def forget(self, identity: str) -> dict[str, Any]:
        """Take a charge point that is gone for good out of the lists.

        What it has said and what it was answered stays as long as it may have to be said again: messages that
        wait are a reason to refuse, transactions and remembered replies are not touched.
        """
        gateway = self._gateway
        await self._reports.row(identity)
        if identity in gateway.registry:
            raise Refusal(409, "refused", f"charge point {identity!r} is there: close its session first")
        if identity in gateway.fleet.listed:
            raise Refusal(
                409, "refused", f"charge point {identity!r} is listed: take it from the configuration"
            )
        mine = {"identity": identity}
        try:
            if await self._store.find(Waiting, mine, limit=1):
                said = f"messages of charge point {identity!r} wait: have them delivered, or drop them"
                raise Refusal(409, "refused", said)
            connectors = await self._store.find(ConnectorStatus, mine)
            keys = await self._store.find(ConfigurationKey, mine)
            await self._store.write(
                Forget(ChargePoint, (identity,)),
                *(Forget(ConnectorStatus, (identity, row.connector_id)) for row in connectors),
                *(Forget(ConfigurationKey, (identity, row.key_name)) for row in keys),
            )
        except NotKept as problem:
            raise Refusal(503, "internal", f"the store: {problem}") from None
        gateway.registry.forget(identity)
        gateway.fleet.forget(identity)
        gateway.problems.forget(identity)
        return {"charger": identity, "forgotten": True}

    def session(self, identity: str) -> Session:
        session = self._gateway.registry.find(identity)
        if session is None:
            raise Refusal(404, "not_connected", f"charge point {identity!r} has no session")
        return session

    def _callback(self, session: Session | None, row: ChargePoint) -> dict[str, Any]:
        link = session.links[Side.CHARGE_POINT] if session is not None else None
        if not isinstance(link, ChargePointLink):
            # One that has no session may still have said where it wants to be called.
            url = (_object(row.callback) or {}).get("from_address") or None
            return {"url": url, "state": "not tried" if url else "none", "last_error": ""}
        if not link.called_at and not link.call_problem:
            url = (_object(link.callback) or {}).get("from_address") or None
            return {"url": url, "state": "not tried", "last_error": ""}
        state = "fails" if link.call_problem else "works"
        return {"url": link.called_at or None, "state": state, "last_error": link.call_problem}


def lines_that_list(identity: str) -> str:
    """The lines of the configuration that would list a charge point."""
    return yaml.safe_dump({"chargers": {identity: {}}}, allow_unicode=True, width=1000)


def _heard(row: ChargePoint) -> Heard:
    return Heard(
        row.identity, row.source, row.listener, vendor=row.vendor, model=row.model, firmware=row.firmware
    )


def _connector(row: ConnectorStatus) -> dict[str, Any]:
    said = _object(row.payload) or {}
    when = said.get("timestamp") or (date_time_text(row.heard, milliseconds=True) if row.heard else None)
    return {
        "connector_id": row.connector_id,
        "status": str(said.get("status", "")),
        "error_code": str(said.get("errorCode", "")),
        "when": when,
    }


def _by_number(connector: dict[str, Any]) -> tuple[int, str]:
    number = connector["connector_id"]
    return (int(number) if number.isdecimal() and len(number) < 10 else 0), number


def _object(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    found = json.loads(text)
    return found if isinstance(found, dict) else None

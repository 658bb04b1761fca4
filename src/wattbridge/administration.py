"""What the admin API can ask of a running gateway, in the words of its JSON."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wattbridge.config import Problem
from wattbridge.config.effective import HIDDEN, as_yaml, effective
from wattbridge.config.tree import Unreadable, read_tree
from wattbridge.ocpp.messages import Side
from wattbridge.ocpp.times import date_time_text
from wattbridge.operating import Operating
from wattbridge.operation.api import Deliveries, Refusal
from wattbridge.operation.audit import Audit
from wattbridge.overview import Overview
from wattbridge.relay.duty import State
from wattbridge.relay.routes import Heard, Route
from wattbridge.relay.session import Session
from wattbridge.reloading import CannotReload, Reloaded, Reloader, Stale, etag_of
from wattbridge.reports import Reports
from wattbridge.routing import lets_in
from wattbridge.store.base import AnyRow, AuditEntry, NotKept, Transaction, Waiting
from wattbridge.supporting import bundle

if TYPE_CHECKING:
    from wattbridge.app import Gateway

_ASKED = {"charger": "identity"} | {
    name: name for name in ("source", "listener", "vendor", "model", "firmware", "known")
}


class Administration:
    """Answers for *gateway*, whose configuration *reloader* reads; *now* is in seconds since the epoch.

    A test gives it other *deliveries* than the gateway's.
    """

    def __init__(
        self,
        gateway: Gateway,
        reloader: Reloader,
        now: Callable[[], float] = time.time,
        deliveries: Deliveries | None = None,
    ) -> None:
        self.reloader = reloader
        self._gateway = gateway
        self._now = now
        self._deliveries = deliveries or gateway.deliveries
        self._reports = Reports(gateway, self._deliveries.store, now)
        self._operating = Operating(gateway, self._deliveries.store, self._reports, _transaction)
        self._overview = Overview(gateway, now)
        self._began = time.monotonic()

    @property
    def audit(self) -> Audit:
        return self._gateway.audit

    def info(self) -> dict[str, Any]:
        gateway = self._gateway
        return {
            "name": gateway.config.gateway.name,
            "version": version("wattbridge"),
            "uptime_seconds": round(time.monotonic() - self._began, 3),
            "not_ready_because": gateway.not_ready_because,
            "listeners": gateway.addresses,
            "metrics": gateway.metrics_address,
            "sessions": len(gateway.registry),
        }

    async def overview(self) -> dict[str, Any]:
        return await self._overview.show(self.info())

    def list_listeners(self) -> list[dict[str, Any]]:
        return self._overview.list_listeners()

    def list_upstreams(self) -> list[dict[str, Any]]:
        return self._overview.list_upstreams()

    def set_upstream_state(self, name: str, state: State, who: str) -> dict[str, Any]:
        gateway = self._gateway
        if name not in gateway.config.upstreams:
            raise Refusal(404, "unsupported", f"no central system is called {name!r}")
        gateway.duties.change(name, state, who)
        return self._overview.show_upstream(name)

    def list_profiles(self) -> list[dict[str, Any]]:
        return self._overview.list_profiles()

    async def list_certificates(self) -> list[dict[str, Any]]:
        return await self._overview.list_certificates()

    def list_problems(self, charger: str) -> list[dict[str, Any]]:
        return self._overview.list_problems(charger)

    async def support_dump(self) -> bytes:
        return await bundle(self, self._gateway)

    # --- the configuration ---

    async def show_configuration(self) -> dict[str, Any]:
        try:
            file, content = await self.reloader.file()
        except CannotReload as problem:
            raise _refused(problem) from None
        config = self._gateway.config

        def show() -> tuple[dict[str, Any], str]:
            try:
                root = read_tree(content.decode(), Path(file).suffix).root
            except (UnicodeDecodeError, Unreadable):  # it was edited since, and is wrong
                root = None
            shown = effective(config, root.plain() if root is not None else None)
            return shown, as_yaml(shown)

        # Elsewhere: a large fleet takes seconds.
        shown, text = await asyncio.to_thread(show)
        return {"file": file, "etag": etag_of(content), "text": text, "effective": shown}

    async def put_configuration(self, text: str, etag: str, *, dry_run: bool, move: bool) -> dict[str, Any]:
        """Raises Refusal: 412 for another ETag, 422 for what is wrong, 409 for what cannot be written."""
        if HIDDEN in text:
            said = f"{HIDDEN} stands where a secret belongs: write {{env: NAME}} or {{file: path}}"
            raise Refusal(422, "malformed", said, errors=[])
        try:
            if dry_run:
                done = await self.reloader.check_text(text, etag)
                return {**_told(done), "dry_run": True, "etag": etag}
            done = await self.reloader.replace(text, etag, "put by the API", move=move)
        except Stale as stale:
            raise Refusal(412, "refused", str(stale)) from None
        except CannotReload as problem:
            raise _refused(problem) from None
        return {**_told(done), "dry_run": False, "etag": etag_of(text.encode())}

    async def reload(self, *, move: bool) -> dict[str, Any]:
        try:
            return _told(await self.reloader.reload("asked by the API", move=move))
        except CannotReload as problem:
            raise _refused(problem) from None

    async def check(self) -> dict[str, Any]:
        try:
            return _told(await self.reloader.check())
        except CannotReload as problem:
            raise _refused(problem) from None

    def list_routes(self) -> list[dict[str, Any]]:
        taken = Counter(session.route for session in self._gateway.registry.sessions())
        routes = self._gateway.fleet.routes.routes
        return [{**_route(route), "sessions": taken[route.name]} for route in routes]

    def test_route(self, asked: dict[str, Any]) -> dict[str, Any]:
        unknown = [name for name in asked if name not in _ASKED]
        if unknown or not isinstance(asked.get("charger"), str):
            found = f"found {unknown[0]!r}" if unknown else "charger is missing or no text"
            raise Refusal(400, "malformed", f"{found}; expected charger, and any of {', '.join(_ASKED)}")
        for name, value in asked.items():
            if not isinstance(value, bool if name == "known" else str):
                expected = "true or false" if name == "known" else "a text"
                raise Refusal(400, "malformed", f"{name}: found {value!r}, expected {expected}")
        fleet = self._gateway.fleet
        listener, source = asked.get("listener"), asked.get("source")
        if listener and listener not in self._gateway.config.listeners:
            raise Refusal(400, "malformed", f"listener: there is none called {listener[:60]!r}")
        if source:
            try:
                ip_address(source)
            except ValueError:
                raise Refusal(
                    400, "malformed", f"source: found {source[:60]!r}, expected an address"
                ) from None
        heard = Heard(**{_ASKED[name]: value for name, value in asked.items()})
        if "known" not in asked:
            heard = fleet.known(heard)
        explained = fleet.routes.explain(heard)
        chosen = explained[-1][0]
        return {
            **_route(chosen),
            "known_as": chosen.known_as(heard.identity),
            "let_in": lets_in(fleet.config, fleet.routes, heard),
            "passed_over": [{"name": route.name, "why_not": why} for route, why in explained[:-1]],
        }

    def list_sessions(self, after: str, most: int) -> list[dict[str, Any]]:
        sessions = sorted(self._gateway.registry.sessions(), key=lambda session: session.identity)
        return [_session(session) for session in sessions if session.identity > after][:most]

    def show_session(self, identity: str) -> dict[str, Any]:
        return _session(self._operating.session(identity))

    def close_session(self, identity: str) -> dict[str, Any]:
        """Close its connections, on both sides; it may come back. Tells what it was."""
        session = self._operating.session(identity)
        told = _session(session)
        self._gateway.registry.close(session, "the operator has closed it")
        return told

    def move(self, identity: str) -> dict[str, Any]:
        gateway = self._gateway
        session = self._operating.session(identity)
        moved = gateway.registry.move(session, gateway.fleet.leads)
        return {**_session(session), "moved": moved}

    # --- what charge points and central systems speak, and what that costs ---

    async def list_chargers(
        self, after: str, most: int, state: str = "", q: str = ""
    ) -> list[dict[str, Any]]:
        return await self._reports.list_chargers(after, most, state, q)

    async def show_charger(self, identity: str) -> dict[str, Any]:
        return await self._operating.show(identity)

    async def test_callback(self, identity: str) -> dict[str, Any]:
        return await self._operating.test_callback(identity)

    async def call(self, identity: str, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        return await self._operating.call(identity, action, payload)

    def told_of_call(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        return self._operating.told_of_call(action, payload)

    async def allow(self, identity: str) -> dict[str, Any]:
        return await self._operating.allow(identity)

    async def forget(self, identity: str) -> dict[str, Any]:
        return await self._operating.forget(identity)

    async def list_reports(self, after: str, most: int) -> list[dict[str, Any]]:
        return await self._reports.list_reports(after, most)

    async def show_report(self, identity: str) -> dict[str, Any]:
        return await self._reports.show(identity)

    # --- what waits, and transactions ---

    async def list_waiting(
        self, charger: str, state: str, after: tuple[str, int] | None, most: int
    ) -> list[dict[str, Any]]:
        rows = await self._find(Waiting, identity=charger, state=state, after=after or (), most=most)
        return [self._waiting(row) for row in rows]

    async def show_waiting(self, identity: str, position: int) -> dict[str, Any]:
        rows = await self._find(Waiting, identity=identity, position=position)
        if not rows:
            raise _not_kept(identity, position)
        return {**self._waiting(rows[0]), "payload": json.loads(rows[0].payload)}

    async def retry(self, identity: str, position: int) -> dict[str, Any]:
        try:
            if not await self._deliveries.retry(identity, position):
                raise _not_kept(identity, position)
        except NotKept as problem:
            raise _unkept(problem) from None
        return {"charger": identity, "position": position, "retried": True}

    async def drop(self, identity: str, position: int) -> dict[str, Any]:
        """What was dropped is told whole: there is no other place where it still is."""
        dropped = await self.show_waiting(identity, position)
        try:
            if not await self._deliveries.drop(identity, position):
                raise _not_kept(identity, position)
        except NotKept as problem:
            raise _unkept(problem) from None
        return dropped

    async def list_transactions(
        self, charger: str, state: str, after: tuple[str, int] | None, most: int
    ) -> list[dict[str, Any]]:
        last = (after[0], str(after[1])) if after else ()
        rows = await self._find(Transaction, identity=charger, state=state, after=last, most=most)
        return [_transaction(row) for row in rows]

    async def show_transaction(self, identity: str, number: int) -> dict[str, Any]:
        rows = await self._find(Transaction, identity=identity, local_id=str(number))
        if not rows:
            raise Refusal(404, "unsupported", f"charge point {identity!r} has no transaction {number}")
        return _transaction(rows[0])

    async def set_remote_id(self, identity: str, number: int, remote_id: int) -> dict[str, Any]:
        try:
            await self._deliveries.set_remote_id(identity, number, remote_id)
        except NotKept as problem:
            raise _unkept(problem) from None
        except ValueError as problem:
            raise Refusal(409, "refused", str(problem)) from None
        return await self.show_transaction(identity, number)  # or there is none

    # --- who did what ---

    async def list_audit(self, before: int | None, most: int, who: str) -> list[dict[str, Any]]:
        try:
            return [_audited(row) for row in await self.audit.list(before, most, who)]
        except NotKept as problem:
            raise _unkept(problem) from None

    async def _find(
        self, kind: type[AnyRow], *, after: tuple[Any, ...] = (), most: int = 1, **where: Any
    ) -> list[AnyRow]:
        """The rows with these values; an empty text is any."""
        wanted = {column: value for column, value in where.items() if value != ""}
        try:
            return await self._deliveries.store.find(kind, wanted, after=after, limit=most)
        except NotKept as problem:
            raise _unkept(problem) from None

    def _waiting(self, row: Waiting) -> dict[str, Any]:
        return {
            "charger": row.identity,
            "position": row.position,
            "action": row.action,
            "state": row.state,
            "kept": date_time_text(row.kept),
            "kept_seconds": round(max(0.0, self._now() - row.kept), 3),
            "upstream": row.upstream or None,
            "refusals": row.refusals,
            "problem": row.problem,
        }


def _told(reloaded: Reloaded) -> dict[str, Any]:
    return {
        "changed": [str(changed) for changed in reloaded.changed],
        "warnings": [_problem(problem) for problem in reloaded.warnings],
        "moved": reloaded.moved,
    }


def _refused(problem: CannotReload) -> Refusal:
    errors = [_problem(each) for each in problem.problems]
    return Refusal(422 if errors else 409, "malformed" if errors else "refused", str(problem), errors=errors)


def _problem(problem: Problem) -> dict[str, Any]:
    return {field.name: getattr(problem, field.name) for field in fields(problem)}


def _route(route: Route) -> dict[str, Any]:
    told: dict[str, Any] = {"route": route.name, "upstream": route.upstream}
    if route.reject is not None:
        told["reject"] = {"boot_status": route.reject.boot_status, "error": route.reject.error}
    if route.fallback is not None:
        told["fallback"] = route.fallback
    if route.mirrors:
        told["mirrors"] = list(route.mirrors)
    return told


def _session(session: Session) -> dict[str, Any]:
    return {
        "charger": session.identity,
        "known_as": session.known_as,
        "route": session.route,
        "upstream": session.upstream,
        "profile": session.profile or None,
        "charger_transport": session.links[Side.CHARGE_POINT].transport,
        "csms_transport": session.links[Side.CENTRAL_SYSTEM].transport,
        "connected": session.connection is not None,
        "calls_in_flight": session.calls_in_flight,
    }


def _transaction(row: Transaction) -> dict[str, Any]:
    return {
        "charger": row.identity,
        "number": int(row.local_id),
        "remote_id": int(row.remote_id) if row.remote_id else None,
        "upstream": row.upstream or None,
        "provisional": bool(row.provisional),
        "connector_id": row.connector_id,
        "id_tag": row.id_tag,
        "meter_start": row.meter_start,
        "started": row.started,
        "stopped": row.stopped or None,
        "state": row.state,
    }


def _audited(row: AuditEntry) -> dict[str, Any]:
    try:
        details = json.loads(row.details) if row.details else None
    except ValueError:  # it was cut
        details = row.details
    return {
        "number": row.number,
        "time": date_time_text(row.happened, milliseconds=True),
        "who": row.who,
        "role": row.role,
        "source": row.source,
        "request": row.request,
        "charger": row.identity or None,
        "details": details,
        "status": row.status,
        "result": row.result,
    }


def _not_kept(identity: str, position: int) -> Refusal:
    return Refusal(
        404, "unsupported", f"no message of charge point {identity!r} waits at position {position}"
    )


def _unkept(problem: NotKept) -> Refusal:
    return Refusal(503, "internal", f"the store: {problem}")

"""What each charge point and its central system speak, and what that costs: the compatibility report.

What will be lost comes from the tables (``ocpp/compatibility.py``), what has been lost from the journal
(``operation/losses.py``), who there is from sessions, store and configuration.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wattbridge.ocpp.compatibility import Carried, answered_here, carried
from wattbridge.ocpp.local_answers import LocalAnswer
from wattbridge.ocpp.messages import Side
from wattbridge.ocpp.times import date_time_text
from wattbridge.operation.api import Refusal
from wattbridge.relay.routes import Heard
from wattbridge.relay.session import Session
from wattbridge.store.base import ChargePoint, NotKept, Store

if TYPE_CHECKING:
    from wattbridge.app import Gateway


LOOKED_AT = 500  # charge points in one go, when some of them are looked for


class Reports:
    """Reports on the charge points of *gateway*: those that have a session, those that *store* knows, and
    those that are listed. Everything is told in the words of the admin API's JSON.
    """

    def __init__(self, gateway: Gateway, store: Store, now: Callable[[], float] = time.time) -> None:
        self._gateway = gateway
        self._store = store
        self._now = now

    async def list_chargers(
        self, after: str, most: int, state: str = "", q: str = ""
    ) -> list[dict[str, Any]]:
        """One line of each, by identity: those in this *state*, with *q* in what is told of them.

        Raises Refusal when the store cannot be read.
        """
        found: list[dict[str, Any]] = []
        wanted = q.casefold()
        at_once = LOOKED_AT if state or q else most
        while True:
            known = await self._known(after, at_once, refused=True)
            for identity, row in known:
                if wanted and not self._may_have(wanted, identity, row):
                    continue
                told = self.listed(identity, row)
                if state in ("", told["state"]) and (not wanted or _has(told, wanted)):
                    found.append(told)
                    if len(found) == most:
                        return found
            if len(known) < at_once:
                return found
            after = known[-1][0]
            await asyncio.sleep(0)  # messages must not wait for a large fleet

    async def row(self, identity: str) -> ChargePoint:
        """What is remembered of one. Raises Refusal, also when nothing is known of it."""
        rows = await self._rows({"identity": identity}, "", 1)
        if not rows and not self._is_known(identity):
            raise Refusal(404, "unsupported", f"charge point {identity!r} is not known here")
        return rows[0] if rows else ChargePoint(identity)

    def listed(self, identity: str, row: ChargePoint) -> dict[str, Any]:
        """One line of the list."""
        told = self._charger(identity, row)
        session = self._gateway.registry.find(identity)
        spoke = self._now() - self._gateway.registry.silence(session) if session is not None else 0.0
        last = spoke or row.heard
        dialect = told["charger_dialect"]
        return {
            **told,
            "state": self._state(identity, session, row),
            "transport": dialect.partition(" ")[0] if dialect else None,
            "last_message": date_time_text(last, milliseconds=True) if last else None,
        }

    def report(self, identity: str, row: ChargePoint) -> dict[str, Any]:
        return self._report(identity, row)

    def _state(self, identity: str, session: Session | None, row: ChargePoint) -> str:
        if session is not None:
            return "stale" if self._gateway.registry.is_stale(session) else "connected"
        known = row.heard or row.dialect or identity in self._gateway.fleet.listed
        return "offline" if known else "unknown"

    def _is_known(self, identity: str) -> bool:
        return (
            identity in self._gateway.registry
            or identity in self._gateway.fleet.listed
            or any(problem.charger == identity for problem in self._gateway.problems.unknown())
        )

    def _may_have(self, wanted: str, identity: str, row: ChargePoint) -> bool:
        """Whether it is worth looking closer: most of a large fleet is not."""
        if identity in self._gateway.registry or wanted in identity.casefold():
            return True
        return (
            row.vendor is None
            or any(wanted in (text or "").casefold() for text in (row.dialect, row.vendor, row.model))
            or self._names_a_way(wanted)
        )

    def _names_a_way(self, wanted: str) -> bool:
        config = self._gateway.config
        names = [*config.upstreams, *(route.name for route in config.routes)]
        return any(wanted in name.casefold() for name in names)

    async def list_reports(self, after: str, most: int) -> list[dict[str, Any]]:
        """A report of each, by identity. Raises Refusal likewise."""
        return [self._report(identity, row) for identity, row in await self._known(after, most)]

    async def show(self, identity: str) -> dict[str, Any]:
        """The report of one. Raises Refusal, also when nothing is known of it."""
        rows = await self._rows({"identity": identity}, "", 1)
        if not rows and identity not in self._gateway.registry and identity not in self._gateway.fleet.listed:
            raise Refusal(404, "unsupported", f"charge point {identity!r} is not known here")
        return self._report(identity, rows[0] if rows else ChargePoint(identity))

    async def _known(self, after: str, most: int, *, refused: bool = False) -> list[tuple[str, ChargePoint]]:
        """Those that are known, and on demand those that were *refused* because they are not."""
        rows = {row.identity: row for row in await self._rows({}, after, most)}
        gateway = self._gateway
        others = [*gateway.registry.identities(), *gateway.fleet.listed]
        if refused:
            others += [problem.charger for problem in gateway.problems.unknown() if problem.charger]
        identities = sorted({*rows, *(identity for identity in others if identity > after)})[:most]
        return [(identity, rows.get(identity) or ChargePoint(identity)) for identity in identities]

    async def _rows(self, where: dict[str, str], after: str, most: int) -> list[ChargePoint]:
        try:
            return await self._store.find(ChargePoint, where, after=(after,) if after else (), limit=most)
        except NotKept as problem:
            raise Refusal(503, "internal", f"the store: {problem}") from None

    def _charger(self, identity: str, row: ChargePoint) -> dict[str, Any]:
        session = self._gateway.registry.find(identity)
        heard = self._gateway.registry.heard_of(identity) or _heard(row)
        route, upstream = self._way(session, heard)
        return {
            "charger": identity,
            "charger_dialect": _dialect_of_charge_point(session) or row.dialect or None,
            "vendor": heard.vendor or row.vendor or None,
            "model": heard.model or row.model or None,
            "firmware": heard.firmware or row.firmware or None,
            "profile": _profile_of(session),
            "route": route,
            "upstream": upstream or None,
            "csms_dialect": self._dialect_of_central_system(session, upstream),
            "session": session is not None,
            "heard": _moment(row.heard),
            "losses": sum(lost.count for lost in self._gateway.losses.of(identity)),
        }

    def _report(self, identity: str, row: ChargePoint) -> dict[str, Any]:
        told = self._charger(identity, row)
        charge_point, central_system = told["charger_dialect"], told["csms_dialect"]
        told["as_is"] = False
        ways: dict[str, Any] = {name: [] for name in (*_TOWARDS.values(), *_ANSWERED.values())}
        if charge_point and central_system:
            told["as_is"] = _passes(self._gateway.registry.find(identity), charge_point, central_system)
            for side in Side:
                if not told["as_is"]:
                    ways[_TOWARDS[side]] = list(map(_carried, carried(charge_point, central_system, side)))
                ways[_ANSWERED[side]] = list(map(_answer, answered_here(charge_point, central_system, side)))
        return {
            **told,
            **ways,
            "lost": [
                {"rule": lost.rule, "path": lost.path, "count": lost.count, "last": _moment(lost.last)}
                for lost in self._gateway.losses.of(identity)
            ],
            "lost_since": _moment(self._gateway.losses.since),
        }

    def _way(self, session: Session | None, heard: Heard) -> tuple[str, str]:
        """Route and central system: those of the session, or those it would take now."""
        if session is not None:
            return session.route, session.upstream
        route = self._gateway.fleet.route_of(heard)
        return route.name, route.upstream or ""

    def _dialect_of_central_system(self, session: Session | None, upstream: str) -> str | None:
        if not upstream:
            return None
        link = session.links[Side.CENTRAL_SYSTEM] if session is not None else None
        if link is not None and link.transport:
            return f"{link.transport} {link.version}"
        section = self._gateway.config.upstreams.get(upstream)
        if section is None:  # another configuration has been read since, which does not have it
            return None
        return "json 1.6" if section.protocol == "ocpp-json" else f"soap {section.soap.ocpp}"


_TOWARDS = {Side.CENTRAL_SYSTEM: "towards_csms", Side.CHARGE_POINT: "towards_charger"}
_ANSWERED = {Side.CHARGE_POINT: "answered_for_charger", Side.CENTRAL_SYSTEM: "answered_for_csms"}


def _profile_of(session: Session | None) -> str | None:
    """The vendor profile of a charge point, as its session names it."""
    return (session.profile or None) if session is not None else None


def _dialect_of_charge_point(session: Session | None) -> str:
    link = session.links[Side.CHARGE_POINT] if session is not None else None
    return f"{link.transport} {link.version}" if link is not None and link.transport else ""


def _passes(session: Session | None, charge_point: str, central_system: str) -> bool:
    """Whether messages pass as they are. Of one that is not there it is known only by what both speak."""
    if charge_point != central_system:
        return False
    if session is None or not _dialect_of_charge_point(session):
        return True
    return session.passes(Side.CHARGE_POINT, session.links[Side.CHARGE_POINT].form)


def _heard(row: ChargePoint) -> Heard:
    return Heard(
        row.identity, row.source, row.listener, vendor=row.vendor, model=row.model, firmware=row.firmware
    )


def _carried(one: Carried) -> dict[str, str]:
    return {"path": one.path, "effect": one.effect, "said": one.said, "source": one.source}


def _answer(row: LocalAnswer) -> dict[str, str]:
    return {"action": row.action, "said": row.said, "source": row.source}


def _has(told: dict[str, Any], wanted: str) -> bool:
    names = ("charger", "charger_dialect", "vendor", "model", "route", "upstream")
    return any(wanted in (told[name] or "").casefold() for name in names)


def _moment(seconds: float) -> str | None:
    return date_time_text(seconds) if seconds else None

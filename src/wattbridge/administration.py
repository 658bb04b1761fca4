"""What the admin API can ask of a running gateway, in the words of its JSON."""

from __future__ import annotations

import time
from dataclasses import fields
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from wattbridge.config import Problem
from wattbridge.ocpp.messages import Side
from wattbridge.operation.api import Refusal
from wattbridge.relay.routes import Heard, Route
from wattbridge.relay.session import Session
from wattbridge.reloading import CannotReload, Reloaded, Reloader

if TYPE_CHECKING:
    from wattbridge.app import Gateway

_ASKED = {"charger": "identity"} | {
    name: name for name in ("source", "listener", "vendor", "model", "firmware", "known")
}


class Administration:
    """Answers for *gateway*, whose configuration *reloader* reads."""

    def __init__(self, gateway: Gateway, reloader: Reloader) -> None:
        self.reloader = reloader
        self._gateway = gateway
        self._began = time.monotonic()

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
        return [_route(route) for route in self._gateway.fleet.routes.routes]

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
        heard = Heard(**{_ASKED[name]: value for name, value in asked.items()})
        if "known" not in asked:
            heard = fleet.known(heard)
        explained = fleet.routes.explain(heard)
        chosen = explained[-1][0]
        return {
            **_route(chosen),
            "known_as": chosen.known_as(heard.identity),
            "passed_over": [{"name": route.name, "why_not": why} for route, why in explained[:-1]],
        }

    def list_sessions(self, after: str, most: int) -> list[dict[str, Any]]:
        sessions = sorted(self._gateway.registry.sessions(), key=lambda session: session.identity)
        return [_session(session) for session in sessions if session.identity > after][:most]

    def move(self, identity: str) -> dict[str, Any]:
        gateway = self._gateway
        session = gateway.registry.find(identity)
        if session is None:
            raise Refusal(404, "not_connected", f"charge point {identity!r} has no session")
        moved = gateway.registry.move(session, gateway.fleet.leads)
        return {**_session(session), "moved": moved}


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
        "charger_transport": session.links[Side.CHARGE_POINT].transport,
        "csms_transport": session.links[Side.CENTRAL_SYSTEM].transport,
        "connected": session.connection is not None,
        "calls_in_flight": session.calls_in_flight,
    }

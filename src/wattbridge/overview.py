"""How the gateway is doing, in the words of the admin API's JSON: the first page of the console, and the
lists of what there is besides charge points.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wattbridge.config import Product
from wattbridge.config.profiles import built_in_names
from wattbridge.links import tls
from wattbridge.observing import certificate_files
from wattbridge.ocpp.messages import Side
from wattbridge.ocpp.times import date_time_text
from wattbridge.operating import lines_that_list
from wattbridge.operation.exchanges import NO_PROTOCOL, PROTOCOLS
from wattbridge.operation.problems import CAUSES, Problem

if TYPE_CHECKING:
    from wattbridge.app import Gateway

SOON = 21  # days that a certificate is still valid, and somebody should know
MOST_UNKNOWN = 50  # charge points that nobody knows, on the first page
LATELY = 3600.0  # seconds for which a problem that does not come again needs attention
# Problems of single charge points that the first page counts; the others are on a page of their own.
COUNTED = (
    "tls",
    "no-callback",
    "callback-not-allowed",
    "html-instead-of-soap",
    "connect-rate",
    "wrong-password",
    "clock-skew",
)


class Overview:
    """What there is to see of *gateway*; *now* is in seconds since the epoch."""

    def __init__(self, gateway: Gateway, now: Callable[[], float] = time.time) -> None:
        self._gateway = gateway
        self._now = now

    async def show(self, info: dict[str, Any]) -> dict[str, Any]:
        gateway = self._gateway
        deliveries, rates = gateway.deliveries, gateway.rates
        oldest = deliveries.oldest
        waited = max(0.0, deliveries.now() - oldest) if oldest is not None else 0.0
        certificates = await self.list_certificates()
        return {
            "name": info["name"],
            "version": info["version"],
            "uptime_seconds": info["uptime_seconds"],
            "ready": not gateway.not_ready_because,
            "not_ready_because": gateway.not_ready_because,
            "draining": gateway.draining,
            "chargers": self._present(),
            "offline": sum(identity not in gateway.registry for identity in gateway.fleet.listed),
            "unknown": [_unknown(problem) for problem in gateway.problems.unknown()[:MOST_UNKNOWN]],
            "calls": {
                "per_second": {
                    "to_csms": rates.per_second(Side.CHARGE_POINT),
                    "to_charger": rates.per_second(Side.CENTRAL_SYSTEM),
                },
                "spark": rates.spark(),
                "failures": rates.failures(),
            },
            "upstreams": [self._upstream(name) for name in gateway.config.upstreams],
            "queue": {
                "waiting": deliveries.waiting.messages,
                "parked": deliveries.parked,
                "oldest_seconds": round(waited, 3),
            },
            "open_transactions": deliveries.open_transactions,
            "certificates": [
                {name: value for name, value in one.items() if name != "file"} for one in certificates
            ],
            "attention": list(self._attention(certificates)),
        }

    def list_listeners(self) -> list[dict[str, Any]]:
        return [
            {
                "listener": name,
                "bind": str(door.section.bind),
                "protocol": door.section.protocol,
                "versions": list(door.section.versions),
                "paths": list(door.section.paths),
                "tls": door.section.tls is not None,
                "soap": door.address,
                "websocket": door.websocket_address,
                "connections": door.open,
                "most_connections": door.section.limits.connections,
            }
            for name, door in self._gateway.doors.items()
        ]

    def list_upstreams(self) -> list[dict[str, Any]]:
        return [self.show_upstream(name) for name in self._gateway.config.upstreams]

    def show_upstream(self, name: str) -> dict[str, Any]:
        config = self._gateway.config
        return {
            **self._upstream(name),
            "url": config.upstreams[name].url.partition("?")[0],
            "routes": [
                route.name
                for route in config.routes
                if name in (route.upstream, route.fallback, *route.mirror)
            ],
        }

    def list_profiles(self) -> list[dict[str, Any]]:
        profiles = self._gateway.fleet.profiles
        used = Counter(session.profile for session in self._gateway.registry.sessions())
        return [
            {
                "profile": name,
                "built_in": name not in self._gateway.config.profiles and name in built_in_names(),
                "products": [_product(product) for product in profiles.named(name).section.products],
                "sessions": used[name],
            }
            for name in profiles.names()
        ]

    async def list_certificates(self) -> list[dict[str, Any]]:
        """Those of the configuration, the one that ends first first."""
        files = list(certificate_files(self._gateway.config))
        found = await asyncio.to_thread(lambda: [_certificate(*each) for each in files])
        now = datetime.fromtimestamp(self._now(), UTC)
        told = [
            {
                "name": name,
                "not_after": date_time_text(ends.timestamp(), milliseconds=True) if ends else None,
                "days_left": (ends - now).days if ends else None,
                "file": file,
            }
            for name, file, ends in found
        ]
        return sorted(told, key=lambda one: (one["days_left"] is not None, one["days_left"]))

    def list_problems(self, charger: str) -> list[dict[str, Any]]:
        problems = self._gateway.problems
        return [_problem(problem) for problem in (problems.of(charger) if charger else problems.all())]

    # --- its parts ---

    def _present(self) -> dict[str, dict[str, int]]:
        """Those with a session, by what they speak; what nobody has spoken is not named."""
        registry = self._gateway.registry
        counted: dict[str, dict[str, int]] = {}
        for session in registry.sessions():
            link = session.links[Side.CHARGE_POINT]
            protocol = PROTOCOLS.get((link.transport, link.version), NO_PROTOCOL)
            state = "stale" if registry.is_stale(session) else "connected"
            counted.setdefault(protocol, {"connected": 0, "stale": 0})[state] += 1
        return dict(sorted(counted.items()))

    def _upstream(self, name: str) -> dict[str, Any]:
        counts, section = self._gateway.counts, self._gateway.config.upstreams[name]
        sessions = {state: counts.links[name, state] for state in ("open", "connecting", "backoff")}
        turned, state = counts.turned.get(name), self._gateway.duties.of(name).state
        up = sessions["open"] > 0 if any(sessions.values()) else None
        spoken = "ocpp1.6-json" if section.protocol == "ocpp-json" else f"ocpp{section.soap.ocpp}-soap"
        return {
            "upstream": name,
            "protocol": spoken,
            "up": False if state == "maint" else up,
            "state": state,
            "sessions": sessions,
            "since": date_time_text(turned, milliseconds=True) if turned is not None else None,
        }

    def _attention(self, certificates: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
        gateway = self._gateway
        for why in gateway.not_ready_because:
            yield _attend("not-ready", why, "The log says more; charge points get no answer meanwhile.", "/")
        failed = gateway.problems.reload_failed
        if failed:
            fix = "Correct the file; `wattbridge reload --check` says what is wrong with it."
            yield _attend("reload-failed", failed, fix, "/config")
        for one in certificates:
            days = one["days_left"]
            if days is not None and days < SOON:
                said = f"ends in {days} days" if days >= 0 else "has ended"
                fix = f"Renew {one['file']}; a new file is taken over by itself."
                yield _attend("certificate", f"The certificate {one['name']} {said}.", fix, "/config")
        for name in gateway.config.upstreams:
            state, duty = self._upstream(name), gateway.duties.of(name)
            if duty.since is not None and not duty.is_ready:
                since = date_time_text(duty.since, milliseconds=True)
                text = f"Central system {name} {duty.why} since {since}."
                fix = f"When it may be used again: `wattbridge upstreams ready {name}`."
                yield _attend("csms-out-of-service", text, fix, "/routes")
            elif state["up"] is False:
                since = f" since {state['since']}" if state["since"] else ""
                text = f"No charge point reaches central system {name}{since}."
                yield _attend("csms-unreachable", text, CAUSES["csms-unreachable"].fix, "/problems")
        if gateway.deliveries.parked:
            text = f"Kept messages that their central system refuses: {gateway.deliveries.parked}."
            yield _attend("message-parked", text, CAUSES["message-parked"].fix, "/problems")
        unknown = gateway.problems.unknown()
        if unknown:
            text = f"Charge points that want in and are not known: {len(unknown)}."
            yield _attend("unknown-charger", text, CAUSES["unknown-charger"].fix, "/chargers?state=unknown")
        begin = self._now() - LATELY
        lately = Counter(
            problem.kind
            for problem in gateway.problems.all()
            if problem.last >= begin and problem.passed is None
        )
        for kind in COUNTED:
            if lately[kind]:
                text = f"{CAUSES[kind].text} In the last hour: {lately[kind]}."
                yield _attend(kind, text, CAUSES[kind].fix, "/problems")


def _attend(kind: str, text: str, fix: str, link: str) -> dict[str, str]:
    return {"kind": kind, "text": text, "fix": fix, "link": link}


def _unknown(problem: Problem) -> dict[str, Any]:
    return {
        "charger": problem.charger,
        "source": problem.source,
        "listener": problem.listener,
        "last": date_time_text(problem.last, milliseconds=True),
        "count": problem.count,
        "line": lines_that_list(problem.charger).partition("\n")[2].strip(),
    }


def _problem(problem: Problem) -> dict[str, Any]:
    cause = CAUSES[problem.kind]
    return {
        "kind": problem.kind,
        "charger": problem.only or None,
        "chargers": len(problem.met_by) or (1 if problem.charger else 0),
        "upstream": problem.upstream or None,
        "source": problem.source or None,
        "listener": problem.listener or None,
        "reason": problem.reason,
        "first": date_time_text(problem.first, milliseconds=True),
        "last": date_time_text(problem.last, milliseconds=True),
        "passed": date_time_text(problem.passed, milliseconds=True) if problem.passed is not None else None,
        "count": problem.count,
        "text": cause.text,
        "said": problem.text,
        "fix": cause.fix,
        "guide": f"guides/troubleshooting.md#{cause.guide}" if cause.guide else None,
        "link": problem.link,
    }


def _product(product: Product) -> str:
    words = [
        " or ".join(word or "(none)" for word in words)
        for words in (product.vendor, product.model)
        if words is not None
    ]
    return " ".join(words)


def _certificate(name: str, file: Path) -> tuple[str, str, datetime | None]:
    try:
        return name, str(file), datetime.fromtimestamp(tls.expires(file), UTC)
    except (OSError, ValueError):
        return name, str(file), None

"""``wattbridge check --connect``: every central system as a charge point would reach it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TextIO
from urllib.parse import quote

from wattbridge.config import Config
from wattbridge.links.central_system_json import CentralSystem
from wattbridge.links.trying import Step, Target, try_central_system
from wattbridge.relay.routes import Heard, Route, Routes
from wattbridge.routing import routes_of

NOBODY = "wattbridge-check"  # the identity when no charge point is listed


@dataclass(frozen=True, slots=True)
class Tried:
    """What was seen of one central system. ``identity`` is the charge point that was tried with, ``known_as``
    what the central system calls it.
    """

    upstream: str
    identity: str
    known_as: str
    steps: list[Step]


def try_central_systems(config: Config, identity: str | None) -> list[Tried]:
    """Try all central systems at the same time, each with *identity* or a listed charge point of its own."""
    routes = routes_of(config)
    wanted = [(name, *_somebody_for(name, config, routes, identity)) for name in config.upstreams]

    async def try_all() -> list[Tried]:
        async with asyncio.TaskGroup() as tasks:
            trying = [
                tasks.create_task(try_central_system(_target(config, name, identity, known_as)))
                for name, identity, known_as in wanted
            ]
        return [
            Tried(name, identity, known_as, task.result())
            for (name, identity, known_as), task in zip(wanted, trying, strict=True)
        ]

    return asyncio.run(try_all())


def write_tried(tried: Sequence[Tried], out: TextIO) -> None:
    """One line for whom was asked and as whom, and one for each step."""
    for one in tried:
        name = f" (known there as {one.known_as})" if one.known_as != one.identity else ""
        out.write(f"{one.upstream}: tried as charge point {one.identity}{name}\n")
        for step in one.steps:
            verdict = "" if step.verdict == "ok" else f"{step.verdict}: "
            out.write(f"{one.upstream}: {step.name}: {verdict}{step.text}\n")


def _somebody_for(upstream: str, config: Config, routes: Routes, identity: str | None) -> tuple[str, str]:
    """Who tries a central system, and what it is called there: whoever is wanted, else the first listed
    charge point that belongs there, else the first listed one.
    """
    for candidate in [identity] if identity else config.chargers:
        route = routes.choose(Heard(candidate, known=candidate in config.chargers))
        if upstream in _reached_by(route):
            return candidate, route.known_as(candidate)
    somebody = identity or next(iter(config.chargers), NOBODY)
    return somebody, somebody


def _reached_by(route: Route) -> tuple[str | None, ...]:
    return (route.upstream, route.fallback, *route.mirrors)


def _target(config: Config, name: str, identity: str, known_as: str) -> Target:
    section = config.upstreams[name]
    basic = section.auth.basic if section.auth else None
    known = config.chargers.get(identity)
    secret = (known and known.upstream_password) or (basic and basic.password) if basic else None
    if section.protocol == "ocpp-json":
        url = CentralSystem(section.url, name).url_of(known_as)
    else:
        url = section.url.replace("{charger}", quote(known_as, safe=""))
    return Target(
        url,
        username=basic.username.replace("{charger}", known_as) if basic else "",
        password=secret.get_secret_value().encode() if secret else None,
        subprotocol=section.subprotocol,
        user_agent=f"wattbridge/{version('wattbridge')}",
        timeout=section.connect.timeout,
        ca=section.tls.ca,
        verify=section.tls.verify,
        certificate=section.tls.certificate,
        key=section.tls.key,
    )

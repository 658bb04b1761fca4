"""``wattbridge routes``: which charge point goes where, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, TextIO

from wattbridge.cli.check import write_problems
from wattbridge.config import Config, ConfigErrors, load
from wattbridge.config.values import shorten, suggest, write_duration
from wattbridge.relay.routes import Heard, Route
from wattbridge.routing import lets_in, routes_of


def list_routes(
    file: str | None, overrides: Sequence[str], *, as_json: bool, out: TextIO, err: TextIO
) -> int:
    """Returns 2 when the configuration cannot be used, else 0."""
    config = _load(file, overrides, err)
    if config is None:
        return 2
    routes = routes_of(config).routes
    if as_json:
        report = [{**_report(route), "conditions": list(map(str, route.conditions))} for route in routes]
        out.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        return 0
    for route in routes:
        out.write(f"{route.name}: {' and '.join(map(str, route.conditions)) or 'any charge point'}\n")
        out.writelines(f"  {line}\n" for line in _destination(route))
    return 0


def tell_route(
    file: str | None,
    overrides: Sequence[str],
    heard: Heard,
    *,
    unknown: bool,
    as_json: bool,
    out: TextIO,
    err: TextIO,
) -> int:
    """Say which route is chosen for a charge point. It is known when it is listed, unless *unknown*.

    Returns 0 when it is carried to a central system, 1 when it is turned away, and 2 when the configuration
    cannot be used.
    """
    config = _load(file, overrides, err)
    if config is None:
        return 2
    if heard.listener and heard.listener not in config.listeners:
        hint = suggest(heard.listener, config.listeners) or f" (there is {', '.join(config.listeners)})"
        err.write(f"--listener: no listener {shorten(heard.listener)}{hint}\n")
        return 2
    heard = replace(heard, known=heard.identity in config.chargers and not unknown)
    routes = routes_of(config)
    explained = routes.explain(heard)
    [*others, (route, _)] = explained
    let_in = lets_in(config, routes, heard)
    if as_json:
        report = {
            "identity": heard.identity,
            "known": heard.known,
            "let_in": let_in,
            **_report(route),
            "known_as": route.known_as(heard.identity),
            "not_chosen": [{"name": other.name, "reason": reason} for other, reason in others],
        }
        out.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    else:
        out.write(f"{heard.identity} takes route {route.name}\n")
        out.writelines(f"  {line}\n" for line in _destination(route))
        if route.rewrite:
            out.write(f"  its central system knows it as {route.known_as(heard.identity)}\n")
        if not let_in:
            out.write("  but it is refused: it is not under chargers, and gateway.unknown is refuse\n")
        out.writelines(f"not {other.name}: {reason}\n" for other, reason in others)
    return 0 if let_in and route.upstream else 1


def _load(file: str | None, overrides: Sequence[str], err: TextIO) -> Config | None:
    try:
        loaded = load(file, overrides=overrides)
    except ConfigErrors as errors:
        write_problems(errors.problems, err)
        return None
    return loaded.config


def _destination(route: Route) -> list[str]:
    """What becomes of a charge point there, in sentences."""
    if route.reject:
        status, interval = route.reject.boot_status, write_duration(route.reject.interval)
        return [f"turned away: {status} for {interval} to BootNotification, {route.reject.error} to the rest"]
    lines = [f"to {route.upstream}"]
    if route.fallback:
        after, back = write_duration(route.failover_after), write_duration(route.failover_back_after)
        lines.append(f"to {route.fallback} after {after} without it; back when it was there for {back}")
    if route.mirrors:
        lines.append(f"a copy to {', '.join(route.mirrors)}")
    return lines


def _report(route: Route) -> dict[str, Any]:
    return {
        "route": route.name,
        "upstream": route.upstream,
        "reject": asdict(route.reject) if route.reject else None,
        "fallback": route.fallback,
        "mirrors": list(route.mirrors),
    }

"""What is wrong or doubtful in a configuration: errors of the models in words an operator understands, what
sections say against each other, and what works but is rarely meant.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import ValidationError

from wattbridge.config import values
from wattbridge.config.kinds import SecretKind
from wattbridge.config.models import Config, Metrics, Shape, Tls, Upstream, child_shape, shape_at
from wattbridge.config.tree import Loc, spell
from wattbridge.config.values import Bind, describe, shorten, suggest


@dataclass(frozen=True, slots=True)
class Finding:
    loc: Loc
    message: str
    severity: Literal["error", "warning"] = "error"


def findings_of(error: ValidationError) -> Iterator[Finding]:
    for item in error.errors(include_url=False):
        loc: Loc = item["loc"]
        if loc and loc[-1] == "[key]":
            loc = loc[:-1]
        yield Finding(loc, _message(item["type"], loc, item))


def _message(kind: str, loc: Loc, item: Any) -> str:
    match kind:
        case "value_error":
            return str(item["ctx"]["error"])
        case "extra_forbidden":
            return _unknown_key(loc)
        case "missing":
            section = shape_at(loc[:-1])
            assert isinstance(section, type)
            description = section.model_fields[str(loc[-1])].description or ""
            return f"is missing ({_first_sentence(description)})"
        case "too_short":
            return "is empty: at least one is needed"
        case "model_type" | "mapping_type" | "dict_type":
            return f"expected a mapping, found {describe(item['input'])}"
        case "tuple_type" | "list_type":
            text = item["input"]
            hint = f": write [{text}]" if isinstance(text, str) and text.isprintable() else ""
            return f"expected a list, found {describe(text)}{hint}"
        case _:
            return str(item["msg"])


def _first_sentence(description: str) -> str:
    sentence = re.split(r"[.:;](?: |$)", description, maxsplit=1)[0]
    return sentence[:1].lower() + sentence[1:]


def _unknown_key(loc: Loc) -> str:
    section = shape_at(loc[:-1])
    known = list(section.model_fields) if isinstance(section, type) else []
    hint = suggest(str(loc[-1]), known)
    return f"unknown key{hint}" if hint else f"unknown key: expected {', '.join(known)}"


def contradictions(data: dict[str, Any]) -> Iterator[Finding]:
    """What is wrong between sections. Looks at the texts, so that it can be told beside other errors."""
    yield from _wrong_routes(data)
    yield from _clashing_binds(data)


def _wrong_routes(data: dict[str, Any]) -> Iterator[Finding]:
    upstreams = _entries(data, "upstreams")
    routes = data.get("routes")
    if not routes:
        if len(upstreams) > 1:
            names = ", ".join(map(shorten, upstreams))
            yield Finding(("routes",), f"is missing: which charge points belong to which of {names}?")
        return
    if not isinstance(routes, list):
        return
    names_seen: dict[str, int] = {}
    catch_all: int | None = None
    for index, route in enumerate(routes):
        if not isinstance(route, dict):
            continue
        upstream, name = route.get("upstream"), route.get("name")
        if isinstance(upstream, str) and upstreams and upstream not in upstreams:
            message = f"no upstream {shorten(upstream)}"
            message += suggest(upstream, upstreams) or f" (there is {', '.join(map(shorten, upstreams))})"
            yield Finding(("routes", index, "upstream"), message)
        if isinstance(name, str):
            if name in names_seen:
                message = f"{shorten(name)} is already the name of routes.{names_seen[name]}"
                yield Finding(("routes", index, "name"), message)
            names_seen.setdefault(name, index)
        if catch_all is not None:
            message = f"is never reached: routes.{catch_all} matches every charge point"
            yield Finding(("routes", index), message, "warning")
        elif _matches_everything(route.get("match")):
            catch_all = index
    if catch_all is None and isinstance(routes[-1], dict) and "match" in routes[-1]:
        message = "the last route must match every charge point: write any"
        yield Finding(("routes", len(routes) - 1, "match"), message)


def _matches_everything(match: Any) -> bool:
    if isinstance(match, dict):
        globs = match.get("charger")
        return isinstance(globs, list) and "*" in globs
    return bool(match == "any")


def _clashing_binds(data: dict[str, Any]) -> Iterator[Finding]:
    taken: list[tuple[Loc, Bind]] = []
    metrics = _entries(data, "metrics").get("bind") or str(Metrics().bind)
    listeners = _entries(data, "listeners").items()
    texts: list[tuple[Loc, Any]] = [
        (("listeners", name, "bind"), listener.get("bind"))
        for name, listener in listeners
        if isinstance(listener, dict)
    ]
    for loc, text in [*texts, (("metrics", "bind"), metrics)]:
        try:
            bind = values.read_bind(text if isinstance(text, str) else "")
        except ValueError:
            continue
        for other_loc, other in taken:
            if bind.overlaps(other):
                yield Finding(loc, f"{bind} is taken already: {spell(other_loc)} is {other}")
                break
        taken.append((loc, bind))


def _entries(data: dict[str, Any], key: str) -> dict[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}


def doubts(config: Config) -> Iterator[Finding]:
    """What works, but rarely as meant."""
    if config.gateway.unknown == "refuse" and not config.chargers:
        yield _warning(
            ("gateway", "unknown"),
            "every charge point is refused: none is listed under chargers (or write accept)",
        )
    for name, listener in config.listeners.items():
        if config.gateway.unknown == "accept" and not listener.allow and not _loopback(listener.bind.host):
            yield _warning(
                ("listeners", name, "allow"),
                "is empty while unknown charge points are accepted: whoever reaches this address can speak "
                "as any charge point",
            )
    used = {route.upstream for route in config.routes}
    for name, upstream in config.upstreams.items():
        yield from _upstream_doubts(name, upstream, config)
        if name not in used:
            yield _warning(("upstreams", name), "no route leads here")
    for index, network in enumerate(config.callbacks.networks):
        if network.prefixlen == 0:
            yield _warning(
                ("callbacks", "networks", index),
                f"{network} lets a charge point have the gateway call any address there is",
            )


def _upstream_doubts(name: str, upstream: Upstream, config: Config) -> Iterator[Finding]:
    loc: Loc = ("upstreams", name)
    parts = urlsplit(upstream.url)
    basic = upstream.auth.basic if upstream.auth else None
    if parts.scheme.lower() == "ws":
        if basic and not _loopback(parts.hostname or ""):
            yield _warning((*loc, "url"), "the password travels unencrypted: use wss://")
        if "tls" in upstream.model_fields_set and upstream.tls != Tls():
            yield _warning((*loc, "tls"), "is not used: the URL starts with ws://")
    elif not upstream.tls.verify:
        yield _warning((*loc, "tls", "verify"), "anybody can pose as this central system")
    if basic and "{charger}" in basic.username:
        for identity in config.chargers:
            if ":" in identity:
                yield _warning(
                    ("chargers", identity),
                    f"has a colon, so HTTP Basic authentication at {name} fails (RFC 7617, 2)",
                )


def literal_secrets(data: dict[str, Any]) -> Iterator[Finding]:
    def search(value: Any, shape: Shape | None, loc: Loc) -> Iterator[Finding]:
        if isinstance(shape, SecretKind) and isinstance(value, str):
            yield _warning(loc, "a secret stands in the file: write {env: NAME} or {file: path}")
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from search(inner, child_shape(shape, key), (*loc, key))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                yield from search(inner, child_shape(shape, index), (*loc, index))

    yield from search(data, Config, ())


def _warning(loc: Loc, message: str) -> Finding:
    return Finding(loc, message, "warning")


def _loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""What is wrong or doubtful in a configuration: errors of the models in words an operator understands, what
sections say against each other, and what works but is rarely meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import ValidationError

from wattbridge.config import values
from wattbridge.config.kinds import SecretKind
from wattbridge.config.models import (
    Admin,
    Config,
    Failover,
    Identity,
    Listener,
    Match,
    Metrics,
    Route,
    Shape,
    Soap,
    Tls,
    Upstream,
    child_shape,
    keys_of,
    shape_at,
)
from wattbridge.config.profiles import NONE, built_in_names, known_names, misfits, parent_of
from wattbridge.config.tree import Loc, spell
from wattbridge.config.values import Bind, comparisons_of, describe, is_loopback, shorten, suggest


@dataclass(frozen=True, slots=True)
class Finding:
    loc: Loc
    message: str
    severity: Literal["error", "warning"] = "error"


def findings_of(error: ValidationError, inside: Loc = ()) -> Iterator[Finding]:
    """What is wrong, in words; *inside* is where in a configuration what was read would stand."""
    for item in error.errors(include_url=False):
        if item["type"] == "default_factory_not_called":  # what it depends on is wrong, and told
            continue
        loc: Loc = item["loc"]
        if loc and loc[-1] == "[key]":
            loc = loc[:-1]
        yield Finding(loc, _message(item["type"], (*inside, *loc), item))


def _message(kind: str, loc: Loc, item: Any) -> str:
    match kind:
        case "value_error":
            return str(item["ctx"]["error"])
        case "extra_forbidden":
            return _unknown_key(loc)
        case "missing":
            section = shape_at(loc[:-1])
            assert isinstance(section, type)
            description = keys_of(section)[str(loc[-1])].description or ""
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
    known = list(keys_of(section)) if isinstance(section, type) else []
    hint = suggest(str(loc[-1]), known)
    return f"unknown key{hint}" if hint else f"unknown key: expected {', '.join(known)}"


def contradictions(data: dict[str, Any]) -> Iterator[Finding]:
    """What is wrong between sections. Looks at the texts, so that it can be told beside other errors."""
    yield from _wrong_routes(data)
    yield from _clashing_binds(data)
    yield from _wrong_listeners(data)
    yield from _wrong_callbacks(data)
    yield from _wrong_profiles(data)


def _wrong_profiles(data: dict[str, Any]) -> Iterator[Finding]:
    """Names of profiles that are not there, and profiles that extend each other in a circle."""
    own = _entries(data, "profiles")
    known = dict.fromkeys(known_names(own))
    routes = data.get("routes")
    users: list[tuple[Loc, Any]] = [
        *((("chargers", name), charger) for name, charger in _entries(data, "chargers").items()),
        *(
            (("routes", index), route)
            for index, route in enumerate(routes if isinstance(routes, list) else ())
        ),
    ]
    for loc, user in users:
        name = user.get("profile") if isinstance(user, dict) else None
        if name != NONE:
            yield from _unknown_name(name, "profile", known, (*loc, "profile"))
    for name, profile in own.items():
        if name == NONE:
            yield Finding(("profiles", name), "is the name of no profile at all: choose another")
        extends = profile.get("extends") if isinstance(profile, dict) else None
        loc = ("profiles", name, "extends")
        if not isinstance(extends, str):
            continue
        if extends == name and name not in built_in_names():
            yield Finding(loc, f"{shorten(name)} extends itself")
        elif extends not in known:
            yield from _unknown_name(extends, "profile", known, loc)
        else:
            circle = _circle(name, own)
            if circle:
                yield Finding(loc, f"extends itself: {' → '.join(circle)}")


def _circle(name: str, own: dict[str, Any]) -> list[str]:
    """The profiles from *name* back to *name*; nothing when it does not come back."""
    way, here = [name], name
    while True:
        profile = own.get(here)
        extends = profile.get("extends") if isinstance(profile, dict) else None
        if not isinstance(extends, str) or not parent_of(here, extends, own)[1]:
            return []
        here = extends
        if here in way:
            return [*way, here] if here == name else []
        way.append(here)


def wrong_rules(config: Config) -> Iterator[Finding]:
    """Rules of profiles that do not fit the messages of OCPP, and profiles that have another name inside."""
    for name, profile in config.profiles.items():
        loc: Loc = ("profiles", name)
        if profile.name not in (None, name):
            yield Finding((*loc, "name"), f"is {shorten(profile.name or '')}, but the key is {shorten(name)}")
        for misfit in misfits(profile):
            yield Finding((*loc, *misfit.loc), misfit.problem)


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
    earlier: list[tuple[int, Any]] = []
    for index, route in enumerate(routes):
        if not isinstance(route, dict):
            continue
        yield from _wrong_names(data, route, ("routes", index))
        name, match = route.get("name"), route.get("match")
        if isinstance(name, str):
            if name in names_seen:
                message = f"{shorten(name)} is already the name of routes.{names_seen[name]}"
                yield Finding(("routes", index, "name"), message)
            names_seen.setdefault(name, index)
        wider = next((other for other, theirs in earlier if _covers(theirs, match)), None)
        if wider is not None:
            whom = "every charge point" if _matches_everything(routes[wider].get("match")) else "all of these"
            message = f"is never reached: routes.{wider} matches {whom}"
            yield Finding(("routes", index), message, "warning")
        else:
            earlier.append((index, match))
    all_matched = any(_matches_everything(match) for _, match in earlier)
    if not all_matched and isinstance(routes[-1], dict) and "match" in routes[-1]:
        message = "the last route must match every charge point: write any"
        yield Finding(("routes", len(routes) - 1, "match"), message)


def _wrong_names(data: dict[str, Any], route: dict[str, Any], loc: Loc) -> Iterator[Finding]:
    """The names in a route: of things that are not there, or that are there twice."""
    upstreams, listeners = _entries(data, "upstreams"), _entries(data, "listeners")
    upstream, fallback = route.get("upstream"), route.get("fallback")
    for key in ("upstream", "fallback"):
        yield from _unknown_name(route.get(key), "upstream", upstreams, (*loc, key))
    if isinstance(fallback, str) and fallback == upstream:
        yield Finding((*loc, "fallback"), f"{shorten(fallback)} is the upstream of this route already")
    for place, name in _each_text(route.get("mirror"), (*loc, "mirror")):
        yield from _unknown_name(name, "upstream", upstreams, place)
        for key in ("upstream", "fallback"):
            if name == route.get(key):
                message = f"{shorten(name)} is the {key} of this route: it would get everything twice"
                yield Finding(place, message)
    match = route.get("match")
    if isinstance(match, dict):
        for place, name in _each_text(match.get("listener"), (*loc, "match", "listener")):
            yield from _unknown_name(name, "listener", listeners, place)


def _unknown_name(name: Any, what: str, known: dict[str, Any], loc: Loc) -> Iterator[Finding]:
    if isinstance(name, str) and known and name not in known:
        there = suggest(name, known) or f" (there is {', '.join(map(shorten, known))})"
        yield Finding(loc, f"no {what} {shorten(name)}{there}")


def _each_text(value: Any, loc: Loc) -> Iterator[tuple[Loc, str]]:
    """The texts of a list with their places; a text alone stands for a list of one."""
    if isinstance(value, str):
        yield loc, value
    elif isinstance(value, list):
        yield from (((*loc, index), text) for index, text in enumerate(value) if isinstance(text, str))


def _matches_everything(match: Any) -> bool:
    if isinstance(match, dict):
        given = {key for key, value in match.items() if value is not None}
        return given == {"charger"} and "*" in _texts(match["charger"])
    return bool(match == "any")


def _covers(earlier: Any, later: Any) -> bool:
    """Whether every charge point that *later* matches, *earlier* has matched before."""
    if _matches_everything(earlier):
        return True
    if not isinstance(earlier, dict) or not isinstance(later, dict):
        return False
    globs = _texts(earlier.get("charger"))
    return all(
        value is None
        or later.get(key) == value
        or (
            key == "charger"
            and bool(_texts(later.get(key)))
            and all(_is_one_of(pattern, globs) for pattern in _texts(later.get(key)))
        )
        for key, value in earlier.items()
    )


def _is_one_of(pattern: str, globs: Sequence[str]) -> bool:
    """Whether what *pattern* matches one of the *globs* matches, as far as that is seen at once."""
    plain = not any(sign in pattern for sign in "*?[")
    return pattern in globs or (plain and any(fnmatchcase(pattern, glob) for glob in globs))


def _texts(value: Any) -> list[str]:
    return [text for _, text in _each_text(value, ())]


def _wrong_listeners(data: dict[str, Any]) -> Iterator[Finding]:
    """A listener that serves nothing; one that a central system is to call at, and that is not there."""
    listeners = _entries(data, "listeners")
    named: set[str] = set()
    for name, upstream in _entries(data, "upstreams").items():
        listener = _soap_of(upstream).get("listener")
        if isinstance(listener, str):
            named.add(listener)
        yield from _unknown_name(listener, "listener", listeners, ("upstreams", name, "soap", "listener"))
    for name, section in listeners.items():
        paths = section.get("paths", ()) if isinstance(section, dict) else ()
        if paths in (None, []) and name not in named:
            message = "is empty: nothing is served here, and no upstreams.NAME.soap.listener names it"
            yield Finding(("listeners", name, "paths"), message)


def _wrong_callbacks(data: dict[str, Any]) -> Iterator[Finding]:
    """Where SOAP central systems call charge points: known, and apart from where charge points call."""
    public_url = _entries(data, "gateway").get("public_url")
    for name, upstream in _entries(data, "upstreams").items():
        if not _speaks_soap(upstream):
            continue
        soap = _soap_of(upstream)
        if not public_url and not soap.get("callback_url"):
            message = "no address to be called back at: set gateway.public_url, or soap.callback_url"
            yield Finding(("upstreams", name), message)
        path = _callback_path(upstream)
        for listener, section in _entries(data, "listeners").items():
            if soap.get("listener") not in (None, listener) or not isinstance(section, dict):
                continue
            paths = section["paths"] if "paths" in section else Listener.model_fields["paths"].default
            for taken in _texts(list(paths or ())):
                if taken.removesuffix("/{charger}") == path.removesuffix("/{charger}"):
                    loc: Loc = ("upstreams", name, "soap", "callback_path")
                    message = f"{path} is where charge points are served: listeners.{listener} has {taken}"
                    yield Finding(loc, message)


def _soap_of(upstream: Any) -> dict[str, Any]:
    return _entries(upstream, "soap") if isinstance(upstream, dict) else {}


def _speaks_soap(upstream: Any) -> bool:
    url = upstream.get("url") if isinstance(upstream, dict) else None
    return isinstance(url, str) and url.lower().startswith(("http://", "https://"))


def _callback_path(upstream: Any) -> str:
    path = _soap_of(upstream).get("callback_path")
    return path if isinstance(path, str) else str(Soap().callback_path)


def _clashing_binds(data: dict[str, Any]) -> Iterator[Finding]:
    taken: list[tuple[Loc, Bind]] = []
    metrics = _entries(data, "metrics").get("bind") or str(Metrics().bind)
    admin = _entries(data, "admin")
    listeners = _entries(data, "listeners").items()
    texts: list[tuple[Loc, Any]] = [
        (("listeners", name, "bind"), listener.get("bind"))
        for name, listener in listeners
        if isinstance(listener, dict)
    ]
    texts.append((("metrics", "bind"), metrics))
    if admin:
        texts.append((("admin", "bind"), admin.get("bind") or str(Admin.model_fields["bind"].default)))
    for loc, text in texts:
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
    lets_in = [route for route in config.routes if route.match.known is False and route.upstream]
    if config.gateway.unknown == "refuse" and not config.chargers and not lets_in:
        yield _warning(
            ("gateway", "unknown"),
            "every charge point is refused: none is listed under chargers (or write accept)",
        )
    for name, listener in config.listeners.items():
        if (
            (config.gateway.unknown == "accept" or lets_in)
            and not listener.allow
            and not is_loopback(listener.bind.host)
            and (listener.tls is None or listener.tls.client_auth != "required")
        ):
            yield _warning(
                ("listeners", name, "allow"),
                "is empty while unknown charge points are accepted: whoever reaches this address can speak "
                "as any charge point",
            )
        if listener.tls and listener.tls.client_ca and listener.tls.client_auth == "none":
            yield _warning(("listeners", name, "tls", "client_ca"), "is not used: client_auth is none")
    used = {
        name for route in config.routes for name in (route.upstream, route.fallback, *route.mirror) if name
    }
    for name, upstream in config.upstreams.items():
        yield from _upstream_doubts(name, upstream, config)
        if name not in used:
            yield _warning(("upstreams", name), "no route leads here")
    for index, route in enumerate(config.routes):
        yield from _route_doubts(route, ("routes", index), config)
    yield from _unused_passwords(config)
    for index, network in enumerate(config.callbacks.networks):
        if network.prefixlen == 0:
            yield _warning(
                ("callbacks", "networks", index),
                f"{network} lets a charge point have the gateway call any address there is",
            )
    if config.tracing and not _has_opentelemetry():
        yield _warning(("tracing",), f"the gateway would not start with what is installed here: {NO_OTEL}")
    if config.store.url == "memory":
        yield _warning(("store", "url"), "what was confirmed to charge points is lost when the gateway ends")
    if not config.callbacks.tls.verify:
        yield _warning(("callbacks", "tls", "verify"), "anybody can pose as a charge point that is called")


NO_OTEL = "the packages of the extra otel are missing (pip install 'wattbridge[otel]')"


def _has_opentelemetry() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def _upstream_doubts(name: str, upstream: Upstream, config: Config) -> Iterator[Finding]:
    loc: Loc = ("upstreams", name)
    parts = urlsplit(upstream.url)
    basic = upstream.auth.basic if upstream.auth else None
    if parts.scheme in ("ws", "http"):
        if basic and not is_loopback(parts.hostname or ""):
            yield _warning((*loc, "url"), f"the password travels unencrypted: use {parts.scheme}s://")
        if "tls" in upstream.model_fields_set and upstream.tls != Tls():
            yield _warning((*loc, "tls"), f"is not used: the URL starts with {parts.scheme}://")
    elif not upstream.tls.verify:
        yield _warning((*loc, "tls", "verify"), "anybody can pose as this central system")
    if upstream.protocol == "ocpp-soap":
        yield from _soap_doubts(name, upstream, config)
    if basic and "{charger}" in basic.username:
        for identity in config.chargers:
            if ":" in identity:
                yield _warning(
                    ("chargers", identity),
                    f"has a colon, so HTTP Basic authentication at {name} fails (RFC 7617, 2)",
                )
    if basic and basic.password is None:
        bare = [
            identity
            for identity, known in config.chargers.items()
            if known.upstream_password is None and name in _may_go_to(identity, config)
        ]
        if bare:
            others = f" and {len(bare) - 1} more" if len(bare) > 1 else ""
            yield _warning(
                (*loc, "auth", "basic"),
                f"has no password, nor has {shorten(bare[0])}{others}: set upstream_password of each",
            )


def _soap_doubts(name: str, upstream: Upstream, config: Config) -> Iterator[Finding]:
    loc: Loc = ("upstreams", name)
    for key in ("ping", "subprotocol", "celsius", "max_frame"):
        usual = Upstream.model_fields[key].default
        if key in upstream.model_fields_set and getattr(upstream, key) != usual:
            yield _warning((*loc, key), "is not used: it is for central systems that speak JSON")
    if not upstream.soap.networks:
        for listener, section in config.listeners.items():
            if upstream.soap.listener in (None, listener) and not is_loopback(section.bind.host):
                yield _warning(
                    (*loc, "soap", "networks"),
                    f"is empty: whoever reaches {section.bind} (listeners.{listener}) can call charge points "
                    "in its name",
                )
                break


def _route_doubts(route: Route, loc: Loc, config: Config) -> Iterator[Finding]:
    if route.reject:
        for key in ("fallback", "mirror", "identity"):
            if getattr(route, key):
                yield _warning((*loc, key), "is not used: the route turns charge points away")
    if "failover" in route.model_fields_set and route.failover != Failover() and not route.fallback:
        yield _warning((*loc, "failover"), "is not used: the route has no fallback")
    if route.mirror_queue != Route.model_fields["mirror_queue"].default and not route.mirror:
        yield _warning((*loc, "mirror_queue"), "is not used: the route has no mirror")
    yield from _alternatives(route.match.firmware or (), (*loc, "match", "firmware"))
    if route.identity:
        yield from _shared_names(route.identity, route.match, (*loc, "identity"), config)
    callers = [name for name in (route.upstream, route.fallback, *route.mirror) if name]
    for index, mirror in enumerate(route.mirror):
        for other in callers:
            if other != mirror and _called_at_one_place(config.upstreams[mirror], config.upstreams[other]):
                yield _warning(
                    (*loc, "mirror", index),
                    f"{mirror} calls charge points at {config.upstreams[mirror].soap.callback_path} as "
                    f"{other} does: calls of the one cannot be told from those of the other",
                )
                break


def _shared_names(identity: Identity, match: Match, loc: Loc, config: Config) -> Iterator[Finding]:
    """Two listed charge points that a central system could not tell apart."""
    named: dict[str, str] = {}
    for charger in config.chargers:
        if _fits(charger, match):
            name = re.sub(identity.rewrite, identity.to, charger)
            if name in named:
                yield _warning(
                    loc, f"{shorten(named[name])} and {shorten(charger)} would both be called {shorten(name)}"
                )
                return
            named[name] = charger


def _fits(identity: str, match: Match) -> bool:
    """Whether a listed charge point may fit, whatever it says of itself."""
    globs = match.charger or ("*",)
    return match.known is not False and any(fnmatchcase(identity, glob) for glob in globs)


def _alternatives(versions: Sequence[str], loc: Loc) -> Iterator[Finding]:
    """``[">=1.2", "<1.4"]``: a list says one or the other, so that every version fits."""
    single = [found[0] for found in map(comparisons_of, versions) if len(found) == 1]
    for operator, low in single:
        for other, high in single:
            if operator in (">", ">=") and other in ("<", "<=") and _numbers(low) < _numbers(high):
                yield _warning(
                    loc,
                    f"every version fits, as one item of a list is enough: write '{operator}{low},"
                    f"{other}{high}' where both must hold",
                )
                return


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", version)]


def _called_at_one_place(one: Upstream, other: Upstream) -> bool:
    if one.protocol != "ocpp-soap" or other.protocol != "ocpp-soap":
        return False
    apart = None not in (one.soap.listener, other.soap.listener) and one.soap.listener != other.soap.listener
    return one.soap.callback_path == other.soap.callback_path and not apart


def _may_go_to(identity: str, config: Config) -> set[str]:
    """The central systems a listed charge point may be sent to, whatever it says of itself."""
    found: set[str] = set()
    for route in config.routes:
        match = route.match
        if not _fits(identity, match):
            continue
        found.update(name for name in (route.upstream, route.fallback, *route.mirror) if name)
        if not (match.vendor or match.model or match.firmware or match.source or match.listener):
            break
    return found


def _unused_passwords(config: Config) -> Iterator[Finding]:
    if any(upstream.auth and upstream.auth.basic for upstream in config.upstreams.values()):
        return
    for identity, known in config.chargers.items():
        if known.upstream_password:
            yield _warning(
                ("chargers", identity, "upstream_password"), "is not used: no central system has auth.basic"
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

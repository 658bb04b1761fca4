"""The sections of the configuration: every key with its default, its limits and its meaning.

The JSON Schema (``json_schema``) and ``docs/reference/configuration.md`` are made from these models, so what
is written here is all there is to know about a key.
"""

from __future__ import annotations

import collections.abc
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SecretStr,
    model_validator,
)
from pydantic_core import CoreSchema

from wattbridge.config import kinds, values
from wattbridge.config.kinds import Kind
from wattbridge.config.tree import Loc
from wattbridge.config.values import Bind, Network, describe


def _nothing_is_empty(value: Any) -> Any:
    """A key with nothing behind it stands for an empty mapping or list."""
    return {} if value is None else value


def _nothing_is_no_item(value: Any) -> Any:
    return [] if value is None else value


_Mapping = BeforeValidator(_nothing_is_empty)
_List = BeforeValidator(_nothing_is_no_item)


class Section(BaseModel):
    """A mapping of the file with a fixed set of keys. Values cannot be changed once read."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _accept_nothing(cls, data: Any) -> Any:
        return _nothing_is_empty(data)


class Gateway(Section):
    """The gateway itself."""

    name: Annotated[str, kinds.NAME] = Field(default="wattbridge", description="What it is called in logs.")
    public_url: Annotated[str, kinds.PUBLIC_URL] | None = Field(
        default=None,
        description="Where SOAP charge points reach the gateway: scheme, host and port. They are told it as "
        "wsa:From of what they are sent; without it that header is left out.",
    )
    drain: Annotated[float, kinds.duration("0s", "1h")] = Field(  # seconds
        default=30.0, description="How long a stopping gateway waits for calls under way."
    )
    unknown: Annotated[Literal["refuse", "accept"], kinds.words("refuse", "accept")] = Field(
        default="refuse", description="What happens to charge points that are not listed under `chargers`."
    )


class Limits(Section):
    """What a listener takes from anybody."""

    body: Annotated[int, kinds.size("1KiB", "256KiB")] = Field(  # bytes
        default=256 * 1024, description="The largest request, also after decompression."
    )
    connections: Annotated[int, kinds.whole(1, 1_000_000)] = Field(
        default=2000,
        description="Connections at a time.",
    )
    connections_per_source: Annotated[int, kinds.whole(1, 1_000_000)] = Field(
        default=64, description="Connections at a time from one address."
    )
    header_timeout: Annotated[float, kinds.duration("100ms", "10m")] = Field(  # seconds
        default=10.0, description="How long the head of a request may take."
    )
    body_timeout: Annotated[float, kinds.duration("100ms", "10m")] = Field(  # seconds
        default=10.0, description="How long the body of a request may take."
    )
    idle: Annotated[float, kinds.duration("1s", "24h")] = Field(  # seconds
        default=75.0, description="How long a connection is kept open without a request."
    )


class Listener(Section):
    """Where charge points come in."""

    bind: Annotated[Bind, kinds.BIND] = Field(
        description="Where to listen: `0.0.0.0:8080`, `[::1]:8080`. Port 0 lets the system choose."
    )
    protocol: Annotated[Literal["ocpp-soap"], kinds.words("ocpp-soap")] = Field(
        default="ocpp-soap", description="What charge points speak here: OCPP-S."
    )
    versions: Annotated[tuple[Annotated[Literal["1.6"], kinds.OCPP_VERSION], ...], _List] = Field(
        default=("1.6",),
        min_length=1,
        description="The versions of OCPP spoken here, told apart by namespace.",
    )
    paths: Annotated[tuple[Annotated[str, kinds.URL_PATH], ...], _List] = Field(
        default=(
            "/ocpp/cs",
            # The addresses of a SteVe, so that moving a fleet needs a new host name and nothing else.
            "/steve/services/CentralSystemService",
            "/steve/services/CentralSystemServiceOCPP16",
            "/services/CentralSystemService",
        ),
        min_length=1,
        description="Where CentralSystemService is served. The defaults hold the addresses SteVe uses.",
    )
    limits: Limits = Field(default=Limits(), description="What is taken from anybody.")
    allow: Annotated[tuple[Annotated[Network, kinds.NETWORK], ...], _List] = Field(
        default=(), description="Networks that charge points may come from. Empty: any."
    )


class Basic(Section):
    """HTTP Basic authentication."""

    username: Annotated[str, kinds.USERNAME] = Field(
        default="{charger}", description="The user name; `{charger}` stands for the identity."
    )
    password: Annotated[SecretStr, kinds.SECRET] = Field(
        description="The password, as `{env: NAME}` or `{file: path}`; a line break at the end is dropped."
    )


class Auth(Section):
    """How charge points are made known to a central system."""

    basic: Basic | None = Field(default=None, description="HTTP Basic authentication.")


class Backoff(Section):
    """How long to wait between attempts to connect."""

    first: Annotated[float, kinds.duration("10ms", "1h")] = Field(  # seconds
        default=1.0, description="The wait after the first failure; it doubles with each further one."
    )
    max: Annotated[float, kinds.duration("10ms", "24h")] = Field(  # seconds
        default=120.0, description="The longest wait."
    )
    jitter: Annotated[float, kinds.number(0, 1)] = Field(
        default=1.0,
        description="The share of a wait that is left to chance: 0 waits exactly, 1 waits anything from "
        "nothing to the whole, which spreads a fleet best.",
    )

    @model_validator(mode="after")
    def _first_before_max(self) -> Backoff:
        if self.first > self.max:
            first, longest = values.write_duration(self.first), values.write_duration(self.max)
            raise ValueError(f"first ({first}) is longer than max ({longest})")
        return self


class Connect(Section):
    """How connections to a central system are made."""

    timeout: Annotated[float, kinds.duration("100ms", "10m")] = Field(  # seconds
        default=10.0, description="How long connecting may take, TLS and the WebSocket handshake included."
    )
    backoff: Backoff = Field(default=Backoff(), description="The waits between attempts.")
    rate: Annotated[float, kinds.rate("1/h", "10000/s")] = Field(  # connections per second
        default=50.0,
        description="New connections of all charge points together, so that a fleet comes back paced.",
    )


class Ping(Section):
    """WebSocket pings."""

    every: Annotated[float, kinds.duration("0s", "24h")] = Field(  # seconds
        default=30.0, description="How often a ping is sent; `0s` sends none."
    )
    timeout: Annotated[float, kinds.duration("100ms", "10m")] = Field(  # seconds
        default=20.0, description="How long the pong may take before the connection counts as lost."
    )


class Tls(Section):
    """TLS towards a central system."""

    ca: Annotated[Path, kinds.CERTIFICATES] | None = Field(
        default=None, description="Certificates to trust (PEM). Without it, those the system trusts."
    )
    verify: Annotated[bool, kinds.FLAG] = Field(
        default=True, description="Whether the certificate of the central system is checked."
    )


class Upstream(Section):
    """A central system."""

    url: Annotated[str, kinds.WEBSOCKET_URL] = Field(
        description="Its address. `{charger}` stands for the identity and is the last segment of the path; "
        "it is appended when it is not there (OCPP-J 1.6, 3.1.1)."
    )
    protocol: Annotated[Literal["ocpp-json"], kinds.words("ocpp-json")] = Field(
        default="ocpp-json", description="What it speaks: OCPP-J."
    )
    auth: Auth | None = Field(default=None, description="Credentials. Without them, none are sent.")
    connect: Connect = Field(default=Connect(), description="How connections are made.")
    ping: Ping = Field(default=Ping(), description="WebSocket pings.")
    call_timeout: Annotated[float, kinds.duration("100ms", "1h")] = Field(  # seconds
        default=30.0, description="How long a reply to a call may take."
    )
    subprotocol: Annotated[str, kinds.SUBPROTOCOL] = Field(
        default="ocpp1.6", description="The WebSocket subprotocol to ask for."
    )
    compression: Annotated[bool, kinds.FLAG] = Field(
        default=False,
        description="Whether permessage-deflate is offered; it costs 30 KiB of memory a charge point.",
    )
    celsius: Annotated[Literal["Celsius", "Celcius"], kinds.words("Celsius", "Celcius")] = Field(
        default="Celsius",
        description="How the unit is spelled towards it; the first JSON schemas had `Celcius`. Both are "
        "read.",
    )
    tls: Tls = Field(default=Tls(), description="TLS, for `wss://`.")
    max_frame: Annotated[int, kinds.size("1KiB", "16MiB")] = Field(  # bytes
        default=256 * 1024, description="The largest message it may send."
    )


class Match(Section):
    """Which charge points a route is for: `any`, or those whose identity fits a pattern."""

    charger: tuple[Annotated[str, kinds.GLOB], ...] = Field(
        min_length=1,
        description="Patterns for identities: `*` any text, `?` one character, `[0-9]` one of these.",
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_any(cls, data: Any) -> Any:
        if data == "any":
            return {"charger": ["*"]}
        if isinstance(data, Match | Mapping):
            return data
        raise ValueError(f"expected any or {{charger: [BER-*]}}, found {describe(data)}")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"const": "any"}, handler.resolve_ref_schema(handler(core))]}

    def matches(self, identity: str) -> bool:
        return any(fnmatchcase(identity, pattern) for pattern in self.charger)


class Route(Section):
    """Which central system a charge point belongs to."""

    name: Annotated[str, kinds.NAME] = Field(description="What it is called in logs.")
    match: Match = Field(description="The charge points it is for: `any`, or `{charger: [BER-*, HAM-*]}`.")
    upstream: Annotated[str, kinds.NAME] = Field(
        description="The central system they belong to, a name of `upstreams`."
    )


class ChargePoint(Section):
    """What the wire cannot tell about a charge point."""

    callback_url: Annotated[str, kinds.HTTP_URL] | None = Field(
        default=None, description="Where it is called, whatever address it gives itself."
    )
    zone: Annotated[ZoneInfo, kinds.ZONE] | None = Field(
        default=None, description="The zone of its local times; without it, `time.zone`."
    )
    to: Annotated[str, kinds.URI] | None = Field(
        default=None,
        description="What stands in wsa:To of calls to it, for charge points that drop what is not addressed "
        "to the URL they were set up with; without it, the address it is called at.",
    )


class Callbacks(Section):
    """How SOAP charge points are called."""

    template: Annotated[str, kinds.TEMPLATE] | None = Field(
        default=None,
        description="Where a charge point is called that gave no usable address: `{source_ip}` is where its "
        "last request came from, `{charger}` its identity. Without it, such a charge point cannot be called.",
    )
    networks: Annotated[tuple[Annotated[Network, kinds.NETWORK], ...], _List] = Field(
        default=(),
        description="Networks that an address given by a charge point may be in. The host its request came "
        "from is always allowed.",
    )
    timeout: Annotated[float, kinds.duration("100ms", "1h")] = Field(  # seconds
        default=30.0, description="How long a reply of a charge point may take."
    )
    connect_timeout: Annotated[float, kinds.duration("100ms", "10m")] = Field(  # seconds
        default=5.0, description="How long connecting to a charge point may take."
    )
    answer: Annotated[int, kinds.size("1KiB", "256KiB")] = Field(  # bytes
        default=256 * 1024, description="The largest response of a charge point, also after decompression."
    )


class Sessions(Section):
    """How long a SOAP charge point, which has no connection, counts as there."""

    alive: Annotated[float, kinds.number(1, 1000)] = Field(
        default=3.0,
        description="How many heartbeat intervals a charge point may be silent before its session is closed "
        "and the central system sees it offline.",
    )
    heartbeat: Annotated[float, kinds.duration("1s", "7d")] = Field(  # seconds
        default=300.0, description="The heartbeat interval assumed until a BootNotification.conf tells it."
    )
    most: Annotated[int, kinds.whole(1, 1_000_000)] = Field(
        default=20_000,
        description="Sessions at a time. It bounds what `gateway.unknown: accept` lets in; the charge points "
        "listed under `chargers` always have room.",
    )


class Time(Section):
    """How times are read and written."""

    zone: Annotated[ZoneInfo, kinds.ZONE] = Field(
        default=ZoneInfo("UTC"), description="The zone of times that charge points send without an offset."
    )
    milliseconds: Annotated[bool, kinds.FLAG] = Field(
        default=False,
        description="Whether times are written with milliseconds; some devices read no fractions.",
    )


class Metrics(Section):
    """Metrics for Prometheus, and the health of the gateway."""

    bind: Annotated[Bind, kinds.BIND] = Field(
        default=Bind("127.0.0.1", 9181), description="Where `/metrics`, `/livez` and `/readyz` are served."
    )


class Logging(Section):
    """The log, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], kinds.words("debug", "info", "warning", "error")
    ] = Field(default="info", description="The least severe lines that are written.")
    format: Annotated[Literal["console", "json"], kinds.words("console", "json")] = Field(
        default="console", description="Lines for people, or one JSON object a line."
    )


class Config(Section):
    """The configuration of a gateway."""

    version: Annotated[int, kinds.VERSION] = Field(default=1, description="The version of this format.")
    gateway: Gateway = Field(default=Gateway(), description="The gateway itself.")
    listeners: Annotated[Mapping[Annotated[str, kinds.NAME], Listener], _Mapping] = Field(
        min_length=1, description="Where charge points come in, by name."
    )
    upstreams: Annotated[Mapping[Annotated[str, kinds.NAME], Upstream], _Mapping] = Field(
        min_length=1, description="Central systems, by name."
    )
    routes: Annotated[tuple[Route, ...], _List] = Field(
        default=(),
        description="Which charge point belongs to which central system. The first match wins, the last "
        "route must match every charge point. May be left out when there is one central system.",
    )
    chargers: Annotated[Mapping[Annotated[str, kinds.IDENTITY], ChargePoint], _Mapping] = Field(
        default={}, description="Known charge points, by identity."
    )
    callbacks: Callbacks = Field(default=Callbacks(), description="How SOAP charge points are called.")
    sessions: Sessions = Field(
        default=Sessions(), description="How long a SOAP charge point counts as there."
    )
    time: Time = Field(default=Time(), description="How times are read and written.")
    metrics: Metrics = Field(default=Metrics(), description="Metrics and health.")
    logging: Logging = Field(default=Logging(), description="The log.")

    @model_validator(mode="before")
    @classmethod
    def _one_upstream_needs_no_route(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("routes"):
            return data
        upstreams = data.get("upstreams")
        if isinstance(upstreams, dict) and len(upstreams) == 1:
            [name] = upstreams
            return {**data, "routes": [{"name": "all", "match": "any", "upstream": name}]}
        return data

    def route_of(self, identity: str) -> Route:
        """The first route that matches; load() sees to it that the last one matches everything."""
        return next(route for route in self.routes if route.match.matches(identity))

    def zone_of(self, identity: str) -> ZoneInfo:
        known = self.chargers.get(identity)
        return known.zone if known and known.zone else self.time.zone


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors and for other checkers."""
    schema = Config.model_json_schema()
    _tidy(schema)
    for section in Section.__subclasses__():
        definition = schema if section is Config else schema["$defs"][section.__name__]
        _finish(definition, section)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Wattbridge configuration",
        **schema,
    }


def _finish(schema: dict[str, Any], section: type[Section]) -> None:
    """Write defaults as the file has them, and accept null where nothing at all may stand."""
    if schema.get("type") == "object" and "required" not in schema:
        schema["type"] = ["object", "null"]
    for key, inner in schema.get("properties", {}).items():
        known = section.model_fields[key]
        shape = shape_of(known.annotation, known.metadata)
        if isinstance(shape, Kind) and shape.quoted and known.default and not known.is_required():
            inner["default"] = shape.write(known.default)
        if isinstance(shape, Entries | Items) and not known.is_required() and "minItems" not in inner:
            inner["type"] = [inner["type"], "null"]


def _tidy(schema: Any) -> None:
    """Take away what pydantic says twice, and close the mappings whose keys are names."""
    if isinstance(schema, dict):
        if isinstance(schema.get("title"), str):
            del schema["title"]
        if "patternProperties" in schema:
            schema["additionalProperties"] = False
            schema.pop("propertyNames", None)
        for inner in schema.values():
            _tidy(inner)
    elif isinstance(schema, list):
        for inner in schema:
            _tidy(inner)


# --- What may stand where: for suggestions, overrides and the reference


@dataclass(frozen=True, slots=True)
class Entries:
    """A mapping whose keys are names."""

    of: Shape


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    of: Shape


Shape = type[Section] | Kind | Entries | Items


def shape_of(annotation: Any, metadata: Iterable[Any] = ()) -> Shape:
    """What may stand where a field of a Section has this annotation."""
    for extra in metadata:
        if isinstance(extra, Kind):
            return extra
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return shape_of(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        return shape_of(next(argument for argument in arguments if argument is not types.NoneType))
    if origin is collections.abc.Mapping:
        return Entries(shape_of(arguments[1]))
    if origin is tuple:
        return Items(shape_of(arguments[0]))
    assert isinstance(annotation, type)
    assert issubclass(annotation, Section)
    return annotation


def child_shape(shape: Shape | None, key: str | int) -> Shape | None:
    if isinstance(shape, Entries | Items):
        return shape.of
    if isinstance(shape, type) and (known := shape.model_fields.get(str(key))):
        return shape_of(known.annotation, known.metadata)
    return None


def shape_at(loc: Loc) -> Shape | None:
    shape: Shape | None = Config
    for key in loc:
        shape = child_shape(shape, key)
    return shape

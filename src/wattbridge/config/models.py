"""The sections of the configuration: every key with its default, its limits and its meaning.

The JSON Schema (``json_schema``) and ``docs/reference/configuration.md`` are made from these models, so what
is written here is all there is to know about a key.
"""

from __future__ import annotations

import collections.abc
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, SecretStr, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

from wattbridge.config import kinds, values
from wattbridge.config.kinds import Kind
from wattbridge.config.profile import Profile
from wattbridge.config.sections import (
    AsList,
    AsMapping,
    Globs,
    Names,
    Networks,
    OneOrMore,
    OptionalSecret,
    OwnPing,
    Section,
    Versions,
    WordGlobs,
)
from wattbridge.config.tree import Loc
from wattbridge.config.values import Bind, Network, describe
from wattbridge.ocpp.errors import FAULT_BY_CODE


class Gateway(Section):
    """The gateway itself."""

    name: Annotated[str, kinds.NAME] = Field(default="wattbridge", description="What it is called in logs.")
    public_url: Annotated[str, kinds.PUBLIC_URL] | None = Field(
        default=None,
        description="Where SOAP charge points and SOAP central systems reach the gateway: scheme, host and "
        "port. They are told it as wsa:From of what they are sent; without it charge points are sent no such "
        "header.",
    )
    drain: Annotated[float, kinds.duration("0s", "1h")] = Field(  # seconds
        default=30.0, description="How long a stopping gateway waits for calls under way."
    )
    unknown: Annotated[Literal["refuse", "accept"], kinds.words("refuse", "accept")] = Field(
        default="refuse",
        description="What happens to charge points that are not listed under `chargers`. A route with "
        "`match: {known: false}` lets in those that it matches all the same.",
    )
    reload: Annotated[bool, kinds.FLAG] = Field(
        default=True,
        description="Whether the file, and the certificates it names, are watched for changes and read "
        "again.",
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
    handshakes: Annotated[int, kinds.whole(1, 1_000_000)] = Field(
        default=512, description="WebSocket handshakes under way at a time."
    )
    handshake_rate: Annotated[float, kinds.rate("1/h", "10000/s")] = Field(  # handshakes per second
        default=100.0,
        description="New WebSockets of all charge points together; refusals are counted apart, at the same "
        "rate.",
    )
    max_frame: Annotated[int, kinds.size("1KiB", "16MiB")] = Field(  # bytes
        default=256 * 1024, description="The largest message on a WebSocket, also after decompression."
    )


class ListenerTls(Section):
    """TLS of a listener."""

    certificate: Annotated[Path, kinds.CERTIFICATES] = Field(
        description="The certificate that is shown, and what leads from it to a known authority (PEM)."
    )
    key: Annotated[Path, kinds.KEY] = Field(
        description="The private key of that certificate, in PEM and without a password."
    )
    client_ca: Annotated[Path, kinds.CERTIFICATES] | None = Field(
        default=None, description="The authorities that certificates of charge points must come from (PEM)."
    )
    client_auth: Annotated[
        Literal["none", "optional", "required"], kinds.words("none", "optional", "required")
    ] = Field(
        default="none",
        description="Whether charge points are asked for a certificate: `optional` checks the one that is "
        "shown, `required` lets nobody in without one. Both need `client_ca`.",
    )

    @model_validator(mode="after")
    def _usable(self) -> ListenerTls:
        kinds.check_pair(self.certificate, self.key)
        if self.client_auth != "none" and self.client_ca is None:
            raise ValueError(
                f"client_auth is {self.client_auth}, but there is no client_ca to check certificates with"
            )
        return self


class Listener(Section):
    """Where charge points come in."""

    bind: Annotated[Bind, kinds.BIND] = Field(
        description="Where to listen: `0.0.0.0:8080`, `[::1]:8080`. Port 0 lets the system choose."
    )
    protocol: Annotated[
        Literal["any", "ocpp-soap", "ocpp-json"], kinds.words("any", "ocpp-soap", "ocpp-json")
    ] = Field(
        default="any",
        description="What charge points may speak here: OCPP-S, OCPP-J, or both on this one address.",
    )
    tls: ListenerTls | None = Field(default=None, description="TLS. Without it, nothing is encrypted.")
    versions: Annotated[tuple[Annotated[Literal["1.6", "1.5", "1.2"], kinds.OCPP_VERSION], ...], AsList] = (
        Field(
            default=("1.6", "1.5", "1.2"),
            min_length=1,
            description="The versions of OCPP-S that are served here. Each message tells its own, by its "
            "namespace.",
        )
    )
    paths: Annotated[tuple[Annotated[str, kinds.LISTENER_PATH], ...], AsList] = Field(
        default=(
            "/ocpp/cs",
            "/ocpp/{charger}",
            # The addresses of a SteVe, so that moving a fleet needs a new host name and nothing else.
            "/steve/services/CentralSystemService",
            "/steve/services/CentralSystemServiceOCPP16",
            "/services/CentralSystemService",
            "/steve/websocket/CentralSystemService/{charger}",
        ),
        description="Where charge points are served: what ends in `/{charger}` is an address of WebSockets, "
        "the others are those of CentralSystemService. The defaults hold the addresses SteVe uses. May be "
        "empty only where a SOAP central system calls (`upstreams.NAME.soap.listener`).",
    )
    limits: Limits = Field(default=Limits(), description="What is taken from anybody.")
    allow: Annotated[tuple[Annotated[Network, kinds.NETWORK], ...], AsList] = Field(
        default=(), description="Networks that charge points may come from. Empty: any."
    )


class Basic(Section):
    """HTTP Basic authentication."""

    username: Annotated[str, kinds.USERNAME] = Field(
        default="{charger}", description="The user name; `{charger}` stands for the identity."
    )
    password: OptionalSecret = Field(
        default=None,
        description="The password, as `{env: NAME}` or `{file: path}`; a line break at the end is dropped. "
        "It may be left out when every charge point has its own, `chargers.IDENTITY.upstream_password`.",
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
        default=10.0, description="How long connecting may take, TLS and a WebSocket handshake included."
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


class WebSocketPing(Section):
    """Pings on the WebSockets of charge points."""

    every: Annotated[float, kinds.duration("0s", "24h")] = Field(  # seconds
        default=60.0, description="How often a ping is sent; `0s` sends none."
    )
    timeout: Annotated[float, kinds.duration("100ms", "10m")] = Field(  # seconds
        default=30.0, description="How long the pong may take before the connection counts as lost."
    )


class WebSocket(Section):
    """The WebSockets of charge points."""

    ping: WebSocketPing = Field(default=WebSocketPing(), description="Pings.")
    unanswered: Annotated[int, kinds.whole(0, 100)] = Field(
        default=3,
        description="After so many calls in a row without an answer the connection is cut, so that the "
        "charge point connects anew; `0` never cuts it.",
    )
    call_timeout: Annotated[float, kinds.duration("100ms", "1h")] = Field(  # seconds
        default=30.0, description="How long a reply of a charge point may take."
    )
    takeover: Annotated[float, kinds.duration("100ms", "1m")] = Field(  # seconds
        default=3.0,
        description="How long an older connection with the same identity has to answer a ping before a new "
        "one replaces it.",
    )
    compression: Annotated[bool, kinds.FLAG] = Field(
        default=False,
        description="Whether permessage-deflate is accepted; it costs 30 KiB of memory a charge point.",
    )


class Tls(Section):
    """TLS towards whom the gateway calls."""

    ca: Annotated[Path, kinds.CERTIFICATES] | None = Field(
        default=None, description="Certificates to trust (PEM). Without it, those the system trusts."
    )
    verify: Annotated[bool, kinds.FLAG] = Field(
        default=True, description="Whether the certificate of the other side is checked."
    )
    certificate: Annotated[Path, kinds.CERTIFICATES] | None = Field(
        default=None, description="The certificate the gateway shows when it is asked for one (PEM)."
    )
    key: Annotated[Path, kinds.KEY] | None = Field(
        default=None, description="The private key of `certificate`, in PEM and without a password."
    )

    @model_validator(mode="after")
    def _usable(self) -> Tls:
        if self.certificate and self.key:
            kinds.check_pair(self.certificate, self.key)
        elif self.certificate or self.key:
            given, missing = ("certificate", "key") if self.certificate else ("key", "certificate")
            raise ValueError(f"{given} needs {missing}: one is of no use without the other")
        return self


class Soap(Section):
    """How OCPP-S is spoken with a central system, and where it calls charge points."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    callback_path: Annotated[str, kinds.CALLBACK_PATH] = Field(
        default="/ocpp/cp/{charger}",
        description="Where the central system calls charge points, on the listeners. `{charger}` stands for "
        "the identity and is the last segment.",
    )
    listener: Annotated[str, kinds.NAME] | None = Field(
        default=None,
        description="The listener it calls at, a name of `listeners`. Without it, any of them.",
    )
    networks: Annotated[tuple[Annotated[Network, kinds.NETWORK], ...], AsList] = Field(
        default=(), description="Networks the central system may call from. Empty: any."
    )
    callback_url: Annotated[str, kinds.CALLBACK_URL] | None = Field(
        default=None,
        description="The whole address it is told as wsa:From, with `{charger}`. Without it, "
        "`gateway.public_url` and `callback_path`.",
    )
    to: Annotated[str, kinds.URI] | None = Field(
        default=None, description="What stands in wsa:To; without it, `url`."
    )
    ocpp: Annotated[Literal["1.6", "1.5", "1.2"], kinds.OCPP_VERSION] = Field(
        default="1.6",
        description="The version of OCPP-S it speaks. What an older one has no words for is converted, left "
        "out or answered here (see the reference of translation).",
    )
    security_events: Annotated[Literal["record", "data-transfer"], kinds.words("record", "data-transfer")] = (
        Field(
            default="record",
            description="What becomes of the messages of the security extension, which OCPP-S does not have: "
            "they are confirmed and recorded, or carried as DataTransfer as well.",
        )
    )
    version: Annotated[Literal["1.2", "1.1"], kinds.SOAP_VERSION] = Field(
        default="1.2", description="The version of SOAP. OCPP-S has 1.2 in all its versions."
    )
    addressing: Annotated[Literal["2005/08", "2004/08"], kinds.words("2005/08", "2004/08")] = Field(
        default="2005/08", description="The version of WS-Addressing."
    )
    from_header: Annotated[bool, kinds.FLAG] = Field(
        default=True, alias="from", description="Whether wsa:From is sent."
    )
    must_understand: Annotated[bool, kinds.FLAG] = Field(
        default=True, description="Whether wsa:Action and wsa:To are marked mustUnderstand."
    )
    connections: Annotated[int, kinds.whole(1, 1000)] = Field(
        default=8, description="Connections to it at a time, of all charge points together."
    )
    answer_within: Annotated[float, kinds.duration("100ms", "1h")] = Field(  # seconds
        default=25.0, description="How long a charge point may take to answer a call of it."
    )


class Probe(Section):
    """How a central system that is away is tried again."""

    every: Annotated[float, kinds.duration("100ms", "1h")] = Field(  # seconds
        default=10.0,
        description="How often a central system that is unreachable is tried again, by TCP and TLS: one of "
        "OCPP-S, and one of a route with a `fallback`.",
    )
    timeout: Annotated[float, kinds.duration("100ms", "10m")] = Field(  # seconds
        default=5.0, description="How long such an attempt may take."
    )


def _protocol_of(url: str) -> Literal["ocpp-json", "ocpp-soap"]:
    return "ocpp-soap" if url.startswith("http") else "ocpp-json"


class Upstream(Section):
    """A central system."""

    url: Annotated[str, kinds.UPSTREAM_URL] = Field(
        description="Its address: ws:// or wss:// for OCPP-J, http:// or https:// for OCPP-S. `{charger}` "
        "stands for the identity. In the address of a WebSocket it is the last segment of the path, and "
        "appended when it is not there (OCPP-J 1.6, 3.1.1)."
    )
    protocol: Annotated[Literal["ocpp-json", "ocpp-soap"], kinds.words("ocpp-json", "ocpp-soap")] = Field(
        default_factory=lambda known: _protocol_of(known["url"]),
        description="What it speaks: OCPP-J or OCPP-S. Without it, what `url` says.",
    )
    auth: Auth | None = Field(default=None, description="Credentials. Without them, none are sent.")
    connect: Connect = Field(default=Connect(), description="How connections are made.")
    ping: Ping = Field(default=Ping(), description="WebSocket pings (OCPP-J).")
    call_timeout: Annotated[float, kinds.duration("100ms", "1h")] = Field(  # seconds
        default=30.0, description="How long a reply to a call may take."
    )
    subprotocol: Annotated[str, kinds.SUBPROTOCOL] = Field(
        default="ocpp1.6", description="The WebSocket subprotocol to ask for (OCPP-J)."
    )
    compression: Annotated[bool, kinds.FLAG] = Field(
        default=False,
        description="OCPP-J: whether permessage-deflate is offered; it costs 30 KiB of memory a charge "
        "point. OCPP-S: whether requests are sent compressed by gzip; answers always may be.",
    )
    celsius: Annotated[Literal["Celsius", "Celcius"], kinds.words("Celsius", "Celcius")] = Field(
        default="Celsius",
        description="How the unit is spelled towards it (OCPP-J); the first JSON schemas had `Celcius`. Both "
        "are read.",
    )
    tls: Tls = Field(default=Tls(), description="TLS, for `wss://` and `https://`.")
    max_frame: Annotated[int, kinds.size("1KiB", "16MiB")] = Field(  # bytes
        default=256 * 1024, description="The largest message it may send (OCPP-J)."
    )
    soap: Soap = Field(default=Soap(), description="How OCPP-S is spoken with it.")
    probe: Probe = Field(default=Probe(), description="How it is tried again when it is away.")

    @model_validator(mode="after")
    def _one_protocol(self) -> Upstream:
        if self.protocol != _protocol_of(self.url):
            scheme = self.url.partition("://")[0]
            twin = {"http": "ws", "https": "wss", "ws": "http", "wss": "https"}[scheme]
            raise ValueError(
                f"protocol is {self.protocol}, but url starts with '{scheme}://' (did you mean {twin}://?)"
            )
        if self.protocol == "ocpp-json" and self.soap != Soap():
            raise ValueError("soap is for central systems that speak SOAP, at http:// or https://")
        return self


class Match(Section):
    """Which charge points a route is for: `any`, or those for which every condition holds."""

    charger: Globs | None = Field(
        default=None,
        description="Patterns for identities: `*` any text, `?` one character, `[0-9]` one of these. One "
        "pattern may stand without a list, here and below.",
    )
    vendor: WordGlobs | None = Field(
        default=None,
        description="Patterns for chargePointVendor of BootNotification; upper and lower case are the same. "
        "Before its first BootNotification a charge point does not match, with this, `model` and `firmware`.",
    )
    model: WordGlobs | None = Field(
        default=None,
        description="Patterns for chargePointModel of BootNotification; upper and lower case are the same.",
    )
    firmware: Versions | None = Field(
        default=None,
        description="firmwareVersion of BootNotification: `<1.4`, `>=1.2,<1.4` (both hold), `!=2.0`, or a "
        "pattern. Numbers between dots are compared as numbers, what follows them as text. Of a list, one "
        "must fit.",
    )
    source: Networks | None = Field(
        default=None, description="Networks the charge point speaks from: `10.20.0.0/16`."
    )
    listener: Names | None = Field(
        default=None, description="The listeners it comes in at, names of `listeners`."
    )
    known: Annotated[bool, kinds.FLAG] | None = Field(
        default=None,
        description="Whether it is listed under `chargers`. `false` lets in unknown charge points, whatever "
        "`gateway.unknown` says.",
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_any(cls, data: Any) -> Any:
        if data == "any":
            return {"charger": ["*"]}
        if data == {}:
            raise ValueError("has no condition: write any, or {charger: [BER-*]}")
        if isinstance(data, Match | Mapping):
            return data
        raise ValueError(f"expected any or {{charger: [BER-*]}}, found {describe(data)}")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"const": "any"}, handler.resolve_ref_schema(handler(core))]}


class Reject(Section):
    """How charge points are turned away that no central system is for."""

    boot_status: Annotated[Literal["Rejected", "Pending"], kinds.words("Rejected", "Pending")] = Field(
        default="Rejected", description="The status their BootNotification is answered with."
    )
    interval: Annotated[float, kinds.duration("1s", "7d")] = Field(  # seconds
        default=3600.0, description="The interval in that answer: when they may try again."
    )
    error: Annotated[str, kinds.words(*FAULT_BY_CODE)] = Field(
        default="SecurityError",
        description="The error their other calls are answered with, a code of OCPP-J.",
    )
    description: Annotated[str, kinds.TEXT] = Field(
        default="this charge point is not served here", description="The sentence in that error."
    )


class Failover(Section):
    """When a route turns to its second central system, and back."""

    after: Annotated[float, kinds.duration("0s", "24h")] = Field(  # seconds
        default=30.0, description="How long `upstream` must be unreachable before `fallback` takes over."
    )
    back_after: Annotated[float, kinds.duration("0s", "24h")] = Field(  # seconds
        default=60.0, description="How long `upstream` must be reachable again before it takes over again."
    )
    shared: Annotated[bool, kinds.FLAG] = Field(
        default=False,
        description="Whether the two know each other's transactions: two entrances of one central system. "
        "Otherwise messages of a running transaction wait for the one where it began.",
    )


class Identity(Section):
    """What a central system calls a charge point."""

    rewrite: Annotated[str, kinds.REGEX] = Field(
        description="A regular expression that is searched in the identity the charge point gives itself: "
        "`^EVB-(.*)$`. What it does not find is not changed."
    )
    to: Annotated[str, kinds.REPLACEMENT] = Field(
        description="What is written in the place of what was found; `\\1` is the first group."
    )

    @model_validator(mode="after")
    def _template_fits(self) -> Identity:
        try:
            re.sub(self.rewrite, self.to, "")
        except (re.error, IndexError) as problem:
            raise ValueError(f"to does not fit rewrite: {problem}") from None
        return self


class Answers(Section):
    """What charge points are answered while their central system is away."""

    authorize: Annotated[Literal["cached", "none", "accept"], kinds.words("cached", "none", "accept")] = (
        Field(
            default="cached",
            description="Authorize: `cached` repeats what the central system last said of this idTag to "
            "this charge point and fails for others, `none` always fails, so that the charge point decides "
            "by its own list, `accept` accepts everybody.",
        )
    )
    start_transaction: Annotated[Literal["hold", "provisional"], kinds.words("hold", "provisional")] = Field(
        default="hold",
        description="StartTransaction: `hold` waits for the central system (`offline.hold`), then closes the "
        "connection without an answer, so that the charge point keeps the message; `provisional` answers "
        "with a transaction id of the gateway, which is replaced in every later message.",
    )
    boot_notification: Annotated[
        Literal["last", "pending", "hold"], kinds.words("last", "pending", "hold")
    ] = Field(
        default="last",
        description="BootNotification: `last` accepts a charge point that was accepted before, with the "
        "same interval, `pending` answers Pending, `hold` waits for the central system.",
    )
    late_refusal: Annotated[Literal["stop", "record"], kinds.words("stop", "record")] = Field(
        default="stop",
        description="What follows when the central system refuses a transaction that was begun without it: "
        "`stop` sends RemoteStopTransaction to the charge point, `record` only tells.",
    )


class OwnAnswers(Section):
    """What differs for the charge points of one route."""

    authorize: (
        Annotated[Literal["cached", "none", "accept"], kinds.words("cached", "none", "accept")] | None
    ) = Field(default=None, description="Authorize, as in `offline.answer`.")
    start_transaction: (
        Annotated[Literal["hold", "provisional"], kinds.words("hold", "provisional")] | None
    ) = Field(default=None, description="StartTransaction, as in `offline.answer`.")
    boot_notification: (
        Annotated[Literal["last", "pending", "hold"], kinds.words("last", "pending", "hold")] | None
    ) = Field(default=None, description="BootNotification, as in `offline.answer`.")
    late_refusal: Annotated[Literal["stop", "record"], kinds.words("stop", "record")] | None = Field(
        default=None, description="Refused transactions, as in `offline.answer`."
    )


class Queue(Section):
    """How much is kept for central systems that are away. What is beyond is not acknowledged."""

    per_charger: Annotated[int, kinds.whole(1, 1_000_000)] = Field(
        default=2000, description="Messages of one charge point."
    )
    per_charger_size: Annotated[int, kinds.size("1KiB", "1GiB")] = Field(  # bytes
        default=4 * 1024 * 1024, description="Bytes of them."
    )
    total: Annotated[int, kinds.whole(1, 100_000_000)] = Field(
        default=500_000, description="Messages of all charge points."
    )
    total_size: Annotated[int, kinds.size("1KiB", "1024GiB")] = Field(  # bytes
        default=1024 * 1024 * 1024, description="Bytes of them."
    )
    max_age: Annotated[float, kinds.duration("1m", "365d")] = Field(  # seconds
        default=30 * 86400.0,
        description="How long a message is kept; an older one is dropped, counted and logged.",
    )


class Offline(Section):
    """What happens while a central system is away."""

    answer: Answers = Field(default=Answers(), description="What charge points are answered.")
    hold: Annotated[float, kinds.duration("0s", "5m")] = Field(  # seconds
        default=20.0, description="How long a StartTransaction waits for its central system."
    )
    authorizations: Annotated[float, kinds.duration("0s", "8760h")] = Field(  # seconds
        default=30 * 86400.0,
        description="How long an answer to Authorize may be repeated; an expiryDate in it counts too.",
    )
    queue: Queue = Field(default=Queue(), description="What is kept.")
    rate: Annotated[float, kinds.rate("1/h", "100000/s")] = Field(  # messages per second
        default=500.0,
        description="How fast kept messages are sent when a central system is back, all charge points "
        "together.",
    )
    attempts: Annotated[int, kinds.whole(1, 1000)] = Field(
        default=3,
        description="After so many refusals (CALLERROR, fault) a kept message is parked: `wattbridge queue` "
        "shows it, and the next one is sent.",
    )
    retry: Annotated[float, kinds.duration("100ms", "24h")] = Field(  # seconds
        default=10.0, description="How long after a refusal it is sent again; twice that after the second."
    )
    boot_after_restart: Annotated[bool, kinds.FLAG] = Field(
        default=False,
        description="Whether the last BootNotification of a SOAP charge point is sent again when its session "
        "comes back after a restart of the gateway.",
    )


class History(Section):
    """Which exchanges are kept for looking at, with both encodings."""

    age: Annotated[float, kinds.duration("0s", "8760h")] = Field(  # seconds
        default=72 * 3600.0, description="How long; `0s` keeps none."
    )
    size: Annotated[int, kinds.size("1MiB", "1024GiB")] = Field(  # bytes
        default=256 * 1024 * 1024, description="How much; the oldest give way."
    )
    redact: Annotated[tuple[Annotated[str, kinds.words("idTag", "AuthorizationKey")], ...], AsList] = Field(
        default=("AuthorizationKey",),
        description="What is blotted out: `idTag` (parentIdTag too), `AuthorizationKey`, the values of "
        "keys that are passwords.",
    )


class StoreSection(Section):
    """What is remembered over a restart."""

    url: Annotated[str, kinds.STORE] | None = Field(
        default=None,
        description="Where: `sqlite:///PATH`, relative to this file, or `memory`, which remembers nothing. "
        "Without it, `wattbridge.db` in `$STATE_DIRECTORY` (systemd), or else beside this file.",
    )
    replies: Annotated[float, kinds.duration("1m", "365d")] = Field(  # seconds
        default=7 * 86400.0,
        description="For how long a transaction message that is repeated gets the reply of the first.",
    )
    transactions: Annotated[float, kinds.duration("1h", "3650d")] = Field(  # seconds
        default=90 * 86400.0, description="How long transactions that have ended are remembered."
    )
    history: History = Field(default=History(), description="The message history.")


class Route(Section):
    """Which central system a charge point belongs to."""

    name: Annotated[str, kinds.NAME] = Field(description="What it is called in logs.")
    match: Match = Field(
        description="The charge points it is for: `any`, or conditions such as `{charger: [BER-*, HAM-*]}`, "
        "which must all hold."
    )
    upstream: Annotated[str, kinds.NAME] | None = Field(
        default=None,
        description="The central system they belong to, a name of `upstreams`. This, or `reject`.",
    )
    reject: Reject | None = Field(
        default=None, description="How they are turned away: instead of `upstream`."
    )
    fallback: Annotated[str, kinds.NAME] | None = Field(
        default=None,
        description="The central system that takes over while `upstream` is unreachable, a name of "
        "`upstreams`.",
    )
    failover: Failover = Field(default=Failover(), description="When `fallback` takes over.")
    mirror: Annotated[tuple[Annotated[str, kinds.NAME], ...], AsList, OneOrMore()] = Field(
        default=(),
        description="Central systems that get a copy of what charge points send, names of `upstreams`. What "
        "they answer and ask is dropped.",
    )
    mirror_queue: Annotated[int, kinds.whole(1, 100_000)] = Field(
        default=1000, description="Copies that wait for a mirror at a time; what comes on top is dropped."
    )
    identity: Identity | None = Field(
        default=None, description="What the central system calls them. Without it, what they call themselves."
    )
    check: Annotated[Literal["off", "report", "refuse"], kinds.words("off", "report", "refuse")] = Field(
        default="report",
        description="What happens to a message that breaks the schema where both sides speak the same and it "
        "passes as it is: `report` notes it, `refuse` refuses it, `off` does not look. A message that must "
        "be translated is refused in any case.",
    )
    offline: OwnAnswers | None = Field(
        default=None,
        description="What these charge points are answered while the central system is away; what is not "
        "given is that of `offline.answer`.",
    )
    subprotocol: Annotated[Literal["optional", "required"], kinds.words("optional", "required")] = Field(
        default="optional", description="Whether a WebSocket of a charge point must ask for `ocpp1.6`."
    )
    profile: Annotated[str, kinds.NAME] | None = Field(
        default=None,
        description="The profile of these charge points, one of `profiles` or one that comes with the "
        "gateway; `none` for none. Without it, what their BootNotification says.",
    )

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Route:
        if self.upstream is None and self.reject is None:
            raise ValueError("leads nowhere: write upstream and the name of a central system, or reject: {}")
        if self.upstream is not None and self.reject is not None:
            raise ValueError("has both upstream and reject: charge points are carried, or turned away")
        return self


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
    password: OptionalSecret = Field(
        default=None,
        description="The password it must present by HTTP Basic authentication, its user name being its "
        "identity (OCPP-J: AuthorizationKey), in JSON and in SOAP. Without it, none is asked for.",
    )
    upstream_password: OptionalSecret = Field(
        default=None,
        description="The password presented to central systems in its name, in the place of "
        "`auth.basic.password` there; only where `auth.basic` is.",
    )
    ping: OwnPing | None = Field(
        default=None, description="Pings on its WebSocket; what is not given is that of `websocket.ping`."
    )
    profile: Annotated[str, kinds.NAME] | None = Field(
        default=None,
        description="Its profile, one of `profiles` or one that comes with the gateway; `none` for none. "
        "Without it, that of its route, or what its BootNotification says.",
    )


class Callbacks(Section):
    """How SOAP charge points are called."""

    template: Annotated[str, kinds.TEMPLATE] | None = Field(
        default=None,
        description="Where a charge point is called that gave no usable address: `{source_ip}` is where its "
        "last request came from, `{charger}` its identity. Without it, such a charge point cannot be called.",
    )
    networks: Annotated[tuple[Annotated[Network, kinds.NETWORK], ...], AsList] = Field(
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
    tls: Tls = Field(default=Tls(), description="TLS, for charge points that are called at `https://`.")


class Sessions(Section):
    """How long a charge point counts as there."""

    alive: Annotated[float, kinds.number(1, 1000)] = Field(
        default=3.0,
        description="How many heartbeat intervals a SOAP charge point, which has no connection, may be "
        "silent before its session is closed and the central system sees it offline.",
    )
    heartbeat: Annotated[float, kinds.duration("1s", "7d")] = Field(  # seconds
        default=300.0, description="The heartbeat interval assumed until a BootNotification.conf tells it."
    )
    most: Annotated[int, kinds.whole(1, 1_000_000)] = Field(
        default=20_000,
        description="Sessions at a time. It bounds what `gateway.unknown: accept` lets in; the charge points "
        "listed under `chargers` always have room.",
    )
    linger: Annotated[float, kinds.duration("0s", "10m")] = Field(  # seconds
        default=10.0,
        description="How long the session of a JSON charge point is kept after its WebSocket, for it to come "
        "back.",
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
    per_charger: Annotated[bool, kinds.FLAG] = Field(
        default=False, description="Whether `/metrics/chargers` tells of each charge point, by its identity."
    )
    max_chargers: Annotated[int, kinds.whole(1, 1_000_000)] = Field(
        default=2000, description="How many it tells of; the others are one row, `_other`."
    )


class Tracing(Section):
    """Traces for OpenTelemetry. It needs the extra `otel`."""

    otlp: Annotated[str, kinds.OTLP_URL] = Field(
        description="Where spans go, by OTLP over HTTP; without a path, `/v1/traces` is added."
    )
    sample: Annotated[float, kinds.number(0, 1)] = Field(
        default=0.01,
        description="The share of exchanges that are traced. Of those that arrive as part of a trace, those "
        "are that whoever began it traces.",
    )
    charger: Annotated[bool, kinds.FLAG] = Field(
        default=False, description="Whether a span says which charge point it is of."
    )


class AdminTls(Section):
    """TLS of the admin interface."""

    certificate: Annotated[Path, kinds.CERTIFICATES] = Field(
        description="The certificate that is shown, and what leads from it to a known authority (PEM)."
    )
    key: Annotated[Path, kinds.KEY] = Field(
        description="The private key of that certificate, in PEM and without a password."
    )

    @model_validator(mode="after")
    def _usable(self) -> AdminTls:
        kinds.check_pair(self.certificate, self.key)
        return self


class Admin(Section):
    """The admin interface."""

    bind: Annotated[Bind, kinds.BIND] = Field(
        default=Bind("127.0.0.1", 9180),
        description="Where it is served. Elsewhere than here only with `tls`.",
    )
    token: Annotated[SecretStr, kinds.SECRET] = Field(
        description="What whoever asks must show. Written as `{env: NAME}` or `{file: path}`."
    )
    tls: AdminTls | None = Field(default=None, description="TLS. Without it, nothing is encrypted.")

    @model_validator(mode="after")
    def _not_in_the_open(self) -> Admin:
        if self.tls is None and not values.is_loopback(self.bind.host):
            raise ValueError(
                f"bind is {self.bind}, where others could read the token on its way: set tls, or bind to "
                f"127.0.0.1:{self.bind.port}"
            )
        return self


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
    listeners: Annotated[Mapping[Annotated[str, kinds.NAME], Listener], AsMapping] = Field(
        min_length=1, description="Where charge points come in, by name."
    )
    upstreams: Annotated[Mapping[Annotated[str, kinds.NAME], Upstream], AsMapping] = Field(
        min_length=1, description="Central systems, by name."
    )
    routes: Annotated[tuple[Route, ...], AsList] = Field(
        default=(),
        description="Which charge point belongs to which central system. The first match wins, the last "
        "route must match every charge point. May be left out when there is one central system.",
    )
    chargers: Annotated[Mapping[Annotated[str, kinds.IDENTITY], ChargePoint], AsMapping] = Field(
        default={}, description="Known charge points, by identity."
    )
    profiles: Annotated[Mapping[Annotated[str, kinds.NAME], Profile], AsMapping] = Field(
        default={},
        description="What makes of charge points do otherwise than OCPP says, by name. One that has the name "
        "of a profile that comes with the gateway takes its place.",
    )
    callbacks: Callbacks = Field(default=Callbacks(), description="How SOAP charge points are called.")
    websocket: WebSocket = Field(default=WebSocket(), description="The WebSockets of charge points.")
    sessions: Sessions = Field(default=Sessions(), description="How long a charge point counts as there.")
    offline: Offline = Field(default=Offline(), description="What happens while a central system is away.")
    store: StoreSection = Field(default=StoreSection(), description="What is remembered over a restart.")
    time: Time = Field(default=Time(), description="How times are read and written.")
    metrics: Metrics = Field(default=Metrics(), description="Metrics and health.")
    tracing: Tracing | None = Field(default=None, description="Traces. Without it, there are none.")
    admin: Admin | None = Field(default=None, description="The admin interface. Without it, there is none.")
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

    def zone_of(self, identity: str) -> ZoneInfo:
        known = self.chargers.get(identity)
        return known.zone if known and known.zone else self.time.zone

    def answers_of(self, route: Route) -> Answers:
        """What the charge points of a route are answered while their central system is away."""
        own = route.offline.model_dump(exclude_none=True) if route.offline else {}
        return self.offline.answer.model_copy(update=own)

    def ping_of(self, identity: str, of_profile: OwnPing | None = None) -> WebSocketPing:
        """How the WebSocket of a charge point is pinged: as is said of it, of its profile, or of all."""
        known = self.chargers.get(identity)
        own: dict[str, Any] = {}
        for section in (of_profile, known.ping if known else None):
            own |= section.model_dump(exclude_none=True) if section else {}
        return self.websocket.ping.model_copy(update=own)


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
        known = keys_of(section)[key]
        shape = shape_of(known.annotation, known.metadata)
        if isinstance(shape, Kind) and shape.quoted and "default" in inner and known.default:
            inner["default"] = shape.write(known.default)
        if isinstance(shape, Entries | Items) and not known.is_required() and "minItems" not in inner:
            if "type" in inner:
                inner["type"] = [inner["type"], "null"]
            elif known.default is not None:  # or null is among them already
                inner["anyOf"].append({"type": "null"})


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


def keys_of(section: type[Section]) -> dict[str, FieldInfo]:
    """The keys of a section as the file has them, each with its field."""
    return {known.alias or name: known for name, known in section.model_fields.items()}


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
    if isinstance(shape, type) and (known := keys_of(shape).get(str(key))):
        return shape_of(known.annotation, known.metadata)
    return None


def shape_at(loc: Loc) -> Shape | None:
    shape: Shape | None = Config
    for key in loc:
        shape = child_shape(shape, key)
    return shape

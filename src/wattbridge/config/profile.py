"""The sections of a vendor profile: what one make of charge points does otherwise than OCPP says.

The same model is read from the files that come with the gateway and from `profiles` of a configuration. How
profiles extend each other, and whether their rules fit the messages of OCPP, is in ``profiles.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, model_validator

from wattbridge.config import kinds
from wattbridge.config.sections import (
    AnyOf,
    AsList,
    AsMapping,
    OneOrMore,
    OwnPing,
    Section,
    Versions,
)
from wattbridge.ocpp.reasons import PROFILE_RULES

_Path = Annotated[str, kinds.FIELD_PATH]
_Value = Annotated[str, kinds.VALUE]
_Lines = Annotated[tuple[Annotated[str, kinds.TEXT], ...], AsList, OneOrMore()]
_Makes = Annotated[tuple[Annotated[str, kinds.MAKE_GLOB], ...], Field(min_length=1), OneOrMore()]
_Paths = Annotated[tuple[_Path, ...], AsList, OneOrMore()]


class Product(Section):
    """A product that a profile is for."""

    vendor: _Makes | None = Field(
        default=None,
        description='Patterns for chargePointVendor of BootNotification, as in a route; `""` is for one that '
        "is empty or missing.",
    )
    model: _Makes | None = Field(
        default=None, description="Patterns for chargePointModel of BootNotification, likewise."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Product:
        if self.vendor is None and self.model is None:
            raise ValueError("would fit every charge point: write vendor, model or both")
        return self


class ProfileTime(Section):
    """Times of these charge points."""

    zone: Annotated[ZoneInfo, kinds.ZONE] | None = Field(
        default=None,
        description="The zone of their times without an offset; `zone` of the charge point counts more.",
    )
    precision: (
        Annotated[Literal["seconds", "milliseconds"], kinds.words("seconds", "milliseconds")] | None
    ) = Field(
        default=None,
        description="How times are written to them: `seconds` without a fraction, `milliseconds` with three "
        "digits. Without it, as the central system wrote them.",
    )
    z: Annotated[Literal["utc", "local"], kinds.words("utc", "local")] = Field(
        default="utc",
        description="What a Z behind their times means: `local` for those that put it behind local time.",
    )


class ProfileSoap(Section):
    """How OCPP-S is spoken with them."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    prefix: Annotated[str, kinds.PREFIX] | None = Field(
        default=None, description="The XML prefix of elements of OCPP that are written to them."
    )
    from_header: Annotated[Literal["address", "text", "none"], kinds.words("address", "text", "none")] = (
        Field(
            default="address",
            alias="from",
            description="wsa:From of calls to them: with an Address inside, with the URL as its text, or "
            "`none`.",
        )
    )
    reply_to: Annotated[bool, kinds.FLAG] = Field(
        default=True, description="Whether calls to them have wsa:ReplyTo."
    )
    must_understand: Annotated[bool, kinds.FLAG] = Field(
        default=True,
        description="Whether wsa:Action and wsa:To of calls to them are marked mustUnderstand.",
    )
    to: Annotated[Literal["called", "from"], kinds.words("called", "from")] = Field(
        default="called",
        description="wsa:To of calls to them: the address that is `called`, or the one that they give `from` "
        "themselves, where they are called at another. `to` of the charge point counts more.",
    )
    fault_status: Annotated[int, kinds.whole(200, 599)] | None = Field(
        default=None,
        description="The HTTP status of faults they are answered with; 200 for those that read nothing else. "
        "Without it, 400 or 500.",
    )


class ProfileWebSocket(Section):
    """How their WebSockets are taken in; only where the profile is known before, by name or from earlier."""

    subprotocol: Annotated[Literal["optional", "required"], kinds.words("optional", "required")] | None = (
        Field(
            default=None,
            description="Whether they must ask for `ocpp1.6`; without it, what their route says.",
        )
    )
    also: Annotated[tuple[Annotated[str, kinds.SUBPROTOCOL], ...], AsList, OneOrMore()] = Field(
        default=(), description="Other names that they may ask for and that mean OCPP 1.6."
    )
    ping: OwnPing | None = Field(
        default=None,
        description="Pings; what is not given is that of `websocket.ping`. `ping` of the charge point counts "
        "more.",
    )


class ProfileCalls(Section):
    """How central systems' calls to them are carried."""

    timeout: Annotated[float, kinds.duration("100ms", "1h")] | None = Field(  # seconds
        default=None,
        description="How long a reply of theirs may take; without it, `callbacks.timeout` or "
        "`websocket.call_timeout`.",
    )
    retries: Annotated[int, kinds.whole(0, 10)] = Field(
        default=0,
        description="How often a call that did not reach them is tried again; one that may have reached them "
        "only when it changes nothing.",
    )
    retry_after: Annotated[float, kinds.duration("0s", "1m")] = Field(  # seconds
        default=1.0, description="How long after it failed."
    )
    answered_here: Annotated[tuple[Annotated[str, kinds.ACTION], ...], AsList, OneOrMore()] = Field(
        default=(),
        description="Actions they must not be asked for: the gateway answers with what it knows of them.",
    )


class ProfileText(Section):
    """Texts of theirs."""

    truncate: _Paths = Field(
        default=(),
        description="Texts that are cut to the length OCPP allows, by the names of their fields; `*` for "
        "all but ids of tags.",
    )


class Unknown(Section):
    """What becomes of words that OCPP does not know."""

    becomes: _Value = Field(description="The word that is read instead.")
    keep: _Paths = Field(
        default=("vendorErrorCode", "info"),
        description="Fields beside it that may keep what stood there; the first one that is free does.",
    )


class AliasRule(Section):
    """A field that they expect under another name."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    action: Annotated[str, kinds.ACTION] = Field(description="The action.")
    part: Annotated[Literal["request", "response"], kinds.words("request", "response")] = Field(
        default="response", description="Its .req or its .conf."
    )
    field: _Path = Field(description="The name of the field in OCPP 1.6.")
    name: _Path = Field(alias="as", description="The name they expect.")
    instead: Annotated[bool, kinds.FLAG] = Field(
        default=False, description="Whether the other name is left out; otherwise both are written."
    )


class FieldsRule(Section):
    """What is changed in one message: in what they say when it has been read, in what they are told before
    it is written.
    """

    action: Annotated[str, kinds.ACTION] = Field(description="The action.")
    part: Annotated[Literal["request", "response"], kinds.words("request", "response")] = Field(
        default="request", description="Its .req or its .conf."
    )
    when: Annotated[
        Mapping[_Path, Annotated[tuple[_Value | None, ...], Field(min_length=1), AnyOf()]], AsMapping
    ] = Field(
        default={},
        description="What must hold: fields, each with one pattern for its value, or several of which one "
        "must fit; nothing stands for a field that is not there.",
    )
    set: Annotated[Mapping[_Path, _Value], AsMapping] = Field(
        default={}, description="Fields and the values they get."
    )
    drop: _Paths = Field(default=(), description="Fields that are left out, and items of lists.")
    scale: Annotated[Mapping[_Path, Annotated[Decimal, kinds.FACTOR]], AsMapping] = Field(
        default={}, description="Fields with numbers, and what these are multiplied by."
    )

    @model_validator(mode="after")
    def _changes_something(self) -> FieldsRule:
        if not (self.set or self.drop or self.scale):
            raise ValueError("changes nothing: write set, drop or scale")
        return self


class Sample(Section):
    """A message with what becomes of it, as a test of the profile."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    title: Annotated[str, kinds.TEXT] = Field(description="What it shows, in a sentence.")
    comes: Annotated[str, kinds.WIRE] | None = Field(
        default=None, alias="in", description="The message as it comes in: a SOAP envelope or a frame."
    )
    goes: Annotated[str, kinds.WIRE] | None = Field(
        default=None,
        alias="out",
        description="The message as it goes out. Message ids of envelopes do not count, nor do blanks "
        "between elements.",
    )
    action: Annotated[str, kinds.ACTION] | None = Field(
        default=None, description="What a reply is to, where it does not say so itself."
    )
    quirks: Annotated[
        tuple[Annotated[str, kinds.words(*sorted(PROFILE_RULES))], ...], AsList, OneOrMore()
    ] = Field(default=(), description="The rules that apply, all of them.")
    status: Annotated[int, kinds.whole(200, 599)] | None = Field(
        default=None, description="The HTTP status that a fault goes out with."
    )
    offers: Annotated[tuple[_Value, ...], AsList, OneOrMore()] | None = Field(
        default=None, description="In the place of a message: the subprotocols that a WebSocket asks for."
    )
    serves: Annotated[bool, kinds.FLAG] = Field(
        default=True, description="Whether such a WebSocket is served."
    )
    answered_here: Annotated[bool, kinds.FLAG] = Field(
        default=False, description="Whether the gateway answers the message itself, so that nothing goes out."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Sample:
        if (self.comes is None) == (self.offers is None):
            raise ValueError("needs a message that comes in (in), or what a WebSocket offers (offers)")
        if self.comes is not None and (self.goes is None) != self.answered_here:
            raise ValueError("needs the message that goes out (out), or answered_here: yes")
        return self


class Profile(Section):
    """What one make of charge points does otherwise."""

    name: Annotated[str, kinds.NAME] | None = Field(
        default=None, description="Its name, in a file of its own; here it is the key."
    )
    title: Annotated[str, kinds.TEXT] | None = Field(
        default=None, description="What people call these charge points."
    )
    extends: Annotated[str, kinds.NAME] | None = Field(
        default=None,
        description="Another profile whose rules hold, too: one of `profiles`, or one that comes with the "
        "gateway. What is said here counts more.",
    )
    products: Annotated[tuple[Product, ...], AsList] = Field(
        default=(),
        description="The charge points it is for, by what their BootNotification says; one of these must "
        "fit. Without any, it is only for charge points and routes that name it.",
    )
    firmware: Versions | None = Field(
        default=None, description="The versions of firmware it is for, as in a route; without it, all."
    )
    evidence: _Lines = Field(
        default=(), description="Where it was seen that they do so: `steve #12`, a manual, a trace."
    )
    requirements: _Lines = Field(
        default=(), description="What whoever installs such a charge point has to see to."
    )
    rewrite: Annotated[bool, kinds.FLAG] = Field(
        default=False,
        description="Whether their messages are read and written anew where they could pass as they are, so "
        "that everything that is forgiven elsewhere is mended. Rules for payloads always do so.",
    )
    time: ProfileTime = Field(default=ProfileTime(), description="Their times.")
    soap: ProfileSoap = Field(default=ProfileSoap(), description="How OCPP-S is spoken with them.")
    websocket: ProfileWebSocket = Field(default=ProfileWebSocket(), description="Their WebSockets.")
    calls: ProfileCalls = Field(default=ProfileCalls(), description="Calls to them.")
    text: ProfileText = Field(default=ProfileText(), description="Texts of theirs.")
    values: Annotated[Mapping[_Path, Annotated[Mapping[_Value, _Value], AsMapping]], AsMapping] = Field(
        default={},
        description="Words of theirs and what they mean, by field: `unit: {Kwh: kWh}`. A field is named by "
        "as much of the end of its path as is needed.",
    )
    unknown: Annotated[Mapping[_Path, Unknown], AsMapping] = Field(
        default={}, description="What becomes of words that OCPP does not know, by field."
    )
    defaults: Annotated[Mapping[_Path, _Value], AsMapping] = Field(
        default={}, description="What is read where a field is missing or empty, by field."
    )
    aliases: Annotated[tuple[AliasRule, ...], AsList] = Field(
        default=(), description="Fields that they expect under another name."
    )
    fields: Annotated[tuple[FieldsRule, ...], AsList] = Field(
        default=(), description="What is changed in messages, in this order."
    )
    samples: Annotated[tuple[Sample, ...], AsList] = Field(
        default=(), description="Messages with what becomes of them, for `wattbridge profile test`."
    )

"""The shapes of what is asked and answered about messages, for the OpenAPI document and the tests."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from wattbridge.operation.api.models import Shape
from wattbridge.operation.trace.capture import MOST_BYTES, MOST_RECORDS, USUAL_BYTES, USUAL_RECORDS

Direction = Literal["to_csms", "to_charger"]
Outcome = Literal["ok", "kept", "offline", "local", "repeat", "failed"]
Transport = Literal["", "soap", "json"]


class MessageRow(Shape):
    number: int = Field(description="of the history; it grows")
    time: str
    charger: str
    action: str
    direction: Direction
    charger_transport: Transport
    csms_transport: Transport
    charger_version: str
    csms_version: str
    outcome: Outcome
    reason: str = Field(description="why it failed; empty when it did not")
    ms: float = Field(description="what the asking party waited")
    peer_ms: float = Field(description="how long the asked one had the call")
    route: str
    upstream: str
    profile: str
    losses: int
    changes: int
    size: int = Field(description="of the largest of its messages, in bytes")


class Messages(Shape):
    messages: list[MessageRow]
    cursor: str | None = None


class MessageSide(Shape):
    transport: Transport
    version: str
    message_id: str
    call: str
    reply: str
    call_bytes: int = Field(description="of the call as it travelled; less of it may be kept")
    reply_bytes: int
    call_note: str = Field(description="why less of it is kept, in a sentence")
    reply_note: str


class MessageSides(Shape):
    charger: MessageSide
    csms: MessageSide


class MessageNote(Shape):
    side: Literal["", "charger", "csms"]
    message: Literal["", "call", "reply"]
    what: Literal["changed", "lost", "breach"]
    path: str
    value: str
    became: str
    rule: str
    reason: str
    said: str = Field(description="the rule in a sentence")


class Step(Shape):
    at_ms: float
    what: str


class Timings(Shape):
    read_ms: float
    peer_ms: float
    write_ms: float
    own_ms: float = Field(description="the gateway's own share")


class Pair(Shape):
    """Two places that are the same field. ``soap`` and ``json`` are there where one side is each."""

    message: Literal["call", "reply"]
    charger: str
    csms: str
    soap: str | None = None
    json_: str | None = Field(default=None, alias="json")


class MessageWhole(MessageRow):
    known_as: str
    source: str
    asked_by: Literal["charge_point", "central_system", "operator"]
    outcome_said: str
    sides: MessageSides
    notes: list[MessageNote]
    timeline: list[Step]
    legs: Timings
    pairs: list[Pair]


class FilterFields(Shape):
    filter: str = Field(description="the filter as it was understood")
    fields: dict[str, str]


class ExchangeFiles(Shape):
    folder: str
    files: dict[str, str]


class WantedCapture(Shape):
    filter: str = Field(default="", max_length=2000)
    charger: str = Field(default="", max_length=255)
    network: str = Field(default="", max_length=60)
    name: str = Field(default="", max_length=100)
    for_: str = Field(default="10m", alias="for", description="how long: 10m, at most 7d", max_length=60)
    records: int = Field(default=USUAL_RECORDS, ge=1, le=MOST_RECORDS)
    bytes: int = Field(default=USUAL_BYTES, ge=1, le=MOST_BYTES)


class Capture(Shape):
    id: str
    name: str
    filter: str
    state: Literal["running", "ended", "deleted"]
    reason: str = Field(description="why it has ended")
    began: str
    ends: str
    ended: str | None
    records: int
    bytes: int
    limit_records: int
    limit_bytes: int


class Captures(Shape):
    traces: list[Capture]


class Explained(Shape):
    explained: list[dict[str, Any]]


class ToTranslate(Shape):
    message: str = Field(min_length=1, max_length=60_000, description="an envelope or a frame")
    to: Literal["", "json", "soap"] = Field(default="", description="empty for the other one")
    version: Literal["1.6", "1.5", "1.2"] = Field(default="1.6", description="of OCPP, of an envelope")
    action: str = Field(default="", max_length=100, description="what a reply is to")
    charger: str = Field(default="", max_length=255, description="whom it is of, where it does not say so")
    profile: str = Field(default="", max_length=100)


class TranslationNote(Shape):
    what: Literal["changed", "lost", "breach"]
    path: str
    value: str
    became: str
    rule: str
    reason: str
    said: str


class Translated(Shape):
    form: Literal["soap", "json"]
    action: str
    charger: str
    message_id: str
    text: str
    status: int = Field(description="of HTTP, where it answers SOAP; else 0")
    notes: list[TranslationNote]
    answered_here: dict[str, Any] | None = Field(
        description="what the gateway answers, where it sends nothing"
    )

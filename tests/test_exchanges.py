"""Every exchange under ``exchanges/`` goes through the pure core as its files say, byte for byte.

The files are the witnesses: written from the specifications, not by the code. A second opinion comes from
outside: what the gateway writes is held against the service descriptions by libxml2's own validator, and
against the JSON schemas of the ``ocpp`` package. Where a party speaks OCPP 1.2 or 1.5, the descriptions are
those of its version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from jsonschema import Draft4Validator, FormatChecker  # type: ignore[import-untyped]
from lxml import etree

from tests.exchange_files import (
    CENTRAL_SYSTEM_URL,
    CHARGE_POINT_URL,
    EXCHANGES,
    GATEWAY_URL,
    IDENTITY,
    MESSAGE_ID,
    NOW,
    OF_OLDER_VERSIONS,
    SOAP_MESSAGE_ID,
    Exchange,
    load_exchanges,
    load_older_exchanges,
    note_line,
)
from wattbridge.ocpp import local_answers, older, security_extension, soap
from wattbridge.ocpp.actions import JsonCodec, described_operations, dialect, in_words_of_soap
from wattbridge.ocpp.differences import answered_here
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Call, CallError, CallResult, Note, Reply, Side
from wattbridge.ocpp.ocppj import BrokenFrame, CallFrame, Ended, Endpoint, ErrorFrame, ResultFrame
from wattbridge.ocpp.shapes import Field
from wattbridge.ocpp.wsdl import descriptions_folder
from wattbridge.relay.stand_in import StandIn

OF_16 = load_exchanges()
OLDER = load_older_exchanges()
ALL = OF_16 + OLDER

# Who is asked for what (OCPP 1.6, 4 and 5).
ASKED_OF_THE_CENTRAL_SYSTEM = {
    "Authorize", "BootNotification", "DataTransfer", "DiagnosticsStatusNotification",
    "FirmwareStatusNotification", "Heartbeat", "MeterValues", "StartTransaction", "StatusNotification",
    "StopTransaction",
}  # fmt: skip
ASKED_OF_THE_CHARGE_POINT = {
    "CancelReservation", "ChangeAvailability", "ChangeConfiguration", "ClearCache", "ClearChargingProfile",
    "DataTransfer.from-central-system", "GetCompositeSchedule", "GetConfiguration", "GetDiagnostics",
    "GetLocalListVersion", "RemoteStartTransaction", "RemoteStopTransaction", "ReserveNow", "Reset",
    "SendLocalList", "SetChargingProfile", "TriggerMessage", "UnlockConnector", "UpdateFirmware",
}  # fmt: skip

# Charge points and central systems number transactions as they like, and the gateway passes it on
# (steve #740); xs:int ends at 2147483647.
BEYOND_INT32 = {"RemoteStopTransaction/beyond-int32", "StartTransaction/transaction-beyond-int32"}

ENDPOINT_URL = {"charge_point": CHARGE_POINT_URL, "central_system": CENTRAL_SYSTEM_URL}

exchanges = pytest.mark.parametrize("exchange", ALL, ids=lambda exchange: exchange.id)


# ---------------------------------------------------------------------------- through the core


@dataclass(frozen=True, slots=True)
class Arrived:
    """A call that was read, and how its sender is answered: the reply as bytes, HTTP status and notes."""

    call: Call
    notes: tuple[Note, ...]
    write: Callable[[Reply], tuple[bytes, int | None, tuple[Note, ...]]]


@dataclass(frozen=True, slots=True)
class Carried:
    """What the gateway wrote on both sides; ``relayed`` is None when it answered by itself."""

    relayed: bytes | None
    replied: bytes
    status: int | None  # of the HTTP response; None when a frame was the reply
    notes: tuple[Note, ...]


class RefusedHere(Exception):
    """The call breaks its schema; ``replied`` and ``status`` are what its sender is answered."""

    def __init__(self, replied: bytes, status: int | None) -> None:
        super().__init__(replied)
        self.replied = replied
        self.status = status


def carry(exchange: Exchange) -> Carried:
    """Take one call across and its reply back, as links and session do it."""
    arrive = {"soap": arrive_as_soap, "json": arrive_as_json}[exchange.transports[exchange.asked_by]]
    asked = Side(exchange.asked)
    try:
        arrived = arrive(exchange.messages[0], asked)
    except RefusedHere as refused:
        return Carried(None, refused.replied, refused.status, ())
    assert arrived.call.action == exchange.action

    here = answered_here(arrived.call, arrived.notes)
    if here is not None:
        replied, status, notes = arrived.write(here)
        return Carried(None, replied, status, arrived.notes + notes)
    call, notes_of_before = as_known(arrived.call, exchange)
    relayed, reply, notes_on_the_way = ask(call, exchange)
    replied, status, notes = arrived.write(reply)
    return Carried(relayed, replied, status, arrived.notes + notes_of_before + notes_on_the_way + notes)


def as_known(call: Call, exchange: Exchange) -> tuple[Call, tuple[Note, ...]]:
    """*call* with what the exchanges before it tell of it."""
    if exchange.asked_by != "charge_point":
        return call, ()
    for earlier in exchange.before:
        if earlier.action == "GetLog" and call.action == "DiagnosticsStatusNotification":
            asked, result = json.loads(earlier.messages[0]), json.loads(earlier.messages[3])
            if result[2]["status"] == "Accepted":
                log = security_extension.log_asked_by(Call("GetLog", asked[3]))
                assert log is not None
                return security_extension.log_status(call.payload, log), ()
    if older.asks_for_connector(call, exchange.version("charge_point")):
        return older.understood(call, connector_of(call, exchange.before))
    return call, ()


def connector_of(call: Call, before: tuple[Exchange, ...]) -> older.Connector:
    """What was said of the connector that *call* speaks of: is a transaction open, or was one before?"""
    known = older.UNKNOWN
    for earlier in before:
        relayed, reply = (json.loads(message) for message in earlier.messages[1:3] if message is not None)
        said, answered = relayed[3], reply[2]
        here = said.get("connectorId") == call.payload["connectorId"]
        if relayed[2] == "StartTransaction" and here:
            known = older.Connector(answered["transactionId"])
        elif relayed[2] == "StopTransaction" and said["transactionId"] == known.transaction_id:
            known = older.Connector(has_charged=True)
        elif relayed[2] == "StatusNotification" and here:
            known = older.UNKNOWN if said["status"] == "Available" else known
    return known


def ask(call: Call, exchange: Exchange) -> tuple[bytes | None, Reply, tuple[Note, ...]]:
    """Ask the other party, or answer for it; what was written to it is None then."""
    asked, transport = Side(exchange.asked), exchange.transports[exchange.asked]
    version = exchange.version(exchange.asked)
    speaks = f"{transport} {version}"
    row = local_answers.find(asked, speaks, call.action)
    if row is not None:
        other, notes_of_reading = in_words_of_soap(call) if row.story == "other-name" else (None, [])
        if isinstance(other, Call):
            relayed, reply, notes = ask(other, exchange)
            return relayed, security_extension.reply_to(call, reply), (*notes_of_reading, *notes)
        if row.story == "configuration":
            return None, as_configured(exchange.before).configuration(call, None), ()
        lost = (local_answers.only_recorded(call),) if row.story == "data-transfer" else ()
        return None, other or row.reply(speaks), lost
    untold = older.untold(call, version) if asked is Side.CENTRAL_SYSTEM else None
    if untold is not None:
        return None, *untold
    answer = exchange.messages[2]
    assert answer is not None, f"the gateway asks the {asked.value} for {call}"
    if transport == "json":
        return ask_over_json(call, asked, answer)
    return ask_over_soap(call, asked, version, answer)


def as_configured(before: tuple[Exchange, ...]) -> StandIn:
    """Who stands in for a charge point that has accepted these changes of its configuration."""
    stand_in = StandIn(IDENTITY)
    for earlier in before:
        call, result = json.loads(earlier.messages[0]), json.loads(earlier.messages[3])
        stand_in.configured(Call(call[2], call[3]), CallResult(result[2]), now=0.0)
    return stand_in


def arrive_as_soap(text: bytes, asked: Side) -> Arrived:
    envelope = soap.read_envelope(text)
    assert envelope.identity == IDENTITY
    try:
        read = soap.read_call(envelope, dialect(), asked)
    except Violation as broken:
        fault = soap.write_fault(envelope, CallError(broken.code, str(broken)), SOAP_MESSAGE_ID)
        raise RefusedHere(fault.body, fault.status) from None

    def write(reply: Reply) -> tuple[bytes, int | None, tuple[Note, ...]]:
        written = soap.write_reply(envelope, read.operation, reply, dialect(), SOAP_MESSAGE_ID)
        return written.body, written.status, written.notes

    return Arrived(read.call, read.notes, write)


def arrive_as_json(text: bytes, asked: Side) -> Arrived:
    endpoint = Endpoint(lambda: MESSAGE_ID)
    assert endpoint.receive(text, now=0.0) == []
    frame = endpoint.next_call()
    assert isinstance(frame, CallFrame)
    codec = JsonCodec(dialect(), asked.other)
    try:
        call, notes = codec.read_call(frame.action, frame.payload)
    except Violation as broken:
        error = CallError(broken.code, str(broken), {"path": broken.path})
        raise RefusedHere(endpoint.reply(frame.message_id, error).encode(), None) from None

    def write(reply: Reply) -> tuple[bytes, int | None, tuple[Note, ...]]:
        notes: list[Note] = []
        if isinstance(reply, CallResult):
            payload, notes = codec.write_result(call.action, reply.payload)
            reply = CallResult(payload)
        return endpoint.reply(frame.message_id, reply).encode(), None, tuple(notes)

    return Arrived(call, (*frame.notes, *notes), write)


def ask_over_soap(
    call: Call, asked: Side, version: str, answer: bytes
) -> tuple[bytes, Reply, tuple[Note, ...]]:
    addressing = soap.Addressing(IDENTITY, ENDPOINT_URL[asked.value], GATEWAY_URL)
    spoken = dialect(version)
    written = soap.write_call(call, addressing, spoken, asked, lambda: SOAP_MESSAGE_ID)
    status = 500 if b"Fault>" in answer else 200
    content_type = "text/html" if answer.startswith(b"<html") else "application/soap+xml; charset=utf-8"
    operation = spoken.operation(asked, call.action)
    reply, notes = soap.read_reply(status, content_type, answer, operation)
    if isinstance(reply, CallResult) and call.action == "BootNotification":
        reply, told = older.with_time(reply, NOW)
        notes += told
    return written.body, reply, written.notes + notes


def ask_over_json(call: Call, asked: Side, answer: bytes) -> tuple[bytes, Reply, tuple[Note, ...]]:
    codec, endpoint = JsonCodec(dialect(), asked), Endpoint(lambda: MESSAGE_ID)
    payload, notes = codec.write_call(call)
    endpoint.call(Call(call.action, payload), now=0.0)
    [relayed] = endpoint.outgoing
    [event] = endpoint.receive(answer, now=0.0)
    assert isinstance(event, Ended)
    reply: Reply
    if isinstance(event.outcome, ResultFrame):
        notes += event.outcome.notes
        try:
            read, notes_read = codec.read_result(call.action, event.outcome.payload)
        except Violation as broken:
            # Who sent it is to blame, not who asked: a code that blames the call would be wrong.
            party = asked.value.replace("_", " ")
            problem = f"the reply of the {party} breaks the rules: {broken}"
            reply = CallError("InternalError", problem, {"code": broken.code, "path": broken.path})
        else:
            reply = CallResult(read)
            notes += notes_read
    else:
        assert isinstance(event.outcome, ErrorFrame | BrokenFrame)
        assert isinstance(event.outcome, ErrorFrame), event.outcome
        reply = CallError(event.outcome.code, event.outcome.description, event.outcome.details)
        notes += event.outcome.notes
    return relayed.encode(), reply, tuple(notes)


def expected_status(replied: bytes) -> int:
    """The HTTP status that goes with a SOAP response (SOAP 1.2 part 2, 7.5.2.2; SOAP 1.1, 6.2)."""
    if b"<soap:Fault>" not in replied:
        return 200
    return 400 if b"<soap:Value>soap:Sender</soap:Value>" in replied else 500


@exchanges
def test_exchange_goes_as_its_files_say(exchange: Exchange) -> None:
    carried = carry(exchange)
    _, relayed, _, replied = exchange.messages
    assert text_of(carried.relayed) == text_of(relayed)
    assert text_of(carried.replied) == text_of(replied)
    if exchange.transports[exchange.asked_by] == "soap":
        assert carried.status == expected_status(replied)
    # Nothing is changed or lost in silence, and nothing is noted that did not happen.
    assert [note_line(note) for note in carried.notes] == list(exchange.notes)


def text_of(message: bytes | None) -> str | None:
    """As text, for pytest to show where two differ."""
    return None if message is None else message.decode()


# ---------------------------------------------------------------------------- the second opinion


@cache
def service_schema(version: str, service: str) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(descriptions_folder() / version / f"{service}.xsd"))


@cache
def json_schema(name: str) -> dict[str, Any]:
    """The JSON schema of a payload: ``Reset``, ``ResetResponse``. Numbers in it are Decimal, so that 8.1 is a
    multiple of 0.1."""
    file = resources.files("ocpp") / "v16" / "schemas" / f"{name}.json"
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8-sig"), parse_float=Decimal)
    return schema


formats = FormatChecker(formats=())


def is_date_time(text: object) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", str(text)) is not None


def is_uri(text: object) -> bool:
    return bool(urlsplit(str(text)).scheme)


formats.checks("date-time")(is_date_time)
formats.checks("uri")(is_uri)


def payload_of(envelope: bytes) -> etree._Element:
    """The element in the Body of one SOAP message."""
    [body] = etree.fromstring(envelope).iterchildren("{*}Body")
    [payload] = body
    return payload


def problems_of(exchange: Exchange, number: int) -> list[str]:
    """What is wrong with message 1 to 4 of an exchange, by the published schemas. An error reply has none."""
    message = exchange.messages[number - 1]
    party = exchange.asked_by if number in (1, 4) else exchange.asked
    if message is None:
        return []
    if exchange.transports[party] == "soap":
        payload = payload_of(message)
        if etree.QName(payload).localname == "Fault":
            return []
        service = {"central_system": "CentralSystemService", "charge_point": "ChargePointService"}
        schema = service_schema(exchange.version(party), service[exchange.asked])
        return [] if schema.validate(payload) else [str(schema.error_log)]
    frame = json.loads(message, parse_float=Decimal)
    if frame[0] == 4:
        return [] if len(frame) == 5 and isinstance(frame[4], dict) else [f"no CALLERROR: {frame}"]
    validator = Draft4Validator(json_schema(name_of(exchange, number)), format_checker=formats)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(frame[-1])]


def name_of(exchange: Exchange, number: int) -> str:
    """The name of the schema of a frame; the gateway may ask for something under another name."""
    action = exchange.action
    if number in (2, 3):
        action = json.loads(exchange.messages[1] or b"")[2]
    return action if number in (1, 2) else f"{action}Response"


@exchanges
def test_what_is_written_keeps_to_the_published_schemas(exchange: Exchange) -> None:
    if exchange.id in BEYOND_INT32:
        assert problems_of(exchange, 2) + problems_of(exchange, 4)
    else:
        assert problems_of(exchange, 2) + problems_of(exchange, 4) == []


@exchanges
def test_full_and_minimal_are_what_the_schemas_allow_from_end_to_end(exchange: Exchange) -> None:
    """Every other case may show what peers do against the schemas; these two are the specification."""
    if exchange.case in ("full", "minimal"):
        assert [problem for number in (1, 3) for problem in problems_of(exchange, number)] == []


# ---------------------------------------------------------------------------- nothing is left out


def test_every_operation_has_its_full_and_its_minimal_exchange() -> None:
    """The 29 operations of OCPP 1.6: 10 that charge points ask for, 19 that central systems do."""
    cases = {exchange.id: exchange for exchange in OF_16}
    for folders, asked in (
        (ASKED_OF_THE_CENTRAL_SYSTEM, Side.CENTRAL_SYSTEM),
        (ASKED_OF_THE_CHARGE_POINT, Side.CHARGE_POINT),
    ):
        for folder in folders:
            for case in ("full", "minimal"):
                exchange = cases[f"{folder}/{case}"]
                assert exchange.asked == asked.value, exchange.id
                assert exchange.transports == {"charge_point": "soap", "central_system": "json"}, exchange.id
                assert not exchange.answered_here, exchange.id

    known = {(asked, action) for asked, action in dialect().operations}
    assert known == {
        *((Side.CENTRAL_SYSTEM, folder) for folder in ASKED_OF_THE_CENTRAL_SYSTEM),
        *((Side.CHARGE_POINT, folder.partition(".")[0]) for folder in ASKED_OF_THE_CHARGE_POINT),
    }
    assert len(known) == 29


def json_payloads(exchange: Exchange) -> list[tuple[str, Any]]:
    """Payloads of the two frames of an exchange, each with the name of its schema."""
    call, result = (
        json.loads(message)
        for message in (
            exchange.messages[1:3] if exchange.asked_by == "charge_point" else exchange.messages[::3]
        )
        if message is not None
    )
    return [(exchange.action, call[3]), (f"{exchange.action}Response", result[2])]


def fields_that_may_stand(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from fields_that_may_stand(field.get("items", field), f"{path}.{name}")


def fields_that_stand(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from fields_that_stand(item, path)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}.{name}"
            yield from fields_that_stand(inner, f"{path}.{name}")


def fields_that_must_stand(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        field = schema["properties"][name]
        yield f"{path}.{name}"
        yield from fields_that_must_stand(field.get("items", field), f"{path}.{name}")


@pytest.mark.parametrize(
    "exchange", [exchange for exchange in OF_16 if exchange.case == "full"], ids=lambda exchange: exchange.id
)
def test_full_says_all_that_can_be_said(exchange: Exchange) -> None:
    for name, payload in json_payloads(exchange):
        assert set(fields_that_stand(payload, name)) == set(fields_that_may_stand(json_schema(name), name))


@pytest.mark.parametrize(
    "exchange",
    [exchange for exchange in OF_16 if exchange.case == "minimal"],
    ids=lambda exchange: exchange.id,
)
def test_minimal_says_only_what_must_be_said(exchange: Exchange) -> None:
    for name, payload in json_payloads(exchange):
        assert set(fields_that_stand(payload, name)) == set(fields_that_must_stand(json_schema(name), name))


# ---------------------------------------------------------------------------- nothing of 1.2 and 1.5 either

SERVICES = {"charge_point": "ChargePointService", "central_system": "CentralSystemService"}
# What charge points and central systems of OCPP 1.5 and 1.2 do not have (their service descriptions).
LACKING = {
    "1.5": {"ClearChargingProfile", "GetCompositeSchedule", "SetChargingProfile", "TriggerMessage"},
    "1.2": {
        "CancelReservation", "ClearChargingProfile", "DataTransfer", "DataTransfer.from-central-system",
        "GetCompositeSchedule", "GetConfiguration", "GetLocalListVersion", "ReserveNow", "SendLocalList",
        "SetChargingProfile", "TriggerMessage",
    },
}  # fmt: skip


def folders_of(version: str) -> dict[str, set[str]]:
    """By who is asked: the folders of what a version has."""
    return {
        "central_system": ASKED_OF_THE_CENTRAL_SYSTEM - LACKING[version],
        "charge_point": ASKED_OF_THE_CHARGE_POINT - LACKING[version],
    }


@pytest.mark.parametrize("older_party", ["charge_point", "central_system"])
@pytest.mark.parametrize("version", ["1.5", "1.2"])
def test_every_operation_of_an_older_version_has_its_full_and_its_minimal_exchange(
    version: str, older_party: str
) -> None:
    """The 25 of OCPP 1.5 and the 18 of OCPP 1.2, whichever of the two parties speaks it."""
    cases = {exchange.id: exchange for exchange in OLDER}
    newer_party = Side(older_party).other.value
    folders = folders_of(version)
    for asked, names in folders.items():
        for folder in names:
            for case in ("full", "minimal"):
                exchange = cases[f"{version}-{older_party}/{folder}/{case}"]
                assert exchange.asked == asked, exchange.id
                assert exchange.transports == {older_party: "soap", newer_party: "json"}, exchange.id
                assert not exchange.answered_here, exchange.id

    described = {(one.service, one.action) for one in described_operations(version)}
    assert described == {
        (SERVICES[asked], name.partition(".")[0]) for asked, names in folders.items() for name in names
    }
    assert len(described) == {"1.5": 25, "1.2": 18}[version]


@pytest.mark.parametrize("version", ["1.5", "1.2"])
def test_what_an_older_version_lacks_has_an_exchange_that_is_answered_here(version: str) -> None:
    here = {(exchange.older, exchange.folder) for exchange in OLDER if exchange.answered_here}
    for folder in LACKING[version]:
        asked = "charge_point" if folder in ASKED_OF_THE_CHARGE_POINT else "central_system"
        assert (f"{version}-{asked}", folder) in here


def test_everything_that_is_answered_here_has_an_exchange() -> None:
    """Every row of ``local_answers.TABLE``, for every version that lacks the operation."""
    there = {(exchange.older, exchange.folder) for exchange in ALL}
    for row in local_answers.TABLE:
        folder, asked = row.action, row.asked.value
        if folder == "DataTransfer" and row.asked is Side.CHARGE_POINT:
            folder = "DataTransfer.from-central-system"
        for speaks in row.lacking:
            version = speaks.removeprefix("soap ")
            assert ("" if version == "1.6" else f"{version}-{asked}", folder) in there


@pytest.mark.parametrize("exchange", OLDER, ids=lambda exchange: exchange.id)
def test_folder_is_named_after_who_speaks_the_older_version(exchange: Exchange) -> None:
    version, _, party = exchange.older.partition("-")
    assert exchange.transports[party] == "soap"
    assert exchange.version(party) == version
    assert exchange.version(Side(party).other.value) == "1.6"


def described_fields(fields: tuple[Field, ...], path: str, *, required: bool = False) -> Iterator[str]:
    """The fields of a service description, or those that must stand; attributes with an ``@``."""
    for field in fields:
        if field.place != "text" and (field.required or not required):
            name = f"{path}.{'@' if field.place == 'attribute' else ''}{field.name}"
            yield name
            yield from described_fields(field.fields, name, required=required)


def elements_that_stand(element: etree._Element, path: str) -> Iterator[str]:
    for name in element.attrib:
        yield f"{path}.@{name!s}"
    for child in element:
        name = f"{path}.{etree.QName(child).localname}"
        yield name
        yield from elements_that_stand(child, name)


def fields_said(exchange: Exchange, number: int) -> tuple[set[str], set[str], set[str]]:
    """Of a message that a party wrote: the fields that stand in it, that may, and that must."""
    name = exchange.action if number == 1 else f"{exchange.action}Response"
    message, party = exchange.messages[number - 1], exchange.asked_by if number == 1 else exchange.asked
    assert message is not None
    if exchange.transports[party] == "json":
        schema, payload = json_schema(name), json.loads(message)[-1]
        return (
            set(fields_that_stand(payload, name)),
            set(fields_that_may_stand(schema, name)),
            set(fields_that_must_stand(schema, name)),
        )
    operation = dialect(exchange.version(party)).operation(Side(exchange.asked), exchange.action)
    fields = (operation.request if number == 1 else operation.response).fields
    return (
        set(elements_that_stand(payload_of(message), name)),
        set(described_fields(fields, name)),
        set(described_fields(fields, name, required=True)),
    )


@pytest.mark.parametrize(
    "exchange", [exchange for exchange in OLDER if exchange.case == "full"], ids=lambda exchange: exchange.id
)
def test_full_of_an_older_version_says_all_that_its_parties_can_say(exchange: Exchange) -> None:
    for number in (1, 3):
        stand, may, _ = fields_said(exchange, number)
        assert stand == may


# A MeterValues.req without values says nothing, and the gateway answers it itself.
WITHOUT_WHICH_NOTHING_IS_SAID = {
    "MeterValues.values", "MeterValues.values.timestamp", "MeterValues.values.value",
}  # fmt: skip


@pytest.mark.parametrize(
    "exchange",
    [exchange for exchange in OLDER if exchange.case == "minimal"],
    ids=lambda exchange: exchange.id,
)
def test_minimal_of_an_older_version_says_only_what_its_parties_must_say(exchange: Exchange) -> None:
    for number in (1, 3):
        stand, _, must = fields_said(exchange, number)
        assert stand - WITHOUT_WHICH_NOTHING_IS_SAID == must


# ---------------------------------------------------------------------------- the files themselves


def a_case(folder: Path, **files: bytes) -> Path:
    """A folder with one case in it: ``a_case(tmp_path, **{"1-central_system.json": b"…"})``."""
    case = folder / "Reset" / "case"
    case.mkdir(parents=True)
    for name, content in files.items():
        (case / name).write_bytes(content)
    return folder


GOOD = {
    "1-central_system.json": b'[2,"1","Reset",{"type":"Soft"}]\n',
    "2-charge_point.xml": b"<a/>\n",
    "3-charge_point.xml": b"<b/>\n",
    "4-central_system.json": b'[3,"1",{"status":"Accepted"}]\n',
}


def test_files_of_a_case_are_loaded_without_their_last_line_feed(tmp_path: Path) -> None:
    notes = {"notes.txt": b"loss Reset.x 1 unknown-field\nloss Reset.y 2 unknown-field\n"}
    assert load_exchanges(a_case(tmp_path, **GOOD, **notes)) == [
        Exchange(
            folder="Reset",
            case="case",
            asked_by="central_system",
            transports={"central_system": "json", "charge_point": "soap"},
            messages=(b'[2,"1","Reset",{"type":"Soft"}]', b"<a/>", b"<b/>", b'[3,"1",{"status":"Accepted"}]'),
            notes=("loss Reset.x 1 unknown-field", "loss Reset.y 2 unknown-field"),
        )
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"5-charge_point.xml": b"<c/>\n"}, "no part of an exchange"),
        ({"2-charge_point.json": b"[]\n"}, "the second of its number"),
        ({"3-charge_point.xml": None}, "expected 1, 2, 3, 4 or 1, 4"),
        ({"4-central_system.json": None, "4-charge_point.xml": b"<d/>\n"}, "expected 4-central_system.json"),
        ({"2-charge_point.xml": b"<a/>"}, "expected text and one line feed"),
        ({"2-charge_point.xml": b"<a/>\n\n"}, "expected text and one line feed"),
        ({"2-charge_point.xml": b"<a> \xe4</a>\n"}, "byte 4 is not UTF-8"),
        ({"notes.txt": b"\n"}, "expected text and one line feed"),
        ({"before.txt": b"Reset/gone\n"}, "Reset/gone: found no such exchange"),
    ],
)
def test_file_that_does_not_belong_is_named(
    tmp_path: Path, change: dict[str, bytes | None], problem: str
) -> None:
    files = {name: content for name, content in (GOOD | change).items() if content is not None}
    with pytest.raises(ValueError, match=re.escape(problem)):
        load_exchanges(a_case(tmp_path, **files))


def test_what_came_before_is_loaded_with_it(tmp_path: Path) -> None:
    folder = a_case(tmp_path / "1.5-charge_point", **GOOD, **{"before.txt": b"Reset/first\n"})
    first = folder / "Reset" / "first"
    first.mkdir()
    for name, content in GOOD.items():
        (first / name).write_bytes(content)
    exchange, earlier = load_older_exchanges(tmp_path)
    assert (exchange.id, earlier.id) == ("1.5-charge_point/Reset/case", "1.5-charge_point/Reset/first")
    assert exchange.before == (earlier,)
    assert (earlier.version("charge_point"), earlier.version("central_system")) == ("1.5", "1.6")


@pytest.mark.parametrize(
    ("namespace", "version"),
    [
        (b"urn://Ocpp/Cp/2010/08/", "1.2"),
        (b"urn://Ocpp/Cp/2012/06/", "1.5"),
        (b"urn://Ocpp/Cp/2015/10/", "1.6"),
    ],
)
def test_what_is_written_to_a_party_tells_its_version(tmp_path: Path, namespace: bytes, version: str) -> None:
    files = GOOD | {"2-charge_point.xml": b'<a xmlns="%s"/>\n' % namespace}
    [exchange] = load_exchanges(a_case(tmp_path, **files))
    assert exchange.version("charge_point") == version


def test_nothing_but_exchanges_stands_in_their_folder() -> None:
    assert [file.name for file in EXCHANGES.iterdir() if not file.is_dir()] == [".gitattributes"]
    assert [file.name for file in OF_OLDER_VERSIONS.iterdir() if not file.is_dir()] == [".gitattributes"]
    for kind in OF_OLDER_VERSIONS.iterdir():
        assert not kind.is_dir() or all(folder.is_dir() for folder in kind.iterdir())

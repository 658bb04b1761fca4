"""Messages of real implementations: every one that can be read safely is read, the others are listed here.

They lie in ``shared/samples`` beside the project; without that folder there is nothing to test.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from wattbridge.ocpp.actions import CompiledOperation, JsonCodec, dialect
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Call, CallError, CallResult, Note, Reply, Side
from wattbridge.ocpp.ocppj import CallFrame, ErrorFrame, Frame, ResultFrame, read_frame
from wattbridge.ocpp.older import UNKNOWN, asks_for_connector, understood
from wattbridge.ocpp.soap import Envelope, read_call, read_envelope, read_reply, version_in
from wattbridge.ocpp.tolerances import VERSION_BY_DATE

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "samples"
if not SAMPLES.is_dir():
    pytest.skip("the sample messages are not beside the project", allow_module_level=True)

DIALECT = dialect()
ENVELOPES = sorted(str(file.relative_to(SAMPLES)) for file in SAMPLES.glob("envelopes/**/*.xml"))
FRAMES = sorted(str(file.relative_to(SAMPLES)) for file in SAMPLES.glob("frames/**/*.json"))


def described(index: str) -> dict[str, dict[str, str]]:
    """What the index says of each file."""
    with (SAMPLES / index).open(encoding="utf-8", newline="") as lines:
        folder = index.partition("/")[0]
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {f"{folder}/{row['file']}": row for row in rows}


INDEX = described("envelopes/index.tsv") | described("frames/index.tsv")

# File → what its refusal says, and why it is right to refuse it.
REFUSED = {
    # The text of a program, with its variables still in it.
    "envelopes/steve-community_steve/001-1.6-stopTransactionRequest.xml": "StopTransaction.transactionId: ",
    # A field that every version requires is not there, and what stood there instead nobody can know.
    "envelopes/manual/enovates-boot-without-model.xml": (
        "BootNotification.chargePointModel: is missing; found chargePointVendor, "
    ),
    # Fragments, cut out of their envelopes: nobody would be known to have sent them.
    "envelopes/manual/qc45-body-bare-value.xml": "found root element 'meterValuesRequest', expected a SOAP",
    "envelopes/manual/qc45-body-legacy-unqualified.xml": "found root element 'meterValues', expected a SOAP",
    "envelopes/manual/qc45-body-unit-without-measurand.xml": "found root element 'meterValuesRequest', ",
    # The inside of a program where an answer belongs: status and id of a call that nobody made.
    "envelopes/manual/turkish-node-authorize-response.xml": "Body: found '_U', expected ",
    # The field of a Heartbeat's answer, bare, after a DataTransfer.
    "envelopes/captured-ocppjs/ocppjs-cpsrv-005-cp2cs-dataTransferResponse.xml": (
        "Body: found 'currentTime', expected dataTransferResponse of OCPP"
    ),
    # Not JSON: a brace is missing. What belongs together can only be guessed.
    "frames/real-world/microocpp-boot-missing-brace.json": "CALL: is not JSON: ",
    # OCPP-J knows no message type 1 (4.2).
    "frames/real-world/simulator-messagetype-1.json": "messageTypeId: found 1, expected 2, 3 or 4",
    # A prefix that is declared nowhere: ocpp-js cannot be understood by any parser with namespaces. Who sends
    # a request must be known for certain, so requests are never guessed at.
    **dict.fromkeys(
        (
            "envelopes/captured-ocppjs/ocppjs-cp-001-cp2cs-bootNotificationRequest.xml",
            "envelopes/captured-ocppjs/ocppjs-cp-002-cp2cs-heartbeatRequest.xml",
            "envelopes/captured-ocppjs/ocppjs-cp-003-cp2cs-authorizeRequest.xml",
            "envelopes/captured-ocppjs/ocppjs-cp-004-cp2cs-statusNotificationRequest.xml",
            "envelopes/captured-ocppjs/ocppjs-cp-005-cp2cs-startTransactionRequest.xml",
            "envelopes/captured-ocppjs/ocppjs-cp-006-cp2cs-meterValuesRequest.xml",
            "envelopes/captured-ocppjs/ocppjs-cp-007-cp2cs-stopTransactionRequest.xml",
            "envelopes/captured-ocppjs/ocppjs-cp-008-cp2cs-diagnosticsStatusNotificationRequest.xml",
            "envelopes/captured-ocppjs/ocppjs-cp-009-cp2cs-firmwareStatusNotificationRequest.xml",
        ),
        "not well-formed XML: Namespace prefix a on MessageID is not defined",
    ),
}

# Which call the CALLRESULTs answer; a frame does not say.
ANSWERED = {
    "frames/real-world/abl-result-spaces.json": "RemoteStartTransaction",
    "frames/real-world/vcp-getconfiguration.json": "GetConfiguration",
}

Read = tuple[Call | Reply, tuple[Note, ...]]


def sender(file: str) -> Side:
    """Who sent it: the index says so, or the name."""
    direction = INDEX.get(file, {}).get("direction", "")
    from_central_system = direction.startswith("CS") or "-cs2cp-" in file
    return Side.CENTRAL_SYSTEM if from_central_system else Side.CHARGE_POINT


def is_request(file: str) -> bool:
    direction = INDEX.get(file, {}).get("direction", "")
    return direction.endswith("req") or file.endswith("Request.xml")


def answered(file: str, asked: Side) -> CompiledOperation:
    """The operation whose answer it is: its name says so, or what stands in its Body. It was asked in the
    version that the answer is of."""
    text = (SAMPLES / file).read_text(encoding="utf-8")
    dates = re.findall(r"urn://Ocpp/C[sp]/(\d{4}/\d{2})", text)
    spoken = DIALECT.of(VERSION_BY_DATE[dates[-1]] if dates else "1.6")
    operations = {
        operation.response.element.lower(): operation
        for operation in spoken.operations.values()
        if operation.asked is asked
    }
    for name in (*re.findall(r"(\w+)\.xml$", file), *re.findall(r"[<:](\w+Response)\b", text)):
        if name.lower() in operations:
            return operations[name.lower()]
    return DIALECT.operation(asked, "DataTransfer")  # of a fault, any


def read_sample(file: str) -> Read:
    """Read one file as what it is. Raises Violation, or ValueError for an answer that is none."""
    raw = (SAMPLES / file).read_bytes()
    side = sender(file)
    if file.endswith(".json"):
        return read_frame_of(file, read_frame(raw), side)
    if is_request(file):
        envelope = read_envelope(raw)
        read = read_call(envelope, DIALECT, side.other)
        if asks_for_connector(read.call, version_in(envelope)):
            call, notes = understood(read.call, UNKNOWN)
            return call, (*read.notes, *notes)
        return read.call, read.notes
    reply, notes = read_reply(200, "application/soap+xml", raw, answered(file, side))
    if isinstance(reply, CallError) and reply.reason != "fault":
        raise ValueError(reply.description)
    return reply, notes


def read_frame_of(file: str, frame: Frame, side: Side) -> Read:
    codec = JsonCodec(DIALECT, side)
    if isinstance(frame, CallFrame):
        call, notes = codec.read_call(frame.action, frame.payload)
        return call, (*frame.notes, *notes)
    if isinstance(frame, ResultFrame):
        action = ANSWERED.get(file) or file.split("-")[-2]
        payload, notes = codec.read_result(action, frame.payload)
        return CallResult(payload), (*frame.notes, *notes)
    assert isinstance(frame, ErrorFrame)
    return CallError(frame.code, frame.description, frame.details), frame.notes


def envelope_of(file: str) -> Envelope:
    return read_envelope((SAMPLES / file).read_bytes())


@pytest.mark.parametrize("file", ENVELOPES + FRAMES)
def test_a_sample_is_read_or_known_to_be_refused(file: str) -> None:
    try:
        read_sample(file)
        refusal = ""
    except (Violation, ValueError) as refused:
        refusal = str(refused)
    expected = REFUSED.get(file, "")
    assert bool(refusal) == bool(expected), refusal or "is read, but listed as refused"
    assert expected in refusal


# File → exactly what it says, and the rules of what reading changed or lost.
TOLD: dict[str, tuple[Call | Reply, list[str]]] = {
    # SOAP requests
    "envelopes/manual/java-oca-issue29-authorize.xml": (Call("Authorize", {"idTag": "tag200"}), []),
    "envelopes/captured-gsoap/gsoap16-cp-006-cp2cs-meterValuesRequest.xml": (
        Call(
            "MeterValues",
            {
                "connectorId": 1,
                "meterValue": [{"timestamp": "2026-11-20T12:41:18Z", "sampledValue": [{"value": "1500"}]}],
            },
        ),
        [],
    ),
    "envelopes/captured-zeep-duplicate-wsa/zeep-cp-005-cp2cs-startTransactionRequest.xml": (
        Call(
            "StartTransaction",
            {"connectorId": 1, "idTag": "TAG1", "timestamp": "2026-11-20T12:43:55Z", "meterStart": 0},
        ),
        ["doubled", "fraction-dropped"],
    ),
    "envelopes/captured-zeep/zeep-cp-008-cp2cs-dataTransferRequest.xml": (
        Call("DataTransfer", {"vendorId": "v", "data": "é<&"}),
        [],
    ),
    "envelopes/captured-php/php-cp-007-cp2cs-stopTransactionRequest.xml": (
        Call("StopTransaction", {"transactionId": 5, "timestamp": "2026-11-20T12:43:23Z", "meterStop": 10}),
        ["to-utc"],
    ),
    "envelopes/captured-nodered/nodered-cs2cp-010-cs2cp-sendLocalListRequest.xml": (
        Call("SendLocalList", {"listVersion": 1, "updateType": "Full"}),
        [],
    ),
    "envelopes/manual/izivia-datatransfer-xml-inside-data.xml": (
        Call(
            "DataTransfer",
            {
                "vendorId": "XXXXXXXX",
                "messageId": "Detection loop",
                "data": "<not_a_good_format>Detection loop</not_a_good_format>",
            },
        ),
        ["data-as-text"],
    ),
    # SOAP answers
    "envelopes/captured-nodered/nodered-cpsrv-003-cp2cs-clearCacheResponse.xml": (
        CallResult({"status": "Accepted"}),
        ["recovered"],
    ),
    "envelopes/captured-nodered/nodered-cpsrv-002-cp2cs-getConfigurationResponse.xml": (
        CallResult({}),
        ["recovered", "unknown-field"],
    ),
    "envelopes/captured-gir/gircs-001-cs2cp-bootNotificationResponse.xml": (
        CallResult({"status": "Accepted", "currentTime": "2013-02-01T15:09:18Z", "interval": 1200}),
        [],
    ),
    "envelopes/captured-gir/gircp-002-cp2cs-getConfigurationResponse.xml": (
        CallResult(
            {
                "configurationKey": [{"key": "KVCBX_PROFILE", "readonly": True, "value": "NQC-ACDC"}],
                "unknownKey": [""],
            }
        ),
        [],
    ),
    "envelopes/captured-php/php-cs-004-cs2cp-startTransactionResponse.xml": (
        CallResult({"transactionId": 96238, "idTagInfo": {"status": "Accepted"}}),
        [],
    ),
    # SOAP faults
    "envelopes/captured-gir/gircp-005-cp2cs-sendLocalListResponse.xml": (
        CallError(
            "PropertyConstraintViolation",
            "a fault that gives no reason (SOAP-ENV:Sender PropertyConstraintViolation)",
            {},
            "fault",
        ),
        ["recovered"],
    ),
    "envelopes/manual/apostol-malformed-fault.xml": (
        CallError("NotSupported", "Reason", {}, "fault"),
        ["recovered"],
    ),
    "envelopes/manual/motown-issue56-fault-soap11.xml": (
        CallError(
            "ProtocolError",
            "A required header representing a Message Addressing Property is not present",
            {},
            "fault",
        ),
        [],
    ),
    "envelopes/captured-php/php-cs-011-cs2cp-noSuchOperationResponse.xml": (
        CallError("NotImplemented", "Procedure not present", {}, "fault"),
        [],
    ),
    "envelopes/captured-gsoap/gsoap15-cs-011-cs2cp-noSuchOperationResponse.xml": (
        CallError(
            "NotImplemented",
            "The [action] cannot be processed at the receiver.",
            {"detail": "/NoSuchOperation"},
            "fault",
        ),
        [],
    ),
    "envelopes/captured-nodered/nodered-cs16-011-cs2cp-noSuchOperationResponse.xml": (
        CallError(
            "InternalError",
            "TypeError: Cannot read properties of undefined (reading 'style')",
            {},
            "fault",
        ),
        [],
    ),
    # frames
    "frames/real-world/monta-offset-hours-only.json": (
        Call(
            "StatusNotification",
            {
                "connectorId": 2,
                "errorCode": "NoError",
                "status": "Preparing",
                "timestamp": "2024-04-26T12:35:02Z",
            },
        ),
        ["to-utc"],
    ),
    "frames/real-world/idtag-with-backslashes.json": (
        Call(
            "StartTransaction",
            {
                "connectorId": 2,
                "idTag": "336699\\\\\\",
                "meterStart": 33259490,
                "timestamp": "2022-07-28T09:41:15Z",
            },
        ),
        [],
    ),
    "frames/real-world/wallbox-status-newlines.json": (
        Call(
            "StatusNotification",
            {
                "info": "",
                "vendorId": "com.wallbox",
                "vendorErrorCode": "",
                "connectorId": 0,
                "errorCode": "NoError",
                "status": "Available",
                "timestamp": "2022-10-15T05:34:29Z",
            },
        ),
        [],
    ),
    "frames/real-world/huawei-empty-vendor.json": (
        Call(
            "BootNotification",
            {
                "chargePointModel": "ACChargePoint",
                "chargePointSerialNumber": "huawei1",
                "chargePointVendor": "",
            },
        ),
        [],
    ),
    "frames/real-world/abl-result-spaces.json": (CallResult({"status": "Rejected"}), []),
    "frames/captured-mh/mh-cp-031-cp2cs-ChangeAvailability-err.json": (
        CallError(
            "NotImplemented",
            "Request Action is recognized but not supported by the receiver",
            {"cause": "No handler for ChangeAvailability registered."},
        ),
        [],
    ),
}


@pytest.mark.parametrize("file", TOLD)
def test_a_sample_says_exactly_this(file: str) -> None:
    said, notes = read_sample(file)
    expected, rules = TOLD[file]
    assert said == expected
    assert [note.rule for note in notes] == rules


@pytest.mark.parametrize(
    ("file", "identity", "message_id", "from_address"),
    [
        (
            "manual/glurp-real-heartbeat-2013.xml",
            "ACT001",
            "01c9c6-20131108141114117-059415",
            "http://90.94.144.206:8080/ocpp",
        ),
        ("manual/motown-issue56-boot-soap11.xml", "DEMO_001", "", ""),
        (
            "manual/solarnetwork-boot-hmac.xml",
            "UID=1013,O=SolarDev",
            "uuid:f86a3b23-5db3-4260-ab21-d72348da5ecc",
            "http://192.168.1.44:8680/ocpp/v15",
        ),
        ("manual/turkish-node-authorize.xml", "XXX01", "123", "http://from-endpoint"),
        (
            "eduhenke_go-ocpp/001-1.5-bootNotificationRequest.xml",
            "",
            "uuid:543a0a2e-5d97-44ac-a275-6372b8a5c44c",
            "",
        ),
        (
            "manual/izivia-diagnostics-odd-messageid.xml",
            "TEST",
            "f8465c53A250aA4c53A9feeAd79510d972cf",
            "http://192.168.153.113:8080",
        ),
    ],
)
def test_the_header_of_a_sample_says_exactly_this(
    file: str, identity: str, message_id: str, from_address: str
) -> None:
    read = envelope_of(f"envelopes/{file}")
    assert (read.identity, read.message_id, read.from_address) == (identity, message_id, from_address)
    assert read.notes == []


def test_only_samples_that_exist_are_listed() -> None:
    assert REFUSED.keys() | ANSWERED.keys() | TOLD.keys() <= {*ENVELOPES, *FRAMES}


def test_most_samples_are_read() -> None:
    """To be refused is the exception; older versions are until they are spoken."""
    assert len(ENVELOPES) > 200
    assert len(FRAMES) > 40
    assert len(REFUSED) < 25

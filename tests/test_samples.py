"""Messages of real implementations: every one that can be read safely is read, the others are listed here.

They lie in ``shared/samples`` beside the project; without that folder there is nothing to test.
"""

from __future__ import annotations

import csv
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from wattbridge.ocpp.actions import CompiledOperation, JsonCodec, dialect
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Call, CallError, CallResult, Note, Payload, Reply, Side
from wattbridge.ocpp.ocppj import CallFrame, ErrorFrame, Frame, ResultFrame, read_frame
from wattbridge.ocpp.soap import Envelope, read_call, read_envelope, read_reply, version_of

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "samples"
if not SAMPLES.is_dir():
    pytest.skip("the sample messages are not beside the project", allow_module_level=True)

DIALECT = dialect()
ENVELOPES = sorted(str(file.relative_to(SAMPLES)) for file in SAMPLES.glob("envelopes/**/*.xml"))
FRAMES = sorted(str(file.relative_to(SAMPLES)) for file in SAMPLES.glob("frames/**/*.json"))


def described(index: str) -> dict[str, dict[str, str]]:
    """What the index says of each file; files it does not name are taken for what their name says."""
    with (SAMPLES / index).open(encoding="utf-8", newline="") as lines:
        folder = index.partition("/")[0]
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {f"{folder}/{row['file']}": row for row in rows}


INDEX = described("envelopes/index.tsv") | described("frames/index.tsv")

# File → what its refusal says, and why it is right to refuse it.
REFUSED = {
    # The text of a program, with its variables still in it.
    "envelopes/steve-community_steve/001-1.6-stopTransactionRequest.xml": "StopTransaction.transactionId: ",
    # Fragments, cut out of their envelopes: nobody would be known to have sent them.
    "envelopes/manual/qc45-body-bare-value.xml": "found root element 'meterValuesRequest', expected a SOAP Envelope",
    "envelopes/manual/qc45-body-legacy-unqualified.xml": "found root element 'meterValues', expected a SOAP Envelope",
    "envelopes/manual/qc45-body-unit-without-measurand.xml": "found root element 'meterValuesRequest'",
    # The inside of a program where an answer belongs: status and id of a call that nobody made.
    "envelopes/manual/turkish-node-authorize-response.xml": "Body: found '_U', expected authorizeResponse of OCPP",
    # The field of a Heartbeat's answer, bare, after a DataTransfer.
    "envelopes/captured-ocppjs/ocppjs-cpsrv-005-cp2cs-dataTransferResponse.xml": (
        "Body: found 'currentTime', expected dataTransferResponse of OCPP"
    ),
    # The answers of 1.5 are words of their own: 'Accepted' is 'Unlocked' in 1.6.
    "envelopes/captured-gir/gircp-004-cp2cs-unlockConnectorResponse.xml": (
        "UnlockConnectorResponse.status: 'Accepted' is not one of 'Unlocked', "
    ),
    "envelopes/captured-gsoap/gsoap15-cpsrv-006-cp2cs-unlockConnectorResponse.xml": (
        "UnlockConnectorResponse.status: 'Accepted' is not one of 'Unlocked', "
    ),
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
    """The operation whose answer it is: its name says so, or what stands in its Body."""
    text = (SAMPLES / file).read_text(encoding="utf-8")
    for name in (file, *re.findall(r"[<:](\w+Response)\b", text)):
        for operation in DIALECT.operations.values():
            if operation.asked is asked and name.lower().endswith(
                (operation.response.element.lower(), f"-{operation.response.element.lower()}.xml")
            ):
                return operation
    return DIALECT.operation(asked, "DataTransfer")


def read_sample(file: str) -> Read:
    """Read one file as what it is. Raises Violation, or ValueError for an answer that is none."""
    raw = (SAMPLES / file).read_bytes()
    side = sender(file)
    if file.endswith(".json"):
        return read_frame_of(file, read_frame(raw), side)
    if is_request(file):
        read = read_call(read_envelope(raw), DIALECT, side.other)
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


def older_version(file: str) -> str | None:
    """1.2 or 1.5 where the Body is in one of theirs. Its envelope must be readable."""
    body = envelope_of(file).body
    assert body is not None
    version = version_of(re.sub(r"^\{(.*)\}.*", r"\1", str(body.tag)))
    return version if version != DIALECT.version else None


@pytest.mark.parametrize("file", ENVELOPES + FRAMES)
def test_a_sample_is_read_or_known_to_be_refused(file: str) -> None:
    try:
        read_sample(file)
        refusal = ""
    except (Violation, ValueError) as refused:
        refusal = str(refused)
    expected = REFUSED.get(file, "")
    if not expected and refusal and is_request(file) and (version := older_version(file)):
        expected = f"is OCPP {version} (namespace "
    assert bool(refusal) == bool(expected), refusal or "is read, but listed as refused"
    assert expected in refusal


def test_only_samples_that_exist_are_listed() -> None:
    assert REFUSED.keys() | ANSWERED.keys() <= {*ENVELOPES, *FRAMES}


def test_most_samples_are_read() -> None:
    """The lists above are the exception; older versions are refused until they are spoken."""
    assert len(ENVELOPES) > 200
    assert len(FRAMES) > 40
    assert len(REFUSED) < 25

"""``wattbridge translate``: one message, from SOAP to a frame or from a frame to SOAP, without a gateway."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TextIO

from wattbridge.ocpp import ocppj, soap
from wattbridge.ocpp.actions import CompiledOperation, Dialect, dialect
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Call, CallError, CallResult, Change, Note, Reply, Side
from wattbridge.ocpp.payloads import Options, local_name

ANONYMOUS = "http://www.w3.org/2005/08/addressing/anonymous"
UNNAMED = "CHARGEPOINT"  # who a frame is from, which it does not say itself
SIDES = (Side.CENTRAL_SYSTEM, Side.CHARGE_POINT)


class NoMessage(Exception):
    """What was given cannot be taken for a message at all."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it was read. ``operation`` is None where it does not say: a CALLERROR, a fault."""

    form: str  # soap or json
    operation: CompiledOperation | None
    content: Call | Reply
    message_id: str
    identity: str
    notes: tuple[Note, ...]


def translate(
    text: bytes,
    *,
    to: str | None,
    explain: bool,
    identity: str | None,
    celsius: str,
    zone: str,
    milliseconds: bool,
    out: TextIO,
    err: TextIO,
    action: str | None = None,
) -> int:
    """Write the translation of *text* to *out*.

    Returns 0, 1 when the message breaks the rules of OCPP, 2 when it is no message.
    """
    compiled = dialect("1.6", Options(zone=zone, milliseconds=milliseconds, celsius=celsius))
    try:
        message = _read(text, compiled, action)
        written, notes = _write(
            message, to or ("json" if message.form == "soap" else "soap"), compiled, identity
        )
    except NoMessage as rubbish:
        err.write(f"wattbridge: {rubbish}\n")
        return 2
    except Violation as broken:
        err.write(f"wattbridge: {broken.code}: {broken}\n")
        return 2 if broken.reason in ("malformed", "too_large") else 1
    out.write(written + "\n")
    if explain:
        _explain(message, (*message.notes, *notes), err)
    return 0


def _read(text: bytes, compiled: Dialect, action: str | None) -> Message:
    start = text.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start == b"[":
        return _read_frame(text, compiled, action)
    if start == b"<" or text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _read_envelope(text, compiled)
    seen = " ".join(text[:60].decode("utf-8", "replace").split())
    found = f"begins with {seen!r}" if seen else "is empty"
    raise NoMessage(f"the message {found}, expected a SOAP envelope (<…) or an OCPP-J frame ([…)")


def _read_envelope(text: bytes, compiled: Dialect) -> Message:
    envelope = soap.read_envelope(text)
    name = local_name(envelope.body) if envelope.body is not None else ""
    for asked in SIDES:
        if (asked, name.lower()) in compiled.by_request_element:
            read = soap.read_call(envelope, compiled, asked)
            return Message(
                "soap", read.operation, read.call, envelope.message_id, envelope.identity, read.notes
            )
    for operation in compiled.operations.values():
        if name == "Fault" or name.lower() == operation.response.element.lower():
            reply, notes = soap.read_reply(200, soap.CONTENT_TYPE[envelope.soap], text, operation)
            if isinstance(reply, CallError) and reply.reason == "schema":
                raise Violation(reply.code, "", reply.description)
            known = None if name == "Fault" else operation
            return Message("soap", known, reply, envelope.relates_to, envelope.identity, notes)
    # Not an operation of this version: the reader of calls says what it is instead.
    read = soap.read_call(envelope, compiled, Side.CENTRAL_SYSTEM)
    return Message("soap", read.operation, read.call, envelope.message_id, envelope.identity, read.notes)


def _read_frame(text: bytes, compiled: Dialect, action: str | None) -> Message:
    frame = ocppj.read_frame(text.strip())
    if isinstance(frame, ocppj.ErrorFrame):
        error = CallError(frame.code, frame.description, frame.details)
        return Message("json", None, error, frame.message_id, "", frame.notes)
    if isinstance(frame, ocppj.CallFrame):
        operation = _operation(compiled, frame.action)
        payload, notes = operation.request.read_json(frame.payload)
        content: Call | Reply = Call(frame.action, payload)
    else:
        if action is None:
            raise NoMessage("a CALLRESULT does not say which action it answers; name it with --action")
        operation = _operation(compiled, action)
        payload, notes = operation.response.read_json(frame.payload)
        content = CallResult(payload)
    return Message("json", operation, content, frame.message_id, "", (*frame.notes, *notes))


def _operation(compiled: Dialect, action: str) -> CompiledOperation:
    """The operation of an action; of DataTransfer, which goes both ways, the charge point's."""
    for asked in SIDES:
        operation = compiled.operations.get((asked, action))
        if operation is not None:
            return operation
    return compiled.operation(Side.CENTRAL_SYSTEM, action)  # raises: there is none


def _write(
    message: Message, to: str, compiled: Dialect, identity: str | None
) -> tuple[str, tuple[Note, ...]]:
    operation, content = message.operation, message.content
    if to == "json":
        # A wsa:MessageID may be longer than an id of OCPP-J may be.
        fits = 0 < len(message.message_id) <= ocppj.MESSAGE_ID_LENGTH
        message_id = message.message_id if fits else str(uuid.uuid4())
        if operation is None or isinstance(content, CallError):
            assert not isinstance(content, Call)
            return ocppj.write_reply(message_id, content), ()
        if isinstance(content, Call):
            payload, notes = operation.request.write_json(content.payload)
            return ocppj.write_call(message_id, operation.action, payload), tuple(notes)
        payload, notes = operation.response.write_json(content.payload)
        return ocppj.write_result(message_id, payload), tuple(notes)
    new_id = f"urn:uuid:{uuid.uuid4()}"
    if isinstance(content, Call):
        assert operation is not None
        addressing = soap.Addressing(identity or message.identity or UNNAMED, ANONYMOUS)
        written = soap.write_call(content, addressing, compiled, operation.asked, lambda: new_id)
    else:
        asked_by = soap.Envelope(message_id=message.message_id)
        if operation is None or isinstance(content, CallError):
            assert isinstance(content, CallError)
            written = soap.write_fault(asked_by, content, new_id)
        else:
            written = soap.write_reply(asked_by, operation, content, compiled, new_id)
    return written.body.decode(), written.notes


def _explain(message: Message, notes: tuple[Note, ...], err: TextIO) -> None:
    what = message.operation.action if message.operation else "an error"
    err.write(f"# {message.form}: {what}{' of ' + message.identity if message.identity else ''}\n")
    for note in notes:
        if isinstance(note, Change):
            err.write(f"# changed: {note.path}: {note.value!r} → {note.became!r} ({note.rule})\n")
        else:
            err.write(f"# lost: {note.path}: {note.value}: {note.reason} ({note.rule})\n")
    if not notes:
        err.write("# nothing changed, nothing lost\n")

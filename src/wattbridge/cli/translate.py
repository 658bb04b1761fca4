"""``wattbridge translate``: one message, from SOAP to a frame or from a frame to SOAP, without a gateway."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TextIO

from wattbridge.cli.explain import did_you_mean
from wattbridge.cli.profiles import find_profile
from wattbridge.cli.streams import for_messages
from wattbridge.counting import counted
from wattbridge.links.handling import USUAL, Handling
from wattbridge.ocpp import local_answers, ocppj, older, soap
from wattbridge.ocpp.actions import CompiledOperation, Dialect, dialect
from wattbridge.ocpp.differences import answered_here
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Call, CallError, CallResult, Change, Loss, Note, Reply, Side
from wattbridge.ocpp.payloads import Options, local_name, namespace_of
from wattbridge.ocpp.reasons import PROFILE_RULES
from wattbridge.ocpp.tolerances import ANONYMOUS, WSA_2005
from wattbridge.profiling import options_by

UNNAMED = "CHARGEPOINT"  # who a frame is from, which it does not say itself
SIDES = (Side.CENTRAL_SYSTEM, Side.CHARGE_POINT)
# What looks like an answer, where the whole is not well-formed.
ANSWER = re.compile(rb"<(?:[\w.-]{1,40}:)?(\w{1,60}Response|Fault)[\s/>]")


class NoMessage(Exception):
    """What was given cannot be taken for a message at all, or not without knowing more."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it was read. ``operation`` is None where it does not say: a CALLERROR, a fault."""

    form: str  # soap or json
    operation: CompiledOperation | None
    content: Call | Reply
    message_id: str
    identity: str
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Carried:
    """A message as it goes out: ``text``, with the HTTP ``status`` where it answers one of SOAP.

    ``here`` is the reply of the gateway itself, where it sends nothing.
    """

    message: Message
    text: str
    status: int
    notes: tuple[Note, ...]
    here: Reply | None


@dataclass(frozen=True, slots=True)
class Way:
    """How a message goes out: ``to`` is ``json``, ``soap`` or None for the other one.

    ``identity`` is that of the charge point, where the message does not say it. ``version`` is that of OCPP.
    ``address`` is where a call goes by SOAP, ``gateway`` who it is from. ``handling`` is that of the charge
    point. ``message_id`` makes those of envelopes.
    """

    to: str | None = None
    identity: str | None = None
    version: str = "1.6"
    address: str = ANONYMOUS[WSA_2005]
    gateway: str = ""
    handling: Handling = USUAL
    message_id: Callable[[], str] = lambda: f"urn:uuid:{uuid.uuid4()}"


def carried(text: bytes, way: Way, compiled: Dialect, action: str | None = None) -> Carried:
    """Read *text* and write it, as the gateway would. ``action`` tells what a reply is to.

    Raises NoMessage, or Violation when the message breaks the rules of OCPP.
    """
    message = _understood(_read(text, compiled, action))
    here, untold = _answered_here(message, way)
    if here is not None:
        return Carried(message, "", 0, (*message.notes, *untold), here)
    written, status, notes = _write(message, way, compiled)
    notes = (*message.notes, *notes)
    return Carried(message, written, status, notes, None)


def _answered_here(message: Message, way: Way) -> tuple[Reply | None, tuple[Note, ...]]:
    """The reply of the gateway itself, where the other party has no words for a call, and what is lost."""
    call = message.content
    if not isinstance(call, Call) or message.operation is None:
        return None, ()
    here = answered_here(call, message.notes)
    if here is not None or _target(message, way) == "json":
        return here, ()
    asked, dialect_of_theirs = message.operation.asked, f"soap {way.version}"
    row = local_answers.find(asked, dialect_of_theirs, call.action)
    if row is not None:
        return row.reply(dialect_of_theirs), ()
    untold = older.untold(call, way.version) if asked is Side.CENTRAL_SYSTEM else None
    return untold or (None, ())


def _target(message: Message, way: Way) -> str:
    return way.to or ("json" if message.form == "soap" else "soap")


def translate(
    text: bytes,
    *,
    to: str | None,
    explain: bool,
    identity: str | None,
    celsius: str,
    zone: str | None,
    milliseconds: bool,
    out: TextIO,
    err: TextIO,
    action: str | None = None,
    profile: str | None = None,
    version: str = older.NEWEST,
) -> int:
    """Write the translation of *text* to *out*, as the gateway would read and write it.

    ``action`` tells what a reply is to, ``profile`` names that of the charge point, or a file with one;
    ``version`` is that of OCPP in an envelope that is written.
    Returns 0, 1 when the message breaks the rules of OCPP, 2 when it is no message, or there is no profile.
    """
    options = Options(zone=zone or "UTC", milliseconds=milliseconds, celsius=celsius)
    way = Way(to, identity, version)
    if profile is not None:
        known = find_profile(profile, None, err)
        if known is None:
            return 2
        options = replace(options_by(known, options), zone=zone or options_by(known, options).zone)
        way = replace(way, handling=known.handling)
    try:
        found = carried(text, way, dialect("1.6", options), action)
    except NoMessage as rubbish:
        err.write(f"wattbridge: {rubbish}\n")
        return 2
    except Violation as broken:
        err.write(f"wattbridge: {broken.code}: {broken}\n")
        return 2 if broken.reason in ("malformed", "too_large") else 1
    message, notes, here = found.message, found.notes, found.here
    if here is not None:
        # What would be written breaks the other schema, and no gateway sends it.
        _explain(message, notes, err, profile)
        answer = f"with {here.code}" if isinstance(here, CallError) else "itself"
        if isinstance(here, CallResult) and here.payload:
            answer = f"with {ocppj.write_payload(here.payload)}"
        what = message.operation.action if message.operation else "message"
        err.write(f"wattbridge: nothing to send: the gateway answers this {what} {answer}\n")
        return 1
    for_messages(out).write(found.text + "\n")
    lost = sum(isinstance(note, Loss) for note in notes)
    if explain:
        _explain(message, notes, err, profile)
    elif lost:
        err.write(f"wattbridge: {counted(lost, 'part')} could not be carried, see --explain\n")
    return 0


def _read(text: bytes, compiled: Dialect, action: str | None) -> Message:
    answered = None if action is None else _named(action, compiled)
    start = text.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start == b"[":
        return _read_frame(text, compiled, answered)
    if start == b"<" or text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _read_envelope(text, compiled, answered)
    seen = " ".join(text[:60].decode("utf-8", "replace").split())
    found = f"begins with {seen!r}" if seen else "is empty"
    raise NoMessage(f"the message {found}, expected a SOAP envelope (<…) or an OCPP-J frame ([…)")


def _named(action: str, compiled: Dialect) -> CompiledOperation:
    """The operation that --action names, in any letter case; of DataTransfer the charge point's."""
    for operation in _all(compiled):
        if operation.action.lower() == action.lower():
            return operation
    known = sorted({operation.action for operation in _all(compiled)})
    hint = did_you_mean(action, known) or f"; there are: {', '.join(known)}"
    raise NoMessage(f"--action: there is no action {action!r} in OCPP {compiled.version}{hint}")


def _all(compiled: Dialect) -> Iterable[CompiledOperation]:
    """Every operation, those of the central system first."""
    return sorted(compiled.operations.values(), key=lambda operation: SIDES.index(operation.asked))


def _read_envelope(text: bytes, compiled: Dialect, answered: CompiledOperation | None) -> Message:
    try:
        envelope = soap.read_envelope(text)
    except Violation as broken:
        looks_like = ANSWER.search(text) if broken.reason == "malformed" else None
        element = looks_like[1].decode() if looks_like else ""
        operation = answered or _answered_by(element, "", compiled)
        message = _read_answer(text, element, operation) if operation else None
        if message is None or (isinstance(message.content, CallError) and message.content.reason != "fault"):
            raise
        return message
    element = local_name(envelope.body) if envelope.body is not None else ""
    compiled = compiled.of(soap.version_in(envelope))
    if answered is not None:
        answered = compiled.operation(answered.asked, answered.action)
    for asked in SIDES:
        if (asked, element.lower()) in compiled.by_request_element:
            read = soap.read_call(envelope, compiled, asked)
            return Message(
                "soap", read.operation, read.call, envelope.message_id, envelope.identity, read.notes
            )
    namespace = namespace_of(envelope.body) if envelope.body is not None else ""
    operation = answered or _answered_by(element, namespace, compiled)
    if operation is None:
        # Not an operation of this version: the reader of calls says what it is instead.
        read = soap.read_call(envelope, compiled, Side.CENTRAL_SYSTEM)
        return Message("soap", read.operation, read.call, envelope.message_id, envelope.identity, read.notes)
    message = _read_answer(text, element, operation, envelope)
    error = message.content
    if isinstance(error, CallError) and error.reason != "fault":
        raise Violation(error.code, "", error.description)
    return message


def _answered_by(element: str, namespace: str, compiled: Dialect) -> CompiledOperation | None:
    """Which operation a response element belongs to. A fault may answer any of them."""
    if element.lower() == "fault":
        return next(iter(_all(compiled)))
    fitting = [each for each in _all(compiled) if each.response.element.lower() == element.lower()]
    # DataTransfer goes both ways; the namespace tells which.
    exact = [each for each in fitting if each.described.namespace == namespace]
    return next(iter(exact or fitting), None)


def _read_answer(
    text: bytes, element: str, operation: CompiledOperation, envelope: soap.Envelope | None = None
) -> Message:
    """An answer as the gateway reads it, which makes something of much that is not well-formed."""
    envelope = envelope or soap.Envelope()
    reply, notes = soap.read_reply(200, soap.CONTENT_TYPE[envelope.soap], text, operation)
    known = None if element.lower() == "fault" else operation
    return Message("soap", known, reply, envelope.relates_to, envelope.identity, notes)


def _read_frame(text: bytes, compiled: Dialect, answered: CompiledOperation | None) -> Message:
    frame = ocppj.read_frame(text.strip())
    if isinstance(frame, ocppj.ErrorFrame):
        error = CallError(frame.code, frame.description, frame.details)
        return Message("json", None, error, frame.message_id, "", frame.notes)
    if isinstance(frame, ocppj.CallFrame):
        operation = _asked_for(frame.action, compiled)
        payload, notes = operation.request.read_json(frame.payload)
        content: Call | Reply = Call(frame.action, payload)
    else:
        if answered is None:
            raise NoMessage("a CALLRESULT does not say which action it answers; name it with --action")
        operation = answered
        payload, notes = operation.response.read_json(frame.payload)
        content = CallResult(payload)
    return Message("json", operation, content, frame.message_id, "", (*frame.notes, *notes))


def _understood(message: Message) -> Message:
    """What an older version leaves to who knows the connector, by whom nothing is known of it."""
    call, operation = message.content, message.operation
    if (
        not isinstance(call, Call)
        or operation is None
        or not older.asks_for_connector(call, operation.version)
    ):
        return message
    call, notes = older.understood(call, older.UNKNOWN)
    return replace(message, content=call, notes=(*message.notes, *notes))


def _asked_for(action: str, compiled: Dialect) -> CompiledOperation:
    """The operation of an action; of DataTransfer, which goes both ways, the charge point's."""
    for asked in SIDES:
        operation = compiled.operations.get((asked, action))
        if operation is not None:
            return operation
    return compiled.operation(Side.CENTRAL_SYSTEM, action)  # raises: there is none


def _write(message: Message, way: Way, compiled: Dialect) -> tuple[str, int, tuple[Note, ...]]:
    operation, content = message.operation, message.content
    if _target(message, way) == "json":
        # A wsa:MessageID may be longer than an id of OCPP-J may be.
        fits = 0 < len(message.message_id) <= ocppj.MESSAGE_ID_LENGTH
        message_id = message.message_id if fits else str(uuid.uuid4())
        if operation is None or isinstance(content, CallError):
            assert not isinstance(content, Call)
            return ocppj.write_reply(message_id, content), 0, ()
        if isinstance(content, Call):
            payload, notes = operation.request.write_json(content.payload)
            return ocppj.write_call(message_id, operation.action, payload), 0, tuple(notes)
        payload, notes = operation.response.write_json(content.payload)
        return ocppj.write_result(message_id, payload), 0, tuple(notes)
    compiled = compiled.of(way.version)
    if isinstance(content, Call):
        assert operation is not None
        # What is said of headers is of calls to charge points.
        handling = way.handling if operation.asked is Side.CHARGE_POINT else USUAL
        addressing = soap.Addressing(
            way.identity or message.identity or UNNAMED,
            way.address,
            way.gateway if handling.sender != "none" else "",
            must_understand=handling.must_understand,
            from_is_text=handling.sender == "text",
            reply_to=handling.reply_to,
        )
        written = soap.write_call(content, addressing, compiled, operation.asked, way.message_id)
    else:
        asked_by = soap.Envelope(message_id=message.message_id)
        if operation is None or isinstance(content, CallError):
            assert isinstance(content, CallError)
            written = soap.write_fault(asked_by, content, way.message_id())
        else:
            operation = compiled.operation(operation.asked, operation.action)
            written = soap.write_reply(asked_by, operation, content, compiled, way.message_id())
        if written.status != 200 and way.handling.fault_status is not None:
            written = replace(written, status=way.handling.fault_status)
    return written.body.decode(), written.status, written.notes


def _explain(message: Message, notes: tuple[Note, ...], err: TextIO, profile: str | None) -> None:
    what = message.operation.action if message.operation else "an error"
    err.write(f"# {message.form}: {what}{' of ' + message.identity if message.identity else ''}\n")
    for note in notes:
        if isinstance(note, Change):
            became = f" → {note.became!r}" if note.became else ""
            err.write(f"# changed: {note.path}: {note.value!r}{became} ({_rule(note, profile)})\n")
        else:
            err.write(f"# lost: {note.path}: {note.value}: {note.reason} ({_rule(note, profile)})\n")
    if not notes:
        err.write("# nothing changed, nothing lost\n")


def _rule(note: Note, profile: str | None) -> str:
    return f"{note.rule}, profile {profile}" if profile and note.rule in PROFILE_RULES else note.rule

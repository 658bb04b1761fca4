"""The operations of one OCPP version, compiled: who may call what, and the readers and writers of each.

A ``Dialect`` is made once per set of options, from the service descriptions; links read and write through
it. ``JsonCodec`` is a dialect as one party on the JSON side sees it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

from wattbridge.ocpp import older, security_extension, wsdl
from wattbridge.ocpp.differences import neutral
from wattbridge.ocpp.errors import Violation, excerpt
from wattbridge.ocpp.messages import Call, CallError, Note, Payload, Side
from wattbridge.ocpp.ocppj import FORM
from wattbridge.ocpp.payloads import (
    ElementReader,
    JsonReader,
    JsonWriter,
    Options,
    XmlWriter,
    compile_element_reader,
    compile_json_reader,
    compile_json_writer,
    compile_xml_writer,
)
from wattbridge.ocpp.rules import Rules, after_reading, before_writing, with_aliases
from wattbridge.ocpp.shapes import Field, Operation
from wattbridge.ocpp.values import wrong_type

# Who serves the service, and so who is asked.
ASKED = {
    "CentralSystemService": Side.CENTRAL_SYSTEM,
    "ChargePointService": Side.CHARGE_POINT,
}

DEFAULTS = Options()


@dataclass(frozen=True, slots=True)
class Message:
    """A .req or a .conf, compiled.

    ``name`` starts every path (``MeterValues``, ``MeterValuesResponse``); ``fields`` is the shape of the
    service description, ``neutral`` that of the neutral form. What is read and written is the neutral form,
    whatever the version.
    """

    name: str
    element: str
    fields: tuple[Field, ...]
    neutral: tuple[Field, ...]
    read_element: ElementReader
    write_element: XmlWriter
    read_value: JsonReader
    write_value: JsonWriter | None

    def read_json(self, value: Any) -> tuple[Payload, list[Note]]:
        """The neutral payload of what stands in a frame. Raises Violation."""
        notes: list[Note] = []
        return self.read_value(value, self.name, notes), notes

    def write_json(self, payload: Payload) -> tuple[Payload, list[Note]]:
        """What stands in a frame for a neutral payload."""
        notes: list[Note] = []
        if self.write_value is None:
            return payload, notes
        return self.write_value(payload, self.name, notes), notes


@dataclass(frozen=True, slots=True)
class CompiledOperation:
    """One operation of one version, with ``asked`` telling who answers it."""

    version: str
    action: str
    asked: Side
    described: Operation
    request: Message
    response: Message


class Dialect:
    """All operations of one version under one set of options."""

    def __init__(self, version: str, operations: tuple[Operation, ...], options: Options) -> None:
        self.version = version
        self.options = options
        self.operations: dict[tuple[Side, str], CompiledOperation] = {}
        # Local name of the element in the Body → operation; also folded, as ShellRecharge's server matches.
        self.by_request_element: dict[tuple[Side, str], CompiledOperation] = {}
        for described in operations:
            compiled = _compile_operation(version, described, options)
            self.operations[compiled.asked, compiled.action] = compiled
            self.by_request_element[compiled.asked, described.request_element.lower()] = compiled

    def of(self, version: str) -> Dialect:
        """The dialect of another version, with the same options."""
        return self if version == self.version else dialect(version, self.options)

    def operation(self, asked: Side, action: str) -> CompiledOperation:
        """The operation by which *asked* is asked for *action*.

        Raises Violation: NotSupported when only the other party answers that action, NotImplemented when
        OCPP has no such action (OCPP-J 1.6, table 7).
        """
        operation = self.operations.get((asked, action))
        if operation is not None:
            return operation
        party = asked.value.replace("_", " ")
        if (asked.other, action) in self.operations:
            raise Violation("NotSupported", action, f"is not an action that a {party} answers", "unsupported")
        problem = f"is not an action of OCPP {self.version}"
        raise Violation("NotImplemented", excerpt(action), problem, "unsupported")


def _compile_operation(version: str, described: Operation, options: Options) -> CompiledOperation:
    asked = ASKED[described.service]
    # A command must be carried whole or refused; in everything else a bad part is better lost alone.
    lenient_request = asked is Side.CENTRAL_SYSTEM
    newest = _newest(described)
    response_name = f"{described.action}Response"
    compiled = CompiledOperation(
        version=version,
        action=described.action,
        asked=asked,
        described=described,
        request=_compile_message(
            version,
            described.action,
            described.request_element,
            (described.request, newest.request),
            options,
            lenient=lenient_request,
        ),
        response=_compile_message(
            version,
            response_name,
            described.response_element,
            (described.response, newest.response),
            options,
            lenient=True,
        ),
    )
    return compiled if options.rules is None else _ruled(compiled, options.rules)


def _ruled(operation: CompiledOperation, rules: Rules) -> CompiledOperation:
    """*operation* with the rules of a profile: what the charge point says is changed when it has been read,
    what it is told before it is written. Raises ValueError when a rule does not fit.
    """
    request, response = operation.request, operation.response
    if operation.asked is Side.CENTRAL_SYSTEM:
        return replace(operation, request=_said(request, rules), response=_told(response, rules, lossy=True))
    return replace(operation, request=_told(request, rules, lossy=False), response=_said(response, rules))


def _said(message: Message, rules: Rules) -> Message:
    name, fields = message.name, message.neutral
    return replace(
        message,
        read_element=after_reading(rules, name, fields, message.read_element),
        read_value=after_reading(rules, name, fields, message.read_value),
    )


def _told(message: Message, rules: Rules, *, lossy: bool) -> Message:
    shapes = rules, message.name, message.neutral, message.fields
    write_element = before_writing(*shapes, message.write_element, lossy=lossy)
    assert write_element is not None
    return replace(
        message,
        write_element=write_element,
        write_value=before_writing(*shapes, message.write_value, lossy=lossy),
    )


def _newest(described: Operation) -> Operation:
    """The same operation of OCPP 1.6, which has all that were ever there."""
    return next(
        one
        for one in described_operations(older.NEWEST)
        if (one.service, one.action) == (described.service, described.action)
    )


def _compile_message(
    version: str,
    name: str,
    element: str,
    shapes: tuple[tuple[Field, ...], tuple[Field, ...]],
    options: Options,
    *,
    lenient: bool,
) -> Message:
    """*shapes* are the message's own, and that of the same message in OCPP 1.6."""
    fields, newest = shapes
    widened = neutral(name, newest)
    # SOAP may leave out what JSON requires, but its values are read as widely as JSON's.
    read_as = neutral(name, newest, cardinality=False)
    up = down = None
    table_name = name
    if version != older.NEWEST:
        read_as = older.readable(version, name, fields, read_as)
        up, down = older.lift(version, name, newest), older.lower(version, name)
        table_name = older.table_name(version, name)
    read_element = compile_element_reader(read_as, options, table_name, lenient=lenient)
    written_as = with_aliases(options.rules, name, fields)
    write_element = compile_xml_writer(written_as, options, name, lenient=lenient)
    return Message(
        name=name,
        element=element,
        fields=fields,
        neutral=widened,
        read_element=read_element if up is None else _lifting(read_element, up),
        write_element=write_element if down is None else _lowering(write_element, down),
        read_value=compile_json_reader(widened, options, name, lenient=lenient),
        write_value=compile_json_writer(newest, options),
    )


def _lifting(read: ElementReader, up: older.Conversion) -> ElementReader:
    return lambda element, path, notes: up(read(element, path, notes), path, notes)


def _lowering(write: XmlWriter, down: older.Conversion) -> XmlWriter:
    return lambda payload, path, notes: write(down(payload, path, notes), path, notes)


@cache
def described_operations(version: str = "1.6") -> tuple[Operation, ...]:
    """The operations of a version as its service descriptions tell them, read once."""
    return wsdl.read_version(version)


@lru_cache(maxsize=512)  # a reload may bring other rules, again and again
def dialect(version: str = "1.6", options: Options = DEFAULTS) -> Dialect:
    """The compiled dialect; one is kept for each set of options in use.

    Raises ValueError when the rules among them do not fit.
    """
    return Dialect(version, described_operations(version), options)


def in_words_of_soap(call: Call) -> tuple[Call | CallError | None, list[Note]]:
    """``security_extension.in_words_of_soap``, and what reading its payload changed.

    Payloads of the extension are passed on unread; what a charge point is asked under another name is read
    like every other call. A CallError where that breaks its schema.
    """
    other = security_extension.in_words_of_soap(call)
    if not isinstance(other, Call):
        return other, []
    try:
        request = dialect().operation(Side.CHARGE_POINT, other.action).request
        payload, notes = request.read_json(other.payload)
    except Violation as broken:
        problem = f"{call.action}: as {other.action} it breaks the rules: {broken}"
        return CallError(broken.code, problem, {"path": broken.path}, reason="schema"), []
    return Call(other.action, payload), notes


def counted_actions(compiled: Dialect) -> list[tuple[Side, str]]:
    """Who may be asked for what and is counted by name: by OCPP itself, and what charge points say by its
    security extension. What central systems ask by that is seldom, and counted as other."""
    said = security_extension.ACTIONS[Side.CENTRAL_SYSTEM]
    return [*compiled.operations, *((Side.CENTRAL_SYSTEM, action) for action in sorted(said))]


class JsonCodec:
    """Payloads of frames on one connection with ``party`` at its other end.

    Calls read here were sent by that party, calls written here ask it; results likewise. What the security
    extension adds is not looked into: OCPP-S, whose descriptions are the program, has none of it. ``form`` is
    the form of payloads that need no writing for it, ``""`` when there is none.
    """

    def __init__(self, compiled: Dialect, party: Side) -> None:
        self._party = party
        self.go_by(compiled)

    def go_by(self, compiled: Dialect) -> None:
        """Read and write by another dialect from now on."""
        self._dialect = compiled
        # Whoever wants a unit spelled in a way of its own, or has rules, wants every message written anew.
        as_it_is = compiled.options.celsius == DEFAULTS.celsius and compiled.options.rules is None
        self.form = FORM if as_it_is else ""

    def read_call(self, action: str, payload: Any) -> tuple[Call, list[Note]]:
        if security_extension.is_of_it(self._party.other, action):
            return Call(action, _an_object(payload, action)), []
        operation = self._dialect.operation(self._party.other, action)
        read, notes = operation.request.read_json(payload)
        return Call(action, read), notes

    def write_call(self, call: Call) -> tuple[Payload, list[Note]]:
        if security_extension.is_of_it(self._party, call.action):
            return call.payload, []
        return self._dialect.operation(self._party, call.action).request.write_json(call.payload)

    def read_result(self, action: str, payload: Any) -> tuple[Payload, list[Note]]:
        if security_extension.is_of_it(self._party, action):
            return _an_object(payload, f"{action}Response"), []
        return self._dialect.operation(self._party, action).response.read_json(payload)

    def write_result(self, action: str, payload: Payload) -> tuple[Payload, list[Note]]:
        if security_extension.is_of_it(self._party.other, action):
            return payload, []
        return self._dialect.operation(self._party.other, action).response.write_json(payload)


def _an_object(payload: Any, path: str) -> Payload:
    """What is not described is taken as it is, as long as it is an object."""
    if type(payload) is not dict:
        raise wrong_type(payload, path, "an object")
    return payload

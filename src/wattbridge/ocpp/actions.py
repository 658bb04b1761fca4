"""The operations of one OCPP version, compiled: who may call what, and the readers and writers of each.

A ``Dialect`` is made once per set of options, from the service descriptions; links read and write through
it. ``JsonCodec`` is a dialect as one party on the JSON side sees it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

from wattbridge.ocpp import wsdl
from wattbridge.ocpp.differences import neutral
from wattbridge.ocpp.errors import Violation, excerpt
from wattbridge.ocpp.messages import Call, Note, Payload, Side
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
    service description, ``neutral`` that of the neutral form.
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
    """One operation, with ``asked`` telling who answers it."""

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
            compiled = _compile_operation(described, options)
            self.operations[compiled.asked, compiled.action] = compiled
            self.by_request_element[compiled.asked, described.request_element.lower()] = compiled

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


def _compile_operation(described: Operation, options: Options) -> CompiledOperation:
    asked = ASKED[described.service]
    # A command must be carried whole or refused; in everything else a bad part is better lost alone.
    lenient_request = asked is Side.CENTRAL_SYSTEM
    compiled = CompiledOperation(
        action=described.action,
        asked=asked,
        described=described,
        request=_compile_message(
            described.action, described.request_element, described.request, options, lenient=lenient_request
        ),
        response=_compile_message(
            f"{described.action}Response",
            described.response_element,
            described.response,
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


def _compile_message(
    name: str, element: str, fields: tuple[Field, ...], options: Options, *, lenient: bool
) -> Message:
    widened = neutral(name, fields)
    return Message(
        name=name,
        element=element,
        fields=fields,
        neutral=widened,
        # SOAP may leave out what JSON requires, but its values are read as widely as JSON's.
        read_element=compile_element_reader(
            neutral(name, fields, cardinality=False), options, name, lenient=lenient
        ),
        write_element=compile_xml_writer(
            with_aliases(options.rules, name, fields), options, name, lenient=lenient
        ),
        read_value=compile_json_reader(widened, options, name, lenient=lenient),
        write_value=compile_json_writer(fields, options),
    )


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


class JsonCodec:
    """Payloads of frames on one connection with ``party`` at its other end.

    Calls read here were sent by that party, calls written here ask it; results likewise. ``form`` is the form
    of payloads that need no writing for it, ``""`` when there is none.
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
        operation = self._dialect.operation(self._party.other, action)
        read, notes = operation.request.read_json(payload)
        return Call(action, read), notes

    def write_call(self, call: Call) -> tuple[Payload, list[Note]]:
        return self._dialect.operation(self._party, call.action).request.write_json(call.payload)

    def read_result(self, action: str, payload: Any) -> tuple[Payload, list[Note]]:
        return self._dialect.operation(self._party, action).response.read_json(payload)

    def write_result(self, action: str, payload: Payload) -> tuple[Payload, list[Note]]:
        return self._dialect.operation(self._party.other, action).response.write_json(payload)

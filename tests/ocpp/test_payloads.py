"""Objects and lists: what is read, what is forgiven and noted, what is refused, and what is written."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.ocpp.strategies import (
    ANYTHING,
    CASES,
    Case,
    Element,
    conforming,
    element_of,
    nonsense,
    odd_elements,
    payloads,
    plainly_read,
)
from wattbridge.ocpp.actions import Message, dialect
from wattbridge.ocpp.differences import answered_here
from wattbridge.ocpp.errors import FAULT_BY_CODE, Violation
from wattbridge.ocpp.messages import Call, CallError, Change, Loss, Note, Payload, Side
from wattbridge.ocpp.ocppj import read_frame, write_result
from wattbridge.ocpp.payloads import (
    Options,
    compile_element_reader,
    compile_json_reader,
    compile_json_writer,
    compile_xml_writer,
    local_name,
    namespace_of,
)
from wattbridge.ocpp.reasons import RULES
from wattbridge.ocpp.rules import Rules
from wattbridge.ocpp.shapes import Field

CS = "urn://Ocpp/Cs/2015/10/"
CP = "urn://Ocpp/Cp/2015/10/"

MESSAGES = {(operation.asked, action): operation for (_, action), operation in dialect().operations.items()}
METER_VALUES = MESSAGES[Side.CENTRAL_SYSTEM, "MeterValues"].request
STOP_TRANSACTION = MESSAGES[Side.CENTRAL_SYSTEM, "StopTransaction"].request
START_TRANSACTION = MESSAGES[Side.CENTRAL_SYSTEM, "StartTransaction"].request
STATUS_NOTIFICATION = MESSAGES[Side.CENTRAL_SYSTEM, "StatusNotification"].request
BOOT_CONF = MESSAGES[Side.CENTRAL_SYSTEM, "BootNotification"].response
AUTHORIZE_CONF = MESSAGES[Side.CENTRAL_SYSTEM, "Authorize"].response
DATA_TRANSFER = MESSAGES[Side.CENTRAL_SYSTEM, "DataTransfer"].request
DATA_TRANSFER_COMMAND = MESSAGES[Side.CHARGE_POINT, "DataTransfer"].request
GET_CONFIGURATION = MESSAGES[Side.CHARGE_POINT, "GetConfiguration"].request
GET_CONFIGURATION_CONF = MESSAGES[Side.CHARGE_POINT, "GetConfiguration"].response
CHANGE_CONFIGURATION = MESSAGES[Side.CHARGE_POINT, "ChangeConfiguration"].request
REMOTE_START = MESSAGES[Side.CHARGE_POINT, "RemoteStartTransaction"].request
SET_CHARGING_PROFILE = MESSAGES[Side.CHARGE_POINT, "SetChargingProfile"].request
SEND_LOCAL_LIST = MESSAGES[Side.CHARGE_POINT, "SendLocalList"].request
RESET = MESSAGES[Side.CHARGE_POINT, "Reset"].request
COMPOSITE_CONF = MESSAGES[Side.CHARGE_POINT, "GetCompositeSchedule"].response

SAMPLE = {"value": "230"}
TIME = "2024-05-01T10:00:00Z"

every_message = pytest.mark.parametrize("case", CASES, ids=repr)
# Lists, objects in objects, commands, results, and each kind of value.
KINDS = {
    *("MeterValues", "StopTransaction", "StatusNotification", "BootNotificationResponse", "DataTransfer"),
    *("GetConfiguration", "GetConfigurationResponse", "SendLocalList", "SetChargingProfile"),
    "GetCompositeScheduleResponse",
}
every_kind_of_message = pytest.mark.parametrize(
    "case", [case for case in CASES if case.message.name in KINDS], ids=repr
)


def parsed(message: Message, inside: str, namespace: str = CS) -> Element:
    """The element of *message* with *inside* in it; ``c:`` is the prefix of *namespace*."""
    parser = etree.XMLParser(remove_comments=True, remove_pis=True, resolve_entities=False)
    xsi = "http://www.w3.org/2001/XMLSchema-instance"
    text = f'<c:{message.element} xmlns:c="{namespace}" xmlns:xsi="{xsi}">{inside}</c:{message.element}>'
    return etree.fromstring(text.encode(), parser)


def read_xml(message: Message, inside: str, namespace: str = CS) -> tuple[Payload, list[Note]]:
    notes: list[Note] = []
    return message.read_element(parsed(message, inside, namespace), message.name, notes), notes


def write_xml(message: Message, payload: Payload) -> tuple[str, list[Note]]:
    notes: list[Note] = []
    return message.write_element(payload, message.name, notes), notes


def a_meter_value(*samples: Any, timestamp: str = TIME) -> Payload:
    return {"timestamp": timestamp, "sampledValue": list(samples)}


def meter_values(*meter_value: Payload) -> Payload:
    return {"connectorId": 1, "meterValue": list(meter_value)}


# ---------------------------------------------------------------------------- what holds for every message


@every_message
@given(data=st.data())
def test_every_payload_survives_json_soap_json(case: Case, data: st.DataObject) -> None:
    message = case.message
    payload = data.draw(payloads(message.neutral))
    frame = read_frame(write_result("1", payload))
    read, notes = message.read_json(frame.payload)  # type: ignore[union-attr]
    assert (read, notes) == (payload, [])

    inside, written_notes = write_xml(message, read)
    expected, expected_notes = said_by_soap(payload, message.fields, message.name)
    assert written_notes == expected_notes
    text = f'<ocpp:{message.element} xmlns:ocpp="{case.namespace}">{inside}</ocpp:{message.element}>'
    again = message.read_element(etree.fromstring(text.encode()), message.name, notes)
    assert (message.write_json(again), notes) == ((expected, []), [])


def said_by_soap(payload: Payload, fields: tuple[Field, ...], path: str) -> tuple[Payload, list[Note]]:
    """What OCPP-S can say of *payload*, and the notes of the differences, in the order of the elements."""
    said: Payload = {}
    notes: list[Note] = []
    for field in fields:
        where, value = f"{path}.{field.name}", payload.get(field.name)
        if value == []:
            notes.append(Change(where, "[]", "", "empty-list"))
        elif value == "Hertz" and field.name == "unit":
            reason = "there is no such unit here; the measurand Frequency says it"
            notes.append(Loss(where, "Hertz", "unsayable-unit", reason))
        elif value is not None and field.kind == "object":
            items = value if field.repeated else [value]
            paths = [f"{where}[{i}]" for i in range(len(items))] if field.repeated else [where]
            results = [said_by_soap(item, field.fields, at) for item, at in zip(items, paths, strict=True)]
            said[field.name] = [item for item, _ in results] if field.repeated else results[0][0]
            notes += [note for _, inner in results for note in inner]
        elif value is not None:
            said[field.name] = value
    return said, notes


@every_message
@given(data=st.data())
def test_every_payload_survives_soap_json_soap(case: Case, data: st.DataObject) -> None:
    message = case.message
    payload = {name: value for name, value in data.draw(payloads(message.fields)).items() if value != []}
    element = element_of(case, payload)
    # Through bytes, as on the wire: a carriage return must have survived that, too.
    element = etree.fromstring(etree.tostring(element))
    notes: list[Note] = []
    read = message.read_element(element, message.name, notes)
    assert read == payload
    if message is METER_VALUES and "meterValue" not in payload:
        assert [note.rule for note in notes] == ["empty-meter-values"]
        return
    assert notes == []

    value, _ = message.write_json(read)
    frame = read_frame(write_result("1", value))
    back, notes = message.read_json(frame.payload)  # type: ignore[union-attr]
    inside, written_notes = write_xml(message, back)
    assert (notes, written_notes) == ([], [])
    text = f'<ocpp:{message.element} xmlns:ocpp="{case.namespace}">{inside}</ocpp:{message.element}>'
    assert as_tuples(etree.fromstring(text.encode())) == as_tuples(element)


OLDER = [
    Case(operation, message)
    for version in ("1.2", "1.5")
    for operation in dialect(version).operations.values()
    for message in (operation.request, operation.response)
]


@pytest.mark.parametrize("case", OLDER, ids=lambda case: f"{case.operation.described.namespace} {case!r}")
@given(data=st.data())
def test_every_payload_of_an_older_dialect_survives_soap(case: Case, data: st.DataObject) -> None:
    """As its own description says it, without the way up to 1.6 and down again (``test_older.py``)."""
    message = case.message
    # By a name that is in no table: meter values of 1.5 may be left out.
    read = compile_element_reader(message.fields, Options(), "Older", lenient=True)
    write = compile_xml_writer(message.fields, Options(), "Older", lenient=True)
    payload = data.draw(payloads(message.fields))
    written_notes: list[Note] = []
    inside = write(payload, message.name, written_notes)
    expected, expected_notes = said_by_soap(payload, message.fields, message.name)
    assert written_notes == expected_notes
    text = f'<ocpp:{message.element} xmlns:ocpp="{case.namespace}">{inside}</ocpp:{message.element}>'
    notes: list[Note] = []
    assert read(etree.fromstring(text.encode()), message.name, notes) == expected
    assert notes == []


def as_tuples(element: Element) -> tuple[Any, ...]:
    return (element.tag, element.text or "", [as_tuples(child) for child in element])


@every_message
@given(data=st.data())
def test_every_mutation_of_json_is_refused_or_noted_or_says_what_it_says(
    case: Case, data: st.DataObject
) -> None:
    payload = data.draw(payloads(case.message.neutral))
    mutated = copy.deepcopy(payload)
    nodes = list(json_nodes(mutated))
    if not nodes:
        return
    container, key = data.draw(st.sampled_from(nodes))
    mutation = data.draw(st.sampled_from(["drop", "double", "rename", "retype", "reorder"]))
    match mutation, container:
        case "drop", _:
            del container[key]
        case "double", list():
            container.insert(key, copy.deepcopy(container[key]))
        case (("double" | "rename"), dict()):
            container[f"{key}X"] = container[key] if mutation == "double" else container.pop(key)
        case "retype", _:
            was = container[key]
            values = [None, True, 7, Decimal("7.5"), "7", "☃", "", {}, [], [was], [was, was], {"value": was}]
            container[key] = data.draw(st.sampled_from([v for v in values if type(v) is not type(was)]))
        case _:
            mutated = {name: mutated[name] for name in reversed(mutated)}

    def read(notes: list[Note]) -> Payload:
        return case.message.read_value(mutated, case.message.name, notes)

    check_mutant(case, read, expected=mutated, fields=case.message.neutral, harmless=mutation == "reorder")


def json_nodes(value: Any) -> Any:
    """Where each value stands: its container, and the key or index in it."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from json_nodes(inner)


@every_message
@given(data=st.data())
def test_every_mutation_of_xml_is_refused_or_noted_or_says_what_it_says(
    case: Case, data: st.DataObject
) -> None:
    payload = {name: value for name, value in data.draw(payloads(case.message.fields)).items() if value != []}
    element = element_of(case, payload)
    nodes = list(element.iterdescendants())
    if not nodes:
        return
    node = data.draw(st.sampled_from(nodes))
    parent = node.getparent()
    assert parent is not None
    mutation = data.draw(
        st.sampled_from(["drop", "double", "rename", "retype", "empty", "nest", "attribute", "reorder"])
    )
    match mutation:
        case "drop":
            parent.remove(node)
        case "double":
            node.addnext(copy.deepcopy(node))
        case "rename":
            node.tag = f"{node.tag}X"
        case "retype":
            node.text = "☃"
        case "empty":
            node.text = None
        case "nest":
            node.append(copy.deepcopy(node))
        case "attribute":
            node.set("unit", "kWh")
        case _:
            # Lists keep their order; everything else stands where it should not.
            parent[:] = sorted(parent, key=lambda child: str(child.tag)[::-1])

    def read(notes: list[Note]) -> Payload:
        return case.message.read_element(element, case.message.name, notes)

    expected = plainly_read(element, case.message.fields)
    check_mutant(case, read, expected=expected, fields=case.message.fields, harmless=mutation == "reorder")


def check_mutant(
    case: Case, read: Any, *, expected: Payload, fields: tuple[Field, ...], harmless: bool
) -> None:
    notes: list[Note] = []
    try:
        payload = read(notes)
    except Violation as broken:
        assert not harmless
        check_violation(broken, case)
        return
    check_notes(notes, case)
    if not notes or harmless:
        assert payload == expected
        assert conforming(payload, fields)


def check_violation(broken: Violation, case: Case) -> None:
    assert broken.code in FAULT_BY_CODE
    assert broken.path.startswith(case.message.name)
    assert broken.problem
    assert broken.reason == "schema"


def check_notes(notes: list[Note], case: Case) -> None:
    for note in notes:
        assert note.rule in RULES
        assert note.path.startswith(case.message.name) or note.rule == "and-more"
        assert len(note.value) <= 60
        assert not isinstance(note, Loss) or note.reason


@every_kind_of_message
@given(data=st.data())
def test_nonsense_in_json_is_refused_or_read_never_worse(case: Case, data: st.DataObject) -> None:
    value = data.draw(nonsense(case) | ANYTHING)
    notes: list[Note] = []
    try:
        payload = case.message.read_value(value, case.message.name, notes)
    except Violation as broken:
        check_violation(broken, case)
        return
    check_notes(notes, case)
    assert conforming(payload, case.message.fields)  # the description's: MeterValues may have lost everything
    write_result("1", payload).encode()


@every_kind_of_message
@given(data=st.data())
def test_nonsense_in_xml_is_refused_or_read_never_worse(case: Case, data: st.DataObject) -> None:
    element = data.draw(odd_elements(case))
    notes: list[Note] = []
    try:
        payload = case.message.read_element(element, case.message.name, notes)
    except Violation as broken:
        check_violation(broken, case)
        return
    check_notes(notes, case)
    inside, _ = write_xml(case.message, payload)
    assert payload == {} or inside


@every_message
@given(data=st.data())
def test_what_is_written_is_in_the_order_of_the_description(case: Case, data: st.DataObject) -> None:
    payload = data.draw(payloads(case.message.fields))
    shuffled = {name: payload[name] for name in sorted(payload, key=lambda name: name[::-1])}
    inside, _ = write_xml(case.message, shuffled)
    element = parsed(case.message, inside.replace("<ocpp:", "<c:").replace("</ocpp:", "</c:"))
    order = [field.name for field in case.message.fields]
    names = [local_name(child) for child in element]
    assert names == sorted(names, key=order.index)
    assert {namespace_of(inner) for inner in element.iterdescendants()} <= {CS}


# ---------------------------------------------------------------------------- reading elements


@pytest.mark.parametrize(
    "namespace",
    [CS, CP, CS.rstrip("/"), CP.rstrip("/"), "urn://ocpp/cs/2015/10/", "urn://Ocpp/Cs/2012/06/"],
)
def test_children_in_any_namespace_of_ocpp_are_read(namespace: str) -> None:
    """Java-OCA-OCPP #31: no slash, and Cp where Cs belongs."""
    payload, notes = read_xml(STATUS_NOTIFICATION, STATUS, namespace)
    assert payload == {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
    assert notes == []


STATUS = "<c:connectorId>1</c:connectorId><c:errorCode>NoError</c:errorCode><c:status>Available</c:status>"


def test_unqualified_children_are_read() -> None:
    payload, notes = read_xml(STATUS_NOTIFICATION, STATUS.replace("c:", ""))
    assert payload == {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
    assert notes == []


def test_children_in_a_foreign_namespace_are_unknown() -> None:
    _, notes = read_xml(STATUS_NOTIFICATION, STATUS + '<info xmlns="urn:x">hot</info>')
    assert notes == [
        Loss("StatusNotification.info", "hot", "unknown-field", "StatusNotification has no such field")
    ]


def test_elements_may_come_out_of_order() -> None:
    """govoltbras and others sort them by name."""
    inside = (
        "<c:meterValue><c:sampledValue><c:unit>A</c:unit><c:value>1</c:value></c:sampledValue>"
        f"<c:timestamp>{TIME}</c:timestamp><c:sampledValue><c:value>2</c:value></c:sampledValue></c:meterValue>"
        "<c:connectorId>1</c:connectorId>"
    )
    payload, notes = read_xml(METER_VALUES, inside)
    assert payload == meter_values(a_meter_value({"unit": "A", "value": "1"}, {"value": "2"}))
    assert notes == []


def test_a_name_in_another_case_is_understood_and_noted() -> None:
    payload, notes = read_xml(STATUS_NOTIFICATION, STATUS + "<c:Info>hot</c:Info>")
    assert payload["info"] == "hot"
    assert notes == [Change("StatusNotification.info", "Info", "info", "field-alias")]


def test_heartbeat_interval_is_read_as_interval() -> None:
    """The example of OCPP-J 1.6, 4.2.2, and steve #145."""
    boot = f"<c:status>Accepted</c:status><c:currentTime>{TIME}</c:currentTime>"
    payload, notes = read_xml(BOOT_CONF, boot + "<c:heartbeatInterval>300</c:heartbeatInterval>")
    assert payload == {"status": "Accepted", "currentTime": TIME, "interval": 300}
    assert notes == [
        Change("BootNotificationResponse.interval", "heartbeatInterval", "interval", "field-alias")
    ]

    payload, notes = BOOT_CONF.read_json(
        {"status": "Accepted", "currentTime": TIME, "heartbeatInterval": 300}
    )
    assert payload == {"status": "Accepted", "currentTime": TIME, "interval": 300}
    assert notes == [
        Change("BootNotificationResponse.interval", "heartbeatInterval", "interval", "field-alias")
    ]


def test_both_names_of_a_field_must_say_the_same() -> None:
    """Some send both, to please every reader."""
    boot = {"status": "Accepted", "currentTime": TIME, "interval": 300}
    payload, notes = BOOT_CONF.read_json({**boot, "heartbeatInterval": 300})
    assert payload == boot
    assert [note.rule for note in notes] == ["field-alias", "doubled"]
    with pytest.raises(Violation, match=r"interval: found twice, 300 and 60, expected once"):
        BOOT_CONF.read_json({**boot, "heartbeatInterval": 60})


def test_both_names_of_a_list_must_say_the_same() -> None:
    payload, notes = GET_CONFIGURATION.read_json({"key": ["A"], "Key": ["A"]})
    assert payload == {"key": ["A"]}
    assert [note.rule for note in notes] == ["field-alias", "doubled"]
    with pytest.raises(Violation, match=r"GetConfiguration.key: found twice"):
        GET_CONFIGURATION.read_json({"key": ["A"], "Key": ["B"]})


def test_an_element_twice_with_the_same_value_is_noted() -> None:
    payload, notes = read_xml(STATUS_NOTIFICATION, STATUS + "<c:connectorId> 1 </c:connectorId>")
    assert payload["connectorId"] == 1
    assert notes == [
        Loss(
            "StatusNotification.connectorId",
            "1",
            "doubled",
            "connectorId stands here twice and says the same",
        )
    ]


def test_a_required_element_twice_with_other_values_is_refused() -> None:
    with pytest.raises(Violation) as caught:
        read_xml(STATUS_NOTIFICATION, STATUS + "<c:connectorId>2</c:connectorId>")
    assert caught.value.code == "OccurenceConstraintViolation"
    assert str(caught.value) == "StatusNotification.connectorId: found twice, 1 and 2, expected once"


def test_an_optional_element_twice_with_other_values_loses_the_second() -> None:
    payload, notes = read_xml(STATUS_NOTIFICATION, STATUS + "<c:info>a</c:info><c:info>b</c:info>")
    assert payload["info"] == "a"
    assert notes == [
        Loss("StatusNotification.info", "b", "bad-optional", "found twice, 'a' and 'b', expected once")
    ]


def test_unknown_fields_are_dropped_and_noted() -> None:
    payload, notes = read_xml(STATUS_NOTIFICATION, STATUS + "<c:mood>fine <c:x>really</c:x></c:mood>")
    assert payload == {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
    assert notes == [
        Loss(
            "StatusNotification.mood", "fine really", "unknown-field", "StatusNotification has no such field"
        )
    ]


def test_in_a_command_unknown_fields_are_refused() -> None:
    problem = "Reset.operator: found me, expected nothing: Reset has no such field"
    with pytest.raises(Violation) as caught:
        read_xml(RESET, "<c:type>Hard</c:type><c:operator>me</c:operator>", CP)
    assert (caught.value.code, str(caught.value)) == ("FormationViolation", problem)
    with pytest.raises(Violation) as caught:
        RESET.read_json({"type": "Hard", "operator": "me"})
    assert (caught.value.code, str(caught.value)) == ("FormationViolation", problem)


def test_text_between_elements_is_noted_and_in_a_command_refused() -> None:
    loss = Loss("StatusNotification", "hm", "stray-text", "text between elements has no meaning")
    for inside in ("hm" + STATUS, STATUS + " hm ", STATUS.replace("<c:status>", "\n hm <c:status>")):
        assert read_xml(STATUS_NOTIFICATION, inside)[1] == [loss]
    assert read_xml(STATUS_NOTIFICATION, STATUS.replace("<", "\n\t<").replace("\n\t</", "</"))[1] == []
    with pytest.raises(Violation, match="Reset: found hm, expected nothing: text between elements"):
        read_xml(RESET, "<c:type>Hard</c:type>hm", CP)


def test_attributes_are_noted_and_in_a_command_refused() -> None:
    """1.5 said unit and measurand in attributes; a value without them says something else."""
    inside = (
        f"<c:connectorId>1</c:connectorId><c:meterValue><c:timestamp>{TIME}</c:timestamp>"
        '<c:sampledValue><c:value unit="kWh" c:measurand="Voltage" xsi:type="c:string">1</c:value>'
        "</c:sampledValue></c:meterValue>"
    )
    payload, notes = read_xml(METER_VALUES, inside)
    assert payload == meter_values(a_meter_value({"value": "1"}))
    assert notes == [
        Loss("MeterValues.value.@unit", "kWh", "unknown-field", "no attributes are defined here"),
        Loss("MeterValues.value.@measurand", "Voltage", "unknown-field", "no attributes are defined here"),
    ]
    element = parsed(RESET, "<c:type>Hard</c:type>", CP)
    element.set("now", "yes")
    with pytest.raises(
        Violation, match=r"Reset.@now: found 'yes', expected nothing: no attributes are defined here"
    ):
        RESET.read_element(element, "Reset", [])


OLD_CS = "urn://Ocpp/Cs/2012/06/"
OLD_METER_VALUES = dialect("1.5").operations[Side.CENTRAL_SYSTEM, "MeterValues"].request


def read_old_values(*values: str) -> tuple[list[Payload], list[Note]]:
    """What a MeterValues.req of 1.5 that has *values* says in 1.6, and the notes."""
    inside = (
        f"<c:connectorId>1</c:connectorId><c:values><c:timestamp>{TIME}</c:timestamp>"
        f"{''.join(values)}</c:values>"
    )
    payload, notes = read_xml(OLD_METER_VALUES, inside, OLD_CS)
    return payload["meterValue"][0]["sampledValue"] if "meterValue" in payload else [], notes


class TestMeterValuesOf15:
    def test_the_attributes_of_a_value_are_read(self) -> None:
        values, notes = read_old_values(
            '<c:value unit="Amp" measurand="Current.Import" location="Outlet">16.2</c:value>',
            "<c:value>1200</c:value>",
        )
        assert values == [
            {"value": "16.2", "unit": "A", "measurand": "Current.Import", "location": "Outlet"},
            {"value": "1200"},
        ]
        assert notes == []

    def test_the_attributes_of_a_value_are_written_in_the_order_of_the_description(self) -> None:
        sample = {"unit": "V", "context": "Sample.Clock", "value": "<230>"}
        payload = {"connectorId": 1, "meterValue": [{"timestamp": TIME, "sampledValue": [sample]}]}
        assert write_xml(OLD_METER_VALUES, payload) == (
            "<ocpp:connectorId>1</ocpp:connectorId><ocpp:values>"
            f"<ocpp:timestamp>{TIME}</ocpp:timestamp>"
            '<ocpp:value context="Sample.Clock" unit="Volt">&lt;230&gt;</ocpp:value></ocpp:values>',
            [],
        )

    def test_qualified_attributes_are_read_and_those_of_others_are_not(self) -> None:
        values, notes = read_old_values('<c:value c:unit="kWh" xsi:type="c:value">1</c:value>')
        assert (values, notes) == ([{"value": "1", "unit": "kWh"}], [])

    def test_an_attribute_in_another_case_is_understood_and_noted(self) -> None:
        values, notes = read_old_values('<c:value Unit="WH">1</c:value>')
        assert values == [{"value": "1", "unit": "Wh"}]
        assert notes == [
            Change("MeterValues.values[0].value[0].unit", "Unit", "unit", "field-alias"),
            Change("MeterValues.values[0].value[0].unit", "WH", "Wh", "value-alias"),
        ]

    def test_an_empty_attribute_is_absent_and_noted(self) -> None:
        values, notes = read_old_values('<c:value unit="">1</c:value>')
        assert values == [{"value": "1"}]
        assert notes == [Change("MeterValues.values[0].value[0].unit", "", "", "empty-is-absent")]

    def test_a_unit_of_1_6_is_understood(self) -> None:
        values, notes = read_old_values('<c:value unit="Hz">50</c:value>')
        assert values == [{"value": "50", "unit": "Hertz"}]
        assert [(note.path, note.rule) for note in notes] == [
            ("MeterValues.values[0].value[0].unit", "value-alias")
        ]

    def test_a_unit_that_cannot_be_said_is_lost_alone(self) -> None:
        """Where the description's own words are all there is."""
        read = compile_element_reader(OLD_METER_VALUES.fields, Options(), "Older", lenient=True)
        inside = (
            f'<connectorId>1</connectorId><values><timestamp>{TIME}</timestamp><value unit="Hz">50</value>'
        )
        notes: list[Note] = []
        payload = read(etree.fromstring(f"<m>{inside}</values></m>"), "MeterValues", notes)
        assert payload["values"][0]["value"] == [{"value": "50"}]
        assert [(note.path, note.rule) for note in notes] == [
            ("MeterValues.values[0].value[0].unit", "unsayable-unit")
        ]

    def test_an_unknown_attribute_is_lost_alone(self) -> None:
        values, notes = read_old_values('<c:value colour="red" value="2">1</c:value>')
        where = "MeterValues.values[0].value[0]"
        assert values == [{"value": "1"}]
        assert notes == [
            Loss(f"{where}.colour", "red", "unknown-field", f"{where} has no such field"),
            Loss(f"{where}.value", "2", "unknown-field", f"{where} has no such field"),
        ]

    def test_a_bad_word_loses_itself_where_the_value_keeps_its_meaning(self) -> None:
        values, notes = read_old_values('<c:value context="Nightly">1</c:value>')
        assert values == [{"value": "1"}]
        [loss] = notes
        assert (loss.path, loss.rule) == ("MeterValues.values[0].value[0].context", "bad-optional")

    def test_a_bad_word_loses_the_value_where_it_would_say_something_else(self) -> None:
        values, notes = read_old_values(
            '<c:value unit="furlong">1</c:value>', '<c:value unit="Wh">2</c:value>'
        )
        assert values == [{"value": "2", "unit": "Wh"}]
        [loss] = notes
        assert (loss.path, loss.rule) == ("MeterValues.values[0].value[0].unit", "bad-item")

    def test_an_attribute_twice_must_say_the_same(self) -> None:
        values, notes = read_old_values('<c:value unit="Wh" Unit="kWh">1</c:value>', "<c:value>2</c:value>")
        assert values == [{"value": "2"}]
        assert [(note.path, note.rule) for note in notes] == [
            ("MeterValues.values[0].value[0].unit", "bad-item")
        ]

    def test_attributes_elsewhere_are_noted(self) -> None:
        inside = f'<c:connectorId id="7">1</c:connectorId><c:values><c:timestamp>{TIME}</c:timestamp>'
        inside += "<c:value>1</c:value></c:values>"
        payload, notes = read_xml(OLD_METER_VALUES, inside, OLD_CS)
        assert payload["connectorId"] == 1
        assert notes == [
            Loss("MeterValues.connectorId.@id", "7", "unknown-field", "no attributes are defined here")
        ]

    def test_a_value_without_its_text_is_not_written_and_named(self) -> None:
        samples = [{"unit": "Wh"}, {"value": "5", "unit": "furlong"}, {"value": "6"}]
        payload = {"connectorId": 1, "meterValue": [{"timestamp": TIME, "sampledValue": samples}]}
        inside, notes = write_xml(OLD_METER_VALUES, payload)
        assert inside.endswith(f"{TIME}</ocpp:timestamp><ocpp:value>6</ocpp:value></ocpp:values>")
        assert [(note.path, note.rule) for note in notes] == [
            ("MeterValues.values[0].value[0].value", "bad-item"),
            ("MeterValues.values[0].value[1].unit", "bad-item"),
        ]


def test_a_comment_is_no_child() -> None:
    element = etree.fromstring(
        f'<c:resetRequest xmlns:c="{CP}"><!-- now --><c:type>Hard</c:type></c:resetRequest>'
    )
    assert RESET.read_element(element, "Reset", []) == {"type": "Hard"}


def test_a_missing_field_is_named_with_what_was_found() -> None:
    with pytest.raises(Violation) as caught:
        read_xml(STATUS_NOTIFICATION, "<c:connectorId>1</c:connectorId><c:status>Available</c:status>")
    assert caught.value.code == "OccurenceConstraintViolation"
    assert caught.value.path == "StatusNotification.errorCode"
    assert caught.value.problem == "is missing; found connectorId, status, expected errorCode"
    with pytest.raises(Violation, match=r"^Reset.type: is missing; found nothing, expected type$"):
        read_xml(RESET, "", CP)
    with pytest.raises(Violation, match=r"^Reset.type: is missing; found nothing, expected type$"):
        RESET.read_json({})


def test_elements_inside_a_plain_value_are_refused() -> None:
    with pytest.raises(Violation, match=r"^Reset.type: found element <hard>, expected plain text$"):
        read_xml(RESET, "<c:type>Hard<c:hard/></c:type>", CP)


def test_xml_inside_data_is_kept_as_its_text() -> None:
    """IZIVIA's production output; the schema says string."""
    inside = "<c:vendorId>v</c:vendorId><c:data>a<x:b xmlns:x='urn:x'>1</x:b>c</c:data>"
    payload, notes = read_xml(DATA_TRANSFER, inside)
    assert payload["data"].startswith("a<x:b ")
    assert payload["data"].endswith(">1</x:b>c")
    assert [(note.path, note.value, note.rule) for note in notes] == [
        ("DataTransfer.data", "a 1 c", "data-as-text")
    ]


def test_xml_inside_data_is_kept_as_it_stood_there_and_does_not_grow() -> None:
    inside = "a &lt; b<c:x/><y a='1 > 0'>é</y> " + "<z/>" * 1000
    payload, _ = read_xml(DATA_TRANSFER, f"<c:vendorId>v</c:vendorId><c:data q='>'>{inside}</c:data>")
    assert payload["data"] == 'a &lt; b<c:x/><y a="1 &gt; 0">é</y> ' + "<z/>" * 1000


@pytest.mark.parametrize(
    "empty", ["<c:timestamp/>", "<c:timestamp> </c:timestamp>", '<c:timestamp xsi:nil="true"/>']
)
def test_an_empty_optional_time_is_absent(empty: str) -> None:
    payload, notes = read_xml(STATUS_NOTIFICATION, STATUS + empty)
    assert "timestamp" not in payload
    rule = "nil-is-absent" if "nil" in empty else "empty-is-absent"
    assert notes == [Change("StatusNotification.timestamp", "", "", rule)]


def test_an_empty_required_number_is_refused() -> None:
    with pytest.raises(Violation, match=r"StatusNotification.connectorId: found nothing, expected a value"):
        read_xml(STATUS_NOTIFICATION, STATUS.replace(">1<", "><"))


def test_empty_strings_keep_their_meaning() -> None:
    payload, notes = read_xml(CHANGE_CONFIGURATION, "<c:key>k</c:key><c:value></c:value>", CP)
    assert (payload, notes) == ({"key": "k", "value": ""}, [])
    payload, notes = read_xml(DATA_TRANSFER, "<c:vendorId/><c:data/>")
    assert (payload, notes) == ({"vendorId": "", "data": ""}, [])
    assert write_xml(CHANGE_CONFIGURATION, {"key": "k", "value": ""})[0] == (
        "<ocpp:key>k</ocpp:key><ocpp:value></ocpp:value>"
    )


def test_a_nil_string_is_absent_and_where_required_refused() -> None:
    payload, notes = read_xml(STATUS_NOTIFICATION, STATUS + '<c:info xsi:nil="1"/>')
    assert "info" not in payload
    assert notes == [Change("StatusNotification.info", "", "", "nil-is-absent")]
    with pytest.raises(Violation, match=r"ChangeConfiguration.value: found nothing, expected a value"):
        read_xml(CHANGE_CONFIGURATION, '<c:key>k</c:key><c:value xsi:nil="true"/>', CP)


def test_a_nil_object_is_absent() -> None:
    conf = MESSAGES[Side.CENTRAL_SYSTEM, "StopTransaction"].response
    assert read_xml(conf, '<c:idTagInfo xsi:nil="true"/>') == (
        {},
        [Change("StopTransactionResponse.idTagInfo", "nil", "", "nil-is-absent")],
    )
    with pytest.raises(Violation, match=r"AuthorizeResponse.idTagInfo.status: is missing"):
        read_xml(AUTHORIZE_CONF, '<c:idTagInfo xsi:nil="true"/>')


# ---------------------------------------------------------------------------- reading JSON


def test_one_item_may_stand_where_a_list_belongs() -> None:
    payload, notes = METER_VALUES.read_json(
        {"connectorId": 1, "meterValue": a_meter_value() | {"sampledValue": SAMPLE}}
    )
    assert payload == meter_values(a_meter_value(SAMPLE))
    assert [(note.path, note.rule) for note in notes] == [
        ("MeterValues.meterValue", "single-as-list"),
        ("MeterValues.meterValue[0].sampledValue", "single-as-list"),
    ]


def test_a_list_of_one_may_stand_where_one_value_belongs() -> None:
    payload, notes = AUTHORIZE_CONF.read_json({"idTagInfo": [{"status": ["Accepted"]}]})
    assert payload == {"idTagInfo": {"status": "Accepted"}}
    assert [note.rule for note in notes] == ["list-as-single", "list-as-single"]
    with pytest.raises(Violation, match=r'status: found array \["Accepted", "Blocked"\], expected a string'):
        AUTHORIZE_CONF.read_json({"idTagInfo": {"status": ["Accepted", "Blocked"]}})


def test_a_payload_must_be_an_object() -> None:
    with pytest.raises(Violation) as caught:
        RESET.read_json(["Hard"])
    assert caught.value.code == "TypeConstraintViolation"
    assert str(caught.value) == 'Reset: found array ["Hard"], expected an object'


def test_null_is_absent() -> None:
    payload, notes = STATUS_NOTIFICATION.read_json(
        {"connectorId": 1, "errorCode": "NoError", "status": "Available", "info": None}
    )
    assert "info" not in payload
    assert notes == [Change("StatusNotification.info", "null", "", "null-is-absent")]
    with pytest.raises(Violation, match=r"^Reset.type: is missing"):
        RESET.read_json({"type": None})
    with pytest.raises(Violation, match=r"^MeterValues.meterValue: is missing"):
        METER_VALUES.read_json({"connectorId": 1, "meterValue": None})


def test_an_empty_word_is_absent_and_where_required_refused() -> None:
    sample = {"value": "", "phase": "", "unit": " "}
    payload, notes = METER_VALUES.read_json(meter_values(a_meter_value(sample)))
    assert payload == meter_values(a_meter_value({"value": ""}))
    assert [(note.path, note.rule) for note in notes] == [
        ("MeterValues.meterValue[0].sampledValue[0].phase", "empty-is-absent"),
        ("MeterValues.meterValue[0].sampledValue[0].unit", "empty-is-absent"),
    ]
    with pytest.raises(Violation, match=r"Reset.type: found '', expected a value"):
        RESET.read_json({"type": ""})


def test_a_required_list_must_not_be_empty() -> None:
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": []}
    profile = {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": schedule,
    }
    with pytest.raises(Violation) as caught:
        SET_CHARGING_PROFILE.read_json({"connectorId": 1, "csChargingProfiles": profile})
    assert caught.value.code == "OccurenceConstraintViolation"
    assert (
        caught.value.path == "SetChargingProfile.csChargingProfiles.chargingSchedule.chargingSchedulePeriod"
    )
    assert caught.value.problem == "found [], expected at least one item"


def test_anything_as_data_becomes_its_text() -> None:
    payload, notes = DATA_TRANSFER.read_json({"vendorId": "v", "data": [{"limit": Decimal("8.10")}]})
    assert payload == {"vendorId": "v", "data": '[{"limit":8.10}]'}
    text = '[{"limit":8.10}]'
    assert notes == [Change("DataTransfer.data", text, text, "data-as-text")]
    assert DATA_TRANSFER_COMMAND.read_json({"vendorId": "v", "data": {}})[0]["data"] == "{}"


# ---------------------------------------------------------------------------- losses


def test_one_bad_sample_does_not_lose_the_others() -> None:
    """lbbrhzn/ocpp #361: a wrong word in a backlog of stored meter values."""
    message = meter_values(
        a_meter_value({"value": "1", "unit": "W"}, {"value": "2", "unit": "Watts"}, {"value": "3"})
    )
    payload, notes = METER_VALUES.read_json(message)
    assert payload == meter_values(a_meter_value({"value": "1", "unit": "W"}, {"value": "3"}))
    assert [(note.path, note.value, note.rule) for note in notes] == [
        ("MeterValues.meterValue[0].sampledValue[1].unit", '{"value": "2", "unit": "Watts"}', "bad-item")
    ]
    assert isinstance(notes[0], Loss)
    assert notes[0].reason.startswith("'Watts' is not one of 'Celsius', 'Fahrenheit', 'Wh', ")

    inside = (
        f"<c:connectorId>1</c:connectorId><c:meterValue><c:timestamp>{TIME}</c:timestamp>"
        "<c:sampledValue><c:value>1</c:value><c:unit>Watts</c:unit></c:sampledValue>"
        "<c:sampledValue><c:value>2</c:value><c:unit>Volts</c:unit></c:sampledValue>"
        "<c:sampledValue><c:value>3</c:value></c:sampledValue></c:meterValue>"
    )
    payload, notes = read_xml(METER_VALUES, inside)
    assert payload == meter_values(a_meter_value({"value": "3"}))
    assert [(note.path, note.value, note.rule) for note in notes] == [
        ("MeterValues.meterValue[0].sampledValue[0].unit", "1 Watts", "bad-item"),
        ("MeterValues.meterValue[0].sampledValue[1].unit", "2 Volts", "bad-item"),
    ]


def test_a_meter_value_without_usable_samples_is_lost_alone() -> None:
    """lbbrhzn/ocpp #466: Vestel sends empty lists of samples."""
    good, bad = a_meter_value(SAMPLE), a_meter_value({"value": "1", "phase": "L4"})
    payload, notes = METER_VALUES.read_json(meter_values(bad, a_meter_value(), good))
    assert payload == meter_values(good)
    assert [(note.path, note.rule) for note in notes] == [
        ("MeterValues.meterValue[0].sampledValue[0].phase", "bad-item"),
        ("MeterValues.meterValue[0].sampledValue", "bad-item"),
        ("MeterValues.meterValue[1].sampledValue", "bad-item"),
    ]


def test_what_was_changed_in_a_lost_item_is_not_noted() -> None:
    """It was not carried; what was lost in it is said once."""
    sample = {"value": 1, "unit": "Watts"}
    payload, notes = STOP_TRANSACTION.read_json(
        {
            "transactionId": 7,
            "timestamp": TIME,
            "meterStop": 1,
            "transactionData": [a_meter_value(sample, timestamp="2024-05-01T12:00:00+02:00")],
        }
    )
    assert payload == {"transactionId": 7, "timestamp": TIME, "meterStop": 1}
    assert [(note.path, note.rule) for note in notes] == [
        ("StopTransaction.transactionData[0].sampledValue[0].unit", "bad-item"),
        ("StopTransaction.transactionData[0].sampledValue", "bad-item"),
    ]


@pytest.mark.parametrize("sample", [{"unit": "Watts"}, {"value": "1", "measurand": "Sideways"}, "12", None])
def test_meter_values_with_nothing_usable_are_refused_here(sample: Any) -> None:
    payload, notes = METER_VALUES.read_json(meter_values(a_meter_value(sample)))
    assert payload == {"connectorId": 1}
    assert isinstance(answered_here(Call("MeterValues", payload), notes), CallError)
    assert [note.rule for note in notes] == ["bad-item", "bad-item"]


def test_meter_values_without_meter_values_are_noted_as_lost() -> None:
    payload, notes = read_xml(METER_VALUES, "<c:connectorId>1</c:connectorId>")
    assert payload == {"connectorId": 1}
    assert [(note.path, note.rule) for note in notes] == [("MeterValues.meterValue", "empty-meter-values")]
    payload, notes = METER_VALUES.read_json({"connectorId": 1, "meterValue": []})
    assert payload == {"connectorId": 1}
    assert [(note.path, note.rule) for note in notes] == [("MeterValues.meterValue", "empty-meter-values")]
    with pytest.raises(Violation, match=r"MeterValues.meterValue: is missing; found connectorId"):
        METER_VALUES.read_json({"connectorId": 1})


def test_a_bad_optional_field_is_lost_alone() -> None:
    payload, notes = read_xml(STATUS_NOTIFICATION, STATUS + "<c:timestamp>noon</c:timestamp>")
    assert payload == {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
    assert notes == [
        Loss(
            "StatusNotification.timestamp",
            "noon",
            "bad-optional",
            "'noon' is not a dateTime like '2024-05-01T10:00:00Z'",
        )
    ]
    status = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
    payload, notes = STATUS_NOTIFICATION.read_json({**status, "timestamp": "noon"})
    assert payload == status
    assert [(note.path, note.value, note.rule) for note in notes] == [
        ("StatusNotification.timestamp", "noon", "bad-optional")
    ]


def test_a_bad_key_value_is_lost_alone() -> None:
    keys = [
        {"key": "a", "readonly": True},
        {"key": "b", "readonly": "perhaps"},
        {"key": "c" * 51, "readonly": False},
    ]
    payload, notes = GET_CONFIGURATION_CONF.read_json({"configurationKey": keys, "unknownKey": [["x"], "y"]})
    assert payload == {"configurationKey": [{"key": "a", "readonly": True}], "unknownKey": ["y"]}
    assert [note.path for note in notes] == [
        "GetConfigurationResponse.configurationKey[1].readonly",
        "GetConfigurationResponse.configurationKey[2].key",
        "GetConfigurationResponse.unknownKey[0]",
    ]


def test_in_a_command_nothing_is_lost() -> None:
    """Half a local list, or half a charging profile, commands something else."""
    lists = [{"idTag": "A"}, {"idTag": "B" * 21}]
    with pytest.raises(Violation) as caught:
        SEND_LOCAL_LIST.read_json({"listVersion": 1, "updateType": "Full", "localAuthorizationList": lists})
    assert caught.value.code == "PropertyConstraintViolation"
    assert caught.value.path == "SendLocalList.localAuthorizationList[1].idTag"
    with pytest.raises(Violation, match=r"^RemoteStartTransaction.connectorId: 'two' is not an integer"):
        REMOTE_START.read_json({"idTag": "A", "connectorId": "two"})
    with pytest.raises(Violation, match=r"^RemoteStartTransaction.connectorId: 'two' is not an integer"):
        read_xml(REMOTE_START, "<c:connectorId>two</c:connectorId><c:idTag>A</c:idTag>", CP)
    with pytest.raises(Violation, match=r"^GetConfiguration.key\[1\]: found nothing"):
        read_xml(GET_CONFIGURATION, '<c:key>A</c:key><c:key xsi:nil="true"/>', CP)


def test_the_value_of_a_loss_is_bounded() -> None:
    unknown = "x" * 100_000
    status = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
    _, notes = STATUS_NOTIFICATION.read_json({**status, unknown: unknown})
    assert [len(note.value) for note in notes] == [60]
    assert len(notes[0].path) < 100
    _, notes = read_xml(STATUS_NOTIFICATION, STATUS + f"<c:mood>{'<c:x>ab cd</c:x>' * 2000}</c:mood>")
    assert [len(note.value) for note in notes] == [60]


def test_a_hundred_thousand_bad_items_are_counted_and_not_listed() -> None:
    payload, notes = METER_VALUES.read_json(meter_values(*[{}] * 100_000, a_meter_value(SAMPLE)))
    assert payload == meter_values(a_meter_value(SAMPLE))
    assert len(notes) == 200
    assert notes[-1] == Loss("", "99801", "and-more", "99801 more notes of this message are not listed")


def test_a_hundred_thousand_items_are_read_and_written() -> None:
    keys = [f"key{index}" for index in range(100_000)]
    payload, notes = GET_CONFIGURATION.read_json({"key": keys})
    assert payload == {"key": keys}
    inside, written_notes = write_xml(GET_CONFIGURATION, payload)
    assert read_xml(GET_CONFIGURATION, inside.replace("ocpp:", "c:"), CP) == (payload, [])
    assert (notes, written_notes) == ([], [])


def test_deep_nesting_is_refused() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, {"vendorId": deep}):
        with pytest.raises(Violation):
            DATA_TRANSFER.read_json(value)
    assert DATA_TRANSFER.read_json({"vendorId": "v", "data": deep, "x": deep}) == (
        {"vendorId": "v"},
        [
            Loss(
                "DataTransfer.data",
                "[" * 59 + "…",
                "bad-optional",
                "is nested deeper than 64, expected a string",
            ),
            Loss("DataTransfer.x", "[" * 59 + "…", "unknown-field", "DataTransfer has no such field"),
        ],
    )


# ---------------------------------------------------------------------------- writing


def test_elements_are_written_in_order_and_qualified() -> None:
    """RemoteStartTransaction.req has connectorId before idTag (WSDL), whatever JSON's order."""
    payload = {"idTag": "A&B", "connectorId": 1}
    assert write_xml(REMOTE_START, payload) == (
        "<ocpp:connectorId>1</ocpp:connectorId><ocpp:idTag>A&amp;B</ocpp:idTag>",
        [],
    )


def test_the_prefix_is_an_option() -> None:
    """NKT charge points know only theirs (steve #12)."""
    message = dialect(options=Options(prefix="ns1")).operation(Side.CHARGE_POINT, "Reset").request
    assert write_xml(message, {"type": "Soft"})[0] == "<ns1:type>Soft</ns1:type>"


def test_an_object_without_fields_is_an_empty_element() -> None:
    fields = (Field("outer", "object", fields=(Field("inner", "string", min_items=0),)),)
    write = compile_xml_writer(fields, Options(), "Odd", lenient=True)
    assert write({"outer": {}}, "Odd", []) == "<ocpp:outer/>"
    assert write({"outer": {"inner": ""}}, "Odd", []) == "<ocpp:outer><ocpp:inner></ocpp:inner></ocpp:outer>"


def test_writing_without_a_required_field_is_refused() -> None:
    with pytest.raises(Violation, match=r"^Reset.type: is missing; found nothing, expected type$"):
        write_xml(RESET, {})
    with pytest.raises(
        Violation, match=r"^ChangeConfiguration.value: is missing; found key, expected value$"
    ):
        write_xml(CHANGE_CONFIGURATION, {"key": "k"})


def test_an_empty_list_is_no_element_and_noted() -> None:
    assert write_xml(GET_CONFIGURATION, {"key": []}) == (
        "",
        [Change("GetConfiguration.key", "[]", "", "empty-list")],
    )


def test_what_soap_cannot_say_is_lost_alone() -> None:
    payload = meter_values(a_meter_value({"value": "50", "measurand": "Frequency", "unit": "Hertz"}))
    inside, notes = write_xml(METER_VALUES, payload)
    assert "<ocpp:measurand>Frequency</ocpp:measurand></ocpp:sampledValue>" in inside
    assert [(note.path, note.value, note.rule) for note in notes] == [
        ("MeterValues.meterValue[0].sampledValue[0].unit", "Hertz", "unsayable-unit")
    ]


def test_an_item_that_cannot_be_written_is_lost_alone_and_in_a_command_refused() -> None:
    good, bad = {"value": "1"}, {"value": "2", "phase": "L4"}
    inside, notes = write_xml(METER_VALUES, meter_values(a_meter_value(bad, good), a_meter_value(bad)))
    assert inside == (
        "<ocpp:connectorId>1</ocpp:connectorId><ocpp:meterValue><ocpp:timestamp>2024-05-01T10:00:00Z</ocpp:timestamp>"
        "<ocpp:sampledValue><ocpp:value>1</ocpp:value></ocpp:sampledValue></ocpp:meterValue>"
    )
    assert [(note.path, note.rule) for note in notes] == [
        ("MeterValues.meterValue[0].sampledValue[0].phase", "bad-item"),
        ("MeterValues.meterValue[1].sampledValue[0].phase", "bad-item"),
        ("MeterValues.meterValue[1].sampledValue", "bad-item"),
    ]
    with pytest.raises(Violation, match=r"localAuthorizationList\[0\].idTag: is missing"):
        write_xml(SEND_LOCAL_LIST, {"listVersion": 1, "localAuthorizationList": [{}], "updateType": "Full"})


def test_celsius_is_written_as_the_option_says() -> None:
    """The first JSON schemas know Celcius only (OCPP-J 1.6 errata, 2.1)."""
    compiled = dialect(options=Options(celsius="Celcius"))
    message = compiled.operation(Side.CENTRAL_SYSTEM, "MeterValues").request
    payload = meter_values(
        a_meter_value({"value": "21", "unit": "Celsius"}, {"value": "1", "unit": "A"}, SAMPLE)
    )
    written, notes = message.write_json(payload)
    assert written == meter_values(
        a_meter_value({"value": "21", "unit": "Celcius"}, {"value": "1", "unit": "A"}, SAMPLE)
    )
    assert notes == [
        Change("MeterValues.meterValue[0].sampledValue[0].unit", "Celsius", "Celcius", "celcius")
    ]
    assert payload["meterValue"][0]["sampledValue"][0]["unit"] == "Celsius"

    stop = compiled.operation(Side.CENTRAL_SYSTEM, "StopTransaction").request
    without = {"transactionId": 1, "timestamp": TIME, "meterStop": 1}
    assert stop.write_json(without) == (without, [])
    assert compiled.operation(Side.CENTRAL_SYSTEM, "Heartbeat").request.write_value is None
    assert METER_VALUES.write_json(payload) == (payload, [])


def test_both_spellings_of_celsius_are_read() -> None:
    sample = {"value": "21", "unit": "Celcius"}
    payload, notes = METER_VALUES.read_json(meter_values(a_meter_value(sample)))
    assert payload["meterValue"][0]["sampledValue"][0]["unit"] == "Celsius"
    assert [note.rule for note in notes] == ["value-alias"]


def test_line_ends_and_tabs_survive() -> None:
    data = " a\r\nb\tc\rd\n]]> "
    inside, _ = write_xml(DATA_TRANSFER, {"vendorId": "v", "data": data})
    assert read_xml(DATA_TRANSFER, inside.replace("ocpp:", "c:"))[0]["data"] == data


# ---------------------------------------------------------------------------- shapes of our own


def test_readers_are_made_from_any_shape() -> None:
    fields = (
        Field("names", "string", min_items=0, max_items=None, max_length=3),
        Field("limit", "decimal", min_items=0, fraction_digits=1),
    )
    read = compile_element_reader(fields, Options(), "Odd", lenient=True)
    element = etree.fromstring("<odd><names>a</names><limit>8.15</limit><names>b</names></odd>")
    notes: list[Note] = []
    assert read(element, "Odd", notes) == {"names": ["a", "b"], "limit": Decimal("8.1")}
    assert [note.rule for note in notes] == ["rounded"]

    read_json = compile_json_reader(fields, Options(), "Odd", lenient=True)
    assert read_json({"names": ["a"], "limit": 8}, "Odd", []) == {"names": ["a"], "limit": 8}
    # A list that nobody salvages counts as a whole.
    with pytest.raises(Violation, match=r"^Odd.names\[1\]: 'long' has 4 characters, expected at most 3$"):
        read_json({"names": ["a", "long"]}, "Odd", [])
    assert compile_json_writer(fields, Options(celsius="Celcius")) is None


def test_names_of_elements_are_told_apart() -> None:
    qualified, bare = etree.fromstring(f'<c:a xmlns:c="{CS}"/>'), etree.fromstring("<a/>")
    assert (local_name(qualified), namespace_of(qualified)) == ("a", CS)
    assert (local_name(bare), namespace_of(bare)) == ("a", "")


# --- by the rules of a profile

WITH_DEFAULT = Options(rules=Rules(defaults=(("vendor", "ACME"), ("number", "7"))))
BOOT = (
    Field("vendor", "string", max_length=20),
    Field("model", "string"),
    Field("number", "integer", min_items=0),
)


@pytest.mark.parametrize(
    ("inside", "rules"),
    [
        ("<model>M</model>", ["profile-default", "profile-default"]),
        ("<vendor/><model>M</model><number> </number>", ["empty-is-absent"] * 2 + ["profile-default"] * 2),
        ("<vendor> </vendor><model>M</model><number>7</number>", ["empty-is-absent", "profile-default"]),
    ],
)
def test_what_is_missing_or_empty_gets_what_a_profile_says(inside: str, rules: list[str]) -> None:
    """Huawei's chargePointVendor is empty (evcc #32170)."""
    read = compile_element_reader(BOOT, WITH_DEFAULT, "Boot", lenient=True)
    notes: list[Note] = []
    found = read(etree.fromstring(f"<boot>{inside}</boot>"), "Boot", notes)
    assert found == {"vendor": "ACME", "model": "M", "number": 7}
    assert [note.rule for note in notes] == rules


@pytest.mark.parametrize(
    ("payload", "rules"),
    [
        ({"model": "M"}, ["profile-default", "profile-default"]),
        ({"vendor": "", "model": "M", "number": None}, ["empty-is-absent", "null-is-absent"]),
    ],
)
def test_so_does_what_is_missing_in_json(payload: Payload, rules: list[str]) -> None:
    read = compile_json_reader(BOOT, WITH_DEFAULT, "Boot", lenient=True)
    notes: list[Note] = []
    assert read(payload, "Boot", notes) == {"vendor": "ACME", "model": "M", "number": 7}
    assert [note.rule for note in notes][: len(rules)] == rules
    with pytest.raises(Violation, match=r"Boot\.model: is missing"):
        read({}, "Boot", [])

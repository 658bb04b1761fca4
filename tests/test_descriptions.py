"""Our service descriptions describe the interface that is published, though not in the same words.

Everything that a peer could see of a description is laid out as facts, a line each, through zeep and the
schema documents, without our own reader; then two descriptions are compared line by line. That this sees what
it should is proved on spoiled copies of ours. The published descriptions are not ours to distribute: where
they do not lie beside the project, the comparison with them is skipped.
"""

from __future__ import annotations

import csv
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import pytest
import zeep
from lxml import etree

from wattbridge.ocpp.wsdl import SERVICES, descriptions_folder, read_operations

SHARED = Path(__file__).parents[2] / "shared"
PUBLISHED = SHARED / "reference" / "wsdl"
SAMPLES = SHARED / "samples" / "envelopes"

OURS = descriptions_folder()
XS = "{http://www.w3.org/2001/XMLSchema}"
WSDL = "{http://schemas.xmlsoap.org/wsdl/}"
SOAP12 = "{http://schemas.xmlsoap.org/wsdl/soap12/}"
WSAW = "{http://www.w3.org/2006/05/addressing/wsdl}"
SOAP_BODIES = (
    "{http://www.w3.org/2003/05/soap-envelope}Body",
    "{http://schemas.xmlsoap.org/soap/envelope/}Body",
)
NOT_JUDGED = ("(fault)", "not parsed", "no schema")

Facts = dict[str, str]


# Version → how the published description of a service is called.
PUBLISHED_NAMES = {"1.2": "{}.wsdl", "1.5": "OCPP_{}_1.5_FINAL.wsdl", "1.6": "OCPP_{}_1.6.wsdl"}


def published_file(service: str, version: str = "1.6") -> Path:
    """The published description of *service*; skips the test where it is not there."""
    file = PUBLISHED / version / PUBLISHED_NAMES[version].format(service)
    if not file.is_file():
        pytest.skip("the published service descriptions are not beside the project")
    return file


def documents(file: Path) -> list[etree._Element]:
    """The document in *file* and all that it imports and includes, each once."""
    found: dict[Path, etree._Element] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = etree.parse(path).getroot()
            links = found[path].iter(f"{XS}import", f"{XS}include")
            waiting += [path.parent / link.get("schemaLocation", "") for link in links]
    return list(found.values())


def interface(file: Path) -> Facts:
    """All that a peer can see of a description: ``{"Reset request: .type": "… ResetType 1..1 …", …}``."""
    client: Any = cast(Any, zeep.Client)(str(file))
    roots = documents(file)
    simple_types = {
        name: one for root in roots for one in root.iter(f"{XS}simpleType") if (name := one.get("name"))
    }
    facts: Facts = {
        "addressing": str(any(root.find(f".//{WSAW}UsingAddressing") is not None for root in roots)),
        "types": ", ".join(sorted(one.qname.text for one in client.wsdl.types.types if is_ours(one.qname))),
        "elements": ", ".join(sorted(one.qname.text for one in client.wsdl.types.elements)),
    }
    for service in client.wsdl.services.values():
        for port in service.ports.values():
            binding = port.binding
            facts["service"] = f"{service.name}, {port.name}, {binding.name.text}, {binding.port_name.text}"
            facts["binding"] = f"{type(binding).__name__} {binding.transport} {binding.default_style}"
            facts["operations"] = ", ".join(sorted(binding.all()))
            for action, operation in binding.all().items():
                facts |= operation_facts(action, operation, simple_types)
    for operation in roots[0].iterfind(f"{WSDL}portType/{WSDL}operation"):
        for message in operation.iterchildren(f"{WSDL}input", f"{WSDL}output", f"{WSDL}fault"):
            where = f"{operation.get('name')} {etree.QName(message).localname}"
            facts[f"{where}: wsa:Action"] = str(message.get(f"{WSAW}Action"))
    for operation in roots[0].iterfind(f"{WSDL}binding/{WSDL}operation"):
        for message in operation.iterchildren(f"{WSDL}input", f"{WSDL}output", f"{WSDL}fault"):
            where = f"{operation.get('name')} {etree.QName(message).localname}"
            for part in message.iterchildren(f"{SOAP12}header", f"{SOAP12}body"):
                facts[f"{where}: {etree.QName(part).localname}"] = f"{part.get('use')} {part.get('part')}"
    return facts


def is_ours(qname: etree.QName | None) -> bool:
    """Named, and not one of XML Schema's own."""
    return qname is not None and not str(qname.namespace).startswith("http://www.w3.org/")


def operation_facts(action: str, operation: Any, simple_types: dict[str, etree._Element]) -> Facts:
    facts = {f"{action}: soapAction": f"{operation.soapaction} {operation.style}"}
    for direction, message in (("request", operation.input), ("response", operation.output)):
        where = f"{action} {direction}"
        headers = message.header.type.elements if message.header is not None else []
        facts[f"{where}: headers"] = ", ".join(
            f"{part} {one.qname.text} {one.type.qname.text}" for part, one in headers
        )
        facts[f"{where}: element"] = message.body.qname.text
        facts |= element_facts(f"{where}: ", message.body, simple_types)
    return facts


def element_facts(where: str, element: Any, simple_types: dict[str, etree._Element]) -> Facts:
    xsd_type = element.type
    line = f"{element.qname.text} {xsd_type.qname.text} {element.min_occurs}..{element.max_occurs}"
    line += f" nillable={element.nillable} default={element.default}"
    if not isinstance(xsd_type, zeep.xsd.ComplexType):
        return {where: line + facets(xsd_type.qname.localname, simple_types)}

    attributes = {
        name: f"{one.type.qname.text} required={one.required} default={one.default}"
        + facets(one.type.qname.localname, simple_types)
        for name, one in xsd_type.attributes
    }
    facts: Facts = {f"{where} @{name}": said for name, said in attributes.items()}
    if is_text(xsd_type):
        [(_, text)] = xsd_type.elements_nested
        return {where: f"{line} text {text.type.qname.text}, attributes {', '.join(attributes)}"} | facts

    children = [child for _, group in xsd_type.elements_nested for child in group]
    groups = [type(group).__name__ for _, group in xsd_type.elements_nested]
    order = ", ".join(child.qname.localname for child in children)
    facts[where] = f"{line} {groups} attributes={len(attributes)}: {order}"
    for child in children:
        facts |= element_facts(f"{where}.{child.qname.localname}", child, simple_types)
    return facts


def is_text(xsd_type: Any) -> bool:
    """A text with attributes: zeep has an element of its own making in the place of the groups."""
    return [type(one) for _, one in xsd_type.elements_nested] == [zeep.xsd.Element]


def facets(name: str, simple_types: dict[str, etree._Element]) -> str:
    """`` maxLength=20`` and the like, of all the types that *name* restricts; the enumeration in order."""
    said = ""
    while name in simple_types:
        [restriction] = simple_types[name].iterchildren(f"{XS}restriction")
        said += "".join(
            f" {etree.QName(facet).localname}={facet.get('value')}"
            for facet in restriction.iterchildren(f"{XS}*")
        )
        name = restriction.get("base", "").rpartition(":")[2]
        said += f" of {name}"
    return said


def differences(ours: Facts, other: Facts) -> list[str]:
    return [
        f"{where}: {ours.get(where)} | {other.get(where)}"
        for where in sorted(ours.keys() | other.keys())
        if ours.get(where) != other.get(where)
    ]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("version", PUBLISHED_NAMES)
class TestOursAgainstThePublished:
    def test_every_fact_is_the_same(self, version: str, service: str) -> None:
        ours = interface(OURS / version / f"{service}.wsdl")
        assert differences(ours, interface(published_file(service, version))) == []
        assert len(ours) > 100

    def test_our_reader_reads_the_same_from_both(self, version: str, service: str) -> None:
        ours = read_operations(OURS / version / f"{service}.wsdl")
        theirs = {
            operation.action: operation for operation in read_operations(published_file(service, version))
        }
        assert {operation.action: operation for operation in ours} == theirs

    def test_no_line_of_prose_is_taken_over(self, version: str, service: str) -> None:
        """The interface is a fact; the sentences about it are somebody's."""
        prose = {f"{XS}documentation", f"{WSDL}documentation"}

        def sentences(file: Path) -> set[str]:
            found = (one.text or "" for root in documents(file) for one in root.iter(*prose))
            return {" ".join(text.split()) for text in found if " " in text.strip()}

        ours = sentences(OURS / version / f"{service}.wsdl")
        assert ours
        assert ours & sentences(published_file(service, version)) == set()


def test_the_other_published_charge_point_of_1_2_differs_in_one_field_only() -> None:
    """RemoteStartTransaction was published with and without connectorId; running software has it."""
    other = published_file("ChargePointService", "1.2").with_name(
        "ChargePointService.without-connectorId.wsdl"
    )
    found = differences(interface(OURS / "1.2" / "ChargePointService.wsdl"), interface(other))
    assert [line.partition(": ")[2].partition(" ")[0] for line in found] == [":", ".connectorId:"], found
    assert all(line.startswith("RemoteStartTransaction request: ") for line in found), found


CS_WSDL, CP_WSDL = "CentralSystemService.wsdl", "ChargePointService.wsdl"
CS_XSD, CP_XSD, TYPES = "CentralSystemService.xsd", "ChargePointService.xsd", "types.xsd"


@pytest.mark.parametrize(
    ("service", "file", "old", "new", "seen"),
    [
        pytest.param(
            "ChargePointService", CP_XSD, '<xs:enumeration value="Soft"/>', "",
            "Reset request: .type: ", id="an enumeration value less",
        ),
        pytest.param(
            "ChargePointService", CP_XSD,
            '<xs:enumeration value="Hard"/>', '<xs:enumeration value="Hard"/><xs:enumeration value="Warm"/>',
            "Reset request: .type: ", id="an enumeration value more",
        ),
        pytest.param(
            "ChargePointService", TYPES, '<xs:maxLength value="50"/>', '<xs:maxLength value="51"/>',
            "ChangeConfiguration request: .key: ", id="another length",
        ),
        pytest.param(
            "CentralSystemService", TYPES, '<xs:maxLength value="25"/>', "",
            "BootNotification request: .meterType: ", id="no length",
        ),
        pytest.param(
            "ChargePointService", CP_XSD, '<xs:fractionDigits value="1"/>', '<xs:fractionDigits value="2"/>',
            "SetChargingProfile request: .csChargingProfiles.chargingSchedule.minChargingRate: ",
            id="other fraction digits",
        ),
        pytest.param(
            "CentralSystemService", CS_XSD,
            '<xs:element name="phase" type="cs:Phase" minOccurs="0"/>\n'
            '      <xs:element name="location" type="cs:Location" minOccurs="0"/>',
            '<xs:element name="location" type="cs:Location" minOccurs="0"/>\n'
            '      <xs:element name="phase" type="cs:Phase" minOccurs="0"/>',
            "StopTransaction request: .transactionData.sampledValue: ", id="two elements swapped",
        ),
        pytest.param(
            "CentralSystemService", TYPES,
            'name="expiryDate" type="xs:dateTime" minOccurs="0"', 'name="expiryDate" type="xs:dateTime"',
            "Authorize response: .idTagInfo.expiryDate: ", id="another minOccurs",
        ),
        pytest.param(
            "CentralSystemService", CS_XSD,
            'type="cs:SampledValue" maxOccurs="unbounded"', 'type="cs:SampledValue"',
            "MeterValues request: .meterValue.sampledValue: ", id="another maxOccurs",
        ),
        pytest.param(
            "CentralSystemService", CS_XSD,
            '<xs:element name="interval"', '<xs:element name="heartbeatInterval"',
            "BootNotification response: .interval: ", id="another element name",
        ),
        pytest.param(
            "CentralSystemService", CS_XSD,
            'name="meterStop" type="xs:int"', 'name="meterStop" type="xs:integer"',
            "StopTransaction request: .meterStop: ", id="another type",
        ),
        pytest.param(
            "CentralSystemService", CS_XSD,
            'name="meterStop" type="xs:int"', 'name="meterStop" type="xs:int" nillable="true"',
            "StopTransaction request: .meterStop: ", id="nillable",
        ),
        pytest.param(
            "CentralSystemService", CS_XSD, "<xs:complexType name=\"HeartbeatRequest\"/>",
            '<xs:complexType name="HeartbeatRequest"><xs:attribute name="a" type="xs:int"/></xs:complexType>',
            "Heartbeat request: : ", id="an attribute",
        ),
        pytest.param(
            "CentralSystemService", TYPES, ' elementFormDefault="qualified"', "",
            "DataTransfer request: .vendorId: ", id="shared elements without a namespace",
        ),
        pytest.param(
            "CentralSystemService", CS_XSD, '\n           elementFormDefault="qualified"', "",
            "Authorize request: .idTag: ", id="elements without a namespace",
        ),
        pytest.param(
            "CentralSystemService", TYPES, '"CiString500Type"', '"Text"', "types: ", id="another type name",
        ),
        pytest.param(
            "CentralSystemService", CS_WSDL, 'wsaw:Action="/HeartbeatResponse"', 'wsaw:Action="/Heartbeat"',
            "Heartbeat output: wsa:Action: ", id="another wsa:Action",
        ),
        pytest.param(
            "CentralSystemService", CS_WSDL, ' wsaw:Action="/Heartbeat"', "",
            "Heartbeat input: wsa:Action: ", id="no wsa:Action",
        ),
        pytest.param(
            "CentralSystemService", CS_WSDL, 'soapAction="/Heartbeat"', 'soapAction="Heartbeat"',
            "Heartbeat: soapAction: ", id="another soapAction",
        ),
        pytest.param(
            "CentralSystemService", CS_WSDL,
            '<soap12:header message="cs:Header" part="ChargeBoxIdentity" use="literal"/>', "",
            "Authorize request: headers: ", id="no header",
        ),
        pytest.param(
            "CentralSystemService", TYPES,
            'name="chargeBoxIdentity" type="xs:string"', 'name="chargeBoxIdentity" type="CiString20Type"',
            "Authorize request: headers: ", id="another type of the header",
        ),
        pytest.param(
            "CentralSystemService", CS_WSDL,
            '<soap12:body use="literal"/>', '<soap12:body use="encoded"/>',
            "Authorize input: body: ", id="another encoding",
        ),
        pytest.param(
            "CentralSystemService", CS_WSDL, "<wsaw:UsingAddressing/>", "",
            "addressing: ", id="no addressing",
        ),
        pytest.param(
            "CentralSystemService", CS_WSDL,
            'xmlns:soap12="http://schemas.xmlsoap.org/wsdl/soap12/"',
            'xmlns:soap12="http://schemas.xmlsoap.org/wsdl/soap/"',
            "binding: ", id="SOAP 1.1",
        ),
        pytest.param(
            "CentralSystemService", CS_WSDL,
            'element="cs:heartbeatRequest"', 'element="cs:heartbeatResponse"',
            "Heartbeat request: element: ", id="another element in the body",
        ),
    ],
)  # fmt: skip
def test_the_comparison_names_what_is_different(
    tmp_path: Path, service: str, file: str, old: str, new: str, seen: str
) -> None:
    spoiled = shutil.copytree(OURS / "1.6", tmp_path / "1.6") / file
    text = spoiled.read_text(encoding="utf-8")
    assert old in text
    spoiled.write_text(text.replace(old, new, 1), encoding="utf-8")

    ours = interface(OURS / "1.6" / f"{service}.wsdl")
    found = differences(ours, interface(spoiled.parent / f"{service}.wsdl"))
    assert [line for line in found if line.startswith(seen)], found


def test_the_comparison_sees_a_missing_operation(tmp_path: Path) -> None:
    description = shutil.copytree(OURS / "1.6", tmp_path / "1.6") / CS_WSDL
    tree = etree.parse(description)
    for operation in tree.getroot().findall(f".//{WSDL}operation[@name='MeterValues']"):
        cast(etree._Element, operation.getparent()).remove(operation)
    tree.write(description)
    found = differences(interface(OURS / "1.6" / CS_WSDL), interface(description))
    assert "MeterValues input: wsa:Action: /MeterValues | None" in found


def test_the_comparison_sees_another_namespace(tmp_path: Path) -> None:
    folder = shutil.copytree(OURS / "1.6", tmp_path / "1.6")
    for file in (folder / CS_WSDL, folder / CS_XSD):
        file.write_text(file.read_text("utf-8").replace("/2015/10/", "/2015/11/"), encoding="utf-8")
    found = differences(interface(OURS / "1.6" / CS_WSDL), interface(folder / CS_WSDL))
    assert (
        "Heartbeat request: element: "
        "{urn://Ocpp/Cs/2015/10/}heartbeatRequest | {urn://Ocpp/Cs/2015/11/}heartbeatRequest"
    ) in found


def samples(version: str) -> list[tuple[str, etree._Element, str]]:
    """File name, content of the Body, and the verdict noted with it, of each readable message."""
    if not (SAMPLES / "index.tsv").is_file():
        pytest.skip("the sample messages are not beside the project")
    found = []
    with (SAMPLES / "index.tsv").open(encoding="utf-8", newline="") as index:
        for row in csv.DictReader(index, delimiter="\t", quoting=csv.QUOTE_NONE):
            verdict = row["xsd"]
            if row["version"] != version or verdict.startswith(NOT_JUDGED):
                continue
            [body] = etree.parse(SAMPLES / row["file"]).getroot().iter(*SOAP_BODIES)
            [message] = body.iterchildren("*")
            found.append((row["file"], deepcopy(message), verdict))
    return found


@pytest.mark.parametrize(("version", "at_least"), [("1.2", 12), ("1.5", 100), ("1.6", 50)])
def test_libxml2_judges_real_messages_by_our_schemas_as_by_the_published(version: str, at_least: int) -> None:
    ours, theirs = {}, {}
    for service in SERVICES:
        [inline] = etree.parse(published_file(service, version)).getroot().iter(f"{XS}schema")
        namespace = inline.get("targetNamespace")
        theirs[namespace] = etree.XMLSchema(etree.fromstring(etree.tostring(inline)))
        ours[namespace] = etree.XMLSchema(file=str(OURS / version / f"{service}.xsd"))
    messages = samples(version)
    for name, message, verdict in messages:
        namespace = etree.QName(message).namespace
        assert (name, ours[namespace].validate(message)) == (name, verdict == "valid")
        assert (name, theirs[namespace].validate(message)) == (name, verdict == "valid")
    assert len(messages) >= at_least


@pytest.mark.parametrize("service", SERVICES)
def test_libxml2_reads_our_schemas(service: str) -> None:
    schema = etree.XMLSchema(file=str(OURS / "1.6" / f"{service}.xsd"))
    namespace = f"urn://Ocpp/{'Cs' if service == 'CentralSystemService' else 'Cp'}/2015/10/"
    message = f'<dataTransferRequest xmlns="{namespace}"><vendorId>{{}}</vendorId></dataTransferRequest>'
    assert schema.validate(etree.fromstring(message.format("x" * 255)))
    assert not schema.validate(etree.fromstring(message.format("x" * 256)))
    assert not schema.validate(etree.fromstring(message.format("x").replace(namespace, "urn:other")))

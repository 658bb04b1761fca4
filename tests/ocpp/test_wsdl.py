from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import zeep
from zeep.exceptions import DTDForbidden, ExternalReferenceForbidden
from zeep.transports import Transport

from wattbridge.ocpp.shapes import Field, Operation
from wattbridge.ocpp.wsdl import (
    SERVICES,
    descriptions_folder,
    published,
    published_schema,
    read_operations,
    read_version,
)


def operation(action: str, service: str | None = None, version: str = "1.6") -> Operation:
    [found] = [
        one for one in read_version(version) if one.action == action and service in (None, one.service)
    ]
    return found


def field(fields: tuple[Field, ...], path: str) -> Field:
    for name in path.split("."):
        [found] = [one for one in fields if one.name == name]
        fields = found.fields
    return found


def lines(fields: tuple[Field, ...]) -> list[str]:
    """``idTag IdToken 0..1``"""
    return [
        f"{one.name} {one.type_name} {one.min_items}..{'n' if one.max_items is None else one.max_items}"
        for one in fields
    ]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Our own descriptions of 1.6, to be spoiled."""
    return shutil.copytree(descriptions_folder() / "1.6", tmp_path / "1.6")


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


class TestReading:
    def test_version_1_6_has_the_operations_of_both_services(self) -> None:
        assert [one.action for one in read_version("1.6") if one.service == "CentralSystemService"] == [
            "Authorize",
            "BootNotification",
            "DataTransfer",
            "DiagnosticsStatusNotification",
            "FirmwareStatusNotification",
            "Heartbeat",
            "MeterValues",
            "StartTransaction",
            "StatusNotification",
            "StopTransaction",
        ]
        assert [one.action for one in read_version("1.6") if one.service == "ChargePointService"] == [
            "CancelReservation",
            "ChangeAvailability",
            "ChangeConfiguration",
            "ClearCache",
            "ClearChargingProfile",
            "DataTransfer",
            "GetCompositeSchedule",
            "GetConfiguration",
            "GetDiagnostics",
            "GetLocalListVersion",
            "RemoteStartTransaction",
            "RemoteStopTransaction",
            "ReserveNow",
            "Reset",
            "SendLocalList",
            "SetChargingProfile",
            "TriggerMessage",
            "UnlockConnector",
            "UpdateFirmware",
        ]

    def test_an_operation_knows_its_names_on_the_wire(self) -> None:
        boot = operation("BootNotification")
        assert boot.namespace == "urn://Ocpp/Cs/2015/10/"
        assert (boot.request_element, boot.response_element) == (
            "bootNotificationRequest",
            "bootNotificationResponse",
        )
        assert (boot.request_action, boot.response_action) == (
            "/BootNotification",
            "/BootNotificationResponse",
        )

    def test_each_service_has_its_own_namespace_and_the_shared_types_are_in_both(self) -> None:
        at_central_system = operation("DataTransfer", "CentralSystemService")
        at_charge_point = operation("DataTransfer", "ChargePointService")
        assert at_central_system.namespace == "urn://Ocpp/Cs/2015/10/"
        assert at_charge_point.namespace == "urn://Ocpp/Cp/2015/10/"
        assert at_central_system.request == at_charge_point.request
        assert lines(at_charge_point.request) == [
            "vendorId CiString255Type 1..1",
            "messageId CiString50Type 0..1",
            "data string 0..1",
        ]

    def test_fields_come_in_wire_order_with_their_cardinality(self) -> None:
        assert lines(operation("StopTransaction").request) == [
            "transactionId int 1..1",
            "idTag IdToken 0..1",
            "timestamp dateTime 1..1",
            "meterStop int 1..1",
            "reason Reason 0..1",
            "transactionData MeterValue 0..n",
        ]
        assert lines(operation("SendLocalList").request) == [
            "listVersion int 1..1",
            "localAuthorizationList AuthorizationData 0..n",
            "updateType UpdateType 1..1",
        ]

    def test_an_object_has_the_fields_of_its_type(self) -> None:
        meter_value = field(operation("MeterValues").request, "meterValue")
        assert meter_value.kind == "object"
        assert lines(meter_value.fields) == ["timestamp dateTime 1..1", "sampledValue SampledValue 1..n"]
        assert lines(field(meter_value.fields, "sampledValue").fields)[:2] == [
            "value string 1..1",
            "context ReadingContext 0..1",
        ]

    def test_a_message_without_content_has_no_fields(self) -> None:
        assert operation("Heartbeat").request == ()
        assert operation("UpdateFirmware").response == ()

    @pytest.mark.parametrize(
        ("action", "path", "expected"),
        [
            ("Authorize", "idTag", Field("idTag", "string", "IdToken", max_length=20)),
            ("Reset", "type", Field("type", "string", "ResetType", enum=("Hard", "Soft"))),
            ("ChangeConfiguration", "value", Field("value", "string", "CiString500Type", max_length=500)),
            ("MeterValues", "meterValue.sampledValue.value", Field("value", "string", "string")),
            ("StartTransaction", "connectorId", Field("connectorId", "integer", "int")),
            ("StartTransaction", "timestamp", Field("timestamp", "dateTime", "dateTime")),
            ("GetDiagnostics", "location", Field("location", "uri", "anyURI")),
            (
                "SetChargingProfile",
                "csChargingProfiles.chargingSchedule.chargingSchedulePeriod.limit",
                Field("limit", "decimal", "DecimalOne", fraction_digits=1),
            ),
        ],
    )
    def test_a_field_knows_its_kind_and_facets(self, action: str, path: str, expected: Field) -> None:
        assert field(operation(action).request, path) == expected

    def test_a_boolean_is_a_boolean(self) -> None:
        readonly = field(operation("GetConfiguration").response, "configurationKey.readonly")
        assert readonly == Field("readonly", "boolean", "boolean")

    def test_a_type_keeps_the_facets_of_the_type_it_restricts(self, copy: Path) -> None:
        replace(
            copy / "types.xsd",
            '<xs:restriction base="xs:string"><xs:maxLength value="20"/></xs:restriction>\n'
            "  </xs:simpleType>\n"
            '  <xs:simpleType name="AuthorizationStatus">',
            '<xs:restriction base="CiString25Type"><xs:annotation/></xs:restriction>\n'
            "  </xs:simpleType>\n"
            '  <xs:simpleType name="AuthorizationStatus">',
        )
        [authorize, *_] = read_operations(copy / "CentralSystemService.wsdl")
        assert authorize.request == (Field("idTag", "string", "IdToken", max_length=25),)

    def test_importing_the_reader_does_not_import_zeep(self) -> None:
        program = "import sys, wattbridge.ocpp.wsdl; print({'zeep', 'lxml', 'requests'} & set(sys.modules))"
        seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert seen.stdout == "set()\n"


class TestTheOlderDialects:
    @pytest.mark.parametrize(
        ("version", "at_central_system", "at_charge_point"), [("1.2", 9, 9), ("1.5", 10, 15)]
    )
    def test_both_services_are_there(
        self, version: str, at_central_system: int, at_charge_point: int
    ) -> None:
        services = [one.service for one in read_version(version)]
        assert services == [SERVICES[0]] * at_central_system + [SERVICES[1]] * at_charge_point

    @pytest.mark.parametrize(("version", "namespace"), [("1.2", "2010/08"), ("1.5", "2012/06")])
    def test_each_has_namespaces_of_its_own(self, version: str, namespace: str) -> None:
        assert operation("Heartbeat", version=version).namespace == f"urn://Ocpp/Cs/{namespace}/"
        assert operation("Reset", version=version).namespace == f"urn://Ocpp/Cp/{namespace}/"

    def test_an_answer_of_1_2_has_the_long_action(self) -> None:
        boot, reset = operation("BootNotification", version="1.2"), operation("Reset", version="1.2")
        assert boot.request_action == "/BootNotification"
        assert boot.response_action == "urn://Ocpp/Cs/2010/08/CentralSystemService/BootNotificationResponse"
        assert reset.response_action == "urn://Ocpp/Cp/2010/08/ChargePointService/ResetResponse"

    def test_an_answer_of_1_5_has_a_short_one(self) -> None:
        assert operation("BootNotification", version="1.5").response_action == "/BootNotificationResponse"

    def test_meter_values_of_1_2_are_whole_numbers(self) -> None:
        values = field(operation("MeterValues", version="1.2").request, "values")
        assert lines((values,)) == ["values MeterValue 0..n"]
        assert lines(values.fields) == ["timestamp dateTime 1..1", "value int 1..1"]

    def test_a_meter_value_of_1_5_is_text_with_attributes(self) -> None:
        value = field(operation("MeterValues", version="1.5").request, "values.value")
        assert lines((value,)) == ["value value 1..n"]
        assert [(one.name, one.place, one.required) for one in value.fields] == [
            ("value", "text", True),
            ("context", "attribute", False),
            ("format", "attribute", False),
            ("measurand", "attribute", False),
            ("location", "attribute", False),
            ("unit", "attribute", False),
        ]
        assert field(value.fields, "location").enum == ("Inlet", "Outlet", "Body")

    def test_a_transaction_of_1_5_has_a_level_more(self) -> None:
        data = field(operation("StopTransaction", version="1.5").request, "transactionData")
        assert lines((data, *data.fields)) == [
            "transactionData TransactionData 0..n",
            "values MeterValue 0..n",
        ]


class TestWhatAShapeCannotHold:
    @pytest.mark.parametrize(
        ("file", "old", "new", "problem"),
        [
            (
                "CentralSystemService.wsdl",
                '<soap12:header message="cs:Header" part="ChargeBoxIdentity" use="literal"/>',
                "",
                "Authorize: the input's headers are [], expected {urn://Ocpp/Cs/2015/10/}chargeBoxIdentity",
            ),
            (
                "CentralSystemService.wsdl",
                ' wsaw:Action="/Authorize"',
                "",
                "Authorize: input and output must be there, and the input have a wsaw:Action",
            ),
            (
                "CentralSystemService.wsdl",
                '<wsdl:output message="cs:AuthorizeResponse" wsaw:Action="/AuthorizeResponse"/>',
                "",
                "Authorize: input and output must be there, and the input have a wsaw:Action",
            ),
            (
                "types.xsd",
                '<xs:element name="parentIdTag" type="IdToken" minOccurs="0"/>\n    </xs:sequence>',
                '</xs:sequence><xs:attribute name="parentIdTag" type="IdToken"/>',
                "authorizeResponse.idTagInfo: attributes beside elements have no place in a shape",
            ),
            (
                "CentralSystemService.xsd",
                '<xs:element name="idTag" type="cs:IdToken"/>',
                '<xs:element name="idTag"><xs:complexType><xs:simpleContent><xs:extension base="xs:string">'
                '<xs:attribute name="kind" type="xs:string" default="RFID"/>'
                "</xs:extension></xs:simpleContent></xs:complexType></xs:element>",
                "authorizeRequest.idTag.@kind: "
                "a required attribute, or one with a default, has no place in a shape",
            ),
            (
                "CentralSystemService.xsd",
                '<xs:element name="idTag" type="cs:IdToken"/>',
                '<xs:element name="idTag"><xs:complexType><xs:simpleContent><xs:extension base="xs:string">'
                '<xs:attribute name="kind" type="xs:string" use="required"/>'
                "</xs:extension></xs:simpleContent></xs:complexType></xs:element>",
                "authorizeRequest.idTag.@kind: "
                "a required attribute, or one with a default, has no place in a shape",
            ),
            (
                "CentralSystemService.xsd",
                '<xs:element name="idTag" type="cs:IdToken"/>',
                '<xs:element name="idTag"><xs:complexType><xs:simpleContent><xs:extension base="xs:string">'
                '<xs:attribute name="holder" type="xs:string"/>'
                "</xs:extension></xs:simpleContent></xs:complexType></xs:element>",
                "authorizeRequest.idTag.@holder: an attribute that is no enumeration has no place in a shape",
            ),
            (
                "CentralSystemService.xsd",
                '<xs:element name="idTag" type="cs:IdToken"/>',
                '<xs:element name="idTag"><xs:complexType><xs:simpleContent><xs:extension base="xs:string">'
                '<xs:attribute name="weight" type="xs:double"/>'
                "</xs:extension></xs:simpleContent></xs:complexType></xs:element>",
                "authorizeRequest.idTag.@weight: double is not, and restricts none of, "
                "String, Integer, Decimal, Boolean, DateTime, AnyURI",
            ),
            (
                "CentralSystemService.xsd",
                '<xs:sequence>\n      <xs:element name="idTag" type="cs:IdToken"/>\n    </xs:sequence>',
                '<xs:choice>\n      <xs:element name="idTag" type="cs:IdToken"/>\n    </xs:choice>',
                "authorizeRequest: Choice where one xs:sequence was expected",
            ),
            (
                "CentralSystemService.xsd",
                '<xs:sequence>\n      <xs:element name="idTag" type="cs:IdToken"/>',
                '<xs:sequence maxOccurs="2">\n      <xs:element name="idTag" type="cs:IdToken"/>',
                "authorizeRequest: Sequence where one xs:sequence was expected",
            ),
            (
                "CentralSystemService.xsd",
                '<xs:element name="idTag" type="cs:IdToken"/>',
                "<xs:any/>",
                "authorizeRequest: Any where an xs:element was expected",
            ),
            (
                "CentralSystemService.xsd",
                '<xs:element name="idTag" type="cs:IdToken"/>',
                '<xs:element name="idTag" type="xs:double"/>',
                "authorizeRequest.idTag: double is not, and restricts none of, "
                "String, Integer, Decimal, Boolean, DateTime, AnyURI",
            ),
            (
                "CentralSystemService.xsd",
                '<xs:element name="idTag" type="cs:IdToken"/>',
                '<xs:element name="idTag"><xs:simpleType><xs:restriction base="xs:string">'
                '<xs:maxLength value="20"/></xs:restriction></xs:simpleType></xs:element>',
                "authorizeRequest.idTag: its type needs a name of its own",
            ),
            (
                "types.xsd",
                '<xs:maxLength value="20"/></xs:restriction>\n  </xs:simpleType>\n'
                '  <xs:simpleType name="AuthorizationStatus">',
                '<xs:pattern value="[0-9]*"/></xs:restriction>\n  </xs:simpleType>\n'
                '  <xs:simpleType name="AuthorizationStatus">',
                "IdToken: xs:pattern has no place in a shape",
            ),
        ],
    )
    def test_is_an_error_that_says_where(
        self, copy: Path, file: str, old: str, new: str, problem: str
    ) -> None:
        replace(copy / file, old, new)
        path = copy / "CentralSystemService.wsdl"
        with pytest.raises(ValueError, match=r"CentralSystemService\.wsdl: ") as error:
            read_operations(path)
        assert str(error.value) == f"{path}: {problem}"


class TestOnlyFilesAreRead:
    def test_an_import_over_the_network_is_refused(self, copy: Path) -> None:
        replace(
            copy / "CentralSystemService.wsdl",
            'schemaLocation="CentralSystemService.xsd"',
            'schemaLocation="http://127.0.0.1:1/CentralSystemService.xsd"',
        )
        with pytest.raises(ExternalReferenceForbidden, match=r"127\.0\.0\.1"):
            read_operations(copy / "CentralSystemService.wsdl")

    def test_a_document_type_is_refused(self, copy: Path) -> None:
        replace(copy / "types.xsd", "<xs:schema ", "<!DOCTYPE x [<!ENTITY a 'b'>]>\n<xs:schema ")
        with pytest.raises(DTDForbidden):
            read_operations(copy / "CentralSystemService.wsdl")

    def test_a_missing_file_is_named(self, copy: Path) -> None:
        (copy / "types.xsd").unlink()
        with pytest.raises(FileNotFoundError, match=r"types\.xsd"):
            read_operations(copy / "CentralSystemService.wsdl")

    def test_an_unknown_version_is_an_error_that_names_those_there_are(self) -> None:
        with pytest.raises(
            ValueError, match=r"no description of CentralSystemService 2\.0; there are "
        ) as error:
            read_version("2.0")
        assert "CentralSystemService 1.6, ChargePointService 1.6" in str(error.value)


class TestWhereTheDescriptionsAre:
    def test_in_the_package_when_installed_from_a_wheel(self, tmp_path: Path) -> None:
        (tmp_path / "site-packages/wattbridge/wsdl").mkdir(parents=True)
        module = tmp_path / "site-packages/wattbridge/ocpp/wsdl.py"
        assert descriptions_folder(module) == tmp_path / "site-packages/wattbridge/wsdl"

    def test_at_the_top_of_a_checkout(self, tmp_path: Path) -> None:
        (tmp_path / "wsdl").mkdir()
        module = tmp_path / "src/wattbridge/ocpp/wsdl.py"
        assert descriptions_folder(module) == tmp_path / "wsdl"

    def test_or_it_is_an_error_that_says_where_they_were_looked_for(self, tmp_path: Path) -> None:
        module = tmp_path / "src/wattbridge/ocpp/wsdl.py"
        with pytest.raises(FileNotFoundError) as error:
            descriptions_folder(module)
        assert str(error.value) == (
            f"no service descriptions: neither {tmp_path}/src/wattbridge/wsdl nor {tmp_path}/wsdl is a folder"
        )


class Publisher(BaseHTTPRequestHandler):
    """Publishes our descriptions the way a listener does: ``?wsdl`` and ``?xsd=<file>``."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        address = f"http://{self.headers['Host']}{url.path}"
        if "tenant" in query:
            address += f"?tenant={query['tenant'][0]}"
        if "xsd" in query:
            body = published_schema(query["xsd"][0], query.get("version", ["1.6"])[0])
        else:
            body = published(url.path.strip("/"), address, query.get("version", ["1.6"])[0])
        self.send_response(404 if body is None else 200)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def publisher() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Publisher) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def foreign_client(location: str, session: requests.Session) -> Any:
    """A zeep client; zeep is not typed here."""
    client, transport = cast(Any, zeep.Client), cast(Any, Transport)
    return client(location, transport=transport(session=session))


class TestPublishing:
    @pytest.mark.parametrize("service", SERVICES)
    @pytest.mark.parametrize(
        ("tenant", "wsdl", "version"),
        [
            ("", "?wsdl", "1.6"),
            ("?tenant=7", "?tenant=7&wsdl", "1.6"),
            ("", "?wsdl&version=1.5", "1.5"),
            ("", "?wsdl&version=1.2", "1.2"),
        ],
    )
    def test_a_foreign_client_can_load_what_is_published(
        self, publisher: str, service: str, tenant: str, wsdl: str, version: str
    ) -> None:
        with requests.Session() as session:
            session.trust_env = False
            client = foreign_client(f"{publisher}/{service}{wsdl}", session)
            local = foreign_client(str(descriptions_folder() / version / f"{service}.wsdl"), session)
        assert client.service._binding_options["address"] == f"{publisher}/{service}{tenant}"
        assert [str(one) for one in client.service._binding.all().values()] == [
            str(one) for one in local.service._binding.all().values()
        ]
        assert sorted(str(one.qname) for one in client.wsdl.types.types) == sorted(
            str(one.qname) for one in local.wsdl.types.types
        )

    def test_the_wsdl_names_the_address_and_where_its_schema_is(self) -> None:
        text = published("CentralSystemService", "https://gw.example/ocpp/cs").decode()
        assert '<soap12:address location="https://gw.example/ocpp/cs"/>' in text
        assert 'schemaLocation="https://gw.example/ocpp/cs?xsd=CentralSystemService.xsd"' in text

        text = published("CentralSystemService", "http://gw/cs?a=1&b=<2>", "1.5").decode()
        assert (
            'schemaLocation="http://gw/cs?a=1&amp;b=&lt;2&gt;&amp;xsd=CentralSystemService.xsd&amp;version=1.5"'
            in text
        )

    def test_a_schema_has_in_it_what_it_includes(self) -> None:
        text = (published_schema("ChargePointService.xsd") or b"").decode()
        assert "<xs:include" not in text
        assert '<xs:element name="idTag" type="cp:IdToken"' in text.replace("  ", " ")
        assert text.count('name="chargeBoxIdentity"') == 1

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "CentralSystemService.wsdl",
            "nothing.xsd",
            "../1.6/types.xsd",
            "./types.xsd",
            "/etc/passwd",
            "*.xsd",
            "types.xsd\0",
        ],
    )
    def test_only_our_own_schemas_are_published(self, name: str) -> None:
        assert published_schema(name) is None

    def test_there_is_no_schema_of_an_unknown_version(self) -> None:
        assert published_schema("types.xsd", "../1.6") is None

    @pytest.mark.parametrize(
        ("service", "version"), [("../1.6/CentralSystemService", "1.6"), ("CentralSystemService", "..")]
    )
    def test_an_unknown_service_is_an_error(self, service: str, version: str) -> None:
        with pytest.raises(ValueError, match="no description of "):
            published(service, "http://gw/cs", version)

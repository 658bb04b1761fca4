"""OCPP-S as other people's stacks see it: zeep writes and reads, requests and http.server carry, libxml2's
schema validator judges.

Knows how calls are made and answered in OCPP-S; what a message means is left to the simulators. Whatever
the other party does against the rules is noted as a problem: one sentence each, for tests and the demo.
Importing zeep takes a while (0.1 s), so the simulators import this module when they start.
"""

from __future__ import annotations

import functools
import threading
import uuid
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import requests
import zeep
import zeep.exceptions
import zeep.helpers
import zeep.wsa
from lxml import etree

from wattbridge.ocpp.wsdl import descriptions_folder
from wattbridge.simulators.dialects import Version
from wattbridge.simulators.outcomes import BadStatus, Refused, Unanswered
from wattbridge.simulators.post_server import Post, PostServer, Response
from wattbridge.simulators.soap_rules import (
    ANONYMOUS,
    FAULT_ACTION,
    SOAP_12,
    VERSION_MISMATCH,
    WSA,
    Heard,
    Rules,
    VersionMismatch,
    addressing,
    fault_namespace,
    response_action,
    text_of,
)

_zeep: Any = zeep  # it calls itself typed, but most of its functions are not

TEXT = "_value_1"  # what zeep calls the text beside attributes
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

Answer = Callable[[str, dict[str, Any]], dict[str, Any]]


# --- The descriptions ----------------------------------------------------------------------------------


class Service:
    """One service description of OCPP *version* as zeep understands it, and its schema as libxml2 does."""

    def __init__(self, path: Path, version: Version) -> None:
        self.version = version
        settings = _zeep.Settings(strict=True, forbid_dtd=True, forbid_external=True)
        self.document = _zeep.wsdl.Document(str(path), _zeep.Transport(), settings=settings)
        self.binding: Any = next(iter(self.document.bindings.values()))
        self.name: str = path.stem
        self.namespace: str = self.binding.name.namespace
        self.operations: dict[str, Any] = self.binding.all()
        self.action_of = {
            operation.input.body.qname.text: name for name, operation in self.operations.items()
        }
        self._schema = self._read_schema(path)
        self._judging = threading.Lock()  # a validator keeps the errors of its last judgement

    def _read_schema(self, path: Path) -> etree.XMLSchema:
        description = etree.parse(str(path))
        schemas = description.findall(".//{http://www.w3.org/2001/XMLSchema}schema")
        mine = [schema for schema in schemas if schema.get("targetNamespace") == self.namespace]
        # As a document of its own, with the prefixes declared above it and the folder to import from.
        text = etree.tostring((mine or schemas)[0])
        return etree.XMLSchema(etree.fromstring(text, base_url=str(path)))

    def breaches(self, element: etree._Element) -> list[str]:
        """What of the schema a body element breaks, one sentence each; empty when nothing."""
        alone = etree.fromstring(etree.tostring(element))
        with self._judging:
            if self._schema.validate(alone):
                return []
            errors: Any = self._schema.error_log
            return [str(error.message).replace(f"{{{self.namespace}}}", "") for error in errors]

    def header_name(self, action: str) -> str:
        """The keyword zeep wants for the chargeBoxIdentity header: the name of its message part."""
        for name, element in self.operations[action].input.header.type.elements:
            if element.name == "chargeBoxIdentity":
                return str(name)
        raise LookupError(f"{action}: the description binds no chargeBoxIdentity header")


@functools.cache
def _load(name: str, version: Version) -> Service:
    return Service(Path(str(descriptions_folder())) / version / f"{name}.wsdl", version)


_loading = threading.Lock()


def service(name: str, version: Version = "1.6") -> Service:
    """The description of ``"CentralSystemService"`` or ``"ChargePointService"``; read once per process."""
    with _loading:
        return _load(name, version)


def plain(value: Any) -> Any:
    """zeep's values as a payload: dicts and lists, times as text, absent fields absent."""
    value = _zeep.helpers.serialize_object(value, dict)
    if isinstance(value, dict):
        present = {name: inner for name, inner in value.items() if inner is not None and inner != []}
        return {"value" if name == TEXT else name: plain(inner) for name, inner in present.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, date):
        return value.isoformat().replace("+00:00", "Z")
    return value


def for_zeep(value: Any, name: str = "") -> Any:
    """A payload as zeep wants it: the other way round only what is the text of ``<value unit="Wh">``."""
    if isinstance(value, list):
        return [for_zeep(inner, f"{name}[]") for inner in value]
    if isinstance(value, dict):
        return {
            TEXT if (name, field) == ("value[]", "value") else field: for_zeep(inner, field)
            for field, inner in value.items()
        }
    return value


# --- Calling -------------------------------------------------------------------------------------------


class _Transport(zeep.Transport):
    """zeep's transport, with the last response kept to be judged."""

    last: requests.Response | None = None

    def post(self, address: Any, message: Any, headers: Any) -> requests.Response:
        self.last = None
        self.last = super().post(address, message, headers)  # type: ignore[no-untyped-call]
        return self.last


class _Broken(Exception):
    """A response that cannot be used."""


class Caller:
    """Calls a service of one charge point's with zeep. Blocking, and one call at a time.

    ``calls`` is the service: a charge point calls CentralSystemService, a central system ChargePointService;
    ``version`` that of OCPP.
    ``from_address`` stands in wsa:From, None for a caller that sends none. ``message_id`` is for callers that
    have but one, ``identity_namespace`` for those that put chargeBoxIdentity in another namespace than the
    service's. ``strict`` is for callers that would rather raise ValueError than send what breaks the schema.
    ``password`` is for HTTP Basic authentication, ``ca_file`` names whom https is trusted by.
    ``timeout`` is in seconds, for connecting and for each wait for data. ``problems`` receives what the
    responses do against the rules.
    """

    def __init__(
        self,
        identity: str,
        url: str,
        from_address: str | None,
        problems: list[str],
        *,
        timeout: float,
        calls: str = "CentralSystemService",
        message_id: str | None = None,
        identity_namespace: str | None = None,
        password: str | bytes | None = None,
        ca_file: str | None = None,
        strict: bool = False,
        version: Version = "1.6",
    ) -> None:
        self.service = service(calls, version)
        self.identity = identity
        self.url = url
        self.from_address = from_address
        self.problems = problems
        self._strict = strict
        self._timeout = timeout
        self._only_message_id = message_id
        self._identity_namespace = identity_namespace
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies or netrc of the environment between two simulators
        self._session.headers["Connection"] = (
            "close"  # as charge points do: each call on a connection of its own
        )
        if password is not None:
            secret = password.encode() if isinstance(password, str) else password
            bytes_of_both: Any = (identity.encode(), secret)
            self._session.auth = bytes_of_both
        if ca_file is not None:
            self._session.verify = ca_file
        self._transport: Any = _Transport(session=self._session, operation_timeout=timeout)  # type: ignore[no-untyped-call]
        client = _zeep.Client(self.service.document, transport=self._transport, plugins=[_Headers(self)])
        self._proxy: Any = client.create_service(self.service.binding.name.text, url)
        self._message_id = ""

    def call(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Ask the other party and return the payload of its answer.

        Raises Refused for a fault, Unanswered when no usable answer came, and ValueError when there is no
        such action; a strict caller also when the payload breaks the schema.
        """
        if action not in self.service.operations:
            raise ValueError(f"{action}: OCPP {self.service.version} has no such call")
        self._transport.last = None
        identity = {self.service.header_name(action): self.identity}
        try:
            result = self._proxy[action](_soapheaders=identity, **for_zeep(payload))
        except TypeError as unknown:  # zeep knows a field by its keyword only
            raise ValueError(f"{action}: {unknown}") from None
        except zeep.exceptions.Fault as fault:
            subcodes = [etree.QName(subcode).localname for subcode in fault.subcodes or ()]
            code = str(fault.code or "").rpartition(":")[2]
            refused = Refused(code, subcodes[0] if subcodes else "", fault.message or "")
            self._judge_status(action, refused)
            raise refused from None
        except requests.RequestException as absent:
            raise Unanswered(f"{action}: no answer ({type(absent).__name__}: {absent})") from None
        except zeep.exceptions.TransportError as strange:
            if strange.status_code == 200:
                self._note(action, f"HTTP 200, but not XML: {strange.message[:200]}")
            kind = BadStatus if (strange.status_code or 0) >= 400 else Unanswered
            raise kind(f"{action}: {strange.message[:200]}") from None
        except (_Broken, zeep.exceptions.Error) as broken:
            if self._strict and self._transport.last is None:  # it did not come as far as a request
                raise ValueError(f"{action}: {broken}") from None
            self._note(action, str(broken))
            raise Unanswered(f"{action}: {broken}") from None
        response = self._transport.last
        if response.status_code != 200:  # zeep lets 201 and 202 without a body pass
            self._note(action, f"HTTP {response.status_code} for a result")
            raise Unanswered(f"{action}: HTTP {response.status_code} and no result")
        fields = self.service.operations[action].output.body.type.elements
        if len(fields) == 1:  # zeep takes a single field out of its response
            result = {fields[0][0]: result}
        payload = plain(result or {})
        return payload

    def post(self, action: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        """Post bytes as they are. Returns HTTP status and body; raises Unanswered when none came."""
        try:
            response = self._session.post(self.url, body, headers=headers, timeout=self._timeout)
        except requests.RequestException as absent:
            raise Unanswered(f"{action}: no answer ({type(absent).__name__}: {absent})") from None
        return response.status_code, response.content.decode("utf-8", "replace")

    def close(self) -> None:
        self._session.close()

    def _note(self, action: str, problem: str) -> None:
        self.problems.append(f"{self.identity} {action}: response: {problem}")

    def _judge_status(self, action: str, refused: Refused) -> None:
        # SOAP 1.2 part 2, table 20.
        expected = 400 if refused.code == "Sender" else 500
        found = self._transport.last.status_code
        if found != expected:
            self._note(action, f"HTTP {found} for a fault of the {refused.code}; expected {expected}")

    def write_headers(self, envelope: etree._Element, operation: Any, options: Any) -> None:
        """Complete the addressing headers of a request: the two that zeep does not write."""
        header: Any = envelope.find(f"{{{SOAP_12}}}Header")
        if not addressing(header, "Action"):
            # zeep writes Action, MessageID and To by itself only where the description names an action;
            # doing it twice would double them, which other stacks refuse.
            _zeep.wsa.WsAddressingPlugin().egress(envelope, {}, operation, options)
        for name, address in (("From", self.from_address), ("ReplyTo", ANONYMOUS)):
            if address is not None:
                party = etree.SubElement(header, f"{{{WSA}}}{name}")
                etree.SubElement(party, f"{{{WSA}}}Address").text = address
        if self._only_message_id is not None:
            header.find(f"{{{WSA}}}MessageID").text = self._only_message_id
        if self._identity_namespace is not None:
            old = header.find(f"{{{self.service.namespace}}}chargeBoxIdentity")
            new = etree.Element(f"{{{self._identity_namespace}}}chargeBoxIdentity")
            new.text = self.identity
            header.replace(old, new)
        self._message_id = text_of(header.find(f"{{{WSA}}}MessageID"))
        body: Any = envelope.find(f"{{{SOAP_12}}}Body")
        if self._strict and (breaches := self.service.breaches(body[0])):
            raise ValueError(f"{operation.name}: {'; '.join(breaches)}")

    def judge(self, envelope: etree._Element, http_headers: Any, operation: Any) -> None:
        """Note what a response does against the rules; raise _Broken when it cannot be used."""
        action = operation.name
        if envelope.tag != f"{{{SOAP_12}}}Envelope":
            raise _Broken(f"<{envelope.tag}> is not a SOAP 1.2 envelope")
        content_type = http_headers.get("Content-Type", "")
        if not content_type.lower().startswith("application/soap+xml"):
            self._note(action, f"Content-Type {content_type!r} is not application/soap+xml")
        body = envelope.find(f"{{{SOAP_12}}}Body")
        content = [] if body is None else list(body)
        if len(content) != 1:
            raise _Broken(f"the body holds {len(content)} elements; expected one")
        is_fault = content[0].tag == f"{{{SOAP_12}}}Fault"
        header = envelope.find(f"{{{SOAP_12}}}Header")
        expected_action = FAULT_ACTION
        if not is_fault:
            said = text_of(next(iter(addressing(header, "Action")), None))
            expected_action = response_action(self.service, action, said)
        # (name, what it must be; None for anything). Web Services Addressing 1.0 - Core, 3.3 and 3.4.
        for name, expected in (
            ("Action", expected_action),
            ("RelatesTo", self._message_id),
            ("MessageID", None),
        ):
            found = [text_of(element) for element in addressing(header, name)]
            if len(found) != 1 or not found[0]:
                self._note(action, f"wsa:{name} {found}; expected exactly one")
            elif expected is not None and found[0] != expected:
                self._note(action, f"wsa:{name} is {found[0]!r}; expected {expected!r}")
        if len(addressing(header, "To")) > 1:
            self._note(action, "wsa:To stands more than once")
        if is_fault:
            return
        expected_tag = operation.output.body.qname.text
        if content[0].tag != expected_tag:
            raise _Broken(f"the body is <{content[0].tag}>; expected <{expected_tag}>")
        breaches = self.service.breaches(content[0])
        if breaches:
            raise _Broken("; ".join(breaches))


class _Headers(zeep.Plugin):
    """zeep's hook around each exchange of one Caller."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def egress(self, envelope: Any, http_headers: Any, operation: Any, binding_options: Any) -> Any:
        self._caller.write_headers(envelope, operation, binding_options)
        return envelope, http_headers

    def ingress(self, envelope: Any, http_headers: Any, operation: Any) -> Any:
        self._caller.judge(envelope, http_headers, operation)
        return envelope, http_headers


# --- Being called back ---------------------------------------------------------------------------------


class Callbacks:
    """A small HTTP server that offers ChargePointService for one charge point, in threads of its own.

    ``version`` is that of OCPP. ``answer(action, payload)`` gives the payload of the answer, or raises
    Refused to answer with a fault; it is called from the server's threads. ``problems`` receives what the
    callers do against the rules; a request with a problem that another stack would stumble over gets a fault.
    """

    def __init__(
        self,
        identity: str,
        host: str,
        path: str,
        answer: Answer,
        problems: list[str],
        *,
        version: Version = "1.6",
    ) -> None:
        self.service = service("ChargePointService", version)
        self.identity = identity
        self.answer = answer
        self.problems = problems
        self._server = PostServer(
            f"{identity} callbacks", host, 0, path, self.respond, self.note, party="charge point"
        )
        self.url = self._server.url
        self._rules = Rules(self.service, self.note, url=self.url, identity=identity)

    def close(self) -> None:
        """Stop serving and close every connection. Blocking, for a moment."""
        self._server.close()

    def note(self, problem: str) -> None:
        self.problems.append(f"{self.identity} callback: {problem}")

    def respond(self, post: Post) -> Response:
        heard = Heard()
        try:
            self._rules.read(post.body, post.headers.get("Content-Type", ""), heard)
            operation = self.service.operations[heard.action]
            payload = plain(operation.input.deserialize(heard.envelope).body) or {}
            result = self.answer(heard.action, payload)
        except VersionMismatch:
            return Response(500, "text/xml; charset=utf-8", VERSION_MISMATCH)
        except Refused as refused:
            return Response(
                400 if refused.code == "Sender" else 500,
                f'application/soap+xml; charset=utf-8; action="{FAULT_ACTION}"',
                self._write(self._fault(refused), FAULT_ACTION, heard.message_id),
            )
        response = operation.output.serialize(**result).content
        action = response_action(self.service, heard.action)
        return Response(
            200,
            f'application/soap+xml; charset=utf-8; action="{action}"',
            self._write(response, action, heard.message_id),
        )

    def _fault(self, refused: Refused) -> etree._Element:
        def soap(name: str) -> str:
            return f"{{{SOAP_12}}}{name}"

        envelope: etree._Element = etree.Element(
            soap("Envelope"), nsmap={"soap": SOAP_12, "cp": fault_namespace(self.service)}
        )
        fault = etree.SubElement(etree.SubElement(envelope, soap("Body")), soap("Fault"))
        code = etree.SubElement(fault, soap("Code"))
        etree.SubElement(code, soap("Value")).text = f"soap:{refused.code}"
        if refused.subcode:
            subcode = etree.SubElement(code, soap("Subcode"))
            etree.SubElement(subcode, soap("Value")).text = f"cp:{refused.subcode}"
        text = etree.SubElement(etree.SubElement(fault, soap("Reason")), soap("Text"))
        text.set(XML_LANG, "en")
        text.text = "".join(character for character in refused.reason if character.isprintable())
        return envelope

    def _write(self, envelope: etree._Element, action: str, relates_to: str) -> bytes:
        header = etree.Element(f"{{{SOAP_12}}}Header", nsmap={"wsa": WSA})
        envelope.insert(0, header)
        for name, value in (
            ("Action", action),
            ("MessageID", f"urn:uuid:{uuid.uuid4()}"),
            ("To", ANONYMOUS),
            ("RelatesTo", relates_to),
        ):
            if value:
                etree.SubElement(header, f"{{{WSA}}}{name}").text = value
        return etree.tostring(envelope, xml_declaration=True, encoding="utf-8")

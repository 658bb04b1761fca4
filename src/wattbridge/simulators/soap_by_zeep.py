"""OCPP-S as other people's stacks see it: zeep writes and reads, requests and http.server carry, libxml2's
schema validator judges.

Knows envelopes, headers and HTTP of OCPP-S 1.6; what a message means is left to the simulators. Whatever
the other party does against the rules is noted as a problem: one sentence each, for tests and the demo.
Importing zeep takes a while (0.1 s), so the simulators import this module when they start.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import socket
import socketserver
import sys
import threading
import traceback
import uuid
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import requests
import zeep
import zeep.exceptions
import zeep.helpers
import zeep.wsa
from lxml import etree

from wattbridge.ocpp.wsdl import descriptions_folder
from wattbridge.simulators.outcomes import Refused, Unanswered

_zeep: Any = zeep  # it calls itself typed, but most of its functions are not

SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://www.w3.org/2005/08/addressing"
ANONYMOUS = f"{WSA}/anonymous"
FAULT_ACTION = f"{WSA}/fault"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

# Plain gSOAP knows no WS-Addressing and refuses a header it must understand and does not; these are the
# ones every charge point lives with. On wsa:From it is never seen.
MAY_BE_MANDATORY = ("chargeBoxIdentity", "Action", "To")

LARGEST_REQUEST = 1 << 20  # bytes

Answer = Callable[[str, dict[str, Any]], dict[str, Any]]


# --- The descriptions ----------------------------------------------------------------------------------


class Service:
    """One service description as zeep understands it, and its schema as libxml2 does."""

    def __init__(self, path: Path) -> None:
        settings = _zeep.Settings(strict=True, forbid_dtd=True, forbid_external=True)
        self.document = _zeep.wsdl.Document(str(path), _zeep.Transport(), settings=settings)
        self.binding: Any = next(iter(self.document.bindings.values()))
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
def _load(name: str, version: str) -> Service:
    return Service(Path(str(descriptions_folder())) / version / f"{name}.wsdl")


_loading = threading.Lock()


def service(name: str, version: str = "1.6") -> Service:
    """The description of ``"CentralSystemService"`` or ``"ChargePointService"``; read once per process."""
    with _loading:
        return _load(name, version)


def plain(value: Any) -> Any:
    """zeep's values as a payload: dicts and lists, times as text, absent fields absent."""
    value = _zeep.helpers.serialize_object(value, dict)
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items() if inner is not None and inner != []}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, date):
        return value.isoformat().replace("+00:00", "Z")
    return value


def _local(tag: object) -> str:
    return etree.QName(tag).localname if isinstance(tag, str) else "comment or processing instruction"


def _addressing(header: etree._Element | None, name: str) -> list[etree._Element]:
    return [] if header is None else header.findall(f"{{{WSA}}}{name}")


def _text(element: etree._Element | None) -> str:
    return (element.text or "").strip() if element is not None else ""


# --- Calling the central system ------------------------------------------------------------------------


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
    """Calls CentralSystemService with zeep for one charge point. Blocking, and one call at a time.

    ``timeout`` is in seconds, for connecting and for each wait for data. ``problems`` receives what the
    central system's responses do against the rules.
    """

    def __init__(
        self,
        identity: str,
        central_system_url: str,
        callback_url: str,
        problems: list[str],
        *,
        timeout: float,
    ) -> None:
        self.service = service("CentralSystemService")
        self.identity = identity
        self.callback_url = callback_url
        self.problems = problems
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies or netrc of the environment between two simulators
        self._session.headers["Connection"] = (
            "close"  # as charge points do: each call on a connection of its own
        )
        self._transport: Any = _Transport(session=self._session, operation_timeout=timeout)  # type: ignore[no-untyped-call]
        client = _zeep.Client(self.service.document, transport=self._transport, plugins=[_Headers(self)])
        self._proxy: Any = client.create_service(self.service.binding.name.text, central_system_url)
        self._message_id = ""

    def call(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Ask the central system and return the payload of its answer.

        Raises Refused for a fault and Unanswered when no usable answer came.
        """
        identity = {self.service.header_name(action): self.identity}
        try:
            result = self._proxy[action](_soapheaders=identity, **payload)
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
            raise Unanswered(f"{action}: {strange.message[:200]}") from None
        except (_Broken, zeep.exceptions.Error) as broken:
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
        if not _addressing(header, "Action"):
            # zeep writes Action, MessageID and To by itself only where the description names an action;
            # doing it twice would double them, which other stacks refuse.
            _zeep.wsa.WsAddressingPlugin().egress(envelope, {}, operation, options)
        for name, address in (("From", self.callback_url), ("ReplyTo", ANONYMOUS)):
            party = etree.SubElement(header, f"{{{WSA}}}{name}")
            etree.SubElement(party, f"{{{WSA}}}Address").text = address
        self._message_id = _text(header.find(f"{{{WSA}}}MessageID"))

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
        expected_action = FAULT_ACTION if is_fault else f"/{action}Response"
        # (name, what it must be; None for anything). Web Services Addressing 1.0 - Core, 3.3 and 3.4.
        for name, expected in (
            ("Action", expected_action),
            ("RelatesTo", self._message_id),
            ("MessageID", None),
        ):
            found = [_text(element) for element in _addressing(header, name)]
            if len(found) != 1 or not found[0]:
                self._note(action, f"wsa:{name} {found}; expected exactly one")
            elif expected is not None and found[0] != expected:
                self._note(action, f"wsa:{name} is {found[0]!r}; expected {expected!r}")
        if len(_addressing(header, "To")) > 1:
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

    ``answer(action, payload)`` gives the payload of the answer, or raises Refused to answer with a fault; it
    is called from the server's threads. ``problems`` receives what the callers do against the rules; a
    request with a problem that another stack would stumble over gets a fault.
    """

    def __init__(self, identity: str, host: str, path: str, answer: Answer, problems: list[str]) -> None:
        self.service = service("ChargePointService")
        self.identity = identity
        self.path = path
        self.answer = answer
        self.problems = problems
        self._server = _Server(host, self)
        self._address = (host, int(self._server.server_address[1]))
        self.url = f"http://{host}:{self._address[1]}{path}"
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"{identity} callbacks", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        # Unlike serve_forever it sleeps until somebody connects, however many charge points there are.
        while not self._closing.is_set():
            self._server.handle_request()

    def close(self) -> None:
        """Stop serving and close every connection. Blocking, for a moment."""
        if self._closing.is_set():
            return
        self._closing.set()
        with contextlib.suppress(OSError):
            socket.create_connection(self._address, timeout=1).close()  # wakes it
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()

    def note(self, problem: str) -> None:
        self.problems.append(f"{self.identity} callback: {problem}")

    def respond(self, content_type: str, body: bytes) -> tuple[int, str, bytes]:
        """Answer one request. Returns HTTP status, Content-Type and body."""
        message_id = ""
        action = ""
        try:
            envelope = self._read_envelope(body)
            header = envelope.find(f"{{{SOAP_12}}}Header")
            message_id = _text(next(iter(_addressing(header, "MessageID")), None))
            content = self._read_body(envelope)
            action = self.service.action_of[content.tag]
            self._judge_headers(header, action, content_type)
            breaches = self.service.breaches(content)
            if breaches:
                self._refuse("Sender", "ProtocolError", f"{action}: {'; '.join(breaches)}")
            payload = plain(self.service.operations[action].input.deserialize(envelope).body) or {}
            result = self.answer(action, payload)
        except _VersionMismatch:
            return 500, "text/xml; charset=utf-8", VERSION_MISMATCH
        except Refused as refused:
            return (
                400 if refused.code == "Sender" else 500,
                f'application/soap+xml; charset=utf-8; action="{FAULT_ACTION}"',
                self._write(self._fault(refused), FAULT_ACTION, message_id),
            )
        response = self.service.operations[action].output.serialize(**result).content
        return (
            200,
            f'application/soap+xml; charset=utf-8; action="/{action}Response"',
            self._write(response, f"/{action}Response", message_id),
        )

    def _refuse(self, code: str, subcode: str, problem: str) -> NoReturn:
        self.note(problem)
        raise Refused(code, subcode, problem)

    def _read_envelope(self, body: bytes) -> etree._Element:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        try:
            envelope = etree.fromstring(body, parser)
        except etree.XMLSyntaxError as error:
            self._refuse("Sender", "ProtocolError", f"not XML ({error.msg}): {body[:60]!r}")
        document: Any = envelope.getroottree()
        if document.docinfo.doctype:
            self._refuse("Sender", "ProtocolError", "a document type declaration, which SOAP forbids")
        if envelope.tag == f"{{{SOAP_11}}}Envelope":
            self.note("a SOAP 1.1 envelope; OCPP-S 1.6 is SOAP 1.2")
            raise _VersionMismatch
        if envelope.tag != f"{{{SOAP_12}}}Envelope":
            self._refuse("Sender", "ProtocolError", f"<{envelope.tag}> is not a SOAP 1.2 envelope")
        parts = [child.tag for child in envelope]
        if parts not in ([f"{{{SOAP_12}}}Header", f"{{{SOAP_12}}}Body"], [f"{{{SOAP_12}}}Body"]):
            self._refuse("Sender", "ProtocolError", f"the envelope holds {parts}; expected Header and Body")
        return envelope

    def _read_body(self, envelope: etree._Element) -> etree._Element:
        body: Any = envelope.find(f"{{{SOAP_12}}}Body")
        content: list[etree._Element] = list(body)
        if len(content) != 1:
            self._refuse("Sender", "ProtocolError", f"the body holds {len(content)} elements; expected one")
        if content[0].tag not in self.service.action_of:
            self._refuse(
                "Receiver", "NotSupported", f"<{content[0].tag}> is no request of ChargePointService 1.6"
            )
        return content[0]

    def _judge_headers(self, header: etree._Element | None, action: str, content_type: str) -> None:
        self._judge_content_type(action, content_type)
        self._judge_mandatory(header, action)
        identities = (
            [] if header is None else header.findall(f"{{{self.service.namespace}}}chargeBoxIdentity")
        )
        if len(identities) != 1:
            self._refuse(
                "Sender",
                "ProtocolError",
                f"{action}: {len(identities)} chargeBoxIdentity headers; expected one",
            )
        if _text(identities[0]) != self.identity:
            found = _text(identities[0])
            self._refuse("Sender", "IdentityMismatch", f"{action}: this is {self.identity!r}, not {found!r}")
        # (name, how often at least, what it must be; None for anything). OCPP-S 1.5, 8.3, which 1.6 keeps.
        for name, least, expected in (
            ("Action", 1, f"/{action}"),
            ("MessageID", 1, None),
            ("To", 1, self.url),
            ("RelatesTo", 0, None),
        ):
            found_here = [_text(element) for element in _addressing(header, name)]
            if not least <= len(found_here) <= 1 or "" in found_here:
                self.note(f"{action}: wsa:{name} {found_here}; expected exactly one")
            elif found_here and expected is not None and found_here[0] != expected:
                self.note(f"{action}: wsa:{name} is {found_here[0]!r}; expected {expected!r}")
        for name, expected in (("From", None), ("ReplyTo", ANONYMOUS)):
            parties = _addressing(header, name)
            addresses = [_text(party.find(f"{{{WSA}}}Address")) for party in parties]
            if len(parties) > 1 or "" in addresses:
                self.note(
                    f"{action}: wsa:{name} with wsa:Address {addresses}; expected one at most, and not empty"
                )
            elif addresses and expected is not None and addresses[0] != expected:
                self.note(
                    f"{action}: wsa:{name} is {addresses[0]!r}; the answer goes back on the same connection"
                )

    def _judge_content_type(self, action: str, content_type: str) -> None:
        kind, *parameters = (part.strip() for part in content_type.split(";"))
        if kind.lower() != "application/soap+xml":
            self.note(f"{action}: Content-Type {content_type!r} is not application/soap+xml")
        named = dict(parameter.lower().partition("=")[::2] for parameter in parameters)
        if named.get("charset", "utf-8").strip('"') != "utf-8":
            self.note(f"{action}: Content-Type {content_type!r}; expected charset=utf-8")
        if named.get("action", "").strip('"') not in ("", f"/{action}".lower()):
            self.note(f"{action}: Content-Type {content_type!r} names another action")

    def _judge_mandatory(self, header: etree._Element | None, action: str) -> None:
        for element in () if header is None else header:
            mandatory = element.get(f"{{{SOAP_12}}}mustUnderstand")
            if mandatory not in (None, "true", "false", "1", "0"):
                self.note(f"{action}: mustUnderstand={mandatory!r} on {_local(element.tag)} is not a boolean")
            if mandatory not in ("true", "1") or _local(element.tag) in MAY_BE_MANDATORY:
                continue
            problem = f"{action}: mustUnderstand on {element.tag}"
            if str(element.tag).startswith(f"{{{WSA}}}"):
                self.note(f"{problem}, which many charge points refuse")
            else:
                self.note(f"{problem}, which nobody understands")
                raise Refused("MustUnderstand", "", problem)  # SOAP 1.2 part 1, 5.4.8

    def _fault(self, refused: Refused) -> etree._Element:
        def soap(name: str) -> str:
            return f"{{{SOAP_12}}}{name}"

        envelope: etree._Element = etree.Element(
            soap("Envelope"), nsmap={"soap": SOAP_12, "cp": self.service.namespace}
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


class _VersionMismatch(Exception):
    """The request is SOAP 1.1."""


# To a SOAP 1.1 request a SOAP 1.2 node answers in 1.1, and says what it speaks (SOAP 1.2 part 1, appendix A).
VERSION_MISMATCH = (
    f'<?xml version="1.0" encoding="utf-8"?>\n<soap:Envelope xmlns:soap="{SOAP_11}">'
    f'<soap:Header><Upgrade xmlns="{SOAP_12}"><SupportedEnvelope qname="env:Envelope" xmlns:env="{SOAP_12}"/>'
    "</Upgrade></soap:Header><soap:Body><soap:Fault><faultcode>soap:VersionMismatch</faultcode>"
    "<faultstring>this charge point speaks SOAP 1.2</faultstring></soap:Fault></soap:Body></soap:Envelope>"
).encode()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer on a kept connection waits for the peer's delayed ACK
    wbufsize = -1  # head and body in one write
    timeout = 60  # seconds a kept connection may be idle

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.ended(self.connection)
        with contextlib.suppress(OSError):  # the peer, or close_connections, was faster
            super().finish()

    def do_POST(self) -> None:
        callbacks = self.server.callbacks
        if self.path != callbacks.path:
            callbacks.note(f"POST to {self.path!r}; this charge point is at {callbacks.path!r}")
            return self._plain(404)
        for name, status in (("Transfer-Encoding", 411), ("Content-Encoding", 415)):
            if name in self.headers:
                # Many charge points read nothing but a body of Content-Length bytes.
                callbacks.note(f"{name}: {self.headers[name]}; expected a plain body with Content-Length")
                return self._plain(status)
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            callbacks.note(f"Content-Length {length!r} is not a number")
            return self._plain(411)
        if int(length) > LARGEST_REQUEST:
            callbacks.note(f"Content-Length {length} is more than {LARGEST_REQUEST}")
            return self._plain(413)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            callbacks.note(f"the connection ended after {len(body)} of {length} bytes")
            self.close_connection = True
            return None
        return self._send(*callbacks.respond(self.headers.get("Content-Type", ""), body))

    def do_GET(self) -> None:
        self.server.callbacks.note(f"GET {self.path!r}; expected POST")
        self._plain(405)

    def _plain(self, status: int) -> None:
        self.close_connection = True  # the body, if any, was not read
        self._send(status, "text/plain; charset=utf-8", f"{status}\n".encode())

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """What matters is in the witness's problems."""


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, callbacks: Callbacks) -> None:
        self.callbacks = callbacks
        self._open: set[socket.socket] = set()
        self._counting = threading.Lock()
        super().__init__((host, 0), _Handler)

    def server_bind(self) -> None:
        # Without HTTPServer's look-up of the host's name, which may wait for a name server.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def opened(self, connection: socket.socket) -> None:
        with self._counting:
            self._open.add(connection)

    def ended(self, connection: socket.socket) -> None:
        with self._counting:
            self._open.discard(connection)

    def close_connections(self) -> None:
        with self._counting:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that goes away in the middle is no news; anything else is a fault of ours, and loud."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.callbacks.note("".join(traceback.format_exception(error)))

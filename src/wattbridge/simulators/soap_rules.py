"""What OCPP-S asks of a request, for the simulators of both sides: envelope, headers, and the body by its
schema.

Knows SOAP 1.2 and WS-Addressing as far as OCPP-S uses them, of whichever version. A breach is noted; one that
another stack would stumble over is refused as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from lxml import etree

from wattbridge.simulators.dialects import Version
from wattbridge.simulators.outcomes import Refused

SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://www.w3.org/2005/08/addressing"
ANONYMOUS = f"{WSA}/anonymous"
FAULT_ACTION = f"{WSA}/fault"

# Plain gSOAP knows no WS-Addressing and refuses a header it must understand and does not; these are the
# ones every charge point lives with. On wsa:From it is never seen.
MAY_BE_MANDATORY = ("chargeBoxIdentity", "Action", "To")

# To a SOAP 1.1 request a SOAP 1.2 node answers in 1.1, and says what it speaks (SOAP 1.2 part 1, appendix A).
VERSION_MISMATCH = (
    f'<?xml version="1.0" encoding="utf-8"?>\n<soap:Envelope xmlns:soap="{SOAP_11}">'
    f'<soap:Header><Upgrade xmlns="{SOAP_12}"><SupportedEnvelope qname="env:Envelope" xmlns:env="{SOAP_12}"/>'
    "</Upgrade></soap:Header><soap:Body><soap:Fault><faultcode>soap:VersionMismatch</faultcode>"
    "<faultstring>only SOAP 1.2 is spoken here</faultstring></soap:Fault></soap:Body></soap:Envelope>"
).encode()


class VersionMismatch(Exception):
    """The request is SOAP 1.1; it is to be answered with ``VERSION_MISMATCH`` and HTTP 500."""


class Description(Protocol):
    """What the rules ask of a service description; ``name`` is the service's."""

    name: str
    version: Version
    namespace: str
    action_of: dict[str, str]

    def breaches(self, element: etree._Element) -> list[str]: ...


@dataclass(slots=True)
class Heard:
    """One request, as far as it could be read.

    ``address`` is where its sender says it can be called, empty when it does not.
    """

    identity: str = ""
    action: str = ""
    message_id: str = ""
    address: str = ""
    envelope: etree._Element = field(default_factory=lambda: etree.Element("nothing"))


def local_name(tag: object) -> str:
    return etree.QName(tag).localname if isinstance(tag, str) else "comment or processing instruction"


def addressing(header: etree._Element | None, name: str) -> list[etree._Element]:
    return [] if header is None else header.findall(f"{{{WSA}}}{name}")


def text_of(element: etree._Element | None) -> str:
    return (element.text or "").strip() if element is not None else ""


def fault_namespace(description: Description) -> str:
    """The namespace of OCPP's fault subcodes (OCPP-S 1.2 and 1.5, 8.2; in 1.6 that of the service)."""
    older = {"1.2": "urn://Ocpp/2010/08/", "1.5": "urn://Ocpp/2012/02/"}
    return older.get(description.version, description.namespace)


def response_action(description: Description, action: str, said: str = "") -> str:
    """What is to stand in wsa:Action of a response; *said*, where that is right as well.

    The description of 1.2 names none, so that stacks put there what WS-Addressing makes of the names, in the
    spelling of CXF: ``urn://Ocpp/Cs/2010/08/CentralSystemService/HeartbeatResponse``.
    """
    short = f"/{action}Response"
    return short if description.version != "1.2" or said == short else qualified_action(description, action)


def qualified_action(description: Description, action: str) -> str:
    return f"{description.namespace}{description.name}/{action}Response"


class Rules:
    """Reads requests to one service; ``note`` hears each breach as a sentence.

    ``url`` is where it is. ``identity`` is that of the charge point, None where
    there are many.
    """

    def __init__(
        self,
        description: Description,
        note: Callable[[str], None],
        *,
        url: str,
        identity: str | None,
    ) -> None:
        self.description = description
        self.note = note
        self.url = url
        self.identity = identity

    def read(self, body: bytes, content_type: str, heard: Heard) -> None:
        """Read a request into *heard*. Raises Refused or VersionMismatch."""
        heard.envelope = self._read_envelope(body)
        header = heard.envelope.find(f"{{{SOAP_12}}}Header")
        heard.message_id = text_of(next(iter(addressing(header, "MessageID")), None))
        content = self._read_body(heard.envelope)
        heard.action = self.description.action_of[str(content.tag)]
        self._judge_content_type(heard.action, content_type)
        self._judge_mandatory(header, heard.action)
        heard.identity = self._read_identity(header, heard.action)
        heard.address = self._judge_addressing(header, heard.action)
        breaches = self.description.breaches(content)
        if breaches:
            self._refuse("Sender", "ProtocolError", f"{heard.action}: {'; '.join(breaches)}")

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
            self.note("a SOAP 1.1 envelope; OCPP-S is SOAP 1.2")
            raise VersionMismatch
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
        if content[0].tag not in self.description.action_of:
            service = f"{self.description.name} {self.description.version}"
            self._refuse("Receiver", "NotSupported", f"<{content[0].tag}> is no request of {service}")
        return content[0]

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
            name = local_name(element.tag)
            if mandatory not in (None, "true", "false", "1", "0"):
                self.note(f"{action}: mustUnderstand={mandatory!r} on {name} is not a boolean")
            if mandatory not in ("true", "1") or name in MAY_BE_MANDATORY:
                continue
            problem = f"{action}: mustUnderstand on {element.tag}"
            if str(element.tag).startswith(f"{{{WSA}}}"):
                self.note(f"{problem}, which many charge points refuse")
            else:
                self.note(f"{problem}, which nobody understands")
                raise Refused("MustUnderstand", "", problem)  # SOAP 1.2 part 1, 5.4.8

    def _read_identity(self, header: etree._Element | None, action: str) -> str:
        name = f"{{{self.description.namespace}}}chargeBoxIdentity"
        identities = [] if header is None else [text_of(element) for element in header.findall(name)]
        if len(identities) != 1 or (self.identity is None and not identities[0]):
            count = len([identity for identity in identities if identity])
            self._refuse(
                "Sender", "ProtocolError", f"{action}: {count} chargeBoxIdentity headers; expected one"
            )
        if self.identity not in (None, identities[0]):
            found = identities[0]
            self._refuse("Sender", "IdentityMismatch", f"{action}: this is {self.identity!r}, not {found!r}")
        return identities[0]

    def _judge_addressing(self, header: etree._Element | None, action: str) -> str:
        """Note what is wrong with the addressing headers; returns the address of the sender."""
        # (name, how often at least, what it must be; None for anything). OCPP-S 1.5, 8.3, which 1.6 keeps.
        for name, least, expected in (
            ("Action", 1, f"/{action}"),
            ("MessageID", 1, None),
            ("To", 1, self.url),
            ("RelatesTo", 0, None),
        ):
            found = [text_of(element) for element in addressing(header, name)]
            if not least <= len(found) <= 1 or "" in found:
                self.note(f"{action}: wsa:{name} {found}; expected exactly one")
            elif found and expected is not None and found[0] != expected:
                self.note(f"{action}: wsa:{name} is {found[0]!r}; expected {expected!r}")
        sender = ""
        for name, expected in (("From", None), ("ReplyTo", ANONYMOUS)):
            parties = addressing(header, name)
            addresses = [text_of(party.find(f"{{{WSA}}}Address")) for party in parties]
            if len(parties) > 1 or "" in addresses:
                self.note(
                    f"{action}: wsa:{name} with wsa:Address {addresses}; expected one at most, and not empty"
                )
            elif addresses and expected is not None and addresses[0] != expected:
                self.note(
                    f"{action}: wsa:{name} is {addresses[0]!r}; the answer goes back on the same connection"
                )
            elif addresses and name == "From" and addresses[0] != ANONYMOUS:
                sender = addresses[0]
        return sender

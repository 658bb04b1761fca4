"""Just enough of OCPP-S for both parties: envelopes of plain text, read without a schema."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from tests.torture.older import NAMESPACES, Text

SOAP = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://www.w3.org/2005/08/addressing"
CENTRAL_SYSTEM, CHARGE_POINT = NAMESPACES["SOAP"]
ANONYMOUS = f"{WSA}/anonymous"

# What is no text, and what may come several times, of all messages here.
INTEGERS = {"connectorId", "transactionId", "meterStart", "meterStop", "interval"}
LISTS = {"meterValue", "sampledValue", "key", "configurationKey", "unknownKey"}
ONE_KEY = "changeConfigurationRequest"  # has one, and no list of them


@dataclass(frozen=True, slots=True)
class Envelope:
    """What stands in one: the body's element by local name, and its content in the shape of OCPP-J.
    ``namespace`` is the body's, ``address`` where the sender wants to be called."""

    name: str
    content: dict[str, Any]
    namespace: str
    message_id: str = ""
    identity: str = ""
    address: str = ""

    @property
    def action(self) -> str:
        """Of a request."""
        return self.name[:1].upper() + self.name[1:].removesuffix("Request")


def write_request(
    identity: str, action: str, payload: dict[str, Any], callback: str, to: str, namespace: str
) -> bytes:
    """A request to the party of *namespace*, with a message id of its own."""
    name = action[0].lower() + action[1:]
    return _write(
        f"<o:chargeBoxIdentity>{identity}</o:chargeBoxIdentity>"
        f'<wsa:Action soap:mustUnderstand="true">/{action}</wsa:Action>'
        f"<wsa:MessageID>urn:uuid:{uuid.uuid4()}</wsa:MessageID>"
        f"<wsa:From><wsa:Address>{callback}</wsa:Address></wsa:From>"
        f"<wsa:ReplyTo><wsa:Address>{ANONYMOUS}</wsa:Address></wsa:ReplyTo>"
        f'<wsa:To soap:mustUnderstand="true">{to}</wsa:To>',
        f"<o:{name}Request>{_content(payload)}</o:{name}Request>",
        namespace,
    )


def write_response(action: str, payload: dict[str, Any], relates_to: str, namespace: str) -> bytes:
    """An answer of the party of *namespace*."""
    name = action[0].lower() + action[1:]
    return _write(
        f"<wsa:Action>/{action}Response</wsa:Action>"
        f"<wsa:MessageID>urn:uuid:{uuid.uuid4()}</wsa:MessageID>"
        f"<wsa:To>{ANONYMOUS}</wsa:To>"
        f"<wsa:RelatesTo>{escape(relates_to)}</wsa:RelatesTo>",
        f"<o:{name}Response>{_content(payload)}</o:{name}Response>",
        namespace,
    )


def read(body: bytes) -> Envelope:
    """Raises ValueError when it is no envelope."""
    try:
        root = etree.fromstring(body)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"no XML: {error}") from None
    element = root.find(f"{{{SOAP}}}Body/*")
    if element is None:
        raise ValueError("no element in a Body")
    content = _read(element)
    return Envelope(
        etree.QName(element).localname,
        content if isinstance(content, dict) else {},
        etree.QName(element).namespace or "",
        root.findtext(f"{{{SOAP}}}Header/{{{WSA}}}MessageID") or "",
        root.findtext(f"{{{SOAP}}}Header/{{*}}chargeBoxIdentity") or "",
        root.findtext(f"{{{SOAP}}}Header/{{{WSA}}}From/{{{WSA}}}Address") or "",
    )


def _write(header: str, body: str, namespace: str) -> bytes:
    return (
        f'<soap:Envelope xmlns:soap="{SOAP}" xmlns:wsa="{WSA}" xmlns:o="{namespace}">'
        f"<soap:Header>{header}</soap:Header><soap:Body>{body}</soap:Body></soap:Envelope>"
    ).encode()


def _content(payload: dict[str, Any]) -> str:
    parts = []
    for name, value in payload.items():
        for each in value if isinstance(value, list) else [value]:
            attributes = each.attributes if isinstance(each, Text) else ()
            opening = "".join([f"<o:{name}", *(f" {key}={quoteattr(word)}" for key, word in attributes), ">"])
            text = each.text if isinstance(each, Text) else each
            inside = _content(text) if isinstance(text, dict) else escape(str(text))
            parts.append(f"{opening}{inside}</o:{name}>")
    return "".join(parts)


def _read(element: etree._Element) -> Any:
    children = list(element)
    if not children:
        text = element.text or ""
        return int(text) if etree.QName(element).localname in INTEGERS else text
    content: dict[str, Any] = {}
    for child in children:
        name = etree.QName(child).localname
        if name in LISTS and etree.QName(element).localname != ONE_KEY:
            content.setdefault(name, []).append(_read(child))
        else:
            content[name] = _read(child)
    return content

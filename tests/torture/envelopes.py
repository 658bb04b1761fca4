"""Just enough of OCPP-S 1.6 for charge points: envelopes of plain text, read without a schema."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

SOAP = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://www.w3.org/2005/08/addressing"
CENTRAL_SYSTEM = "urn://Ocpp/Cs/2015/10/"
CHARGE_POINT = "urn://Ocpp/Cp/2015/10/"
ANONYMOUS = f"{WSA}/anonymous"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What stands in one: the body's element by local name, and its content; texts stay texts."""

    name: str
    content: dict[str, Any]
    message_id: str = ""
    identity: str = ""


def write_request(identity: str, action: str, payload: dict[str, Any], callback: str, to: str) -> bytes:
    """A request to the central system, with a message id of its own."""
    name = action[0].lower() + action[1:]
    return _write(
        f"<o:chargeBoxIdentity>{identity}</o:chargeBoxIdentity>"
        f'<wsa:Action soap:mustUnderstand="true">/{action}</wsa:Action>'
        f"<wsa:MessageID>urn:uuid:{uuid.uuid4()}</wsa:MessageID>"
        f"<wsa:From><wsa:Address>{callback}</wsa:Address></wsa:From>"
        f"<wsa:ReplyTo><wsa:Address>{ANONYMOUS}</wsa:Address></wsa:ReplyTo>"
        f'<wsa:To soap:mustUnderstand="true">{to}</wsa:To>',
        f"<o:{name}Request>{_content(payload)}</o:{name}Request>",
        CENTRAL_SYSTEM,
    )


def write_response(action: str, payload: dict[str, Any], relates_to: str) -> bytes:
    """An answer to the central system."""
    name = action[0].lower() + action[1:]
    return _write(
        f"<wsa:Action>/{action}Response</wsa:Action>"
        f"<wsa:MessageID>urn:uuid:{uuid.uuid4()}</wsa:MessageID>"
        f"<wsa:To>{ANONYMOUS}</wsa:To>"
        f"<wsa:RelatesTo>{escape(relates_to)}</wsa:RelatesTo>",
        f"<o:{name}Response>{_content(payload)}</o:{name}Response>",
        CHARGE_POINT,
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
        root.findtext(f"{{{SOAP}}}Header/{{{WSA}}}MessageID") or "",
        root.findtext(f"{{{SOAP}}}Header/{{{CHARGE_POINT}}}chargeBoxIdentity") or "",
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
            inside = _content(each) if isinstance(each, dict) else escape(str(each))
            parts.append(f"<o:{name}>{inside}</o:{name}>")
    return "".join(parts)


def _read(element: etree._Element) -> Any:
    children = list(element)
    if not children:
        return element.text or ""
    return {etree.QName(child).localname: _read(child) for child in children}

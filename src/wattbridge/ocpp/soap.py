"""Envelopes, WS-Addressing and faults: bytes to messages and back.

Everything that OCPP-S peers are known to send is read here (``tolerances.py``); what is written is exact.
The parser is hardened in this one place: no DOCTYPE, no entities, no network, bounded size, depth and
number of elements.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import unescape

from lxml import etree

from wattbridge.ocpp.actions import CompiledOperation, Dialect, Message
from wattbridge.ocpp.errors import FAULT_BY_CODE, FAULT_CODE_BY_WORD, Violation
from wattbridge.ocpp.messages import Call, CallError, CallResult, Change, Loss, Note, Payload, Reply, Side
from wattbridge.ocpp.payloads import Element, escape, local_name, namespace_of, shown
from wattbridge.ocpp.tolerances import ANONYMOUS, OCPP_NAMESPACE, VERSION_BY_DATE, WSA_2004, WSA_2005

SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
CONTENT_TYPE = {SOAP_12: "application/soap+xml; charset=utf-8", SOAP_11: "text/xml; charset=utf-8"}

LARGEST_BODY = 256 * 1024  # bytes; the links refuse earlier what their configuration says
MOST_ELEMENTS = 10_000  # bounds the time of one message to a few milliseconds
LONGEST_IDENTITY = 255  # characters; a SOAP header has no limit of its own, the URL of OCPP-J has



def _parser(*, recover: bool) -> etree.XMLParser:
    """The one way XML is parsed. Without ``huge_tree`` libxml2 itself stops at 256 levels and at 10 MB of text."""
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=False,
        remove_comments=True,  # a comment must not cut a text in two: CP00<!-- -->1
        remove_pis=True,
        collect_ids=False,
        recover=recover,
    )


_PARSER = _parser(recover=False)
_RECOVERING_PARSER = _parser(recover=True)
_DECLARATION = re.compile(r"<\?xml\s[^>]{0,200}?encoding\s*=\s*[\"']([^\"']{1,40})[\"']")
# What may stand before the root element; a DOCTYPE there is refused (SOAP 1.2 part 1, 5 forbids one).
_DOCTYPE = re.compile(r"(?:\s|<\?(?:[^?]|\?(?!>))*+\?>|<!--(?:[^-]|-(?!->))*+-->)*+<!DOCTYPE")


# ---------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class Envelope:
    """One SOAP envelope, its header read and its body not yet.

    ``identity`` is the chargeBoxIdentity, ``""`` when there is none. ``message_id``, ``action``, ``to``,
    ``relates_to``, ``from_address`` and ``reply_to`` are what the WS-Addressing headers say, ``""`` when absent;
    ``soap`` and ``wsa`` are the namespaces to answer in. ``body`` is the first element in the Body, None when
    that is empty.
    """

    soap: str = SOAP_12
    wsa: str = WSA_2005
    identity: str = ""
    action: str = ""
    message_id: str = ""
    relates_to: str = ""
    from_address: str = ""
    reply_to: str = ""
    to: str = ""
    body: Element | None = None
    not_understood: str = ""  # a foreign header with mustUnderstand
    notes: list[Note] = field(default_factory=list)


def read_envelope(body: bytes, *, recover: bool = False) -> Envelope:
    """Read envelope and header of one SOAP message.

    Takes SOAP 1.2 or 1.1 in UTF-8, with a byte order mark or blank lines before it or without.
    ``recover`` tries to read XML that is not well-formed: for answers only, whose identity is known.
    Raises Violation (reason ``malformed``) when the bytes are no SOAP envelope or its header breaks the rules.
    Source: OCPP-S 1.6, 3; SOAP 1.2 part 1, 5; WS-Addressing 1.0 SOAP binding.
    """
    notes: list[Note] = []
    root = _parse(body, notes, recover=recover)
    soap = namespace_of(root)
    if local_name(root) != "Envelope" or soap not in (SOAP_12, SOAP_11):
        raise _malformed("Envelope", f"found root element <{root.tag!s}>, expected a SOAP 1.2 or 1.1 Envelope")
    header = body_element = None
    for part in root:
        name = local_name(part)
        if name == "Header" and header is None and body_element is None:
            header = part
        elif name == "Body" and body_element is None:
            body_element = part
        else:
            notes.append(Loss(f"Envelope.{name}", "", "unknown-field", "an Envelope has one Header, then one Body"))
    if body_element is None:
        raise _malformed("Envelope.Body", "is missing, expected one Body")
    found = _read_header(header, soap, notes) if header is not None else {}
    return Envelope(soap=soap, body=_first_child(body_element, notes), notes=notes, **found)


def _parse(body: bytes, notes: list[Note], *, recover: bool) -> Element:
    if len(body) > LARGEST_BODY:
        raise Violation(
            "FormationViolation", "", f"found {len(body)} bytes, expected at most {LARGEST_BODY}", "too_large"
        )
    if body[:2] in (b"\xfe\xff", b"\xff\xfe") or b"\x00" in body[:4]:
        raise _malformed("", "the encoding is UTF-16 or UTF-32, expected UTF-8")
    try:
        text = body.decode()
    except UnicodeDecodeError as wrong:
        raise _malformed("", f"byte {wrong.start} is not UTF-8, the only encoding of OCPP-S") from None
    if not text.startswith("<"):
        # A byte order mark, or blank lines before the XML declaration.
        text = text.removeprefix("\ufeff").lstrip()
        body = text.encode()
    if not text:
        raise _malformed("", "the body is empty, expected a SOAP envelope")
    if text[0] != "<":
        raise _malformed("", f"found {shown(text)}, expected a SOAP envelope")
    declared = _DECLARATION.match(text)
    if declared and declared[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise _malformed("", f"the declared encoding is {declared[1]}, expected UTF-8")
    if _DOCTYPE.match(text):
        raise _malformed("", "found a DOCTYPE, which SOAP forbids")
    if text.count("<") > 2 * MOST_ELEMENTS:
        raise Violation("FormationViolation", "", f"found more than {MOST_ELEMENTS} elements", "too_large")
    try:
        root = etree.fromstring(body, _PARSER)
    except etree.XMLSyntaxError as wrong:
        recovered = etree.fromstring(body, _RECOVERING_PARSER) if recover else None
        if recovered is None:
            raise _malformed("", f"not well-formed XML: {wrong.msg}") from None
        root = recovered
        notes.append(Change("", shown(text), str(wrong.msg), "recovered"))
    if root.getroottree().docinfo.internalDTD is not None:
        raise _malformed("", "found a DOCTYPE, which SOAP forbids")
    return root


def _malformed(path: str, problem: str) -> Violation:
    return Violation("FormationViolation", path, problem, "malformed")


def _first_child(body: Element, notes: list[Note]) -> Element | None:
    if not len(body):
        return None
    if len(body) > 1:
        notes.append(Loss("Body", local_name(body[1]), "unknown-field", "a Body has one element"))
    first = body[0]
    # A fault inside a second Body inside the Body: GIR.
    return _first_child(first, notes) if local_name(first) == "Body" and len(first) else first


_ADDRESSING = {
    "action": "action",
    "messageid": "message_id",
    "relatesto": "relates_to",
    "from": "from_address",
    "replyto": "reply_to",
    "to": "to",
}


def _read_header(header: Element, soap: str, notes: list[Note]) -> dict[str, str]:
    found: dict[str, str] = {}
    for child in header:
        name, namespace = local_name(child).lower(), namespace_of(child)
        if name == "chargeboxidentity":  # the name is case-insensitive (OCPP 1.5, 8.1)
            _read_identity(child, found, notes)
        elif namespace in (WSA_2005, WSA_2004):
            found.setdefault("wsa", namespace)
            key = _ADDRESSING.get(name)
            if key is not None:
                # Doubled headers (zeep with its plugin twice): the first one stands.
                found.setdefault(key, _address(child))
        elif child.get(f"{{{soap}}}mustUnderstand", "").strip().lower() in ("1", "true"):
            found.setdefault("not_understood", str(child.tag))
    return found


def _read_identity(element: Element, found: dict[str, str], notes: list[Note]) -> None:
    if "identity" in found:
        raise _malformed("Header.chargeBoxIdentity", "found twice, expected once")
    if len(element):
        raise _malformed(
            "Header.chargeBoxIdentity", f"found element <{local_name(element[0])}> inside, expected plain text"
        )
    identity = (element.text or "").strip()
    if len(identity) > LONGEST_IDENTITY:
        raise _malformed(
            "Header.chargeBoxIdentity", f"found {len(identity)} characters, expected at most {LONGEST_IDENTITY}"
        )
    namespace = namespace_of(element)
    known = OCPP_NAMESPACE.fullmatch(namespace)
    if known is None:
        notes.append(Change("Header.chargeBoxIdentity", shown(namespace), "", "identity-namespace"))
    found["identity"] = identity


def _address(element: Element) -> str:
    """The text of a header: plain, or in an Address inside it (From, ReplyTo, sometimes To)."""
    for child in element:
        if local_name(child).lower() == "address":
            return (child.text or "").strip()
    return (element.text or "").strip()


@dataclass(frozen=True, slots=True)
class ReadCall:
    """A call as it was read from an envelope, with what reading changed or lost."""

    call: Call
    operation: CompiledOperation
    notes: tuple[Note, ...]


def read_call(envelope: Envelope, dialect: Dialect, asked: Side) -> ReadCall:
    """Read the call in *envelope*, sent to *asked*.

    The operation is told by the name of the element in the Body, never by wsa:Action or SOAPAction.
    Raises Violation when the element is no operation of *asked* or breaks the service description.
    Source: OCPP-S 1.6, 3; WSDL 1.6.
    """
    if envelope.not_understood:
        raise Violation(
            "ProtocolError", "Header", f"{envelope.not_understood} must be understood and is not", "unsupported"
        )
    body = envelope.body
    if body is None:
        raise Violation("FormationViolation", "Body", "is empty, expected the element of an operation")
    name, namespace = local_name(body), namespace_of(body)
    version = version_of(namespace)
    if version is None and namespace:
        raise Violation(
            "NotSupported", f"Body.{name}", f"namespace {shown(namespace)} is not one of OCPP", "unsupported"
        )
    if version is not None and version != dialect.version:
        raise Violation(
            "NotSupported",
            f"Body.{name}",
            f"is OCPP {version} (namespace {shown(namespace)}), expected OCPP {dialect.version}",
            "unsupported",
        )
    operation = dialect.by_request_element.get((asked, name.lower()))
    if operation is None:
        party = asked.value.replace("_", " ")
        known = (asked.other, name.lower()) in dialect.by_request_element
        problem = f"is not an operation that a {party} answers" if known else "is not an operation of OCPP"
        raise Violation("NotSupported" if known else "NotImplemented", f"Body.{name}", problem, "unsupported")
    notes = list(envelope.notes)
    if body.tag != f"{{{operation.described.namespace}}}{operation.request.element}":
        notes.append(Change("Body", str(body.tag), operation.request.element, "body-name"))
    payload = operation.request.read_element(body, operation.request.name, notes)
    return ReadCall(Call(operation.action, payload), operation, tuple(notes))


def version_of(namespace: str) -> str | None:
    """The OCPP version a namespace belongs to, with or without its trailing slash; None for any other."""
    known = OCPP_NAMESPACE.fullmatch(namespace)
    return VERSION_BY_DATE.get(known[2]) if known else None


def read_reply(
    status: int, content_type: str, body: bytes, operation: CompiledOperation
) -> tuple[Reply, tuple[Note, ...]]:
    """Read what the party that was asked for *operation* answered over HTTP.

    A fault is read at any status, 200 included. What is no SOAP, or no answer to this operation, becomes a
    CallError that tells status and first bytes; it never raises.
    Source: OCPP-S 1.6, 3; OCPP 1.5, 8.2.
    """
    try:
        envelope = read_envelope(body, recover=True)
    except Violation as broken:
        return _not_soap(status, content_type, body, broken), ()
    notes = list(envelope.notes)
    element = envelope.body
    if element is not None and local_name(element) == "Fault":
        return read_fault(element, operation.action), tuple(notes)
    if status >= 400:
        return _not_soap(status, content_type, body, None), tuple(notes)
    message = operation.response
    try:
        if element is None:
            # An empty Body where an empty result belongs (Java-OCA-OCPP).
            payload = _read_nothing(message, notes)
        else:
            payload = _read_result(element, message, notes)
    except Violation as broken:
        return CallError(broken.code, str(broken), {"path": broken.path}, reason="schema"), tuple(notes)
    return CallResult(payload), tuple(notes)


def _read_nothing(message: Message, notes: list[Note]) -> Payload:
    payload = message.read_element(etree.Element(message.element), message.name, notes)
    notes.append(Change("Body", "", message.element, "empty-body"))
    return payload


def _read_result(element: Element, message: Message, notes: list[Note]) -> Payload:
    name = local_name(element)
    if not OCPP_NAMESPACE.fullmatch(namespace_of(element)) and namespace_of(element):
        raise Violation("FormationViolation", f"Body.{name}", f"expected {message.element} of OCPP")
    if name != message.element:
        # Answers come misnamed (getLocalListResponse, dataTransfertResponse: glurp); another .conf's name
        # in full is another matter.
        if name.lower() != message.element.lower() and name.lower().endswith("request"):
            raise Violation("FormationViolation", f"Body.{name}", f"expected {message.element}")
        notes.append(Change("Body", name, message.element, "body-name"))
    return message.read_element(element, message.name, notes)


def _not_soap(status: int, content_type: str, body: bytes, broken: Violation | None) -> CallError:
    start = " ".join(body[:120].decode("utf-8", "replace").split())
    kind = content_type.partition(";")[0].strip() or "no content type"
    said = f"{shown(start)}" if start else "an empty body"
    why = f" ({broken.problem})" if broken is not None and start else ""
    return CallError(
        "GenericError",
        f"answered HTTP {status}, {kind}, not SOAP: {said}{why}",
        {"httpStatus": status},
        reason=broken.reason if broken is not None else "malformed",
    )


def read_fault(fault: Element, action: str = "") -> CallError:
    """A SOAP fault as a CALLERROR.

    The subcode is found by its local name, wherever it stands: faults of the field put it in any namespace,
    in ``SubCode``, in SOAP 1.1's faultcode or nowhere. Source: OCPP 1.5, 8.2; wire form SOAP 1.2 part 1, 5.4.
    """
    words = [word for word in _fault_words(fault) if word in FAULT_CODE_BY_WORD]
    # Code, then subcodes from outer to inner: the innermost known word says most.
    code = FAULT_CODE_BY_WORD[words[-1]] if words else "GenericError"
    said = _text_of(fault, ("text", "faultstring", "reason")) or "a fault without a reason"
    word = words[-1] if words else ""
    if word == "identitymismatch":
        said = f"IdentityMismatch: {said}"
    details = {}
    for child in fault:
        if local_name(child).lower() == "detail":
            text = " ".join("".join(str(part) for part in child.itertext()).split())
            if text:
                details["detail"] = text[:1000]
    return CallError(code, said[:500], details, reason="fault")


def _fault_words(fault: Element) -> Iterator[str]:
    for element in fault.iter():
        if local_name(element).lower() in ("value", "faultcode") and element.text:
            for word in re.split(r"[:.\s/]+", element.text.strip()):
                yield word.lower()


def _text_of(fault: Element, names: tuple[str, ...]) -> str:
    for name in names:
        for element in fault.iter():
            if local_name(element).lower() == name and element.text and element.text.strip():
                return " ".join(unescape(element.text).split())
    return ""


# ---------------------------------------------------------------------------- writing


@dataclass(frozen=True, slots=True)
class Written:
    """One SOAP message ready for HTTP: body, its content type, and the status it goes with."""

    body: bytes
    content_type: str
    status: int = 200
    soap_action: str = ""  # SOAP 1.1 only
    notes: tuple[Note, ...] = ()


def write_reply(
    envelope: Envelope, operation: CompiledOperation, reply: Reply, dialect: Dialect, message_id: str
) -> Written:
    """Write the reply to the call in *envelope*, in its SOAP and WS-Addressing version.

    A CallError becomes a fault; so does a result that the service description cannot say.
    Source: OCPP-S 1.6, 3; wsa:RelatesTo as WS-Addressing 1.0 core, 3.4.
    """
    if isinstance(reply, CallResult):
        message = operation.response
        notes: list[Note] = []
        try:
            inside = message.write_element(reply.payload, message.name, notes)
        except Violation as broken:
            return write_fault(envelope, CallError(broken.code, str(broken), reason="untranslatable"), message_id)
        body = _element(dialect, operation, message, inside)
        text = _envelope(envelope, f"/{operation.action}Response", message_id, body)
        return Written(text.encode(), CONTENT_TYPE[envelope.soap], notes=tuple(notes))
    return write_fault(envelope, reply, message_id)


def _element(dialect: Dialect, operation: CompiledOperation, message: Message, inside: str) -> str:
    tag, namespace = f"{dialect.options.prefix}:{message.element}", operation.described.namespace
    declared = f'xmlns:{dialect.options.prefix}="{namespace}"'
    return f"<{tag} {declared}>{inside}</{tag}>" if inside else f"<{tag} {declared}/>"


def _envelope(asked: Envelope, action: str, message_id: str, body: str) -> str:
    """A response: no mustUnderstand anywhere, RelatesTo when the request had a MessageID."""
    relates = f"<wsa:RelatesTo>{escape(asked.message_id)}</wsa:RelatesTo>" if asked.message_id else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope xmlns:soap="{asked.soap}" xmlns:wsa="{asked.wsa}">'
        f"<soap:Header><wsa:Action>{action}</wsa:Action><wsa:MessageID>{message_id}</wsa:MessageID>"
        f"<wsa:To>{ANONYMOUS[asked.wsa]}</wsa:To>{relates}</soap:Header>"
        f"<soap:Body>{body}</soap:Body></soap:Envelope>"
    )


def write_fault(envelope: Envelope, error: CallError, message_id: str) -> Written:
    """Write *error* as a fault in the SOAP version of *envelope*.

    The subcode stands in the namespace of the service, as SteVe writes it.
    Source: OCPP 1.5, 8.2; SOAP 1.2 part 1, 5.4; SOAP 1.2 part 2, 7.5.2.2 (Sender 400, Receiver 500).
    """
    code, subcode = FAULT_BY_CODE.get(error.code, ("Receiver", "InternalError"))
    said = error.description or error.code
    if error.code not in (subcode, "GenericError"):
        said = f"{error.code}: {said}" if error.description else said
    reason = escape(said[:1000])
    if envelope.soap == SOAP_12:
        body = (
            f"<soap:Fault><soap:Code><soap:Value>soap:{code}</soap:Value><soap:Subcode>"
            f'<soap:Value xmlns:ocpp="{FAULT_NAMESPACE}">ocpp:{subcode}</soap:Value></soap:Subcode></soap:Code>'
            f'<soap:Reason><soap:Text xml:lang="en">{reason}</soap:Text></soap:Reason></soap:Fault>'
        )
        status = 400 if code == "Sender" else 500
    else:
        client = "Client" if code == "Sender" else "Server"
        body = (
            f"<soap:Fault><faultcode>soap:{client}.{subcode}</faultcode>"
            f"<faultstring>{reason}</faultstring></soap:Fault>"
        )
        status = 500  # SOAP 1.1, 6.2: a fault goes with 500
    text = _envelope(envelope, f"{envelope.wsa}/fault", message_id, body)
    return Written(text.encode(), CONTENT_TYPE[envelope.soap], status)


# The namespace of subcodes in 1.6 is nowhere written down; the service's own is what peers use.
FAULT_NAMESPACE = "urn://Ocpp/Cs/2015/10/"


@dataclass(frozen=True, slots=True)
class Addressing:
    """How a call to an OCPP-S party is addressed.

    ``identity`` is the charge point's, ``to`` the URL as it shall stand in wsa:To, ``from_address`` the URL of the
    party that calls ("" to leave wsa:From out).
    """

    identity: str
    to: str
    from_address: str = ""


def write_call(
    call: Call, addressing: Addressing, dialect: Dialect, asked: Side, new_message_id: Callable[[], str]
) -> Written:
    """Write a call to *asked* as a SOAP 1.2 request.

    Headers stand in the order that peers agree on, mustUnderstand only on Action and To.
    Raises Violation when the service description cannot say the call.
    Source: OCPP-S 1.6, 3; WS-Addressing 1.0 core, 3.2.
    """
    operation = dialect.operation(asked, call.action)
    message, prefix = operation.request, dialect.options.prefix
    notes: list[Note] = []
    inside = message.write_element(call.payload, message.name, notes)
    action = operation.described.request_action
    sender = (
        f"<wsa:From><wsa:Address>{escape(addressing.from_address)}</wsa:Address></wsa:From>"
        if addressing.from_address
        else ""
    )
    body = f"<{prefix}:{message.element}>{inside}</{prefix}:{message.element}>"
    if not inside:
        body = f"<{prefix}:{message.element}/>"
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope xmlns:soap="{SOAP_12}" xmlns:wsa="{WSA_2005}" '
        f'xmlns:{prefix}="{operation.described.namespace}"><soap:Header>'
        f"<{prefix}:chargeBoxIdentity>{escape(addressing.identity)}</{prefix}:chargeBoxIdentity>"
        f'<wsa:Action soap:mustUnderstand="true">{action}</wsa:Action>'
        f"<wsa:MessageID>{new_message_id()}</wsa:MessageID>{sender}"
        f"<wsa:ReplyTo><wsa:Address>{ANONYMOUS[WSA_2005]}</wsa:Address></wsa:ReplyTo>"
        f'<wsa:To soap:mustUnderstand="true">{escape(addressing.to)}</wsa:To>'
        f"</soap:Header><soap:Body>{body}</soap:Body></soap:Envelope>"
    )
    return Written(text.encode(), f'{CONTENT_TYPE[SOAP_12]}; action="{action}"', notes=tuple(notes))

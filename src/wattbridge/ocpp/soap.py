"""Envelopes, WS-Addressing and faults: bytes to messages and back.

Everything that OCPP-S peers are known to send is read here (``tolerances.py``); what is written is exact.
The parser is hardened in this one place: no DOCTYPE, no entities, no network, bounded size, depth and
number of elements. What an operation's element holds is read and written by ``payloads.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import cast

from lxml import etree

from wattbridge.ocpp.actions import CompiledOperation, Dialect, Message, described_operations
from wattbridge.ocpp.errors import (
    FAULT_BY_CODE,
    FAULT_CODE_BY_WORD,
    Violation,
    broken_reply,
    checked,
    excerpt,
    shown,
)
from wattbridge.ocpp.messages import (
    Call,
    CallError,
    CallResult,
    Change,
    Check,
    Loss,
    Note,
    Original,
    Payload,
    Reply,
    Side,
)
from wattbridge.ocpp.older import BY_RULE, NEWEST
from wattbridge.ocpp.payloads import Element, escape, local_name, namespace_of
from wattbridge.ocpp.tolerances import ANONYMOUS, OCPP_NAMESPACE, VERSION_BY_DATE, WSA_2004, WSA_2005

SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
CONTENT_TYPE = {SOAP_12: "application/soap+xml; charset=utf-8", SOAP_11: "text/xml; charset=utf-8"}

LARGEST_BODY = 256 * 1024  # bytes; a configuration may allow less, not more
# Tags, and attributes: more than 256 KiB of MeterValues hold, and a few milliseconds of parsing at most.
MOST_TAGS = 20_000
MOST_ATTRIBUTES = 64  # of one element; to read n of them costs n² in lxml
_HARMLESS = 4096  # bytes; too few to hold enough of anything
MOST_HEADERS = 64
LONGEST_FAULT = 16 * 1024  # bytes; a longer one is not worth recovering
LONGEST_IDENTITY = 255  # characters; a SOAP header has no limit of its own, the URL of OCPP-J has


# ---------------------------------------------------------------------------- reading an envelope


@dataclass(slots=True)
class Envelope:
    """One SOAP envelope, its header read and its body not yet.

    ``soap`` and ``wsa`` are the namespaces to answer in. ``identity`` is the chargeBoxIdentity. ``action``,
    ``message_id``, ``relates_to``, ``from_address``, ``reply_to`` and ``to`` are what the WS-Addressing
    headers say, without blanks around. All are ``""`` when absent. ``body`` is the first element in the Body,
    None when that is empty. ``not_understood`` is the tag (``{namespace}name``) of a foreign header with
    mustUnderstand.
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
    not_understood: str = ""
    notes: list[Note] = field(default_factory=list)


class BrokenEnvelope(Violation):
    """The bytes are no SOAP envelope, or its header breaks the rules.

    ``envelope`` is what is known of it nevertheless, for the fault that answers it: the SOAP version, and
    as much of the header as was read. Its identity is empty: nobody's.
    """

    def __init__(
        self,
        envelope: Envelope,
        path: str,
        problem: str,
        *,
        code: str = "FormationViolation",
        reason: str = "malformed",
    ) -> None:
        super().__init__(code, path, problem, reason)
        self.envelope = envelope
        envelope.identity = ""


def read_envelope(body: bytes) -> Envelope:
    """Read envelope and header of one SOAP message.

    Takes SOAP 1.2 or 1.1 in UTF-8, with a byte order mark or blank lines before it or without.
    Raises BrokenEnvelope (a Violation, reason ``malformed`` or ``too_large``); its code is VersionMismatch
    for an envelope of another SOAP version.
    Source: OCPP-S 1.6, 3; SOAP 1.2 part 1, 5; WS-Addressing 1.0 SOAP binding.
    """
    return _envelope_of(_parse(body))


def _parser(*, recover: bool) -> etree.XMLParser:
    """The one way XML is parsed. Without ``huge_tree`` libxml2 itself stops at 256 levels."""
    return etree.XMLParser(
        encoding="utf-8",  # whatever the document says; nothing is guessed
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
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# The parser is told the encoding, whatever the declaration says; others are not. So there is none that is not
# understood here, and none is passed on (original_of).
_XML_DECLARATION = re.compile(
    rb"<\?xml(?:\s++version\s*+=\s*+[\"'][\w.]++[\"'])?+"
    rb"(?:\s++encoding\s*+=\s*+[\"']([\w.-]++)[\"'])?+(?:\s++standalone\s*+=\s*+[\"']\w++[\"'])?+\s*+\?>"
)
_ENCODINGS = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})
# What may stand before the root element, then a DOCTYPE. Possessive: one pass over it, whatever it is.
_DOCTYPE = re.compile(rb"(?:\s++|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE", re.DOTALL)
_has_too_many_attributes = etree.XPath(f"boolean(//*[count(@*) > {MOST_ATTRIBUTES}])")
_SHOWN_VERSION = re.compile(b"|".join(re.escape(version.encode()) for version in (SOAP_11, SOAP_12)))


def _parse(body: bytes, parser: etree.XMLParser = _PARSER) -> Element:
    """The root element of a document in UTF-8. Raises BrokenEnvelope."""
    if len(body) > LARGEST_BODY:
        raise _unreadable(body, f"found {len(body)} bytes, expected at most {LARGEST_BODY}", "too_large")
    # Every tag begins with "<" and every attribute has its "="; texts may have more of both, but not so many.
    equal_signs = body.count(b"=") if len(body) > _HARMLESS else 0
    if equal_signs > MOST_TAGS or (len(body) > MOST_TAGS and body.count(b"<") > MOST_TAGS):
        raise _unreadable(body, f"found more tags or attributes than {MOST_TAGS}", "too_large")
    if b"\x00" in body:
        found = "the encoding is UTF-16 or UTF-32, expected UTF-8" if b"\x00" in body[:4] else "found a NUL"
        raise _unreadable(body, found)
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as wrong:
            raise _unreadable(body, f"byte {wrong.start} is not UTF-8, the only encoding of OCPP-S") from None
    if body[:1] != b"<":
        body = body.removeprefix(_BYTE_ORDER_MARK).lstrip()
        if body[:1] != b"<":
            found = shown(body[:200].decode(errors="replace")) if body else "nothing"
            raise _unreadable(body, f"found {found}, expected a SOAP envelope")
    if body[:5] == b"<?xml" and not body[5:6].isalnum():
        declared = _XML_DECLARATION.match(body)
        if declared is None:
            raise _unreadable(body, f"found {shown(body[:60].decode(errors='replace'))}, no XML declaration")
        if declared[1] is not None and declared[1].lower() not in _ENCODINGS:
            named = declared[1].decode(errors="replace")
            raise _unreadable(body, f"the declared encoding is {shown(named)}, expected UTF-8")
    if b"<!DOCTYPE" in body and _DOCTYPE.match(body):
        raise _unreadable(body, "found a DOCTYPE, which SOAP forbids")  # SOAP 1.2 part 1, 5
    try:
        root = cast("Element | None", etree.fromstring(body, parser))
    except etree.XMLSyntaxError as wrong:
        raise _unreadable(body, f"not well-formed XML: {str(wrong.msg)[:200]}") from None
    if root is None:  # nothing could be recovered
        raise _unreadable(body, "not XML")
    if equal_signs > MOST_ATTRIBUTES and _has_too_many_attributes(root):
        raise _unreadable(body, f"found an element of more than {MOST_ATTRIBUTES} attributes", "too_large")
    return root


def _unreadable(body: bytes, problem: str, reason: str = "malformed") -> BrokenEnvelope:
    """What no envelope could be read from; it is answered in the SOAP version whose namespace it shows."""
    version = _SHOWN_VERSION.search(body, 0, 4096)
    soap = version[0].decode() if version else SOAP_12
    return BrokenEnvelope(Envelope(soap=soap), "", problem, reason=reason)


_ENVELOPES = {f"{{{soap}}}Envelope": soap for soap in (SOAP_12, SOAP_11)}
_PARTS = {f"{{{soap}}}{name}": name for soap in (SOAP_12, SOAP_11) for name in ("Header", "Body")}
_ADDRESSING = {  # name of a WS-Addressing header, lower case → field of Envelope
    "action": "action",
    "messageid": "message_id",
    "relatesto": "relates_to",
    "from": "from_address",
    "replyto": "reply_to",
    "to": "to",
}
# Tag → field and namespace, for the headers of nearly every message; the others are looked at twice.
_HEADERS = {
    f"{{{wsa}}}{name}": (_ADDRESSING[name.lower()], wsa)
    for wsa in (WSA_2005, WSA_2004)
    for name in ("Action", "MessageID", "RelatesTo", "From", "ReplyTo", "To")
} | {
    f"{{urn://Ocpp/{service}/{date}/}}chargeBoxIdentity": ("identity", "")
    for service in ("Cs", "Cp")
    for date in VERSION_BY_DATE
}
_BLANKS = " \t\r\n"  # XML's; other characters that look empty are part of a value
# Headers for someone else on the way are none of our business (SOAP 1.2 part 1, 2.2; SOAP 1.1, 4.2.2).
_OUR_ROLES = frozenset(
    {
        "",
        f"{SOAP_12}/role/next",
        f"{SOAP_12}/role/ultimateReceiver",
        "http://schemas.xmlsoap.org/soap/actor/next",
    }
)


def _envelope_of(root: Element) -> Envelope:
    envelope = Envelope()
    soap = _ENVELOPES.get(root.tag)
    if soap is None:
        found = shown(root.tag)
        if local_name(root) == "Envelope":
            raise BrokenEnvelope(
                envelope,
                "Envelope",
                f"found {found}, expected SOAP 1.2 or 1.1",
                code="VersionMismatch",
                reason="unsupported",
            )
        raise BrokenEnvelope(envelope, "", f"found root element {found}, expected a SOAP Envelope")
    envelope.soap = soap
    header = body = None
    for part in root:
        name = _PARTS.get(part.tag) or local_name(part)
        if name == "Body" and body is None:
            body = part
        elif name == "Header" and header is None and body is None:
            header = part
        elif name in ("Header", "Body"):
            # Whoever reads the other one of two reads another message.
            raise BrokenEnvelope(
                envelope, f"Envelope.{name}", "found again, expected one Header, then one Body"
            )
        elif not envelope.notes:
            envelope.notes.append(
                Loss(
                    f"Envelope.{name[:60]}", "", "unknown-field", "an Envelope has one Header, then one Body"
                )
            )
    if body is not None:
        envelope.body = _first_in(body)
    if header is not None:
        _read_header(header, envelope)
    if body is None:
        raise BrokenEnvelope(envelope, "Envelope.Body", "is missing, expected one Body")
    return envelope


def _first_in(body: Element) -> Element | None:
    for first in body:
        # A Body inside the Body: GIR's faults.
        nested = str(first.tag).endswith("Body") and _bare_name(first) == "body"
        return _first_in(first) if nested else first
    return None


def _bare_name(element: Element) -> str:
    """Its name in lower case, also where a recovered document has an undeclared prefix before it."""
    return local_name(element).rpartition(":")[2].lower()


def _read_header(header: Element, envelope: Envelope) -> None:
    if len(header) > MOST_HEADERS:
        raise BrokenEnvelope(
            envelope, "Header", f"found {len(header)} headers, expected at most {MOST_HEADERS}"
        )
    identities = []
    wsa = ""
    for child in header:
        known = _HEADERS.get(child.tag) or _unusual_header(child, envelope)
        if known is None:
            continue
        name, namespace = known
        if name == "identity":
            identities.append(child)
            continue
        wsa = wsa or namespace
        text = _address(child) if len(child) else (child.text or "").strip(_BLANKS)
        first = getattr(envelope, name)
        if not first:
            setattr(envelope, name, text)
        elif text != first:
            # zeep with its plugin twice: two MessageIDs. The first one stands.
            envelope.notes.append(
                Loss(f"Header.{local_name(child)}", excerpt(text), "doubled", "the header stands here twice")
            )
    if wsa:
        envelope.wsa = wsa
    if identities:
        envelope.identity = _identity(identities, envelope)


def _unusual_header(child: Element, envelope: Envelope) -> tuple[str, str] | None:
    """A tag that is not in the table: another case, an odd namespace, a header that is not ours."""
    name, namespace = local_name(child).lower(), namespace_of(child)
    if name == "chargeboxidentity":  # the name is case-insensitive (OCPP 1.5, 8.1)
        if not OCPP_NAMESPACE.fullmatch(namespace):
            envelope.notes.append(
                Change("Header.chargeBoxIdentity", excerpt(namespace), "", "identity-namespace")
            )
        return "identity", ""
    if namespace in (WSA_2005, WSA_2004):
        field_name = _ADDRESSING.get(name)
        return (field_name, namespace) if field_name else None
    if child.get(f"{{{envelope.soap}}}mustUnderstand", "").strip().lower() in ("1", "true"):
        role = child.get(f"{{{SOAP_12}}}role") or child.get(f"{{{SOAP_11}}}actor") or ""
        if role.strip() in _OUR_ROLES and not envelope.not_understood:
            envelope.not_understood = child.tag
    return None


def _identity(elements: list[Element], envelope: Envelope) -> str:
    if len(elements) > 1:
        raise BrokenEnvelope(envelope, "Header.chargeBoxIdentity", f"found {len(elements)}, expected one")
    [element] = elements
    if len(element):
        inside = shown(local_name(element[0]))
        raise BrokenEnvelope(
            envelope, "Header.chargeBoxIdentity", f"found element {inside} inside, expected plain text"
        )
    identity = (element.text or "").strip(_BLANKS)
    if len(identity) > LONGEST_IDENTITY:
        raise BrokenEnvelope(
            envelope,
            "Header.chargeBoxIdentity",
            f"found {len(identity)} characters, expected at most {LONGEST_IDENTITY}",
        )
    return identity


def _address(element: Element) -> str:
    """The text of a header, plain or in an Address inside it (From, ReplyTo, sometimes To).

    All of them are xs:anyURI: blanks around it are no part of it.
    """
    for child in element:
        if local_name(child).lower() == "address" and child.text:
            return child.text.strip(_BLANKS)
    return (element.text or "").strip(_BLANKS)


# What tells, in bytes that nobody can read, that they are a transaction message of OCPP 1.2 or 1.5.
_OLDER_NAMESPACE = re.compile(rb"urn://Ocpp/C[sp]/20(?:10/08|10/10|12/06)", re.IGNORECASE)
_TRANSACTION_MESSAGE = re.compile(rb"(?:startTransaction|stopTransaction|meterValues)Request", re.IGNORECASE)


def looks_like_older_transaction(body: bytes) -> bool:
    """Whether bytes that could not be read look like a transaction message of OCPP 1.2 or 1.5, which a fault
    would cost. In whatever encoding: UTF-16 has the same letters with a NUL between them."""
    bare = body.replace(b"\x00", b"")
    return bool(_OLDER_NAMESPACE.search(bare) and _TRANSACTION_MESSAGE.search(bare))


# ---------------------------------------------------------------------------- reading a call


@dataclass(frozen=True, slots=True)
class ReadCall:
    """A call as it was read from an envelope, with what reading changed or lost."""

    call: Call
    operation: CompiledOperation
    notes: tuple[Note, ...]


def read_call(envelope: Envelope, dialect: Dialect, asked: Side) -> ReadCall:
    """Read the call in *envelope*, sent to *asked*.

    The operation is told by the name of the element in the Body, never by wsa:Action or SOAPAction.
    Raises Violation when the element is no operation of *asked* or breaks the service description; its code
    is MustUnderstand for a header that has to be understood and is not.
    Source: OCPP-S 1.6, 3; WSDL 1.6; SOAP 1.2 part 1, 2.4 and 5.4.8.
    """
    return read_located(locate_call(envelope, dialect, asked), envelope)


@dataclass(frozen=True, slots=True)
class Located:
    """Which operation an envelope calls, and the element that says it."""

    operation: CompiledOperation
    element: Element


def locate_call(envelope: Envelope, dialect: Dialect, asked: Side) -> Located:
    """Find the operation that *envelope* calls; the first half of ``read_call``. Raises Violation.

    Which version of OCPP it is of, the namespace of the element in the Body tells; *dialect* may be of any.
    """
    if envelope.not_understood:
        found = shown(envelope.not_understood)
        raise Violation("MustUnderstand", "Header", f"{found} must be understood and is not", "unsupported")
    body = envelope.body
    if body is None:
        raise Violation("FormationViolation", "Body", "is empty, expected the element of an operation")
    operation = _operation(body, dialect.of(version_in(envelope)), asked)
    if (again := body.getnext()) is not None:
        found, expected = shown(local_name(again)), operation.request.element
        raise Violation("FormationViolation", "Body", f"found {found} too, expected {expected} alone")
    return Located(operation, body)


def read_located(located: Located, envelope: Envelope) -> ReadCall:
    """Read what was located; the other half of ``read_call``. Raises Violation."""
    operation, body = located.operation, located.element
    message = operation.request
    notes = list(envelope.notes)
    if body.tag != f"{{{operation.described.namespace}}}{message.element}":
        notes.append(Change("Body", excerpt(body.tag), message.element, "body-name"))
    payload = message.read_element(body, message.name, notes)
    return ReadCall(Call(operation.action, payload), operation, tuple(notes))


def pass_located(located: Located, envelope: Envelope, body: bytes, check: Check) -> ReadCall:
    """Take what was located as it is, for a party that speaks the same.

    *body* is what *envelope* was read from. Notes are breaches only. Raises Violation when *check* is
    ``refuse`` and the service description is broken.
    """
    operation, element = located.operation, located.element

    def read() -> tuple[Payload, list[Note]]:
        notes: list[Note] = []
        payload = operation.request.read_element(element, operation.request.name, notes)
        # OCPP-S may leave out what OCPP-J requires.
        return payload, [note for note in notes if note.rule != "empty-meter-values"]

    payload, notes = checked(read, None, check)
    original = original_of(envelope, body, operation.version)
    return ReadCall(Call(operation.action, payload, original), operation, notes)


# ---------------------------------------------------------------------------- passing a Body as it is


def form_of(soap: str, version: str = NEWEST) -> str:
    """The form of an Original in SOAP: of one version of OCPP, in an Envelope of one version of SOAP."""
    return f"soap {version} {soap}"


# Any prefix: one that is overlooked would have a Body cut out of the middle. Possessive: one pass over it.
_NAME_BEFORE = rb"<(?:[^\s<>:/!?]++:)?+"
_ENVELOPE_OPENS = re.compile(_NAME_BEFORE + rb"Envelope(?:\s(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+)?+>")
_PART_OPENS = re.compile(_NAME_BEFORE + rb"(Envelope|Header|Body)(?=[\s/>])")
# What could hold something that looks like a tag and is none.
_HIDING = re.compile(rb"<!|<\?(?!xml\s)")
_ENDS = re.compile(rb"</(?:[^\s<>:/!?]++:)?+Body\s*+>\s*+</(?:[^\s<>:/!?]++:)?+Envelope\s*+>\s*+\Z")
_DECLARED = DECLARATION.encode()


def original_of(envelope: Envelope, body: bytes, version: str, status: int = 200) -> Original | None:
    """The Body that *envelope* was read from, byte for byte, with the namespaces around it.

    *version* is that of OCPP, *status* the HTTP status it came with. Where a Body cannot be cut out of the
    bytes for certain (there are comments, CDATA, several elements of that name, or something behind it), it
    is written anew from what was parsed. None when there is nothing in the Body.
    """
    if envelope.body is None:
        return None
    form = form_of(envelope.soap, version)
    opens = _ENVELOPE_OPENS.search(body)
    parts = [(found[1], found.start()) for found in _PART_OPENS.finditer(body)]
    names = [name for name, _ in parts]
    if (
        opens is not None
        and names in ([b"Envelope", b"Header", b"Body"], [b"Envelope", b"Body"])
        and not _HIDING.search(body)
        and _ENDS.search(body)
    ):
        # The declaration is ours: whoever obeyed theirs could read other characters than we have read.
        return Original(form, body[parts[-1][1] :].rstrip(), _DECLARED + opens[0], status)
    element = envelope.body
    inside = etree.tostring(element, encoding="utf-8", with_tail=False)
    opening = f'<soap:Envelope xmlns:soap="{envelope.soap}">'.encode()
    return Original(form, b"<soap:Body>" + inside + b"</soap:Body></soap:Envelope>", opening, status)


def _operation(body: Element, dialect: Dialect, asked: Side) -> CompiledOperation:
    name, namespace = local_name(body), namespace_of(body)
    path = f"Body.{name[:60]}"
    if namespace and version_of(namespace) is None:
        raise Violation(
            "NotSupported", path, f"namespace {shown(namespace)} is not one of OCPP", "unsupported"
        )
    operation = dialect.by_request_element.get((asked, name.lower()))
    if operation is not None:
        return operation
    if (asked.other, name.lower()) in dialect.by_request_element:
        party = asked.value.replace("_", " ")
        raise Violation("NotSupported", path, f"is not an operation that a {party} answers", "unsupported")
    raise Violation("NotImplemented", path, f"is not an operation of OCPP {dialect.version}", "unsupported")


def version_of(namespace: str) -> str | None:
    """The OCPP version a namespace belongs to, with or without its trailing slash; None for any other."""
    known = OCPP_NAMESPACE.fullmatch(namespace)
    return VERSION_BY_DATE.get(known[2]) if known else None


def version_in(envelope: Envelope) -> str:
    """The OCPP version of what stands in the Body; 1.6 where its namespace does not tell."""
    namespace = namespace_of(envelope.body) if envelope.body is not None else ""
    return version_of(namespace) or NEWEST


# ---------------------------------------------------------------------------- reading a reply


def read_reply(
    status: int,
    content_type: str,
    body: bytes,
    operation: CompiledOperation,
    *,
    form: str = "",
    check: Check = "report",
) -> tuple[Reply, tuple[Note, ...]]:
    """Read what the party that was asked for *operation* answered over HTTP.

    With *form*, who asked takes replies of that form as they are, looked at as *check* says.

    A fault is read at any status, 200 included. What is no SOAP, or no answer to this operation, becomes a
    CallError that tells status and first bytes; it never raises. wsa:RelatesTo is not looked at: the HTTP
    exchange tells what is answered, and some charge points name the call before (node-red).
    Source: OCPP-S 1.6, 3; OCPP 1.5, 8.2.
    """
    try:
        envelope = _read_answer(body)
    except BrokenEnvelope as broken:
        return _not_soap(status, content_type, body, broken), ()
    notes = envelope.notes
    element, message = envelope.body, operation.response
    recovered = any(note.rule == "recovered" for note in notes)
    is_fault = element is not None and _is_fault(element)
    version = operation.version if is_fault else version_in(envelope)
    as_it_is = form == form_of(envelope.soap, version) and not recovered
    if element is not None and is_fault:
        fault = read_fault(element)
        if as_it_is:
            fault = replace(fault, original=original_of(envelope, body, version, status))
        return fault, tuple(notes)
    if not 200 <= status < 300:
        found = f"{shown(local_name(element))} and no fault" if element is not None else "an empty Body"
        return CallError(
            "GenericError", f"answered HTTP {status} with {found}", {"httpStatus": status}, "malformed"
        ), ()

    def read() -> tuple[Payload, list[Note]]:
        return _read_result(element, message, operation.described.namespace, notes), notes

    try:
        if as_it_is and element is not None:
            payload, breached = checked(read, None, check)
            return CallResult(payload, original_of(envelope, body, version)), breached
        return CallResult(read()[0]), tuple(notes)
    except Violation as broken:
        return broken_reply(broken, operation.asked), tuple(notes)


_HEADER_BEGINS = re.compile(rb"<(?:[\w.-]{1,40}:)?Header[\s/>]")
_BODY_BEGINS = re.compile(rb"<(?:[\w.-]{1,40}:)?Body[\s/>]")


def _read_answer(body: bytes) -> Envelope:
    """The envelope of an answer, also where it is broken but nothing hangs on that.

    A result is read from a well-formed Body only: half of one would say something else. A fault is taken from
    what can be made out of it. Raises BrokenEnvelope.
    """
    try:
        return read_envelope(body)
    except BrokenEnvelope as broken:
        if broken.reason == "malformed":
            for part, read_again in (("Header", _without_header), ("Fault", _fault_in)):
                envelope = read_again(body)
                if envelope is not None:
                    envelope.notes.append(Change(part, broken.problem, "", "recovered"))
                    return envelope
        raise


def _without_header(body: bytes) -> Envelope | None:
    """node-red never closes its chargeBoxIdentity; whose answer it is, is known without it."""
    rest = _BODY_BEGINS.search(body)
    header = _HEADER_BEGINS.search(body, 0, rest.start()) if rest else None
    if rest is None or header is None:
        return None
    try:
        return read_envelope(body[: header.start()] + body[rest.start() :])
    except BrokenEnvelope:
        return None


def _fault_in(body: bytes) -> Envelope | None:
    """Faults with an undeclared prefix (GIR) or a misspelt closing tag (apostol)."""
    if len(body) > LONGEST_FAULT or b"Fault" not in body or b"<!DOCTYPE" in body:
        return None
    try:
        envelope = _envelope_of(_parse(body, _RECOVERING_PARSER))
    except BrokenEnvelope:
        return None
    return envelope if envelope.body is not None and _is_fault(envelope.body) else None


def _is_fault(element: Element) -> bool:
    return _bare_name(element) == "fault"


def _read_result(element: Element | None, message: Message, namespace: str, notes: list[Note]) -> Payload:
    if element is None:
        # An empty Body where an empty result belongs (Java-OCA-OCPP).
        notes.append(Change("Body", "", message.element, "empty-body"))
        return message.read_element(etree.Element(message.element), message.name, notes)
    if element.tag != f"{{{namespace}}}{message.element}":
        _check_result_name(element, message)
        notes.append(Change("Body", excerpt(element.tag), message.element, "body-name"))
    if (again := element.getnext()) is not None:
        notes.append(
            Loss("Body", excerpt(local_name(again)), "unknown-field", f"expected {message.element} alone")
        )
    return message.read_element(element, message.name, notes)


def _check_result_name(element: Element, message: Message) -> None:
    """Results come misnamed (glurp's dataTransfertResponse) and in a namespace of another service or version;
    but the result of another operation, or what is no result, answers nothing that was asked."""
    name, namespace = local_name(element).lower(), namespace_of(element)
    is_ours = not namespace or version_of(namespace) is not None
    is_another = name != message.element.lower() and (name in _results() or not name.endswith("response"))
    if is_another or not is_ours:
        problem = f"found {shown(element.tag)}, expected {message.element} of OCPP"
        raise Violation("FormationViolation", "Body", problem)


@cache
def _results() -> frozenset[str]:
    """The names of all results, lower case."""
    return frozenset(one.response_element.lower() for one in described_operations())


def _not_soap(status: int, content_type: str, body: bytes, broken: Violation) -> CallError:
    start = " ".join(body[:200].decode(errors="replace").split())
    kind = content_type.partition(";")[0].strip()[:60] or "without content type"
    if not start:
        found = "with an empty body"
    elif kind == "text/html" or start.lower().startswith(("<!doctype html", "<html")):
        found = f"with an HTML page: {shown(start)}"  # a login page, a proxy's error
    else:
        found = f"({kind}), not SOAP: {shown(start)} ({broken.problem})"
    reason = "too_large" if broken.reason == "too_large" else "malformed"
    return CallError("GenericError", f"answered HTTP {status} {found}", {"httpStatus": status}, reason)


# ---------------------------------------------------------------------------- faults

# The fault of who is called by another name than its own (OCPP 1.5, 8.2). A Violation to be answered with it
# names it as its code; OCPP-J has no word for it.
IDENTITY_MISMATCH = "IdentityMismatch"
# SOAP's own faults; a Violation to be answered with one names it as its code (SOAP 1.2 part 1, 5.4.6).
_SOAP_FAULTS = ("MustUnderstand", "VersionMismatch")
# OCPP-J has no words for these; the description keeps them.
_KEPT_WORDS = {"identitymismatch": IDENTITY_MISMATCH, "urlmismatch": "UrlMismatch"}
_MISSING = re.compile(r"missing|required|mandatory|absent|not present", re.IGNORECASE)
_NOT_READ = re.compile(r"\bpars(?:e|er|ing)\b|well-?formed|malformed|syntax|unmarshal|\bXML\b", re.IGNORECASE)


# Faults that are about the envelope, and so about who wrote it, and not about the message in it.
_ABOUT_ENVELOPE = frozenset(
    {
        "actionnotsupported", "dataencodingunknown", "destinationunreachable", "identitymismatch",
        "invalidaddressingheader", "messageaddressingheaderrequired", "mustunderstand", "urlmismatch",
        "versionmismatch",
    }
)  # fmt: skip


def read_fault(fault: Element) -> CallError:
    """A SOAP fault as a CALLERROR.

    The words are found by their local names, wherever they stand: faults of the field put the subcode in any
    namespace, in ``SubCode``, in SOAP 1.1's faultcode or nowhere. Where several are known, the innermost says
    most. Reason and Detail go along as description and details.
    Source: OCPP 1.5, 8.2; OCPP 1.6 errata, 3.38 and 3.39; SOAP 1.2 part 1, 5.4; SOAP 1.1, 4.4.
    """
    codes = said = detail = ""
    for part in islice(fault, 16):
        name = _bare_name(part)
        if name in ("code", "faultcode", "subcode"):
            codes += " " + " ".join(_texts(part))
        elif name in ("reason", "faultstring"):
            said = said or next(_texts(part), "")  # the first language is as good as any
        elif name == "detail":
            detail = " ".join(_texts(part))
    words = [word for word in re.split(r"[^a-z]+", codes[:1000].lower()) if word in FAULT_CODE_BY_WORD]
    word = words[-1] if words else ""
    if said:
        code, said = _call_error_of(word, said[:500])
    else:
        code = FAULT_CODE_BY_WORD.get(word, "GenericError")
        said = f"a fault that gives no reason ({codes.strip()[:200] or 'and no code'})"
    details = {"detail": detail[:1000]} if detail else {}
    return CallError(code, said, details, reason="fault", blames_envelope=word in _ABOUT_ENVELOPE)


def _texts(element: Element) -> Iterator[str]:
    for text in element.itertext():
        bare = " ".join(str(text).split())
        if bare:
            yield bare


def _call_error_of(word: str, said: str) -> tuple[str, str]:
    """The CALLERROR code and description for a fault's innermost *word* and its Reason."""
    code = FAULT_CODE_BY_WORD.get(word, "GenericError")
    first, _, rest = said.partition(":")
    if first in FAULT_BY_CODE and word in ("", *(part.lower() for part in FAULT_BY_CODE[first])):
        # A fault of our own kind (write_fault): its Reason says what OCPP-S has no word for.
        return first, rest.strip()
    if word in _KEPT_WORDS:
        return code, f"{_KEPT_WORDS[word]}: {said}"
    if word == "protocolerror" and not _MISSING.search(said):
        # OCPP-S has one word for what OCPP-J tells apart (OCPP 1.6 errata, 3.38).
        return "FormationViolation" if _NOT_READ.search(said) else "PropertyConstraintViolation", said
    return code, said


# ---------------------------------------------------------------------------- writing


@dataclass(frozen=True, slots=True)
class Written:
    """One SOAP message ready for HTTP: body, its content type, and the status it goes with.

    ``soap_action`` is the HTTP header of that name, for SOAP 1.1 only.
    """

    body: bytes
    content_type: str
    status: int = 200
    soap_action: str = ""
    notes: tuple[Note, ...] = ()


def write_reply(
    envelope: Envelope, operation: CompiledOperation, reply: Reply, dialect: Dialect, message_id: str
) -> Written:
    """Write the reply to the call in *envelope*, in its SOAP and WS-Addressing version.

    A CallError becomes a fault; so does a result that the service description cannot say. What came in the
    same form goes on as it is, under the status it came with.
    Source: OCPP-S 1.6, 3; wsa:RelatesTo as WS-Addressing 1.0 core, 3.4.
    """
    original = reply.original
    if original is not None and original.form == form_of(envelope.soap, operation.version):
        is_result = isinstance(reply, CallResult)
        action = operation.described.response_action if is_result else f"{envelope.wsa}/fault"
        headers = _response_headers(envelope, action, message_id)
        body_as_it_is = _message(envelope.soap, envelope.wsa, "", headers, original)
        return Written(body_as_it_is, CONTENT_TYPE[envelope.soap], original.status)
    if not isinstance(reply, CallResult):
        return write_fault(envelope, reply, message_id)
    message, prefix = operation.response, dialect.options.prefix
    notes: list[Note] = []
    try:
        inside = message.write_element(reply.payload, message.name, notes)
    except Violation as broken:
        return write_fault(envelope, CallError(broken.code, str(broken), reason="untranslatable"), message_id)
    body = _element(f'{prefix}:{message.element} xmlns:{prefix}="{operation.described.namespace}"', inside)
    headers = _response_headers(envelope, operation.described.response_action, message_id)
    text = _message(envelope.soap, envelope.wsa, "", headers, body)
    return Written(text, CONTENT_TYPE[envelope.soap], notes=tuple(notes))


def _element(opening: str, inside: str) -> str:
    return f"<{opening}>{inside}</{opening.partition(' ')[0]}>" if inside else f"<{opening}/>"


def _response_headers(asked: Envelope, action: str, message_id: str) -> str:
    """Those of a response: no mustUnderstand anywhere, RelatesTo when the request had a MessageID."""
    relates = f"<wsa:RelatesTo>{escape(asked.message_id)}</wsa:RelatesTo>" if asked.message_id else ""
    return (
        f"<wsa:Action>{action}</wsa:Action><wsa:MessageID>{message_id}</wsa:MessageID>"
        f"<wsa:To>{ANONYMOUS[asked.wsa]}</wsa:To>{relates}"
    )


def _message(soap: str, wsa: str, more_namespaces: str, headers: str, body: str | Original) -> bytes:
    """A whole message. Around a Body that passes as it is stand its own Envelope and our Header."""
    namespaces = f'xmlns:soap="{soap}" xmlns:wsa="{wsa}"{more_namespaces}'
    if isinstance(body, Original):
        return body.opening + f"<soap:Header {namespaces}>{headers}</soap:Header>".encode() + body.text
    return (
        f"{DECLARATION}<soap:Envelope {namespaces}><soap:Header>{headers}</soap:Header>"
        f"<soap:Body>{body}</soap:Body></soap:Envelope>"
    ).encode()


def write_fault(envelope: Envelope, error: CallError, message_id: str) -> Written:
    """Write *error* as a fault in the SOAP version of *envelope*.

    The Reason begins with the CALLERROR code, because OCPP-S has fewer words. The subcode stands in the
    namespace of the service, as SteVe writes it.
    Source: OCPP 1.5, 8.2; SOAP 1.2 part 1, 5.4; SOAP 1.2 part 2, 7.5.2.2 (Sender 400, Receiver 500).
    """
    said, more_headers = error.description, ""
    if error.code in _SOAP_FAULTS:
        code, subcode = error.code, ""
        more_headers = _explained(envelope, error.code)
    elif error.code == IDENTITY_MISMATCH:
        code, subcode = "Sender", IDENTITY_MISMATCH
    else:
        call_error = error.code
        if call_error not in FAULT_BY_CODE:
            call_error = FAULT_CODE_BY_WORD.get(error.code.lower(), "GenericError")
        code, subcode = FAULT_BY_CODE[call_error]
        said = f"{call_error}: {said}" if said else call_error
    reason = escape(said[:1000])
    status = 400 if code == "Sender" else 500
    if envelope.soap == SOAP_12:
        detailed = (
            f'<soap:Subcode><soap:Value xmlns:ocpp="{_fault_namespace(envelope)}">ocpp:{subcode}</soap:Value>'
            "</soap:Subcode>"
            if subcode
            else ""
        )
        body = (
            f"<soap:Fault><soap:Code><soap:Value>soap:{code}</soap:Value>{detailed}</soap:Code>"
            f'<soap:Reason><soap:Text xml:lang="en">{reason}</soap:Text></soap:Reason></soap:Fault>'
        )
    else:
        code_11 = {"Sender": f"Client.{subcode}", "Receiver": f"Server.{subcode}"}.get(code, code)
        body = (
            f"<soap:Fault><faultcode>soap:{code_11}</faultcode>"
            f"<faultstring>{reason}</faultstring></soap:Fault>"
        )
        status = 500  # SOAP 1.1, 6.2: a fault goes with 500
    headers = _response_headers(envelope, f"{envelope.wsa}/fault", message_id) + more_headers
    text = _message(envelope.soap, envelope.wsa, "", headers, body)
    return Written(text, CONTENT_TYPE[envelope.soap], status)


_DATE_BY_VERSION = {"1.2": "2010/08", "1.5": "2012/06", "1.6": "2015/10"}


def _fault_namespace(envelope: Envelope) -> str:
    """The service that *envelope* spoke to, exactly spelled; the one of 1.6 where that is not known."""
    namespace = namespace_of(envelope.body) if envelope.body is not None else ""
    version = version_of(namespace)
    service = "Cp" if version and namespace[11:13].lower() == "cp" else "Cs"
    return f"urn://Ocpp/{service}/{_DATE_BY_VERSION[version or NEWEST]}/"


def _explained(envelope: Envelope, code: str) -> str:
    """The header that belongs to a fault of SOAP 1.2's own (part 1, 5.4.7 and 5.4.8)."""
    if envelope.soap != SOAP_12:
        return ""
    if code == "VersionMismatch":
        return (
            '<soap:Upgrade><soap:SupportedEnvelope qname="soap:Envelope"/>'
            f'<soap:SupportedEnvelope qname="soap11:Envelope" xmlns:soap11="{SOAP_11}"/></soap:Upgrade>'
        )
    namespace, _, name = envelope.not_understood.rpartition("}")
    if not namespace:
        return f'<soap:NotUnderstood qname="{escape(name)}"/>'
    namespace = escape(namespace[1:]).replace('"', "&quot;")
    return f'<soap:NotUnderstood qname="theirs:{escape(name)}" xmlns:theirs="{namespace}"/>'


@dataclass(frozen=True, slots=True)
class Addressing:
    """How a call to an OCPP-S party is addressed.

    ``identity`` is the charge point's, ``to`` the URL as it shall stand in wsa:To, ``from_address`` the URL
    of the party that calls ("" to leave wsa:From out). ``soap`` and ``wsa`` are the namespaces that the party
    speaks; ``must_understand`` says whether Action and To have to be understood. With ``from_is_text`` the
    URL stands in wsa:From without an Address around it (Java-OCA-OCPP, glurp); ``reply_to`` says whether
    there is a wsa:ReplyTo.
    """

    identity: str
    to: str
    from_address: str = ""
    soap: str = SOAP_12
    wsa: str = WSA_2005
    must_understand: bool = True
    from_is_text: bool = False
    reply_to: bool = True


def write_call(
    call: Call, addressing: Addressing, dialect: Dialect, asked: Side, new_message_id: Callable[[], str]
) -> Written:
    """Write a call to *asked* as a SOAP request.

    Headers stand in the order that peers agree on, mustUnderstand only on Action and To.
    Raises Violation when the service description cannot say the call.
    Source: OCPP-S 1.6, 3; WS-Addressing 1.0 core, 3.2.
    """
    operation = dialect.operation(asked, call.action)
    message, prefix = operation.request, dialect.options.prefix
    action = operation.described.request_action
    soap, wsa = addressing.soap, addressing.wsa
    notes: list[Note] = []
    original = call.original
    body: str | Original
    if original is not None and original.form == form_of(soap, dialect.version):
        body = original
    else:
        inside = message.write_element(call.payload, message.name, notes)
        unsaid = [note for note in notes if isinstance(note, Loss) and note.rule not in BY_RULE]
        if unsaid and asked is Side.CHARGE_POINT:
            problem = f"{unsaid[0].value!r} has no form in SOAP, and a command is carried whole or not at all"
            raise Violation("PropertyConstraintViolation", unsaid[0].path, problem)
        body = _element(f"{prefix}:{message.element}", inside)
    understood = ""
    if addressing.must_understand:
        value = "true" if soap == SOAP_12 else "1"  # SOAP 1.1, 4.2.3 knows no "true"
        understood = f' soap:mustUnderstand="{value}"'
    sender = reply_to = ""
    if addressing.from_address:
        sender = escape(addressing.from_address)
        sender = sender if addressing.from_is_text else f"<wsa:Address>{sender}</wsa:Address>"
        sender = f"<wsa:From>{sender}</wsa:From>"
    if addressing.reply_to:
        reply_to = f"<wsa:ReplyTo><wsa:Address>{ANONYMOUS[wsa]}</wsa:Address></wsa:ReplyTo>"
    headers = (
        f"<{prefix}:chargeBoxIdentity>{escape(addressing.identity)}</{prefix}:chargeBoxIdentity>"
        f"<wsa:Action{understood}>{action}</wsa:Action>"
        f"<wsa:MessageID>{new_message_id()}</wsa:MessageID>{sender}{reply_to}"
        f"<wsa:To{understood}>{escape(addressing.to)}</wsa:To>"
    )
    namespace = f' xmlns:{prefix}="{operation.described.namespace}"'
    text = _message(soap, wsa, namespace, headers, body)
    if soap == SOAP_12:
        return Written(text, f'{CONTENT_TYPE[soap]}; action="{action}"', notes=tuple(notes))
    return Written(text, CONTENT_TYPE[soap], soap_action=f'"{action}"', notes=tuple(notes))

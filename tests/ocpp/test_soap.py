from __future__ import annotations

import ctypes
import itertools
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from wattbridge.ocpp.actions import CompiledOperation, dialect
from wattbridge.ocpp.errors import FAULT_BY_CODE, Violation
from wattbridge.ocpp.messages import (
    Breach,
    Call,
    CallError,
    CallResult,
    Change,
    Check,
    Loss,
    Note,
    Original,
    Reply,
    Side,
)
from wattbridge.ocpp.payloads import Options
from wattbridge.ocpp.soap import (
    CONTENT_TYPE,
    IDENTITY_MISMATCH,
    LARGEST_BODY,
    MOST_TAGS,
    SOAP_11,
    SOAP_12,
    Addressing,
    BrokenEnvelope,
    Envelope,
    ReadCall,
    form_of,
    locate_call,
    looks_like_older_transaction,
    original_of,
    pass_located,
    read_call,
    read_envelope,
    read_fault,
    read_reply,
    version_of,
    write_call,
    write_fault,
    write_reply,
)
from wattbridge.ocpp.tolerances import WSA_2004, WSA_2005

CS = "urn://Ocpp/Cs/2015/10/"
CP = "urn://Ocpp/Cp/2015/10/"
ANONYMOUS = "http://www.w3.org/2005/08/addressing/anonymous"
DIALECT = dialect()

IDENTITY = "<cs:chargeBoxIdentity>CP001</cs:chargeBoxIdentity>"
HEADER = (
    f"{IDENTITY}"
    '<wsa:Action soap:mustUnderstand="true">/Heartbeat</wsa:Action>'
    "<wsa:MessageID>urn:uuid:b70e2eae</wsa:MessageID>"
    "<wsa:From><wsa:Address>http://10.1.2.3:8080/ocpp</wsa:Address></wsa:From>"
    f"<wsa:ReplyTo><wsa:Address>{ANONYMOUS}</wsa:Address></wsa:ReplyTo>"
    '<wsa:To soap:mustUnderstand="true">http://gw.example.com/cs</wsa:To>'
)
HEARTBEAT = "<cs:heartbeatRequest/>"


def envelope(
    body: str = HEARTBEAT, header: str = HEADER, *, soap: str = SOAP_12, wsa: str = WSA_2005, start: str = ""
) -> bytes:
    return (
        f'{start}<soap:Envelope xmlns:soap="{soap}" xmlns:wsa="{wsa}" xmlns:cs="{CS}" xmlns:cp="{CP}">'
        f"<soap:Header>{header}</soap:Header><soap:Body>{body}</soap:Body></soap:Envelope>"
    ).encode()


def call_in(body: bytes, asked: Side = Side.CENTRAL_SYSTEM) -> tuple[Call, tuple[Note, ...]]:
    read = read_call(read_envelope(body), DIALECT, asked)
    return read.call, read.notes


def broken(body: bytes) -> BrokenEnvelope:
    with pytest.raises(BrokenEnvelope) as caught:
        read_envelope(body)
    assert caught.value.envelope.identity == ""
    return caught.value


def refused(body: bytes, asked: Side = Side.CENTRAL_SYSTEM) -> Violation:
    with pytest.raises(Violation) as caught:
        read_call(read_envelope(body), DIALECT, asked)
    return caught.value


def operation(action: str, asked: Side = Side.CHARGE_POINT) -> CompiledOperation:
    return DIALECT.operation(asked, action)


def answer(body: str, action: str = "Reset", status: int = 200) -> tuple[Reply, tuple[Note, ...]]:
    """What a charge point answers that was asked for *action*, *body* standing in its Body."""
    return read_reply(status, "application/soap+xml", envelope(body, ""), operation(action))


def failed(reply: Reply) -> CallError:
    assert isinstance(reply, CallError)
    return reply


def names(element: Any) -> list[str]:
    return [etree.QName(child).localname for child in element]


# --- reading an envelope -----------------------------------------------------------------------------------


def test_the_header_of_a_request_is_read() -> None:
    """OCPP-S 1.6, 3."""
    read = read_envelope(envelope(start='<?xml version="1.0" encoding="UTF-8"?>\n'))
    assert (read.soap, read.wsa) == (SOAP_12, WSA_2005)
    assert read.identity == "CP001"
    assert read.action == "/Heartbeat"
    assert read.message_id == "urn:uuid:b70e2eae"
    assert read.from_address == "http://10.1.2.3:8080/ocpp"
    assert read.reply_to == ANONYMOUS
    assert read.to == "http://gw.example.com/cs"
    assert read.relates_to == read.not_understood == ""
    assert read.notes == []
    assert call_in(envelope()) == (Call("Heartbeat", {}), ())


def test_blanks_around_the_values_of_headers_are_not_read() -> None:
    """All of them are xs:anyURI; pretty-printing charge points break the lines."""
    header = "\n".join(HEADER.replace(">", ">\n  ").replace("</", "\n </").split("\n"))
    read, plain = read_envelope(envelope(header=header)), read_envelope(envelope())
    assert replace(read, body=None) == replace(plain, body=None)
    # What only looks empty is part of the value.
    odd = read_envelope(envelope(header=HEADER.replace("CP001", "CP001\u00a0").replace("b70e", "\u2028b70e")))
    assert (odd.identity, odd.message_id) == ("CP001\u00a0", "urn:uuid:\u2028b70e2eae")


@pytest.mark.parametrize(
    "text",
    [
        # gSOAP's prefixes, everything declared above
        f'<SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP_12}" xmlns:wsa5="{WSA_2005}" xmlns:ocppCs15="{CS}">'
        "<SOAP-ENV:Header><ocppCs15:chargeBoxIdentity>CP001</ocppCs15:chargeBoxIdentity>"
        "<wsa5:MessageID>7</wsa5:MessageID></SOAP-ENV:Header>"
        "<SOAP-ENV:Body><ocppCs15:heartbeatRequest></ocppCs15:heartbeatRequest></SOAP-ENV:Body></SOAP-ENV:Envelope>",
        # default namespaces, everything declared where it stands (CXF)
        f'<Envelope xmlns="{SOAP_12}"><Header><chargeBoxIdentity xmlns="{CS}">CP001</chargeBoxIdentity>'
        f'<MessageID xmlns="{WSA_2005}">7</MessageID></Header>'
        f'<Body><heartbeatRequest xmlns="{CS}"/></Body></Envelope>',
        # one prefix for three namespaces
        f'<a:Envelope xmlns:a="{SOAP_12}"><a:Header>'
        f'<a:chargeBoxIdentity xmlns:a="{CS}">CP001</a:chargeBoxIdentity>'
        f'<a:MessageID xmlns:a="{WSA_2005}">7</a:MessageID></a:Header>'
        f'<a:Body><a:heartbeatRequest xmlns:a="{CS}"/></a:Body></a:Envelope>',
        # pretty-printed, comments and processing instructions between
        f'<s:Envelope xmlns:s="{SOAP_12}">\n <!-- a -->\n <s:Header>\n  <?b c?>\n'
        f'  <chargeBoxIdentity xmlns="{CS}">CP001</chargeBoxIdentity><!-- d -->\n'
        f'  <MessageID xmlns="{WSA_2005}">7</MessageID>\n </s:Header>\n <?e?>\n'
        f' <s:Body>\n  <!-- f -->\n  <heartbeatRequest xmlns="{CS}"/>\n </s:Body>\n</s:Envelope>\n<!-- g -->',
    ],
)
def test_prefixes_and_layout_do_not_matter(text: str) -> None:
    read = read_envelope(text.encode())
    assert (read.identity, read.message_id, read.notes) == ("CP001", "7", [])
    assert call_in(text.encode()) == (Call("Heartbeat", {}), ())


@pytest.mark.parametrize("header", ["Action", "MessageID", "From", "ReplyTo", "To"])
def test_a_missing_addressing_header_is_an_empty_text(header: str) -> None:
    body = envelope(header=re.sub(f"<wsa:{header}.*?</wsa:{header}>", "", HEADER))
    field = {"MessageID": "message_id", "From": "from_address", "ReplyTo": "reply_to"}.get(
        header, header.lower()
    )
    read = read_envelope(body)
    assert getattr(read, field) == ""
    assert read.identity == "CP001"
    assert call_in(body)[0] == Call("Heartbeat", {})


@pytest.mark.parametrize("header", ["", "<soap:Header/>"])
def test_an_envelope_without_header_is_read(header: str) -> None:
    """Many charge points answer so (IZIVIA/ocpp-toolkit PR #48)."""
    read = read_envelope(envelope().replace(f"<soap:Header>{HEADER}</soap:Header>".encode(), header.encode()))
    assert read == Envelope(body=read.body)
    assert read_call(read, DIALECT, Side.CENTRAL_SYSTEM).call == Call("Heartbeat", {})


@pytest.mark.parametrize(
    ("inside", "address"),
    [
        ("<wsa:Address>http://a/</wsa:Address>", "http://a/"),
        ("http://a/", "http://a/"),  # Java-OCA-OCPP
        ("\n http://a/ \n", "http://a/"),
        ("<wsa:address>http://a/</wsa:address>", "http://a/"),
        ("<Address>http://a/</Address>", "http://a/"),
        (
            "<wsa:ReferenceParameters><x/></wsa:ReferenceParameters><wsa:Address>http://a/</wsa:Address>",
            "http://a/",
        ),
        ("http://b/<wsa:Address>http://a/</wsa:Address>", "http://a/"),
        ("http://b/<wsa:Address/>", "http://b/"),
        ("<wsa:Address/>", ""),  # govoltbras
        ("", ""),
    ],
)
@pytest.mark.parametrize(
    ("header", "field"),
    [("From", "from_address"), ("ReplyTo", "reply_to"), ("To", "to"), ("Action", "action")],
)
def test_an_address_is_read_as_text_and_as_an_endpoint_reference(
    inside: str, address: str, header: str, field: str
) -> None:
    read = read_envelope(envelope(header=f"{IDENTITY}<wsa:{header}>{inside}</wsa:{header}>"))
    assert getattr(read, field) == address


def test_the_names_of_headers_are_read_in_any_case() -> None:
    """OCPP 1.5, 8.1."""
    header = (
        "<cs:ChargeBoxIdentity>CP001</cs:ChargeBoxIdentity><wsa:messageId>7</wsa:messageId>"
        "<wsa:relatesTO>6</wsa:relatesTO><wsa:replyto>http://a/</wsa:replyto><wsa:ACTION>/Heartbeat</wsa:ACTION>"
    )
    read = read_envelope(envelope(header=header))
    assert (read.identity, read.message_id, read.relates_to) == ("CP001", "7", "6")
    assert (read.reply_to, read.action, read.notes) == ("http://a/", "/Heartbeat", [])


def test_of_a_doubled_header_the_first_one_stands() -> None:
    """zeep with its WS-Addressing plugin added twice."""
    header = "".join(
        f"<wsa:Action>/Heartbeat</wsa:Action><wsa:MessageID>{message_id}</wsa:MessageID>"
        for message_id in "12"
    )
    read = read_envelope(envelope(header=IDENTITY + header))
    assert read.message_id == "1"
    assert read.notes == [Loss("Header.MessageID", "2", "doubled", "the header stands here twice")]


def test_both_namespaces_of_ws_addressing_are_read_and_answered() -> None:
    """Java-OCA-OCPP writes the one of 2004, with the anonymous address of 2005."""
    read = read_envelope(envelope(wsa=WSA_2004))
    assert (read.wsa, read.message_id, read.reply_to) == (WSA_2004, "urn:uuid:b70e2eae", ANONYMOUS)
    reply = CallResult({"currentTime": "2024-05-01T10:00:00Z"})
    written = write_reply(
        read, operation("Heartbeat", Side.CENTRAL_SYSTEM), reply, DIALECT, "urn:uuid:1"
    ).body
    assert f'xmlns:wsa="{WSA_2004}"'.encode() in written
    assert f"<wsa:To>{WSA_2004}/role/anonymous</wsa:To>".encode() in written
    assert WSA_2005.encode() not in written
    assert f"<wsa:Action>{WSA_2004}/fault<".encode() in write_fault(read, CallError("NotSupported"), "1").body


def test_where_both_namespaces_of_ws_addressing_stand_the_first_is_answered() -> None:
    other = f'<MessageID xmlns="{WSA_2004}">7</MessageID><Action xmlns="{WSA_2005}">/Heartbeat</Action>'
    read = read_envelope(envelope(header=IDENTITY + other))
    assert (read.wsa, read.message_id, read.action) == (WSA_2004, "7", "/Heartbeat")


@pytest.mark.parametrize(
    "namespace", [CS, CP, CS[:-1], CP[:-1], "urn://Ocpp/Cs/2012/06/", "URN://OCPP/CS/2015/10"]
)
def test_the_identity_is_read_in_every_namespace_of_ocpp(namespace: str) -> None:
    """Java-OCA-OCPP, govoltbras, SAP's ev-server."""
    read = read_envelope(envelope(header=f'<chargeBoxIdentity xmlns="{namespace}">CP001</chargeBoxIdentity>'))
    assert (read.identity, read.notes) == ("CP001", [])


@pytest.mark.parametrize("namespace", ["", "http://example.com/"])
def test_the_identity_in_another_namespace_is_noted(namespace: str) -> None:
    read = read_envelope(envelope(header=f'<chargeBoxIdentity xmlns="{namespace}">CP001</chargeBoxIdentity>'))
    assert read.identity == "CP001"
    assert read.notes == [Change("Header.chargeBoxIdentity", namespace, "", "identity-namespace")]


@pytest.mark.parametrize(
    ("inside", "identity"),
    [
        ("CP00<!-- -->1", "CP001"),
        ("<!--EVIL-->CP001<!--EVIL-->", "CP001"),
        ("CP<?evil?>001", "CP001"),
        ("CP<![CDATA[00]]>1", "CP001"),
        ("&#67;P001", "CP001"),
        ("  CP001\n", "CP001"),
        ("00:80:F4:44:13:AA", "00:80:F4:44:13:AA"),
        ("UID=1013,O=SolarDev", "UID=1013,O=SolarDev"),
        ("RDAM 123 é", "RDAM 123 é"),
        ("&lt;b&gt;&amp;", "<b>&"),
        ("x" * 255, "x" * 255),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_the_identity_is_the_whole_text(inside: str, identity: str) -> None:
    """A comment must not cut it in two, as it did in many a reader of SAML."""
    header = HEADER.replace(">CP001<", f">{inside}<")
    assert read_envelope(envelope(header=header)).identity == identity


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (IDENTITY + IDENTITY, "found 2, expected one"),
        (IDENTITY + IDENTITY.replace("CP001", "CP002"), "found 2, expected one"),
        ("<cs:chargeBoxIdentity/>" + IDENTITY, "found 2, expected one"),
        (IDENTITY + "<CHARGEBOXIDENTITY/>" + IDENTITY, "found 3, expected one"),
        (IDENTITY + IDENTITY.replace("cs:", "cp:"), "found 2, expected one"),
        (
            f"<cs:chargeBoxIdentity>{IDENTITY}</cs:chargeBoxIdentity>",
            "found element 'chargeBoxIdentity' inside, expected plain text",
        ),
        (
            "<cs:chargeBoxIdentity>CP<b/>001</cs:chargeBoxIdentity>",
            "found element 'b' inside, expected plain text",
        ),
        (IDENTITY.replace("CP001", "x" * 256), "found 256 characters, expected at most 255"),
    ],
)
def test_who_speaks_is_said_once_and_plainly(header: str, problem: str) -> None:
    refusal = broken(envelope(header=header + "<wsa:MessageID>7</wsa:MessageID>"))
    assert (refusal.code, refusal.reason) == ("FormationViolation", "malformed")
    assert str(refusal) == f"Header.chargeBoxIdentity: {problem}"
    # It is answered all the same, as what it was.
    assert (refusal.envelope.message_id, refusal.envelope.wsa) == ("7", WSA_2005)
    assert refusal.envelope.body is not None


def test_an_identity_inside_another_header_is_not_the_identity() -> None:
    read = read_envelope(envelope(header=f"{IDENTITY}<x:Signed xmlns:x='urn:x'>{IDENTITY}</x:Signed>"))
    assert read.identity == "CP001"


@pytest.mark.parametrize(
    "start",
    [
        b"\xef\xbb\xbf",
        b"\n",
        b"\r\n\r\n  ",
        b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>',
        b'\n<?xml version="1.0"?>',
        b'\xef\xbb\xbf\r\n<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n',
        b"<?xml version='1.0' encoding='utf-8'?>\r\n",
        b'<?xml version="1.0" encoding="us-ascii" ?>',
        b'<?xml   version = "1.0"   encoding = "Utf8" ?>',
        b"<!-- a charge point's comment -->\n",
        b'<?xml version="1.0"?><?xml-stylesheet href="http://example.com/a.xsl"?>',
    ],
)
def test_what_stands_before_the_envelope_does_not_matter(start: bytes) -> None:
    """A byte order mark, a blank line, no declaration: all are sent."""
    assert call_in(start + envelope())[0] == Call("Heartbeat", {})


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (envelope().decode().encode("utf-16"), "the encoding is UTF-16 or UTF-32, expected UTF-8"),
        (envelope().decode().encode("utf-16-le"), "the encoding is UTF-16 or UTF-32, expected UTF-8"),
        (envelope().decode().encode("utf-16-be"), "the encoding is UTF-16 or UTF-32, expected UTF-8"),
        (envelope().decode().encode("utf-32"), "the encoding is UTF-16 or UTF-32, expected UTF-8"),
        (
            envelope(start='<?xml version="1.0" encoding="ISO-8859-1"?>'),
            "the declared encoding is 'ISO-8859-1'",
        ),
        (envelope(start="<?xml version='1.0' encoding='UTF-16'?>"), "the declared encoding is 'UTF-16'"),
        (envelope(start="\n<?xml version='1.0' encoding='UTF-7'?>"), "the declared encoding is 'UTF-7'"),
        (
            envelope(start=f"<?xml version='1.0'{' ' * 120}encoding{' ' * 20}={' ' * 20}'UTF-7'?>"),
            "the declared encoding is 'UTF-7'",
        ),
        (envelope(start="<?xml encoding='UTF-7' version='1.0'?>"), "no XML declaration"),
        (envelope(start="<?xml version='1.0' encoding='UTF-7' encoding='UTF-8'?>"), "no XML declaration"),
        (envelope().decode().encode("cp037"), "byte 1 is not UTF-8, the only encoding of OCPP-S"),
        (envelope().replace(b"CP001", "Säule".encode("latin-1")), "byte 221 is not UTF-8"),
        (envelope().decode().encode("utf-7").replace(b"<", b"+ADw-"), "found '+ADw-soap:Envelope"),
        (envelope().replace(b"CP001", b"CP\x00001"), "found a NUL"),
        (envelope().replace(b"CP001", b"CP\xed\xa0\x80"), "is not UTF-8"),  # half a surrogate pair
        (envelope().replace(b"CP001", b"CP\xc0\xbc"), "is not UTF-8"),  # "<", overlong
    ],
)
def test_other_encodings_than_utf_8_are_refused_by_name(body: bytes, problem: str) -> None:
    """OCPP-S 1.6, 3.1."""
    refusal = broken(body)
    assert (refusal.code, refusal.reason, refusal.path) == ("FormationViolation", "malformed", "")
    assert problem in str(refusal)


def test_text_beyond_ascii_is_read() -> None:
    body = envelope("<cs:authorizeRequest><cs:idTag>é漢🚗</cs:idTag></cs:authorizeRequest>")
    assert call_in(body)[0] == Call("Authorize", {"idTag": "é漢🚗"})


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "found nothing, expected a SOAP envelope"),
        (b" \r\n", "found nothing, expected a SOAP envelope"),
        (b"\xef\xbb\xbf", "found nothing, expected a SOAP envelope"),
        (b'[2,"1","Heartbeat",{}]', 'found \'[2,"1","Heartbeat",{}]\', expected a SOAP envelope'),
        (b"<", "not well-formed XML: "),
        (b"<html><body>Login</body></html>", "found root element 'html', expected a SOAP Envelope"),
        (b"<meterValuesRequest/>", "found root element 'meterValuesRequest', expected a SOAP Envelope"),
        (envelope()[:-1], "not well-formed XML: "),
        (envelope() + b"<x/>", "not well-formed XML: Extra content at the end of the document"),
        (
            envelope("<a:heartbeatRequest/>"),  # ocpp-js
            "not well-formed XML: Namespace prefix a on heartbeatRequest is not defined",
        ),
        (
            envelope().replace(b"<soap:Body>", b"<x>").replace(b"</soap:Body>", b"</x>"),
            "Envelope.Body: is missing",
        ),
    ],
)
def test_what_is_no_envelope_is_refused_with_what_was_found(body: bytes, problem: str) -> None:
    refusal = broken(body)
    assert (refusal.code, refusal.reason) == ("FormationViolation", "malformed")
    assert str(refusal).startswith(problem)
    assert len(str(refusal)) < 300


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("<soap:Body>", "<soap:Body/><soap:Body>", "Envelope.Body"),
        ("<soap:Header>", f"<soap:Header>{IDENTITY}</soap:Header><soap:Header>", "Envelope.Header"),
        ("</soap:Body>", f"</soap:Body><soap:Header>{IDENTITY}</soap:Header>", "Envelope.Header"),
        ("<soap:Header>", "<Body xmlns=''/><soap:Header>", "Envelope.Header"),
    ],
)
def test_a_second_header_or_body_is_refused(old: str, new: str, path: str) -> None:
    """Whoever reads the other one of two would read another message."""
    refusal = broken(envelope().replace(old.encode(), new.encode(), 1))
    assert str(refusal) == f"{path}: found again, expected one Header, then one Body"


def test_other_elements_of_an_envelope_are_a_loss() -> None:
    """SOAP 1.1 allows them behind the Body."""
    body = envelope().replace(b"</soap:Envelope>", b"<more/><evenMore/></soap:Envelope>")
    assert call_in(body) == (
        Call("Heartbeat", {}),
        (Loss("Envelope.more", "", "unknown-field", "an Envelope has one Header, then one Body"),),
    )


def test_headers_are_counted() -> None:
    assert read_envelope(envelope(header="<x/>" * 64)).notes == []
    assert str(broken(envelope(header="<x/>" * 65))) == "Header: found 65 headers, expected at most 64"


def test_another_soap_version_is_a_version_mismatch() -> None:
    """SOAP 1.2 part 1, 5.4.7."""
    refusal = broken(envelope(soap="http://www.w3.org/2001/12/soap-envelope"))
    assert (refusal.code, refusal.reason) == ("VersionMismatch", "unsupported")
    assert str(refusal) == (
        "Envelope: found '{http://www.w3.org/2001/12/soap-envelope}Envelope', expected SOAP 1.2 or 1.1"
    )
    written = write_fault(refusal.envelope, CallError(refusal.code, str(refusal)), "urn:uuid:1")
    assert written.status == 500
    assert written.body.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<soap:Envelope xmlns:soap="{SOAP_12}" xmlns:wsa="{WSA_2005}"><soap:Header>'
        f"<wsa:Action>{WSA_2005}/fault</wsa:Action><wsa:MessageID>urn:uuid:1</wsa:MessageID>"
        f"<wsa:To>{ANONYMOUS}</wsa:To>"
        '<soap:Upgrade><soap:SupportedEnvelope qname="soap:Envelope"/>'
        f'<soap:SupportedEnvelope qname="soap11:Envelope" xmlns:soap11="{SOAP_11}"/></soap:Upgrade>'
        "</soap:Header><soap:Body><soap:Fault><soap:Code><soap:Value>soap:VersionMismatch</soap:Value></soap:Code>"
        '<soap:Reason><soap:Text xml:lang="en">'
        "Envelope: found '{http://www.w3.org/2001/12/soap-envelope}Envelope', expected SOAP 1.2 or 1.1"
        "</soap:Text></soap:Reason></soap:Fault></soap:Body></soap:Envelope>"
    )


def test_an_envelope_without_namespace_is_a_version_mismatch_too() -> None:
    assert broken(b"<Envelope><Body/></Envelope>").code == "VersionMismatch"


@pytest.mark.parametrize(
    ("body", "soap"),
    [
        (envelope(soap=SOAP_11)[:-1], SOAP_11),
        (envelope(soap=SOAP_12)[:-1], SOAP_12),
        (envelope(f"<x>{SOAP_11}</x>", soap=SOAP_12)[:-1], SOAP_12),
        (envelope(f"<x>{SOAP_12}</x>", soap=SOAP_11)[:-1], SOAP_11),
        (b"hello", SOAP_12),
        (b"", SOAP_12),
        (envelope("x" * LARGEST_BODY, soap=SOAP_11), SOAP_11),
    ],
)
def test_what_cannot_be_read_is_answered_in_the_soap_version_it_shows(body: bytes, soap: str) -> None:
    refusal = broken(body)
    assert refusal.envelope == Envelope(soap=soap)
    written = write_fault(refusal.envelope, CallError(refusal.code, str(refusal)), "urn:uuid:1")
    assert read_envelope(written.body).soap == soap
    assert written.content_type == CONTENT_TYPE[soap]


# --- reading a call ----------------------------------------------------------------------------------------


def test_the_operation_is_told_by_the_body_never_by_the_action() -> None:
    """Actions are wrong, missing or without slash in the field (node-red, GIR, govoltbras)."""
    for action in ("", "<wsa:Action>/Reset</wsa:Action>", "<wsa:Action>BootNotification</wsa:Action>"):
        assert call_in(envelope(header=IDENTITY + action)) == (Call("Heartbeat", {}), ())


@pytest.mark.parametrize(
    "element",
    [
        f'<heartbeatRequest xmlns="{CS[:-1]}"/>',
        f'<heartbeatRequest xmlns="{CP}"/>',  # Java-OCA-OCPP #31
        f'<heartbeatRequest xmlns="{CP[:-1]}"/>',
        "<heartbeatRequest/>",
        "<cs:HeartbeatRequest/>",
        f'<HEARTBEATREQUEST xmlns="{CS.upper()}"/>',
    ],
)
def test_a_body_named_otherwise_is_read_and_noted(element: str) -> None:
    call, notes = call_in(envelope(element))
    assert call == Call("Heartbeat", {})
    tag = etree.fromstring(envelope(element))[1][0].tag
    assert notes == (
        Change("Body", str(tag)[:59] + "…" if len(tag) > 60 else str(tag), "heartbeatRequest", "body-name"),
    )


def test_a_call_of_the_central_system_is_read() -> None:
    body = envelope("<cp:resetRequest><cp:type>Hard</cp:type></cp:resetRequest>")
    assert call_in(body, Side.CHARGE_POINT) == (Call("Reset", {"type": "Hard"}), ())


def test_data_transfer_is_read_in_both_directions() -> None:
    for asked, prefix in ((Side.CENTRAL_SYSTEM, "cs:"), (Side.CHARGE_POINT, "cp:")):
        element = "<p:dataTransferRequest><p:vendorId>v</p:vendorId></p:dataTransferRequest>".replace(
            "p:", prefix
        )
        assert call_in(envelope(element), asked) == (Call("DataTransfer", {"vendorId": "v"}), ())


def test_notes_of_envelope_and_payload_come_together() -> None:
    header = "<chargeBoxIdentity>CP001</chargeBoxIdentity>"
    element = "<cs:authorizeRequest><cs:idTag> TAG1 </cs:idTag></cs:authorizeRequest>"
    assert [note.rule for note in call_in(envelope(element, header))[1]] == ["identity-namespace", "trimmed"]


@pytest.mark.parametrize(
    ("element", "code", "problem"),
    [
        ("", "FormationViolation", "Body: is empty, expected the element of an operation"),
        ("text", "FormationViolation", "Body: is empty, expected the element of an operation"),
        (
            HEARTBEAT + "<cs:stopTransactionRequest/>",
            "FormationViolation",
            "Body: found 'stopTransactionRequest' too, expected heartbeatRequest alone",
        ),
        ("<cs:flyRequest/>", "NotImplemented", "Body.flyRequest: is not an operation of OCPP 1.6"),
        (
            "<cp:resetRequest/>",
            "NotSupported",
            "Body.resetRequest: is not an operation that a central system answers",
        ),
        (
            '<heartbeatRequest xmlns="urn:x"/>',
            "NotSupported",
            "Body.heartbeatRequest: namespace 'urn:x' is not one of OCPP",
        ),
        (
            '<triggerMessageRequest xmlns="urn://Ocpp/Cp/2012/06/"/>',
            "NotImplemented",
            "Body.triggerMessageRequest: is not an operation of OCPP 1.5",
        ),
        (
            '<dataTransferRequest xmlns="urn://Ocpp/Cs/2010/08"/>',
            "NotImplemented",
            "Body.dataTransferRequest: is not an operation of OCPP 1.2",
        ),
        (
            '<heartbeatRequest xmlns="urn://Ocpp/Cs/2099/01/"/>',
            "NotSupported",
            "Body.heartbeatRequest: namespace 'urn://Ocpp/Cs/2099/01/' is not one of OCPP",
        ),
        (f"<{'x' * 1000}/>", "NotImplemented", f"Body.{'x' * 60}: is not an operation of OCPP 1.6"),
        (
            "<cs:authorizeRequest/>",
            "OccurenceConstraintViolation",
            "Authorize.idTag: is missing; found nothing, expected idTag",
        ),
    ],
)
def test_what_is_no_call_is_refused_with_what_was_found(element: str, code: str, problem: str) -> None:
    refusal = refused(envelope(element))
    assert (refusal.code, str(refusal)) == (code, problem)


def test_the_version_of_a_namespace_is_known_with_and_without_slash() -> None:
    assert version_of("urn://Ocpp/Cs/2015/10/") == version_of("urn://Ocpp/Cp/2015/10") == "1.6"
    assert version_of("urn://Ocpp/Cp/2012/06/") == "1.5"
    assert version_of("urn://Ocpp/Cs/2010/08/") == version_of("urn://Ocpp/Cs/2010/10/") == "1.2"
    assert (
        version_of("urn://Ocpp/Cs/2015/10//")
        is version_of("")
        is version_of("urn://Ocpp/Cx/2015/10/")
        is None
    )


FOREIGN = '<x:Foo xmlns:x="urn:x" soap:mustUnderstand="true"/>'


@pytest.mark.parametrize("word", ["true", "1", " true ", "TRUE"])
def test_a_foreign_header_that_must_be_understood_is_refused(word: str) -> None:
    """SOAP 1.2 part 1, 2.4 and 5.4.8."""
    body = envelope(header=HEADER + FOREIGN.replace("true", word))
    refusal = refused(body)
    assert (refusal.code, refusal.reason) == ("MustUnderstand", "unsupported")
    assert str(refusal) == "Header: '{urn:x}Foo' must be understood and is not"
    written = write_fault(read_envelope(body), CallError(refusal.code, str(refusal)), "urn:uuid:1")
    assert written.status == 500
    text = written.body.decode()
    assert '<soap:NotUnderstood qname="theirs:Foo" xmlns:theirs="urn:x"/></soap:Header>' in text
    assert (
        "<soap:Code><soap:Value>soap:MustUnderstand</soap:Value></soap:Code>"
        '<soap:Reason><soap:Text xml:lang="en">'
        "Header: '{urn:x}Foo' must be understood and is not</soap:Text>"
    ) in text
    assert "<wsa:RelatesTo>urn:uuid:b70e2eae</wsa:RelatesTo>" in text


def test_the_first_header_that_is_not_understood_is_named() -> None:
    header = f'<Bare soap:mustUnderstand="1"/>{FOREIGN}'
    read = read_envelope(envelope(header=header))
    assert read.not_understood == "Bare"
    written = write_fault(read, CallError("MustUnderstand"), "urn:uuid:1").body.decode()
    assert '<soap:NotUnderstood qname="Bare"/>' in written


def test_a_namespace_cannot_break_out_of_the_fault_that_names_it() -> None:
    read = read_envelope(envelope(header="<x:Foo xmlns:x=\"urn:a&amp;b'c\" soap:mustUnderstand='true'/>"))
    written = write_fault(read, CallError("MustUnderstand"), "urn:uuid:1").body
    [named] = etree.fromstring(written).iter(f"{{{SOAP_12}}}NotUnderstood")
    assert (named.get("qname"), named.nsmap["theirs"]) == ("theirs:Foo", "urn:a&b'c")
    # One with quotes is no URI, which is refused before.
    refusal = broken(envelope(header="<x:Foo xmlns:x='\"/>&lt;evil a=\"' soap:mustUnderstand='true'/>"))
    assert str(refusal).startswith("not well-formed XML: xmlns:x: ")


def test_must_understand_of_soap_11_is_answered_in_soap_11() -> None:
    body = envelope(header=HEADER + FOREIGN, soap=SOAP_11)
    written = write_fault(read_envelope(body), CallError("MustUnderstand", "why"), "urn:uuid:1").body.decode()
    assert "<soap:Fault><faultcode>soap:MustUnderstand</faultcode><faultstring>why</faultstring>" in written
    assert "NotUnderstood" not in written


@pytest.mark.parametrize(
    "header",
    [
        '<cs:chargeBoxIdentity soap:mustUnderstand="true">CP001</cs:chargeBoxIdentity>',
        '<ChargeBoxIdentity xmlns="urn:x" soap:mustUnderstand="1">CP001</ChargeBoxIdentity>',
        '<wsa:From soap:mustUnderstand="true"><wsa:Address>http://a/</wsa:Address></wsa:From>',  # shiv3
        '<wsa:FaultTo soap:mustUnderstand="true"><wsa:Address>http://a/</wsa:Address></wsa:FaultTo>',
        '<wsa:Whatever soap:mustUnderstand="1"/>',
        f'<Action xmlns="{WSA_2004}" soap:mustUnderstand="1">/Heartbeat</Action>',
        FOREIGN.replace('"true"', '"false"'),
        FOREIGN.replace('"true"', '"0"'),
        FOREIGN.replace("soap:mustUnderstand", "mustUnderstand"),
        f'<x:Foo xmlns:x="urn:x" xmlns:other="{SOAP_11}" other:mustUnderstand="1"/>',
        '<Authentication xmlns="urn://SolarNetwork/SolarNode/WS" ts="2015-06-16">a==</Authentication>',
        FOREIGN.replace("<x:Foo", '<x:Foo soap:role="http://example.com/proxy"'),
        FOREIGN.replace("<x:Foo", f'<x:Foo soap:role="{SOAP_12}/role/none"'),
    ],
)
def test_other_headers_need_not_be_understood(header: str) -> None:
    assert call_in(envelope(header=header))[0] == Call("Heartbeat", {})


@pytest.mark.parametrize("role", [f"{SOAP_12}/role/next", f"{SOAP_12}/role/ultimateReceiver", ""])
def test_a_header_for_our_role_must_be_understood(role: str) -> None:
    header = FOREIGN.replace("<x:Foo", f'<x:Foo soap:role="{role}"')
    assert refused(envelope(header=header)).code == "MustUnderstand"


def test_a_header_of_soap_11_is_for_whom_its_actor_names() -> None:
    ours = FOREIGN.replace("<x:Foo", '<x:Foo soap:actor="http://schemas.xmlsoap.org/soap/actor/next"')
    assert refused(envelope(header=ours, soap=SOAP_11)).code == "MustUnderstand"
    theirs = FOREIGN.replace("<x:Foo", '<x:Foo soap:actor="http://example.com/proxy"')
    assert call_in(envelope(header=theirs, soap=SOAP_11))[0] == Call("Heartbeat", {})


# --- hostile documents -------------------------------------------------------------------------------------


class Watched:
    """A file and a listener that nobody has any business to touch, and whether somebody did."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "secret.dtd"
        self.file.write_text('<!ENTITY secret "s3cr3t-canary">', encoding="utf-8")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/a.dtd"
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "inotify_init1"):
            pytest.skip("needs inotify to see whether a file is opened")
        self._inotify = libc.inotify_init1(os.O_NONBLOCK)
        in_access_modify_open = 0x01 | 0x02 | 0x20
        assert libc.inotify_add_watch(self._inotify, os.fsencode(self.file), in_access_modify_open) > 0

    def was_touched(self) -> bool:
        touched = False
        with suppress(BlockingIOError):
            touched |= bool(os.read(self._inotify, 4096))
        with suppress(BlockingIOError):
            self.listener.accept()[0].close()
            touched = True
        return touched

    def close(self) -> None:
        self.listener.close()
        os.close(self._inotify)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path)
    yield watched
    watched.close()


def test_the_watch_sees_a_file_opened_and_a_connection_made(watched: Watched) -> None:
    assert not watched.was_touched()
    careless = etree.XMLParser(resolve_entities=True, load_dtd=True)
    root = etree.fromstring(f'<!DOCTYPE a SYSTEM "file://{watched.file}"><a>&secret;</a>', careless)
    assert "s3cr3t-canary" in str(etree.tostring(root))
    assert watched.was_touched()
    assert not watched.was_touched()
    with socket.create_connection(watched.listener.getsockname()):
        assert watched.was_touched()


def many(times: int, what: str) -> str:
    return "".join(what.format(index) for index in range(times))


BOMB = "".join(
    f'<!ENTITY l{level} "{f"&l{level - 1};" * 10 if level else "lollollol"}">' for level in range(10)
)
DEEP = 1_000_000


def in_envelope(doctype: str, reference: str = "&x;") -> str:
    return doctype + envelope(header=IDENTITY.replace("CP001", reference)).decode()


def in_body(inside: str) -> str:
    """*inside* standing in a DataTransfer's data."""
    return envelope(
        f"<cs:dataTransferRequest><cs:vendorId>v</cs:vendorId><cs:data>{inside}</cs:data></cs:dataTransferRequest>"
    ).decode()


# Name → document; FILE and URL stand for what must not be touched. Large ones are made when they are needed.
HOSTILE: dict[str, Callable[[], str | bytes]] = {
    # external entities
    "file": lambda: in_envelope('<!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>'),
    "file without scheme": lambda: in_envelope('<!DOCTYPE a [<!ENTITY x SYSTEM "FILE">]>'),
    "public identifier": lambda: in_envelope('<!DOCTYPE a [<!ENTITY x PUBLIC "-//A//B" "file://FILE">]>'),
    "http": lambda: in_envelope('<!DOCTYPE a [<!ENTITY x SYSTEM "URL">]>'),
    "ftp": lambda: in_envelope('<!DOCTYPE a [<!ENTITY x SYSTEM "FTP">]>'),
    "external subset, file": lambda: in_envelope('<!DOCTYPE a SYSTEM "file://FILE">', "&secret;"),
    "external subset, http": lambda: in_envelope('<!DOCTYPE a SYSTEM "URL">', "&secret;"),
    "external subset, public": lambda: in_envelope('<!DOCTYPE a PUBLIC "-//A//B" "URL">', "&secret;"),
    "parameter entity, file": lambda: in_envelope(
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "file://FILE">%p;]>', "&secret;"
    ),
    "parameter entity, http": lambda: in_envelope('<!DOCTYPE a [<!ENTITY % p SYSTEM "URL">%p;]>', "x"),
    "parameter entity out of band": lambda: in_envelope(
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "file://FILE"><!ENTITY % q "<!ENTITY x SYSTEM \'URL?%p;\'>">%q;]>'
    ),
    "unparsed entity": lambda: in_envelope(
        '<!DOCTYPE a [<!NOTATION n SYSTEM "URL"><!ENTITY x SYSTEM "file://FILE" NDATA n>]>', "x"
    ),
    "entity in an attribute": lambda: (
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>'
        + in_body("").replace("<cs:data>", '<cs:data a="&x;">')
    ),
    "default attribute": lambda: in_envelope('<!DOCTYPE a [<!ATTLIST a b CDATA "evil">]>', "x"),
    # other encodings, to slip past a search for words
    "UTF-16": lambda: in_envelope('<!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>').encode("utf-16"),
    "UTF-16 without mark": lambda: in_envelope('<!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>').encode(
        "utf-16-le"
    ),
    "UTF-16 big-endian, declared": lambda: (
        b"\xfe\xff"
        + in_envelope(
            '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY x SYSTEM "FILE">]>'
        ).encode("utf-16-be")
    ),
    "UTF-32": lambda: in_envelope('<!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>').encode("utf-32"),
    "UTF-7": lambda: (
        b'<?xml version="1.0" encoding="UTF-7"?>'
        + in_envelope('<!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>').encode("utf-7")
    ),
    "UTF-7, declared late": lambda: (
        b'<?xml version="1.0"' + b" " * 200 + b'encoding="UTF-7"?>+ADwAIQ-DOCTYPE a [+ADwAIQ-ENTITY x "y"]>'
    ),
    "EBCDIC": lambda: in_envelope('<!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>').encode("cp037"),
    # a DOCTYPE that hides
    "after a comment": lambda: in_envelope('<!-- <a/> --><!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>'),
    "after comments": lambda: in_envelope(
        "<!---->\n" * 5000 + '<!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>'
    ),
    "after a processing instruction": lambda: in_envelope(
        '<?a <b> "?><!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>'
    ),
    "after declaration, comment, blanks and instruction": lambda: in_envelope(
        '<?xml version="1.0"?>\n<!-- - -- > ?> -->\n\t<?p?>\r\n<!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>'
    ),
    "after a comment of hyphens": lambda: in_envelope(
        '<!-- -- ---><!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>'
    ),
    "after a byte order mark": lambda: (
        b"\xef\xbb\xbf" + in_envelope('<!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>').encode()
    ),
    "after blank lines": lambda: in_envelope('\n\n<!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>'),
    "after a declaration that ends twice": lambda: in_envelope(
        '<?xml version="1.0" standalone="?>"?><!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>'
    ),
    "inside the envelope": lambda: in_body('<!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]>&x;'),
    "behind the envelope": lambda: envelope().decode() + '<!DOCTYPE a SYSTEM "file://FILE">',
    "in lower case": lambda: in_envelope('<!doctype a [<!ENTITY x SYSTEM "file://FILE">]>'),
    "without internal subset": lambda: in_envelope("<!DOCTYPE a>", "CP001"),
    "an entity without DOCTYPE": lambda: in_envelope('<!ENTITY x SYSTEM "file://FILE">'),
    "an undefined entity": lambda: in_envelope(""),
    # bombs
    "billion laughs": lambda: in_envelope(f"<!DOCTYPE a [{BOMB}]>", "&l9;"),
    "billion laughs in an attribute": lambda: (
        f"<!DOCTYPE a [{BOMB}]>" + in_body("").replace("<cs:data>", '<cs:data a="&l9;">')
    ),
    "quadratic blowup": lambda: in_envelope(f'<!DOCTYPE a [<!ENTITY x "{"x" * 50_000}">]>', "&x;" * 50_000),
    "12.7 kB to 8 MB": lambda: in_envelope(f'<!DOCTYPE a [<!ENTITY x "{"x" * 4000}">]>', "&x;" * 2000),
    "parameter entity bomb": lambda: in_envelope(
        '<!DOCTYPE a [<!ENTITY % a "AAAAAAAAAA"><!ENTITY % b "%a;%a;"><!ENTITY % c "%b;%b;">%c;]>', "x"
    ),
    "an entity of itself": lambda: in_envelope('<!DOCTYPE a [<!ENTITY x "&y;"><!ENTITY y "&x;">]>'),
    # size
    "200 000 attributes": lambda: "<a" + many(200_000, " a{}=''") + "/>",
    "as many attributes as fit": lambda: in_body("<a" + many(MOST_TAGS, " a{}=''") + "/>"),
    "as many namespaces as fit": lambda: in_body("<a" + many(9_000, " xmlns:a{}='b'") + "<"),
    "depth 1 000 000": lambda: "<a>" * DEEP + "</a>" * DEEP,
    "depth as it fits": lambda: in_body("<a>" * 9000 + "</a>" * 9000),
    "depth 300": lambda: in_body("<a>" * 300 + "</a>" * 300),
    "20 MB of text": lambda: in_body("x" * 20_000_000),
    "20 MB in an attribute": lambda: in_body(f'<a b="{"x" * 20_000_000}"/>'),
    "1 000 000 elements": lambda: in_body("<a/>" * 1_000_000),
    "as many elements as fit": lambda: in_body("<a/>" * 60_000),
    "CDATA sections": lambda: in_body("<![CDATA[]]>" * MOST_TAGS),
    "one byte too many": lambda: envelope(start=" " * (LARGEST_BODY - len(envelope()) + 1)),
    "a long name": lambda: f"<{'a' * 200_000}/>",
    "as many headers as fit": lambda: envelope(header="<a/>" * (MOST_TAGS - 100)).decode(),
    "an identity of elements": lambda: envelope(
        header=IDENTITY.replace("CP001", "<a/>" * (MOST_TAGS - 100))
    ).decode(),
    # what makes regular expressions slow
    "unclosed comment": lambda: "<!--" + "- " * 120_000 + "<!DOCTYPE",
    "unclosed instructions": lambda: "<?a " * 9_000 + "<!DOCTYPE",
    "blanks": lambda: "<?a?>" + " " * 250_000 + "<!DOCTYPE a><a/>",
    "comments and blanks": lambda: "<!-- --> " * 18_000 + "<!DOCTYPE",
    "half declarations": lambda: "<?xml " + "encoding = " * 20_000,
    "a declaration of blanks": lambda: "<?xml encoding" + " " * 200_000 + "='UTF-16'?><a/>",
    # not XML
    "control characters": lambda: envelope(header=IDENTITY.replace("CP001", "CP\x01\x1b001")),
    "character references to nothing": lambda: envelope(header=IDENTITY.replace("CP001", "&#0;&#xFFFF;")),
    "an attribute twice": lambda: in_body('<a b="1" b="2"/>'),
    "undeclared prefixes": lambda: in_body("<b:a c:d=''/>" * 9_000),
    "crossed tags": lambda: in_body("<a></b>" * 9_000),
    "trailing NUL": lambda: envelope() + b"\x00",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_refused_and_nothing_is_touched(name: str, watched: Watched) -> None:
    document = HOSTILE[name]()
    body = document.encode() if isinstance(document, str) else document
    for word, target in (
        ("FILE", str(watched.file)),
        ("URL", watched.url),
        ("FTP", watched.url.replace("http", "ftp")),
    ):
        # In whatever encoding the document is.
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "cp037"):
            body = body.replace(word.encode(encoding), target.encode(encoding))
    refusal = broken(body)
    assert refusal.code == "FormationViolation"
    assert refusal.reason in ("malformed", "too_large")
    assert len(str(refusal)) < 300
    assert "canary" not in str(refusal)
    # An answer is read with more patience, and with no less care.
    reply, _ = read_reply(200, "text/xml", body, operation("Reset"))
    assert "canary" not in str(failed(reply))
    assert not watched.was_touched()


def test_the_size_of_a_document_is_refused_before_it_is_looked_at() -> None:
    refusal = broken(b"<" * (LARGEST_BODY + 1))
    assert (refusal.reason, str(refusal)) == ("too_large", "found 262145 bytes, expected at most 262144")
    assert (
        failed(read_reply(200, "text/xml", b"<" * (LARGEST_BODY + 1), operation("Reset"))[0]).reason
        == "too_large"
    )


def test_tags_and_attributes_are_counted_before_they_are_parsed() -> None:
    for flood in ("<a/>" * MOST_TAGS, "=" * (MOST_TAGS + 1)):
        refusal = broken(in_body(flood).encode())
        assert (refusal.reason, str(refusal)) == ("too_large", "found more tags or attributes than 20000")


def test_attributes_of_one_element_are_counted() -> None:
    """Reading them costs the square of their number; a short message cannot hold enough of them."""
    refusal = broken(in_body("<x" + many(65, " a{}=''") + "/>" + "x" * 4096).encode())
    assert (refusal.reason, str(refusal)) == ("too_large", "found an element of more than 64 attributes")
    call_in(in_body("<x" + many(64, " a{}=''") + "/>" + "a=b" * 2000).encode())
    call_in(in_body("<x" + many(200, " a{}=''") + "/>").encode())


def test_depth_is_refused_while_parsing() -> None:
    refusal = broken(in_body("<a>" * 300 + "</a>" * 300).encode())
    assert str(refusal).startswith("not well-formed XML: Excessive depth in document: 256")


def test_the_largest_meter_values_fit() -> None:
    sample = (
        "<cs:sampledValue><cs:value>12345.6</cs:value><cs:context>Sample.Periodic</cs:context><cs:format>Raw</cs:format>"
        "<cs:measurand>Energy.Active.Import.Register</cs:measurand><cs:location>Outlet</cs:location>"
        "<cs:unit>Wh</cs:unit></cs:sampledValue>"
    )
    fit = (LARGEST_BODY - 2000) // len(sample)
    body = envelope(
        "<cs:meterValuesRequest><cs:connectorId>1</cs:connectorId><cs:meterValue>"
        f"<cs:timestamp>2024-05-01T10:00:00Z</cs:timestamp>{sample * fit}"
        "</cs:meterValue></cs:meterValuesRequest>"
    )
    call, notes = call_in(body)
    assert len(call.payload["meterValue"][0]["sampledValue"]) == fit
    assert notes == ()


@pytest.mark.parametrize(
    ("inside", "data"),
    [
        ("<![CDATA[<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>]]>", None),
        ("&lt;!DOCTYPE html&gt;", "<!DOCTYPE html>"),
        ("<!-- <!DOCTYPE a> -->x", "x"),
        ("<?p <!DOCTYPE a> ?>x", "x"),
        ("&amp;lt;&#38;", "&lt;&"),
        ("<![CDATA[ ]]&gt; ]]>", " ]]&gt; "),
        ("x" * 200_000, "x" * 200_000),
    ],
)
def test_what_only_looks_hostile_is_read(inside: str, data: str | None) -> None:
    if data is None:
        data = inside.removeprefix("<![CDATA[").removesuffix("]]>")
    assert call_in(in_body(inside).encode())[0].payload["data"] == data


@pytest.mark.parametrize(
    "inside",
    [
        '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file://FILE" parse="text"/>',
        '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="URL"/>',
        '<x xsi:schemaLocation="urn:x URL" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"/>',
        '<?xml-stylesheet type="text/xsl" href="URL"?>',
        '<?xml-model href="URL"?>',
        '<x xml:base="URL" href="file://FILE"/>',
        '<x xmlns="URL"/>',
    ],
)
def test_references_without_a_doctype_are_never_followed(inside: str, watched: Watched) -> None:
    inside = inside.replace("FILE", str(watched.file)).replace("URL", watched.url)
    call, _ = call_in(in_body(inside).encode())
    assert "canary" not in str(call)
    assert not watched.was_touched()


PROLOG = st.lists(
    st.sampled_from(
        [
            " ",
            "\n",
            "<!-- a -->",
            "<!---->",
            "<!-- <a/> - -- -->",
            "<!--->-->",
            "<?a?>",
            "<?a <b> ??>",
            "<?a ?-->?>",
            "x",
        ]
    ),
    max_size=8,
).map("".join)


@given(PROLOG, st.sampled_from(["", '<?xml version="1.0"?>', '<?xml version="1.0" encoding="UTF-8"?>']))
@example("<!-- -- --->", "")
@settings(max_examples=300, deadline=None)
def test_no_doctype_that_the_parser_would_see_is_overlooked(prolog: str, declaration: str) -> None:
    """Wherever libxml2 itself finds a DOCTYPE, ours is refused as one."""
    body = f'{declaration}{prolog}<!DOCTYPE a [<!ENTITY x "y">]>{envelope().decode()}'.encode()
    try:
        seen = (
            etree.fromstring(body, etree.XMLParser(resolve_entities=False)).getroottree().docinfo.internalDTD
        )
    except etree.XMLSyntaxError:
        seen = None
    refusal = broken(body)
    assert seen is None or str(refusal) == "found a DOCTYPE, which SOAP forbids"


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused_and_never_crash(body: bytes) -> None:
    broken(body)
    failed(read_reply(200, "text/xml", body, operation("Reset"))[0])


@given(
    st.lists(st.tuples(st.integers(0, len(envelope()) - 1), st.binary(max_size=4)), min_size=1, max_size=4),
    st.sampled_from([SOAP_11, SOAP_12]),
)
@settings(max_examples=500, deadline=None)
def test_a_damaged_message_is_read_or_refused_and_never_crashes(
    damage: list[tuple[int, bytes]], soap: str
) -> None:
    body = envelope(soap=soap)
    fault = envelope(
        "<soap:Fault><soap:Code><soap:Value>soap:Sender</soap:Value></soap:Code></soap:Fault>", soap=soap
    )
    for at, by in damage:
        body = body[:at] + by + body[at + len(by) :]
        fault = fault[:at] + by + fault[at + len(by) :]
    try:
        read = read_envelope(body)
        read_call(read, DIALECT, Side.CENTRAL_SYSTEM)
    except BrokenEnvelope as refusal:
        read = refusal.envelope
    except Violation:
        pass
    written = write_fault(read, CallError("ProtocolError", "damaged"), "urn:uuid:1")
    assert read_envelope(written.body).relates_to == read.message_id
    failed(read_reply(500, "text/xml", fault, operation("Reset"))[0])


# --- reading a reply ---------------------------------------------------------------------------------------


def test_a_result_is_read() -> None:
    assert answer("<cp:resetResponse><cp:status>Accepted</cp:status></cp:resetResponse>") == (
        CallResult({"status": "Accepted"}),
        (),
    )


@pytest.mark.parametrize("soap", [SOAP_11, SOAP_12])
def test_headers_of_an_answer_do_not_matter(soap: str) -> None:
    """RelatesTo lags by one (node-red), is wrong or missing; the HTTP exchange tells what is answered."""
    header = (
        f"{IDENTITY}{FOREIGN}<wsa:Action>/ClearCacheResponse</wsa:Action><wsa:RelatesTo>7</wsa:RelatesTo>"
    )
    body = envelope("<cp:resetResponse><cp:status>Accepted</cp:status></cp:resetResponse>", header, soap=soap)
    assert read_reply(200, "", body, operation("Reset"))[0] == CallResult({"status": "Accepted"})


@pytest.mark.parametrize(
    "tag",
    [
        f'resetResponse xmlns="{CP[:-1]}"',
        f'resetResponse xmlns="{CS}"',  # Java-OCA-OCPP
        'resetResponse xmlns="urn://Ocpp/Cp/2012/06/"',
        "resetResponse",
        "cp:ResetResponse",
        "cp:resettResponse",  # glurp misnames some
    ],
)
def test_a_result_named_otherwise_is_read_and_noted(tag: str) -> None:
    reply, notes = answer(f"<{tag}><status>Accepted</status></{tag.split(' ')[0]}>")
    assert reply == CallResult({"status": "Accepted"})
    assert [(note.rule, note.path) for note in notes] == [("body-name", "Body")]


@pytest.mark.parametrize(
    ("element", "found"),
    [
        (
            "<cp:clearCacheResponse><cp:status>Accepted</cp:status></cp:clearCacheResponse>",
            f"'{{{CP}}}clearCacheResponse'",
        ),
        ("<cp:resetRequest><cp:type>Hard</cp:type></cp:resetRequest>", f"'{{{CP}}}resetRequest'"),
        ("<currentTime>2026-11-20T12:02:56Z</currentTime>", "'currentTime'"),  # ocpp-js
        ('<resetResponse xmlns="urn:x"/>', "'{urn:x}resetResponse'"),
    ],
)
def test_what_answers_something_else_is_no_answer(element: str, found: str) -> None:
    """'Accepted' for another call must not be taken for this one."""
    error = failed(answer(element)[0])
    assert (error.code, error.reason) == ("InternalError", "schema")
    assert error.details == {"code": "FormationViolation", "path": "Body"}
    assert error.description == (
        f"the reply of the charge point breaks the rules: Body: found {found}, expected resetResponse of OCPP"
    )


def test_more_than_the_result_is_a_loss() -> None:
    reply, notes = answer(
        "<cp:clearCacheResponse><cp:status>Rejected</cp:status></cp:clearCacheResponse><x/>", "ClearCache"
    )
    assert reply == CallResult({"status": "Rejected"})
    assert notes == (Loss("Body", "x", "unknown-field", "expected clearCacheResponse alone"),)


def test_a_result_that_breaks_the_schema_is_an_error_that_says_where() -> None:
    """Whoever asked is not to blame, so it is none of the codes that say so."""
    error = failed(answer("<cp:resetResponse><cp:status>Perhaps</cp:status></cp:resetResponse>")[0])
    assert error == CallError(
        "InternalError",
        "the reply of the charge point breaks the rules: "
        "ResetResponse.status: 'Perhaps' is not one of 'Accepted', 'Rejected'",
        {"code": "PropertyConstraintViolation", "path": "ResetResponse.status"},
        "schema",
    )


def test_an_empty_body_is_an_empty_result_where_there_is_one() -> None:
    """Java-OCA-OCPP answers GetLocalListVersion and others so."""
    assert answer("", "UpdateFirmware") == (
        CallResult({}),
        (Change("Body", "", "updateFirmwareResponse", "empty-body"),),
    )
    error = failed(answer("", "GetLocalListVersion")[0])
    assert error.details == {
        "code": "OccurenceConstraintViolation",
        "path": "GetLocalListVersionResponse.listVersion",
    }


@pytest.mark.parametrize(
    ("status", "content_type", "body", "description"),
    [
        (200, "", b"", "answered HTTP 200 with an empty body"),  # GIR
        (202, "", b" \n", "answered HTTP 202 with an empty body"),
        (500, "text/xml", b"", "answered HTTP 500 with an empty body"),  # vasyas
        (
            200,
            "text/html; charset=utf-8",
            b"<html><body>Please log in</body></html>",
            "answered HTTP 200 with an HTML page: '<html><body>Please log in</body></html>'",
        ),
        (
            502,
            "",
            b"\n<!DOCTYPE HTML>\r\n<title>502 Bad Gateway</title>",
            "answered HTTP 502 with an HTML page: '<!DOCTYPE HTML> <title>502 Bad Gateway</title>'",
        ),
        (
            404,
            "text/plain",
            b"404 page not found",
            "answered HTTP 404 (text/plain), not SOAP: '404 page not found' "
            "(found '404 page not found', expected a SOAP envelope)",
        ),
        (
            200,
            "",
            b"\x1f\x8b\x08 gzip",
            "answered HTTP 200 (without content type), not SOAP: '\ufffd\\x08 gzip' "
            "(byte 1 is not UTF-8, the only encoding of OCPP-S)",
        ),
        (
            200,
            "application/json",
            b'{"status":"Accepted"}',
            'answered HTTP 200 (application/json), not SOAP: \'{"status":"Accepted"}\' '
            '(found \'{"status":"Accepted"}\', expected a SOAP envelope)',
        ),
        (
            200,
            "text/xml",
            b"<resetResponse/>",
            "answered HTTP 200 (text/xml), not SOAP: '<resetResponse/>' "
            "(found root element 'resetResponse', expected a SOAP Envelope)",
        ),
    ],
)
def test_what_is_no_soap_is_told_with_status_and_first_bytes(
    status: int, content_type: str, body: bytes, description: str
) -> None:
    assert read_reply(status, content_type, body, operation("Reset")) == (
        CallError("GenericError", description, {"httpStatus": status}, "malformed"),
        (),
    )


@pytest.mark.parametrize(
    ("status", "element", "found"),
    [
        (
            500,
            "<cp:resetResponse><cp:status>Accepted</cp:status></cp:resetResponse>",
            "'resetResponse' and no fault",
        ),
        (403, "", "an empty Body"),
        (302, "", "an empty Body"),
    ],
)
def test_a_result_that_http_calls_a_failure_is_none(status: int, element: str, found: str) -> None:
    assert failed(answer(element, status=status)[0]) == CallError(
        "GenericError", f"answered HTTP {status} with {found}", {"httpStatus": status}, "malformed"
    )


def test_a_broken_header_of_an_answer_is_left_aside() -> None:
    """node-red never closes its chargeBoxIdentity; the Body is fine."""
    body = envelope("<cp:resetResponse><cp:status>Accepted</cp:status></cp:resetResponse>").replace(
        b"CP001</cs:chargeBoxIdentity>", b"undefined"
    )
    reply, notes = read_reply(200, "", body, operation("Reset"))
    assert reply == CallResult({"status": "Accepted"})
    [note] = notes
    assert isinstance(note, Change)
    assert (note.path, note.rule) == ("Header", "recovered")
    assert note.value.startswith("not well-formed XML: Opening and ending tag mismatch: chargeBoxIdentity")


def test_a_doubled_identity_does_not_matter_in_an_answer() -> None:
    body = envelope("<cp:resetResponse><cp:status>Accepted</cp:status></cp:resetResponse>", IDENTITY * 2)
    assert read_reply(200, "", body, operation("Reset"))[0] == CallResult({"status": "Accepted"})


def test_a_request_is_never_recovered() -> None:
    assert str(broken(envelope().replace(b"</cs:chargeBoxIdentity>", b""))).startswith("not well-formed XML")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"</soap:Body></soap:Envelope>", b""),  # Content-Length counted in characters
        (b"</soap:Envelope>", b"</soap:Env"),
        (b"<cp:status>", b"<status xsi:nil='false'>"),
        (b"</cp:status>", b""),
        (b"Accepted", b"Acc&epted"),
        (b"<soap:Header>", b""),
        (b"<soap:Body>", b"<soap:Bodies>"),
    ],
)
def test_half_a_result_is_no_result(old: bytes, new: bytes) -> None:
    body = envelope("<cp:resetResponse><cp:status>Accepted</cp:status></cp:resetResponse>")
    error = failed(read_reply(200, "text/xml", body.replace(old, new), operation("Reset"))[0])
    assert (error.code, error.reason) == ("GenericError", "malformed")
    assert error.description.startswith("answered HTTP 200 (text/xml), not SOAP: '<soap:Envelope")


# --- faults read -------------------------------------------------------------------------------------------


def fault(code: str, subcode: str = "", reason: str = "why", detail: str = "") -> str:
    inner = f"<soap:Subcode><soap:Value>{subcode}</soap:Value></soap:Subcode>" if subcode else ""
    return (
        f"<soap:Fault><soap:Code><soap:Value>{code}</soap:Value>{inner}</soap:Code>"
        f'<soap:Reason><soap:Text xml:lang="en">{reason}</soap:Text></soap:Reason>{detail}</soap:Fault>'
    )


@pytest.mark.parametrize("status", [200, 202, 400, 403, 500, 503])
def test_a_fault_is_read_at_any_status(status: int) -> None:
    assert answer(fault("soap:Receiver", "cs:NotSupported"), status=status) == (
        CallError("NotSupported", "why", {}, "fault"),
        (),
    )


@pytest.mark.parametrize(
    ("code", "subcode", "reason", "expected"),
    [
        # the table of OCPP-S (OCPP 1.5, 8.2; OCPP 1.6 errata, 3.38, 3.39)
        ("soap:Sender", "cs:SecurityError", "not accepted", ("SecurityError", "not accepted")),
        ("soap:Sender", "cs:IdentityMismatch", "CP2", ("SecurityError", "IdentityMismatch: CP2")),
        ("soap:Sender", "cs:ProtocolError", "idTag is missing", ("ProtocolError", "idTag is missing")),
        ("soap:Sender", "cs:ProtocolError", "idTag is required", ("ProtocolError", "idTag is required")),
        ("soap:Sender", "cs:ProtocolError", "bad idTag", ("PropertyConstraintViolation", "bad idTag")),
        ("soap:Sender", "cs:ProtocolError", "cannot parse it", ("FormationViolation", "cannot parse it")),
        (
            "soap:Sender",
            "cs:ProtocolError",
            "Unmarshalling Error",
            ("FormationViolation", "Unmarshalling Error"),
        ),
        ("soap:Receiver", "cs:NotSupported", "no", ("NotSupported", "no")),
        ("soap:Receiver", "cs:InternalError", "oops", ("InternalError", "oops")),
        # SOAP's own
        ("soap:Sender", "", "bad", ("GenericError", "bad")),
        ("soap:Receiver", "", "oops", ("InternalError", "oops")),
        ("soap:VersionMismatch", "", "no", ("GenericError", "no")),
        ("SOAP-ENV:MustUnderstand", "", "x:Foo", ("GenericError", "x:Foo")),
        ("soap:DataEncodingUnknown", "", "no", ("GenericError", "no")),
        # WS-Addressing's
        ("soap:Sender", "wsa:ActionNotSupported", "no", ("NotImplemented", "no")),
        ("soap:Sender", "wsa5:MessageAddressingHeaderRequired", "no", ("ProtocolError", "no")),
        ("soap:Sender", "wsa:InvalidAddressingHeader", "no", ("ProtocolError", "no")),
        ("soap:Sender", "wsa:DestinationUnreachable", "no", ("GenericError", "no")),
        # of the field
        ("rpc:ProcedureNotPresent", "", "Procedure not present", ("NotImplemented", "Procedure not present")),
        ("SOAP-ENV:Server", "InternalServerError", "TypeError", ("InternalError", "TypeError")),  # node-red
        (
            "SOAP-ENV:Sender",
            "PropertyConstraintViolation",
            "no",
            ("PropertyConstraintViolation", "no"),
        ),  # GIR
        ("soap:Sender", "OccurrenceConstraintViolation", "no", ("OccurenceConstraintViolation", "no")),
        ("soap:Sender", "UrlMismatch", "http://b/", ("SecurityError", "UrlMismatch: http://b/")),  # Shell
        ("soap:sender", "securityerror", "no", ("SecurityError", "no")),
        ("Sender/SecurityError", "", "no", ("SecurityError", "no")),
        ("soap:Odd", "x:Unheard", "of", ("GenericError", "of")),
        # what the Reason begins with, where it agrees with the subcode
        (
            "soap:Sender",
            "cs:ProtocolError",
            "TypeConstraintViolation: a: b",
            ("TypeConstraintViolation", "a: b"),
        ),
        ("soap:Receiver", "cs:NotSupported", "NotImplemented", ("NotImplemented", "")),
        ("soap:Sender", "", "FormationViolation: x", ("FormationViolation", "x")),
        ("soap:Sender", "cs:SecurityError", "NotSupported: x", ("SecurityError", "NotSupported: x")),
        ("soap:Receiver", "cs:InternalError", "FileNotFound: x", ("InternalError", "FileNotFound: x")),
    ],
)
def test_the_words_of_a_fault_become_the_code_of_a_callerror(
    code: str, subcode: str, reason: str, expected: tuple[str, str]
) -> None:
    error = failed(answer(fault(code, subcode, reason))[0])
    assert (error.code, error.description) == expected
    assert (error.reason, error.details) == ("fault", {})


@pytest.mark.parametrize(
    ("element", "code", "description"),
    [
        # the innermost subcode says most
        (
            fault("soap:Sender", "x:Outer").replace(
                "</soap:Subcode>",
                "<soap:Subcode><soap:Value>cs:SecurityError</soap:Value></soap:Subcode></soap:Subcode>",
            ),
            "SecurityError",
            "why",
        ),
        # SubCode in the namespace of OCPP (apostol), and outside of Code
        (
            fault("soap:Sender", "cs:NotSupported").replace("soap:Subcode", "cs:SubCode"),
            "NotSupported",
            "why",
        ),
        (
            "<soap:Fault><soap:Code><soap:Value>soap:Sender</soap:Value></soap:Code>"
            "<cs:SubCode>cs:NotSupported</cs:SubCode></soap:Fault>",
            "NotSupported",
            "a fault that gives no reason (soap:Sender cs:NotSupported)",
        ),
        # lower case (ts-ocpp), unqualified, or right in the Code
        (
            fault("soap:Sender", "cs:SecurityError").replace("soap:Value", "soap:value"),
            "SecurityError",
            "why",
        ),
        (fault("soap:Sender", "cs:SecurityError").replace("soap:", ""), "SecurityError", "why"),
        ("<soap:Fault><soap:Code>soap:Receiver</soap:Code></soap:Fault>", "InternalError", None),
        # no Code at all (govoltbras)
        ("<soap:Fault><reason>no such operation</reason></soap:Fault>", "GenericError", "no such operation"),
        ("<soap:Fault/>", "GenericError", "a fault that gives no reason (and no code)"),
        ("<fault/>", "GenericError", "a fault that gives no reason (and no code)"),
        (fault("", "", ""), "GenericError", "a fault that gives no reason (and no code)"),
        (fault("soap:Sender", "cs:ProtocolError", " \n "), "ProtocolError", None),
        # a Body inside the Body (GIR)
        (f"<soap:Body>{fault('soap:Sender', 'cs:SecurityError')}</soap:Body>", "SecurityError", "why"),
        # SOAP 1.1's elements
        (
            "<soap:Fault><faultcode>soap:Client.SecurityError</faultcode>"
            "<faultstring> who\n are you? </faultstring><faultactor>http://a/</faultactor></soap:Fault>",
            "SecurityError",
            "who are you?",
        ),
        (
            "<soap:Fault><faultcode>soap:Server</faultcode><faultstring>oops</faultstring></soap:Fault>",
            "InternalError",
            "oops",
        ),
        # two languages
        (
            fault("soap:Receiver").replace(
                "</soap:Text>", "</soap:Text><soap:Text xml:lang='de'>warum</soap:Text>"
            ),
            "InternalError",
            "why",
        ),
        # words in the Detail are not words of the Code
        (
            fault("soap:Receiver", detail="<soap:Detail><Value>SecurityError</Value></soap:Detail>"),
            "InternalError",
            "why",
        ),
    ],
)
@pytest.mark.parametrize("soap", [SOAP_11, SOAP_12])
def test_faults_of_the_field_are_read(element: str, code: str, description: str | None, soap: str) -> None:
    reply, notes = read_reply(200, "", envelope(element, "", soap=soap), operation("Reset"))
    assert (failed(reply).code, notes) == (code, ())
    if description is not None:
        assert failed(reply).description == description


def test_the_detail_of_a_fault_goes_into_the_details() -> None:
    problem = "<wsa:ProblemAction><wsa:Action>\n /Fly </wsa:Action></wsa:ProblemAction>"
    detail = f"<soap:Detail>{problem}and so on</soap:Detail>"
    error = failed(answer(fault("soap:Sender", "wsa:ActionNotSupported", detail=detail))[0])
    assert error.details == {"detail": "/Fly and so on"}
    # SOAP 1.1 spells it small.
    element = "<soap:Fault><faultcode>soap:Server</faultcode><detail>here</detail></soap:Fault>"
    assert failed(answer(element)[0]).details == {"detail": "here"}


def test_the_texts_of_a_fault_are_cut() -> None:
    detail = f"<soap:Detail>{'y' * 5000}</soap:Detail>"
    error = failed(answer(fault("soap:Sender" * 500, reason="x" * 5000, detail=detail))[0])
    assert error.description == "x" * 500
    assert error.details == {"detail": "y" * 1000}
    silent = failed(answer(fault("soap:Sender " * 500, reason=""))[0])
    assert len(silent.description) < 300


def test_a_fault_alone_can_be_read() -> None:
    element = etree.fromstring("<Fault><Code><Value>Sender</Value></Code></Fault>")
    assert read_fault(element).code == "GenericError"


@pytest.mark.parametrize(
    ("element", "code", "description"),
    [
        # an undeclared prefix (GIR)
        (
            f"<soap:Body>{fault('soap:Sender', 'PropertyConstraintViolation')}</soap:Body>".replace(
                "soap:", "SOAP-ENV:"
            ),
            "PropertyConstraintViolation",
            "why",
        ),
        # a misspelt closing tag (apostol)
        (
            fault("soap:Sender", "cs:NotSupported").replace("</soap:Text>", "<soap:/Text>"),
            "NotSupported",
            "why",
        ),
        # cut off
        (fault("soap:Receiver", "cs:InternalError", "oops")[:-14], "InternalError", "oops"),
        (fault("soap:Sender", "cs:SecurityError", "R&D only"), "SecurityError", "R only"),
        (fault("soap:Sender", "cs:SecurityError", "for &nobody; only"), "SecurityError", None),
    ],
)
def test_a_fault_is_made_out_where_it_is_not_well_formed(
    element: str, code: str, description: str | None
) -> None:
    reply, notes = answer(element, status=500)
    assert failed(reply).code == code
    assert failed(reply).reason == "fault"
    if description is not None:
        assert failed(reply).description == description
    [note] = notes
    assert (note.path, note.rule) == ("Fault", "recovered")


@pytest.mark.parametrize(
    "body",
    [
        b"<!-- Fault -->",
        b"<Fault",
        b"<html><p>Fault & more",
        b"<Fault>&</Fault>",
        envelope("<cp:resetResponse>Fault & more</cp:resetResponse>", ""),
        envelope(fault("soap:Sender", "cs:SecurityError"), "", start="<!DOCTYPE a>"),
        envelope(
            f"&{fault('soap:Sender', 'cs:SecurityError')}", "", start="<?xml standalone='?>'?><!DOCTYPE a>"
        ),
        envelope(fault("soap:Sender", "cs:SecurityError", "&" * 16_384), ""),
        envelope("&Fault;&", ""),
    ],
)
def test_what_is_not_surely_a_fault_is_not_made_one(body: bytes) -> None:
    error = failed(read_reply(500, "text/xml", body, operation("Reset"))[0])
    assert (error.code, error.reason) == ("GenericError", "malformed")


# --- faults written ----------------------------------------------------------------------------------------


ASKED = read_envelope(envelope())
ASKED_11 = read_envelope(envelope(soap=SOAP_11))


def test_a_callerror_becomes_a_fault() -> None:
    """OCPP 1.5, 8.2; the subcode in the namespace of the service, as SteVe writes it."""
    written = write_fault(ASKED, CallError("SecurityError", "who are you?"), "urn:uuid:1")
    assert (written.status, written.content_type) == (400, "application/soap+xml; charset=utf-8")
    assert written.body.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<soap:Envelope xmlns:soap="{SOAP_12}" xmlns:wsa="{WSA_2005}"><soap:Header>'
        f"<wsa:Action>{WSA_2005}/fault</wsa:Action><wsa:MessageID>urn:uuid:1</wsa:MessageID>"
        f"<wsa:To>{ANONYMOUS}</wsa:To><wsa:RelatesTo>urn:uuid:b70e2eae</wsa:RelatesTo></soap:Header>"
        "<soap:Body><soap:Fault><soap:Code><soap:Value>soap:Sender</soap:Value>"
        f'<soap:Subcode><soap:Value xmlns:ocpp="{CS}">ocpp:SecurityError</soap:Value></soap:Subcode>'
        "</soap:Code>"
        '<soap:Reason><soap:Text xml:lang="en">SecurityError: who are you?</soap:Text></soap:Reason>'
        "</soap:Fault></soap:Body></soap:Envelope>"
    )


def test_who_is_called_by_another_name_has_a_fault_of_its_own() -> None:
    """OCPP 1.5, 8.2: Sender, IdentityMismatch. OCPP-J has no word for it, so its Reason names no code."""
    error = CallError(IDENTITY_MISMATCH, "found 'CP2', but this is the address of 'CP1'")
    asked = read_envelope(envelope("<cp:resetRequest/>"))
    written = write_fault(asked, error, "urn:uuid:1")
    assert written.status == 400
    assert written.body.decode().partition("<soap:Body>")[2] == (
        "<soap:Fault><soap:Code><soap:Value>soap:Sender</soap:Value>"
        f'<soap:Subcode><soap:Value xmlns:ocpp="{CP}">ocpp:IdentityMismatch</soap:Value></soap:Subcode>'
        "</soap:Code>"
        "<soap:Reason><soap:Text xml:lang=\"en\">found 'CP2', but this is the address of 'CP1'</soap:Text>"
        "</soap:Reason></soap:Fault></soap:Body></soap:Envelope>"
    )
    read, _ = read_reply(400, "application/soap+xml", written.body, operation("Reset"))
    assert failed(read).code == "SecurityError"
    assert failed(read).description == "IdentityMismatch: found 'CP2', but this is the address of 'CP1'"


def test_a_soap_11_request_gets_a_soap_11_fault() -> None:
    """SOAP 1.1, 4.4 and 6.2: its parts are unqualified, and it goes with 500."""
    written = write_fault(ASKED_11, CallError("SecurityError", "who are you?"), "urn:uuid:1")
    assert (written.status, written.content_type) == (500, "text/xml; charset=utf-8")
    assert written.body.decode().endswith(
        "<soap:Body><soap:Fault><faultcode>soap:Client.SecurityError</faultcode>"
        "<faultstring>SecurityError: who are you?</faultstring></soap:Fault></soap:Body></soap:Envelope>"
    )
    written = write_fault(ASKED_11, CallError("InternalError"), "urn:uuid:1")
    assert (
        b"<faultcode>soap:Server.InternalError</faultcode><faultstring>InternalError</faultstring>"
        in written.body
    )


@pytest.mark.parametrize(
    ("code", "status", "soap_code", "subcode"),
    [
        ("NotImplemented", 500, "Receiver", "NotSupported"),
        ("NotSupported", 500, "Receiver", "NotSupported"),
        ("InternalError", 500, "Receiver", "InternalError"),
        ("GenericError", 500, "Receiver", "InternalError"),
        ("ProtocolError", 400, "Sender", "ProtocolError"),
        ("SecurityError", 400, "Sender", "SecurityError"),
        ("FormationViolation", 400, "Sender", "ProtocolError"),
        ("FormatViolation", 400, "Sender", "ProtocolError"),
        ("PropertyConstraintViolation", 400, "Sender", "ProtocolError"),
        ("OccurenceConstraintViolation", 400, "Sender", "ProtocolError"),
        ("OccurrenceConstraintViolation", 400, "Sender", "ProtocolError"),
        ("TypeConstraintViolation", 400, "Sender", "ProtocolError"),
        ("SomethingElse", 500, "Receiver", "InternalError"),
    ],
)
def test_the_code_of_a_callerror_becomes_a_fault_code(
    code: str, status: int, soap_code: str, subcode: str
) -> None:
    """OCPP 1.6 errata, 3.38 and 3.39; SOAP 1.2 part 2, 7.5.2.2."""
    written = write_fault(ASKED, CallError(code, "why"), "urn:uuid:1")
    assert written.status == status
    values = re.findall(r"<soap:Value[^>]*>(.*?)</soap:Value>", written.body.decode())
    assert values == [f"soap:{soap_code}", f"ocpp:{subcode}"]


@pytest.mark.parametrize("code", FAULT_BY_CODE)
@pytest.mark.parametrize("description", ["", "why: <&> \u2028 so", "idTag is missing", "XML"])
@pytest.mark.parametrize("asked", [ASKED, ASKED_11, Envelope(wsa=WSA_2004)])
def test_a_fault_of_ours_is_read_as_the_callerror_it_was(
    code: str, description: str, asked: Envelope
) -> None:
    written = write_fault(asked, CallError(code, description), "urn:uuid:1")
    error = failed(read_reply(written.status, written.content_type, written.body, operation("Reset"))[0])
    assert (error.code, error.description) == (code, " ".join(description.split()))


@pytest.mark.parametrize(
    ("namespace", "written"),
    [
        (CS, CS),
        (CP[:-1], CP),
        ("urn://ocpp/cp/2012/06", "urn://Ocpp/Cp/2012/06/"),
        ("urn://Ocpp/Cs/2010/10/", "urn://Ocpp/Cs/2010/08/"),
        ("urn:x", CS),
        ("", CS),
    ],
)
def test_the_subcode_stands_in_the_namespace_of_the_service_that_was_spoken_to(
    namespace: str, written: str
) -> None:
    asked = read_envelope(envelope(f'<heartbeatRequest xmlns="{namespace}"/>'))
    assert f'xmlns:ocpp="{written}"'.encode() in write_fault(asked, CallError("NotSupported"), "1").body


def test_a_reason_is_cut_and_escaped() -> None:
    written = write_fault(ASKED, CallError("GenericError", "<b>&\x00" + "x" * 5000), "urn:uuid:1")
    text = etree.fromstring(written.body).findtext(f".//{{{SOAP_12}}}Text")
    assert text == ("GenericError: <b>&\ufffd" + "x" * 5000)[:1000]


# --- replies written ---------------------------------------------------------------------------------------


def test_a_result_is_written() -> None:
    reply = CallResult({"currentTime": "2024-05-01T10:00:00Z"})
    written = write_reply(ASKED, operation("Heartbeat", Side.CENTRAL_SYSTEM), reply, DIALECT, "urn:uuid:1")
    assert (written.status, written.content_type, written.notes) == (
        200,
        "application/soap+xml; charset=utf-8",
        (),
    )
    assert written.body.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<soap:Envelope xmlns:soap="{SOAP_12}" xmlns:wsa="{WSA_2005}"><soap:Header>'
        "<wsa:Action>/HeartbeatResponse</wsa:Action><wsa:MessageID>urn:uuid:1</wsa:MessageID>"
        f"<wsa:To>{ANONYMOUS}</wsa:To><wsa:RelatesTo>urn:uuid:b70e2eae</wsa:RelatesTo></soap:Header>"
        f'<soap:Body><ocpp:heartbeatResponse xmlns:ocpp="{CS}">'
        "<ocpp:currentTime>2024-05-01T10:00:00Z</ocpp:currentTime></ocpp:heartbeatResponse></soap:Body></soap:Envelope>"
    )


def test_a_request_of_soap_11_is_answered_in_soap_11() -> None:
    assert call_in(envelope(soap=SOAP_11)) == (Call("Heartbeat", {}), ())
    reply = CallResult({"currentTime": "2024-05-01T10:00:00Z"})
    written = write_reply(ASKED_11, operation("Heartbeat", Side.CENTRAL_SYSTEM), reply, DIALECT, "urn:uuid:1")
    assert written.content_type == "text/xml; charset=utf-8"
    assert written.body.startswith(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope xmlns:soap="{SOAP_11}"'.encode()
    )


def test_an_empty_result_is_an_element() -> None:
    written = write_reply(
        ASKED, operation("StatusNotification", Side.CENTRAL_SYSTEM), CallResult({}), DIALECT, "urn:uuid:1"
    )
    assert (
        f'<soap:Body><ocpp:statusNotificationResponse xmlns:ocpp="{CS}"/></soap:Body>'.encode()
        in written.body
    )


@pytest.mark.parametrize(
    "message_id",
    [
        "urn:uuid:b70e2eae-bd09-4546-b049-8b2be7ccf578",
        "uuid:9f70d5fe-2e47-4c9e-9faa-371446c19e41",
        "01c9c6-20131108141114117-059415",
        "1795178101049",
        "a<b>&\"c' é \u2028",
        "x" * 5000,
    ],
)
def test_a_response_relates_to_the_message_id_of_the_request_byte_for_byte(message_id: str) -> None:
    """WS-Addressing 1.0 core, 3.4."""
    escaped = message_id.replace("&", "&amp;").replace("<", "&lt;")
    asked = read_envelope(envelope(header=f"<wsa:MessageID>{escaped}</wsa:MessageID>"))
    for reply in (CallResult({}), CallError("NotSupported")):
        written = write_reply(
            asked, operation("MeterValues", Side.CENTRAL_SYSTEM), reply, DIALECT, "urn:uuid:1"
        )
        assert read_envelope(written.body).relates_to == message_id


def test_a_request_without_message_id_gets_no_relates_to() -> None:
    asked = read_envelope(envelope(header=IDENTITY))
    written = write_reply(
        asked, operation("MeterValues", Side.CENTRAL_SYSTEM), CallResult({}), DIALECT, "urn:uuid:1"
    )
    assert b"RelatesTo" not in written.body


def test_no_header_of_a_response_must_be_understood() -> None:
    replies: tuple[Reply, ...] = (CallResult({}), CallError("NotSupported"))
    for asked, reply in itertools.product((ASKED, ASKED_11), replies):
        written = write_reply(
            asked, operation("MeterValues", Side.CENTRAL_SYSTEM), reply, DIALECT, "urn:uuid:1"
        )
        assert b"mustUnderstand" not in written.body


def test_a_result_that_soap_cannot_say_becomes_a_fault() -> None:
    written = write_reply(
        ASKED, operation("Heartbeat", Side.CENTRAL_SYSTEM), CallResult({}), DIALECT, "urn:uuid:1"
    )
    assert written.status == 400
    assert b">OccurenceConstraintViolation: HeartbeatResponse.currentTime: is missing" in written.body


# --- calls written -----------------------------------------------------------------------------------------


TO_CHARGE_POINT = Addressing("CP001", "http://10.1.2.3:8080/ocpp")


def test_a_call_is_written_exactly() -> None:
    """Headers in the order that peers agree on; mustUnderstand on Action and To alone."""
    addressing = Addressing("CP001", "http://10.1.2.3:8080/ocpp", "http://gw.example.com/cp")
    written = write_call(
        Call("Reset", {"type": "Hard"}), addressing, DIALECT, Side.CHARGE_POINT, lambda: "urn:uuid:1"
    )
    assert written.content_type == 'application/soap+xml; charset=utf-8; action="/Reset"'
    assert (written.status, written.soap_action, written.notes) == (200, "", ())
    assert written.body.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<soap:Envelope xmlns:soap="{SOAP_12}" xmlns:wsa="{WSA_2005}" xmlns:ocpp="{CP}"><soap:Header>'
        "<ocpp:chargeBoxIdentity>CP001</ocpp:chargeBoxIdentity>"
        '<wsa:Action soap:mustUnderstand="true">/Reset</wsa:Action>'
        "<wsa:MessageID>urn:uuid:1</wsa:MessageID>"
        "<wsa:From><wsa:Address>http://gw.example.com/cp</wsa:Address></wsa:From>"
        f"<wsa:ReplyTo><wsa:Address>{ANONYMOUS}</wsa:Address></wsa:ReplyTo>"
        '<wsa:To soap:mustUnderstand="true">http://10.1.2.3:8080/ocpp</wsa:To></soap:Header>'
        "<soap:Body><ocpp:resetRequest><ocpp:type>Hard</ocpp:type></ocpp:resetRequest></soap:Body></soap:Envelope>"
    )


def test_a_call_without_sender_has_no_from_and_an_empty_one_is_an_element() -> None:
    written = write_call(
        Call("ClearCache", {}), TO_CHARGE_POINT, DIALECT, Side.CHARGE_POINT, lambda: "urn:uuid:1"
    )
    assert b"wsa:From" not in written.body
    assert b"<soap:Body><ocpp:clearCacheRequest/></soap:Body>" in written.body


def test_a_call_to_a_central_system_stands_in_the_namespace_of_its_service() -> None:
    addressing = Addressing("CP001", "http://cs.example.com/", "http://cp.example.com/")
    written = write_call(
        Call("Heartbeat", {}), addressing, DIALECT, Side.CENTRAL_SYSTEM, lambda: "urn:uuid:1"
    )
    assert f'xmlns:ocpp="{CS}"'.encode() in written.body
    assert b"Ocpp/Cp" not in written.body


def test_a_call_is_written_in_the_versions_that_the_party_speaks() -> None:
    """SOAP 1.1, 4.2.3 and 6.1.1; WS-Addressing 2004 for Java-OCA-OCPP."""
    addressing = Addressing("CP001", "http://a/", soap=SOAP_11, wsa=WSA_2004)
    written = write_call(Call("ClearCache", {}), addressing, DIALECT, Side.CHARGE_POINT, lambda: "urn:uuid:1")
    assert (written.content_type, written.soap_action) == ("text/xml; charset=utf-8", '"/ClearCache"')
    read = read_envelope(written.body)
    assert (read.soap, read.wsa, read.reply_to) == (SOAP_11, WSA_2004, f"{WSA_2004}/role/anonymous")
    assert re.findall(rb'(\w+) soap:mustUnderstand="1"', written.body) == [b"Action", b"To"]


def test_a_call_is_written_under_the_prefix_that_the_charge_point_knows() -> None:
    """NKT charge points know only ns1 (steve #12)."""
    written = write_call(
        Call("Reset", {"type": "Soft"}),
        TO_CHARGE_POINT,
        dialect("1.6", Options(prefix="ns1")),
        Side.CHARGE_POINT,
        lambda: "urn:uuid:1",
    )
    assert f'xmlns:ns1="{CP}"'.encode() in written.body
    assert b"<ns1:resetRequest><ns1:type>Soft</ns1:type></ns1:resetRequest>" in written.body
    assert b"ocpp:" not in written.body


def test_every_element_of_a_call_is_qualified_and_in_the_order_of_the_description() -> None:
    """RemoteStartTransaction: connectorId, idTag, chargingProfile (WSDL 1.6), whatever order JSON has."""
    payload = {
        "chargingProfile": {
            "chargingSchedule": {
                "chargingSchedulePeriod": [{"limit": 16, "startPeriod": 0}],
                "chargingRateUnit": "A",
            },
            "chargingProfileKind": "Relative",
            "chargingProfilePurpose": "TxProfile",
            "stackLevel": 0,
            "chargingProfileId": 1,
        },
        "idTag": "TAG1",
        "connectorId": 1,
    }
    written = write_call(
        Call("RemoteStartTransaction", payload), TO_CHARGE_POINT, DIALECT, Side.CHARGE_POINT, lambda: "1"
    )
    [request] = etree.fromstring(written.body)[1]
    assert {etree.QName(element).namespace for element in request.iter()} == {CP}
    assert names(request) == ["connectorId", "idTag", "chargingProfile"]
    assert names(request[2]) == [
        "chargingProfileId",
        "stackLevel",
        "chargingProfilePurpose",
        "chargingProfileKind",
        "chargingSchedule",
    ]
    assert names(request[2][4]) == ["chargingRateUnit", "chargingSchedulePeriod"]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (Call("Reset", {}), "OccurenceConstraintViolation"),
        (Call("Heartbeat", {}), "NotSupported"),
        (Call("SignCertificate", {}), "NotImplemented"),
    ],
)
def test_a_call_that_soap_cannot_say_is_refused(call: Call, code: str) -> None:
    with pytest.raises(Violation) as caught:
        write_call(call, TO_CHARGE_POINT, DIALECT, Side.CHARGE_POINT, lambda: "urn:uuid:1")
    assert caught.value.code == code


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=40)


@given(identity=TEXTS, to=TEXTS, sender=TEXTS, message_id=TEXTS)
@settings(max_examples=200, deadline=None)
def test_whatever_addresses_a_call_is_read_as_it_was_written(
    identity: str, to: str, sender: str, message_id: str
) -> None:
    written = write_call(
        Call("ClearCache", {}),
        Addressing(identity, to, sender),
        DIALECT,
        Side.CHARGE_POINT,
        lambda: message_id.replace("&", "").replace("<", "").replace("\uffff", "").replace("\ufffe", ""),
    )
    read = read_envelope(written.body)

    def bare(text: str) -> str:
        return text.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd").strip()

    assert (read.identity, read.to, read.from_address) == (bare(identity), bare(to), bare(sender))
    assert read_call(read, DIALECT, Side.CHARGE_POINT).call == Call("ClearCache", {})


def test_a_command_is_carried_whole_or_not_at_all() -> None:
    """XML has no U+0000: a report may lose it, an idTag that starts a charge may not."""
    call = Call("RemoteStartTransaction", {"idTag": "a\x00b"})
    addressing = Addressing("CP1", "http://10.1.2.3/")
    with pytest.raises(Violation) as refused:
        write_call(call, addressing, dialect(), Side.CHARGE_POINT, lambda: "urn:uuid:1")
    assert (refused.value.code, refused.value.path) == (
        "PropertyConstraintViolation",
        "RemoteStartTransaction.idTag",
    )
    assert "carried whole or not at all" in refused.value.problem


def test_a_call_need_not_be_understood() -> None:
    """Some stacks refuse what says that it must be."""
    addressing = Addressing("CP001", "http://a/", must_understand=False)
    written = write_call(Call("ClearCache", {}), addressing, DIALECT, Side.CHARGE_POINT, lambda: "urn:uuid:1")
    assert b"mustUnderstand" not in written.body
    assert b"<wsa:Action>/ClearCache</wsa:Action>" in written.body
    assert b"<wsa:To>http://a/</wsa:To>" in written.body


def test_the_sender_may_be_a_text_and_nobody_need_be_replied_to() -> None:
    """Java-OCA-OCPP writes and reads wsa:From without an Address; plain stacks know no wsa:ReplyTo."""
    addressing = Addressing("CP001", "http://a/", "http://gw/", from_is_text=True, reply_to=False)
    written = write_call(Call("ClearCache", {}), addressing, DIALECT, Side.CHARGE_POINT, lambda: "urn:uuid:1")
    assert b"<wsa:From>http://gw/</wsa:From>" in written.body
    assert b"ReplyTo" not in written.body


# --- passing a Body as it is -------------------------------------------------------------------------------


def passed(
    body: bytes, check: Check = "report", asked: Side = Side.CENTRAL_SYSTEM
) -> tuple[ReadCall, Original]:
    """A call that is taken as it is, and its Original."""
    read = read_envelope(body)
    taken = pass_located(locate_call(read, DIALECT, asked), read, body, check)
    assert taken.call.original is not None
    return taken, taken.call.original


def cut_out(body: bytes) -> Original:
    original = original_of(read_envelope(body), body, "1.6")
    assert original is not None
    return original


def test_the_form_of_a_body_is_that_of_its_envelope() -> None:
    assert form_of(SOAP_12) == "soap 1.6 http://www.w3.org/2003/05/soap-envelope"
    assert form_of(SOAP_11, "1.5") == "soap 1.5 http://schemas.xmlsoap.org/soap/envelope/"
    assert cut_out(envelope(soap=SOAP_11)).form == form_of(SOAP_11)


def test_a_body_is_cut_out_byte_for_byte() -> None:
    """With the Envelope before it, for the prefixes that are declared there."""
    body = (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b"<S:Envelope\n  xmlns:S='http://www.w3.org/2003/05/soap-envelope' note='a > b'\n"
        b'  xmlns:o="urn://Ocpp/Cs/2015/10/" x=">">\n'
        b" <S:Header ><o:chargeBoxIdentity>CP001</o:chargeBoxIdentity></S:Header>\n"
        b' <S:Body id="b"><o:authorizeRequest>\r\n<o:idTag>T&#228;G \xc3\xa4</o:idTag></o:authorizeRequest>'
        b"</S:Body>\n</S:Envelope>\n\n"
    )
    taken, original = passed(body)
    assert taken == ReadCall(Call("Authorize", {"idTag": "TäG ä"}), taken.operation, ())
    opening, _, rest = body.partition(b"\n <S:Header")
    assert original == Original(form_of(SOAP_12), rest[rest.index(b"<S:Body") :].rstrip(), opening)


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"\n\n", b"\xef\xbb\xbf \r\n"])
def test_what_stands_before_the_envelope_is_not_cut_out(start: bytes) -> None:
    """Nothing but blanks may stand before an XML declaration, and there is one byte order mark at most."""
    declared = b'<?xml version="1.0" encoding="UTF-8"?>' + envelope()
    assert cut_out(start + declared) == cut_out(declared)
    assert cut_out(declared).opening.startswith(b"<?xml version=")


def test_a_declared_encoding_is_that_of_the_whole_message() -> None:
    """A Body of ASCII gets a Header that need not be ASCII."""
    taken, _ = passed(b'<?xml version="1.0" encoding="us-ascii" standalone="yes"?>\n' + envelope())
    addressing = Addressing("CPä", "http://cs.example.com/")
    written = write_call(taken.call, addressing, DIALECT, Side.CENTRAL_SYSTEM, lambda: "urn:uuid:1")
    assert written.body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope ')
    assert read_envelope(written.body).identity == "CPä"


def test_a_body_without_header_is_cut_out() -> None:
    body = b'<Envelope xmlns="http://www.w3.org/2003/05/soap-envelope"><Body><a xmlns=""/></Body></Envelope>'
    original = cut_out(body)
    assert original.opening == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Envelope xmlns="http://www.w3.org/2003/05/soap-envelope">'
    )
    assert original.text == b'<Body><a xmlns=""/></Body></Envelope>'


@pytest.mark.parametrize("behind", ["<x:identity xmlns:x='y'>EVIL</x:identity>", "text", "<Body2 xmlns=''/>"])
def test_nothing_behind_the_body_goes_on(behind: str) -> None:
    """Whoever searches the whole document must not find what was not read here."""
    body = envelope().replace(b"</soap:Envelope>", f"{behind}</soap:Envelope>".encode())
    original = cut_out(body)
    assert original.text.endswith(b"</soap:Body></soap:Envelope>")
    assert behind.encode() not in original.text


def test_a_declaration_is_never_passed_on() -> None:
    """Its reader could be told another encoding than the one that was read here."""
    for declaration in (
        "",
        "<?xml version='1.1' encoding='us-ascii' standalone='no' ?>",
        "<?xml version='1.0'?>",
    ):
        original = cut_out(envelope(start=declaration))
        assert original.opening.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope')


@pytest.mark.parametrize("prefix", ["ä", "p" * 300, "a.b-c_1"])
def test_a_body_is_cut_out_under_every_prefix(prefix: str) -> None:
    body = envelope("<cs:authorizeRequest><cs:idTag>T</cs:idTag></cs:authorizeRequest>").decode()
    body = re.sub(r"(</?)soap:(Envelope|Header|Body)|xmlns:soap", rf"\1{prefix}:\2", body)
    body = body.replace(f"{prefix}:=", f"xmlns:{prefix}=").replace("soap:must", f"{prefix}:must")
    original = cut_out(body.encode())
    assert original.text.startswith(f"<{prefix}:Body><cs:authorizeRequest>".encode())


@pytest.mark.parametrize(
    "inside",
    [
        "<cs:authorizeRequest><!-- <soap:Body> --><cs:idTag>TAG</cs:idTag></cs:authorizeRequest>",
        "<cs:authorizeRequest><cs:idTag><![CDATA[TAG]]></cs:idTag></cs:authorizeRequest>",
        "<?php <soap:Body> ?><cs:authorizeRequest><cs:idTag>TAG</cs:idTag></cs:authorizeRequest>",
        "<soap:Body><cs:authorizeRequest><cs:idTag>TAG</cs:idTag></cs:authorizeRequest></soap:Body>",
    ],
)
def test_a_body_that_cannot_be_cut_out_for_certain_is_written_anew(inside: str) -> None:
    """Comments, CDATA, instructions, and a Body inside the Body: what was read is what is written."""
    original = cut_out(envelope(inside))
    assert original.opening == b'<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope">'
    root = etree.fromstring(original.opening + original.text)
    assert [element.text for element in root.iter(f"{{{CS}}}idTag")] == ["TAG"]
    assert names(root) == ["Body"]
    assert names(root[0]) == ["authorizeRequest"]
    assert original.text.endswith(b"</cs:authorizeRequest></soap:Body></soap:Envelope>")


def test_what_only_looks_like_a_part_is_none() -> None:
    for inside in ("<cs:data>&lt;soap:Body&gt;</cs:data>", "<cs:MyBody/><cs:Bodyguard/>"):
        body = f"<cs:dataTransferRequest>{inside}</cs:dataTransferRequest>"
        assert cut_out(envelope(body)).text.startswith(f"<soap:Body>{body}</soap:Body>".encode())


def test_there_is_nothing_to_cut_out_of_an_empty_body() -> None:
    body = envelope("")
    assert original_of(read_envelope(body), body, "1.6") is None


BROKEN = envelope(
    "<cs:authorizeRequest><cs:idTag>TAG</cs:idTag><cs:vendor>1</cs:vendor></cs:authorizeRequest>"
)
VENDOR = Breach("Authorize.vendor", "1", "unknown-field", "Authorize has no such field")


def test_a_call_that_breaks_the_schema_passes_and_is_noted() -> None:
    taken, original = passed(BROKEN)
    assert taken.call.payload == {"idTag": "TAG"}
    assert taken.notes == (VENDOR,)
    assert b"<cs:vendor>1</cs:vendor>" in original.text


def test_a_call_that_cannot_be_read_passes_and_is_noted() -> None:
    taken, original = passed(envelope("<cs:authorizeRequest/>"))
    assert taken.call == Call("Authorize", {})
    [breach] = taken.notes
    assert isinstance(breach, Breach)
    assert (breach.path, breach.rule) == ("Authorize.idTag", "schema")
    assert original.text.startswith(b"<soap:Body><cs:authorizeRequest/>")


def test_a_call_passes_unnoted_where_nobody_looks() -> None:
    assert passed(BROKEN, "off")[0].notes == ()


def test_a_call_that_breaks_the_schema_is_refused_where_that_is_wanted() -> None:
    with pytest.raises(Violation) as caught:
        passed(BROKEN, "refuse")
    assert (caught.value.code, caught.value.path) == ("FormationViolation", "Authorize.vendor")
    with pytest.raises(Violation, match=r"^Authorize\.idTag: "):
        passed(envelope("<cs:authorizeRequest/>"), "refuse")


def test_a_translation_is_no_breach() -> None:
    """What reading would have written otherwise breaks nothing."""
    body = envelope('<authorizeRequest xmlns="urn://Ocpp/Cs/2015/10"><idTag> TAG </idTag></authorizeRequest>')
    assert passed(body)[0].notes == ()


# --- replies as they are ---

RESULT = envelope(
    "<cp:resetResponse><cp:status>Accepted</cp:status><cp:vendor>1</cp:vendor></cp:resetResponse>", ""
)
FAULT = envelope("<soap:Fault><soap:Reason><soap:Text>no</soap:Text></soap:Reason></soap:Fault>", "")


def replied(
    body: bytes, check: Check = "report", status: int = 200, form: str = form_of(SOAP_12)
) -> tuple[Reply, tuple[Note, ...]]:
    return read_reply(status, "application/soap+xml", body, operation("Reset"), form=form, check=check)


def test_a_result_of_the_askers_form_is_taken_as_it_is() -> None:
    reply, notes = replied(RESULT)
    assert reply == CallResult({"status": "Accepted"})
    assert reply.original == cut_out(RESULT)
    assert notes == (Breach("ResetResponse.vendor", "1", "unknown-field", "ResetResponse has no such field"),)
    assert replied(RESULT, "off")[1] == ()
    refused_reply, _ = replied(RESULT, "refuse")
    assert (failed(refused_reply).code, refused_reply.original) == ("InternalError", None)


def test_a_fault_of_the_askers_form_is_taken_as_it_is_with_its_status() -> None:
    reply, _ = replied(FAULT, status=503)
    assert failed(reply).description == "no"
    assert reply.original == replace(cut_out(FAULT), status=503)


@pytest.mark.parametrize("form", ["", form_of(SOAP_11), "json 1.6"])
def test_a_reply_of_another_form_is_translated(form: str) -> None:
    for body in (RESULT, FAULT):
        reply, notes = replied(body, form=form)
        assert reply.original is None
        assert not any(isinstance(note, Breach) for note in notes)


def test_an_answer_that_had_to_be_mended_is_translated() -> None:
    """node-red never closes its chargeBoxIdentity."""
    body = RESULT.replace(b"<soap:Header>", b"<soap:Header><cp:chargeBoxIdentity>undefined")
    reply, notes = replied(body)
    assert (reply, reply.original) == (CallResult({"status": "Accepted"}), None)
    assert notes[0].rule == "recovered"


def test_an_empty_body_has_nothing_to_pass() -> None:
    reply, notes = read_reply(
        200,
        "application/soap+xml",
        envelope("", ""),
        operation("MeterValues", Side.CENTRAL_SYSTEM),
        form=form_of(SOAP_12),
    )
    assert (reply, reply.original) == (CallResult({}), None)
    assert [note.rule for note in notes] == ["empty-body"]


# --- written as they are ---

OPENING = f'<S:Envelope xmlns:S="{SOAP_12}" xmlns:o="{CP}">'.encode()
TEXT = b"<S:Body> <o:any/>\r\n</S:Body> </S:Envelope>"
AS_IT_IS = Original(form_of(SOAP_12), TEXT, OPENING)


def test_a_call_of_the_partys_form_is_written_as_it_is() -> None:
    """Around its Body stand its own Envelope and our Header, which declares what it needs itself."""
    addressing = Addressing("CP001", "http://10.1.2.3:8080/ocpp", must_understand=False)
    written = write_call(
        Call("Reset", {}, AS_IT_IS), addressing, DIALECT, Side.CHARGE_POINT, lambda: "urn:uuid:1"
    )
    assert written.content_type == 'application/soap+xml; charset=utf-8; action="/Reset"'
    assert written.notes == ()
    assert (
        written.body
        == OPENING
        + (
            f'<soap:Header xmlns:soap="{SOAP_12}" xmlns:wsa="{WSA_2005}" xmlns:ocpp="{CP}">'
            "<ocpp:chargeBoxIdentity>CP001</ocpp:chargeBoxIdentity>"
            "<wsa:Action>/Reset</wsa:Action><wsa:MessageID>urn:uuid:1</wsa:MessageID>"
            f"<wsa:ReplyTo><wsa:Address>{ANONYMOUS}</wsa:Address></wsa:ReplyTo>"
            "<wsa:To>http://10.1.2.3:8080/ocpp</wsa:To></soap:Header>"
        ).encode()
        + TEXT
    )


@pytest.mark.parametrize("form", [form_of(SOAP_11), "json 1.6"])
def test_a_call_of_another_form_is_written_anew(form: str) -> None:
    call = Call("ClearCache", {}, replace(AS_IT_IS, form=form))
    written = write_call(call, TO_CHARGE_POINT, DIALECT, Side.CHARGE_POINT, lambda: "urn:uuid:1")
    assert written.body.endswith(b"<soap:Body><ocpp:clearCacheRequest/></soap:Body></soap:Envelope>")
    assert OPENING not in written.body


@pytest.mark.parametrize(
    ("reply", "action", "status"),
    [
        (CallResult({}, AS_IT_IS), "/HeartbeatResponse", 200),
        (CallError("NotSupported", original=AS_IT_IS), f"{WSA_2005}/fault", 200),
        (CallError("NotSupported", original=replace(AS_IT_IS, status=400)), f"{WSA_2005}/fault", 400),
        (CallError("NotSupported", original=replace(AS_IT_IS, status=500)), f"{WSA_2005}/fault", 500),
    ],
)
def test_a_reply_of_the_askers_form_is_written_as_it_is(reply: Reply, action: str, status: int) -> None:
    written = write_reply(ASKED, operation("Heartbeat", Side.CENTRAL_SYSTEM), reply, DIALECT, "urn:uuid:1")
    assert (written.status, written.content_type) == (status, "application/soap+xml; charset=utf-8")
    assert (
        written.body
        == OPENING
        + (
            f'<soap:Header xmlns:soap="{SOAP_12}" xmlns:wsa="{WSA_2005}">'
            f"<wsa:Action>{action}</wsa:Action><wsa:MessageID>urn:uuid:1</wsa:MessageID>"
            f"<wsa:To>{ANONYMOUS}</wsa:To><wsa:RelatesTo>urn:uuid:b70e2eae</wsa:RelatesTo></soap:Header>"
        ).encode()
        + TEXT
    )


def test_a_reply_of_another_form_is_written_anew() -> None:
    other = replace(AS_IT_IS, form="json 1.6")
    for reply in (
        CallResult({"currentTime": "2024-05-01T10:00:00Z"}, other),
        CallError("NotSupported", original=other),
    ):
        written = write_reply(
            ASKED, operation("Heartbeat", Side.CENTRAL_SYSTEM), reply, DIALECT, "urn:uuid:1"
        )
        assert OPENING not in written.body


@pytest.mark.parametrize("soap", [SOAP_12, SOAP_11])
@pytest.mark.parametrize("start", ["", "\ufeff", '<?xml version="1.0" encoding="UTF-8"?>\n'])
def test_a_call_passes_through_both_borders_byte_for_byte(soap: str, start: str) -> None:
    """What a charge point wrote in its Body is what its central system reads."""
    body = envelope(
        "<cs:authorizeRequest >\n<cs:idTag\t>T&#65;G</cs:idTag></cs:authorizeRequest>",
        soap=soap,
        start=start,
    )
    taken, original = passed(body)
    addressing = Addressing("CP001", "http://cs.example.com/", "http://gw.example.com/cp", soap=soap)
    written = write_call(taken.call, addressing, DIALECT, Side.CENTRAL_SYSTEM, lambda: "urn:uuid:1")
    assert written.body.endswith(body[body.index(b"<soap:Body>") :])
    read, notes = call_in(written.body)
    assert (read, notes) == (Call("Authorize", {"idTag": "TAG"}), ())
    assert original.form == form_of(soap)


@pytest.mark.parametrize(
    ("body", "looks_like_it"),
    [
        (b'<stopTransactionRequest xmlns="urn://Ocpp/Cs/2012/06/">', True),
        (b'<x:MeterValuesRequest xmlns:x="URN://OCPP/CS/2010/10"', True),
        ('<startTransactionRequest xmlns="urn://Ocpp/Cs/2010/08/">'.encode("utf-16"), True),
        (b'<stopTransactionRequest xmlns="urn://Ocpp/Cs/2015/10/">', False),
        (b'<heartbeatRequest xmlns="urn://Ocpp/Cs/2012/06/">', False),
        (b"", False),
    ],
)
def test_what_cannot_be_read_may_look_like_a_transaction_message_of_old(
    body: bytes, looks_like_it: bool
) -> None:
    assert looks_like_older_transaction(body) == looks_like_it

"""The habits of charge points in the field, as bytes on a socket, and the bytes they get back."""

from __future__ import annotations

import asyncio
import gzip
import re
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from tests.interop.raw import an_ear, as_text, envelope, post, talk
from tests.interop.running import Running, configuration, running
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.outcomes import CallRefused

NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
WSA_2005 = "http://www.w3.org/2005/08/addressing"
WSA_2004 = "http://schemas.xmlsoap.org/ws/2004/08/addressing"

SOAP = "Content-Type: application/soap+xml; charset=utf-8"
HEARTBEAT = envelope("CP1")
LENGTH = f"Content-Length: {len(HEARTBEAT)}"


def answer(
    body: str = "<ocpp:currentTime>2024-05-01T10:00:00Z</ocpp:currentTime>",
    *,
    action: str = "Heartbeat",
    soap: str = SOAP_12,
    wsa: str = WSA_2005,
    anonymous: str = f"{WSA_2005}/anonymous",
    content_type: str = "application/soap+xml; charset=utf-8",
    relates_to: str = "<wsa:RelatesTo>urn:uuid:01</wsa:RelatesTo>",
    headers: str = "",
) -> str:
    """The response to a call, as ``raw.as_text`` shows it."""
    element = f"ocpp:{action[0].lower()}{action[1:]}Response"
    namespace = 'xmlns:ocpp="urn://Ocpp/Cs/2015/10/"'
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope xmlns:soap="{soap}" xmlns:wsa="{wsa}">'
        f"<soap:Header><wsa:Action>/{action}Response</wsa:Action><wsa:MessageID>urn:uuid:...</wsa:MessageID>"
        f"<wsa:To>{anonymous}</wsa:To>{relates_to}</soap:Header><soap:Body>"
        + (f"<{element} {namespace}>{body}</{element}>" if body else f"<{element} {namespace}/>")
        + "</soap:Body></soap:Envelope>"
    )
    length = len(text.encode()) + 33  # a message id is 36 characters, not "..."
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nDate: ...\r\n"
        f"Server: wattbridge\r\n{headers}\r\n{text}"
    )


@dataclass
class Here:
    gateway: Running
    central_system: JsonCentralSystem

    async def talk(self, *sent: bytes, responses: int = 1) -> str:
        return await talk(self.gateway.host_and_port, *sent, responses=responses)


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    async with (
        JsonCentralSystem(now=lambda: NOW, heartbeat_interval=300) as central_system,
        running(configuration(central_system.url)) as gateway,
    ):
        yield Here(gateway, central_system)
        assert central_system.problems == []


# --- HTTP ------------------------------------------------------------------------------------------------


async def test_usual_request(here: Here) -> None:
    assert await here.talk(post(HEARTBEAT)) == answer()
    assert here.central_system.received == [("CP1", "Heartbeat", {})]


@pytest.mark.parametrize(
    ("sent", "headers"),
    [
        pytest.param(post(HEARTBEAT, SOAP, LENGTH, version="1.0"), "Connection: close\r\n", id="HTTP/1.0"),
        pytest.param(post(HEARTBEAT, SOAP, LENGTH, "Connection: close"), "Connection: close\r\n", id="close"),
        pytest.param(
            post(HEARTBEAT, SOAP, LENGTH, "Connection: CLOSE, TE"), "Connection: close\r\n", id="close-list"
        ),
    ],
)
async def test_connection_of_one_exchange_ends_with_it(here: Here, sent: bytes, headers: str) -> None:
    assert await here.talk(sent, responses=0) == answer(headers=headers)


async def test_http_1_0_with_keep_alive_is_kept(here: Here) -> None:
    kept = post(HEARTBEAT, SOAP, LENGTH, "Connection: keep-alive", version="1.0")
    assert await here.talk(kept, kept, responses=2) == answer(headers="Connection: keep-alive\r\n") * 2


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%X\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_chunked_body(here: Here, size: int) -> None:
    head = post(b"", SOAP, "Transfer-Encoding: chunked")
    assert await here.talk(head + chunked(HEARTBEAT, size)) == answer()


async def test_body_that_comes_after_100_continue(here: Here) -> None:
    """What libcurl and .NET send for anything that is not tiny."""
    head = post(b"", SOAP, LENGTH, "Expect: 100-continue")
    assert await here.talk(head, HEARTBEAT, responses=2) == "HTTP/1.1 100 Continue\r\n\r\n" + answer()


async def test_request_in_many_small_pieces(here: Here) -> None:
    reader, writer = await asyncio.open_connection(*here.gateway.host_and_port)
    sent = post(HEARTBEAT)
    for at in range(0, len(sent), 100):
        writer.write(sent[at : at + 100])
        await writer.drain()
        await asyncio.sleep(0.001)
    received = as_text(await reader.readuntil(b"</soap:Envelope>"))
    writer.close()
    await writer.wait_closed()
    assert received == answer()


async def test_two_requests_in_one_write_are_answered_in_order(here: Here) -> None:
    authorize = envelope("CP1", "<cs:authorizeRequest><cs:idTag>1</cs:idTag></cs:authorizeRequest>")
    expected = answer(
        "<ocpp:idTagInfo><ocpp:status>Accepted</ocpp:status></ocpp:idTagInfo>", action="Authorize"
    )
    received = await here.talk(post(authorize) + post(HEARTBEAT), responses=2)
    assert received == expected + answer()
    assert [call[1] for call in here.central_system.received] == ["Authorize", "Heartbeat"]


@pytest.mark.parametrize(
    "target",
    [
        "/OCPP/cs",
        "/ocpp/cs/",
        "/ocpp/cs?tenant=1&token=a%20b",
        "/ocpp/cs/?x",
        "/ocpp/%63s",
        "http://127.0.0.1:29310/ocpp/cs",
        "http://gateway.example/Ocpp/Cs/?a=1",
    ],
)
async def test_path_is_known_however_it_is_spelt(here: Here, target: str) -> None:
    assert await here.talk(post(HEARTBEAT, target=target)) == answer()


async def test_other_path_says_where_the_service_is(here: Here) -> None:
    assert await here.talk(post(HEARTBEAT, target="/")) == (
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 55\r\n"
        "Date: ...\r\nServer: wattbridge\r\n\r\nno OCPP service at this path; there is one at /ocpp/cs\n"
    )
    assert here.central_system.received == []


@pytest.mark.parametrize(
    ("coding", "pack", "unpack"),
    [
        ("gzip", gzip.compress, gzip.decompress),
        ("deflate", zlib.compress, zlib.decompress),
        ("x-gzip", gzip.compress, gzip.decompress),
    ],
)
async def test_compressed_request_is_answered_in_its_own_coding(
    here: Here, coding: str, pack: object, unpack: object
) -> None:
    """OCPP-S 1.5, 8.6."""
    assert callable(pack)
    assert callable(unpack)
    body = pack(HEARTBEAT)
    sent = post(
        body, SOAP, f"Content-Encoding: {coding}", f"Content-Length: {len(body)}", "Connection: close"
    )
    reader, writer = await asyncio.open_connection(*here.gateway.host_and_port)
    writer.write(sent)
    async with asyncio.timeout(5.0):
        head, _, packed = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    answered_in = "deflate" if coding == "deflate" else "gzip"
    assert f"Content-Encoding: {answered_in}".encode() in head.split(b"\r\n")
    assert as_text(unpack(packed)) == answer().partition("\r\n\r\n")[2]


async def test_request_that_says_it_is_compressed_and_is_not(here: Here) -> None:
    """govoltbras labels every body gzip."""
    sent = post(HEARTBEAT, SOAP, LENGTH, "Content-Encoding: gzip", "Accept-Encoding: identity")
    assert await here.talk(sent) == answer()


async def test_length_in_characters_instead_of_bytes(here: Here) -> None:
    """glurp counts so. Where the next request begins is then uncertain, so there is none."""
    transfer = "<cs:dataTransferRequest><cs:vendorId>Säule für äöü</cs:vendorId></cs:dataTransferRequest>"
    body = envelope("CP1", transfer)
    sent = post(body, SOAP, f"Content-Length: {len(body.decode())}")
    assert await here.talk(sent) == answer(
        "<ocpp:status>Accepted</ocpp:status>", action="DataTransfer", headers="Connection: close\r\n"
    )
    assert here.central_system.received == [("CP1", "DataTransfer", {"vendorId": "Säule für äöü"})]


async def test_get_says_what_this_is(here: Here) -> None:
    received = await here.talk(b"GET /ocpp/cs HTTP/1.1\r\nHost: gw\r\n\r\n")
    assert received.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n")
    assert "OCPP-S address of a Wattbridge gateway" in received


# --- SOAP ------------------------------------------------------------------------------------------------


async def test_soap_1_1_is_answered_in_soap_1_1(here: Here) -> None:
    body = HEARTBEAT.replace(SOAP_12.encode(), SOAP_11.encode())
    sent = post(body, "Content-Type: text/xml", 'SOAPAction: "/Heartbeat"', f"Content-Length: {len(body)}")
    assert await here.talk(sent) == answer(soap=SOAP_11, content_type="text/xml; charset=utf-8")


async def test_older_addressing_is_answered_in_it(here: Here) -> None:
    """Java-OCA-OCPP writes the addressing of 2004."""
    body = HEARTBEAT.replace(WSA_2005.encode(), WSA_2004.encode())
    assert await here.talk(post(body)) == answer(wsa=WSA_2004, anonymous=f"{WSA_2004}/role/anonymous")


@pytest.mark.parametrize(
    "before", ["\ufeff", "\r\n \n", "\ufeff\n"], ids=["byte-order-mark", "blank-lines", "both"]
)
async def test_something_stands_before_the_envelope(here: Here, before: str) -> None:
    assert await here.talk(post(before.encode() + HEARTBEAT)) == answer()


async def test_header_of_nothing_but_the_identity(here: Here) -> None:
    body = re.sub(rb"<wsa:Action>.*</wsa:From>", b"", HEARTBEAT, flags=re.DOTALL)
    assert b"wsa:Action" not in body
    assert await here.talk(post(body)) == answer(relates_to="")


async def test_envelope_without_any_header_is_nobodys(here: Here) -> None:
    body = re.sub(rb"<soap:Header>.*</soap:Header>", b"", HEARTBEAT, flags=re.DOTALL)
    received = await here.talk(post(body))
    assert received.startswith(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/soap+xml; charset=utf-8\r\n"
    )
    assert received.endswith(
        "<soap:Body><soap:Fault><soap:Code><soap:Value>soap:Sender</soap:Value><soap:Subcode>"
        '<soap:Value xmlns:ocpp="urn://Ocpp/Cs/2015/10/">ocpp:ProtocolError</soap:Value></soap:Subcode></soap:Code>'
        '<soap:Reason><soap:Text xml:lang="en">ProtocolError: Header.chargeBoxIdentity: is missing or empty, '
        "expected who the charge point is</soap:Text></soap:Reason></soap:Fault></soap:Body></soap:Envelope>"
    )
    assert here.central_system.received == []


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"", "Sender", "FormationViolation: found nothing, expected a SOAP envelope"),
        (b"hello", "Sender", "FormationViolation: found 'hello', expected a SOAP envelope"),
        (b"<html><body>login</body></html>", "Sender", "FormationViolation: found root element 'html'"),
        (HEARTBEAT[:-20], "Sender", "FormationViolation: not well-formed XML: "),
        (
            b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + HEARTBEAT.partition(b"\n")[2],
            "Sender",
            "FormationViolation: found a DOCTYPE, which SOAP forbids",
        ),
        (
            HEARTBEAT.replace(b"heartbeatRequest", b"unknownRequest"),
            "Receiver",
            "NotImplemented: Body.unknown",
        ),
        (HEARTBEAT.replace(b"heartbeatRequest", b"resetRequest"), "Receiver", "NotSupported: Body.reset"),
        (
            HEARTBEAT.replace(b"2015/10", b"2012/06").replace(b"heartbeatRequest", b"unknownRequest"),
            "Receiver",
            "NotImplemented: Body.unknownRequest: is not an operation of OCPP 1.5",
        ),
    ],
    ids=["nothing", "text", "html", "cut", "doctype", "unknown", "other-service", "1.5"],
)
async def test_what_is_no_call_gets_a_fault_that_says_what_was_found(
    here: Here, body: bytes, code: str, said: str
) -> None:
    received = await here.talk(post(body))
    status = "400 Bad Request" if code == "Sender" else "500 Internal Server Error"
    assert received.startswith(f"HTTP/1.1 {status}\r\n")
    assert f"<soap:Value>soap:{code}</soap:Value>" in received
    assert said in received.replace("&lt;", "<")
    assert here.central_system.received == []
    [record] = here.gateway.records
    assert record.reply is not None
    assert record.reason in ("malformed", "unsupported")


async def test_broken_transaction_message_gets_a_fault_since_it_will_never_be_right(here: Here) -> None:
    body = envelope(
        "CP1", "<cs:stopTransactionRequest><cs:meterStop>1</cs:meterStop></cs:stopTransactionRequest>"
    )
    received = await here.talk(post(body))
    assert "StopTransaction.transactionId: is missing" in received
    assert here.central_system.received == []


async def test_a_start_that_is_held_in_vain_gets_no_byte_of_an_answer() -> None:
    async with (
        JsonCentralSystem() as central_system,
        running(configuration(central_system.url, connect_timeout="100ms", hold="100ms")) as gateway,
    ):
        central_system.refuse_handshakes = 503
        start = (
            "<cs:startTransactionRequest><cs:connectorId>1</cs:connectorId><cs:idTag>T</cs:idTag>"
            "<cs:timestamp>2024-05-01T10:00:00Z</cs:timestamp><cs:meterStart>1</cs:meterStart>"
            "</cs:startTransactionRequest>"
        )
        assert await talk(gateway.host_and_port, post(envelope("CP1", start)), responses=0) == ""


async def test_many_charge_points_at_once_on_connections_of_their_own(here: Here) -> None:
    identities = [f"CP{number:03}" for number in range(60)]
    async with asyncio.TaskGroup() as tasks:
        talking = [
            tasks.create_task(
                here.talk(post(envelope(identity), SOAP, f"Content-Length: {len(HEARTBEAT) + 2}"))
            )
            for identity in identities
        ]
    assert {talk.result() for talk in talking} == {answer()}
    assert sorted(call[0] for call in here.central_system.received) == identities


async def test_two_calls_of_one_charge_point_at_once_reach_the_central_system_one_by_one(here: Here) -> None:
    """OCPP-J 1.6, 4.1.1: the central system would note a second CALL before its reply as a problem."""
    here.central_system.answer_delay = 0.05
    async with asyncio.TaskGroup() as tasks:
        talking = [tasks.create_task(here.talk(post(HEARTBEAT))) for _ in range(5)]
    assert {talk.result() for talk in talking} == {answer()}


# --- Being called back -----------------------------------------------------------------------------------


RESULT = """\
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>\
<{0}Response xmlns="urn://Ocpp/Cp/2015/10/">{1}</{0}Response></s:Body></s:Envelope>"""


def http_ok(body: str, *, head: str = "HTTP/1.1 200 OK", headers: str = "") -> bytes:
    content = body.encode()
    more = f"Content-Type: application/soap+xml\r\nContent-Length: {len(content)}\r\n{headers}"
    return f"{head}\r\n{more}\r\n".encode() + content


async def test_call_as_the_charge_point_reads_it(here: Here) -> None:
    async with an_ear() as ear:
        await here.talk(post(envelope("CP1", url=ear.url)))
        ear.answer = lambda request: http_ok(RESULT.format("unlockConnector", "<status>Unlocked</status>"))
        assert await here.central_system.call("CP1", "UnlockConnector", connectorId=1) == {
            "status": "Unlocked"
        }
        [request] = ear.heard
        authority = ear.url.split("/")[2]
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" '
            'xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:ocpp="urn://Ocpp/Cp/2015/10/"><soap:Header>'
            "<ocpp:chargeBoxIdentity>CP1</ocpp:chargeBoxIdentity>"
            '<wsa:Action soap:mustUnderstand="true">/UnlockConnector</wsa:Action>'
            "<wsa:MessageID>urn:uuid:...</wsa:MessageID>"
            "<wsa:ReplyTo><wsa:Address>http://www.w3.org/2005/08/addressing/anonymous</wsa:Address></wsa:ReplyTo>"
            f'<wsa:To soap:mustUnderstand="true">{ear.url}</wsa:To></soap:Header>'
            "<soap:Body><ocpp:unlockConnectorRequest><ocpp:connectorId>1</ocpp:connectorId>"
            "</ocpp:unlockConnectorRequest></soap:Body></soap:Envelope>"
        )
        head, _, sent = as_text(request).partition("\r\n\r\n")
        assert sent == body
        line, *headers = head.split("\r\n")
        assert line == "POST /cp HTTP/1.1"
        assert sorted(headers) == sorted(
            [
                f"Host: {authority}",
                'Content-Type: application/soap+xml; charset=utf-8; action="/UnlockConnector"',
                f"Content-Length: {len(body) + 33}",
                *(header for header in headers if header.startswith(("Accept", "User-Agent", "Connection"))),
            ]
        )


async def test_callback_address_is_taken_from_reply_to_and_from_a_bare_from(here: Here) -> None:
    """Java-OCA-OCPP writes the URL straight into wsa:From; others give a ReplyTo only."""
    async with an_ear() as ear:
        ear.answer = lambda request: http_ok(RESULT.format("clearCache", "<status>Accepted</status>"))
        whole = f"<wsa:From><wsa:Address>{ear.url}</wsa:Address></wsa:From>"
        for identity, given in (
            ("CP1", f"<wsa:From>{ear.url}</wsa:From>"),
            ("CP2", f"<wsa:ReplyTo><wsa:Address> {ear.url}\n</wsa:Address></wsa:ReplyTo>"),
            (
                "CP3",
                "<wsa:From><wsa:Address>http://www.w3.org/2005/08/addressing/anonymous</wsa:Address></wsa:From>"
                f"<wsa:ReplyTo><wsa:Address>{ear.url}</wsa:Address></wsa:ReplyTo>",
            ),
        ):
            body = envelope(identity, url=ear.url).decode()
            assert whole in body
            await here.talk(post(body.replace(whole, given).encode()))
            assert await here.central_system.call(identity, "ClearCache") == {"status": "Accepted"}
        assert len(ear.heard) == 3


async def test_charge_point_that_gives_no_address_cannot_be_called(here: Here) -> None:
    await here.talk(post(HEARTBEAT))
    with pytest.raises(CallRefused) as refusal:
        await here.central_system.call("CP1", "ClearCache")
    assert refusal.value.code == "GenericError"
    assert here.gateway.records[-1].reason == "not_connected"


async def test_charge_point_may_not_have_another_host_called(here: Here) -> None:
    """169.254.169.254 is the metadata service of many clouds."""
    await here.talk(post(envelope("CP1", url="http://169.254.169.254/latest")))
    with pytest.raises(CallRefused, match="cloud metadata service"):
        await here.central_system.call("CP1", "ClearCache")


async def test_who_takes_an_identity_does_not_get_its_calls_while_its_owner_answers(here: Here) -> None:
    def accepting(request: bytes) -> bytes:
        return http_ok(
            RESULT.format("clearCache", "<status>Accepted</status>"), headers="Connection: close\r\n"
        )

    async with an_ear("127.0.0.3") as other:
        other.answer = accepting
        async with an_ear() as owner:
            owner.answer = accepting
            await here.talk(post(envelope("CP1", url=owner.url)))
            address = here.gateway.host_and_port
            assert await talk(address, post(envelope("CP1", url=other.url)), source="127.0.0.3") == answer()
            assert await here.central_system.call("CP1", "ClearCache") == {"status": "Accepted"}
            assert (len(owner.heard), len(other.heard)) == (1, 0)
        # Its owner is gone: it was the charge point itself, at a new address.
        assert await here.central_system.call("CP1", "ClearCache") == {"status": "Accepted"}
        assert (len(owner.heard), len(other.heard)) == (1, 1)


@pytest.mark.parametrize(
    "answered",
    [
        pytest.param(
            http_ok(RESULT.format("clearCache", "<status>Accepted</status>"), head="HTTP/1.0 200 OK"),
            id="1.0",
        ),
        pytest.param(
            http_ok(
                RESULT.format("clearCache", "<status>Accepted</status>"), headers="Connection: close\r\n"
            ),
            id="close",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + chunked(RESULT.format("clearCache", "<status>Accepted</status>").encode(), 50),
            id="chunked",
        ),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\n"
            + http_ok(RESULT.format("clearCache", "<status>Accepted</status>")),
            id="100-continue",
        ),
        pytest.param(http_ok(RESULT.format("ClearCache", " <status> Accepted </status> ")), id="capital"),
        pytest.param(http_ok("\ufeff" + RESULT.format("clearCache", "<status>Accepted</status>")), id="BOM"),
    ],
)
async def test_answer_is_understood_however_it_is_carried(here: Here, answered: bytes) -> None:
    async with an_ear() as ear:
        ear.answer = lambda request: answered
        await here.talk(post(envelope("CP1", url=ear.url)))
        assert await here.central_system.call("CP1", "ClearCache") == {"status": "Accepted"}
        assert await here.central_system.call("CP1", "ClearCache") == {"status": "Accepted"}


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\r\n<html>Log in!</html>",
            "answered HTTP 200 with an HTML page: '<html>Log in!</html>'",
            id="html",
        ),
        pytest.param(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered HTTP 404", id="404"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP", id="ssh"),
        pytest.param(
            http_ok(RESULT.format("reset", "<status>Accepted</status>")), "resetResponse", id="another"
        ),
        pytest.param(http_ok(RESULT.format("clearCache", "<status>Maybe</status>")), "'Maybe'", id="word"),
    ],
)
async def test_answer_that_is_none_is_told_to_the_central_system(
    here: Here, answered: bytes, said: str
) -> None:
    async with an_ear() as ear:
        ear.answer = lambda request: answered
        await here.talk(post(envelope("CP1", url=ear.url)))
        with pytest.raises(CallRefused) as refusal:
            await here.central_system.call("CP1", "ClearCache")
        assert said in refusal.value.description

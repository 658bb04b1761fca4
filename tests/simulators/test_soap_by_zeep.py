"""zeep as a charge point's SOAP stack, seen from the wire on both of its sides."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from wattbridge.simulators.outcomes import Refused, Unanswered
from wattbridge.simulators.soap_by_zeep import Callbacks, Caller

from .canned import BODIES, Canned, CannedCentralSystem, fault, result

CALLBACK_URL = "http://127.0.0.1:8090/ocpp/CP1"


def without_ids(text: str) -> str:
    return re.sub(r"urn:uuid:[0-9a-f-]{36}", "urn:uuid:…", text)


# --- Calling the central system ------------------------------------------------------------------------


@pytest.fixture
def central_system() -> Iterator[CannedCentralSystem]:
    canned = CannedCentralSystem()
    yield canned
    canned.close()


@pytest.fixture
def caller(central_system: CannedCentralSystem) -> Iterator[Caller]:
    caller = Caller("CP1", central_system.url, CALLBACK_URL, [], timeout=5.0)
    yield caller
    caller.close()


def test_a_request_carries_each_header_once(central_system: CannedCentralSystem, caller: Caller) -> None:
    caller.call("Heartbeat", {})

    [(http_headers, text)] = central_system.requests
    assert http_headers["Content-Type"] == 'application/soap+xml; charset=utf-8; action="/Heartbeat"'
    assert without_ids(text) == (
        "<?xml version='1.0' encoding='utf-8'?>\n"
        '<soap-env:Envelope xmlns:soap-env="http://www.w3.org/2003/05/soap-envelope">'
        '<soap-env:Header xmlns:wsa="http://www.w3.org/2005/08/addressing">'
        '<ns0:chargeBoxIdentity xmlns:ns0="urn://Ocpp/Cs/2015/10/">CP1</ns0:chargeBoxIdentity>'
        "<wsa:Action>/Heartbeat</wsa:Action>"
        "<wsa:MessageID>urn:uuid:…</wsa:MessageID>"
        f"<wsa:To>{central_system.url}</wsa:To>"
        f"<wsa:From><wsa:Address>{CALLBACK_URL}</wsa:Address></wsa:From>"
        "<wsa:ReplyTo><wsa:Address>http://www.w3.org/2005/08/addressing/anonymous</wsa:Address></wsa:ReplyTo>"
        "</soap-env:Header>"
        '<soap-env:Body><ns0:heartbeatRequest xmlns:ns0="urn://Ocpp/Cs/2015/10/"/></soap-env:Body>'
        "</soap-env:Envelope>"
    )


def test_a_body_stands_in_the_order_of_the_schema(
    central_system: CannedCentralSystem, caller: Caller
) -> None:
    caller.call(
        "StartTransaction",
        {
            "reservationId": 0,
            "meterStart": 1000,
            "timestamp": "2024-05-01T11:30:00.000+01:00",
            "idTag": "<A&B>",
            "connectorId": 1,
        },
    )

    assert central_system.bodies("StartTransaction") == [
        "<startTransactionRequest><connectorId>1</connectorId><idTag>&lt;A&amp;B&gt;</idTag>"
        "<timestamp>2024-05-01T11:30:00.000+01:00</timestamp><meterStart>1000</meterStart>"
        "<reservationId>0</reservationId></startTransactionRequest>"
    ]


def test_an_answer_is_a_plain_payload(caller: Caller) -> None:
    start = {"connectorId": 1, "idTag": "A", "timestamp": "2024-05-01T10:00:00Z", "meterStart": 0}
    assert caller.call("StartTransaction", start) == {
        "transactionId": 7,
        "idTagInfo": {"status": "Accepted"},
    }
    # zeep itself gives the only field of a response without its name
    assert caller.call("Heartbeat", {}) == {"currentTime": "2024-05-01T10:00:00Z"}
    assert caller.call("Authorize", {"idTag": "A"}) == {"idTagInfo": {"status": "Accepted"}}
    assert caller.call("FirmwareStatusNotification", {"status": "Idle"}) == {}
    assert caller.problems == []


def test_an_answer_without_its_optional_field_is_empty(
    monkeypatch: pytest.MonkeyPatch, caller: Caller
) -> None:
    monkeypatch.setitem(BODIES, "StopTransaction", "")
    stop = {"transactionId": 7, "timestamp": "2024-05-01T10:00:00Z", "meterStop": 0}
    assert caller.call("StopTransaction", stop) == {}


def test_a_fault_is_a_refusal(central_system: CannedCentralSystem, caller: Caller) -> None:
    central_system.answer = fault
    with pytest.raises(Refused) as refused:
        caller.call("Heartbeat", {})
    found = (refused.value.code, refused.value.subcode, refused.value.reason)
    assert found == ("Receiver", "InternalError", "out of order")
    assert str(refused.value) == "Receiver/InternalError: out of order"
    assert caller.problems == []


def test_a_connection_closed_without_an_answer_is_no_problem_of_its_own(
    central_system: CannedCentralSystem, caller: Caller
) -> None:
    """A gateway closes like that when it cannot keep a transaction message."""
    central_system.answer = lambda action, relates_to: None
    with pytest.raises(Unanswered, match="Heartbeat: no answer"):
        caller.call("Heartbeat", {})
    assert caller.problems == []


@pytest.mark.parametrize("body", ["", "busy, come back later"])
def test_a_503_without_soap_is_no_answer(
    central_system: CannedCentralSystem, caller: Caller, body: str
) -> None:
    central_system.answer = lambda action, relates_to: Canned(503, "text/plain", body)
    with pytest.raises(Unanswered, match=r"^Heartbeat: Server returned .*503"):
        caller.call("Heartbeat", {})
    assert caller.problems == []


def test_a_central_system_that_does_not_listen_is_no_answer() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        caller = Caller("CP1", f"http://127.0.0.1:{port}/cs", CALLBACK_URL, [], timeout=5.0)
        with pytest.raises(Unanswered, match="Connection refused"):
            caller.call("Heartbeat", {})
        caller.close()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("/HeartbeatResponse", "/Heartbeat", "wsa:Action is '/Heartbeat'; expected '/HeartbeatResponse'"),
        ("<a:RelatesTo>", "<a:RelatesTo>x", "wsa:RelatesTo is 'xurn:uuid:…'; expected 'urn:uuid:…'"),
        ("a:RelatesTo", "a:Relates", "wsa:RelatesTo []; expected exactly one"),
        (
            "<a:MessageID>",
            "<a:MessageID/><a:MessageID>",
            "wsa:MessageID ['', 'urn:uuid:…']; expected exactly one",
        ),
        ("<a:To>", "<a:To/><a:To>", "wsa:To stands more than once"),
    ],
)
def test_a_response_with_wrong_headers_is_used_and_noted(
    central_system: CannedCentralSystem, caller: Caller, old: str, new: str, problem: str
) -> None:
    def answer(action: str, relates_to: str) -> Canned:
        right = result(action, relates_to)
        return Canned(200, right.content_type, right.body.replace(old, new))

    central_system.answer = answer
    assert caller.call("Heartbeat", {}) == {"currentTime": "2024-05-01T10:00:00Z"}
    assert [without_ids(found) for found in caller.problems] == [f"CP1 Heartbeat: response: {problem}"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("2003/05/soap-envelope", "2003/05/soap", "is not a SOAP 1.2 envelope"),
        (
            ">2024-05-01T10:00:00Z<",
            ">today<",
            "'today' is not a valid value of the atomic type 'xs:dateTime'",
        ),
        ("currentTime>", "CurrentTime>", "Element 'CurrentTime': This element is not expected"),
        ("heartbeatResponse", "heartbeatRequest", "expected <{urn://Ocpp/Cs/2015/10/}heartbeatResponse>"),
        ("Cs/2015/10/", "Cs/2012/06/", "expected <{urn://Ocpp/Cs/2015/10/}heartbeatResponse>"),
        ("</s:Body>", "<a:To/></s:Body>", "the body holds 2 elements; expected one"),
    ],
)
def test_a_response_that_breaks_the_description_is_no_answer_and_noted(
    central_system: CannedCentralSystem, caller: Caller, old: str, new: str, problem: str
) -> None:
    def answer(action: str, relates_to: str) -> Canned:
        right = result(action, relates_to)
        return Canned(200, right.content_type, right.body.replace(old, new))

    central_system.answer = answer
    with pytest.raises(Unanswered, match="Heartbeat: "):
        caller.call("Heartbeat", {})
    [found] = caller.problems
    assert found.startswith("CP1 Heartbeat: response: ")
    assert problem in found


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (
            lambda action, relates_to: Canned(200, "text/html", "<html><br></html>"),
            "CP1 Heartbeat: response: HTTP 200, but not XML: ",
        ),
        (
            lambda action, relates_to: Canned(202, "text/xml", ""),
            "CP1 Heartbeat: response: HTTP 202 for a result",
        ),
    ],
)
def test_what_is_not_soap_is_no_answer_and_noted(
    central_system: CannedCentralSystem,
    caller: Caller,
    answer: Callable[[str, str], Canned],
    problem: str,
) -> None:
    central_system.answer = answer
    with pytest.raises(Unanswered):
        caller.call("Heartbeat", {})
    [found] = caller.problems
    assert found.startswith(problem)


def test_a_fault_with_another_http_status_than_its_code_has_is_noted(
    central_system: CannedCentralSystem, caller: Caller
) -> None:
    """SOAP 1.2 part 2, table 20."""

    def answer(action: str, relates_to: str) -> Canned:
        return Canned(200, "text/xml", fault(action, relates_to).body)

    central_system.answer = answer
    with pytest.raises(Refused):
        caller.call("Heartbeat", {})
    assert caller.problems == [
        "CP1 Heartbeat: response: Content-Type 'text/xml' is not application/soap+xml",
        "CP1 Heartbeat: response: HTTP 200 for a fault of the Receiver; expected 500",
    ]


# --- Being called back ---------------------------------------------------------------------------------

CONNECTOR = "<cp:connectorId>1</cp:connectorId>"
ID_TAG = "<cp:idTag>A</cp:idTag>"
REQUEST = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" \
xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:cp="urn://Ocpp/Cp/2015/10/">
 <soap:Header>
  <cp:chargeBoxIdentity>CP1</cp:chargeBoxIdentity>
  <wsa:Action soap:mustUnderstand="true">/RemoteStartTransaction</wsa:Action>
  <wsa:MessageID>urn:uuid:b70e2eae-bd09-4546-b049-8b2be7ccf578</wsa:MessageID>
  <wsa:From><wsa:Address>http://gw.example.com/</wsa:Address></wsa:From>
  <wsa:ReplyTo><wsa:Address>http://www.w3.org/2005/08/addressing/anonymous</wsa:Address></wsa:ReplyTo>
  <wsa:To soap:mustUnderstand="1">@URL@</wsa:To>
 </soap:Header>
 <soap:Body><cp:remoteStartTransactionRequest>{CONNECTOR}{ID_TAG}\
</cp:remoteStartTransactionRequest></soap:Body>
</soap:Envelope>"""


class Party:
    """A charge point that answers everything with Accepted, and somebody who posts to it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.problems: list[str] = []
        self.refusal: Refused | None = None
        self.callbacks = Callbacks("CP1", "127.0.0.1", "/ocpp/CP1", self.answer, self.problems)
        address = urlsplit(self.callbacks.url)
        self.connection = http.client.HTTPConnection("127.0.0.1", address.port or 0, timeout=5)

    def answer(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((action, payload))
        if self.refusal is not None:
            raise self.refusal
        return {"status": "Accepted"}

    def post(self, text: str, **headers: str) -> tuple[int, str]:
        """Returns HTTP status and body, ids blanked out."""
        headers = {"Content-Type": "application/soap+xml; charset=utf-8"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        body = text.replace("@URL@", self.callbacks.url).encode()
        self.connection.request("POST", "/ocpp/CP1", body, headers)
        response = self.connection.getresponse()
        return response.status, without_ids(response.read().decode())

    def close(self) -> None:
        self.connection.close()
        self.callbacks.close()


@pytest.fixture
def party() -> Iterator[Party]:
    party = Party()
    yield party
    party.close()


def test_a_request_is_answered_with_the_literal_response(party: Party) -> None:
    status, response = party.post(REQUEST)
    assert status == 200
    assert response == (
        "<?xml version='1.0' encoding='utf-8'?>\n"
        '<soap-env:Envelope xmlns:soap-env="http://www.w3.org/2003/05/soap-envelope">'
        '<soap-env:Header xmlns:wsa="http://www.w3.org/2005/08/addressing">'
        "<wsa:Action>/RemoteStartTransactionResponse</wsa:Action>"
        "<wsa:MessageID>urn:uuid:…</wsa:MessageID>"
        "<wsa:To>http://www.w3.org/2005/08/addressing/anonymous</wsa:To>"
        "<wsa:RelatesTo>urn:uuid:…</wsa:RelatesTo>"
        "</soap-env:Header>"
        "<soap-env:Body>"
        '<ns0:remoteStartTransactionResponse xmlns:ns0="urn://Ocpp/Cp/2015/10/">'
        "<ns0:status>Accepted</ns0:status></ns0:remoteStartTransactionResponse>"
        "</soap-env:Body></soap-env:Envelope>"
    )
    assert party.asked == [("RemoteStartTransaction", {"connectorId": 1, "idTag": "A"})]
    assert party.problems == []


def test_relates_to_is_the_message_id_of_the_request(party: Party) -> None:
    _, response = party.post(REQUEST.replace("urn:uuid:b70e2eae-bd09-4546-b049-8b2be7ccf578", "7230"))
    assert "<wsa:RelatesTo>7230</wsa:RelatesTo>" in response


def test_a_connection_may_be_kept_for_the_next_request(party: Party) -> None:
    assert party.post(REQUEST)[0] == 200
    kept = party.connection.sock
    assert party.post(REQUEST)[0] == 200
    assert party.connection.sock is kept


def test_closing_ends_kept_connections(party: Party) -> None:
    party.post(REQUEST)
    party.callbacks.close()
    assert party.connection.sock.recv(1) == b""


def test_another_identity_is_a_mismatch(party: Party) -> None:
    status, response = party.post(REQUEST.replace(">CP1<", ">CP2<"))
    assert status == 400
    assert response == (
        "<?xml version='1.0' encoding='utf-8'?>\n"
        '<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:cp="urn://Ocpp/Cp/2015/10/">'
        '<soap:Header xmlns:wsa="http://www.w3.org/2005/08/addressing">'
        "<wsa:Action>http://www.w3.org/2005/08/addressing/fault</wsa:Action>"
        "<wsa:MessageID>urn:uuid:…</wsa:MessageID>"
        "<wsa:To>http://www.w3.org/2005/08/addressing/anonymous</wsa:To>"
        "<wsa:RelatesTo>urn:uuid:…</wsa:RelatesTo>"
        "</soap:Header><soap:Body><soap:Fault><soap:Code><soap:Value>soap:Sender</soap:Value>"
        "<soap:Subcode><soap:Value>cp:IdentityMismatch</soap:Value></soap:Subcode></soap:Code>"
        "<soap:Reason><soap:Text xml:lang=\"en\">RemoteStartTransaction: this is 'CP1', not 'CP2'</soap:Text>"
        "</soap:Reason></soap:Fault></soap:Body></soap:Envelope>"
    )
    assert party.problems == ["CP1 callback: RemoteStartTransaction: this is 'CP1', not 'CP2'"]
    assert party.asked == []


@pytest.mark.parametrize(
    ("text", "status", "subcode", "problem"),
    [
        ("garbage", 400, "ProtocolError", "not XML"),
        ("", 400, "ProtocolError", "not XML"),
        ("<a/>", 400, "ProtocolError", "<a> is not a SOAP 1.2 envelope"),
        (
            REQUEST.replace("<soap:Envelope", "<!DOCTYPE soap:Envelope>\n<soap:Envelope"),
            400,
            "ProtocolError",
            "a document type declaration",
        ),
        (REQUEST.replace("soap:Body", "soap:Corpse"), 400, "ProtocolError", "expected Header and Body"),
        (REQUEST.replace("</soap:Body>", "<cp:x/></soap:Body>"), 400, "ProtocolError", "2 elements"),
        (REQUEST.replace("remoteStart", "remotestart"), 500, "NotSupported", "is no request of"),
        (REQUEST.replace("2015/10", "2012/06"), 500, "NotSupported", "is no request of"),
        (REQUEST.replace("cp:chargeBoxIdentity", "cp:identity"), 400, "ProtocolError", "0 chargeBoxIdentity"),
        (REQUEST.replace(">1<", ">one<"), 400, "ProtocolError", "'one' is not a valid value"),
        (
            REQUEST.replace(f"{CONNECTOR}{ID_TAG}", f"{ID_TAG}{CONNECTOR}"),
            400,
            "ProtocolError",
            "Element 'connectorId': This element is not expected",
        ),
    ],
)
def test_a_request_that_is_not_usable_gets_a_fault_and_is_noted(
    party: Party, text: str, status: int, subcode: str, problem: str
) -> None:
    found = party.post(text)
    assert found[0] == status
    assert f"<soap:Value>cp:{subcode}</soap:Value>" in found[1]
    [noted] = party.problems
    assert noted.startswith("CP1 callback: ")
    assert problem in noted
    assert party.asked == []


def test_soap_1_1_is_answered_in_soap_1_1(party: Party) -> None:
    """SOAP 1.2 part 1, appendix A."""
    status, response = party.post(
        REQUEST.replace(
            "http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/"
        )
    )
    assert status == 500
    assert '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">' in response
    assert "<faultcode>soap:VersionMismatch</faultcode>" in response
    assert party.problems == ["CP1 callback: a SOAP 1.1 envelope; OCPP-S is SOAP 1.2"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            ">/Remote",
            ">/remote",
            "wsa:Action is '/remoteStartTransaction'; expected '/RemoteStartTransaction'",
        ),
        ("wsa:MessageID", "wsa:Id", "wsa:MessageID []; expected exactly one"),
        ("@URL@", "http://elsewhere/", "wsa:To is 'http://elsewhere/'; expected '@URL@'"),
        ("wsa:Address>", "wsa:address>", "wsa:From with wsa:Address ['']"),
        (">http://www.w3.org/2005/08/addressing/anonymous<", ">http://gw/<", "wsa:ReplyTo is 'http://gw/'"),
        ("<wsa:From>", '<wsa:From soap:mustUnderstand="1">', "which many charge points refuse"),
        ('mustUnderstand="1"', 'mustUnderstand="yes"', "mustUnderstand='yes' on To is not a boolean"),
        ("<wsa:MessageID>", "<wsa:MessageID>a</wsa:MessageID><wsa:MessageID>", "expected exactly one"),
    ],
)
def test_a_request_with_wrong_headers_is_answered_and_noted(
    party: Party, old: str, new: str, problem: str
) -> None:
    assert party.post(REQUEST.replace(old, new))[0] == 200
    assert problem.replace("@URL@", party.callbacks.url) in party.problems[0]


def test_a_header_nobody_understands_but_must_is_refused(party: Party) -> None:
    """SOAP 1.2 part 1, 5.4.8."""
    status, response = party.post(
        REQUEST.replace("<wsa:From>", '<x:Secret xmlns:x="urn:x" soap:mustUnderstand="1"/><wsa:From>')
    )
    assert (status, "<soap:Value>soap:MustUnderstand</soap:Value></soap:Code>" in response) == (500, True)
    assert party.problems == [
        "CP1 callback: RemoteStartTransaction: mustUnderstand on {urn:x}Secret, which nobody understands"
    ]


@pytest.mark.parametrize(
    ("content_type", "problem"),
    [
        ("text/xml; charset=utf-8", "is not application/soap+xml"),
        ("application/soap+xml; charset=latin-1", "expected charset=utf-8"),
        ('application/soap+xml; charset=utf-8; action="/Reset"', "names another action"),
    ],
)
def test_a_wrong_content_type_is_noted(party: Party, content_type: str, problem: str) -> None:
    assert party.post(REQUEST, Content_Type=content_type)[0] == 200
    [noted] = party.problems
    assert problem in noted


def test_the_charge_points_own_refusal_is_a_fault_and_no_problem(party: Party) -> None:
    party.refusal = Refused("Receiver", "InternalError", "relay\x00 stuck < open")
    status, response = party.post(REQUEST)
    assert status == 500
    assert "<soap:Value>soap:Receiver</soap:Value>" in response
    assert '<soap:Text xml:lang="en">relay stuck &lt; open</soap:Text>' in response
    assert party.problems == []


@pytest.mark.parametrize(
    ("head", "status", "problem"),
    [
        ("GET /ocpp/CP1 HTTP/1.1\r\n", 405, "GET '/ocpp/CP1'; expected POST"),
        ("POST /ocpp/CP2 HTTP/1.1\r\nContent-Length: 1\r\n", 404, "POST to '/ocpp/CP2'"),
        ("POST /ocpp/CP1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", 411, "Transfer-Encoding: chunked"),
        ("POST /ocpp/CP1 HTTP/1.1\r\nContent-Encoding: gzip\r\n", 415, "Content-Encoding: gzip"),
        ("POST /ocpp/CP1 HTTP/1.1\r\n", 411, "Content-Length '' is not a number"),
        ("POST /ocpp/CP1 HTTP/1.1\r\nContent-Length: -1\r\n", 411, "Content-Length '-1' is not a number"),
        ("POST /ocpp/CP1 HTTP/1.1\r\nContent-Length: 9999999\r\n", 413, "Content-Length 9999999 is more"),
    ],
)
def test_http_that_a_small_server_does_not_know_is_refused_and_noted(
    party: Party, head: str, status: int, problem: str
) -> None:
    address = ("127.0.0.1", urlsplit(party.callbacks.url).port or 0)
    with socket.create_connection(address, timeout=5) as raw:
        raw.sendall(f"{head}Host: x\r\n\r\n".encode())
        answer = b""
        while received := raw.recv(4096):
            answer += received
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    [noted] = party.problems
    assert problem in noted


def test_a_request_that_ends_early_is_noted(party: Party) -> None:
    address = ("127.0.0.1", urlsplit(party.callbacks.url).port or 0)
    with socket.create_connection(address, timeout=5) as raw:
        raw.sendall(b"POST /ocpp/CP1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n<x/>")
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(1) == b""
    assert party.problems == ["CP1 callback: the connection ended after 4 of 10 bytes"]

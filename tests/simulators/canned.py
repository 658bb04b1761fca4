"""A SOAP central system made of fixed texts: it stores what it gets, byte for byte, and parses nothing."""

from __future__ import annotations

import http.server
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from wattbridge.simulators.dialects import Version

ACCEPTED = "<status>Accepted</status>"
BODIES = {
    "Authorize": f"<idTagInfo>{ACCEPTED}</idTagInfo>",
    "BootNotification": f"{ACCEPTED}<currentTime>2024-05-01T10:00:00Z</currentTime><interval>300</interval>",
    "DataTransfer": ACCEPTED,
    "DiagnosticsStatusNotification": "",
    "FirmwareStatusNotification": "",
    "Heartbeat": "<currentTime>2024-05-01T10:00:00Z</currentTime>",
    "MeterValues": "",
    "StartTransaction": f"<transactionId>7</transactionId><idTagInfo>{ACCEPTED}</idTagInfo>",
    "StatusNotification": "",
    "StopTransaction": f"<idTagInfo>{ACCEPTED}</idTagInfo>",
}
RESPONSE = """\
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing">
 <s:Header>
  <a:Action>/{action}Response</a:Action>
  <a:MessageID>urn:uuid:6a51a3a0-0000-4000-8000-000000000001</a:MessageID>
  <a:To>http://www.w3.org/2005/08/addressing/anonymous</a:To>
  <a:RelatesTo>{relates_to}</a:RelatesTo>
 </s:Header>
 <s:Body><{element}Response xmlns="urn://Ocpp/Cs/2015/10/">{body}</{element}Response></s:Body>
</s:Envelope>"""
FAULT = """\
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing">
 <s:Header>
  <a:Action>http://www.w3.org/2005/08/addressing/fault</a:Action>
  <a:MessageID>urn:uuid:6a51a3a0-0000-4000-8000-000000000001</a:MessageID>
  <a:RelatesTo>{relates_to}</a:RelatesTo>
 </s:Header>
 <s:Body><s:Fault>
  <s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value xmlns:cs="urn://Ocpp/Cs/2015/10/">cs:InternalError</s:Value></s:Subcode></s:Code>
  <s:Reason><s:Text xml:lang="en">out of order</s:Text></s:Reason>
 </s:Fault></s:Body>
</s:Envelope>"""


@dataclass
class Canned:
    """One answer: HTTP status, Content-Type, body. None instead of it: close without an answer."""

    status: int
    content_type: str
    body: str


def result(action: str, relates_to: str) -> Canned:
    text = RESPONSE.format(
        action=action, relates_to=relates_to, element=action[0].lower() + action[1:], body=BODIES[action]
    )
    return Canned(200, "application/soap+xml; charset=utf-8", text)


def result_of(version: Version) -> Callable[[str, str], Canned]:
    """As ``result``, in an older OCPP."""
    namespace = {"1.6": "2015/10", "1.5": "2012/06", "1.2": "2010/08"}[version]

    def answer(action: str, relates_to: str) -> Canned:
        right = result(action, relates_to)
        right.body = right.body.replace("Cs/2015/10", f"Cs/{namespace}")
        if version != "1.6":
            right.body = right.body.replace("interval>", "heartbeatInterval>")
        return right

    return answer


def fault(action: str, relates_to: str) -> Canned:
    return Canned(500, "application/soap+xml; charset=utf-8", FAULT.format(relates_to=relates_to))


class CannedCentralSystem:
    """Serves in a thread; ``answer`` may be replaced while it runs."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], str]] = []
        self.answer: Callable[[str, str], Canned | None] = result
        self._news = threading.Condition()
        canned = self

        class Handler(http.server.BaseHTTPRequestHandler):
            wbufsize = -1  # head and body in one write

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                with canned._news:
                    canned.requests.append((dict(self.headers), text))
                    canned._news.notify_all()
                found = re.search(r"<wsa:Action>/(\w+)<.*<wsa:MessageID>([^<]+)<", text)
                assert found is not None
                answer = canned.answer(found[1], found[2])
                if answer is None:
                    self.close_connection = True
                    return
                body = answer.body.encode()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self._closing = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._closing:
            self._server.handle_request()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/cs"

    @property
    def actions(self) -> list[str]:
        return [headers["SOAPAction"].strip('"/') for headers, _ in self.requests]

    def wait_for(self, action: str, count: int) -> None:
        with self._news:
            assert self._news.wait_for(lambda: self.actions.count(action) >= count, timeout=5)

    def bodies(self, action: str) -> list[str]:
        """What stood in the bodies of the requests of one action, without the namespace prefix."""
        found = []
        for (_, text), name in zip(self.requests, self.actions, strict=True):
            if name == action:
                body = text.partition("Body>")[2].rpartition("</soap-env:Body>")[0]
                found.append(re.sub(r' xmlns:ns0="[^"]*"', "", body).replace("ns0:", ""))
        return found

    def close(self) -> None:
        self._closing = True
        socket.create_connection(("127.0.0.1", self._server.server_port)).close()  # wakes it
        self._thread.join()
        self._server.server_close()

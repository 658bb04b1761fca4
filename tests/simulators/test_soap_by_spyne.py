"""spyne's models on their own, without our service descriptions: they refuse what OCPP does not allow."""

from __future__ import annotations

import io
from typing import Any

import pytest

from wattbridge.simulators.dialects import Version
from wattbridge.simulators.soap_by_spyne import ENVIRON, Asked, Payload, application
from wattbridge.simulators.soap_by_zeep import service
from wattbridge.simulators.soap_rules import Heard

SAMPLE = (
    "<c:timestamp>2024-05-01T10:00:00Z</c:timestamp><c:sampledValue><c:value>1</c:value>{}</c:sampledValue>"
)
METER = "<c:meterValuesRequest><c:connectorId>1</c:connectorId>{}</c:meterValuesRequest>"


class Serving:
    """The WSGI application: what it asked, what it noted, and the status of its answer."""

    def __init__(self, answers: Payload, version: Version = "1.6") -> None:
        self.description = service("CentralSystemService", version)
        self.answers = answers
        self.asked: list[Payload] = []
        self.notes: list[str] = []
        self._application = application(
            self._answer, self.notes.append, self.description, qualified_actions=False
        )

    def _answer(self, asked: Asked, payload: Payload) -> Payload:
        self.asked.append(payload)
        return self.answers

    def ask(self, body: str) -> tuple[str, str]:
        """Status and text of the response."""
        envelope = (
            '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
            f'xmlns:c="{self.description.namespace}"><s:Header/><s:Body>{body}</s:Body></s:Envelope>'
        ).encode()
        statuses: list[str] = []

        def start_response(status: str, headers: Any, problem: Any = None) -> None:
            statuses.append(status)

        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "CONTENT_TYPE": "application/soap+xml; charset=utf-8",
            "CONTENT_LENGTH": str(len(envelope)),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(envelope),
            ENVIRON: Asked(Heard()),
        }
        text = b"".join(self._application(environ, start_response)).decode()
        return statuses[0], text


@pytest.fixture(scope="module")
def serving() -> Serving:
    return Serving({})


@pytest.mark.parametrize(
    "body",
    [
        "<c:authorizeRequest/>",
        "<c:authorizeRequest><c:idTag>123456789012345678901</c:idTag></c:authorizeRequest>",
        "<c:authorizeRequest><c:idTag>1</c:idTag><c:idTag>2</c:idTag></c:authorizeRequest>",
        "<c:authorizeRequest><idTag>1</idTag></c:authorizeRequest>",
        "<c:diagnosticsStatusNotificationRequest><c:status>Uploadin</c:status>"
        "</c:diagnosticsStatusNotificationRequest>",
        METER.format("<c:meterValue><c:timestamp>2024-05-01T10:00:00Z</c:timestamp></c:meterValue>"),
        METER.format(f"<c:meterValue>{SAMPLE.format('<c:unit>Celcius</c:unit>')}</c:meterValue>"),
        METER.format(
            f"<c:meterValue>{SAMPLE.format('<c:unit>Wh</c:unit><c:context>Other</c:context>')}</c:meterValue>"
        ),
        "<c:bootNotificationRequest><c:chargePointModel>M</c:chargePointModel>"
        "<c:chargePointVendor>V</c:chargePointVendor></c:bootNotificationRequest>",
        "<c:stopTransactionRequest><c:transactionId>2147483648</c:transactionId>"
        "<c:timestamp>2024-05-01T10:00:00Z</c:timestamp><c:meterStop>1</c:meterStop>"
        "</c:stopTransactionRequest>",
    ],
)
def test_what_ocpp_does_not_allow_is_refused(serving: Serving, body: str) -> None:
    serving.notes.clear()
    status, text = serving.ask(body)
    assert status == "400 Bad Request"
    assert "Sender" in text
    # With our description before it this is a disagreement, and told.
    assert len(serving.notes) == 1
    assert serving.notes[0].startswith("spyne refuses what the schema allows: ")
    assert serving.asked == []


VALUES = "<c:values><c:timestamp>2024-05-01T10:00:00Z</c:timestamp>{}</c:values>"


@pytest.mark.parametrize(
    ("version", "body"),
    [
        ("1.5", METER.format(VALUES.format('<c:value unit="A">1</c:value>'))),
        ("1.5", METER.format(VALUES.format('<c:value phase="L1">1</c:value>'))),
        ("1.5", METER.format(VALUES.format(""))),
        ("1.5", METER.format(f"<c:meterValue>{SAMPLE.format('')}</c:meterValue>")),
        ("1.5", "<c:firmwareStatusNotificationRequest><c:status>Idle</c:status>"
                "</c:firmwareStatusNotificationRequest>"),
        ("1.2", METER.format(VALUES.format("<c:value>1.5</c:value>"))),
        ("1.2", METER.format(VALUES.format('<c:value unit="Wh">1</c:value>'))),
        ("1.2", METER.format(f"<c:transactionId>7</c:transactionId>{VALUES.format('<c:value>1</c:value>')}")),
        ("1.2", "<c:dataTransferRequest><c:vendorId>V</c:vendorId></c:dataTransferRequest>"),
        ("1.2", "<c:statusNotificationRequest><c:connectorId>1</c:connectorId><c:status>Reserved</c:status>"
                "<c:errorCode>NoError</c:errorCode></c:statusNotificationRequest>"),
    ],
)  # fmt: skip
def test_what_an_older_ocpp_does_not_allow_is_refused(version: Version, body: str) -> None:
    serving = Serving({}, version)
    status, text = serving.ask(body)
    assert status.startswith(("400", "500"))
    assert "Fault" in text
    assert serving.asked == []


def test_a_text_with_attributes_is_asked_as_an_object() -> None:
    serving = Serving({}, "1.5")
    full = 'context="Sample.Clock" format="Raw" measurand="Voltage" location="Outlet" unit="Volt"'
    status, _ = serving.ask(
        METER.format(VALUES.format(f"<c:value {full}>230.1</c:value><c:value>7</c:value>"))
    )
    assert (status, serving.notes) == ("200 OK", [])
    voltage = {
        "value": "230.1",
        "context": "Sample.Clock",
        "format": "Raw",
        "measurand": "Voltage",
        "location": "Outlet",
        "unit": "Volt",
    }
    readings = [{"timestamp": "2024-05-01T10:00:00Z", "value": [voltage, {"value": "7"}]}]
    assert serving.asked == [{"connectorId": 1, "values": readings}]


def test_what_ocpp_allows_is_asked_as_a_payload() -> None:
    serving = Serving({})
    full = (
        "<c:context>Sample.Clock</c:context><c:format>Raw</c:format><c:measurand>Voltage</c:measurand>"
        "<c:phase>L1-N</c:phase><c:location>Outlet</c:location><c:unit>V</c:unit>"
    )
    two = (
        f"<c:meterValue>{SAMPLE.format(full)}</c:meterValue><c:meterValue>{SAMPLE.format('')}</c:meterValue>"
    )
    status, text = serving.ask(METER.format(two))
    assert status == "200 OK"
    assert "meterValuesResponse" in text
    assert serving.notes == []
    assert serving.asked == [
        {
            "connectorId": 1,
            "meterValue": [
                {
                    "timestamp": "2024-05-01T10:00:00Z",
                    "sampledValue": [
                        {
                            "value": "1",
                            "context": "Sample.Clock",
                            "format": "Raw",
                            "measurand": "Voltage",
                            "phase": "L1-N",
                            "location": "Outlet",
                            "unit": "V",
                        }
                    ],
                },
                {"timestamp": "2024-05-01T10:00:00Z", "sampledValue": [{"value": "1"}]},
            ],
        }
    ]


def test_an_answer_stands_in_the_order_of_the_specification() -> None:
    info = {"parentIdTag": "P", "expiryDate": "2024-06-01T12:00:00+02:00", "status": "Accepted"}
    serving = Serving({"idTagInfo": info, "transactionId": 7})
    _, text = serving.ask(
        "<c:startTransactionRequest><c:connectorId>1</c:connectorId><c:idTag>A</c:idTag>"
        "<c:timestamp>2024-05-01T10:00:00Z</c:timestamp><c:meterStart>0</c:meterStart>"
        "</c:startTransactionRequest>"
    )
    order = [
        "transactionId>",
        "idTagInfo>",
        "status>",
        "expiryDate>2024-06-01T12:00:00+02:00",
        "parentIdTag>",
    ]
    assert sorted(order, key=text.index) == order

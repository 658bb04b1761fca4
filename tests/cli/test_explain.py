"""``wattbridge explain``: how an action or a field is carried, as the gateway itself knows it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from wattbridge.cli import app
from wattbridge.ocpp.actions import dialect


def explain(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["explain", *arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


START_TRANSACTION = """\
StartTransaction: charge point → central system
  SOAP  <startTransactionRequest> in urn://Ocpp/Cs/2015/10/
  JSON  [2, id, "StartTransaction", …]

  connectorId    1     integer
  idTag          1     string ≤ 20
  timestamp      1     dateTime
                       · any form of xs:dateTime is read; UTC is written, YYYY-MM-DDTHH:MM:SSZ
  meterStart     1     integer
  reservationId  0..1  integer

StartTransactionResponse: central system → charge point
  SOAP  <startTransactionResponse> in urn://Ocpp/Cs/2015/10/
  JSON  [3, id, …]

  transactionId  1     integer
  idTagInfo      1     object
    status       1     one of
                       Accepted, Blocked, Expired, Invalid, ConcurrentTx
    expiryDate   0..1  dateTime
                       · any form of xs:dateTime is read; UTC is written, YYYY-MM-DDTHH:MM:SSZ
    parentIdTag  0..1  string ≤ 20
"""


@pytest.mark.parametrize("query", ["StartTransaction", "starttransaction", " STARTTRANSACTION "])
def test_action_is_call_and_answer_field_by_field(query: str) -> None:
    assert explain(query) == (0, START_TRANSACTION, "")


CALL, _, ANSWER = START_TRANSACTION.partition("\n\nStartTransactionResponse: ")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("StartTransactionRequest", f"{CALL}\n"),
        ("startTransaction.req", f"{CALL}\n"),
        ("StartTransactionResponse", f"StartTransactionResponse: {ANSWER}"),
        ("StartTransaction.conf", f"StartTransactionResponse: {ANSWER}"),
    ],
)
def test_one_half_of_an_action_can_be_asked_for(query: str, shown: str) -> None:
    assert explain(query) == (0, shown, "")


def test_message_without_fields_says_so() -> None:
    assert explain("HeartbeatRequest") == (
        0,
        "Heartbeat: charge point → central system\n"
        "  SOAP  <heartbeatRequest> in urn://Ocpp/Cs/2015/10/\n"
        '  JSON  [2, id, "Heartbeat", …]\n'
        "\n"
        "  no fields\n",
        "",
    )


@pytest.mark.parametrize(
    "query", ["StartTransaction.idTag", "starttransaction.IDTAG", "StartTransaction.req.idTag"]
)
def test_field_is_shown_alone(query: str) -> None:
    assert explain(query) == (
        0,
        "StartTransaction: charge point → central system\n"
        "  SOAP  <startTransactionRequest> in urn://Ocpp/Cs/2015/10/\n"
        '  JSON  [2, id, "StartTransaction", …]\n'
        "\n"
        "  idTag  1     string ≤ 20\n",
        "",
    )


def test_field_is_found_deep_inside_and_told_with_all_that_may_happen_to_it() -> None:
    _, out, _ = explain("MeterValues.unit")
    lines = [line.strip() for line in out.splitlines()]
    assert lines[4] == "unit  0..1  one of"
    assert "· towards SOAP: Celcius is written Celsius" in lines
    assert "· read as A: Amp" in lines
    assert explain("MeterValues.meterValue.sampledValue.unit")[1] == out


def test_object_is_shown_with_what_is_inside() -> None:
    _, out, _ = explain("StartTransaction.idTagInfo")
    names = [line.split()[0] for line in out.splitlines()[4:] if line.split()[1:2] in (["1"], ["0..1"])]
    assert names == ["idTagInfo", "status", "expiryDate", "parentIdTag"]


def test_data_transfer_goes_both_ways() -> None:
    _, out, _ = explain("DataTransfer")
    heads = [line for line in out.splitlines() if line.startswith("DataTransfer")]
    assert heads == [
        "DataTransfer: charge point → central system",
        "DataTransferResponse: central system → charge point",
        "DataTransfer: central system → charge point",
        "DataTransferResponse: charge point → central system",
    ]
    assert "urn://Ocpp/Cp/2015/10/" in out
    assert "urn://Ocpp/Cs/2015/10/" in out


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (
            "StartTranaction",
            "there is no action 'StartTranaction' in OCPP 1.6 (did you mean StartTransaction?)",
        ),
        ("heartbet.conf", "there is no action 'heartbet' in OCPP 1.6 (did you mean Heartbeat?)"),
        ("xyzzy", "there is no action 'xyzzy' in OCPP 1.6; there are: Authorize, BootNotification, "),
        ("", "there is no action '' in OCPP 1.6; there are: "),
        (".", "there is no action '' in OCPP 1.6; there are: "),
        ("Response", "there is no action 'Response' in OCPP 1.6; there are: "),
        ("metervalues.units", "MeterValues has no field 'units' (did you mean unit?)"),
        ("Reset.xyzzy", "Reset has no field 'xyzzy'; there are: status, type"),
        ("Reset.type.more", "Reset has no field 'type.more'"),
        ("Heartbeat.req.currentTime", "Heartbeat has no field 'currentTime'"),
    ],
)
def test_nonsense_is_one_line_with_a_hint_and_2(query: str, sentence: str) -> None:
    code, out, err = explain(query)
    assert (code, out) == (2, "")
    assert err.startswith(f"wattbridge: {sentence}")
    assert err.count("\n") == 1


def test_json_tells_the_same_to_programs() -> None:
    code, out, _ = explain("heartbeat", "--json")
    assert code == 0
    assert json.loads(out) == [
        {
            "message": "Heartbeat",
            "from": "charge_point",
            "element": "heartbeatRequest",
            "namespace": "urn://Ocpp/Cs/2015/10/",
            "fields": [],
        },
        {
            "message": "HeartbeatResponse",
            "from": "central_system",
            "element": "heartbeatResponse",
            "namespace": "urn://Ocpp/Cs/2015/10/",
            "fields": [
                {
                    "path": "HeartbeatResponse.currentTime",
                    "kind": "dateTime",
                    "type": "dateTime",
                    "minItems": 1,
                    "maxItems": 1,
                    "maxLength": None,
                    "fractionDigits": None,
                    "enum": [],
                    "remarks": ["any form of xs:dateTime is read; UTC is written, YYYY-MM-DDTHH:MM:SSZ"],
                }
            ],
        },
    ]


def test_every_message_can_be_explained_and_fits_the_page() -> None:
    for action in sorted({operation.action for operation in dialect().operations.values()}):
        code, out, err = explain(action)
        assert (code, err) == (0, "")
        assert out.startswith(f"{action}: ")
        assert max(map(len, out.splitlines())) <= 100
        assert explain(action, "--json")[0] == 0

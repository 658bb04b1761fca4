"""``wattbridge explain``: how an action or a field is carried, as the gateway itself knows it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from wattbridge.cli import app
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.local_answers import TABLE


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
                       · to OCPP 1.2: left out (a loss)

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
                    "onlyIn": [],
                    "older": [],
                }
            ],
        },
    ]


# --- older versions, and what the gateway answers itself


def said_of(*arguments: str) -> list[str]:
    """What is said of a field, each remark on one line."""
    code, out, err = explain(*arguments)
    assert (code, err) == (0, "")
    return [" ".join(remark.split()) for remark in out.split("· ")[1:]]


def test_a_field_is_told_with_what_older_versions_make_of_it() -> None:
    assert said_of("StatusNotification.errorCode") == [
        "from OCPP 1.2 and 1.5: Mode3Error is EVCommunicationError, its new name",
        "to OCPP 1.5: EVCommunicationError is Mode3Error; InternalError, LocalListConflict and OverVoltage "
        "become OtherError",
        "to OCPP 1.2: EVCommunicationError is Mode3Error; what 1.2 has no word for becomes Mode3Error too, "
        "so that an error stays one",
        "source: WSDL ChargePointErrorCode; OCPP 1.6 edition 2, appendix A",
        "source: WSDL ChargePointErrorCode; OCPP 1.6 edition 2, appendix A; shiv3/ocpp-cp-simulator",
    ]
    assert said_of("StatusNotification.vendorId") == ["to OCPP 1.2: left out (a loss)", "source: WSDL 1.2"]


def test_a_name_that_only_differs_is_told_as_such() -> None:
    assert said_of("SendLocalList.localAuthorizationList")[1] == "called localAuthorisationList in OCPP 1.5"
    assert said_of("BootNotification.interval")[3] == "called heartbeatInterval in OCPP 1.2 and 1.5"


def test_what_becomes_of_a_whole_object_is_told_of_what_is_inside() -> None:
    assert said_of("RemoteStartTransaction.chargingProfileId") == [
        "to OCPP 1.2 and 1.5: left out (a loss); the transaction is begun without it",
        "source: WSDL 1.2 and 1.5",
    ]
    assert "to OCPP 1.2 and 1.5: meter values are values; what 1.5" in said_of("MeterValues.phase")[1]


def test_a_field_that_only_an_older_version_has_is_there() -> None:
    assert said_of("SendLocalList.req.hash") == [
        "only in OCPP 1.5",
        "from OCPP 1.5: left out (a loss)",
        "source: WSDL 1.5; OCPP 1.6 has no hash",
    ]
    [request] = json.loads(explain("SendLocalListRequest.hash", "--json")[1])
    [field] = request["fields"]
    assert field["onlyIn"] == ["1.5"]
    assert [row["up"] for row in field["older"]] == ["left out (a loss)"]


def test_an_operation_that_older_versions_lack_says_what_is_answered() -> None:
    out = explain("ReserveNowRequest")[1]
    assert out.splitlines()[3] == "  not in OCPP 1.2, answered here: status Rejected"
    assert "answered here" not in explain("ReserveNowResponse")[1]


def test_an_action_of_the_security_extension_is_known_by_what_becomes_of_it() -> None:
    code, out, err = explain("getlog")
    assert (code, err) == (0, "")
    assert out.startswith(
        "GetLog: central system → charge point, of the security extension of OCPP-J 1.6\n"
        '  JSON  [2, id, "GetLog", …], as it is\n'
        "  SOAP  has no such operation; what happens to it there:\n"
        "        · a DiagnosticsLog is asked for as GetDiagnostics, and "
    )
    assert [row["action"] for row in json.loads(explain("GetLog", "--json")[1])] == ["GetLog"]
    assert explain("GetLog.logType") == (
        2,
        "",
        "wattbridge: the fields of GetLog are not known here: nothing looks into it\n",
    )


def test_local_answers_are_a_table_by_who_is_asked_and_what_that_speaks() -> None:
    code, out, err = explain("--local-answers")
    assert (code, err) == (0, "")
    heads = [line for line in out.splitlines() if line.startswith("Asked of")]
    assert [head.removesuffix(", which has no such operation") for head in heads] == [
        "Asked of a charge point that speaks SOAP, OCPP 1.2",
        "Asked of a charge point that speaks SOAP, OCPP 1.2 or 1.5",
        "Asked of a charge point that speaks SOAP, OCPP 1.2, 1.5 or 1.6",
        "Asked of a central system that speaks SOAP, OCPP 1.2",
        "Asked of a central system that speaks SOAP, OCPP 1.2, 1.5 or 1.6",
    ]
    told = " ".join(out.split())
    for row in TABLE:
        assert f"{row.action} {row.said}" in told
        assert f"· {row.source}" in told
    assert max(map(len, out.splitlines())) <= 100


def test_local_answers_of_one_action_and_for_programs() -> None:
    assert explain("reservenow", "--local-answers") == (
        0,
        "Asked of a charge point that speaks SOAP, OCPP 1.2, which has no such operation\n"
        "  ReserveNow  status Rejected\n"
        "              · OCPP 1.6, ReservationStatus\n",
        "",
    )
    rows = json.loads(explain("--local-answers", "--json")[1])
    assert len(rows) == len(TABLE)
    assert {
        "asked": "charge_point",
        "action": "ReserveNow",
        "dialects": ["soap 1.2"],
        "answer": {"status": "Rejected"},
        "said": "status Rejected",
        "source": "OCPP 1.6, ReservationStatus",
    } in rows
    assert {"DataTransfer"} == {
        row["action"] for row in json.loads(explain("DataTransfer", "--local-answers", "--json")[1])
    }


def test_what_is_not_answered_here_or_not_asked_is_said_so() -> None:
    assert explain("TriggerMesage", "--local-answers") == (
        2,
        "",
        "wattbridge: the gateway does not answer 'TriggerMesage' itself (did you mean TriggerMessage?)\n",
    )
    code, out, err = explain()
    assert (code, out) == (2, "")
    assert "say which, or --local-answers" in err


def test_every_message_can_be_explained_and_fits_the_page() -> None:
    for action in sorted({operation.action for operation in dialect().operations.values()}):
        code, out, err = explain(action)
        assert (code, err) == (0, "")
        assert out.startswith(f"{action}: ")
        assert max(map(len, out.splitlines())) <= 100
        assert explain(action, "--json")[0] == 0

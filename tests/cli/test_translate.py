"""``wattbridge translate``: one message in, its translation out, and what was changed or lost."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wattbridge.cli import app
from wattbridge.cli.translate import translate as translation

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"


def translate(message: str | bytes, *options: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error, with the message from standard input."""
    given = message if isinstance(message, bytes) else message.encode()
    result = CliRunner().invoke(app, ["translate", *options], input=given, catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def masked(text: str) -> str:
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "NEW-ID", text)


START = """\
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"
    xmlns:o="urn://Ocpp/Cs/2015/10/">
  <s:Header>
    <o:chargeBoxIdentity>CP3211</o:chargeBoxIdentity>
    <a:MessageID>4711</a:MessageID>
  </s:Header>
  <s:Body>
    <o:startTransactionRequest>
      <o:connectorId>1</o:connectorId>
      <o:idTag>04E91C5A</o:idTag>
      <o:timestamp>2026-05-01T12:30:00+02:00</o:timestamp>
      <o:meterStart>1250.0</o:meterStart>
      <o:colour>red</o:colour>
    </o:startTransactionRequest>
  </s:Body>
</s:Envelope>
"""


def test_envelope_becomes_a_frame_and_everything_changed_is_told() -> None:
    assert translate(START, "--explain") == (
        0,
        '[2,"4711","StartTransaction",{"connectorId":1,"idTag":"04E91C5A","timestamp":"2026-05-01T10:30:00Z",'
        '"meterStart":1250}]\n',
        "# soap: StartTransaction of CP3211\n"
        "# changed: StartTransaction.timestamp: '2026-05-01T12:30:00+02:00' → '2026-05-01T10:30:00Z' "
        "(to-utc)\n"
        "# changed: StartTransaction.meterStart: '1250.0' → '1250' (integer-form)\n"
        "# lost: StartTransaction.colour: red: StartTransaction has no such field (unknown-field)\n",
    )


def test_what_only_an_older_version_says_is_said_in_words_of_the_newest() -> None:
    """Nobody here knows whether a transaction is open."""
    occupied = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns="urn://Ocpp/Cs/2012/06/"><s:Header>'
        "<chargeBoxIdentity>CP3211</chargeBoxIdentity></s:Header><s:Body><statusNotificationRequest>"
        "<connectorId>1</connectorId><status>Occupied</status><errorCode>NoError</errorCode>"
        "</statusNotificationRequest></s:Body></s:Envelope>"
    )
    code, out, err = translate(occupied, "--explain")
    assert (code, json.loads(out)[3]["status"]) == (0, "Preparing")
    assert "# changed: StatusNotification.status: 'Occupied' → 'Preparing' (older-word)" in err


def test_without_being_asked_only_losses_are_told() -> None:
    assert translate(START)[2] == "wattbridge: 1 part could not be carried, see --explain\n"
    assert translate(START.replace("colour>", "reservationId>").replace("red", "7"))[2] == ""


def test_what_the_gateway_answers_itself_is_not_sent_by_anybody() -> None:
    """All that was in it is lost, and a frame without meterValue breaks the JSON schema."""
    sample = '{"timestamp":"2026-05-01T10:30:00Z","sampledValue":[{"value":"1","measurand":"Warmth"}]}'
    code, out, err = translate(f'[2,"1","MeterValues",{{"connectorId":1,"meterValue":[{sample}]}}]')
    assert (code, out) == (1, "")
    assert "# lost: MeterValues.meterValue[0]" in err
    assert err.endswith(
        "wattbridge: nothing to send: the gateway answers this MeterValues with PropertyConstraintViolation\n"
    )


def test_frame_becomes_an_envelope() -> None:
    code, out, err = translate('[2,"1","Reset",{"type":"Soft"}]', "--identity", "CP 1 & <ä>", "--explain")
    assert (code, err) == (0, "# json: Reset\n# nothing changed, nothing lost\n")
    assert masked(out) == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:ocpp="urn://Ocpp/Cp/2015/10/"><soap:Header>'
        "<ocpp:chargeBoxIdentity>CP 1 &amp; &lt;ä&gt;</ocpp:chargeBoxIdentity>"
        '<wsa:Action soap:mustUnderstand="true">/Reset</wsa:Action>'
        "<wsa:MessageID>urn:uuid:NEW-ID</wsa:MessageID>"
        "<wsa:ReplyTo><wsa:Address>http://www.w3.org/2005/08/addressing/anonymous</wsa:Address></wsa:ReplyTo>"
        '<wsa:To soap:mustUnderstand="true">http://www.w3.org/2005/08/addressing/anonymous</wsa:To>'
        "</soap:Header><soap:Body><ocpp:resetRequest><ocpp:type>Soft</ocpp:type></ocpp:resetRequest>"
        "</soap:Body></soap:Envelope>\n"
    )


RESULT = """\
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing">
<s:Header><a:RelatesTo>4711</a:RelatesTo></s:Header><s:Body>
<{0}Response xmlns="urn://Ocpp/{1}/2015/10/">{2}</{0}Response></s:Body></s:Envelope>
"""


def test_result_in_soap_says_itself_what_it_answers() -> None:
    body = "<transactionId>42</transactionId><idTagInfo><status>Accepted</status></idTagInfo>"
    assert translate(RESULT.format("startTransaction", "Cs", body)) == (
        0,
        '[3,"4711",{"transactionId":42,"idTagInfo":{"status":"Accepted"}}]\n',
        "",
    )


@pytest.mark.parametrize("service", ["Cs", "Cp"])
def test_result_of_either_data_transfer_is_read_without_a_note(service: str) -> None:
    code, out, err = translate(
        RESULT.format("dataTransfer", service, "<status>Accepted</status>"), "--explain"
    )
    assert (code, out) == (0, '[3,"4711",{"status":"Accepted"}]\n')
    assert err == "# soap: DataTransfer\n# nothing changed, nothing lost\n"


def test_result_in_json_needs_to_be_told_what_it_answers() -> None:
    frame = '[3,"4711",{"transactionId":42,"idTagInfo":{"status":"Accepted"}}]'
    assert translate(frame) == (
        2,
        "",
        "wattbridge: a CALLRESULT does not say which action it answers; name it with --action\n",
    )
    for action in ("StartTransaction", "starttransaction"):
        code, out, _ = translate(frame, "--action", action)
        assert code == 0
        assert (
            '<soap:Body><ocpp:startTransactionResponse xmlns:ocpp="urn://Ocpp/Cs/2015/10/">'
            "<ocpp:transactionId>42</ocpp:transactionId><ocpp:idTagInfo><ocpp:status>Accepted</ocpp:status>"
            "</ocpp:idTagInfo></ocpp:startTransactionResponse></soap:Body>"
        ) in out
        assert "<wsa:RelatesTo>4711</wsa:RelatesTo>" in out


def test_misnamed_result_is_read_for_the_action_it_is_told_to_answer() -> None:
    """glurp's dataTransfertResponse."""
    misnamed = RESULT.format("dataTransfert", "Cp", "<status>Accepted</status>")
    assert translate(misnamed)[0] == 1
    assert translate(misnamed, "--action", "DataTransfer")[:2] == (0, '[3,"4711",{"status":"Accepted"}]\n')


def test_result_that_is_not_well_formed_is_read_as_the_gateway_reads_it() -> None:
    """node-red never closes its chargeBoxIdentity."""
    broken = RESULT.format("clearCache", "Cp", "<status>Accepted</status>").replace(
        "</s:Header>", "<chargeBoxIdentity>undefined</s:Header>"
    )
    code, out, err = translate(broken, "--explain")
    assert (code, masked(out)) == (0, '[3,"NEW-ID",{"status":"Accepted"}]\n')
    assert err.startswith("# soap: ClearCache\n# changed: Header: ")
    assert err.endswith("(recovered)\n")


FAULT = """\
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault>
<s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>SecurityError</s:Value></s:Subcode></s:Code>
<s:Reason><s:Text xml:lang="en">not you</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>
"""


def test_fault_becomes_a_call_error_and_back() -> None:
    code, out, _ = translate(FAULT)
    assert (code, masked(out)) == (0, '[4,"NEW-ID","SecurityError","not you",{}]\n')
    code, out, _ = translate(out)
    assert code == 0
    assert "<soap:Value>soap:Sender</soap:Value>" in out
    assert '<soap:Text xml:lang="en">SecurityError: not you</soap:Text>' in out


@pytest.mark.parametrize(
    ("message", "to", "expected"),
    [
        ('[2, "1", "Heartbeat", null]', "json", '[2,"1","Heartbeat",{}]\n'),
        (START, "soap", "<ocpp:timestamp>2026-05-01T10:30:00Z</ocpp:timestamp>"),
    ],
)
def test_message_may_stay_in_its_encoding_and_be_set_right(message: str, to: str, expected: str) -> None:
    code, out, _ = translate(message, "--to", to)
    assert code == 0
    assert expected in out


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (("--zone", "Europe/Berlin"), '"timestamp":"2026-05-01T10:30:00Z"'),
        (("--milliseconds",), '"timestamp":"2026-05-01T12:30:00.000Z"'),
        (("--celsius", "Celcius"), '"unit":"Celcius"'),
    ],
)
def test_settings_of_the_gateway_can_be_tried(option: tuple[str, ...], expected: str) -> None:
    body = (
        "<o:meterValuesRequest><o:connectorId>1</o:connectorId><o:meterValue>"
        "<o:timestamp>2026-05-01T12:30:00</o:timestamp><o:sampledValue><o:value>7</o:value>"
        "<o:unit>Celsius</o:unit></o:sampledValue></o:meterValue></o:meterValuesRequest>"
    )
    envelope = re.sub(r"<o:start.*</o:startTransactionRequest>", body, START, flags=re.DOTALL)
    assert expected in translate(envelope, *option)[1]


STATUS = '[2,"1","StatusNotification",{"connectorId":1,"status":"Charging","errorCode":"NoError"}]'
UNLOCKED = RESULT.format("unlockConnector", "Cp", "<status>Accepted</status>")


def test_an_envelope_is_written_in_the_version_that_is_wanted() -> None:
    code, out, err = translate(STATUS, "--ocpp", "1.5", "--explain")
    assert code == 0
    assert 'xmlns:ocpp="urn://Ocpp/Cs/2012/06/"' in out
    assert "<ocpp:status>Occupied</ocpp:status>" in out
    assert "# changed: StatusNotification.status: 'Charging' → 'Occupied' (older-word)\n" in err


def test_a_reply_is_read_in_the_version_it_is_written_in() -> None:
    assert translate(UNLOCKED.replace("2015/10", "2012/06"))[1].endswith(',{"status":"Unlocked"}]\n')


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (
            '[2,"1","FirmwareStatusNotification",{"status":"Downloading"}]',
            "FirmwareStatusNotification itself",
        ),
        ('[2,"1","ClearChargingProfile",{}]', 'ClearChargingProfile with {"status":"Unknown"}'),
    ],
)
def test_what_an_older_version_has_no_words_for_is_not_sent(message: str, answer: str) -> None:
    code, out, err = translate(message, "--ocpp", "1.5")
    assert (code, out) == (1, "")
    assert err.endswith(f"wattbridge: nothing to send: the gateway answers this {answer}\n")


def test_there_are_three_versions() -> None:
    code, _, err = translate(STATUS, "--ocpp", "1.7")
    assert code == 2
    assert "'1.7' is none of 1.6, 1.5, 1.2" in err


BREAKS_OCPP = [
    ('[2,"1","Reset",{"type":"Warm"}]', "PropertyConstraintViolation: Reset.type: 'Warm' is not one of "),
    ('[2,"1","Sparkle",{}]', "NotImplemented: Sparkle: is not an action of OCPP 1.6"),
    (START.replace("idTag", "tag"), "OccurenceConstraintViolation: StartTransaction.idTag: is missing"),
    (
        START.replace("startTransactionRequest", "sparkleRequest"),
        "NotImplemented: Body.sparkleRequest: is not",
    ),
    (
        RESULT.format("clearCache", "Cp", "<status>Maybe</status>"),
        "ClearCacheResponse.status: 'Maybe' is not",
    ),
]


@pytest.mark.parametrize(("message", "said"), BREAKS_OCPP, ids=[said for _, said in BREAKS_OCPP])
def test_message_that_breaks_the_rules_is_1(message: str, said: str) -> None:
    code, out, err = translate(message)
    assert (code, out) == (1, "")
    assert err.startswith("wattbridge: ")
    assert said in err
    assert err.count("\n") == 1


RUBBISH: list[tuple[str | bytes, str]] = [
    ("", "the message is empty, expected a SOAP envelope (<…) or an OCPP-J frame ([…)"),
    ("hello", "the message begins with 'hello', expected a SOAP envelope (<…) or an OCPP-J frame ([…)"),
    (b"\x80\x81", "the message begins with '\ufffd\ufffd', expected a SOAP envelope"),
    (START.encode("utf-16"), "the encoding is UTF-16 or UTF-32, expected UTF-8"),
    ("[]", "messageTypeId: found nothing, expected 2, 3 or 4"),
    ('[2,"1","Heartbeat"', "CALL: is not JSON: "),
    ("<html><body>Log in</body></html>", "found root element 'html', expected a SOAP Envelope"),
    (START[:300], "not well-formed XML: "),
    (START.replace("<s:Header>", "<s:Header"), "not well-formed XML: "),
    ("[" + '"x",' * 100_000 + "1]", "messageTypeId: found a string, expected 2, 3 or 4"),
    (START.replace("04E91C5A", "x" * 300_000), "expected at most 262144"),
]


@pytest.mark.parametrize(("message", "said"), RUBBISH, ids=[said for _, said in RUBBISH])
def test_what_is_no_message_is_2(message: str | bytes, said: str) -> None:
    code, out, err = translate(message)
    assert (code, out) == (2, "")
    assert err.startswith("wattbridge: ")
    assert said in err
    assert err.count("\n") == 1


def test_unknown_action_is_wrong_usage_with_a_hint() -> None:
    frame = '[3,"1",{"currentTime":"2026-05-01T10:30:00Z"}]'
    assert translate(frame, "--action", "Hartbeat") == (
        2,
        "",
        "wattbridge: --action: there is no action 'Hartbeat' in OCPP 1.6 (did you mean Heartbeat?)\n",
    )
    assert "; there are: Authorize, BootNotification, " in translate(frame, "--action", "X")[2]


def test_translation_is_utf_8_in_any_locale(tmp_path: Path) -> None:
    frame = tmp_path / "frame.json"
    frame.write_text('[2,"1","Authorize",{"idTag":"ä🔌"}]', encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "wattbridge", "translate", str(frame), "--explain"],
        capture_output=True,
        check=True,
        timeout=60,
        env={"PYTHONIOENCODING": "ascii", "PATH": ""},
    )
    assert "<ocpp:idTag>ä🔌</ocpp:idTag>" in ended.stdout.decode()
    assert ended.stderr.startswith(b"# json: Authorize\n")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample messages are not beside the project")
@pytest.mark.parametrize(("to", "action"), [(None, None), ("soap", "Heartbeat")])
def test_no_message_of_the_field_is_too_strange_for_an_answer(to: str | None, action: str | None) -> None:
    """Translated, or refused in one line."""
    files = [file for file in sorted(SAMPLES.glob("*/*/*")) if file.suffix in (".xml", ".json")]
    assert files
    for file in files:
        out, err = io.StringIO(), io.StringIO()
        code = translation(
            file.read_bytes(), to=to, explain=False, identity=None, action=action,
            celsius="Celsius", zone="UTC", milliseconds=False, out=out, err=err,
        )  # fmt: skip
        written = out.getvalue()
        if code == 0:
            assert written.startswith(("<?xml", "[")), file
            assert not written.startswith("[") or json.loads(written), file
        else:
            assert (written, err.getvalue().count("\n")) == ("", 1), file

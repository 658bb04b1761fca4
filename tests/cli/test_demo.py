"""``wattbridge demo``: what a newcomer sees of it, in a pipe, in terminals of any width, and when it ends."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from wattbridge.cli.demo import JsonLines, Transcript, play
from wattbridge.ocpp.messages import (
    CallError,
    CallResult,
    Change,
    Loss,
    Note,
    Passage,
    Payload,
    Reply,
    Side,
)
from wattbridge.operation import logs
from wattbridge.relay.journal import Event, Record

COMMAND = [sys.executable, "-m", "wattbridge", "demo"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
COLOUR = re.compile(r"\x1b\[\d+m")


@dataclass
class Ended:
    code: int
    out: str
    err: str


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=ENVIRONMENT | environment,
    )


def end(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=30)
    return Ended(process.returncode, out, err)


def start_on_terminal(*arguments: str, **environment: str) -> tuple[subprocess.Popen[bytes], int]:
    ours, theirs = pty.openpty()
    environment = {"TERM": "xterm-256color", "COLUMNS": "80", **environment}
    process = subprocess.Popen([*COMMAND, *arguments], stdout=theirs, env=ENVIRONMENT | environment)
    os.close(theirs)
    return process, ours


def end_on_terminal(process: subprocess.Popen[bytes], ours: int) -> Ended:
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody writes any more
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    return Ended(process.wait(timeout=30), shown.decode().replace("\r\n", "\n"), "")


@dataclass
class Demos:
    """Three demos, played beside each other."""

    plain: Ended
    as_json: Ended
    on_terminal: Ended


@pytest.fixture(scope="module")
def demos() -> Demos:
    plain, as_json = start("--for", "2500ms"), start("--for", "2500ms", "--json")
    on_terminal = start_on_terminal("--for", "2500ms")
    return Demos(end(plain), end(as_json), end_on_terminal(*on_terminal))


# --- As it is played -------------------------------------------------------------------------------------


def masked(text: str) -> str:
    """Without what is new each time."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"token=[\w-]{24}", "token=TOKEN", text)
    text = re.sub(r"\d\d:\d\d:\d\d\.\d{3}(?=  )", "TIME", text)
    text = re.sub(r"\d+\.\d+(?= ms)", "N", text)
    text = re.sub(r"gateway \d+\.\d+", "gateway N", text)
    text = re.sub(r"[0-9a-f]{8}…", "ID…", text)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?", "T", text)


FIRST_LINES = """\
wattbridge VERSION demo: all in one process, on 127.0.0.1; Ctrl-C ends it

  SOAP-1 ▶ cloud  OCPP 1.6 SOAP to OCPP 1.6 JSON
  JSON-1 ▶ old    OCPP 1.6 JSON to OCPP 1.6 SOAP
  JSON-2 ▶ cloud  OCPP 1.6 JSON on both sides: passed on as it is

  gateway         http://127.0.0.1:PORT/ocpp/cs and ws://127.0.0.1:PORT/ocpp/IDENTITY
  cloud           ws://127.0.0.1:PORT/ocpp
  old             http://127.0.0.1:PORT/ocpp
  metrics         http://127.0.0.1:PORT/metrics
  console         http://127.0.0.1:PORT/?token=TOKEN

▶ goes to the central system, ◀ to the charge point. SOAP is shown without headers and namespaces.

TIME  SOAP-1 ▶ cloud: BootNotification  ok in N ms (gateway N)
  SOAP ▶        <bootNotificationRequest><chargePointVendor>ACME</chargePointVendor>\
<chargePointModel>CC-1</chargePointModel><chargePointSerialNumber>ACME-0001</chargePointSerialNumber>\
<firmwareVersion>1.3</firmwareVersion><meterType>MID-3P</meterType></bootNotificationRequest>
       ▶ JSON   [2,"ID…","BootNotification",{"chargePointVendor":"ACME","chargePointModel":"CC-1",\
"chargePointSerialNumber":"ACME-0001","firmwareVersion":"1.3","meterType":"MID-3P"}]
       ◀ JSON   [3,"ID…",{"currentTime":"TZ","interval":300,"status":"Accepted"}]
  SOAP ◀        <bootNotificationResponse><status>Accepted</status><currentTime>TZ</currentTime>\
<interval>300</interval></bootNotificationResponse>

"""
STATUS_OF_SOAP = """
TIME  SOAP-1 ▶ cloud: StatusNotification  ok in N ms (gateway N)
  SOAP ▶        <statusNotificationRequest><connectorId>0</connectorId><status>Available</status>\
<errorCode>NoError</errorCode><timestamp>T+01:00</timestamp></statusNotificationRequest>
       ▶ JSON   [2,"ID…","StatusNotification",{"connectorId":0,"status":"Available",\
"errorCode":"NoError","timestamp":"TZ"}]
       ◀ JSON   [3,"ID…",{}]
  SOAP ◀        <statusNotificationResponse/>
  changed       timestamp T+01:00 → TZ (to-utc)

"""
STATUS_OF_JSON = """
TIME  JSON-1 ▶ old: StatusNotification  ok in N ms (gateway N)
  JSON ▶        [2,"ID…","StatusNotification",{"connectorId":0,"status":"Available",\
"errorCode":"NoError","timestamp":"T+01:00"}]
       ▶ SOAP   <statusNotificationRequest><connectorId>0</connectorId><status>Available</status>\
<errorCode>NoError</errorCode><timestamp>TZ</timestamp></statusNotificationRequest>
       ◀ SOAP   <statusNotificationResponse/>
  JSON ◀        [3,"ID…",{}]
  changed       timestamp T+01:00 → TZ (to-utc)

"""
STATUS_PASSED_ON = """
TIME  JSON-2 ▶ cloud: StatusNotification  ok in N ms (gateway N)
  JSON ▶        [2,"ID…","StatusNotification",{"connectorId":0,"status":"Available",\
"errorCode":"NoError","timestamp":"T+01:00"}]
       ▶ JSON   [2,"ID…","StatusNotification",{"connectorId":0,"status":"Available",\
"errorCode":"NoError","timestamp":"T+01:00"}]
       ◀ JSON   [3,"ID…",{}]
  JSON ◀        [3,"ID…",{}]
  unchanged     both payloads, byte for byte

"""


def test_every_exchange_is_shown_in_both_encodings(demos: Demos) -> None:
    assert (demos.plain.code, demos.plain.err) == (0, "")
    shown = re.sub(r"^wattbridge \S+", "wattbridge VERSION", masked(demos.plain.out))
    assert shown.startswith(FIRST_LINES)
    for status in (STATUS_OF_SOAP, STATUS_OF_JSON, STATUS_PASSED_ON):
        assert status in shown
    assert "\x1b" not in demos.plain.out


def test_last_lines_sum_up_and_say_what_is_next(demos: Demos) -> None:
    *_, summary, empty, following = demos.plain.out.rsplit("\n", 6)[0:4]
    assert re.fullmatch(
        r"\d+ exchanges, 0 failed, \d+ passed on as they were; \d+ values changed on the way, 0 lost", summary
    )
    assert empty == ""
    assert following.startswith("Next:  wattbridge translate FILE ")


def test_json_lines_hold_whole_messages(demos: Demos) -> None:
    assert (demos.as_json.code, demos.as_json.err) == (0, "")
    first, parties, *exchanges, summary = map(json.loads, demos.as_json.out.splitlines())
    assert first["kind"] == "demo"
    assert parties["kind"] == "parties"
    assert parties["gateway"].startswith("http://127.0.0.1:")
    assert {exchange["kind"] for exchange in exchanges} == {"exchange"}
    boot = exchanges[0]
    assert boot["action"] == "BootNotification"
    assert boot["arrivedFrom"] == "charge_point"
    assert boot["outcome"] == "ok"
    assert (boot["identity"], boot["upstream"], boot["unchanged"]) == ("SOAP-1", "cloud", False)
    assert boot["calling"]["transport"] == "soap"
    assert boot["calling"]["call"].startswith("<?xml")
    message_id = json.loads(boot["asked"]["call"])[1]
    assert json.loads(boot["asked"]["reply"])[:2] == [3, message_id]
    assert "bootNotificationResponse" in boot["calling"]["reply"]
    status = next(exchange for exchange in exchanges if exchange["action"] == "StatusNotification")
    assert [note["rule"] for note in status["notes"]] == ["to-utc"]
    passed_on = [exchange for exchange in exchanges if exchange["identity"] == "JSON-2"]
    assert {exchange["unchanged"] for exchange in passed_on} == {True}
    for exchange in passed_on:
        calling, asked = exchange["calling"], exchange["asked"]
        assert json.loads(calling["call"])[2:] == json.loads(asked["call"])[2:]
    assert summary == {
        "kind": "summary",
        "exchanges": len(exchanges),
        "unchanged": len(passed_on),
        "changes": sum(len(exchange["notes"]) for exchange in exchanges),
        "losses": 0,
        "kept": 0,
        "deliveredLate": 0,
        "failed": 0,
        "failures": [],
    }


def test_terminal_has_colour_and_no_line_too_long(demos: Demos) -> None:
    assert demos.on_terminal.code == 0
    assert "\x1b[32mok\x1b[0m" in demos.on_terminal.out
    lines = COLOUR.sub("", demos.on_terminal.out).splitlines()
    assert max(map(len, lines)) <= 80
    assert "       ▶ JSON   [2," in COLOUR.sub("", demos.on_terminal.out)


def test_without_spyne_the_other_pairs_are_shown_and_how_to_get_the_third(tmp_path: Path) -> None:
    """A module of that name that is no package: as if it were not installed."""
    (tmp_path / "spyne.py").write_text("", encoding="utf-8")
    ended = end(start("--for", "1200ms", PYTHONPATH=str(tmp_path)))
    assert (ended.code, ended.err) == (0, "")
    assert (
        "  JSON-1 ▶ old    not shown: its central system needs `pip install '.[simulators]'`\n" in ended.out
    )
    assert "  SOAP-1 ▶ cloud: BootNotification  ok in" in ended.out
    assert "  JSON-2 ▶ cloud: BootNotification  ok in" in ended.out
    assert "JSON-1 ▶ old: " not in ended.out


async def test_an_outage_of_the_central_system_is_survived() -> None:
    """A charge in the middle of which it goes away, at a pace that nobody could follow."""
    try:
        out = io.StringIO()
        assert await play(3.0, JsonLines(out), pause=0.05) == 0
    finally:
        logs.set_up("error", "console")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    kept = [line["action"] for line in lines if line.get("how") == "kept"]
    late = [line["action"] for line in lines if line["kind"] == "delivered"]
    assert kept[0] == "MeterValues"
    assert len(late) >= 2
    assert kept[: len(late)] == late  # which they are is a matter of pace
    assert {line["identity"] for line in lines if line.get("how")} == {"SOAP-1"}
    summary = lines[-1]
    assert (summary["kept"], summary["failed"], summary["failures"]) == (len(kept), 0, [])
    assert summary["deliveredLate"] == len(late)


def test_ctrl_c_and_sigterm_end_it_in_good_order() -> None:
    processes = start(), start()
    for process, number in zip(processes, (signal.SIGINT, signal.SIGTERM), strict=True):
        assert process.stdout is not None
        for line in process.stdout:
            if "JSON-2 ▶ cloud: BootNotification" in line:
                break
        process.send_signal(number)
    for process in processes:
        ended = end(process)
        assert (ended.code, ended.err) == (0, "")
        assert "0 failed" in ended.out


def test_reader_that_has_enough_ends_it() -> None:
    line = f"{sys.executable} -m wattbridge demo | head -n 3"
    ended = subprocess.run(line, shell=True, capture_output=True, text=True, check=True, timeout=30)
    assert len(ended.stdout.splitlines()) == 3
    assert ended.stderr == ""


def test_full_disk_is_told_and_ends_it() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ended = subprocess.run(
            COMMAND, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=30
        )
    assert ended.returncode == 1
    assert ended.stderr == "wattbridge: cannot write to standard output: No space left on device\n"


# --- One exchange ----------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


SOAP = (
    b'<?xml version="1.0"?><e:Envelope xmlns:e="s"><e:Header>x</e:Header><e:Body id="1">\n'
    b"<x:authorizeRequest xmlns:x='urn:o' xmlns=\"urn:p\"><x:idTag>1</x:idTag></x:authorizeRequest>"
    b"\n</e:Body></e:Envelope>"
)


def an_exchange(
    reply: Reply | None = None,
    *,
    arrived: bytes = SOAP,
    asked: bytes | None = b'[2,"01234567-89ab","Authorize",{"idTag":"1"}]',
    answered: bytes | None = b'[3,"01234567-89ab",{}]',
    replied: bytes = b"",
    notes: tuple[Note, ...] = (),
    payload: Payload | None = None,
) -> Record:
    return Record(
        identity="SOAP-1",
        arrived_from=Side.CHARGE_POINT,
        action="Authorize",
        payload=payload,
        reply=reply or CallResult({}),
        began=1714557600.25,
        seconds=0.0042,
        peer_seconds=0.0041,
        arrived=Passage("soap", arrived, notes),
        asked=None if asked is None else Passage("json", asked),
        answered=None if answered is None else Passage("json", answered),
        replied=Passage("soap", replied),
        upstream="cloud",
    )


def shown(record: Record, monkeypatch: pytest.MonkeyPatch, columns: int | None = None) -> str:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO() if columns is None else Terminal()
    if columns is not None:
        monkeypatch.setenv("COLUMNS", str(columns))
    Transcript(out).record(record)
    return out.getvalue()


def test_exchange_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(an_exchange(), monkeypatch) == (
        "10:00:00.250  SOAP-1 ▶ cloud: Authorize  ok in 4.2 ms (gateway 0.10)\n"
        "  SOAP ▶        <authorizeRequest><idTag>1</idTag></authorizeRequest>\n"
        '       ▶ JSON   [2,"01234567…","Authorize",{"idTag":"1"}]\n'
        '       ◀ JSON   [3,"01234567…",{}]\n'
        "  SOAP ◀        (closed without an answer)\n"
        "\n"
    )


def test_what_is_kept_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = replace(an_exchange(asked=None, answered=None), how="kept", arrived=Passage("soap", SOAP))
    assert shown(kept, monkeypatch) == (
        "10:00:00.250  SOAP-1 ▶ cloud: Authorize  kept in 4.2 ms\n"
        "  SOAP ▶        <authorizeRequest><idTag>1</idTag></authorizeRequest>\n"
        "  SOAP ◀        (closed without an answer)\n"
        "  kept          ⏸ csms away: kept in the outbox, confirmed to the charge point\n"
        "\n"
    )


def test_what_is_delivered_late_is_told_and_counted() -> None:
    out = io.StringIO()
    show = Transcript(out)
    show.record(replace(an_exchange(), how="kept"))
    text = "MeterValues reached the central system 2 s late"
    show.event(Event("message delivered", "SOAP-1", text, labels={"action": "MeterValues"}))
    assert show.end([]) == 0
    assert f"  SOAP-1: {text}\n" in out.getvalue()
    assert "0 lost; 1 kept in the outbox, 1 of them delivered since\n" in out.getvalue()


def test_failed_exchange_says_why_and_shows_what_there_was(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = an_exchange(CallError("GenericError", "nobody", reason="timeout"), answered=None)
    assert shown(failed, monkeypatch) == (
        "10:00:00.250  SOAP-1 ▶ cloud: Authorize  failed: timeout in 4.2 ms (gateway 0.10)\n"
        "  SOAP ▶        <authorizeRequest><idTag>1</idTag></authorizeRequest>\n"
        '       ▶ JSON   [2,"01234567…","Authorize",{"idTag":"1"}]\n'
        "  SOAP ◀        (closed without an answer)\n"
        "  failed        GenericError: nobody\n"
        "\n"
    )


FRAME = b'[2,"01234567-89ab","Authorize",{"idTag":"1", "x":1.50}]'


def passed_on(asked: bytes, replied: bytes = b'[3, "01234567-89ab", {}]') -> Record:
    record = an_exchange(asked=asked, answered=b'[3,"b",{}]')
    return replace(record, arrived=Passage("json", FRAME), replied=Passage("json", replied))


def test_payloads_that_are_the_same_are_told_to_be_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(passed_on(b'[2,"b","Authorize",{"idTag":"1", "x":1.50}]'), monkeypatch) == (
        "10:00:00.250  SOAP-1 ▶ cloud: Authorize  ok in 4.2 ms (gateway 0.10)\n"
        '  JSON ▶        [2,"01234567…","Authorize",{"idTag":"1", "x":1.50}]\n'
        '       ▶ JSON   [2,"b","Authorize",{"idTag":"1", "x":1.50}]\n'
        '       ◀ JSON   [3,"b",{}]\n'
        '  JSON ◀        [3, "01234567…", {}]\n'
        "  unchanged     both payloads, byte for byte\n"
        "\n"
    )


@pytest.mark.parametrize(
    ("asked", "replied"),
    [
        (b'[2,"b","Authorize",{"idTag":"1","x":1.50}]', b'[3,"01234567-89ab",{}]'),
        (b'[2,"b","Authorize",{"idTag":"1", "x":1.5}]', b'[3,"01234567-89ab",{}]'),
        (b'[2,"b","Authorize",{"idTag":"1", "x":1.50}]', b'[3,"01234567-89ab",{"a":1}]'),
        (b'[2,"b","Authorize",{"idTag":"1", "x":1.50}]', b'[4,"01234567-89ab","GenericError","",{}]'),
    ],
    ids=["a blank", "a digit", "the reply", "an error"],
)
def test_what_is_not_the_same_byte_for_byte_is_not_told_to_be(
    monkeypatch: pytest.MonkeyPatch, asked: bytes, replied: bytes
) -> None:
    assert "unchanged" not in shown(passed_on(asked, replied), monkeypatch)


def test_exchange_on_a_narrow_terminal_is_folded_and_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    long = b'[2,"01234567-89ab","Authorize",{"idTag":"1"' + b',"more":"0123456789"' * 20 + b"}]"
    assert shown(an_exchange(asked=long), monkeypatch, columns=50) == (
        "10:00:00.250  SOAP-1 ▶ cloud: Authorize  ok in 4.2 ms\n"
        "  SOAP ▶        <authorizeRequest><idTag>1</idTag>\n"
        "                </authorizeRequest>\n"
        '       ▶ JSON   [2,"01234567…","Authorize",\n'
        '                {"idTag":"1","more":"0123456789",\n'
        '                "more":"0123456789",\n'
        '                "more":"0123456789",…\n'
        '       ◀ JSON   [3,"01234567…",{}]\n'
        "  SOAP ◀        (closed without an answer)\n"
        "\n"
    )


@pytest.mark.parametrize("columns", [1, 40, 41, 63, 80, 200])
def test_no_row_of_a_message_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    long = b'[2,"01234567-89ab","Authorize",{"idTag":"' + b"x" * 333 + b'","b":[1,2,3]}]'
    notes = tuple(Change("Authorize.idTag", "x" * 60, "y" * 60, "trimmed") for _ in range(9))
    lines = shown(an_exchange(asked=long, replied=b"<" + b"a" * 500, notes=notes), monkeypatch, columns)
    assert max(len(line) for line in lines.splitlines()[1:]) <= max(columns, 40)


@pytest.mark.parametrize(
    ("variable", "value", "coloured"),
    [("TERM", "xterm", True), ("TERM", "dumb", False), ("NO_COLOR", "1", False)],
)
def test_colour_is_for_terminals_that_have_it_and_people_who_want_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, coloured: bool
) -> None:
    """https://no-color.org"""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    out = Terminal()
    Transcript(out).record(an_exchange())
    assert ("\x1b[32mok\x1b[0m" in out.getvalue()) is coloured
    assert ("\x1b" in out.getvalue()) is coloured


def test_notes_are_told_by_their_place_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = (
        Change("Authorize.idTag", " 1", "1", "trimmed"),
        Loss("Authorize.colour", "red", "unknown-field", "OCPP has no such field here"),
    )
    assert shown(an_exchange(notes=notes), monkeypatch).splitlines()[5:7] == [
        "  changed       idTag  1 → 1 (trimmed)",
        "  lost          colour red: OCPP has no such field here (unknown-field)",
    ]


def test_terminal_shows_a_few_notes_and_counts_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = tuple(Change(f"Authorize.a{number}", "1", "2", "trimmed") for number in range(9))
    lines = shown(an_exchange(notes=notes), monkeypatch, columns=80).splitlines()
    assert lines[-5:-1] == [
        "  changed       a0 1 → 2 (trimmed)",
        "  changed       a1 1 → 2 (trimmed)",
        "  changed       a2 1 → 2 (trimmed)",
        "                … and 6 more",
    ]


def test_control_characters_of_a_message_do_not_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(an_exchange(answered=b'[3,"01234567-89abc",{"a":"\x1b[2J\x07"}]'), monkeypatch, columns=80)
    assert '[3,"01234567…",{"a":"\ufffd[2J\ufffd"}]' in text


@pytest.mark.parametrize(
    ("failed", "failures", "bug", "code"),
    [
        (False, [], False, 0),
        (True, [], False, 1),
        (False, ["SOAP-1 boot: no"], False, 1),
        (False, [], True, 1),
    ],
)
def test_exit_code_is_1_when_anything_failed(failed: bool, failures: list[str], bug: bool, code: int) -> None:
    reply = CallError("GenericError", reason="timeout") if failed else CallResult({})
    for show in (JsonLines(io.StringIO()), Transcript(io.StringIO())):
        show.record(an_exchange(reply))
        show.event(Event("internal error" if bug else "session opened", "SOAP-1", "oh"))
        assert show.end(failures) == code


def test_failures_are_listed_at_the_end() -> None:
    out = io.StringIO()
    show = Transcript(out)
    show.event(Event("internal error", "SOAP-1", "ZeroDivisionError()"))
    assert show.end(["SOAP-1 boot: no answer"]) == 1
    assert out.getvalue() == (
        "0 exchanges, 0 failed, 0 passed on as they were; 0 values changed on the way, 0 lost\n"
        "failed: SOAP-1 boot: no answer\n"
        "failed: internal error: ZeroDivisionError()\n"
    )


def test_json_summary_lists_failures() -> None:
    out = io.StringIO()
    assert JsonLines(out).end(["SOAP-1 boot: no answer"]) == 1
    summary: dict[str, Any] = json.loads(out.getvalue())
    assert summary["failures"] == ["SOAP-1 boot: no answer"]

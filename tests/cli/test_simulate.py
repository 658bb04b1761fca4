"""``wattbridge simulate``: charge points and central systems from the shell, against each other."""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.test_main import run
from wattbridge.cli.simulate import JsonLines, Lines, Show, identities
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.central_system_soap import SoapCentralSystem
from wattbridge.simulators.compat_spyne import NotInstalled
from wattbridge.simulators.outcomes import Exchange

COMMAND = [sys.executable, "-m", "wattbridge", "simulate"]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@contextmanager
def a_central_system(transport: str, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command as a central system, and its URL; it must be ended before the block is left."""
    process = start("central-system", transport, "--bind", "127.0.0.1:0", "-o", "json", *arguments)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"], process
    finally:
        process.kill()
        process.communicate()


def masked(text: str) -> str:
    """Without what is new each time."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"^\d\d:\d\d:\d\d\.\d{3}", "TIME", text, flags=re.MULTILINE)
    text = re.sub(r"\d+\.\d (m?s)\b", r"N \1", text)
    return re.sub(r"^wattbridge \S+", "wattbridge VERSION", text)


@pytest.mark.parametrize("transport", ["soap", "json"])
def test_the_two_commands_talk_to_each_other(transport: str) -> None:
    with a_central_system(f"--{transport}") as (url, central_system):
        code, out, err = end(start("charge-point", f"--{transport}", "--url", url))
        assert (code, err) == (0, "")
        assert masked(out) == (
            f"wattbridge VERSION simulate: CP-0001, OCPP 1.6 {transport.upper()}, call {masked(url)}; "
            "Ctrl-C ends it\n"
            "▶ goes to the central system, ◀ to the charge point\n"
            "TIME  CP-0001 ▶ BootNotification  ok in N ms\n"
            + "TIME  CP-0001 ▶ StatusNotification  ok in N ms\n"
            * 3
            + "TIME  CP-0001 ▶ Authorize  ok in N ms\n"
            "TIME  CP-0001 ▶ StatusNotification  ok in N ms\n"
            "TIME  CP-0001 ▶ StartTransaction  ok in N ms\n"
            "TIME  CP-0001 ▶ StatusNotification  ok in N ms\n"
            + "TIME  CP-0001 ▶ MeterValues  ok in N ms\n" * 3
            + "TIME  CP-0001 ▶ StopTransaction  ok in N ms\n"
            + "TIME  CP-0001 ▶ StatusNotification  ok in N ms\n" * 2
            + "14 calls in N s, 0 failed; answered in N ms (p50), N ms (p99)\n"
        )
        central_system.send_signal(signal.SIGINT)
        code, out, err = end(central_system)
        assert (code, err) == (0, "")
        *exchanges, summary = [json.loads(line) for line in out.splitlines()]
        assert [one["kind"] for one in exchanges] == ["exchange"] * 14
        assert exchanges[0].keys() == {*("kind", "time", "identity", "action", "asked", "outcome", "seconds")}
        assert (summary["calls"], summary["failed"], summary["problems"]) == (14, 0, [])


@pytest.mark.parametrize("version", ["1.5", "1.2"])
def test_the_two_commands_speak_an_older_ocpp(version: str) -> None:
    with a_central_system("--soap", "--ocpp", version) as (url, central_system):
        code, out, err = end(start("charge-point", "--url", url, "--ocpp", version, "-o", "json"))
        assert (code, err) == (0, "")
        first, *exchanges, summary = [json.loads(line) for line in out.splitlines()]
        assert (first["transport"], first["ocpp"]) == ("soap", version)
        assert (summary["calls"], len(exchanges), summary["failures"]) == (14, 14, [])
        central_system.send_signal(signal.SIGINT)
        code, out, err = end(central_system)
        assert (code, err) == (0, "")
        assert json.loads(out.splitlines()[-1])["problems"] == []


def test_who_speaks_another_ocpp_is_refused() -> None:
    with a_central_system("--soap", "-q") as (url, _):
        code, out, _ = end(start("charge-point", "--url", url, "--ocpp", "1.5", "-q"))
        assert code == 1
        assert "is no request of CentralSystemService 1.6" in out


@pytest.mark.parametrize("scenario", ["charge", "boot-storm", "offline"])
def test_several_charge_points_play_each_scenario(scenario: str) -> None:
    with a_central_system("--json") as (url, _):
        arguments = ("--scenario", scenario, "-n", "20", "--identity", "BAY", "-o", "json", "-q")
        code, out, err = end(start("charge-point", "--url", url, *arguments))
    first, summary = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert first["identities"] == [f"BAY-{number:04}" for number in range(1, 21)]
    calls = {"charge": 14, "boot-storm": 4, "offline": 11}
    assert (summary["calls"], summary["failed"]) == (20 * calls[scenario], 0)
    assert 0 < summary["p50"] <= summary["p99"]


@pytest.mark.parametrize("transport", ["soap", "json"])
def test_what_became_of_messages_of_transactions_is_told(transport: str) -> None:
    with a_central_system(f"--{transport}") as (url, _):
        keeping = ("--attempts", "3", "--retry", "100ms", "--scenario", "offline", "-q", "--url", url)
        code, out, err = end(start("charge-point", *keeping))
        assert (code, err) == (0, "")
        told = "7 acknowledged, 0 failed, 0 unanswered, 0 discarded, 7 sent, 0 queued"
        assert f"\nmessages of transactions: {told}\n" in out
        summary = json.loads(end(start("charge-point", *keeping, "-o", "json"))[1].splitlines()[-1])
        assert summary["transaction_messages"]["acknowledged"] == 7


def test_quirks_that_are_not_lived_with_are_told_and_are_a_failure() -> None:
    with a_central_system("--soap", "-q") as (url, central_system):
        code, out, _ = end(start("charge-point", "--url", url, "--scenario", "quirks", "-q"))
        assert code == 1
        assert "failed: CP-0001: a SOAP 1.1 envelope: HTTP 500, 'only SOAP 1.2 is spoken here'\n" in out
        central_system.send_signal(signal.SIGTERM)
        code, out, _ = end(central_system)
        assert code == 1  # a rule was broken
        assert "a SOAP 1.1 envelope; OCPP-S is SOAP 1.2" in json.loads(out)["problems"]


@pytest.mark.parametrize("scenario", ["charge", "boot-storm"])
def test_the_time_is_over_when_it_is_said(scenario: str) -> None:
    with a_central_system("--json") as (url, _):
        arguments = ("--scenario", scenario, "--for", "300ms", "-n", "3", "-o", "json", "-q")
        code, out, err = end(start("charge-point", "--url", url, *arguments))
    _, summary = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert summary["seconds"] >= 0.3
    assert summary["calls"] == 12 if scenario == "boot-storm" else summary["calls"] > 42


def test_ctrl_c_ends_it_with_the_sum() -> None:
    with a_central_system("--json") as (url, _):
        process = start("charge-point", "--url", url, "--for", "1h", "-n", "3")
        assert process.stdout is not None
        while "StopTransaction" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        code, out, err = end(process)
    assert (code, err) == (0, "")
    assert re.fullmatch(r"\d+ calls in N s, 0 failed; .*", masked(out.splitlines()[-1]))


def test_a_pace_is_kept_and_ends_with_the_time() -> None:
    with a_central_system("--json") as (url, _):
        arguments = ("--rate", "20/s", "--for", "500ms", "-n", "30", "-o", "json", "-q")
        code, out, err = end(start("charge-point", "--url", url, *arguments))
    _, summary = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert 5 <= summary["calls"] <= 20 * summary["seconds"] + 1


@pytest.mark.parametrize("transport", ["soap", "json"])
def test_nobody_at_the_other_end_is_a_failure(transport: str) -> None:
    async def a_url_of_nobody() -> str:
        async with JsonCentralSystem() as central_system:
            return central_system.url

    url = asyncio.run(a_url_of_nobody()).replace("ws:", "http:" if transport == "soap" else "ws:")
    code, out, err = end(start("charge-point", "--url", url))
    assert (code, err) == (1, "")
    assert re.search(r"^failed: CP-0001: .*[Cc]onnection refused", out, re.MULTILINE)


class Reluctant(JsonCentralSystem):
    """Does not know a charge point when it comes for the first time."""

    asked = 0

    def knows(self, identity: str) -> bool:
        self.asked += 1
        return self.asked > 1


def test_who_cannot_connect_tries_again_while_there_is_time() -> None:
    async def go() -> tuple[int | None, str]:
        async with Reluctant() as central_system:
            process = await asyncio.create_subprocess_exec(
                *(*COMMAND, "charge-point", "--url", central_system.url, "--for", "1h"),
                stdout=asyncio.subprocess.PIPE,
            )
            await central_system.arrival_of("BootNotification", within=30)
            process.send_signal(signal.SIGINT)
            out, _ = await process.communicate()
            return process.returncode, out.decode()

    code, out = asyncio.run(go())
    assert code == 1
    assert "failed: CP-0001: no connection: HTTP 404\n" in out


@pytest.mark.parametrize("transport", ["soap", "json"])
def test_a_password_file_is_one_line_of_bytes(transport: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"secret:\xab\r\n")
    kind = SoapCentralSystem if transport == "soap" else JsonCentralSystem

    async def go() -> int | None:
        async with kind(passwords={"CP7": b"secret:\xab"}) as central_system:
            process = await asyncio.create_subprocess_exec(
                *(*COMMAND, "charge-point", "--url", central_system.url, "--identity", "CP7"),
                *("--password-file", str(file), "--scenario", "boot-storm", "-q"),
                stdout=asyncio.subprocess.DEVNULL,
            )
            return await process.wait()

    assert asyncio.run(go()) == 0


def test_the_habits_of_a_central_system() -> None:
    with a_central_system("--soap", "--habits", "steve") as (url, central_system):
        code, out, _ = end(start("charge-point", "--url", url, "--scenario", "boot-storm", "-q"))
        assert code == 1
        assert (
            "wsa:Action is 'urn://Ocpp/Cs/2015/10/CentralSystemService/BootNotificationResponse'; "
            "expected '/BootNotificationResponse'" in out
        )
        central_system.send_signal(signal.SIGINT)
        assert end(central_system)[0] == 0


def test_a_reader_that_goes_away_is_no_news() -> None:
    with a_central_system("--json") as (url, _):
        process = start("charge-point", "--url", url, "--for", "1h")
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
        process.stderr.close()


def test_an_address_that_cannot_be_had_is_one_line() -> None:
    with a_central_system("--json") as (url, _):
        taken = url.split("/")[2]
        for transport in ("--json", "--soap"):
            code, _, err = end(start("central-system", transport, "--bind", taken))
            assert (code, err) == (1, f"wattbridge: cannot listen at {taken}: Address already in use\n")


def test_without_spyne_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(self: SoapCentralSystem) -> None:
        raise NotInstalled("it needs spyne: pip install wattbridge[simulators]")

    monkeypatch.setattr(SoapCentralSystem, "start", start)
    code, out, err = run("simulate", "central-system", "--soap", "--bind", "127.0.0.1:0", "-q")
    assert (code, err) == (2, "wattbridge: it needs spyne: pip install wattbridge[simulators]\n")
    assert out == ""


# --- Wrong usage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("charge-point", "Missing option '--url'"),
        ("charge-point --url ftp://x", "'ftp://x' is neither http(s):// for SOAP nor ws(s):// for JSON"),
        ("charge-point --url ws://", "'ws://' names no host"),
        ("charge-point --url http://[::1", "'http://[::1' names no host"),
        ("charge-point --url ws://x --soap", "ws:// is for --json"),
        ("charge-point --url http://x --json", "http:// is for --soap"),
        ("charge-point --url http://x --ocpp 2.0", "'2.0' is none of 1.6, 1.5, 1.2"),
        ("charge-point --url ws://x --ocpp 1.5", "1.5 is spoken over SOAP: add --soap"),
        ("central-system --json --ocpp 1.2", "1.2 is spoken over SOAP: add --soap"),
        ("charge-point --url ws://x -n 0", "'-n'"),
        ("charge-point --url ws://x --scenario nap", "'nap' is none of charge, boot-storm, offline, quirks"),
        ("charge-point --url ws://x --for soon", "soon"),
        ("charge-point --url ws://x --rate 5", "write 5/s, 5/m or 5/h"),
        ("charge-point --url ws://x --rate 0/s", "0/s is never"),
        ("charge-point --url ws://x -o xml", "'xml' is neither text nor json"),
        ("charge-point --url ws://x --password-file /no/such", "/no/such: "),
        ("charge-point --url ws://x --ca /no/such", "/no/such: "),
        ("charge-point --url ws://x --ca {here}", "no certificate in PEM is in it"),
        ("central-system", "say how it speaks: one of the two"),
        ("central-system --soap --json", "say how it speaks: one of the two"),
        ("central-system --soap --bind 9100", "'9100' has no port"),
        ("central-system --soap --habits nun", "'nun' is neither steve nor ev-server"),
        ("central-system --json --habits steve", "they are those of SOAP central systems: add --soap"),
    ],
)
def test_wrong_usage_is_told(arguments: str, problem: str) -> None:
    code, out, err = run("simulate", *arguments.replace("{here}", __file__).split())
    assert (code, out) == (2, "")
    assert problem in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize("command", ["charge-point", "central-system"])
def test_every_help_fits_a_terminal(command: str) -> None:
    code, out, _ = run("simulate", command, "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80


# --- What is shown ---------------------------------------------------------------------------------------


def shown(show: Show) -> None:
    for hundredths in range(1, 101):
        show.exchange(Exchange("CP1", "Heartbeat", "central system", "ok", hundredths / 100))
    show.exchange(Exchange("CP1", "Reset", "charge point", "NotSupported:\n no relay", 9.0))


def test_percentiles_are_of_what_charge_points_ask() -> None:
    out = io.StringIO()
    show = JsonLines(out, True)
    shown(show)
    assert show.end() == 0
    summary = json.loads(out.getvalue())
    assert (summary["calls"], summary["failed"]) == (101, 1)
    assert (summary["p50"], summary["p99"]) == (0.5, 0.99)


def test_without_calls_there_are_no_percentiles() -> None:
    out = io.StringIO()
    assert JsonLines(out, True).end() == 0
    assert json.loads(out.getvalue())["p50"] is None
    out = io.StringIO()
    assert Lines(out, True).end() == 0
    assert masked(out.getvalue()) == "0 calls in N s, 0 failed\n"


def test_a_failed_call_is_one_line() -> None:
    out = io.StringIO()
    shown(Lines(out, False))
    last = masked(out.getvalue()).splitlines()[-1]
    assert last == "TIME  CP1 ◀ Reset  failed: NotSupported: no relay in N ms"


def test_of_many_failures_the_first_are_told() -> None:
    out = io.StringIO()
    show = Lines(out, True)
    show.failures = [f"failure {number}" for number in range(1, 13)]
    show.problems = ["a problem"]
    assert show.end() == 1
    assert out.getvalue().splitlines()[1:] == [
        *(f"failed: failure {number}" for number in range(1, 11)),
        "failed: … and 2 more",
        "problem: a problem",
    ]


@pytest.mark.parametrize(
    ("identity", "number", "expected"),
    [
        (None, None, ["CP-0001"]),
        ("X", None, ["X"]),
        (None, 2, ["CP-0001", "CP-0002"]),
        ("BAY", 1, ["BAY-0001"]),
    ],
)
def test_several_charge_points_are_numbered(
    identity: str | None, number: int | None, expected: list[str]
) -> None:
    assert identities(identity, number) == expected

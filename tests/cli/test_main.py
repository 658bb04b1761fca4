"""The command line as a whole: its help, its exit codes, and that it is there at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wattbridge.cli import app

HEAVY = ("aiohttp", "lxml", "orjson", "pydantic", "rich", "structlog", "uvloop", "websockets", "yaml", "zeep")


def run(*arguments: str, text: bytes | None = None) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    result = CliRunner(env={"COLUMNS": "80"}).invoke(
        app, list(arguments), input=text, prog_name="wattbridge", catch_exceptions=False
    )
    return result.exit_code, result.stdout, result.stderr


def imported_by(*arguments: str) -> set[str]:
    """Which modules are there after a command ran in a process of its own."""
    program = (
        "import sys\n"
        "from wattbridge.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(' '.join(sys.modules))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return set(ended.stderr.split())


def test_help_names_every_command() -> None:
    code, out, _ = run("--help")
    assert code == 0
    commands = out.partition("Commands:\n")[2]
    assert [line.split()[0] for line in commands.partition("\n\n")[0].splitlines()] == [
        "demo",
        "init",
        "run",
        "check",
        "reload",
        "healthcheck",
        "translate",
        "explain",
        "version",
        "call",
        "support-dump",
        "problems",
        "profile",
        "routes",
        "chargers",
        "upstreams",
        "trace",
        "queue",
        "transactions",
        "admin",
        "store",
        "simulate",
        "config",
        "dashboards",
    ]


def test_help_imports_nothing_heavy() -> None:
    there = imported_by("--help")
    assert "wattbridge.cli" in there
    assert there.isdisjoint(HEAVY)
    assert not [name for name in there if name.startswith("wattbridge.") and name != "wattbridge.cli"]


def test_the_help_of_a_command_imports_nothing_of_ours() -> None:
    # typer itself brings pydantic when a command has options.
    there = imported_by("run", "--help")
    assert there.isdisjoint(set(HEAVY) - {"pydantic"})
    assert not [name for name in there if name.startswith("wattbridge.") and name != "wattbridge.cli"]


@pytest.mark.parametrize(
    "command",
    [
        "",
        *["demo", "init", "run", "check", "reload", "translate", "explain", "version", "config", "routes"],
        *["simulate", "simulate charge-point", "simulate central-system"],
        "routes list",
        "routes test",
        *["call", "problems", "admin", "admin hash-token", "admin audit", "chargers list"],
        *["upstreams", "upstreams list", "upstreams ready", "upstreams drain", "upstreams maint"],
        *["queue", "queue list", "queue show", "queue retry", "queue drop"],
        *["trace", "trace show", "trace start", "trace stop", "trace list", "trace export", "trace replay"],
        *["transactions", "transactions list", "transactions show", "transactions map"],
    ],
)
def test_every_help_fits_a_terminal(command: str) -> None:
    code, out, _ = run(*command.split(), "--help")
    assert code == 0
    assert out.startswith(f"Usage: wattbridge {command}".rstrip() + " ")
    assert max(map(len, out.splitlines())) <= 80
    assert run(*command.split(), "-h")[1] == out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nosuch"], "No such command 'nosuch'."),
        (["run", "--nope"], "No such option: --nope"),
        (["explain"], "ACTION[.FIELD]: say which, or --local-answers"),
        (["demo", "--for", "5"], "--for: '5' has no unit: write 5s for seconds (ms, s, m, h, d)"),
        (["translate", "--to", "yaml"], "--to: 'yaml' is neither json nor soap"),
        (["translate", "--celsius", "K"], "--celsius: 'K' is neither Celsius nor Celcius"),
        (["translate", "--zone", "Mars/X"], "--zone: 'Mars/X' is no time zone of the IANA database"),
        (["translate", "/nowhere/x.xml"], "FILE: /nowhere/x.xml: no such file"),
        (["translate", "/"], "FILE: /: is a directory"),
        (["translate", "/dev/zero"], "FILE: /dev/zero: is larger than 16MiB"),
        (["check", "--identity", "CP1"], "--identity: is only for --connect"),
        (["check", "--connect", "--identity", " "], "--identity: ' ' is no identity"),
        (["routes", "test"], "Missing argument 'ID'."),
        (["routes", "test", ".."], "ID: '..' cannot be an identity"),
        (["queue", "drop", "CP1"], "POSITION, --older: say which: one of the two"),
        (["queue", "drop", "CP1", "1", "--older", "1h"], "POSITION, --older: say which: one of the two"),
        (["queue", "drop", "CP1", "--older", "1"], "--older: '1' has no unit"),
        (["queue", "list", "--state", "open"], "--state: 'open' is neither waiting nor parked"),
        (["queue", "show", "CP1", "first"], "'POSITION': Input should be a valid integer"),
        (
            ["transactions", "list", "--state", "parked"],
            "--state: 'parked' is none of open, stopped, refused",
        ),
        (["transactions", "map", "CP1", "1"], "Missing argument 'REMOTE'."),
        (["transactions", "list", "-o", "yaml"], "--output: 'yaml' is neither text nor json"),
        (["routes", "test", "CP1", "--source", "depot"], "--source: 'depot' is no IP address"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(arguments: list[str], sentence: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err


def test_without_a_command_there_is_help() -> None:
    code, out, err = run()
    assert code == 2
    assert "Commands:" in out + err


def test_the_version_is_told_in_three_ways() -> None:
    code, out, _ = run("version")
    assert code == 0
    assert out.startswith("wattbridge ")
    assert run("--version") == (0, out, "")
    report = json.loads(run("version", "--json")[1])
    assert f"wattbridge {report['wattbridge']}\n" == out
    assert report["libraries"]["lxml"]


def test_the_schema_is_printed_as_json() -> None:
    code, out, err = run("config", "schema")
    assert (code, err) == (0, "")
    assert json.loads(out)["title"] == "Wattbridge configuration"


def test_python_m_is_the_same_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "wattbridge", "version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stdout == run("version")[1]


def test_a_reader_that_has_enough_is_no_error_of_ours() -> None:
    ended = subprocess.run(
        f"{sys.executable} -m wattbridge config schema | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (ended.stdout, ended.stderr) == ("{\n", "")


def test_a_message_comes_from_a_file_or_from_standard_input(tmp_path: Path) -> None:
    frame = b'[2,"1","Heartbeat",{}]'
    file = tmp_path / "frame.json"
    file.write_bytes(frame)
    code, out, err = run("translate", "--identity", "CP1", str(file))
    assert (code, err) == (0, "")
    assert "CP1" in out
    assert "heartbeatRequest" in out
    assert run("translate", "--identity", "CP1", "-", text=frame)[0] == 0
    assert "heartbeatRequest" in run("translate", text=frame)[1]


def test_what_is_no_message_gets_one_line() -> None:
    code, out, err = run("translate", text=b"hello")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1

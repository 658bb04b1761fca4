"""``wattbridge trace replay``: a trace is played to a central system that may be played with."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_main import run
from tests.traced import NOW, traced
from wattbridge.cli import _speed
from wattbridge.cli.replay import Played, Playing, play
from wattbridge.operation.trace import formats
from wattbridge.operation.trace.formats import read_trace
from wattbridge.operation.trace.view import moment
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.central_system_soap import SoapCentralSystem

Payload = dict[str, Any]
BOOT = {"chargePointVendor": "ACME", "chargePointModel": "CC-1"}


def call(number: int, action: str, payload: Payload, identity: str = "CP1", **more: Any) -> Payload:
    return {
        "schemaVersion": "1.1",
        "timestamp": moment(NOW + number / 1000),
        "transport": "json",
        "direction": "cp-to-csms",
        "messageType": "CALL",
        "messageId": str(number),
        "chargePointId": identity,
        "action": action,
        "payload": payload,
    } | more


def result(number: int, payload: Payload, identity: str = "CP1", **more: Any) -> Payload:
    told = (
        call(number, "", payload, identity) | {"direction": "csms-to-cp", "messageType": "CALLRESULT"} | more
    )
    del told["action"]
    return told


START = {"connectorId": 1, "idTag": "TAG", "meterStart": 0, "timestamp": "2024-05-01T10:00:00Z"}
STOP = {"transactionId": 4711, "meterStop": 5, "timestamp": "2024-05-01T11:00:00Z", "idTag": "TAG"}
A_CHARGE = [
    call(1, "BootNotification", BOOT),
    result(1, {"status": "Accepted", "currentTime": "2024-05-01T10:00:00Z", "interval": 60}),
    call(2, "StartTransaction", START),
    result(2, {"transactionId": 4711, "idTagInfo": {"status": "Accepted"}}),
    call(3, "StopTransaction", STOP),
    result(3, {"idTagInfo": {"status": "Accepted"}}),
]


def lines(records: list[Payload]) -> list[str]:
    return [json.dumps(record) for record in records]


async def played(records: list[str], url: str, **more: Any) -> tuple[Played, list[list[str]]]:
    """What came of it, and the lines that were written, without their times."""
    out = io.StringIO()
    ended = await play(list(read_trace(records)), Playing(url, speed=0.0, **more), out)
    return ended, [line.split("  ")[:-1] for line in out.getvalue().splitlines()]


async def test_a_charge_is_played_over_json_with_the_numbers_of_now() -> None:
    async with JsonCentralSystem() as central_system:
        central_system.next_transaction_id = 9
        ended, written = await played(lines(A_CHARGE), central_system.url)
        assert [(identity, action) for identity, action, _ in central_system.received] == [
            ("CP1", "BootNotification"),
            ("CP1", "StartTransaction"),
            ("CP1", "StopTransaction"),
        ]
        assert central_system.received[2][2]["transactionId"] == 9
        assert central_system.problems == []
    assert written == [
        ["CP1", action, "ok"] for action in ("BootNotification", "StartTransaction", "StopTransaction")
    ]
    assert (ended.code(), ended.counts["answered"], ended.counts["otherwise"]) == (0, 3, 0)


async def test_the_same_trace_is_played_over_soap() -> None:
    pytest.importorskip("spyne")
    async with SoapCentralSystem() as central_system:
        ended, written = await played(lines(A_CHARGE), central_system.url)
        assert [action for _, action, _ in central_system.received] == [
            "BootNotification", "StartTransaction", "StopTransaction"
        ]  # fmt: skip
        assert central_system.problems == []
    assert (ended.code(), [line[2] for line in written]) == (0, ["ok", "ok", "ok"])


async def test_a_soap_charge_point_of_a_gateway_is_played_over_json() -> None:
    """The leg of the charge point, which spoke SOAP; the call is not played twice."""
    records = [line for line in formats.open_ocpp_trace(traced())]
    async with JsonCentralSystem() as central_system:
        ended, _ = await played(records, central_system.url)
        [(identity, action, payload)] = central_system.received
    assert (identity, action, payload["meterValue"][0]["sampledValue"][0]["value"]) == (
        "BER-0001",
        "MeterValues",
        "5.25",
    )
    assert ended.counts["calls"] == 1


async def test_ndjson_is_played_too_and_the_other_leg_on_request() -> None:
    async with JsonCentralSystem() as central_system:
        ended, _ = await played([formats.ndjson(traced(known_as="DE*1"))], central_system.url, leg="csms")
        assert [action for _, action, _ in central_system.received] == ["MeterValues"]
    assert ended.code() == 0


async def test_several_charge_points_play_side_by_side_each_in_its_order() -> None:
    records = [call(number, "Heartbeat", {}, f"CP{number % 3}") for number in range(9)]
    async with JsonCentralSystem() as central_system:
        ended, _ = await played(lines(records), central_system.url)
        assert len(central_system.received) == 9
    assert (ended.counts["charge points"], ended.counts["answered"]) == (3, 9)


async def test_what_is_answered_otherwise_and_what_fails_is_told() -> None:
    records = [
        call(1, "Authorize", {"idTag": "TAG"}),
        result(1, {"idTagInfo": {"status": "Blocked"}}),
        call(2, "Authorize", {"idTag": "TAG"}),
        call(3, "Authorize", {}),
        call(4, "Authorize", None, raw="[2,"),  # type: ignore[arg-type]
    ]
    del records[4]["payload"]
    async with JsonCentralSystem() as central_system:
        ended, written = await played(lines(records), central_system.url)
    assert written[0][2] == (
        'otherwise: {"idTagInfo": {"status": "Accepted"}}, in the trace {"idTagInfo": {"status": "Blocked"}}'
    )
    assert written[1][2] == "ok"
    assert written[2][2].startswith(("OccurenceConstraintViolation", "FormationViolation", "ProtocolError"))
    counts = ended.counts
    assert (counts["otherwise"], counts["failed"], counts["skipped"], ended.code()) == (1, 1, 1, 1)


async def test_what_the_central_system_asks_is_answered_as_in_the_trace() -> None:
    records = [
        call(1, "Reset", {"type": "Soft"}, direction="csms-to-cp"),
        result(1, {"status": "Rejected"}, direction="cp-to-csms"),
        call(2, "Heartbeat", {}),
    ]
    async with JsonCentralSystem() as central_system:
        central_system.answer_delay = 0.3
        out = io.StringIO()
        async with asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(
                play(list(read_trace(lines(records))), Playing(central_system.url, 0.0), out)
            )
            await central_system.connection_of("CP1")
            assert await central_system.call("CP1", "Reset", type="Soft") == {"status": "Rejected"}
        assert playing.result().code() == 0


async def test_nobody_is_there() -> None:
    for url in ("ws://127.0.0.1:9/ocpp", "http://127.0.0.1:9/"):
        ended, _ = await played(lines(A_CHARGE), url)
        assert (ended.code(), ended.problem.partition(": ")[0].startswith(url[:18])) == (3, True)


@contextmanager
def a_file(folder: Path, content: str) -> Iterator[str]:
    file = folder / "trace.jsonl"
    file.write_text(content)
    yield str(file)


@pytest.mark.parametrize(
    ("content", "url", "code", "said"),
    [
        ("", "ftp://127.0.0.1", 2, "--to ftp://127.0.0.1: expected ws(s):// for JSON or http(s):// for SOAP"),
        (
            "",
            "ws://csms.example/ocpp",
            2,
            "csms.example is not this machine, and a central system there would take",
        ),
        ("{", "ws://127.0.0.1:9/", 2, "trace.jsonl: line 1: is not JSON"),
        ("\n", "ws://127.0.0.1:9/", 1, "0 calls of 0 charge points"),
    ],
)
def test_what_cannot_be_played_is_said(tmp_path: Path, content: str, url: str, code: int, said: str) -> None:
    with a_file(tmp_path, content) as file:
        ended, _, err = run("trace", "replay", file, "--to", url, "--speed", "max")
    assert (ended, said in err) == (code, True), err


def test_a_trace_that_is_not_there_is_said() -> None:
    code, _, err = run("trace", "replay", "/nowhere/x", "--to", "ws://127.0.0.1:9/")
    assert (code, err) == (2, "wattbridge: /nowhere/x: no such file\n")


def test_the_pace_is_that_of_the_trace_or_as_many_times_as_fast() -> None:
    assert (_speed("4x"), _speed("0.5"), _speed("max")) == (4.0, 0.5, 0.0)

"""Traces that are exported, read by OCPP DebugKit, which was written by others; and its own read here."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from tests.exchange_files import load_exchanges, load_older_exchanges
from tests.interop import node_peer
from tests.traced import of_corpus, traced
from wattbridge.operation.trace import formats
from wattbridge.operation.trace.formats import Legs, read_trace
from wattbridge.store.base import Exchange

MISSING = node_peer.missing("@ocpp-debugkit/toolkit")
pytestmark = pytest.mark.skipif(bool(MISSING) and os.environ.get("CI") != "true", reason=MISSING)


def debugkit(lines: list[str], how: str = "read") -> Any:
    """What it makes of a trace."""
    ended = subprocess.run(
        ["node", "debugkit.mjs", how],
        cwd=node_peer.FOLDER,
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout) if how == "read" else ended.stdout.splitlines()


def of(exchanges: list[Exchange], legs: Legs = "both") -> list[str]:
    return [line for exchange in exchanges for line in formats.open_ocpp_trace(exchange, legs)]


def is_read(exchange: Exchange) -> bool:
    """Whether all of its messages can be read. What cannot is no message to DebugKit, and it says so."""
    return all({"payload", "error"} & json.loads(line).keys() for line in of([exchange]))


def a_charge() -> list[Exchange]:
    """A charge of a SOAP charge point at a JSON central system, from boot to stop."""
    wanted = ("BootNotification", "Authorize", "StartTransaction", "MeterValues", "StopTransaction")
    by_action = {each.folder: of_corpus(each) for each in load_exchanges() if each.case == "full"}
    return [by_action[action] for action in wanted]


def test_a_soap_charge_is_read_without_a_warning() -> None:
    said = debugkit(of(a_charge()))
    assert said["recognised"] is True
    assert said["warnings"] == said["invalid"] == []
    assert said["view"]["counts"] == {"records": 20, "calls": 10, "callResults": 10, "callErrors": 0}
    assert said["view"]["unansweredCalls"] == said["view"]["orphanResponses"] == []


@pytest.mark.parametrize("leg", ["charger", "csms"])
def test_one_leg_is_the_conversation_of_two(leg: Legs) -> None:
    said = debugkit(of(a_charge(), leg))
    assert said["warnings"] == said["invalid"] == []
    calls = [event["action"] for event in said["events"] if event["type"] == "Call"]
    assert calls == ["BootNotification", "Authorize", "StartTransaction", "MeterValues", "StopTransaction"]
    assert {event["direction"] for event in said["events"]} == {"CS_TO_CSMS", "CSMS_TO_CS"}
    assert said["sessions"]


def test_the_whole_corpus_is_read_and_every_answer_finds_its_call() -> None:
    """Calls and refusals of both parties, of every version."""
    files = [each for each in load_exchanges() + load_older_exchanges() if each.messages[1] is not None]
    exchanges = [each for each in map(of_corpus, files) if is_read(each)]
    assert len(exchanges) > 300
    said = debugkit(of(exchanges))
    assert said["warnings"] == []
    assert said["view"]["unansweredCalls"] == said["view"]["orphanResponses"] == []
    assert said["view"]["counts"]["records"] == 4 * len(exchanges)


def test_a_call_without_an_answer_is_seen_as_one() -> None:
    said = debugkit(of([traced(answered="", replied="", reason="timeout")]))
    assert said["warnings"] == []
    assert said["view"]["unansweredCalls"] == [0, 1]


def test_what_it_writes_is_read_here() -> None:
    ours = of(a_charge(), "csms")
    theirs = debugkit(ours, "write")
    assert [(told.kind, told.action, told.payload) for told in read_trace(theirs)] == [
        (told.kind, told.action, told.payload) for told in read_trace(ours)
    ]

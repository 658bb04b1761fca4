"""A gateway at work as it is looked at: what it carries is seen at once, and is there after a restart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.exchange_files import load_exchanges
from tests.fakes import USUAL_ANSWERS, a_central_system, post, soap_request
from tests.test_app import a_gateway, configuration
from tests.test_exchanges import carry, text_of
from wattbridge.config import read_text
from wattbridge.operation.api import Refusal
from wattbridge.operation.history import History, Keeping
from wattbridge.operation.trace.capture import Wanted
from wattbridge.operation.trace.filter import parse
from wattbridge.operation.trace.formats import exchange_folder
from wattbridge.operation.trace.models import MessageWhole, ToTranslate, Translated
from wattbridge.operation.trace.view import whole_of
from wattbridge.profiling import Profiles
from wattbridge.relay.journal import Journal
from wattbridge.showing import Showing
from wattbridge.store.base import Exchange
from wattbridge.store.memory import MemoryStore
from wattbridge.store.sqlite import SqliteStore


async def seen(world: Any) -> list[Exchange]:
    """The history, the newest first."""
    return [exchange async for page in world.gateway.history.before() for exchange in page]


async def test_an_exchange_is_seen_live_and_is_found_again() -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(configuration(central_system.url)) as world,
    ):
        reader = world.gateway.showing.hub.read(parse("charger:CP1 leg:soap"))
        await post(world.url, soap_request("Authorize"))
        heard = await reader.next(20.0)
        assert heard is not None
        [exchange] = heard[1]
        assert [exchange] == await seen(world)  # also of a gateway without a database
        whole = whole_of(exchange)
        MessageWhole.model_validate_json(json.dumps(whole), strict=True)
        assert (whole["charger_transport"], whole["csms_transport"], whole["outcome"]) == (
            "soap",
            "json",
            "ok",
        )
        assert whole["source"] == "127.0.0.1"
        assert {
            "message": "call",
            "charger": "idTag",
            "csms": "idTag",
            "soap": "idTag",
            "json": "idTag",
        } in whole["pairs"]
        steps = [step["at_ms"] for step in whole["timeline"]]
        assert steps == sorted(steps)
        assert whole["ms"] >= whole["peer_ms"] > 0
        assert exchange.read_seconds > 0
        assert exchange.write_seconds > 0


async def test_an_exchange_can_be_dropped_into_the_corpus(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(configuration(central_system.url)) as world,
    ):
        await post(world.url, soap_request("Authorize"))
        await post(world.url, soap_request("Heartbeat"))
        for exchange in await seen(world):
            folder, files = exchange_folder(exchange)
            (case := tmp_path / folder / "as-seen").mkdir(parents=True)
            for name, content in files.items():
                (case / name).write_bytes(content)
    exchanges = load_exchanges(tmp_path / "exchanges")
    assert [each.folder for each in exchanges] == ["Authorize", "Heartbeat"]
    for each in exchanges:
        carried = carry(each)
        assert text_of(carried.relayed) == text_of(each.messages[1])
        assert text_of(carried.replied) == text_of(each.messages[3])


async def test_a_capture_and_the_history_are_there_after_a_restart(tmp_path: Path) -> None:
    async with a_central_system(USUAL_ANSWERS) as central_system:
        text = configuration(central_system.url)
        for run in (1, 2):
            store = await SqliteStore.open(tmp_path / "wattbridge.db")
            try:
                async with a_gateway(text, store) as world:
                    captures = world.gateway.showing.captures
                    if run == 1:
                        await captures.start(Wanted(parse("action:Authorize")))
                    [capture] = captures.all()
                    await post(world.url, soap_request("Authorize"))
                    await post(world.url, soap_request("Heartbeat"))
                    kept = [each.action async for page in captures.read(capture.id) for each in page]
                    assert kept == ["Authorize"] * run
                    assert [each.action for each in await seen(world)] == ["Heartbeat", "Authorize"] * run
            finally:
                await store.close()


async def test_whoever_reads_along_is_told_when_the_gateway_stops() -> None:
    async with a_gateway(configuration()) as world:
        reader = world.gateway.showing.hub.read(parse(""))
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(reader.next(60.0))
            await world.end()
        assert waiting.result() is None


# --- translating by hand ---


@pytest.fixture
def showing() -> Showing:
    history = History(None, Keeping())
    profiles = Profiles(read_text(configuration()).config)
    return Showing(history, MemoryStore(), Journal(), profiles)


def translated(showing: Showing, asked: dict[str, Any]) -> dict[str, Any]:
    """The answer to what is asked, which has the shape that the API tells."""
    answer = showing.translate(ToTranslate.model_validate(asked, strict=True))
    Translated.model_validate_json(json.dumps(answer), strict=True)
    return answer


def test_a_message_is_translated_as_the_command_line_does(showing: Showing) -> None:
    answer = translated(
        showing, {"message": '[2,"1","Authorize",{"idTag":"TAG"}]', "version": "1.5", "charger": "CP1"}
    )
    assert (answer["form"], answer["action"], answer["message_id"]) == ("json", "Authorize", "1")
    assert "<ocpp:chargeBoxIdentity>CP1</ocpp:chargeBoxIdentity>" in answer["text"]
    assert "urn://Ocpp/Cs/2012/06/" in answer["text"]
    back = translated(showing, {"message": answer["text"], "to": "json"})
    assert back["text"].endswith('"Authorize",{"idTag":"TAG"}]')
    assert (back["charger"], back["notes"], back["answered_here"]) == ("CP1", [], None)


def test_what_is_changed_lost_or_answered_here_is_told(showing: Showing) -> None:
    values = [{"timestamp": "2024-05-01T10:00:00+02:00", "sampledValue": [{"value": "1", "unit": "Hertz"}]}]
    text = json.dumps([2, "1", "MeterValues", {"connectorId": 1, "meterValue": values}])
    notes = translated(showing, {"message": text})["notes"]
    assert [(note["what"], note["rule"]) for note in notes] == [
        ("changed", "to-utc"),
        ("lost", "unsayable-unit"),
    ]
    assert notes[0]["said"] == "a time with an offset was written in UTC"
    [empty] = [each for each in load_exchanges() if each.id == "MeterValues/no-values"]
    answer = translated(showing, {"message": empty.messages[0].decode()})
    assert (answer["text"], answer["answered_here"]) == ("", {"payload": {}})


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"message": "[2]", "profile": "/etc/passwd"}, 404, "there is no profile '/etc/passwd'"),
        ({"message": "hello"}, 422, "the message begins with 'hello', expected a SOAP envelope"),
        ({"message": '[3,"1",{}]'}, 422, "a CALLRESULT does not say which action it answers"),
        ({"message": '[2,"1","Reset",{}]'}, 422, "OccurenceConstraintViolation: Reset.type"),
    ],
)
def test_what_cannot_be_translated_is_refused(
    showing: Showing, asked: dict[str, Any], status: int, said: str
) -> None:
    with pytest.raises(Refusal) as refused:
        translated(showing, asked)
    assert (refused.value.status, refused.value.detail[: len(said)]) == (status, said)


def test_actions_and_fields_are_explained(showing: Showing) -> None:
    [message] = showing.explain("Heartbeat.conf")
    assert message["fields"][0]["path"] == "HeartbeatResponse.currentTime"
    assert showing.explain("securityeventnotification")[0]["asked"] == "central_system"
    for query, status, said in (
        ("", 400, "q: expected an action or a field"),
        ("Heartbeet", 404, "there is no action 'Heartbeet' in OCPP 1.6 (did you mean Heartbeat?)"),
        ("Reset.typo", 404, "Reset has no field 'typo' (did you mean type?)"),
    ):
        with pytest.raises(Refusal) as refused:
            showing.explain(query)
        assert (refused.value.status, refused.value.detail[: len(said)]) == (status, said)

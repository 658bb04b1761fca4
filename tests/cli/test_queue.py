"""``wattbridge queue``: what waits is shown, sent again, and never dropped without being shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.keeping import Keeping, a_gateway_that_keeps
from tests.cli.test_main import run
from tests.kept import NOW, PAYLOAD
from wattbridge.cli import listing
from wattbridge.store.base import Waiting


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Keeping]:
    with a_gateway_that_keeps(tmp_path) as keeping:
        yield keeping


def test_what_waits_is_a_table(gateway: Keeping) -> None:
    code, out, err = gateway.run("queue", "list")
    assert (code, err) == (0, "")
    assert out == (
        "charger  position  action              state    kept    refusals  problem\n"
        "CP/1     17        StopTransaction     waiting  4m 12s  0         -\n"
        "CP/1     18        StatusNotification  waiting  2s      0         only cloud may get it\n"
        "CP2      3         MeterValues         parked   1d 1h   3         InternalError: no such number\n"
    )
    assert gateway.run("queue", "list", "--charger", "CP9") == (0, "nothing waits\n", "")
    listed = json.loads(gateway.run("queue", "list", "--state", "parked", "-o", "json")[1])
    assert [(row["charger"], row["position"]) for row in listed] == [("CP2", 3)]


def test_a_long_list_is_asked_for_page_by_page(gateway: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", 2)
    assert gateway.run("queue", "list")[1].count("\n") == 4
    code, out, err = gateway.run("queue", "list", "--limit", "2")
    assert (code, out.count("\n")) == (0, 3)
    assert err == "there is more: --limit 2 was reached\n"


def test_one_message_is_shown_whole(gateway: Keeping) -> None:
    code, out, _ = gateway.run("queue", "show", "CP/1", "17")
    assert code == 0
    facts, _, payload = out.partition("{")
    assert "kept      2026-09-21T14:09:08Z, 4m 12s ago\n" in facts
    assert json.loads("{" + payload) == json.loads(PAYLOAD)
    whole = json.loads(gateway.run("queue", "show", "CP/1", "17", "-o", "json")[1])
    assert (whole["position"], whole["payload"]) == (17, json.loads(PAYLOAD))


def test_one_message_is_sent_again(gateway: Keeping) -> None:
    assert gateway.run("queue", "retry", "CP2", "3") == (0, "ok: CP2 3 is sent again\n", "")
    assert gateway.deliveries.asked == [("retry", "CP2", 3)]


def test_nothing_is_dropped_without_being_asked_twice(gateway: Keeping) -> None:
    code, out, err = gateway.run("queue", "drop", "CP/1", "17")
    assert (code, json.loads(out)["payload"]) == (2, json.loads(PAYLOAD))
    assert err == "nothing is dropped; with --yes 1 message would be, and never sent\n"
    assert gateway.deliveries.asked == []


def test_what_is_dropped_is_written_whole_first(gateway: Keeping) -> None:
    code, out, err = gateway.run("queue", "drop", "CP/1", "17", "--yes")
    assert (code, err) == (0, "1 message dropped\n")
    assert json.loads(out)["payload"] == json.loads(PAYLOAD)
    assert gateway.deliveries.asked == [("drop", "CP/1", 17)]
    assert gateway.run("queue", "drop", "CP/1", "17", "--yes") == (
        1,
        "",
        "wattbridge: no message of charge point 'CP/1' waits at position 17\n0 messages dropped\n",
    )


def test_what_is_too_old_is_dropped_of_one_charge_point(gateway: Keeping) -> None:
    gateway.deliveries.store.put(*(Waiting("CP2", n, "MeterValues", "{}", "", kept=NOW) for n in (4, 5)))
    code, out, err = gateway.run("queue", "drop", "CP2", "--older", "24h", "--yes")
    assert (code, err, json.loads(out)["position"]) == (0, "1 message dropped\n", 3)
    assert gateway.deliveries.asked == [("drop", "CP2", 3)]
    assert gateway.run("queue", "drop", "CP2", "--older", "24h") == (0, "", "0 messages dropped\n")


def test_the_exit_code_tells_how_it_went(gateway: Keeping, tmp_path: Path) -> None:
    assert gateway.run("queue", "show", "CP9", "1") == (
        1,
        "",
        "wattbridge: no message of charge point 'CP9' waits at position 1\n",
    )
    gateway.deliveries.store.problem = "disk full"
    assert gateway.run("queue", "list") == (1, "", "wattbridge: the store: disk full\n")
    assert run("queue", "list", "--token-file", "/nowhere") == (
        2,
        "",
        "wattbridge: token file /nowhere: no such file\n",
    )
    token = ("--token-file", str(gateway.token_file))
    assert run("queue", "list", *token, "--admin", "127.0.0.1:9")[0] == 2
    code, out, err = run("queue", "list", *token, "--admin", "http://127.0.0.1:9")
    assert (code, out) == (3, "")
    assert err == "wattbridge: no gateway at http://127.0.0.1:9: Connection refused\n"
    gateway.token_file.write_text("another-token")
    code, out, err = gateway.run("queue", "list")
    assert (code, out) == (4, "")
    assert err.startswith(f"wattbridge: {gateway.url} refuses: the token is missing or wrong")

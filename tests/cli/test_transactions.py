"""``wattbridge transactions``: both numbers of each, and idTags only for whoever asks for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.keeping import Keeping, a_gateway_that_keeps


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Keeping]:
    with a_gateway_that_keeps(tmp_path) as keeping:
        yield keeping


def test_transactions_are_a_table(gateway: Keeping) -> None:
    code, out, err = gateway.run("transactions", "list")
    assert (code, err) == (0, "")
    assert out == (
        "charger  number     at the central system  connector  idTag  started               state\n"
        "CP/1     4711       4711                   1          04…    2026-09-21T13:00:00Z  open\n"
        "CP2      -9 (ours)  -                      2          AB…    2026-09-21T13:30:00Z  stopped\n"
    )
    assert "04E91C5A" in gateway.run("transactions", "list", "--reveal")[1]
    code, out, err = gateway.run("transactions", "list", "--charger", "CP2", "--state", "open")
    assert (code, out, err) == (0, "no transactions\n", "")
    [listed] = json.loads(gateway.run("transactions", "list", "--state", "open", "-o", "json")[1])
    assert (listed["number"], listed["remote_id"], listed["id_tag"]) == (4711, 4711, "04…")


def test_one_transaction_is_shown(gateway: Keeping) -> None:
    code, out, _ = gateway.run("transactions", "show", "CP2", "-9")
    assert code == 0
    assert "provisional   yes\n" in out
    assert "id tag        AB…\n" in out
    assert "upstream" not in out
    shown = json.loads(gateway.run("transactions", "show", "CP2", "-9", "--reveal", "-o", "json")[1])
    assert (shown["number"], shown["id_tag"], shown["remote_id"]) == (-9, "AB", None)
    assert gateway.run("transactions", "show", "CP2", "9") == (
        1,
        "",
        "wattbridge: charge point 'CP2' has no transaction 9\n",
    )


def test_its_number_at_the_central_system_is_told(gateway: Keeping) -> None:
    assert gateway.run("transactions", "map", "CP2", "-9", "4712") == (
        0,
        "ok: CP2 -9 is 4712 at its central system\n",
        "",
    )
    assert gateway.deliveries.asked == [("map", "CP2", -9, 4712)]
    code, out, err = gateway.run("transactions", "map", "CP9", "1", "2")
    assert (code, out) == (1, "")
    assert err == "wattbridge: charge point 'CP9' has no transaction 1\n"

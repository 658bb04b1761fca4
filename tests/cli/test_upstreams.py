"""``wattbridge upstreams``: central systems are taken out of service and put back."""

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


def test_central_systems_are_a_table(gateway: Keeping) -> None:
    assert gateway.run("upstreams", "list") == (
        0,
        "upstream  speaks        state  up  open  trying  routes\n"
        "main      ocpp1.6-json  ready  -   0     0       acme, renamed, all\n"
        "other     ocpp1.6-json  ready  -   0     0       acme, renamed\n",
        "",
    )
    listed = json.loads(gateway.run("upstreams", "list", "--json")[1])
    assert [(row["upstream"], row["state"]) for row in listed] == [("main", "ready"), ("other", "ready")]


@pytest.mark.parametrize(
    ("word", "said", "up"),
    [
        ("maint", "is in maintenance: nothing goes there", "no"),
        ("drain", "is being drained: what is connected goes on, nothing is connected anew", "-"),
        ("ready", "is in service: charge points are connected to it", "-"),
    ],
)
def test_one_is_taken_out_of_service_or_back(gateway: Keeping, word: str, said: str, up: str) -> None:
    assert gateway.run("upstreams", word, "main") == (0, f"ok: main {said}\n", "")
    rows = gateway.run("upstreams", "list")[1].splitlines()
    assert rows[1].split()[:4] == ["main", "ocpp1.6-json", word, up]


def test_the_exit_code_tells_how_it_went(gateway: Keeping) -> None:
    assert gateway.run("upstreams", "maint", "moon/1") == (
        1,
        "",
        "wattbridge: no central system is called 'moon/1'\n",
    )
    gateway.token_file.write_text("another-token")
    assert gateway.run("upstreams", "list")[0] == 4
    assert gateway.run("upstreams", "ready", "main")[0] == 4

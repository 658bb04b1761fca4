"""``wattbridge routes``: whom each route is for, and which one a charge point takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_main import run

FILE = """\
listeners: {field: {bind: "127.0.0.1:0"}}
upstreams: {north: {url: "ws://127.0.0.1/n"}, south: {url: "ws://127.0.0.1/s"}, audit: {url: "ws://127.0.0.1/a"}}
chargers: {BER-1: {}, TEST-1: {}}
routes:
  - {name: old, match: {vendor: ACME, firmware: ["<1.4", 9.*]}, upstream: south}
  - name: berlin
    match: {charger: [BER-*, HAM-*], source: 10.0.0.0/8, listener: field}
    upstream: north
    fallback: south
    mirror: audit
    identity: {rewrite: "^BER-", to: "DE*"}
  - {name: tests, match: {charger: TEST-*}, reject: {interval: 5m}}
  - {name: guests, match: {known: no, source: 10.0.0.0/8}, upstream: south}
  - {name: all, match: any, upstream: south}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.yaml").write_text(FILE)


def test_the_list_says_whom_each_is_for_and_where_it_leads() -> None:
    assert run("routes", "list") == (
        0,
        """\
old: vendor like 'ACME' and firmware <1.4 or like '9.*'
  to south
berlin: identity like 'BER-*' or 'HAM-*' and listener field and source in 10.0.0.0/8
  to north
  to south after 30s without it; back when it was there for 1m
  a copy to audit
tests: identity like 'TEST-*'
  turned away: Rejected for 5m to BootNotification, SecurityError to the rest
guests: unknown and source in 10.0.0.0/8
  to south
all: any charge point
  to south
""",
        "",
    )


def test_the_list_is_there_for_programs() -> None:
    code, out, _ = run("routes", "list", "--json")
    assert code == 0
    assert json.loads(out)[1] == {
        "route": "berlin",
        "upstream": "north",
        "reject": None,
        "fallback": "south",
        "mirrors": ["audit"],
        "conditions": ["identity like 'BER-*' or 'HAM-*'", "listener field", "source in 10.0.0.0/8"],
    }


def test_a_charge_point_is_told_its_route_and_why_none_before_it() -> None:
    assert run("routes", "test", "BER-1", "--source", "10.1.2.3", "--listener", "field") == (
        0,
        """\
BER-1 takes route berlin
  to north
  to south after 30s without it; back when it was there for 1m
  a copy to audit
  its central system knows it as DE*1
not old: vendor is not known before BootNotification; firmware is not known before BootNotification
""",
        "",
    )


def test_what_its_boot_notification_says_counts() -> None:
    told = ("--vendor", "acme", "--model", "CC-1", "--firmware", "1.3.9")
    assert run("routes", "test", "BER-1", *told)[1] == "BER-1 takes route old\n  to south\n"


def test_one_that_is_turned_away_is_a_negative_answer() -> None:
    code, out, _ = run("routes", "test", "TEST-1", "--vendor", "EVB", "--source", "192.0.2.1")
    assert code == 1
    assert (
        out
        == """\
TEST-1 takes route tests
  turned away: Rejected for 5m to BootNotification, SecurityError to the rest
not old: vendor is 'EVB', not like 'ACME'; firmware is not in its BootNotification
not berlin: identity is 'TEST-1', not like 'BER-*' or 'HAM-*'; listener is not known; source 192.0.2.1 is in \
none of 10.0.0.0/8
"""
    )


def test_one_that_is_not_listed_is_unknown() -> None:
    for arguments in (("HAM-9",), ("BER-1", "--unknown")):
        code, out, _ = run("routes", "test", *arguments)
        assert code == 1
        assert "  but it is refused: it is not under chargers, and gateway.unknown is refuse\n" in out
    accepting = ("routes", "test", "HAM-9", "--set", "gateway.unknown=accept")
    assert run(*accepting)[0] == 0
    code, out, _ = run("routes", "test", "X-1", "--source", "10.9.9.9")
    assert (code, out.splitlines()[0]) == (0, "X-1 takes route guests")


def test_the_answer_is_there_for_programs() -> None:
    code, out, _ = run("routes", "test", "TEST-1", "--unknown", "--json")
    assert code == 1
    report = json.loads(out)
    assert report.pop("not_chosen")[1]["name"] == "berlin"
    assert report == {
        "identity": "TEST-1",
        "known": False,
        "let_in": False,
        "route": "tests",
        "upstream": None,
        "reject": {
            "boot_status": "Rejected",
            "interval": 300,
            "error": "SecurityError",
            "description": "this charge point is not served here",
        },
        "fallback": None,
        "mirrors": [],
        "known_as": "TEST-1",
    }


def test_a_listener_that_is_not_there_is_wrong_usage() -> None:
    assert run("routes", "test", "BER-1", "--listener", "feld") == (
        2,
        "",
        "--listener: no listener 'feld' (did you mean 'field'?)\n",
    )


def test_a_wrong_configuration_is_told() -> None:
    for command in (("list",), ("test", "BER-1")):
        code, out, err = run("routes", *command, "--set", "routes.0.upstream=sout")
        assert (code, out) == (2, "")
        assert err == "--set routes.0.upstream: no upstream 'sout' (did you mean 'south'?)\n"

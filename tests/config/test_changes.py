"""What a reload changes is told value by value, and no secret with it."""

from __future__ import annotations

from wattbridge.config import read_text
from wattbridge.config.changes import changes

SMALL = """
listeners: {soap: {bind: "127.0.0.1:8080"}}
upstreams: {main: {url: "ws://127.0.0.1:9000/ocpp", auth: {basic: {password: {env: P}}}}}
chargers: {CP1: }
"""


def told(was: str, becomes: str, password: str = "geheim") -> list[str]:
    old = read_text(was, env={"P": "geheim"}).config
    new = read_text(becomes, env={"P": password}).config
    return [str(changed) for changed in changes(old, new)]


def test_nothing_changed_is_nothing_told() -> None:
    assert told(SMALL, SMALL) == []


def test_a_value_is_told_as_the_file_has_it() -> None:
    assert told(SMALL, SMALL + "gateway: {drain: 5s}\nsessions: {alive: 4}\n") == [
        "gateway.drain: 30s → 5s",
        "sessions.alive: 3 → 4",
    ]


def test_lists_and_networks_are_told_whole() -> None:
    becomes = SMALL.replace("8080", "8081").replace('8081"', '8081", allow: [10.0.0.0/8, "fd00::/8"]')
    assert told(SMALL, becomes) == [
        "listeners.soap.bind: 127.0.0.1:8080 → 127.0.0.1:8081",
        "listeners.soap.allow: [] → [10.0.0.0/8, fd00::/8]",
    ]


def test_what_is_new_and_what_is_gone_are_told_with_what_the_file_says_of_them() -> None:
    becomes = SMALL.replace("CP1:", "CP2: {zone: Europe/Berlin}")
    assert told(SMALL, becomes) == [
        "chargers.CP2: new: {zone: Europe/Berlin}",
        "chargers.CP1: gone, was {}",
    ]


def test_a_secret_is_never_told() -> None:
    assert told(SMALL, SMALL, password="other") == [
        "upstreams.main.auth.basic.password: (a secret) → (a secret)"
    ]


def test_a_section_that_comes_or_goes_is_told_against_nothing() -> None:
    becomes = SMALL.replace(", auth: {basic: {password: {env: P}}}", "")
    assert told(SMALL, becomes) == ["upstreams.main.auth: {basic: {password: (a secret)}} → nothing"]


def test_routes_go_by_their_names_and_their_order_matters() -> None:
    one = "  - {name: a, match: {charger: [A*]}, upstream: main}\n"
    two = "  - {name: b, match: {charger: [B*]}, upstream: main}\n"
    rest = "  - {name: all, match: any, upstream: main}\n"
    was = SMALL + "routes:\n" + one + two + rest
    assert told(was, SMALL + "routes:\n" + two + one + rest) == ["routes (order): a, b, all → b, a, all"]
    assert told(was, SMALL + "routes:\n" + one.replace("A*", "AA*") + two + rest) == [
        "routes.a.match.charger: [A*] → [AA*]"
    ]

"""The filter language: what is understood, what it fits, and what is said of what is not understood."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.traced import NOW, traced
from wattbridge.operation.trace.filter import (
    FIELDS,
    And,
    Filter,
    FilterError,
    Node,
    Not,
    Or,
    Term,
    narrowed,
    parse,
)
from wattbridge.store.base import Exchange

LOST = json.dumps(
    [{"lost": "MeterValues.x", "value": "1", "rule": "unknown-field", "reason": "", "at": "arrived"}]
)
QUIRK = json.dumps([{"changed": "x", "value": "", "became": "1", "rule": "profile-default", "at": "arrived"}])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "charger:BER-*",
        "charger:BER-000?",
        "charger:HAM-1,BER-0001",
        "action:MeterValues",
        "action:metervalues",
        "action:Meter*,Heartbeat",
        "dir:to-csms",
        "dir:to_csms",
        "leg:soap",
        "leg:json",
        "version:1.6",
        "status:ok",
        "upstream:cloud",
        "route:al?",
        "source:10.20.0.0/16",
        "source:10.20.0.7",
        "quirk:no",
        "rule:to-utc",
        "rule:to-*",
        "loss:no",
        "change:yes",
        "size:>500",
        "size:<10k",
        "size:100",
        "slower:50ms",
        "faster:2s",
        'text:"<connectorId>1</connectorId>"',
        "text:METERVALUE",
        "since:10m",
        "since:2024-05-01T09:59:59Z",
        "until:2024-05-01T12:00:00+02:00",
        "number:1714557600000001",
        "meterValue",
        "BER-0001",
        "charger:BER-* action:MeterValues dir:to-csms leg:soap size:>100 text:5.25 since:10m",
        "charger:BER-* and action:MeterValues",
        "charger:HAM-* or action:MeterValues",
        "not charger:HAM-*",
        "not (charger:HAM-* or action:Heartbeat)",
        "charger:HAM-* action:Heartbeat or leg:soap",
        "NOT charger:HAM-* AND leg:soap",
    ],
)
def test_what_fits_an_exchange(text: str) -> None:
    assert parse(text, NOW + 60).matches(traced())


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("charger:ber-*", {}),  # identities are exact
        ("charger:BER", {}),
        ("action:Heartbeat", {}),
        ("dir:to-charger", {}),
        ("leg:json", {"csms_transport": "soap"}),
        ("version:1.5", {}),
        ("status:timeout", {}),
        ("status:ok", {"how": "kept"}),
        ("status:ok", {"reason": "timeout"}),
        ("upstream:old", {}),
        ("source:10.21.0.0/16", {}),
        ("source:10.20.0.0/16", {"source": ""}),
        ("quirk:*", {}),
        ("quirk:yes", {}),
        ("loss:yes", {}),
        ("loss:*", {}),
        ("size:>10k", {}),
        ("size:=7", {}),
        ("slower:2s", {}),
        ("faster:61ms", {"seconds": 0.061}),
        ("text:abc", {}),
        ("since:10m", {"began": NOW - 900}),
        ("until:10m", {}),
        ("charger:HAM-* action:MeterValues", {}),
        ("charger:BER-* (action:Heartbeat or leg:json not leg:soap)", {}),
    ],
)
def test_what_does_not_fit(text: str, changes: dict[str, Any]) -> None:
    assert not parse(text, NOW + 60).matches(traced(**changes))


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("status:timeout", {"reason": "timeout"}),
        ("status:failed", {"reason": "timeout"}),
        ("status:not-connected", {"reason": "not_connected"}),
        ("status:kept,offline", {"how": "kept"}),
        ("dir:to-charger", {"arrived_from": "central_system"}),
        ("loss:yes", {"losses": 1, "notes": LOST}),
        ("loss:unknown-field", {"losses": 1, "notes": LOST}),
        ("rule:unknown-*", {"losses": 1, "notes": LOST}),
        ("quirk:*", {"notes": QUIRK}),
        ("quirk:yes", {"notes": QUIRK}),
        ("quirk:profile-default", {"notes": QUIRK}),
        ("slower:2s", {"seconds": 2.001}),
        ("size:>10k", {"answered": "x" * 10_241}),
        ('charger:"a b,c"', {"identity": "a b,c"}),
        (r'text:"say \"no\""', {"asked": 'they say "no"'}),
    ],
)
def test_what_fits_another_one(text: str, changes: dict[str, Any]) -> None:
    assert parse(text, NOW + 60).matches(traced(**changes))


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("acton:Heartbeat", 1, "there is no field 'acton' (did you mean action:?)"),
        ("leg:soap xyz:1", 10, "there is no field 'xyz'; there are charger, action, "),
        ("leg:sop", 5, "leg: found 'sop', expected soap or json (did you mean leg:soap?)"),
        ("dir:to-csm", 5, "(did you mean dir:to-csms?)"),
        ("status:timout", 8, "status: there is no status or reason 'timout' (did you mean status:timeout?)"),
        ("status:ok,timout", 11, "(did you mean status:timeout?)"),
        ("rule:to-ut", 6, "rule: there is no rule 'to-ut' (did you mean rule:to-utc?)"),
        ("quirk:to-utc", 7, "quirk: there is no rule of profiles 'to-utc'"),
        ("loss:to-utc", 6, "loss: there is no rule 'to-utc'"),
        ("size:big", 6, "size: found 'big', expected a size such as >10k, <=512 or 1m"),
        ("slower:2", 8, "slower: found '2', expected a duration such as 500ms, 2s or 10m"),
        ("since:yesterday", 7, "since: found 'yesterday', expected how long ago (10m) or a time such as"),
        ("source:10.20", 8, "source: found '10.20', expected an address or a network"),
        ("version:2.0", 9, "version: found '2.0', expected 1.2, 1.5 or 1.6"),
        ("number:x", 8, "number: found 'x', expected a number"),
        ("action:", 8, "nothing stands behind action:, expected the action: action:MeterValues"),
        ("text:", 6, "nothing stands behind text:"),
        ('text:"abc', 6, 'this " is not closed'),
        ("(leg:soap", 1, "this ( has no )"),
        ("leg:soap)", 9, "there is a ) without a ("),
        ("leg:soap and", 13, "found the end, expected a word such as charger:BER-*"),
        ("leg:soap or or leg:json", 13, "found 'or', expected a word"),
        ("not", 4, "found the end"),
        ("()", 2, "found ')'"),
        ("not " * 60 + "a", 201, "more than 50 parentheses and nots inside each other"),
        ("x" * 2001, 2001, "it has 2001 characters, expected at most 2000"),
    ],
)
def test_what_is_not_understood_is_said_with_its_column(text: str, column: int, said: str) -> None:
    with pytest.raises(FilterError) as failed:
        parse(text)
    assert failed.value.column == column
    assert said in str(failed.value)


def test_what_a_store_can_look_up_is_known() -> None:
    wanted = parse("charger:BER-0001 since:10m until:1m (leg:soap or leg:json)", NOW)
    assert (wanted.charger, wanted.since, wanted.until) == ("BER-0001", NOW - 600, NOW - 60)
    wanted = parse("charger:BER-* or since:10m", NOW)
    assert (wanted.charger, wanted.since, wanted.until) == ("", 0.0, float("inf"))
    assert parse("charger:A,B").charger == parse("not charger:A").charger == parse("charger:A?").charger == ""


def test_parameters_narrow_a_filter() -> None:
    wanted = narrowed(parse("leg:soap or leg:json"), {"charger": "BER-0001", "status": "ok"})
    assert str(wanted) == "(leg:soap or leg:json) charger:BER-0001 status:ok"
    assert wanted.charger == "BER-0001"
    assert str(narrowed(parse(""), {"dir": "to_csms"})) == "dir:to-csms"
    with pytest.raises(FilterError, match="there is no status"):
        narrowed(parse(""), {"status": "broken"})


# --- properties ---

VALUES = {
    "charger": st.sampled_from(["BER-0001", "BER-*", "HAM-1", "*", "B?R-*"]),
    "action": st.sampled_from(["MeterValues", "Heartbeat", "*Values"]),
    "dir": st.sampled_from(["to-csms", "to-charger"]),
    "leg": st.sampled_from(["soap", "json"]),
    "status": st.sampled_from(["ok", "failed", "timeout", "kept", "*"]),
    "loss": st.sampled_from(["yes", "no", "unknown-*"]),
    "rule": st.sampled_from(["to-utc", "to-*"]),
    "size": st.sampled_from([">10", "<=500", "1k"]),
    "slower": st.sampled_from(["10ms", "2s"]),
    "since": st.sampled_from(["1m", "2024-05-01T10:00:00Z".lower()]),
    "text": st.text(min_size=1, max_size=8),
    "route": st.text(min_size=1, max_size=8),
    "": st.text(max_size=8),
}
TERMS = st.sampled_from(sorted(VALUES)).flatmap(
    lambda field: st.lists(VALUES[field], min_size=1, max_size=1 if field in ("text", "") else 3).map(
        lambda values: Term(field, tuple(values))
    )
)


def _both(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(inner.map(Not), several.map(And), several.map(Or))


NODES: st.SearchStrategy[Node] = st.recursive(TERMS, _both, max_leaves=8)
EXCHANGES: st.SearchStrategy[Exchange] = st.builds(
    traced,
    identity=st.sampled_from(["BER-0001", "HAM-1"]),
    reason=st.sampled_from(["", "timeout"]),
    how=st.sampled_from(["", "kept"]),
    arrived_from=st.sampled_from(["charge_point", "central_system"]),
    seconds=st.floats(0, 3),
    arrived=st.text(max_size=20),
)


def _plain(node: Node) -> Node:
    """Without columns, and with what is joined the same way joined once."""
    if isinstance(node, Term):
        return Term(node.field, node.values)
    if isinstance(node, Not):
        return Not(_plain(node.inner))
    kind = type(node)
    parts: list[Node] = []
    for part in map(_plain, node.parts):
        parts += part.parts if isinstance(part, kind) else [part]
    return kind(tuple(parts))


@given(NODES)
def test_what_is_written_is_read_as_the_same(node: Node) -> None:
    written = str(Filter(node, NOW))
    read = parse(written, NOW)
    assert read.node is not None
    assert _plain(read.node) == _plain(node)
    assert str(read) == str(parse(str(read), NOW))


@given(st.text(max_size=60))
@example('text:"\\')
@example("charger:" + "*" * 50)
def test_any_text_is_understood_or_refused_at_a_column_of_it(text: str) -> None:
    refused: FilterError | None = None
    try:
        parse(text, NOW).matches(traced())
    except FilterError as problem:
        refused = problem
    assert refused is None or 1 <= refused.column <= len(text) + 1


@given(NODES, NODES, EXCHANGES)
def test_not_and_or_mean_what_they_mean(one: Node, other: Node, exchange: Exchange) -> None:
    def fits(node: Node) -> bool:
        return parse(str(node), NOW).matches(exchange)

    assert fits(Not(one)) is not fits(one)
    assert fits(And((one, other))) is (fits(one) and fits(other))
    assert fits(Or((one, other))) is (fits(one) or fits(other))
    assert fits(Not(And((one, other)))) is fits(Or((Not(one), Not(other))))


@given(NODES, EXCHANGES)
def test_what_a_store_looks_up_loses_nothing(node: Node, exchange: Exchange) -> None:
    wanted = Filter(node, NOW)
    if wanted.matches(exchange):
        assert wanted.charger in ("", exchange.identity)
        assert wanted.since <= exchange.began <= wanted.until


def test_a_pattern_of_many_stars_makes_nobody_wait() -> None:
    assert not parse("action:" + "a*" * 400 + "b").matches(traced(action="a" * 3000))


def test_every_field_is_told_with_an_example_or_its_words() -> None:
    assert all(len(text) > 10 for text in FIELDS.values())

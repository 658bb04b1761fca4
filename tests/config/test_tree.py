"""YAML, JSON and TOML become the same tree of texts, with places; and nothing makes the reader fall over."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbridge.config.tree import Node, Unreadable, read_tree, spell


def root_of(text: str, suffix: str = ".yaml") -> Node:
    root = read_tree(text, suffix).root
    assert root is not None
    return root


def flaws(text: str, suffix: str = ".yaml") -> list[str]:
    return [
        f"{flaw.line}:{flaw.column}: {spell(flaw.loc)}: {flaw.message}"
        for flaw in read_tree(text, suffix).flaws
    ]


def unreadable(text: str, suffix: str = ".yaml") -> str:
    with pytest.raises(Unreadable) as refused:
        read_tree(text, suffix)
    problem = refused.value
    return f"{problem.line}:{problem.column}: {problem.message}"


def test_every_scalar_stays_the_text_it_is() -> None:
    text = "a: 0012345\nb: on\nc: 1.60\nd: 2024-05-01\ne: 'null'\nf: 0x10\n"
    assert root_of(text).plain() == {
        "a": "0012345",
        "b": "on",
        "c": "1.60",
        "d": "2024-05-01",
        "e": "null",
        "f": "0x10",
    }


def test_an_empty_value_is_nothing() -> None:
    assert root_of("a:\nb: ~\nc: null\nd: ''\n").plain() == {"a": None, "b": None, "c": None, "d": ""}


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".toml"])
def test_a_text_that_says_nothing_has_no_root(suffix: str) -> None:
    assert read_tree("", suffix).root is None
    assert read_tree(" \n", suffix).root is None


def test_yaml_json_and_toml_say_the_same() -> None:
    expected = {"a": {"b": ["1.50", "true", "x"]}, "c": "7"}
    assert root_of("a: {b: [1.50, true, x]}\nc: 7").plain() == expected
    assert root_of('{"a": {"b": [1.50, true, "x"]}, "c": 7}', ".json").plain() == expected
    assert root_of('c = 7\n[a]\nb = [1.50, true, "x"]', ".toml").plain() == expected
    assert root_of("d = 2024-05-01", ".toml").plain() == {"d": "2024-05-01"}


def test_an_entry_is_where_its_key_is_and_an_item_where_it_starts() -> None:
    root = root_of("a:\n  b: x\n  c:\n    - y\n    - {d: z}\n")
    places = {
        loc: (node.line, node.column)
        for loc in (("a", "b"), ("a", "c"), ("a", "c", 0), ("a", "c", 1, "d"))
        if (node := root.nearest(loc))
    }
    assert places == {
        ("a", "b"): (2, 3),
        ("a", "c"): (3, 3),
        ("a", "c", 0): (4, 7),
        ("a", "c", 1, "d"): (5, 8),
    }


def test_places_in_json_are_those_of_yaml() -> None:
    root = root_of('{\n "a": [1,\n  {"b": null}]\n}', ".json")
    assert (root.nearest(("a",)).line, root.nearest(("a",)).column) == (2, 2)
    assert (root.nearest(("a", 1, "b")).line, root.nearest(("a", 1, "b")).column) == (3, 4)


def test_the_nearest_node_stands_for_one_that_is_missing() -> None:
    assert root_of("a:\n  b: x\n").nearest(("a", "nothing", 3)).line == 1


def test_a_key_that_stands_twice_is_told_with_both_places() -> None:
    assert flaws("a: {x: 1,\n x: 2}\n") == ["2:2: a.x: key 'x' is here twice, first in line 1"]
    assert flaws('{"a": {"x": 1,\n "x": 2}}', ".json") == ["2:2: a.x: key 'x' is here twice, first in line 1"]
    assert root_of("x: 1\nx: 2").plain() == {"x": "1"}


def test_tags_and_merge_keys_are_not_read() -> None:
    assert flaws("a: !env X") == [
        "1:1: a: tags such as '!env' are not read (a secret is written {env: NAME} or {file: path})"
    ]
    assert flaws("a: !!python/object:os.system {}") == [
        "1:1: a: tags such as 'tag:yaml.org,2002:python/object:os.system' are not read"
    ]
    assert flaws("a: &a {x: 1}\nb:\n  <<: *a") == ["3:3: b: merge keys (<<) are not read: write the keys out"]


def test_anchors_can_be_used_again() -> None:
    root = root_of("a: &nets [10.0.0.0/8]\nb: *nets\n")
    assert root.plain()["b"] == ["10.0.0.0/8"]
    assert root.nearest(("b",)).line == 2


def test_an_alias_cannot_hold_itself() -> None:
    assert unreadable("a: &x [*x]") == "1:8: alias *x stands before its anchor &x"


def test_aliases_that_multiply_are_stopped() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert unreadable("\n".join(lines)).endswith("has more than 1000000 values")


@pytest.mark.parametrize("opening", ["[", '{"a":', "- "])
@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_a_hundred_thousand_levels_are_refused(opening: str, suffix: str) -> None:
    assert unreadable(opening * 100_000, suffix)


def test_toml_of_many_levels_is_refused() -> None:
    assert unreadable("a = " + "[" * 100_000, ".toml")
    assert "deeper than 32" in unreadable("a = " + "[" * 40 + "]" * 40, ".toml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a:\n\tb: 1",
            "2:1: is no YAML: found character that cannot start any token while scanning for the next token "
            "that starts in line 2 (indent with blanks, not with tabs; "
            "quote a text that starts with @, ` or %)",
        ),
        (
            "a: b: c",
            "1:5: is no YAML: mapping values are not allowed in this context "
            "(a text with ': ' in it needs quotes)",
        ),
        (
            "{u: ws://h/{charger}}",
            "1:12: is no YAML: did not find expected ',' or '}' while parsing a flow mapping that starts in "
            "line 1 (inside { } and [ ], quote a text that has one of { } [ ] , in it)",
        ),
        ("--- a\n--- b", "2:1: expected one document, found another behind '---'"),
        ("? [a]\n: b", "1:3: a key must be a text, not a list, a mapping or an alias"),
        ("a: *b", "1:1: alias *b stands before its anchor &b"),
        ("a: b\n\0", "2:1: is no text: it has the control character U+0000"),
    ],
)
def test_what_is_no_yaml_is_told_with_the_place(text: str, expected: str) -> None:
    assert unreadable(text) == expected


@pytest.mark.parametrize(
    ("text", "suffix", "expected"),
    [
        ('{"a": 1,\n x}', ".json", "2:2: is no JSON: expecting property name enclosed in double quotes"),
        ("[NaN]", ".json", "None:None: is no JSON: NaN is no value"),
        ("{} {}", ".json", "1:4: is no JSON: extra data"),
        ("a = \n", ".toml", "1:5: is no TOML: invalid value"),
        ("a = 1\na = 2\n", ".toml", "2:6: is no TOML: cannot overwrite a value"),
    ],
)
def test_what_is_no_json_or_toml_is_told_with_the_place(text: str, suffix: str, expected: str) -> None:
    assert unreadable(text, suffix) == expected


@given(st.text(max_size=60), st.sampled_from([".yaml", ".json", ".toml"]))
def test_any_text_is_read_or_refused(text: str, suffix: str) -> None:
    with suppress(Unreadable):
        read_tree(text, suffix)


def as_texts(value: Any) -> Any:
    """What a tree keeps of JSON: its scalars as they are written."""
    if isinstance(value, dict):
        return {key: as_texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_texts(item) for item in value]
    return value if value is None or isinstance(value, str) else json.dumps(value)


readable = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | readable,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(readable, inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(readable, json_values, max_size=4), st.sampled_from([None, 1]), st.booleans())
def test_json_is_read_as_any_writer_writes_it(
    data: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(data, indent=indent, ensure_ascii=ascii_only)
    assert root_of(text, ".json").plain() == as_texts(data)


def test_a_path_quotes_what_is_no_plain_word() -> None:
    assert spell(("routes", 2, "upstream")) == "routes.2.upstream"
    assert spell(("chargers", "DE.1", "zone")) == 'chargers."DE.1".zone'
    assert spell(("chargers", "Säule-1")) == "chargers.Säule-1"
    assert spell(("a\x1b[31m\x9b",)) == '"a\\u001b[31m\\u009b"'

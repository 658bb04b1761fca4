"""YAML, JSON and TOML as one tree of texts, each with the place where it stands.

Every scalar stays the text the file has: ``0012345`` keeps its zeros and ``on`` is no boolean; whoever knows
the meaning of a key gives the type. What makes the text unreadable is raised as Unreadable; what only makes a
part of it wrong (a key written twice, a tag) is collected, so that all of it can be told at once. The tree
knows nothing of sections and keys; that is the business of ``models.py``.
"""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

import yaml

from wattbridge.config.values import shorten

MAX_DEPTH = 32  # levels
MAX_NODES = 1_000_000  # values, with aliases counted as often as they are used

Loc = tuple[str | int, ...]

_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NOTHING = {"", "~", "null", "Null", "NULL"}
_PLAIN_TAGS = {None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_JSON_TOKEN = re.compile(r'[ \t\r\n]*([{}\[\],:]|"(?:[^"\\]|\\.)*"|[^\s,\]}]+)')
_TOML_PLACE = re.compile(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)$")


class Unreadable(Exception):
    """The text is not what its suffix says. ``line`` and ``column`` count from 1."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


@dataclass(slots=True)
class Node:
    """A value and its place: that of its key in a mapping, its own in a list.

    ``value`` is a text, None for nothing at all, a list of nodes or a mapping to nodes. ``origin`` names
    where the value comes from when that is not the file. ``nodes`` counts the node and all in it.
    """

    value: str | list[Node] | dict[str, Node] | None
    line: int | None = None
    column: int | None = None
    origin: str | None = None
    nodes: int = 1

    def plain(self) -> Any:
        """The same without places: dicts, lists, texts and None."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, key: str | int) -> Node | None:
        if isinstance(self.value, dict):
            return self.value.get(str(key))
        if isinstance(self.value, list) and isinstance(key, int) and 0 <= key < len(self.value):
            return self.value[key]
        return None

    def nearest(self, loc: Loc) -> Node:
        """The node at *loc*, or the last one on the way there."""
        node = self
        for key in loc:
            found = node.child(key)
            if found is None:
                break
            node = found
        return node


@dataclass(frozen=True, slots=True)
class Flaw:
    """A part of the text that is wrong, while the rest can be read."""

    loc: Loc
    message: str
    line: int | None
    column: int | None


@dataclass(slots=True)
class Tree:
    """``root`` is None when the text says nothing at all."""

    root: Node | None
    flaws: list[Flaw] = field(default_factory=list)


def read_tree(text: str, suffix: str) -> Tree:
    """Read a text as YAML, or as what its suffix says: ``.json``, ``.toml``.

    Raises Unreadable.
    """
    control = _CONTROL.search(text)
    if control:
        line, column = _Lines(text).place(control.start())
        raise Unreadable(f"is no text: it has the control character U+{ord(control[0]):04X}", line, column)
    if suffix.lower() == ".json":
        return _read_json(text)
    if suffix.lower() == ".toml":
        return _read_toml(text)
    return _YamlReader(text).read()


class _YamlReader:
    """Events of the YAML parser → nodes.

    PyYAML's own composer goes down with the process on a thousand opening brackets in a row, lets a key stand
    twice and expands aliases without end; so nodes are made here, with a limit for each.
    """

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        self._anchors: dict[str, Node] = {}
        self._flaws: list[Flaw] = []
        self._nodes = 0

    def read(self) -> Tree:
        try:
            next(self._events)  # the stream starts
            if isinstance(next(self._events), yaml.StreamEndEvent):
                return Tree(None)
            event = next(self._events)
            root = self._node(event, (), *_place(event.start_mark))
            next(self._events)  # the document ends
            more = next(self._events)
            if not isinstance(more, yaml.StreamEndEvent):
                raise Unreadable(
                    "expected one document, found another behind '---'", *_place(more.start_mark)
                )
        except yaml.MarkedYAMLError as problem:
            raise _unreadable_yaml(problem) from None
        except yaml.reader.ReaderError as problem:
            raise Unreadable(f"is no text: {problem.reason} (U+{problem.character:04X})") from None
        return Tree(None if root.value is None else root, self._flaws)

    def _node(self, event: Any, loc: Loc, line: int, column: int) -> Node:
        if len(loc) > MAX_DEPTH:
            raise Unreadable(f"is nested deeper than {MAX_DEPTH} levels", line, column)
        if isinstance(event, yaml.AliasEvent):
            meant = self._anchors.get(event.anchor or "")
            if meant is None:
                raise Unreadable(
                    f"alias *{event.anchor} stands before its anchor &{event.anchor}", line, column
                )
            self._count(meant.nodes, line, column)
            return Node(meant.value, line, column, nodes=meant.nodes)
        self._count(1, line, column)
        if event.tag not in _PLAIN_TAGS:
            hint = " (a secret is written {env: NAME} or {file: path})" if "env" in event.tag.lower() else ""
            self._flaw(loc, f"tags such as {shorten(event.tag)} are not read{hint}", line, column)
        node = Node(None, line, column)
        if isinstance(event, yaml.ScalarEvent):
            nothing = event.implicit[0] and event.value in _NOTHING
            node.value = None if nothing else event.value
        elif isinstance(event, yaml.SequenceStartEvent):
            node.value = self._sequence(loc)
            node.nodes += sum(item.nodes for item in node.value)
        else:
            node.value = self._mapping(loc)
            node.nodes += sum(item.nodes for item in node.value.values())
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _sequence(self, loc: Loc) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*loc, len(items)), *_place(event.start_mark)))
        return items

    def _mapping(self, loc: Loc) -> dict[str, Node]:
        items: dict[str, Node] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line, column = _place(event.start_mark)
            if not isinstance(event, yaml.ScalarEvent):
                raise Unreadable("a key must be a text, not a list, a mapping or an alias", line, column)
            key: str = event.value
            node = self._node(next(self._events), (*loc, key), line, column)
            if key == "<<":
                self._flaw(loc, "merge keys (<<) are not read: write the keys out", line, column)
            elif key in items:
                self._flaw(
                    (*loc, key), f"key {key!r} is here twice, first in line {items[key].line}", line, column
                )
            else:
                items[key] = node
        return items

    def _count(self, nodes: int, line: int, column: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise Unreadable(f"has more than {MAX_NODES} values", line, column)

    def _flaw(self, loc: Loc, message: str, line: int, column: int) -> None:
        self._flaws.append(Flaw(loc, message, line, column))


def _place(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _unreadable_yaml(problem: yaml.MarkedYAMLError) -> Unreadable:
    message = f"is no YAML: {problem.problem}"
    if problem.context:
        message += f" {problem.context}"
        if problem.context_mark:
            message += f" that starts in line {problem.context_mark.line + 1}"
    elif "mapping values" in str(problem.problem):
        message += " (a text with ': ' in it needs quotes)"
    if "cannot start any token" in str(problem.problem):
        message += " (indent with blanks, not with tabs; quote a text that starts with @, ` or %)"
    if "a flow " in str(problem.context):
        message += " (inside { } and [ ], quote a text that has one of { } [ ] , in it)"
    mark = problem.problem_mark or problem.context_mark
    return Unreadable(message, *(_place(mark) if mark else ()))


class _Lines:
    """Where in a text an offset is."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


def _read_json(text: str) -> Tree:
    if not text.strip():
        return Tree(None)
    try:
        # Strict on the grammar, and no number is looked at: those stay texts.
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_constant)
    except json.JSONDecodeError as problem:
        raise Unreadable(f"is no JSON: {_lower(problem.msg)}", problem.lineno, problem.colno) from None
    except RecursionError:
        raise Unreadable(f"is nested deeper than {MAX_DEPTH} levels") from None
    tree = Tree(None)
    root = _JsonReader(text, tree.flaws).read()
    tree.root = None if root.value is None else root
    return tree


def _no_constant(word: str) -> Any:
    raise Unreadable(f"is no JSON: {word} is no value")


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


class _JsonReader:
    """Nodes of a text that is known to be JSON."""

    def __init__(self, text: str, flaws: list[Flaw]) -> None:
        self._tokens = ((found[1], found.start(1)) for found in _JSON_TOKEN.finditer(text))
        self._lines = _Lines(text)
        self._flaws = flaws
        self._nodes = 0

    def read(self) -> Node:
        token, offset = next(self._tokens)
        return self._node(token, (), *self._lines.place(offset))

    def _node(self, token: str, loc: Loc, line: int, column: int) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Unreadable(f"has more than {MAX_NODES} values", line, column)
        if len(loc) > MAX_DEPTH:
            raise Unreadable(f"is nested deeper than {MAX_DEPTH} levels", line, column)
        if token == "{":
            return Node(self._object(loc), line, column)
        if token == "[":
            return Node(self._array(loc), line, column)
        if token.startswith('"'):
            return Node(json.loads(token), line, column)
        return Node(None if token == "null" else token, line, column)

    def _object(self, loc: Loc) -> dict[str, Node]:
        items: dict[str, Node] = {}
        while True:
            token, offset = next(self._tokens)
            if token == "}":
                return items
            if token == ",":
                continue
            key: str = json.loads(token)
            line, column = self._lines.place(offset)
            next(self._tokens)  # the colon
            node = self._node(next(self._tokens)[0], (*loc, key), line, column)
            if key in items:
                message = f"key {key!r} is here twice, first in line {items[key].line}"
                self._flaws.append(Flaw((*loc, key), message, line, column))
            else:
                items[key] = node

    def _array(self, loc: Loc) -> list[Node]:
        items: list[Node] = []
        while True:
            token, offset = next(self._tokens)
            if token == "]":
                return items
            if token != ",":
                items.append(self._node(token, (*loc, len(items)), *self._lines.place(offset)))


def _read_toml(text: str) -> Tree:
    try:
        data = tomllib.loads(text, parse_float=str)
    except tomllib.TOMLDecodeError as problem:
        message = str(problem)
        place = _TOML_PLACE.search(message)
        message = f"is no TOML: {_lower(_TOML_PLACE.sub('', message))}"
        if place and place[1]:
            raise Unreadable(message, int(place[1]), int(place[2])) from None
        raise Unreadable(message) from None
    except (RecursionError, ValueError) as problem:  # ValueError: an integer of thousands of digits
        raise Unreadable(f"is no TOML: {_lower(str(problem))}") from None
    return Tree(_toml_node(data, 0) if data else None)


def _toml_node(value: Any, depth: int) -> Node:
    """TOML's reader tells no places: the nodes have none."""
    if depth > MAX_DEPTH:
        raise Unreadable(f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return Node({key: _toml_node(item, depth + 1) for key, item in value.items()})
    if isinstance(value, list):
        return Node([_toml_node(item, depth + 1) for item in value])
    if isinstance(value, bool):
        return Node("true" if value else "false")
    if isinstance(value, date | datetime | time):
        return Node(value.isoformat())
    return Node(str(value))


def spell(loc: Loc) -> str:
    """``routes.2.upstream``; a key that is no plain word is quoted: ``chargers."DE.1".zone``."""
    return ".".join(_spell_key(str(key)) for key in loc)


def _spell_key(key: str) -> str:
    key = key if len(key) <= 80 else key[:79] + "…"
    if re.fullmatch(r"[\w-]+", key):
        return key
    return json.dumps(key, ensure_ascii=not key.isprintable())

"""Overrides of the command line: ``--set gateway.drain=5s``, laid over the tree of the file."""

from __future__ import annotations

import re

from wattbridge.config.kinds import Kind, SecretKind
from wattbridge.config.models import Config, Items, Shape, child_shape, shape_at
from wattbridge.config.tree import Node, Unreadable, read_tree

_OVERRIDE_KEY = r'(?:"[^"]*"|[^."=]+)'
_OVERRIDE = re.compile(rf"({_OVERRIDE_KEY}(?:\.{_OVERRIDE_KEY})*)=(.*)", re.DOTALL)


class BadOverride(Exception):
    def __init__(self, origin: str, message: str) -> None:
        super().__init__(message)
        self.origin = origin


def apply_override(root: Node, override: str) -> Node:
    found = _OVERRIDE.fullmatch(override)
    if not found:
        raise BadOverride(
            f"--set {override.partition('=')[0]}", "expected PATH=VALUE, such as gateway.drain=5s"
        )
    # The value is not part of the name: it may be a secret.
    origin = f"--set {found[1]}"
    keys = tuple(key.strip('"') for key in re.findall(_OVERRIDE_KEY, found[1]))
    shape = shape_at(keys)
    text = found[2]
    scalar = isinstance(shape, Kind) and not (isinstance(shape, SecretKind) and text.startswith("{"))
    if not text:
        value = Node(None, origin=origin)
    elif scalar or shape is None:
        value = Node(text, origin=origin)
    else:
        try:
            tree = read_tree(text, ".yaml")
        except Unreadable as unreadable:
            raise BadOverride(origin, unreadable.message) from None
        if tree.flaws:
            raise BadOverride(origin, tree.flaws[0].message)
        value = _originating(tree.root or Node(None), origin)
    return _with_value(root, keys, value, Config, origin)


def _originating(node: Node, origin: str) -> Node:
    if isinstance(node.value, dict):
        return Node({key: _originating(item, origin) for key, item in node.value.items()}, origin=origin)
    if isinstance(node.value, list):
        return Node([_originating(item, origin) for item in node.value], origin=origin)
    return Node(node.value, origin=origin)


def _with_value(
    node: Node | None, keys: tuple[str, ...], value: Node, shape: Shape | None, origin: str
) -> Node:
    """A tree like *node* with *value* at *keys*. Nodes are never changed: an alias may share them."""
    if not keys:
        return value
    here = node or Node(None, origin=origin)
    key, rest = keys[0], keys[1:]
    inner = child_shape(shape, key)
    if isinstance(here.value, list) or isinstance(shape, Items):
        items = list(here.value) if isinstance(here.value, list) else []
        if not re.fullmatch(r"[0-9]{1,9}", key) or int(key) > len(items):
            raise BadOverride(origin, f"{key!r} is no place in a list of {len(items)}: the first is 0")
        index = int(key)
        old = items[index] if index < len(items) else None
        items[index : index + 1] = [_with_value(old, rest, value, inner, origin)]
        return Node(items, here.line, here.column, here.origin)
    entries = dict(here.value) if isinstance(here.value, dict) else {}
    entries[key] = _with_value(entries.get(key), rest, value, inner, origin)
    return Node(entries, here.line, here.column, here.origin)

"""What a new configuration changes, for the log: ``listeners.soap.limits.body: 256KiB → 128KiB``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from wattbridge.config.kinds import Kind
from wattbridge.config.models import Config, Shape, child_shape
from wattbridge.config.sections import Section
from wattbridge.config.tree import Loc, spell


@dataclass(frozen=True, slots=True)
class Changed:
    """One value that differs; None where there is none. A secret is never shown, only that it differs."""

    path: str
    was: str | None
    becomes: str | None

    def __str__(self) -> str:
        if self.was is None:
            return f"{self.path}: new: {self.becomes}"
        if self.becomes is None:
            return f"{self.path}: gone, was {self.was}"
        return f"{self.path}: {self.was} → {self.becomes}"


def changes(was: Config, becomes: Config) -> list[Changed]:
    """Every value that differs, in the order of the new configuration; what is gone comes last."""
    return list(_changes(was, becomes, Config, ()))


_NOTHING = object()


def _changes(was: Any, becomes: Any, shape: Shape | None, loc: Loc) -> Iterator[Changed]:
    if was == becomes:
        return
    old, new = _parts(was), _parts(becomes)
    if old is None or new is None:
        yield Changed(spell(loc), _shown(was, shape), _shown(becomes, shape))
        return
    if isinstance(becomes, tuple) and (order := [key for key in new if key in old]) != [
        key for key in old if key in new
    ]:
        # The order of routes matters; that of nothing else does.
        yield Changed(f"{spell(loc)} (order)", ", ".join(map(str, old)), ", ".join(map(str, order)))
    for key in [*new, *(key for key in old if key not in new)]:
        yield from _changes(
            old.get(key, _NOTHING), new.get(key, _NOTHING), child_shape(shape, key), (*loc, key)
        )


def _parts(value: Any) -> dict[str, Any] | None:
    """What is inside a section, a mapping, or a list of sections that have names; None for a value."""
    if isinstance(value, Section):
        return {known.alias or name: getattr(value, name) for name, known in type(value).model_fields.items()}
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, tuple) and any(hasattr(item, "name") for item in value):
        return {item.name: item for item in value}
    return None


def _shown(value: Any, shape: Shape | None) -> str | None:
    if value is _NOTHING:
        return None
    if isinstance(value, SecretStr):
        return "(a secret)"
    if value is None:
        return "nothing"
    if isinstance(shape, Kind):
        return str(shape.write(value))
    if isinstance(value, tuple):
        return "[" + ", ".join(str(_shown(item, child_shape(shape, 0))) for item in value) + "]"
    if isinstance(value, Section):
        set_here = {
            key: getattr(value, key) for key in type(value).model_fields if key in value.model_fields_set
        }
        return _shown_parts(set_here, shape)
    return _shown_parts(value, shape) if isinstance(value, dict) else str(value)


def _shown_parts(parts: dict[str, Any], shape: Shape | None) -> str:
    return (
        "{"
        + ", ".join(f"{key}: {_shown(part, child_shape(shape, key))}" for key, part in parts.items())
        + "}"
    )

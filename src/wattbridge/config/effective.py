"""Everything that counts of a configuration, defaults too, as a file could have it; without its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import SecretStr

from wattbridge.config import kinds
from wattbridge.config.kinds import Kind
from wattbridge.config.models import Config, Shape, child_shape
from wattbridge.config.sections import Section

HIDDEN = "(a secret)"

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def effective(config: Config, written: Any = None) -> dict[str, Any]:
    """*config* as plain values in the words of the file.

    *written* is what the file says, where it is known: of secrets it shows where they come from.
    """
    shown = _plain(config, Config, written)
    assert isinstance(shown, dict)
    return shown


def as_yaml(shown: dict[str, Any]) -> str:
    text = yaml.dump(shown, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=110)
    return str(text)


def _plain(value: Any, shape: Shape | None, written: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, SecretStr) or shape is kinds.TOKEN_HASH:
        return dict(written) if isinstance(written, Mapping) else HIDDEN
    if isinstance(shape, Kind):
        if isinstance(value, bool | int | float) and not shape.quoted:
            return value
        return str(shape.write(value))
    if isinstance(value, Section):
        inside = {
            known.alias or name: getattr(value, name) for name, known in type(value).model_fields.items()
        }
        return _parts(inside, shape if isinstance(shape, type) else type(value), written)
    if isinstance(value, Mapping):
        return _parts(value, shape, written)
    if isinstance(value, tuple | list):
        items = written if isinstance(written, list) else ()
        return [
            _plain(item, child_shape(shape, at) or shape, items[at] if at < len(items) else None)
            for at, item in enumerate(value)
        ]
    return value if isinstance(value, bool | int | float | str) else str(value)


def _parts(parts: Mapping[str, Any], shape: Shape | None, written: Any) -> dict[str, Any]:
    said = written if isinstance(written, Mapping) else {}
    shown = {key: _plain(part, child_shape(shape, key), said.get(key)) for key, part in parts.items()}
    return {key: part for key, part in shown.items() if part is not None}

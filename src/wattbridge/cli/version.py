"""``wattbridge version``: what runs."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any, TextIO

_LIBRARIES = ("aiohttp", "lxml", "orjson", "pydantic", "uvloop", "websockets", "zeep")


def version(*, as_json: bool, out: TextIO) -> int:
    if as_json:
        out.write(json.dumps(versions(), indent=2) + "\n")
    else:
        out.write(f"wattbridge {_version_of('wattbridge') or 'unknown'}\n")
    return 0


def versions() -> dict[str, Any]:
    """Of Wattbridge, of Python and of the libraries it stands on."""
    return {
        "wattbridge": _version_of("wattbridge") or "unknown",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": {name: _version_of(name) for name in _LIBRARIES},
    }


def _version_of(name: str) -> str | None:
    """None for what is not installed: uvloop is not on every platform."""
    try:
        return installed_version(name)
    except PackageNotFoundError:
        return None

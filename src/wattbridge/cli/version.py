"""``wattbridge version``: what runs."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import TextIO

_LIBRARIES = ("aiohttp", "lxml", "orjson", "pydantic", "uvloop", "websockets", "zeep")


def version(*, as_json: bool, out: TextIO) -> int:
    own = _version_of("wattbridge") or "unknown"
    if not as_json:
        out.write(f"wattbridge {own}\n")
        return 0
    report = {
        "wattbridge": own,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": {name: _version_of(name) for name in _LIBRARIES},
    }
    out.write(json.dumps(report, indent=2) + "\n")
    return 0


def _version_of(name: str) -> str | None:
    """None for what is not installed: uvloop is not on every platform."""
    try:
        return installed_version(name)
    except PackageNotFoundError:
        return None

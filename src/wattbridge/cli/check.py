"""``wattbridge check``: whether a configuration can be used, and everything that is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TextIO

from wattbridge.config import Config, ConfigErrors, Problem, load

_MOST = 200  # lines; nobody reads more, and the first ones usually explain the rest


def check(
    file: str | None, overrides: Sequence[str], *, strict: bool, as_json: bool, out: TextIO, err: TextIO
) -> int:
    """Returns 0 when the configuration can be used, 1 when *strict* finds warnings, 2 when it cannot."""
    config: Config | None = None
    try:
        loaded = load(file, overrides=overrides)
        config, problems = loaded.config, loaded.warnings
    except ConfigErrors as errors:
        problems = errors.problems
    if as_json:
        report = {"ok": config is not None, "problems": [asdict(problem) for problem in problems]}
        out.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    else:
        write_problems(problems, out)
        err.write(_summary(config, problems))
    if config is None:
        return 2
    return 1 if strict and problems else 0


def write_problems(problems: Sequence[Problem], out: TextIO) -> None:
    """One line each."""
    for problem in problems[:_MOST]:
        out.write(f"{problem}\n")
    if len(problems) > _MOST:
        out.write(f"… and {len(problems) - _MOST} more\n")


def _summary(config: Config | None, problems: Sequence[Problem]) -> str:
    warnings = sum(problem.severity == "warning" for problem in problems)
    if config is None:
        text = _count(len(problems) - warnings, "error")
        return f"{text}, {_count(warnings, 'warning')}\n" if warnings else f"{text}\n"
    parts = [
        _count(len(config.listeners), "listener"),
        _count(len(config.upstreams), "upstream"),
        _count(len(config.routes), "route"),
        _count(len(config.chargers), "charge point"),
    ]
    return f"ok: {', '.join(parts)}" + (f"; {_count(warnings, 'warning')}" if warnings else "") + "\n"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""``wattbridge check``: whether a configuration can be used, and everything that is wrong with it; with
``--connect`` also whether its central systems can be reached.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

from wattbridge.config import Config, ConfigErrors, Problem, load
from wattbridge.counting import counted

if TYPE_CHECKING:
    from wattbridge.cli.connecting import Tried

_MOST = 200  # lines; nobody reads more, and the first ones usually explain the rest


def check(
    file: str | None,
    overrides: Sequence[str],
    *,
    strict: bool,
    as_json: bool,
    out: TextIO,
    err: TextIO,
    connect: bool = False,
    identity: str | None = None,
) -> int:
    """Returns 0 when the configuration can be used, 1 when *strict* finds warnings, 2 when it cannot.

    With *connect*, every central system is tried, as charge point *identity* would reach it. Returns 3 then
    when one is not reachable, and 1 when one is and does not want us.
    """
    config: Config | None = None
    try:
        loaded = load(file, overrides=overrides)
        config, problems = loaded.config, loaded.warnings
    except ConfigErrors as errors:
        problems = errors.problems
    if not as_json:
        write_problems(problems, out)
        err.write(_summary(config, problems))
    tried: Sequence[Tried] = []
    if connect and config is not None:
        from wattbridge.cli.connecting import try_central_systems, write_tried

        tried = try_central_systems(config, identity)
        if not as_json:
            write_tried(tried, out)
    if as_json:
        report: dict[str, Any] = {
            "ok": config is not None,
            "problems": [asdict(problem) for problem in problems],
        }
        if connect:
            report["upstreams"] = [asdict(one) for one in tried]
        out.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    if config is None:
        return 2
    verdicts = {step.verdict for one in tried for step in one.steps}
    if "unreachable" in verdicts:
        return 3
    doubtful = bool(problems) or "doubt" in verdicts
    return 1 if "refused" in verdicts or (strict and doubtful) else 0


def write_problems(problems: Sequence[Problem], out: TextIO) -> None:
    """One line each."""
    for problem in problems[:_MOST]:
        out.write(f"{problem}\n")
    if len(problems) > _MOST:
        out.write(f"… and {len(problems) - _MOST} more\n")


def _summary(config: Config | None, problems: Sequence[Problem]) -> str:
    warnings = sum(problem.severity == "warning" for problem in problems)
    if config is None:
        text = counted(len(problems) - warnings, "error")
        return f"{text}, {counted(warnings, 'warning')}\n" if warnings else f"{text}\n"
    parts = [
        counted(len(config.listeners), "listener"),
        counted(len(config.upstreams), "upstream"),
        counted(len(config.routes), "route"),
        counted(len(config.chargers), "charge point"),
    ]
    return f"ok: {', '.join(parts)}" + (f"; {counted(warnings, 'warning')}" if warnings else "") + "\n"

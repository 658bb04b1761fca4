"""``wattbridge reload``: ask a running gateway to read its configuration again."""

from __future__ import annotations

from typing import Any, TextIO

from wattbridge.cli.asking import DONE, REFUSED, UNREACHABLE, Admin, Failed
from wattbridge.counting import counted


def reload(admin: str, token_file: str, *, check: bool, move: bool, out: TextIO, err: TextIO) -> int:
    """Returns 0, 1 when the new configuration is wrong, 3 when no gateway answers, 4 when it refuses us."""
    moving = move and not check
    try:
        gateway = Admin(admin, token_file, err)
        answer = gateway.ask(
            "POST", f"config/{'check' if check else 'reload'}", {"move": "1"} if moving else None
        )
        if answer.status == 200 and "changed" not in answer.content:
            raise gateway.failed(UNREACHABLE, f"what answers at {admin} is no gateway (HTTP 200)")
    except Failed as failed:
        return failed.code
    told = answer.content
    if answer.status != 200:
        _tell(told.get("errors", []), err)
        err.write(f"wattbridge: {answer.title}; the old configuration stays\n")
        return REFUSED
    _tell(told["warnings"], err)
    for changed in told["changed"]:
        out.write(f"{changed}\n")
    would = "would change" if check else "changed"
    out.write(f"ok: {counted(len(told['changed']), 'value')} {would}")
    out.write(f", {counted(told['moved'], 'session')} moved\n" if moving else "\n")
    return DONE


def _tell(problems: list[dict[str, Any]], err: TextIO) -> None:
    from wattbridge.config import Problem

    for problem in problems:
        err.write(f"{Problem(**problem)}\n")

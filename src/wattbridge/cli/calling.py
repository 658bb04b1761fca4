"""``wattbridge call`` and ``wattbridge problems``: ask a charge point through a running gateway, and see what
goes wrong there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from wattbridge.cli.asking import DONE, REFUSED, WRONG, Admin, Failed, path_of
from wattbridge.cli.listing import write_json
from wattbridge.cli.tables import columns_of, wrapped
from wattbridge.ocpp.printable import printable


def call(
    admin: str,
    token_file: str,
    charger: str,
    action: str,
    fields: Sequence[str],
    payload: str | None,
    *,
    out: TextIO,
    err: TextIO,
) -> int:
    """Send one call to a charge point, and print its reply.

    *fields* are ``key=value`` each, *payload* is JSON that they are added to. Returns 0, 1 when the charge
    point or the gateway answers with an error, or what a question to a gateway can come to.
    """
    try:
        asked = _payload(fields, payload)
    except ValueError as problem:
        err.write(f"wattbridge: {problem}\n")
        return WRONG
    try:
        body = {"action": action, "payload": asked}
        answer = Admin(admin, token_file, err).get("POST", path_of("chargers", charger, "calls"), None, body)
    except Failed as failed:
        return failed.code
    failure = answer.get("error")
    if failure is not None:
        said = printable(f"{failure['code']} ({failure['reason']}): {failure['description']}")
        err.write(f"wattbridge: {said}\n")
        return REFUSED
    write_json(answer["reply"], out)
    return DONE


# What needs attention that is no problem of charge points or central systems.
OF_THE_GATEWAY = ("not-ready", "reload-failed", "certificate")


def list_problems(
    admin: str, token_file: str, *, charger: str | None, as_json: bool, out: TextIO, err: TextIO
) -> int:
    """What goes wrong, the latest first and what has passed last, with what to do. Returns 0, or as above."""
    try:
        query = {"charger": charger} if charger else None
        gateway = Admin(admin, token_file, err)
        problems = gateway.get("GET", "problems", query)["problems"]
        own = [] if charger or as_json else gateway.get("GET", "overview")["attention"]
    except Failed as failed:
        return failed.code
    if as_json:
        write_json(problems, out)
        return DONE
    own = [one for one in own if one["kind"] in OF_THE_GATEWAY]
    if not (own or problems):
        out.write("no problems\n")
    columns = columns_of(out)
    for one in own:
        out.write(f"{one['kind']}\n")
        _write_sentences((one["text"], f"do: {one['fix']}"), columns, out)
    for at, problem in enumerate(problems):
        out.write("\n" if at or own else "")
        _write_problem(problem, columns, out)
    return DONE


def _write_problem(problem: dict[str, Any], columns: int, out: TextIO) -> None:
    many = f"{problem['chargers']} charge points" if problem["chargers"] > 1 else ""
    whom = problem["charger"] or many or problem["source"] or ""
    if problem["upstream"]:
        whom = f"{whom} → {problem['upstream']}" if whom else problem["upstream"]
    count = "once" if problem["count"] == 1 else f"{problem['count']} times"
    passed = f", over since {problem['passed']}" if problem["passed"] else ""
    out.write(f"{problem['kind']}  {printable(whom)}  {count}, last {problem['last']}{passed}\n")
    marked = ((problem["text"], ""), (problem["said"], "said: "), (problem["fix"], "do: "))
    _write_sentences((f"{mark}{text}" for text, mark in marked if text), columns, out)


def _write_sentences(texts: Iterable[str], columns: int, out: TextIO) -> None:
    for text in texts:
        out.writelines(f"{line}\n" for line in wrapped(text, "  ", columns))


def _payload(fields: Sequence[str], payload: str | None) -> dict[str, Any]:
    """Raises ValueError for what is none."""
    try:
        found = json.loads(payload) if payload else {}
    except ValueError as problem:
        raise ValueError(f"--payload is not JSON: {problem}") from None
    if not isinstance(found, dict):
        raise ValueError('--payload is no object such as {"type": "Soft"}')
    for field in fields:
        key, separator, value = field.partition("=")
        if not separator or not key:
            raise ValueError(f"{field!r}: expected KEY=VALUE, such as type=Soft")
        found[key] = _value(value)
    return found


def _value(text: str) -> Any:
    """A number, true, false or an object is one; everything else is a text. A text in quotes stays one."""
    try:
        return json.loads(text)
    except ValueError:
        return text

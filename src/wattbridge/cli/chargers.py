"""``wattbridge chargers``: the charge points of a running gateway, and what becomes of their messages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any, TextIO

from wattbridge.cli.asking import DONE, Admin, Failed, path_of
from wattbridge.cli.listing import show_list, write_facts, write_json, write_rows
from wattbridge.cli.tables import columns_of, wrapped, write_table
from wattbridge.counting import counted

PAGE = 100  # reports that are asked for at a time

HEAD = ("charger", "speaks", "vendor", "model", "firmware", "central system", "speaks", "state", "losses")
REPORT_HEAD = ("charger", "vendor", "model", "firmware", "profile", "route", "central system", "losses")
NONE_KNOWN = "no charge points are known"

_WAYS = (("towards_csms", "towards the central system"), ("towards_charger", "towards the charge point"))
_ANSWERED = (
    ("answered_for_charger", "answered here, in the charge point's place"),
    ("answered_for_csms", "answered here, in the central system's place"),
)


def list_chargers(
    admin: str,
    token_file: str,
    *,
    state: str | None = None,
    find: str | None = None,
    most: int,
    as_json: bool,
    out: TextIO,
    err: TextIO,
) -> int:
    """Every charge point, a line each. Returns 0, or what a question to a gateway can come to."""
    query = {"state": state, "q": find}
    write = partial(write_rows, HEAD, _cells, NONE_KNOWN)
    return show_list(
        admin, token_file, "chargers", query, write, most=most, as_json=as_json, out=out, err=err
    )


def let_go(admin: str, token_file: str, charger: str, *, for_good: bool, out: TextIO, err: TextIO) -> int:
    """Close the session of a charge point; *for_good* forget one that has none.

    Returns 0, 1 when that cannot be done, or what a question to a gateway can come to.
    """
    try:
        gateway = Admin(admin, token_file, err)
        if for_good:
            gateway.get("DELETE", path_of("chargers", charger))
        else:
            gateway.get("POST", path_of("chargers", charger, "kick"))
    except Failed as failed:
        return failed.code
    said = "is forgotten" if for_good else "has no connection any more; it may come back"
    out.write(f"ok: {charger} {said}\n")
    return DONE


def allow(admin: str, token_file: str, charger: str, *, out: TextIO, err: TextIO) -> int:
    """The lines of the configuration that list a charge point. Returns 0, or as above."""
    try:
        out.write(Admin(admin, token_file, err).get("POST", path_of("chargers", charger, "allow"))["lines"])
    except Failed as failed:
        return failed.code
    return DONE


def report(
    admin: str,
    token_file: str,
    charger: str | None,
    *,
    most: int,
    as_json: bool,
    out: TextIO,
    err: TextIO,
) -> int:
    """What becomes of the messages of one charge point, or of all; those that speak alike are told together.

    Returns 0, 1 when there is no such charge point, or what a question to a gateway can come to.
    """
    if charger is None:
        return show_list(
            admin, token_file, "reports", {}, _write_all, PAGE, most=most, as_json=as_json, out=out, err=err
        )
    try:
        told = Admin(admin, token_file, err).get("GET", path_of("reports", charger))
    except Failed as failed:
        return failed.code
    if as_json:
        write_json(told, out)
    else:
        write_report(told, out)
    return DONE


def write_report(told: dict[str, Any], out: TextIO) -> None:
    """The report on one charge point, as the admin API tells it, for people."""
    facts = {
        "charger": told["charger"],
        "speaks": told["charger_dialect"] or "not heard yet",
        "vendor": told["vendor"],
        "model": told["model"],
        "firmware": told["firmware"],
        "profile": told["profile"],
        "route": told["route"],
        "central_system": told["upstream"] or "none: it is turned away",
        "which_speaks": told["csms_dialect"],
        "session": told["session"],
        "heard": told["heard"],
    }
    write_facts(facts, out)
    _write_ways(told, out)
    out.write(f"\nlost since {told['lost_since']}\n")
    if told["lost"]:
        rows = [(str(lost["count"]), lost["rule"], lost["path"], lost["last"] or "") for lost in told["lost"]]
        write_table(("times", "rule", "where", "last"), rows, out)
    else:
        out.write("  nothing\n")


def _write_all(reports: Sequence[dict[str, Any]], out: TextIO) -> None:
    """Those that speak alike, with central systems that speak alike, share all but what has been lost."""
    if not reports:
        out.write(f"{NONE_KNOWN}\n")
    alike = sorted(reports, key=_spoken)
    for number, (_, group) in enumerate(groupby(alike, key=_spoken)):
        members = list(group)
        first = members[0]
        out.write("\n\n" if number else "")
        spoken = f"{first['charger_dialect'] or 'not heard yet'} → {first['csms_dialect'] or 'nobody'}"
        out.write(f"{spoken}: {counted(len(members), 'charge point')}\n\n")
        write_table(REPORT_HEAD, map(_report_cells, members), out)
        _write_ways(first, out)


def _spoken(told: dict[str, Any]) -> tuple[bool, str, str, bool]:
    """Those of whom it is not known come last."""
    charge_point, central_system = told["charger_dialect"] or "", told["csms_dialect"] or ""
    return not (charge_point and central_system), charge_point, central_system, told["as_is"]


def _write_ways(told: dict[str, Any], out: TextIO) -> None:
    columns = columns_of(out)
    if not told["charger_dialect"] or not told["csms_dialect"]:
        out.write("\nWhat becomes of messages is known when both sides are.\n")
        return
    if told["as_is"]:
        out.write("\nBoth speak the same: messages pass as they are.\n")
    for name, title in _WAYS:
        if told[name]:
            out.write(f"\n{title}\n")
        for one in told[name]:
            lines = [f"  {one['effect']:<9}{one['path']}", *wrapped(one["said"], " " * 11, columns)]
            out.write("\n".join(lines) + "\n")
    if not told["as_is"] and not any(told[name] for name, _ in _WAYS):
        out.write("\nNothing is lost on the way, but for what breaks the schema of OCPP.\n")
    for name, title in _ANSWERED:
        if not told[name]:
            continue
        out.write(f"\n{title}\n")
        width = max(len(one["action"]) for one in told[name])
        for one in told[name]:
            lines = wrapped(one["said"], " " * (width + 4), columns, hang="")
            lines[0] = f"  {one['action']:<{width}}  {lines[0].strip()}"
            out.write("\n".join(lines) + "\n")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["charger"],
        row["charger_dialect"] or "",
        row["vendor"] or "",
        row["model"] or "",
        row["firmware"] or "",
        row["upstream"] or "",
        row["csms_dialect"] or "",
        row["state"],
        str(row["losses"]),
    )


def _report_cells(row: dict[str, Any]) -> tuple[str, ...]:
    texts = (row[name] or "" for name in ("vendor", "model", "firmware", "profile", "route", "upstream"))
    return (row["charger"], *texts, str(row["losses"]))

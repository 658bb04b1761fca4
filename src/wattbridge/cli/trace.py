"""``wattbridge trace``: the messages of a running gateway, as they happen, as they were, and as captures."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, TextIO

from wattbridge.cli.asking import DONE, UNREACHABLE, WRONG, Admin, Failed, path_of
from wattbridge.cli.listing import write_json, write_rows
from wattbridge.config.files import reason_of
from wattbridge.ocpp.printable import printable
from wattbridge.operation.trace import formats
from wattbridge.operation.trace.filter import FilterError, outcome_of, parse
from wattbridge.store.base import Exchange

FORMATS = ("pretty", "text", "oot", "ndjson")
HEAD = ("id", "name", "state", "began", "ends", "exchanges", "size", "filter")
PAUSE = 1.0  # seconds, before a stream that broke off is asked for again
LONGEST_PAUSE = 5.0  # seconds, likewise, while there is no gateway
CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown, and how: ``wanted`` is a filter, ``legs`` as in ``formats.LEGS``."""

    wanted: str = ""
    format: str = "pretty"
    legs: str = "both"


def tail(admin: str, token_file: str, shown: Shown, most: int, *, out: TextIO, err: TextIO) -> int:
    """The last exchanges that are wanted, at most so many, the oldest first.

    Returns 0, or what a question to a gateway can come to.
    """
    try:
        gateway = Admin(admin, token_file, err)
        _show_last(gateway, shown, most, out)
    except Failed as failed:
        return failed.code
    return DONE


def follow(
    admin: str,
    token_file: str,
    shown: Shown,
    seconds: float | None,
    *,
    out: TextIO,
    err: TextIO,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Exchanges as they happen, until *seconds* are over or somebody presses Ctrl-C.

    A stream that breaks off is taken up where it did, also when the gateway was away meanwhile. Returns 0, or
    what a question to a gateway can come to: 3 when there is none at the beginning.
    """
    ends = None if seconds is None else clock() + seconds
    last, connected, pause = "", False, PAUSE
    try:
        gateway = Admin(admin, token_file, err)
        again = Admin(admin, token_file, said := io.StringIO())
        while ends is None or clock() < ends:
            left = None if ends is None else ends - clock()
            query = {"filter": shown.wanted, "format": "ndjson"}
            headers = {"Last-Event-ID": last} if last else {}
            try:
                asked = again if connected else gateway
                stream = asked.stream("messages/stream", query, headers, min(left or 60.0, 60.0))
            except Failed as failed:
                if not connected:
                    raise
                if failed.code != UNREACHABLE:
                    err.write(said.getvalue())
                    raise
                if pause == PAUSE:  # once
                    err.write("wattbridge: the gateway does not answer any more; it is tried again\n")
                time.sleep(pause if left is None else min(pause, left))
                pause = min(LONGEST_PAUSE, 2 * pause)
                continue
            connected, pause = True, PAUSE
            with stream, suppress(OSError, HTTPException):
                for name, number, data in events(line.decode(errors="replace") for line in stream):
                    last = number or last
                    if name == "gap":
                        _tell_gap(data, err)
                    elif name == "message":
                        write(formats.exchange_of(json.loads(data)), shown, out)
                    if ends is not None and clock() >= ends:
                        return DONE
            if ends is None or clock() < ends:
                time.sleep(0.1)
    except KeyboardInterrupt:
        return DONE
    except Failed as failed:
        return failed.code
    return DONE


def events(lines: Iterator[str]) -> Iterator[tuple[str, str, str]]:
    """The events of a stream (SSE): name, id and data; a comment as an event without a name."""
    name = number = data = ""
    for line in lines:
        word, _, value = line.rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if not word and not value:
            yield name, number, data
            name = data = ""
        elif word == "event":
            name = value
        elif word == "id":
            number = value
        elif word == "data":
            data = f"{data}\n{value}" if data else value


def write(exchange: Exchange, shown: Shown, out: TextIO) -> None:
    if shown.format == "pretty":
        out.write(f"{pretty(exchange)}\n")
    else:
        legs = next(legs for legs in formats.LEGS if legs == shown.legs)
        out.write(formats.write(shown.format, [exchange], legs))
    out.flush()


def pretty(exchange: Exchange) -> str:
    """``10:30:06.000 SOAP-1  ▶ MeterValues  soap→json  timeout  30001 ms  1 loss  #17``"""
    at = time.strftime("%H:%M:%S", time.localtime(exchange.began))
    to_csms = exchange.arrived_from == "charge_point"
    sides = (exchange.charger_transport or "-", exchange.csms_transport or "-")
    first, second = sides if to_csms else sides[::-1]
    told = [
        f"{at}.{int(exchange.began % 1 * 1000):03d}",
        exchange.identity or "-",
        "▶" if to_csms else "◀",
        exchange.action or "unreadable",
        f"{first}→{second}",
        exchange.reason or outcome_of(exchange),
        f"{exchange.seconds * 1000:.0f} ms",
    ]
    counts = ((exchange.changes, "change", "changes"), (exchange.losses, "loss", "losses"))
    told += [f"{count} {one if count == 1 else more}" for count, one, more in counts if count]
    return printable("  ".join([*told, f"#{exchange.number}"]))


def show(
    admin: str,
    token_file: str,
    number: int,
    form: str,
    folder: str | None,
    *,
    out: TextIO,
    err: TextIO,
) -> int:
    """One exchange whole; as the files of a test case into *folder*, with the form ``exchange``.

    Returns 0, 1 when there is none, 2 when the folder cannot be written, or what a question to a gateway can
    come to.
    """
    try:
        gateway = Admin(admin, token_file, err)
        if form == "json":
            write_json(gateway.get("GET", path_of("messages", number)), out)
        elif form == "exchange":
            answer = gateway.get("GET", path_of("messages", number, "exchange"))
            case = Path(folder or ".") / answer["folder"] / str(number)
            case.mkdir(parents=True, exist_ok=True)
            for name, content in answer["files"].items():
                (case / Path(name).name).write_bytes(content.encode())
            err.write(f"ok: {case}\n")
        else:
            _copy(gateway, path_of("messages", number, "download"), {"format": form}, out)
    except Failed as failed:
        return failed.code
    except OSError as problem:
        err.write(f"wattbridge: {folder or '.'}: {reason_of(problem)}\n")
        return WRONG
    return DONE


# --- captures ---


def start(admin: str, token_file: str, asked: dict[str, Any], *, out: TextIO, err: TextIO) -> int:
    """Begin a capture; its id is written. Returns 0, or what a question to a gateway can come to."""
    try:
        capture = Admin(admin, token_file, err).get("POST", "traces", body=asked)
    except Failed as failed:
        return failed.code
    out.write(f"{capture['id']}\n")
    err.write(f"it ends at {capture['ends']}, or with {capture['limit_records']} exchanges\n")
    return DONE


def stop(admin: str, token_file: str, capture: str, *, delete: bool, out: TextIO, err: TextIO) -> int:
    """End a capture, or take it away. Returns 0, 1 when there is none, or as ``start``."""
    try:
        gateway = Admin(admin, token_file, err)
        if delete:
            gateway.get("DELETE", path_of("traces", capture))
            out.write(f"ok: {capture} is deleted\n")
        else:
            ended = gateway.get("POST", path_of("traces", capture, "stop"))
            out.write(f"ok: {capture} has {ended['records']} exchanges\n")
    except Failed as failed:
        return failed.code
    return DONE


def list_captures(admin: str, token_file: str, *, as_json: bool, out: TextIO, err: TextIO) -> int:
    """Returns 0, or what a question to a gateway can come to."""
    try:
        captures = Admin(admin, token_file, err).get("GET", "traces")["traces"]
    except Failed as failed:
        return failed.code
    if as_json:
        write_json(captures, out)
    else:
        write_rows(HEAD, _cells, "there are no captures", captures, out)
    return DONE


def export(
    admin: str, token_file: str, capture: str, shown: Shown, file: str | None, *, out: TextIO, err: TextIO
) -> int:
    """What a capture has, to *file* or to *out*. Returns 0, 1 when there is none, 2 when the file cannot be
    written, or what a question to a gateway can come to.
    """
    query = {"format": shown.format, "legs": shown.legs}
    path = path_of("traces", capture, "download")
    try:
        gateway = Admin(admin, token_file, err)
        if file is None:
            _copy(gateway, path, query, out)
        else:
            with Path(file).open("w", encoding="utf-8", newline="\n") as stream:
                _copy(gateway, path, query, stream)
            err.write(f"ok: {file}\n")
    except Failed as failed:
        return failed.code
    except OSError as problem:
        err.write(f"wattbridge: {file}: {reason_of(problem)}\n")
        return WRONG
    return DONE


def checked_filter(text: str) -> str:
    """Why a filter cannot be understood, with a mark below the place; nothing when it can."""
    try:
        parse(text)
    except FilterError as problem:
        return f"{problem}\n  {text}\n  {' ' * (problem.column - 1)}^"
    return ""


def _show_last(gateway: Admin, shown: Shown, most: int, out: TextIO) -> None:
    query = {"filter": shown.wanted, "limit": str(most)}
    if shown.format != "pretty":
        _copy(gateway, "messages/download", query | {"format": shown.format, "legs": shown.legs}, out)
        return
    with gateway.stream("messages/download", query | {"format": "ndjson"}) as stream:
        for line in stream:
            out.write(f"{pretty(formats.exchange_of(json.loads(line)))}\n")


def _copy(gateway: Admin, path: str, query: dict[str, str], out: TextIO) -> None:
    with gateway.stream(path, query) as stream:
        for line in stream:
            out.write(line.decode(errors="replace"))


def _tell_gap(data: str, err: TextIO) -> None:
    missed = json.loads(data).get("missed")
    err.write(f"# {'some' if missed is None else missed} exchanges are missing here\n")


def _cells(capture: dict[str, Any]) -> tuple[str, ...]:
    size = capture["bytes"]
    return (
        capture["id"],
        capture["name"],
        capture["state"] if not capture["reason"] else f"{capture['state']}: {capture['reason']}",
        capture["began"],
        capture["ended"] or capture["ends"],
        str(capture["records"]),
        f"{size / 1024:.0f} KiB" if size < 1 << 20 else f"{size / (1 << 20):.1f} MiB",
        capture["filter"],
    )

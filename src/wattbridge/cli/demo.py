"""``wattbridge demo``: charge point, gateway and central system in one process, every exchange shown."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from wattbridge.ocpp.messages import Note, Passage
    from wattbridge.relay.journal import Record

IDENTITY = "SOAP-1"
# Everything on loopback, which the address policy allows only where it is listed.
CONFIGURATION = """
version: 1
gateway: {{name: demo, drain: 1s}}
listeners: {{soap: {{bind: "127.0.0.1:0", paths: [/ocpp/cs]}}}}
upstreams: {{main: {{url: "{central_system}", connect: {{backoff: {{first: 100ms}}}}}}}}
chargers: {{{identity}: {{}}}}
callbacks: {{networks: [127.0.0.0/8]}}
metrics: {{bind: "127.0.0.1:0"}}
"""
_BODY = re.compile(r"<(?:[\w.-]+:)?Body[^>]*>(.*)</(?:[\w.-]+:)?Body>", re.DOTALL)
_NARROWEST = 60  # columns


def demo(duration: float | None, as_json: bool) -> int:
    """Play until *duration* seconds are over, or until Ctrl-C.

    Returns 0, or 1 when anything failed on the way.
    """
    show = JsonLines(sys.stdout) if as_json else Transcript(sys.stdout)
    show.begin()
    try:
        return asyncio.run(_play(duration, show))
    except BrokenPipeError:
        # Whoever read along has gone (`| head`): nothing more can be said, not even at exit.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


async def _play(duration: float | None, show: JsonLines | Transcript) -> int:
    from wattbridge.app import Gateway
    from wattbridge.config import read_text
    from wattbridge.operation import logs
    from wattbridge.simulators.central_system_json import JsonCentralSystem
    from wattbridge.simulators.charge_point_soap import SoapChargePoint
    from wattbridge.simulators.scenario import ScenarioResult, charging_day

    logs.set_up("error", "console")
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)

    result = ScenarioResult()
    async with JsonCentralSystem() as central_system:
        text = CONFIGURATION.format(central_system=central_system.url, identity=IDENTITY)
        gateway = Gateway(read_text(text, "demo.yaml").config)
        gateway.journal.listen(record=show.record)
        ready, stopping = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(gateway.run(stopping, ready.set))
            await ready.wait()
            show.introduce(gateway.addresses["soap"], central_system.url, gateway.metrics_address)
            try:
                async with SoapChargePoint(IDENTITY, gateway.addresses["soap"]) as charge_point:
                    result = await charging_day(charge_point, central_system, until=over, duration=duration)
            finally:
                stopping.set()
    return show.end(result.failures)


class JsonLines:
    """One JSON object a line: an exchange each, and the sum at the end."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._counts: Counter[str] = Counter()

    def begin(self) -> None:
        self._write({"kind": "demo", "version": version("wattbridge")})

    def introduce(self, gateway: str, central_system: str, metrics: str) -> None:
        parties = {
            "identity": IDENTITY,
            "gateway": gateway,
            "centralSystem": central_system,
            "metrics": metrics,
        }
        self._write({"kind": "parties", **parties})

    def record(self, record: Record) -> None:
        _count(self._counts, record)
        self._write(
            {
                "kind": "exchange",
                "time": _moment(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "identity": record.identity,
                "action": record.action,
                "arrivedFrom": record.arrived_from.value,
                "outcome": record.reason or "ok",
                "seconds": round(record.seconds, 6),
                "peerSeconds": round(record.peer_seconds, 6),
                "call": _sides(record.arrived, record.asked),
                "reply": _sides(record.answered, record.replied),
                "notes": [_note(note) for note in record.notes],
            }
        )

    def end(self, failures: list[str]) -> int:
        failed = bool(failures or self._counts["failed"])
        self._write(
            {
                "kind": "summary",
                "exchanges": self._counts["exchanges"],
                "changes": self._counts["changes"],
                "losses": self._counts["losses"],
                "failed": self._counts["failed"],
                "failures": failures,
            }
        )
        return int(failed)

    def _write(self, line: dict[str, Any]) -> None:
        self._out.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._out.flush()


class Transcript:
    """The exchanges for people: in colour and cut to the width of a terminal, plain and whole elsewhere."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._counts: Counter[str] = Counter()
        self._on_terminal = out.isatty()
        self._in_colour = self._on_terminal and not os.environ.get("NO_COLOR")

    def begin(self) -> None:
        self._line(f"{self._bold('wattbridge')} {version('wattbridge')} demo: one process, all on 127.0.0.1")

    def introduce(self, gateway: str, central_system: str, metrics: str) -> None:
        self._line(f"  charge point    {IDENTITY}, OCPP 1.6 SOAP, posts to {gateway}")
        self._line(f"  central system  OCPP 1.6 JSON, at {central_system}")
        self._line(f"  metrics         {metrics}")
        self._line("")

    def record(self, record: Record) -> None:
        from wattbridge.ocpp.messages import Side

        _count(self._counts, record)
        to_central_system = record.arrived_from is Side.CHARGE_POINT
        arrow, parties = ("▶", "to central system") if to_central_system else ("◀", "to charge point")
        outcome = self._red(f"failed: {record.reason}") if record.reason else self._green("ok")
        own = max(0.0, record.seconds - record.peer_seconds)
        self._line(
            f"{_moment(record):%H:%M:%S.%f}"[:-3]
            + f" {record.identity}  {arrow} {self._bold(record.action or '?')}"
            + f"  {parties}  {outcome}  {record.seconds * 1000:.1f} ms"
            + (f", the gateway's part {own * 1000:.2f} ms" if record.asked else "")
        )
        for passage in (record.arrived, record.asked, record.answered, record.replied):
            self._passage(passage)
        for note in record.notes:
            self._line("    " + self._yellow(_sentence(note)))
        self._line("")

    def end(self, failures: list[str]) -> int:
        counts = self._counts
        self._line(
            f"{counts['exchanges']} exchanges, {counts['failed']} failed; "
            f"{counts['changes']} values changed on the way, {counts['losses']} lost"
        )
        for failure in failures:
            self._line(self._red(f"failed: {failure}"))
        if failures or counts["failed"]:
            return 1
        self._line(
            "Next: wattbridge translate FILE, wattbridge explain ACTION, wattbridge run -c gateway.yaml"
        )
        return 0

    def _passage(self, passage: Passage | None) -> None:
        if passage is None:
            return
        text = _shown_text(passage)
        if self._on_terminal:
            width = max(_NARROWEST, shutil.get_terminal_size().columns)
            text = text if len(text) <= width - 10 else text[: width - 11] + "…"
        colour = self._cyan if passage.transport == "soap" else self._magenta
        self._line(f"    {colour(passage.transport)}  {text}")

    def _line(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()

    def _bold(self, text: str) -> str:
        return self._coloured("1", text)

    def _red(self, text: str) -> str:
        return self._coloured("31", text)

    def _green(self, text: str) -> str:
        return self._coloured("32", text)

    def _yellow(self, text: str) -> str:
        return self._coloured("33", text)

    def _magenta(self, text: str) -> str:
        return self._coloured("35", text)

    def _cyan(self, text: str) -> str:
        return self._coloured("36", text)

    def _coloured(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._in_colour else text


def _count(counts: Counter[str], record: Record) -> None:
    counts["exchanges"] += 1
    counts["failed"] += bool(record.reason)
    counts["losses"] += len(record.losses)
    counts["changes"] += len(record.notes) - len(record.losses)


def _moment(record: Record) -> datetime:
    return datetime.fromtimestamp(record.began, UTC)


def _shown_text(passage: Passage) -> str:
    """The message on one line; of an envelope what stands in its Body."""
    text = passage.text.decode("utf-8", "replace")
    if passage.transport == "soap":
        body = _BODY.search(text)
        text = body[1] if body else text
    return " ".join(text.split()) or "(closed without an answer)"


def _sides(*passages: Passage | None) -> dict[str, str]:
    return {passage.transport: passage.text.decode("utf-8", "replace") for passage in passages if passage}


def _note(note: Note) -> dict[str, str]:
    from wattbridge.ocpp.messages import Loss

    if isinstance(note, Loss):
        return {"lost": note.path, "value": note.value, "rule": note.rule, "reason": note.reason}
    return {"changed": note.path, "value": note.value, "became": note.became, "rule": note.rule}


def _sentence(note: Note) -> str:
    from wattbridge.ocpp.messages import Loss

    if isinstance(note, Loss):
        return f"lost: {note.path} {note.value}: {note.reason} ({note.rule})"
    return f"changed: {note.path} {note.value} → {note.became} ({note.rule})"

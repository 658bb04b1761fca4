"""``wattbridge demo``: charge points, gateway and central systems in one process, every exchange shown."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import signal
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from wattbridge.cli import streams

if TYPE_CHECKING:
    from wattbridge.ocpp.messages import Note, Passage
    from wattbridge.relay.journal import Event, Record
    from wattbridge.simulators.central_system import CentralSystem
    from wattbridge.simulators.charge_point import ChargePoint
    from wattbridge.simulators.scenario import ScenarioResult

# Everything on loopback, which the address policy allows only where it is listed.
CONFIGURATION = """
version: 1
gateway: {{name: demo, drain: 1s, public_url: "{public_url}"}}
listeners: {{field: {{bind: "127.0.0.1:0", paths: [/ocpp/cs, "/ocpp/{{charger}}"]}}}}
upstreams:
  cloud: {{url: "{cloud}", connect: {{backoff: {{first: 100ms, max: 400ms}}}}}}
  old: {{url: "{old}"}}
routes:
  - {{name: at-the-old-one, match: {{charger: JSON-1}}, upstream: old}}
  - {{name: all-others, match: any, upstream: cloud}}
chargers: {{SOAP-1: {{}}, JSON-1: {{}}, JSON-2: {{}}}}
callbacks: {{networks: [127.0.0.0/8]}}
metrics: {{bind: "127.0.0.1:0"}}
{admin}
"""
# Whoever has the address may do everything: it is a demo, and gone when that ends.
ADMIN = 'admin: {bind: "127.0.0.1:0", token: {file: admin-token}}'
NOWHERE = "http://127.0.0.1:9"  # discard, where nobody listens
PAUSE = 0.9  # seconds, of each charge point
APART = 0.3  # seconds between the mornings of two charge points


@dataclass(frozen=True, slots=True)
class Pair:
    """A charge point, the central system it is with, and what the gateway has to do."""

    identity: str
    upstream: str
    text: str
    outage: bool = False  # whether the central system goes away for a while, in the middle of a charge


PAIRS = (
    Pair("SOAP-1", "cloud", "OCPP 1.6 SOAP to OCPP 1.6 JSON", outage=True),
    Pair("JSON-1", "old", "OCPP 1.6 JSON to OCPP 1.6 SOAP"),
    Pair("JSON-2", "cloud", "OCPP 1.6 JSON on both sides: passed on as it is"),
)


@dataclass(frozen=True, slots=True)
class Parties:
    """Who takes part: addresses, and why some pairs do not."""

    gateway: str  # where SOAP is posted to
    sockets: str  # where WebSockets are opened, the identity behind it
    central_systems: dict[str, str]
    metrics: str
    console: str  # with the token in it; "" where there is none
    missing: dict[str, str]  # identity → why its pair is not shown


def demo(duration: float | None, as_json: bool, *, console: bool = True) -> int:
    """Play until *duration* seconds are over, until Ctrl-C, or until nobody reads along any more; with a web
    *console*, or without.

    Returns 0, or 1 when anything failed on the way.
    """
    show: Show = JsonLines(sys.stdout) if as_json else Transcript(streams.for_people(sys.stdout))
    show.begin()
    code = asyncio.run(play(duration, show, console=console))
    if show.unwritable is None:
        return code
    streams.forget_stdout()
    if isinstance(show.unwritable, BrokenPipeError):  # whoever read along has gone: `| head`
        return 0
    sys.stderr.write(f"wattbridge: cannot write to standard output: {show.unwritable.strerror}\n")
    return 1


async def play(duration: float | None, show: Show, pause: float = PAUSE, *, console: bool = True) -> int:
    """Let everybody play, *pause* seconds after each step of a charge point; returns as ``demo`` does."""
    from wattbridge.app import Gateway
    from wattbridge.config import load
    from wattbridge.operation import logs
    from wattbridge.reloading import Reloader
    from wattbridge.simulators.central_system_json import JsonCentralSystem
    from wattbridge.simulators.charge_point_json import JsonChargePoint
    from wattbridge.simulators.charge_point_soap import SoapChargePoint

    logs.set_up("error", "console")
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    show.on_unwritable = over.set
    if show.unwritable:
        return 1

    failures: list[str] = []
    async with AsyncExitStack() as stack:
        central_systems: dict[str, CentralSystem] = {}
        central_systems["cloud"] = await stack.enter_async_context(JsonCentralSystem())
        missing = await _add_soap(central_systems, stack)
        urls = {name: central_system.url for name, central_system in central_systems.items()}
        token = secrets.token_urlsafe(18)
        # In a file, as that of any gateway: the console shows it, and can have it read again.
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="wattbridge-demo-")))
        (folder / "admin-token").write_text(token, encoding="utf-8")
        file = folder / "demo.yaml"
        _write_configuration(file, urls, NOWHERE, console=console)
        loaded = load(file)
        gateway = Gateway(loaded.config)
        reloader = Reloader(gateway, lambda: load(file), loaded)
        gateway.reload_with(reloader)
        gateway.journal.listen(record=show.record, event=show.event)
        ready, stopping = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(gateway.run(stopping, ready.set))
            await ready.wait()
            posts = gateway.addresses["field"]
            public_url = posts.removesuffix("/ocpp/cs")
            # Only now is it known where the SOAP central system can call.
            _write_configuration(file, urls, public_url, console=console)
            await reloader.reload("the central system's way to the gateway is known")
            sockets = gateway.websocket_addresses["field"].removesuffix("/{charger}")
            look = f"{gateway.admin_address}/?token={token}" if gateway.admin_address else ""
            show.introduce(Parties(posts, sockets, urls, gateway.metrics_address, look, missing))
            charge_points: dict[str, ChargePoint] = {
                "SOAP-1": SoapChargePoint("SOAP-1", posts),
                "JSON-1": JsonChargePoint("JSON-1", sockets),
                "JSON-2": JsonChargePoint("JSON-2", sockets),
            }
            try:
                async with asyncio.TaskGroup() as days:
                    shown = [pair for pair in PAIRS if pair.identity not in missing]
                    played = [
                        days.create_task(
                            _day(
                                charge_points[pair.identity],
                                central_systems[pair.upstream],
                                over,
                                duration,
                                number * APART,
                                pause,
                                outage=pair.outage,
                            )
                        )
                        for number, pair in enumerate(shown)
                    ]
                failures = [failure for day in played for failure in day.result().failures]
            finally:
                stopping.set()
    return show.end(list(dict.fromkeys(failures)))  # what a central system saw stands in each of its days


def _write_configuration(file: Path, urls: dict[str, str], public_url: str, *, console: bool) -> None:
    text = CONFIGURATION.format(
        cloud=urls["cloud"],
        old=urls.get("old", NOWHERE),
        public_url=public_url,
        admin=ADMIN if console else "",
    )
    file.write_text(text, encoding="utf-8")


async def _add_soap(central_systems: dict[str, CentralSystem], stack: AsyncExitStack) -> dict[str, str]:
    """Start the SOAP central system; gives why the pairs that need it are missing, if they are."""
    from wattbridge.simulators.central_system_soap import SoapCentralSystem
    from wattbridge.simulators.compat_spyne import NotInstalled

    try:
        central_systems["old"] = await stack.enter_async_context(SoapCentralSystem())
    except NotInstalled:
        why = "not shown: its central system needs `pip install '.[simulators]'`"
        return {pair.identity: why for pair in PAIRS if pair.upstream == "old"}
    return {}


async def _day(
    charge_point: ChargePoint,
    central_system: CentralSystem,
    over: asyncio.Event,
    duration: float | None,
    later: float,
    pause: float,
    *,
    outage: bool,
) -> ScenarioResult:
    """One charge point's part, which begins *later* seconds after the others'."""
    from wattbridge.simulators.scenario import ScenarioResult, charging_day

    wait = later if duration is None else min(later, duration)
    try:
        async with asyncio.timeout(wait):
            await over.wait()
    except TimeoutError:
        left = None if duration is None else duration - wait
        async with charge_point:
            return await charging_day(
                charge_point, central_system, until=over, duration=left, pause=pause, outage=outage
            )
    return ScenarioResult()


class Show(Protocol):
    """Who shows the demo.

    When nothing can be written any more, ``unwritable`` says why and ``on_unwritable`` was called.
    """

    unwritable: OSError | None
    on_unwritable: Callable[[], None]

    def begin(self) -> None: ...

    def introduce(self, parties: Parties) -> None: ...

    def record(self, record: Record) -> None: ...

    def event(self, event: Event) -> None: ...

    def end(self, failures: list[str]) -> int: ...


class _Shown:
    """Counts what is shown, and writes it line by line as long as that is possible."""

    def __init__(self, out: TextIO) -> None:
        self.unwritable: OSError | None = None
        self.on_unwritable: Callable[[], None] = lambda: None
        self._out = out
        self._counts: Counter[str] = Counter()
        self._bugs: list[str] = []

    def event(self, event: Event) -> None:
        if event.kind == "internal error":
            self._bugs.append(f"{event.kind}: {event.text}")
        elif event.kind == "message delivered":
            self._counts["late"] += 1
            self._delivered(event)

    def _delivered(self, event: Event) -> None:
        """A message that was kept has reached its central system."""

    def _count(self, record: Record) -> None:
        self._counts["exchanges"] += 1
        self._counts["failed"] += bool(record.reason)
        self._counts["kept"] += record.how == "kept"
        self._counts["unchanged"] += passed(record)
        self._counts["losses"] += len(record.losses)
        self._counts["changes"] += len(record.notes) - len(record.losses)

    def _write(self, *lines: str) -> None:
        if self.unwritable:
            return
        try:
            self._out.write("".join(f"{line}\n" for line in lines))
            self._out.flush()
        except OSError as problem:
            self.unwritable = problem
            self.on_unwritable()


class JsonLines(_Shown):
    """One JSON object a line: an exchange each, and the sum at the end."""

    def begin(self) -> None:
        self._object({"kind": "demo", "version": version("wattbridge")})

    def introduce(self, parties: Parties) -> None:
        self._object(
            {
                "kind": "parties",
                "gateway": parties.gateway,
                "sockets": parties.sockets,
                "centralSystems": parties.central_systems,
                "metrics": parties.metrics,
                **({"console": parties.console} if parties.console else {}),
                "pairs": [
                    {
                        "identity": pair.identity,
                        "centralSystem": pair.upstream,
                        "text": parties.missing.get(pair.identity, pair.text),
                    }
                    for pair in PAIRS
                ],
            }
        )

    def record(self, record: Record) -> None:
        from wattbridge.ocpp.times import date_time_text

        self._count(record)
        self._object(
            {
                "kind": "exchange",
                "time": date_time_text(record.began, milliseconds=True),
                "identity": record.identity,
                "upstream": record.upstream,
                "action": record.action,
                "arrivedFrom": record.arrived_from.value,
                "outcome": record.reason or "ok",
                "seconds": round(record.seconds, 6),
                "peerSeconds": round(record.peer_seconds, 6),
                "calling": _side(record.arrived, record.replied),
                "asked": _side(record.asked, record.answered),
                "unchanged": passed(record),
                "how": record.how,
                "notes": [_note(note) for note in record.notes],
            }
        )

    def _delivered(self, event: Event) -> None:
        action = event.labels.get("action", "")
        self._object({"kind": "delivered", "identity": event.identity, "action": action, "text": event.text})

    def end(self, failures: list[str]) -> int:
        failures = failures + self._bugs
        failed = bool(failures or self._counts["failed"])
        self._object(
            {
                "kind": "summary",
                "exchanges": self._counts["exchanges"],
                "unchanged": self._counts["unchanged"],
                "changes": self._counts["changes"],
                "losses": self._counts["losses"],
                "kept": self._counts["kept"],
                "deliveredLate": self._counts["late"],
                "failed": self._counts["failed"],
                "failures": failures,
            }
        )
        return int(failed)

    def _object(self, line: dict[str, Any]) -> None:
        self._write(json.dumps(line))  # ASCII: who reads it need not know our locale


def _side(call: Passage | None, reply: Passage | None) -> dict[str, str]:
    """What stood on the border to one party: ``{"transport": "soap", "call": …, "reply": …}``."""
    side: dict[str, str] = {}
    for name, passage in (("call", call), ("reply", reply)):
        if passage is not None:
            side |= {"transport": passage.transport, name: passage.text.decode("utf-8", "replace")}
    return side


def passed(record: Record) -> bool:
    """Whether call and reply went from one frame to another, their payloads the same byte for byte."""
    borders = ((record.arrived, record.asked), (record.answered, record.replied))
    payloads = [(_payload(before), _payload(after)) for before, after in borders]
    return all(before is not None and before == after for before, after in payloads)


def _payload(passage: Passage | None) -> bytes | None:
    """The payload of a CALL or a CALLRESULT as it was written; None of anything else."""
    frame = _FRAME.fullmatch(passage.text) if passage and passage.transport == "json" else None
    return frame[1] if frame else None


def _note(note: Note) -> dict[str, str]:
    from wattbridge.ocpp.messages import Breach, Loss

    if isinstance(note, Breach):
        return {"broken": note.path, "value": note.value, "rule": note.rule, "reason": note.reason}
    if isinstance(note, Loss):
        return {"lost": note.path, "value": note.value, "rule": note.rule, "reason": note.reason}
    return {"changed": note.path, "value": note.value, "became": note.became, "rule": note.rule}


# --- For people ------------------------------------------------------------------------------------------

_NARROWEST = 40  # columns
_MARGIN = 16  # columns, what stands before a message
_MOST_ROWS = 4  # of one message on a terminal
_MOST_NOTES = 3  # of one exchange on a terminal

_NEXT = (
    "Next:  wattbridge translate FILE       what becomes of a message you captured",
    "       wattbridge explain MeterValues  how a message is carried, field by field",
    "       wattbridge init, check, run     with a gateway.yaml of your own",
)

_OUTCOMES = {
    "": "ok",
    "kept": "kept",
    "offline": "answered here",
    "local": "answered here",
    "repeat": "answered as before",
}

_BODY = re.compile(r"<(?:[\w.-]+:)?Body[^>]*>(.*)</(?:[\w.-]+:)?Body>", re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")
_DECLARATION = re.compile(r"""\sxmlns(?::[\w.-]+)?\s*=\s*(?:"[^"]*"|'[^']*')""")
_PREFIX = re.compile(r"^(</?)[\w.-]+:")
# [2, id, action, payload] and [3, id, payload]
_FRAME = re.compile(
    rb'\s*\[\s*(?:2\s*,\s*"[^"]*"\s*,\s*"[^"]*"|3\s*,\s*"[^"]*")\s*,\s*(.*?)\s*\]\s*', re.DOTALL
)
_LONG_ID = re.compile(r'^(\[\s*[234]\s*,\s*"[^"\\]{8})[^"\\]{5,}"')


class Transcript(_Shown):
    """The exchanges for people.

    On a terminal they are folded to its width, cut where they are long, and in colour; elsewhere each message
    is one line, whole. Of envelopes the Body is shown, without prefixes and namespaces.
    """

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._on_terminal = out.isatty()
        self._in_colour = (
            self._on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )

    def begin(self) -> None:
        name = f"{self._bold('wattbridge')} {version('wattbridge')}"
        self._write(f"{name} demo: all in one process, on 127.0.0.1; Ctrl-C ends it")

    def introduce(self, parties: Parties) -> None:
        pairs = (
            (f"{pair.identity} ▶ {pair.upstream}", parties.missing.get(pair.identity, pair.text))
            for pair in PAIRS
        )
        addresses = (
            ("gateway", f"{parties.gateway} and {parties.sockets}/IDENTITY"),
            *parties.central_systems.items(),
            ("metrics", parties.metrics),
            *([("console", parties.console)] if parties.console else []),
        )
        self._write("")
        for name, text in (*pairs, ("", ""), *addresses):
            self._write(*self._folded_words(f"  {name:15} {text}" if name else "", indent=18))
        self._write(
            "",
            *self._folded_words(
                "▶ goes to the central system, ◀ to the charge point. SOAP is shown without headers and "
                "namespaces.",
                indent=0,
            ),
            "",
        )

    def record(self, record: Record) -> None:
        from wattbridge.ocpp.messages import Side

        self._count(record)
        from_charge_point = record.arrived_from is Side.CHARGE_POINT
        there, back = ("▶", "◀") if from_charge_point else ("◀", "▶")
        lines = [self._headline(record)]
        for passage, arrow, at_charge_point in (
            (record.arrived, there, from_charge_point),
            (record.asked, there, not from_charge_point),
            (record.answered, back, not from_charge_point),
            (record.replied, back, from_charge_point),
        ):
            lines += self._message(passage, arrow, at_charge_point=at_charge_point)
        lines += self._notes(record)
        self._write(*lines, "")

    def _delivered(self, event: Event) -> None:
        line = f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3] + f"  {event.identity}: "
        self._write(*self._folded_words(line + self._green(event.text)), "")

    def end(self, failures: list[str]) -> int:
        counts, failures = self._counts, failures + self._bugs
        plural = "" if counts["exchanges"] == 1 else "s"
        summary = (
            f"{counts['exchanges']} exchange{plural}, {counts['failed']} failed, "
            f"{counts['unchanged']} passed on as they were; "
            f"{counts['changes']} values changed on the way, {counts['losses']} lost"
        )
        if counts["kept"]:
            summary += f"; {counts['kept']} kept in the outbox, {counts['late']} of them delivered since"
        self._write(*self._folded_words(summary))
        for failure in failures:
            self._write(*(self._red(line) for line in self._folded_words(f"failed: {failure}")))
        if failures or counts["failed"]:
            return 1
        self._write("", *(line for step in _NEXT for line in self._folded_words(step, indent=7)))
        return 0

    # --- Parts of an exchange

    def _headline(self, record: Record) -> str:
        from wattbridge.ocpp.messages import Side

        arrow = "▶" if record.arrived_from is Side.CHARGE_POINT else "◀"
        who = f"{record.identity} {arrow} {record.upstream}".rstrip()
        outcome = (
            self._red(f"failed: {record.reason}") if record.reason else self._green(_OUTCOMES[record.how])
        )
        own = max(0.0, record.seconds - record.peer_seconds)
        line = (
            f"{datetime.fromtimestamp(record.began, UTC):%H:%M:%S.%f}"[:-3]
            + f"  {who}: {self._bold(record.action or '?')}  {outcome} in {record.seconds * 1000:.1f} ms"
        )
        more = f" (gateway {own * 1000:.2f})" if record.asked else ""
        fits = len(line) - 2 * self._escapes + len(more) <= self._width
        return line + more if fits or not self._on_terminal else line

    def _message(self, passage: Passage | None, arrow: str, *, at_charge_point: bool) -> list[str]:
        """A message beside its margin: charge points stand on the left of it, central systems right."""
        if passage is None:
            return []
        if passage.transport == "soap":
            paint, text, pieces = self._cyan, _soap_shown(passage), r"(?<=>)(?=<)"
        else:
            paint, text, pieces = self._magenta, _frame_shown(passage), r"(?<=,)"
        spoken = passage.transport.upper()
        margin = f"  {spoken} {arrow}" if at_charge_point else f"       {arrow} {spoken}"
        rows = self._folded(re.split(pieces, text), _MOST_ROWS)
        margins = [paint(margin) + " " * (_MARGIN - len(margin))] + [" " * _MARGIN] * (len(rows) - 1)
        return [before + row for before, row in zip(margins, rows, strict=True)]

    def _notes(self, record: Record) -> list[str]:
        from wattbridge.ocpp.messages import CallError

        lines = []
        if isinstance(record.reply, CallError):
            why = f"{record.reply.code}: {record.reply.description}"
            lines += self._beside(self._red("failed"), why)
        if record.how == "kept":
            why = "⏸ csms away: kept in the outbox, confirmed to the charge point"
            lines += self._beside(self._yellow("kept"), why)
        if passed(record):
            lines += self._beside(self._green("unchanged"), "both payloads, byte for byte")
        most = _MOST_NOTES if self._on_terminal and len(record.notes) > _MOST_NOTES + 1 else len(record.notes)
        for note in record.notes[:most]:
            word, text = _sentence(note, record.action)
            lines += self._beside(self._yellow(word), text)
        if more := len(record.notes) - most:
            lines.append(" " * _MARGIN + f"… and {more} more")
        return lines

    def _beside(self, word: str, text: str) -> list[str]:
        """A coloured word in the margin and a text beside it."""
        rows = self._folded(re.split(r"(?<= )", _printable(text)), _MOST_ROWS)
        first = f"  {word}".ljust(_MARGIN + self._escapes) + rows[0]
        return [first, *(" " * _MARGIN + row for row in rows[1:])]

    # --- Width and colour

    @property
    def _width(self) -> int:
        return max(_NARROWEST, shutil.get_terminal_size().columns)

    def _folded(self, pieces: list[str], most: int) -> list[str]:
        """*pieces* in rows beside the margin, broken between pieces where that is possible."""
        if not self._on_terminal:
            return ["".join(pieces)]
        width = self._width - _MARGIN
        rows = [""]
        for piece in pieces:
            if len(rows[-1]) + len(piece.rstrip()) > width and rows[-1]:
                rows.append("")
            while len(rows[-1]) + len(piece.rstrip()) > width and len(rows) <= most:
                room = width - len(rows[-1])
                rows[-1] += piece[:room]
                rows.append("")
                piece = piece[room:]
            rows[-1] += piece
        if len(rows) > most:
            rows = [*rows[: most - 1], rows[most - 1][: width - 1].rstrip() + "…"]
        return [row.rstrip() for row in rows]

    def _folded_words(self, text: str, indent: int = 2) -> list[str]:
        if not self._on_terminal:
            return [text]
        return textwrap.wrap(text, self._width, subsequent_indent=" " * indent)

    @property
    def _escapes(self) -> int:
        """Characters that colour adds to a text."""
        return len(self._yellow(""))

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


def _soap_shown(passage: Passage) -> str:
    """What stands in the Body, on one line, without prefixes and declarations of namespaces."""
    text = passage.text.decode("utf-8", "replace")
    body = _BODY.search(text)
    bare = _TAG.sub(lambda tag: _PREFIX.sub(r"\1", _DECLARATION.sub("", tag[0])), body[1] if body else text)
    return _on_one_line(bare) or "(closed without an answer)"


def _frame_shown(passage: Passage) -> str:
    """The frame on one line, with the beginning of its message id."""
    return _LONG_ID.sub(r'\1…"', _on_one_line(passage.text.decode("utf-8", "replace")))


def _on_one_line(text: str) -> str:
    return _printable(" ".join(text.split()))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _sentence(note: Note, action: str) -> tuple[str, str]:
    """``changed``, ``lost`` or ``broken``, and what."""
    from wattbridge.ocpp.messages import Breach, Loss

    path = note.path.removeprefix(f"{action}Response.").removeprefix(f"{action}.")
    if isinstance(note, Breach):
        return "broken", f"{path} {note.value}: {note.reason} ({note.rule})".replace("  ", " ")
    if isinstance(note, Loss):
        return "lost", f"{path} {note.value}: {note.reason} ({note.rule})"
    return "changed", f"{path} {note.value} → {note.became} ({note.rule})"

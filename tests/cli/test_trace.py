"""``wattbridge trace``: what a gateway carries, as whoever types it sees it."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_main import run
from tests.exchange_files import load_exchanges
from tests.fakes import PATIENCE, Clock
from tests.operation.trace.test_pages import Explains
from tests.traced import METER_VALUES, NOW, NUMBER, a_record, traced
from wattbridge.cli.trace import Shown, checked_filter, events, follow, pretty
from wattbridge.operation.api import Access, AdminPort, Token
from wattbridge.operation.history import History, Keeping
from wattbridge.operation.trace import formats
from wattbridge.operation.trace.capture import Captures
from wattbridge.operation.trace.live import Hub
from wattbridge.operation.trace.pages import pages
from wattbridge.relay.journal import Journal
from wattbridge.store.memory import MemoryStore

TOKEN = "a-token-of-some-length"


class OnLoop:
    """What of a gateway messages are shown of, in a thread of its own."""

    def __init__(self, token_file: Path) -> None:
        self.token_file = token_file
        self.loop = asyncio.new_event_loop()
        self.journal = Journal()
        self.history = History(MemoryStore(), Keeping(3600.0), Clock(NOW))
        self.history.listen_to(self.journal)
        self.hub = Hub(self.history, self.journal)
        self.captures = Captures(MemoryStore(), self.history, lambda: "6d1f", Clock(NOW))
        what = pages(self.history, self.hub, self.captures, Explains(), Clock(NOW))
        self.port = AdminPort("127.0.0.1", 0, Access([Token("admin", "admin", TOKEN)]), what)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port.port}"

    def do(self, what: Callable[[], Any]) -> None:
        """Have something done by the gateway's thread."""

        async def done() -> None:
            what()

        asyncio.run_coroutine_threadsafe(done(), self.loop).result(PATIENCE)

    def record(self, **changes: Any) -> None:
        self.do(lambda: self.journal.record(a_record(**changes)))

    def run(self, *arguments: str) -> tuple[int, str, str]:
        return run("trace", *arguments, "--admin", self.url, "--token-file", str(self.token_file))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[OnLoop]:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    world = OnLoop(token_file)
    thread = threading.Thread(target=world.loop.run_forever)
    thread.start()

    async def start() -> None:
        await world.history.begin()
        await world.captures.begin()
        await world.port.start()

    async def stop() -> None:
        world.hub.close()
        await world.port.stop()

    try:
        asyncio.run_coroutine_threadsafe(start(), world.loop).result(PATIENCE)
        yield world
    finally:
        asyncio.run_coroutine_threadsafe(stop(), world.loop).result(PATIENCE)
        world.loop.call_soon_threadsafe(world.loop.stop)
        thread.join()
        world.loop.close()


def columns(out: str) -> list[list[str]]:
    return [line.split("  ")[1:] for line in out.splitlines()]


def test_the_last_exchanges_are_shown_the_oldest_first(gateway: OnLoop) -> None:
    gateway.record()
    gateway.record(identity="HAM-1", action="Heartbeat")
    code, out, err = gateway.run()
    assert (code, err) == (0, "")
    assert columns(out) == [
        ["BER-0001", "▶", "MeterValues", "soap→json", "ok", "61 ms", f"#{NUMBER}"],
        ["HAM-1", "▶", "Heartbeat", "soap→json", "ok", "61 ms", f"#{NUMBER + 1}"],
    ]
    assert columns(gateway.run("--limit", "1")[1])[0][0] == "HAM-1"
    assert columns(gateway.run("--charger", "BER-0001")[1])[0][0] == "BER-0001"
    assert gateway.run("--filter", "action:Reset or leg:json", "--charger", "CP9") == (0, "", "")


def test_other_forms_are_for_programs(gateway: OnLoop) -> None:
    gateway.record()
    lines = gateway.run("--format", "oot", "--legs", "csms")[1].splitlines()
    assert [json.loads(line)["messageType"] for line in lines] == ["CALL", "CALLRESULT"]
    assert json.loads(gateway.run("--format", "ndjson")[1])["arrived"] == METER_VALUES
    assert "  from the charge point (soap 1.6)\n" in gateway.run("--format", "text")[1]


def test_a_filter_that_is_not_understood_is_shown_with_its_place(gateway: OnLoop) -> None:
    code, out, err = gateway.run("--filter", "leg:soap acton:x")
    assert (code, out) == (2, "")
    assert "column 10: there is no field 'acton' (did you mean action:?)" in err
    assert checked_filter("leg:soap acton:x").splitlines()[1:] == ["  leg:soap acton:x", "           ^"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "xml"), "'xml' is none of pretty, text, oot, ndjson"),
        (("--legs", "left"), "'left' is none of both, charger, csms"),
        (("--for", "10s"), "it is for --follow"),
        (("show", "1", "--format", "xml"), "'xml' is none of text, json, oot, ndjson, exchange"),
        (("show", "1", "--to", "x"), "it is for --format exchange"),
        (("start", "--size", "much"), "much"),
        (("export", "x", "--format", "pretty"), "'pretty' is none of oot, ndjson, text"),
        (("replay", "x", "--to", "ws://127.0.0.1:9", "--speed", "fast"), "'fast' is neither a factor"),
        (("replay", "x", "--to", "ws://127.0.0.1:9", "--leg", "left"), "'left' is neither charger nor csms"),
    ],
)
def test_wrong_usage_is_said(arguments: tuple[str, ...], said: str) -> None:
    code, _, err = run("trace", *arguments)
    assert code == 2
    assert said in " ".join(err.split())


class Screen(io.StringIO):
    """Where lines are written; after so many, somebody presses Ctrl-C."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.news = threading.Semaphore(0)

    def write(self, text: str) -> int:
        written = super().write(text)
        self.news.release()
        if self.getvalue().count("\n") >= self.most:
            raise KeyboardInterrupt
        return written


@dataclass
class Following:
    screen: Screen
    errors: io.StringIO
    codes: list[int]


@contextmanager
def following(gateway: OnLoop, most: int, wanted: str = "") -> Iterator[Following]:
    """``trace -f``, which ends with so many lines."""
    screen, errors, codes = Screen(most), io.StringIO(), []

    def work() -> None:
        shown = Shown(wanted)
        codes.append(follow(gateway.url, str(gateway.token_file), shown, None, out=screen, err=errors))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        until(lambda: gateway.hub.readers == 1)
        yield Following(screen, errors, codes)
    finally:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def until(happened: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if happened():
            return
        waiting.wait(0.01)
    raise TimeoutError


def test_what_happens_is_followed_until_somebody_has_seen_enough(gateway: OnLoop) -> None:
    gateway.record()
    with following(gateway, 2, "charger:HAM-*") as seen:
        for identity in ("HAM-1", "BER-0001", "HAM-2"):
            gateway.record(identity=identity)
    assert [line[0] for line in columns(seen.screen.getvalue())] == ["HAM-1", "HAM-2"]
    assert seen.codes == [0]


def test_a_stream_that_breaks_off_is_taken_up_where_it_did(gateway: OnLoop) -> None:
    with following(gateway, 2) as seen:
        gateway.record(identity="HAM-1")
        assert seen.screen.news.acquire(timeout=PATIENCE)
        gateway.do(gateway.hub.close)
        gateway.record(identity="HAM-2")
    assert [line[0] for line in columns(seen.screen.getvalue())] == ["HAM-1", "HAM-2"]


def test_a_gateway_that_is_away_for_a_while_is_tried_again(
    gateway: OnLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it is restarted, also when nothing was seen before."""
    monkeypatch.setattr("wattbridge.cli.trace.PAUSE", 0.05)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 2000\n\n"
    exchange = formats.ndjson(traced(identity="HAM-1"))
    port, screen, errors, codes = 0, Screen(1), io.StringIO(), []

    def listening() -> socket.socket:
        return socket.create_server(("127.0.0.1", port))

    def answer(server: socket.socket, content: bytes) -> None:
        connection, _ = server.accept()
        connection.recv(65536)
        connection.sendall(content)
        connection.close()

    def work() -> None:
        url, token = f"http://127.0.0.1:{port}", str(gateway.token_file)
        codes.append(follow(url, token, Shown(), None, out=screen, err=errors))

    with listening() as server:
        port = server.getsockname()[1]
        thread = threading.Thread(target=work)
        thread.start()
        answer(server, head)
    until(lambda: "tried again" in errors.getvalue())
    with listening() as server:
        answer(server, head + f"id: 7\nevent: message\ndata: {exchange}\n\n".encode())
        thread.join(PATIENCE)
    assert codes == [0]
    assert [line[0] for line in columns(screen.getvalue())] == ["HAM-1"]
    assert errors.getvalue() == "wattbridge: the gateway does not answer any more; it is tried again\n"


def test_following_ends_by_itself(gateway: OnLoop) -> None:
    assert gateway.run("-f", "--for", "100ms") == (0, "", "")


def test_without_a_gateway_there_is_nothing_to_follow(gateway: OnLoop) -> None:
    code, out, err = run(
        "trace", "-f", "--admin", "http://127.0.0.1:9", "--token-file", str(gateway.token_file)
    )
    assert (code, out) == (3, "")
    assert err.startswith("wattbridge: no gateway at http://127.0.0.1:9: ")


def test_events_of_a_stream_are_told_apart() -> None:
    lines = [
        "retry: 2000",
        "",
        ": ping",
        "",
        "id: 7",
        "event: message",
        'data: {"a":',
        "data: 1}",
        "",
        "event: gap",
    ]
    assert list(events(iter(f"{line}\r\n" for line in lines))) == [
        ("", "", ""),
        ("", "", ""),
        ("message", "7", '{"a":\n1}'),
    ]


def test_an_exchange_nobody_could_read_has_a_line_too(gateway: OnLoop) -> None:
    line = pretty(traced(identity="", action="", reason="malformed", arrived_from="central_system", losses=1))
    assert line.split("  ")[1:] == [
        "-", "◀", "unreadable", "json→soap", "malformed", "61 ms", "1 change", "1 loss", f"#{NUMBER}"
    ]  # fmt: skip


def test_one_exchange_is_shown_whole(gateway: OnLoop) -> None:
    gateway.record()
    code, out, _ = gateway.run("show", str(NUMBER))
    assert (code, METER_VALUES in out) == (0, True)
    assert json.loads(gateway.run("show", str(NUMBER), "--format", "json")[1])["charger"] == "BER-0001"
    assert len(gateway.run("show", str(NUMBER), "--format", "oot")[1].splitlines()) == 4
    assert gateway.run("show", "17") == (1, "", "wattbridge: there is no exchange 17 in the history\n")


def test_one_exchange_becomes_a_case_of_the_corpus(gateway: OnLoop, tmp_path: Path) -> None:
    gateway.record()
    code, _, err = gateway.run("show", str(NUMBER), "--format", "exchange", "--to", str(tmp_path))
    assert (code, err) == (0, f"ok: {tmp_path}/exchanges/MeterValues/{NUMBER}\n")
    [exchange] = load_exchanges(tmp_path / "exchanges")
    assert exchange.messages[0].startswith(b"<s:Envelope")
    (tmp_path / "file").write_text("")
    code, _, err = gateway.run("show", str(NUMBER), "--format", "exchange", "--to", str(tmp_path / "file"))
    assert (code, err[:12]) == (2, "wattbridge: ")


def test_a_capture_from_its_beginning_to_its_end(gateway: OnLoop, tmp_path: Path) -> None:
    assert gateway.run("list") == (0, "there are no captures\n", "")
    code, out, err = gateway.run("start", "--charger", "BER-*", "--network", "10.0.0.0/8", "--name", "mine")
    assert (code, out) == (0, "6d1f\n")
    assert err == "it ends at 2024-05-01T10:10:00.000Z, or with 10000 exchanges\n"
    gateway.record(address="10.20.0.7")
    gateway.record(identity="HAM-1")
    head, row = gateway.run("list")[1].splitlines()
    assert head.split() == ["id", "name", "state", "began", "ends", "exchanges", "size", "filter"]
    assert row.split()[:3] == ["6d1f", "mine", "running"]
    assert json.loads(gateway.run("list", "-o", "json")[1])[0]["records"] == 1
    assert len(gateway.run("export", "6d1f")[1].splitlines()) == 4
    file = tmp_path / "trace.ndjson"
    assert gateway.run("export", "6d1f", "--format", "ndjson", "--output", str(file))[::2] == (
        0,
        f"ok: {file}\n",
    )
    assert json.loads(file.read_text())["identity"] == "BER-0001"
    assert gateway.run("stop", "6d1f") == (0, "ok: 6d1f has 1 exchanges\n", "")
    assert "ended: stopped" in gateway.run("list")[1]
    assert gateway.run("stop", "6d1f", "--delete") == (0, "ok: 6d1f is deleted\n", "")
    assert gateway.run("export", "6d1f") == (1, "", "wattbridge: there is no capture '6d1f'\n")
    assert gateway.run("export", "6d1f", "--output", "/nowhere/x")[0] == 2
    assert gateway.run("start", "--for", "9d")[0] == 1

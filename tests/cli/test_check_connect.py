"""``wattbridge check --connect``: every central system is tried, and the exit code says how it went."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import pytest
from websockets.http11 import Request

from tests.cli.test_main import run
from tests.links.test_trying import WSDL, http, http_at, websockets_at


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("P", "geheim")
    monkeypatch.setenv("Q", "anders")


@contextmanager
def serving(server: AbstractAsyncContextManager[int]) -> Iterator[int]:
    """The port of *server*, which runs in a thread of its own: the command has a loop of its own, too."""
    ports: list[int] = []
    there = threading.Event()
    loop = asyncio.new_event_loop()
    done = asyncio.Event()

    async def serve() -> None:
        async with server as port:
            ports.append(port)
            there.set()
            await done.wait()

    def work() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert there.wait(timeout=30)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(timeout=30)


def write(upstreams: str, more: str = "chargers: {CP1: {}}\n") -> None:
    Path("gateway.yaml").write_text(
        f'gateway: {{public_url: "http://gw"}}\nlisteners: {{field: {{bind: "127.0.0.1:0"}}}}\n'
        f"upstreams:\n{upstreams}{more}"
    )


def connect(*options: str) -> tuple[int, list[str]]:
    """Exit code and lines, without what differs each time."""
    code, out, err = run("check", "--connect", *options)
    assert "geheim" not in out + err
    assert "anders" not in out + err
    return code, [line.rpartition(", in ")[0] or line for line in out.splitlines()]


def test_central_systems_that_can_be_reached_are_well() -> None:
    seen: list[Request] = []
    with serving(websockets_at(seen=seen)) as json_port, serving(http_at(http("200 OK", WSDL))) as soap_port:
        write(
            f"  cloud:\n    url: ws://127.0.0.1:{json_port}/ocpp\n"
            "    auth: {basic: {password: {env: P}}}\n"
            f"  old: {{url: 'http://127.0.0.1:{soap_port}/cs'}}\n",
            "chargers: {CP1: {}, BER-1: {upstream_password: {env: Q}}}\n"
            "routes:\n"
            "  - name: berlin\n    match: {charger: BER-*}\n    upstream: cloud\n"
            "    identity: {rewrite: ^BER-, to: DE*}\n"
            "  - {name: all, match: any, upstream: old}\n",
        )
        assert connect() == (
            0,
            [
                "cloud: tried as charge point BER-1 (known there as DE*1)",
                f"cloud: TCP: connected to 127.0.0.1, port {json_port}",
                "cloud: WebSocket: HTTP 101, subprotocol ocpp1.6",
                "old: tried as charge point CP1",
                f"old: TCP: connected to 127.0.0.1, port {soap_port}",
                "old: WSDL: HTTP 200, a WSDL of CentralSystemService (urn://Ocpp/Cs/2015/10/)",
            ],
        )
        assert connect("--identity", "somebody")[1][0] == "cloud: tried as charge point somebody"
    paths = [request.path for request in seen]
    assert paths == ["/ocpp/DE%2A1", "/ocpp/somebody"]
    assert [request.headers["Authorization"] for request in seen] == [
        "Basic REUqMTphbmRlcnM=",  # DE*1 with its own password
        "Basic c29tZWJvZHk6Z2VoZWlt",  # somebody with that of all
    ]


def test_one_that_refuses_us_is_a_negative_answer() -> None:
    with serving(websockets_at(404)) as port:
        write(f"  cloud: {{url: 'ws://127.0.0.1:{port}/ocpp'}}\n", "")
        code, lines = connect()
    assert code == 1
    assert lines[-1] == (
        "cloud: WebSocket: refused: HTTP 404 Not Found: it does not know this charge point, or the path of "
        "the URL is wrong"
    )
    assert "cloud: tried as charge point wattbridge-check" in lines


def test_one_that_is_not_there_counts_more_than_one_that_refuses() -> None:
    with serving(http_at(None)) as closed:
        pass
    with serving(websockets_at(401)) as port:
        write(
            f"  cloud: {{url: 'ws://127.0.0.1:{port}/ocpp'}}\n  old: {{url: 'http://127.0.0.1:{closed}/cs'}}\n",
            "chargers: {CP1: {}}\nroutes: [{name: all, match: any, upstream: cloud, fallback: old}]\n",
        )
        code, lines = connect()
    assert code == 3
    assert lines[-1] == f"old: TCP: unreachable: no connection to 127.0.0.1:{closed}: connection refused"


def test_a_doubt_fails_only_under_strict() -> None:
    with serving(http_at(http("405 Method Not Allowed"))) as port:
        write(f"  old: {{url: 'http://127.0.0.1:{port}/cs/{{charger}}'}}\n")
        assert connect()[0] == 0
        code, lines = connect("--strict")
    assert code == 1
    assert lines[-1].startswith("old: WSDL: doubt: HTTP 405 Method Not Allowed: it does not show its")


def test_what_was_seen_is_there_for_programs() -> None:
    with serving(websockets_at()) as port:
        write(f"  cloud: {{url: 'ws://127.0.0.1:{port}/ocpp'}}\n")
        code, out, _ = run("check", "--connect", "--json")
    assert code == 0
    report = json.loads(out)
    assert report["ok"] is True
    [cloud] = report["upstreams"]
    assert (cloud["upstream"], cloud["identity"], cloud["known_as"]) == ("cloud", "CP1", "CP1")
    assert cloud["steps"][1] == {
        "name": "WebSocket",
        "verdict": "ok",
        "text": "HTTP 101, subprotocol ocpp1.6",
    }


def test_nobody_is_called_when_the_configuration_is_wrong() -> None:
    seen: list[Request] = []
    with serving(websockets_at(seen=seen)) as port:
        write(f"  cloud: {{url: 'ws://127.0.0.1:{port}/ocpp'}}\n", "gatway: {}\n")
        code, out, _ = run("check", "--connect")
        assert (code, out) == (2, "gateway.yaml:5:1: gatway: unknown key (did you mean 'gateway'?)\n")
        report = json.loads(run("check", "--connect", "--json")[1])
    assert report["upstreams"] == []
    assert seen == []

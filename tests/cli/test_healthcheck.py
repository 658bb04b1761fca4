"""``wattbridge healthcheck``: the exit code of a probe, against a gateway and against what is none."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli.test_main import HEAVY, imported_by, run
from tests.test_app import a_gateway, configuration
from wattbridge.config import Bind, metrics_bind


async def check(*arguments: str) -> tuple[int, str, str]:
    """In a thread, since it is the gateway of this event loop that is asked."""
    return await asyncio.to_thread(run, "healthcheck", *arguments)


async def test_a_gateway_that_is_well_and_one_that_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    async with a_gateway(configuration()) as world:
        port = world.admin.rpartition(":")[2]
        file.write_text(f"metrics: {{bind: '0.0.0.0:{port}'}}\nlisteners: wrong by now\n")
        assert await check("-c", str(file)) == (0, "ok\n", "")
        assert await check("-c", str(file), "--ready") == (0, "ok\n", "")
        assert await check("--url", world.admin, "--ready") == (0, "ok\n", "")
        await world.end()
    assert await check("-c", str(file)) == (
        1,
        "",
        f"wattbridge: no gateway at 127.0.0.1 port {port}: connection refused\n",
    )


async def test_a_gateway_that_is_alive_but_takes_no_messages() -> None:
    async with a_gateway(configuration()) as world:
        world.gateway._not_ready = ["the gateway is stopping"]
        assert await check("--url", world.admin) == (0, "ok\n", "")
        assert await check("--url", world.admin, "--ready") == (
            1,
            "",
            "wattbridge: the gateway is stopping\n",
        )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "/livez answers with HTTP 404"),
        (b"SSH-2.0-OpenSSH\r\n", "no gateway at 127.0.0.1 port {port}: sSH-2.0-OpenSSH"),
        (b"", "no gateway at 127.0.0.1 port {port}: remote end closed connection without response"),
    ],
)
async def test_what_is_no_gateway(answer: bytes, told: str) -> None:
    async def somebody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(somebody, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        code, out, err = await check("--url", f"http://127.0.0.1:{port}")
    assert (code, out, err.strip()) == (1, "", "wattbridge: " + told.format(port=port))


@pytest.mark.parametrize("url", ["https://127.0.0.1:9181", "127.0.0.1:9181", "http://127.0.0.1:door"])
def test_a_url_that_is_none(url: str) -> None:
    code, _, err = run("healthcheck", "--url", url)
    assert (code, "is no URL such as http://127.0.0.1:9181" in " ".join(err.split())) == (2, True)


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("metrics: {bind: '[::]:9999'}\n", Bind("::", 9999)),
        ("metrics: {bind: nonsense}\n", Bind("127.0.0.1", 9181)),
        ("metrics: {bind: [1, 2]}\n", Bind("127.0.0.1", 9181)),
        ("metrics:\n", Bind("127.0.0.1", 9181)),
        ("- no configuration\n", Bind("127.0.0.1", 9181)),
        ("{", Bind("127.0.0.1", 9181)),
        ("\xff", Bind("127.0.0.1", 9181)),
        ("", Bind("127.0.0.1", 9181)),
    ],
)
def test_where_the_health_is_whatever_else_the_file_says(tmp_path: Path, text: str, bind: Bind) -> None:
    """The gateway goes on with what it had when its file becomes wrong."""
    file = tmp_path / "gateway.yaml"
    file.write_text(text, encoding="latin-1")
    assert metrics_bind(file) == bind
    assert metrics_bind(tmp_path / "missing.yaml") == Bind("127.0.0.1", 9181)
    assert metrics_bind(env={"WATTBRIDGE_CONFIG": str(file)}) == bind


def test_a_probe_that_is_told_where_imports_next_to_nothing() -> None:
    """It runs again and again. (typer brings pydantic where it is installed.)"""
    imported = imported_by("healthcheck", "--url", "http://127.0.0.1:9")
    assert imported.isdisjoint(set(HEAVY) - {"pydantic"})

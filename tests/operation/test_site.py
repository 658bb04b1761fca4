"""The files of the console: one page for every address in it, and nothing of the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes import PATIENCE
from tests.operation.test_api import FakeGateway
from wattbridge.operation.api import Access, AdminPort, Site, Token, pages_of

TOKEN = "a-token-of-some-length"


@asynccontextmanager
async def a_site(folder: Path) -> AsyncIterator[int]:
    (folder / "assets").mkdir()
    (folder / "index.html").write_text("<!doctype html><title>Wattbridge</title>")
    (folder / "assets" / "app.js").write_text("export {}")
    (folder / "icon.svg").write_text("<svg/>")
    (folder / "__init__.py").write_text("secret = 1")
    access = Access([Token("admin", "admin", TOKEN)])
    port = AdminPort("127.0.0.1", 0, access, pages_of(FakeGateway()), site=Site(folder).answer)
    await port.start()
    try:
        yield port.port
    finally:
        await port.stop()


async def ask(port: int, request: str, *headers: str) -> tuple[int, dict[str, str], str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        "\r\n".join([f"{request} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]).encode()
    )
    async with asyncio.timeout(PATIENCE):
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    status, *lines = head.split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), body


async def test_every_address_of_the_console_is_its_one_page(tmp_path: Path) -> None:
    async with a_site(tmp_path) as port:
        for path in ("/", "/messages?filter=charger:CP1", "/chargers/CP%2F1", "/chargers/CP.1"):
            status, headers, body = await ask(port, f"GET {path}")
            assert (status, body) == (200, "<!doctype html><title>Wattbridge</title>")
            assert headers["Content-Type"] == "text/html; charset=utf-8"
            assert headers["Content-Security-Policy"].startswith("default-src 'self'")


async def test_files_have_their_types_and_are_asked_for_once(tmp_path: Path) -> None:
    async with a_site(tmp_path) as port:
        status, headers, body = await ask(port, "GET /assets/app.js")
        assert (status, headers["Content-Type"], body) == (200, "text/javascript; charset=utf-8", "export {}")
        assert headers["Cache-Control"] == "no-cache"
        again, _, nothing = await ask(port, "GET /assets/app.js", f"If-None-Match: {headers['ETag']}")
        assert (again, nothing) == (304, "")
        assert (await ask(port, "GET /icon.svg"))[1]["Content-Type"] == "image/svg+xml"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /assets/none.js", 404),
        ("GET /__init__.py", 404),
        ("GET /assets/../__init__.py", 404),
        ("GET /..%2F..%2Fetc/passwd.txt", 404),
        ("POST /", 405),
        ("GET /api/v1/routes", 401),
        ("GET /api/v1/nowhere", 401),
        ("GET /api", 401),
    ],
)
async def test_nothing_else_is_served(tmp_path: Path, request_line: str, status: int) -> None:
    async with a_site(tmp_path) as port:
        assert (await ask(port, request_line))[0] == status


def test_a_folder_without_a_page_is_no_console(tmp_path: Path) -> None:
    assert not Site(tmp_path).is_there
    assert not Site(tmp_path / "nowhere").is_there

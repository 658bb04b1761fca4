"""The files of the console, as an HTTP client gets them; nothing of it needs a token."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

import aiohttp
import pytest

from wattbridge.operation.api import Access, AdminPort, Site, Token

FOLDER = Path(str(files("wattbridge.operation") / "console"))
ASSETS = sorted((FOLDER / "assets").iterdir())


@asynccontextmanager
async def a_client() -> AsyncIterator[aiohttp.ClientSession]:
    site = Site(files("wattbridge.operation") / "console")
    assert site.is_there
    port = AdminPort("127.0.0.1", 0, Access([Token("admin", "admin", "a-token")]), [], site=site.answer)
    await port.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port.port}") as client:
            yield client
    finally:
        await port.stop()


@pytest.mark.parametrize(
    "path",
    ["/", "/messages/17?filter=a", "/chargers/CP%2F1", "/chargers/CP.1.2", "/configuration", "/elsewhere"],
)
async def test_every_address_within_the_console_is_its_one_page(path: str) -> None:
    async with a_client() as client, client.get(path) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert await answer.text() == (FOLDER / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["/favicon.ico", "/assets/", "/assets/none.js", "/robots.txt"])
async def test_a_file_that_is_not_there_is_not_found(path: str) -> None:
    async with a_client() as client, client.get(path) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (404, "unsupported")


async def test_a_file_goes_out_with_its_type_and_comes_again_only_when_it_has_changed() -> None:
    async with a_client() as client:
        async with client.get("/assets/main.js") as answer:
            assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
            assert answer.headers["Cache-Control"] == "no-cache"
            etag = answer.headers["ETag"]
        async with client.get("/assets/main.js", headers={"If-None-Match": etag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        async with client.post("/assets/main.js") as answer:
            assert answer.status == 405
        async with client.get("/api/v1/info") as answer:
            assert answer.status == 401


async def test_the_browser_is_told_to_run_nothing_but_these_files() -> None:
    async with a_client() as client, client.get("/") as answer:
        assert answer.headers["Content-Security-Policy"] == (
            "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "object-src 'none'; require-trusted-types-for 'script'"
        )
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"  # the first address has a token in it


def test_the_page_names_all_of_its_files_and_no_other() -> None:
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'"/assets/([^"]+)"', page)) == {path.name for path in ASSETS}
    assert not re.search(r"<style|style=|<script(?! type=\"module\" src=)|\son\w+=", page)


@pytest.mark.parametrize("path", ASSETS, ids=lambda path: path.name)
def test_nothing_makes_markup_of_text_or_comes_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
        == []
    )
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)[^\s\"'`]*|@import|url\(", text) == []

"""A real browser to look at the console with: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, Page, async_playwright

CHROMIUM = Path("/usr/bin/chromium")
# It runs as root in the containers of CI, and is not to ask its maker for anything.
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
AXE = Path(__file__).parents[1] / "interop/node/node_modules/axe-core/axe.min.js"

STANDARDS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


def missing() -> str:
    """What has to be there and is not; nothing when all of it is."""
    if not CHROMIUM.exists():
        return f"{CHROMIUM} is not installed: it is in Debian's package chromium"
    if not AXE.exists():
        return "axe-core is not installed: npm ci in tests/interop/node"
    return ""


# Where it is known that all of it is there, nothing is skipped.
needs_browser = pytest.mark.skipif(bool(missing()) and os.environ.get("CI") != "true", reason=missing())


@asynccontextmanager
async def a_browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


class Looking:
    """One page, and what is wrong in it: ``complaints``, and ``elsewhere``, requests to other places."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self._said(said.type, said.text))
        page.on("request", lambda request: self._asked(request.url))

    def _said(self, kind: str, text: str) -> None:
        # Chromium itself says of each refusal of the API that a resource could not be loaded.
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
            self.complaints.append(text)

    def _asked(self, url: str) -> None:
        if not url.startswith((self.url, "blob:", "data:")):
            self.elsewhere.append(url)

    async def go(self, path: str) -> None:
        await self.page.goto(self.url + path)

    async def ask_again(self) -> None:
        """Have the page ask for what it shows, as when somebody comes back to it."""
        await self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    async def is_too_wide(self) -> list[str]:
        """The elements that make the page scroll sideways; none when it does not."""
        return list(
            await self.page.evaluate(
                """() => {
                  const wide = (one) => one.scrollWidth > one.clientWidth + 1;
                  const all = [...document.querySelectorAll("html, body, main, .page, .rows, .bar, nav")];
                  const told = (one) => `${one.tagName}.${one.className}: ${one.scrollWidth} px`;
                  return all.filter(wide).map(told);
                }"""
            )
        )

    async def what_axe_finds(self, *rules: str) -> list[str]:
        """Breaches of WCAG 2.2, A and AA, and of what is good practice; or of these rules alone."""
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: dict[str, Any] = await self.page.evaluate(
            "(rules) => axe.run(document, {resultTypes: ['violations'], runOnly: rules})",
            list(rules or STANDARDS),
        )
        return [
            f"{breach['id']}: {breach['help']}: {node['html'][:160]} {node['failureSummary'][:300]}"
            for breach in found["violations"]
            for node in breach["nodes"][:3]
        ]


@asynccontextmanager
async def looking(
    browser: Browser,
    url: str,
    token: str = "",
    *,
    path: str = "/",
    theme: Literal["light", "dark"] = "light",
    size: tuple[int, int] = (1280, 860),
) -> AsyncIterator[Looking]:
    """Someone looks at *path*, signed in with *token* where there is one."""
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=theme,
        permissions=["clipboard-read", "clipboard-write"],
    )
    try:
        page = await context.new_page()
        look = Looking(page, url)
        if token:
            await look.go(path + ("&" if "?" in path else "?") + f"token={token}")
            await page.wait_for_selector("nav a[aria-current]")
        else:
            await look.go(path)
        yield look
    finally:
        await context.close()

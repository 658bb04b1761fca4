"""The pictures of README and guide, taken from the demo so that they cannot age: ``make screenshots``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser

from tests.operation.browser import a_browser, looking, missing

FOLDER = Path(__file__).parents[2] / "docs/images"
LONG_ENOUGH = 45.0  # seconds: days of charge points are over, and there are transactions
WIDE, PHONE = (1180, 740), (360, 740)


async def take() -> None:
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "wattbridge", "demo", "--json", "--for", "5m"), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert demo.stdout is not None
        reading = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(_read(demo.stdout, reading))
            url, token = (await reading).split("/?token=")
            await asyncio.sleep(LONG_ENOUGH)
            async with a_browser() as browser:
                await _overview(browser, url, token)
                await _exchange(browser, url, token, "light", WIDE, "exchange")
                await _exchange(browser, url, token, "dark", PHONE, "phone")
                await _charger(browser, url, token)
            reader.cancel()
    finally:
        demo.terminate()
        await demo.wait()


async def _read(lines: asyncio.StreamReader, console: asyncio.Future[str]) -> None:
    """Take everything, or the demo would wait; give the address of the console."""
    async for line in lines:
        said = json.loads(line)
        if said["kind"] == "parties":
            console.set_result(said["console"])


async def _overview(browser: Browser, url: str, token: str) -> None:
    async with looking(browser, url, token, size=(WIDE[0], 520)) as look:
        await look.page.wait_for_selector(".tile")
        await look.page.screenshot(path=FOLDER / "console-overview.png")


async def _exchange(
    browser: Browser, url: str, token: str, theme: Literal["light", "dark"], size: tuple[int, int], name: str
) -> None:
    """A StartTransaction that was translated, one of its fields looked at."""
    path = "/messages?filter=charger:SOAP-1+status:ok+change:yes"
    async with looking(browser, url, token, path=path, theme=theme, size=size) as look:
        row = look.page.locator(".rows .row").filter(has_text="StartTransaction").first
        await row.click()
        await look.page.locator('[data-side="csms"] [data-place="timestamp"] .text').hover()
        await look.page.screenshot(path=FOLDER / f"console-{name}.png")


async def _charger(browser: Browser, url: str, token: str) -> None:
    async with looking(
        browser, url, token, path="/chargers/SOAP-1", theme="dark", size=(WIDE[0], 640)
    ) as look:
        await look.page.wait_for_selector(".mini li")
        await look.page.screenshot(path=FOLDER / "console-charger.png")


if __name__ == "__main__":
    if problem := missing():
        sys.exit(f"wattbridge: {problem}")
    FOLDER.mkdir(exist_ok=True)
    asyncio.run(take())

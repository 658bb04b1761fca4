"""The console of a gateway that runs: charge points, a central system, a file, and somebody who looks on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.interop.running import a_free_port
from tests.operation.browser import a_browser, looking, needs_browser
from wattbridge.app import Gateway
from wattbridge.config import load
from wattbridge.reloading import Reloader
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.charge_point_json import JsonChargePoint
from wattbridge.simulators.charge_point_soap import SoapChargePoint

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="module")]

TOKEN = "a-token-of-some-length"
CONFIGURATION = """\
version: 1
gateway: {{name: depot-north, drain: 1s, reload: false}}
listeners: {{field: {{bind: "127.0.0.1:0", paths: [/ocpp/cs, "/ocpp/{{charger}}"]}}}}
upstreams: {{cloud: {{url: "{url}"}}}}
callbacks: {{networks: [127.0.0.0/8], timeout: 2s}}
metrics: {{bind: "127.0.0.1:0"}}
admin: {{bind: "127.0.0.1:0", token: {{file: admin-token}}}}
chargers:
  CP1: {{}}
  CP2: {{callback_url: "http://127.0.0.1:{nobody}/"}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with a_browser() as one:
        yield one


class World:
    def __init__(self, gateway: Gateway, central_system: JsonCentralSystem, file: Path) -> None:
        self.central_system = central_system
        self.file = file
        self.console = gateway.admin_address or ""
        self.posts = gateway.addresses["field"]
        self.sockets = gateway.websocket_addresses["field"].removesuffix("/{charger}")


@pytest_asyncio.fixture(loop_scope="module")
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as one:
        yield one


@asynccontextmanager
async def a_world(folder: Path) -> AsyncIterator[World]:
    async with JsonCentralSystem() as central_system:
        (folder / "admin-token").write_text(TOKEN)
        file = folder / "gateway.yaml"
        file.write_text(CONFIGURATION.format(url=central_system.url, nobody=a_free_port()))
        gateway = Gateway(load(file).config)
        gateway.reload_with(Reloader(gateway, partial(load, file), load(file)))
        ready, stopping = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(gateway.run(stopping, ready.set))
            await ready.wait()
            try:
                yield World(gateway, central_system, file)
            finally:
                stopping.set()


async def test_an_exchange_is_seen_as_it_happens_with_both_its_sides(browser: Browser, world: World) -> None:
    async with looking(browser, world.console, TOKEN, path="/messages") as look:
        page = look.page
        await expect(page.locator(".status .chip")).to_have_text("●live")
        async with SoapChargePoint("CP1", world.posts) as charge_point:
            await charge_point.boot()
            row = page.locator(".rows .space .row").filter(has_text="BootNotification")
            await expect(row).to_contain_text("CP1")
            await expect(row).to_contain_text("SOAP 1.6→JSON 1.6")
            await charge_point.notify_status(1, "Available")
            await page.locator(".rows .space .row").filter(has_text="StatusNotification").click()
            sides = page.locator(".sides")
            connector = sides.locator('[data-place="connectorId"]')
            await expect(connector).to_have_text(["<ns0:connectorId>1</ns0:connectorId>", '"connectorId": 1'])
            await expect(sides.locator(".field.changed .flag").first).to_have_text("changed: to-utc")
            await sides.locator('[data-side="csms"] [data-place="errorCode"] .text').hover()
            await expect(sides.locator('[data-side="charger"] .lit')).to_have_text(
                "<ns0:errorCode>NoError</ns0:errorCode>"
            )
        assert look.complaints == []


async def test_a_charge_point_that_is_refused_is_found_listed_and_let_in(
    browser: Browser, world: World
) -> None:
    async with SoapChargePoint("CP3212", world.posts) as charge_point:
        with pytest.raises(Exception, match="CP3212"):
            await charge_point.boot()
        async with looking(browser, world.console, TOKEN) as look:
            page = look.page
            attention = page.locator(".attention li").filter(has_text="CP3212")
            await expect(attention).to_contain_text("is not known and was refused")
            await attention.get_by_role("button", name="Allow it").click()
            lines = await page.get_by_role("dialog").locator("pre").inner_text()
            listed = world.file.read_text() + "".join(f"{line}\n" for line in lines.splitlines()[1:])
            await page.get_by_role("dialog").get_by_role("button", name="To check and reload").click()

            verdict = page.locator(".verdict")
            world.file.write_text(
                listed.replace("cloud:", "clod:") + "routes: [{match: any, upstream: cloud}]\n"
            )
            await page.get_by_role("button", name="Reload", exact=True).click()
            await expect(verdict).to_contain_text("Reload refused.")
            await expect(verdict).to_contain_text("no upstream 'cloud' (did you mean 'clod'?)")

            world.file.write_text(listed)
            await page.get_by_role("button", name="Reload", exact=True).click()
            await expect(verdict).to_contain_text("chargers.CP3212")
            assert (await charge_point.boot())["status"] == "Accepted"
            await page.get_by_role("link", name="Charge points").click()
            row = page.locator(".rows .space .row").filter(has_text="CP3212")
            await expect(row).to_contain_text("connected")
            await expect(page.locator(".rows .space .row")).to_have_count(3)


async def test_a_callback_that_fails_is_named_and_can_be_tried(browser: Browser, world: World) -> None:
    async with SoapChargePoint("CP2", world.posts) as charge_point:
        await charge_point.boot()
        with pytest.raises(Exception, match="refused"):
            await world.central_system.call("CP2", "ClearCache")
    async with looking(browser, world.console, TOKEN, path="/problems") as look:
        problem = look.page.locator(".problems li")
        await expect(problem).to_contain_text("The charge point cannot be called")
        await expect(problem).to_contain_text("What to do: From this machine, open a connection")
        await problem.get_by_role("link", name="CP2").first.click()
        await look.page.get_by_role("button", name="Test the connection").click()
        await expect(look.page.locator(".page").get_by_role("status")).to_contain_text("Not reached")


async def test_a_call_of_ones_own_reaches_the_charge_point(browser: Browser, world: World) -> None:
    async with JsonChargePoint("CP1", world.sockets) as charge_point:
        await charge_point.boot()
        async with looking(browser, world.console, TOKEN, path="/chargers/CP1") as look:
            await look.page.get_by_role("button", name="Send a call").click()
            dialog = look.page.get_by_role("dialog")
            await dialog.get_by_role("button", name="Send").click()
            await expect(dialog.get_by_role("status")).to_contain_text('"HeartbeatInterval"')
            await look.page.keyboard.press("Escape")
            await expect(look.page.locator(".mini li").first).to_contain_text("GetConfiguration")

"""The console as those who look at it see it, in a real browser; behind it is a port that makes things up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from tests.operation.browser import Looking, a_browser, looking, needs_browser
from tests.operation.fake_admin import REFUSED, FakeAdmin, a_busy_gateway, a_charger, a_row, serving

ADMIN, OPERATOR, READER = "token-of-admin", "token-of-operator", "token-of-reader"

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="module")]

SMALL = (1120, 420)  # axe looks at every row that is seen
# Every page, and what is there once it has been drawn.
PLACES = {
    "/": ".tile",
    "/messages": ".rows .space .row",
    "/messages/50": ".detail .side",
    "/messages/52": ".detail .sentence",
    "/chargers": ".rows .space .row",
    "/chargers/BER-0001": ".card",
    "/chargers/ZZZ-0099": ".card",
    "/transactions": ".rows .space .row",
    "/transactions/BER-0001/4712": ".detail .facts",
    "/problems": ".problems li",
    "/routes?charger=HAM-0001": ".passed li",
    "/traces": ".traces li",
    "/configuration": ".yaml",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with a_browser() as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def admin() -> FakeAdmin:
    return a_busy_gateway()


@pytest_asyncio.fixture(loop_scope="module")
async def url(admin: FakeAdmin) -> AsyncIterator[str]:
    async with serving(admin) as address:
        yield address


def rows(page: Page) -> Locator:
    return page.locator(".rows .space .row")


def row(page: Page, text: str) -> Locator:
    return rows(page).filter(has_text=text)


# --- Signing in


async def test_the_token_of_the_address_signs_in_and_is_gone_from_it(browser: Browser, url: str) -> None:
    async with looking(browser, url, OPERATOR, path="/problems?x=1") as look:
        assert look.page.url == f"{url}/problems?x=1"
        await expect(look.page.locator(".role")).to_have_text("console · operate")
        [cookie] = await look.page.context.cookies()
        assert cookie["httpOnly"]
        assert await look.page.evaluate("localStorage.length + document.cookie.length") == 0


async def test_without_a_token_one_is_asked_for(browser: Browser, url: str) -> None:
    async with looking(browser, url, path="/problems") as look:
        token = look.page.get_by_label("Token")
        await token.fill("guessed")
        await token.press("Enter")
        await expect(look.page.get_by_role("alert")).to_have_text("That is not a token of this gateway.")
        await token.fill(READER)
        await token.press("Enter")
        await expect(
            look.page.get_by_role("heading", name="Problems")
        ).to_be_visible()  # where one wanted to go
        await look.page.get_by_role("button", name="Sign out").click()
        await expect(look.page.get_by_label("Token")).to_be_visible()


# --- Messages


async def test_an_exchange_is_shown_as_it_happens(browser: Browser, admin: FakeAdmin, url: str) -> None:
    async with looking(browser, url, READER, path="/messages") as look:
        await expect(look.page.locator(".status .chip")).to_have_text("●live")
        admin.arrive(a_row(61, charger="HAM-0007", action="BootNotification"))
        first = row(look.page, "HAM-0007")
        await expect(first).to_contain_text("BootNotification")
        await expect(first).to_contain_text("SOAP 1.6→JSON 1.6")
        await expect(first).to_contain_text("ok")
        admin.arrive(a_row(62, charger="HAM-0008", outcome="failed", reason="timeout"))
        await expect(row(look.page, "HAM-0008").locator(".out")).to_have_text("✖timeout")


async def test_what_a_pause_has_kept_back_comes_after_it(
    browser: Browser, admin: FakeAdmin, url: str
) -> None:
    async with looking(browser, url, READER, path="/messages") as look:
        await expect(rows(look.page).first).to_be_visible()
        await look.page.keyboard.press("f")
        admin.arrive(a_row(61, charger="HAM-0007"))
        await expect(look.page.locator(".status .chip")).to_have_text("◐paused, 1 new message")
        await expect(row(look.page, "HAM-0007")).to_have_count(0)
        await look.page.keyboard.press("f")
        await expect(row(look.page, "HAM-0007")).to_be_visible()


async def test_a_gap_in_the_stream_is_shown_and_can_be_filled(
    browser: Browser, admin: FakeAdmin, url: str
) -> None:
    async with looking(browser, url, READER, path="/messages") as look:
        await expect(look.page.locator(".status .chip")).to_have_text("●live")
        admin.arrive(a_row(61, charger="HAM-0007"), unseen=True)
        admin.skip(1)
        admin.arrive(a_row(62, charger="HAM-0008"))
        await expect(row(look.page, "HAM-0008")).to_be_visible()
        gap = row(look.page, "passed by here that this page did not get")
        await expect(gap).to_be_visible()
        await gap.get_by_role("button", name="Read them from the history").click()
        await expect(row(look.page, "HAM-0007")).to_be_visible()
        await expect(gap).to_have_count(0)


async def test_a_filter_is_in_the_address_and_holds_for_what_comes(
    browser: Browser, admin: FakeAdmin, url: str
) -> None:
    async with looking(browser, url, READER, path="/messages") as look:
        page = look.page
        await expect(rows(page).first).to_be_visible()
        await page.keyboard.press("/")
        await page.keyboard.type("action:Heartbeat")
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{url}/messages?filter=action%3AHeartbeat")
        await expect(page.locator(".rows-count")).to_have_text("11 messages")
        admin.arrive(a_row(61, charger="HAM-0007", action="Authorize"))
        admin.arrive(a_row(62, charger="HAM-0008", action="Heartbeat"))
        await expect(row(page, "HAM-0008")).to_be_visible()
        await expect(row(page, "HAM-0007")).to_have_count(0)

        await page.get_by_role("button", name="failed").click()  # is added to it
        await page.wait_for_url(f"{url}/messages?filter=action%3AHeartbeat+status%3Afailed")
        await page.go_back()
        await expect(page.get_by_label("Filter", exact=True).first).to_have_value("action:Heartbeat")


async def test_a_filter_that_cannot_be_understood_says_why_and_keeps_what_was_typed(
    browser: Browser, url: str
) -> None:
    async with looking(browser, url, READER, path="/messages?filter=chager:BER-1") as look:
        await expect(look.page.get_by_role("alert")).to_contain_text(
            "found 'chager', expected charger, action"
        )
        await expect(look.page.locator("#filter")).to_have_value("chager:BER-1")


async def test_older_messages_come_as_one_scrolls_up_to_five_thousand(
    browser: Browser, admin: FakeAdmin, url: str
) -> None:
    """However many there are, the page has the rows that are seen."""
    admin.rows = [a_row(number, charger=f"BER-{number}") for number in range(7000, 0, -1)]
    async with looking(browser, url, READER, path="/messages") as look:
        await expect(row(look.page, "BER-7000")).to_be_visible()
        for _ in range(40):
            await look.page.locator(".rows").evaluate("(list) => { list.scrollTop = list.scrollHeight; }")
            await look.page.wait_for_timeout(30)
            if "the newest 5,000" in await look.page.locator(".rows-count").inner_text():
                break
        await look.page.locator(".rows").evaluate("(list) => { list.scrollTop = list.scrollHeight; }")
        await expect(row(look.page, "BER-2001")).to_be_visible()
        assert await rows(look.page).count() < 80


# --- One exchange


async def test_both_encodings_stand_beside_each_other_and_fields_light_up_together(
    browser: Browser, url: str
) -> None:
    async with looking(browser, url, READER, path="/messages/50") as look:
        ours, theirs = (look.page.locator(f'.side[data-side="{side}"]') for side in ("charger", "csms"))
        await expect(ours).to_contain_text("SOAP 1.6")
        await expect(theirs).to_contain_text("JSON 1.6")
        await ours.locator('[data-place="meterValue.timestamp"] .text').hover()
        await expect(theirs.locator(".lit")).to_contain_text('"timestamp": "2026-11-27T10:30:06Z"')
        await theirs.locator('[data-place="meterValue.sampledValue[1].value"] .text').hover()
        await expect(ours.locator(".lit")).to_have_text("<o:value>16.1</o:value>")


async def test_what_was_changed_and_lost_is_marked_with_its_rule(browser: Browser, url: str) -> None:
    async with looking(browser, url, READER, path="/messages/50") as look:
        sides = look.page.locator(".sides")
        await expect(sides.locator(".field.changed .flag")).to_have_text(["changed: to-utc"] * 2)
        await expect(sides.locator(".field.lost")).to_have_text("lost: unknown-field<o:mood>fine</o:mood>")
        notes = look.page.locator(".notes li")
        await expect(notes.first).to_contain_text("2026-11-27T11:30:06.250+01:00 → 2026-11-27T10:30:06Z")
        await expect(notes.first).to_contain_text("rule to-utc: a time with an offset was written in UTC")
        await notes.nth(1).focus()
        await expect(sides.locator(".lit")).to_contain_text("fine")
        await expect(look.page.locator(".timeline li")).to_have_count(4)


async def test_rows_are_walked_with_j_and_k_opened_with_enter_and_left_with_escape(
    browser: Browser, url: str
) -> None:
    async with looking(browser, url, READER, path="/messages") as look:
        page = look.page
        await expect(rows(page).first).to_be_visible()
        for key in ("j", "j", "j", "k"):
            await page.keyboard.press(key)
        await expect(page.locator('.row[aria-selected="true"]')).to_contain_text("BER-0011")
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{url}/messages/59")
        await page.keyboard.press("j")
        await page.wait_for_url(f"{url}/messages/58")
        await expect(page.locator(".detail h2").first).to_have_text("Authorize")
        await page.keyboard.press("Escape")
        await page.wait_for_url(f"{url}/messages")
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog")).to_contain_text("follow or pause the live messages")
        await expect(page.get_by_role("dialog")).to_contain_text(
            "the identity of the charge point: charger:BER-*"
        )
        await page.keyboard.press("Escape")
        await page.keyboard.press("g")
        await page.keyboard.press("p")
        await page.wait_for_url(f"{url}/problems")


async def test_what_a_stranger_sends_is_text_and_nothing_else(
    browser: Browser, admin: FakeAdmin, url: str
) -> None:
    bad = "<img src=x onerror=alert(1)>"
    admin.arrive(a_row(61, charger=bad, action=bad, reason=bad, outcome="failed"))
    shown = admin.exchange(admin.rows[0])
    shown["sides"]["charger"]["call"] = f"<a><b>{bad}</a>"
    shown["sides"]["csms"]["call"] = f'[2,"1","X",{{"a":"{bad}"}}] and more'
    admin.exchange = lambda _: shown  # type: ignore[method-assign, assignment]
    async with looking(browser, url, READER, path="/messages/61") as look:
        await expect(look.page.locator(".side pre").first).to_have_text(f"<a><b>{bad}</a>")  # as it came
        await expect(look.page.locator('[data-side="csms"] pre').first).to_contain_text("and more")
        assert await look.page.locator("img[src=x]").count() == 0
        assert look.complaints == []


async def test_a_message_is_replayed_only_to_a_charge_point(
    browser: Browser, admin: FakeAdmin, url: str
) -> None:
    async with looking(browser, url, OPERATOR, path="/messages/54") as look:  # the central system's Reset
        await look.page.get_by_role("button", name="Replay").click()
        dialog = look.page.get_by_role("dialog")
        assert json.loads(await dialog.get_by_label("Payload").input_value()) == {"type": "Soft"}
        await look.page.keyboard.press("Escape")
        await look.go("/messages/50")
        await look.page.get_by_role("button", name="Replay").click()
        await expect(dialog).to_contain_text("it would be charged, counted or started twice")
        assert admin.done == []


# --- Charge points


async def test_ten_thousand_charge_points_are_listed(browser: Browser, admin: FakeAdmin, url: str) -> None:
    admin.chargers = [a_charger(f"CP{number:05}") for number in range(10_000)]
    async with looking(browser, url, READER, path="/chargers") as look:
        await expect(look.page.locator(".status")).to_contain_text("10,000 charge points")
        await look.page.locator(".rows").evaluate("(list) => { list.scrollTop = list.scrollHeight; }")
        await expect(row(look.page, "CP09999")).to_be_visible()
        assert await rows(look.page).count() < 80
        await look.page.get_by_label("Find charge points").fill("CP04711")
        await look.page.wait_for_url(f"{url}/chargers?q=CP04711")
        await expect(rows(look.page)).to_have_count(1)
        await look.page.keyboard.press("Escape")
        await look.page.keyboard.press("j")
        await look.page.keyboard.press("Enter")
        await look.page.wait_for_url(f"{url}/chargers/CP04711")


async def test_a_charge_point_is_shown_whole(browser: Browser, url: str) -> None:
    async with looking(browser, url, READER, path="/chargers/BER-0001") as look:
        page = look.page.locator(".page")
        for text in (
            "VendorKEBA",
            "ProfilekebaRouteeverybody",
            "Known there asDE*ABC*0001",
            "10.20.4.17, listener field",
            "no. 2✖FaultedGroundFailure",
            "2000000017no number at its central system yet",
            "from 1,000 Wh",
            "1 field cannot be carried, 1 field changed, 1 action answered by the gateway",
            "StatusNotification.mood",
        ):
            await expect(page).to_contain_text(text)
        await page.get_by_text("1 field cannot be carried").click()
        await expect(page).to_contain_text("WSDL 1.5; OCPP 1.6 has no hash")
        async with look.page.expect_response("**/chargers/BER-0001"):
            await look.ask_again()
        await look.page.wait_for_timeout(
            50
        )  # what was opened stays open while the page is brought up to date
        await expect(page.get_by_text("WSDL 1.5; OCPP 1.6 has no hash")).to_be_visible()


async def test_a_charge_point_that_cannot_be_called_is_diagnosed(
    browser: Browser, admin: FakeAdmin, url: str
) -> None:
    admin.callback = {"reachable": False, "text": "10.20.4.17:8090: no route to host, after 3.1 s"}
    async with looking(browser, url, OPERATOR, path="/problems") as look:
        problem = look.page.locator(".problems li").first
        await expect(problem).to_contain_text("The gateway cannot call BER-0001")
        await expect(problem).to_contain_text("What to do: Let the gateway reach that address")
        await expect(problem).to_contain_text("17 times, first 83 min ago")
        await problem.get_by_role("link", name="Look at it").click()
        await expect(look.page.locator(".page")).to_contain_text("10.20.4.17:8090: no route to host")
        await look.page.get_by_role("button", name="Test the connection").click()
        await expect(look.page.locator(".page").get_by_role("status")).to_contain_text(
            "Not reached: 10.20.4.17:8090: no route to host, after 3.1 s"
        )
    assert admin.done == [("POST", "/api/v1/chargers/BER-0001/callback-test", "")]


async def test_an_unknown_charge_point_is_adopted_with_the_lines_that_list_it(
    browser: Browser, admin: FakeAdmin, url: str
) -> None:
    async with looking(browser, url, OPERATOR) as look:
        attention = look.page.locator(".attention li").filter(has_text="ZZZ-0099")
        await expect(attention).to_contain_text("is not known and was refused 12 times")
        await attention.get_by_role("button", name="Allow it").click()
        dialog = look.page.get_by_role("dialog")
        await expect(dialog.locator("pre")).to_have_text("chargers:\n  ZZZ-0099: {}\n")
        await dialog.get_by_role("button", name="Copy").click()
        assert await look.page.evaluate("navigator.clipboard.readText()") == "chargers:\n  ZZZ-0099: {}\n"
        await dialog.get_by_role("button", name="To check and reload").click()
        await look.page.wait_for_url(f"{url}/configuration")
    assert admin.done == [("POST", "/api/v1/chargers/ZZZ-0099/allow", "")]


async def test_a_call_is_sent_and_its_answer_shown(browser: Browser, admin: FakeAdmin, url: str) -> None:
    async with looking(browser, url, OPERATOR, path="/chargers/BER-0001") as look:
        await look.page.get_by_role("button", name="Send a call").click()
        dialog = look.page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Send").click()
        await expect(dialog.get_by_role("status")).to_contain_text('"unknownKey": []')
        await dialog.get_by_label("Action").select_option("Reset")
        await expect(dialog).to_contain_text("running charges may end")
        await dialog.get_by_role("button", name="Send").click()
        await expect(dialog.get_by_role("status")).to_contain_text(
            "GenericError: no answer within 30 s (timeout)"
        )
        await dialog.get_by_label("Payload").fill("{type")
        await dialog.get_by_role("button", name="Send").click()
        await expect(dialog.get_by_role("status")).to_contain_text("The payload is not JSON")
    assert [json.loads(body) for _, _, body in admin.done] == [
        {"action": "GetConfiguration", "payload": {}},
        {"action": "Reset", "payload": {"type": "Soft"}},
    ]


# --- What one may


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "Allow it"),
        ("/chargers/BER-0001", "Send a call"),
        ("/chargers/BER-0001", "Test the connection"),
        ("/messages/50", "Replay"),
        ("/traces", "Start a trace"),
        ("/routes", "Drain"),
        ("/routes", "Take out of service"),
        ("/configuration", "Reload"),
    ],
)
async def test_what_a_reader_may_not_do_is_there_and_says_so(
    browser: Browser, admin: FakeAdmin, url: str, path: str, name: str
) -> None:
    async with looking(browser, url, READER, path=path) as look:
        button = look.page.get_by_role("button", name=name).first
        await expect(button).to_have_attribute("aria-disabled", "true")
        role = "admin" if path == "/configuration" else "operate"
        await expect(button).to_have_attribute("title", f"needs the role {role}; you are signed in with read")
        await button.dispatch_event("click")
        await expect(look.page.locator(".toast")).to_have_text(
            f"needs the role {role}; you are signed in with read"
        )
    assert admin.done == []


# --- Configuration


async def test_a_reload_that_is_refused_says_why_and_one_that_is_not_what_changed(
    browser: Browser, admin: FakeAdmin, url: str
) -> None:
    admin.refuse_reload = True
    async with looking(browser, url, ADMIN, path="/configuration") as look:
        reload = look.page.get_by_role("button", name="Reload", exact=True)
        await reload.click()
        verdict = look.page.locator(".verdict")
        await expect(verdict).to_contain_text(
            "Reload refused. The gateway goes on with the configuration it has."
        )
        await expect(verdict).to_contain_text("gateway.yaml:14:5")
        await expect(verdict).to_contain_text(REFUSED[0]["message"])
        admin.refuse_reload = False
        await look.page.get_by_role("button", name="Check", exact=True).click()
        await expect(verdict).to_contain_text("1 value would change:gateway.drain 30s → 5s")
        await reload.click()
        await expect(verdict).to_contain_text("Reloaded: 1 value changed.")
        await expect(look.page.locator(".yaml")).to_contain_text("token: '***'")
    assert [path for _, path, _ in admin.done] == [
        f"/api/v1/config/{what}" for what in ("reload", "check", "reload")
    ]


# --- Routes, transactions, traces


async def test_the_page_says_which_route_and_why(browser: Browser, url: str) -> None:
    async with looking(browser, url, READER, path="/routes") as look:
        await look.page.get_by_label("Identity").fill("HAM-1")
        await look.page.get_by_role("button", name="Which route?").click()
        await look.page.wait_for_url(f"{url}/routes?charger=HAM-1")
        await expect(look.page.locator(".test ~ [role=status]")).to_contain_text("But it is refused")
        await expect(look.page.locator(".page")).to_contain_text("everybody → cloud")
        await expect(look.page.locator(".passed li")).to_have_text(["berlin: charger: 'HAM-1' is not BER-*"])


async def test_a_central_system_is_taken_out_of_service_after_a_second_look(
    browser: Browser, admin: FakeAdmin, url: str
) -> None:
    async with looking(browser, url, OPERATOR, path="/routes") as look:
        systems = look.page.get_by_role("region", name="Central systems")
        cloud = systems.get_by_role("row", name="cloud")
        await expect(cloud.locator(".chip")).to_contain_text("up")
        await expect(cloud.get_by_role("button")).to_have_text(["Drain …", "Take out of service …"])
        await expect(systems.get_by_role("row", name="spare").locator(".chip")).to_contain_text(
            "in maintenance"
        )
        dialog = look.page.get_by_role("dialog")
        await cloud.get_by_role("button", name="Take out of service").click()
        await expect(dialog).to_contain_text("all connections are closed, and nothing goes there")
        await dialog.get_by_role("button", name="Cancel").click()
        await expect(dialog).to_be_hidden()
        assert admin.done == []

        await cloud.get_by_role("button", name="Drain").click()
        await dialog.get_by_role("button", name="Drain").click()
        await expect(cloud.locator(".chip")).to_contain_text("being drained")
        await cloud.get_by_role("button", name="Take out of service").click()
        await dialog.get_by_role("button", name="Take out of service").click()
        await expect(cloud.locator(".chip")).to_contain_text("in maintenance")
        await expect(cloud.get_by_role("button")).to_have_text(["Back in service …"])

        admin.refuse_upstream_state = True
        await cloud.get_by_role("button", name="Back in service").click()
        await dialog.get_by_role("button", name="Back in service").click()
        await expect(dialog.get_by_role("alert")).to_have_text("no central system is called 'cloud'")
        assert await look.what_axe_finds() == []
        assert look.complaints == []
    assert [(method, path, json.loads(body)) for method, path, body in admin.done] == [
        ("PUT", "/api/v1/upstreams/cloud/state", {"state": state}) for state in ("drain", "maint", "ready")
    ]


async def test_transactions_are_chosen_by_state_and_shown_with_both_numbers(
    browser: Browser, url: str
) -> None:
    async with looking(browser, url, READER, path="/transactions") as look:
        await look.page.get_by_role("button", name="open").click()
        await look.page.wait_for_url(f"{url}/transactions?state=open")
        await expect(rows(look.page)).to_have_count(3)
        await row(look.page, "04E91C01").click()
        await look.page.wait_for_url(f"{url}/transactions/BER-0001/4712?state=open")
        await expect(look.page.locator(".detail")).to_contain_text("Number at the central system4712")


async def test_a_trace_is_started_watched_and_deleted(browser: Browser, admin: FakeAdmin, url: str) -> None:
    async with looking(browser, url, OPERATOR, path="/traces") as look:
        await look.page.get_by_label("Filter").fill("charger:BER-0002")
        await look.page.get_by_role("button", name="Start a trace").click()
        begun = look.page.locator(".traces li").first
        await expect(begun).to_contain_text("charger:BER-0002●running")
        link = begun.get_by_role("link", name="Open OCPP Trace")
        assert await link.get_attribute("href") == "/api/v1/traces/2/download?format=oot"
        await begun.get_by_role("button", name="Delete").click()
        await expect(look.page.locator(".traces li")).to_have_count(1)


# --- What needs somebody


async def test_causes_come_before_charge_points_that_nobody_knows(
    browser: Browser, admin: FakeAdmin, url: str
) -> None:
    [one] = admin.overview["unknown"]
    admin.overview["unknown"] = [one | {"charger": f"EVIL-{number}-{'x' * 200}"} for number in range(50)]
    async with looking(browser, url, OPERATOR) as look:
        found = look.page.locator(".attention li")
        await expect(found).to_have_count(5)
        await expect(found.first).to_contain_text("old has been away for 10 minutes")
        await expect(found.nth(1).locator("strong")).to_have_text(f"EVIL-0-{'x' * 32}…")
        await expect(found.last).to_have_text("and 47 or more others that are not known")
        assert await look.is_too_wide() == []
        await found.last.get_by_role("link").click()
        await look.page.wait_for_url(f"{url}/chargers?state=unknown")


async def test_nobody_is_told_that_all_was_answered_when_calls_failed(
    browser: Browser, admin: FakeAdmin, url: str
) -> None:
    admin.overview |= {"attention": [], "unknown": []}
    async with looking(browser, url, READER) as look:
        await expect(look.page.get_by_role("link", name="26 calls failed in the last hour")).to_be_visible()
        await expect(look.page.locator("main")).not_to_contain_text("Everything that was asked was answered")
        admin.overview["calls"]["failures"] = {}
        await look.ask_again()
        await expect(look.page.locator("main")).to_contain_text("Everything that was asked was answered")


async def test_what_a_charge_point_calls_itself_turns_no_text_around(
    browser: Browser, admin: FakeAdmin, url: str
) -> None:
    [one] = admin.overview["unknown"]
    admin.overview["unknown"] = [one | {"charger": "127.0.0.1 \u202efrom"}]
    async with looking(browser, url, OPERATOR) as look:
        identity = look.page.locator(".attention strong").last
        assert await identity.evaluate("one => getComputedStyle(one).unicodeBidi") == "isolate"


async def test_of_many_problems_the_latest_are_drawn(browser: Browser, admin: FakeAdmin, url: str) -> None:
    one = admin.problems[0]
    admin.problems[:] = [one | {"charger": f"C{number}-{'x' * 300}"} for number in range(250)]
    async with looking(browser, url, READER, path="/problems", size=(360, 740)) as look:
        await expect(look.page.locator(".problems li")).to_have_count(200)
        await expect(look.page.locator("main")).to_contain_text("and 50 more causes")
        assert await look.is_too_wide() == []
        card = look.page.locator(".problems li").first
        assert await card.evaluate("one => one.scrollWidth <= one.clientWidth")


async def test_a_charge_point_is_disconnected_or_forgotten(
    browser: Browser, admin: FakeAdmin, url: str
) -> None:
    async with looking(browser, url, OPERATOR, path="/chargers/BER-0001") as look:
        await look.page.get_by_role("button", name="Disconnect …").click()
        asked = look.page.get_by_role("dialog")
        await expect(asked).to_contain_text("It may come back at once")
        assert admin.done == []
        await asked.get_by_role("button", name="Disconnect").click()
        await expect(asked).to_be_hidden()
        assert admin.done[-1][:2] == ("POST", "/api/v1/chargers/BER-0001/kick")
        await expect(look.page.get_by_role("button", name="Forget …")).to_have_count(0)


async def test_there_is_a_page_for_addresses_that_lead_nowhere(browser: Browser, url: str) -> None:
    async with looking(browser, url, READER) as look:
        await look.go("/bogus")
        await expect(look.page.get_by_role("heading", name="There is no such page")).to_be_visible()
        await look.page.get_by_role("link", name="To the overview", exact=True).click()
        await look.page.wait_for_selector(".tile")
        assert look.complaints == []


async def test_a_filter_in_force_stays_in_its_field(browser: Browser, url: str) -> None:
    async with looking(browser, url, READER, path="/messages?filter=charger:BER-*") as look:
        await expect(rows(look.page).first).to_be_visible()
        await look.page.keyboard.press("/")
        await look.page.keyboard.type("x")
        await look.page.keyboard.press("Escape")
        await expect(look.page.get_by_label("Filter", exact=True)).to_have_value("charger:BER-*")
        assert look.page.url.endswith("?filter=charger%3ABER-*")


# --- When the gateway is not there


async def test_a_gateway_that_is_gone_is_said_to_be_gone_and_what_was_seen_stays(browser: Browser) -> None:
    admin = a_busy_gateway()
    async with AsyncExitStack() as first, AsyncExitStack() as looks:
        url = await first.enter_async_context(serving(admin))
        look = await looks.enter_async_context(looking(browser, url, READER))
        await expect(look.page.locator(".tile").first).to_contain_text("412")
        await first.aclose()
        await look.ask_again()
        await expect(look.page.locator(".brand")).to_contain_text("no answer since")
        await expect(look.page.locator(".brand")).not_to_contain_text("ready")
        await expect(look.page.locator("html")).to_have_class("unanswered")
        await expect(look.page.locator(".tile").first).to_contain_text("412")
        async with serving(admin, port=int(url.rpartition(":")[2])):
            await look.ask_again()
            await expect(look.page.locator(".brand")).not_to_contain_text("no answer since")


# --- For everybody


async def test_every_page_keeps_to_wcag_in_both_themes(browser: Browser, admin: FakeAdmin, url: str) -> None:
    """Contrast, names, roles and order, as axe sees them; and nothing asks for anything elsewhere."""
    admin.refuse_reload = True
    async with looking(browser, url, size=SMALL) as look:
        await expect(look.page.get_by_label("Token")).to_be_visible()
        assert await look.what_axe_finds() == []
    async with looking(browser, url, ADMIN, size=SMALL) as look:
        for path, sign in PLACES.items():
            await look.go(path)
            await look.page.wait_for_selector(sign)
            assert (path, await look.what_axe_finds()) == (path, [])
            await look.page.evaluate("document.documentElement.dataset.theme = 'dark'")
            assert (path, await look.what_axe_finds("color-contrast")) == (path, [])
        await look.page.get_by_role("button", name="Reload", exact=True).click()
        await look.page.keyboard.press("?")
        await expect(look.page.get_by_role("dialog")).to_be_visible()
        assert await look.what_axe_finds() == []
        assert look.complaints == []
        assert look.elsewhere == []


@pytest.mark.parametrize("width", [320, 600, 761, 780, 800, 840, 880, 881, 1024])
async def test_every_page_fits_every_width(browser: Browser, url: str, width: int) -> None:
    async with looking(browser, url, ADMIN, size=(width, 740)) as look:
        for path, sign in PLACES.items():
            await look.go(path)
            await look.page.wait_for_selector(sign)
            assert (path, await look.is_too_wide()) == (path, [])


async def test_every_page_fits_a_telephone(browser: Browser, url: str) -> None:
    async with looking(browser, url, ADMIN, size=(360, 740)) as look:
        for path, sign in PLACES.items():
            await look.go(path)
            await look.page.wait_for_selector(sign)
            assert (path, await look.is_too_wide()) == (path, [])
        await look.go("/messages")
        await row(look.page, "BER-0002").first.click()
        await expect(look.page.locator(".rows")).to_be_hidden()
        await look.page.get_by_role("button", name="Back").click()
        await expect(look.page.locator(".rows")).to_be_visible()


async def test_light_and_dark_follow_the_system_until_somebody_switches(browser: Browser, url: str) -> None:
    async def ground(look: Looking) -> str:
        return str(await look.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    async with looking(browser, url, READER, theme="dark") as look:
        assert await ground(look) == "rgb(17, 23, 27)"
        await look.page.get_by_role("button", name="Theme: auto").click()
        assert await ground(look) == "rgb(244, 246, 247)"
        await look.page.reload()
        await expect(look.page.get_by_role("button", name="Theme: light")).to_be_visible()
        assert await ground(look) == "rgb(244, 246, 247)"

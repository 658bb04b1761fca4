"""``wattbridge call`` and ``wattbridge problems``, of a gateway that runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.admin import a_gateway
from tests.cli.test_main import run
from tests.fakes import (
    USUAL_ANSWERS,
    a_central_system,
    a_charge_point,
    from_header,
    http_response,
    post,
    soap_request,
    soap_result,
)

ACCEPTED = http_response(soap_result("resetResponse", "<cp:status>Accepted</cp:status>"))


async def test_a_charge_point_is_called_and_its_reply_printed(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_charge_point(ACCEPTED) as charge_point,
        a_gateway(tmp_path, central_system.url) as here,
    ):

        async def command(*arguments: str) -> tuple[int, str, str]:
            where = [
                "--admin",
                str(here.gateway.admin_address),
                "--token-file",
                str(tmp_path / "admin-token"),
            ]
            return await asyncio.to_thread(run, *arguments, *where)

        assert await command("problems") == (0, "no problems\n", "")
        assert await command("call", "CP1", "Reset", "type=Soft") == (
            1,
            "",
            "wattbridge: charge point 'CP1' has no session\n",
        )
        heartbeat = soap_request("Heartbeat", headers=from_header(charge_point.url))
        await post(here.gateway.addresses["field"], heartbeat)
        code, out, err = await command("call", "CP1", "Reset", "type=Soft")
        assert (code, json.loads(out), err) == (0, {"status": "Accepted"}, "")
        assert "Soft" in charge_point.requests.get_nowait()
        code, _, err = await command("call", "CP1", "Reset", "--payload", '{"type": "Hard"}', "type=Medium")
        assert (code, err[:60]) == (1, "wattbridge: Reset.type: 'Medium' is not one of 'Hard', 'Soft'"[:60])

        charge_point.answer = lambda _: http_response("<html>Login</html>", content_type="text/html")
        code, _, err = await command("call", "CP1", "Reset", "type=Soft")
        assert code == 1
        assert err.startswith("wattbridge: GenericError (malformed): answered HTTP 200 with an HTML page")
        code, out, _ = await command("problems", "--charger", "CP1")
        assert out.startswith("html-instead-of-soap  CP1  once, last 20")
        assert "\n  said: answered HTTP 200 with an HTML page: '<html>Login</html>'\n" in out
        assert "\n  do: Correct path and port of the callback address" in out
        [problem] = json.loads((await command("problems", "--json"))[1])
        assert problem["kind"] == "html-instead-of-soap"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Soft",), "'Soft': expected KEY=VALUE, such as type=Soft"),
        (("--payload", "[1]"), '--payload is no object such as {"type": "Soft"}'),
        (("--payload", "{"), "--payload is not JSON: "),
    ],
)
def test_what_is_no_payload_is_never_sent(arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run("call", "CP1", "Reset", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"wattbridge: {said}")


async def test_what_is_wrong_with_the_gateway_itself_is_a_problem_too(tmp_path: Path) -> None:
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(tmp_path, central_system.url) as here,
    ):
        here.file.write_text(here.file.read_text() + "lisseners: {}\n")
        assert (await here.ask("POST /config/reload")).status == 422
        token = ["--admin", str(here.gateway.admin_address), "--token-file", str(tmp_path / "admin-token")]
        code, out, err = await asyncio.to_thread(run, "problems", *token)
        assert (code, err) == (0, "")
        assert out.splitlines()[0] == "reload-failed"
        assert "the configuration has 1 error; the old configuration stays" in out
        assert "do: Correct the file" in out
        assert "no problems" not in out

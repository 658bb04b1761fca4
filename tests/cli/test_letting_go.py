"""Charge points of a running gateway, let go of, forgotten or listed; and the file for whoever helps."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path

from tests.admin import CONFIGURATION, a_gateway
from tests.cli.test_main import run
from tests.fakes import USUAL_ANSWERS, a_central_system, post, soap_request


async def test_a_charge_point_is_listed_let_go_of_and_forgotten(tmp_path: Path) -> None:
    text = CONFIGURATION.replace("gateway: {{", "gateway: {{unknown: accept, ")
    async with (
        a_central_system(USUAL_ANSWERS) as central_system,
        a_gateway(tmp_path, central_system.url, text=text) as here,
    ):
        token = str(tmp_path / "admin-token")
        where = ["--admin", str(here.gateway.admin_address), "--token-file", token]

        async def command(*arguments: str) -> tuple[int, str, str]:
            return await asyncio.to_thread(run, *arguments, *where)

        await post(here.gateway.addresses["field"], soap_request("Heartbeat", "CP9"))
        assert await command("chargers", "allow", "CP9") == (0, "chargers:\n  CP9: {}\n", "")
        assert await command("chargers", "forget", "CP9") == (
            1,
            "",
            "wattbridge: charge point 'CP9' is there: close its session first\n",
        )
        kicked = "ok: CP9 has no connection any more; it may come back\n"
        assert await command("chargers", "kick", "CP9") == (0, kicked, "")
        assert await command("chargers", "forget", "CP9") == (0, "ok: CP9 is forgotten\n", "")
        for what in ("kick", "forget"):
            code, out, err = await command("chargers", what, "CP9")
            assert (code, out, "'CP9'" in err) == (1, "", True)

        file = tmp_path / "support.zip"
        said = f"ok: {file}; look through it before you give it to somebody\n"
        assert await command("support-dump", str(file)) == (0, "", said)
        with zipfile.ZipFile(file) as archive:
            assert "wattbridge-support/overview.json" in archive.namelist()
        nowhere = str(tmp_path / "nowhere" / "support.zip")
        code, _, err = await command("support-dump", nowhere)
        assert (code, err) == (2, f"wattbridge: {nowhere}: no such file\n")
    code, _, err = await asyncio.to_thread(run, "support-dump", str(file), *where)
    assert (code, err.startswith("wattbridge: no gateway at ")) == (3, True)

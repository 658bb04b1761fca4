"""What charge points say of themselves never reaches a terminal as it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.admin import CONFIGURATION, a_gateway
from tests.cli.test_main import run
from tests.fakes import USUAL_ANSWERS, a_central_system, dial, handshake

IN_URL = "/ocpp/E%1b%5b31mRED%1b%5d0;pwn%07%E2%80%AE%0a2026-01-01%20%5berror%5d%20fake"
ACTION = "\x1b[31mAct\nion"
SHOWN = r"E\x1b[31mRED\x1b]0;pwn\x07\u202e"


async def test_no_list_has_a_sign_that_a_terminal_obeys(tmp_path: Path) -> None:
    text = CONFIGURATION.replace("chargers: {{", "chargers: {{LOUD: , ")
    async with (
        a_central_system(USUAL_ANSWERS | {ACTION: {}}) as central_system,
        a_gateway(tmp_path, central_system.url, text=text) as here,
    ):
        port = int(here.gateway.websocket_addresses["field"].split(":")[2].partition("/")[0])
        refused = await dial(port, handshake(IN_URL))
        assert refused.status == 404
        refused.hang_up()
        socket = await dial(port, handshake("/ocpp/LOUD"))
        said = {"chargePointVendor": "V\u009b2J", "chargePointModel": "M\u001b[2J"}
        await socket.call("1", "BootNotification", said)
        await socket.call("2", ACTION, {})
        where = ["--admin", str(here.gateway.admin_address), "--token-file", str(tmp_path / "admin-token")]
        told = {}
        for command in (
            ("problems",),
            ("problems", "--json"),
            ("chargers", "list"),
            ("chargers", "list", "--json"),
            ("chargers", "report"),
            ("chargers", "report", "LOUD"),
            ("trace",),
            ("trace", "--format", "text"),
        ):
            code, out, err = await asyncio.to_thread(run, *command, *where)
            assert (code, err) == (0, "")
            assert [c for c in out if not (c.isprintable() or c == "\n")] == [], command
            told[command] = out
        assert SHOWN in told["problems",]
        assert not any(line.startswith("2026-01-01") for line in told["problems",].splitlines())
        assert r"V\x9b2J" in told["chargers", "list"]
        assert r"\x1b[31mAct\nion" in told["trace",]
        socket.hang_up()

"""What is seen of a gateway besides its journal: charge points, certificates, the revision."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.config.certificates import write_certificates
from tests.fakes import USUAL_ANSWERS, a_central_system, get, post, soap_request
from tests.test_app import a_gateway, configuration
from wattbridge.config import read_text
from wattbridge.observing import REVISION_VARIABLE, certificate_files, expirations, revision


async def test_a_charge_point_is_told_of_by_name_where_that_is_wanted() -> None:
    async with a_central_system(USUAL_ANSWERS) as central_system:
        text = configuration(central_system.url, unknown="accept").replace(
            "metrics: {", "metrics: {per_charger: yes, max_chargers: 2, "
        )
        async with a_gateway(text) as world:
            await post(world.url, soap_request("BootNotification"))
            await post(world.url, soap_request("Heartbeat", identity="STRANGER"))
            page = (await get(f"{world.admin}/metrics/chargers")).body
            lines = [line for line in page.splitlines() if not line.startswith("#")]
            assert lines[:3] == [
                'wattbridge_charger_up{charger="CP1"} 1.0',
                'wattbridge_charger_up{charger="CP2"} 0.0',
                'wattbridge_charger_up{charger="_other"} 1.0',
            ]
            info = 'charger="CP1",firmware="",model="M",profile="",route="all",vendor="V"'
            assert f"wattbridge_charger_info{{{info}}} 1.0" in lines
            [heard] = [
                line for line in lines if line.startswith("wattbridge_charger_last_message") and "CP1" in line
            ]
            ago = datetime.now(UTC) - datetime.fromtimestamp(float(heard.partition("} ")[2]), UTC)
            assert timedelta(0) <= ago + timedelta(seconds=1)
            assert ago < timedelta(minutes=2)
            assert "STRANGER" not in page


async def test_charge_points_are_not_told_of_unless_that_is_wanted() -> None:
    async with a_gateway(configuration()) as world:
        assert (await get(f"{world.admin}/metrics/chargers")).status == 404


def test_every_certificate_of_the_configuration_has_a_name(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    files = "certificate: certs/gw.pem, key: certs/gw.key"
    listener = f"{files}, client_ca: certs/gw.pem, client_auth: optional"
    text = (
        f"listeners: {{soaps: {{bind: 127.0.0.1:0, tls: {{{listener}}}}}}}\n"
        f"upstreams: {{main: {{url: wss://csms.example.com/, tls: {{ca: certs/gw.pem, {files}}}}}}}\n"
        "callbacks: {tls: {ca: certs/gw.pem}}\n"
        f"admin: {{token: {{env: T}}, tls: {{{files}}}}}\n"
    )
    config = read_text(text, folder=tmp_path, env={"T": "correct horse battery staple"}).config
    assert [name for name, _ in certificate_files(config)] == [
        "listeners.soaps",
        "listeners.soaps.client_ca",
        "upstreams.main.ca",
        "upstreams.main.client",
        "callbacks.ca",
        "admin",
    ]
    assert set(expirations(config)) == {name for name, _ in certificate_files(config)}
    (tmp_path / "certs/gw.pem").unlink()
    assert expirations(config) == {}


def test_the_revision_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REVISION_VARIABLE, "3811bff")
    assert revision() == "3811bff"
    monkeypatch.delenv(REVISION_VARIABLE)
    assert revision() != ""

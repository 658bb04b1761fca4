"""The file for whoever helps: everything is in it, and nothing secret."""

from __future__ import annotations

import asyncio
import io
import json
import urllib.request
import zipfile
from pathlib import Path

from tests.admin import CONFIGURATION, TOKEN, Running, a_gateway
from tests.fakes import USUAL_ANSWERS, a_central_system, post, soap_request

NAMES = [
    "about.txt",
    "versions.json",
    "info.json",
    "overview.json",
    "problems.json",
    "configuration.yaml",
    "listeners.json",
    "upstreams.json",
    "routes.json",
    "certificates.json",
    "chargers.json",
    "metrics.txt",
    "failures.ndjson",
]
TAG = "<cs:idTag>04E91C5A</cs:idTag>"


def dump(here: Running) -> dict[str, str]:
    asked = urllib.request.Request(
        f"{here.gateway.admin_address}/api/v1/support-dump",
        b"",
        {"Authorization": f"Bearer {TOKEN}"},
        method="POST",
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/zip"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="wattbridge-support.zip"'
        archive = zipfile.ZipFile(io.BytesIO(answer.read()))
    texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert list(texts) == [f"wattbridge-support/{name}" for name in NAMES]
    return {name.partition("/")[2]: text for name, text in texts.items()}


async def test_it_tells_all_and_no_secret(tmp_path: Path) -> None:
    text = CONFIGURATION + 'store: {{url: "sqlite:///state.db", history: {{redact: []}}}}\n'
    async with a_central_system(USUAL_ANSWERS) as central_system:
        auth = "auth: {{basic: {{password: {{file: csms-password}}}}}}, connect"
        (tmp_path / "csms-password").write_text("open-sesame-now")
        text = text.replace("connect", auth, 1)
        async with a_gateway(tmp_path, central_system.url, text=text) as here:
            url = here.gateway.addresses["field"]
            await post(url, soap_request("Authorize", "CP1", inside=TAG))
            await post(url, soap_request("Authorize", "CP9", inside=TAG))  # nobody knows it: it fails
            files = await asyncio.to_thread(dump, here)
    assert [json.loads(line)["identity"] for line in files["failures.ndjson"].splitlines()] == ["CP9"]
    assert json.loads(files["problems.json"])[0]["kind"] == "unknown-charger"
    assert [row["charger"] for row in json.loads(files["chargers.json"])] == ["CP1", "CP2", "CP9", "EVB-1"]
    assert "wattbridge_calls_total" in files["metrics.txt"]
    assert "name: depot" in files["configuration.yaml"]
    together = "".join(files.values())
    for secret in (TOKEN, "04E91C5A", "open-sesame-now"):
        assert secret not in together


async def test_what_cannot_be_had_says_why_and_the_rest_is_there(tmp_path: Path) -> None:
    async with a_gateway(tmp_path, "ws://127.0.0.1:9/") as here:
        here.file.unlink()
        files = await asyncio.to_thread(dump, here)
    assert files["configuration.yaml"].startswith("could not be had: ")
    assert json.loads(files["info.json"])["name"] == "depot"

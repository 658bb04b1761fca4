"""The configuration is shown without its secrets, and another takes its place; by whoever read this one."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.admin import CONFIGURATION, TOKEN, a_gateway
from wattbridge.operation.api import hash_token

URL = "ws://127.0.0.1:9/"
SECRETS = """\
chargers:
  CP1: {{password: a-literal-secret}}
  CP2: {{password: {{file: admin-token}}}}
"""
WITH_SECRETS = CONFIGURATION.replace("chargers: {{CP1: , EVB-1: , CP2: }}\n", SECRETS)


async def test_what_counts_is_shown_without_secrets(tmp_path: Path) -> None:
    hashed = hash_token("another", b"0123456789abcdef")
    text = WITH_SECRETS + f"  tokens: {{{{depot: {{{{role: operate, hash: {hashed}}}}}}}}}\n"
    async with a_gateway(tmp_path, URL, text=text) as here:
        told = await here.get("/config")
        effective = told["effective"]
        assert effective["gateway"]["drain"] == "0s"
        assert effective["sessions"]["heartbeat"] == "5m"  # the file does not say so
        assert effective["chargers"] == {
            "CP1": {"password": "(a secret)"},
            "CP2": {"password": {"file": "admin-token"}},
        }
        assert effective["admin"]["tokens"] == {"depot": {"role": "operate", "hash": "(a secret)"}}
        assert yaml.safe_load(told["text"]) == effective
        for secret in (TOKEN, "a-literal-secret", hashed):
            assert secret not in json.dumps(told)
        # What is not read there any more is still what counts.
        here.file.write_text("{", encoding="utf-8")
        told = await here.get("/config")
        assert told["effective"]["chargers"]["CP2"] == {"password": "(a secret)"}


async def test_another_configuration_takes_its_place(tmp_path: Path) -> None:
    async with a_gateway(tmp_path, URL) as here:
        here.file.chmod(0o640)
        etag = (await here.get("/config"))["etag"]
        text = here.file.read_text().replace("drain: 0s", "drain: 1s")
        match = {"If-Match": etag}

        tried = await here.ask("PUT /config?dry_run=1", text, headers=match)
        assert tried.content == {
            "changed": ["gateway.drain: 0s → 1s"],
            "warnings": [],
            "moved": 0,
            "dry_run": True,
            "etag": etag,
        }
        assert here.gateway.config.gateway.drain == 0.0
        assert "drain: 0s" in here.file.read_text()

        done = await here.ask("PUT /config", text, headers=match)
        assert (done.content["changed"], done.content["dry_run"]) == (["gateway.drain: 0s → 1s"], False)
        assert here.gateway.config.gateway.drain == 1.0
        assert here.file.read_text() == text
        assert here.file.stat().st_mode & 0o777 == 0o640
        assert done.headers["ETag"] == (await here.get("/config"))["etag"] == done.content["etag"]

        # Whoever read the one before would undo what was done meanwhile.
        stale = await here.ask("PUT /config", text, headers=match)
        assert (stale.status, stale.content["title"]) == (
            412,
            "the configuration is another one by now: read it again",
        )
        assert [each["status"] for each in (await here.get("/audit"))["audit"]] == [412, 200, 200]


async def test_what_is_wrong_is_told_by_line_and_nothing_is_written(tmp_path: Path) -> None:
    async with a_gateway(tmp_path, URL) as here:
        before = here.file.read_text()
        match = {"If-Match": (await here.get("/config"))["etag"]}
        text = before.replace("drain: 0s", "drian: 0s")
        refused = await here.ask("PUT /config", text, headers=match)
        assert (refused.status, refused.content["title"]) == (422, "the configuration has 1 error")
        [error] = refused.content["errors"]
        assert (error["line"], error["path"]) == (1, "gateway.drian")
        hidden = before.replace("chargers: {CP1:", "chargers: {CP1: {password: (a secret)}, CP4:")
        refused = await here.ask("PUT /config", hidden, headers=match)
        assert refused.content["title"] == (
            "(a secret) stands where a secret belongs: write {env: NAME} or {file: path}"
        )
        assert here.file.read_text() == before


async def test_what_cannot_be_taken_over_is_put_back(tmp_path: Path) -> None:
    async with a_gateway(tmp_path, URL) as here:
        before = here.file.read_text()
        match = {"If-Match": (await here.get("/config"))["etag"]}
        text = before + "store: {url: memory}\n"
        refused = await here.ask("PUT /config", text, headers=match)
        assert (refused.status, refused.content["title"]) == (
            409,
            "store.url cannot change while the gateway runs: restart it",
        )
        assert here.file.read_text() == before
        assert not here.file.with_name(".gateway.yaml.new").exists()


async def test_a_link_stays_a_link(tmp_path: Path) -> None:
    async with a_gateway(tmp_path, URL) as here:
        real = tmp_path / "elsewhere.yaml"
        here.file.rename(real)
        here.file.symlink_to(real)
        match = {"If-Match": (await here.get("/config"))["etag"]}
        text = real.read_text().replace("drain: 0s", "drain: 1s")
        assert (await here.ask("PUT /config", text, headers=match)).status == 200
        assert here.file.is_symlink()
        assert real.read_text() == text


async def test_tokens_change_with_the_configuration(tmp_path: Path) -> None:
    async with a_gateway(tmp_path, URL) as here:
        text = here.file.read_text()
        hashed = hash_token("of-the-depot")
        tokens = f"  tokens: {{depot: {{role: operate, hash: '{hashed}'}}}}\n"
        here.file.write_text(text + tokens, encoding="utf-8")
        assert (await here.ask("GET /routes", token="of-the-depot")).status == 401
        assert (await here.ask("POST /config/reload")).status == 200
        assert (await here.ask("GET /routes", token="of-the-depot")).status == 200
        here.file.write_text(text, encoding="utf-8")
        assert (await here.ask("POST /config/reload")).status == 200
        assert (await here.ask("GET /routes", token="of-the-depot")).status == 401

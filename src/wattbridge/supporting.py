"""One file that tells whoever helps how a gateway is doing, without what is secret: ``support-dump``."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wattbridge.cli.version import versions
from wattbridge.operating import SECRETS
from wattbridge.operation.api import Refusal
from wattbridge.operation.trace import formats
from wattbridge.operation.trace.filter import outcome_of
from wattbridge.store.base import Exchange, NotKept

if TYPE_CHECKING:
    from wattbridge.administration import Administration
    from wattbridge.app import Gateway

MOST_FAILURES = 200
MOST_LOOKED_AT = 20_000  # exchanges, for those that failed
MOST_TEXT = 4_000_000  # characters of all of them
MOST_CHARGERS = 1000

ABOUT = """\
What a Wattbridge gateway told of itself when it was asked for this file.

Passwords, tokens and idTags are not in it, whatever its message history keeps. Identities and addresses of
charge points and central systems are: look through it before you give it to somebody.

about.txt            this text
versions.json        of Wattbridge, Python and the libraries it stands on
info.json            what runs, since when, where it listens
overview.json        how it is doing
problems.json        what goes wrong, by cause
configuration.yaml   every value that is in force
listeners.json, upstreams.json, routes.json, certificates.json
chargers.json        what is known of charge points, the first {chargers} of them
metrics.txt          what Prometheus would have got
failures.ndjson      the last {failures} exchanges that failed, with both encodings

What could not be had has its reason in it. The log is not in it: add what it says of the time in question.
"""


async def bundle(told: Administration, gateway: Gateway) -> bytes:
    """The file: a ZIP archive."""

    async def problems() -> Any:
        return told.list_problems("")

    async def listed(rows: Any) -> Any:
        return rows

    async def configuration() -> str:
        text: str = (await told.show_configuration())["text"]
        return text

    async def metrics() -> str:
        return gateway.metrics.page_for("")[0].decode()

    parts: dict[str, Callable[[], Awaitable[Any]]] = {
        "info.json": lambda: listed(told.info()),
        "overview.json": told.overview,
        "problems.json": problems,
        "configuration.yaml": configuration,
        "listeners.json": lambda: listed(told.list_listeners()),
        "upstreams.json": lambda: listed(told.list_upstreams()),
        "routes.json": lambda: listed(told.list_routes()),
        "certificates.json": told.list_certificates,
        "chargers.json": lambda: told.list_chargers("", MOST_CHARGERS),
        "metrics.txt": metrics,
        "failures.ndjson": lambda: _failures(gateway),
    }
    files = {
        "about.txt": ABOUT.format(chargers=MOST_CHARGERS, failures=MOST_FAILURES),
        "versions.json": _as_json(versions()),
    }
    for name, ask in parts.items():
        try:
            content = await ask()
        except (Refusal, NotKept) as problem:  # the rest is wanted all the more then
            content = f"could not be had: {problem}\n"
        files[name] = content if isinstance(content, str) else _as_json(content)
    return await asyncio.to_thread(_packed, files)


async def _failures(gateway: Gateway) -> str:
    """The newest last. Raises NotKept."""
    found: list[str] = []
    looked_at = length = 0
    async for page in gateway.history.before():
        for exchange in page:
            if outcome_of(exchange) == "failed":
                line = await asyncio.to_thread(_without_secrets, exchange)
                length += len(line)
                if len(found) == MOST_FAILURES or length > MOST_TEXT:
                    return "".join(reversed(found))
                found.append(f"{line}\n")
        looked_at += len(page)
        if looked_at >= MOST_LOOKED_AT:
            break
    return "".join(reversed(found))


def _without_secrets(exchange: Exchange) -> str:
    """The history blots out what the operator wants it to; this goes to others."""
    texts = [exchange.arrived, exchange.asked, exchange.answered, exchange.replied, exchange.notes]
    arrived, asked, answered, replied, notes = SECRETS.blot(texts)[0]
    return formats.ndjson(
        replace(exchange, arrived=arrived, asked=asked, answered=answered, replied=replied, notes=notes)
    )


def _as_json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _packed(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(f"wattbridge-support/{name}", text.encode("utf-8", "replace"))
    return packed.getvalue()

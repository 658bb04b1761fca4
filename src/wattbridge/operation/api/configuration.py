"""The configuration: what counts, what another one would change, and to go on with that."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from wattbridge.operation.api import models
from wattbridge.operation.api.pages import Page, Query, answered, flag, note_details
from wattbridge.operation.api.refusals import Refusal

LARGEST_CONFIGURATION = 16 * 1024 * 1024  # bytes
FLAG = {"type": "string", "enum": ["0", "1"]}


class Configuration(Protocol):
    async def show_configuration(self) -> dict[str, Any]: ...

    async def put_configuration(
        self, text: str, etag: str, *, dry_run: bool, move: bool
    ) -> dict[str, Any]: ...

    async def reload(self, *, move: bool) -> dict[str, Any]: ...

    async def check(self) -> dict[str, Any]: ...


def pages(gateway: Configuration) -> list[Page]:
    async def show(_: web.Request) -> web.Response:
        shown = await gateway.show_configuration()
        response = answered(shown)
        response.headers["ETag"] = shown["etag"]
        return response

    async def put(request: web.Request) -> web.Response:
        dry_run, move = flag(request, "dry_run"), flag(request, "move")
        etag = request.headers.get("If-Match", "")
        if not etag:
            raise Refusal(
                428, "malformed", "If-Match is missing: the ETag of what this is to take the place of"
            )
        try:
            text = (await _body(request)).decode()
        except UnicodeDecodeError:
            raise Refusal(400, "malformed", "the body is not UTF-8 text") from None
        done = await gateway.put_configuration(text, etag, dry_run=dry_run, move=move)
        note_details(request, {"changed": done["changed"]})
        response = answered(done)
        response.headers["ETag"] = done["etag"]
        return response

    async def reload(request: web.Request) -> web.Response:
        done = await gateway.reload(move=flag(request, "move"))
        note_details(request, {"changed": done["changed"]})
        return answered(done)

    async def check(_: web.Request) -> web.Response:
        return answered(await gateway.check())

    move = Query("move", "whether sessions go where their routes now lead", FLAG)
    return [
        Page(
            *("GET", "/config", "read", show, "the configuration that counts, without secrets"),
            gives=models.Configuration,
        ),
        Page(
            *("PUT", "/config", "admin", put, "write another configuration and go on with it"),
            query=(Query("dry_run", "whether it is only checked", FLAG), move),
            headers=(Query("If-Match", "the ETag of what it takes the place of", required=True),),
            gives=models.Put,
            refuses=(409, 412, 422, 428),
            takes_media_type="application/yaml",
        ),
        Page(
            *("POST", "/config/check", "read", check, "what a reload would change, or what is wrong"),
            gives=models.Reloaded,
            refuses=(409, 422),
        ),
        Page(
            *("POST", "/config/reload", "admin", reload, "read the configuration again and go on with it"),
            query=(move,),
            gives=models.Reloaded,
            refuses=(409, 422),
        ),
    ]


async def _body(request: web.Request) -> bytes:
    """The body, which may be larger than those of other requests. Raises Refusal."""
    found = bytearray()
    async for chunk in request.content.iter_any():
        found += chunk
        if len(found) > LARGEST_CONFIGURATION:
            raise Refusal(413, "too_large", f"the body is larger than {LARGEST_CONFIGURATION >> 20} MiB")
    return bytes(found)

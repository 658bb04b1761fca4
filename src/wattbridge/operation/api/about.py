"""What runs here, and how it is doing."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from wattbridge.operation.api import models
from wattbridge.operation.api.pages import WHO, Page, Query, answered, asked, note_details
from wattbridge.relay.duty import State

ZIP = "application/zip"


class About(Protocol):
    def info(self) -> dict[str, Any]: ...

    async def overview(self) -> dict[str, Any]: ...

    def list_listeners(self) -> list[dict[str, Any]]: ...

    def list_upstreams(self) -> list[dict[str, Any]]: ...

    def set_upstream_state(self, name: str, state: State, who: str) -> dict[str, Any]: ...

    def list_profiles(self) -> list[dict[str, Any]]: ...

    async def list_certificates(self) -> list[dict[str, Any]]: ...

    def list_problems(self, charger: str) -> list[dict[str, Any]]: ...

    async def support_dump(self) -> bytes: ...


def pages(gateway: About) -> list[Page]:
    async def info(_: web.Request) -> web.Response:
        return answered(gateway.info())

    async def overview(_: web.Request) -> web.Response:
        return answered(await gateway.overview())

    async def listeners(_: web.Request) -> web.Response:
        return answered({"listeners": gateway.list_listeners()})

    async def upstreams(_: web.Request) -> web.Response:
        return answered({"upstreams": gateway.list_upstreams()})

    async def upstream_state(request: web.Request) -> web.Response:
        wanted = await asked(request, models.UpstreamOrder)
        note_details(request, {"state": wanted.state})
        name, who = request.match_info["upstream"], request[WHO].name
        return answered(gateway.set_upstream_state(name, wanted.state, who))

    async def profiles(_: web.Request) -> web.Response:
        return answered({"profiles": gateway.list_profiles()})

    async def certificates(_: web.Request) -> web.Response:
        return answered({"certificates": await gateway.list_certificates()})

    async def problems(request: web.Request) -> web.Response:
        return answered({"problems": gateway.list_problems(request.query.get("charger", ""))})

    async def support_dump(_: web.Request) -> web.Response:
        headers = {"Content-Disposition": 'attachment; filename="wattbridge-support.zip"'}
        return web.Response(body=await gateway.support_dump(), content_type=ZIP, headers=headers)

    return [
        Page("GET", "/info", "read", info, "what runs, since when, where it listens", gives=models.Info),
        Page("GET", "/overview", "read", overview, "how all of it is doing", gives=models.Overview),
        Page(
            *("GET", "/listeners", "read", listeners, "where charge points come in"), gives=models.Listeners
        ),
        Page("GET", "/upstreams", "read", upstreams, "the central systems", gives=models.Upstreams),
        Page(
            *("PUT", "/upstreams/{upstream}/state", "operate", upstream_state),
            "take a central system out of service, and back, until the gateway is restarted",
            takes=models.UpstreamOrder,
            gives=models.Upstream,
            refuses=(404,),
        ),
        Page("GET", "/profiles", "read", profiles, "the vendor profiles", gives=models.Profiles),
        Page(
            *("GET", "/certificates", "read", certificates, "until when certificates are valid"),
            gives=models.Certificates,
        ),
        Page(
            *("GET", "/problems", "read", problems, "what goes wrong, by cause, and what to do about it"),
            query=(Query("charger", "only those of this charge point"),),
            gives=models.Problems,
        ),
        Page(
            *(
                "POST",
                "/support-dump",
                "operate",
                support_dump,
                "one file for whoever helps, without secrets",
            ),
            media_type=ZIP,
        ),
    ]

"""The levels of the loggers, which can be changed for a while."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from wattbridge.ocpp.times import date_time_text
from wattbridge.operation import logs
from wattbridge.operation.api import models
from wattbridge.operation.api.pages import Page, answered, asked, note_details
from wattbridge.operation.api.refusals import Refusal, malformed

USUAL_TIME = "10m"
_DURATION = re.compile(r"([0-9]{1,6})(s|m|h)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def pages() -> list[Page]:
    async def loggers(_: web.Request) -> web.Response:
        return answered({"loggers": [_told(logger) for logger in logs.list_loggers()]})

    async def set_level(request: web.Request) -> web.Response:
        wanted = await asked(request, models.Level)
        note_details(request, {"level": wanted.level, "for": wanted.for_})
        name, seconds = request.match_info["name"], _seconds(wanted.for_ or USUAL_TIME)
        try:
            return answered(_told(logs.set_level(name, wanted.level, seconds)))
        except LookupError as problem:
            raise Refusal(404, "unsupported", str(problem.args[0])) from None
        except ValueError as problem:
            raise malformed(str(problem)) from None

    async def reset(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        logs.reset_level(name)
        for logger in logs.list_loggers():
            if logger.name == name:
                return answered(_told(logger))
        raise Refusal(404, "unsupported", f"there is no logger {name!r}")

    one = "/loggers/{name}"
    return [
        Page(*("GET", "/loggers", "admin", loggers, "the loggers, with their levels"), gives=models.Loggers),
        Page(
            *("PUT", one, "admin", set_level, "change the level of one for a while"),
            takes=models.Level,
            gives=models.Logger,
            refuses=(404,),
        ),
        Page(
            *("DELETE", one, "admin", reset, "go back to its usual level"),
            gives=models.Logger,
            refuses=(404,),
        ),
    ]


def _told(logger: logs.LoggerLevel) -> dict[str, Any]:
    reverts = None if logger.reverts is None else date_time_text(logger.reverts, milliseconds=True)
    return {"name": logger.name, "level": logger.level, "usual": logger.usual, "reverts": reverts}


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise malformed(f"for: found {text[:60]!r}, expected a duration such as 30s, 10m, 1h")
    return float(match[1]) * _SECONDS[match[2]]

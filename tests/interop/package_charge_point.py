"""The charge point of the ``ocpp`` package, which holds every message against the published schemas."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from ocpp.charge_point import camel_to_snake_case, snake_to_camel_case
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.interop.operations import ASKED_OF_THE_CHARGE_POINT, Payload
from wattbridge.simulators.frames import floats


def _answer_to(action: str) -> Callable[..., Any]:
    def answer(self: Any, **payload: Any) -> Any:
        self.received.append((action, decimals(snake_to_camel_case(payload))))
        return getattr(call_result, action)(**camel_to_snake_case(floats(self.told)))

    answer.__name__ = f"on_{action}"  # the package finds its handlers by their names
    return on(action)(answer)  # type: ignore[no-any-return]


class PackageChargePoint(ChargePoint):  # type: ignore[misc]
    """Answers ``told`` to every action; ``received`` are those that came."""

    told: Payload

    def __init__(self, identity: str, connection: Any) -> None:
        self.received: list[tuple[str, Payload]] = []
        super().__init__(identity, connection, response_timeout=5)

    async def ask(self, action: str, payload: Payload) -> Payload:
        """The payload of the result. Raises OCPPError for a CALLERROR, and when a schema is broken."""
        asked = getattr(call, action)(**camel_to_snake_case(floats(payload)))
        result = await self.call(asked, suppress=False)
        given = {name: value for name, value in asdict(result).items() if value is not None}
        answered: Payload = decimals(snake_to_camel_case(given))
        return answered


for _action in ASKED_OF_THE_CHARGE_POINT:
    setattr(PackageChargePoint, f"on_{_action}", _answer_to(_action))


@asynccontextmanager
async def a_package_charge_point(identity: str, url: str) -> AsyncIterator[PackageChargePoint]:
    """One that is connected at ``{url}/{identity}``."""
    address = f"{url}/{urllib.parse.quote(identity, safe='')}"
    async with (
        connect(address, subprotocols=[Subprotocol("ocpp1.6")], proxy=None) as socket,
        asyncio.TaskGroup() as tasks,
    ):
        assert socket.subprotocol == "ocpp1.6"
        charge_point = PackageChargePoint(identity, socket)
        tasks.create_task(_listen(charge_point))
        yield charge_point
        await socket.close()


async def _listen(charge_point: PackageChargePoint) -> None:
    with suppress(ConnectionClosed):
        await charge_point.start()


def decimals(value: Any) -> Any:
    """Every float the number it was written as."""
    if isinstance(value, dict):
        return {name: decimals(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [decimals(inner) for inner in value]
    return Decimal(repr(value)) if isinstance(value, float) else value

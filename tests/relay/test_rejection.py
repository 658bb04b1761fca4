"""A charge point that its route rejects is told so, in the words the route has."""

from __future__ import annotations

import asyncio

from wattbridge.ocpp.messages import Call, CallError, CallResult
from wattbridge.relay.rejection import Rejection
from wattbridge.relay.routes import Reject
from wattbridge.relay.session import Answer

REJECT = Reject("Pending", 600, "SecurityError", "not known here")


async def test_a_boot_notification_gets_the_status_of_the_route() -> None:
    rejection = Rejection(REJECT, wall_clock=lambda: 1_714_557_600.0)
    assert await rejection.call(Call("BootNotification", {"chargePointVendor": "ACME"})) == Answer(
        CallResult({"status": "Pending", "currentTime": "2024-05-01T10:00:00Z", "interval": 600}), None, None
    )


async def test_everything_else_gets_its_error() -> None:
    answer = await Rejection(REJECT).call(Call("Heartbeat", {}))
    assert answer == Answer(CallError("SecurityError", "not known here", reason="rejected"), None, None)


async def test_it_stands_there_until_it_is_closed() -> None:
    rejection = Rejection(REJECT)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(rejection.run())
        await asyncio.sleep(0)
        assert not running.done()
        await rejection.close("the charge point has gone")

"""A charge point that speaks OCPP-S: zeep speaks for it, and http.server listens."""

from __future__ import annotations

import functools
import os
import urllib.parse
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from wattbridge.simulators.charge_point import ChargePoint, Payload, local_time
from wattbridge.simulators.dialects import Version
from wattbridge.simulators.outcomes import Unanswered

if TYPE_CHECKING:
    from wattbridge.simulators.soap_by_zeep import Callbacks, Caller


class SoapChargePoint(ChargePoint):
    """One simulated charge point of OCPP ``version``.

    ``central_system_url`` is where CentralSystemService is, ``callback_host`` the address it listens on;
    ``callback_url`` is known once it is started. ``password`` is for HTTP Basic authentication, ``ca_file``
    names the authorities that an https central system is trusted by. ``call_timeout`` is in seconds, for each
    call.
    """

    probes = True

    def __init__(
        self,
        identity: str,
        central_system_url: str,
        callback_host: str = "127.0.0.1",
        *,
        password: str | bytes | None = None,
        ca_file: str | None = None,
        vendor: str = "ACME",
        model: str = "CC-1",
        firmware_version: str = "1.3",
        connectors: int = 2,
        call_timeout: float = 30.0,
        now: Callable[[], datetime] = local_time,
        version: Version = "1.6",
    ) -> None:
        super().__init__(
            identity,
            vendor=vendor,
            model=model,
            firmware_version=firmware_version,
            connectors=connectors,
            now=now,
            version=version,
        )
        self.central_system_url = central_system_url
        self.callback_host = callback_host
        self.callback_url = ""
        self.password = password
        self.ca_file = ca_file
        self.call_timeout = call_timeout
        self._caller: Caller | None = None
        self._callbacks: Callbacks | None = None

    async def post(self, action: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        """Post bytes as they are, for requests that no stack would write.

        Returns status and body of the response; raises Unanswered when none came.
        """
        return await self._in_mouth(self._post, action, body, headers)

    def _post(self, action: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        assert self._caller is not None
        return self._timed(action, functools.partial(self._caller.post, action, body, headers))

    def _connect(self) -> None:
        # Imported when it is needed, and not in the event loop's thread: zeep takes its time.
        from wattbridge.simulators.soap_by_zeep import Callbacks, Caller

        path = f"/ocpp/{urllib.parse.quote(self.identity, safe='')}"
        try:
            self._callbacks = Callbacks(
                self.identity,
                self.callback_host,
                path,
                self._answer_call,
                self.problems,
                version=self.dialect.version,
            )
        except OSError as problem:
            reason = str(problem) if problem.errno is None else os.strerror(problem.errno)
            raise Unanswered(f"cannot listen at {self.callback_host}: {reason}") from None
        self.callback_url = self._callbacks.url
        self._caller = Caller(
            self.identity,
            self.central_system_url,
            self.callback_url,
            self.problems,
            timeout=self.call_timeout,
            password=self.password,
            ca_file=self.ca_file,
            version=self.dialect.version,
        )

    def _disconnect(self) -> None:
        if self._callbacks is not None:
            self._callbacks.close()
        if self._caller is not None:
            self._caller.close()

    def _ask(self, action: str, payload: Payload) -> Payload:
        assert self._caller is not None  # the mouth opens after _connect
        return self._caller.call(action, payload)

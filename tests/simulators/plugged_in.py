"""The simulated charge point with a plain WebSocket for a transport: straight into the JSON central system,
nothing in between.
"""

from __future__ import annotations

import json
import queue
import threading
import uuid
from typing import Any

from websockets import ConnectionClosed, Subprotocol
from websockets.sync.client import ClientConnection, connect

from wattbridge.simulators.charge_point import ChargePoint, Payload, local_time
from wattbridge.simulators.outcomes import Refused, Unanswered


class PluggedIn(ChargePoint):
    def __init__(self, identity: str, url: str, call_timeout: float = 5.0) -> None:
        super().__init__(
            identity, vendor="ACME", model="CC-1", firmware_version="1.3", connectors=2, now=local_time
        )
        self.url = url
        self.call_timeout = call_timeout
        self._replies: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        self._socket: ClientConnection | None = None
        self._listener: threading.Thread | None = None

    def _connect(self) -> None:
        self._socket = connect(
            f"{self.url}/{self.identity}", subprotocols=[Subprotocol("ocpp1.6")], proxy=None
        ).__enter__()
        self._listener = threading.Thread(target=self._listen, args=(self._socket,))
        self._listener.start()

    def _disconnect(self) -> None:
        assert self._socket is not None
        assert self._listener is not None
        self._socket.close()
        self._listener.join()

    def _listen(self, socket: ClientConnection) -> None:
        for text in socket:
            frame = json.loads(text)
            if frame[0] == 2:
                try:
                    reply = [3, frame[1], self._answer(frame[2], frame[3])]
                except Refused as refused:
                    reply = [4, frame[1], "GenericError", refused.reason, {}]
                socket.send(json.dumps(reply, default=float))
            else:
                self._replies.put(frame)

    def _ask(self, action: str, payload: Payload) -> Payload:
        assert self._socket is not None
        given = {name: value for name, value in payload.items() if value is not None}
        try:
            self._socket.send(json.dumps([2, str(uuid.uuid4()), action, given]))
            frame = self._replies.get(timeout=self.call_timeout)
        except (queue.Empty, ConnectionClosed):
            raise Unanswered(f"{action}: no answer") from None
        if frame[0] == 4:
            raise Refused("Receiver", frame[2], frame[3])
        answer: Payload = frame[2]
        return answer

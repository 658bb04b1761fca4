"""Central systems as the configuration describes them: one object each, shared by the links of all sessions."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from urllib.parse import urlsplit

from wattbridge.config import Tls, Upstream
from wattbridge.links import tls
from wattbridge.links.central_system_json import Backoff, CentralSystem, CentralSystemJson, LinkState, Pacer
from wattbridge.links.json_link import JsonLimits
from wattbridge.ocpp.actions import Dialect, JsonCodec
from wattbridge.ocpp.messages import Side
from wattbridge.relay.journal import Journal
from wattbridge.relay.registry import CentralSystemLink
from wattbridge.relay.session import Relays

CLOSE_WAIT = 10.0  # seconds that what is in flight may take when a link is closed, within gateway.drain


def client_tls(section: Tls) -> ssl.SSLContext:
    """The TLS context that a section describes. Raises OSError when a file cannot be used."""
    return tls.client_context(
        section.ca, verify=section.verify, certificate=section.certificate, key=section.key
    )


def reload_client_tls(context: ssl.SSLContext, section: Tls) -> None:
    """Load the files of a section again. Raises OSError; the context is as it was then."""
    tls.reload(context, certificate=section.certificate, key=section.key, ca=section.ca)


class JsonUpstream:
    """A central system that speaks OCPP-J: one pace for all its links, one TLS context.

    ``section`` is what the configuration says of it.
    """

    def __init__(self, name: str, section: Upstream, drain: float) -> None:
        basic = section.auth.basic if section.auth else None
        connect, ping = section.connect, section.ping
        secure = urlsplit(section.url).scheme == "wss"
        self.section = section
        self.drain = drain
        self.tls = client_tls(section.tls) if secure else None
        self._pacer = Pacer(connect.rate)
        password = basic.password.get_secret_value().encode() if basic and basic.password else None
        self._central_system = CentralSystem(
            url=section.url,
            name=name,
            username=basic.username if basic else "{charger}",
            password=password,
            tls=self.tls,
            subprotocol=section.subprotocol,
            user_agent=f"wattbridge/{version('wattbridge')}",
            open_timeout=connect.timeout,
            connect_wait=connect.timeout,
            backoff=Backoff(connect.backoff.first, connect.backoff.max, connect.backoff.jitter),
            ping_interval=ping.every or None,
            ping_timeout=ping.timeout,
            compression=section.compression,
            max_size=section.max_frame,
            limits=JsonLimits(call_timeout=section.call_timeout, close_wait=min(CLOSE_WAIT, drain)),
        )

    def link(
        self,
        session: Relays,
        dialect: Dialect,
        journal: Journal,
        password: bytes | None,
        on_state: Callable[[LinkState], None],
    ) -> CentralSystemLink:
        """The link of one charge point; *password* is its own, where it has one."""
        central_system = self._central_system
        if password is not None:
            central_system = replace(central_system, password=password)
        codec = JsonCodec(dialect, Side.CENTRAL_SYSTEM)
        return CentralSystemJson(session, codec, journal, central_system, self._pacer, on_state=on_state)

"""Central systems as the configuration describes them: one object each, shared by all sessions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from urllib.parse import urlsplit

from wattbridge.config import Tls, Upstream
from wattbridge.links import tls
from wattbridge.links.central_system_json import Backoff, CentralSystem, CentralSystemJson, LinkState
from wattbridge.links.central_system_soap import CentralSystemSoap, SoapCentralSystem, SoapLimits
from wattbridge.links.http_client import KeptClient, SharedProbe, tcp_reachable
from wattbridge.links.json_link import JsonLimits
from wattbridge.ocpp.actions import Dialect, JsonCodec
from wattbridge.ocpp.messages import Side
from wattbridge.relay.duty import Duty
from wattbridge.relay.failover import WatchedLink
from wattbridge.relay.journal import Journal
from wattbridge.relay.pace import Pacer
from wattbridge.relay.session import Relays

CLOSE_WAIT = 10.0  # seconds that what is in flight may take when a link is closed, within gateway.drain


def client_tls(section: Tls) -> tls.Context:
    """The TLS context that a section describes. Raises OSError when a file cannot be used."""
    return tls.client_context(
        section.ca, verify=section.verify, certificate=section.certificate, key=section.key
    )


def reload_client_tls(context: tls.Context, section: Tls) -> None:
    """Load certificate and key of a section again. Raises OSError; the context is as it was then."""
    if section.certificate is not None:
        tls.reload(context, certificate=section.certificate, key=section.key)


class JsonUpstream:
    """A central system that speaks OCPP-J: one pace for all its links, one TLS context.

    ``section`` is what the configuration says of it.
    """

    def __init__(self, name: str, section: Upstream, drain: float, public_url: str) -> None:
        basic = section.auth.basic if section.auth else None
        connect, ping = section.connect, section.ping
        secure = urlsplit(section.url).scheme == "wss"
        self.section = section
        self.drain = drain
        self.public_url = public_url
        self.trusts = tls.contents(section.tls.ca)
        self.tls = client_tls(section.tls) if secure else None
        self._probe = _probe(section, self.tls)
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
        duty: Duty,
        *,
        mirror: bool = False,
    ) -> WatchedLink:
        """The link of one charge point; *password* is its own, where it has one.

        A mirror is connected like any other; it is the session that lets it have no say.
        """
        central_system = self._central_system
        if password is not None:
            central_system = replace(central_system, password=password)
        codec = JsonCodec(dialect, Side.CENTRAL_SYSTEM)
        return CentralSystemJson(
            session, codec, journal, central_system, self._pacer, duty=duty, on_state=on_state
        )

    async def reachable(self) -> bool:
        """Whether a connection to it can be made now, or could a moment ago."""
        return await self._probe()


class SoapUpstream:
    """A central system that speaks OCPP-S: one pool of connections for all its links, one TLS context.

    *public_url* is how it reaches the gateway, where the section does not say it.
    """

    def __init__(self, name: str, section: Upstream, drain: float, public_url: str) -> None:
        basic = section.auth.basic if section.auth else None
        soap = section.soap
        secure = urlsplit(section.url).scheme == "https"
        self.section = section
        self.drain = drain
        self.public_url = public_url
        self.trusts = tls.contents(section.tls.ca)
        self.tls = client_tls(section.tls) if secure else None
        password = basic.password.get_secret_value().encode() if basic and basic.password else None
        self._client = KeptClient(
            connections=soap.connections,
            timeout=section.call_timeout,
            waiting=section.call_timeout,
            connect_timeout=section.connect.timeout,
            tls=self.tls,
        )
        self._central_system = SoapCentralSystem(
            url=section.url,
            callback_url=soap.callback_url or f"{public_url.rstrip('/')}{soap.callback_path}",
            name=name,
            to=soap.to or "",
            username=basic.username if basic else "{charger}",
            password=password,
            ocpp=soap.ocpp,
            version=soap.version,
            addressing=soap.addressing,
            from_header=soap.from_header,
            must_understand=soap.must_understand,
            compression=section.compression,
            probe_every=section.probe.every,
            limits=SoapLimits(close_wait=min(CLOSE_WAIT, drain)),
        )
        self._probe = _probe(section, self.tls)

    def link(
        self,
        session: Relays,
        dialect: Dialect,
        journal: Journal,
        password: bytes | None,
        on_state: Callable[[LinkState], None],
        duty: Duty,
        *,
        mirror: bool = False,
    ) -> WatchedLink:
        """The link of one charge point; *password* is its own, where it has one.

        A mirror is not told where the charge point could be called.
        """
        central_system = self._central_system
        if password is not None:
            central_system = replace(central_system, password=password)
        if mirror:
            central_system = replace(central_system, from_header=False)
        return CentralSystemSoap(
            session,
            dialect,
            journal,
            central_system,
            self._client,
            duty=duty,
            reachable=self.reachable,
            on_state=on_state,
        )

    @property
    def is_in_use(self) -> bool:
        """Whether a connection to it is open."""
        return self._client.is_in_use

    async def close(self) -> None:
        """End what is under way, for good."""
        await self._client.close()

    async def reachable(self) -> bool:
        """Whether a connection to it can be made now, or could a moment ago."""
        return await self._probe()


UpstreamParty = JsonUpstream | SoapUpstream


def same(known: UpstreamParty, section: Upstream, drain: float, public_url: str) -> bool:
    """Whether *known* is what would be built. Raises OSError. Certificates are not looked at, but for those
    of the authorities it trusts: they can be loaded again in place."""
    if (known.section, known.drain, known.public_url) != (section, drain, public_url):
        return False
    return known.trusts == tls.contents(section.tls.ca)


def upstream(name: str, section: Upstream, drain: float, public_url: str) -> UpstreamParty:
    """Build the central system that *section* describes. Raises OSError when a file of it cannot be used."""
    if section.protocol == "ocpp-soap":
        return SoapUpstream(name, section, drain, public_url)
    return JsonUpstream(name, section, drain, public_url)


def _probe(section: Upstream, context: tls.Context | None) -> SharedProbe:
    # A name of the charge point in the URL says nothing of the server.
    url = section.url.replace("{charger}", "probe")
    probe = section.probe
    return SharedProbe(partial(tcp_reachable, url, context, probe.timeout), every=probe.every)

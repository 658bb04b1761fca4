"""What one configuration says of charge points and central systems, built: who may come in, which way it goes,
and how each central system is reached. A reload builds another fleet; sessions keep what they were given.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version

from wattbridge.config import Basic, Config, Upstream
from wattbridge.config.values import read_identity
from wattbridge.links.central_system_json import Backoff, CentralSystem, CentralSystemJson, LinkState, Pacer
from wattbridge.links.charge_points import ChargePoint
from wattbridge.links.json_link import JsonLimits
from wattbridge.ocpp.actions import Dialect, JsonCodec, dialect
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Side
from wattbridge.ocpp.payloads import Options
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.mirror import Bystander, Mirror, Mirrored
from wattbridge.relay.registry import CentralSystemLink
from wattbridge.relay.rejection import Rejection
from wattbridge.relay.routes import Heard, Route
from wattbridge.relay.session import Relays, Session
from wattbridge.routing import routes_of


class Counts:
    """What the gauges count across all fleets: links by upstream and state, copies that wait for mirrors."""

    def __init__(self) -> None:
        self.links: Counter[tuple[str, str]] = Counter()
        self.waiting_for_mirrors = 0

    def link(self, upstream: str) -> Callable[[LinkState], None]:
        """Count one more link to *upstream*; what is returned is told how its state changes."""
        counted: LinkState = "connecting"
        self.links[upstream, counted] += 1

        def changed(state: LinkState) -> None:
            nonlocal counted
            self.links[upstream, counted] -= 1
            if state != "closed":
                self.links[upstream, state] += 1
            counted = state

        return changed

    def mirror(self, change: int) -> None:
        self.waiting_for_mirrors += change


@dataclass(frozen=True, slots=True)
class Way:
    """The way of one session: the route that was chosen by one fleet, and the link it led to."""

    link: CentralSystemLink
    route: Route
    fleet: Fleet

    def leads(self, heard: Heard) -> bool:
        return self.fleet.route_of(heard) is self.route


class Fleet:
    """Built from *config*. Central systems that *earlier* has and that are the same stay as they are."""

    def __init__(
        self, config: Config, journal: Journal, counts: Counts, earlier: Fleet | None = None
    ) -> None:
        self.config = config
        self.routes = routes_of(config)
        self._journal = journal
        self._counts = counts
        self.usual = self._dialect(config.time.zone.key)
        self._some_require_subprotocol = any(route.subprotocol_required for route in self.routes.routes)
        self.upstreams: dict[str, JsonUpstream] = {}
        for name, section in config.upstreams.items():
            known = earlier.upstreams.get(name) if earlier else None
            if known is not None and known.section == section and known.drain == config.gateway.drain:
                self.upstreams[name] = known
            else:
                self.upstreams[name] = JsonUpstream(name, section, config.gateway.drain)
        self.listed = {identity: self._charge_point(identity) for identity in config.chargers}
        self._unlisted = self._charge_point("")

    # --- who comes in ---

    def admit(self, identity: str, source: str, listener: str) -> ChargePoint | None:
        """What is configured for a charge point; None when it is not to be served."""
        known = self.listed.get(identity)
        if known is None:
            try:
                read_identity(identity)  # whoever is not listed still has to be one that could be
            except ValueError:
                return None
            heard = Heard(identity, source, listener, known=False)
            if self.config.gateway.unknown == "refuse" and not self.routes.admits_unknown(heard):
                return None
            known = self._unlisted
        if self._some_require_subprotocol:
            route = self.route_of(Heard(identity, source, listener))
            return replace(known, subprotocol_required=route.subprotocol_required)
        return known

    def _charge_point(self, identity: str) -> ChargePoint:
        config = self.config
        known = config.chargers.get(identity)
        password = known.password if known else None
        ping = config.ping_of(identity)
        return ChargePoint(
            self._dialect(config.zone_of(identity).key),
            callback_url=known.callback_url if known else None,
            to=known.to if known else None,
            password=password.get_secret_value().encode() if password else None,
            ping_interval=ping.every or None,
            ping_timeout=ping.timeout,
            unanswered=config.websocket.unanswered,
        )

    def _dialect(self, zone: str, celsius: str = "Celsius") -> Dialect:
        return dialect("1.6", Options(zone=zone, milliseconds=self.config.time.milliseconds, celsius=celsius))

    # --- which way it goes ---

    def known(self, heard: Heard) -> Heard:
        """*heard*, and whether it is listed."""
        return replace(heard, known=heard.identity in self.listed)

    def route_of(self, heard: Heard) -> Route:
        return self.routes.choose(self.known(heard))

    def leads(self, way: Way, heard: Heard) -> bool:
        """Whether *way*, of this fleet or an earlier one, leads where this one would send the charge point."""
        route = self.route_of(heard)
        if way.fleet is self or route != way.route:
            return route is way.route
        names = (route.upstream, route.fallback, *route.mirrors)
        same = way.fleet.upstreams
        return all(self.upstreams[name] is same.get(name) for name in names if name)

    def open_way(self, session: Session, heard: Heard) -> Way:
        """Make the way of a session, and say on the session what its route says of it.

        Raises Unreachable when there is no way to its central system.
        """
        route = self.route_of(heard)
        if route.reject is not None:
            session.route, session.upstream, session.known_as = route.name, "", session.identity
            session.after_relay = None
            return Way(Rejection(route.reject), route, self)
        assert route.upstream is not None
        known_as = route.known_as(session.identity)
        earlier, session.known_as = session.known_as, known_as
        try:
            link = self._link(session, route)
            mirrors = [self._mirror(session.identity, known_as, name, route) for name in route.mirrors]
        except ValueError as problem:  # a name that cannot stand in the URL
            session.known_as = earlier
            raise Unreachable("not_connected", str(problem)) from None
        session.route, session.upstream, session.check = route.name, route.upstream, route.check
        session.after_relay = None
        if mirrors:
            mirrored = Mirrored(link, mirrors)
            session.after_relay = mirrored.offer
            link = mirrored
        return Way(link, route, self)

    def _link(self, session: Session, route: Route) -> CentralSystemLink:
        assert route.upstream is not None
        return self._link_to(route.upstream, session)

    def _link_to(self, name: str, session: Relays) -> CentralSystemLink:
        upstream = self.upstreams[name]
        zone = self.config.zone_of(session.identity).key
        own = self.config.chargers.get(session.identity)
        password = own.upstream_password if own else None
        return upstream.link(
            session,
            self._dialect(zone, upstream.section.celsius),
            self._journal,
            password.get_secret_value().encode() if password else None,
            self._counts.link(name),
        )

    def _mirror(self, identity: str, known_as: str, name: str, route: Route) -> Mirror:
        link = self._link_to(name, Bystander(identity, known_as, name, self._journal))
        return Mirror(
            name, identity, link, self._journal, route.mirror_queue, on_depth=self._counts.mirror
        )

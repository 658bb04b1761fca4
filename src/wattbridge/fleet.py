"""What one configuration says of charge points and central systems, built: who may come in, which way they
go, and how each central system is reached. A reload builds another; sessions keep what they were given.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

from wattbridge.config import Config
from wattbridge.config.values import read_identity
from wattbridge.links import tls
from wattbridge.links.callbacks import AddressPolicy, CallbackClient, own_addresses
from wattbridge.links.central_system_json import LinkState
from wattbridge.links.central_system_soap import Caller
from wattbridge.links.charge_point_json import ChargePointConnection
from wattbridge.links.charge_point_soap import ChargePointLink
from wattbridge.links.charge_points import ChargePoint
from wattbridge.links.handling import USUAL, Boot
from wattbridge.ocpp.actions import Dialect, dialect
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Side
from wattbridge.ocpp.payloads import Options
from wattbridge.profiling import Profile, Profiles, options_by
from wattbridge.relay.delivery import Deliveries
from wattbridge.relay.duty import Duties
from wattbridge.relay.failover import FailOver, WatchedLink
from wattbridge.relay.journal import Journal
from wattbridge.relay.mirror import Bystander, Mirror, Mirrored
from wattbridge.relay.offline import Answers
from wattbridge.relay.registry import CentralSystemLink
from wattbridge.relay.registry import Way as RelayWay
from wattbridge.relay.rejection import Rejection
from wattbridge.relay.routes import Heard, Route
from wattbridge.relay.session import Relays, Session
from wattbridge.routing import lets_in, routes_of
from wattbridge.upstreams import SoapUpstream, UpstreamParty, client_tls, reload_client_tls, same, upstream

MOST_TOLD = 200_000  # charge points of which it is remembered what they said they are


class Counts:
    """What the gauges count across all fleets: links by upstream and state, copies that wait for mirrors."""

    def __init__(self) -> None:
        self.links: Counter[tuple[str, str]] = Counter()
        # When the first link to an upstream opened or the last one was lost, in seconds since the epoch.
        self.turned: dict[str, float] = {}
        self.waiting_for_mirrors = 0

    def link(self, upstream: str) -> Callable[[LinkState], None]:
        """Count one more link to *upstream*; what is returned is told how its state changes."""
        counted: LinkState = "connecting"
        self.links[upstream, counted] += 1

        def changed(state: LinkState) -> None:
            nonlocal counted
            was_up = self.links[upstream, "open"] > 0
            self.links[upstream, counted] -= 1
            if state != "closed":
                self.links[upstream, state] += 1
            counted = state
            if (self.links[upstream, "open"] > 0) is not was_up:
                self.turned[upstream] = time.time()

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
    """Built from *config*. Central systems that *earlier* has and that are the same stay as they are.

    Raises OSError when a certificate or a key cannot be used.
    """

    def __init__(
        self,
        config: Config,
        journal: Journal,
        counts: Counts,
        deliveries: Deliveries,
        duties: Duties,
        earlier: Fleet | None = None,
    ) -> None:
        self.config = config
        self._deliveries = deliveries
        self._duties = duties
        self.routes = routes_of(config)
        self._journal = journal
        self._counts = counts
        self.usual = self._dialect(config.time.zone.key)
        self._some_require_subprotocol = any(route.subprotocol_required for route in self.routes.routes)
        drain, public_url = config.gateway.drain, config.gateway.public_url or ""
        self.upstreams: dict[str, UpstreamParty] = {}
        for name, section in config.upstreams.items():
            known = earlier.upstreams.get(name) if earlier else None
            if known is None or not same(known, section, drain, public_url):
                known = upstream(name, section, drain, public_url)
            self.upstreams[name] = known
        self.profiles = Profiles(config)
        # What charge points have said they are; it outlives configurations.
        self.told: dict[str, Boot] = earlier.told if earlier else {}
        self.listed = {
            identity: self._charge_point(identity, self.profiles.of(identity, "", None))
            for identity in config.chargers
        }
        self._names_taken = self._names_of_the_listed()
        self._unlisted = self._charge_point("")
        # Those that have a profile by what they said, and by which way they came where routes have a say.
        self._profiled: dict[str, ChargePoint] = {}
        self._routed: dict[tuple[str, str, str], ChargePoint] = {}
        for identity, boot in self.told.items():
            self._remember(identity, boot)
        callbacks = config.callbacks
        binds = [config.metrics.bind, *(section.bind for section in config.listeners.values())]
        self.callback_policy = AddressPolicy(
            networks=callbacks.networks,
            template=callbacks.template,
            own=own_addresses(bind.host for bind in binds),
        )
        self._callback_tls: tls.Context | None
        self.callback_client: CallbackClient
        if earlier is not None and earlier.config.callbacks == callbacks:
            self.callback_client, self._callback_tls = earlier.callback_client, earlier._callback_tls
        else:
            self._callback_tls = self._tls_of_callbacks()
            self.callback_client = CallbackClient(
                timeout=callbacks.timeout,
                connect_timeout=callbacks.connect_timeout,
                limit=callbacks.answer,
                tls=self._callback_tls,
            )
        # What earlier fleets left behind may still be in use by sessions of theirs. A link to a JSON central
        # system closes what it has; the others share connections.
        self.parts: list[CallbackClient | SoapUpstream] = [
            self.callback_client,
            *(each for each in self.upstreams.values() if isinstance(each, SoapUpstream)),
        ]
        earlier_parts = [*earlier.left, *earlier.parts] if earlier is not None else []
        self.left: list[CallbackClient | SoapUpstream] = [
            part for part in earlier_parts if part not in self.parts and part.is_in_use
        ]

    async def close(self) -> None:
        """End what is under way to any party, for good."""
        for part in [*self.parts, *self.left]:
            await part.close()

    def reload_certificates(self) -> None:
        """Read the files of TLS again. Raises OSError; what was there is kept then."""
        for each in self.upstreams.values():
            if each.tls is not None:
                reload_client_tls(each.tls, each.section.tls)
        if self._callback_tls is not None:
            reload_client_tls(self._callback_tls, self.config.callbacks.tls)

    def _tls_of_callbacks(self) -> tls.Context | None:
        """None where the configuration says nothing: then a context is made when one is needed."""
        section = self.config.callbacks.tls
        return client_tls(section) if section.model_fields_set else None

    # --- who comes in ---

    def admit(self, identity: str, source: str, listener: str) -> ChargePoint | None:
        """What is configured for a charge point; None when it is not to be served."""
        known = self.listed.get(identity)
        if known is None:
            try:
                read_identity(identity)  # whoever is not listed still has to be one that could be
            except ValueError:
                return None
            if not lets_in(self.config, self.routes, Heard(identity, source, listener, known=False)):
                return None
            if (
                self._names_taken
                and self.route_of(Heard(identity, source, listener)).known_as(identity) in self._names_taken
            ):
                return None  # it would speak for a listed charge point, whatever password that one has
            known = self._unlisted
        known = self._profiled.get(identity, known)
        if self._some_require_subprotocol or self.profiles.routes_choose:
            return self._by_route(known, identity, source, listener)
        return known

    def hear(self, identity: str, source: str, listener: str, boot: Boot) -> ChargePoint | None:
        """What is configured for a charge point that was let in and has said what it is."""
        if self.told.get(identity) != boot:
            self.recall(identity, boot)
        return self.admit(identity, source, listener)

    def recall(self, identity: str, boot: Boot) -> None:
        """A charge point has said what it is, now or before the gateway was started."""
        self.told.pop(identity, None)
        self.told[identity] = boot
        if len(self.told) > MOST_TOLD:
            forgotten = next(iter(self.told))
            del self.told[forgotten]
            self._profiled.pop(forgotten, None)
        self._remember(identity, boot)

    def forget(self, identity: str) -> None:
        """What a charge point has said it is counts no more."""
        if self.told.pop(identity, None) is not None:
            self._profiled.pop(identity, None)
            self._routed.clear()

    def _remember(self, identity: str, boot: Boot) -> None:
        profile = self.profiles.of(identity, "", boot)
        if profile is not None:
            self._profiled[identity] = self._charge_point(identity, profile)
        else:
            self._profiled.pop(identity, None)
        self._routed.clear()

    def _by_route(self, known: ChargePoint, identity: str, source: str, listener: str) -> ChargePoint:
        """The same, and what the route says of it that such a charge point takes now."""
        way = identity, source, listener
        found = self._routed.get(way)
        if found is None:
            boot = self.told.get(identity)
            heard = Heard(identity, source, listener)
            if boot is not None:
                heard = replace(heard, vendor=boot.vendor, model=boot.model, firmware=boot.firmware)
            route = self.route_of(heard)
            profile = self.profiles.of(identity, route.name, boot)
            if (profile.name if profile else "") != known.handling.profile:
                known = self._charge_point(identity, profile)
            required = route.subprotocol_required
            if profile is not None and profile.section.websocket.subprotocol is not None:
                required = profile.section.websocket.subprotocol == "required"
            found = replace(known, subprotocol_required=required)
            if len(self._routed) >= MOST_TOLD:
                self._routed.clear()
            self._routed[way] = found
        return found

    def follow(self, session: Session) -> None:
        """A session keeps the way it had; what is said of its charge point counts from now on."""
        self.follow_answers(session)
        charge_point = self.admit(session.identity, session.source, session.listener)
        link = session.links[Side.CHARGE_POINT]
        if charge_point is None:
            return
        if isinstance(link, ChargePointConnection):
            link.go_by(charge_point)
        elif isinstance(link, ChargePointLink):
            link.take(charge_point)
            charge_point.tell(session)

    def _names_of_the_listed(self) -> frozenset[str]:
        """What central systems call listed charge points, where that may be another name than their own."""
        if all(route.rewrite is None for route in self.routes.routes):
            return frozenset()
        return frozenset(self.route_of(Heard(identity)).known_as(identity) for identity in self.listed)

    def _charge_point(self, identity: str, profile: Profile | None = None) -> ChargePoint:
        config = self.config
        known = config.chargers.get(identity)
        password = known.password if known else None
        ping = config.ping_of(identity, profile.section.websocket.ping if profile else None)
        zone = config.zone_of(identity).key
        compiled = self._dialect(zone) if profile is None else self._dialect_by(profile, identity, zone)
        required = profile is not None and profile.section.websocket.subprotocol == "required"
        return ChargePoint(
            compiled,
            callback_url=known.callback_url if known else None,
            to=known.to if known else None,
            password=password.get_secret_value().encode() if password else None,
            ping_interval=ping.every or None,
            ping_timeout=ping.timeout,
            unanswered=config.websocket.unanswered,
            subprotocol_required=required,
            handling=profile.handling if profile else USUAL,
        )

    def _dialect_by(self, profile: Profile, identity: str, zone: str) -> Dialect:
        options = options_by(profile, Options(zone=zone, milliseconds=self.config.time.milliseconds))
        known = self.config.chargers.get(identity)
        return dialect("1.6", replace(options, zone=zone) if known and known.zone else options)

    def _dialect(self, zone: str, celsius: str = "Celsius") -> Dialect:
        return dialect("1.6", Options(zone=zone, milliseconds=self.config.time.milliseconds, celsius=celsius))

    # --- which way it goes ---

    def known(self, heard: Heard) -> Heard:
        """*heard*, and whether it is listed."""
        return replace(heard, known=heard.identity in self.listed)

    def route_of(self, heard: Heard) -> Route:
        return self.routes.choose(self.known(heard))

    def leads(self, way: RelayWay, heard: Heard) -> bool:
        """Whether *way*, of this fleet or an earlier one, leads where this one would send it."""
        assert isinstance(way, Way)
        route = self.route_of(heard)
        if way.fleet is self or route != way.route:
            return route is way.route
        names = (route.upstream, route.fallback, *route.mirrors)
        same = way.fleet.upstreams
        return all(self.upstreams[name] is same.get(name) for name in names if name)

    def open_way(self, session: Session, heard: Heard) -> Way:
        """Make the way of a session, and say on the session what its route says of it.

        Raises Unreachable when there is no way to its central system; the session is as it was then.
        """
        route = self.route_of(heard)
        if route.reject is not None:
            session.route, session.upstream, session.known_as = route.name, "", session.identity
            session.after_relay = None
            return Way(Rejection(route.reject), route, self)
        assert route.upstream is not None
        self.set_answers(session.identity, route.name)
        earlier = session.known_as, session.upstream
        session.known_as, session.upstream = route.known_as(session.identity), route.upstream
        try:
            link = self._link(session, route)
            mirrors = [self._mirror(session, name, route) for name in route.mirrors]
        except ValueError as problem:  # a name that cannot stand in the URL
            session.known_as, session.upstream = earlier
            raise Unreachable("not_connected", f"route {route.name}: {problem}") from None
        session.route, session.check, session.after_relay = route.name, route.check, None
        section = self.config.upstreams[route.upstream].soap
        session.security_as_data_transfer = section.security_events == "data-transfer"
        apart = route.fallback is not None and not route.failover_shared
        session.upstreams = (route.upstream, route.fallback or "") if apart else ()
        if mirrors:
            mirrored = Mirrored(link, mirrors)
            session.after_relay, link = mirrored.offer, mirrored
        return Way(link, route, self)

    def set_answers(self, identity: str, route: str) -> None:
        """What a charge point is answered while its central system is away, as this route says."""
        section = next((each for each in self.config.routes if each.name == route), None)
        if section is not None:
            answers = self.config.answers_of(section).model_dump()
            self._deliveries.of(identity).answers = Answers(**answers)

    def follow_answers(self, session: Session) -> None:
        """The same for a session that keeps the way it had, whatever its route says now."""
        if session.upstream:
            self.set_answers(session.identity, session.route)

    def _link(self, session: Session, route: Route) -> CentralSystemLink:
        """The link to the central system of a route, or to the two it may use."""
        assert route.upstream is not None
        first, second = route.upstream, route.fallback
        if second is None:
            return self._link_to(first, session)
        return FailOver(
            session,
            self._journal,
            lambda: self._link_to(first, session),
            lambda: self._link_to(second, session),
            names=(first, second),
            duties=(self._duties.of(first), self._duties.of(second)),
            reachable=self.upstreams[first].reachable,
            after=route.failover_after,
            back_after=route.failover_back_after,
            probe_every=self.upstreams[first].section.probe.every,
            has_business_with=(
                (lambda name: False)
                if route.failover_shared
                else self._deliveries.of(session.identity).has_business_with
            ),
        )

    def _link_to(self, name: str, session: Relays, *, mirror: bool = False) -> WatchedLink:
        party = self.upstreams[name]
        own = self.config.chargers.get(session.identity)
        password = own.upstream_password if own else None
        if mirror or party.section.auth is None or party.section.auth.basic is None:
            password = None  # it is for whoever asks for one, and never for those who only read along
        return party.link(
            session,
            self._dialect(self.config.zone_of(session.identity).key, party.section.celsius),
            self._journal,
            password.get_secret_value().encode() if password else None,
            self._counts.link(name) if mirror else self._watched(name, session.identity),
            self._duties.of(name),
            mirror=mirror,
        )

    def _watched(self, name: str, identity: str) -> Callable[[LinkState], None]:
        """What is told how the state of a link changes: what waits for it may go on."""
        counted, delivery = self._counts.link(name), self._deliveries.of(identity)

        def changed(state: LinkState) -> None:
            counted(state)
            delivery.wake()

        return changed

    def _mirror(self, session: Session, name: str, route: Route) -> Mirror:
        bystander = Bystander(session.identity, session.known_as, name, self._journal)
        link = self._link_to(name, bystander, mirror=True)
        return Mirror(
            name, session.identity, link, self._journal, route.mirror_queue, on_depth=self._counts.mirror
        )

    # --- central systems that call ---

    def callbacks_at(self, listener: str) -> dict[str, dict[str, Caller]]:
        """The paths where central systems call charge points through a listener, and who calls at each."""
        paths: defaultdict[str, dict[str, Caller]] = defaultdict(dict)
        for name, section in self.config.upstreams.items():
            soap = section.soap
            if section.protocol == "ocpp-soap" and soap.listener in (None, listener):
                paths[soap.callback_path][name] = Caller(soap.networks, soap.answer_within)
        return paths

    def dialect_of(self, session: Session) -> Dialect:
        """The dialect in which a charge point's central system is spoken with."""
        section = self.config.upstreams.get(session.upstream)
        celsius = section.celsius if section else "Celsius"
        return self._dialect(self.config.zone_of(session.identity).key, celsius)

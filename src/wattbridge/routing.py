"""The routes of a configuration as the relay knows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from wattbridge import config
from wattbridge.config.values import comparisons_of
from wattbridge.relay.routes import (
    Comparison,
    Condition,
    FirmwareIs,
    Heard,
    IdentityLike,
    KnownIs,
    ListenerIs,
    ModelLike,
    Operator,
    Reject,
    Rewrite,
    Route,
    Routes,
    SourceIn,
    VendorLike,
)


def routes_of(settings: config.Config) -> Routes:
    return Routes(map(_route, settings.routes))


def lets_in(settings: config.Config, routes: Routes, heard: Heard) -> bool:
    """Whether a charge point may come in: it is known, all may, or the route chosen for it says so."""
    return heard.known or settings.gateway.unknown == "accept" or routes.admits_unknown(heard)


def _route(section: config.Route) -> Route:
    identity = section.identity
    return Route(
        name=section.name,
        conditions=tuple(_conditions(section.match)),
        upstream=section.upstream,
        reject=_reject(section.reject) if section.reject else None,
        fallback=section.fallback,
        failover_after=section.failover.after,
        failover_back_after=section.failover.back_after,
        failover_shared=section.failover.shared,
        mirrors=section.mirror,
        mirror_queue=section.mirror_queue,
        rewrite=Rewrite(identity.rewrite, identity.to) if identity else None,
        check=section.check,
        subprotocol_required=section.subprotocol == "required",
    )


def _reject(section: config.Reject) -> Reject:
    return Reject(
        boot_status=section.boot_status,
        interval=round(section.interval),
        error=section.error,
        description=section.description,
    )


def _conditions(match: config.Match) -> Iterator[Condition]:
    """The conditions that are given; none for ``any``."""
    if match.charger and match.charger != ("*",):
        yield IdentityLike(match.charger)
    if match.known is not None:
        yield KnownIs(match.known)
    if match.listener:
        yield ListenerIs(match.listener)
    if match.source:
        yield SourceIn(match.source)
    if match.vendor:
        yield VendorLike(match.vendor)
    if match.model:
        yield ModelLike(match.model)
    if match.firmware:
        yield FirmwareIs(tuple(map(version_of, match.firmware)))


def version_of(text: str) -> str | tuple[Comparison, ...]:
    """What a text says of versions: comparisons, or a pattern, which stays the text it is."""
    comparisons = tuple(
        Comparison(cast(Operator, operator), version) for operator, version in comparisons_of(text)
    )
    return comparisons or text

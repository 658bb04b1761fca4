"""The profiles of a configuration as readers, writers and links know them, and which one is whose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from wattbridge import config
from wattbridge.config.profiles import NONE, built_in, built_in_names, resolved, rules_of
from wattbridge.links.handling import Boot, Handling
from wattbridge.ocpp.payloads import Options
from wattbridge.ocpp.rules import Rules
from wattbridge.relay.routes import Condition, FirmwareIs, Heard, ModelLike, VendorLike
from wattbridge.routing import version_of


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile, ready for use.

    ``section`` is the profile with all it extends; ``own`` tells whether it is of the configuration.
    ``rules`` are those for payloads, None when these may pass as they are.
    """

    name: str
    section: config.Profile
    own: bool
    rules: Rules | None
    handling: Handling


def profile_of(name: str, section: config.Profile, *, own: bool) -> Profile:
    """*section*, resolved, ready for use."""
    return Profile(name, section, own, rules_of(name, section), _handling(name, section))


def options_by(profile: Profile, options: Options) -> Options:
    """*options* with what a profile says of them; its zone counts only where it has one."""
    zone, prefix = profile.section.time.zone, profile.section.soap.prefix
    return replace(
        options,
        zone=zone.key if zone is not None else options.zone,
        prefix=prefix if prefix is not None else options.prefix,
        rules=profile.rules,
    )


def _handling(name: str, section: config.Profile) -> Handling:
    soap, calls = section.soap, section.calls
    return Handling(
        profile=name,
        sender=soap.from_header,
        reply_to=soap.reply_to,
        must_understand=soap.must_understand,
        to_is_from=soap.to == "from",
        fault_status=soap.fault_status,
        call_timeout=calls.timeout,
        retries=calls.retries,
        retry_after=calls.retry_after,
        answered_here=frozenset(calls.answered_here),
        subprotocols=section.websocket.also,
    )


def conditions_of(section: config.Profile) -> tuple[tuple[Condition, ...], ...]:
    """For each product, what must hold; nothing when a profile is for nobody who does not name it."""
    firmware = (FirmwareIs(tuple(map(version_of, section.firmware))),) if section.firmware else ()
    return tuple((*_product(product), *firmware) for product in section.products)


def _product(product: config.Product) -> Iterator[Condition]:
    if product.vendor is not None:
        yield VendorLike(product.vendor)
    if product.model is not None:
        yield ModelLike(product.model)


class Profiles:
    """All profiles: those of *settings*, and those that come with the gateway."""

    def __init__(self, settings: config.Config) -> None:
        self._own = settings.profiles
        self._pinned = {name: section.profile for name, section in settings.chargers.items()}
        self._of_routes = {route.name: route.profile for route in settings.routes}
        self.routes_choose = any(self._of_routes.values())
        self._ready: dict[str, Profile] = {}
        self._conditions: dict[str, tuple[tuple[Condition, ...], ...]] = {}
        self._chosen: dict[Boot, Profile | None] = {}
        # One of the operator's own comes first, in the order of the file; of ours the most particular.
        ours = sorted(built_in_names() - self._own.keys(), key=lambda name: (-_detail(built_in(name)), name))
        self._order = [*self._own, *ours]

    def names(self) -> list[str]:
        """Every name, the operator's own first."""
        return list(self._order)

    def named(self, name: str) -> Profile:
        """The profile of that name. Raises KeyError when there is none."""
        known = self._ready.get(name)
        if known is None:
            if name not in self._own and name not in built_in_names():
                raise KeyError(name)
            section = resolved(name, self._own)
            known = self._ready[name] = profile_of(name, section, own=name in self._own)
        return known

    def of(self, identity: str, route: str, boot: Boot | None) -> Profile | None:
        """The profile of a charge point: the one it is given by name, its route's, or what it says it is."""
        pinned = self._pinned.get(identity) or self._of_routes.get(route)
        if pinned is not None:
            return None if pinned == NONE else self.named(pinned)
        return None if boot is None else self.choose(boot)

    def choose(self, boot: Boot) -> Profile | None:
        """The first profile that is for what a BootNotification says."""
        if boot not in self._chosen:
            if len(self._chosen) >= MOST_CHOSEN:
                self._chosen.clear()
            self._chosen[boot] = next(
                (self.named(name) for name in self._order if not self.why_not(name, boot)), None
            )
        return self._chosen[boot]

    def why_not(self, name: str, boot: Boot) -> str:
        """Why the profile *name* is not for such a charge point; "" when it is."""
        if name not in self._conditions:
            section = self._own[name] if name in self._own else built_in(name)
            self._conditions[name] = conditions_of(section)
        heard = Heard("", vendor=boot.vendor, model=boot.model, firmware=boot.firmware)
        reasons = []
        for conditions in self._conditions[name]:
            why_not = "; ".join(filter(None, (condition.why_not(heard) for condition in conditions)))
            if not why_not:
                return ""
            reasons.append(why_not)
        return " / ".join(reasons) or "it names no products"


MOST_CHOSEN = 10_000  # makes of charge points; who invents more is looked at anew


def _detail(section: config.Profile) -> int:
    """How much a profile asks of a charge point: one for a firmware comes before one for its vendor."""
    models = any(product.model is not None for product in section.products)
    return 2 * models + 4 * (section.firmware is not None)

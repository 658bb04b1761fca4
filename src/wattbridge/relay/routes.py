"""Which central system a charge point belongs to: the first route that matches its identity."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the configuration. ``charge_points`` are globs of identities; none of them matches all."""

    name: str
    upstream: str
    charge_points: tuple[str, ...] = ()

    def matches(self, identity: str) -> bool:
        return not self.charge_points or any(fnmatchcase(identity, glob) for glob in self.charge_points)


class Routes:
    """The routes in their order."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._routes = routes

    def find(self, identity: str) -> Route | None:
        """The route of a charge point; None when no route matches."""
        return next((route for route in self._routes if route.matches(identity)), None)

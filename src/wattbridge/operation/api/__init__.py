"""The admin API: what an operator, or a program, asks of a running gateway, and who may.

Paths and answers are JSON below ``/api/v1``; what goes wrong is an RFC 9457 problem. What the gateway does
for a request is its own business: here are only HTTP and words. Each area is a module with a ``pages`` of its
own; an area from elsewhere is one more list of pages for ``AdminPort``.
"""

from __future__ import annotations

from typing import Protocol

from wattbridge.operation.api import (
    about,
    auditing,
    chargers,
    configuration,
    loggers,
    openapi,
    queue,
    routes,
    signing_in,
    transactions,
)
from wattbridge.operation.api.pages import LARGEST_REQUEST, MOST_REPORTS, MOST_ROWS, Page
from wattbridge.operation.api.port import AdminPort
from wattbridge.operation.api.queue import Deliveries
from wattbridge.operation.api.refusals import Refusal
from wattbridge.operation.api.site import Site
from wattbridge.operation.api.tokens import Access, Token, hash_token

__all__ = [
    "LARGEST_REQUEST",
    "MOST_REPORTS",
    "MOST_ROWS",
    "Access",
    "AdminPort",
    "Deliveries",
    "Gateway",
    "Page",
    "Refusal",
    "Site",
    "Token",
    "hash_token",
    "openapi",
    "pages_of",
    "signing_in",
]


class Gateway(
    about.About,
    configuration.Configuration,
    routes.Routes,
    chargers.Chargers,
    queue.Queue,
    transactions.Transactions,
    auditing.Auditing,
    Protocol,
):
    """Everything that can be asked for. Answers are what stands in the JSON; each may raise Refusal."""


def pages_of(gateway: Gateway) -> list[Page]:
    """What is served for *gateway*, area by area."""
    return [
        *about.pages(gateway),
        *configuration.pages(gateway),
        *routes.pages(gateway),
        *chargers.pages(gateway),
        *queue.pages(gateway),
        *transactions.pages(gateway),
        *auditing.pages(gateway),
        *loggers.pages(),
    ]

"""The web console: one page and the files it is made of, served by the admin port as they are.

The files need no token: there is nothing in them that is not in the wheel. What they show they ask of the
admin API, like every other client. They are plain ES modules and CSS; nothing is built, nothing comes from
elsewhere, and the policy that goes out with them forbids the browser anything else.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from aiohttp import web

# The first part of each path that the page itself knows what to do with.
PLACES = (
    *("messages", "chargers", "transactions", "problems", "routes", "traces", "configuration"),
    "overview",
)
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}
# No script or style but those of these files; no markup made from text; no page around this one; and since
# the first address may have a token in it, no address is told to anybody.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}
_PLACE = re.compile(rf"/(?:(?:{'|'.join(PLACES)})(?:/.*)?)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its bytes, what they are, and the entity tag that changes with them."""

    body: bytes
    content_type: str
    etag: str


@cache
def assets() -> dict[str, Asset]:
    """Every file by its name: ``{"console.css": …, "index.html": …}``."""
    found: dict[str, Asset] = {}
    for file in files(__name__).joinpath("assets").iterdir():
        suffix = "." + file.name.rpartition(".")[2]
        if suffix in CONTENT_TYPES:
            body = file.read_bytes()
            found[file.name] = Asset(body, CONTENT_TYPES[suffix], hashlib.sha256(body).hexdigest()[:20])
    return found


def is_ours(path: str) -> bool:
    """Whether a request for *path* is for the console: one of its places, or one of its files."""
    return path.startswith("/console/") or _PLACE.fullmatch(path) is not None


async def serve(request: web.Request) -> web.Response:
    """Answer a GET or HEAD for which ``is_ours``: the page for every place, the file for its name.

    Raises HTTPNotFound when there is no such file.
    """
    name = "index.html"
    if request.path.startswith("/console/"):
        name = request.path.removeprefix("/console/")
    asset = assets().get(name)
    if asset is None:
        raise web.HTTPNotFound
    headers = HEADERS | {"Content-Type": asset.content_type, "ETag": f'"{asset.etag}"'}
    if any(tag.value == asset.etag for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=asset.body, headers=headers)


def add_to(router: web.UrlDispatcher) -> None:
    """Serve the console at the root of an admin port, beside ``/api/``."""
    router.add_get("/", serve)
    router.add_get("/console/{name}", serve)
    for place in PLACES:
        router.add_get(f"/{place}", serve)
        router.add_get(f"/{place}/{{rest:.*}}", serve)

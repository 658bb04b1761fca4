"""The files of the web console, and that each of its addresses leads to its one page.

They need no token: what they show they ask of the admin API, like every other client. They are served as they
are: plain ES modules and CSS; nothing is built, and nothing comes from elsewhere.
"""

from __future__ import annotations

import hashlib
from importlib.resources.abc import Traversable
from mimetypes import guess_type

from aiohttp import web

from wattbridge.operation.api.refusals import Refusal

# Where the system's list of types may not know better.
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
PAGE = "index.html"
ASSETS = "assets"  # the folder of what the page needs
# The scripts never make markup of text, and where a browser can hold them to that, it does.
POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
    "require-trusted-types-for 'script'"
)


class Site:
    """Serves what is in *folder*, read once.

    A path that begins with ``assets`` or with a name that has a suffix is a file; every other one is an
    address within the page, also ``/chargers/CP.1``.
    """

    def __init__(self, folder: Traversable) -> None:
        self._files = dict(_read(folder, ""))

    @property
    def is_there(self) -> bool:
        return PAGE in self._files

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise Refusal(405, "unsupported", "Method Not Allowed")
        name = request.path.lstrip("/")
        first = name.partition("/")[0]
        if first != ASSETS and "." not in first:
            name = PAGE
        found = self._files.get(name)
        if found is None:
            raise Refusal(404, "unsupported", "Not Found")
        etag = f'"{hashlib.sha256(found).hexdigest()[:32]}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers)
        kind = _type_of(name)
        charset = "utf-8" if kind.startswith("text/") else None
        return web.Response(body=found, content_type=kind, charset=charset, headers=headers)


def _type_of(name: str) -> str:
    known = next((kind for suffix, kind in TYPES.items() if name.endswith(suffix)), None)
    return known or guess_type(name)[0] or "application/octet-stream"


def _read(folder: Traversable, above: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir():
            found += _read(entry, f"{above}{entry.name}/")
        elif not entry.name.endswith((".py", ".pyc")):
            found.append((f"{above}{entry.name}", entry.read_bytes()))
    return found

"""The files of the web console, and that each of its addresses leads to its one page."""

from __future__ import annotations

import hashlib
from importlib.resources.abc import Traversable
from mimetypes import guess_type

from aiohttp import web

from wattbridge.operation.api.refusals import Refusal

# Where the system's list of types may not know better.
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
PAGE = "index.html"


class Site:
    """Serves what is in *folder*, read once; a path without a suffix is an address within the page."""

    def __init__(self, folder: Traversable) -> None:
        self._files = dict(_read(folder, ""))

    @property
    def is_there(self) -> bool:
        return PAGE in self._files

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise Refusal(405, "unsupported", "Method Not Allowed")
        name = request.path.lstrip("/")
        found = self._files.get(name)
        if found is None and "." not in name.rpartition("/")[2]:
            name, found = PAGE, self._files.get(PAGE)
        if found is None:
            raise Refusal(404, "unsupported", "Not Found")
        etag = f'"{hashlib.sha256(found).hexdigest()[:32]}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
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
            if entry.name != "__pycache__":
                found += _read(entry, f"{above}{entry.name}/")
        elif not entry.name.endswith(".py"):
            found.append((f"{above}{entry.name}", entry.read_bytes()))
    return found

"""What the gateway will not do, as a problem of RFC 9457."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web


class Refusal(Exception):
    """The gateway will not: an HTTP status, a word of ``reasons.REASONS``, a sentence, and more to say."""

    def __init__(self, status: int, reason: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.more = more


def malformed(detail: str) -> Refusal:
    """The request is not as it has to be."""
    return Refusal(400, "malformed", detail)


def problem(refusal: Refusal) -> web.Response:
    body = {"status": refusal.status, "title": refusal.detail, "reason": refusal.reason, **refusal.more}
    return web.Response(
        status=refusal.status, body=orjson.dumps(body), content_type="application/problem+json"
    )

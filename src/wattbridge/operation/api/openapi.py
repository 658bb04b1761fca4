"""The OpenAPI document: made of the pages that are served and of the shapes they name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from wattbridge.operation.api.models import Problem
from wattbridge.operation.api.pages import Page, answered

ROOT = "/api/v1"
# What any page may refuse with.
ALWAYS = {
    400: "the request is not as it has to be",
    401: "the token is missing or wrong, or the session has ended",
    403: "the token has too small a role, or X-CSRF-Token is missing",
    404: "there is no such charge point, message or transaction",
    409: "it cannot be done as things are",
    412: "the configuration is another one by now",
    413: "the body is too large",
    415: "the body is of another type",
    422: "it is understood, and wrong",
    428: "If-Match is missing",
    429: "too many tokens are tried at once",
    503: "the store cannot be read or written",
}
_NAMED = re.compile(r"\{(\w+)\}")
NUMBERS = frozenset({"position", "number"})


def description(pages: Iterable[Page], version: str) -> dict[str, Any]:
    """The document of *pages*, for *version* of the program. OpenAPI 3.1."""
    pages = list(pages)
    shapes = _shapes(pages)
    names, schemas = _schemas(shapes)
    paths: dict[str, dict[str, Any]] = {}
    for page in pages:
        paths.setdefault(f"{ROOT}{page.path}", {})[page.method.lower()] = _operation(page, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Wattbridge admin API",
            "version": version,
            "summary": "What an operator, or a program, asks of a running gateway.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "wattbridge_session_9180"},
            },
        },
    }


def page(others: Iterable[Page], version: str) -> Page:
    """What serves the document of *others*."""
    document = description(others, version)

    async def answer(_: web.Request) -> web.Response:
        return answered(document)

    return Page("GET", "/openapi.json", "read", answer, "this description of the API, for programs")


def _shapes(pages: Iterable[Page]) -> list[type[BaseModel]]:
    found = [shape for page in pages for shape in (page.takes, page.gives) if shape is not None]
    return list(dict.fromkeys([*found, Problem]))


def _schemas(shapes: list[type[BaseModel]]) -> tuple[dict[type[BaseModel], dict[str, Any]], dict[str, Any]]:
    """Where each shape is found, and all of them."""
    found, document = models_json_schema(
        [(shape, "validation") for shape in shapes], ref_template="#/components/schemas/{model}"
    )
    return {shape: found[shape, "validation"] for shape in shapes}, document.get("$defs", {})


def _operation(page: Page, names: dict[type[BaseModel], dict[str, Any]]) -> dict[str, Any]:
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer"} if name in NUMBERS else {"type": "string", "minLength": 1},
        }
        for name in _NAMED.findall(page.path)
    ]
    parameters += [
        {"name": query.name, "in": "query", "description": query.what, "schema": dict(query.schema)}
        for query in page.query
    ]
    parameters += [
        {
            "name": header.name,
            "in": "header",
            "required": header.required,
            "description": header.what,
            "schema": dict(header.schema),
        }
        for header in page.headers
    ]
    operation: dict[str, Any] = {
        "operationId": _name(page),
        "summary": page.what_for,
        "parameters": parameters,
        "responses": _responses(page, names),
    }
    if page.role is None:
        operation["security"] = []
    else:
        operation["description"] = f"Takes the role {page.role}."
    if page.takes is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {page.takes_media_type: {"schema": names[page.takes]}},
        }
    elif page.takes_media_type != "application/json":
        operation["requestBody"] = {
            "required": True,
            "content": {page.takes_media_type: {"schema": {"type": "string"}}},
        }
    return operation


def _responses(page: Page, names: dict[type[BaseModel], dict[str, Any]]) -> dict[str, Any]:
    untold = {"type": "object"} if page.media_type == "application/json" else {"type": "string"}
    schema = names[page.gives] if page.gives is not None else untold
    told = {"200": {"description": page.what_for, "content": {page.media_type: {"schema": schema}}}}
    refusals = {400, 401, *page.refuses} if page.role is None else {400, 401, 403, *page.refuses}
    if page.takes is not None or page.takes_media_type != "application/json":
        refusals.add(413)
    for status in sorted(refusals):
        told[str(status)] = {
            "description": ALWAYS[status],
            "content": {"application/problem+json": {"schema": names[Problem]}},
        }
    return told


def _name(page: Page) -> str:
    """``GET /chargers/{charger}/calls`` → ``getChargersChargerCalls``."""
    words = [word for word in re.split(r"\W+", page.path) if word]
    return page.method.lower() + "".join(word[0].upper() + word[1:] for word in words)

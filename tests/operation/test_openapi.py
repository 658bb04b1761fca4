"""The OpenAPI document is valid, tells of every page, and the gateway does what it tells."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.admin import TOKEN, Running, a_gateway
from tests.fakes import post, soap_request
from wattbridge.operation import logs
from wattbridge.store.base import Transaction, Waiting
from wattbridge.store.memory import MemoryStore

# What schemathesis asks of each page; a search that takes longer is `SCHEMATHESIS_EXAMPLES=500 pytest …`.
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "3"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# It never ends.
NOT_ASKED = frozenset({"GET /api/v1/messages/stream"})


@dataclass
class Served:
    """A gateway in a thread of its own, at *url*, and its document."""

    url: str
    document: dict[str, Any]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("api")
    ready, stop = threading.Event(), threading.Event()
    found: list[Served] = []

    async def serve() -> None:
        store = MemoryStore()
        payload = '{"connectorId":1,"meterValue":[]}'
        await store.write(
            *(Waiting("CP1", position, "MeterValues", payload, "", kept=1.0) for position in range(17, 40)),
            Transaction("CP1", "2000000017", provisional=1, connector_id="1", id_tag="04E91C5A"),
        )
        async with a_gateway(folder, "ws://127.0.0.1:9/", store=store) as here:
            await post(here.gateway.addresses["field"], soap_request("Heartbeat", "CP1"))
            document = await _document(here)
            found.append(Served(str(here.gateway.admin_address), document))
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(30)
        yield found[0]
    finally:
        stop.set()
        thread.join()
        logs.reset_level("gateway")


async def _document(here: Running) -> dict[str, Any]:
    answer = await asyncio.to_thread(here._ask, "GET /openapi.json", None, {}, TOKEN)
    document: dict[str, Any] = answer.content
    return document


def _about_known_charge_points(document: dict[str, Any]) -> dict[str, Any]:
    """The same document, but requests are about charge points, messages and transactions that there are."""
    document = json.loads(json.dumps(document))
    known: dict[str, list[Any]] = {
        "charger": ["CP1", "a/b"],
        "position": list(range(17, 40)),
        "number": [2000000017],
        "trace": ["6d1f02a4c3e9"],
        "name": ["gateway"],
    }
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    parameter["schema"] = {"enum": [*known.get(parameter["name"], []), 99]}
    return document


def test_the_document_is_valid(served: Served) -> None:
    validate(served.document)
    assert served.document["openapi"] == "3.1.0"


async def test_every_page_is_told_with_the_role_it_takes(tmp_path: Path) -> None:
    async with a_gateway(tmp_path, "ws://127.0.0.1:9/") as here:
        document = await _document(here)
        paths = document["paths"]
        assert isinstance(paths, dict)
        for page in here.gateway.admin_pages:
            if page.path == "/openapi.json":
                continue
            told = paths[f"/api/v1{page.path}"][page.method.lower()]
            assert told["summary"] == page.what_for
            if page.role is None:
                assert told["security"] == []
            else:
                assert told["description"] == f"Takes the role {page.role}."
                assert {"400", "401", "403"} <= told["responses"].keys()
        assert json.dumps(document).count('"operationId"') == len(here.gateway.admin_pages) - 1


# The gateway of this process draws its jitter while a request is made up.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@pytest.mark.parametrize("mode", ["what it allows", "what it does not"])
def test_the_gateway_answers_as_the_document_tells(served: Served, mode: str) -> None:
    """Schemathesis makes requests of the document, good ones or bad, and holds every answer against it."""
    schema = schemathesis.openapi.from_dict(_about_known_charge_points(served.document))
    kind = GenerationMode.POSITIVE if mode == "what it allows" else GenerationMode.NEGATIVE
    asked: set[str] = set()
    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]
        if operation.label in NOT_ASKED:
            continue

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=kind))
        def ask(case: schemathesis.Case[Any]) -> None:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            asked.add(case.operation.label)
            case.call_and_validate(base_url=served.url, headers=headers, checks=CHECKS)

        try:
            ask()
        except Unsatisfiable:  # there is nothing that it does not allow
            assert mode == "what it does not"
    assert len(asked) > (30 if mode == "what it allows" else 5)

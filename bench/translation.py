"""What it costs to translate one message, without any transport.

Four ways: a request and its response on the way from a charge point, a command and its answer on the way from
the central system. Ours is what the links call, in the same order. The floor parses what must be parsed and
writes what is already known: lxml and orjson alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import orjson
from lxml import etree

from bench import naive
from bench.measure import Row, cpu_times
from bench.workload import (
    FROM_CENTRAL_SYSTEM,
    FROM_CHARGE_POINT,
    IDENTITY,
    MESSAGE_ID,
    SOAP_CONTENT_TYPE,
    TO_ADDRESS,
    Exchange,
    numbered,
)
from wattbridge.ocpp import ocppj, soap
from wattbridge.ocpp.actions import JsonCodec, dialect
from wattbridge.ocpp.messages import CallResult, Side

Steps = dict[str, Callable[[], str | bytes]]

CALLBACK = "http://10.1.2.3:8080/ocpp"


class Mismatch(Exception):
    """A translation that is not what it should be: nothing to be timed."""


def rows(*, rounds: int, seconds: float) -> Iterator[Row]:
    """Time every message of the workload; each variant for *seconds* in each of *rounds*."""
    translate = _Ours()
    soap_server = naive.SoapServer() if naive.HAS_SPYNE else None
    soap_client = naive.SoapClient()
    for exchange in FROM_CHARGE_POINT:
        request, response = _from_charge_point(exchange, translate, soap_server)
        _check(exchange, request, numbered(exchange.call()))
        yield Row("translation", f"{exchange.name}: SOAP → CALL", "µs", cpu_times(request, rounds, seconds))
        _check(exchange, response, exchange.soap_response())
        name = f"{exchange.name}: CALLRESULT → SOAP"
        yield Row("translation", name, "µs", cpu_times(response, rounds, seconds))
    for exchange in FROM_CENTRAL_SYSTEM:
        request, response = _from_central_system(exchange, translate, soap_client)
        _check(exchange, request, exchange.soap_request())
        yield Row("translation", f"{exchange.name}: CALL → SOAP", "µs", cpu_times(request, rounds, seconds))
        _check(exchange, response, exchange.result())
        name = f"{exchange.name}: SOAP → CALLRESULT"
        yield Row("translation", name, "µs", cpu_times(response, rounds, seconds))


class _Ours:
    """Dialect and codec as the gateway has them, with a central system that speaks JSON."""

    def __init__(self) -> None:
        self.dialect = dialect()
        self.codec = JsonCodec(self.dialect, Side.CENTRAL_SYSTEM)

    def request(self, body: bytes) -> str:
        read = soap.read_call(soap.read_envelope(body), self.dialect, Side.CENTRAL_SYSTEM)
        payload, _ = self.codec.write_call(read.call)
        return ocppj.write_call(str(uuid.uuid4()), read.call.action, payload)

    def response(self, text: str, action: str, envelope: soap.Envelope) -> bytes:
        frame = ocppj.read_frame(text)
        assert isinstance(frame, ocppj.ResultFrame)
        payload, _ = self.codec.read_result(action, frame.payload)
        operation = self.dialect.operation(Side.CENTRAL_SYSTEM, action)
        reply = CallResult(payload)
        return soap.write_reply(envelope, operation, reply, self.dialect, f"urn:uuid:{uuid.uuid4()}").body

    def command(self, text: str, addressing: soap.Addressing) -> bytes:
        frame = ocppj.read_frame(text)
        assert isinstance(frame, ocppj.CallFrame)
        call, _ = self.codec.read_call(frame.action, frame.payload)
        return soap.write_call(
            call, addressing, self.dialect, Side.CHARGE_POINT, lambda: f"urn:uuid:{uuid.uuid4()}"
        ).body

    def answer(self, body: bytes, action: str) -> str:
        operation = self.dialect.operation(Side.CHARGE_POINT, action)
        reply, _ = soap.read_reply(200, SOAP_CONTENT_TYPE, body, operation)
        assert isinstance(reply, CallResult)
        payload, _ = self.codec.write_result(action, reply.payload)
        return ocppj.write_result(MESSAGE_ID, payload)


def _from_charge_point(
    exchange: Exchange, translate: _Ours, server: naive.SoapServer | None
) -> tuple[Steps, Steps]:
    action = exchange.action
    body = numbered(exchange.soap_request()).encode()
    result, known_response = exchange.result(), exchange.soap_response()
    known_call = orjson.loads(numbered(exchange.call()))
    envelope = soap.read_envelope(body)
    request: Steps = {
        "ours": lambda: translate.request(body),
        "floor": lambda: _parse_and_dump(body, known_call),
    }
    response: Steps = {
        "ours": lambda: translate.response(result, action, envelope),
        "floor": lambda: _load_and_encode(result, known_response),
    }
    if server is not None:
        context, _, _ = server.read(body)

        def naive_request() -> str:
            _, read_action, payload = server.read(body)
            return naive.write_call(str(uuid.uuid4()), read_action, payload)

        request["naive"] = naive_request
        response["naive"] = lambda: server.write(context, naive.read_result(result, action))
    return request, response


def _from_central_system(
    exchange: Exchange, translate: _Ours, client: naive.SoapClient
) -> tuple[Steps, Steps]:
    action, call = exchange.action, exchange.call()
    answer, known_request = exchange.soap_response().encode(), exchange.soap_request()
    known_result = orjson.loads(exchange.result())
    addressing = soap.Addressing(IDENTITY, CALLBACK, TO_ADDRESS)

    def naive_command() -> bytes:
        _, read_action, payload = naive.read_call(call)
        return client.write(read_action, payload, CALLBACK)

    request: Steps = {
        "ours": lambda: translate.command(call, addressing),
        "floor": lambda: _load_and_encode(call, known_request),
        "naive": naive_command,
    }
    response: Steps = {
        "ours": lambda: translate.answer(answer, action),
        "floor": lambda: _parse_and_dump(answer, known_result),
        "naive": lambda: naive.write_result(MESSAGE_ID, action, client.read(action, answer)),
    }
    return request, response


_PARSER = etree.XMLParser(
    encoding="utf-8", resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
)


def _parse_and_dump(body: bytes, frame: object) -> str:
    etree.fromstring(body, _PARSER)
    return orjson.dumps(frame).decode()


def _load_and_encode(text: str, known: str) -> bytes:
    orjson.loads(text)
    return known.encode()


def _check(exchange: Exchange, steps: Steps, expected: str) -> None:
    """Every variant must say the same. Raises Mismatch."""
    wanted = _said(expected)
    for variant, step in steps.items():
        found = _said(step())
        if found != wanted:
            raise Mismatch(f"{exchange.name}, {variant}: found {found!r}, expected {wanted!r}")


def _said(message: str | bytes) -> object:
    """What a frame or an envelope says, in a form that can be compared: its payload, or its body."""
    if isinstance(message, str) and message.startswith("["):
        return orjson.loads(message)[-1]
    root = etree.fromstring(message if isinstance(message, bytes) else message.encode())
    return _tree(root[-1][0])


def _tree(element: etree._Element) -> object:
    children = [_tree(child) for child in element]
    # spyne writes the offset of UTC in digits.
    return element.tag, children or (element.text or "").replace("+00:00", "Z")

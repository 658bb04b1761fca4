"""Which addresses are called, and what the client puts on the wire and makes of what comes back."""

from __future__ import annotations

import asyncio
import gzip
import shlex
import shutil
import socket
import ssl
import subprocess
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from wattbridge.config import models
from wattbridge.links.callbacks import (
    AddressPolicy,
    CallbackClient,
    Refusal,
    choose,
    own_addresses,
    resolve_name,
)
from wattbridge.links.http_client import Address, HttpAnswer
from wattbridge.ocpp.errors import Unreachable

SOURCE = "10.1.2.3"
SOON = 0.05  # seconds

NAMES = {
    "cp1.example.net": ["10.1.2.3"],
    "elsewhere.example.net": ["10.9.9.9"],
    "both.example.net": ["127.0.0.1", "10.1.2.3"],
    "loopback.example.net": ["127.0.0.1"],
    "loopback6.example.net": ["::1"],
    "metadata.google.internal": ["169.254.169.254"],
    "mapped.example.net": ["::ffff:127.0.0.1"],
    "nat64.example.net": ["64:ff9b::7f00:1"],
    "rubbish.example.net": ["not an address"],
    "empty.example.net": [],
}


async def resolve(host: str, port: int) -> Sequence[str]:
    if host not in NAMES:
        raise OSError("unknown name")
    return NAMES[host]


async def chosen(
    policy: AddressPolicy | None = None, source_ip: str = SOURCE, **candidates: Any
) -> Address | Refusal:
    return await choose(
        policy or AddressPolicy(), identity="CP1", source_ip=source_ip, resolve=resolve, **candidates
    )


async def why_refused(url: str, policy: AddressPolicy | None = None, source_ip: str = SOURCE) -> str:
    refusal = await chosen(policy, source_ip, from_address=url)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.reason == "not_connected"
    head, tail = (
        f"no usable callback address for CP1: wsa:From {url!r} refused (",
        "); no template configured",
    )
    assert refusal.text.startswith(head)
    assert refusal.text.endswith(tail)
    return refusal.text[len(head) : -len(tail)]


# Addresses.

NOT_A_HOST = "is neither an IP address nor a host name"

# Refused although the operator listed every network there is: nobody may name these.
NEVER = {
    # loopback, in all its spellings
    "http://127.0.0.1/": "loopback address",
    "http://127.0.0.1:8080/ocpp": "loopback address",
    "http://127.8.9.10/": "loopback address",
    "http://[::1]/": "loopback address",
    "http://[0:0:0:0:0:0:0:1]:80/": "loopback address",
    "http://localhost/": "loopback address",
    "http://LOCALHOST:9180/": "loopback address",
    "http://localhost./": "loopback address",
    "http://a.localhost/": "loopback address",
    "http://[::ffff:127.0.0.1]/": "loopback address",
    "http://[::ffff:7f00:1]/": "loopback address",
    "http://127.1/": f"127.1 {NOT_A_HOST}",
    "http://2130706433/": f"2130706433 {NOT_A_HOST}",
    "http://0x7f000001/": f"0x7f000001 {NOT_A_HOST}",
    "http://0x7f.1/": f"0x7f.1 {NOT_A_HOST}",
    "http://0177.0.0.1/": f"0177.0.0.1 {NOT_A_HOST}",
    "http://127.0.0.1./": f"127.0.0.1. {NOT_A_HOST}",
    "http://loopback.example.net/": "loopback.example.net is 127.0.0.1: loopback address",
    "http://loopback6.example.net/": "loopback6.example.net is ::1: loopback address",
    "http://mapped.example.net/": "mapped.example.net is ::ffff:127.0.0.1: loopback address",
    # translated: an IPv4 address inside of an IPv6 one
    "http://[::127.0.0.1]/": "IPv6 form of an IPv4 address",
    "http://[::ffff:0:127.0.0.1]/": "IPv6 form of an IPv4 address",
    "http://[64:ff9b::127.0.0.1]/": "NAT64 form of an IPv4 address",
    "http://[64:ff9b:1::10.1.2.3]/": "NAT64 form of an IPv4 address",
    "http://[2002:7f00:1::1]/": "6to4 form of an IPv4 address",
    "http://[2002:a01:203::]/": "6to4 form of an IPv4 address",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/": "Teredo form of an IPv4 address",
    "http://nat64.example.net/": "nat64.example.net is 64:ff9b::7f00:1: NAT64 form of an IPv4 address",
    # the cloud's own
    "http://169.254.169.254/latest/meta-data/": "cloud metadata service",
    "http://[fd00:ec2::254]/latest/": "cloud metadata service",
    "http://[::ffff:169.254.169.254]/": "cloud metadata service",
    "http://metadata.google.internal/": "metadata.google.internal is 169.254.169.254: cloud metadata service",
    "http://100.100.100.200/": "cloud metadata service",
    "http://168.63.129.16/": "cloud metadata service",
    # no single host
    "http://0.0.0.0/": "unspecified address",
    "http://[::]:8080/": "unspecified address",
    "http://0.1.2.3/": "address without a network",
    "http://169.254.1.1/": "link-local address",
    "http://[fe80::1]/": "link-local address",
    "http://224.0.0.1/": "multicast address",
    "http://239.255.255.250:1900/": "multicast address",
    "http://[ff02::1]/": "multicast address",
    "http://255.255.255.255/": "broadcast address",
    "http://240.0.0.1/": "reserved address",
}

NOT_A_URL = {
    "ftp://10.1.2.3/": "neither http nor https",
    "file:///etc/passwd": "neither http nor https",
    "gopher://10.1.2.3:70/": "neither http nor https",
    "javascript:alert(1)": "not a URL",
    "10.1.2.3:8080": "not a URL",
    "/ocpp": "not a URL",
    "the charge point": "has characters that cannot stand in a URL",
    "http:/10.1.2.3/": "not a URL",
    "http:10.1.2.3": "not a URL",
    "http://": "no host",
    "http://:8082/": "no host",
    "http:///ocpp": "no host",
    "http://?x": "no host",
    "http://cp@10.1.2.3/": "has user information",
    "http://10.1.2.3@127.0.0.1/": "has user information",
    "http://10.1.2.3:80@127.0.0.1/": "has user information",
    "http://10.1.2.3/#": "has a fragment",
    "http://10.1.2.3/ocpp#part": "has a fragment",
    "http://127.0.0.1\\@10.1.2.3/": "has characters that cannot stand in a URL",
    "http://10.1.2.3/a b": "has characters that cannot stand in a URL",
    "http://10.1.2.3/\r\nX: y": "has characters that cannot stand in a URL",
    "http://10.1.2.3\x00/": "has characters that cannot stand in a URL",
    "http://①⓪.1.2.3/": "has characters that cannot stand in a URL",
    "http://10.1.2.3:0/": "port 0 is not between 1 and 65535",
    "http://10.1.2.3:65536/": "port 65536 is not between 1 and 65535",
    "http://10.1.2.3:+80/": "port +80 is not between 1 and 65535",
    "http://10.1.2.3:80:80/": "host and port cannot be told apart",
    "http://10.1.2.3:8x/": "port 8x is not between 1 and 65535",
    "http://fe80::1/": "host and port cannot be told apart",
    "http://[fe80::1%25eth0]/": "[fe80::1%25eth0] is not an IPv6 address",
    "http://[10.1.2.3]/": "[10.1.2.3] is not an IPv6 address",
    "http://[::1/": "host and port cannot be told apart",
    "http://[::1]x/": "host and port cannot be told apart",
    "http://10.1.2.3%2f/": f"10.1.2.3%2f {NOT_A_HOST}",
    "http://10.1.2.256/": f"10.1.2.256 {NOT_A_HOST}",
    "http://a..b/": f"a..b {NOT_A_HOST}",
    "http://-a.b/": f"-a.b {NOT_A_HOST}",
    "http://{source_ip}/": "{source_ip} " + NOT_A_HOST,
    "http://unknown.example.net/": "the name unknown.example.net has no address",
    "http://empty.example.net/": "the name empty.example.net has no address",
    "http://rubbish.example.net/": "rubbish.example.net is not an address: not an IP address",
}

EVERYTHING = AddressPolicy(networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))


@pytest.mark.parametrize(("url", "reason"), [*NEVER.items(), *NOT_A_URL.items()])
async def test_no_sender_can_have_these_called(url: str, reason: str) -> None:
    """Server-side request forgery: the gateway stands where the sender does not."""
    assert await why_refused(url, EVERYTHING) == reason
    assert await why_refused(url) == reason


@pytest.mark.parametrize(
    "source", ["127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "fe80::1", "::ffff:127.0.0.1"]
)
async def test_to_come_from_such_an_address_does_not_help(source: str) -> None:
    url = f"http://[{source}]/" if ":" in source else f"http://{source}/"
    assert isinstance(await chosen(source_ip=source, from_address=url), Refusal)
    assert isinstance(await chosen(EVERYTHING, source_ip=source, from_address=url), Refusal)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.1.2.4/",
        "http://192.168.1.1/",
        "http://8.8.8.8/",
        "http://[2001:db8::1]/",
        "http://elsewhere.example.net/",
    ],
)
async def test_others_than_the_sender_are_called_only_in_listed_networks(url: str) -> None:
    reason = f"neither the address the message came from, {SOURCE}, nor in a listed network"
    assert (await why_refused(url)).endswith(reason)
    assert isinstance(await chosen(EVERYTHING, from_address=url), Address)


async def test_a_listed_network_opens_itself_and_nothing_beside() -> None:
    policy = AddressPolicy(networks=(ip_network("10.9.0.0/16"), ip_network("127.0.0.0/8")))
    assert isinstance(await chosen(policy, from_address="http://10.9.1.1/"), Address)
    assert isinstance(await chosen(policy, from_address="http://127.0.0.1:41211/"), Address)
    assert isinstance(await chosen(policy, from_address="http://localhost:41211/"), Address)
    assert isinstance(await chosen(policy, from_address="http://[::ffff:127.0.0.1]/"), Address)
    assert isinstance(await chosen(policy, from_address="http://[::1]/"), Refusal)
    assert isinstance(await chosen(policy, from_address="http://10.8.1.1/"), Refusal)


async def test_a_listed_translation_prefix_does_not_open_what_hides_behind_it() -> None:
    policy = AddressPolicy(networks=(ip_network("64:ff9b::/96"), ip_network("169.254.0.0/16")))
    assert isinstance(await chosen(policy, from_address="http://[64:ff9b::10.9.9.9]/"), Address)
    assert (
        await why_refused("http://[64:ff9b::127.0.0.1]/", policy)
        == "loopback address (127.0.0.1) written as 64:ff9b::7f00:1"
    )
    assert isinstance(await chosen(policy, from_address="http://169.254.7.7/"), Address)
    assert await why_refused("http://169.254.169.254/", policy) == "cloud metadata service"


async def test_the_gateway_does_not_call_itself() -> None:
    policy = AddressPolicy(networks=(ip_network("10.0.0.0/8"),), own=(ip_address("10.0.0.5"),))
    assert await why_refused("http://10.0.0.5:9180/api/v1/", policy) == "address of this gateway"
    assert await why_refused("http://10.0.0.5:9180/api/v1/", policy, "10.0.0.5") == "address of this gateway"
    listed = AddressPolicy(networks=(ip_network("10.0.0.5/32"),), own=policy.own)
    assert isinstance(await chosen(listed, from_address="http://10.0.0.5:8090/"), Address)


def test_the_gateways_own_addresses_are_those_it_is_told_to_listen_on() -> None:
    hosts = ["0.0.0.0", "::", "localhost", "127.0.0.1", "::1", "10.0.0.5", "2001:db8::5"]
    assert own_addresses(hosts) == (ip_address("10.0.0.5"), ip_address("2001:db8::5"))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://10.1.2.3:8080/ocpp?a=b", Address("", "http", "10.1.2.3", 8080, "/ocpp?a=b", "10.1.2.3")),
        ("HTTP://10.1.2.3", Address("", "http", "10.1.2.3", 80, "/", "10.1.2.3")),
        ("https://10.1.2.3?a", Address("", "https", "10.1.2.3", 443, "/?a", "10.1.2.3")),
        ("http://10.1.2.3:/x", Address("", "http", "10.1.2.3", 80, "/x", "10.1.2.3")),
        ("http://CP1.example.net.:8080/", Address("", "http", "cp1.example.net", 8080, "/", "10.1.2.3")),
        ("http://[::ffff:10.1.2.3]/", Address("", "http", "::ffff:10.1.2.3", 80, "/", "10.1.2.3")),
        ("http://both.example.net/", Address("", "http", "both.example.net", 80, "/", "10.1.2.3")),
    ],
)
async def test_the_senders_own_address_is_called(url: str, address: Address) -> None:
    found = await chosen(from_address=f"\n  {url} ")
    assert isinstance(found, Address)
    assert (found.scheme, found.host, found.port, found.target, found.ip) == (
        address.scheme, address.host, address.port, address.target, address.ip,
    )  # fmt: skip
    assert (found.url, found.origin) == (url, "wsa:From")


async def test_a_sender_on_ipv6_is_the_same_however_it_is_written() -> None:
    found = await chosen(source_ip="2001:db8::7", from_address="https://[2001:0DB8:0::7]:8443/")
    assert isinstance(found, Address)
    assert (found.ip, found.authority, str(found)) == (
        "2001:db8::7",
        "[2001:0db8:0::7]:8443",
        "[2001:db8::7]:8443",
    )
    assert isinstance(await chosen(source_ip="::ffff:10.1.2.3", from_address="http://10.1.2.3/"), Address)


async def test_a_name_server_that_does_not_answer_is_not_waited_for() -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    refusal = await choose(
        AddressPolicy(resolve_timeout=0.01),
        identity="CP1",
        source_ip=SOURCE,
        from_address="http://a.example/",
        resolve=never,
    )
    assert isinstance(refusal, Refusal)
    assert "the name a.example was not resolved within 0.01 s" in refusal.text


async def test_the_system_resolves_names() -> None:
    assert set(await resolve_name("localhost", 80)) <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError, match="Errno"):
        await resolve_name("", 80)


# Which of several.

ANONYMOUS = "http://www.w3.org/2005/08/addressing/anonymous"
OLD_ANONYMOUS = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous"
FROM, REPLY_TO, PINNED = "http://10.1.2.3:1/", "http://10.1.2.3:2/", "http://192.168.7.7:3/ocpp"
TEMPLATE = AddressPolicy(template="http://{source_ip}:8090/")


@pytest.mark.parametrize(
    ("candidates", "url", "origin"),
    [
        ({"pinned": PINNED, "from_address": FROM, "reply_to": REPLY_TO}, PINNED, "configuration"),
        ({"from_address": FROM, "reply_to": REPLY_TO}, FROM, "wsa:From"),
        ({"from_address": FROM, "reply_to": ANONYMOUS}, FROM, "wsa:From"),
        ({"from_address": ANONYMOUS, "reply_to": REPLY_TO}, REPLY_TO, "wsa:ReplyTo"),
        ({"from_address": OLD_ANONYMOUS, "reply_to": REPLY_TO}, REPLY_TO, "wsa:ReplyTo"),
        ({"from_address": "http://:8082/", "reply_to": REPLY_TO}, REPLY_TO, "wsa:ReplyTo"),
        ({"from_address": None, "reply_to": ANONYMOUS}, "http://10.1.2.3:8090/", "template"),
        ({"from_address": "http://0.0.0.0/", "reply_to": OLD_ANONYMOUS}, "http://10.1.2.3:8090/", "template"),
        ({"from_address": "", "reply_to": " "}, "http://10.1.2.3:8090/", "template"),
        ({}, "http://10.1.2.3:8090/", "template"),
    ],
)
async def test_the_first_usable_candidate_is_called(
    candidates: dict[str, str], url: str, origin: str
) -> None:
    found = await chosen(TEMPLATE, **candidates)
    assert isinstance(found, Address)
    assert (found.url, found.origin) == (url, origin)


async def refused_text(
    policy: AddressPolicy | None = None, source_ip: str = SOURCE, **candidates: Any
) -> str:
    found = await chosen(policy, source_ip, **candidates)
    assert isinstance(found, Refusal)
    return found.text


async def test_a_refusal_names_every_candidate_and_why() -> None:
    say = "no usable callback address for CP1: "
    assert await refused_text() == say + "no wsa:From; no template configured"
    assert await refused_text(from_address=" ") == say + "wsa:From is empty; no template configured"
    assert await refused_text(from_address=ANONYMOUS, reply_to=ANONYMOUS) == (
        say + "wsa:From is anonymous; no template configured"
    )
    assert await refused_text(from_address="http://0.0.0.0:8080/") == (
        say + "wsa:From 'http://0.0.0.0:8080/' refused (unspecified address); no template configured"
    )
    assert await refused_text(
        TEMPLATE, "127.0.0.1", from_address="http://:8082/", reply_to="http://10.9.9.9/"
    ) == (
        say
        + "wsa:From 'http://:8082/' refused (no host); wsa:ReplyTo 'http://10.9.9.9/' refused (neither the "
        "address the message came from, 127.0.0.1, nor in a listed network); "
        "template 'http://127.0.0.1:8090/' refused (loopback address)"
    )
    assert await refused_text(from_address="http://a\n") == (
        say + "wsa:From 'http://a\\n' refused (the name a has no address); no template configured"
    )
    assert len(await refused_text(from_address="http://" + "a" * 100_000)) < 400


async def test_a_configured_address_may_lead_anywhere_but_stays_the_only_one() -> None:
    for url in ("http://127.0.0.1:1/", "http://localhost:1/", "http://elsewhere.example.net/", PINNED):
        assert isinstance(await chosen(pinned=url), Address)
    assert await refused_text(pinned="ftp://10.1.2.3/", from_address=FROM) == (
        "no usable callback address for CP1: configuration 'ftp://10.1.2.3/' refused (neither http nor https)"
    )


async def test_what_a_name_server_says_is_not_the_operators_word() -> None:
    assert await refused_text(pinned="http://metadata.google.internal/") == (
        "no usable callback address for CP1: configuration 'http://metadata.google.internal/' refused "
        "(metadata.google.internal is 169.254.169.254: cloud metadata service)"
    )
    assert "not an IP address" in await refused_text(pinned="http://rubbish.example.net/")


@pytest.mark.parametrize(
    ("template", "identity", "source", "url"),
    [
        ("http://{source_ip}:8090/", "CP1", SOURCE, "http://10.1.2.3:8090/"),
        ("http://{source_ip}:8090/{charger}", "CP 1/ä", SOURCE, "http://10.1.2.3:8090/CP%201%2F%C3%A4"),
        ("https://{source_ip}/", "CP1", "2001:db8::7", "https://[2001:db8::7]/"),
        ("http://192.168.7.7/cp/{charger}", "CP1", SOURCE, "http://192.168.7.7/cp/CP1"),
        ("http://{charger}.example.net/", "cp1", SOURCE, "http://cp1.example.net/"),
    ],
)
async def test_a_template_makes_the_address(template: str, identity: str, source: str, url: str) -> None:
    found = await choose(
        AddressPolicy(template=template), identity=identity, source_ip=source, resolve=resolve
    )
    assert isinstance(found, Address)
    assert found.url == url


@pytest.mark.parametrize(
    ("template", "identity"),
    [
        ("http://{charger}/", "10.9.9.9"),
        ("http://{charger}:80/", "169.254.169.254"),
        ("http://{charger}.example.net/", "elsewhere"),
        ("http://{charger}.example.net/", "127.0.0.1/"),
        ("http://{charger}.example.net/", "a@127.0.0.1#"),
    ],
)
async def test_an_identity_in_a_template_leads_nowhere_else(template: str, identity: str) -> None:
    found = await choose(
        AddressPolicy(template=template), identity=identity, source_ip=SOURCE, resolve=resolve
    )
    assert isinstance(found, Refusal)


# The client.

XML = b"<a>1</a>"
TYPE = 'application/soap+xml; charset=utf-8; action="/Reset"'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\nContent-Length: 4\r\n\r\n<b/>"


class Peer:
    """A peer that answers each request with the next of its *answers*, byte for byte.

    ``requests`` are what single reads gave; ``close`` says whether it closes after an answer.
    """

    def __init__(self, *answers: bytes, close: bool = True) -> None:
        self.answers = list(answers)
        self.close = close
        self.requests: list[bytes] = []
        self.asked = asyncio.Event()  # something came
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        while request := await reader.read(1_000_000):
            self.requests.append(request)
            self.asked.set()
            if not self.answers:
                break
            writer.write(self.answers.pop(0))
            if self.close:
                break
        writer.close()


@asynccontextmanager
async def serving(peer: Peer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Address]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    try:
        port = server.sockets[0].getsockname()[1]
        yield Address("", "https" if tls else "http", "127.0.0.1", port, "/ocpp", "127.0.0.1")
    finally:
        server.close()
        for writer in peer.writers:
            writer.transport.abort()
        await server.wait_closed()


@asynccontextmanager
async def client(**settings: Any) -> AsyncIterator[CallbackClient]:
    callback_client = CallbackClient(**settings)
    try:
        yield callback_client
    finally:
        await callback_client.close()


async def answer_to(answer: bytes, *, close: bool = True, **settings: Any) -> HttpAnswer:
    async with serving(Peer(answer, close=close)) as address, client(**settings) as to:
        return await to.post(address, XML, TYPE)


async def failure_of(answer: bytes, *, close: bool = True, **settings: Any) -> tuple[str, str]:
    async with serving(Peer(answer, close=close)) as address, client(**settings) as to:
        with pytest.raises(Unreachable) as unreachable:
            await to.post(address, XML, TYPE)
    assert str(address) == f"127.0.0.1:{address.port}"
    return unreachable.value.reason, unreachable.value.description.replace(str(address), "PEER")


async def test_a_call_goes_out_as_old_devices_want_to_read_it() -> None:
    """glurp knows headers only in their usual letter case, and reads head and body at once."""
    peer = Peer(OK)
    async with serving(peer) as address, client() as to:
        answer = await to.post(address, XML, TYPE)
    assert peer.requests == [
        b"POST /ocpp HTTP/1.1\r\n"
        b"Host: 127.0.0.1:%d\r\n"
        b'Content-Type: application/soap+xml; charset=utf-8; action="/Reset"\r\n'
        b"Content-Length: 8\r\n"
        b"Accept-Encoding: gzip, deflate\r\n"
        b"User-Agent: wattbridge\r\n"
        b"Connection: close\r\n"
        b"\r\n"
        b"<a>1</a>" % address.port
    ]
    assert answer == HttpAnswer(200, "application/soap+xml", b"<b/>")


async def test_soap_1_1_has_its_action_in_a_header_of_its_own() -> None:
    peer = Peer(OK)
    async with serving(peer) as address, client() as to:
        await to.post(address, XML, "text/xml; charset=utf-8", "/Reset")
    assert b"\r\nContent-Type: text/xml; charset=utf-8\r\n" in peer.requests[0]
    assert b'\r\nSOAPAction: "/Reset"\r\n\r\n<a>' in peer.requests[0]


async def test_the_host_header_is_that_of_the_url() -> None:
    peer = Peer(OK)
    async with serving(peer) as address, client() as to:
        await to.post(Address("", "http", "cp1.example.net", address.port, "/", "127.0.0.1"), XML, TYPE)
    assert f"\r\nHost: cp1.example.net:{address.port}\r\n".encode() in peer.requests[0]
    assert Address("", "http", "cp1.example.net", 80, "/", "").authority == "cp1.example.net"
    assert Address("", "https", "::1", 443, "/", "").authority == "[::1]"


async def test_nothing_can_be_smuggled_into_the_head_of_a_call() -> None:
    async with serving(Peer(OK)) as address, client() as to:
        with pytest.raises(ValueError, match="cannot be sent"):
            await to.post(address, XML, "text/xml\r\nX: y")
        with pytest.raises(ValueError, match="cannot be sent"):
            await to.post(address, XML, TYPE, "/Reset\r\n")
        with pytest.raises(ValueError, match="cannot be sent"):
            await to.post(Address("", "http", "a", 80, "/ HTTP/1.1\r\nX: y", "127.0.0.1"), XML, TYPE)


async def test_a_name_is_resolved_once_and_the_checked_address_is_called() -> None:
    """DNS rebinding: the second answer of the name server is another one."""
    peer = Peer(OK)
    answers = [["127.0.0.1"], ["169.254.169.254"]]

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    policy = AddressPolicy(networks=(ip_network("127.0.0.0/8"),))
    async with serving(peer) as where, client() as to:
        address = await choose(
            policy,
            identity="CP1",
            source_ip=SOURCE,
            from_address=f"http://rebind.example.net:{where.port}/ocpp",
            resolve=rebinding,
        )
        assert isinstance(address, Address)
        assert (await to.post(address, XML, TYPE)).body == b"<b/>"
    assert answers == [["169.254.169.254"]]
    assert b"\r\nHost: rebind.example.net:" in peer.requests[0]


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK, b"<b/>"),
        (b"\r\n" + OK, b"<b/>"),
        (OK.replace(b"\r\n", b"\n"), b"<b/>"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"<b/>"),
        (b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, b"<b/>"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2;x=y\r\n<b\r\n2\r\n/>\r\n0\r\nT: x\r\n\r\n",
            b"<b/>",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),  # GIR, govoltbras
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (OK + b"\r\n", b"<b/>"),
        (OK + b"HTTP/1.1 200 OK\r\n\r\n", b"<b/>"),
        (OK.replace(b"4", b"5").replace(b"<b/>", "<ö/>".encode()), "<ö/>".encode()),
        (OK.replace(b"<b/>", "<ö/>".encode()), "<ö/>".encode()),  # counted in characters: glurp
        (OK.replace(b"4\r\n", b"4\r\nContent-Encoding: deflate\r\n"), b"<b/>"),  # only labelled: govoltbras
        (OK.replace(b"4\r\n", b"4\r\nContent-Encoding: gzip\r\n"), b"<b/>"),
    ],
)
@pytest.mark.parametrize("close", [True, False])
async def test_answers_are_understood_in_every_shape(answer: bytes, body: bytes, close: bool) -> None:
    assert (await answer_to(answer, close=close)).body == body


@pytest.mark.parametrize("head", [b"HTTP/1.0 200\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n"])
async def test_an_answer_without_a_length_ends_with_its_connection(head: bytes) -> None:
    assert (await answer_to(head + b"<b/>")).body == b"<b/>"
    assert (await answer_to(head)).body == b""


@pytest.mark.parametrize(("encoding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_answer_is_unpacked(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    body = encode(b"<b/>")
    head = f"HTTP/1.1 500 Oh\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    assert await answer_to(head.encode() + body) == HttpAnswer(500, "", b"<b/>")


@pytest.mark.parametrize("status", [200, 202, 301, 302, 307, 400, 401, 404, 500, 503])
async def test_every_status_is_an_answer_and_none_is_followed(status: int) -> None:
    """A fault may come with any status; an HTML login page comes with 200 (shiv3 #178)."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: text/html\r\nLocation: http://127.0.0.1:1/\r\n"
    html = f"{head}Content-Length: 6\r\n\r\n<html>"
    assert await answer_to(html.encode()) == HttpAnswer(status, "text/html", b"<html>")


async def test_of_two_content_types_the_first_counts() -> None:
    """govoltbras sends two."""
    answer = OK.replace(
        b"Content-Length", "Content-Type: text/plain\r\nX: ä\r\nContent-Length".encode("latin-1")
    )
    assert await answer_to(answer) == HttpAnswer(200, "application/soap+xml", b"<b/>")


async def test_an_answer_in_single_bytes_is_the_same_answer() -> None:
    class Slow(Peer):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1000)
            answer = self.answers.pop()
            for at in range(len(answer)):
                writer.write(answer[at : at + 1])
                await asyncio.sleep(0)
            writer.close()

    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<b/>\r\n0\r\n\r\n"
    for answer in (OK, chunked, b"HTTP/1.1 100 Continue\r\n\r\n" + OK):
        async with serving(Slow(answer)) as address, client() as to:
            assert (await to.post(address, XML, TYPE)).body == b"<b/>"


async def test_a_peer_that_speaks_before_it_is_asked_is_understood_too() -> None:
    class Hasty(Peer):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(self.answers.pop())
            await reader.read(1000)
            writer.close()

    async with serving(Hasty(OK, b"SSH-2.0-OpenSSH_9.2p1\r\n")) as address, client() as to:
        with pytest.raises(Unreachable, match="does not answer in HTTP: b'SSH-2"):
            await to.post(address, XML, TYPE)
        assert (await to.post(address, XML, TYPE)).body == b"<b/>"


async def test_a_port_nobody_listens_on_refuses() -> None:
    async with serving(Peer()) as address:
        pass
    async with client() as to:
        with pytest.raises(Unreachable) as unreachable:
            await to.post(address, XML, TYPE)
    assert unreachable.value.reason == "refused"
    assert unreachable.value.description == f"connection refused by 127.0.0.1:{address.port}"


async def test_a_named_peer_is_shown_with_name_and_address() -> None:
    async with serving(Peer()) as where:
        pass
    address = Address("", "http", "cp1.example.net", where.port, "/", "127.0.0.1")
    async with client() as to:
        with pytest.raises(
            Unreachable, match=rf"refused by cp1\.example\.net \(127\.0\.0\.1:{where.port}\)$"
        ):
            await to.post(address, XML, TYPE)


async def test_an_address_without_a_route_is_unreachable() -> None:
    async with client(timeout=5) as to:
        with pytest.raises(Unreachable) as unreachable:
            await to.post(Address("", "http", "255.255.255.255", 80, "/", "255.255.255.255"), XML, TYPE)
    assert unreachable.value.reason == "unreachable"
    assert unreachable.value.description.startswith("no connection to 255.255.255.255:80: ")


async def test_a_peer_that_does_not_answer_times_out() -> None:
    """Java-OCA leaves the connection open when wsa:To is not exactly its own."""
    assert await failure_of(b"", close=False, timeout=SOON) == (
        "timeout",
        "no answer from PEER within 0.05 s",
    )
    half = OK[:-1]
    assert await failure_of(half, close=False, timeout=SOON) == (
        "timeout",
        "no answer from PEER within 0.05 s",
    )


async def test_a_peer_that_does_not_accept_times_out() -> None:
    """A listening socket whose queue is full lets nobody in."""
    with socket.socket() as listening, socket.socket() as first:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        host, port = listening.getsockname()
        first.connect((host, port))
        async with client(connect_timeout=SOON) as to:
            with pytest.raises(Unreachable) as unreachable:
                await to.post(Address("", "http", host, port, "/", host), XML, TYPE)
    assert unreachable.value.reason == "timeout"
    assert unreachable.value.description == f"no connection to 127.0.0.1:{port} within 0.05 s"


async def test_a_peer_that_closes_without_an_answer_is_told_so() -> None:
    assert await failure_of(b"") == ("unreachable", "PEER closed the connection without an answer")
    assert await failure_of(b"HTTP/1.1 100 Continue\r\n\r\n") == (
        "unreachable",
        "PEER closed the connection without an answer",
    )


async def test_nobody_waits_for_an_answer_in_another_protocol() -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    assert await failure_of(switching, close=False) == (
        "unreachable",
        "PEER changes to another protocol, which it was not asked for (HTTP 101)",
    )


async def test_interim_answers_do_not_go_on_for_ever() -> None:
    """Read as fast as they come, they would keep the gateway from everything else."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert await failure_of(interim * 1000, close=False) == (
        "unreachable",
        "PEER sends interim answers without end",
    )


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (
            b"HTTP/1.1 200 OK\r\nConte",
            "PEER closed the connection in the middle of its answer: b'HTTP/1.1 200 OK\\r\\nConte'",
        ),
        (OK[:-1], "PEER closed the connection in the middle of its answer, after 3 of 4 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<b/>\r\n",
            "PEER closed the connection in the middle of its answer, after 4 bytes of chunks",
        ),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "PEER does not answer in HTTP: b'SSH-2.0-OpenSSH_9.2p1\\r\\n'"),
        (b"HTTP/2 200\r\n\r\n", "PEER answers in broken HTTP: Bad status line"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n<b/>",
            "PEER answers in Transfer-Encoding 'gzip'; expected chunked",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\n<b/>",
            "the answer of PEER cannot be read: "
            "Content-Encoding 'br' is not known; expected gzip, deflate or identity",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "the answer of PEER cannot be read: b'x' is no chunk size; expected hexadecimal digits and CRLF",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(XML, mtime=0)[:-9],
            "the answer of PEER cannot be read: the gzip body ends too early",
        ),
    ],
)
async def test_an_answer_that_cannot_be_read_says_what_came(answer: bytes, problem: str) -> None:
    assert await failure_of(answer) == ("unreachable", problem)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(101),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(101), mtime=0),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\n" + zlib.compress(bytes(10_000)),
    ],
)
async def test_an_answer_over_the_limit_is_not_taken(answer: bytes) -> None:
    assert await failure_of(answer, limit=100) == (
        "too_large",
        "the answer of PEER cannot be read: the body is larger than the limit of 100 bytes",
    )


async def test_an_endless_head_is_not_taken() -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000
    assert await failure_of(answer) == (
        "too_large",
        "the head of the answer of PEER is longer than 16384 bytes",
    )


# Connections.


def test_the_client_is_as_patient_as_a_configuration_by_default() -> None:
    ours, theirs = CallbackClient(), models.Callbacks()
    assert (ours.timeout, ours.connect_timeout, ours.limit) == (
        theirs.timeout, theirs.connect_timeout, theirs.answer,
    )  # fmt: skip


async def test_every_call_has_a_connection_of_its_own() -> None:
    """The custom of OCPP-S (OCPP-J 1.6, 6.2.4)."""
    peer = Peer(OK, OK, close=False)
    async with serving(peer) as address, client() as to:
        for _ in range(2):
            await to.post(address, XML, TYPE)
    assert peer.connections == 2


async def draining(to: CallbackClient, address: Address) -> None:
    with pytest.raises(Unreachable) as unreachable:
        await to.post(address, XML, TYPE)
    assert (unreachable.value.reason, unreachable.value.description) == (
        "draining",
        "the gateway is stopping",
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_closing_the_client_ends_the_calls_under_way(scheme: str) -> None:
    """The peer is silent: a call waits for its answer, and with https it is still connecting."""
    peer = Peer(b"", close=False)
    async with serving(peer) as where, asyncio.TaskGroup() as tasks:
        address = Address("", scheme, where.host, where.port, "/", where.ip)
        to = CallbackClient()
        tasks.create_task(draining(to, address))
        await peer.asked.wait()
        await to.close()


async def test_closing_the_client_ends_the_calls_nobody_accepts() -> None:
    with socket.socket() as listening, socket.socket() as first:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        host, port = listening.getsockname()
        first.connect((host, port))
        to = CallbackClient()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(draining(to, Address("", "http", host, port, "/", host)))
            await asyncio.sleep(0)  # it begins to connect
            await to.close()


async def test_a_closed_client_calls_nobody() -> None:
    peer = Peer(OK)
    async with serving(peer) as address:
        to = CallbackClient()
        await to.close()
        await draining(to, address)
        await to.close()
    assert peer.connections == 0


async def test_a_cancelled_call_leaves_no_connection_behind() -> None:
    peer = Peer(b"", close=False)
    async with serving(peer) as address, client() as to:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SOON):
                await to.post(address, XML, TYPE)
        async with asyncio.timeout(10):
            await peer.writers[0].wait_closed()


# TLS.


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        shlex.split(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
            "-subj /CN=cp1 -addext subjectAltName=IP:127.0.0.1,DNS:cp1.example.net "
            f"-keyout {path} -out {path.with_suffix('.crt')}"
        ),
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


async def test_https_checks_the_name_in_the_url_and_not_the_address(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    async with (
        serving(Peer(OK, OK), tls=server) as where,
        client(tls=ssl.create_default_context(cafile=certificate)) as to,
    ):
        for host in ("127.0.0.1", "cp1.example.net"):
            address = Address("", "https", host, where.port, "/", "127.0.0.1")
            assert (await to.post(address, XML, TYPE)).body == b"<b/>"
        other = Address("", "https", "cp2.example.net", where.port, "/", "127.0.0.1")
        with pytest.raises(
            Unreachable, match=r"^TLS with cp2\.example\.net \(127\.0\.0\.1:\d+\) failed: Hostname mismatch"
        ):
            await to.post(other, XML, TYPE)


async def test_https_without_a_trusted_certificate_is_unreachable(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    async with serving(Peer(OK), tls=server) as address, client() as to:
        with pytest.raises(Unreachable) as unreachable:
            await to.post(address, XML, TYPE)
    assert unreachable.value.reason == "unreachable"
    assert unreachable.value.description == f"TLS with {address} failed: self-signed certificate"


async def test_https_to_a_plain_port_is_unreachable() -> None:
    async with serving(Peer(OK)) as where, client() as to:
        address = Address("", "https", "127.0.0.1", where.port, "/", "127.0.0.1")
        with pytest.raises(Unreachable, match=r"^TLS with .* failed: "):
            await to.post(address, XML, TYPE)

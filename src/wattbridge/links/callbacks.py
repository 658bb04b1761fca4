"""Where a SOAP charge point answers, whether we may call there, and the HTTP client that does.

A charge point says in wsa:From where it wants to be called. That is a claim of whoever sent the message, and
the gateway stands in networks the sender cannot reach. So an address is used only when it is the sender's
own, or when the operator listed its network; a name is resolved once, and the connection goes to the very IP
address that was checked. What is posted, and what the answer means, belongs to the links.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import cast
from urllib.parse import quote

from aiohttp import hdrs
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpResponseParser, RawResponseMessage

from wattbridge.links import bodies
from wattbridge.links.bodies import BadBody, Chunks
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.soap import LARGEST_BODY

Network = IPv4Network | IPv6Network
IpAddress = IPv4Address | IPv6Address

_MOST_INTERIM = 8  # answers like 100 Continue before the real one

# Gives the IP addresses of a name. Raises OSError when it has none, or nobody answers.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_MOST_URL = 2048  # characters

# What "no address, answer on this connection" looks like, in both WS-Addressing versions.
ANONYMOUS = frozenset(
    {
        "http://www.w3.org/2005/08/addressing/anonymous",
        "http://www.w3.org/2005/08/addressing/none",
        "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous",
        "http://schemas.xmlsoap.org/ws/2004/03/addressing/role/anonymous",
    }
)

# Addresses nobody may have us call. Each is let through only by a listed network inside of it: who lists
# 0.0.0.0/0 has not listed loopback. The narrower ones stand first, since the first one names the reason.
_NEVER: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("169.254.169.254/32", "cloud metadata service"),
        ("100.100.100.200/32", "cloud metadata service"),  # Alibaba
        ("168.63.129.16/32", "cloud metadata service"),  # Azure
        ("192.0.0.192/32", "cloud metadata service"),  # Oracle
        ("fd00:ec2::254/128", "cloud metadata service"),  # Amazon
        ("fd20:ce::254/128", "cloud metadata service"),  # Google
        ("0.0.0.0/32", "unspecified address"),
        ("::/128", "unspecified address"),
        ("0.0.0.0/8", "address without a network"),
        ("127.0.0.0/8", "loopback address"),
        ("::1/128", "loopback address"),
        ("169.254.0.0/16", "link-local address"),
        ("fe80::/10", "link-local address"),
        ("fec0::/10", "site-local address"),
        ("224.0.0.0/4", "multicast address"),
        ("ff00::/8", "multicast address"),
        ("255.255.255.255/32", "broadcast address"),
        ("240.0.0.0/4", "reserved address"),
        ("192.88.99.0/24", "6to4 relay address"),
        ("::/96", "IPv6 form of an IPv4 address"),
        ("::ffff:0:0:0/96", "IPv6 form of an IPv4 address"),  # SIIT, RFC 7915
        ("64:ff9b::/96", "NAT64 form of an IPv4 address"),
        ("64:ff9b:1::/48", "NAT64 form of an IPv4 address"),
        ("2002::/16", "6to4 form of an IPv4 address"),
        ("2001::/32", "Teredo form of an IPv4 address"),
        ("100::/64", "discard address"),
    )
)

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*({_LABEL})\.?")
# inet_aton reads 2130706433, 0x7f.1 and 0177.1 as addresses; no name ends in such a part (WHATWG URL, 3.5).
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Address:
    """One place to call: the URL as given, taken apart, and the one IP address that was checked.

    ``target`` is path and query as they go on the wire. ``origin`` says where the URL came from
    (``wsa:From``, ``wsa:ReplyTo``, ``template``, ``configuration``).
    """

    url: str
    scheme: str
    host: str  # without brackets
    port: int
    target: str
    ip: str
    origin: str = "configuration"

    @property
    def authority(self) -> str:
        """The value of the Host header: the port only where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        where = f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"
        return where if _ip(self.host) is not None else f"{self.host} ({where})"


@dataclass(frozen=True, slots=True)
class Refusal:
    """There is no address to call. ``text`` names every candidate and why it was refused."""

    text: str
    reason: str = "not_connected"  # a word of reasons.REASONS


_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Which addresses may be called.

    *networks* are those the operator listed. *template* makes an address for charge points that name no
    usable one: ``{source_ip}`` stands for the address the message came from, ``{charger}`` for the identity,
    percent-encoded (``http://{source_ip}:8090/``). *own* are addresses of the gateway itself, see
    ``own_addresses``.
    """

    networks: tuple[Network, ...] = ()
    template: str | None = None
    own: tuple[IpAddress, ...] = ()
    resolve_timeout: float = 5.0  # seconds, for a name

    def why_not(self, ip: str, source_ip: str) -> str:
        """Say why *ip* must not be called for a message that came from *source_ip*; "" when it may."""
        address = _ip(ip)
        if address is None:
            return "not an IP address"
        return self.never(address) or self._elsewhere(address, _ip(source_ip))

    def never(self, address: IpAddress) -> str:
        """Say what makes *address* one that nobody may name; "" when nothing does."""
        never = _NEVER
        if address in self.own:
            never = ((ip_network(address), "address of this gateway"), *never)
        for form in (address, *_embedded(address)):
            for network, what in never:
                if form in network and not self._listed(form, inside=network):
                    return what if form is address else f"{what} ({form}) written as {address}"
        return ""

    def _elsewhere(self, address: IpAddress, source: IpAddress | None) -> str:
        if address == source or self._listed(address):
            return ""
        return f"neither the address the message came from, {source or 'unknown'}, nor in a listed network"

    def _listed(self, address: IpAddress, inside: Network | None = None) -> bool:
        return any(
            address in network and (inside is None or _is_subnet(network, inside))
            for network in self.networks
        )

    async def check(
        self, url: str, source_ip: str, resolve: Resolve, *, origin: str, trusted: bool = False
    ) -> Address | str:
        """Take *url* apart, resolve its host and check where that leads.

        *trusted* is for what the operator wrote: it may lead anywhere, but a name is not the operator's word
        for what the name server answers, so names do not lead to the addresses nobody may name.
        Returns the address, or why it is refused.
        """
        try:
            parts = _read_url(url)
        except ValueError as problem:
            return str(problem)
        literal = _ip(parts.host)
        if literal is not None:
            found: Sequence[str] = [str(literal)]
        elif parts.host == "localhost" or parts.host.endswith(".localhost"):
            found = ["127.0.0.1"]  # whatever a name server says of it (RFC 6761, 6.3)
            literal = IPv4Address("127.0.0.1")
        else:
            try:
                found = await _resolved(parts, resolve, self.resolve_timeout)
            except ValueError as problem:
                return str(problem)
        why_not = ""
        for ip in found:
            if not trusted:
                refused = self.why_not(ip, source_ip)
            else:
                address = _ip(ip)
                refused = "not an IP address" if address is None else self.never(address)
                if literal is not None:
                    refused = ""
            if not refused:
                return Address(
                    url.strip(), parts.scheme, parts.host, parts.port, parts.target, _normal(ip), origin
                )
            why_not = why_not or (refused if literal is not None else f"{parts.host} is {ip}: {refused}")
        return why_not


def own_addresses(hosts: Iterable[str]) -> tuple[IpAddress, ...]:
    """Find the addresses of this gateway among the *hosts* it listens on.

    Names and wildcards (``0.0.0.0``, ``::``) tell none. Loopback is left out: nobody may name it anyway, and
    whoever lists 127.0.0.0/8 has charge points beside the gateway, on its very address.
    """
    found = (_ip(host) for host in hosts)
    return tuple(ip for ip in found if ip is not None and not ip.is_unspecified and not ip.is_loopback)


async def choose(
    policy: AddressPolicy,
    *,
    identity: str,
    source_ip: str,
    pinned: str | None = None,
    from_address: str | None = None,
    reply_to: str | None = None,
    resolve: Resolve | None = None,
) -> Address | Refusal:
    """Choose the address where charge point *identity* is called.

    *pinned* is from the configuration, and the only candidate when there is one. Else the first usable of
    *from_address* (wsa:From), *reply_to* (wsa:ReplyTo, when it is not anonymous) and the policy's template.
    *source_ip* is where the message with these headers came from.
    """
    resolve = resolve or resolve_name
    refused: list[str] = []

    async def usable(label: str, url: str, *, trusted: bool = False) -> Address | None:
        found = await policy.check(url, source_ip, resolve, origin=label, trusted=trusted)
        if isinstance(found, Address):
            return found
        refused.append(f"{label} {_shown(url)} refused ({found})")
        return None

    if pinned is not None:
        address = await usable("configuration", pinned, trusted=True)
        return address or _refusal(identity, refused)

    if from_address is None or not from_address.strip():
        refused.append("no wsa:From" if from_address is None else "wsa:From is empty")
    elif from_address.strip() in ANONYMOUS:
        refused.append("wsa:From is anonymous")
    elif address := await usable("wsa:From", from_address):
        return address
    if (
        reply_to is not None
        and reply_to.strip()
        and reply_to.strip() not in ANONYMOUS
        and (address := await usable("wsa:ReplyTo", reply_to))
    ):
        return address
    if policy.template is None:
        refused.append("no template configured")
    else:
        url, trusted = _fill(policy.template, identity, source_ip)
        if address := await usable("template", url, trusted=trusted):
            return address
    return _refusal(identity, refused)


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of *host*. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


async def _resolved(parts: _Parts, resolve: Resolve, within: float) -> Sequence[str]:
    """Resolve a name to at least one address. Raises ValueError with the reason why it has none."""
    try:
        async with asyncio.timeout(within):
            found = await resolve(parts.host, parts.port)
    except TimeoutError:
        raise ValueError(f"the name {parts.host} was not resolved within {within:g} s") from None
    except (OSError, UnicodeError):
        found = ()
    if not found:
        raise ValueError(f"the name {parts.host} has no address")
    return found


def _refusal(identity: str, refused: list[str]) -> Refusal:
    return Refusal(f"no usable callback address for {identity}: {'; '.join(refused)}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 200 else text[:200] + "…")


def _fill(template: str, identity: str, source_ip: str) -> tuple[str, bool]:
    """Fill in a template. Also says whether its host is the operator's word, and not partly a sender's."""
    authority = template.partition("://")[2].partition("/")[0]
    source = f"[{source_ip}]" if ":" in source_ip else source_ip
    url = template.replace("{source_ip}", source).replace("{charger}", quote(identity, safe=""))
    return url, "{" not in authority


@dataclass(frozen=True, slots=True)
class _Parts:
    scheme: str
    host: str
    port: int
    target: str


def _read_url(url: str) -> _Parts:
    """Take an http or https URL apart, strictly. Raises ValueError with the reason."""
    url = url.strip()
    if len(url) > _MOST_URL:
        raise ValueError(f"longer than {_MOST_URL} characters")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("has characters that cannot stand in a URL")
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError("not a URL")
    scheme, authority, path, query, fragment = match.groups()
    scheme = scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise ValueError("neither http nor https")
    if "@" in authority:
        raise ValueError("has user information")
    if fragment is not None:
        raise ValueError("has a fragment")
    authority = authority.lower()
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("host and port cannot be told apart")
        port = rest[1:]
        if "%" in host or ":" not in host or _ip(host) is None:
            raise ValueError(f"[{host}] is not an IPv6 address")
    else:
        host, _, port = authority.partition(":")
        if ":" in port:
            raise ValueError("host and port cannot be told apart")
        if not host:
            raise ValueError("no host")
        if _ip(host) is None:
            name = _NAME.fullmatch(host) if len(host) <= 253 else None
            if name is None or _NUMBER.fullmatch(name[1]):
                raise ValueError(f"{host} is neither an IP address nor a host name")
            host = host.removesuffix(".")
    if port and not (port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError(f"port {port} is not between 1 and 65535")
    return _Parts(scheme, host, int(port) if port else _DEFAULT_PORTS[scheme], (path or "/") + (query or ""))


def _ip(text: str) -> IpAddress | None:
    """Read an IP address; an IPv4-mapped one (``::ffff:10.1.2.3``) is the IPv4 address it stands for."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _normal(ip: str) -> str:
    return str(_ip(ip) or ip)


def _embedded(address: IpAddress) -> list[IPv4Address]:
    """Find the IPv4 addresses that hide in an IPv6 one: where a translator would send it."""
    if isinstance(address, IPv4Address):
        return []
    if address.teredo is not None:
        return list(address.teredo)
    if address.sixtofour is not None:
        return [address.sixtofour]
    return [IPv4Address(int(address) & 0xFFFF_FFFF)] if any(address in n for n in _LOW_32_BITS) else []


_LOW_32_BITS = tuple(IPv6Network(n) for n in ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96"))


def _is_subnet(network: Network, of: Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(of, IPv4Network) and network.subnet_of(of)
    return isinstance(of, IPv6Network) and network.subnet_of(of)


# The client.


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer to a POST, whatever its status. ``body`` is decompressed."""

    status: int
    content_type: str
    body: bytes


class CallbackClient:
    """Posts to charge points.

    Every call has a connection of its own. That is the custom of OCPP-S (OCPP-J 1.6, 6.2.4), and the only way
    to know what happened: when a kept connection closes without an answer nobody can tell whether the call
    was read, and a RemoteStartTransaction must not happen twice.

    Heads are written as old devices want to read them: names in their usual letter case, Content-Length and
    never chunks, head and body in one write, no Expect. Redirects are not followed, proxies not asked,
    cookies not kept.
    """

    def __init__(
        self,
        *,
        # The defaults are those of the configuration.
        timeout: float = 30.0,  # seconds, for a call: connection and answer
        connect_timeout: float = 5.0,  # seconds
        limit: int = LARGEST_BODY,  # bytes of an answer, as sent, and again decompressed
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.timeout = timeout
        self.connect_timeout = connect_timeout
        self.limit = limit
        self._tls = tls
        self._closed = False
        self._deadlines: set[asyncio.Timeout] = set()  # of the calls under way
        self._connections: set[_Connection] = set()

    async def post(
        self, address: Address, body: bytes, content_type: str, soap_action: str | None = None
    ) -> HttpAnswer:
        """Post *body* to *address*.

        *content_type* goes out as given (``application/soap+xml; charset=utf-8; action="/Reset"``);
        *soap_action* is for SOAP 1.1 (``/Reset``, quoted here).
        Raises Unreachable with reason refused, timeout, unreachable or too_large, and draining when the
        client is closed or is being closed meanwhile.
        """
        request = _write_request(address, body, content_type, soap_action)
        if self._closed:
            raise _draining()
        try:
            async with asyncio.timeout(self.timeout) as deadline:
                self._deadlines.add(deadline)
                try:
                    return await self._exchange(await self._connect(address), address, request)
                finally:
                    self._deadlines.discard(deadline)
        except TimeoutError:
            if self._closed:
                raise _draining() from None
            raise Unreachable("timeout", f"no answer from {address} within {self.timeout:g} s") from None

    async def close(self) -> None:
        """Close for good: all calls under way, and those to come, end with Unreachable, draining."""
        self._closed = True
        for connection in tuple(self._connections):
            connection.fail(_draining())
        # A call that is still connecting has no connection that could be failed: its time is up instead.
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(0.0)
        await asyncio.sleep(0)  # connections close in the next turn of the loop

    async def _exchange(self, connection: _Connection, address: Address, request: bytes) -> HttpAnswer:
        try:
            message, body = await connection.exchange(request)
        finally:
            connection.close()
        try:
            body = bodies.decode(body, message.headers.get(hdrs.CONTENT_ENCODING, ""), self.limit)
        except BadBody as problem:
            raise _unreadable(address, problem) from None
        return HttpAnswer(message.code, message.headers.get(hdrs.CONTENT_TYPE, ""), body)

    async def _connect(self, address: Address) -> _Connection:
        loop = asyncio.get_running_loop()
        secure = address.scheme == "https"
        if secure and self._tls is None:
            self._tls = ssl.create_default_context()
        try:
            async with asyncio.timeout(self.connect_timeout):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self, address, loop),
                    address.ip,
                    address.port,
                    ssl=self._tls if secure else None,
                    server_hostname=address.host if secure else None,
                )
        except ConnectionRefusedError:
            raise Unreachable("refused", f"connection refused by {address}") from None
        except TimeoutError:
            text = f"no connection to {address} within {self.connect_timeout:g} s"
            raise Unreachable("timeout", text) from None
        except ssl.SSLError as problem:
            said = getattr(problem, "verify_message", "") or problem.reason or str(problem)
            raise Unreachable("unreachable", f"TLS with {address} failed: {said}") from None
        except OSError as problem:
            raise Unreachable(
                "unreachable", f"no connection to {address}: {problem.strerror or problem}"
            ) from None
        return connection


_MOST_HEAD = 16_384  # bytes
_HEAD_END = re.compile(rb"\r?\n\r?\n")


class _Connection(asyncio.Protocol):
    """One connection to a peer, and the one exchange on it."""

    __slots__ = (
        "_address",
        "_answer",
        "_body",
        "_buffer",
        "_chunks",
        "_client",
        "_gone",
        "_interim",
        "_length",
        "_loop",
        "_message",
        "_transport",
    )

    _transport: asyncio.Transport

    def __init__(self, client: CallbackClient, address: Address, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._address = address
        self._loop = loop
        self._answer: asyncio.Future[tuple[RawResponseMessage, bytes]] | None = None
        self._buffer = b""  # of the answer's head
        self._interim = 0  # heads that came before it
        self._message: RawResponseMessage | None = None
        self._chunks: Chunks | None = None
        self._length: int | None = None  # bytes of the body; None: it ends with the connection, or in chunks
        self._body = bytearray()
        self._gone = False

    async def exchange(self, request: bytes) -> tuple[RawResponseMessage, bytes]:
        """Send the request and wait for the answer to it. Raises Unreachable."""
        self._answer = self._loop.create_future()
        if self._gone:
            self._ended()
        else:
            self._transport.write(request)
            if self._buffer:
                self._received(b"")
        return await self._answer

    def close(self) -> None:
        if self._answer is not None and self._answer.done() and not self._answer.cancelled():
            self._transport.close()
        else:
            self._transport.abort()

    def fail(self, problem: Unreachable) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(problem)
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._client._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client._connections.discard(self)
        self._gone = True
        self._ended()

    def eof_received(self) -> None:
        self._gone = True
        self._ended()

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self._buffer = (self._buffer + data)[:_MOST_HEAD]  # some speak before they are asked
        elif not self._answer.done():
            self._received(data)
        else:
            self._transport.abort()  # nobody asked

    def _received(self, data: bytes) -> None:
        try:
            while self._message is None:
                self._buffer += data
                message = self._read_head()
                if message is None:
                    return
                data, self._buffer = self._buffer, b""
                if not 100 <= message.code < 200:
                    self._begin_body(message)
                elif (interim := self._interim + 1) > _MOST_INTERIM:
                    text = f"{self._address} sends interim answers without end"
                    raise Unreachable("unreachable", text)
                else:
                    self._interim = interim
            self._read_body(data)
        except BadBody as problem:
            self.fail(_unreadable(self._address, problem))
        except Unreachable as problem:
            self.fail(problem)

    def _read_head(self) -> RawResponseMessage | None:
        """Take a head from the buffer, when all of it has come."""
        buffer = self._buffer = self._buffer.lstrip(b"\r\n")
        if not buffer.startswith(b"HTTP/"[: len(buffer)]):
            raise Unreachable("unreachable", f"{self._address} does not answer in HTTP: {buffer[:40]!r}")
        end = _HEAD_END.search(buffer, 0, _MOST_HEAD)
        if end is None:
            if len(buffer) >= _MOST_HEAD:
                text = f"the head of the answer of {self._address} is longer than {_MOST_HEAD} bytes"
                raise Unreachable("too_large", text)
            return None
        self._buffer = buffer[end.end() :]
        try:
            messages, _, _ = HttpResponseParser(
                BaseProtocol(self._loop),
                self._loop,
                _MOST_HEAD,
                max_line_size=_MOST_HEAD,
                max_field_size=_MOST_HEAD,
                response_with_body=False,
                auto_decompress=False,
            ).feed_data(bodies.readable_head(buffer[: end.end()]))
        except HttpProcessingError as problem:
            said = problem.message.partition("\n")[0].rstrip(":")
            raise Unreachable("unreachable", f"{self._address} answers in broken HTTP: {said}") from None
        return messages[0][0]

    def _begin_body(self, message: RawResponseMessage) -> None:
        self._message = message
        transfer = message.headers.get(hdrs.TRANSFER_ENCODING)
        length = message.headers.get(hdrs.CONTENT_LENGTH)
        limit = self._client.limit
        if message.code in (204, 304):
            self._length = 0
        elif transfer is not None:
            if transfer.strip().lower() != "chunked":
                text = f"{self._address} answers in Transfer-Encoding {transfer[:64]!r}; expected chunked"
                raise Unreachable("unreachable", text)
            self._chunks = Chunks(limit)
        elif length is not None:
            if not (length.isascii() and length.isdecimal()):
                text = f"{self._address} answers with Content-Length {length[:64]!r}"
                raise Unreachable("unreachable", text)
            self._length = int(length)
            if self._length > limit:
                raise BadBody("too_large", f"the body is larger than the limit of {limit} bytes")

    def _read_body(self, data: bytes) -> None:
        if self._chunks is not None:
            if self._chunks.feed(data):
                self._complete(bytes(self._chunks.body))
            return
        self._body += data
        if self._length is None:
            if len(self._body) > self._client.limit:
                raise BadBody("too_large", f"the body is larger than the limit of {self._client.limit} bytes")
        elif len(self._body) >= self._length:
            body, extra = bytes(self._body[: self._length]), bytes(self._body[self._length :])
            self._complete(bodies.counted_in_characters(body, extra, self._length))

    def _complete(self, body: bytes) -> None:
        assert self._answer is not None
        assert self._message is not None
        self._answer.set_result((self._message, body))

    def _ended(self) -> None:
        """The peer has said its last word."""
        if self._answer is None or self._answer.done():
            return
        if self._message is not None:
            if self._length is None and self._chunks is None:
                self._complete(bytes(self._body))
                return
            if self._chunks is None:
                so_far = f"{len(self._body)} of {self._length} bytes"
            else:
                so_far = f"{len(self._chunks.body)} bytes of chunks"
            text = f"{self._address} closed the connection in the middle of its answer, after {so_far}"
            self._answer.set_exception(Unreachable("unreachable", text))
        elif self._buffer:
            text = f"{self._address} closed the connection in the middle of its answer: {self._buffer[:40]!r}"
            self._answer.set_exception(Unreachable("unreachable", text))
        else:
            text = f"{self._address} closed the connection without an answer"
            self._answer.set_exception(Unreachable("unreachable", text))


def _draining() -> Unreachable:
    return Unreachable("draining", "the gateway is stopping")


def _unreadable(address: Address, problem: BadBody) -> Unreachable:
    reason = "too_large" if problem.reason == "too_large" else "unreachable"
    return Unreachable(reason, f"the answer of {address} cannot be read: {problem.problem}")


def _write_request(address: Address, body: bytes, content_type: str, soap_action: str | None) -> bytes:
    """Write head and body of a POST. Raises ValueError for what cannot stand in a head."""
    lines = {
        "Host": address.authority,
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        "Accept-Encoding": "gzip, deflate",
        "User-Agent": "wattbridge",
        "Connection": "close",
    }
    if soap_action is not None:
        lines["SOAPAction"] = f'"{soap_action}"'
    for name, value in lines.items():
        if not (name.isprintable() and value.isprintable()):
            raise ValueError(f"header {name!r}: {value!r} cannot be sent")
    if not address.target.isprintable() or " " in address.target:
        raise ValueError(f"request target {address.target!r} cannot be sent")
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {address.target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body

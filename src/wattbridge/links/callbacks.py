"""Where a SOAP charge point answers, whether we may call there, and the HTTP client that does.

A charge point says in wsa:From where it wants to be called. That is a claim of whoever sent the message, and
the gateway stands in networks the sender cannot reach. So an address is used only when it is the sender's
own, or when the operator listed its network; a name is resolved once, and the connection goes to the very IP
address that was checked. What is posted, and what the answer means, belongs to the links.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Network,
    ip_network,
)
from urllib.parse import quote

from wattbridge.links.http_client import (
    Address,
    HttpAnswer,
    HttpClient,
    IpAddress,
    UrlParts,
    read_ip,
    read_url,
    write_request,
)
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.soap import LARGEST_BODY

Network = IPv4Network | IPv6Network
# Gives the IP addresses of a name. Raises OSError when it has none, or nobody answers.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

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


@dataclass(frozen=True, slots=True)
class Refusal:
    """There is no address to call. ``text`` names every candidate and why it was refused."""

    text: str
    reason: str = "not_connected"  # a word of reasons.REASONS


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
        address = read_ip(ip)
        if address is None:
            return "not an IP address"
        return self.never(address) or self._elsewhere(address, read_ip(source_ip))

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
            parts = read_url(url)
        except ValueError as problem:
            return str(problem)
        literal = read_ip(parts.host)
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
                address = read_ip(ip)
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
    found = (read_ip(host) for host in hosts)
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


async def _resolved(parts: UrlParts, resolve: Resolve, within: float) -> Sequence[str]:
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


def _normal(ip: str) -> str:
    return str(read_ip(ip) or ip)


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


class CallbackClient(HttpClient):
    """Posts to charge points.

    Every call has a connection of its own. That is the custom of OCPP-S (OCPP-J 1.6, 6.2.4), and the only way
    to know what happened: when a kept connection closes without an answer nobody can tell whether the call
    was read, and a RemoteStartTransaction must not happen twice.

    Head and body go in one write, as old devices want to read them. Redirects are not followed, proxies not
    asked, cookies not kept.
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
        super().__init__(connect_timeout=connect_timeout, limit=limit, tls=tls)
        self.timeout = timeout

    async def post(
        self,
        address: Address,
        body: bytes,
        content_type: str,
        soap_action: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - told to whoever waits, as the client's own
        *,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Post *body* to *address*.

        *content_type* goes out as given (``application/soap+xml; charset=utf-8; action="/Reset"``);
        *soap_action* is for SOAP 1.1 (``/Reset``, quoted here). *timeout* takes the place of the client's,
        *headers* go along.
        Raises Unreachable with reason refused, timeout, unreachable or too_large, and draining when the
        client is closed or is being closed meanwhile.
        """
        request = write_request(address, body, content_type, soap_action, headers)
        within = self.timeout if timeout is None else timeout
        late = Unreachable("timeout", f"no answer from {address} within {within:g} s")
        async with self.within(within, late):
            connection = await self.connect(address)
            try:
                return await self.exchange(connection, address, request)
            finally:
                connection.close()

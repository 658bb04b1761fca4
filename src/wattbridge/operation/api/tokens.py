"""Tokens: who may ask for what, how a token is recognised, and sessions of those who have shown one.

A token is kept as it is, or hashed by scrypt, which is slow on purpose: what was recognised once is
remembered, and wrong ones wait for each other.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from wattbridge.operation.api.pages import Role
from wattbridge.operation.api.refusals import Refusal

COST, BLOCK_SIZE, LANES = 14, 8, 1  # scrypt: 2 ** 14 rounds, 16 MiB, about 40 ms
MOST_MEMORY = 512 << 20  # bytes that one hash may take
LONGEST_TOKEN = 1024  # bytes
MOST_TRIED = 8  # tokens that wait to be hashed at a time; who comes on top is told to come back
MOST_REMEMBERED = 256  # tokens that were recognised

SESSION_IDLE = 12 * 3600.0  # seconds without a request, after which a session ends
SESSION_AGE = 7 * 86400.0  # seconds after which it ends in any case
MOST_SESSIONS = 1000  # the one that was used longest ago gives way


@dataclass(frozen=True, slots=True)
class Token:
    """One token of the configuration: its name, what may be done with it, and what shows it."""

    name: str
    role: Role
    secret: str = field(default="", repr=False)  # the token itself; empty when only its hash is known
    hash: str = field(default="", repr=False)  # "scrypt$14$8$1$SALT$HASH"


@dataclass(slots=True)
class Session:
    """Somebody has shown *token*, and is known by a cookie from then on."""

    token: Token
    csrf: str
    began: float
    used: float


def hash_token(token: str, salt: bytes | None = None) -> str:
    """What may stand in the configuration instead of *token*: ``scrypt$14$8$1$SALT$HASH`` in Base64."""
    salt = salt if salt is not None else secrets.token_bytes(16)
    made = _scrypt(token.encode(), salt, COST, BLOCK_SIZE, LANES)
    return f"scrypt${COST}${BLOCK_SIZE}${LANES}${_base64(salt)}${_base64(made)}"


def is_hash_of(text: str, token: str) -> bool:
    """Whether *text*, a hash of a token, is that of *token*."""
    _, cost, size, lanes, salt, expected = text.split("$")
    made = _scrypt(token.encode(), base64.b64decode(salt), int(cost), int(size), int(lanes))
    return hmac.compare_digest(made, base64.b64decode(expected))


class Access:
    """Recognises tokens and sessions. *tokens* may be changed while it is used, by ``go_by``."""

    def __init__(self, tokens: Iterable[Token] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens = tuple(tokens)
        self._clock = clock
        self._trying = asyncio.Lock()
        self._tried = 0  # tokens that wait to be hashed, and the one that is
        self._key = secrets.token_bytes(32)
        self._recognised: dict[bytes, Token] = {}  # digest of what was shown → whose it is
        self._sessions: dict[bytes, Session] = {}  # digest of the cookie → the session; the last used last

    def go_by(self, tokens: Iterable[Token]) -> None:
        """From now on these count. Sessions of tokens that are gone, or may do something else, end."""
        self._tokens = tuple(tokens)
        self._recognised = {key: token for key, token in self._recognised.items() if token in self._tokens}
        self._sessions = {key: each for key, each in self._sessions.items() if each.token in self._tokens}

    async def recognise(self, shown: str) -> Token | None:
        """Whose token that is; None when it is nobody's. Raises Refusal when too many are tried at once."""
        presented = shown.encode(errors="replace")
        if not presented or len(presented) > LONGEST_TOKEN:
            return None
        # Each is compared, whichever is right, so that the time tells nothing.
        plain = [
            token
            for token in self._tokens
            if token.secret and hmac.compare_digest(presented, token.secret.encode())
        ]
        if plain:
            return plain[0]
        digest = self._digest(presented)
        known = self._recognised.get(digest)
        hashed = tuple(token for token in self._tokens if token.hash)
        if known is not None or not hashed:
            return known
        if self._tried >= MOST_TRIED:
            raise Refusal(429, "rate_limited", "too many tokens are tried at once: come back in a second")
        self._tried += 1
        try:
            async with self._trying:
                found = await asyncio.to_thread(_whose, hashed, shown)
        finally:
            self._tried -= 1
        if found is not None and found in self._tokens:  # or others count meanwhile
            self._recognised[digest] = found
            if len(self._recognised) > MOST_REMEMBERED:
                del self._recognised[next(iter(self._recognised))]
            return found
        return None

    def begin(self, token: Token) -> tuple[str, Session]:
        """A session of who has shown *token*, and the cookie that it is known by."""
        cookie, now = secrets.token_urlsafe(32), self._clock()
        session = Session(token, secrets.token_urlsafe(32), now, now)
        self._sessions[self._digest(cookie.encode())] = session
        if len(self._sessions) > MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return cookie, session

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie; None when there is none, or none any more."""
        digest, now = self._digest(cookie.encode(errors="replace")), self._clock()
        session = self._sessions.pop(digest, None)
        if session is None or now - session.used > SESSION_IDLE or now - session.began > SESSION_AGE:
            return None
        session.used = now
        self._sessions[digest] = session
        return session

    def end(self, cookie: str) -> None:
        self._sessions.pop(self._digest(cookie.encode(errors="replace")), None)

    def _digest(self, what: bytes) -> bytes:
        """What it is found by: a dict compares, and what it compares must not be the secret itself."""
        return hmac.digest(self._key, what, "sha256")


def _whose(tokens: Iterable[Token], shown: str) -> Token | None:
    found = [token for token in tokens if is_hash_of(token.hash, shown)]
    return found[0] if found else None


def _scrypt(token: bytes, salt: bytes, cost: int, size: int, lanes: int) -> bytes:
    return hashlib.scrypt(token, salt=salt, n=1 << cost, r=size, p=lanes, maxmem=MOST_MEMORY, dklen=32)


def _base64(what: bytes) -> str:
    return base64.b64encode(what).decode()

"""HTTP bodies: content codings (gzip, deflate) and the chunked transfer coding, every one of them bounded.

Pure: bytes in, bytes out, for the listener and for the callback client; what HTTP carries is not known here.
OCPP-S obliges both sides to understand gzip and deflate, on requests and on responses (OCPP-S 1.5, 8.6).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

# A body of many empty gzip members costs quadratic time, since each member copies what follows it.
MAX_MEMBERS = 32

# A chunk of one byte is six bytes on the wire and a turn of our loop; senders that flush after every XML
# token stay far below this.
MAX_CHUNKS = 8192
MAX_CHUNK_LINE = 256  # bytes, the size and its extensions
MAX_TRAILERS = 4096  # bytes, all trailer lines together

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW_DEFLATE = -zlib.MAX_WBITS

# "none" is no coding of HTTP's, but node-soap and strong-soap write it.
_PLAIN = frozenset({"", "identity", "none"})
_GZIP_NAMES = frozenset({"gzip", "x-gzip"})
_CODINGS = _PLAIN | _GZIP_NAMES | {"deflate"}

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")


class BadBody(Exception):
    """A body that cannot be taken.

    ``reason`` is a word of ``reasons.REASONS``: ``too_large``, ``unsupported`` (an unknown content coding) or
    ``malformed`` (a coding that is announced, begun and broken). ``problem`` is the sentence for the sender.
    """

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason
        self.problem = problem


def check_encoding(encoding: str) -> None:
    """Raise BadBody when *encoding*, a value of Content-Encoding, is not one that ``decode`` reads."""
    if encoding.strip().lower() not in _CODINGS:
        raise BadBody(
            "unsupported",
            f"Content-Encoding {encoding[:64]!r} is not known; expected gzip, deflate or identity",
        )


def decode(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo one content coding.

    *encoding* is the value of Content-Encoding ("" when there is none), *limit* the most bytes the body may
    have, before and after. A body that is labelled gzip or deflate but plainly not compressed is given back
    as it is: charge points are seen that label every body (govoltbras). Deflate is read both as HTTP defines
    it (in a zlib wrapper) and bare.
    Raises BadBody.
    Source: RFC 9110, 8.4.1; OCPP-S 1.5, 8.6.
    """
    check_encoding(encoding)
    if len(body) > limit:
        raise _too_large(limit)
    coding = encoding.strip().lower()
    if coding in _GZIP_NAMES:
        return _gunzip(body, limit)
    if coding == "deflate":
        return _inflate(body, limit)
    return body


def encode_gzip(body: bytes) -> bytes:
    return zlib.compress(body, wbits=_GZIP)


def encode_deflate(body: bytes) -> bytes:
    """Compress to what HTTP calls deflate: a deflate stream in a zlib wrapper (RFC 9110, 8.4.1.2)."""
    return zlib.compress(body)


def counted_in_characters(body: bytes, extra: bytes, length: int) -> bytes:
    """Find the end of a body whose Content-Length counts characters instead of bytes.

    glurp counts so; a text with letters beyond ASCII then arrives cut short, its end looking like the
    beginning of another message. *body* are the first *length* bytes, *extra* what came with them.
    Returns body and extra together when *length* is exactly their number of characters, else *body*.
    """
    whole = body + extra
    if not extra or whole.isascii():
        return body
    try:
        characters = len(whole.decode("utf-8"))
    except UnicodeDecodeError:
        return body
    return whole if characters == length else body


def readable_head(head: bytes) -> bytes:
    """Make a head valid UTF-8: what is not, is read as ISO 8859-1, as HTTP once said (RFC 9110, 5.5)."""
    if not head.isascii():
        try:
            head.decode("utf-8")
        except UnicodeDecodeError:
            return head.decode("latin-1").encode("utf-8")
    return head


class Chunks:
    """A chunked body, put together from pieces as they arrive (RFC 9112, 7.1).

    ``feed`` takes the pieces and says whether the body is complete; then ``body`` is the body without its
    chunk frames, and ``rest`` what came behind it. Extensions and trailers are read and dropped. Lines end in
    CRLF and nothing else, since two readers that disagree about it can be told two different messages.
    """

    __slots__ = ("_buffer", "_count", "_left", "_limit", "_next", "_trailers", "body", "rest")

    def __init__(self, limit: int) -> None:
        self.body = bytearray()
        self.rest = b""
        self._limit = limit  # bytes of the body
        self._buffer = b""  # what has come and is not read yet: less than a line
        self._next: Callable[[Chunks, bytes, int], int] | None = Chunks._size_line  # None: nothing more
        self._count = 0
        self._left = 0  # bytes of the current chunk that are yet to come
        self._trailers = 0  # bytes of trailers so far

    def feed(self, data: bytes) -> bool:
        """Take the next piece. Returns True when the body is complete. Raises BadBody."""
        buffer = self._buffer + data
        at = 0
        while self._next is not None:
            found = self._next(self, buffer, at)
            if found < 0:
                if self._next is Chunks._content:
                    at += self._take(buffer, at)
                self._buffer = buffer[at:]
                return False
            at = found
        self._buffer = b""
        self.rest = buffer[at:]
        return True

    # Each of these reads one thing that begins at *at*; it says where it ends, or -1: it has not all come.

    def _size_line(self, buffer: bytes, at: int) -> int:
        end = buffer.find(b"\r\n", at, at + MAX_CHUNK_LINE)
        if end < 0:
            if len(buffer) - at >= MAX_CHUNK_LINE:
                raise BadBody("malformed", f"a chunk size line is longer than {MAX_CHUNK_LINE} bytes")
            return -1
        line = _CHUNK_SIZE.fullmatch(buffer, at, end)
        if line is None:
            raise BadBody(
                "malformed", f"{buffer[at:end][:32]!r} is no chunk size; expected hexadecimal digits and CRLF"
            )
        self._left = int(line[1], 16)
        if self._left == 0:
            self._next = Chunks._trailer_line
            return end + 2
        self._count += 1
        if self._count > MAX_CHUNKS:
            raise BadBody("too_large", f"the body has more than {MAX_CHUNKS} chunks")
        if len(self.body) + self._left > self._limit:
            raise _too_large(self._limit)
        self._next = Chunks._content
        return end + 2

    def _content(self, buffer: bytes, at: int) -> int:
        if len(buffer) - at < self._left:
            return -1
        at += self._take(buffer, at)
        self._next = Chunks._content_end
        return at

    def _take(self, buffer: bytes, at: int) -> int:
        piece = buffer[at : at + self._left]
        self.body += piece
        self._left -= len(piece)
        return len(piece)

    def _content_end(self, buffer: bytes, at: int) -> int:
        end = buffer[at : at + 2]
        if end in (b"", b"\r"):
            return -1
        if end != b"\r\n":
            raise BadBody("malformed", f"a chunk ends in {end!r}; expected CRLF")
        self._next = Chunks._size_line
        return at + 2

    def _trailer_line(self, buffer: bytes, at: int) -> int:
        end = buffer.find(b"\r\n", at)
        if self._trailers + (len(buffer) if end < 0 else end) - at > MAX_TRAILERS:
            raise BadBody("malformed", f"the trailers are longer than {MAX_TRAILERS} bytes")
        if end < 0:
            return -1
        self._trailers += end - at
        if end == at:
            self._next = None
        return end + 2


def _too_large(limit: int) -> BadBody:
    return BadBody("too_large", f"the body is larger than the limit of {limit} bytes")


def _gunzip(body: bytes, limit: int) -> bytes:
    if not body.startswith(b"\x1f\x8b"):
        return body
    plain = bytearray()
    rest = body
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        try:
            plain += member.decompress(rest, limit + 1 - len(plain))
        except zlib.error as broken:
            raise BadBody("malformed", f"the gzip body is broken: {broken}") from None
        if len(plain) > limit:
            raise _too_large(limit)
        if not member.eof:
            raise BadBody("malformed", "the gzip body ends too early")
        rest = member.unused_data
        if not rest.startswith(b"\x1f\x8b"):
            return bytes(plain)  # padding behind the last member is dropped, as gzip(1) does
    raise BadBody("malformed", f"the gzip body has more than {MAX_MEMBERS} members")


def _inflate(body: bytes, limit: int) -> bytes:
    if not body or body.lstrip()[:1] == b"<" or body.startswith(b"\xef\xbb\xbf"):
        return body  # XML, with or without a byte order mark: labelled, not compressed
    wrapped = len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    for wbits in (_ZLIB, _RAW_DEFLATE) if wrapped else (_RAW_DEFLATE,):
        stream = zlib.decompressobj(wbits)
        try:
            plain = stream.decompress(body, limit + 1)
        except zlib.error:
            continue
        if len(plain) > limit:
            raise _too_large(limit)
        if stream.eof:
            return plain
    if wrapped:
        raise BadBody("malformed", "the deflate body is broken or ends too early")
    return body

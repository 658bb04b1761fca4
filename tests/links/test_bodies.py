"""Content codings and chunks: what goes in, what comes out, and where it ends."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbridge.links import bodies
from wattbridge.links.bodies import BadBody, Chunks, decode

XML = b'<?xml version="1.0"?><S:Envelope>' + b"<v>1</v>" * 50 + b"</S:Envelope>"
LIMIT = 1000


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


def refusal(body: bytes, encoding: str, limit: int = LIMIT) -> tuple[str, str]:
    with pytest.raises(BadBody) as refused:
        decode(body, encoding, limit)
    return refused.value.reason, refused.value.problem


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", XML),
        ("identity", XML),
        ("none", XML),
        ("gzip", gzip.compress(XML, mtime=0)),
        (" GZip ", gzip.compress(XML, mtime=0)),
        ("x-gzip", gzip.compress(XML, mtime=0)),
        ("gzip", gzip.compress(XML[:100], mtime=0) + gzip.compress(XML[100:], mtime=0)),
        ("gzip", gzip.compress(XML, mtime=0) + bytes(20)),
        ("gzip", gzip.compress(XML, mtime=0) + b"\r\n"),
        ("deflate", zlib.compress(XML)),
        ("deflate", zlib.compress(XML, 1)),
        ("deflate", zlib.compress(XML, 9)),
        ("deflate", raw_deflate(XML)),
    ],
)
def test_every_way_to_write_a_body_reads_the_same(encoding: str, body: bytes) -> None:
    """Deflate is zlib-wrapped by RFC 9110, 8.4.1.2, and bare by custom."""
    assert decode(body, encoding, LIMIT) == XML


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("body", [b"", XML, b"\xef\xbb\xbf" + XML, b"\r\n" + XML, b"not XML either"])
def test_a_label_on_a_body_that_is_not_compressed_is_overlooked(encoding: str, body: bytes) -> None:
    assert decode(body, encoding, LIMIT) is body


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, deflate", "GZIP\x00"])
def test_an_unknown_coding_is_refused_by_name(encoding: str) -> None:
    reason, problem = refusal(XML, encoding)
    assert reason == "unsupported"
    assert problem == f"Content-Encoding {encoding!r} is not known; expected gzip, deflate or identity"


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("", bytes), ("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate)],
)
def test_the_limit_counts_before_and_after(encoding: str, encode, size: int) -> None:  # type: ignore[no-untyped-def]
    body = encode(bytes(size))
    if size <= LIMIT:
        assert decode(body, encoding, LIMIT) == bytes(size)
    else:
        assert refusal(body, encoding) == ("too_large", "the body is larger than the limit of 1000 bytes")


def test_a_bomb_is_not_unpacked_beyond_the_limit() -> None:
    """100 MB of zeros are 100 kB on the wire."""
    for encoding, bomb in (
        ("gzip", gzip.compress(bytes(100_000_000), 1, mtime=0)),
        ("deflate", zlib.compress(bytes(100_000_000), 1)),
    ):
        assert refusal(bomb, encoding, 600_000)[0] == "too_large"


def test_a_body_of_many_empty_members_is_refused() -> None:
    """Each member copies what follows it: quadratic work (CVE-2026-128131 in aiohttp)."""
    assert refusal(gzip.compress(b"") * 1000, "gzip", 262_144) == (
        "malformed",
        "the gzip body has more than 32 members",
    )


def test_what_is_compressed_and_broken_is_said_to_be_broken() -> None:
    packed = gzip.compress(XML)
    assert refusal(packed[:-9], "gzip") == ("malformed", "the gzip body ends too early")
    assert refusal(packed[:20] + b"\xff\xff\xff\xff" + packed[24:], "gzip")[1].startswith(
        "the gzip body is broken: "
    )
    assert refusal(zlib.compress(XML)[:-9], "deflate") == (
        "malformed",
        "the deflate body is broken or ends too early",
    )


@given(st.binary(max_size=300))
def test_what_we_compress_everybody_can_read(body: bytes) -> None:
    assert gzip.decompress(bodies.encode_gzip(body)) == body
    assert zlib.decompress(bodies.encode_deflate(body)) == body
    assert decode(bodies.encode_gzip(body), "gzip", 300) == body
    assert decode(bodies.encode_deflate(body), "deflate", 300) == body


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate"]))
def test_no_body_makes_decode_fail_in_another_way(body: bytes, encoding: str) -> None:
    for start in (b"", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", b"\x78\x9c"):
        with suppress(BadBody):
            assert len(decode(start + body, encoding, 400)) <= 400


def test_a_length_in_characters_is_recognised_by_its_exact_number() -> None:
    """glurp counts characters, so that a text with an umlaut arrives cut short."""
    text = "<reason>gestört</reason>"
    whole = text.encode()
    length = len(text)
    assert bodies.counted_in_characters(whole[:length], whole[length:], length) == whole
    assert bodies.counted_in_characters(whole[:length], b"POST / HTTP/1.1", length) == whole[:length]
    assert bodies.counted_in_characters(b"<a/>", b"GET /", 4) == b"<a/>"
    assert bodies.counted_in_characters(b"\xff\xff", b"x", 2) == b"\xff\xff"


def test_a_head_is_always_text() -> None:
    assert bodies.readable_head(b"X: a\r\n") == b"X: a\r\n"
    assert bodies.readable_head("X: ä\r\n".encode()) == "X: ä\r\n".encode()
    assert bodies.readable_head("X: ä\r\n".encode("latin-1")) == "X: ä\r\n".encode()


CHUNKED = b'5\r\n<a>1<\r\n4;ext="1"\r\n/a>\n\r\n00\r\nTrailer: x\r\n\r\nPOST'


@given(st.lists(st.integers(min_value=0, max_value=len(CHUNKED)), max_size=8))
def test_chunks_read_the_same_however_they_are_cut(cuts: list[int]) -> None:
    chunks = Chunks(LIMIT)
    edges = [0, *sorted(cuts), len(CHUNKED)]
    rest = b""
    for start, end in pairwise(edges):
        if chunks.feed(CHUNKED[start:end]):
            rest = CHUNKED[end:]
            break
    assert bytes(chunks.body) == b"<a>1</a>\n"
    assert chunks.rest + rest == b"POST"


def test_chunks_read_byte_by_byte() -> None:
    chunks = Chunks(LIMIT)
    done = [chunks.feed(CHUNKED[at : at + 1]) for at in range(len(CHUNKED) - 4)]
    assert done == [False] * (len(CHUNKED) - 5) + [True]
    assert bytes(chunks.body) == b"<a>1</a>\n"


@pytest.mark.parametrize(
    "frames",
    [
        b"+5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5_0\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"\r\nhello\r\n",
        b"g\r\nhello\r\n",
        b"5\nhello\r\n\r\n",
        b"5;a\nb\r\nhello\r\n",
        b"5\rhello\r\n\r\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\n\n",
        b"5\r\nhello\r\r",
        b"123456789\r\n",
        b"5;" + b"x" * 300,
        b"0\r\n" + b"T: x\r\n" * 2000,
        b"0\r\n" + b"x" * 5000,
    ],
)
def test_anything_but_the_one_way_to_write_a_chunk_is_refused(frames: bytes) -> None:
    """What two readers read differently is how requests are smuggled (RFC 9112, 11.2)."""
    with pytest.raises(BadBody) as refused:
        Chunks(LIMIT).feed(frames)
    assert refused.value.reason == "malformed"


def test_chunks_stop_at_the_limit_before_the_content_comes() -> None:
    chunks = Chunks(LIMIT)
    assert chunks.feed(b"3E0\r\n" + bytes(992) + b"\r\n8\r\n" + bytes(8) + b"\r\n") is False
    with pytest.raises(BadBody, match="larger than the limit of 1000 bytes"):
        chunks.feed(b"1\r\n")
    with pytest.raises(BadBody, match="larger than the limit of 1000 bytes"):
        Chunks(LIMIT).feed(b"FFFFFFFF\r\n")


def test_a_body_in_very_many_chunks_is_refused() -> None:
    with pytest.raises(BadBody, match="more than 8192 chunks"):
        Chunks(262_144).feed(b"1\r\nx\r\n" * 8193)

"""The filter language: which exchanges somebody wants to see. One parser for command line, API and console.

``charger:BER-* action:MeterValues dir:to-csms leg:soap status:timeout quirk:* loss:yes size:>10k slower:2s
text:"abc" since:10m``, joined by ``and`` (which may be left out), ``or``, ``not`` and parentheses. It knows
no clock: what the time is, is an argument.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from wattbridge.ocpp.reasons import LOSSES, PROFILE_RULES, REASONS, RULES
from wattbridge.store.base import Exchange

LONGEST = 2000  # characters
MOST_LEVELS = 50  # parentheses and nots inside each other
MOST_ALTERNATIVES = 100  # of one field

OUTCOMES = {
    "ok": "the other party answered",
    "kept": "the message waits for its central system, and was confirmed",
    "offline": "the gateway answered for a central system that is away",
    "local": "the gateway answered what the other party has no operation for",
    "repeat": "the answer of before was given again",
    "failed": "nobody answered, or a party refused",
}
DIRECTIONS = {"to-csms": "charge_point", "to-charger": "central_system"}
LEGS = ("soap", "json")
# Field → what it looks at, as the help shows it.
FIELDS: Mapping[str, str] = {
    "charger": "the identity of the charge point: charger:BER-*",
    "action": "the action: action:MeterValues,StartTransaction",
    "dir": "to-csms, or to-charger",
    "leg": "soap or json: how one of the two parties speaks",
    "version": "the version of OCPP that one of the two parties speaks: version:1.5",
    "status": "ok, kept, offline, local, repeat, failed, or the reason of a failure: status:timeout",
    "upstream": "the central system, by its name in the configuration",
    "route": "the route, likewise",
    "profile": "the profile of the charge point",
    "source": "the address of the charge point, or a network: source:10.20.0.0/16",
    "quirk": "a rule of a profile that was applied; quirk:* is any, quirk:no none",
    "rule": "a rule by which something was changed or lost: rule:to-utc",
    "loss": "yes or no: whether something was lost; or the rule by which it was",
    "change": "yes or no: whether something was carried in another form",
    "size": "of the largest of its messages: size:>10k (bytes; k, m)",
    "slower": "took longer than: slower:2s",
    "faster": "took less than: faster:50ms",
    "text": 'what stands in one of its messages: text:"abc"',
    "since": "not before: since:10m (ago), since:2024-05-01T10:00:00Z",
    "until": "not after, likewise",
    "number": "the number of one exchange in the history",
}
_FREE = frozenset({"text", "charger", "action", "upstream", "route", "profile"})

_WORD = re.compile(r"[^\s()\"]+")
_BLANKS = re.compile(r"\s*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NAME = re.compile(r"([A-Za-z_]+):")
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,6})?(?:ms|s|m|h|d))+")
_PART = re.compile(r"([0-9.]+)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}  # seconds
_SIZE = re.compile(r"(>=|<=|>|<|=)?(\d{1,12}(?:\.\d{1,3})?)(b|k|kb|kib|m|mb|mib)?", re.I)
_SIZES = {"": 1, "b": 1, "k": 1024, "kb": 1024, "kib": 1024, "m": 1 << 20, "mb": 1 << 20, "mib": 1 << 20}

Test = Callable[[Exchange], bool]


class FilterError(ValueError):
    """A filter cannot be understood: at which ``column`` (from 1), why, and what may have been meant."""

    def __init__(self, column: int, problem: str, suggestion: str = "") -> None:
        hint = f" (did you mean {suggestion}?)" if suggestion else ""
        super().__init__(f"column {column}: {problem}{hint}")
        self.column = column
        self.problem = problem
        self.suggestion = suggestion


@dataclass(frozen=True, slots=True)
class Term:
    """One field and what it must be: any of *values*. Without a field, a word that stands anywhere.

    ``column`` is where it stood.
    """

    field: str
    values: tuple[str, ...]
    column: int = 0

    def __str__(self) -> str:
        values = ",".join(map(_written, self.values))
        return f"{self.field}:{values}" if self.field else values


@dataclass(frozen=True, slots=True)
class Not:
    inner: Node

    def __str__(self) -> str:
        return f"not {_inside(self.inner)}"


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return " ".join(map(_inside, self.parts))


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return " or ".join(map(_inside, self.parts))


Node = Term | Not | And | Or


class Filter:
    """A filter that was understood. ``str`` gives it in a form that is understood again as the same."""

    def __init__(self, node: Node | None, now: float) -> None:
        self.node = node
        self._test: Test = _any if node is None else _test(node, now)
        wanted = _conjunction(node)
        # What a store can look up itself: the one charge point that everything wanted is of.
        self.charger = next((term.values[0] for term in wanted if _is_exact(term, "charger")), "")
        # Outside of these nothing matches; seconds since the epoch.
        self.since = max((_moment(term, now) for term in wanted if term.field == "since"), default=0.0)
        self.until = min((_moment(term, now) for term in wanted if term.field == "until"), default=_EVER)

    def __str__(self) -> str:
        return "" if self.node is None else str(self.node)

    def __bool__(self) -> bool:
        """Whether there is anything that it keeps out."""
        return self.node is not None

    def matches(self, exchange: Exchange) -> bool:
        return self._test(exchange)


_EVER = float("inf")


def parse(text: str, now: float = 0.0) -> Filter:
    """The filter that *text* says; nothing is everything. *now* is in seconds since the epoch, for ``10m``.

    Raises FilterError.
    """
    if len(text) > LONGEST:
        raise FilterError(LONGEST + 1, f"it has {len(text)} characters, expected at most {LONGEST}")
    return Filter(_Parser(text).whole(), now)


def narrowed(wanted: Filter, more: Mapping[str, str], now: float = 0.0) -> Filter:
    """What *wanted* wants, and that each field of *more* has its value. Raises FilterError at column 0."""
    terms = [Term(field, (_checked(field, value, 0),)) for field, value in more.items()]
    if not terms:
        return wanted
    parts = [*([wanted.node] if wanted.node else []), *terms]
    return Filter(And(_flat(parts, And)), now)


def outcome_of(exchange: Exchange) -> str:
    """A word of OUTCOMES."""
    return "failed" if exchange.reason else exchange.how or "ok"


def notes_of(exchange: Exchange) -> list[dict[str, str]]:
    """The notes of a row as they are kept: ``{"lost": PATH, "value": …, "rule": …, "at": "asked"}``."""
    if not exchange.notes:
        return []
    kept: list[dict[str, str]] = json.loads(exchange.notes)
    return [note for note in kept if "how" not in note]


def sizes_of(exchange: Exchange) -> tuple[int, ...]:
    """How many bytes its four messages had on the wire, however much of them is kept."""
    kept = exchange.arrived_bytes, exchange.asked_bytes, exchange.answered_bytes, exchange.replied_bytes
    return tuple(
        size or len(text.encode(errors="replace")) for size, text in zip(kept, _texts(exchange), strict=True)
    )


# --- reading ---


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # "(", ")", "and", "or", "not", "term", "end"
    column: int
    text: str = ""
    term: Term | None = None


class _Parser:
    """Reads one filter from left to right: ``or`` binds least, ``not`` most."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._read())
        self._at = 0
        self._levels = 0

    def whole(self) -> Node | None:
        if self._next.kind == "end":
            return None
        node = self._either()
        if self._next.kind != "end":
            raise FilterError(self._next.column, "there is a ) without a (")
        return node

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        self._at += 1
        return token

    def _either(self) -> Node:
        parts = [self._all()]
        while self._next.kind == "or":
            self._take()
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Or(_flat(parts, Or))

    def _all(self) -> Node:
        parts = [self._one()]
        while self._next.kind not in ("or", ")", "end"):
            if self._next.kind == "and":
                self._take()
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else And(_flat(parts, And))

    def _one(self) -> Node:
        token = self._take()
        if token.kind == "term" and token.term is not None:
            return token.term
        if token.kind not in ("not", "("):
            found = "the end" if token.kind == "end" else repr(token.text)
            raise FilterError(token.column, f"found {found}, expected a word such as charger:BER-*")
        self._levels += 1
        if self._levels > MOST_LEVELS:
            raise FilterError(token.column, f"more than {MOST_LEVELS} parentheses and nots inside each other")
        if token.kind == "not":
            node: Node = Not(self._one())
        else:
            node = self._either()
            if self._next.kind != ")":
                raise FilterError(token.column, "this ( has no )")
            self._take()
        self._levels -= 1
        return node

    def _read(self) -> Iterator[_Token]:
        text, at = self._text, 0
        while True:
            blanks = _BLANKS.match(text, at)
            at = blanks.end() if blanks else at
            column = at + 1
            if at == len(text):
                yield _Token("end", column)
                return
            if text[at] in "()":
                yield _Token(text[at], column, text[at])
                at += 1
                continue
            word = _WORD.match(text, at)
            lowered = word[0].lower() if word else ""
            if word is not None and lowered in ("and", "or", "not"):
                yield _Token(lowered, column, word[0])
                at = word.end()
                continue
            term, at = self._term(at)
            yield _Token("term", column, term=term)

    def _term(self, at: int) -> tuple[Term, int]:
        text, column = self._text, at + 1
        name = _NAME.match(text, at)
        field = ""
        if name is not None:
            field = name[1].lower()
            if field not in FIELDS:
                near = _near(field, FIELDS)
                known = f"there are {', '.join(FIELDS)}"
                problem = f"there is no field {name[1][:40]!r}"
                raise FilterError(column, problem if near else f"{problem}; {known}", near and f"{near}:")
            at = name.end()
        values: list[str] = []
        while True:
            value_column = at + 1
            value, at = self._value(at, lists=field not in ("text", ""))
            if field and not value:
                raise FilterError(value_column, f"nothing stands behind {field}:, expected {FIELDS[field]}")
            values.append(_checked(field, value, value_column) if field else value)
            if len(values) > MOST_ALTERNATIVES:
                raise FilterError(value_column, f"more than {MOST_ALTERNATIVES} alternatives")
            if field in ("text", "") or at >= len(text) or text[at] != ",":
                return Term(field, tuple(values), column), at
            at += 1

    def _value(self, at: int, *, lists: bool) -> tuple[str, int]:
        """A value in quotes or a word without blanks; in *lists* a comma ends it."""
        text = self._text
        if at < len(text) and text[at] == '"':
            quoted = _QUOTED.match(text, at)
            if quoted is None:
                raise FilterError(at + 1, 'this " is not closed')
            return _ESCAPED.sub(r"\1", quoted[1]), quoted.end()
        word = _WORD.match(text, at)
        if word is None:
            return "", at
        value = word[0].partition(",")[0] if lists else word[0]
        return value, at + len(value)


def _flat(parts: Sequence[Node], kind: type[And] | type[Or]) -> tuple[Node, ...]:
    """What is joined the same way inside needs no parentheses."""
    return tuple(inner for part in parts for inner in (part.parts if isinstance(part, kind) else (part,)))


def _near(word: str, known: Mapping[str, object] | Sequence[str] | frozenset[str]) -> str:
    return next(iter(get_close_matches(word.lower()[:40], sorted(known), n=1, cutoff=0.5)), "")


def _checked(field: str, value: str, column: int) -> str:
    """*value* as *field* takes it. Raises FilterError."""
    lowered = value.lower()
    if field in _FREE:
        return value
    if field in ("leg", "dir", "change"):
        if field == "dir":
            lowered = lowered.replace("_", "-")
        expected = {"leg": LEGS, "dir": tuple(DIRECTIONS), "change": ("yes", "no")}[field]
        if lowered not in expected:
            near = _near(lowered, expected)
            problem = f"{field}: found {value[:40]!r}, expected {' or '.join(expected)}"
            raise FilterError(column, problem, near and f"{field}:{near}")
        return lowered
    words = {
        "status": frozenset(OUTCOMES) | frozenset(REASONS),
        "quirk": PROFILE_RULES | {"yes", "no"},
        "rule": frozenset(RULES),
        "loss": LOSSES | {"yes", "no"},
    }
    if field in words:
        known = words[field]
        if field == "status":
            lowered = lowered.replace("-", "_")
        if not any(map(_glob(lowered), known)):
            near = _near(lowered, known)
            what = {"status": "status or reason", "quirk": "rule of profiles"}.get(field, "rule")
            problem = f"{field}: there is no {what} {value[:40]!r}"
            raise FilterError(
                column, problem if near else f"{problem}; see {field}:*", near and f"{field}:{near}"
            )
        return lowered
    try:
        _READ[field](value)
    except ValueError as problem:
        raise FilterError(column, f"{field}: {problem}") from None
    return lowered


def read_duration(text: str) -> float:
    """``1m30s``, in seconds. Raises ValueError."""
    if not _DURATION.fullmatch(text.lower()):
        raise ValueError(f"found {text[:40]!r}, expected a duration such as 500ms, 2s or 10m")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text.lower()))


def _size(text: str) -> tuple[str, float]:
    read = _SIZE.fullmatch(text)
    if read is None:
        raise ValueError(f"found {text[:40]!r}, expected a size such as >10k, <=512 or 1m")
    return read[1] or ">=", float(read[2]) * _SIZES[(read[3] or "").lower()]


def _time(text: str) -> float | None:
    """Seconds since the epoch of an absolute time; None of a duration."""
    if _DURATION.fullmatch(text.lower()):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f"found {text[:40]!r}, expected how long ago (10m) or a time such as 2024-05-01T10:00:00Z"
        ) from None


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"found {text[:40]!r}, expected an address or a network such as 10.20.0.0/16"
        ) from None


def _version(text: str) -> str:
    if text not in ("1.2", "1.5", "1.6"):
        raise ValueError(f"found {text[:40]!r}, expected 1.2, 1.5 or 1.6")
    return text


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(f"found {text[:40]!r}, expected a number")
    return int(text)


_READ: Mapping[str, Callable[[str], object]] = {
    "slower": read_duration,
    "faster": read_duration,
    "size": _size,
    "since": _time,
    "until": _time,
    "source": _network,
    "version": _version,
    "number": _number,
}


def _written(value: str) -> str:
    plain = _WORD.fullmatch(value) and "," not in value and ":" not in value and "\\" not in value
    if plain and value.lower() not in ("and", "or", "not"):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _inside(node: Node) -> str:
    return f"({node})" if isinstance(node, And | Or) else str(node)


# --- testing ---


def _any(exchange: Exchange) -> bool:
    return True


def _conjunction(node: Node | None) -> list[Term]:
    """The terms that must all be true for anything to match."""
    if isinstance(node, Term):
        return [node]
    return [part for part in node.parts if isinstance(part, Term)] if isinstance(node, And) else []


def _is_exact(term: Term, field: str) -> bool:
    return term.field == field and len(term.values) == 1 and not re.search(r"[*?]", term.values[0])


def _moment(term: Term, now: float) -> float:
    found = [_absolute(value, now) for value in term.values]
    return min(found) if term.field == "since" else max(found)


def _absolute(value: str, now: float) -> float:
    moment = _time(value)
    return now - read_duration(value) if moment is None else moment


def _test(node: Node, now: float) -> Test:
    if isinstance(node, Term):
        return _term_test(node, now)
    if isinstance(node, Not):
        inner = _test(node.inner, now)
        return lambda exchange: not inner(exchange)
    tests = [_test(part, now) for part in node.parts]
    if isinstance(node, And):
        return lambda exchange: all(test(exchange) for test in tests)
    return lambda exchange: any(test(exchange) for test in tests)


def _term_test(term: Term, now: float) -> Test:
    if not term.field:
        return partial(_stands_anywhere, term.values[0].lower())
    tests = [_value_test(term.field, value, now) for value in term.values]
    return tests[0] if len(tests) == 1 else lambda exchange: any(test(exchange) for test in tests)


def _value_test(field: str, value: str, now: float) -> Test:
    """What tells whether *field* of an exchange is *value*."""
    if field == "charger":
        fits = _glob(value, exactly=True)
        return lambda exchange: fits(exchange.identity)
    if field in ("action", "upstream", "route", "profile"):
        fits = _glob(value)
        return lambda exchange: fits(getattr(exchange, field))
    if field == "status":
        fits = _glob(value)
        return lambda exchange: fits(outcome_of(exchange)) or bool(exchange.reason and fits(exchange.reason))
    if field in ("quirk", "rule", "loss", "change"):
        return _notes_test(field, value)
    if field == "size":
        return _size_test(*_size(value))
    if field in ("slower", "faster"):
        limit = read_duration(value)
        if field == "slower":
            return lambda exchange: exchange.seconds > limit
        return lambda exchange: exchange.seconds < limit
    if field in ("since", "until"):
        moment = _absolute(value, now)
        if field == "since":
            return lambda exchange: exchange.began >= moment
        return lambda exchange: exchange.began <= moment
    if field == "source":
        return partial(_comes_from, _network(value))
    return _plain_test(field, value)


def _plain_test(field: str, value: str) -> Test:
    if field == "dir":
        side = DIRECTIONS[value]
        return lambda exchange: exchange.arrived_from == side
    if field == "leg":
        return lambda exchange: value in (exchange.charger_transport, exchange.csms_transport)
    if field == "version":
        return lambda exchange: value in (exchange.charger_version, exchange.csms_version)
    if field == "number":
        number = int(value)
        return lambda exchange: exchange.number == number
    wanted = value.lower()
    return lambda exchange: any(wanted in text.lower() for text in _texts(exchange))


def _notes_test(field: str, value: str) -> Test:
    if value in ("yes", "no"):
        return _has_notes(field, wanted=value == "yes")
    fits = _glob(value)
    if field == "rule":
        return lambda exchange: any(fits(note["rule"]) for note in notes_of(exchange))
    if field == "quirk":
        return lambda exchange: any(
            fits(note["rule"]) for note in notes_of(exchange) if note["rule"] in PROFILE_RULES
        )
    return lambda exchange: any(fits(note["rule"]) for note in notes_of(exchange) if "lost" in note)


def _has_notes(field: str, *, wanted: bool) -> Test:
    if field == "quirk":
        return lambda exchange: wanted is any(note["rule"] in PROFILE_RULES for note in notes_of(exchange))
    key = {"loss": "losses", "change": "changes"}[field]
    return lambda exchange: wanted is bool(getattr(exchange, key))


def _size_test(sign: str, size: float) -> Test:
    compare: Mapping[str, Callable[[int], bool]] = {
        ">": lambda length: length > size,
        "<": lambda length: length < size,
        ">=": lambda length: length >= size,
        "<=": lambda length: length <= size,
        "=": lambda length: length == size,
    }
    fits = compare[sign]
    return lambda exchange: fits(max(sizes_of(exchange)))


def _comes_from(network: IPv4Network | IPv6Network, exchange: Exchange) -> bool:
    try:
        return ip_address(exchange.source) in network
    except ValueError:
        return False


def _stands_anywhere(wanted: str, exchange: Exchange) -> bool:
    named = (exchange.identity, exchange.action, exchange.reason)
    return any(wanted in text.lower() for text in (*named, *_texts(exchange)))


def _texts(exchange: Exchange) -> tuple[str, str, str, str]:
    return exchange.arrived, exchange.asked, exchange.answered, exchange.replied


def _glob(pattern: str, *, exactly: bool = False) -> Callable[[str], bool]:
    """Whether a text is like *pattern*, with * and ? for any others; in any letter case, or *exactly*."""
    flags = re.DOTALL if exactly else re.DOTALL | re.IGNORECASE
    # Atomic groups: a pattern of many stars must not make anybody wait.
    parts = [re.escape(part).replace(r"\?", ".") for part in re.split(r"\*+", pattern)]
    first, *others = parts
    if not others:
        expression = first
    else:
        *middle, last = others
        expression = first + "".join(f"(?>.*?{part})" for part in middle) + f".*{last}"
    match = re.compile(expression, flags).fullmatch
    return lambda text: match(text) is not None

"""Blots out what is personal or secret in messages that are kept for looking at.

A message stays what it was in every other way: a frame is a frame afterwards, an envelope an envelope, and
what could not be read is still there to be looked at. What is blotted out is found by the names of members
and elements; what was found there is then looked for in every other text of the exchange, since a refusal
likes to repeat it. Texts go through once, token by token: what a stranger sends must not make anybody wait.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from html import unescape
from xml.sax.saxutils import escape

from wattbridge.ocpp.messages import Change, Note
from wattbridge.ocpp.security_extension import PASSWORD_KEYS

BLOT = "***"
TOO_LONG = f"{BLOT} too long to keep: "  # with the length, in place of a message

# Letter case is forgiven in names, here as by the reader of messages.
ID_TAGS = frozenset({"idtag", "parentidtag"})
# Calls that may carry a password; GetDiagnostics and UpdateFirmware in the address they name.
SECRET_ACTIONS = frozenset(
    {"ChangeConfiguration", "GetConfiguration", "GetDiagnostics", "UpdateFirmware", "DataTransfer"}
)

LONGEST_SEARCHED = 1 << 15  # characters; searching more would keep the event loop for too long
MOST_COMPARED = 1 << 18  # characters of texts times values that are looked for in them
LONG = 6  # characters from which on a value is found anywhere; a shorter one only where it stands in quotes
SHOWN = 40  # characters of a long value that a sentence repeats for certain (errors.excerpt cuts it)
MOST_LEVELS = 200  # objects, lists or elements inside each other; OCPP needs 12
MOST_NESTED = 3  # messages in texts of messages

_JSON = re.compile(r'"(?:[^"\\]++|\\.?)*+"?|[{}\[\]:,]|[^\s"{}\[\]:,]++', re.DOTALL)
_XML = re.compile(
    r"<!\[CDATA\[.*?(?:\]\]>|\Z)|<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)"
    r"""|<(?:[^<>"']++|"[^"]*"?|'[^']*'?)*+>?|[^<]++""",
    re.DOTALL,
)
_LOCAL_NAME = re.compile(r"</?\s*(?:[^\s/>:]*:)?([^\s/>]*)")
_NAMED = re.compile(r"""(idtag\W{0,3}[:=]\s*)('[^']*'?|"[^"]*"?|(?!null\b)[\w.+-]+)""", re.I)


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is blotted out: the idTags, the passwords."""

    id_tags: bool = False
    passwords: bool = False

    @classmethod
    def of(cls, words: Iterable[str]) -> Redaction:
        """``store.history.redact``: ``idTag``, ``AuthorizationKey``."""
        chosen = set(words)
        return cls("idTag" in chosen, "AuthorizationKey" in chosen)

    def concerns(self, texts: Iterable[str], action: str, *, readable: bool) -> bool:
        """Whether there may be something to blot out. Nobody knows the action of what is not *readable*."""
        if self.passwords and action in SECRET_ACTIONS:
            return True
        if self.id_tags:
            for text in texts:
                # In a frame a name can be written with escapes: "\\u0069dTag".
                if b"dtag" in text.encode("utf-8", "replace").lower() or "\\u00" in text:
                    return True
        return self.passwords and not readable and any(map(PASSWORD_KEYS.search, texts))

    def blot(self, texts: Sequence[str], notes: Sequence[Note] = ()) -> tuple[list[str], tuple[Note, ...]]:
        """The texts and notes of one exchange without what is to be blotted out."""
        blotter = _Blotter(self)
        done = [blotter.message(text) for text in texts]
        if blotter.looks_for_what_was_found():
            done = [blotter.message(text) for text in done]
        return done, tuple(blotter.note(note) for note in notes)


@dataclass(slots=True)
class _Level:
    """An object, a list or an element that is open."""

    name: str = ""  # of the element, or of the member that comes next
    is_object: bool = False
    named: bool = False  # whether a member's name was read and its value comes next
    blotted: bool = False  # whether all in it is
    in_value: bool = False  # whether it is, or is in, what is called ``value``
    password: bool = False  # whether its ``key`` names one
    said: list[str] = field(default_factory=list)  # texts right inside an element
    values: list[tuple[int, str]] = field(default_factory=list)  # where its ``value`` stands, and what it is


class _Blotter:
    """Goes through the messages of one exchange. The second time it knows what it has found at the first."""

    def __init__(self, redaction: Redaction) -> None:
        self._id_tags = redaction.id_tags
        self._passwords = redaction.passwords
        self._found: set[str] = set()
        self._forms: list[tuple[str, str]] = []  # of what was found, as texts may repeat it; in lower case
        self._longest = LONGEST_SEARCHED

    def looks_for_what_was_found(self) -> bool:
        """From now on, if there is any."""
        forms: set[str] = set()
        for value in self._found:
            for each in (value, repr(value)[1:-1]):
                forms |= {each, each[:SHOWN]} if len(each) > SHOWN else {each}
        if not forms:
            return False
        self._longest = MOST_COMPARED // len(forms)
        self._forms = sorted(((each, each.lower()) for each in forms), key=_length, reverse=True)
        return True

    def message(self, text: str, nested: int = 0) -> str:
        if self._forms and (len(text) > self._longest or not self._may_repeat(text)):
            return text  # of a very long one, the first time has to be enough
        if len(text) > LONGEST_SEARCHED:
            length = len(text.encode("utf-8", "replace"))
            return f"{TOO_LONG}{length:,} bytes are too many to find in them what is to be blotted out"
        begin = text[:200].lstrip("\ufeff \t\r\n")[:1]
        if begin == "<":
            return self._xml(text, nested)
        if begin in ("[", "{"):
            return self._json(text, nested)
        return self._sentence(text)

    def note(self, note: Note) -> Note:
        name = note.path.rpartition(".")[2].partition("[")[0].lower()
        hidden = self._id_tags and name in ID_TAGS
        value = BLOT if hidden or note.value in self._found else self._sentence(note.value)
        if isinstance(note, Change):
            became = BLOT if hidden or note.became in self._found else self._sentence(note.became)
            return replace(note, value=value, became=became)
        reason = note.reason.replace(note.value, BLOT) if value == BLOT and note.value else note.reason
        return replace(note, value=value, reason=self._sentence(reason))

    # --- JSON

    def _json(self, text: str, nested: int) -> str:
        pieces: list[str] = []
        end = 0
        levels = [_Level()]
        for match in _JSON.finditer(text):
            if match.start() > end:
                pieces.append(text[end : match.start()])
            end = match.end()
            if len(levels) > MOST_LEVELS:
                return f"{BLOT} nested too deep"
            token, level = match[0], levels[-1]
            mark = token[0]
            if mark in "{[":
                named = level.named and level.name
                levels.append(
                    _Level(
                        is_object=mark == "{",
                        blotted=level.blotted or bool(named and self._hides(named)),
                        in_value=level.in_value or named == "value",
                    )
                )
            elif mark in "}]":
                if len(levels) > 1:
                    self._leave(levels.pop(), levels[-1], pieces, '"')
            elif mark == ",":
                level.named = False
            elif mark == ":":
                pass
            elif mark == '"' and level.is_object and not level.named:
                level.name, level.named = _unquoted(token).lower(), True
            else:
                token = self._value(token, level, len(pieces), nested)
            pieces.append(token)
        while len(levels) > 1:  # of a text that breaks off
            self._leave(levels.pop(), levels[-1], pieces, '"')
        done = "".join(pieces) + text[end:]
        if self._id_tags and "dtag" in done.lower() and not _is_json(done):
            done = _NAMED.sub(_named, done)
        return done

    def _value(self, token: str, level: _Level, at: int, nested: int) -> str:
        """A string, number or word, as it stands in its object or list."""
        said = _unquoted(token) if token[0] == '"' else token
        if level.blotted or (level.named and self._hides(level.name)):
            if said in ("null", BLOT):
                return token
            self._find(said)
            return f'"{BLOT}"'
        if self._passwords:
            if level.named and level.name == "key":
                level.password = level.password or bool(PASSWORD_KEYS.search(said))
            elif level.in_value or (level.named and level.name == "value"):
                level.values.append((at, said))
        if token[0] != '"':
            return token
        blotted = self._inside(said, nested)
        return token if blotted == said else json.dumps(blotted)

    def _leave(self, level: _Level, outer: _Level, pieces: list[str], quote: str) -> None:
        """*level* ends: now it is known whether its value is a password, or in one."""
        if level.password:
            for at, said in level.values:
                if said != BLOT:
                    self._find(said)
                    pieces[at] = f"{quote}{BLOT}{quote}"
        if level.in_value:
            fewer, more = sorted((outer.values, level.values), key=len)
            more += fewer
            outer.values = more

    def _find(self, said: str) -> None:
        if said.strip():
            self._found.add(said.strip())

    # --- XML

    def _xml(self, text: str, nested: int) -> str:
        pieces: list[str] = []
        levels = [_Level()]
        for match in _XML.finditer(text):
            if len(levels) > MOST_LEVELS:
                return f"{BLOT} nested too deep"
            token, level = match[0], levels[-1]
            if token[0] != "<" or token.startswith("<![CDATA["):
                token = self._text(token, level, len(pieces), nested)
            elif token[1:2] == "/":
                name = _LOCAL_NAME.match(token)
                if len(levels) > 1 and name is not None and name[1].lower() == level.name:
                    self._end(levels.pop(), levels[-1], pieces)
            elif token[1:2] in ("!", "?"):
                token = "" if level.blotted else token
            else:
                name = _LOCAL_NAME.match(token)
                opened = name[1].lower() if name is not None else ""
                if self._id_tags and "=" in token:
                    token = _NAMED.sub(_named, token)  # an attribute of that name
                if not token.endswith("/>"):
                    levels.append(
                        _Level(
                            opened,
                            blotted=level.blotted or self._hides(opened),
                            in_value=level.in_value or opened == "value",
                        )
                    )
            pieces.append(token)
        while len(levels) > 1:  # of a text that breaks off
            self._end(levels.pop(), levels[-1], pieces)
        return "".join(pieces)

    def _text(self, token: str, level: _Level, at: int, nested: int) -> str:
        """Text of an element, or a CDATA section of it."""
        is_data = token[0] == "<"
        said = token[len("<![CDATA[") :].removesuffix("]]>") if is_data else unescape(token)
        if not said.strip():
            return token
        if level.blotted:
            already = bool(level.said)
            level.said.append(said)
            return "" if already else BLOT
        level.said.append(said)
        if self._passwords and level.in_value:
            level.values.append((at, said))
        blotted = self._inside(said, nested)
        return token if blotted == said else escape(blotted)

    def _end(self, level: _Level, outer: _Level, pieces: list[str]) -> None:
        said = "".join(level.said).strip()
        if level.blotted and said != BLOT:
            self._find(said)
        elif self._passwords and level.name == "key":
            outer.password = outer.password or bool(PASSWORD_KEYS.search(said))
        self._leave(level, outer, pieces, "")

    # --- Texts of any kind

    def _hides(self, name: str) -> bool:
        return self._id_tags and name in ID_TAGS

    def _inside(self, said: str, nested: int) -> str:
        """A text that stands in a message: an address, a sentence, or a message of somebody's own."""
        if self._passwords and "://" in said:
            said = self._address(said)
        if nested < MOST_NESTED and said[:200].lstrip()[:1] in ("{", "[", "<"):
            said = self.message(said, nested + 1)
        return self._sentence(said)

    def _sentence(self, said: str) -> str:
        lowered = said.lower()
        if self._id_tags and "dtag" in lowered:
            said = _NAMED.sub(_named, said)
        for form, lower in self._forms:
            if len(form) >= LONG:
                said = said.replace(form, BLOT)
            if lower in lowered:
                repeated = re.escape(form)
                if len(form) < LONG:
                    repeated = f"(?<=['\"]){repeated}(?=['\"])"
                said = re.sub(repeated, BLOT, said, flags=re.I)
        return said

    def _may_repeat(self, text: str) -> bool:
        """Whether what was found may stand in a message: as it is, or escaped."""
        if "\\" in text or "&" in text:
            return True
        lowered = text.lower()
        return any(lower in lowered for _, lower in self._forms)

    def _address(self, said: str) -> str:
        """A URL without user, password and query, which may be a signature."""
        scheme, _, rest = said.partition("://")
        credentials, at, place = rest.rpartition("@")
        password = credentials.partition(":")[2]
        if at and credentials != BLOT:
            rest = f"{BLOT}@{place}"
            if len(password) >= LONG:
                self._find(password)
        path, mark, query = rest.partition("?")
        return f"{scheme}://{path}{mark}{BLOT}" if query else f"{scheme}://{rest}"


def _length(form: tuple[str, str]) -> int:
    return len(form[0])


def _named(match: re.Match[str]) -> str:
    quote = match[2][0] if match[2][0] in "'\"" else ""
    return f"{match[1]}{quote}{BLOT}{quote}"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _unquoted(token: str) -> str:
    """What a string of JSON says; one that breaks off, or is written against the rules, as far as it goes."""
    try:
        return str(json.loads(token, strict=False))
    except ValueError:
        return token.strip('"')

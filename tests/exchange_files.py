"""The exchanges under ``tests/exchanges``: whole conversations as files one can read without Python.

All who speak OCPP-S there speak 1.6. Under ``tests/exchanges-of-older-versions`` one of the two speaks an
older version: in ``1.5-charge_point`` the charge point does, in ``1.2-central_system`` the central system.
The other one speaks 1.6.

A folder is ``<Action>/<case>``; DataTransfer, which both parties may ask for, is ``DataTransfer`` when the
charge point asks and ``DataTransfer.from-central-system`` when the central system does. In it stand, in the
order in which they travel:

- ``1-…`` the call as its sender wrote it, ``2-…`` as the gateway passes it on,
- ``3-…`` the reply as the other party wrote it, ``4-…`` as the gateway hands it back;
- ``notes.txt``, where something was changed or lost on the way: a line each, the form of ``note_line``;
- ``before.txt``, where it matters what the same two said before: the exchanges that went before this one, a
  line each, ``<Action>/<case>`` of the same kind.

A file is named after the party at the other end of that wire, ``charge_point`` or ``central_system``, and
ends in ``.xml`` where that party speaks OCPP-S, in ``.json`` where it speaks OCPP-J. Without 2 and 3 the
gateway answers by itself. Message ids that it mints are always ``MESSAGE_ID`` and ``SOAP_MESSAGE_ID``, and
its own time is ``NOW``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from wattbridge.ocpp.messages import Breach, Loss, Note, Side

EXCHANGES = Path(__file__).parent / "exchanges"
OF_OLDER_VERSIONS = Path(__file__).parent / "exchanges-of-older-versions"

IDENTITY = "CP3211"
GATEWAY_URL = "http://wattbridge.example/ocpp"  # in wsa:From of calls; charge points post there
CHARGE_POINT_URL = "http://10.1.2.3:8080/ocpp"  # in wsa:To of calls to it
CENTRAL_SYSTEM_URL = "http://central.example/services/CentralSystemService"  # the same, when it speaks OCPP-S
MESSAGE_ID = "1"
SOAP_MESSAGE_ID = "urn:uuid:00000000-0000-4000-8000-000000000001"
NOW = "2024-05-01T10:00:00Z"

_NAMESPACE = re.compile(rb"urn://Ocpp/C[sp]/(\d{4}/\d\d)/")
_VERSION = {b"2010/08": "1.2", b"2012/06": "1.5", b"2015/10": "1.6"}
_NAME = re.compile(r"([1-4])-(charge_point|central_system)\.(xml|json)")
_TRANSPORT = {"xml": "soap", "json": "json"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call and its reply on both sides of the gateway.

    ``folder`` is the name above the case: the action, for most. ``asked_by`` is ``"charge_point"`` or
    ``"central_system"``; ``transports`` tells for both whether they speak ``"soap"`` or ``"json"``.
    ``messages`` are the files 1 to 4, None where there is none; ``notes`` are the lines of notes.txt, and
    ``before`` the exchanges of before.txt. ``older`` is who speaks an older version, ``"1.5-charge_point"``;
    ``""`` where nobody does.
    """

    folder: str
    case: str
    asked_by: str
    transports: dict[str, str]
    messages: tuple[bytes, bytes | None, bytes | None, bytes]
    notes: tuple[str, ...]
    older: str = ""
    before: tuple[Exchange, ...] = ()

    @property
    def id(self) -> str:
        return "/".join(name for name in (self.older, self.folder, self.case) if name)

    @property
    def action(self) -> str:
        return self.folder.partition(".")[0]

    @property
    def asked(self) -> str:
        """Whom the call is for."""
        return Side(self.asked_by).other.value

    def version(self, party: str) -> str:
        """The version of OCPP that *party* speaks.

        The namespace in what the gateway writes to it tells; the folder does where it writes nothing.
        """
        written = self.messages[3 if party == self.asked_by else 1]
        named = _NAMESPACE.search(written) if written and self.transports[party] == "soap" else None
        if named is not None:
            return _VERSION[named[1]]
        version, _, who = self.older.partition("-")
        return version if who == party else "1.6"

    @property
    def answered_here(self) -> bool:
        """The gateway answers by itself; the other party never hears of it."""
        return self.messages[1] is None


def load_exchanges(folder: Path = EXCHANGES, older: str = "") -> list[Exchange]:
    """Every exchange in a folder, by name. Raises ValueError naming the file that does not belong, or is not
    there."""
    found = [
        _load(case, older)
        for action in sorted(folder.iterdir())
        if action.is_dir()
        for case in sorted(action.iterdir())
    ]
    if not found:
        raise ValueError(f"{folder}: found no exchange")
    return found


def load_older_exchanges(folder: Path = OF_OLDER_VERSIONS) -> list[Exchange]:
    """Every exchange in which somebody speaks an older version, by name. Raises ValueError likewise."""
    return [
        exchange
        for older in sorted(folder.iterdir())
        if older.is_dir()
        for exchange in load_exchanges(older, older.name)
    ]


def _load(case: Path, older: str) -> Exchange:
    if not case.is_dir():
        raise ValueError(f"{case}: found no such exchange")
    files: dict[int, tuple[str, str, Path]] = {}
    notes: tuple[str, ...] = ()
    before: tuple[Exchange, ...] = ()
    for file in sorted(case.iterdir()):
        name = _NAME.fullmatch(file.name)
        if file.name == "notes.txt":
            notes = tuple(_content(file).decode().split("\n"))
        elif file.name == "before.txt":
            earlier = _content(file).decode().split("\n")
            before = tuple(_load(case.parent.parent / name, older) for name in earlier)
        elif name is None or int(name[1]) in files:
            raise ValueError(
                f"{file}: found a file that is no part of an exchange, or the second of its number"
            )
        else:
            files[int(name[1])] = (name[2], name[3], file)
    if set(files) not in ({1, 4}, {1, 2, 3, 4}):
        raise ValueError(f"{case}: found messages {sorted(files)}, expected 1, 2, 3, 4 or 1, 4")

    asked_by, suffix, _ = files[1]
    asked = Side(asked_by).other.value
    other_suffix = files[2][1] if 2 in files else {"xml": "json", "json": "xml"}[suffix]
    for number, (party, its_suffix, file) in files.items():
        expected = (asked, other_suffix) if number in (2, 3) else (asked_by, suffix)
        if (party, its_suffix) != expected:
            raise ValueError(f"{file}: expected {number}-{expected[0]}.{expected[1]}")
    contents = {number: _content(file) for number, (_, _, file) in files.items()}
    return Exchange(
        folder=case.parent.name,
        case=case.name,
        asked_by=asked_by,
        transports={asked_by: _TRANSPORT[suffix], asked: _TRANSPORT[other_suffix]},
        messages=(contents[1], contents.get(2), contents.get(3), contents[4]),
        notes=notes,
        older=older,
        before=before,
    )


def _content(file: Path) -> bytes:
    """What stands in *file*, without the one line feed at its end."""
    content = file.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as wrong:
        raise ValueError(f"{file}: byte {wrong.start} is not UTF-8") from None
    bare = content.removesuffix(b"\n")
    if bare == content or not bare or bare[-1:].isspace():
        raise ValueError(f"{file}: found {content[-20:]!r} at the end, expected text and one line feed")
    return bare


def note_line(note: Note) -> str:
    """One note as a line of notes.txt.

    ``loss <path> <value> <rule>``, ``breach`` likewise, or ``change <path> <value> -> <became> <rule>``,
    without the quotes around values, and with one blank for every run of blanks and line breaks.
    """
    words: tuple[str, ...]
    if isinstance(note, Loss):
        words = ("loss", note.path, _unquoted(note.value), note.rule)
    elif isinstance(note, Breach):
        words = ("breach", note.path, _unquoted(note.value), note.rule)
    else:
        words = ("change", note.path, _unquoted(note.value), "->", _unquoted(note.became), note.rule)
    return " ".join(" ".join(words).split())


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value

"""Pages of ``docs/reference``, made from what the program itself works with.

    python -m wattbridge.cli.pages translation > docs/reference/translation.md

Likewise ``commands`` and ``profiles``. The pages of configuration and metrics are made where those are
described: ``reference.py``, ``operation/families.py``. ``make reference`` writes them all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator

import typer
import typer.core
import typer.main

from wattbridge.cli import app
from wattbridge.cli.explain import Row, and_of, local_answers_in_order, rows
from wattbridge.config import Profile
from wattbridge.config.profiles import built_in_names, resolved
from wattbridge.config.values import write_duration
from wattbridge.ocpp import older, tolerances
from wattbridge.ocpp.actions import CompiledOperation, Message, dialect
from wattbridge.ocpp.compatibility import happens
from wattbridge.ocpp.differences import DIFFERENCES, HABITS
from wattbridge.ocpp.errors import FAULT_BY_CODE, FAULT_CODE_BY_WORD
from wattbridge.ocpp.messages import Side
from wattbridge.ocpp.older import BOTH, LARGEST_INTEGER, NOT_IN_15, OLDER_KEYS, TRUNCATED
from wattbridge.ocpp.reasons import LOSSES, REASONS, RULES
from wattbridge.ocpp.shapes import Field
from wattbridge.profiling import conditions_of
from wattbridge.relay.session import ITS_WORD, TRANSACTION_ACTIONS, UNDELIVERED

_MADE = (
    "<!-- Made by `python -m wattbridge.cli.pages {name}`; a test sees that it is what the program does. -->"
)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in PAGES:
        sys.stderr.write(f"which page? There are: {', '.join(PAGES)}\n")
        return 2
    sys.stdout.write(PAGES[arguments[0]]())
    return 0


# --- How messages are carried


def translation() -> str:
    """Every message with every field, every enumeration, every difference of encodings and versions, every
    forgiveness, every loss, every answer of the gateway's own, every error."""
    compiled = dialect()
    of_charge_points = [o for o in compiled.operations.values() if o.asked is Side.CENTRAL_SYSTEM]
    of_central_systems = [o for o in compiled.operations.values() if o.asked is Side.CHARGE_POINT]
    return _page(
        "# How messages are carried",
        "",
        _MADE.format(name="translation"),
        "",
        _CARRIED.format(up=len(of_charge_points), down=len(of_central_systems)),
        "## What the charge point asks",
        *_operations(of_charge_points),
        "",
        "## What the central system asks",
        *_operations(of_central_systems),
        "",
        *_enumerations(),
        "",
        "## Where the two encodings differ",
        "",
        "The service description of OCPP-S and the schemas of OCPP-J agree on every field but these.",
        "",
        *_table(
            ("Field", "Towards SOAP", "Towards JSON", "Source"),
            (
                (f"`{row.path}`", row.towards_soap, row.towards_json, row.source)
                for row in (*DIFFERENCES, *HABITS)
            ),
        ),
        "",
        *_older(),
        "",
        *_forgiven(),
        "",
        *_notes(),
        "",
        *_errors(),
        "",
        *_answered_here(),
        "",
        *_reasons(),
    )


_CARRIED = """\
Where both sides speak the same, a payload is carried [as it
is](../guides/mixed-fleets.md#translated-or-as-it-is), and nothing of this page happens to it. Where one
speaks SOAP and the other JSON, it is translated.

Between the two sides a message has the form of OCPP-J 1.6, so the names below are the names on both wires.
In SOAP they are elements in this order, in the namespace of the service; in JSON they are members of the
payload, in any order. An object's fields are written behind its name with a dot, `[]` marks a list.

| What stands there | In SOAP | In JSON |
|---|---|---|
| integer, decimal | text | number |
| boolean | `true`, `false` | `true`, `false` |
| time | `YYYY-MM-DDTHH:MM:SSZ`, UTC | the same, as a string |
| list | the element repeated | array, also of one |
| a field that is not there | no element | no member, never `null` |
| the action | the element in the Body, and wsa:Action | the third item of the CALL |
| who it is from or for | the header chargeBoxIdentity | the last part of the URL |
| which call a reply is to | wsa:RelatesTo, or the HTTP exchange | the message id |

Message ids are made by the gateway on each side, and never copied from the other: wsa:MessageID may be
missing, repeated or too long, and many charge points count theirs from 1 in each connection.

A charge point asks for {up} operations, a central system for {down}; DataTransfer is one of both.
`wattbridge explain ACTION` shows any of them in the terminal, from the same data.

OCPP 1.5 and 1.2 are SOAP only and say most of this in the same words. Where they do not, "from 1.5" is what
becomes of it when it comes from that version, "to 1.5" what becomes of it on the way there; all of it stands
[together below](#older-versions).
"""


def _operations(operations: Iterable[CompiledOperation]) -> list[str]:
    lines = []
    for operation in sorted(operations, key=lambda operation: operation.action):
        lines += ["", f"### {operation.action}"]
        for message in (operation.request, operation.response):
            kind = "req" if message is operation.request else "conf"
            lines += ["", *_message(f"{operation.action}.{kind}", message)]
    return lines


def _message(name: str, message: Message) -> list[str]:
    table = rows(message)
    where = f"`{name}`: `<{message.element}>`"
    if not table:
        return [f"{where}, no fields."]
    lists = {row.path for row in table if row.field.repeated}
    return [
        f"{where}",
        "",
        *_table(
            ("Field", "Occurs", "Value", "On its way"),
            (
                (f"`{_dotted(row, lists)}`", row.cardinality, _value(row), "; ".join(_said(row)))
                for row in table
            ),
        ),
    ]


def _dotted(row: Row, lists: set[str]) -> str:
    """``sampledValue[].unit`` of ``MeterValues.meterValue.sampledValue.unit``: its list marked as such."""
    path, dotted = "", []
    for part in row.path.split("."):
        path = f"{path}.{part}" if path else part
        dotted.append(f"{part}[]" if path in lists else part)
    return ".".join(dotted[1:])


def _value(row: Row) -> str:
    return ", ".join(f"`{word}`" for word in row.field.enum) if row.field.enum else row.kind


def _said(row: Row) -> list[str]:
    """What is particular to this field; what holds for every time and decimal is said once, elsewhere."""
    said = []
    for difference in row.differences:
        if difference.towards_soap == difference.towards_json:
            said.append(difference.towards_soap)
            continue
        for way, what in (("SOAP", difference.towards_soap), ("JSON", difference.towards_json)):
            if not what.startswith("nothing to do"):
                said.append(f"towards {way}: {what}")
    for older_row in row.older:
        versions = ", ".join(sorted(older_row.versions))
        if older_row.only_older:
            said.append(f"only in OCPP {versions}")
        if happens(older_row.up):
            said.append(f"from {versions}: {older_row.up}")
        if happens(older_row.down):
            said.append(f"to {versions}: {older_row.down}")
    return list(dict.fromkeys(said))


# --- Enumerations, and older versions


_ENUMERATIONS = """\
## Enumerations

Each word is spelled alike in SOAP and JSON. Where OCPP 1.5 or 1.2 has other words, a column says which one is
written for each; `–` where there is none, which is told of [below](#older-versions). A column of nothing else
is of a version that has no such field. How words that 1.6 does not have are read stands under the table.
"""


def _enumerations() -> list[str]:
    lines = [_ENUMERATIONS]
    shown: dict[str, list[str]] = {}  # type → the fields it is of
    fields: dict[str, Field] = {}
    for message in _messages(older.NEWEST):
        for path, field in enums(message.fields, message.name):
            shown.setdefault(field.type_name, []).append(path)
            fields[field.type_name] = field
    for name in sorted(shown):
        words = fields[name].enum
        of = ", ".join(f"`{path}`" for path in dict.fromkeys(shown[name]))
        lines += [f"### {name}", "", f"Of {of}.", ""]
        columns = {version: _words_down(version, name, shown[name], words) for version in reversed(BOTH)}
        if all(list(column.values()) == list(words) or not column for column in columns.values()):
            lines += [", ".join(f"`{word}`" for word in words) + _also_in(columns), ""]
            continue
        head = ("1.6", *(f"in {version}" for version in columns))
        lines += _table(
            head, ((f"`{word}`", *(_written(column, word) for column in columns.values())) for word in words)
        )
        lines.append("")
        for version in columns:
            ups = _words_up(version, shown[name])
            if ups:
                said = ", ".join(f"`{word}` is read as `{meant}`" for word, meant in ups.items())
                lines += [f"From {version}, {said}.", ""]
    return lines[:-1]


def _also_in(columns: dict[str, dict[str, str]]) -> str:
    having = sorted(version for version, column in columns.items() if column)
    return f"; the same in {and_of(having)}." if having else "; not in 1.5 or 1.2."


def _written(column: dict[str, str], word: str) -> str:
    written = column.get(word, "")
    return f"`{written}`" if written else "–"


def _messages(version: str) -> Iterator[Message]:
    for operation in dialect(version).operations.values():
        yield from (operation.request, operation.response)


def enums(fields: Iterable[Field], path: str) -> Iterator[tuple[str, Field]]:
    for field in fields:
        here = f"{path}.{field.name}"
        if field.enum:
            yield here, field
        yield from enums(field.fields, here)


def _words_down(version: str, name: str, paths: list[str], words: tuple[str, ...]) -> dict[str, str]:
    """Each word of 1.6 with what is written for it in a message of *version*; nothing when there is no such
    enumeration."""
    its_own = {
        field.type_name: field.enum
        for message in _messages(version)
        for _, field in enums(message.fields, message.name)
    }
    if name not in its_own:
        return {}
    written: dict[str, str] = {}
    for row in older.ROWS:
        if row.path in paths and version in row.versions:
            written |= row.words_down
    if name == "UnitOfMeasure":  # told by the story of meter values
        written |= {newer: old for old, newer in older.UNITS_UP.items()}
    return {word: written.get(word, word) for word in words if written.get(word, word) in its_own[name]}


def _words_up(version: str, paths: list[str]) -> dict[str, str]:
    return {
        word: meant
        for row in older.ROWS
        if row.path in paths and version in row.versions
        for word, meant in row.words_up.items()
    }


_OLDER = """\
## Older versions

Between the two sides everything has the form of 1.6, so a message of 1.5 or 1.2 is brought up to it, and what
goes to a party of those versions is brought down. What is not in this table is the same in all three.
"""
_OLDER_TEXTS = """\
Texts for people have no bounds in 1.5 and 1.2. Of {texts}
what is longer than 1.6 allows is cut on its way up. What names something (an idTag, a configuration key) is
never cut: it would then name something else.

Names of configuration keys that 1.5 and 1.2 spell otherwise:
"""
_OLDER_METERS = """\
What 1.5 has no words for in meter values: {words}.
1.2 takes integers of the energy register only, at most {largest}.

A command of the central system is carried whole or refused, but losses of these rules do not stop it:
{by_rule}.
"""


def _older() -> list[str]:
    words = [f"{name} {_words(values)}" for name, values in NOT_IN_15.items()]
    return [
        _OLDER,
        *_table(
            ("Field", "OCPP", "From there", "On the way there", "Source"),
            ((f"`{row.path}`", ", ".join(row.versions), row.up, row.down, row.source) for row in older.ROWS),
        ),
        "",
        _OLDER_TEXTS.format(texts=_words(TRUNCATED)),
        *_table(("1.6", "1.5 and 1.2"), ((f"`{new}`", f"`{old}`") for new, old in OLDER_KEYS.items())),
        "",
        _OLDER_METERS.format(
            words="; ".join(words), largest=LARGEST_INTEGER, by_rule=_words(older.BY_RULE)
        ).rstrip(),
    ]


_FORGIVEN = """\
## What is forgiven

What a charge point reports, and every answer, is read with patience; what a central system commands is
carried whole or refused. What is written is always strict. Every forgiveness is recorded by a rule: as
`changes=` or `losses=` in the log, in `wattbridge_translation_losses_total`, and by
`wattbridge translate --explain`.
"""


def _forgiven() -> list[str]:
    aliases = [
        (f"`{seen}` for the field `{meant}` of {message}", "read as that field")
        for (message, seen), meant in tolerances.FIELD_ALIASES.items()
    ]
    aliases += [
        (f"`{field}`: `{seen}`", f"read as `{meant}`")
        for (field, seen), meant in tolerances.VALUE_ALIASES.items()
    ]
    aliases += [
        (f"`{field}`: `{value}`, where the other encoding has no word for it", f"left out: {why}")
        for (field, value), why in tolerances.UNSAYABLE.items()
    ]
    aliases += [
        (f"a bad item of {_words(tolerances.SALVAGED_LISTS)}", "left out alone, the others are carried"),
        (
            f"a bad {_words(tolerances.MEANINGFUL, 'or')}",
            "the whole sample is left out: without it the value would say something else",
        ),
        (f"a fraction in {_words(tolerances.ROUNDED)}", "rounded"),
        (f"an object, list or element in {_words(tolerances.ANYTHING_AS_TEXT)}", "carried as its text"),
        ("booleans written `1`, `0`, `TRUE`, `False`, …", "read as booleans"),
        ("ten or thirteen digits where a time belongs", "read as seconds or milliseconds since 1970"),
        ("a time without an offset", "taken to be of `time.zone`, or of the charge point's own `zone`"),
    ]
    return [
        _FORGIVEN,
        *_table(("Seen", "What happens"), aliases),
    ]


_NOTES = """\
## What is changed and what is lost

Everything that does not arrive as it was sent is recorded, by one of these rules. A loss counts in
`wattbridge_translation_losses_total` and in [the report on a charge
point](../guides/older-charge-points.md#the-report).
"""


def _notes() -> list[str]:
    return [
        _NOTES,
        *_table(
            ("Rule", "Meaning", "A loss"),
            (
                (f"`{rule}`", meaning, ("yes, also in commands" if rule in older.BY_RULE else "yes"))
                if rule in LOSSES
                else (f"`{rule}`", meaning, "")
                for rule, meaning in RULES.items()
            ),
        ),
    ]


_REFUSALS = """\
## Refusals: CALLERROR and Fault

A CALLERROR becomes a SOAP fault for a party that speaks SOAP. Its Reason begins with the code, which keeps
what the five subcodes of OCPP-S cannot say. A Sender fault has HTTP status 400, a Receiver fault 500.
"""
_ANSWERED_HERE = """\
## What is answered here

Everything is carried to the other party, with these exceptions:

- What the other party has no operation for: [below](#in-the-place-of-the-other-party).
- DiagnosticsStatusNotification and FirmwareStatusNotification with a status that the central system's version
  does not have, and MeterValues of which it could be told nothing, are confirmed, and recorded as a loss.
- MeterValues.req without a meter value is answered with MeterValues.conf: OCPP-J cannot say it.
- A message that breaks its schema, or asks for what no such party answers, is refused to the party that sent
  it. The text names the place, what was found and what was expected.
- A charge point that is not known is refused: with a SecurityError in SOAP, with 404 before there is a
  WebSocket in JSON. One whose route rejects it is answered by the gateway.
- {kept} of a SOAP charge point that could not be delivered for
  a reason that may pass are not answered at all: the connection is closed, and the charge point keeps the
  message and sends it again. In JSON they get a CALLERROR, after which it does the same. These may pass:
  {passing}.
- A fault tells charge points of 1.5 and 1.2 never to send a message again. They get one for these messages
  only when the central system itself has refused ({its_word}); else no answer at all.

### In the place of the other party

What it is asked for is no operation of what it speaks, so the gateway answers. `wattbridge explain
--local-answers` prints this table, too.
"""
_WHY = """\
## Why a call failed

One word each, in the log (`reason=`) and in the label `reason` of the metrics.
"""


def _answered_here() -> list[str]:
    return [
        _ANSWERED_HERE.format(
            kept=_words(TRANSACTION_ACTIONS), passing=_words(UNDELIVERED), its_word=_words(ITS_WORD)
        ),
        *_table(
            ("Asked", "What it speaks", "Action", "What it is answered", "Source"),
            (
                (
                    row.asked.value.replace("_", " "),
                    f"SOAP {', '.join(spoken.partition(' ')[2] for spoken in row.lacking)}",
                    f"`{row.action}`",
                    row.said,
                    row.source,
                )
                for row in local_answers_in_order()
            ),
        ),
    ]


def _reasons() -> list[str]:
    return [
        _WHY,
        *_table(("Reason", "Meaning"), ((f"`{word}`", meaning) for word, meaning in REASONS.items())),
    ]


def _errors() -> list[str]:
    return [
        _REFUSALS,
        *_table(
            ("CALLERROR", "Fault code", "Subcode"),
            ((f"`{code}`", f"`{fault}`", f"`{subcode}`") for code, (fault, subcode) in FAULT_BY_CODE.items()),
        ),
        "",
        "A fault becomes a CALLERROR for a party that speaks JSON. The words are looked for in code and",
        "subcode, in any letter case and namespace; the innermost counts.",
        "",
        *_table(
            ("Word in the fault", "CALLERROR"),
            ((f"`{word}`", f"`{code}`") for word, code in FAULT_CODE_BY_WORD.items() if word != code.lower()),
        ),
        "",
        "The codes of OCPP-J themselves are understood as subcodes too.",
    ]


# --- Vendor profiles

_SUPPORTED = """\
Charge points that need more than what is [forgiven](translation.md#what-is-forgiven) everybody, each with
where that was seen. What is not in these tables is not known to need anything. How a charge point gets its
profile, and how to write one: [Vendor profiles](../guides/vendor-profiles.md).

`wattbridge profile show NAME` prints a profile with its rules, `wattbridge profile test` runs the samples of
all.

## By what they say they are

The profile of these is chosen by their BootNotification.
"""
_NAMED = """\

## By name

What a charge point says of itself does not tell whether it needs one of these. Whoever needs it names it,
for one charge point (`chargers.IDENTITY.profile`) or for a route.
"""


def profiles() -> str:
    """Every profile that comes with the gateway."""
    known = [(name, resolved(name, {})) for name in sorted(built_in_names())]
    head = ("Charge points", "Profile", "What is done", "Seen", "To see to")
    return _page(
        "# Supported charge points",
        "",
        _MADE.format(name="profiles"),
        "",
        _SUPPORTED,
        *_table(
            (*head[:2], "For", *head[2:]),
            (_profile(name, profile) for name, profile in known if profile.products),
        ),
        _NAMED,
        *_table(head, (_profile(name, profile) for name, profile in known if not profile.products)),
    )


def _profile(name: str, profile: Profile) -> tuple[str, ...]:
    told = [" and ".join(map(str, conditions)) for conditions in conditions_of(profile)]
    return (
        profile.title or name,
        f"`{name}`",
        *(["; ".join(f"`{each}`" for each in told)] if told else []),
        "; ".join(_done(profile)),
        "; ".join(profile.evidence),
        "; ".join(profile.requirements),
    )


def _done(profile: Profile) -> Iterator[str]:
    """What a profile does, in words."""
    time, soap, calls, websocket = profile.time, profile.soap, profile.calls, profile.websocket
    if soap.prefix:
        yield f"elements are written with the prefix `{soap.prefix}`"
    if soap.from_header != "address":
        yield "no wsa:From" if soap.from_header == "none" else "wsa:From is a text"
    if not soap.reply_to:
        yield "no wsa:ReplyTo"
    if not soap.must_understand:
        yield "nothing has to be understood"
    if soap.to == "from":
        yield "wsa:To is the address it gives itself"
    if soap.fault_status:
        yield f"faults have status {soap.fault_status}"
    if time.z == "local":
        yield "a Z behind its times does not count"
    if time.precision:
        yield f"times are written in {time.precision}"
    if calls.answered_here:
        yield f"{_words(calls.answered_here)}: answered by the gateway"
    if calls.timeout:
        yield f"calls may take {write_duration(calls.timeout)}"
    if calls.retries:
        yield f"calls that did not reach it are tried again, at most {calls.retries} times"
    if websocket.subprotocol == "optional":
        yield "served without a subprotocol, whatever its route says"
    if websocket.also:
        yield f"{_words(websocket.also)}: taken for ocpp1.6"
    if profile.text.truncate:
        yield f"{_words(profile.text.truncate)}: cut to the length OCPP allows"
    for path, words in profile.values.items():
        yield from (f"`{path}` `{seen}` is `{meant}`" for seen, meant in words.items())
    for path, unknown in profile.unknown.items():
        yield f"unknown words of `{path}` become `{unknown.becomes}`"
    for path, value in profile.defaults.items():
        yield f"`{path}` that is empty or missing is `{value}`"
    for alias in profile.aliases:
        yield f"`{alias.field}` of {alias.action} is written as `{alias.name}`, too"
    for rule in profile.fields:
        what = [f"`{path}` is set to `{value}`" for path, value in rule.set.items()]
        what += [f"`{path}` is dropped" for path in rule.drop]
        what += [f"`{path}` is multiplied by {factor}" for path, factor in rule.scale.items()]
        yield f"{rule.action}.{'conf' if rule.part == 'response' else 'req'}: {', '.join(what)}"
    if profile.rewrite:
        yield "messages are mended where they could pass as they are"


# --- The command line


def commands() -> str:
    """The help of every command that is shown."""
    group = typer.main.get_group(app)
    top = typer.Context(
        group,
        info_name="wattbridge",
        terminal_width=_COLUMNS,
        help_option_names=group.context_settings["help_option_names"],
    )
    return _page(
        "# Commands",
        "",
        _MADE.format(name="commands"),
        "",
        "Data goes to standard output, talk to standard error. Exit codes: 0 is well, 1 a negative answer,",
        "2 wrong usage or a wrong configuration, 3 somebody who cannot be reached, 4 a gateway that refuses",
        "the token.",
        *_helps(top, level=2),
    )


_COLUMNS = 80


def _helps(context: typer.Context, level: int) -> list[str]:
    lines = ["", f"{'#' * level} `{context.command_path}`", "", "```text", context.get_help().rstrip(), "```"]
    if isinstance(context.command, typer.core.TyperGroup):
        for name, inner in context.command.commands.items():
            if not inner.hidden:
                below = typer.Context(inner, parent=context, info_name=name, terminal_width=_COLUMNS)
                lines += _helps(below, level + 1)
    return lines


# --- Markdown


def _page(*lines: str) -> str:
    return "\n".join(lines).rstrip() + "\n"


def _table(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> list[str]:
    def row(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    return [row(head), f"|{'---|' * len(head)}", *map(row, lines)]


def _words(words: Iterable[str], joint: str = "and") -> str:
    *others, last = (f"`{word}`" for word in sorted(words))
    return f"{', '.join(others)} {joint} {last}" if others else last


PAGES: dict[str, Callable[[], str]] = {
    "translation": translation,
    "profiles": profiles,
    "commands": commands,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

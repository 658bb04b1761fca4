"""The generated pages say everything the program works with; that they are committed is seen elsewhere."""

from __future__ import annotations

import pytest

from wattbridge.cli import pages
from wattbridge.config import read_profile_text
from wattbridge.config.profiles import built_in_names
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.differences import DIFFERENCES, HABITS
from wattbridge.ocpp.errors import FAULT_BY_CODE
from wattbridge.ocpp.local_answers import TABLE
from wattbridge.ocpp.older import OLDER_KEYS, ROWS, TRUNCATED
from wattbridge.ocpp.reasons import LOSSES, REASONS, RULES
from wattbridge.ocpp.tolerances import VALUE_ALIASES


def test_every_operation_has_a_heading_and_both_its_messages() -> None:
    lines = pages.translation().splitlines()
    for operation in dialect().operations.values():
        assert f"### {operation.action}" in lines
        for message in (operation.request, operation.response):
            assert any(f"`<{message.element}>`" in line for line in lines)


def test_fields_of_lists_are_marked_as_such() -> None:
    row = next(line for line in pages.translation().splitlines() if "sampledValue[].unit" in line)
    assert row.startswith("| `meterValue[].sampledValue[].unit` | 0..1 | `Celsius`, `Fahrenheit`, ")
    assert "towards SOAP: Celcius is written Celsius" in row


def test_every_difference_alias_rule_reason_and_error_is_told() -> None:
    page = pages.translation()
    for difference in (*DIFFERENCES, *HABITS):
        assert f"| `{difference.path}` | {difference.towards_soap} |" in page
    for (field, seen), meant in VALUE_ALIASES.items():
        assert f"| `{field}`: `{seen}` | read as `{meant}` |" in page
    for word in (*RULES, *REASONS, *FAULT_BY_CODE):
        assert f"\n| `{word}` | " in page


def test_every_profile_of_ours_is_told_with_what_it_does() -> None:
    lines = [line for line in pages.profiles().splitlines() if line.startswith("| ")]
    for name in built_in_names():
        [row] = [line for line in lines if f" | `{name}` | " in line]
        cells = row.removeprefix("| ").removesuffix(" |").split(" | ")
        assert len(cells) in (5, 6)
        assert all(cells)


def test_everything_a_profile_may_do_has_words() -> None:
    profile = read_profile_text(
        "name: p\n"
        "soap: {prefix: a, from: none, reply_to: no, must_understand: no, to: from, fault_status: 200}\n"
        "time: {z: local, precision: seconds}\n"
        "calls: {answered_here: Reset, timeout: 5s, retries: 2}\n"
        "websocket: {subprotocol: optional, also: ocpp16}\n"
        "text: {truncate: info}\nvalues: {unit: {Watt: W}}\nunknown: {unit: {becomes: W}}\n"
        "defaults: {chargePointVendor: V}\naliases: [{action: BootNotification, field: interval, as: x}]\n"
        "fields: [{action: GetConfiguration, part: response, drop: unknownKey}]\nrewrite: yes\n",
        "p.yaml",
    )
    assert len(list(pages._done(profile))) == 20


def test_every_row_of_older_versions_and_every_answer_is_told() -> None:
    page = pages.translation()
    for row in ROWS:
        versions = ", ".join(row.versions)
        assert f"| `{row.path}` | {versions} | {row.up} | {row.down} | {row.source} |" in page
    for answer in TABLE:
        assert f"| `{answer.action}` | {answer.said} | {answer.source} |" in page
    for newer, old in OLDER_KEYS.items():
        assert f"| `{newer}` | `{old}` |" in page
    for rule in LOSSES:
        assert f"| `{rule}` | {RULES[rule]} | yes" in page
    for name in TRUNCATED:
        assert f"`{name}`" in page


def section(title: str) -> list[str]:
    lines = pages.translation().splitlines()
    begin = lines.index(title)
    end = next(n for n in range(begin + 1, len(lines)) if lines[n].startswith("#"))
    return [line for line in lines[begin + 1 : end] if line]


def test_an_enumeration_is_told_with_the_words_of_each_version() -> None:
    status = section("### ChargePointStatus")
    assert status[0] == "Of `StatusNotification.status`."
    assert status[1] == "| 1.6 | in 1.5 | in 1.2 |"
    assert "| `SuspendedEV` | `Occupied` | `Occupied` |" in status
    assert "| `Reserved` | `Reserved` | `Unavailable` |" in status
    assert section("### UnlockStatus")[-1] == (
        "From 1.2, `Accepted` is read as `Unlocked`, `Rejected` is read as `UnlockFailed`."
    )
    assert "| `A` | `Amp` | – |" in section("### UnitOfMeasure")
    assert "| `Idle` | – | – |" in section("### DiagnosticsStatus")
    assert section("### ResetType") == ["Of `Reset.type`.", "`Hard`, `Soft`; the same in 1.2 and 1.5."]
    assert section("### UpdateType")[-1].endswith("; the same in 1.5.")
    assert section("### Phase")[-1].endswith("; not in 1.5 or 1.2.")


def test_no_enumeration_has_a_word_that_its_version_does_not() -> None:
    """What stands in a column is what the service description of that version allows."""
    for version, column in (("1.5", 2), ("1.2", 3)):
        its_own = {
            field.type_name: set(field.enum)
            for operation in dialect(version).operations.values()
            for message in (operation.request, operation.response)
            for _, field in pages.enums(message.fields, message.name)
        }
        for name, words in its_own.items():
            for line in section(f"### {name}"):
                if line.startswith("| `"):
                    written = line.split("|")[column].strip(" `")
                    assert written in {*words, "–"}, (version, name, line)


def test_hidden_commands_stay_hidden() -> None:
    page = pages.commands()
    assert "`wattbridge config schema`" in page
    assert "config reference" not in page


def test_a_page_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert pages.main(["nosuch"]) == pages.main([]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "which page? There are: translation, profiles, commands\n" * 2


@pytest.mark.parametrize("name", list(pages.PAGES))
def test_a_page_goes_to_standard_output(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert pages.main([name]) == 0
    assert capsys.readouterr().out == pages.PAGES[name]()

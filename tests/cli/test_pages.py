"""The generated pages say everything the program works with; that they are committed is seen elsewhere."""

from __future__ import annotations

import pytest

from wattbridge.cli import pages
from wattbridge.config import read_profile_text
from wattbridge.config.profiles import built_in_names
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.differences import DIFFERENCES, HABITS
from wattbridge.ocpp.errors import FAULT_BY_CODE
from wattbridge.ocpp.reasons import REASONS, RULES
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

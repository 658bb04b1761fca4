from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from wattbridge.ocpp import ocppj
from wattbridge.ocpp.errors import Unreachable, Violation
from wattbridge.ocpp.messages import Call, CallError, CallResult, Change, Original
from wattbridge.ocpp.ocppj import (
    FORM,
    BrokenFrame,
    CallFrame,
    Ended,
    Endpoint,
    ErrorFrame,
    Noted,
    Refused,
    ResultFrame,
    original_of,
    read_frame,
    write_call,
    write_error,
    write_original,
    write_reply,
    write_result,
)

HEARTBEAT = Call("Heartbeat", {})
RESET = Call("Reset", {"type": "Hard"})


def broken(text: str | bytes) -> BrokenFrame:
    with pytest.raises(BrokenFrame) as caught:
        read_frame(text)
    assert caught.value.code == "FormationViolation"
    assert caught.value.reason == "malformed"
    assert caught.value.text == (text if isinstance(text, str) else text.decode(errors="replace"))
    return caught.value


def told(found: BrokenFrame) -> tuple[str, str, str]:
    return str(found), found.message_id, found.action


def payload_of(text: str) -> Any:
    frame = read_frame(f'[3,"1",{text}]')
    assert isinstance(frame, ResultFrame)
    return frame.payload


# --- reading ---


def test_the_three_frames_are_read() -> None:
    """OCPP-J 1.6, 4.2."""
    text = '[2,"19223201","BootNotification",{"chargePointVendor":"VendorX"}]'
    assert read_frame(text) == CallFrame(
        "19223201", "BootNotification", {"chargePointVendor": "VendorX"}, text
    )
    text = '[3,"19223201",{"status":"Accepted"}]'
    assert read_frame(text) == ResultFrame("19223201", {"status": "Accepted"}, text)
    text = '[4,"162376037","NotSupported","SetDisplayMessageRequest not implemented",{}]'
    assert read_frame(text) == ErrorFrame(
        "162376037", "NotSupported", "SetDisplayMessageRequest not implemented", {}, text
    )


def test_bytes_blanks_and_escapes_are_read() -> None:
    text = '[3, "131" ,\n\t{"info" : "caf\\u00e9 ü"} ]'
    frame = read_frame(text.encode())
    assert frame == ResultFrame("131", {"info": "café ü"}, text)


def test_null_stands_for_an_empty_payload() -> None:
    """OCPP-J 1.6, 4.2.1 and 4.2.2."""
    frame = read_frame('[2,"1","Heartbeat",null]')
    assert isinstance(frame, CallFrame)
    assert frame.payload == {}
    assert frame.notes == (Change("payload", "null", "{}", "null-payload"),)
    assert read_frame('[3,"1",null]') == ResultFrame("1", {}, '[3,"1",null]', frame.notes)


def test_integers_of_any_size_stay_integers() -> None:
    for number in (0, -1, 2**31, 2**53 + 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**300 + 7):
        read = payload_of(f'{{"transactionId":{number}}}')["transactionId"]
        assert read == number
        assert type(read) is int


def test_fractions_are_decimals_digit_by_digit() -> None:
    read = payload_of('{"limit":8.1,"exact":0.12345678901234567890123,"tiny":1e-300,"whole":7400.0,"n":1}')
    assert read == {
        "limit": Decimal("8.1"),
        "exact": Decimal("0.12345678901234567890123"),
        "tiny": Decimal("1E-300"),
        "whole": Decimal("7400.0"),
        "n": 1,
    }
    assert type(read["n"]) is int


@pytest.mark.parametrize("number", ["1e-999999999", "1e-401", "1e-99999999999999999999999", "0e-999999"])
def test_a_number_nobody_could_write_in_full_is_refused(number: str) -> None:
    assert broken(f'[3,"1",{{"n":{number}}}]').problem == f"number out of range: {number[:40]}"


@pytest.mark.parametrize(
    "number", ["1e400", "-1e999999999", "NaN", "Infinity", "-Infinity", "01", "0x1", "+1"]
)
def test_what_is_no_number_of_json_is_refused(number: str) -> None:
    found = broken(f'[3,"1",{{"n":{number}}}]')
    assert found.problem.startswith("is not JSON: ")
    assert (found.path, found.message_type, found.message_id) == ("CALLRESULT", 3, "1")


@pytest.mark.parametrize(
    "text",
    [
        '{"idTag":"A","idTag":"B"}',
        '{"idTag" :"A","idTag" :"B"}',
        '{"idTag"\n:"A","idTag"\t:"B","x":":"}',
        '{"list":[{"idTag":"A","idTag":"A"}]}',
        '{"idTag":"A","\\u0069dTag":"B"}',
    ],
)
def test_two_members_of_one_name_are_refused(text: str) -> None:
    assert broken(f'[2,"7","Authorize",{text}]').problem == "member 'idTag' occurs twice in one object"


def test_colons_and_quotes_in_strings_are_no_members() -> None:
    text = '{"a":":","b":"\\":\\":","c" : "10:00:00","d":{"a":":","e":[{"a":1}]}}'
    assert payload_of(text) == {
        "a": ":",
        "b": '":":',
        "c": "10:00:00",
        "d": {"a": ":", "e": [{"a": 1}]},
    }


@pytest.mark.parametrize("text", ['[3,"1",{"s":"\\ud800"}]', '[3,"1",{"s":"\ud800"}]'])
def test_half_a_surrogate_pair_is_refused(text: str) -> None:
    assert "is not JSON" in str(broken(text))


def test_nesting_is_refused_before_it_hurts() -> None:
    assert broken("[" * 100_000).problem.startswith("is not JSON: depth limit exceeded")
    deep = '[2,"1","DataTransfer",{"data":' + "[" * 63 + "]" * 63 + "}]"
    assert told(broken(deep)) == ("CALL: is nested more than 64 deep", "1", "DataTransfer")
    fits = '[2,"1","DataTransfer",{"data":' + "[" * 62 + "]" * 62 + "}]"
    assert isinstance(read_frame(fits), CallFrame)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not JSON: Input is a zero-length, empty document: line 1 column 1 (char 0)"),
        (b"", "is not JSON: Input is a zero-length, empty document: line 1 column 1 (char 0)"),
        (b"[3,\xff]", "is not UTF-8: byte 3, invalid start byte"),
        ("hello", "is not JSON: unexpected character, expected a JSON value: line 1 column 1 (char 0)"),
        ("{}", "found an object, expected an array"),
        ("null", "found null, expected an array"),
        ("false", "found false, expected an array"),
        ('"x"', "found a string, expected an array"),
        ("12", "found a number, expected an array"),
        ("[]", "messageTypeId: found nothing, expected 2, 3 or 4"),
        ('[1,"1"]', "messageTypeId: found 1, expected 2, 3 or 4"),
        ('[true,"1"]', "messageTypeId: found true, expected 2, 3 or 4"),
        ('["2","1"]', "messageTypeId: found a string, expected 2, 3 or 4"),
        ('[2.0,"1"]', "messageTypeId: found a number, expected 2, 3 or 4"),
        ("[2]", "CALL.uniqueId: found null, expected a string of 1 to 36 characters"),
        ('[2,7,"Heartbeat",{}]', "CALL.uniqueId: found a number, expected a string of 1 to 36 characters"),
        ('[3,"",{}]', "CALLRESULT.uniqueId: found 0 characters, expected a string of 1 to 36 characters"),
        (
            f'[4,"{"x" * 256}","GenericError","",{{}}]',
            "CALLERROR.uniqueId: found 256 characters, expected a string of 1 to 36 characters",
        ),
    ],
)
def test_a_text_without_a_readable_head_is_refused(text: str | bytes, problem: str) -> None:
    assert told(broken(text)) == (problem, "", "")


def test_a_byte_order_mark_is_refused() -> None:
    found = broken('\ufeff[2,"5","Heartbeat",{}]')
    assert "byte order mark" in found.problem
    assert (found.message_type, found.message_id, found.action) == (2, "5", "Heartbeat")


@pytest.mark.parametrize(
    ("text", "problem", "action"),
    [
        ('[2,"5","Heartbeat"]', "CALL: found 3 elements, expected 4", "Heartbeat"),
        ('[2,"5","Heartbeat",{},1]', "CALL: found 5 elements, expected 4", "Heartbeat"),
        ('[2,"5"]', "CALL: found 2 elements, expected 4", ""),
        ('[2,"5","",{}]', "CALL.action: found an empty string, expected a name", ""),
        ('[2,"5",{},{}]', "CALL.action: found an object, expected a name", ""),
        ('[2,"5","Heartbeat",[]]', "CALL.payload: found an array, expected an object", "Heartbeat"),
        ('[2,"5","Heartbeat",true]', "CALL.payload: found true, expected an object", "Heartbeat"),
        ('[3,"5"]', "CALLRESULT: found 2 elements, expected 3", ""),
        ('[3,"5",{},{}]', "CALLRESULT: found 4 elements, expected 3", ""),
        ('[3,"5","x"]', "CALLRESULT.payload: found a string, expected an object", ""),
        ('[4,"5"]', "CALLERROR: found 2 elements, expected 5", ""),
        ('[4,"5","GenericError","",{},1]', "CALLERROR: found 6 elements, expected 5", ""),
    ],
)
def test_a_frame_broken_in_form_keeps_its_head(text: str, problem: str, action: str) -> None:
    found = broken(text)
    assert told(found) == (problem, "5", action)
    assert found.message_type == int(text[1])


@pytest.mark.parametrize(
    ("text", "message_type", "message_id", "action"),
    [
        ('[2,"5","Heartbeat",{', 2, "5", "Heartbeat"),
        (' [ 2 , "a:b" , "Reset" , {"type":NaN}]', 2, "a:b", "Reset"),
        ('[2,"5",Heartbeat,{}]', 2, "5", ""),
        ('[3,"5",{"status":Accepted}]', 3, "5", ""),
        ('[3,"5","Heartbeat",', 3, "5", ""),
        ('[2,"5"', None, "", ""),
        ('[2,"5\\n","Heartbeat",{', None, "", ""),
        ('[7,"5","Heartbeat",{', None, "", ""),
    ],
)
def test_the_head_of_a_text_that_is_not_json_is_read(
    text: str, message_type: int | None, message_id: str, action: str
) -> None:
    """Whoever wrote it can be told, instead of waiting for a reply that cannot come."""
    found = broken(text)
    assert found.problem.startswith("is not JSON: ")
    assert (found.message_type, found.message_id, found.action) == (message_type, message_id, action)


def test_a_message_id_of_more_than_36_characters_is_read_and_noted() -> None:
    """At most 36 by OCPP-J 1.6, 4.1.4; longer ones are seen, and harmless to answer."""
    long_id = "urn:uuid:589e13ae-1787-49f8-ab8b-4567327b23c6"
    frame = read_frame(f'[2,"{long_id}","Heartbeat",{{}}]')
    assert frame.message_id == long_id
    assert frame.notes == (Change("uniqueId", long_id, long_id, "long-message-id"),)


@pytest.mark.parametrize(
    ("text", "code", "description", "details", "rules"),
    [
        ('[4,"1","InternalError","",{}]', "InternalError", "", {}, []),
        (
            '[4,"1",null,"Item \'X\' not implemented",null]',
            "GenericError",
            "Item 'X' not implemented",
            {},
            ["error-code", "error-details"],
        ),
        ('[4,"1","NotSupported","no"]', "NotSupported", "no", {}, ["error-details"]),
        ('[4,"1","NotSupported"]', "NotSupported", "", {}, ["error-details"]),
        ('[4,"1","NotSupported",null,""]', "NotSupported", "", {}, ["error-details"]),
        ('[4,"1","NotSupported",17,{}]', "NotSupported", "17", {}, []),
        ('[4,"1","GenericError","","why"]', "GenericError", "", {"details": "why"}, ["error-details"]),
        ('[4,"1","GenericError","",[]]', "GenericError", "", {"details": []}, ["error-details"]),
        ('[4,"1","FormatViolation","",{}]', "FormationViolation", "", {}, ["error-code"]),
        (
            '[4,"1","OccurrenceConstraintViolation","",{}]',
            "OccurenceConstraintViolation",
            "",
            {},
            ["error-code"],
        ),
        (
            '[4,"1","RpcFrameworkError","bad",{}]',
            "GenericError",
            "RpcFrameworkError: bad",
            {},
            ["error-code"],
        ),
        ('[4,"1","RpcFrameworkError","",{}]', "GenericError", "RpcFrameworkError", {}, ["error-code"]),
        ('[4,"1","","bad",{}]', "GenericError", "bad", {}, ["error-code"]),
        ('[4,"1",42,"bad",{}]', "GenericError", "bad", {}, ["error-code"]),
    ],
)
def test_the_callerrors_of_the_field_are_understood(
    text: str, code: str, description: str, details: dict[str, Any], rules: list[str]
) -> None:
    """A refused error reply would leave our call without its end."""
    frame = read_frame(text)
    assert isinstance(frame, ErrorFrame)
    assert (frame.code, frame.description, frame.details) == (code, description, details)
    assert [note.rule for note in frame.notes] == rules


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    with suppress(BrokenFrame):
        read_frame(text)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False, places=3)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('ab:" ', max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text('ab:" ', max_size=4), JSON, max_size=4))
def test_what_is_written_is_read_as_the_same(payload: dict[str, Any]) -> None:
    assert payload_of(write_result("1", payload)[len('[3,"1",') : -1]) == payload


@given(st.text('[]{}":,\\ 234ae.-+0', max_size=40))
def test_near_json_is_read_or_refused(text: str) -> None:
    with suppress(BrokenFrame):
        read_frame('[2,"1","A",' + text)


# --- writing ---


def test_frames_are_written_compact_and_not_in_ascii() -> None:
    assert write_call("1", "Authorize", {"idTag": "Zoë"}) == '[2,"1","Authorize",{"idTag":"Zoë"}]'
    assert write_result("1", {}) == '[3,"1",{}]'
    assert write_error("1", "NotSupported", "no", {"path": "x"}) == '[4,"1","NotSupported","no",{"path":"x"}]'


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Decimal("8.1"), "8.1"),
        (Decimal("8.10"), "8.10"),
        (Decimal("7400"), "7400"),
        (Decimal("1E+2"), "100"),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("-0.0"), "-0.0"),
        (Decimal("1E+999999"), "1E+999999"),
        (2**64, "18446744073709551616"),
        (-(2**63) - 1, "-9223372036854775809"),
    ],
)
def test_numbers_are_written_exactly(number: int | Decimal, text: str) -> None:
    assert (
        write_result("1", {"n": number, "list": [number, "x"]})
        == f'[3,"1",{{"n":{text},"list":[{text},"x"]}}]'
    )


def test_large_integers_and_decimals_are_written_side_by_side() -> None:
    payload = {"id": 2**70, "limit": Decimal("8.1"), "ok": True, "none": None}
    assert write_result("1", payload) == f'[3,"1",{{"id":{2**70},"limit":8.1,"ok":true,"none":null}}]'


@pytest.mark.parametrize(
    "value",
    [Decimal("NaN"), Decimal("Infinity"), object(), "\ud800", {1: 2}, 10**5000],
    ids=["nan", "infinity", "object", "surrogate", "number as name", "endless integer"],
)
def test_what_json_cannot_say_is_a_violation(value: object) -> None:
    with pytest.raises(Violation, match="cannot be written as JSON"):
        write_call("1", "DataTransfer", {"data": value})


def test_nesting_that_cannot_be_written_is_a_violation() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Violation, match="cannot be written as JSON"):
        write_result("1", {"data": deep})


def test_a_long_description_is_cut_to_255_characters() -> None:
    text = write_error("1", "GenericError", "x" * 256, {})
    assert text == '[4,"1","GenericError","' + "x" * 254 + '…",{}]'
    assert "…" not in write_error("1", "GenericError", "x" * 255, {})


# --- what passes as it is ---


@pytest.mark.parametrize(
    ("text", "original"),
    [
        ('[2,"1","Heartbeat",{}]', "{}"),
        ('[2,"1","Heartbeat",null]', "null"),
        (' [ 2 , "1" ,\t"Reset" , { "type" :\n"Hard" } ] \n', '{ "type" :\n"Hard" }'),
        (r'[2,"a\"],{\\","Data\u0054ransfer",{"vendorId":"]}"}]', '{"vendorId":"]}"}'),
        (
            '[3,"1",{"a":1e2,"b":123456789012345678901234567890}]',
            '{"a":1e2,"b":123456789012345678901234567890}',
        ),
        (r'[3,"[3,1,",{"s":"\u00e9"}]', r'{"s":"\u00e9"}'),
        ('[4,"1","GenericError","",{}]', '"GenericError","",{}'),
        ('[4,"1",null,"what",null]', 'null,"what",null'),
        ('[4,"1","Own"]', '"Own"'),
    ],
)
def test_the_original_is_what_stands_behind_the_head(text: str, original: str) -> None:
    assert original_of(read_frame(text)) == Original(FORM, original.encode())


@given(
    payload=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3), head=st.text(min_size=1)
)
def test_every_payload_is_found_behind_every_head(payload: dict[str, Any], head: str) -> None:
    for text in (write_call(head[:200], head, payload), write_result(head[:200], payload)):
        with suppress(BrokenFrame):
            frame = read_frame(text)
            assert json.loads(original_of(frame).text) == payload


def test_a_frame_is_written_around_an_original() -> None:
    original = Original(FORM, b'{ "type" : "Hard" }')
    assert write_original(2, "7", original, "Reset") == '[2,"7","Reset",{ "type" : "Hard" }]'
    assert write_original(3, 'a"b', original) == r'[3,"a\"b",{ "type" : "Hard" }]'


def test_a_reply_is_written_as_it_is_where_it_can_be() -> None:
    own = Original(FORM, b'null,"what",null')
    assert write_reply("7", CallError("GenericError", "what", original=own)) == '[4,"7",null,"what",null]'
    assert write_reply("7", CallResult({}, Original(FORM, b"null"))) == '[3,"7",null]'
    foreign = Original("soap", b"<a/>")
    assert write_reply("7", CallResult({"a": 1}, foreign)) == '[3,"7",{"a":1}]'
    assert (
        write_reply("7", CallError("GenericError", "x", original=foreign)) == '[4,"7","GenericError","x",{}]'
    )


# --- the endpoint: our calls ---


def an_endpoint(**options: Any) -> Endpoint:
    numbers = count(1)
    return Endpoint(lambda: str(next(numbers)), **options)


def take(endpoint: Endpoint) -> list[str]:
    texts = endpoint.outgoing[:]
    endpoint.outgoing.clear()
    return texts


def the_failure(event: object) -> tuple[str, str]:
    assert isinstance(event, Ended)
    assert isinstance(event.outcome, Unreachable)
    return event.outcome.reason, event.outcome.description


def test_a_call_ends_with_its_reply() -> None:
    endpoint = an_endpoint()
    assert endpoint.call(RESET, now=0.0) == "1"
    assert take(endpoint) == ['[2,"1","Reset",{"type":"Hard"}]']
    reply = '[3,"1",{"status":"Accepted"}]'
    assert endpoint.receive(reply, now=1.0) == [
        Ended(
            "1", "Reset", '[2,"1","Reset",{"type":"Hard"}]', ResultFrame("1", {"status": "Accepted"}, reply)
        )
    ]
    assert endpoint.idle
    assert endpoint.deadline is None


def test_a_call_ends_with_a_callerror() -> None:
    endpoint = an_endpoint()
    endpoint.call(RESET, now=0.0)
    [ended] = endpoint.receive('[4,"1","NotSupported","no Reset here",{}]', now=1.0)
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, ErrorFrame)
    assert (ended.outcome.code, ended.outcome.description) == ("NotSupported", "no Reset here")


def test_second_call_waits_for_the_first_reply() -> None:
    """One CALL at a time in each direction (OCPP-J 1.6, 4.1.1)."""
    endpoint = an_endpoint()
    endpoint.call(HEARTBEAT, now=0.0)
    endpoint.call(HEARTBEAT, now=0.0)
    assert endpoint.outgoing == ['[2,"1","Heartbeat",{}]']

    endpoint.receive('[3,"1",{"currentTime":"2024-05-01T10:00:00Z"}]', now=1.0)
    assert endpoint.outgoing[1:] == ['[2,"2","Heartbeat",{}]']


def test_waiting_calls_are_sent_in_order() -> None:
    endpoint = an_endpoint()
    for connector_id in (1, 2, 3):
        endpoint.call(Call("UnlockConnector", {"connectorId": connector_id}), now=0.0)
    endpoint.receive('[3,"1",{"status":"Unlocked"}]', now=1.0)
    endpoint.receive('[3,"2",{"status":"Unlocked"}]', now=2.0)
    assert endpoint.outgoing == [
        '[2,"1","UnlockConnector",{"connectorId":1}]',
        '[2,"2","UnlockConnector",{"connectorId":2}]',
        '[2,"3","UnlockConnector",{"connectorId":3}]',
    ]


def test_a_call_without_a_reply_times_out_and_the_next_is_sent() -> None:
    endpoint = an_endpoint()
    endpoint.call(HEARTBEAT, now=0.0)
    endpoint.call(RESET, now=10.0)
    take(endpoint)
    assert endpoint.deadline == 30.0
    assert endpoint.tick(now=29.9) == []
    [ended] = endpoint.tick(now=30.0)
    assert the_failure(ended) == ("timeout", "no reply to Heartbeat within 30 s")
    assert take(endpoint) == ['[2,"2","Reset",{"type":"Hard"}]']
    assert endpoint.deadline == 60.0  # counted from when it was sent


def test_a_call_that_waits_too_long_is_never_sent() -> None:
    endpoint = an_endpoint(call_timeout=30.0, waiting_timeout=5.0)
    endpoint.call(HEARTBEAT, now=0.0)
    endpoint.call(RESET, now=1.0)
    take(endpoint)
    assert endpoint.deadline == 6.0
    assert endpoint.tick(now=5.9) == []
    [ended] = endpoint.tick(now=6.0)
    assert the_failure(ended) == ("busy", "Reset was not sent: the calls before it took 5 s")
    assert endpoint.deadline == 30.0
    endpoint.receive('[3,"1",{}]', now=7.0)
    assert take(endpoint) == []


def test_calls_made_together_to_a_silent_party_end_together() -> None:
    endpoint = an_endpoint()
    endpoint.call(HEARTBEAT, now=0.0)
    endpoint.call(RESET, now=0.0)
    assert [the_failure(event)[0] for event in endpoint.tick(now=30.0)] == ["timeout", "busy"]
    assert endpoint.outgoing == ['[2,"1","Heartbeat",{}]']
    assert endpoint.idle


def test_too_many_waiting_calls_are_refused_at_once() -> None:
    endpoint = an_endpoint(max_waiting=2)
    for _ in range(3):
        endpoint.call(HEARTBEAT, now=0.0)
    with pytest.raises(Unreachable) as caught:
        endpoint.call(RESET, now=0.0)
    assert caught.value.reason == "busy"
    assert caught.value.description == "2 calls wait already; Reset was not sent"


def test_a_withdrawn_call_is_never_sent() -> None:
    endpoint = an_endpoint()
    ids = [endpoint.call(call, now=0.0) for call in (HEARTBEAT, RESET, HEARTBEAT)]
    take(endpoint)
    endpoint.withdraw(ids[1])
    endpoint.withdraw(ids[0])  # sent already: still waits for its reply
    endpoint.withdraw("unknown")
    assert [type(event) for event in endpoint.receive('[3,"1",{}]', now=1.0)] == [Ended]
    assert take(endpoint) == ['[2,"3","Heartbeat",{}]']


def test_a_call_that_cannot_be_written_leaves_no_trace() -> None:
    endpoint = an_endpoint()
    with pytest.raises(Violation):
        endpoint.call(Call("DataTransfer", {"data": Decimal("NaN")}), now=0.0)
    assert endpoint.idle
    assert endpoint.outgoing == []


def test_a_late_reply_is_noted_and_dropped() -> None:
    """Peers answer after our timeout; the session lives on."""
    endpoint = an_endpoint()
    endpoint.call(HEARTBEAT, now=0.0)
    endpoint.tick(now=30.0)
    endpoint.call(RESET, now=31.0)
    endpoint.tick(now=61.0)
    endpoint.call(HEARTBEAT, now=62.0)
    text = '[3,"2",{"status":"Accepted"}]'
    assert endpoint.receive(text, now=63.0) == [Noted("late reply", "the reply to Reset came too late", text)]
    assert endpoint.receive(text, now=63.0) == [
        Noted("unknown reply", "a reply to no call that waits for one", text)
    ]
    assert [type(event) for event in endpoint.receive('[3,"3",{}]', now=64.0)] == [Ended]


def test_a_reply_to_no_call_is_noted() -> None:
    endpoint = an_endpoint()
    text = '[4,"9","GenericError","",{}]'
    assert endpoint.receive(text, now=0.0) == [
        Noted("unknown reply", "a reply to no call that waits for one", text)
    ]


@pytest.mark.parametrize("reply", ['[3,"1"]', '[3,"1",[]]', '[3,"1",{"status":Accepted}]', '[4,"1"]'])
def test_a_broken_reply_ends_its_call(reply: str) -> None:
    """Nothing better will come under this message id."""
    endpoint = an_endpoint()
    endpoint.call(RESET, now=0.0)
    endpoint.call(HEARTBEAT, now=0.0)
    take(endpoint)
    [ended] = endpoint.receive(reply, now=1.0)
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, BrokenFrame)
    assert take(endpoint) == ['[2,"2","Heartbeat",{}]']


def test_a_broken_reply_to_another_call_is_noted() -> None:
    endpoint = an_endpoint()
    endpoint.call(RESET, now=0.0)
    [noted] = endpoint.receive('[3,"2"]', now=1.0)
    assert noted == Noted("malformed message", "CALLRESULT: found 2 elements, expected 3", '[3,"2"]')
    assert not endpoint.idle


def test_a_lost_connection_ends_every_call_and_says_which_were_sent() -> None:
    endpoint = an_endpoint()
    endpoint.call(HEARTBEAT, now=0.0)
    endpoint.call(RESET, now=0.0)
    endpoint.receive('[2,"a","Reset",{"type":"Soft"}]', now=0.0)
    endpoint.next_call()
    assert [the_failure(event) for event in endpoint.lost("closed with 1006")] == [
        ("unreachable", "closed with 1006; Heartbeat was sent, its reply did not come"),
        ("not_connected", "closed with 1006; Reset was not sent"),
    ]
    assert endpoint.idle
    assert endpoint.outgoing == []
    assert endpoint.next_call() is None
    assert endpoint.receive('[3,"1",{}]', now=1.0) == []
    assert endpoint.tick(now=99.0) == []
    assert endpoint.lost("again") == []
    with pytest.raises(Unreachable) as caught:
        endpoint.call(RESET, now=1.0)
    assert caught.value.reason == "not_connected"
    assert caught.value.description == "again; Reset was not sent"


def test_a_call_is_sent_as_it_is_where_it_can_be() -> None:
    endpoint = an_endpoint()
    endpoint.call(Call("Reset", {"type": "Hard"}, Original(FORM, b'{ "type":"Hard" }')), 0.0)
    endpoint.receive('[3,"1",{}]', 0.0)
    endpoint.call(Call("Reset", {"type": "Hard"}, Original("soap", b"<a/>")), 0.0)
    assert endpoint.outgoing == ['[2,"1","Reset",{ "type":"Hard" }]', '[2,"2","Reset",{"type":"Hard"}]']


def test_a_lost_endpoint_says_so() -> None:
    endpoint = an_endpoint()
    assert not endpoint.is_lost
    endpoint.lost("gone")
    assert endpoint.is_lost


def test_a_lost_connection_refuses_the_calls_that_were_not_served_yet() -> None:
    """Nobody is there to be told, but each of them has arrived."""
    endpoint = an_endpoint()
    endpoint.receive('[2,"a","Reset",{"type":"Soft"}]', now=0.0)
    endpoint.next_call()
    endpoint.receive('[2,"b","ClearCache",{}]', now=0.0)
    problem = "closed with 1006; ClearCache waited for its turn and was not served"
    assert endpoint.lost("closed with 1006") == [
        Refused(
            "ClearCache",
            CallError("GenericError", problem, reason="not_connected"),
            '[2,"b","ClearCache",{}]',
            "",
        )
    ]
    assert endpoint.outgoing == []
    assert endpoint.next_call() is None


# --- the endpoint: their calls ---


def test_a_call_of_the_other_party_is_served_and_answered() -> None:
    endpoint = an_endpoint()
    text = '[2,"a","Reset",{"type":"Hard"}]'
    assert endpoint.receive(text, now=0.0) == []
    assert endpoint.next_call() == CallFrame("a", "Reset", {"type": "Hard"}, text)
    assert not endpoint.idle
    assert endpoint.reply("a", CallResult({"status": "Accepted"})) == '[3,"a",{"status":"Accepted"}]'
    assert take(endpoint) == ['[3,"a",{"status":"Accepted"}]']
    assert endpoint.idle


def test_a_call_is_answered_with_a_callerror() -> None:
    endpoint = an_endpoint()
    endpoint.receive('[2,"a","Reset",{"type":"Hard"}]', now=0.0)
    endpoint.next_call()
    endpoint.reply("a", CallError("NotSupported", "no", {"path": "Reset"}))
    assert take(endpoint) == ['[4,"a","NotSupported","no",{"path":"Reset"}]']


def test_calls_of_the_two_parties_may_cross() -> None:
    """OCPP-J 1.6, 4.1.1."""
    endpoint = an_endpoint()
    endpoint.call(HEARTBEAT, now=0.0)
    endpoint.receive('[2,"1","Reset",{"type":"Hard"}]', now=0.1)  # the same id means nothing
    assert endpoint.next_call() is not None
    endpoint.reply("1", CallResult({"status": "Accepted"}))
    [ended] = endpoint.receive('[3,"1",{}]', now=0.2)
    assert isinstance(ended, Ended)
    assert take(endpoint) == ['[2,"1","Heartbeat",{}]', '[3,"1",{"status":"Accepted"}]']


def test_pipelined_calls_are_handed_out_one_by_one_in_order() -> None:
    endpoint = an_endpoint()
    for message_id in "abc":
        endpoint.receive(f'[2,"{message_id}","Heartbeat",{{}}]', now=0.0)
    for message_id in "abc":
        frame = endpoint.next_call()
        assert frame is not None
        assert frame.message_id == message_id
        assert endpoint.next_call() is None
        endpoint.reply(message_id, CallResult({}))
    assert take(endpoint) == ['[3,"a",{}]', '[3,"b",{}]', '[3,"c",{}]']
    assert endpoint.next_call() is None


def test_too_many_pipelined_calls_are_answered_at_once() -> None:
    endpoint = an_endpoint(max_waiting=1)
    endpoint.receive('[2,"a","Heartbeat",{}]', now=0.0)
    endpoint.next_call()
    endpoint.receive('[2,"b","Heartbeat",{}]', now=0.0)
    text = '[2,"c","Heartbeat",{}]'
    answer = '[4,"c","GenericError","1 CALLs wait already to be served",{}]'
    reply = CallError("GenericError", "1 CALLs wait already to be served", reason="busy")
    assert endpoint.receive(text, now=0.0) == [Refused("Heartbeat", reply, text, answer)]
    assert take(endpoint) == [answer]


def test_a_call_broken_in_form_is_refused_at_once() -> None:
    endpoint = an_endpoint()
    endpoint.receive('[2,"a","Heartbeat",{}]', now=0.0)
    endpoint.next_call()
    text = '[2,"b","Reset",[]]'
    problem = "CALL.payload: found an array, expected an object"
    answer = f'[4,"b","FormationViolation","{problem}",{{"path":"CALL.payload"}}]'
    reply = CallError("FormationViolation", problem, {"path": "CALL.payload"}, reason="malformed")
    assert endpoint.receive(text, now=0.0) == [Refused("Reset", reply, text, answer)]
    assert take(endpoint) == [answer]


@pytest.mark.parametrize("text", ["hello", '[1,"7","x",{}]', '[2,7,"Heartbeat",{}]', b"\xff\xfe", "[2]"])
def test_what_has_no_id_to_answer_is_noted_and_ignored(text: str | bytes) -> None:
    endpoint = an_endpoint()
    [noted] = endpoint.receive(text, now=0.0)
    assert isinstance(noted, Noted)
    assert noted.kind == "malformed message"
    assert noted.text == (text if isinstance(text, str) else "\ufffd\ufffd")
    assert take(endpoint) == []


STATUS = '[2,"a","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Available"}]'


def test_a_call_repeated_while_it_is_served_waits_for_its_one_answer() -> None:
    endpoint = an_endpoint()
    endpoint.receive(STATUS, now=0.0)
    endpoint.next_call()
    problem = "StatusNotification was repeated while it is being served"
    assert endpoint.receive(STATUS, now=1.0) == [Noted("repeated call", problem, STATUS)]
    endpoint.receive('[2,"b","Heartbeat",{}]', now=1.0)
    [noted] = endpoint.receive('[2,"b","Heartbeat",{}]', now=1.0)
    assert isinstance(noted, Noted)
    endpoint.reply("a", CallResult({}))
    assert take(endpoint) == ['[3,"a",{}]']


def test_a_call_repeated_after_it_was_answered_gets_the_same_answer() -> None:
    endpoint = an_endpoint()
    endpoint.receive(STATUS, now=0.0)
    endpoint.next_call()
    endpoint.reply("a", CallResult({}))
    take(endpoint)
    problem = "StatusNotification was repeated after it was answered; the same reply was sent again"
    assert endpoint.receive(STATUS, now=60.0) == [Noted("repeated call", problem, STATUS)]
    assert take(endpoint) == ['[3,"a",{}]']
    assert endpoint.next_call() is None


def test_a_message_id_used_again_much_later_is_a_new_call() -> None:
    """Devices with one constant id exist; what was answered an hour ago is no answer now."""
    endpoint = an_endpoint()
    endpoint.receive(STATUS, now=0.0)
    endpoint.next_call()
    endpoint.reply("a", CallResult({}))
    problem = "StatusNotification carries the message id of an earlier CALL and is served as a new one"
    assert endpoint.receive(STATUS, now=60.1) == [Noted("reused message id", problem, STATUS)]
    assert endpoint.next_call() is not None


def test_a_heartbeat_is_always_answered_anew() -> None:
    """Its answer is the time."""
    endpoint = an_endpoint()
    text = '[2,"a","Heartbeat",{}]'
    endpoint.receive(text, now=0.0)
    endpoint.next_call()
    endpoint.reply("a", CallResult({"currentTime": "2024-05-01T10:00:00Z"}))
    assert [type(event) for event in endpoint.receive(text, now=10.0)] == [Noted]
    assert endpoint.next_call() is not None


def test_another_call_under_the_same_message_id_is_served_as_a_new_one() -> None:
    endpoint = an_endpoint()
    other = '[2,"a","Authorize",{"idTag":"B"}]'
    endpoint.receive('[2,"a","Authorize",{"idTag":"A"}]', now=0.0)
    endpoint.next_call()
    [noted] = endpoint.receive(other, now=0.0)
    assert isinstance(noted, Noted)
    assert noted.kind == "reused message id"
    endpoint.reply("a", CallResult({"idTagInfo": {"status": "Accepted"}}))
    frame = endpoint.next_call()
    assert frame is not None
    assert frame.payload == {"idTag": "B"}


def test_only_the_call_being_served_can_be_answered() -> None:
    endpoint = an_endpoint()
    with pytest.raises(ValueError, match="CALL a is not being served"):
        endpoint.reply("a", CallResult({}))
    endpoint.receive('[2,"b","Heartbeat",{}]', now=0.0)
    endpoint.next_call()
    with pytest.raises(ValueError, match="CALL a is not being served"):
        endpoint.reply("a", CallResult({}))


def test_a_reply_that_cannot_be_written_leaves_the_call_to_be_answered() -> None:
    endpoint = an_endpoint()
    endpoint.receive('[2,"b","Heartbeat",{}]', now=0.0)
    endpoint.next_call()
    with pytest.raises(Violation):
        endpoint.reply("b", CallResult({"currentTime": "\ud800"}))
    endpoint.reply("b", CallError("InternalError"))
    assert take(endpoint) == ['[4,"b","InternalError","",{}]']


def test_a_reply_after_the_connection_is_lost_goes_nowhere() -> None:
    endpoint = an_endpoint()
    endpoint.receive('[2,"b","Heartbeat",{}]', now=0.0)
    endpoint.next_call()
    before = endpoint.is_lost
    endpoint.lost("")
    assert (before, endpoint.is_lost) == (False, True)
    assert endpoint.reply("b", CallResult({})) == '[3,"b",{}]'
    assert take(endpoint) == []


# --- whatever happens ---


class AnyConversation(RuleBasedStateMachine):
    """Two parties in any order of events: what holds for every connection."""

    replies = Bundle("replies")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.endpoint = an_endpoint(call_timeout=30.0, waiting_timeout=20.0, max_waiting=3)
        self.ours: dict[str, str] = {}  # id → action of each call not yet ended
        self.unanswered: list[str] = []  # our CALLs on the wire the peer has neither answered nor lost
        self.expected: dict[str, str] = {}  # what the peer replied → to which call
        self.theirs: list[str] = []  # CALLs the peer waits for, in order
        self.serving: str | None = None
        self.ids = count(1)
        self.gone = False

    def settle(self, events: list[Any], replied: str | None = None) -> None:
        for event in events:
            if isinstance(event, Ended):
                assert self.ours.pop(event.message_id) == event.action  # known, and for the first time
                if isinstance(event.outcome, ResultFrame):
                    assert event.outcome.message_id == event.message_id == replied
                    assert event.outcome.payload == {"to": event.message_id}
                if event.message_id in self.unanswered:
                    self.unanswered.remove(event.message_id)
            elif isinstance(event, Refused) and event.answer:
                assert event.answer in self.endpoint.outgoing
            elif isinstance(event, Refused):  # nobody is there to be answered
                self.theirs.remove(read_frame(event.text).message_id)
        for text in take(self.endpoint):
            frame = read_frame(text)
            if isinstance(frame, CallFrame):
                self.unanswered.append(frame.message_id)
                assert next(iter(self.ours.items())) == (frame.message_id, frame.action)  # in order
            else:
                self.theirs.remove(frame.message_id)
        assert len(self.unanswered) <= 1

    @rule(action=st.sampled_from(["Heartbeat", "Reset", "Authorize"]))
    def call(self, action: str) -> None:
        if self.gone or len(self.ours) == 4:  # one on the wire, three waiting
            with pytest.raises(Unreachable) as refused:
                self.endpoint.call(Call(action, {}), self.now)
            assert refused.value.reason == ("not_connected" if self.gone else "busy")
            return
        message_id = self.endpoint.call(Call(action, {}), self.now)
        assert message_id not in self.ours
        self.ours[message_id] = action
        self.settle([])

    @precondition(lambda self: self.unanswered and not self.gone)
    @rule(target=replies)
    def peer_replies(self) -> str:
        message_id = self.unanswered[0]
        text = f'[3,"{message_id}",{{"to":"{message_id}"}}]'
        was_waiting = message_id in self.ours
        self.settle(self.endpoint.receive(text, self.now), replied=message_id)
        assert was_waiting
        assert message_id not in self.ours  # no reply is lost
        return text

    @rule(text=replies)
    def peer_replies_again(self, text: str) -> None:
        events = self.endpoint.receive(text, self.now)
        assert not any(isinstance(event, Ended) for event in events)
        self.settle(events)

    @rule(number=st.integers(90, 99))
    def peer_replies_to_nothing(self, number: int) -> None:
        before = dict(self.ours)
        self.settle(self.endpoint.receive(f'[3,"x{number}",{{}}]', self.now))
        assert self.ours == before

    @rule(text=st.sampled_from(["", "[", "[]", '[1,"a"]', "[2]", '[3,"y"]', "{}", "\x00"]))
    def peer_sends_garbage(self, text: str) -> None:
        before = dict(self.ours)
        self.settle(self.endpoint.receive(text, self.now))
        assert self.ours == before

    @precondition(lambda self: not self.gone)
    @rule(broken=st.booleans())
    def peer_calls(self, broken: bool) -> None:
        message_id = f"p{next(self.ids)}"
        self.theirs.append(message_id)
        payload = "[]" if broken else "{}"
        self.settle(self.endpoint.receive(f'[2,"{message_id}","Heartbeat",{payload}]', self.now))
        assert broken == (message_id not in self.theirs) or len(self.theirs) >= 3

    @precondition(lambda self: not self.gone)
    @rule()
    def serve(self) -> None:
        frame = self.endpoint.next_call()
        if self.serving is not None:
            assert frame is None
        elif frame is not None:
            assert frame.message_id == self.theirs[0]
            self.serving = frame.message_id
        else:
            assert not self.theirs  # no CALL is forgotten

    @precondition(lambda self: self.serving is not None)
    @rule()
    def reply(self) -> None:
        assert self.serving is not None
        self.endpoint.reply(self.serving, CallResult({}))
        waiting = len(self.theirs)
        self.settle([])
        assert self.gone or len(self.theirs) == waiting - 1
        self.serving = None

    @rule(seconds=st.sampled_from([0.0, 1.0, 9.0, 19.5, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.settle(self.endpoint.tick(self.now))

    @rule(place=st.integers(0, 4))
    def withdraw(self, place: int) -> None:
        for message_id in list(self.ours)[place : place + 1]:
            self.endpoint.withdraw(message_id)
            if message_id not in self.unanswered:
                del self.ours[message_id]

    @rule()
    def lose(self) -> None:
        self.settle(self.endpoint.lost("gone"))
        self.gone = True
        assert self.theirs == [] or self.theirs == [self.serving]  # no CALL is forgotten
        self.theirs.clear()
        assert not self.ours

    @invariant()
    def every_call_can_still_end(self) -> None:
        assert (self.endpoint.deadline is None) == (not self.ours)
        if self.endpoint.deadline is not None:
            assert self.endpoint.deadline > self.now

    def teardown(self) -> None:
        for _ in range(10):
            self.now += 31.0
            self.settle(self.endpoint.tick(self.now))
        assert not self.ours
        assert self.endpoint.deadline is None


TestAnyConversation = AnyConversation.TestCase
TestAnyConversation.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_call_left_without_a_reply_frees_the_way_for_the_next() -> None:
    """Who sent it keeps it, and may send it again under its old id."""
    endpoint = an_endpoint()
    call = '[2,"1","MeterValues",{}]'
    endpoint.receive(call, now=0.0)
    endpoint.receive('[2,"2","Heartbeat",{}]', now=0.0)
    frame = endpoint.next_call()
    assert frame is not None
    endpoint.leave("2")  # not the one that is being served
    assert endpoint.next_call() is None
    endpoint.leave("1")
    following = endpoint.next_call()
    assert following is not None
    assert (following.message_id, endpoint.outgoing) == ("2", [])
    endpoint.reply("2", CallResult({}))
    assert endpoint.receive(call, now=1.0) == []
    again = endpoint.next_call()
    assert again is not None
    assert again.message_id == "1"


def test_a_member_that_occurs_twice_among_many_is_found_in_no_time() -> None:
    """Its search was quadratic: a frame of 256 KiB stopped everything for seconds."""
    members = ",".join(f'"n{number}":0' for number in range(30_000))
    with pytest.raises(BrokenFrame, match="member 'ZZ' occurs twice in one object"):
        read_frame(f'[2,"1","DataTransfer",{{{members},"ZZ":0,"ZZ":0}}]')


def test_a_payload_is_written_alone_and_read_again_exactly() -> None:
    payload: dict[str, Any] = {"transactionId": 2**70, "limit": Decimal("8.10"), "text": 'é"'}
    text = ocppj.write_payload(payload)
    assert text == '{"transactionId":1180591620717411303424,"limit":8.10,"text":"é\\""}'
    assert ocppj.read_payload(text) == payload


def test_a_call_with_an_id_of_its_own_carries_that() -> None:
    endpoint = an_endpoint()
    assert endpoint.call(Call("Heartbeat", {}, message_id="mine"), now=0.0) == "mine"
    assert endpoint.outgoing == ['[2,"mine","Heartbeat",{}]']


def test_a_call_that_was_sent_is_not_sent_again_on_its_connection_but_waited_for() -> None:
    """A message id is used once on a connection (OCPP-J 1.6, 4.1.4)."""
    endpoint = an_endpoint()
    stop = Call("StopTransaction", {}, message_id="stop")
    endpoint.call(stop, now=0.0)
    endpoint.tick(now=30.0)
    assert endpoint.was_sent("stop")
    assert endpoint.call(stop, now=31.0) == "stop"
    assert endpoint.outgoing == ['[2,"stop","StopTransaction",{}]']
    [ended] = endpoint.receive('[3,"stop",{}]', now=40.0)
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, ResultFrame)


def test_it_waits_its_turn_as_any_other() -> None:
    endpoint = an_endpoint()
    stop = Call("StopTransaction", {}, message_id="stop")
    endpoint.call(stop, now=0.0)
    endpoint.tick(now=30.0)
    other = endpoint.call(Call("Heartbeat", {}), now=30.0)
    endpoint.call(stop, now=31.0)
    endpoint.receive(f'[3,"{other}",{{}}]', now=32.0)
    assert len(endpoint.outgoing) == 2
    [late] = endpoint.tick(now=62.0)
    assert isinstance(late, Ended)
    assert isinstance(late.outcome, Unreachable)


def test_a_reply_that_came_too_late_is_there_for_whoever_asks_again() -> None:
    endpoint = an_endpoint()
    stop = Call("StopTransaction", {}, message_id="stop")
    endpoint.call(stop, now=0.0)
    endpoint.tick(now=30.0)
    [noted] = endpoint.receive('[3,"stop",{}]', now=35.0)
    assert isinstance(noted, Noted)
    assert noted.kind == "late reply"
    assert endpoint.late_reply("other") is None
    ended = endpoint.late_reply("stop")
    assert ended is not None
    assert (ended.message_id, ended.asked) == ("stop", '[2,"stop","StopTransaction",{}]')
    assert endpoint.late_reply("stop") is None
    assert not endpoint.was_sent("stop")

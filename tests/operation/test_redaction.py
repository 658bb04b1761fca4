"""What is blotted out is gone from every text of an exchange, and the rest of it is still a message."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from html import escape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from wattbridge.ocpp import ocppj
from wattbridge.ocpp.messages import Breach, CallError, Change
from wattbridge.operation.redaction import BLOT, LONG, LONGEST_SEARCHED, Redaction

ID_TAGS, PASSWORDS = Redaction(id_tags=True), Redaction(passwords=True)
TAG = "04E91C5A123456"


def blotted(redaction: Redaction, *texts: str) -> list[str]:
    return redaction.blot(texts)[0]


def soap(body: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:cs="urn://Ocpp/Cs/2015/10/"><s:Header><cs:chargeBoxIdentity>CP1</cs:chargeBoxIdentity>'
        f"</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )


# --- idTags ---


def test_an_id_tag_is_blotted_out_in_both_encodings() -> None:
    frame, envelope = blotted(
        ID_TAGS,
        f'[2, "1", "StartTransaction", {{"connectorId": 1, "idTag": "{TAG}", "meterStart": 1500}}]',
        soap(f"<cs:authorizeRequest><cs:idTag>{TAG}</cs:idTag></cs:authorizeRequest>"),
    )
    assert frame == '[2, "1", "StartTransaction", {"connectorId": 1, "idTag": "***", "meterStart": 1500}]'
    assert envelope == soap("<cs:authorizeRequest><cs:idTag>***</cs:idTag></cs:authorizeRequest>")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{"idTagInfo":{"status":"Accepted","parentIdTag":"AB"}}',
            '{"idTagInfo":{"status":"Accepted","parentIdTag":"***"}}',
        ),
        (
            '[{"idTag":"A"},{"idTag":"B","idTagInfo":{"parentIdTag":"C"}}]',
            '[{"idTag":"***"},{"idTag":"***","idTagInfo":{"parentIdTag":"***"}}]',
        ),
        ('{"IDTAG" : "A\\"B,}", "x": 1.50}', '{"IDTAG" : "***", "x": 1.50}'),
        ('{"\\u0069dTag":"A"}', '{"\\u0069dTag":"***"}'),
        ('{"idTag":12.50,"meterStop":1E+2}', '{"idTag":"***","meterStop":1E+2}'),
        ('{"idTag":null}', '{"idTag":null}'),
        ('{"idTag":{"idToken":"A","type":["B",7]}}', '{"idTag":{"idToken":"***","type":["***","***"]}}'),
        ('{"idTag":"A","idTag":"B"}', '{"idTag":"***","idTag":"***"}'),
        ('{"data":"{\\"idTag\\":\\"A\\"}"}', '{"data":"{\\"idTag\\":\\"***\\"}"}'),
        ('{"data":"<idTag>A</idTag>"}', '{"data":"<idTag>***</idTag>"}'),
        ("<idTag>A</idTag>", "<idTag>***</idTag>"),
        ("<o:idTag a='>'\n>\n A &amp; B \n</o:idTag >", "<o:idTag a='>'\n>***</o:idTag >"),
        ("<idTag><![CDATA[</idTag>]]>A<!-- B -->C</idTag>D", "<idTag>***</idTag>D"),
        ("<idTag/><b>A</b>", "<idTag/><b>A</b>"),
        ('<a idTag="A" b="C"/>', '<a idTag="***" b="C"/>'),
        ("<a>{&quot;idTag&quot;:&quot;A&quot;}</a>", '<a>{"idTag":"***"}</a>'),
        ("Authorize.idTag: 'A' is too long", "Authorize.idTag: '***' is too long"),
        ("idTag is missing", "idTag is missing"),
        ('{"a":"idTag:","b":"c"}', '{"a":"idTag:","b":"c"}'),
        # What breaks off, or is none.
        ('[2,"1","Authorize",{"idTag":"A', '[2,"1","Authorize",{"idTag":"***"'),
        ('{"idTag":"A\\', '{"idTag":"***"'),
        ("{'idTag': 'A'}", "{'idTag': '***'}"),
        ("<a><idTag>A", "<a><idTag>***"),
        ("<a><idTag>A</a>B", "<a><idTag>***</a>"),
    ],
)
def test_names_are_found_however_they_are_written(text: str, expected: str) -> None:
    assert blotted(ID_TAGS, text) == [expected]


def test_a_refusal_that_repeats_the_tag_does_not() -> None:
    call = soap(f"<cs:authorizeRequest><cs:idTag>{TAG}</cs:idTag></cs:authorizeRequest>")
    error = json.dumps(
        [4, "1", "PropertyConstraintViolation", f"unknown: {TAG.lower()}, sorry", {"tag": TAG}]
    )
    fault = soap(f"<s:Fault><s:Text>idTag: &apos;{TAG}&apos; has 14 characters</s:Text></s:Fault>")
    _, error, fault = blotted(ID_TAGS, call, error, fault)
    assert json.loads(error)[3:] == ["unknown: ***, sorry", {"tag": BLOT}]
    assert TAG not in fault
    etree.fromstring(fault.encode())


def test_what_is_short_is_only_found_again_where_it_is_quoted() -> None:
    """Everything has a 1 in it."""
    call = '[2,"1","StopTransaction",{"idTag":"1","transactionId":1,"meterStop":11}]'
    error = """[4,"1","GenericError","tag '1' of 11 is not known",{}]"""
    assert blotted(ID_TAGS, call, error) == [
        '[2,"1","StopTransaction",{"idTag":"***","transactionId":1,"meterStop":11}]',
        """[4,"1","GenericError","tag '***' of 11 is not known",{}]""",
    ]


def test_notes_are_blotted_out_too() -> None:
    notes = (
        Change("StartTransaction.idTag", f" {TAG}", TAG, "trimmed"),
        Breach("Authorize.idTag", TAG * 3, "schema", f"found {TAG * 3!r}, expected at most 20 characters"),
        Change("StartTransaction.timestamp", "2024-05-01T10:00:00+00:00", "2024-05-01T10:00:00Z", "to-utc"),
    )
    _, done = ID_TAGS.blot([f'{{"idTag":"{TAG}"}}'], notes)
    assert done[0] == Change("StartTransaction.idTag", BLOT, BLOT, "trimmed")
    assert TAG not in repr(done)
    assert done[2] == notes[2]


def test_what_has_no_such_name_is_of_no_concern() -> None:
    assert not ID_TAGS.concerns(['[2,"1","Heartbeat",{}]', soap("")], "Heartbeat", readable=True)
    assert ID_TAGS.concerns(["", '{"\\u0069dTag":1}'], "Authorize", readable=True)
    assert not Redaction().concerns(
        [TAG, '{"idTag":1,"key":"AuthorizationKey"}'], "Authorize", readable=False
    )
    assert PASSWORDS.concerns([""], "ChangeConfiguration", readable=True)
    assert not PASSWORDS.concerns(["AuthorizationKey"], "Heartbeat", readable=True)
    assert PASSWORDS.concerns(["authorizationkey"], "", readable=False)


# --- passwords ---


@pytest.mark.parametrize(
    "key", ["AuthorizationKey", "authorizationkey", "WiFiPassword", "APN_Secret", "ApiKey"]
)
def test_the_value_of_a_key_that_is_a_password_is_blotted_out(key: str) -> None:
    pair = {"key": key, "value": "0123456789ABCDEF"}
    frame = json.dumps([2, "1", "ChangeConfiguration", pair])
    turned = json.dumps([2, "1", "ChangeConfiguration", {"value": pair["value"], "key": key}])
    envelope = soap(f"<c:key>{key}</c:key><c:value>{pair['value']}</c:value>")
    done = blotted(PASSWORDS, frame, turned, envelope)
    assert json.loads(done[0])[3] == {"key": key, "value": BLOT}
    assert json.loads(done[1])[3] == {"value": BLOT, "key": key}
    assert done[2] == soap(f"<c:key>{key}</c:key><c:value>***</c:value>")


def test_other_keys_are_left_alone() -> None:
    told = [
        {"key": "HeartbeatInterval", "readonly": False, "value": "300"},
        {"key": "AuthorizationKey", "readonly": False, "value": "geheim & <more>"},
        {"key": "AuthorizeRemoteTxRequests", "readonly": False, "value": "true"},
    ]
    frame = json.dumps([3, "1", {"configurationKey": told}])
    envelope = soap(
        "".join(
            f"<k><key>{each['key']}</key><value>{escape(str(each['value']))}</value></k>" for each in told
        )
    )
    frame, envelope = blotted(PASSWORDS, frame, envelope)
    assert [each["value"] for each in json.loads(frame)[2]["configurationKey"]] == ["300", BLOT, "true"]
    assert etree.fromstring(envelope.encode()).xpath("//value/text()") == ["300", BLOT, "true"]


def test_a_password_that_is_no_text_is_blotted_out_too() -> None:
    for value in ("4711", "[4711]", '{"a": [4711, "x"]}'):
        [done] = blotted(PASSWORDS, f'{{"key":"AuthorizationKey","value":{value}}}')
        json.loads(done)
        assert "4711" not in done
    [done] = blotted(PASSWORDS, "<a><value><b>4711</b>x</value><key>AuthorizationKey</key></a>")
    assert done == "<a><value><b>***</b>***</value><key>AuthorizationKey</key></a>"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ftp://user:geheim@files.example/up/", "ftp://***@files.example/up/"),
        ("ftp://user:ge@he/i#m?@files.example/up/", "ftp://***@files.example/up/"),
        ("https://files.example/up?sig=a%2Fb&x=1", "https://files.example/up?***"),
        ("ftp://files.example/up/", "ftp://files.example/up/"),
    ],
)
def test_credentials_in_an_address_are_blotted_out(address: str, expected: str) -> None:
    frame = json.dumps([2, "1", "GetDiagnostics", {"location": address, "retries": 3}]).replace("/", "\\/")
    frame, envelope = blotted(PASSWORDS, frame, soap(f"<cs:location>{escape(address)}</cs:location>"))
    assert json.loads(frame)[3] == {"location": expected, "retries": 3}
    assert etree.fromstring(envelope.encode()).xpath("string(//*[local-name()='location'])") == expected


# --- what holds for every message ---

names = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8).filter(
    lambda name: not name.lower().endswith("idtag")
)
# Any text that both encodings can say; half the tags in the field have more than six characters.
tags = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")).filter(
        lambda c: ord(c) not in (0xFFFE, 0xFFFF)
    ),
    min_size=1,
    max_size=40,
).filter(lambda tag: tag.strip() == tag and BLOT not in tag and tag not in BLOT)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | names
    | st.decimals(allow_nan=False, allow_infinity=False, places=3)
)
payloads = st.recursive(
    st.dictionaries(names, scalars, max_size=3),
    lambda inner: st.dictionaries(names, inner | st.lists(inner, max_size=3) | scalars, max_size=3),
    max_leaves=6,
)


def with_tag(payload: dict[str, Any], tag: Any, name: str, deep: int) -> dict[str, Any]:
    """*payload* with a tag so deep inside, in a list."""
    inner = {**payload, name: tag}
    for _ in range(deep):
        inner = {"localAuthorizationList": [{"x": Decimal("1.50")}, inner]}
    return inner


@given(payloads, tags, st.sampled_from(["idTag", "parentIdTag", "IDtag"]), st.integers(0, 3), st.booleans())
def test_no_id_tag_survives_in_a_frame(
    payload: dict[str, Any], tag: str, name: str, deep: int, ascii_only: bool
) -> None:
    whole = with_tag(payload, tag, name, deep)
    text = ocppj.write_call("m", "A", whole)
    if ascii_only:
        whole = with_tag({}, tag, name, deep)
        text = json.dumps([2, "m", "A", whole], default=float)
    refused = ocppj.write_error("m", "GenericError", f"who is '{tag}'?", {"detail": [tag]})
    done, error = blotted(ID_TAGS, text, refused)
    assert _values_of(json.loads(done)) == {BLOT}
    assert f"'{tag}'" not in json.loads(error)[3]
    if len(tag) >= LONG:
        assert tag.lower() not in json.dumps(json.loads(error)[3:], ensure_ascii=False).lower()
    assert list(json.loads(done)[3]) == list(json.loads(ocppj.write_call("m", "A", whole))[3])


@given(tags, st.sampled_from(["idTag", "ocpp:idTag", "x:parentIdTag"]), st.booleans())
def test_no_id_tag_survives_in_an_envelope(tag: str, name: str, as_data: bool) -> None:
    said = f"<![CDATA[{tag.replace(']]>', '')}]]>" if as_data else escape(tag)
    inside = f'<a xmlns:ocpp="urn:o" xmlns:x="urn:x"><{name}>{said}</{name}><b>{escape("x < y")}</b></a>'
    fault = soap(f"<s:Fault><s:Text>who is {escape(repr(tag))}?</s:Text></s:Fault>")
    done, fault = blotted(ID_TAGS, soap(inside), fault)
    tree = etree.fromstring(done.encode())
    assert [each.text for each in tree.iter() if str(each.tag).lower().endswith("idtag")] == [BLOT]
    assert tree.xpath("string(//b)") == "x < y"
    if len(tag) >= LONG and not as_data:
        assert (
            tag.lower()
            not in str(etree.fromstring(fault.encode()).xpath("string(//s:Text)", namespaces=S)).lower()
        )


S = {"s": "http://www.w3.org/2003/05/soap-envelope"}


def _values_of(value: Any) -> set[Any]:
    """What stands under the names of idTags."""
    if isinstance(value, list):
        return set().union(*map(_values_of, value))
    if not isinstance(value, dict):
        return set()
    found = {each for name, each in value.items() if name.lower() in ("idtag", "parentidtag")}
    return found.union(*map(_values_of, value.values()))


pieces = st.sampled_from(
    [*"{}[]\":,\\<>/!-?&;='#@ \n", "idTag", "key", "value", "A", "<![CDATA[", "password", "://", "<idTag>"]
)


@given(st.lists(pieces).map("".join))
def test_nothing_that_is_sent_makes_it_fail(text: str) -> None:
    both = Redaction(id_tags=True, passwords=True)
    (once, again), _ = both.blot([text, "[" + text])
    assert isinstance(once, str)
    assert isinstance(again, str)


@pytest.mark.parametrize(
    "piece",
    [
        '"',
        "{",
        '{"\\',
        "<",
        "<idTag>",
        "<value>",
        '{"value":',
        "idTag:'",
        "<a '",
        "<!--",
        "<![CDATA[",
        "a://@",
        '"idTag":"\\"',
    ],
)
def test_nothing_that_is_sent_takes_long(piece: str) -> None:
    """A message may come from anybody; the event loop waits for it."""
    text = (piece * LONGEST_SEARCHED)[:LONGEST_SEARCHED]
    for begin in ("", "[", "<a>"):
        began = time.perf_counter()
        Redaction(id_tags=True, passwords=True).blot([(begin + text)[:LONGEST_SEARCHED]] * 2)
        assert time.perf_counter() - began < 1.0


def test_what_is_nested_too_deep_is_not_kept() -> None:
    assert blotted(ID_TAGS, "[" * 300 + '{"idTag":1}', "<a>" * 300) == ["*** nested too deep"] * 2


def test_what_is_too_long_to_be_searched_is_not_kept() -> None:
    begin = f'{{"idTag":"{TAG}","x":"'
    long = begin + "ü" * ((240_056 - len(begin) - 2) // 2) + '"}'
    [done] = blotted(ID_TAGS, long)
    length = f"{len(long.encode()):,}"
    assert done == (
        f"*** too long to keep: {length} bytes are too many to find in them what is to be blotted out"
    )
    assert length.startswith("240,05")


def test_errors_of_the_gateway_repeat_nothing() -> None:
    """As ``errors.shown`` cuts a tag that is much too long."""
    tag = "0123456789ABCDEF" * 10
    reply = CallError("PropertyConstraintViolation", f"Authorize.idTag: '{tag[:58]}…' has 160 characters")
    text = ocppj.write_error("1", reply.code, reply.description, {})
    _, done = blotted(ID_TAGS, json.dumps({"idTag": tag}), text)
    assert "0123456789" not in done
    assert "has 160 characters" in done

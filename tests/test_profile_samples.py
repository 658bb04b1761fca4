"""The samples of the profiles that come with the gateway: each is a test."""

from __future__ import annotations

import pytest

from wattbridge.cli.samples import run_sample
from wattbridge.config import Sample, read_profile_text
from wattbridge.config.profiles import built_in, built_in_names, resolved
from wattbridge.profiling import Profile, profile_of

SAMPLES = [(name, sample) for name in sorted(built_in_names()) for sample in built_in(name).samples]


@pytest.mark.parametrize(("name", "sample"), SAMPLES, ids=[f"{name}: {each.title}" for name, each in SAMPLES])
def test_a_sample_holds(name: str, sample: Sample) -> None:
    assert run_sample(profile_of(name, resolved(name, {}), own=False), sample) == ""


# --- and one that does not says why


def a_profile(samples: str) -> Profile:
    text = "name: p\nunknown: {errorCode: {becomes: OtherError}}\ncalls: {answered_here: [ClearCache]}\n"
    profile = read_profile_text(
        f"{text}soap: {{fault_status: 200}}\nsamples: [{{title: x, {samples}}}]\n", "p.yaml"
    )
    return profile_of("p", profile, own=True)


STATUS = """'[2,"1","StatusNotification",{"connectorId":1,"status":"Faulted","errorCode":"E"}]'"""
MENDED = STATUS.replace('"E"', '"OtherError","vendorErrorCode":"E"')


@pytest.mark.parametrize(
    ("samples", "problem"),
    [
        (f"in: {STATUS}, out: {MENDED}", "rules that apply: profile-fallback, profile-kept"),
        (
            f"in: {STATUS}, out: {STATUS}, quirks: [profile-fallback, profile-kept]",
            '"errorCode": "OtherError",',
        ),
        (f"in: {MENDED}, out: {MENDED}, quirks: profile-set", "rules that apply: none"),
        (f"in: {STATUS}, answered_here: yes", "the gateway does not answer it itself"),
        (
            'in: \'[2,"1","ClearCache",{}]\', out: \'[2,"1","ClearCache",{}]\'',
            "the gateway answers it itself",
        ),
        ("in: '[3,\"1\",{}]', out: '[3,\"1\",{}]'", "a CALLRESULT does not say which action it answers"),
        ("in: '[2,\"1\",\"Reset\",{}]', out: '[2]'", "Reset.type: is missing"),
        ('in: \'[4,"1","InternalError","",{}]\', out: <x/>, status: 500', "HTTP status 200, expected 500"),
        ("offers: [ocpp1.6], serves: no", "a WebSocket that offers ('ocpp1.6',) is served"),
        ("offers: [ocpp2.0.1]", "a WebSocket that offers ('ocpp2.0.1',) is not served"),
    ],
)
def test_a_sample_that_does_not_hold_says_why(samples: str, problem: str) -> None:
    profile = a_profile(samples)
    [sample] = profile.section.samples
    assert problem in run_sample(profile, sample)

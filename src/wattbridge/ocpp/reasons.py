"""The closed vocabularies: why a call failed, and what was forgiven or lost on its way. One word each in log,
metric, record and console.
"""

from __future__ import annotations

REASONS = {
    "timeout": "the other party did not answer in time",
    "unreachable": "no connection to the other party could be made",
    "refused": "the other party refused the connection",
    "not_connected": "the other party is not connected, or its address is not known",
    "busy": "too many calls wait for the other party",
    "auth": "the charge point is unknown or its credential is wrong",
    "rejected": "the route of the charge point rejects it",
    "duplicate": "the charge point has another connection, which answers",
    "rate_limited": "the charge point sends more than it may",
    "too_large": "the message is larger than the limit",
    "malformed": "the message is not XML, not SOAP or not a JSON frame",
    "schema": "the message breaks the schema of OCPP",
    "unsupported": "the action does not exist for the other party",
    "untranslatable": "the message cannot be written in the other party's encoding",
    "fault": "the other party answered with a SOAP fault",
    "call_error": "the other party answered with a CALLERROR",
    "expired": "the message was kept too long",
    "queue_full": "no more messages can be kept",
    "draining": "the gateway is stopping",
    "internal": "an error inside the gateway",
}

# Rules of notes: what reading and writing did to a message that it could not carry as it was.
RULES = {
    # of values
    "trimmed": "blanks around it were taken away",
    "value-alias": "another word for the same, or another letter case, was understood",
    "celcius": "the unit is spelled as the other party wants it",
    "integer-form": "an integer was written with a fraction of zero",
    "rounded": "it has more digits than the schema allows",
    "text-as-number": "a number stood in quotes",
    "text-as-boolean": "a boolean stood in quotes, or was a number",
    "number-as-text": "a text stood without quotes",
    "data-as-text": "an object, list or element stood where a text belongs, and became one",
    "not-xml": "it has a character that XML cannot say",
    "not-unicode": "it has half of a surrogate pair, which is no character",
    "unsayable-unit": "the other encoding has no word for it",
    # of times
    "to-utc": "a time with an offset was written in UTC",
    "zone-assumed": "a time without offset was taken to be of the configured zone",
    "zone-ambiguous": "a time without offset, of an hour in which clocks are set",
    "fraction-dropped": "a fraction of a second was cut off",
    "date-time-form": "a time was written in an unusual form",
    "midnight-24": "24:00 was written for the midnight after",
    "leap-second": "a leap second was taken for the second before it",
    "epoch": "a time was written as seconds or milliseconds since 1970",
    # of fields
    "unknown-field": "OCPP has no such field here",
    "field-alias": "another name of the same field was understood",
    "doubled": "a field stood there twice and said the same",
    "empty-is-absent": "an empty number, time or word was taken for none",
    "nil-is-absent": "an element with xsi:nil was taken for none",
    "null-is-absent": "null was taken for none",
    "single-as-list": "one item stood where a list belongs",
    "list-as-single": "a list of one stood where one value belongs",
    "stray-text": "text stood between elements",
    "bad-optional": "an optional field breaks its schema and was left out",
    "bad-item": "an item of a list breaks its schema and was left out",
    "empty-list": "an empty list, which XML cannot tell from none",
    "empty-meter-values": "no meter value to carry: the gateway answers itself",
    "and-more": "further notes, not listed",
    "schema": "it breaks the schema of OCPP",
    # of profiles
    "profile-value": "a word of this make of charge points was understood",
    "profile-fallback": "an unknown word became the one that the profile names",
    "profile-kept": "what stood there before the fallback was kept in another field",
    "profile-default": "nothing stood there, and the profile says what belongs there",
    "profile-truncated": "it was longer than OCPP allows and was cut, as the profile says",
    "profile-set": "it was set, as the profile says",
    "profile-dropped": "it was left out, as the profile says",
    "profile-scaled": "it was converted to the charge point's own unit, or from it",
    "profile-alias": "it was written under the name that the charge point expects",
    "profile-time": "a time was read or written as the profile says",
    # of older versions
    "older-word": "the other version has no such word: the nearest one stands for it, or (a loss) none",
    "older-field": "the other version has no such field",
    "older-sample": "the other version cannot say this meter value",
    "older-phase": "the older version cannot tell phases apart",
    "older-unit": "a meter value was converted to a unit of the older version",
    "older-default": "the older version may leave out what 1.6 requires",
    "older-key": "the configuration key has another name there",
    "older-length": "a text longer than OCPP 1.6 allows was cut",
    "no-operation": "the other party has no such operation",
    "open-transaction": "meter values without a transaction were given the one of their connector",
    # of envelopes and frames
    "body-name": "the element in the Body was named otherwise",
    "empty-body": "an empty Body was taken for an empty result",
    "identity-namespace": "chargeBoxIdentity stood in another namespace",
    "recovered": "the answer was not well-formed XML",
    "long-message-id": "the message id is longer than 36 characters",
    "null-payload": "null was taken for an empty payload",
    "error-code": "the error code of a CALLERROR was spelled otherwise",
    "error-details": "the details of a CALLERROR were no object",
}

# Those that a profile stands for: the label `quirk`.
PROFILE_RULES = frozenset(rule for rule in RULES if rule.startswith("profile-"))

# Those by which something is lost: labels of the metric that counts it.
LOSSES = frozenset(
    {
        "and-more", "bad-item", "bad-optional", "doubled", "empty-meter-values", "no-operation",
        "not-unicode", "not-xml",
        "older-field", "older-phase", "older-sample", "older-word", "profile-dropped", "profile-truncated",
        "rounded", "stray-text", "unknown-field", "unsayable-unit",
    }
)  # fmt: skip

"""The closed vocabulary of why a call failed: one word in log, metric, record and console."""

from __future__ import annotations

REASONS = {
    "timeout": "the other party did not answer in time",
    "unreachable": "no connection to the other party could be made",
    "refused": "the other party refused the connection",
    "not_connected": "the other party is not connected, or its address is not known",
    "busy": "too many calls wait for the other party",
    "auth": "the charge point is unknown or its credential is wrong",
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

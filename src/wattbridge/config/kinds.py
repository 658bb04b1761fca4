"""The kinds of scalars a section may have: how pydantic reads and writes each, within which limits, and what
the JSON Schema and the reference call it.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SecretStr, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from wattbridge.config import values
from wattbridge.config.files import read_limited, reason_of
from wattbridge.config.values import describe, shorten, suggest

MAX_SECRET = 64 * 1024  # bytes
MAX_CERTIFICATES = 16 * 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a value may refer to: files beside the configuration file, and the environment.

    ``files`` are those that were referred to, for whoever watches them.
    """

    folder: Path = field(default_factory=Path)
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)
    files: set[Path] = field(default_factory=set)

    def file(self, name: str) -> Path:
        """The file *name* of the configuration."""
        path = self.folder / name
        self.files.add(path)
        return path


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of scalar: its name in messages and in the reference, its way in and its way back.

    ``read`` takes the text of the file; a value that is no text is taken as it is, so that models can be
    built in Python. ``low`` and ``high`` are the smallest and the largest value allowed. ``quoted`` says
    whether JSON has it as a string.
    """

    name: str
    read: Callable[[str], Any]
    write: Callable[[Any], Any] = str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    low: Any = None
    high: Any = None
    quoted: bool = True

    def validate(self, value: Any, info: ValidationInfo) -> Any:
        if value is None:
            raise ValueError("has no value")
        if isinstance(value, Mapping | list):
            raise ValueError(f"expected one value ({self.name}), found {describe(value)}")
        found = self.read(value) if isinstance(value, str) else value
        if (self.low is not None and found < self.low) or (self.high is not None and found > self.high):
            raise ValueError(f"{shorten(self.write(found))} is out of range: expected {self.range}")
        return found

    @property
    def range(self) -> str:
        """``100ms to 5m``, or nothing when every value is allowed."""
        return "" if self.low is None else f"{self.write(self.low)} to {self.write(self.high)}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self.validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                self.write if self.quoted else _same, when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(self.schema)


def _same(value: Any) -> Any:
    return value


class SecretKind(Kind):
    """``{env: NAME}`` or ``{file: path}``. No message ever holds the value."""

    def validate(self, value: Any, info: ValidationInfo) -> Any:
        surroundings = info.context or Surroundings()
        if isinstance(value, SecretStr):
            return value
        if value is None:
            raise ValueError("has no value: write {env: NAME} or {file: path}")
        if isinstance(value, str):  # a literal: load() warns of it
            return _secret(value, "the text")
        if isinstance(value, Mapping) and len(value) == 1:
            [(source, name)] = value.items()
            if source == "env" and isinstance(name, str) and name:
                if name not in surroundings.env:
                    raise ValueError(f"environment variable {shorten(name)} is not set")
                return _secret(surroundings.env[name], f"environment variable {shorten(name)}")
            if source == "file" and isinstance(name, str) and name:
                content = _read_beside(surroundings.file(name), name, MAX_SECRET)
                return _secret(content.removesuffix("\n").removesuffix("\r"), f"file {shorten(name)}")
        raise ValueError("is no secret: write {env: NAME} or {file: path}")


class CertificatesKind(Kind):
    """A file of certificates in PEM, relative to the configuration file."""

    def validate(self, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return super().validate(value, info)
        if not value:
            raise ValueError("has no value")
        path = (info.context or Surroundings()).file(value)
        if "-----BEGIN CERTIFICATE-----" not in _read_beside(path, value, MAX_CERTIFICATES):
            raise ValueError(
                f"file {shorten(value)} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"
            )
        try:
            # From the file, as the gateway will. Of a text (cadata), comments that are not ASCII are refused
            # and a broken list of revocations is not.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
        except (OSError, ValueError):  # SSLError is an OSError; it says "[X509] PEM lib" and no more
            raise ValueError(
                f"file {shorten(value)} cannot be read as PEM: something between its -----BEGIN …----- and "
                "-----END …----- lines is damaged or cut off"
            ) from None
        return path


class KeyKind(Kind):
    """A file with a private key in PEM, relative to the configuration file."""

    def validate(self, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return super().validate(value, info)
        if not value:
            raise ValueError("has no value")
        path = (info.context or Surroundings()).file(value)
        content = _read_beside(path, value, MAX_CERTIFICATES)
        if not re.search("-----BEGIN ([A-Z]+ )*PRIVATE KEY-----", content):
            raise ValueError(
                f"file {shorten(value)} holds no private key in PEM (-----BEGIN PRIVATE KEY-----)"
            )
        if "-----BEGIN ENCRYPTED" in content or "Proc-Type: 4,ENCRYPTED" in content:
            raise ValueError(
                f"file {shorten(value)}: its key is locked with a password, and nobody is there to give it: "
                "write it without one, readable by the gateway only"
            )
        return path


class StoreKind(Kind):
    """Where the store is: ``sqlite:///state.db`` beside the configuration file, ``sqlite:////var/lib/state.db``,
    or ``memory``.
    """

    def validate(self, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str) or value == "memory":
            return super().validate(value, info)
        path = values.read_store_url(value)
        folder = (info.context or Surroundings()).folder
        return f"sqlite:///{folder / path}"


def check_pair(certificate: Path, key: Path) -> None:
    """Raises ValueError when TLS cannot use the two together."""
    try:
        # Never ask for a password on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as problem:
        if problem.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(
                f"key {shorten(key.name)} does not belong to certificate {shorten(certificate.name)}: the "
                "first certificate in the file must be the one the key was made for"
            ) from None
        what = f"certificate {shorten(certificate.name)} with key {shorten(key.name)}"
        reason = (problem.reason or "damaged").replace("_", " ").lower()
        raise ValueError(f"{what} cannot be used for TLS: {reason}") from None
    except (OSError, ValueError) as problem:
        raise ValueError(f"certificate and key cannot be used: {problem}") from None


def _secret(text: str, source: str) -> SecretStr:
    if not text:
        raise ValueError(f"{source} is empty")
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
        raise ValueError(f"{source} has control characters or more than one line")
    return SecretStr(text)


def _read_beside(path: Path, name: str, limit: int) -> str:
    try:
        return read_limited(path, limit)
    except OSError as problem:
        raise ValueError(f"file {shorten(name)}: {reason_of(problem)}") from None
    except UnicodeDecodeError:
        raise ValueError(f"file {shorten(name)} is not UTF-8 text") from None


def _text_schema(pattern: str, example: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern, "examples": [example]}


def duration(low: str, high: str) -> Kind:
    schema = _text_schema(r"^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+)$", "30s")
    bounds = values.read_duration(low), values.read_duration(high)
    return Kind("duration", values.read_duration, values.write_duration, schema, *bounds)


def size(low: str, high: str) -> Kind:
    schema = _text_schema(r"^[0-9]+([Bb]|[KkMmGg][Ii][Bb])$", "256KiB")
    return Kind(
        "size", values.read_size, values.write_size, schema, values.read_size(low), values.read_size(high)
    )


def rate(low: str, high: str) -> Kind:
    schema = _text_schema(r"^[0-9]+(\.[0-9]+)?/(s|m|h)$", "50/s")
    return Kind(
        "rate", values.read_rate, values.write_rate, schema, values.read_rate(low), values.read_rate(high)
    )


def whole(low: int, high: int) -> Kind:
    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Kind("whole number", values.read_whole, str, schema, low, high, quoted=False)


def number(low: float, high: float) -> Kind:
    schema = {"type": "number", "minimum": low, "maximum": high}
    return Kind("number", values.read_number, values.write_number, schema, low, high, quoted=False)


def words(*known: str) -> Kind:
    def read(text: str) -> str:
        if text not in known:
            expected = ", ".join(map(repr, known))
            one_of = "is not one of" if len(known) > 1 else "is not"
            raise ValueError(f"{shorten(text)} {one_of} {expected}{suggest(text, known)}")
        return text

    return Kind(" or ".join(f"`{word}`" for word in known), read, str, {"enum": list(known)})


def _one(text: str) -> int:
    if text != "1":
        raise ValueError(f"this release reads version 1, found {shorten(text)}")
    return 1


def _plain(name: str, read: Callable[[str], Any], example: str) -> Kind:
    return Kind(name, read, str, {"type": "string", "examples": [example]})


FLAG = Kind(
    "yes or no",
    values.read_flag,
    values.write_flag,
    {"anyOf": [{"type": "boolean"}, {"enum": ["true", "yes", "on", "false", "no", "off"]}]},
    quoted=False,
)
SECRET = SecretKind(
    "secret",
    str,
    str,
    {
        "anyOf": [
            {
                "type": "object",
                "properties": {source: {"type": "string"}},
                "required": [source],
                "additionalProperties": False,
            }
            for source in ("env", "file")
        ]
        + [{"type": "string", "deprecated": True}]
    },
)
CERTIFICATES = CertificatesKind("file", str)
KEY = KeyKind("file", str)
STORE = StoreKind(
    "`sqlite:///PATH` or `memory`",
    str,
    str,
    _text_schema(r"^(memory|sqlite:///.+)$", "sqlite:////var/lib/wattbridge/state.db"),
)
BIND = _plain("host:port", values.read_bind, "0.0.0.0:8080")
NETWORK = _plain("network", values.read_network, "10.20.0.0/16")
ZONE = _plain("time zone", values.read_zone, "Europe/Berlin")
NAME = Kind("name", values.read_name, str, _text_schema(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", "main"))
IDENTITY = _plain("identity", values.read_identity, "0012345")
GLOB = _plain("pattern", values.read_glob, "BER-*")
WORD_GLOB = _plain("pattern", values.read_word_glob, "ACME*")
MAKE_GLOB = _plain("pattern", lambda text: values.read_word_glob(text) if text else "", "ACME*")
FIRMWARE = _plain("versions", values.read_firmware, "<1.4")
REGEX = _plain("regular expression", values.read_regex, "^EVB-(.*)$")
REPLACEMENT = _plain("text", values.read_template, "DE*ABC*\\1")
TEXT = _plain("text", values.read_text_line, "not known here")
VALUE = _plain("text", values.read_value, "OtherError")
WIRE = _plain("message", values.read_wire, '[2,"1","Heartbeat",{}]')
ACTION = _plain("action", values.read_action, "StatusNotification")
FIELD_PATH = _plain("field", values.read_field_path, "sampledValue.unit")
PREFIX = _plain("XML prefix", values.read_prefix, "ns1")
FACTOR = Kind(
    "factor",
    values.read_factor,
    str,
    {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]},
    Decimal("0.000001"),
    Decimal(1_000_000),
)
LISTENER_PATH = _plain("URL path", values.read_listener_path, "/ocpp/cs")
CALLBACK_PATH = _plain("URL path", values.read_callback_path, "/ocpp/cp/{charger}")
PUBLIC_URL = _plain("URL", values.read_public_url, "http://gw.example.net:8080")
HTTP_URL = _plain("URL", values.read_http_url, "http://10.20.4.17:8090/ocpp")
OTLP_URL = _plain("URL", values.read_http_url, "http://127.0.0.1:4318")
URI = _plain("URI", values.read_uri, "http://10.20.4.17:8090/ocpp")
UPSTREAM_URL = _plain("URL", values.read_upstream_url, "wss://csms.example.com/ocpp/{charger}")
CALLBACK_URL = _plain("URL", values.read_callback_url, "https://gw.example.net/ocpp/cp/{charger}")
TEMPLATE = _plain("URL", values.read_callback_template, "http://{source_ip}:8090/")
USERNAME = _plain("text", values.read_username, "{charger}")
SUBPROTOCOL = _plain("text", values.read_token, "ocpp1.6")
VERSION = Kind("`1`", _one, str, {"const": 1}, quoted=False)
OCPP_VERSION = Kind(
    '`"1.6"`, `"1.5"` or `"1.2"`',
    words("1.6", "1.5", "1.2").read,
    str,
    {"enum": ["1.6", "1.5", "1.2", 1.6, 1.5, 1.2]},
)
SOAP_VERSION = Kind('`"1.2"` or `"1.1"`', words("1.2", "1.1").read, str, {"enum": ["1.2", "1.1", 1.2, 1.1]})

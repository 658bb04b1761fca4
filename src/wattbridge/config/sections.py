"""What the sections of the configuration are made of: the base of all of them, and what several have."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SecretStr,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from wattbridge.config import kinds
from wattbridge.config.values import Network


def nothing_is_empty(value: Any) -> Any:
    """A key with nothing behind it stands for an empty mapping or list."""
    return {} if value is None else value


def _nothing_is_no_item(value: Any) -> Any:
    return [] if value is None else value


AsMapping = BeforeValidator(nothing_is_empty)
AsList = BeforeValidator(_nothing_is_no_item)


class OneOrMore:
    """Of a list of texts: one text may stand alone."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._as_list, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        several = handler(core)
        return {"anyOf": [several["items"], several]}

    @staticmethod
    def _as_list(value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class AnyOf(OneOrMore):
    """The same of a list in which nothing at all may stand, too."""

    @staticmethod
    def _as_list(value: Any) -> Any:
        return [value] if isinstance(value, str | None) else value


def _nothing_is_no_secret(value: Any) -> Any:
    if value is None:
        raise ValueError("has no value: write {env: NAME} or {file: path}")
    return value


# A key left empty is forgotten, not meant: it would let in, or call, without a password.
OptionalSecret = Annotated[Annotated[SecretStr, kinds.SECRET] | None, BeforeValidator(_nothing_is_no_secret)]


class Section(BaseModel):
    """A mapping of the file with a fixed set of keys. Values cannot be changed once read."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)

    @model_validator(mode="before")
    @classmethod
    def _accept_nothing(cls, data: Any) -> Any:
        return nothing_is_empty(data)


class OwnPing(Section):
    """Pings on the WebSocket of one charge point."""

    every: Annotated[float, kinds.duration("0s", "24h")] | None = Field(  # seconds
        default=None, description="How often a ping is sent; `0s` sends none."
    )
    timeout: Annotated[float, kinds.duration("100ms", "10m")] | None = Field(  # seconds
        default=None, description="How long the pong may take before the connection counts as lost."
    )


Globs = Annotated[tuple[Annotated[str, kinds.GLOB], ...], Field(min_length=1), OneOrMore()]
WordGlobs = Annotated[tuple[Annotated[str, kinds.WORD_GLOB], ...], Field(min_length=1), OneOrMore()]
Versions = Annotated[tuple[Annotated[str, kinds.FIRMWARE], ...], Field(min_length=1), OneOrMore()]
Networks = Annotated[tuple[Annotated[Network, kinds.NETWORK], ...], Field(min_length=1), OneOrMore()]
Names = Annotated[tuple[Annotated[str, kinds.NAME], ...], Field(min_length=1), OneOrMore()]

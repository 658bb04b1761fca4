"""The vocabularies are closed: nobody records a word that is not in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from wattbridge.ocpp import reasons
from wattbridge.ocpp.reasons import LOSSES, REASONS, RULES

PACKAGE = Path(reasons.__file__).parents[1]

# Call → position and name of the argument that must be such a word.
LOSS_ARGUMENT = {"Loss": (2, "rule"), "_lose": (2, "rule"), "_lost": (4, "rule"), "drop": (2, "rule")}
RULE_ARGUMENT = LOSS_ARGUMENT | {"Change": (3, "rule")}
REASON_ARGUMENT = {
    "Violation": (3, "reason"),
    "Unreachable": (0, "reason"),
    "CallError": (3, "reason"),
    "_malformed": (9, "reason"),
}


def words(arguments: dict[str, tuple[int, str]]) -> Iterator[tuple[str, str]]:
    """Every literal word given for one of *arguments* anywhere in the package, with where it stands."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                name = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                position, keyword = arguments.get(name, (99, ""))
                given = [pair.value for pair in node.keywords if pair.arg == keyword and keyword]
                for argument in node.args[position : position + 1] + given:
                    for leaf in ast.walk(argument):
                        if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str):
                            yield leaf.value, f"{file.relative_to(PACKAGE)}:{node.lineno}"


def test_every_reason_is_explained() -> None:
    found = list(words(REASON_ARGUMENT))
    assert [(word, where) for word, where in found if word not in REASONS] == []
    assert len({word for word, _ in found}) > 3


def test_every_rule_is_explained() -> None:
    """A rule is a metric label; whoever invents one adds it to RULES with its sentence."""
    found = list(words(RULE_ARGUMENT))
    assert [(word, where) for word, where in found if word not in RULES] == []
    assert len({word for word, _ in found}) > 20


def test_every_loss_is_one_that_is_counted_as_one() -> None:
    assert {word for word, _ in words(LOSS_ARGUMENT)} == LOSSES
    assert set(RULES) >= LOSSES


def test_every_word_is_a_word_and_every_sentence_a_sentence() -> None:
    for word, sentence in (REASONS | RULES).items():
        assert word.replace("_", "").replace("-", "").isalnum()
        assert word == word.lower()
        assert sentence[0].islower() or sentence.startswith(("24:00", "OCPP", "XML"))
        assert not sentence.endswith(".")

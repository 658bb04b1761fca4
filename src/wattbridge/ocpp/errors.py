"""Whose fault it is: a message that breaks the rules, a party that is not there; and how the error words
of the two transports correspond.
"""

from __future__ import annotations


class Violation(Exception):
    """A message breaks its schema.

    ``code`` is the error code of OCPP-J 1.6 (table 7); ``path`` says where
    (``MeterValues.meterValue[0].sampledValue[1].unit``), ``problem`` what was found and what was expected.
    ``reason`` is ``"schema"``, or ``"malformed"`` when it is no message at all.
    """

    def __init__(self, code: str, path: str, problem: str, reason: str = "schema") -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.code = code
        self.path = path
        self.problem = problem
        self.reason = reason


class Unreachable(Exception):
    """Nobody is there: a party could not be asked, or did not answer.

    ``reason`` is a word of ``reasons.REASONS``, ``description`` a sentence for people.
    """

    def __init__(self, reason: str, description: str) -> None:
        super().__init__(description)
        self.reason = reason
        self.description = description

"""The result of a rule: of the promotion gate, on a batch, or on a training set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Verdict:
    """Whether a requirement is met, with the figures behind it and a message in whole sentences.

    `name` is the name of its check. A verdict passes if there is not enough data, and the message says so. A failure
    with `severity` error stops or starts something; a failure with a warning is only reported. The message is stored
    and sent, so it contains no value of a row.
    """

    name: str
    passed: bool
    message: str
    figures: Mapping[str, float | int | str] = field(default_factory=dict)
    severity: Literal["error", "warning"] = "error"

    @property
    def blocking(self) -> bool:
        """Whether a failure stops something."""
        return self.severity == "error"


def no_verdict(name: str, why: str, severity: Literal["error", "warning"] = "error") -> Verdict:
    """A passing verdict without enough data; `why` is a sentence."""
    return Verdict(name, True, f"No verdict: {why}", severity=severity)

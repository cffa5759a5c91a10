"""Whether a demand is met: by the promotion gate, on a batch, or on a training set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Verdict:
    """Whether a demand is met, with the figures that this rests on and a message of whole sentences.

    `name` is that of the check that shows it. Where nothing could be judged it passes, and the message says so. What
    fails with `severity` error stops or starts something, and what fails with a warning is reported. The message holds
    no value of a row, as it is stored and sent.
    """

    name: str
    passed: bool
    message: str
    figures: Mapping[str, float | int | str] = field(default_factory=dict)
    severity: Literal["error", "warning"] = "error"

    @property
    def blocking(self) -> bool:
        """Whether it stops something where it fails."""
        return self.severity == "error"


def not_judged(name: str, why: str, severity: Literal["error", "warning"] = "error") -> Verdict:
    """The verdict where nothing can be judged; `why` is a sentence."""
    return Verdict(name, True, f"Not judged: {why}", severity=severity)

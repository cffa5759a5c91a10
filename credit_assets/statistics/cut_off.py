"""The cut-off of a policy for given PDs, and the applicants next to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_assets.plurals import number_of
from credit_assets.settings.policy import PolicyConfig


def cut_off(policy: PolicyConfig, pds: np.ndarray) -> float:
    """The highest PD that is approved, computed when a model is trained and stored with it.

    `pds` (n,) are PDs of rows that the model was not fitted on. With a target approval rate the cut-off is the lowest
    of them that approves at least this share; it approves more if PDs tie. With `max_pd` they are not used.

    Raises ValueError if a share is needed and there are no PDs, or some are missing.

    Examples:
        >>> cut_off(PolicyConfig(target_approval_rate=0.5), np.array([0.02, 0.05, 0.05, 0.2]))
        0.05
    """
    if policy.max_pd is not None:
        return policy.max_pd
    assert policy.target_approval_rate is not None
    if pds.size == 0 or np.isnan(pds).any():
        raise ValueError(f"no cut-off from {pds.size} PDs, {int(np.isnan(pds).sum())} of them missing")
    return float(np.quantile(pds, policy.target_approval_rate, method="inverted_cdf"))


@dataclass(frozen=True)
class AtCutOff:
    """The applicants next to the cut-off on both sides, of `applicants` in all. Equal PDs get the same decision.

    `sharing` applicants have the highest approved PD, `next_sharing` the lowest declined PD; these PDs are nan if
    nobody is approved or declined. The approval rates are the actual one, the one with a cut-off just below the highest
    approved PD, and the one with a cut-off at the lowest declined PD.
    """

    applicants: int
    highest_approved: float
    sharing: int
    lowest_declined: float
    next_sharing: int
    approval_rate: float
    approval_rate_without: float
    approval_rate_with_next: float

    @classmethod
    def of(cls, pds: np.ndarray, cut_off: float) -> AtCutOff:
        """The applicants next to the cut-off, from one or more PDs (n,)."""
        approved, declined = pds[pds <= cut_off], pds[pds > cut_off]
        highest = float(approved.max()) if approved.size else float("nan")
        lowest = float(declined.min()) if declined.size else float("nan")
        sharing, next_sharing = int((approved == highest).sum()), int((declined == lowest).sum())
        return cls(
            applicants=pds.size,
            highest_approved=highest,
            sharing=sharing,
            lowest_declined=lowest,
            next_sharing=next_sharing,
            approval_rate=approved.size / pds.size,
            approval_rate_without=(approved.size - sharing) / pds.size,
            approval_rate_with_next=(approved.size + next_sharing) / pds.size,
        )

    def figures(self) -> dict[str, float]:
        """The figures that are plotted over time."""
        return {
            "applicants_at_cut_off": float(self.sharing),
            "approval_rate_without_them": self.approval_rate_without,
            "applicants_above_cut_off": float(self.next_sharing),
            "approval_rate_with_those_above": self.approval_rate_with_next,
        }

    def __str__(self) -> str:
        parts = []
        if self.sharing:
            parts.append(
                f"The highest PD approved, {self.highest_approved:.4%}, is that of {self.sharing:,} of "
                f"{number_of(self.applicants, 'applicant')}: "
                f"{self.approval_rate:.1%} are approved, with a cut-off below it "
                f"{self.approval_rate_without:.1%}."
            )
        if self.next_sharing:
            parts.append(
                f"The lowest PD declined, {self.lowest_declined:.4%}, is that of {self.next_sharing:,}: with a "
                f"cut-off there {self.approval_rate_with_next:.1%} would be approved."
            )
        return " ".join(parts)

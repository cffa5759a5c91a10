"""The status of a portfolio on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from credit_assets.cli.terminal import console
from credit_assets.plurals import number_of

if TYPE_CHECKING:
    from credit_assets.application.check_results import CheckResult
    from credit_assets.application.status import ChampionStatus, DueStatus, Status

SYNTHETIC = "SYNTHETIC DATA: these figures do not describe real lending."
NO_ALARM = {"learned": "learned from", "tested": "tested on", "older": "older than the training"}
"""Why the check does not fail on a batch that has shifted."""


def print_status(status: Status) -> None:
    """Print the batches as a table, then the champion, the checks, and what is due."""
    if any(batch.synthetic for batch in status.batches):
        console.print(f"\n{SYNTHETIC}", style="bold yellow")
    console.print(_batches_table(status), soft_wrap=False)
    console.print(_champion(status.champion) if status.champion else "No champion yet.")
    counted = number_of(len(status.checks), "check")
    if failed := [check for check in status.checks if not check.passed]:
        console.print(f"{counted}, of which {len(failed)} failed when last evaluated:")
        for check in failed:
            console.print(f"  {_failed(check)}")
    else:
        console.print(f"{counted}; none failed when last evaluated.")
    for due in status.due:
        console.print(_due(due))
    if other := status.features_of_other_sql:
        console.print(
            f"The SQL has changed since the features of {', '.join(sorted(other))} were computed "
            f"({', '.join(other[max(other)])}). "
            f"`credit-assets train --portfolio {status.portfolio}` computes them again and trains.",
        )


def _batches_table(status: Status) -> Table:
    """The batches, one per line. On a narrow terminal, headers and texts wrap; batch names and figures do not."""
    lines = [
        {
            "batch": batch.batch,
            "applicants": _count(batch.applicants),
            "outcomes": _count(batch.outcomes_known),
            "approved": _share(batch.approval_rate),
            "mean PD": _share(batch.mean_pd),
            "default rate": _share(batch.default_rate) + (" early" if batch.early else ""),
            "AUC": _decimals(batch.auc),
            "score drift": f"{batch.score_drift or ''} {_decimals(batch.score_psi)}".strip(),
            "feature drift": _with_standing(batch.feature_drift, batch.standing),
        }
        for batch in status.batches
    ]
    table = Table(title=f"{status.title} ({status.portfolio})", title_justify="left", box=None, padding=(0, 1, 0, 0))
    for column in lines[0] if lines else ():
        text = column.endswith("drift")
        # A text may wrap between its words; a figure does not wrap.
        unbroken = [
            *column.split(),
            *(part for line in lines for part in (line[column].split() if text else [line[column]])),
        ]
        table.add_column(
            column,
            justify="left" if text or column == "batch" else "right",
            min_width=max(map(len, unbroken)),
            header_style="bold underline",
        )
    for line in lines:
        table.add_row(*line.values())
    return table


def _champion(champion: ChampionStatus) -> str:
    version, cut_off, metrics = f"version {champion.version}", f"cut-off {champion.cut_off:.1%}", champion.metrics
    if "auc" not in metrics:
        return f"Champion: {version}, not evaluated, {cut_off}"
    airs = [f"{name.replace('_', ' ')} {air:.2f}" for name, air in champion.air.items() if "_x_" not in name]
    if airs:
        fairness = f"AIR {', '.join(airs)}"
    elif champion.protected:
        fairness = "AIR unknown: no protected attribute has two groups that are large enough"
    else:
        fairness = "fairness not audited: the configuration names no protected attribute"
    return (
        f"Champion: {version}, AUC {metrics['auc']:.3f} ({metrics['auc_low']:.3f} to {metrics['auc_high']:.3f}) "
        f"on {number_of(int(metrics['applicants']), 'test row')}, "
        f"KS {metrics['ks']:.3f}, ECE {metrics['ece']:.4f}, {cut_off}; {fairness}"
    )


def _failed(check: CheckResult) -> str:
    batch = f" {check.batch}" if check.batch else ""
    of = f" of version {check.candidate_version}" if check.candidate_version else ""
    return f"{check.severity:<5} {check.asset}.{check.check}{batch}{of}: {check.description}"


def _due(due: DueStatus) -> str:
    state = "Refused until its input changes" if due.refused else "Due"
    failure = f"; run {due.failed_run} failed: {due.failure}" if due.failed_run else ""
    return f"{state}: {due.job} {due.batch or ''} ({due.why}){failure}"


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _decimals(number: float | None) -> str:
    return "" if number is None else f"{number:.3f}"


def _with_standing(verdict: str | None, standing: str | None) -> str:
    """The verdict and, if a shift does not fail the check, the reason."""
    return f"{verdict}, {NO_ALARM[standing]}" if verdict == "shifted" and standing in NO_ALARM else verdict or ""


def _share(number: float | None) -> str:
    return "" if number is None else f"{number:.1%}"

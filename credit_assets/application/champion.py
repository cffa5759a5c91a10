"""Change the champion by hand: promote any version, or roll back to an earlier one."""

from __future__ import annotations

from typing import Any

from credit_assets.application.work import Report
from credit_assets.automation.jobs import champion_config, promotion_config
from credit_assets.automation.runs import RunOutcome, execute, instance_for_commands
from credit_assets.definitions import build
from credit_assets.registry.registry import Registry
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project


def roll_back(project: Project, name: str, to: int | None, why: str, report: Report) -> RunOutcome:
    """Restore the previous champion, or version `to`, with the job `rollback`."""
    config: dict[str, Any] = {"roll_back": True, "why": why} | ({"to_version": to} if to else {})
    registry = Registry.of(project, name)
    with registry.answering(), instance_for_commands(project, name) as instance:
        run_config = champion_config(name, **config)
        outcome = execute(instance, build(name, project), name, "rollback", None, report, run_config=run_config)
        if outcome.success:
            report_champion(registry, report)
    return outcome


def promote(project: Project, name: str, version: int, by: str, why: str, report: Report) -> RunOutcome | None:
    """Promote a version by hand with the job `promote`, whatever the gate's verdict. If more approvals are needed,
    record this one, report how many are missing, and return None. Raises PromotionRefused or RegistryError."""
    registry, needed = Registry.of(project, name), Portfolio.load(project, name).promotion.approvals
    with registry.answering():
        if len(registry.approvals_with(version, by)) < needed:
            report(str(registry.override(version, by=by, why=why, approvals=needed)))
            return None
        with instance_for_commands(project, name) as instance:
            run_config = promotion_config(name, version, by, why)
            outcome = execute(instance, build(name, project), name, "promote", None, report, run_config=run_config)
        if outcome.success:
            report_champion(registry, report)
    return outcome


def report_champion(registry: Registry, report: Report) -> None:
    """Report the current champion, with the time and the reason of its promotion."""
    move = registry.history()[-1]
    since = f"{move.at:%Y-%m-%d %H:%M} UTC"
    report(f"Version {move.version} of {registry.name} has been the champion since {since}: {move.why}")

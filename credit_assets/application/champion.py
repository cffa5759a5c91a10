"""Change the champion by hand: forward to any version, or back to an earlier one."""

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
    """Make the champion's predecessor, or version `to`, the champion again, by the job `rollback`."""
    config: dict[str, Any] = {"roll_back": True, "why": why} | ({"to_version": to} if to else {})
    registry = Registry.of(project, name)
    with registry.answering(), instance_for_commands(project, name) as instance:
        asked = champion_config(name, **config)
        outcome = execute(instance, build(name, project), name, "rollback", None, report, run_config=asked)
        if outcome.success:
            report_champion(registry, report)
    return outcome


def promote(project: Project, name: str, version: int, by: str, why: str, report: Report) -> RunOutcome | None:
    """Promote a version by hand, whatever the gate's verdict, by the job `promote`. If more approvals are needed,
    record this one and report who is missing. Raises PromotionRefused or RegistryError."""
    registry, needed = Registry.of(project, name), Portfolio.load(project, name).promotion.approvals
    with registry.answering():
        if len(registry.approvals_with(version, by)) < needed:
            report(str(registry.override(version, by=by, why=why, approvals=needed)))
            return None
        with instance_for_commands(project, name) as instance:
            asked = promotion_config(name, version, by, why)
            outcome = execute(instance, build(name, project), name, "promote", None, report, run_config=asked)
        if outcome.success:
            report_champion(registry, report)
    return outcome


def report_champion(registry: Registry, report: Report) -> None:
    """Report which version is champion now, since when and why."""
    move = registry.history()[-1]
    report(f"Version {move.version} of {registry.name} decides since {move.at:%Y-%m-%d %H:%M} UTC: {move.why}")

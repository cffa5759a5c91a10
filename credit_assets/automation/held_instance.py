"""One Dagster instance for all evaluations of sensors in a process.

Dagster creates an instance for each evaluation, and reads all its schema migrations each time: nearly half of an
evaluation that finds nothing to do.
"""

from __future__ import annotations

import threading

import dagster as dg

from credit_assets.dagster_private import InstanceRef

_lock = threading.Lock()
_held: tuple[InstanceRef, dg.DagsterInstance] | None = None


def held_instance(context: dg.SensorEvaluationContext) -> dg.DagsterInstance:
    """The instance of the evaluation, kept for the next one."""
    global _held
    if context.instance_ref is None:
        return context.instance
    with _lock:
        if _held is None or _held[0] != context.instance_ref:
            _held = context.instance_ref, dg.DagsterInstance.from_ref(context.instance_ref)
        return _held[1]

"""One Dagster instance for all evaluations of sensors in a process.

Dagster creates an instance for each evaluation, and reads all its schema migrations each time: nearly half of an
evaluation that finds nothing to do.
"""

from __future__ import annotations

import threading

import dagster as dg

from credit_assets.dagster_private import InstanceRef

_lock = threading.Lock()
_cached: tuple[InstanceRef, dg.DagsterInstance] | None = None


def cached_instance(context: dg.SensorEvaluationContext) -> dg.DagsterInstance:
    """The instance of the evaluation, kept for the next one."""
    global _cached
    if context.instance_ref is None:
        return context.instance
    with _lock:
        if _cached is None or _cached[0] != context.instance_ref:
            _cached = context.instance_ref, dg.DagsterInstance.from_ref(context.instance_ref)
        return _cached[1]

"""Sensors of a portfolio: re-training when a batch has drifted from what the champion learned."""

import json

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from credit_assets.automation.jobs import TRAINING_TAG
from credit_assets.monitoring.checks import FEATURES_DRIFTED, SCORES_DRIFTED
from credit_assets.portfolio import Portfolio

LOOK_BACK = 200
"""Failed evaluations looked at a tick and check; more than that between two ticks is not a batch's drift."""


def sensors(portfolio: Portfolio, train: UnresolvedAssetJobDefinition) -> list[dg.SensorDefinition]:
    """`retrain_on_drift`."""
    watched = [
        dg.AssetCheckKey(dg.AssetKey([portfolio.name, asset]), check)
        for asset, check in (("feature_drift", FEATURES_DRIFTED), ("score_drift", SCORES_DRIFTED))
    ]

    @dg.sensor(
        name="retrain_on_drift",
        job=train,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="A drift check failed on a batch: a candidate is trained on all outcomes known, once a batch.",
    )
    def retrain_on_drift(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        # The failures seen, one by one: a check is numbered when its run starts, not when it fails, so
        # that "all after the last one" would pass over the slower of two runs.
        seen = set(json.loads(context.cursor or "[]"))
        failures = [failure for key in watched for failure in failed(context.instance, key)]
        requests = {
            # The batch is the key, not the evaluation: a batch that fails two checks, or is checked
            # again, has drifted once.
            batch: dg.RunRequest(
                run_key=f"drift:{batch}",
                tags={TRAINING_TAG: portfolio.name, "credit_assets/drifted_batch": batch},
            )
            for record, batch in failures
            if record not in seen
        }
        cursor = json.dumps(sorted(record for record, _ in failures))
        if not requests:
            return dg.SensorResult(skip_reason="No drift check has failed since the last look.", cursor=cursor)
        return dg.SensorResult(run_requests=list(requests.values()), cursor=cursor)

    return [retrain_on_drift]


def failed(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> list[tuple[int, str]]:
    """(record id, batch) of the check's latest failures of severity ERROR."""
    records = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=LOOK_BACK, status={AssetCheckExecutionRecordStatus.FAILED}
    )
    found = []
    for record in records:
        run = instance.get_run_by_id(record.run_id)
        batch = run.tags.get("dagster/partition") if run else None
        if batch and record.evaluation and record.evaluation.severity == dg.AssetCheckSeverity.ERROR:
            found.append((record.id, batch))
    return found

"""The tags of the platform's runs in Dagster's instance."""

WHY_TAG, AUTOMATIC_TAG = "credit_assets/why", "credit_assets/automatic"
"""Tags of a run: why it was started, as text; and that no person started it."""


PORTFOLIO_TAG = "credit_assets/portfolio"
TRAINING_TAG = "credit_assets/training"
KEY_TAG = "credit_assets/key"
"""The work that a run was started for; the same work has the same key."""
CORRECTION_TAG = "credit_assets/correction"
CHAMPION_TAG = "credit_assets/champion"
"""The version that was champion when the run was requested."""


HOST_TAG = "credit_assets/host"
"""The machine of a run that no launcher started; process ids are valid only there."""


COMMAND_TAG = "credit_assets/command"

"""The common form of all verdicts, and their conversion to Dagster checks. Each room defines its own rules."""

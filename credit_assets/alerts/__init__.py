"""Alerts: where they come from, the outbox that keeps them, and the channels that deliver them."""

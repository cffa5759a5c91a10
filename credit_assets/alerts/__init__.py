"""Alerts: their sources, the outbox that stores them, and the channels that deliver them."""

"""The loop on made-up data, whose alerts are read here."""

from credit_assets_tests.automation.conftest import bare_instance, loop

__all__ = ["bare_instance", "loop"]

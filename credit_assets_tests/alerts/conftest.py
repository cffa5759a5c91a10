"""Makes the fixtures of `automation` available to the tests of alerts."""

from credit_assets_tests.automation.conftest import bare_instance, loop

__all__ = ["bare_instance", "loop"]

"""Contract tests that meet real engines use the integration tests' settings."""

from tests.integration.conftest import settings

__all__ = ["settings"]

"""The world that hostile input is let loose on is the one of the handlers' tests."""

from tests.handlers.conftest import world

__all__ = ["world"]

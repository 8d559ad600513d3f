"""The `time` module as a service of ministack should see it: its sleeps pass on the embedded clock."""

from __future__ import annotations

import time
from typing import Any

from embedded import clock


class EmbeddedTime:
    """Put in place of a module's `time`; everything but `sleep` is the real thing."""

    sleep = staticmethod(clock.sleep)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

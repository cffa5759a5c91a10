"""Points in time as programs read them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import PlainSerializer

Moment = Annotated[
    datetime, PlainSerializer(lambda at: at.isoformat(timespec="seconds"), return_type=str, when_used="json")
]
"""To the second, as in `2026-03-01T12:00:00+00:00`."""

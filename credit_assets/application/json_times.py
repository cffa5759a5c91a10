"""The type of times in the JSON output."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import PlainSerializer

JsonTime = Annotated[
    datetime, PlainSerializer(lambda at: at.isoformat(timespec="seconds"), return_type=str, when_used="json")
]
"""A time that is written to JSON with a precision of seconds, such as `2026-03-01T12:00:00+00:00`."""

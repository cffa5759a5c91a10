"""Connections give the same results on every machine."""

from __future__ import annotations

import os
import subprocess
import sys

from credit_assets.lake.resources import lake_resource
from credit_assets.settings.project import Project

MOMENT = """
from credit_assets.lake.connections import connect
with connect() as con:
    print(con.sql("SELECT CAST(TIMESTAMPTZ '2024-01-01 02:00:00+05:00' AS TIMESTAMP)").fetchall()[0][0])
"""


def test_time_with_a_zone_does_not_depend_on_the_machine_s_time_zone() -> None:
    for zone in ("UTC", "America/New_York", "Asia/Tokyo"):
        asked = [sys.executable, "-c", MOMENT]
        done = subprocess.run(asked, env=os.environ | {"TZ": zone}, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "2023-12-31 21:00:00"


def test_assets_compute_in_utc_too(tmp_path) -> None:
    lake = lake_resource(Project(tmp_path))
    with lake.database.get_connection() as plain:
        plain.execute("SET TimeZone = 'Asia/Tokyo'")
    [(zone,)] = lake.connection.sql("SELECT current_setting('TimeZone')").fetchall()
    assert zone == "UTC"

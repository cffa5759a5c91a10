"""The chunks in which a batch is scored: equal to DuckDB's own frame of the rows."""

from __future__ import annotations

import duckdb
import pandas as pd
import pytest

from credit_assets.scoring import batch_scores
from credit_assets.scoring.batch_scores import chunks_of

ROWS = """
    SELECT
        i AS key,
        CASE WHEN i % 3 THEN i / 7 END AS number,
        (i / 3)::FLOAT AS single,
        CASE WHEN i % 2 THEN (i / 3)::FLOAT END AS single_with_gaps,
        (i % 100)::TINYINT AS small,
        CASE WHEN i % 5 THEN i::INTEGER END AS whole_with_gaps,
        CASE i % 4 WHEN 0 THEN 'worker' WHEN 1 THEN 'ärztin, "a"' WHEN 2 THEN '' END AS text,
        NULL::VARCHAR AS no_text,
        NULL::DOUBLE AS no_number
    FROM range(5_000) AS rows (i)
"""


def test_chunks_equal_the_frame_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_scores, "CHUNK_ROWS", 2_048)
    with duckdb.connect() as con:
        chunks, whole = [*chunks_of(con.sql(ROWS))], con.sql(ROWS).df()
    assert [len(chunk) for chunk in chunks] == [2048, 2048, 904]
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), whole, check_exact=True)


def test_no_rows_are_no_chunks() -> None:
    with duckdb.connect() as con:
        assert [*chunks_of(con.sql(ROWS).limit(0))] == []

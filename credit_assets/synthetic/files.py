"""Writes tables in Kaggle's format: CSV with a header, missing values empty, floats with a decimal point, quotes only
around text with a comma."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa

from credit_assets.lake.connections import connect
from credit_assets.lake.sql import sql_text
from credit_assets.synthetic.applications import Columns
from credit_assets.synthetic.draws import Categorical


def as_arrow(columns: Columns) -> pa.Table:
    """The columns as an Arrow table; NaN and the code -1 become nulls."""
    arrays = {}
    for name, values in columns.items():
        if isinstance(values, Categorical):
            codes = np.asarray(values.codes, dtype=np.int8)
            arrays[name] = pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(values.names))
        else:
            # Adding zero turns -0.0 into 0.0; otherwise the sign would be written.
            arrays[name] = pa.array(values + 0, from_pandas=True)
    return pa.table(arrays)


class TableFile:
    """A CSV file that is written in chunks of columns."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, columns: Columns) -> None:
        table = as_arrow(columns)
        first = not self.path.exists()
        target = self.path if first else self.path.with_suffix(".part")
        with connect(threads=1) as connection:
            connection.register("chunk", table)
            options = f"FORMAT csv, HEADER {str(first).lower()}, DELIMITER ','"
            connection.execute(f"COPY chunk TO {sql_text(str(target))} ({options})")
        if not first:
            with self.path.open("ab") as whole, target.open("rb") as part:
                shutil.copyfileobj(part, whole, 1 << 22)
            target.unlink()

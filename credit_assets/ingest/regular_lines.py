"""The lines of a CSV file that DuckDB reads as the rows that they are, apart from the others.

A quote without its pair makes DuckDB read the following lines as a part of the value, and a carriage return ends its
line. `csv_rows.py` defines which lines form a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from credit_assets.ingest.csv_rows import ROWS, CsvFile, lines_of, rows_among, text_of

PIECES, PIECE = 64, 16 * 1024
"""The number and size of the pieces of a sample."""


class RegularLines:
    """A delivered file in two parts. `regular` has the lines that are a row by themselves: it is the file itself, if
    all lines are, or else a copy with a header of one line. The `irregular_rows` are those of the other lines."""

    def __init__(self, delivered: CsvFile, copy: Path) -> None:
        self.delivered = self.regular = delivered
        self._irregular: Path | None = None
        self.rows: int | None = None
        """The number of lines of the copy that are not empty, the header aside; None if there is no copy."""
        # From which lines of the copy on, and by how much, the line numbers of the delivered file are larger.
        self._from, self._larger_by = np.ones(1, np.int64), np.zeros(1, np.int64)
        if delivered.irregular or (delivered.header_begin, delivered.header_end) != (1, 1):
            self.regular = replace(delivered, plain=copy, header_begin=1, header_end=1)
            self._irregular = copy.with_suffix(".irregular")
            self._separate(copy, self._irregular)

    @property
    def is_copied(self) -> bool:
        return self._irregular is not None

    def delivered_lines(self, lines: np.ndarray) -> np.ndarray:
        """The line numbers in the delivered file of lines of `regular`."""
        return lines + self._larger_by[np.searchsorted(self._from, lines, "right") - 1]

    def irregular_rows(self, skipped: Counter[str]) -> Iterator[pa.RecordBatch]:
        """The rows that are not in `regular`, as from `rows_of`."""
        if self._irregular:
            with pa.OSFile(str(self._irregular)) as file, pa.ipc.open_stream(file) as batches:
                for batch in batches:
                    yield rows_among(self.delivered, batch["_row"].to_numpy(), batch["_line"], skipped)

    def _separate(self, copy: Path, irregular: Path) -> None:
        """Write the lines to one of the two files each."""
        header, copied, larger_by, rows = self.delivered.header_end, 1, 0, 0
        with (
            copy.open("wb") as writing,
            pa.OSFile(str(irregular), "wb") as file,
            pa.ipc.new_stream(file, ROWS) as others,
        ):
            writing.write(f"{self.delivered.header_text}\n".encode())
            for begins, data, ends in lines_of(self.delivered):
                lines = begins[:-1]
                regular = _are_regular(begins, data, ends) & (lines > header)
                _write_lines(writing, data, ends, regular)
                rows += int((regular & ~are_empty(data, ends)).sum())
                copies = np.arange(copied + 1, copied + 1 + regular.sum())
                larger = lines[regular] - copies
                changes = np.flatnonzero(np.diff(larger, prepend=larger_by))
                self._from = np.append(self._from, copies[changes])
                self._larger_by = np.append(self._larger_by, larger[changes])
                copied, larger_by = copied + len(copies), self._larger_by[-1]
                left = ~regular & ((lines < self.delivered.header_begin) | (lines > header))
                if left.any():
                    text = text_of(data, ends, left)
                    others.write_batch(pa.record_batch([lines[left], lines[left], text], schema=ROWS))
        self.rows = rows


def are_empty(data: bytes, ends: np.ndarray) -> np.ndarray:
    """Which of a block's lines are empty."""
    content, lengths = np.frombuffer(data, np.uint8), np.diff(ends, prepend=0)
    first = content[ends - lengths]
    return (lengths == 1) & (first == ord("\n")) | (lengths == 2) & (first == ord("\r"))


def write_sample(file: Path, sample: Path) -> None:
    """Write the header, a line, and some lines from all parts of a large file."""
    apart = file.stat().st_size // PIECES
    with file.open("rb") as reading, sample.open("wb") as writing:
        writing.write(reading.readline())
        for n in range(PIECES):
            reading.seek(n * apart)
            lines = reading.read(min(PIECE, apart))
            writing.write(lines[lines.find(b"\n") + 1 : lines.rfind(b"\n") + 1])


def _are_regular(begins: np.ndarray, data: bytes, ends: np.ndarray) -> np.ndarray:
    """Which of a block's rows are a single line, with quotes in pairs and no carriage return but in its ending."""
    content = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(content == ord('"'))
    regular = (np.diff(begins) == 1) & (np.diff(np.searchsorted(quotes, ends), prepend=0) % 2 == 0)
    if b"\r" in data:
        returns = np.flatnonzero(content == ord("\r"))
        inside = returns[content[np.minimum(returns + 1, len(content) - 1)] != ord("\n")]
        regular[np.searchsorted(ends, inside[inside < ends[-1]], "right")] = False
    return regular


def _write_lines(writing: BinaryIO, data: bytes, ends: np.ndarray, chosen: np.ndarray) -> None:
    """Write the chosen lines of a block, each ended by a line feed alone."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]])))
    for first, behind in zip(edges[::2], edges[1::2], strict=True):
        lines = data[ends[first - 1] if first else 0 : ends[behind - 1]]
        writing.write(lines.replace(b"\r\n", b"\n"))

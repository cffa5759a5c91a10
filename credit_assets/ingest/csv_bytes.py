"""Reads a CSV file once as bytes: counts its lines, and refuses what no CSV file has. `csv_rows.py` reads the rows."""

from __future__ import annotations

import codecs
import csv
import re
from pathlib import Path

import numpy as np

from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.lake.contracts import shorten

# The maximum number of bytes of a header or of a row that spans several lines.
LONGEST_ROW = 1024 * 1024
SEPARATORS = (",", ";", "\t", "|")


def separator_of(head: str) -> str:
    """The header's field separator: the one of comma, semicolon, tab and bar that occurs most often outside quotes."""
    return max(SEPARATORS, key=re.sub('"[^"]*"', "", head).count)


def count_lines(plain: Path, header: int, first: bytes, where: str, block_size: int) -> tuple[int, bool]:
    """The number of lines in the file, and whether they may be irregular. Raises BadDelivery if it is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, position, block = 0, 0, b""
    quotes, irregular = 0, False
    with plain.open("rb") as content:
        while following := content.read(block_size):
            block = following
            if (nul := block.find(b"\0")) >= 0:
                line = lines + block.count(b"\n", 0, nul) + 1
                raise BadDelivery(
                    f"{where}, row {line}: a byte is zero, as in an incompletely written file. Deliver it again."
                )
            lines += block.count(b"\n")
            irregular = irregular or _may_be_irregular(block, quotes)
            quotes += block.count(b'"')
            pending = decoder.getstate()[0]
            if pending or not block.isascii():
                try:
                    decoder.decode(block)
                except UnicodeDecodeError as error:
                    raise _not_utf8(
                        plain, block_size, position - len(pending) + error.start, header, first, where
                    ) from error
            position += len(block)
    if decoder.getstate()[0]:
        raise _not_utf8(plain, block_size, position - len(decoder.getstate()[0]), header, first, where)
    return lines + (not block.endswith(b"\n")), irregular or quotes % 2 == 1


def _may_be_irregular(block: bytes, quotes_before: int) -> bool:
    """Whether quotes are open at the end of a line, or a carriage return may be inside one. `quotes_before` are those
    before the block."""
    if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
        return True
    if b'"' not in block:
        return bool(quotes_before % 2) and b"\n" in block
    content = np.frombuffer(block, np.uint8)
    # The sums overflow, which leaves their last bit as it is.
    open_quotes = np.cumsum(content == ord('"'), dtype=np.uint8) + np.uint8(quotes_before % 2)
    return bool((open_quotes[content == ord("\n")] & 1).any())


def _not_utf8(plain: Path, block_size: int, offset: int, header: int, first: bytes, where: str) -> BadDelivery:
    with plain.open("rb") as content:
        line_number = 1 + sum(
            content.read(min(block_size, offset - start)).count(b"\n") for start in range(0, offset, block_size)
        )
        content.seek(max(0, offset - LONGEST_ROW))
        before = content.read(min(offset, LONGEST_ROW)).rsplit(b"\n", 1)[-1].decode("latin-1")
        after = content.read(LONGEST_ROW).split(b"\n", 1)[0].decode("latin-1")
    head = re.sub(r"[\r\n]+", " ", first.decode("latin-1")).strip()
    separator = separator_of(head)
    fields = next(csv.reader([before.replace("\r", " ")], delimiter=separator)) or [""]
    nth = len(fields) - 1
    names = next(csv.reader([head], delimiter=separator), [])
    column = names[nth] if line_number > header and nth < len(names) else f"number {nth + 1}"
    value = (fields[-1] + after.split(separator)[0]).strip()
    advice = "Save the file as UTF-8 and deliver it again."
    return BadDelivery(
        f"{where}, row {line_number}, column {column}: the byte 0x{ord(after[0]):02X} is not UTF-8 "
        f"(read as Latin-1 the value is {shorten(value)!r}). {advice}",
        # By number: in a file without a header, the names are values.
        without_values=f"{where}, row {line_number}, column number {nth + 1}: a byte is not UTF-8. {advice}",
    )

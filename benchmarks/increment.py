"""Cost of a new batch on a book that already has a large one: it should follow the batch, not the book.

    python -m benchmarks.increment FOLDER
    python -m benchmarks.increment FOLDER --share 0.01

FOLDER has the delivered files of the book's first batch, such as those that `benchmarks/sample.py` makes. They are
ingested and their features computed; then the same is done for a new synthetic batch with a share of their applicants.
Processor seconds exclude the start of the processes, as in `line.py`. A batch of any size has the cost of a commit for
each table, so the target only holds for a book of Kaggle's size.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.line import Step, run_step
from benchmarks.measure import measured
from benchmarks.startup import COMMAND
from credit_assets.settings.project import Project

BAR = 0.03
"""The largest wanted share of the whole for a batch of 1% of the book."""
NEW_BATCH = "2026-02"
FIRST_NEW_APPLICANT = 5_000_000


def measure_batch(folder: Path, workspace: Path, batch: str, threads: int) -> dict[str, Step]:
    """The cost of ingesting the files as the batch, and of computing its features."""
    return {
        name: run_step(name, folder, workspace, "--batch", batch, threads=threads) for name in ("ingest", "features")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="the delivered files of the book's first batch")
    parser.add_argument("--share", type=float, default=0.01, help="the new batch's share of the applicants")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="where the lake and the new batch are written")
    parser.add_argument("--lake", type=Path, help="keep the lake in this folder, for scoring.py")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.scratch) as temporary:
        workspace, sample = Path(temporary) / "work", Path(temporary) / "sample"
        whole = measure_batch(asked.folder, workspace, "2026-01", asked.threads)
        applicants = whole["features"].counts["applicants"]
        more = max(1, round(applicants * asked.share))
        # In a process of its own: those that are measured inherit the peak memory of this one.
        sampling = ["sample", sample, "--applicants", str(more), "--batches", "1", "--unlabelled", "0"]
        sampling += ["--first-batch", NEW_BATCH, "--first-applicant", str(FIRST_NEW_APPLICANT)]
        measured([sys.executable, "-c", COMMAND, *sampling])
        part = measure_batch(sample / NEW_BATCH, workspace, NEW_BATCH, asked.threads)
        if asked.lake:
            shutil.move(Project(workspace).lake, asked.lake)
    print(f"{'step':<12}{f'{applicants:,} applicants':>24}{f'{more:,} more':>24}{'share':>8}")
    for name, step in part.items():
        print(f"{name:<12}{whole[name].cpu_s:24.2f}{step.cpu_s:24.2f}{step.cpu_s / whole[name].cpu_s:8.3f}")
    all_of_it, added = (sum(step.cpu_s for step in steps.values()) for steps in (whole, part))
    print(f"{'both':<12}{all_of_it:24.2f}{added:24.2f}{added / all_of_it:8.3f}  (target: below {BAR} for 1%)")


if __name__ == "__main__":
    main()

"""Whether two releases give the same scores, decisions, reasons and figures, to the last bit.

    python -m benchmarks.equality v1.0 v1.1
    python -m benchmarks.equality v1.0 HEAD --book demo --book uci_credit_card --folder /tmp/equality
    python -m benchmarks.equality v1.0 HEAD --upgrade

Each release runs from its own checkout on the same deliveries, as a user would run it. Then every table of the lake,
every check, and the parameters, metrics and files of every model are compared. Floats are compared by their bits (NaN
equals NaN), rows by their key. The exit code is 1 if there is a difference that EXPECTED (compare_projects.py) does not
list. With `--upgrade`, OLD creates a project and NEW continues it in the same folder, as after `git pull`.

The books are `demo` (synthetic) and real ones from the folder CREDIT_ASSETS_REAL_DATA. `--folder` keeps the projects;
projects that are there already are not run again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from benchmarks.compare_projects import compare_projects, compare_tables, lake_tables, versions

REPOSITORY = Path(__file__).parents[1]
REAL_DATA = "CREDIT_ASSETS_REAL_DATA"
DEMO, SYNTHETIC_BOOK = "demo", "home_credit"
REAL_BOOKS = ("home_credit", "lending_club", "uci_credit_card")
DONE = Path("data", "equality.done")
"""A file in a project whose runs are all made."""


@dataclass(frozen=True)
class Release:
    """A checkout of one commit that is its own project, with the environment of its commands."""

    folder: Path

    @classmethod
    def checkout(cls, commit: str, folder: Path) -> Release:
        """A clone at `commit`, with the `.env` that `make` creates."""
        if not folder.exists():
            _git("clone", "--quiet", "--shared", "--no-checkout", str(REPOSITORY), str(folder))
        release = cls(folder)
        release.switch(commit)
        return release

    def switch(self, commit: str) -> None:
        """Check out another commit in the same project, like `git pull`. Raises RuntimeError if other code runs."""
        _git("-C", str(self.folder), "checkout", "--quiet", "--detach", commit)
        if not (self.folder / ".env").exists():
            shutil.copy(self.folder / ".env.example", self.folder / ".env")
        where = self._python("-c", "import credit_assets; print(credit_assets.__file__)").stdout.strip()
        if not Path(where).is_relative_to(self.folder):
            raise RuntimeError(f"The code of {where} would run, and not that of {self.folder}")
        print(f"  {commit} runs from {where}", flush=True)

    def command(self, *words: str) -> None:
        """Run `credit-assets` with these arguments. If it fails, the error contains the end of its output."""
        script = tomllib.loads((self.folder / "pyproject.toml").read_text())["project"]["scripts"]["credit-assets"]
        module, function = script.split(":")
        began = time.monotonic()
        done = self._python("-c", f"from {module} import {function}; {function}()", *words)
        print(f"  {time.monotonic() - began:6.1f} s  credit-assets {' '.join(words)}", flush=True)
        if done.returncode:
            raise RuntimeError(f"credit-assets {' '.join(words)} failed:\n{(done.stdout + done.stderr)[-3000:]}")

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        ours = ("CREDIT_ASSETS_", "MLFLOW_", "DAGSTER_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment["PYTHONPATH"] = str(self.folder)
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True
        )


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()


def run_book(release: Release, book: str, data: Path | None) -> None:
    """Everything from the delivered files to scores; for the demo also the later outcomes."""
    if (release.folder / DONE).exists():
        print("  has been run before")
        return
    if book == DEMO:
        release.command("demo")
        later = release.folder / "data" / "sample" / "outcomes"
        for outcomes in sorted(later.iterdir()):
            release.command("deliver", str(outcomes), "--portfolio", SYNTHETIC_BOOK, "--batch", outcomes.name)
        release.command("run", "--portfolio", SYNTHETIC_BOOK)
    else:
        release.command("demo", "--portfolio", book, "--files", str(data))
    (release.folder / DONE).touch()


def upgrade(old: str, new: str, folder: Path) -> list[str]:
    """Create a project with OLD and continue it with NEW, in a fresh folder; a line for each compared item."""
    if folder.exists():
        shutil.rmtree(folder)
    release = Release.checkout(old, folder)
    run_book(release, DEMO, None)
    before = lake_tables(folder, SYNTHETIC_BOOK)["scores"]
    release.switch(new)
    batch, made = "2026-04", folder.parent / "new-batch"
    shutil.rmtree(made, ignore_errors=True)
    release.command("status", "--portfolio", SYNTHETIC_BOOK)
    sample = ("--applicants", "1000", "--batches", "1", "--first-batch", batch, "--first-applicant", "900000")
    release.command("sample", str(made), *sample, "--unlabelled", "0", "--seed", "11")
    release.command("deliver", str(made / batch), "--portfolio", SYNTHETIC_BOOK, "--batch", batch)
    release.command("run", "--portfolio", SYNTHETIC_BOOK)
    after = lake_tables(folder, SYNTHETIC_BOOK)["scores"]
    is_new = pc.equal(after["batch"], batch)
    lines = [str(compare_tables("scores of the batches before", before, after.filter(pc.invert(is_new))))]
    scored = pc.sum(is_new).as_py()
    lines.append(f"scores of {batch}: {f'equal, {scored:,} rows' if scored == 1000 else f'DIFFERS; {scored} rows'}")
    known = len(versions(folder))
    release.command("train", "--portfolio", SYNTHETIC_BOOK)
    trained = len(versions(folder)) - known
    lines.append(f"train: {'equal, one version more' if trained == 1 else f'DIFFERS; {trained} versions more'}")
    release.command("status", "--portfolio", SYNTHETIC_BOOK, "--json")
    return lines


def _data_of(book: str) -> Path | None:
    """The folder of the book's files; None if it is not available."""
    folder = Path(os.environ.get(REAL_DATA, REPOSITORY.parent / "shared" / "data")) / book
    return folder.resolve() if folder.is_dir() else None


def compare_releases(old: str, new: str, book: str, folder: Path) -> list[str]:
    """Run both releases on the book and compare the results."""
    data = None if book == DEMO else _data_of(book)
    if book != DEMO and data is None:
        return [f"skipped: no folder {book} in ${REAL_DATA}"]
    projects = []
    # For a commit compared with itself, two runs.
    for commit, name in ((old, old), (new, new if new != old else f"{new}-again")):
        release = Release.checkout(commit, folder / f"{book}-{name}")
        run_book(release, book, data)
        projects.append(release.folder)
    return compare_projects(*projects, SYNTHETIC_BOOK if book == DEMO else book)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("old", help="a commit or tag")
    parser.add_argument("new", help="the commit or tag that is compared with it")
    books = (DEMO, *REAL_BOOKS)
    parser.add_argument("--book", action="append", choices=books, help="all of them by default")
    parser.add_argument("--folder", type=Path, help="keep the projects in this folder")
    parser.add_argument("--upgrade", action="store_true", help="continue a project of OLD with NEW")
    asked = parser.parse_args(arguments)
    old, new = (_git("-C", str(REPOSITORY), "rev-parse", f"{c}^{{commit}}")[:12] for c in (asked.old, asked.new))
    differs = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for book in ["upgrade"] if asked.upgrade else asked.book or books:
            print(f"\n{book}: OLD {old}, NEW {new}", flush=True)
            if asked.upgrade:
                lines = upgrade(old, new, folder / f"upgrade-{old}-{new}")
            else:
                lines = compare_releases(old, new, book, folder)
            print("\n".join(f"  {line}" for line in lines), flush=True)
            differs |= any("DIFFERS" in line for line in lines)
    print("\nThe releases differ." if differs else "\nThe releases are equal.")
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())

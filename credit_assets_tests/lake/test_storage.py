"""The lake on another storage than one folder: any storage that meets the contract of `Storage` can hold its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import duckdb
import pytest

from credit_assets.lake.maintenance import committed_files, log_files, maintain
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.storage import LocalStorage, Storage, StoredFile
from credit_assets.lake.tables import Lake, TableMissing
from credit_assets.settings.retention import RetentionConfig

BOOK = "book"


@dataclass(frozen=True)
class Buckets:
    """A storage with a separate bucket per portfolio, in another place and under another name."""

    root: Path

    @property
    def options(self) -> Mapping[str, str]:
        return {}

    def _at(self, key: str) -> tuple[LocalStorage, str]:
        bucket, _, below = key.partition("/")
        return LocalStorage(self.root / f"bucket of {bucket}" / "tables"), below

    def _buckets(self, below: str) -> list[str]:
        found = [below] if below else [folder.name.removeprefix("bucket of ") for folder in self.root.glob("bucket*")]
        return sorted(found)

    def address(self, key: str) -> str:
        storage, below = self._at(key)
        return storage.address(below)

    def key(self, address: str) -> str:
        bucket, _, below = LocalStorage(self.root).key(address).removeprefix("bucket of ").split("/", 2)
        return f"{bucket}/{below}"

    def tables(self, below: str) -> list[str]:
        return [
            f"{name.partition('/')[0]}/{key}" for name in self._buckets(below) for key in self._listed(name, "tables")
        ]

    def files(self, below: str) -> list[str]:
        return [
            f"{name.partition('/')[0]}/{key}" for name in self._buckets(below) for key in self._listed(name, "files")
        ]

    def _listed(self, key: str, what: str) -> list[str]:
        storage, below = self._at(key)
        return getattr(storage, what)(below)

    def names(self, folder: str) -> list[str]:
        storage, below = self._at(folder)
        return storage.names(below)

    def stat(self, key: str) -> StoredFile:
        storage, below = self._at(key)
        return storage.stat(below)

    def read(self, key: str) -> bytes:
        storage, below = self._at(key)
        return storage.read(below)

    def open(self, key: str) -> BinaryIO:
        storage, below = self._at(key)
        return storage.open(below)

    def prepare_folder(self, key: str) -> None:
        storage, below = self._at(key)
        storage.prepare_folder(below)

    def persist(self, key: str) -> None:
        storage, below = self._at(key)
        storage.persist(below)

    def remove(self, key: str) -> None:
        storage, below = self._at(key)
        storage.remove(below)

    def lock(self, name: str) -> AbstractContextManager[object]:
        return LocalStorage(self.root).lock(name)


@pytest.fixture(params=[LocalStorage, Buckets])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return request.param(tmp_path / "a lake")


@pytest.fixture
def lake(storage: Storage) -> Lake:
    return Lake(storage)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def write(con: duckdb.DuckDBPyConnection, lake: Lake, table: str, batch: str | None, value: int, **told: object) -> int:
    return lake.replace(con, f"SELECT {value} AS value", table, batch, Provenance(**told))


def test_written_rows_are_readable_in_every_version(con, lake):
    for value, batch in enumerate(("b 1", "b%2", "b 1")):
        write(con, lake, f"{BOOK}/loans", batch, value)
    write(con, lake, "other/whole", None, 9)
    assert lake.tables() == [f"{BOOK}/loans", "other/whole"]
    assert lake.tables(BOOK) == [f"{BOOK}/loans"]
    rows = [sorted(lake.relation(con, f"{BOOK}/loans", version=version).fetchall()) for version in range(3)]
    assert rows == [[(0, "b 1")], [(0, "b 1"), (1, "b%2")], [(1, "b%2"), (2, "b 1")]]
    assert lake.relation(con, f"{BOOK}/loans", ["b%2"]).fetchall() == [(1, "b%2")]
    assert lake.relation(con, "other/whole").fetchall() == [(9,)]
    assert {batch: commit.version for batch, commit in lake.batches(f"{BOOK}/loans").items()} == {"b 1": 2, "b%2": 1}


def test_withdrawn_batch_is_gone_and_readable_in_earlier_versions(con, lake):
    write(con, lake, f"{BOOK}/loans", "b1", 1)
    lake.withdraw(f"{BOOK}/loans", "b1", "a mistake")
    assert lake.batches(f"{BOOK}/loans") == {}
    assert lake.readable(f"{BOOK}/loans", "b1", 0)
    with pytest.raises(TableMissing):
        lake.query(f"{BOOK}/loans", ["b1"])


def test_discarded_staged_rows_leave_no_file(con, lake, storage):
    staged = lake.stage(con, "SELECT 1 AS value", f"{BOOK}/loans", "b1")
    assert storage.files(BOOK) == list(staged.files)
    lake.discard(staged)
    assert storage.files(BOOK) == []


def test_maintenance_removes_unkept_versions_and_finds_uncommitted_files(con, lake, storage):
    for value in (1, 2):
        write(con, lake, f"{BOOK}/loans", "b1", value)
    [replaced], [kept] = (lake.files_of(f"{BOOK}/loans", commit) for commit in reversed(lake.history(f"{BOOK}/loans")))
    orphan = lake.stage(con, "SELECT 3 AS value", f"{BOOK}/never", "b1")
    later = datetime.now(UTC) + timedelta(days=900)
    done = maintain(lake, BOOK, f"{BOOK}/scores", [], RetentionConfig(keep_days=2), later)
    assert [(table.table, len(table.superseded), len(table.orphans)) for table in done.tables] == [
        (f"{BOOK}/loans", 1, 0),
        (f"{BOOK}/never", 0, 1),
    ]
    left = {storage.address(key) for key in storage.files(BOOK)}
    assert kept in left and not {replaced, *orphan.files.values()} & left
    assert not lake.readable(f"{BOOK}/loans", "b1", 0) and lake.readable(f"{BOOK}/loans", "b1", 1)
    assert [storage.address(key) for key in committed_files(lake, f"{BOOK}/loans")] == [kept]
    assert log_files(lake) == {f"{BOOK}/loans": frozenset({f"{version:020}.json" for version in (0, 1)})}


def test_missing_file_is_not_found_and_removed_without_error(storage):
    for ask in (storage.stat, storage.read, storage.open):
        with pytest.raises(FileNotFoundError):
            ask(f"{BOOK}/nothing")
    storage.remove(f"{BOOK}/nothing")
    assert storage.names(f"{BOOK}/nothing") == storage.files(BOOK) == storage.tables("") == []


def test_encoded_delta_address_maps_to_its_key(storage):
    key = f"{BOOK}/loans/batch=b%201/part-1.parquet"
    assert storage.key(storage.address(key).replace("%", "%25").replace(" ", "%20")) == key

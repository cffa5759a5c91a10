"""What is due, told from an inbox of small files and a lake of one-row tables."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from credit_assets.automation.due import (
    CheckedForAnother,
    DriftNotChecked,
    Due,
    FeaturesOlder,
    FeaturesRemade,
    FileMissing,
    FilesChanged,
    FilesDiffer,
    FirstSeen,
    NotABatch,
    NotIngested,
    NotScored,
    OtherChampion,
    OutcomesDelivered,
    PerformanceNotMeasured,
    Reason,
    SqlChanged,
    StillWritten,
    Waiting,
)
from credit_assets.automation.pending import (
    Arrivals,
    arrivals,
    new_outcomes,
    to_ingest,
    to_make_again,
    to_score,
    to_train,
    training_key,
)
from credit_assets.book.queries import FeatureQuery
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.schemas.table import Table
from credit_assets.settings.portfolio import Portfolio, TableConfig
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT

BOOK, BATCH = "home_credit", "2026-01"
PORTFOLIO = Portfolio.load(Project(PROJECT), BOOK)
STEMS = {name: config.files[0] for name, config in PORTFOLIO.tables.items() if not config.optional}


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def deliver(inbox: Inbox, folder: Path, **files: str) -> None:
    folder.mkdir()
    for stem, content in (dict.fromkeys(STEMS.values(), "A\n1\n") | files).items():
        (folder / f"{stem}.csv").write_text(content)
    inbox.deliver(folder, BOOK, BATCH)


def write(lake: Lake, name: str, batch: str = BATCH, **told: Any) -> int:
    with duckdb.connect() as con:
        return lake.replace(con, "SELECT 1 AS x", f"{BOOK}/{name}", batch, Provenance(**told))


# Raw tables and features of a made-up book: the features see the bureau through another table, and no balance.
MADE_FROM = {
    "bureau": ["applications"],
    "bureau_balance": ["bureau"],
    "outcomes": ["applications"],
    "bureau_features": ["bureau"],
    "features": ["applications", "bureau_features"],
}
ALL = ("applications", *(set(PORTFOLIO.tables) - {"applications"}), "bureau_features", "features")


def ingest(inbox: Inbox, lake: Lake, *tables: str) -> None:
    """Write the tables (by default all) as the delivered files would make them."""
    delivered = inbox.fingerprint(BOOK, BATCH)
    for name in sorted(tables or ALL, key=lambda name: (len(lineage(name)), name)):
        stems = PORTFOLIO.tables[name].files if name in PORTFOLIO.tables else []
        sources = {file: sha256 for file, sha256 in delivered.items() if file.split(".")[0] in stems}
        inputs = {f"{BOOK}/{source}": lake.version(f"{BOOK}/{source}") for source in MADE_FROM.get(name, [])}
        write(lake, name, source_sha256=sources, inputs=inputs)


def lineage(name: str) -> list[str]:
    """All that the table is made from, however far back."""
    return [found for source in MADE_FROM.get(name, []) for found in (source, *lineage(source))]


def score(lake: Lake) -> None:
    made_from = lake.version(f"{BOOK}/features")
    made = write(lake, "scores", inputs={f"{BOOK}/features": made_from})
    write(lake, "score_drift", inputs={f"{BOOK}/scores": made})


def due(inbox: Inbox, lake: Lake) -> list[tuple[str | None, Reason, tuple[str, ...]]]:
    return [(found.batch, found.reason, found.tables) for found in to_ingest(PORTFOLIO, inbox, lake)]


def test_an_empty_inbox_has_nothing_to_ingest(inbox, lake):
    assert due(inbox, lake) == []


def test_a_new_delivery_is_ingested_until_its_features_are_made(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    assert due(inbox, lake) == [(BATCH, NotIngested(), ())]
    ingest(inbox, lake, *PORTFOLIO.tables)
    assert due(inbox, lake) == [(BATCH, FeaturesOlder(), ())]
    ingest(inbox, lake, "bureau_features", "features")
    assert due(inbox, lake) == []


@pytest.mark.parametrize("name", ["applications", "bureau", "bureau_features"])
def test_features_are_late_where_what_they_were_made_from_was_made_again(inbox, lake, tmp_path, name):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    ingest(inbox, lake, name)
    assert due(inbox, lake) == [(BATCH, FeaturesOlder(), ())]


@pytest.mark.parametrize("name", ["bureau_balance", "pos_cash_balance", "outcomes"])
def test_a_table_that_no_feature_reads_makes_none_late(inbox, lake, tmp_path, name):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    ingest(inbox, lake, name)
    assert due(inbox, lake) == []


def test_an_ingestion_that_was_cut_off_is_due_again(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake, *(set(PORTFOLIO.tables) - {"bureau_balance", "outcomes"}))
    assert due(inbox, lake) == [(BATCH, FilesDiffer(("bureau_balance", "outcomes")), ())]


def test_a_corrected_file_is_due_and_named(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    deliver(inbox, tmp_path / "corrected", bureau="A\n2\n")
    assert due(inbox, lake) == [(BATCH, FilesDiffer(("bureau",)), ())]


def test_outcomes_that_come_later_are_due_alone(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    deliver(inbox, tmp_path / "with_outcomes", outcomes="A\n1\n")
    assert due(inbox, lake) == [(BATCH, OutcomesDelivered(), ("outcomes",))]
    ingest(inbox, lake, "outcomes")
    assert due(inbox, lake) == []


def test_outcomes_are_not_due_alone_where_the_features_are_late_too(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    ingest(inbox, lake, "applications")
    deliver(inbox, tmp_path / "with_outcomes", outcomes="A\n1\n")
    assert due(inbox, lake) == [(BATCH, FilesDiffer(("outcomes",)), ())]


def test_a_delivery_that_cannot_be_read_is_due_so_that_a_run_says_why(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    (inbox.folder(BOOK, BATCH) / "bureau.csv").unlink()
    [(batch, _, tables)] = due(inbox, lake)
    assert (batch, tables) == (BATCH, ())


def test_what_is_still_being_copied_is_not_ingested(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    (inbox.folder(BOOK, BATCH) / "outcomes.csv.part").touch()
    (inbox.root / BOOK / "not a batch").mkdir()
    assert due(inbox, lake) == []


def test_a_folder_that_lacks_a_file_is_left_to_the_run_to_complain_of(inbox, lake):
    (inbox.root / BOOK / BATCH).mkdir(parents=True)
    assert due(inbox, lake) == [(BATCH, NotIngested(), ())]


# -- deliveries that nobody announced --------------------------------------------------------------


class Sensor:
    """Looks, each remembering what the one before it saw."""

    def __init__(self, inbox: Inbox, lake: Lake) -> None:
        self.inbox, self.lake, self.looks = inbox, lake, {}

    def look(self) -> Arrivals:
        found = arrivals(PORTFOLIO, self.inbox, self.lake, self.looks)
        # A cursor is text.
        self.looks = json.loads(json.dumps(found.looks))
        assert not {due.batch for due in found.due} & set(found.waiting)
        return found

    def due(self) -> list[tuple[str | None, tuple[str, ...], bool]]:
        return [(found.batch, found.tables, found.correction) for found in self.look().due]

    def waiting(self) -> dict[str, Waiting]:
        found = self.look()
        assert found.due == []
        return found.waiting

    def settled(self) -> Due:
        """What is due once two looks found the same."""
        self.look()
        [found] = self.look().due
        return found


@pytest.fixture
def sensor(inbox: Inbox, lake: Lake) -> Sensor:
    return Sensor(inbox, lake)


FIRST, CHANGED = Waiting(FirstSeen()), Waiting(FilesChanged())


@pytest.fixture
def folder(inbox: Inbox) -> Path:
    """Where the batch is copied to, by hand."""
    folder = inbox.root / BOOK / BATCH
    folder.mkdir(parents=True)
    return folder


def copy_all(folder: Path, content: str = "A\n1\n") -> None:
    for stem in STEMS.values():
        (folder / f"{stem}.csv").write_text(content)


def test_a_delivery_is_due_when_two_looks_find_it_the_same(sensor, inbox, lake, folder):
    missing = sensor.waiting()[BATCH].reason
    assert isinstance(missing, FileMissing)
    assert "Table applications: no file application_train or application_test" in missing.trouble
    copy_all(folder)
    assert sensor.waiting() == {BATCH: FIRST}
    assert sensor.due() == [(BATCH, (), False)]
    assert sensor.due() == [(BATCH, (), False)], "until it is ingested"
    ingest(inbox, lake)
    assert sensor.look() == Arrivals([], {}, {})


def test_a_file_that_grows_keeps_its_delivery_waiting(sensor, folder):
    copy_all(folder)
    assert sensor.waiting() == {BATCH: FIRST}
    for _ in range(2):
        with (folder / "bureau.csv").open("a") as growing:
            growing.write("2\n")
        assert sensor.waiting() == {BATCH: CHANGED}
    assert sensor.due() == [(BATCH, (), False)]


def test_a_missing_file_is_named_and_waited_for(sensor, folder):
    copy_all(folder)
    (folder / "bureau.csv").unlink()
    for _ in range(3):
        missing = sensor.waiting()[BATCH].reason
        assert isinstance(missing, FileMissing)
        assert missing.trouble.startswith("Table bureau: no file bureau (.csv.gz, .csv, .csv.zip, .parquet)")
    (folder / "bureau.csv").write_text("A\n")
    assert sensor.waiting() == {BATCH: FIRST}
    assert len(sensor.due()) == 1


@pytest.mark.parametrize("name", ["outcomes.csv.part", ".outcomes.csv.Ab12Cd", "outcomes.csv.tmp"])
def test_a_file_that_is_being_written_by_its_name_is_waited_for(sensor, folder, name):
    copy_all(folder)
    (folder / name).touch()
    for _ in range(3):
        assert sensor.waiting() == {BATCH: Waiting(StillWritten((name,)))}
    (folder / name).rename(folder / "outcomes.csv")
    assert sensor.waiting() == {BATCH: FIRST}
    assert len(sensor.due()) == 1


def test_a_file_twice_is_left_to_the_run_to_refuse(sensor, folder):
    copy_all(folder)
    (folder / "bureau.csv.gz").touch()
    assert sensor.settled().batch == BATCH


def test_what_is_no_batch_is_told_and_stops_no_other(sensor, inbox, tmp_path):
    deliver(inbox, tmp_path / "new")
    (inbox.root / BOOK / "May 2026").mkdir()
    found = (sensor.look(), sensor.look())[1]
    assert [due.batch for due in found.due] == [BATCH]
    assert isinstance(found.waiting["May 2026"].reason, NotABatch)


def test_a_delivery_by_the_command_is_due_in_the_same_way(sensor, inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    assert sensor.waiting() == {BATCH: FIRST}
    assert sensor.due() == [(BATCH, (), False)]


def test_what_is_remembered_between_looks_is_only_what_is_not_ingested(sensor, inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    assert sensor.look().looks == {}
    deliver(inbox, tmp_path / "corrected", bureau="A\n2\n")
    assert list(sensor.look().looks) == [BATCH]


def test_the_same_files_again_are_read_once_and_not_due(sensor, inbox, lake, tmp_path, folder):
    copy_all(folder)
    ingest(inbox, lake)
    (folder / "bureau.csv").touch()
    assert sensor.waiting() == {BATCH: FIRST}
    assert sensor.look() == Arrivals([], {}, {})
    assert sensor.look() == Arrivals([], {}, {})


def test_corrections_back_and_forth_are_each_another_work(sensor, inbox, lake, folder):
    keys = []
    for content in ("A\n1\n", "A\n2\n", "A\n1\n", "A\n2\n"):
        copy_all(folder, content)
        found = sensor.settled()
        assert found.correction == bool(keys)
        keys.append(found.key)
        ingest(inbox, lake)
        assert sensor.look().due == []
    assert len(set(keys)) == 4


def test_a_run_that_fails_half_way_leaves_the_same_work(sensor, inbox, lake, folder):
    copy_all(folder)
    ingest(inbox, lake)
    copy_all(folder, "A\n2\n")
    before = sensor.settled()
    ingest(inbox, lake, "applications", "bureau")
    assert [found.key for found in sensor.look().due] == [before.key]
    ingest(inbox, lake, "applications", "bureau")
    [after] = sensor.look().due
    assert (after.key, after.correction) == (before.key, True)
    ingest(inbox, lake, *(set(ALL) - {"features"}))
    [late] = sensor.look().due
    assert (late.reason, late.key, late.correction) == (
        FeaturesOlder(),
        before.key,
        True,
    )


def test_other_files_after_a_run_that_failed_are_another_work(sensor, inbox, lake, folder):
    copy_all(folder)
    before = sensor.settled()
    copy_all(folder, "A\n2\n")
    assert sensor.settled().key != before.key


def test_later_outcomes_are_due_alone_and_are_no_correction(sensor, inbox, lake, folder):
    copy_all(folder)
    ingest(inbox, lake)
    copy_all(folder, "A\n2\n")
    ingest(inbox, lake)
    keys = []
    for name in ("outcomes.csv", "outcomes.2.csv"):
        (folder / name).write_text(name)
        found = sensor.settled()
        assert (found.reason, found.tables, found.correction) == (OutcomesDelivered(), ("outcomes",), False)
        keys.append(found.key)
        ingest(inbox, lake, "outcomes")
    assert len(set(keys)) == 2
    assert sensor.look().due == []


def test_what_a_run_has_read_is_not_read_again_to_see_that_it_is_ingested(sensor, inbox, lake, folder):
    copy_all(folder)
    ingest(inbox, lake)
    memory = inbox.root / BOOK / ".fingerprints" / f"{BATCH}.json"
    forgotten = json.loads(memory.read_text())
    memory.unlink()
    assert sensor.waiting() == {BATCH: FIRST}
    inbox.remember(BOOK, BATCH, forgotten)
    assert sensor.look() == Arrivals([], {}, {})


# -- any sequence of them --------------------------------------------------------------------------


class Few(Table):
    """A table of the made-up book below, for what is due has nothing to do with columns."""

    A: int


TABLES = {"applications": Few, "bureau": Few, "outcomes": Few}
SMALL = PORTFOLIO.model_copy(
    update={
        "name": "small",
        "tables": {name: TableConfig(files=[name], optional=name == "outcomes") for name in TABLES},
    }
)
# Smaller than what a configuration may name.
SMALL._models = dict(TABLES)
GOOD, BAD = ("one", "two", "three"), "bad"
CONTENT = st.sampled_from([*GOOD, BAD])
PARTS = ("applications.csv", "bureau.csv")


class Deliveries(RuleBasedStateMachine):
    """One batch's folder in the hands of people, a sensor that looks at it, and runs that it starts. What is expected
    is told from what was done: `change` numbers the states of the folder, `seen` is the one that the last look saw.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.inbox, self.lake, self.con = Inbox(self.root / "inbox"), Lake(self.root / "lake"), duckdb.connect()
        self.folder = self.root / "inbox" / "small" / BATCH
        self.looks: dict[str, str] = {}
        self.files: dict[str, str] = {}
        self.copying = False
        self.change, self.seen = 0, -1
        self.seen_files: set[str] = set()
        self.keys: dict[int, str] = {}
        # Table to the contents that were ever read into it; the last is there now.
        self.read: dict[str, list[dict[str, str]]] = {name: [] for name in TABLES}
        self.features_late = True

    def teardown(self) -> None:
        self.con.close()
        shutil.rmtree(self.root)

    def write(self, name: str, content: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(content)
        self.touched(name)

    def touched(self, name: str) -> None:
        self.change += 1
        # The clock of a file system stands still for milliseconds.
        os.utime(self.folder / name, ns=(0, self.change))

    # -- what people do

    @rule(name=st.sampled_from([*PARTS, "outcomes.csv", "outcomes.2.csv"]), content=CONTENT)
    def copy(self, name: str, content: str) -> None:
        self.write(name, content)
        self.files[name] = content

    @rule(content=CONTENT)
    def copy_all(self, content: str) -> None:
        for name in PARTS:
            self.copy(name, content)

    @rule(content=CONTENT, looks=st.integers(0, 2))
    def copy_slowly(self, content: str, looks: int) -> None:
        self.write("outcomes.3.csv.part", "half")
        self.copying = True
        for _ in range(looks):
            self.look()
        self.copying = False
        (self.folder / "outcomes.3.csv.part").replace(self.folder / "outcomes.3.csv")
        self.copy("outcomes.3.csv", content)

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def touch(self, data: st.DataObject) -> None:
        self.touched(data.draw(st.sampled_from(sorted(self.files))))

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.files)))
        (self.folder / name).unlink()
        del self.files[name]
        self.change += 1
        if name not in self.seen_files and self.files:
            # Else the folder would be again what the last look saw.
            self.touched(min(self.files))

    @rule(content=CONTENT, outcomes=st.one_of(st.none(), CONTENT))
    def deliver(self, content: str, outcomes: str | None) -> None:
        delivered = dict.fromkeys(PARTS, content) | ({"outcomes.csv": outcomes} if outcomes else {})
        kept = {} if outcomes else {name: held for name, held in self.files.items() if name not in PARTS}
        self.expect(delivered, delivered | kept)

    @precondition(lambda self: self.files)
    @rule(content=CONTENT)
    def deliver_outcomes(self, content: str) -> None:
        numbers = {1 if name == "outcomes.csv" else int(name.split(".")[1]): name for name in self.of("outcomes")}
        last = max(numbers, default=0)
        name = "outcomes.csv" if not last else f"outcomes.{last + 1}.csv"
        repeated = last and self.files[numbers[last]] == content
        self.expect({"outcomes.csv": content}, self.files if repeated else self.files | {name: content})

    def expect(self, delivered: dict[str, str], files: dict[str, str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in delivered.items():
                (Path(folder) / name).write_text(content)
            done = self.inbox.deliver(Path(folder), "small", BATCH)
        assert (done.change == "unchanged") == (files == self.files)
        self.change += files != self.files
        self.files = files

    # -- what the platform does

    @rule()
    def look_twice(self) -> None:
        self.look()
        self.look()

    @rule()
    def look(self) -> None:
        found = arrivals(SMALL, self.inbox, self.lake, self.looks)
        self.looks = json.loads(json.dumps(found.looks))
        settled, self.seen, self.seen_files = self.seen == self.change, self.change, set(self.files)
        wanted = {table: self.of(table) for table in TABLES}
        changed = {table for table, read in self.read.items() if not read or read[-1] != wanted[table]}
        if self.copying or not set(PARTS) <= set(self.files):
            assert not found.due
            assert bool(found.waiting) == self.folder.exists()
            self.seen = -1
        elif not changed and not self.features_late:
            assert not found.due
            assert not (settled and found.waiting)
        elif not settled:
            assert not found.due
            assert list(found.waiting) == [BATCH]
        else:
            [due] = found.due
            assert due.tables == (("outcomes",) if changed == {"outcomes"} and not self.features_late else ())
            replaced = any(read != wanted[table] for table in PARTS_OF for read in self.read[table])
            assert due.correction == (replaced and not due.tables)
            if self.change in self.keys:
                assert due.key == self.keys[self.change], "what was started for these files is not started again"
            else:
                assert due.key not in self.keys.values(), "and other files are"
                self.keys[self.change] = due.key
                self.run(due.tables or (*TABLES, "features"))

    def of(self, table: str) -> dict[str, str]:
        return {name: content for name, content in self.files.items() if name.split(".")[0] == table}

    def run(self, tables: Iterable[str]) -> None:
        """Reads one table after the other, up to the first that is bad; remembers what it has read."""
        sha256 = self.inbox.fingerprint("small", BATCH)
        for table in tables:
            files = self.of(table) if table in TABLES else {}
            if BAD in files.values():
                return
            inputs = {} if table in TABLES else {name: self.lake.version(name) for name in map(SMALL.table, PARTS_OF)}
            provenance = Provenance(source_sha256={name: sha256[name] for name in files}, inputs=inputs)
            self.lake.replace(self.con, "SELECT 1 AS x", SMALL.table(table), BATCH, provenance)
            if table in TABLES:
                self.read[table].append(files)
                self.features_late |= table in PARTS_OF
            else:
                self.features_late = False


PARTS_OF = [name.removesuffix(".csv") for name in PARTS]


def test_any_sequence_of_deliveries_is_taken_once_it_is_whole_and_once_only():
    few = settings(max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Deliveries, settings=few)


def test_outcomes_of_a_batch_that_is_scored_are_read_together_with_its_performance(sensor, inbox, lake, folder):
    copy_all(folder)
    ingest(inbox, lake)
    score(lake)
    (folder / "outcomes.csv").write_text("A\n1\n")
    found = sensor.settled()
    assert (found.job, found.reason, found.tables) == ("outcomes", OutcomesDelivered(), ())
    assert not found.correction
    ingest(inbox, lake, "outcomes")
    copy_all(folder, "A\n2\n")
    assert (sensor.settled().job, sensor.settled().correction) == ("ingest", True)


# -- models and scores -----------------------------------------------------------------------------


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def put(lake: Lake, con: duckdb.DuckDBPyConnection, name: str, batch: str, query: str, **told: Any) -> int:
    return lake.replace(con, query, f"{BOOK}/{name}", batch, Provenance(**told))


def applicants(lake: Lake, con: duckdb.DuckDBPyConnection, batch: str, number: int, known: int = 0) -> None:
    """The batch's applications and features, without outcomes but for the first `known`."""
    place = int(batch[-2:]) * 1000
    rows = f"SELECT {place} + i AS SK_ID_CURR, CASE WHEN i < {known} THEN i % 2 END AS TARGET FROM range({number}) t(i)"
    made = put(lake, con, "applications", batch, rows, source_sha256={"applications.csv": f"{number}, {known}"})
    put(lake, con, "outcomes", batch, "SELECT 0 AS SK_ID_CURR, 0 AS TARGET WHERE false")
    put(lake, con, "features", batch, f"SELECT SK_ID_CURR FROM ({rows})", inputs={f"{BOOK}/applications": made})


def judge(lake: Lake, con: duckdb.DuckDBPyConnection, batch: str, champion: int, *tables: str) -> None:
    """The batch's scores, their drift and performance (or those named), made by a champion of what there is."""
    made_from = {"scores": ["features"], "score_drift": ["scores"], "performance": ["scores", "outcomes"]}
    for name in tables or made_from:
        inputs = {f"{BOOK}/{source}": lake.batches(f"{BOOK}/{source}")[batch].version for source in made_from[name]}
        provenance = Provenance(inputs=inputs, model_version=champion)
        lake.replace(con, "SELECT 1 AS x", f"{BOOK}/{name}", batch, provenance)


def to_do(lake: Lake, champion: int = 1) -> list[tuple[str | None, Reason, tuple[str, ...]]]:
    return [(found.batch, found.reason, found.tables) for found in to_score(PORTFOLIO, lake, champion)]


def test_a_model_is_trained_where_outcomes_of_a_matured_batch_are_known_and_no_champion_is(lake, con):
    assert to_train(PORTFOLIO, lake, has_champion=False) == []
    applicants(lake, con, BATCH, 10, known=4)
    assert to_train(PORTFOLIO, lake, has_champion=False) == [], "four of ten are too few"
    applicants(lake, con, BATCH, 10, known=5)
    assert [found.job for found in to_train(PORTFOLIO, lake, has_champion=False)] == ["train"]
    assert to_train(PORTFOLIO, lake, has_champion=True) == []


def test_a_training_has_another_key_once_it_would_learn_from_other_rows(lake, con):
    applicants(lake, con, BATCH, 10, known=5)
    keys = [training_key(PORTFOLIO, lake)]
    assert training_key(PORTFOLIO, lake) == keys[0]
    judge(lake, con, BATCH, 1)
    assert training_key(PORTFOLIO, lake) == keys[0]
    put(lake, con, "outcomes", BATCH, "SELECT 1007 AS SK_ID_CURR, 1 AS TARGET")
    assert training_key(PORTFOLIO, lake) != keys[0]


def test_new_outcomes_are_those_that_the_training_set_did_not_have(lake, con):
    applicants(lake, con, BATCH, 10, known=6)
    assert new_outcomes(PORTFOLIO, lake, None) == 6
    inputs = {f"{BOOK}/{name}": lake.version(f"{BOOK}/{name}") for name in ("applications", "outcomes", "features")}
    trained = lake.replace(con, "SELECT 1 AS x", f"{BOOK}/training_set", None, Provenance(inputs=inputs))
    assert new_outcomes(PORTFOLIO, lake, trained) == 0
    # One more is known, and one otherwise.
    put(lake, con, "outcomes", BATCH, "FROM (VALUES (1008, 1), (1000, 1)) t(SK_ID_CURR, TARGET)")
    assert new_outcomes(PORTFOLIO, lake, trained) == 2
    applicants(lake, con, "2026-02", 10, known=4)
    assert new_outcomes(PORTFOLIO, lake, trained) == 2, "the second batch is not matured"
    applicants(lake, con, "2026-02", 10, known=10)
    assert new_outcomes(PORTFOLIO, lake, trained) == 12


def test_outcomes_of_a_batch_without_features_are_new_once_it_has_them(lake, con):
    applicants(lake, con, BATCH, 10, known=6)
    rows = "SELECT 2000 + i AS SK_ID_CURR, i % 2 AS TARGET FROM range(10) t(i)"
    put(lake, con, "applications", "2026-02", rows)
    assert new_outcomes(PORTFOLIO, lake, None) == 6
    inputs = {f"{BOOK}/{name}": lake.version(f"{BOOK}/{name}") for name in ("applications", "outcomes", "features")}
    trained = lake.replace(con, "SELECT 1 AS x", f"{BOOK}/training_set", None, Provenance(inputs=inputs))
    put(lake, con, "features", "2026-02", f"SELECT SK_ID_CURR FROM ({rows})")
    assert new_outcomes(PORTFOLIO, lake, trained) == 10


def test_a_champion_that_comes_back_scores_an_open_batch_anew(lake, con):
    applicants(lake, con, BATCH, 10)
    keys = []
    for champion, then in ((1, 2), (2, 1), (1, 2)):
        judge(lake, con, BATCH, champion)
        keys += [found.key for found in to_score(PORTFOLIO, lake, then)]
    assert len(set(keys)) == 3


def test_a_batch_is_scored_once_for_each_time_its_features_are_made(lake, con):
    applicants(lake, con, BATCH, 10)
    assert to_do(lake) == [(BATCH, NotScored(), ())]
    judge(lake, con, BATCH, 1)
    assert to_do(lake) == []
    applicants(lake, con, "2026-02", 10)
    assert to_do(lake) == [("2026-02", NotScored(), ())]
    applicants(lake, con, BATCH, 10)
    assert (BATCH, FeaturesRemade(), ()) not in to_do(lake), "of the same files"
    applicants(lake, con, BATCH, 11)
    assert (BATCH, FeaturesRemade(), ()) in to_do(lake)


def remake(lake: Lake, con: duckdb.DuckDBPyConnection, batch: str, sql: str) -> None:
    """Features of the batch by the SQL of this version, from the applications that are there."""
    applications = f"{BOOK}/applications"
    rows = f"SELECT SK_ID_CURR FROM ({lake.query(applications, [batch])})"
    inputs = {applications: lake.version(applications)}
    lake.replace(con, rows, f"{BOOK}/features", batch, Provenance(inputs=inputs, asset_code_version=sql))


def test_features_made_again_by_other_sql_give_no_decision_again(lake, con):
    applicants(lake, con, BATCH, 10)
    judge(lake, con, BATCH, 1)
    remake(lake, con, BATCH, "new")
    assert to_do(lake) == []
    judge(lake, con, BATCH, 1)
    applicants(lake, con, BATCH, 11)
    assert to_do(lake) == [(BATCH, FeaturesRemade(), ())]


def test_features_of_other_sql_are_to_be_made_again_where_a_training_would_learn_from_them_and_later(lake, con):
    """The oldest batch has no outcomes; the next are learned from; the newest is not matured."""
    query = FeatureQuery("features", "select SK_ID_CURR from applications", ("applications",), "", "SK_ID_CURR", {})
    queries = {"features": query}
    assert to_make_again(PORTFOLIO, lake, queries) == []
    for batch, known in {"2026-01": 0, "2026-02": 10, "2026-03": 10, "2026-04": 0}.items():
        applicants(lake, con, batch, 10, known)
        remake(lake, con, batch, "old")
    due = to_make_again(PORTFOLIO, lake, queries)
    assert [(found.job, found.batch, found.reason, found.tables) for found in due] == [
        ("ingest", batch, SqlChanged(("features.sql",)), ("features",)) for batch in ("2026-02", "2026-03", "2026-04")
    ]
    remake(lake, con, "2026-03", query.version)
    assert [found.batch for found in to_make_again(PORTFOLIO, lake, queries)] == ["2026-02", "2026-04"]


def test_scores_whose_run_was_killed_before_their_drift_or_performance_are_looked_over(lake, con):
    applicants(lake, con, BATCH, 10)
    judge(lake, con, BATCH, 1, "scores")
    assert to_do(lake) == [(BATCH, DriftNotChecked(), ("score_drift",))]
    judge(lake, con, BATCH, 1, "score_drift")
    unmeasured = (BATCH, PerformanceNotMeasured(), ("performance",))
    assert to_do(lake) == [unmeasured]
    judge(lake, con, BATCH, 1, "performance")
    assert to_do(lake) == []
    put(lake, con, "outcomes", BATCH, "SELECT 1001 AS SK_ID_CURR, 1 AS TARGET")
    assert to_do(lake) == [unmeasured]
    judge(lake, con, BATCH, 1, "performance")
    judge(lake, con, BATCH, 1, "scores", "score_drift")
    assert to_do(lake) == [unmeasured]


def test_a_new_champion_scores_the_newest_batch_again_while_it_is_open(lake, con):
    for batch in (BATCH, "2026-02"):
        applicants(lake, con, batch, 10)
        judge(lake, con, batch, 1)
    assert to_do(lake, champion=2) == [("2026-02", OtherChampion(2), ())]
    applicants(lake, con, "2026-02", 10, known=1)
    judge(lake, con, "2026-02", 1)
    assert to_do(lake, champion=2) == [], "of a batch with a known outcome the decisions stand"


@pytest.mark.parametrize("named", [True, False], ids=["the check is named", "scores of an earlier release"])
def test_what_was_scored_by_another_version_than_its_features_were_checked_against_is_scored_again(lake, con, named):
    """Even if the outcomes are known: a promotion between the check and the scores had its way."""
    applicants(lake, con, BATCH, 10, known=10)
    checked = put(lake, con, "feature_drift", BATCH, "SELECT 1 AS x", model_version=1)
    judge(lake, con, BATCH, 1, "scores")
    features = lake.version(f"{BOOK}/features")
    inputs = {f"{BOOK}/features": features} | ({f"{BOOK}/feature_drift": checked} if named else {})
    put(lake, con, "scores", BATCH, "SELECT 1 AS x", inputs=inputs, model_version=2)
    judge(lake, con, BATCH, 2, "score_drift", "performance")
    assert to_do(lake, champion=2) == [(BATCH, CheckedForAnother(2, 1), ())]
    # A later look at the features, against another champion, is no reason to decide again.
    put(lake, con, "scores", BATCH, "SELECT 1 AS x", inputs=inputs, model_version=1)
    judge(lake, con, BATCH, 1, "score_drift", "performance")
    put(lake, con, "feature_drift", BATCH, "SELECT 1 AS x", model_version=2)
    assert to_do(lake, champion=2) == []


def test_how_many_batches_a_new_champion_scores_again_is_the_books_to_say(lake, con):
    for batch in (BATCH, "2026-02"):
        applicants(lake, con, batch, 10)
        judge(lake, con, batch, 1)
    for number in range(4):
        automation = PORTFOLIO.automation.model_copy(update={"rescore_open_batches": number})
        book = PORTFOLIO.model_copy(update={"automation": automation})
        assert len(to_score(book, lake, 2)) == min(number, 2)

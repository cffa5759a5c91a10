"""What is due, from an inbox of small files and a lake of one-row tables."""

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
    batches_to_ingest,
    batches_to_score,
    first_training,
    new_outcomes,
    stale_features,
    training_key,
)
from credit_assets.book.queries import FeatureQuery
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.settings.portfolio import Portfolio, TableConfig
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT

pytestmark = pytest.mark.slow

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


def write(lake: Lake, name: str, batch: str = BATCH, **fields: Any) -> int:
    with duckdb.connect() as con:
        return lake.replace(con, "SELECT 1 AS x", f"{BOOK}/{name}", batch, Provenance(**fields))


# Raw tables and features of a made-up book. The features read the bureau through another table, and read no balances.
MADE_FROM = {
    "bureau": ["applications"],
    "bureau_balance": ["bureau"],
    "outcomes": ["applications"],
    "bureau_features": ["bureau"],
    "features": ["applications", "bureau_features"],
}
ALL = ("applications", *(set(PORTFOLIO.tables) - {"applications"}), "bureau_features", "features")


def ingest(inbox: Inbox, lake: Lake, *tables: str) -> None:
    """Write the tables (by default all) as a run would from the delivered files."""
    delivered = inbox.fingerprint(BOOK, BATCH)
    for name in sorted(tables or ALL, key=lambda name: (len(lineage(name)), name)):
        stems = PORTFOLIO.tables[name].files if name in PORTFOLIO.tables else []
        sources = {file: sha256 for file, sha256 in delivered.items() if file.split(".")[0] in stems}
        inputs = {f"{BOOK}/{source}": lake.version(f"{BOOK}/{source}") for source in MADE_FROM.get(name, [])}
        write(lake, name, source_sha256=sources, inputs=inputs)


def lineage(name: str) -> list[str]:
    """All tables that the table depends on, directly or not."""
    return [found for source in MADE_FROM.get(name, []) for found in (source, *lineage(source))]


def score(lake: Lake) -> None:
    made_from = lake.version(f"{BOOK}/features")
    made = write(lake, "scores", inputs={f"{BOOK}/features": made_from})
    write(lake, "score_drift", inputs={f"{BOOK}/scores": made})


def due(inbox: Inbox, lake: Lake) -> list[tuple[str | None, Reason, tuple[str, ...]]]:
    return [(found.batch, found.reason, found.tables) for found in batches_to_ingest(PORTFOLIO, inbox, lake)]


def test_empty_inbox_has_nothing_to_ingest(inbox, lake):
    assert due(inbox, lake) == []


def test_new_delivery_is_due_until_its_features_exist(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    assert due(inbox, lake) == [(BATCH, NotIngested(), ())]
    ingest(inbox, lake, *PORTFOLIO.tables)
    assert due(inbox, lake) == [(BATCH, FeaturesOlder(), ())]
    ingest(inbox, lake, "bureau_features", "features")
    assert due(inbox, lake) == []


@pytest.mark.parametrize("name", ["applications", "bureau", "bureau_features"])
def test_features_are_due_when_their_inputs_were_rewritten(inbox, lake, tmp_path, name):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    ingest(inbox, lake, name)
    assert due(inbox, lake) == [(BATCH, FeaturesOlder(), ())]


@pytest.mark.parametrize("name", ["bureau_balance", "pos_cash_balance", "outcomes"])
def test_table_that_no_feature_reads_makes_no_features_due(inbox, lake, tmp_path, name):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    ingest(inbox, lake, name)
    assert due(inbox, lake) == []


def test_interrupted_ingestion_is_due_again(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake, *(set(PORTFOLIO.tables) - {"bureau_balance", "outcomes"}))
    assert due(inbox, lake) == [(BATCH, FilesDiffer(("bureau_balance", "outcomes")), ())]


def test_corrected_file_makes_its_table_due(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    deliver(inbox, tmp_path / "corrected", bureau="A\n2\n")
    assert due(inbox, lake) == [(BATCH, FilesDiffer(("bureau",)), ())]


def test_later_outcomes_are_due_alone(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    deliver(inbox, tmp_path / "with_outcomes", outcomes="A\n1\n")
    assert due(inbox, lake) == [(BATCH, OutcomesDelivered(), ("outcomes",))]
    ingest(inbox, lake, "outcomes")
    assert due(inbox, lake) == []


def test_later_outcomes_are_not_due_alone_when_features_are_outdated(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    ingest(inbox, lake, "applications")
    deliver(inbox, tmp_path / "with_outcomes", outcomes="A\n1\n")
    assert due(inbox, lake) == [(BATCH, FilesDiffer(("outcomes",)), ())]


def test_unreadable_delivery_is_due_so_that_a_run_reports_why(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    (inbox.folder(BOOK, BATCH) / "bureau.csv").unlink()
    [(batch, _, tables)] = due(inbox, lake)
    assert (batch, tables) == (BATCH, ())


def test_delivery_that_is_being_copied_is_not_ingested(inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    (inbox.folder(BOOK, BATCH) / "outcomes.csv.part").touch()
    (inbox.root / BOOK / "not a batch").mkdir()
    assert due(inbox, lake) == []


def test_folder_without_required_files_is_due_so_that_a_run_reports_it(inbox, lake):
    (inbox.root / BOOK / BATCH).mkdir(parents=True)
    assert due(inbox, lake) == [(BATCH, NotIngested(), ())]


# -- deliveries copied by hand ----------------------------------------------------------------------


class Sensor:
    """Polls the inbox; each poll remembers what the previous one saw."""

    def __init__(self, inbox: Inbox, lake: Lake) -> None:
        self.inbox, self.lake, self.signatures = inbox, lake, {}

    def poll(self) -> Arrivals:
        found = arrivals(PORTFOLIO, self.inbox, self.lake, self.signatures)
        # A cursor is text.
        self.signatures = json.loads(json.dumps(found.signatures))
        assert not {due.batch for due in found.due} & set(found.waiting)
        return found

    def due(self) -> list[tuple[str | None, tuple[str, ...], bool]]:
        return [(found.batch, found.tables, found.correction) for found in self.poll().due]

    def waiting(self) -> dict[str, Waiting]:
        found = self.poll()
        assert found.due == []
        return found.waiting

    def poll_twice(self) -> Due:
        """What is due after two polls with the same result."""
        self.poll()
        [found] = self.poll().due
        return found


@pytest.fixture
def sensor(inbox: Inbox, lake: Lake) -> Sensor:
    return Sensor(inbox, lake)


FIRST, CHANGED = Waiting(FirstSeen()), Waiting(FilesChanged())


@pytest.fixture
def folder(inbox: Inbox) -> Path:
    """The folder into which the batch is copied by hand."""
    folder = inbox.root / BOOK / BATCH
    folder.mkdir(parents=True)
    return folder


def copy_all(folder: Path, content: str = "A\n1\n") -> None:
    for stem in STEMS.values():
        (folder / f"{stem}.csv").write_text(content)


def test_delivery_is_due_when_two_polls_find_it_unchanged(sensor, inbox, lake, folder):
    missing = sensor.waiting()[BATCH].reason
    assert isinstance(missing, FileMissing)
    assert "Table applications: no file application_train or application_test" in missing.problem
    copy_all(folder)
    assert sensor.waiting() == {BATCH: FIRST}
    assert sensor.due() == [(BATCH, (), False)]
    assert sensor.due() == [(BATCH, (), False)], "until it is ingested"
    ingest(inbox, lake)
    assert sensor.poll() == Arrivals([], {}, {})


def test_delivery_waits_while_a_file_grows(sensor, folder):
    copy_all(folder)
    assert sensor.waiting() == {BATCH: FIRST}
    for _ in range(2):
        with (folder / "bureau.csv").open("a") as growing:
            growing.write("2\n")
        assert sensor.waiting() == {BATCH: CHANGED}
    assert sensor.due() == [(BATCH, (), False)]


def test_delivery_waits_for_a_missing_file_and_names_it(sensor, folder):
    copy_all(folder)
    (folder / "bureau.csv").unlink()
    for _ in range(3):
        missing = sensor.waiting()[BATCH].reason
        assert isinstance(missing, FileMissing)
        assert missing.problem.startswith("Table bureau: no file bureau (.csv.gz, .csv, .csv.zip, .parquet)")
    (folder / "bureau.csv").write_text("A\n")
    assert sensor.waiting() == {BATCH: FIRST}
    assert len(sensor.due()) == 1


@pytest.mark.parametrize("name", ["outcomes.csv.part", ".outcomes.csv.Ab12Cd", "outcomes.csv.tmp"])
def test_delivery_waits_for_a_file_with_a_temporary_name(sensor, folder, name):
    copy_all(folder)
    (folder / name).touch()
    for _ in range(3):
        assert sensor.waiting() == {BATCH: Waiting(StillWritten((name,)))}
    (folder / name).rename(folder / "outcomes.csv")
    assert sensor.waiting() == {BATCH: FIRST}
    assert len(sensor.due()) == 1


def test_duplicate_file_is_left_to_the_run_to_refuse(sensor, folder):
    copy_all(folder)
    (folder / "bureau.csv.gz").touch()
    assert sensor.poll_twice().batch == BATCH


def test_invalid_batch_name_is_reported_and_blocks_no_other_batch(sensor, inbox, tmp_path):
    deliver(inbox, tmp_path / "new")
    (inbox.root / BOOK / "May 2026").mkdir()
    found = (sensor.poll(), sensor.poll())[1]
    assert [due.batch for due in found.due] == [BATCH]
    assert isinstance(found.waiting["May 2026"].reason, NotABatch)


def test_delivery_by_command_becomes_due_like_a_copied_one(sensor, inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    assert sensor.waiting() == {BATCH: FIRST}
    assert sensor.due() == [(BATCH, (), False)]


def test_sensor_remembers_only_deliveries_that_are_not_ingested(sensor, inbox, lake, tmp_path):
    deliver(inbox, tmp_path / "new")
    ingest(inbox, lake)
    assert sensor.poll().signatures == {}
    deliver(inbox, tmp_path / "corrected", bureau="A\n2\n")
    assert list(sensor.poll().signatures) == [BATCH]


def test_unchanged_files_are_reread_once_and_not_due(sensor, inbox, lake, tmp_path, folder):
    copy_all(folder)
    ingest(inbox, lake)
    (folder / "bureau.csv").touch()
    assert sensor.waiting() == {BATCH: FIRST}
    assert sensor.poll() == Arrivals([], {}, {})
    assert sensor.poll() == Arrivals([], {}, {})


def test_repeated_corrections_have_different_run_keys(sensor, inbox, lake, folder):
    keys = []
    for content in ("A\n1\n", "A\n2\n", "A\n1\n", "A\n2\n"):
        copy_all(folder, content)
        found = sensor.poll_twice()
        assert found.correction == bool(keys)
        keys.append(found.key)
        ingest(inbox, lake)
        assert sensor.poll().due == []
    assert len(set(keys)) == 4


def test_run_that_fails_midway_leaves_the_same_run_key(sensor, inbox, lake, folder):
    copy_all(folder)
    ingest(inbox, lake)
    copy_all(folder, "A\n2\n")
    before = sensor.poll_twice()
    ingest(inbox, lake, "applications", "bureau")
    assert [found.key for found in sensor.poll().due] == [before.key]
    ingest(inbox, lake, "applications", "bureau")
    [after] = sensor.poll().due
    assert (after.key, after.correction) == (before.key, True)
    ingest(inbox, lake, *(set(ALL) - {"features"}))
    [late] = sensor.poll().due
    assert (late.reason, late.key, late.correction) == (
        FeaturesOlder(),
        before.key,
        True,
    )


def test_changed_files_after_a_failed_run_have_another_run_key(sensor, inbox, lake, folder):
    copy_all(folder)
    before = sensor.poll_twice()
    copy_all(folder, "A\n2\n")
    assert sensor.poll_twice().key != before.key


def test_later_outcomes_are_due_alone_and_are_no_correction(sensor, inbox, lake, folder):
    copy_all(folder)
    ingest(inbox, lake)
    copy_all(folder, "A\n2\n")
    ingest(inbox, lake)
    keys = []
    for name in ("outcomes.csv", "outcomes.2.csv"):
        (folder / name).write_text(name)
        found = sensor.poll_twice()
        assert (found.reason, found.tables, found.correction) == (OutcomesDelivered(), ("outcomes",), False)
        keys.append(found.key)
        ingest(inbox, lake, "outcomes")
    assert len(set(keys)) == 2
    assert sensor.poll().due == []


def test_fingerprints_remembered_by_a_run_are_not_computed_again(sensor, inbox, lake, folder):
    copy_all(folder)
    ingest(inbox, lake)
    memory = inbox.root / BOOK / ".fingerprints" / f"{BATCH}.json"
    forgotten = json.loads(memory.read_text())
    memory.unlink()
    assert sensor.waiting() == {BATCH: FIRST}
    inbox.remember(BOOK, BATCH, forgotten)
    assert sensor.poll() == Arrivals([], {}, {})


# -- random sequences of deliveries -----------------------------------------------------------------


TABLES = ("applications", "bureau", "outcomes")
SMALL = PORTFOLIO.model_copy(
    update={
        "name": "small",
        "tables": {name: TableConfig(files=[name], optional=name == "outcomes") for name in TABLES},
    }
)
GOOD, BAD = ("one", "two", "three"), "bad"
CONTENT = st.sampled_from([*GOOD, BAD])
PARTS = ("applications.csv", "bureau.csv")


class Deliveries(RuleBasedStateMachine):
    """One batch's folder that people change, a sensor that polls it, and the runs that it starts. The expectation is
    derived from the actions: `change` counts the states of the folder, `seen` is the state that the last poll saw.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.inbox, self.lake, self.con = Inbox(self.root / "inbox"), Lake(self.root / "lake"), duckdb.connect()
        self.folder = self.root / "inbox" / "small" / BATCH
        self.signatures: dict[str, str] = {}
        self.files: dict[str, str] = {}
        self.copying = False
        self.change, self.seen = 0, -1
        self.seen_files: set[str] = set()
        self.keys: dict[int, str] = {}
        # Each table's contents in the order in which they were ingested; the last is current.
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
        # File system timestamps have a resolution of milliseconds.
        os.utime(self.folder / name, ns=(0, self.change))

    # -- people

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
            self.poll()
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
            # Otherwise the folder could return to the state that the last poll saw.
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

    # -- the platform

    @rule()
    def look_twice(self) -> None:
        self.poll()
        self.poll()

    @rule()
    def poll(self) -> None:
        found = arrivals(SMALL, self.inbox, self.lake, self.signatures)
        self.signatures = json.loads(json.dumps(found.signatures))
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
        """Ingest one table after the other until the first bad one, and remember the files read."""
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


def test_any_sequence_of_deliveries_is_ingested_once_complete_and_only_once():
    few = settings(max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Deliveries, settings=few)


def test_outcomes_of_a_scored_batch_are_ingested_with_its_performance(sensor, inbox, lake, folder):
    copy_all(folder)
    ingest(inbox, lake)
    score(lake)
    (folder / "outcomes.csv").write_text("A\n1\n")
    found = sensor.poll_twice()
    assert (found.job, found.reason, found.tables) == ("outcomes", OutcomesDelivered(), ())
    assert not found.correction
    ingest(inbox, lake, "outcomes")
    copy_all(folder, "A\n2\n")
    assert (sensor.poll_twice().job, sensor.poll_twice().correction) == ("ingest", True)


# -- models and scores -----------------------------------------------------------------------------


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def put(lake: Lake, con: duckdb.DuckDBPyConnection, name: str, batch: str, query: str, **fields: Any) -> int:
    return lake.replace(con, query, f"{BOOK}/{name}", batch, Provenance(**fields))


def applicants(lake: Lake, con: duckdb.DuckDBPyConnection, batch: str, number: int, known: int = 0) -> None:
    """The batch's applications and features, with outcomes for the first `known` only."""
    place = int(batch[-2:]) * 1000
    rows = f"SELECT {place} + i AS SK_ID_CURR, CASE WHEN i < {known} THEN i % 2 END AS TARGET FROM range({number}) t(i)"
    made = put(lake, con, "applications", batch, rows, source_sha256={"applications.csv": f"{number}, {known}"})
    put(lake, con, "outcomes", batch, "SELECT 0 AS SK_ID_CURR, 0 AS TARGET WHERE false")
    put(lake, con, "features", batch, f"SELECT SK_ID_CURR FROM ({rows})", inputs={f"{BOOK}/applications": made})


def score_by(lake: Lake, con: duckdb.DuckDBPyConnection, batch: str, champion: int, *tables: str) -> None:
    """The batch's scores, drift and performance (or the named tables) by a champion, from the current tables."""
    made_from = {"scores": ["features"], "score_drift": ["scores"], "performance": ["scores", "outcomes"]}
    for name in tables or made_from:
        inputs = {f"{BOOK}/{source}": lake.batches(f"{BOOK}/{source}")[batch].version for source in made_from[name]}
        provenance = Provenance(inputs=inputs, model_version=champion)
        lake.replace(con, "SELECT 1 AS x", f"{BOOK}/{name}", batch, provenance)


def to_do(lake: Lake, champion: int = 1) -> list[tuple[str | None, Reason, tuple[str, ...]]]:
    return [(found.batch, found.reason, found.tables) for found in batches_to_score(PORTFOLIO, lake, champion)]


def test_first_training_is_due_when_outcomes_of_a_matured_batch_are_known(lake, con):
    assert first_training(PORTFOLIO, lake, has_champion=False) == []
    applicants(lake, con, BATCH, 10, known=4)
    assert first_training(PORTFOLIO, lake, has_champion=False) == [], "four of ten are too few"
    applicants(lake, con, BATCH, 10, known=5)
    assert [found.job for found in first_training(PORTFOLIO, lake, has_champion=False)] == ["train"]
    assert first_training(PORTFOLIO, lake, has_champion=True) == []


def test_training_key_changes_when_the_training_rows_would(lake, con):
    applicants(lake, con, BATCH, 10, known=5)
    keys = [training_key(PORTFOLIO, lake)]
    assert training_key(PORTFOLIO, lake) == keys[0]
    score_by(lake, con, BATCH, 1)
    assert training_key(PORTFOLIO, lake) == keys[0]
    put(lake, con, "outcomes", BATCH, "SELECT 1007 AS SK_ID_CURR, 1 AS TARGET")
    assert training_key(PORTFOLIO, lake) != keys[0]


def test_new_outcomes_are_those_not_in_the_training_set(lake, con):
    applicants(lake, con, BATCH, 10, known=6)
    assert new_outcomes(PORTFOLIO, lake, None) == 6
    inputs = {f"{BOOK}/{name}": lake.version(f"{BOOK}/{name}") for name in ("applications", "outcomes", "features")}
    trained = lake.replace(con, "SELECT 1 AS x", f"{BOOK}/training_set", None, Provenance(inputs=inputs))
    assert new_outcomes(PORTFOLIO, lake, trained) == 0
    # One outcome is new, and one has changed.
    put(lake, con, "outcomes", BATCH, "FROM (VALUES (1008, 1), (1000, 1)) t(SK_ID_CURR, TARGET)")
    assert new_outcomes(PORTFOLIO, lake, trained) == 2
    applicants(lake, con, "2026-02", 10, known=4)
    assert new_outcomes(PORTFOLIO, lake, trained) == 2, "the second batch is not matured"
    applicants(lake, con, "2026-02", 10, known=10)
    assert new_outcomes(PORTFOLIO, lake, trained) == 12


def test_outcomes_count_as_new_once_their_batch_has_features(lake, con):
    applicants(lake, con, BATCH, 10, known=6)
    rows = "SELECT 2000 + i AS SK_ID_CURR, i % 2 AS TARGET FROM range(10) t(i)"
    put(lake, con, "applications", "2026-02", rows)
    assert new_outcomes(PORTFOLIO, lake, None) == 6
    inputs = {f"{BOOK}/{name}": lake.version(f"{BOOK}/{name}") for name in ("applications", "outcomes", "features")}
    trained = lake.replace(con, "SELECT 1 AS x", f"{BOOK}/training_set", None, Provenance(inputs=inputs))
    put(lake, con, "features", "2026-02", f"SELECT SK_ID_CURR FROM ({rows})")
    assert new_outcomes(PORTFOLIO, lake, trained) == 10


def test_reinstated_champion_scores_an_open_batch_under_a_new_key(lake, con):
    applicants(lake, con, BATCH, 10)
    keys = []
    for champion, then in ((1, 2), (2, 1), (1, 2)):
        score_by(lake, con, BATCH, champion)
        keys += [found.key for found in batches_to_score(PORTFOLIO, lake, then)]
    assert len(set(keys)) == 3


def test_batch_is_scored_once_per_version_of_its_features(lake, con):
    applicants(lake, con, BATCH, 10)
    assert to_do(lake) == [(BATCH, NotScored(), ())]
    score_by(lake, con, BATCH, 1)
    assert to_do(lake) == []
    applicants(lake, con, "2026-02", 10)
    assert to_do(lake) == [("2026-02", NotScored(), ())]
    applicants(lake, con, BATCH, 10)
    assert (BATCH, FeaturesRemade(), ()) not in to_do(lake), "of the same files"
    applicants(lake, con, BATCH, 11)
    assert (BATCH, FeaturesRemade(), ()) in to_do(lake)


def remake(lake: Lake, con: duckdb.DuckDBPyConnection, batch: str, sql: str) -> None:
    """Rebuild features of the batch from its current applications with this version of the SQL."""
    applications = f"{BOOK}/applications"
    rows = f"SELECT SK_ID_CURR FROM ({lake.query(applications, [batch])})"
    inputs = {applications: lake.version(applications)}
    lake.replace(con, rows, f"{BOOK}/features", batch, Provenance(inputs=inputs, asset_code_version=sql))


def test_features_rebuilt_by_other_sql_are_not_scored_again(lake, con):
    applicants(lake, con, BATCH, 10)
    score_by(lake, con, BATCH, 1)
    remake(lake, con, BATCH, "new")
    assert to_do(lake) == []
    score_by(lake, con, BATCH, 1)
    applicants(lake, con, BATCH, 11)
    assert to_do(lake) == [(BATCH, FeaturesRemade(), ())]


def test_features_of_other_sql_are_due_from_the_training_window_on(lake, con):
    """The oldest batch has no outcomes, the next two are in the training window, and the newest has not matured."""
    query = FeatureQuery("features", "select SK_ID_CURR from applications", ("applications",), "", "SK_ID_CURR", {})
    queries = {"features": query}
    assert stale_features(PORTFOLIO, lake, queries) == []
    for batch, known in {"2026-01": 0, "2026-02": 10, "2026-03": 10, "2026-04": 0}.items():
        applicants(lake, con, batch, 10, known)
        remake(lake, con, batch, "old")
    due = stale_features(PORTFOLIO, lake, queries)
    assert [(found.job, found.batch, found.reason, found.tables) for found in due] == [
        ("ingest", batch, SqlChanged(("features.sql",)), ("features",)) for batch in ("2026-02", "2026-03", "2026-04")
    ]
    remake(lake, con, "2026-03", query.version)
    assert [found.batch for found in stale_features(PORTFOLIO, lake, queries)] == ["2026-02", "2026-04"]


def test_scores_without_drift_or_performance_are_completed(lake, con):
    applicants(lake, con, BATCH, 10)
    score_by(lake, con, BATCH, 1, "scores")
    assert to_do(lake) == [(BATCH, DriftNotChecked(), ("score_drift",))]
    score_by(lake, con, BATCH, 1, "score_drift")
    unmeasured = (BATCH, PerformanceNotMeasured(), ("performance",))
    assert to_do(lake) == [unmeasured]
    score_by(lake, con, BATCH, 1, "performance")
    assert to_do(lake) == []
    put(lake, con, "outcomes", BATCH, "SELECT 1001 AS SK_ID_CURR, 1 AS TARGET")
    assert to_do(lake) == [unmeasured]
    score_by(lake, con, BATCH, 1, "performance")
    score_by(lake, con, BATCH, 1, "scores", "score_drift")
    assert to_do(lake) == [unmeasured]


def test_new_champion_scores_the_newest_batch_again_while_it_is_open(lake, con):
    for batch in (BATCH, "2026-02"):
        applicants(lake, con, batch, 10)
        score_by(lake, con, batch, 1)
    assert to_do(lake, champion=2) == [("2026-02", OtherChampion(2), ())]
    applicants(lake, con, "2026-02", 10, known=1)
    score_by(lake, con, "2026-02", 1)
    assert to_do(lake, champion=2) == [], "of a batch with a known outcome the decisions stand"


@pytest.mark.parametrize("named", [True, False], ids=["the check is named", "scores of an earlier release"])
def test_batch_scored_by_another_version_than_checked_is_scored_again(lake, con, named):
    """Even if the outcomes are known: a promotion took place between the check and the scores."""
    applicants(lake, con, BATCH, 10, known=10)
    checked = put(lake, con, "feature_drift", BATCH, "SELECT 1 AS x", model_version=1)
    score_by(lake, con, BATCH, 1, "scores")
    features = lake.version(f"{BOOK}/features")
    inputs = {f"{BOOK}/features": features} | ({f"{BOOK}/feature_drift": checked} if named else {})
    put(lake, con, "scores", BATCH, "SELECT 1 AS x", inputs=inputs, model_version=2)
    score_by(lake, con, BATCH, 2, "score_drift", "performance")
    assert to_do(lake, champion=2) == [(BATCH, CheckedForAnother(2, 1), ())]
    # A later check of the features against another champion is no reason to score again.
    put(lake, con, "scores", BATCH, "SELECT 1 AS x", inputs=inputs, model_version=1)
    score_by(lake, con, BATCH, 1, "score_drift", "performance")
    put(lake, con, "feature_drift", BATCH, "SELECT 1 AS x", model_version=2)
    assert to_do(lake, champion=2) == []


def test_number_of_batches_that_a_new_champion_rescores_is_configurable(lake, con):
    for batch in (BATCH, "2026-02"):
        applicants(lake, con, batch, 10)
        score_by(lake, con, batch, 1)
    for number in range(4):
        automation = PORTFOLIO.automation.model_copy(update={"rescore_open_batches": number})
        book = PORTFOLIO.model_copy(update={"automation": automation})
        assert len(batches_to_score(book, lake, 2)) == min(number, 2)

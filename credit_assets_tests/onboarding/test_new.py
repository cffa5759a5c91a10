"""A first portfolio drafted from files: complete and loadable whatever they hold, and never overwriting anything."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit_assets.book.book import Book
from credit_assets.features.contract import feature_contracts
from credit_assets.onboarding.files import BookError
from credit_assets.onboarding.new import new, workspace_with
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.onboarding.drafts import config, marks
from credit_assets_tests.onboarding.lender import loans, write


def test_drafted_portfolio_loads_and_its_sql_binds(project, drafted):
    done = drafted()
    book = Book.load(project, "book")
    queries = book.queries
    assert list(queries["features"].descriptions) == ["amount", "rate", "purpose"]
    assert queries["features"].descriptions["amount"] == "Amount"
    contract = feature_contracts(queries, book.contracts, book.portfolio.entity_key)["features"]
    assert column_types(contract) == {"loan_id": "VARCHAR", "amount": "BIGINT", "rate": "DOUBLE", "purpose": "VARCHAR"}
    assert (book.portfolio.target.column, book.portfolio.target.bad, book.portfolio.target.good) == (
        "default",
        (1,),
        (0,),
    )
    assert done.features == 3
    assert done.files == (
        project.config("book"),
        project.config("book").with_suffix(".py"),
        project.sql("book") / "features.sql",
    )


def test_every_guess_is_marked_in_its_place(project, drafted):
    done = drafted(
        SEX=[1, 2] * 20,
        recoveries=[0, 1, 2, 3] * 10,
        int_rate=[3.5, 4.5] * 20,
        overdue=[0, 1, 2, 98, 98] * 8,
        application_date=["2020-01-31", "2020-02-01"] * 20,
        birth_date=["1970-01-31", "1980-02-01"] * 20,
    )
    lines = {path.name: path.read_text().splitlines() for path in done.files}
    for finding in done.to_confirm:
        assert "CONFIRM" in lines[Path(finding.file).name][finding.line - 1]
        assert not finding.error
    assert [mark.split(" is a guess")[0].split(": ", 1)[1] for mark in marks(done)] == [
        "entity_key: loan_id",
        "target: {column: default, bad: [1], good: [0]}",
        "delivery: {every: quarter, max_bad_share: 0.05}",
        "gender: {column: SEX}",
        "a guess: birth_date is age (inferred from the column name), but has no groups to audit; keep it out of "
        "features, or deliver it in groups",
        "recoveries: known only after the decision",
        "int_rate: the lender's own price or grade",
        "policy: {target_approval_rate: 0.8}",
        "int_rate, -- Interest rate",
        'a guess: 98 (16 rows) is taken for "not known"; all others lie from 0 to 2',
    ]
    [to_write] = done.to_write
    assert "the text of overdue is marked as a guess (say what 98 means)" in str(to_write)
    assert sum("CONFIRM:" in line for text in lines.values() for line in text) == len(done.to_confirm) + 1


def tree(project: Project) -> dict[str, str]:
    return {str(path.relative_to(project.root)): path.read_text() for path in project.root.rglob("*") if path.is_file()}


PLACES = ("configs/book.yaml", "configs/book.py", "sql/book/features.sql", "sql/book/other.sql")


@pytest.mark.parametrize("existing", [s for n in range(1, 5) for s in itertools.combinations(PLACES, n)])
def test_nothing_is_written_if_any_file_of_the_portfolio_exists(project, drafted, existing):
    for place in existing:
        (project.root / place).parent.mkdir(parents=True, exist_ok=True)
        (project.root / place).write_text("mine")
    before = tree(project)
    with pytest.raises(FileExistsError, match=r"already exists?, and no file is overwritten\."):
        drafted()
    assert tree(project) == before


@pytest.mark.parametrize("what", ["default", "sql", "workspace"])
def test_nothing_is_written_if_anything_cannot_be(project, drafted, what):
    if what == "sql":
        (project.root / "sql").write_text("a file in the way")
    elif what == "workspace":
        (project.root / "workspace.yaml").write_text("load_from: [{python_module: {module_name: x}}]\n")
    before = tree(project)
    with pytest.raises((BookError, OSError)):
        drafted(**({"default": None} if what == "default" else {}))
    assert tree(project) == before


@pytest.mark.parametrize("name", ["Book", "1st", "my-book", "", "../book", "book\n"])
def test_invalid_portfolio_name_is_refused(project, tmp_path, name):
    with pytest.raises(BookError, match="cannot be a portfolio's name"):
        new(project, name, [write(tmp_path / "loans.csv", loans())])


def test_portfolio_is_added_to_the_workspace_once_without_other_changes(project, drafted):
    before = (project.root / "workspace.yaml").read_text()
    drafted()
    after = (project.root / "workspace.yaml").read_text()
    assert after.startswith(before.rstrip("\n"))
    assert yaml.safe_load(after)["load_from"][-1]["python_module"]["attribute"] == "book"
    assert workspace_with(after, "book") == after


def test_entry_is_added_after_the_last_one():
    text = "# head\nload_from:\n- python_module: {module_name: a, attribute: x}\n\n# tail\nother: 1\n"
    assert workspace_with(text, "book") == (
        "# head\nload_from:\n- python_module: {module_name: a, attribute: x}\n"
        "- python_module:\n    module_name: credit_assets.locations\n    attribute: book\n"
        "    location_name: book\n    working_directory: .\n"
        "\n# tail\nother: 1\n"
    )


@pytest.mark.parametrize(
    "text", ["", "- a\n", "load_from: []\n", "load_from: [{python_module: {attribute: x}}]\n", "a: ["]
)
def test_workspace_of_another_layout_is_left_unchanged(text):
    with pytest.raises(BookError, match="by hand"):
        workspace_with(text, "book")


ODD = ["order", "select", "Group By", "1st", "naïve größe", "a'b", "收入", "x" * 70, "class", "import", "validate"]

LETTERS = st.characters(exclude_characters='"', exclude_categories=["Cs", "Cc", "Zl", "Zp"])

NAMES = st.one_of(st.sampled_from(ODD), st.text(LETTERS, min_size=1, max_size=9))

CELLS: tuple[st.SearchStrategy[Any], ...] = (
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6).map(lambda number: round(number, 3)),
    st.sampled_from(["a", "b b", "it's", "c,d", 'e"f', "ß"]),
    st.sampled_from([0, 1, 98, 99, 365243]),
    st.dates().map(str),
    st.sampled_from(["1%", "2.5%", "NA"]),
    st.sampled_from(
        ["1e25", "inf", "1e308", "(1,234.5)", "5-", "#DIV/0!", "007", "1.2k", "12345678901234567890", "-0.0"]
    ),
    st.sampled_from(["05/14/19", "14/05/2019", "9999-12-31", "0001-01-01", "0000-00-00", "Dec-2011", "201905"]),
    st.none(),
)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Any]]:
    rows = 2 * draw(st.integers(3, 9))
    names = draw(st.lists(NAMES, min_size=1, max_size=7, unique_by=lambda name: name.lower()))
    names = [name for name in names if name.strip() and name.lower() not in ("batch", "target", "amount")]
    table: dict[str, list[Any]] = {"target": [n % 2 for n in range(rows)], "amount": [n // 2 for n in range(rows)]}
    for name in names:
        cells = draw(st.sampled_from(CELLS))
        table[name] = draw(st.lists(st.one_of(cells, st.none()), min_size=rows, max_size=rows))
    return table


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables())
def test_draft_loads_and_binds_whatever_the_column_names_and_values(table):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "configs").mkdir()
        shutil.copy(PROJECT / "workspace.yaml", folder)
        project = Project(Path(folder))
        # The draft is checked while it is written; a failure is an error.
        done = new(project, "book", [write(Path(folder) / "loans.csv", table)], target="target")
        assert done.features >= 1
        book = Book.load(project, "book")
        assert set(table) <= set(book.contracts["applications"].to_schema().columns)


def test_infinite_and_unreadable_values_are_to_confirm_in_a_complete_draft(project, tmp_path):
    odd = {
        "ratio": [float("inf"), float("nan"), *[1.5 * n for n in range(38)]],
        "slip": [1e25, *[float(n) for n in range(39)]],
        "beyond": [1e308, -1e308, *[float(n) for n in range(38)]],
        "worth": [*[f"{n}.5" for n in range(30)], *[f"{n} CR" for n in range(10)]],
        "paid": [*[f"({n}.5)" for n in range(39)], "1.2k"],
    }
    pq.write_table(pa.table(loans() | odd), tmp_path / "loans.parquet")
    done = new(project, "book", [tmp_path / "loans.parquet"])
    assert done.book.remarks == ["loans.parquet: ratio is infinite in 1 row, which counts as not known"]
    assert "# loans.parquet: ratio is infinite in 1 row" in config(project)
    for column in ("slip", "beyond", "worth", "paid"):
        assert any(f" {column}" in mark for mark in marks(done)), column
    assert any("worth: 10 values of 40, first '0 CR', are not numbers" in mark for mark in marks(done))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["features", "word", "v", "_line", "application_features", "rows", "count", "_link", "_index"]
)
def test_column_may_have_a_name_that_the_draft_uses_itself(project, tmp_path, name):
    drawn = [f"{n * 7 % 11}.5" for n in range(40)]
    done = new(project, "book", [write(tmp_path / "loans.csv", {"": range(40), **loans(), name: drawn})])
    assert done.features == 4
    assert done.book.remarks == ["loans.csv: the first column, without a name, is taken for an index and left out."]

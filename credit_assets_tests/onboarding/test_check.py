"""All errors of a portfolio, each with its line: on a book of a few lines, with one error or many at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from credit_assets.onboarding.check import check
from credit_assets.onboarding.findings import Checked
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT

pytestmark = pytest.mark.slow

CONFIG = """\
name: small
title: A small book
owners: ["team:risk"]
contracts: small.py
entity_key: loan
target: {column: went, bad: [lost], good: [repaid]}
tables:
  applications: {files: [loans]}
protected:
  sex: {column: sex}
  age: {column: years, kind: years, bands: [30]}
post_decision:
  recovered: paid after the default
left_out:
  rate: our own price
training: {trials: 3, encodings: {place: target}}
fairness: {blocking: [sex]}
policy: {max_pd: 0.1}
"""
CONTRACTS = '''\
import pandera.pandas as pa

from credit_assets.schemas.table import Table


class Applications(Table):
    """A loan."""

    loan: int = pa.Field(unique=True, description="Number of the loan")
    amount: float = pa.Field(gt=0, description="Amount lent")
    rate: float = pa.Field(description="Interest")
    place: str = pa.Field(description="Where")
    sex: str = pa.Field(isin=["m", "f"], description="Sex")
    years: int = pa.Field(description="Age")
    recovered: float = pa.Field(nullable=True, description="Recovered")
    went: str | None = pa.Field(isin=["lost", "repaid", "open"], nullable=True, description="What became of it")


TABLES = {"applications": Applications}
'''
OF_AMOUNT = """\
-- What the amount tells.
select
    loan,
    amount, -- amount lent
    amount / nullif(rate, 0) as amount_to_rate -- amount compared with the rate
from applications
"""
FEATURES = """\
-- All features.
select
    amount_features.*,
    applications.place, -- where the applicant lives
    applications.rate -- interest asked for
from amount_features
join applications using (loan)
"""
WORKSPACE = """\
load_from:
  - python_module:
      module_name: credit_assets.locations
      attribute: small
      location_name: small
      working_directory: .
"""
FILES = {
    "configs/small.yaml": CONFIG,
    "configs/small.py": CONTRACTS,
    "sql/small/amount_features.sql": OF_AMOUNT,
    "sql/small/features.sql": FEATURES,
    "workspace.yaml": WORKSPACE,
}
YAML, PY, SQL, JOINED = list(FILES)[:4]
CheckAfter = Callable[..., Checked]


@pytest.fixture
def check_after(tmp_path: Path) -> CheckAfter:
    """The findings in the small book after replacements (file, old, new), each of which must match exactly once."""

    def over(*changes: tuple[str, str, str]) -> Checked:
        files = dict(FILES)
        for file, old, new in changes:
            assert files[file].count(old) == 1, (file, old)
            files[file] = files[file].replace(old, new)
        for file, text in files.items():
            if text:
                (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / file).write_text(text)
        return check(Project(tmp_path), "small")

    return over


def test_valid_portfolio_is_ready(check_after):
    assert check_after() == Checked((), 4)


@pytest.mark.parametrize("name", ["home_credit", "uci_credit_card", "lending_club"])
def test_portfolios_of_this_repository_are_ready(name):
    found = check(Project(PROJECT), name)
    assert found.findings == () and found.features >= 20


ONE_AT_A_TIME = [
    # configuration
    ((YAML, "title: A small book\n", "title: [A\n"), f"{YAML}:3: not valid YAML"),
    ((YAML, "title: A small book\n", "title: A\ntitle: B\n"), f"{YAML}:3: title is repeated here"),
    ((YAML, "title: A small book\n", ""), f"{YAML}:1: title: Field required."),
    ((YAML, "trials: 3", "trials: 0"), f"{YAML}:16: training.trials: Input should be greater than or equal to 1."),
    (
        (YAML, "{trials: 3,", "{model: forest, trials: 3,"),
        f"{YAML}:16: training.model: forest is not one of logistic_reg",
    ),
    ((YAML, "max_pd: 0.1", "max_pd: 7"), f"{YAML}:18: policy.max_pd: Input should be less than 1."),
    ((YAML, "policy: ", "surprise: 1\npolicy: "), f"{YAML}:18: surprise: Extra inputs are not permitted."),
    ((YAML, "name: small", "name: other"), f"{YAML}:1: name: is 'other', but the file is called small.yaml."),
    (
        (YAML, "entity_key: loan", "entity_key: number"),
        f"{YAML}:5: entity_key: table applications has no column number.",
    ),
    (
        (YAML, "{column: sex}", "{column: gender}"),
        f"{YAML}:10: protected.sex: table applications has no column gender.",
    ),
    (
        (YAML, "recovered: paid", "paid_back: paid"),
        f"{YAML}:13: post_decision.paid_back: no table has a column paid_back.",
    ),
    ((YAML, "rate: our", "price: our"), f"{YAML}:15: left_out.price: no table has a column price."),
    ((YAML, "blocking: [sex]", "blocking: [race]"), f"{YAML}:17: fairness.blocking: race is not under `protected`."),
    ((YAML, "[loans]}", "[loans], odd: 1}"), f"{YAML}:8: tables.applications.odd: Extra inputs are not permitted."),
    (
        (YAML, "applications: {", "loans: {"),
        f"{YAML}:7: tables: applications is not one of the tables loans, outcomes; application_table can name another",
    ),
    (
        (YAML, "  applications: {", "  loans: {files: [loans]}\n  applications: {"),
        f"{YAML}:7: tables: tables and contracts in small.py differ in loans.",
    ),
    ((YAML, "bands: [30]", "bands: []"), f"{YAML}:11: protected.age: bands (in years) are required for kind"),
    (
        (YAML, "bad: [lost]", "bad: [gone]"),
        f"{YAML}:6: target: 'gone' is not one of the values that the contract",
    ),
    ((YAML, "good: [repaid]", "good: [0]"), f"{YAML}:6: target: 0 is not of the type of went (VARCHAR)."),
    ((PY, "unique=True, ", ""), f"{YAML}:5: entity_key: loan is not unique in the contract Applications."),
    ((YAML, "place: target", "amount: target"), f"{YAML}:16: training.encodings: amount is a number already."),
    ((YAML, "small.py", "tiny.py"), f"{YAML}:4: contracts: tiny.py is not a module or file with TABLES"),
    (
        (YAML, "{max_pd: 0.1}", "{max_pd: 0.1}\nevaluation: {vintage: {opened: rate, defaulted: when}}"),
        f"{YAML}:19: evaluation.vintage: table applications has no column when.",
    ),
    (
        (YAML, "policy: ", "delivery: {split_by: nonsense}\npolicy: "),
        f"{YAML}:18: delivery.split_by: table applications has no column nonsense.",
    ),
    (
        (PY, "years: int", "years: str"),
        f"{YAML}:11: protected.age: kind years needs numbers, but years is VARCH",
    ),
    (
        (YAML, "[loans]}", '[loans], notes: ["Sum *", "*"]}'),
        f"{YAML}:8: tables.applications.notes: '*' matches every",
    ),
    (
        (YAML, "bad: [lost]", "bad: [yes]"),
        f"{YAML}:6: target.bad: YAML reads yes, no, true",
    ),
    # contracts
    ((PY, "unique=True, ", "unique=True "), f"{PY}:9: SyntaxError"),
    ((PY, "gt=0", "gt=ZERO"), f"{PY}:10: NameError: name 'ZERO' is not defined."),
    ((PY, "import pandera", "import panda"), f"{PY}:1: ModuleNotFoundError"),
    (
        (PY, "    rate: float", "    rate: complex"),
        f"{PY}:11: Applications.rate: the type complex128 has no counterpart",
    ),
    ((PY, "gt=0", "unique_values_eq=[1]"), f"{PY}:10: Applications.amount: check unique_values_eq"),
    (
        (PY, "    place: str", '    Batch: int = pa.Field(description="x")\n    place: str'),
        f"{PY}:12: Batch is reserved for",
    ),
    # features
    ((SQL, "amount, --", "amounts as amount, --"), f"{SQL}:4: table applications has no column amounts."),
    ((SQL, "nullif(rate, 0)", "nullif(rate 0)"), f"{SQL}:5: not valid SQL"),
    ((SQL, "nullif(rate, 0)", "nulif(rate, 0)"), f"{SQL}:5: Catalog Error: Scalar Function with name nulif"),
    ((SQL, " -- amount lent", ""), f"{SQL}:4: column amount has no description"),
    ((SQL, "-- What the amount tells.\n", ""), f"{SQL}:1: does not start with a comment"),
    ((SQL, "from applications", "from people"), f"{SQL}:6: unknown table people."),
    ((SQL, "amount / nullif(rate, 0)", "rate > 3"), f"{SQL}:5: column amount_to_rate is BOOLEAN; cast it"),
    *(
        ((SQL, "as amount_to_rate", f"as {name}"), f"{SQL}:5: column {name} has a name that is reserved")
        for name in ("Target", "fold", "pd", "PD", "outcome", "decision", "Points", "cut_off", "reason_1")
    ),
    (
        (JOINED, "applications.place,", "place as applicant,"),
        f"{JOINED}:4: column applicant has a name that is reserved",
    ),
    (
        (JOINED, "-- interest asked for", "-- amount lent"),
        f"{JOINED}:5: column rate has the same description as amount.",
    ),
    (
        (JOINED, "applications.rate --", "sex as rate --"),
        f"{JOINED}:5: feature rate is made from applications.sex, a prot",
    ),
    (
        (SQL, "amount / nullif(rate, 0)", "recovered"),
        f"{SQL}:5: feature amount_to_rate is made from applications.recovered",
    ),
    (
        (SQL, "amount, --", "(went = 'open')::int as amount, --"),
        f"{SQL}:4: feature amount is made from applications.went",
    ),
    (
        (
            JOINED,
            "    amount_features.*,",
            "    applications.place as town, -- town\n    amount_features.* exclude (loan),",
        ),
        f"{JOINED}:1: the first column is town. Begin with the entity key, loan.",
    ),
    (
        ("workspace.yaml", "attribute: small", "attribute: tiny"),
        "workspace.yaml:1: no entry has `attribute: small`.",
    ),
]


@pytest.mark.parametrize(("change", "said"), ONE_AT_A_TIME, ids=lambda value: value if isinstance(value, str) else "")
def test_error_is_reported_with_file_and_line(check_after, change, said):
    found = check_after(change)
    assert [str(finding)[: len(said)] for finding in found.findings] == [said]
    assert not found.ready


def test_configuration_without_one_of_its_lines_is_checked_to_the_end(check_after):
    """Invalid settings are removed until the rest can be read, which terminates whatever is wrong."""
    for line in CONFIG.splitlines(keepends=True):
        found = check_after((YAML, line, "")).findings
        assert len(found) == len(set(found)) < 30


@pytest.mark.parametrize(
    ("kind", "bad", "good", "said"),
    [
        ("pd.BooleanDtype", '["true"]', '["false"]', []),
        ("pd.BooleanDtype", "[1]", "[0]", []),
        ("pd.BooleanDtype", "[lost]", '["no"]', ["'lost' is not a value of went (BOOLEAN)"]),
        ("pd.Timestamp", "[lost]", '["2020-01-31"]', ["'lost' is not a value of went (TIMESTAMP)"]),
        ("pd.Timestamp", "[1]", '["2020-01-31"]', ["1 is not a value of went (TIMESTAMP)"]),
        ("float", "[lost]", "[0]", ["'lost' is not of the type of went (DOUBLE)"]),
    ],
)
def test_target_values_that_the_column_cannot_hold_are_reported(check_after, kind, bad, good, said):
    found = check_after(
        (PY, 'went: str | None = pa.Field(isin=["lost", "repaid", "open"], ', f"went: {kind} = pa.Field("),
        (PY, "import pandera.pandas as pa", "import pandas as pd\nimport pandera.pandas as pa"),
        (YAML, "bad: [lost], good: [repaid]", f"bad: {bad}, good: {good}"),
    )
    told = [str(finding).removeprefix(f"{YAML}:6: target: ") for finding in found.findings]
    assert len(told) == len(said) and all(map(str.startswith, told, said)), told


def test_errors_in_all_files_are_reported_at_once(check_after):
    found = check_after(
        (YAML, "title: A small book\n", "title: A\nsurprise: 1\n"),
        (YAML, "trials: 3", "trials: 0"),
        (YAML, "recovered: paid", "paid_back: paid"),
        (YAML, "{column: sex}", "{column: gender}"),
        (SQL, " -- amount lent", ""),
        (SQL, "nullif(rate, 0)", "nullif(rates, amounts)"),
        ("workspace.yaml", "attribute: small", "attribute: tiny"),
    )
    assert [(finding.file, finding.line) for finding in found.findings] == [
        (YAML, 3),
        (YAML, 11),
        (YAML, 14),
        (YAML, 17),
        (SQL, 4),
        (SQL, 5),
        (SQL, 5),
        ("workspace.yaml", 1),
    ]


def test_sql_is_checked_although_the_configuration_is_invalid(check_after):
    found = check_after((YAML, "max_pd: 0.1", ""), (JOINED, "applications.place,", "applications.places as place,"))
    assert [str(finding).split(": ")[0] for finding in found.findings] == [f"{YAML}:18", f"{JOINED}:4"]


@pytest.mark.parametrize(
    ("gone", "said"), [(JOINED, "sql/small/features.sql:1: "), (YAML, "configs/small.yaml:1: the file does not")]
)
def test_missing_file_is_reported(check_after, gone, said):
    found = check_after((gone, FILES[gone], ""))
    assert str(found.findings[0]).startswith(said)
    assert not found.ready


def test_feature_that_fails_on_a_valid_row_is_reported_with_the_row(check_after):
    [found] = check_after((SQL, "amount / nullif(rate, 0) as", "amount / rate as")).findings
    assert str(found) == (
        f"{SQL}:5: feature amount_to_rate is inf, for a row that the contracts allow: applications.rate = 0.0, "
        "applications.amount = 0.5. Guard the expression (nullif for a divisor, a wider type), or narrow the "
        "column's contract."
    )
    [found] = check_after((SQL, "amount / nullif(rate, 0) as", "(1000 * amount)::integer as")).findings
    assert str(found).startswith(f"{SQL}:5: feature amount_to_rate ")
    assert "can't be cast" in found.message and "applications.amount = " in found.message
    [found] = check_after(
        (JOINED, "join applications using (loan)", "join applications using (loan) where length(place) > 2")
    ).findings
    assert str(found).startswith(f"{JOINED}:1: loses ") and "left join" in found.message


def test_unconfirmed_guesses_are_reported_and_do_not_fail(check_after):
    found = check_after(
        (YAML, "entity_key: loan", "entity_key: loan # CONFIRM: unique"),
        (SQL, "    amount, --", "    -- CONFIRM: 98 is a word for none\n    amount, --"),
    )
    assert [str(finding) for finding in found.findings] == [
        f"{YAML}:5: entity_key: loan is a guess (unique)",
        f"{SQL}:4: a guess: 98 is a word for none",
    ]
    assert found.ready and found.features == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            (SQL, "-- amount lent", "-- Amount (amount)"),
            f"{SQL}:4: the text of amount contains the column name amount. Write what a declined applicant can read.",
        ),
        (
            (SQL, "amount, -- amount lent", "amount as amount_lent, -- the amount_lent"),
            f"{SQL}:4: the text of amount_lent contains the column name amount_lent. "
            "Write what a declined applicant can read.",
        ),
        (
            (SQL, "-- amount lent", "-- amount lent; if missing: amount (amount) not known"),
            f"{SQL}:4: the text of amount contains the column name amount. Write what a declined applicant can read.",
        ),
        (
            (JOINED, "-- where the applicant lives", "-- where the applicant lives -- CONFIRM: by its name"),
            f"{JOINED}:4: the text of place is marked as a guess (by its name). "
            "Write what a declined applicant can read, then delete its mark.",
        ),
        (
            (SQL, "-- What the amount tells.", "-- What the amount tells.\n-- if no row: none -- CONFIRM: unsure"),
            f"{SQL}:2: the message of amount_features for an applicant without a row is marked as a guess (unsure). "
            "Write what a declined applicant can read, then delete its mark.",
        ),
    ],
)
def test_draft_text_for_declined_applicants_fails_the_check(check_after, change, said):
    found = check_after(change)
    assert [str(finding) for finding in found.findings] == [said]
    assert not found.ready and found.errors == [] == found.guesses and not found.withheld
    assert check_after(change, (YAML, "policy:", "reasons: {unconfirmed: block}\npolicy:")).withheld


def test_draft_text_of_a_feature_outside_the_models_does_not_fail(check_after):
    assert check_after((JOINED, "-- interest asked for", "-- Rate (rate)")).ready


def test_message_equal_to_another_s_description_is_refused(check_after):
    [found] = check_after((JOINED, "-- where the applicant lives", "-- place; if missing: amount lent")).findings
    assert "the message for a missing place is the description of amount" in str(found)


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        (
            "amount lent; missing: none",
            "the comment of column amount: `missing:` is not a clause; write `if missing:`.",
        ),
        ("amount lent; family:", "the comment of column amount: `family:` is empty."),
    ],
)
def test_invalid_clause_is_reported_with_other_errors(check_after, comment, said):
    found = check_after(
        (SQL, "-- amount lent", f"-- {comment}"), (JOINED, "applications.place,", "applications.places as place,")
    )
    assert [str(finding).split(": ", 1)[1] for finding in found.findings] == [
        said,
        "table applications has no column places.",
    ]


def test_check_does_not_import_dagster():
    asked = (
        "import sys; from pathlib import Path; from credit_assets.onboarding.check import check; "
        "from credit_assets.settings.project import Project; "
        f"assert check(Project(Path({str(PROJECT)!r})), 'uci_credit_card').ready; "
        "print([name for name in sys.modules if name.startswith('dagster')])"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

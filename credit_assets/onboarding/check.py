"""`credit-assets check`: all that is wrong with a portfolio, by file and line, before anything of it runs.

The rules are those of the rooms that will read it; here they are asked for every fault, not only the first.
"""

from __future__ import annotations

import copy
import inspect
import re
import shutil
import tempfile
import traceback
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import yaml
from pydantic import ValidationError

from credit_assets.book.book import Book
from credit_assets.book.contracts import NoContracts, load_contracts, mismatches
from credit_assets.book.lineage import Lineage, lineage, raw_lineage
from credit_assets.book.queries import MARK, NO_ROW, FeatureCommentError, FeatureQuery, FeatureQueryError, load
from credit_assets.explanations.texts import Draft, reason_texts
from credit_assets.features.contract import FeatureError, check_encodings, feature_contracts, training_set_contract
from credit_assets.features.guard import LeakageError, check_inputs, made_from
from credit_assets.features.target import outcome_sql
from credit_assets.features.totality import failures
from credit_assets.lake.connections import connect
from credit_assets.lake.contracts import identifier, keys, rules
from credit_assets.lake.provenance import BATCH
from credit_assets.lake.tables import sql_text
from credit_assets.models.model import UnknownKind, estimator
from credit_assets.schemas.duckdb_types import NUMBERS, column_types
from credit_assets.schemas.table import Table
from credit_assets.settings.portfolio import Portfolio, line_of, mistake
from credit_assets.settings.project import Project

# What stands in for a required setting that is wrong, so that the rest can be looked at.
STAND_INS: dict[str, Any] = {"title": "-", "owners": ["team:-"], "policy": {"max_pd": 0.1}}


NARROWING_S = 5.0
"""How long the rows are narrowed down on which features fail."""

TO_MEND = "Guard the expression (nullif for a divisor, a wider type), or narrow the column's contract"


@dataclass(frozen=True)
class Finding:
    """What is wrong on a line, or (`error` is False) what a person has yet to confirm: a guess or, where `draft`, a
    text that a declined applicant would be given as a reason. Reads `file:line: words`."""

    file: str
    line: int
    words: str
    error: bool = True
    draft: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.words}"


@dataclass(frozen=True)
class Checked:
    """All findings, errors first, then draft texts, and the number of features that the portfolio has (0 where it is
    not known). `withheld`: no scores are given while texts are drafts."""

    findings: tuple[Finding, ...]
    features: int
    withheld: bool = False

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.error]

    @property
    def drafts(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.draft]

    @property
    def guesses(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.error and not finding.draft]

    @property
    def ready(self) -> bool:
        """Whether nothing is wrong and no draft text can reach an applicant."""
        return not self.errors and not self.drafts


def check(project: Project, name: str) -> Checked:
    """Everything that can be found wrong with the portfolio without data, and every guess not confirmed."""
    looked = _Look(project, name)
    features = looked.at_everything()
    found = sorted(set(looked.findings), key=lambda f: (not f.error, not f.draft, f.file, f.line, f.words))
    return Checked(tuple(found), features, looked.withheld)


class _Look:
    def __init__(self, project: Project, name: str) -> None:
        self.project, self.name = project, name
        self.config, self.sql = project.config(name), project.sql(name)
        self.findings: list[Finding] = []
        self.root: yaml.Node | None = None
        self.withheld = False

    def add(self, file: Path, line: int, words: str) -> None:
        self.findings.append(Finding(str(file.relative_to(self.project.root)), line, _sentence(words)))

    def at_everything(self) -> int:
        """The number of features."""
        if not self.config.is_file():
            others = ", ".join(sorted(path.stem for path in self.config.parent.glob("*.yaml"))) or "none"
            self.add(self.config, 1, f"does not exist. Known portfolios: {others}")
            return 0
        self.at_marks()
        self.at_workspace()
        book = self.at_configuration()
        if book is None:
            return 0
        portfolio = book.portfolio
        schemas = self.at_contracts(book)
        self.at_target(book, schemas)
        self.at_columns(portfolio, schemas.get(portfolio.application_table, {}))
        if vintage := portfolio.evaluation.vintage:
            for setting, column in vintage:
                if column not in schemas.get(portfolio.application_table, {column}):
                    words = f"evaluation.vintage: table {portfolio.application_table} has no column {column}"
                    self.add(self.config, line_of(self.root, ["evaluation", "vintage", setting]), words)
        return self.at_features(book, schemas) if schemas else 0

    def at_marks(self) -> None:
        files = [self.config, self.config.with_suffix(".py"), *sorted(self.sql.glob("*.sql"))]
        for file in (file for file in files if file.is_file()):
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
                if found := re.match(rf"(.*?)(?:#|--) *{MARK}: *(.*)", line):
                    guess = found[1].strip()
                    words = f"{guess} is a guess ({found[2]})" if guess else f"a guess: {found[2]}"
                    self.findings.append(Finding(str(file.relative_to(self.project.root)), number, words, error=False))

    def at_workspace(self) -> None:
        file = self.project.root / "workspace.yaml"
        try:
            said = yaml.safe_load(file.read_text(encoding="utf-8"))
            locations = [place for item in said["load_from"] for place in item.values()]
            listed = any(place.get("attribute") == self.name for place in locations)
        except (OSError, yaml.YAMLError, TypeError, KeyError, AttributeError):
            listed = False
        if not listed:
            self.add(
                file, 1, f"has no entry with `attribute: {self.name}`. Add one like the others, or the UI lacks it"
            )

    # -- configuration -----------------------------------------------------------------------------------

    def at_configuration(self) -> Book | None:
        """The book, what was wrong with it mended as far as the rest can be looked at; None where it cannot."""
        text = self.config.read_text(encoding="utf-8")
        try:
            self.root = yaml.compose(text)
            given = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            what = getattr(error, "problem", None) or str(error)
            self.add(self.config, mark.line + 1 if mark else 1, f"not valid YAML: {what}")
            return None
        for line, key in _twice(self.root):
            self.add(self.config, line, f"{key} stands here a second time, and the first is not read. Keep one")
        while True:
            try:
                portfolio = Portfolio.model_validate(given)
            except ValidationError as error:
                if not self.told(error, given):
                    return None
                continue
            if (contracts := self.loaded_contracts(portfolio)) is None:
                return None
            wrong, before = list(mismatches(portfolio, contracts)), copy.deepcopy(given)
            for mismatch in wrong:
                self.add(self.config, line_of(self.root, mismatch.keys), str(mismatch))
            taken_out = [_taken_out(given, list(mismatch.keys)) for mismatch in wrong]
            if not wrong:
                break
            if not all(taken_out) or given == before:
                return None
        if portfolio.name != self.name:
            self.add(
                self.config,
                line_of(self.root, ["name"]),
                f"name: is {portfolio.name!r}; the file is {self.name}.yaml",
            )
        return Book(self.project, portfolio, contracts)

    def loaded_contracts(self, portfolio: Portfolio) -> dict[str, type[Table]] | None:
        """The contracts that the configuration names; None, with a finding, where they cannot be loaded."""
        try:
            return load_contracts(portfolio, self.config.parent)
        except NoContracts as error:
            self.add(self.config, line_of(self.root, ["contracts"]), str(error))
            return None
        except Exception as error:  # a file of contracts may raise whatever it likes
            self.at_code(error)
            return None

    def told(self, error: ValidationError, given: Any) -> bool:
        """Tell what is wrong, and take it out of `given`; whether the rest can be looked at then."""
        able, before = True, copy.deepcopy(given)
        for each in error.errors():
            keys, message = mistake(each)
            where = f"{'.'.join(map(str, keys))}: " if keys else ""
            self.add(self.config, line_of(self.root, keys), f"{where}{message}")
            able = _taken_out(given, keys) and able
        # A default can be wrong too, and cannot be taken out.
        return able and given != before

    def at_code(self, error: Exception) -> None:
        """Tell an error of the contracts at the line of theirs that led to it."""
        steps = traceback.extract_tb(error.__traceback__)
        lines = [(Path(step.filename), step.lineno or 1) for step in steps]
        if isinstance(error, SyntaxError) and error.filename:
            lines.append((Path(error.filename), error.lineno or 1))
        own = [(file, line) for file, line in lines if file == self.config.with_suffix(".py")]
        self.add(*(own or [(self.config, line_of(self.root, ["contracts"]))])[-1], f"{type(error).__name__}: {error}")

    # -- contracts and target ----------------------------------------------------------------------------

    def at_contracts(self, book: Book) -> dict[str, dict[str, str]]:
        """The columns and types of each raw table; nothing where one of them cannot be told."""
        schemas, portfolio = {}, book.portfolio
        for table, model in book.contracts.items():
            try:
                schemas[table] = column_types(model)
                rules(model)
            except TypeError as error:
                self.add(*self.defined(model, str(error)), str(error))
            if taken := [column for column in model.to_schema().columns if column.lower() == BATCH]:
                words = f"{taken[0]} is the platform's own name for a delivery. Rename the column"
                self.add(*self.defined(model, taken[0]), words)
        applications = book.contracts[portfolio.application_table]
        if (portfolio.entity_key,) not in keys(applications):
            words = (
                f"entity_key: {portfolio.entity_key} is not unique in the contract {applications.__name__}. Mark it so"
            )
            self.add(self.config, line_of(self.root, ["entity_key"]), words)
        return schemas if len(schemas) == len(book.contracts) else {}

    def defined(self, model: type[Table], said: str) -> tuple[Path, int]:
        """Where a contract is written: the line of a column that is named in the words, or of its class."""
        source = inspect.getsourcefile(model)
        file = Path(source) if source else self.config
        if self.project.root not in file.parents:
            return self.config, line_of(self.root, ["contracts"])
        lines = file.read_text(encoding="utf-8").splitlines()
        start = next((n for n, line in enumerate(lines) if line.startswith(f"class {model.__name__}(")), 0)
        for column in model.to_schema().columns:
            if column in said:
                for number, line in enumerate(lines[start:], start=start + 1):
                    if re.match(rf"\s+{re.escape(column)}\s*:|.*alias=.{re.escape(column)}[\"']", line):
                        return file, number
        return file, start + 1

    def at_columns(self, portfolio: Portfolio, columns: Mapping[str, str]) -> None:
        """Settings that name a column of the applications, and patterns that every line of a file would match."""
        split_by = portfolio.delivery.split_by
        if columns and split_by is not None and split_by not in columns:
            words = f"delivery.split_by: table {portfolio.application_table} has no column {split_by}"
            self.add(self.config, line_of(self.root, ["delivery", "split_by"]), words)
        for attribute, protected in portfolio.protected.items():
            kind = columns.get(protected.column)
            if kind is not None and protected.kind != "words" and kind not in NUMBERS:
                words = (
                    f"protected.{attribute}: kind {protected.kind} counts numbers, and {protected.column} is {kind}. "
                    "Type it as a number in the contract, or audit its words"
                )
                self.add(self.config, line_of(self.root, ["protected", attribute]), words)
        for table, settings in portfolio.tables.items():
            for n, pattern in enumerate(settings.notes):
                if not pattern.strip("*? "):
                    words = f"tables.{table}.notes: {pattern!r} takes any line for no row. Say how such a line begins"
                    self.add(self.config, line_of(self.root, ["tables", table, "notes", n]), words)

    def at_target(self, book: Book, schemas: Mapping[str, Mapping[str, str]]) -> None:
        target, table = book.portfolio.target, book.portfolio.application_table
        kind = schemas.get(table, {}).get(target.column)
        if kind is None:
            return
        checks = book.contracts[table].to_schema().columns[target.column].checks
        known = next((list(check.statistics["allowed_values"]) for check in checks if check.name == "isin"), None)
        line = line_of(self.root, ["target"])
        wrong = []
        with connect() as con:
            con.execute(f"CREATE TABLE applications ({identifier(target.column)} {kind})")
            for word in (*target.bad, *target.good):
                told = word if isinstance(word, int) else sql_text(word)
                if (kind == "VARCHAR" and isinstance(word, int)) or (kind in NUMBERS and isinstance(word, str)):
                    wrong.append(
                        f"{word!r} is not of the type of {target.column} ({kind}). Quote words, and numbers not"
                    )
                elif con.execute(f"SELECT try_cast({told} AS {kind}) IS NULL").fetchone() == (True,):
                    wrong.append(f"{word!r} is no value of {target.column} ({kind})")
                elif known is not None and word not in known:
                    wrong.append(f"{word!r} is none of the words that the contract allows in {target.column}")
            try:
                con.execute(f"SELECT {outcome_sql(target)} FROM applications")
            except duckdb.Error as error:
                wrong = wrong or [str(error).splitlines()[0]]
        for words in wrong:
            self.add(self.config, line, f"target: {words}")

    # -- features ----------------------------------------------------------------------------------------

    def at_features(self, book: Book, schemas: Mapping[str, Mapping[str, str]]) -> int:
        """The number of features."""
        portfolio = book.portfolio
        queries = self.bound(book, self.parsed(schemas))
        if "features" not in queries:
            return 0
        query = queries["features"]
        try:
            direct = lineage(queries, schemas)
            roots = raw_lineage(direct)["features"]
        except FeatureQueryError as error:
            self.add(self.sql / error.file, error.line or 1, error.reason)
            return 0
        left_out = made_from({feature: roots[feature] for feature in query.words}, portfolio.left_out)
        learned = [feature for feature in query.words if feature not in left_out]
        for feature, reason in self.refused(portfolio, learned, roots):
            self.add(*self.written(queries, feature), f"feature {feature} {reason}. Take it out")
        model = feature_contracts(queries, book.contracts, portfolio.entity_key)["features"]
        try:
            training_set_contract(query, model, portfolio.entity_key, left_out)
        except FeatureError as error:
            self.add(self.config, line_of(self.root, ["left_out"]), str(error))
        values = raw_lineage(lineage(queries, schemas, of_rows=False))["features"]
        texts = reason_texts(queries, values, roots)
        for name, why in texts.drafts_of(learned).items():
            self.draft(queries, name, why)
        self.withheld = portfolio.reasons.unconfirmed == "block"
        try:
            estimator(portfolio.training.model)
        except UnknownKind as error:
            self.add(self.config, line_of(self.root, ["training", "model"]), str(error))
        for feature in portfolio.training.encodings:
            try:
                check_encodings(model, [feature])
            except FeatureError as error:
                self.add(self.config, line_of(self.root, ["training", "encodings", feature]), str(error))
        if not any(finding.error for finding in self.findings):
            self.at_edges(book, queries, direct)
        return len(query.words)

    def at_edges(self, book: Book, queries: Mapping[str, FeatureQuery], direct: Lineage) -> None:
        """Features that fail, or are no number, for rows that the contracts allow."""
        table, key = book.portfolio.application_table, book.portfolio.entity_key
        for failure in failures(queries, book.contracts, table, key, direct, NARROWING_S):
            if failure.feature is None:
                self.add(self.sql / f"{failure.query}.sql", 1, f"{failure.reason}{_for_row(failure.values)}")
            else:
                words = f"feature {failure.feature} {failure.reason}{_for_row(failure.values)}. {TO_MEND}"
                self.add(*self.written({failure.query: queries[failure.query]}, failure.feature), words)

    def parsed(self, tables: Collection[str]) -> dict[str, FeatureQuery]:
        """The SQL files that can be read. A column's comment that cannot be used is reported and replaced; a file with
        another fault is reported and set aside with those that read it."""
        if not (self.sql / "features.sql").is_file():
            self.add(self.sql / "features.sql", 1, "does not exist. Write the features there, in one SELECT")
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for file in self.sql.glob("*.sql"):
                shutil.copy(file, folder)
            mended: set[tuple[str, int]] = set()
            while any(folder.glob("*.sql")):
                try:
                    return load(folder, tables)
                except FeatureQueryError as error:
                    copy, line = folder / error.file, error.line or 1
                    self.add(self.sql / copy.name, line, error.reason)
                    if isinstance(error, FeatureCommentError) and (copy.name, line) not in mended:
                        mended.add((copy.name, line))
                        lines = copy.read_text(encoding="utf-8").splitlines()
                        lines[line - 1] = re.sub(r"\s*--.*$", "", lines[line - 1]) + f" -- {copy.name} {line}"
                        copy.write_text("\n".join(lines), encoding="utf-8")
                    else:
                        _set_aside(folder, copy.stem)
        return {}

    def bound(self, book: Book, queries: Mapping[str, FeatureQuery]) -> dict[str, FeatureQuery]:
        """The queries that DuckDB can bind to the raw tables, each after those it reads."""
        good: dict[str, FeatureQuery] = {}
        for name, query in queries.items():
            if any(table in queries and table not in good for table in query.inputs):
                continue
            if query.key != book.portfolio.entity_key:
                words = f"the first column is {query.key}. Begin with the entity key, {book.portfolio.entity_key}"
                self.add(self.sql / f"{name}.sql", 1, words)
                continue
            unknown = list(_unknown_columns(query, book, good))
            for line, words in unknown:
                self.add(self.sql / f"{name}.sql", line, words)
            if unknown:
                continue
            try:
                feature_contracts(_needed({**good, name: query}, name), book.contracts, book.portfolio.entity_key)
                good[name] = query
            except FeatureError as error:
                if error.column in query.words:
                    self.add(*self.written({name: query}, error.column), error.reason)
                else:
                    # DuckDB shows the line below its message.
                    self.add(self.sql / f"{name}.sql", error.line or 1, error.reason.split("\n\n")[0])
        return good

    def refused(
        self, portfolio: Portfolio, features: list[str], roots: Mapping[str, Collection[tuple[str, str]]]
    ) -> Iterator[tuple[str, str]]:
        """The features that the guard before training will refuse for what they are made of."""
        nothing = pd.DataFrame(0.0, index=range(8), columns=[*features, "target"]).assign(target=np.arange(8) % 2)
        try:
            check_inputs(
                nothing,
                target="target",
                features=features,
                roots={feature: [f"{table}.{column}" for table, column in roots[feature]] for feature in features},
                target_columns=[portfolio.target.column],
                protected=portfolio.protected_columns,
                post_decision=portfolio.post_decision,
                max_single_auc=1,
            )
        except LeakageError as error:
            for finding in error.findings:
                yield finding.feature, finding.reason

    def draft(self, queries: Mapping[str, FeatureQuery], name: str, why: Draft) -> None:
        """Report the text of a feature as a draft, or of a file for applicants without a row in it; a mark on its line
        is not counted as a guess as well."""
        lines = (self.sql / f"{name}.sql").read_text(encoding="utf-8").splitlines() if name in queries else []
        line = next((n for n, text in enumerate(lines, start=1) if NO_ROW in text.lower()), 0)
        # A feature may have the name of a file.
        if line:
            file, of = self.sql / f"{name}.sql", f"the message of {name} for an applicant without a row"
        else:
            (file, line), of = self.written(queries, name), f"the text of {name}"
        place = str(file.relative_to(self.project.root))
        self.findings = [f for f in self.findings if f.error or (f.file, f.line) != (place, line)]
        mend = ", then delete its mark" if why.guess else ""
        words = f"{of} {why}. Write what a declined applicant can read{mend}"
        self.findings.append(Finding(place, line, _sentence(words), error=False, draft=True))

    def written(self, queries: Mapping[str, FeatureQuery], feature: str) -> tuple[Path, int]:
        """Where a feature is written."""
        name = next(name for name, query in queries.items() if feature in query.lines)
        return self.sql / f"{name}.sql", queries[name].lines[feature]


def _for_row(values: str) -> str:
    return f", for a row that the contracts allow: {values}" if values else ""


def _sentence(words: str) -> str:
    said = " ".join(words.split()).rstrip()
    return said if said.endswith((".", "?", "!")) else f"{said}."


def _twice(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Lines where a mapping has a key again, of which YAML reads the last alone."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.start_mark.line + 1, str(key.value)
            seen.add(key.value)
            yield from _twice(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _twice(item)


def _taken_out(given: Any, path: list[str | int]) -> bool:
    """Take a setting that is wrong out, or put a stand-in there; False where nothing can be looked at without it."""
    if not isinstance(given, dict) or not path:
        return False
    section = str(path[0])
    if section in STAND_INS:
        given[section] = STAND_INS[section]
        return True
    field = Portfolio.model_fields.get(section)
    if field is not None and field.is_required():
        return False
    if section == "protected":
        # Their names would be missing there.
        given.pop("fairness", None)
    inside = given.get(section)
    if section in ("protected", "post_decision", "left_out") and isinstance(inside, dict) and len(path) > 1:
        inside.pop(path[1], None)
    else:
        given.pop(section, None)
    return True


def _set_aside(folder: Path, name: str) -> None:
    """Remove a SQL file, and those that read it."""
    (folder / f"{name}.sql").unlink(missing_ok=True)
    for file in sorted(folder.glob("*.sql")):
        if re.search(rf"\b{re.escape(name)}\b", file.read_text(encoding="utf-8")) and file.exists():
            _set_aside(folder, file.stem)


def _needed(queries: Mapping[str, FeatureQuery], name: str) -> dict[str, FeatureQuery]:
    """The query and those that it reads, in order."""
    wanted, left = {name}, [name]
    while left:
        left = [table for query in left for table in queries[query].inputs if table in queries and table not in wanted]
        wanted |= set(left)
    return {other: query for other, query in queries.items() if other in wanted}


def _unknown_columns(query: FeatureQuery, book: Book, others: Mapping[str, FeatureQuery]) -> Iterator[tuple[int, str]]:
    """The columns that a table does not have: all of them, where DuckDB tells the first. Of those named without
    their table only where one table is read."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    for scope in traverse_scope(sqlglot.parse_one(query.sql, dialect="duckdb")):
        tables = {name: table.name for name, table in scope.sources.items() if isinstance(table, exp.Table)}
        read = list(scope.selected_sources)
        alone = read[0] if len(read) == 1 and not scope.is_correlated_subquery else ""
        for column in scope.columns:
            table = tables.get(column.table or alone)
            if table is None or (not column.table and column.name in _aliases(scope.expression)):
                continue
            known = others[table].columns if table in others else book.contracts[table].to_schema().columns
            if column.name.lower() not in {str(name).lower() for name in known}:
                yield int(column.this.meta.get("line", 1)), f"table {table} has no column {column.name}"


def _aliases(select: Any) -> set[str]:
    """Names that a SELECT gives, and may use itself."""
    return {projection.alias for projection in select.expressions if projection.alias}

"""A portfolio's feature SQL as data: the tables that each file reads, and the descriptions of its columns.

`lineage.py` traces the columns. Nothing is run here; DuckDB runs the SQL elsewhere.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope
from sqlglot.tokens import Token  # type: ignore[attr-defined]

DIALECT = "duckdb"

# Functions whose result is random or depends on the current time.
NON_DETERMINISTIC = {
    *("random", "uuid", "uuidv4", "uuidv7", "gen_random_uuid", "nextval", "currval"),
    *("now", "today", "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"),
    *("current_localtime", "current_localtimestamp", "get_current_time", "get_current_timestamp"),
    *("transaction_timestamp", "txid_current"),
}

MARK = "CONFIRM"
"""Marks a guess that a person must confirm: `CONFIRM: why`. At the end of a feature's line, it marks the line's
texts."""

MARK_PATTERN = rf"(?:--|#|;)?\s*\b{MARK}\s*:"

CLAUSES = ("if missing", "family")
NO_ROW = "if no row:"


class FeatureQueryError(ValueError):
    """A SQL file is not a valid feature query; has the file name, the line if known, and the reason."""

    def __init__(self, reason: str, file: str, line: int | None = None) -> None:
        super().__init__(f"{file}, line {line}: {reason}" if line else f"{file}: {reason}")
        self.reason, self.file, self.line = reason, file, line


class FeatureCommentError(FeatureQueryError):
    """The comment of a column is missing or cannot be used; the SQL itself is valid."""


@dataclass(frozen=True)
class FeatureComment:
    """The parts of the comment after a feature: `description; if missing: message; family: name`.

    `guess` is the reason of a `CONFIRM` mark. A part that is not written is empty.
    """

    description: str
    missing: str = ""
    family: str = ""
    guess: str = ""

    @classmethod
    def parse(cls, text: str) -> FeatureComment:
        """Raises ValueError for a clause that is empty, written twice or nearly one of `CLAUSES`."""
        guess = cls.parse_mark(text)
        text = re.split(MARK_PATTERN, text, maxsplit=1)[0].strip()
        found: dict[str, str] = {}
        heads = []
        for head in re.finditer(r"(?:^|;)\s*(\w[\w ]*?)\s*:", text):
            name = " ".join(head[1].lower().split())
            if name in CLAUSES:
                heads.append((name, head))
            elif meant := difflib.get_close_matches(name, CLAUSES, n=1, cutoff=0.7):
                raise ValueError(f"`{head[1]}:` is not a clause; write `{meant[0]}:`")
        ends = [*(head.start() for _, head in heads), len(text)]
        for (name, head), end in zip(heads, ends[1:], strict=True):
            if name in found:
                raise ValueError(f"`{name}:` occurs twice")
            found[name] = text[head.end() : end].strip()
            if not found[name]:
                raise ValueError(f"`{name}:` is empty")
        return cls(text[: ends[0]].strip(), found.get("if missing", ""), found.get("family", ""), guess)

    @staticmethod
    def parse_mark(text: str) -> str:
        """The reason why something is marked as a guess; empty if it is not."""
        _, *marks = re.split(MARK_PATTERN, text, maxsplit=1)
        return (marks[0].strip() or "no reason is given") if marks else ""


@dataclass(frozen=True)
class FeatureQuery:
    """A SELECT of a portfolio, which defines a table of features.

    `name` is the file's stem and the table's name. `inputs` are the tables it reads: raw tables or other queries.
    `description` is the comment at the start of the file. `key` is its first column, the entity's key.

    Every other column has a comment on its line; `descriptions` has it, in order. If they are written, `missing`
    has the message for a missing value, `families` the family, and `guesses` the reason why the column is marked as a
    guess. `no_row` is the file's message for an applicant without a row in it, with its own `no_row_guess`, and
    `row_of` the file that a column was taken from by a star, if that file has such a message. `lines` has the line of
    each column that is written in the file itself, including the key.
    """

    name: str
    sql: str
    inputs: tuple[str, ...]
    description: str
    key: str
    descriptions: dict[str, str]
    missing: dict[str, str] = field(default_factory=dict)
    families: dict[str, str] = field(default_factory=dict)
    guesses: dict[str, str] = field(default_factory=dict)
    no_row: str = ""
    no_row_guess: str = ""
    row_of: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """All output columns, the key first."""
        return (self.key, *self.descriptions)

    @cached_property
    def version(self) -> str:
        """A hash that changes with the SQL, but not with comments (the descriptions of its features) or line breaks."""
        code = "\n".join(self.sql[token.start : token.end + 1] for token in _tokens(self.sql))
        return hashlib.sha256(code.encode()).hexdigest()[:12]


def load(folder: Path, raw_tables: Collection[str] | None = None) -> dict[str, FeatureQuery]:
    """The queries of all .sql files in `folder`, each after its inputs.

    With `raw_tables`, a table that is neither one of these nor a file here is refused. Raises FeatureQueryError for a
    file that is not one SELECT, has no comment at the start, reads an unknown table or (with others) itself, is
    non-deterministic (`random()`, `now()`), or has a column without a name or description, or with the name or
    description of another column.
    """
    files = {path.stem: _File(path) for path in sorted(folder.glob("*.sql"))}
    if not files:
        raise FeatureQueryError("no .sql files", str(folder))
    if raw_tables is not None:
        for file in files.values():
            for table in file.tables:
                if table.name not in files and table.name not in raw_tables:
                    raise file.error(f"unknown table {table.name}", table)
    queries: dict[str, FeatureQuery] = {}
    for name in _in_order(files):
        queries[name] = files[name].query(queries)
    return queries


class _File:
    """A parsed SQL file, with the positions needed to report lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sql = path.read_text(encoding="utf-8")
        self.lines = self.sql.splitlines()
        self.select = self._parse()
        self.tables = [
            source
            for scope in traverse_scope(self.select)
            for source in scope.sources.values()
            if isinstance(source, exp.Table)
        ]
        for table in self.tables:
            if not isinstance(table.this, exp.Identifier):
                raise self.error(f"reads {text_of(table)}: only tables by name can be read", table)
        for node in self.select.find_all(exp.Func, exp.TableSample):
            # With one date, age depends on the current date; it may be written age(x) or x.age().
            dates = len(node.expressions) + isinstance(node.parent, exp.Dot)
            of_today = isinstance(node, exp.Anonymous) and node.name.lower() == "age" and dates == 1
            # None of them takes a column; writing the text of every function would take longer than parsing.
            by_name = not node.find(exp.Column) and text_of(node).split("(")[0].lower() in NON_DETERMINISTIC
            if isinstance(node, exp.TableSample) or of_today or by_name:
                raise self.error(
                    f"{text_of(node)} is non-deterministic; features must be the same whenever they are computed", node
                )

    def _parse(self) -> exp.Select:
        try:
            statements = [found for found in statements_of(self.sql) if found is not None]
            # A feature's comment follows the last token of its line.
            self.line_ends = {token.line: token.end for token in _tokens(self.sql)}
        except SqlglotError as error:
            details = getattr(error, "errors", None) or [{}]
            line = details[0].get("line", 1)
            what = details[0].get("description", str(error))
            raise FeatureQueryError(f"not valid SQL: {what}", self.path.name, line) from error
        if len(statements) != 1:
            raise self.error(f"must contain one SELECT, contains {len(statements)} statements")
        if not isinstance(statements[0], exp.Select):
            raise self.error(f"must contain one SELECT, contains {statements[0].key.upper()}")
        return statements[0]

    def error(self, what: str, node: exp.Expr | None = None) -> FeatureQueryError:
        return FeatureQueryError(what, self.path.name, _line(node) if node else 1)

    def comment_error(self, what: str, node: exp.Expr) -> FeatureCommentError:
        return FeatureCommentError(what, self.path.name, _line(node))

    def query(self, queries: Mapping[str, FeatureQuery]) -> FeatureQuery:
        """The file as a query, given the queries that it reads."""
        description, no_row, no_row_guess = self._opening()
        outputs = list(self._outputs(queries))
        key = outputs[0][0]
        starred = {id(node) for node in self.select.expressions if node.is_star}
        comments: dict[str, FeatureComment] = {}
        row_of: dict[str, str] = {}
        names: set[str] = {key.lower()}
        meanings: dict[str, str] = {}
        for name, comment, source, node in outputs[1:]:
            meaning = comment.description
            if name.lower() in names:
                raise self.error(f"column {name} occurs twice", node)
            if not meaning:
                raise self.comment_error(f"column {name} has no description: end its line with `-- description`", node)
            if meaning.lower() in meanings:
                raise self.comment_error(f"column {name} has the same description as {meanings[meaning.lower()]}", node)
            names.add(name.lower())
            meanings[meaning.lower()] = name
            comments[name] = comment
            if source:
                row_of[name] = source
        for name, comment in comments.items():
            if meanings.get(comment.missing.lower(), name) != name:
                other = meanings[comment.missing.lower()]
                raise self.error(f"the message for a missing {name} is the description of {other}")
        return FeatureQuery(
            self.path.stem,
            self.sql,
            tuple(sorted({table.name for table in self.tables})),
            description,
            key,
            descriptions={name: comment.description for name, comment in comments.items()},
            missing={name: comment.missing for name, comment in comments.items() if comment.missing},
            families={name: comment.family for name, comment in comments.items() if comment.family},
            guesses={name: comment.guess for name, comment in comments.items() if comment.guess},
            no_row=no_row,
            no_row_guess=no_row_guess,
            row_of=row_of,
            lines={name: _line(node) for name, _, _, node in outputs if id(node) not in starred},
        )

    def _opening(self) -> tuple[str, str, str]:
        """The description in the comment at the start of the file, its message for an applicant without a row, and the
        reason why this message is marked as a guess."""
        opening, no_row, guess = [], "", ""
        for line in self.lines:
            if not line.startswith("--"):
                break
            text = line.removeprefix("--").strip()
            if not text.lower().startswith(NO_ROW):
                opening.append(text)
            elif no_row or not (no_row := re.split(MARK_PATTERN, text[len(NO_ROW) :])[0].strip()):
                raise self.error(f"`{NO_ROW}` must occur once in the opening comment, with a message on its line")
            else:
                guess = FeatureComment.parse_mark(text)
        if not opening:
            raise self.error("does not start with a comment that describes it")
        return " ".join(opening), no_row, guess

    def _outputs(self, queries: Mapping[str, FeatureQuery]) -> Iterator[tuple[str, FeatureComment, str, exp.Expr]]:
        """Name, comment, file whose row it needs (see `row_of`) and node of each output column, including those of a
        star."""
        sources = traverse_scope(self.select)[-1].sources
        for projection in self.select.expressions:
            if projection.is_star:
                yield from self._starred(projection, sources, queries)
                continue
            name = projection.this if isinstance(projection, exp.Column) else projection.args.get("alias")
            if not isinstance(name, exp.Identifier):
                raise self.error(f"{text_of(projection)} has no name: add `as name`", projection)
            before = self.sql[: name.meta["start"]].rstrip()
            if isinstance(projection, exp.Alias) and not re.search(r"\bas$", before[-len(" as") :], re.I):
                raise self.error(
                    f"{text_of(projection)}: write `as` before the name, or the comma that is missing", name
                )
            yield name.name, self._comment(name), "", name

    def _comment(self, name: exp.Identifier) -> FeatureComment:
        """The comment after a column on its line."""
        rest = self.sql[self.line_ends[_line(name)] + 1 :].split("\n", 1)[0].strip()
        try:
            return FeatureComment.parse(rest.removeprefix("--").strip())
        except ValueError as error:
            raise self.comment_error(f"the comment of column {name.name}: {error}", name) from error

    def _starred(
        self,
        projection: exp.Expr,
        sources: Mapping[str, exp.Expr | Scope],
        queries: Mapping[str, FeatureQuery],
    ) -> Iterator[tuple[str, FeatureComment, str, exp.Expr]]:
        star = projection.this if isinstance(projection, exp.Column) else projection
        names = [projection.table] if isinstance(projection, exp.Column) else list(sources)
        left_out = {column.name.lower() for column in star.args.get("except_") or ()}
        if star.args.get("replace") or star.args.get("rename"):
            raise self.error("a star may leave columns out but not replace or rename them", projection)
        for name in names:
            source = sources.get(name)
            if not isinstance(source, exp.Table) or source.name not in queries:
                raise self.error(f"`{text_of(projection)}` is not the columns of another SQL file", projection)
            query = queries[source.name]
            for column in query.columns:
                if column.lower() not in left_out:
                    comment = FeatureComment(
                        query.descriptions.get(column, ""),
                        query.missing.get(column, ""),
                        query.families.get(column, ""),
                        query.guesses.get(column, ""),
                    )
                    yield column, comment, query.row_of.get(column) or (query.no_row and query.name), projection


def _in_order(files: Mapping[str, _File]) -> list[str]:
    reads = {name: sorted({table.name for table in file.tables if table.name in files}) for name, file in files.items()}
    try:
        return list(TopologicalSorter(reads).static_order())
    except CycleError as error:
        circle = error.args[1][::-1]
        raise FeatureQueryError(f"reads itself: {' -> '.join(circle)}", f"{circle[0]}.sql", 1) from error


def _line(node: exp.Expr) -> int:
    around: exp.Expr | None = node
    while around:
        for part in around.walk():
            if "line" in part.meta:
                return int(part.meta["line"])
        # Keywords such as current_date have no position.
        around = around.parent
    return 1


@lru_cache(maxsize=64)
def _tokens(sql: str) -> list[Token]:
    """Tokenizing takes longer than parsing, so each file is tokenized once."""
    return sqlglot.tokenize(sql, dialect=DIALECT)


def statements_of(sql: str) -> list[exp.Expr | None]:
    return Dialect.get_or_raise(DIALECT).parser().parse(_tokens(sql), sql)


def text_of(node: exp.Expr) -> str:
    return node.sql(DIALECT, comments=False)

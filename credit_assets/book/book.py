"""A compiled portfolio in its project: settings, contracts of the raw tables, feature SQL and the origin of each
column. Every room builds its assets from a book."""

from __future__ import annotations

from functools import cached_property

from credit_assets.book.contracts import Contracts, NoContracts, load_contracts, mismatches
from credit_assets.book.lineage import Lineage, lineage, raw_lineage
from credit_assets.book.queries import FeatureQuery, load
from credit_assets.registry.registry import Registry
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.schemas.table import Table, with_text_key
from credit_assets.settings.portfolio import ConfigError, Portfolio
from credit_assets.settings.project import Project


class Book:
    """A compiled portfolio; each part is computed once, on first use.

    `contracts` replaces those that the configuration names, and `registry` the project's registry in MLflow.
    """

    def __init__(
        self,
        project: Project,
        portfolio: Portfolio,
        contracts: Contracts | None = None,
        registry: Registry | None = None,
    ) -> None:
        self.project = project
        self.portfolio = portfolio
        self.registry = registry or Registry.of(project, portfolio.name)
        if contracts is not None:
            self.contracts = self._validated(contracts)

    @classmethod
    def load(cls, project: Project, name: str) -> Book:
        """The book of configs/<name>.yaml. Raises ConfigError if the file cannot be used."""
        return cls(project, Portfolio.load(project, name))

    @property
    def name(self) -> str:
        return self.portfolio.name

    @cached_property
    def contracts(self) -> Contracts:
        """The contract of each raw table, parents before children.

        Raises ConfigError if they cannot be loaded, or if the configuration contradicts them.
        """
        path = self.project.config(self.name)
        try:
            contracts = load_contracts(self.portfolio, path.parent)
        except NoContracts as error:
            raise ConfigError(f"{path}: {error}") from error
        except Exception as error:
            # The contracts file is user code, which may raise anything.
            raise ConfigError(f"{path}: contracts: {type(error).__name__}: {error}") from error
        return self._validated(contracts)

    def _validated(self, contracts: Contracts) -> Contracts:
        if wrong := list(mismatches(self.portfolio, contracts)):
            raise ConfigError(f"{self.project.config(self.name)}: {'; '.join(map(str, wrong))}")
        return contracts

    @cached_property
    def queries(self) -> dict[str, FeatureQuery]:
        """The queries of the SQL files, each after its inputs. Raises FeatureQueryError, with file and line."""
        return load(self.project.sql(self.name), self.portfolio.tables)

    @cached_property
    def schemas(self) -> dict[str, dict[str, str]]:
        """For each raw table, the DuckDB types of its columns."""
        return {table: column_types(contract) for table, contract in self.contracts.items()}

    @cached_property
    def lineage(self) -> Lineage:
        """For each query and column, the columns that it is directly made from, including those that select its
        rows."""
        return lineage(self.queries, self.schemas)

    @cached_property
    def raw_lineage(self) -> Lineage:
        """For each query and column, the raw columns that it is made from, including those that select its rows."""
        return raw_lineage(self.lineage)

    @cached_property
    def raw_lineage_of_values(self) -> Lineage:
        """For each query and column, the raw columns that its values are made from."""
        return raw_lineage(lineage(self.queries, self.schemas, of_rows=False))

    def keyed(self, model: type[Table]) -> type[Table]:
        """The contract with a column `applicant` in the type of this portfolio's entity key."""
        key = self.contracts[self.portfolio.application_table].to_schema().columns[self.portfolio.entity_key]
        return with_text_key(model) if str(key.dtype) == "str" else model

    def parents(self, table: str) -> tuple[str, ...]:
        """The raw tables that the table's rows refer to."""
        return tuple(dict.fromkeys(relation.parent for relation in self.contracts[table].relations))

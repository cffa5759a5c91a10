"""Loads the contracts of a portfolio's raw tables by the name in the configuration, and compares the two."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from credit_assets.schemas.table import Table, outcomes_of
from credit_assets.settings.portfolio import OUTCOMES, ConfigError, Portfolio

Contracts = Mapping[str, type[Table]]
"""The contract of each raw table, parents before children."""


@dataclass(frozen=True)
class Mismatch:
    """A setting that the contracts contradict: its keys in the YAML, and what is wrong."""

    keys: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(self.keys)}: {self.message}"


class NoContracts(ConfigError):
    """The contracts named in the configuration are not a module or file with TABLES."""


def load_contracts(portfolio: Portfolio, folder: Path) -> dict[str, type[Table]]:
    """The TABLES of the module or file (in `folder`) that the portfolio names. If there is no contract for outcomes
    that are delivered later, it is derived from that of the applications.

    Raises NoContracts, and any error of the module, which is user code.
    """
    contracts = dict(_tables(portfolio.contracts, folder))
    applications = contracts.get(portfolio.application_table)
    if portfolio.outcomes_table != OUTCOMES or OUTCOMES in contracts or applications is None:
        return contracts
    key, target = portfolio.entity_key, portfolio.target.column
    if {key, target} <= set(applications.to_schema().columns):
        contracts[OUTCOMES] = outcomes_of(portfolio.application_table, applications, key, target)
    return contracts


def mismatches(portfolio: Portfolio, contracts: Contracts) -> Iterator[Mismatch]:
    """The contradictions between configuration and contracts; empty if there are none."""
    for key in ("application_table", "outcomes_table"):
        table = getattr(portfolio, key)
        # The default outcomes table needs no contract, but a configured name must be a table.
        if table not in contracts and table != OUTCOMES:
            yield Mismatch((key,), f"{table} is not one of the tables {', '.join(contracts)}")
    if portfolio.application_table not in contracts:
        return
    columns = set(contracts[portfolio.application_table].to_schema().columns)
    needed: dict[tuple[str, ...], str] = {
        ("entity_key",): portfolio.entity_key,
        ("target",): portfolio.target.column,
    }
    needed |= {("protected", name): attribute.column for name, attribute in portfolio.protected.items()}
    for keys, column in needed.items():
        if column not in columns:
            yield Mismatch(keys, f"table {portfolio.application_table} has no column {column}")
    if differing := sorted(set(portfolio.tables) ^ (set(contracts) | {OUTCOMES} & set(portfolio.tables))):
        yield Mismatch(("tables",), f"tables and contracts in {portfolio.contracts} differ in {', '.join(differing)}")
    raw = {column for contract in contracts.values() for column in contract.to_schema().columns}
    for key in ("post_decision", "left_out"):
        for unknown in sorted(set(getattr(portfolio, key)) - raw):
            yield Mismatch((key, unknown), f"no table has a column {unknown}")
    for name, table in portfolio.tables.items():
        if table.numbered and name in contracts:
            numbered = contracts[name].to_schema().columns.get(table.numbered)
            if numbered is None or str(numbered.dtype) != "str":
                yield Mismatch(("tables", name, "numbered"), f"{table.numbered} is not a text column of the table")


def _tables(contracts: str, folder: Path) -> Mapping[str, type[Table]]:
    """The TABLES of an importable module or, if the name ends in .py, of a file (beside the configuration)."""
    module = _module_in(folder / contracts) if contracts.endswith(".py") else _importable(contracts)
    if module is None or not hasattr(module, "TABLES"):
        raise NoContracts(f"contracts: {contracts} is not a module or file with TABLES")
    tables: Mapping[str, type[Table]] = module.TABLES
    return tables


def _importable(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Another name means that the module itself failed to import something.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        return None


def _module_in(file: Path) -> ModuleType | None:
    if not file.is_file():
        return None
    # Under a unique module name: two projects may each have a file of this name.
    spec = importlib.util.spec_from_file_location(f"contracts_of_{hash(file.resolve()):x}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Pandera resolves annotations in this module.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module

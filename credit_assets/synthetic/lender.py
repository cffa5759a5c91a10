"""The synthetic lender's deliveries: names of batches, the content of a folder, and drawing in chunks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from credit_assets.ingest.file_names import MARKER
from credit_assets.synthetic.applications import Columns, draw_applicants
from credit_assets.synthetic.bureau import draw_bureau
from credit_assets.synthetic.cards import draw_cards
from credit_assets.synthetic.draws import generator
from credit_assets.synthetic.files import TableFile
from credit_assets.synthetic.instalments import draw_loans
from credit_assets.synthetic.previous import draw_previous
from credit_assets.synthetic.risk import check_scenario
from credit_assets.synthetic.scenarios import FIRST_APPLICANT, SCENARIOS

CHUNK = 20_000  # applicants drawn at once; another value draws other applicants


def batch_names(first: str, number: int) -> list[str]:
    """`number` monthly names, starting at `first` (such as `2026-01`)."""
    try:
        year, month = (int(part) for part in first.split("-"))
    except ValueError:
        raise ValueError(f"first_batch must be a month such as 2026-01, not {first!r}") from None
    if not 1 <= month <= 12:
        raise ValueError(f"first_batch must be a month such as 2026-01, not {first!r}")
    months = range(year * 12 + month - 1, year * 12 + month - 1 + number)
    return [f"{index // 12:04d}-{index % 12 + 1:02d}" for index in months]


def generate(
    folder: Path,
    applicants: int,
    batches: int = 1,
    seed: int = 7,
    scenario: dict[str, str] | None = None,
    first_batch: str = "2026-01",
    unlabelled: int = 1,
    test_share: float = 0.0,
    first_applicant: int = FIRST_APPLICANT,
    progress: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write `batches` monthly deliveries of synthetic applicants to `folder` and return their folders.

    `applicants` is the total over all batches. The newest `unlabelled` batches have no outcomes (application_test.csv
    only); the others have application_train.csv and, with a `test_share`, an application_test.csv with that share of
    their applicants, as in Kaggle's download. The outcomes left out are written to
    `folder/outcomes/<batch>/outcomes.csv`, to be delivered later. `scenario` maps batch names to names of SCENARIOS.
    `first_applicant` is the first SK_ID_CURR; pass the next free one to continue an earlier run. `progress` gets a
    message after each chunk of applicants.

    The same arguments give byte-identical files. An existing synthetic batch is replaced; a folder without the marker
    file raises FileExistsError. Unknown scenarios or batches raise ValueError.
    """
    scenario, report = scenario or {}, progress or (lambda message: None)
    names = batch_names(first_batch, batches)
    check_scenario(scenario, names)
    if batches < 1 or applicants < batches or not 0 <= unlabelled <= batches or not 0.0 <= test_share < 1.0:
        raise ValueError(
            f"cannot make {batches} batches ({unlabelled} of them unlabelled, test share {test_share}) "
            f"of {applicants} applicants"
        )
    sizes = [applicants // batches + (index < applicants % batches) for index in range(batches)]
    starts = first_applicant + np.cumsum([0, *sizes[:-1]])
    paths = []
    next_bureau, next_previous = (base + 20 * (first_applicant - FIRST_APPLICANT) for base in (5_000_000, 1_000_000))
    for index, name in enumerate(names):
        hidden = index >= batches - unlabelled
        batch = _Batch(folder, name, seed, scenario.get(name), next_bureau, next_previous)
        batch.write(int(starts[index]), sizes[index], 1.0 if hidden else test_share, report)
        next_bureau, next_previous = batch.next_bureau, batch.next_previous
        paths.append(folder / name)
    return paths


class _Batch:
    """A delivery being written: to a hidden folder, which is renamed when it is complete."""

    def __init__(
        self, folder: Path, name: str, seed: int, scenario: str | None, next_bureau: int, next_previous: int
    ) -> None:
        self.folder, self.name, self.seed, self.scenario = folder, name, seed, scenario
        self.next_bureau, self.next_previous = next_bureau, next_previous

    def write(self, first: int, size: int, test_share: float, report: Callable[[str], None]) -> None:
        places = [self.folder / self.name, self.folder / "outcomes" / self.name]
        for place in places:
            if place.exists() and not (place / MARKER).exists():
                raise FileExistsError(f"{place} exists and is not a synthetic delivery ({MARKER} is missing)")
        tested = np.zeros(size, dtype=bool)
        tested[generator(self.seed, first, 99).permutation(size)[: round(size * test_share)]] = True
        drafts = [place.with_name(f".{place.name}.partial") for place in places]
        for draft in drafts[: 1 + tested.any()]:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            (draft / MARKER).write_text(self._marker(), encoding="utf-8")
        files = {table: TableFile(drafts[table == "outcomes"] / f"{table}.csv") for table in TABLES}
        with ThreadPoolExecutor(1) as writer:
            writing = None
            for start in range(0, size, CHUNK):
                chunk = np.arange(first + start, first + min(start + CHUNK, size))
                tables = self._draw(chunk, tested[start : start + CHUNK])
                if writing is not None:
                    writing.result()
                writing = writer.submit(_append, files, tables)
                report(f"{self.name}: {min(start + CHUNK, size):,} of {size:,} synthetic applicants")
            if writing is not None:
                writing.result()
        for draft, place in zip(drafts, places, strict=True):
            shutil.rmtree(place, ignore_errors=True)
            if draft.exists():
                draft.rename(place)

    def _draw(self, ids: np.ndarray, tested: np.ndarray) -> dict[str, Columns]:
        def stream(number: int) -> np.random.Generator:
            return generator(self.seed, int(ids[0]), number)

        people, application = draw_applicants((stream(0), stream(1)), ids, self.scenario)
        bureau, balance = draw_bureau(stream(2), people, self.next_bureau)
        previous, loans, cards = draw_previous(stream(3), people, self.next_previous)
        pos_cash, loan_instalments = draw_loans(stream(4), people, loans)
        card_balance, card_instalments = draw_cards(stream(5), people, cards)
        self.next_bureau += len(bureau["SK_ID_BUREAU"])
        self.next_previous += len(previous["SK_ID_PREV"])
        unknown = {name: column for name, column in application.items() if name != "TARGET"}
        outcomes: Columns = {"SK_ID_CURR": ids, "TARGET": people.target}
        return {
            "application_train": _rows(application, ~tested),
            "application_test": _rows(unknown, tested),
            "outcomes": _rows(outcomes, tested),
            "bureau": bureau,
            "bureau_balance": balance,
            "previous_application": previous,
            "POS_CASH_balance": pos_cash,
            "credit_card_balance": card_balance,
            "installments_payments": {
                name: np.concatenate((loan_instalments[name], card_instalments[name])) for name in loan_instalments
            },
        }

    def _marker(self) -> str:
        drift = f"Scenario: `{self.scenario}` ({SCENARIOS[self.scenario]})." if self.scenario else "Scenario: none."
        return (
            f"# Synthetic data: batch {self.name}\n\n"
            "Every row in this folder was generated by `credit-assets sample`. No person, loan or payment\n"
            "in it exists. Figures computed from it (AUC, default rates, approval rates, drift) show that\n"
            f"the software works; they prove nothing about real lending.\n\nSeed: {self.seed}. {drift}\n"
        )


TABLES = (
    "application_train", "application_test", "bureau", "bureau_balance", "previous_application",
    "POS_CASH_balance", "credit_card_balance", "installments_payments", "outcomes",
)  # fmt: skip


def _rows(columns: Columns, rows: np.ndarray) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def _append(files: dict[str, TableFile], tables: dict[str, Columns]) -> None:
    for name, columns in tables.items():
        if name in ("application_train", "application_test", "outcomes") and not len(columns["SK_ID_CURR"]):
            continue
        files[name].append(columns)

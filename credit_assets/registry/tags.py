"""Tags and aliases in MLflow: their names, and how versions are written to them and read. Existing registries hold
them, so the names never change."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from credit_assets.registry.store import StoredVersion
from credit_assets.registry.version import ModelVersion, Origin, Repeat, library_versions
from credit_assets.settings.project import code_version, git_commit

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous_champion"
"""Aliases of versions."""

SYNTHETIC, CUT_OFF, WHY, DAGSTER_RUN = "synthetic", "cut_off", "why", "dagster_run_id"
ROOT_RUN, CONTENT = "dagster_root_run_id", "learned_from"
TABLE = "table."
"""Tags of a version, one a table that it was made from: that table's version."""

LIBRARY = "library."
"""Tags of a version, one a library that trained it: its version."""

FINGERPRINT, REPEAT = "fingerprint", "repeat."
"""Tags of a version: its fingerprint; and `repeat.0001` and on, each later training that made it again, as JSON."""

GATE, PASSED, BETTER = "gate", "gate_passed", "refused_though_better"
"""Tags of a version: what the promotion gate said of it, and whether it passed (`true`, `false`); and, where it was
refused though surely better than a champion, "<that champion> <by how much>"."""

REFUSED = "refused by the gate"
"""What the gate said, among other things, of a version that release 0.1.0 refused: it wrote no tag PASSED."""

WHY_LENGTH, GATE_LENGTH = 1000, 4000
"""Characters kept of a reason, and of what the gate said; a tag's value must stay below 5000."""


def origin_tags(portfolio: str, origin: Origin) -> dict[str, str]:
    """The origin of a model as tags, with the code and the libraries that run now."""
    cut_off = None if origin.cut_off is None else repr(origin.cut_off)
    optional = {
        DAGSTER_RUN: origin.dagster_run,
        ROOT_RUN: origin.root_run,
        CONTENT: origin.content,
        FINGERPRINT: origin.fingerprint,
        CUT_OFF: cut_off,
        WHY: origin.why,
    }
    return {
        "portfolio": portfolio,
        SYNTHETIC: str(origin.synthetic).lower(),
        "git_commit": git_commit(),
        "code_version": code_version(),
        "python": platform.python_version(),
        **{f"{TABLE}{table}": str(number) for table, number in sorted(origin.tables.items())},
        **{f"{LIBRARY}{library}": number for library, number in library_versions().items()},
        **{tag: text for tag, text in optional.items() if text is not None},
    }


def origin_of(tags: Mapping[str, str]) -> Origin:
    """The origin that the tags describe. Versions of earlier releases and of other programs lack some of them."""
    cut_off = tags.get(CUT_OFF)
    return Origin(
        synthetic=tags.get(SYNTHETIC) == "true",
        tables={tag.removeprefix(TABLE): int(number) for tag, number in tags.items() if tag.startswith(TABLE)},
        dagster_run=tags.get(DAGSTER_RUN),
        root_run=tags.get(ROOT_RUN),
        content=tags.get(CONTENT),
        fingerprint=tags.get(FINGERPRINT),
        cut_off=None if cut_off is None else float(cut_off),
        why=tags.get(WHY),
    )


def version_of(model: str, stored: StoredVersion) -> ModelVersion:
    """The stored version as a value."""
    than, _, better = stored.tags.get(BETTER, "").partition(" ")
    return ModelVersion(
        **asdict(origin_of(stored.tags)),
        model=model,
        number=stored.number,
        run_id=stored.run_id,
        created=stored.created,
        gate=stored.tags.get(GATE),
        gate_passed=_passed(stored.tags),
        better_than=int(than) if than.isdigit() else None,
        better=better or None,
        repeats=tuple(_repeat(text) for tag, text in sorted(stored.tags.items()) if tag.startswith(REPEAT)),
    )


def _passed(tags: Mapping[str, str]) -> bool | None:
    if passed := tags.get(PASSED):
        return passed == "true"
    return REFUSED not in tags[GATE] if GATE in tags else None


def repeat_tag(number: int, repeat: Repeat) -> tuple[str, str]:
    """The tag of a version's repeat of this number, and its text."""
    facts = asdict(repeat) | {"at": repeat.at.isoformat(), "why": repeat.why[:WHY_LENGTH]}
    return f"{REPEAT}{number:04d}", json.dumps(facts, ensure_ascii=False)


def _repeat(text: str) -> Repeat:
    facts = json.loads(text)
    return Repeat(**facts | {"at": datetime.fromisoformat(facts["at"])})

"""Tags and aliases in MLflow: their names, and their conversion from and to values. The names are stored in existing
registries, so they never change."""

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
"""Prefix of tags of a version: for each table that it was trained from, the table's version."""

LIBRARY = "library."
"""Prefix of tags of a version: for each library used in training, the library's version."""

FINGERPRINT, REPEAT = "fingerprint", "repeat."
"""Tags of a version: its fingerprint, and (`repeat.0001`, ...) each later training that reproduced it, as JSON."""

GATE, PASSED, BETTER = "gate", "gate_passed", "refused_though_better"
"""Tags of a version: the gate's message, whether it passed (`true`, `false`) and, if it was refused although
significantly better than a champion, "<that champion> <by how much>"."""

REFUSED = "refused by the gate"
"""Part of the gate's message for versions that release 0.1.0 refused; that release wrote no tag PASSED."""

WHY_LENGTH, GATE_LENGTH = 1000, 4000
"""Maximum stored lengths of a reason and of the gate's message; a tag's value must be shorter than 5000 characters."""


def origin_tags(portfolio: str, origin: Origin) -> dict[str, str]:
    """The origin of a model as tags, with the current code and library versions."""
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
    """The origin that the tags describe. Versions from earlier releases or other programs lack some of them."""
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
    """Convert a stored version."""
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
    """The tag of a version's n-th repeat, and its value."""
    facts = asdict(repeat) | {"at": repeat.at.isoformat(), "why": repeat.why[:WHY_LENGTH]}
    return f"{REPEAT}{number:04d}", json.dumps(facts, ensure_ascii=False)


def _repeat(text: str) -> Repeat:
    facts = json.loads(text)
    return Repeat(**facts | {"at": datetime.fromisoformat(facts["at"])})

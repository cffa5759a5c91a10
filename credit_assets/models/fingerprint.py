"""The fingerprint of a model version, by which a training detects that it reproduced a version."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from credit_assets.models.model import Model


def fingerprint(model: Model, facts: Mapping[str, object]) -> str:
    """A hash of the model's files and of the other properties of a version: equal for two trainings if all of these are
    equal. `facts` are values that JSON can represent."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            digest.update(file.relative_to(folder).as_posix().encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()

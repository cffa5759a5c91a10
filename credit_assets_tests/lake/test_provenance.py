"""The provenance of a commit: stored and read back, by this release and for earlier ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_assets.lake.provenance import InvalidProvenance, Provenance

TEXT = st.text(max_size=8)
FIELDS = {
    "batch": TEXT,
    "rows": st.integers(0, 2**40),
    "run_id": TEXT,
    "code_version": TEXT,
    "asset_code_version": TEXT,
    "inputs": st.dictionaries(TEXT, st.integers(0, 2**40), max_size=3),
    "synthetic": st.booleans(),
    "source_sha256": st.dictionaries(TEXT, TEXT, max_size=3),
    "model_version": st.integers(1, 2**31),
    "champion_version": st.integers(0, 2**31),
    "withdrawn": TEXT,
    "withdrawn_file": TEXT,
}


@given(st.fixed_dictionaries({"batch": FIELDS.pop("batch")}, optional=FIELDS))
def test_provenance_is_stored_as_text_and_read_back(fields):
    provenance = Provenance(**fields)
    stored = provenance.to_metadata()
    assert all(isinstance(value, str) for value in stored.values())
    assert stored.keys() == fields.keys()
    assert Provenance.from_metadata("book/t", 0, stored) == provenance


def test_generator_covers_every_field():
    assert {"batch", *FIELDS} == set(Provenance.model_fields)


def test_stored_format_equals_that_of_earlier_releases():
    made = Provenance(
        batch="2026-01",
        rows=5,
        run_id="r",
        code_version="0.1.0",
        asset_code_version="",
        inputs={"b/t": 2, "a/t": 1},
        synthetic=False,
        source_sha256={"b.csv": "2", "a.csv": "1"},
        model_version=3,
    )
    assert made.to_metadata() == {
        "batch": "2026-01",
        "rows": "5",
        "run_id": "r",
        "code_version": "0.1.0",
        "asset_code_version": "",
        "inputs": '{"a/t": 1, "b/t": 2}',
        "synthetic": "false",
        "source_sha256": '{"a.csv": "1", "b.csv": "2"}',
        "model_version": "3",
    }


def test_commit_of_an_earlier_release_with_fewer_fields_is_read():
    read = Provenance.from_metadata("book/t", 0, {"batch": "", "rows": "7", "timestamp": 1, "operation": "WRITE"})
    assert (read.batch, read.rows, read.inputs, read.sources) == ("", 7, {}, {})
    assert (read.run_id, read.model_version, read.synthetic, read.source_sha256) == (None, None, False, None)


def test_commit_of_another_program_has_empty_provenance():
    assert Provenance.from_metadata("book/t", 0, {"rows": "many", "inputs": "none"}) == Provenance()


@pytest.mark.parametrize(
    ("field", "value"),
    [("rows", "many"), ("rows", "-1"), ("inputs", "{"), ("inputs", '{"a": "x"}'), ("synthetic", "perhaps")],
)
def test_damaged_metadata_are_named_by_table_version_and_field(field, value):
    with pytest.raises(InvalidProvenance) as raised:
        Provenance.from_metadata("book/t", 4, {"batch": "b", field: value})
    assert (raised.value.table, raised.value.version, raised.value.fields) == ("book/t", 4, [field])

"""The behaviour of every registry, in MLflow and in memory: versions and their files, the history of champions, what a
killed promotion leaves, and rollbacks. The versions are bare: they have no model.
"""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from credit_assets.registry.champions import decided_at
from credit_assets.registry.errors import PromotionRefused, RegistryError, VersionDamaged
from credit_assets.registry.moves import MOVING
from credit_assets.registry.registry import Registry
from credit_assets.registry.tags import CHALLENGER, CHAMPION, GATE, PREVIOUS, WHY_LENGTH
from credit_assets.registry.version import Origin, Repeat
from credit_assets_tests.bare_versions import EmptyModel, delete, register_bare
from credit_assets_tests.registry.conftest import Book


def test_registered_version_is_read_back_completely(empty: Registry) -> None:
    origin = Origin(
        synthetic=False,
        tables={"book/features": 3, "book/training_set": 12},
        dagster_run="run",
        root_run="root",
        content="123",
        cut_off=0.1 + 0.2,
        why="there is no champion",
    )
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    made = empty.register(EmptyModel(), origin, run_name="a", params={"depth": 3}, metrics={"auc": 0.75})
    assert asdict(made).items() >= asdict(origin).items()
    assert (made.model, made.number, made.gate, made.better) == (empty.name, 1, None, None)
    assert before <= made.created <= datetime.now(UTC)
    assert (made.decline_above, made.made_from("book/features")) == (0.1 + 0.2, 3)
    assert empty.get(1) == empty.find(1) == empty.newest() == empty.challenger() == made
    assert empty.versions() == [made] and empty.champion() is None
    assert empty.table_versions() == {("book/features", 3), ("book/training_set", 12)}
    assert empty.metrics(made) == {"auc": 0.75}


def test_missing_content_of_a_version_is_named(book: Book) -> None:
    version = book.registry.get(1)
    with pytest.raises(RegistryError, match=r"Version 1 of .* has no cut-off"):
        _ = version.decline_above
    with pytest.raises(RegistryError, match=r"Version 1 of .* does not name a version of book/features"):
        version.made_from("book/features")
    for ask in (book.registry.get, lambda number: book.registry.promote(number, by="hand", why="a test")):
        with pytest.raises(RegistryError, match=r"Model .* has no version 99"):
            ask(99)
    with (
        pytest.raises(RegistryError, match="no version 99"),
        book.registry.model_files(replace(version, number=99)),
    ):
        pass
    assert book.registry.find(99) is None


def test_deleted_version_loses_its_aliases_and_is_no_rollback_target(book: Book) -> None:
    for number in (1, 2, 3):
        book.promote(number)
    delete(book.registry, 2)
    assert book.registry.find(2) is None
    assert [version.number for version in book.registry.versions()] == [1, 3]
    assert book.aliases() == {CHAMPION: 3}
    assert book.registry.predecessor() == book.roll_back() == 1
    delete(book.registry, 3)
    assert book.add() == 4, "its number is not given again"


def test_empty_registry_has_no_version(empty: Registry) -> None:
    assert empty.versions() == [] and empty.table_versions() == set()
    assert [empty.newest(), empty.champion(), empty.challenger(), empty.find(1)] == [None] * 4
    with pytest.raises(RegistryError):
        empty.promote(1, by="gate", why="a test")


def test_newest_version_is_the_challenger_until_promoted(empty: Registry) -> None:
    first, second = (
        empty.register(EmptyModel(), Origin(synthetic=True), run_name="", params={}, metrics={}) for _ in range(2)
    )
    assert empty.challenger() == second
    assert empty.promote(first.number, by="hand", why="a test") == first == empty.champion()
    assert empty.challenger() == second
    assert empty.promote(second.number, by="gate", why="a test") == second == empty.champion()
    assert empty.challenger() is None


def test_version_is_found_by_its_fingerprint_and_becomes_challenger_unless_champion(empty: Registry) -> None:
    assert empty.registered_before("abc") is None
    made, _ = (
        empty.register(EmptyModel(), Origin(synthetic=True, fingerprint=mark), run_name="", params={}, metrics={})
        for mark in ("abc", "other")
    )
    assert empty.registered_before("abc") == made == empty.challenger()
    assert empty.registered_before("unknown") is None
    empty.promote(made.number, by="gate", why="a test")
    assert empty.registered_before("abc") == made
    assert empty.challenger() is None


def test_repeated_trainings_of_a_version_are_recorded_once_each(empty: Registry) -> None:
    number = register_bare(empty, root_run="first", dagster_run="run of first", tables={"rows": 3})
    register_bare(empty)

    def repeat(root: str, rows: int) -> Repeat:
        return Repeat(datetime.now(UTC), f"run of {root}", root, "by hand", {"rows": rows})

    assert not empty.add_repeat(empty.get(number), repeat("first", 3)), "the first training, launched again"
    assert (empty.get(number).repeats, empty.get(number).latest_training[0]) == ((), "run of first")
    assert empty.newest() == empty.get(number + 1)
    again = (repeat("second", 4), repeat("third", 5))
    noted = [empty.add_repeat(empty.get(number), each) for each in (again[0], again[0], again[1])]
    assert noted == [True, False, True]
    found = empty.newest()
    assert found == empty.get(number) and found.repeats == again
    assert found.latest_training == ("run of third", again[1].at)
    assert (found.made_from("rows"), found.last_made_from("rows")) == (3, 5)
    assert empty.table_versions() == {("rows", 3), ("rows", 5)}
    assert empty.dagster_runs_of_all_models() >= {"run of first", "run of second", "run of third"}


def test_version_rolled_back_and_trained_again_is_identified_by_the_repeating_runs(book: Book) -> None:
    book.promote(1)
    book.promote(2)
    book.roll_back(why="AUC fell")
    book.registry.add_repeat(book.registry.get(2), Repeat(datetime.now(UTC), "run", "root", "by hand", {}))
    version = book.registry.get(2)
    undone = book.registry.blocked_before(version, ["root"])
    assert undone == book.history()[-1] and undone.why == "AUC fell"
    assert book.registry.blocked_before(version, ["another"]) is None
    assert book.registry.blocked_before(book.registry.get(1), ["root"]) is None


def test_files_and_metrics_are_added_to_a_version_and_read_back(book: Book, tmp_path: Path) -> None:
    registry, version = book.registry, book.registry.get(2)
    (tmp_path / "importance.json").write_text('{"income": 0.5}')
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "roc.png").write_bytes(b"picture")
    registry.log(version, {"auc": 0.7, "gini": 0.4})
    registry.log(version, {"auc": 0.8}, {"": tmp_path, "report": tmp_path / "importance.json"})
    assert registry.metrics(version) == {"auc": 0.8, "gini": 0.4}
    assert registry.importance(version) == {"income": 0.5}
    there = {path: registry.has_file(version, path) for path in ("plots/roc.png", "report/importance.json", "roc.png")}
    assert there == {"plots/roc.png": True, "report/importance.json": True, "roc.png": False}
    with registry.file(version, "plots/roc.png") as path:
        assert path.read_bytes() == b"picture"
    assert not path.exists()
    other = registry.get(1)
    with pytest.raises(
        VersionDamaged, match=rf"importance\.json of version 1 of {re.escape(book.name)} is missing or damaged"
    ):
        registry.importance(other)
    assert registry.metrics(other) == {} and not registry.has_file(other, "importance.json")
    assert registry.has_reference(other)


def test_gate_result_and_superiority_of_a_refused_version_are_stored(book: Book) -> None:
    registry = book.registry
    by_how_much = "AUC +0.04 (+0.03 to +0.05)"
    registry.log_gate(2, "It was refused by the gate.", passed=False, better_than=1, better=by_how_much)
    version = registry.get(2)
    assert (version.gate, version.gate_passed, version.better_than) == ("It was refused by the gate.", False, 1)
    assert version.refused_though_better(1) == by_how_much
    assert version.refused_though_better(3) is None
    registry.log_gate(2, "It passed the gate." + "x" * 9000, passed=True)
    assert len(registry.get(2).gate or "") == 4000
    assert (registry.get(2).gate_passed, registry.get(1).gate_passed) == (True, None)
    assert registry.get(2).refused_though_better(1) is None
    assert registry.get(1).refused_though_better(1) is None
    # A version that was read earlier does not change.
    assert version.refused_though_better(1) is not None


@pytest.mark.parametrize(("text", "passed"), [("It was refused by the gate. A.", False), ("It passed the gate.", True)])
def test_refusal_by_the_gate_of_an_earlier_release_is_read_from_its_text(book, text, passed) -> None:
    book.registry.store.set_version_tag(2, GATE, text)
    assert book.registry.get(2).gate_passed is passed


def test_runs_that_trained_or_promoted_versions_of_all_models_are_listed(book: Book) -> None:
    other = Registry(replace(book.registry.store, name=f"{book.name} too"))  # type: ignore[type-var]
    other.promote(register_bare(other, dagster_run="trained"), by="hand", why="a test", dagster_run="promoted")
    book.promote(1)
    assert book.registry.dagster_runs_of_all_models() >= {"trained", "promoted", "run of 1"}


def test_promotion_is_recorded_with_who_why_and_the_replaced_version(book: Book) -> None:
    before = datetime.now(UTC)
    book.promote(1)
    book.promote(2, why="better\nby far")
    first, second = book.history()
    assert (first.number, first.version, first.by, first.why) == (1, 1, "gate", "it is better")
    assert (first.run_id, first.replaced) == ("run of 1", None)
    assert (second.number, second.version, second.why, second.replaced) == (2, 2, "better by far", 1)
    assert before <= first.at <= second.at <= datetime.now(UTC)
    assert book.aliases() == {CHAMPION: 2, PREVIOUS: 1}


def test_promotion_of_the_champion_records_nothing(book: Book) -> None:
    book.promote(1)
    book.promote(1, by="hand", why="once more")
    assert [(event.version, event.why) for event in book.history()] == [(1, "it is better")]


def test_model_without_champion_or_versions_has_no_history(empty: Registry) -> None:
    for _ in range(2):
        assert empty.history() == []
        assert empty.predecessor() is None
        register_bare(empty)


def test_long_reason_is_truncated(book: Book) -> None:
    book.promote(1, why="é" * 20_000)
    assert book.history()[0].why == "é" * WHY_LENGTH


def test_champion_from_before_the_history_is_recorded_once(book: Book) -> None:
    book.registry.store.set_alias(CHAMPION, 2)
    [found] = book.history()
    assert (found.version, found.by, found.replaced) == (2, "hand", None)
    assert found.at == book.registry.get(2).created
    assert book.history() == [found]
    book.promote(3)
    assert book.versions() == [2, 3]


def test_alias_moved_in_mlflow_itself_is_recorded_as_such(book: Book) -> None:
    book.promote(1)
    book.registry.store.set_alias(CHAMPION, 3)
    [_, found] = book.history()
    assert (found.number, found.version, found.by, found.replaced) == (2, 3, "hand", 1)
    assert "in MLflow itself" in found.why
    assert len(book.history()) == 2


class Killed(BaseException):
    """Raised in place of every write after a SIGKILL."""


@pytest.fixture
def kill_at_write(book: Book, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list with the number of the write at which the process dies; nothing happens while it is empty."""
    lives: list[int] = []

    def dying_method(method: str) -> None:
        write = getattr(type(book.registry.store), method)

        def written(*args: object) -> None:
            if lives:
                lives[0] -= 1
                if lives[0] < 0:
                    raise Killed
            write(*args)

        monkeypatch.setattr(type(book.registry.store), method, written)

    for method in ("set_tag", "set_alias"):
        dying_method(method)
    return lives


@pytest.mark.slow
@pytest.mark.parametrize("writes", range(7))
def test_promotion_killed_at_any_write_and_repeated_is_recorded_once(
    book: Book, kill_at_write: list[int], writes: int
) -> None:
    book.promote(1)
    book.registry.store.set_alias(CHALLENGER, 2)
    kill_at_write.append(writes)
    if writes < 6:
        with pytest.raises(Killed):
            book.promote(2, why="by the killed one")
    else:
        book.promote(2, why="by the killed one")
    kill_at_write.clear()
    # Every reader finds the history and the alias consistent.
    moved = book.aliases()[CHAMPION] == 2
    assert book.versions() == ([1, 2] if moved else [1])
    assert MOVING not in book.tags()
    book.promote(2, why="by the repetition")
    [_, event] = book.history()
    assert (event.number, event.version, event.by, event.replaced) == (2, 2, "gate", 1)
    assert event.why == ("by the killed one" if moved else "by the repetition")
    assert book.aliases() == {CHAMPION: 2, PREVIOUS: 1}


def test_version_that_decided_at_a_time_is_known_to_the_microsecond(book: Book) -> None:
    book.promote(1)
    book.promote(2)
    first, second = (event.at for event in book.history())

    def at(when: datetime) -> int | None:
        return decided_at(book.history(), when)

    moment = timedelta(microseconds=1)
    assert [at(first - moment), at(first), at(second - moment), at(second)] == [None, 1, 1, 2]
    assert at(datetime.now(UTC) + timedelta(days=999)) == 2


def test_version_ten_follows_version_nine(book: Book) -> None:
    book.add(7)
    assert [version.number for version in book.registry.versions()] == list(range(1, 11))
    book.promote(9)
    book.promote(10)
    assert book.roll_back() == 9
    assert book.history()[-1].is_rollback


def test_rollback_selects_the_previous_champion_and_never_alternates(book: Book) -> None:
    for number in (1, 2, 3):
        book.promote(number)
    assert [book.roll_back(), book.roll_back()] == [2, 1]
    with pytest.raises(PromotionRefused, match=r"Version 1 of .* has no predecessor that has not been rolled back"):
        book.roll_back()
    assert [(event.version, event.by) for event in book.history()[3:]] == [(2, "rollback"), (1, "rollback")]


def test_gate_never_reinstates_a_rolled_back_version_but_a_person_may(book: Book) -> None:
    book.promote(1)
    book.promote(2)
    book.roll_back(why="AUC fell")
    when = f"{book.history()[-1].at:%Y-%m-%d %H:%M}"
    with pytest.raises(PromotionRefused, match=rf"Version 2 .* was rolled back from at {when} UTC \(AUC fell\)"):
        book.promote(2)
    assert book.versions() == [1, 2, 1]
    book.promote(3)
    book.promote(2, by="hand", why="the outcomes were wrong")
    assert book.versions() == [1, 2, 1, 3, 2]


def test_manual_rollback_may_skip_versions(book: Book) -> None:
    for number in (1, 2, 3):
        book.promote(number)
    assert book.roll_back(by="hand", to_version=1) == 1
    assert book.registry.predecessor() is None


def test_version_that_never_passed_the_gate_is_no_rollback_target(book: Book) -> None:
    book.add(gated=False)
    book.promote(1)
    with pytest.raises(PromotionRefused, match=r"Version 4 .* never passed the gate.*drift_reference\.parquet"):
        book.roll_back(to_version=4)
    with pytest.raises(RegistryError, match="no version 99"):
        book.roll_back(to_version=99)
    assert book.versions() == [1]


def test_version_that_never_passed_the_gate_can_be_promoted_by_hand(book: Book) -> None:
    book.add(gated=False)
    book.promote(1)
    with pytest.raises(PromotionRefused, match=rf"`credit-assets promote --portfolio {book.name} --version 4 --why"):
        book.roll_back(to_version=4)


def test_rollback_without_a_champion_is_refused(book: Book) -> None:
    with pytest.raises(PromotionRefused, match="has no champion to roll back from"):
        book.roll_back()


def test_repeated_rollback_moves_once(book: Book) -> None:
    for number in (1, 2, 3):
        book.promote(number)
    assert book.roll_back(dagster_runs=["first"]) == 2
    # The run was killed after the move, and retried.
    assert book.roll_back(dagster_runs=["second", "first"]) == 2
    assert book.roll_back(dagster_runs=["third"]) == 1


def test_rollback_of_a_former_champion_moves_nothing(book: Book) -> None:
    for number in (1, 2, 3):
        book.promote(number)
    assert book.roll_back(from_version=2) == 3
    assert book.roll_back(from_version=3) == 2
    assert book.versions() == [1, 2, 3, 2]

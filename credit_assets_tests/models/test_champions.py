"""The history of champions, on a real SQLite store: what is noted, what a killed promotion leaves, where one may
go back to. The versions are bare: no model is behind them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_assets.models import registry
from credit_assets.models.registry import ChampionEvent, PromotionRefused

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class Registry:
    """A registered model with bare versions, promoted by the gate unless told otherwise."""

    def __init__(self, uri: str, experiment: str, name: str) -> None:
        self.uri, self.experiment, self.name = uri, experiment, name
        self.client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.client.create_registered_model(name)

    def add(self, count: int = 1, *, gated: bool = True, folder: Path | None = None) -> None:
        """More versions; `gated` ones have a drift reference in their run."""
        for _ in range(count):
            run = self.client.create_run(self.experiment).info.run_id
            if gated:
                self.client.log_text(run, "", registry.DRIFT_REFERENCE)
            self.client.create_model_version(self.name, "nowhere", run)

    def promote(self, number: int, by: registry.By = "gate", why: str = "it is better") -> None:
        registry.promote(self.uri, self.name, number, by=by, why=why, dagster_run_id=f"run of {number}")

    def roll_back(self, **changes: object) -> int:
        settings: dict = {"by": "rollback", "why": "it is worse", **changes}
        return int(registry.roll_back(self.uri, self.name, **settings).version)

    def history(self) -> list[ChampionEvent]:
        return registry.history(self.uri, self.name)

    def versions(self) -> list[int]:
        return [event.version for event in self.history()]

    def aliases(self) -> dict[str, int]:
        found = self.client.get_registered_model(self.name).aliases
        return {alias: int(number) for alias, number in found.items()}

    def tags(self) -> dict[str, str]:
        return self.client.get_registered_model(self.name).tags


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return uri, registry.experiment(uri, "book", folder / "artifacts")


@pytest.fixture
def book(store: tuple[str, str], request: pytest.FixtureRequest) -> Registry:
    """Three versions, none of them promoted."""
    made = Registry(*store, request.node.name)
    made.add(3)
    return made


def test_a_promotion_is_noted_with_who_and_why_and_what_it_replaced(book: Registry) -> None:
    before = datetime.now(UTC)
    book.promote(1)
    book.promote(2, why="better\nby far")
    first, second = book.history()
    assert (first.number, first.version, first.by, first.why) == (1, 1, "gate", "it is better")
    assert (first.run_id, first.replaced) == ("run of 1", None)
    assert (second.number, second.version, second.why, second.replaced) == (2, 2, "better by far", 1)
    assert before <= first.at <= second.at <= datetime.now(UTC)
    assert book.aliases() == {registry.CHAMPION: 2, registry.PREVIOUS: 1}


def test_a_promotion_of_the_champion_notes_nothing(book: Registry) -> None:
    book.promote(1)
    book.promote(1, by="hand", why="once more")
    assert [(event.version, event.why) for event in book.history()] == [(1, "it is better")]


def test_a_model_without_a_champion_or_without_any_version_has_no_history(book: Registry) -> None:
    assert book.history() == []
    assert registry.history(book.uri, "unheard of") == []
    assert registry.predecessor(book.uri, "unheard of") is None
    assert registry.champion_at(book.uri, book.name, datetime.now(UTC)) is None


def test_a_long_reason_is_cut(book: Registry) -> None:
    book.promote(1, why="é" * 20_000)
    assert book.history()[0].why == "é" * registry.WHY_LENGTH


def test_a_champion_from_before_there_was_a_history_is_found_once(book: Registry) -> None:
    book.client.set_registered_model_alias(book.name, registry.CHAMPION, "2")
    [found] = book.history()
    assert (found.version, found.by, found.replaced) == (2, "hand", None)
    registered = book.client.get_model_version(book.name, "2").creation_timestamp
    assert found.at.timestamp() == pytest.approx(registered / 1000)
    assert book.history() == [found]
    book.promote(3)
    assert book.versions() == [2, 3]


def test_an_alias_moved_in_mlflow_itself_is_found_with_words_that_say_so(book: Registry) -> None:
    book.promote(1)
    book.client.set_registered_model_alias(book.name, registry.CHAMPION, "3")
    [_, found] = book.history()
    assert (found.number, found.version, found.by, found.replaced) == (2, 3, "hand", 1)
    assert "in MLflow itself" in found.why
    assert len(book.history()) == 2


class Killed(BaseException):
    """What a SIGKILL does to the writes after it."""


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A list: the process dies at its so-manieth write to the registry. None while it is empty."""
    lives: list[int] = []

    def mortal(method: str) -> None:
        write = getattr(mlflow.MlflowClient, method)

        def written(*args: object, **settings: object) -> object:
            if lives:
                lives[0] -= 1
                if lives[0] < 0:
                    raise Killed
            return write(*args, **settings)

        monkeypatch.setattr(mlflow.MlflowClient, method, written)

    for method in (
        "set_registered_model_tag",
        "delete_registered_model_tag",
        "set_registered_model_alias",
        "delete_registered_model_alias",
    ):
        mortal(method)
    yield lives


@pytest.mark.parametrize("writes", range(7))
def test_a_promotion_killed_at_any_write_and_repeated_is_noted_once(
    book: Registry, dying: list[int], writes: int
) -> None:
    book.promote(1)
    book.client.set_registered_model_alias(book.name, registry.CHALLENGER, "2")
    dying.append(writes)
    if writes < 6:
        with pytest.raises(Killed):
            book.promote(2, why="by the killed one")
    else:
        book.promote(2, why="by the killed one")
    dying.clear()
    # Whoever looks first finds the history and the alias of one mind.
    moved = book.aliases()[registry.CHAMPION] == 2
    assert book.versions() == ([1, 2] if moved else [1])
    assert registry.MOVING not in book.tags()
    book.promote(2, why="by the repetition")
    [_, event] = book.history()
    assert (event.number, event.version, event.by, event.replaced) == (2, 2, "gate", 1)
    assert event.why == ("by the killed one" if moved else "by the repetition")
    assert book.aliases() == {registry.CHAMPION: 2, registry.PREVIOUS: 1}


PROMOTING = """
import sys
from credit_assets.models import registry
uri, name, numbers = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
registry.champion(uri, name)
sys.stdin.readline()
for number in numbers:
    registry.promote(uri, name, number, by="hand", why=f"by {sys.argv[3]}")
"""


def test_two_processes_that_promote_at_once_leave_one_unbroken_history(book: Registry) -> None:
    book.promote(3)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTING, book.uri, book.name, numbers], stdin=subprocess.PIPE, text=True
        )
        for numbers in ("1,2,1,2,1", "2,3,2,3,2")
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    events = book.history()
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [event.replaced for event in events[1:]] == [event.version for event in events[:-1]]
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert book.aliases()[registry.CHAMPION] == events[-1].version
    assert registry.MOVING not in book.tags()


def test_the_version_that_decided_at_a_time_is_told_to_the_microsecond(book: Registry) -> None:
    book.promote(1)
    book.promote(2)
    first, second = (event.at for event in book.history())

    def at(when: datetime) -> int | None:
        return registry.champion_at(book.uri, book.name, when)

    moment = timedelta(microseconds=1)
    assert [at(first - moment), at(first), at(second - moment), at(second)] == [None, 1, 1, 2]
    assert at(datetime.now(UTC) + timedelta(days=999)) == 2


def test_version_ten_comes_after_version_nine(book: Registry) -> None:
    book.add(7)
    assert [int(version.version) for version in registry.versions(book.uri, book.name)] == list(range(1, 11))
    book.promote(9)
    book.promote(10)
    assert book.roll_back() == 9
    assert book.history()[-1].back


def test_a_rollback_goes_to_what_decided_before_and_never_to_and_fro(book: Registry) -> None:
    for number in (1, 2, 3):
        book.promote(number)
    assert [book.roll_back(), book.roll_back()] == [2, 1]
    with pytest.raises(PromotionRefused, match=r"Version 1 of .* has no predecessor that was not rolled back from"):
        book.roll_back()
    assert [(event.version, event.by) for event in book.history()[3:]] == [(2, "rollback"), (1, "rollback")]


def test_the_gate_never_brings_back_what_was_rolled_back_from_but_a_person_may(book: Registry) -> None:
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


def test_going_back_by_hand_passes_over_the_versions_between(book: Registry) -> None:
    for number in (1, 2, 3):
        book.promote(number)
    assert book.roll_back(by="hand", to_version=1) == 1
    assert registry.predecessor(book.uri, book.name) is None


def test_a_version_that_never_passed_the_gate_is_not_gone_back_to(book: Registry) -> None:
    book.add(gated=False)
    book.promote(1)
    with pytest.raises(PromotionRefused, match=r"Version 4 .* never passed the gate.*drift_reference\.parquet"):
        book.roll_back(to_version=4)
    with pytest.raises(registry.RegistryError, match="no version 99"):
        book.roll_back(to_version=99)
    assert book.versions() == [1]


def test_a_version_that_never_passed_the_gate_is_promoted_by_hand_instead(book: Registry) -> None:
    book.add(gated=False)
    book.promote(1)
    with pytest.raises(PromotionRefused, match=rf"`credit-assets promote --portfolio {book.name} --version 4 --why"):
        book.roll_back(to_version=4)


def override(book: Registry, number: int, by: str, why: str = "it is needed", approvals: int = 1, **more: Any) -> str:
    return str(registry.override(book.uri, book.name, number, by=by, why=why, approvals=approvals, **more))


def test_a_promotion_by_hand_is_noted_as_an_override_with_who_why_and_what_the_gate_said(book: Registry) -> None:
    book.promote(1)
    registry.log_judgement(book.uri, book.name, 2, "It was refused by the gate. AUC 0.6 is below 0.65.")
    done = override(book, 2, " Ann  Smith ", "the test month was odd.", dagster_runs=["run", "root"])
    assert done == "Version 2 is promoted by hand, approved by Ann Smith."
    event = book.history()[-1]
    assert (event.version, event.by, event.replaced, event.run_id, event.back) == (2, "override", 1, "run", False)
    assert event.why == (
        "Promoted by hand. Ann Smith: the test month was odd. It was refused by the gate. AUC 0.6 is below 0.65."
    )
    assert book.aliases() == {registry.CHAMPION: 2, registry.PREVIOUS: 1}


def test_four_eyes_are_two_different_persons(book: Registry) -> None:
    book.promote(1)
    for by in ("Ann", "ann", " ANN "):
        waiting = override(book, 3, by, approvals=2)
        assert waiting.startswith("Version 3 is approved by") and "once one other person approved too" in waiting
        assert book.versions() == [1]
    # Of another version an approval says nothing.
    assert "approved by Bob. It is promoted once" in override(book, 2, "Bob", approvals=2)
    assert registry.approvals_with(book.uri, book.name, 3, "Bob") == [" ANN ".strip(), "Bob"]
    assert override(book, 3, "Bob", "I looked too", approvals=2).endswith("approved by ANN and Bob.")
    assert book.versions() == [1, 3]
    assert "ANN: it is needed; Bob: I looked too." in book.history()[-1].why


def test_an_approval_lapses_when_the_champion_changes(book: Registry) -> None:
    book.promote(1)
    override(book, 3, "Ann", approvals=2)
    book.promote(2)
    assert "It is promoted once one other person" in override(book, 3, "Bob", approvals=2)
    assert book.versions() == [1, 2]


@pytest.mark.parametrize(
    ("number", "by", "why", "said"),
    [
        (2, " ", "so", "needs the name of who approves"),
        (2, "Ann", " ", "and the reason"),
        (1, "Ann", "so", "Version 1 of .* is the champion already"),
        (4, "Ann", "so", r"has no drift_reference\.parquet"),
    ],
)
def test_what_a_promotion_by_hand_lacks_is_named(book: Registry, number: int, by: str, why: str, said: str) -> None:
    book.promote(1)
    book.add(gated=False)
    with pytest.raises(PromotionRefused, match=said):
        override(book, number, by, why)
    with pytest.raises(registry.RegistryError, match="no version 99"):
        override(book, 99, "Ann")
    assert book.versions() == [1]
    assert not [tag for tag in book.tags() if tag.startswith(registry.APPROVAL)]


def test_a_rollback_is_no_way_around_the_approvals(book: Registry) -> None:
    book.promote(1)
    registry.log_judgement(book.uri, book.name, 3, "It was refused by the gate. AUC 0.6 is below 0.65.")
    override(book, 3, "Ann", approvals=2)
    with pytest.raises(PromotionRefused, match=r"Version 3 .* never passed the gate\. .*credit-assets promote"):
        book.roll_back(to_version=3, by="hand")
    override(book, 3, "Bob", approvals=2)
    book.promote(2)
    assert book.roll_back(to_version=3, by="hand") == 3


def test_a_run_that_is_launched_again_overrides_once(book: Registry) -> None:
    book.promote(1)
    override(book, 2, "Ann", dagster_runs=["first"])
    assert override(book, 2, "Ann", dagster_runs=["second", "first"]) == "Version 2 is promoted by hand."
    assert book.versions() == [1, 2]


def test_the_gate_does_not_undo_an_override_but_promotes_a_new_candidate(book: Registry) -> None:
    book.promote(1)
    book.promote(3)
    override(book, 2, "Ann", "3 declines too many")
    with pytest.raises(PromotionRefused, match=r"Version 3 .* was replaced by hand at .*3 declines too many"):
        book.promote(3)
    book.add()
    book.promote(4)
    assert book.versions() == [1, 3, 2, 4]
    # Back again by hand, it is a champion like others.
    override(book, 3, "Bob")
    book.promote(4, by="override")
    assert book.versions()[-2:] == [3, 4]


def test_an_overridden_champion_may_be_gone_back_to(book: Registry) -> None:
    book.promote(1)
    override(book, 2, "Ann")
    assert registry.predecessor(book.uri, book.name) == 1
    assert book.roll_back() == 1


def test_without_a_champion_there_is_nothing_to_go_back_from(book: Registry) -> None:
    with pytest.raises(PromotionRefused, match="has no champion to roll back from"):
        book.roll_back()


def test_a_repeated_rollback_goes_back_once(book: Registry) -> None:
    for number in (1, 2, 3):
        book.promote(number)
    assert book.roll_back(dagster_runs=["first"]) == 2
    # The run was killed after the move, and launched again.
    assert book.roll_back(dagster_runs=["second", "first"]) == 2
    assert book.roll_back(dagster_runs=["third"]) == 1


def test_a_rollback_asked_for_of_a_version_that_decides_no_more_moves_nothing(book: Registry) -> None:
    for number in (1, 2, 3):
        book.promote(number)
    assert book.roll_back(from_version=2) == 3
    assert book.roll_back(from_version=3) == 2
    assert book.versions() == [1, 2, 3, 2]


def events(moves: list[tuple[int, registry.By]]) -> list[ChampionEvent]:
    """A history of (version, by)."""
    replaced = [None, *(version for version, _ in moves)]
    return [
        ChampionEvent(number, version, LONG_AGO, by, "", None, before)
        for number, ((version, by), before) in enumerate(zip(moves, replaced, strict=False), 1)
    ]


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ([], None),
        ([(1, "gate")], None),
        ([(1, "gate"), (2, "gate")], 1),
        ([(1, "gate"), (2, "gate"), (1, "rollback"), (3, "gate")], 1),
        ([(1, "gate"), (2, "gate"), (3, "gate"), (2, "rollback")], 1),
        ([(1, "gate"), (2, "gate"), (1, "rollback"), (3, "gate"), (4, "gate"), (3, "rollback")], 1),
        ([(1, "gate"), (2, "gate"), (1, "rollback"), (2, "hand")], 1),
        ([(1, "gate"), (2, "gate"), (1, "rollback"), (2, "hand"), (3, "gate")], 2),
    ],
)
def test_the_predecessor_decided_before_and_was_not_found_wanting(moves, expected) -> None:
    assert registry.predecessor_of(events(moves), range(9)) == expected


def test_a_version_that_was_deleted_is_not_gone_back_to() -> None:
    moves = [(1, "gate"), (2, "gate"), (3, "gate")]
    assert registry.predecessor_of(events(moves), {1, 2, 3}) == 2
    assert registry.predecessor_of(events(moves), {1, 3}) == 1
    assert registry.predecessor_of(events(moves), {3}) is None


@given(st.lists(st.sampled_from(["train", "back", "hand"]), max_size=30), st.data())
def test_rollbacks_in_a_row_come_to_an_end_and_never_to_a_version_known_to_be_worse(steps, data) -> None:
    moves: list[tuple[int, registry.By]] = [(1, "gate")]
    trained = 1

    def back() -> int | None:
        history = events(moves)
        to = registry.predecessor_of(history, range(99))
        if to is not None:
            assert to < history[-1].version
            assert to not in registry.rolled_back(history)
            moves.append((to, "rollback"))
        return to

    for step in steps:
        if step == "train":
            trained += 1
            moves.append((trained, "gate"))
        elif step == "back":
            back()
        elif (number := data.draw(st.integers(1, trained))) != moves[-1][0]:
            moves.append((number, "hand"))
    seen = []
    while (to := back()) is not None:
        seen.append(to)
    assert seen == sorted(set(seen), reverse=True)

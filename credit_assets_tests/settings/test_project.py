"""How a project is found, and where its data are stored."""

from pathlib import Path

import pytest

from credit_assets.settings.project import Project


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("CREDIT_ASSETS_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    root = tmp_path / "book"
    (root / "configs").mkdir(parents=True)
    (root / "dagster.yaml").touch()
    (root / "deep" / "down").mkdir(parents=True)
    return root


def test_project_is_found_from_any_folder_within(root, monkeypatch):
    assert Project.find(root) == Project(root)
    assert Project.find(root / "deep" / "down") == Project(root)
    monkeypatch.chdir(root / "deep")
    assert Project.find() == Project(root)


def test_environment_may_name_the_project(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CREDIT_ASSETS_HOME", str(root))
    assert Project.find() == Project(root)


@pytest.mark.parametrize("missing", ["dagster.yaml", "configs"])
def test_folder_without_a_project_is_refused_with_the_expected_files(root, missing):
    (root / missing).rename(root / "gone")
    with pytest.raises(FileNotFoundError, match=r"dagster\.yaml and configs/ mark one"):
        Project.find(root)


def test_all_data_are_below_the_data_folder(root):
    project = Project(root)
    for place in (project.inbox, project.lake, project.reports, project.studies, project.spill, project.artifacts):
        assert project.data in place.parents
    assert project.config("book") == root / "configs" / "book.yaml"
    assert project.sql("book") == root / "sql" / "book"


def test_models_are_tracked_in_a_local_file_unless_a_server_is_configured(root, monkeypatch):
    assert Project(root).tracking_uri == f"sqlite:///{root}/data/mlflow/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.com")
    assert Project(root).tracking_uri == "https://mlflow.example.com"

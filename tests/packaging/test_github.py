"""What the repository has for GitHub and for releases: workflows, forms, and one placeholder for its address."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import airflow_provider_meisa

ROOT = Path(__file__).resolve().parent.parent.parent
WORKFLOWS = ROOT / ".github" / "workflows"
FORMS = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
PLACEHOLDER = "github.com/OWNER/"


def workflow(name):
    """Read a workflow; YAML takes its key ``on`` for true."""
    return yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text(encoding="utf-8"))


def steps(job):
    return [step.get("run", "") for step in job["steps"]]


def test_ci_runs_what_runs_here():
    (job,) = workflow("ci")["jobs"].values()
    assert [command for command in steps(job) if command] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_publish_starts_by_hand_and_keeps_no_token():
    publish = workflow("publish")
    assert list(publish[True]) == ["workflow_dispatch"]
    assert publish[True]["workflow_dispatch"]["inputs"]["index"]["default"] == "nowhere"
    job = publish["jobs"]["publish"]
    assert (job["needs"], job["permissions"]) == ("build", {"id-token": "write"})
    assert "secrets." not in (WORKFLOWS / "publish.yml").read_text(encoding="utf-8")
    assert "make package" in steps(publish["jobs"]["build"])


@pytest.mark.parametrize("name", ["ci", "publish"])
def test_workflows_may_only_read_unless_they_say_so(name):
    assert workflow(name)["permissions"] == {"contents": "read"}


@pytest.fixture
def guard(tmp_path):
    """Run the step that keeps a release back, in a copy of the files it reads."""
    (script,) = [command for command in steps(workflow("publish")["jobs"]["build"]) if "OWNER" in command]
    (tmp_path / "airflow_provider_meisa").mkdir()
    shutil.copy(ROOT / "airflow_provider_meisa" / "__init__.py", tmp_path / "airflow_provider_meisa")

    def run(ref, owner):
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        (tmp_path / "pyproject.toml").write_text(text.replace("OWNER", owner))
        command = ["bash", "-eo", "pipefail", "-c", script]
        env = {**os.environ, "GITHUB_REF": ref}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    return run


TAG = f"refs/tags/v{airflow_provider_meisa.__version__}"


def test_release_with_an_address_and_its_tag_goes_out(guard):
    ran = guard(TAG, owner="example")
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("ref", "owner", "message"),
    [
        (TAG, "OWNER", "placeholder OWNER"),
        (
            "refs/heads/main",
            "example",
            f"on the tag {TAG.removeprefix('refs/tags/')}, not on refs/heads/main",
        ),
        ("refs/tags/v9.9.9", "example", "not on refs/tags/v9.9.9"),
    ],
)
def test_release_without_address_or_tag_is_refused(guard, ref, owner, message):
    ran = guard(ref, owner=owner)
    assert ran.returncode == 1
    assert message in ran.stderr


def test_address_of_the_repository_is_in_one_place():
    folders = ("airflow_provider_meisa", "dev", "docs", "example_dags", ".github")
    files = [*ROOT.glob("*.*"), *(path for folder in folders for path in (ROOT / folder).rglob("*.*"))]
    texts = [path for path in files if path.suffix in {".md", ".py", ".toml", ".yml", ".yaml", ".js"}]
    naming = [path for path in texts if "_build" not in path.parts and PLACEHOLDER in path.read_text("utf-8")]
    assert {path.relative_to(ROOT).as_posix() for path in naming} == {
        ".github/workflows/publish.yml",  # which refuses it
        "pyproject.toml",
    }
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert text.count(PLACEHOLDER) == text.count("/OWNER/") == 4
    assert "OWNER is a placeholder" in text


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_issue_forms_are_well_formed(form):
    read = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= read.keys()
    kinds = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
    fields = [field for field in read["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in read["body"]} <= kinds
    assert all(field["attributes"]["label"] for field in fields)
    ids = [field["id"] for field in fields]
    assert len(ids) == len(set(ids))
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_bug_form_asks_for_ping_versions_and_executor():
    read = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8"))
    required = {field["id"] for field in read["body"] if field.get("validations", {}).get("required")}
    assert {"ping", "versions", "executor"} <= required
    (ping,) = [field for field in read["body"] if field.get("id") == "ping"]
    assert ping["attributes"]["label"] == "Output of airflow meisa ping"


@pytest.mark.parametrize(
    "name", ["RELEASING.md", ".github/pull_request_template.md", ".github/workflows/publish.yml"]
)
def test_make_targets_of_a_release_exist(name):
    targets = set(
        re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / name).read_text(encoding="utf-8")))
    assert named
    assert named <= targets


def test_read_the_docs_installs_an_extra_and_pins_that_exist():
    settings = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text(encoding="utf-8"))
    (install,) = settings["build"]["jobs"]["install"]
    pins, extra = re.fullmatch(r"pip install --constraint (\S+) '\.\[(\w+)\]'", install).groups()
    assert (ROOT / pins).exists()
    assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert settings["sphinx"] == {"configuration": "docs/conf.py", "fail_on_warning": True}

"""What README and docs say is true of the code."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import importlib
import inspect
import json
import os
import re
import runpy
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_provider_meisa.api import errors, outcomes
from airflow_provider_meisa.api.endpoints.sequences import SequenceInfo
from airflow_provider_meisa.api.rate_limit.limits import parse_limits
from airflow_provider_meisa.api.settings import Settings
from airflow_provider_meisa.bulk.checkpoint import Checkpoint
from airflow_provider_meisa.decorators.meisa_enroll import MeisaEnrollDecoratedOperator
from airflow_provider_meisa.decorators.meisa_sync_contacts import MeisaSyncContactsDecoratedOperator
from airflow_provider_meisa.get_provider_info import get_provider_info
from airflow_provider_meisa.hooks.meisa import MeisaHook, is_final
from airflow_provider_meisa.jobs.sync_contacts import SyncContactsJob
from airflow_provider_meisa.operators.audience import AudienceOperator
from airflow_provider_meisa.operators.bulk import BulkOperator
from airflow_provider_meisa.operators.contacts import MeisaUpsertContactOperator
from airflow_provider_meisa.operators.redacted import RedactedField
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.operators.sync_contacts import ContactSyncOperator, MeisaSyncContactsOperator
from airflow_provider_meisa.sensors.sequences import MeisaSequenceSensor
from airflow_provider_meisa.transfers.file_to_meisa import (
    FileToMeisaContactsOperator,
    FileToMeisaSequenceOperator,
)
from airflow_provider_meisa.transfers.meisa_to_sql import (
    MeisaOutcomesToSqlOperator,
    MeisaUnsubscribedToSqlOperator,
)
from airflow_provider_meisa.transfers.sql_to_meisa import (
    SqlToMeisaContactsOperator,
    SqlToMeisaSequenceOperator,
)
from tests.support.provider import modules_of_provider

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
DAGS = ROOT / "example_dags"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
TEXTS = [ROOT / "README.md", *PAGES]

every_text = pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Return what stands between a heading and the next of its level or above."""
    level = heading.partition(" ")[0]
    match = re.search(
        rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert match, f"There is no heading {heading!r}."
    return match[1]


def tables(text: str) -> list[list[dict[str, str]]]:
    """Return every table as a list of rows."""
    found = []
    for match in re.finditer(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        head, _, *rows = [
            [cell.strip() for cell in line.strip("|").split(" |")] for line in match[0].splitlines()
        ]
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


def fences(text: str, language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for code in found]


def plain(cell: str) -> str:
    return cell.replace("`", "")


@pytest.fixture
def settings_of(monkeypatch):
    """Read a connection as Airflow does that finds it in its environment."""

    def read_connection(spelled: str) -> Settings:
        monkeypatch.setenv("AIRFLOW_CONN_MEISA_FROM_DOCS", spelled)
        return MeisaHook("meisa_from_docs").get_conn().settings

    return read_connection


# The pages


@every_text
def test_every_link_to_a_file_leads_to_one(path):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


@every_text
def test_python_blocks_compile_and_import_what_exists(path):
    for code in fences(path.read_text(encoding="utf-8"), "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow_provider_meisa"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)


def test_quoted_code_and_parameters_are_current():
    """Write them with `make quotes`."""
    quote = runpy.run_path(str(DOCS / "_scripts" / "quote.py"))
    pages = quote["pages"]()
    assert set(pages) == set(TEXTS)
    assert [page.name for page in pages if quote["quoted"](text := page.read_text()) != text] == []


RUN_BY_A_TEST = {
    "README.md": "test_readme_dag_enrolls_the_signups_of_its_day",
    "docs/how-to/upsert-contact.md": "tests/operators/test_upsert_contact.py",
    "docs/how-to/hook.md": "tests/hooks/test_hook_page.py",
}


@every_text
def test_python_is_quoted_or_run_by_a_test(path):
    text = path.read_text(encoding="utf-8")
    own = re.sub(r"^<!-- code: .*? -->\n\n```python\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    if fences(own, "python") or "{code-block} python" in own:
        assert str(path.relative_to(ROOT)) in RUN_BY_A_TEST
    assert "literalinclude" not in text


WITHOUT_A_DAG = {"cli.md", "distributed.md", "install.md", "kubernetes.md", "page.md", "sandbox.md"}
HOW_TOS = sorted(page for page in (DOCS / "how-to").glob("*.md") if page.name not in WITHOUT_A_DAG)

every_how_to = pytest.mark.parametrize("page", HOW_TOS, ids=lambda page: page.stem)


@every_how_to
def test_how_to_ends_with_a_whole_dag(page):
    *_, last = fences(page.read_text(encoding="utf-8"), "python")
    whole = [
        runpy.run_path(str(DOCS / "_scripts" / "quote.py"))["code"](file, []) for file in DAGS.glob("*.py")
    ]
    assert last in whole or f"docs/how-to/{page.name}" in RUN_BY_A_TEST
    assert "dag(" in last.lower()


def test_each_recipe_has_a_whole_dag():
    quote = runpy.run_path(str(DOCS / "_scripts" / "quote.py"))
    whole = [quote["code"](file, []) for file in DAGS.glob("*.py")]
    pages = sorted((DOCS / "recipes").glob("*.md"))
    assert [page.stem for page in pages if fences(page.read_text(), "python")[-1] not in whole] == []


@every_how_to
def test_code_of_a_how_to_stands_on_its_own(page):
    """Every name is imported or set on the page: by its block, or by another that the reader sees."""
    blocks = [ast.parse(code) for code in fences(page.read_text(encoding="utf-8"), "python")]
    known = {name for block in blocks for name in _names_set(block)} | set(dir(builtins)) | {"__doc__"}
    for block in blocks:
        imported = {alias.asname or alias.name for node in _imports(block) for alias in node.names}
        used = {node.id for node in ast.walk(block) if isinstance(node, ast.Name)}
        assert used <= known | imported


def _imports(block: ast.Module) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(block) if isinstance(node, ast.Import | ast.ImportFrom)]


def _names_set(block: ast.Module) -> Iterable[str]:
    for node in ast.walk(block):
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def test_quotes_are_written_where_a_page_asks(tmp_path):
    quote = runpy.run_path(str(DOCS / "_scripts" / "quote.py"))
    page = "<!-- code: example_dags/file_drop.py imports summary -->\n\n```python\nold = 1\n```\nend\n"
    written = quote["quoted"](page)
    (code,) = fences(written, "python")
    first, *rest = code.splitlines()
    assert first == "from typing import Any"
    assert "@task" in rest
    assert "START" not in code
    assert "old" not in written
    assert written.endswith("```\nend\n")
    assert quote["quoted"](written) == written


@every_text
def test_every_module_and_class_of_ours_that_is_named_exists(path):
    text = path.read_text(encoding="utf-8")
    for dotted in set(re.findall(r"\bairflow_provider_meisa(?:\.\w+)+", text)) - {
        "airflow_provider_meisa.egg"
    }:
        _resolve(dotted)
    for name in set(re.findall(r"\b(?:Meisa[A-Z]\w+|\w+ToMeisa\w+)", text)):
        assert name in _public_classes(), f"{name} does not exist."


def _resolve(dotted: str) -> None:
    try:
        importlib.import_module(dotted)
    except ModuleNotFoundError:
        module, _, name = dotted.rpartition(".")
        assert hasattr(importlib.import_module(module), name), dotted


def _public_classes() -> set[str]:
    decorators = ("decorators.meisa_enroll", "decorators.meisa_sync_contacts")
    others = ("api", "api.errors", *decorators, "operators.retry_policy", "links.meisa")
    names = [*modules_of_provider(), *(f"airflow_provider_meisa.{module}" for module in others)]
    found = [importlib.import_module(name) for name in names]
    return {name for module in found for name, _ in inspect.getmembers(module, inspect.isclass)}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_a_line_holds_one_sentence(path):
    prose = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for line in prose.splitlines():
        # A remark at a list item, in a table or at a picture may be longer than a sentence.
        if not re.match(r"\||- |\d+\. |!\[", line):
            assert not re.search(r"[.!?]\)? (?=[A-Z`\[])", line), line


# README


def test_readme_is_short_and_begins_with_meisa():
    lines = read("README.md").splitlines()
    assert len(read("README.md").split()) < 800
    assert "lifecycle e-mail" in lines[2]
    assert lines.index("enroll_signups()") < 60


def test_badges_are_drawn_from_the_project():
    script = runpy.run_path(str(DOCS / "_scripts" / "badges.py"))
    shown = re.findall(r"!\[([^]]+)\]\(docs/_static/badges/(\w+)\.svg\)", read("README.md"))
    assert {name for _, name in shown} == script["badges"]().keys()
    for text, name in shown:
        label, value = script["badges"]()[name]
        assert read(f"docs/_static/badges/{name}.svg") == script["draw"](label, value)
        assert text.lower().startswith(label.lower())
        assert value == "yes" or value.removesuffix("+") in text


def test_readme_dag_enrolls_the_signups_of_its_day(run, meisa_sandbox, monkeypatch, tmp_path):
    (code,) = fences(read("README.md"), "python")
    (tmp_path / "enroll_signups.py").write_text(code)
    users = [
        ("before@example.com", "2026-03-03"),
        ("ada@example.com", "2026-03-04"),
        ("grace@example.com", "2026-03-04"),
        ("unsubscribed@example.com", "2026-03-04"),
        ("after@example.com", "2026-03-05"),
    ]
    with closing(sqlite3.connect(tmp_path / "warehouse.sqlite")) as warehouse, warehouse:
        warehouse.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, signed_up_on DATE)")
        warehouse.executemany("INSERT INTO users (email, signed_up_on) VALUES (?, ?)", users)
    fields = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.sqlite")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(fields))
    dag = runpy.run_path(str(tmp_path / "enroll_signups.py"))["enroll_signups"]()
    ran = run(dag, logical_date=datetime(2026, 3, 5, tzinfo=UTC))
    assert ran.states == {"enroll": "success"}
    assert ran.counts("enroll") == {"enrolled": 2, "suppressed": 1}
    enrolled = [row["email"] for row in meisa_sandbox.enrollments("onboarding")]
    assert sorted(enrolled) == ["ada@example.com", "grace@example.com"]


def test_readme_names_the_versions_that_were_tested():
    (rows,) = tables(section(read("README.md"), "## Supported versions"))
    tried, *_ = [table for table in tables(read("docs/versions.md")) if "Installs" in table[0]]
    written = {(row["Airflow"], python) for row in rows for python in row["Python"].split(", ")}
    assert written == {(row["Airflow"], row["Python"].rpartition(".")[0]) for row in tried}


def test_contributing_names_every_room_of_the_house():
    (rows,) = tables(section(read("CONTRIBUTING.md"), "## Where things live"))
    written = {name for row in rows for name in re.findall(r"(\w+)/`", row["folder"])}
    package = ROOT / "airflow_provider_meisa"
    assert written == {module.parent.name for module in package.glob("*/__init__.py")}


@every_text
def test_make_targets_that_are_named_exist(path):
    targets = set(re.findall(r"^([a-z]+):.*##", read("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:\$ |`)make ([a-z]+)\b", path.read_text(encoding="utf-8"))) <= targets


# Overview


def test_overview_lists_every_class_and_its_module():
    (rows,) = tables(section(read("docs/index.md"), "## Classes"))
    for row in rows:
        name = re.search(r"`(\w+)`", row["Class"])[1]
        assert hasattr(importlib.import_module(plain(row["Module"])), name), row
    assert set(modules_of_provider()) <= {plain(row["Module"]) for row in rows}


@pytest.mark.system
def test_demo_prints_what_its_page_shows():
    """Each line of the page is printed, with other figures and other sample addresses."""
    (shown, *_) = fences(section(read("docs/how-to/sandbox.md"), "## Run the demo"), "text")
    command = [sys.executable, "dev/scripts/demo.py"]
    printed = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    ).stdout
    lines = _without_figures(shown)
    assert {line.split()[0] for line in lines} >= {"Sending", "Batch"}
    assert lines - _without_figures(printed) == set()
    sent = re.findall(r"^sent by the (\w+) run +(\d+) +(\d+)$", printed, re.MULTILINE)
    assert sent == [("first", "0", "0"), ("second", "0", "0"), ("third", "20", "20")]


def _without_figures(output: str) -> set[str]:
    """Return the lines of the demo; of each outcome its status alone, because batches end in any order."""
    lines = (line.strip() for line in output.splitlines())
    outcomes = r'\{"address": .*"status": ("\w+").*'
    return {re.sub(r"\d+", "0", re.sub(outcomes, r"\1", line)) for line in lines} - {"", "…"}


# Installing


def test_the_page_on_installing_names_every_extra_that_users_need():
    (rows,) = tables(section(read("docs/how-to/install.md"), "## Extras"))
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    assert {plain(row["Extra"]) for row in rows} == extras.keys() - {
        *("bench", "dev", "distributed", "docs", "release"),
    }


@every_text
def test_every_file_of_pins_that_is_named_is_there(path):
    for name in re.findall(r"constraints/airflow-[\w.]+\.txt", path.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name


@every_text
def test_every_extra_that_is_installed_exists(path):
    known = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"].keys()
    for named in re.findall(
        r"(?:/opt/meisa|'\.|provider-meisa)\[([\w,]+)\]", path.read_text(encoding="utf-8")
    ):
        assert set(named.split(",")) <= known, named


def test_install_command_removes_one_line_of_constraints(tmp_path):
    (command,) = re.findall(r"^\$ (grep .*)$", read("docs/how-to/install.md"), re.MULTILINE)
    pins = "apache-airflow==3.1.8\napache-airflow-providers-common-compat==1.13.0\nrequests==2.32.5\n"
    (tmp_path / "constraints-3.11.txt").write_text(pins)
    subprocess.run(["bash", "-c", command], check=True, cwd=tmp_path)
    left = "apache-airflow==3.1.8\nrequests==2.32.5\n"
    assert (tmp_path / "constraints.txt").read_text() == left


def test_install_page_names_the_version_of_common_compat():
    (needed,) = re.findall(r'"apache-airflow-providers-common-compat>=([\d.]+)"', read("pyproject.toml"))
    assert f"version {needed} or later" in read("docs/how-to/install.md")


def test_dockerfile_copies_the_whole_package(tmp_path):
    (dockerfile,) = fences(read("docs/how-to/install.md"), "dockerfile")
    for sources, target in re.findall(r"^COPY (.+) /opt/meisa/(\S*)$", dockerfile, re.MULTILINE):
        for source in sources.split():
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, tmp_path / (target or source))
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(build, check=True, cwd=tmp_path, capture_output=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    packed = {
        name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("airflow_provider_meisa/")
    }
    modules = (ROOT / "airflow_provider_meisa").rglob("*.py")
    assert {str(module.relative_to(ROOT)) for module in modules} <= packed


# Pictures


def test_pictures_are_small_shown_and_scripted():
    shots = re.findall(r'^    Shot\(\s*"(\w+)"', read("docs/_scripts/screenshots.py"), re.MULTILINE)
    pictures = {path.stem: path for path in (DOCS / "_static" / "screenshots").iterdir()}
    assert pictures.keys() == set(shots)
    texts = "".join(text.read_text(encoding="utf-8") for text in TEXTS)
    for name, path in pictures.items():
        assert path.stat().st_size < 150_000, name
        assert f"_static/screenshots/{name}.png" in texts, name


# Connection


def test_the_table_of_extras_is_that_of_the_form():
    _, rows = tables(section(read("docs/connection.md"), "## Fields"))
    written = {plain(row["Extra"]): (row["In the form"], _default(row["What it is"])) for row in rows}
    fields = get_provider_info()["connection-types"][0]["conn-fields"]
    assert written == {
        name: (field["label"], field["schema"].get("default") or None) for name, field in fields.items()
    }


def test_the_table_of_extras_names_every_choice():
    _, rows = tables(section(read("docs/connection.md"), "## Fields"))
    written = {plain(row["Extra"]): row["What it is"] for row in rows}
    for name, field in get_provider_info()["connection-types"][0]["conn-fields"].items():
        assert all(
            f"`{choice}`" in written[name] for choice in filter(None, field["schema"].get("enum", []))
        ), name


def _default(cell: str) -> object:
    """Return the default that ends a cell; nothing where it is empty, or as good as that."""
    found = re.search(r"Default: (?:empty|`(.*)`)\.$", cell)
    assert found, cell
    text = found[1] or ""
    return json.loads(text) or None if re.fullmatch(r"true|false|\d+", text) else text or None


def test_the_table_of_standard_fields_is_that_of_the_form():
    rows, _ = tables(section(read("docs/connection.md"), "## Fields"))
    behaviour = get_provider_info()["connection-types"][0]["ui-field-behaviour"]
    assert {plain(row["Field"]): row["In the form"] for row in rows} == behaviour["relabeling"]


def test_json_and_uri_are_the_same_connection(settings_of):
    text = section(read("docs/connection.md"), "## As an environment variable")
    (spelled,) = fences(text, "json")
    uri, least, sandbox = (code.strip() for code in fences(text, "text"))
    wanted = Settings(
        api_key="meisa_live_your_key",
        environment="live",
        limits=parse_limits("120/minute, 5000/hour"),
        timeout=10,
    )
    assert settings_of(spelled) == wanted
    assert settings_of(uri) == wanted
    assert settings_of(least) == Settings(api_key="meisa_live_your_key")
    assert settings_of(sandbox) == Settings(
        api_key="meisa_live_sandbox", base_url="http://127.0.0.1:8765/api/v1"
    )


@every_text
def test_every_connection_uri_can_be_used(path, settings_of):
    for uri in re.findall(r"meisa://(?!sequences/)[^\s'`]+", path.read_text(encoding="utf-8")):
        assert settings_of(uri).api_key.startswith("meisa_live_"), uri


def test_the_scopes_are_those_the_calls_need(meisa_sandbox, meisa_connection):
    from airflow.providers.common.compat.sdk import AirflowFailException

    (rows,) = tables(section(read("docs/connection.md"), "## Scopes"))
    scopes = {
        name: plain(row["Scope"])
        for row in rows
        for name in re.findall(r"MeisaHook\.(\w+)", row["What you use"])
    }
    calls = {
        "enroll": ("ada@example.com", "onboarding"),
        "bulk_enroll": (["ada@example.com"], "onboarding"),
        "list_sequences": (),
        "contact_enrollments": ("ada@example.com",),
        "upsert_contact": ("ada@example.com",),
        "add_tag": ("c-1",),
        "remove_tag": ("c-1",),
        "unsubscribed_emails": (),
        "ping": (),
    }
    assert scopes.keys() == calls.keys()
    meisa_sandbox.add_key("meisa_live_none", [])
    meisa_connection(password="meisa_live_none")
    for name, arguments in calls.items():
        call = getattr(MeisaHook(), name)
        if name.endswith("_tag"):
            call = functools.partial(call, tag_name="trial")
        if scopes[name] == "none":
            call(*arguments)
        else:
            with pytest.raises(AirflowFailException, match=f"lacks the scope {scopes[name]} "):
                call(*arguments)


def test_the_test_button_says_what_the_page_shows(meisa_sandbox, meisa_connection):
    meisa_sandbox.add_key("meisa_live_narrow", ["sequences:enroll"])
    meisa_connection(password="meisa_live_narrow")
    (shown,) = fences(section(read("docs/connection.md"), "## The Test button"), "text")
    assert MeisaHook().test_connection() == (True, shown.strip())


# Parameters


def family(class_: type) -> list[type]:
    """Return a class and its bases in this package."""
    return [one for one in class_.__mro__ if one.__module__.startswith("airflow_provider_meisa.")]


def parameters_of(classes: Iterable[type]) -> dict[str, inspect.Parameter]:
    return {
        name: parameter
        for one in classes
        if "__init__" in vars(one) or not one.__module__.startswith("airflow_provider_meisa.decorators")
        for name, parameter in inspect.signature(one).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


CLASSES = [
    MeisaEnrollOperator,
    MeisaUpsertContactOperator,
    BulkOperator,
    AudienceOperator,
    MeisaBulkEnrollOperator,
    SqlToMeisaSequenceOperator,
    FileToMeisaSequenceOperator,
    ContactSyncOperator,
    MeisaSyncContactsOperator,
    SqlToMeisaContactsOperator,
    FileToMeisaContactsOperator,
    MeisaUnsubscribedToSqlOperator,
    MeisaOutcomesToSqlOperator,
    MeisaSequenceSensor,
]


@pytest.mark.parametrize("class_", CLASSES)
def test_every_parameter_is_in_the_docstring(class_):
    named = set(re.findall(r"^ *:param (\w+):", docstrings(class_), re.MULTILINE)) - {"kwargs"}
    assert named == set(parameters_of(family(class_)))


@pytest.mark.parametrize("class_", CLASSES)
def test_the_docstring_says_what_is_templated_and_what_is_hidden(class_):
    written = dict(
        re.findall(r"^ *:param (\w+):(.*?)(?=^ *:param|\Z)", docstrings(class_), re.MULTILINE | re.DOTALL)
    )
    # Of meisa_conn_id the page says once that it is templated everywhere.
    everywhere = {"meisa_conn_id"} & written.keys()
    templated = {name for name, text in written.items() if "(templated" in text} | everywhere
    assert templated == set(class_.template_fields)
    hidden = {
        name for name in written if isinstance(inspect.getattr_static(class_, name, None), RedactedField)
    }
    assert {name for name, text in written.items() if "never shown in the UI" in text} == hidden


def docstrings(class_: type) -> str:
    return "\n".join(one.__doc__ or "" for one in family(class_))


@pytest.mark.parametrize(
    "class_", [*CLASSES, MeisaEnrollDecoratedOperator, MeisaSyncContactsDecoratedOperator]
)
def test_every_class_has_its_parameters_on_a_page(class_):
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    (table,) = re.findall(
        rf"<!-- parameters: {class_.__module__}.{class_.__name__} -->\n(.*?)<!-- end -->", pages, re.DOTALL
    )
    (rows,) = tables(table)
    own = {plain(row["Parameter"]): row["Default"] for row in rows}
    assert own.keys() >= parameters_of([class_]).keys()
    for name, parameter in parameters_of([class_]).items():
        default = own[name]
        assert (default == "required") == (parameter.default is inspect.Parameter.empty), name


def test_every_format_of_a_file_is_on_its_page():
    from airflow_provider_meisa.transfers.sources import files as file_formats

    (rows,) = tables(read("docs/how-to/file.md"))
    written = {
        suffix: plain(row["`format`"]) for row in rows for suffix in re.findall(r"\.\w+", row["Suffix"])
    }
    assert written == file_formats._BY_SUFFIX


# XCom, statuses, errors


def flattened(value: object, name: str = "") -> list[str]:
    """Name every field, those of objects in a list as ``list[].field``; statuses have a page of their own."""
    if isinstance(value, dict) and name not in ("counts", "reasons"):
        inner = [f for key, part in value.items() for f in flattened(part, f"{name}.{key}" if name else key)]
        return [name, *inner] if name.endswith("[]") else inner
    if isinstance(value, list):
        return [name, *(field for field in flattened(value[0], f"{name}[]") if not field.endswith("[]"))]
    return [name]


def sample_summary() -> dict[str, object]:
    counter = outcomes.OutcomeCounter()
    counter.add([outcomes.Outcome("ada@example.com", outcomes.OutcomeStatus.FAILED, "refused")])
    return outcomes.build_summary(
        counter,
        job="enroll",
        identity={"sequence_slug": "onboarding"},
        statuses=outcomes.ENROLL_STATUSES,
        complete=True,
        requests=1,
        retries=0,
        rate_limited=0,
        waited_s=0,
        elapsed_s=1,
    )


def test_summary_fields_are_on_the_page_in_order():
    rows, _ = tables(section(read("docs/reference/xcom.md"), "## Summary"))
    assert [plain(row["Field"]) for row in rows] == flattened(sample_summary())


def test_example_summary_has_its_form_and_adds_up():
    (code,) = fences(section(read("docs/reference/xcom.md"), "## Summary"), "json")
    shown = json.loads(code)
    assert flattened(shown) == flattened(sample_summary())
    assert list(shown["counts"]) == [status.value for status in outcomes.ENROLL_STATUSES]
    assert sum(shown["counts"].values()) == shown["total"]


def test_preview_fields_are_on_the_page_and_in_the_example(run_task):
    ran = run_task(
        MeisaBulkEnrollOperator, emails=["a@example.com"], sequence_slug="onboarding", preview=True
    )
    (rows,) = tables(section(read("docs/reference/xcom.md"), "## A preview"))
    (code,) = fences(read("docs/how-to/preview.md"), "json")
    shown, report = json.loads(code), ran.xcom("task")
    fields = [plain(row["Field"]) for row in rows]
    fields.remove("to_send_suppressed")  # only with override_unsubscribe
    assert fields == list(shown) == list(report)
    assert list(shown["counts"]) == list(report["counts"])
    (written,) = [row["What it is"] for row in rows if plain(row["Field"]) == "counts"]
    assert all(f"`{name}`" in written for name in shown["counts"])
    assert sum(shown["counts"].values()) + shown["to_send"] == shown["total"]


def test_outcomes_file_fields_are_on_the_page_and_in_the_example(run_task, tmp_path):
    path = tmp_path / "outcomes.jsonl"
    run_task(MeisaBulkEnrollOperator, emails=["a@b.org"], sequence_slug="onboarding", outcomes_path=str(path))
    rows, _ = tables(section(read("docs/how-to/outcomes.md"), "## Fields"))
    (lines,) = fences(read("docs/how-to/outcomes.md"), "json")
    for line in [path.read_text(), *lines.splitlines()]:
        assert [plain(row["Field"]) for row in rows] == [*json.loads(line), "…"]  # and what keep adds


def test_every_field_of_the_checkpoint_is_on_its_page():
    _, rows = tables(read("docs/reference/checkpoint.md"))
    assert [plain(row["Field"]) for row in rows] == list(Checkpoint().as_json())


def test_every_field_of_a_single_enrollment_is_on_the_page(run_task):
    (rows,) = tables(section(read("docs/reference/xcom.md"), "## MeisaEnrollOperator"))
    ran = run_task(MeisaEnrollOperator, contact_email="ada@example.com", sequence_slug="onboarding")
    assert [plain(row["Field"]) for row in rows] == list(ran.xcom("task"))


def test_every_field_of_an_upsert_is_on_the_page(run_task):
    (rows,) = tables(section(read("docs/reference/xcom.md"), "## MeisaUpsertContactOperator"))
    ran = run_task(MeisaUpsertContactOperator, contact_email="ada@example.com")
    assert [plain(row["Field"]) for row in rows] == list(ran.xcom("task"))


def test_fields_of_what_a_table_gets_are_on_the_page(run_task, tmp_path, monkeypatch):
    fields = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(fields))
    (file := tmp_path / "outcomes.jsonl").write_text("")
    given = {"table": "t", "conn_id": "warehouse", "create_table": True}
    listed = run_task(MeisaUnsubscribedToSqlOperator, **given)
    loaded = run_task(MeisaOutcomesToSqlOperator, **given | {"table": "u", "outcomes_path": str(file)})
    page = read("docs/reference/xcom.md")
    for ran, name in ((listed, "MeisaUnsubscribedToSqlOperator"), (loaded, "MeisaOutcomesToSqlOperator")):
        (rows,) = tables(section(page, f"## {name}"))
        assert [plain(row["Field"]) for row in rows] == list(ran.xcom("task"))


def test_every_field_of_a_sequence_is_on_the_page():
    (rows,) = tables(section(read("docs/reference/xcom.md"), "## MeisaSequenceSensor"))
    assert [plain(row["Field"]) for row in rows] == [field.name for field in dataclasses.fields(SequenceInfo)]


def test_every_status_is_on_its_page_in_its_order():
    rows, of_contacts = tables(read("docs/reference/statuses.md"))
    enrolling = [plain(row["Status"]) for row in rows]
    assert enrolling == [status.value for status in outcomes.ENROLL_STATUSES]
    syncing = {plain(row["Status of a contact"]) for row in of_contacts}
    assert syncing | set(enrolling) == set(outcomes.OutcomeStatus)
    assert syncing | set(enrolling) - {"enrolled", "already_enrolled", "enrolled_before"} == set(
        SyncContactsJob.statuses
    )


def test_golden_values_are_on_their_page():
    vectors = json.loads((ROOT / "tests" / "data" / "contact_values_v1.json").read_text(encoding="utf-8"))
    page = read("docs/reference/contact-values.md")
    rows = [re.findall(r"`(.*?)` \|", line) for line in page.splitlines() if line.startswith("| `")]
    assert [row[0] for row in rows if len(row) == 2] == [each["value"] for each in vectors if "sent" in each]
    assert [row[1] for row in rows if len(row) == 2] == [each["sent"] for each in vectors if "sent" in each]
    for each in vectors:
        assert "sent" in each or f"| `{each['value']}` | {each['refused']} |" in page


def error_classes() -> set[type[errors.MeisaError]]:
    return {
        one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.MeisaError)
    }


def test_tree_of_errors_is_that_of_the_module():
    (tree,) = fences(read("docs/reference/errors.md"), "text")
    drawn = {(match.start(), match[0]) for match in re.finditer(r"Meisa\w+", tree)}
    assert [name for _, name in sorted(drawn)] == re.findall(
        r"Meisa\w+Error|MeisaError", errors.__doc__ or ""
    )
    assert {name for _, name in drawn} == {one.__name__ for one in error_classes()}


def test_every_attribute_of_an_error_is_on_the_page():
    (rows,) = tables(section(read("docs/reference/errors.md"), "## Attributes"))
    written = {(plain(row["Class"]), plain(row["Attribute"])) for row in rows}
    known = {
        (one.__name__, name)
        for one in error_classes()
        for name in re.findall(r"^ *:param (\w+):", one.__doc__ or "", re.MULTILINE)
        if not any(f":param {name}:" in (parent.__doc__ or "") for parent in one.__mro__[1:])
    }
    assert written == known | {("MeisaError", "possibly_done")}


def test_the_page_says_of_every_error_whether_airflow_retries_it():
    (rows,) = [table for table in tables(read("docs/reference/errors.md")) if "Airflow retries" in table[0]]
    written = {plain(row["Class"]): row["Airflow retries"] for row in rows}
    parents = {parent for one in error_classes() for parent in one.__bases__}
    for one in error_classes() - (parents - {errors.MeisaNotFoundError, errors.MeisaInputError}):
        made = (
            one("", status=400)
            if issubclass(one, errors.MeisaResponseError | errors.MeisaUnreadableResponseError)
            else one("")
        )
        assert written.pop(one.__name__) == ("no" if is_final(made) else "yes"), one
    assert not written


# Moving from something else


@pytest.mark.parametrize("path", sorted((DOCS / "_before").glob("*.py")), ids=lambda path: path.name)
def test_what_the_page_on_moving_begins_with_is_python(path):
    compile(path.read_text(encoding="utf-8"), path, "exec")
    assert f"_before/{path.name}" in read("docs/migrating.md") + read("docs/how-to/full-resync.md")


def test_the_loop_that_the_page_on_moving_begins_with_enrolls(run, meisa_sandbox, monkeypatch, tmp_path):
    with sqlite3.connect(tmp_path / "warehouse.sqlite") as warehouse:
        warehouse.execute(
            "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, last_seen_days INTEGER)"
        )
        warehouse.executemany(
            "INSERT INTO contacts (email, last_seen_days) VALUES (?, 180)",
            [(f"lapsed{number}@example.com",) for number in range(600)],
        )
    warehouse.close()
    for name, fields in {
        "WAREHOUSE": {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.sqlite")},
        "MEISA_API": {"conn_type": "http", "host": meisa_sandbox.api_url, "password": meisa_sandbox.key},
    }.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(fields))
    ran = run(runpy.run_path(str(DOCS / "_before" / "requests_loop.py"))["requests_loop"]())
    assert set(ran.states.values()) == {"success"}
    assert len(meisa_sandbox.enrollments("reactivation")) == 600


# What is sent again


def test_table_of_what_is_sent_again_is_complete():
    (rows,) = tables(read("docs/resume.md"))
    cases = [re.match(r"\*\*(.+?)\*\*", row["What happened"])[1] for row in rows]
    assert list(dict.fromkeys(cases)) == [
        "Task killed",
        "Worker lost",
        "Worker lost with its disk",
        "Orphaned process",
        "Task retried",
        "Task cleared",
        "DAG rerun",
        "Backfill",
    ]


# Rate limits


def test_the_picture_of_the_rate_limit_is_what_its_script_draws(tmp_path):
    drawn = tmp_path / "rate-limits.svg"
    subprocess.run([sys.executable, DOCS / "_scripts" / "plot_rate_limits.py", drawn], check=True)
    assert drawn.read_text(encoding="utf-8") == read("docs/_static/rate-limits.svg")
    assert "no response with 429" in read("docs/_static/rate-limits.svg")


# Sandbox and tutorial


def test_every_fault_of_the_sandbox_is_on_its_page():
    from airflow_provider_meisa.sandbox.faults import KINDS

    (rows,) = tables(section(read("docs/how-to/sandbox.md"), "## Inject faults"))
    assert [plain(row["Fault"]) for row in rows] == list(KINDS)


def test_every_member_of_the_fixture_that_the_page_names_exists(meisa_sandbox):
    (rows,) = tables(section(read("docs/how-to/sandbox.md"), "### The fixture"))
    for row in rows:
        for name, _, arguments in re.findall(r"`(\w+)(\(([^)]*)\))?`", row["Member"]):
            member = getattr(meisa_sandbox, name)
            wanted = [word for word in re.findall(r"\w+", arguments) if "{" not in arguments]
            assert list(inspect.signature(member).parameters)[: len(wanted)] == wanted if wanted else True


def test_the_curl_commands_of_the_sandbox_page_work(meisa_sandbox):
    commands = re.findall(r"^\$ (curl .*)$", read("docs/how-to/sandbox.md"), re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        shown = command.replace("http://127.0.0.1:8765", meisa_sandbox.url).replace(
            "curl", "curl --fail -sS", 1
        )
        subprocess.run(["bash", "-c", shown], check=True, capture_output=True)
    sequences = meisa_sandbox.summary()["environments"]["live"]["sequences"]
    assert sequences["winback"]["status"] == "active"


@pytest.mark.system
def test_every_command_of_the_tutorial_works(tmp_path, meisa_sandbox):
    text = read("docs/tutorial.md").replace(
        "127.0.0.1%3A8765", meisa_sandbox.url.removeprefix("http://").replace(":", "%3A")
    )
    commands = [
        line.removeprefix("$ ")
        for code in fences(text, "console")
        for line in code.splitlines()
        if not re.match(r"\$ (python3 -m venv|\. |pip install|meisa-sandbox)", line)
    ]
    script = "\n".join(["set -euo pipefail", *commands]).replace("$HOME/meisa-tutorial", str(tmp_path))
    outside = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{outside['PATH']}"
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**outside, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert "Connection success!" in ran.stdout
    assert all(code.strip() in ran.stdout for code in fences(text, "text"))
    assert [row["email"] for row in meisa_sandbox.enrollments("onboarding")] == ["ada@example.com"]


@pytest.mark.system
# [START own_dag]
@pytest.mark.meisa_sandbox(rate_limits="none")
def test_lost_response_enrolls_no_one_twice(meisa_sandbox, airflow_database, monkeypatch):
    connection = {
        "conn_type": "meisa",
        "host": meisa_sandbox.url,
        "password": meisa_sandbox.key,
        "extra": {"rate_limit_storage": "memory"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_MEISA_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(DAGS))
    meisa_sandbox.fault("reset_after", path="bulk-enroll", times=1)

    command = [sys.executable, "-m", "airflow", "dags", "test", "mapped_sequences"]
    subprocess.run(command, check=True)

    sequences = ("onboarding", "reactivation")
    enrolled = [row for slug in sequences for row in meisa_sandbox.enrollments(slug)]
    assert [row["times_enrolled"] for row in enrolled] == [1, 1, 1]
    # [END own_dag]

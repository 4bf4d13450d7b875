"""The code on the page of the hook that is in no example."""

import json
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "hook.md"


@pytest.fixture
def tag_trial():
    """Return the task of the page that tags a contact."""
    found = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (code,) = [each for each in found if "add_tag" in each]
    names: dict = {}
    exec(compile(code, str(PAGE), "exec"), names)
    return names["tag_trial"]


def test_request_on_the_page_tags_the_contact(tag_trial, run, meisa_sandbox):
    from airflow.sdk import DAG

    meisa_sandbox.fault("status", path="/add_tag/", status=200, body={"status": "ok"})
    with DAG("tag", schedule=None) as dag:
        tag_trial("ada@example.com")
    assert run(dag).state == "success"
    (contact,) = meisa_sandbox.contacts()
    (request,) = [each for each in meisa_sandbox.requests() if "add_tag" in json.dumps(each)]
    assert contact["email"] == "ada@example.com"
    assert f"/contacts/{contact['id']}/add_tag/" in json.dumps(request)


def test_every_method_of_the_hook_is_on_the_page():
    from airflow.providers.common.compat.sdk import BaseHook

    from airflow_provider_meisa.hooks.meisa import MeisaHook

    ours = {
        name for name in vars(MeisaHook) if not name.startswith("_") and callable(getattr(MeisaHook, name))
    }
    for_airflow = {name for name in ours if hasattr(BaseHook, name)} - {"get_conn", "test_connection"}
    text = PAGE.read_text(encoding="utf-8")
    internal = {"get_async_conn", "get_connection_form_widgets", "get_ui_field_behaviour"}
    assert {name for name in ours - for_airflow - internal if f"### `{name}`" not in text} == set()

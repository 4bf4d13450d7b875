"""The plugin's places in the UI, and its cost without such a UI."""

import importlib.util

import pytest
from airflow.configuration import conf
from airflow.providers.common.compat.sdk import AirflowPlugin

import airflow_provider_meisa.plugins.meisa as module


@pytest.fixture
def reloaded():
    def load():
        # A second module: a reload in place would leave other tests with a class of the same name.
        spec = importlib.util.spec_from_file_location("meisa_plugin_loaded_anew", module.__file__)
        again = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(again)
        return again.MeisaPlugin

    return load


def test_there_is_a_page_in_the_navigation_and_a_tab_on_task_instances(reloaded):
    places = reloaded().react_apps
    assert {place["destination"] for place in places} == {"nav", "task_instance"}
    assert {place["name"] for place in places} == {"Meisa"}
    assert len({place["url_route"] for place in places}) == 2


@pytest.mark.parametrize(
    ("base_url", "bundle"),
    [
        ("http://localhost:8080", "/meisa/static/meisa.js"),
        ("https://example.com/team/airflow/", "/team/airflow/meisa/static/meisa.js"),
    ],
)
def test_the_module_is_looked_for_below_the_base_url(reloaded, monkeypatch, base_url, bundle):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    assert conf.get("api", "base_url") == base_url
    assert {place["bundle_url"] for place in reloaded().react_apps} == {bundle}


def test_where_the_ui_loads_no_modules_the_plugin_offers_nothing(reloaded, monkeypatch):
    monkeypatch.delattr(AirflowPlugin, "react_apps")
    plugin = reloaded()
    assert not hasattr(plugin, "react_apps")
    assert plugin.fastapi_apps == []

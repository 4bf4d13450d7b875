"""The hook's calls refuse what is not of its type, as the operators do."""

import inspect

import pytest
from airflow.exceptions import AirflowException

from airflow_provider_meisa.hooks.meisa import MeisaHook

SLUG = "onboarding"
WRONG = {
    "enroll": {
        "email": [7, None],
        "sequence_slug": [7, ["onboarding"]],
        "metadata": ['{"a": 1}', {"a": {1}}],
        "trigger_source": [2024, ""],
        "override_unsubscribe": ["False", "no", 0],
        "resend": ["no", 1],
    },
    "bulk_enroll": {
        "emails": ["ada@example.com", [7]],
        "sequence_slug": [7, ""],
        "override_unsubscribe": ["False", 1, None],
        "resend": ["no", None],
    },
    "list_sequences": {"status": [7, None], "search": [True]},
    "contact_enrollments": {"email": [7, ""]},
    "upsert_contact": {
        "email": [7, None, ""],
        "external_id": [42, ""],
        "first_name": [7, ["Ada"]],
        "last_name": [7, True],
        "display_name": [7, {}],
        "source": ["airflow", 7],
        "custom_fields": ['{"a": 1}', {"a": {1}}],
        "tag_names": ["trial", [7], [""]],
    },
    "add_tag": {
        "contact_id": [7, "", "ada@example.com", "a/b"],
        "tag_name": [7, ""],
        "tag_id": [7, ""],
        "resend": ["no", 1],
    },
    "remove_tag": {
        "contact_id": [7, "", "ada@example.com", "a/b"],
        "tag_name": [7, ""],
        "tag_id": [7, ""],
        "resend": ["no", 1],
    },
    "request": {
        "method": ["get", None],
        "path": [7, "tags", "https://elsewhere.example/"],
        "json": ['{"a": 1}', {"a": {1}}],
        "query": ["a=1", {"a": None}],
        "resend": ["no", 1],
    },
}
RIGHT = {
    "enroll": {"email": "unsubscribed@example.com", "sequence_slug": SLUG},
    "bulk_enroll": {"emails": ["unsubscribed@example.com"], "sequence_slug": SLUG},
    "upsert_contact": {"email": "unsubscribed@example.com"},
    "add_tag": {"contact_id": "c-1", "tag_name": "trial"},
    "remove_tag": {"contact_id": "c-1", "tag_name": "trial"},
    "request": {"method": "POST", "path": "/tags/"},
}


def test_every_parameter_of_every_call_is_tried():
    for name, tried in WRONG.items():
        assert set(inspect.signature(getattr(MeisaHook, name)).parameters) - {"self"} == set(tried)
    others = {
        name
        for name, value in vars(MeisaHook).items()
        if inspect.isfunction(value)
        and not name.startswith("_")
        and len(inspect.signature(value).parameters) > 1
    }
    assert others == set(WRONG)


@pytest.mark.parametrize(
    ("call", "name", "value"),
    [
        (call, name, value)
        for call, names in WRONG.items()
        for name, values in names.items()
        for value in values
    ],
    ids=repr,
)
def test_a_call_of_the_hook_refuses_a_wrong_type(meisa_connection, meisa_sandbox, call, name, value):
    meisa_connection(extra={"allow_override_unsubscribe": True})
    with pytest.raises(AirflowException, match=name):
        getattr(MeisaHook(), call)(**{**RIGHT.get(call, {}), name: value})
    assert meisa_sandbox.requests() == []


@pytest.mark.parametrize("value", [7, None, "", ["meisa_default"]], ids=repr)
def test_a_hook_refuses_a_connection_that_is_no_text(meisa_connection, value):
    with pytest.raises(AirflowException, match="meisa_conn_id "):
        MeisaHook(value).ping()


@pytest.mark.parametrize("value", ["120", None, -1], ids=repr)
def test_a_hook_refuses_a_wait_that_is_no_time(meisa_connection, value):
    with pytest.raises(AirflowException, match="max_wait must be a number of seconds"):
        MeisaHook(max_wait=value).ping()

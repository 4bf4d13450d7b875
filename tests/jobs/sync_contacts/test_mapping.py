"""Which column becomes what of a contact, and which mappings are refused."""

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.jobs.sync_contacts.mapping import ContactMapping


def names(binding):
    return {name: binding.columns[place] for name, place in binding.fields.items()}


def test_columns_called_like_fields_are_mapped():
    binding = ContactMapping().bind(["EMAIL", "plan", "External_Id", "last_name"])
    assert names(binding) == {"email": "EMAIL", "external_id": "External_Id", "last_name": "last_name"}
    assert binding.unmapped == ("plan",)
    assert (binding.custom_fields, binding.tags) == ({}, ())


def test_given_fields_are_the_only_ones():
    mapping = ContactMapping(fields={"email": "mail", "external_id": "user_id"})
    binding = mapping.bind(["user_id", "mail", "first_name"])
    assert names(binding) == {"email": "mail", "external_id": "user_id"}
    assert binding.unmapped == ("first_name",)


def test_custom_fields_are_spelled_as_the_mapping_has_them():
    binding = ContactMapping(custom_fields=["Plan.Name", "mrr €", "MRR"]).bind(
        ["email", "plan.name", "mrr", "MRR €"]
    )
    assert binding.custom_fields == {"MRR": 2, "Plan.Name": 1, "mrr €": 3}


def test_star_takes_what_is_mapped_to_nothing_else():
    mapping = ContactMapping(fields={"email": "email", "external_id": "id"}, custom_fields="*", tags="labels")
    binding = mapping.bind(["id", "email", "plan", "labels", "mrr"])
    assert list(binding.custom_fields) == ["mrr", "plan"]
    assert (binding.tags, binding.unmapped) == (3, ())


def test_star_leaves_out_columns_that_are_new():
    binding = ContactMapping(custom_fields="*").bind(["email", "plan", "mrr"], known=["Plan"])
    assert (list(binding.custom_fields), binding.unmapped) == (["plan"], ("mrr",))


def test_fixed_tags_are_trimmed_sorted_and_unique():
    assert ContactMapping(tags=["b", " a ", "b", "c,d"]).bind(["email"]).tags == ("a", "b", "c,d")


def test_an_exact_name_wins_over_another_case():
    assert ContactMapping(custom_fields=["plan"]).bind(["email", "Plan", "plan"]).custom_fields == {"plan": 2}


@pytest.mark.parametrize(
    ("mapping", "columns", "message"),
    [
        ({}, ["mail", "plan"], "has no column 'email'; it has: mail, plan"),
        ({"fields": {"email": "mail"}}, ["email"], "has no column 'mail'.*Correct fields\\['email'\\]"),
        ({"custom_fields": ["plan"]}, ["email"], "has no column 'plan'.*Correct custom_fields"),
        ({"tags": "labels"}, ["email"], "has no column 'labels'.*Correct tags"),
        ({"types": {"mrr": "number"}}, ["email"], "has no column 'mrr'.*Correct types"),
        ({"json_columns": ["data"]}, ["email"], "has no column 'data'.*Correct json_columns"),
        ({"custom_fields": ["PLAN"]}, ["email", "Plan", "plan"], "has 2 columns of the name 'PLAN'"),
        ({"custom_fields": "*"}, ["email", "Plan", "plan"], "has 'plan' twice"),
        ({}, ["email", "email"], "has 2 columns of the name 'email'"),
    ],
)
def test_columns_that_are_not_clear_stop_the_task(mapping, columns, message):
    with pytest.raises(MeisaInputError, match=message):
        ContactMapping(**mapping).bind(columns)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"fields": ["email"]}, "fields must be a dict of a contact's fields"),
        ({"fields": {"external_id": "id"}}, "fields has no 'email'"),
        ({"fields": {"email": "email", "status": "s"}}, "fields' key must be one of: email"),
        ({"fields": {"email": 3}}, "fields\\['email'\\] must be a text"),
        ({"custom_fields": "plan"}, "custom_fields must be a list of texts"),
        ({"custom_fields": ["plan", 3]}, "custom_fields\\[1\\] must be a text"),
        ({"custom_fields": ["plan", "PLAN"]}, "custom_fields has 'PLAN' twice"),
        ({"tags": [3]}, "tags\\[0\\] must be a text"),
        ({"tags": {"a"}}, "tags must be a list of texts"),
        ({"json_columns": "data"}, "json_columns must be a list of texts"),
        ({"types": ["mrr"]}, "types must be a dict of columns and their types"),
        ({"types": {"mrr": "float"}}, "types\\['mrr'\\] must be one of: text, integer, number, boolean"),
        ({"nulls": "keep"}, "nulls must be one of: send, omit"),
    ],
)
def test_wrong_parameters_are_refused(mapping, message):
    with pytest.raises(MeisaInputError, match=message):
        ContactMapping(**mapping).check()


def test_a_right_mapping_passes_the_check():
    ContactMapping(
        fields={"email": "mail", "first_name": "name"},
        custom_fields=("plan", "mrr"),
        tags=["trial"],
        json_columns=["data"],
        types={"mrr": "number"},
        nulls="omit",
    ).check()
    ContactMapping(custom_fields="*", tags="labels").check()


def test_a_description_ignores_order_and_case_of_columns():
    mapping = ContactMapping(custom_fields=["mrr", "plan"], types={"mrr": "number"}, json_columns=["plan"])
    first, second = (
        mapping.bind(columns).describe()
        for columns in (["email", "plan", "mrr", "x"], ["MRR", "Plan", "Email", "y", "z"])
    )
    assert first == second
    assert first == {
        "fields": {"email": "email"},
        "custom_fields": ["mrr", "plan"],
        "tags": [],
        "types": {"mrr": "number"},
        "json_columns": ["plan"],
        "nulls": "send",
    }


@pytest.mark.parametrize(
    "other",
    [
        {"custom_fields": ["plan"]},
        {"custom_fields": ["Plan", "mrr"]},
        {"tags": ["a"]},
        {"nulls": "omit"},
        {"types": {"mrr": "text"}},
        {"fields": {"email": "backup"}},
    ],
    ids=str,
)
def test_another_mapping_has_another_description(other):
    columns = ["email", "plan", "mrr", "backup"]
    mapping = {"custom_fields": ["plan", "mrr"]}
    described = ContactMapping(**mapping).bind(columns).describe()
    assert ContactMapping(**{**mapping, **other}).bind(columns).describe() != described

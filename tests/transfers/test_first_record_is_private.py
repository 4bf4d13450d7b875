"""A file without a header has a person in the place of the names: no message shows that person."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.column_names import shown_name
from airflow_provider_meisa.bulk.input_shapes import AddressReader
from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator
from airflow_provider_meisa.transfers.sources.files import read_addresses
from tests.support.requests_sent import writes

# What identifies the person in each record: none of these may be shown.
RECORDS = {
    "ann,lee,london": ["ann", "lee", "london"],
    "mcdonald,tel4915112345678": ["mcdonald", "15112345678"],
    "jean-luc,o.picard,tel.0171-5550123": ["jean", "picard", "5550123"],
    "ann_lee,hunter2,de": ["ann_lee", "hunter2"],
    "ANN,LEE,LONDON": ["ANN", "LEE", "LONDON"],
    "zoé,größer,köln": ["zoé", "größer", "köln"],
    "李小龙,p13800138000": ["李小龙", "13800138000"],
    "id4711,will,street": ["4711", "will", "street"],
    "ann,active,email_ann": ["ann"],
    "Ada King,address of ada": ["Ada", "King", "ada"],
    "home5550123,day,price": ["5550123", "day", "price"],
}


@pytest.fixture(params=RECORDS)
def record(request):
    return request.param


def assert_private(record, text):
    assert not [one for one in RECORDS[record] if one in text.replace("/test_", "")]


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize("column", [None, "contact"])
def test_first_record_is_not_shown_as_names(tmp_path, record, suffix, column):
    path = tmp_path / f"people.{suffix}"
    path.write_text(f"{record}\n" * 2 if suffix == "csv" else record.replace(",", "\t") + "\nx\n")
    with pytest.raises(MeisaInputError, match="for email_column") as caught:
        list(read_addresses(path, file_format=None, column=column, encoding="utf-8-sig"))
    assert_private(record, str(caught.value).replace(str(path), ""))


@pytest.mark.parametrize("shape", ["table", "records"])
def test_first_record_of_a_table_is_not_shown(record, shape):
    text = f"{record}\n{record}\n"
    source = pd.read_csv(io.StringIO(text)) if shape == "table" else list(csv.DictReader(io.StringIO(text)))
    with pytest.raises(MeisaInputError, match="for email_column") as caught:
        list(AddressReader().read(source))
    assert_private(record, str(caught.value))


def test_value_of_another_type_hides_a_name_chosen_by_number():
    table = pd.DataFrame({"ann lee": [1], "tel5550123": [2]})
    with pytest.raises(MeisaInputError, match="row 1, column …: a value of type int"):
        list(AddressReader(1).read(table))


def test_address_in_place_of_the_only_name_is_refused():
    with pytest.raises(MeisaInputError, match="instead of names there is an address"):
        list(AddressReader().read(pd.DataFrame({"ada@example.com": ["bob@example.com"]})))


def test_only_column_may_have_a_number_as_name():
    assert list(AddressReader().read(pd.DataFrame(["ada@example.com"]))) == ["ada@example.com"]


def test_log_of_a_task_holds_no_first_record(run_task, tmp_path, meisa_sandbox, everything_written):
    path = tmp_path / "people.csv"
    path.write_text("annika,tel4915112345678,gotham\nbob,tel4915112345679,paris\n")
    ran = run_task(FileToMeisaSequenceOperator, path=str(path), sequence_slug="onboarding")
    assert ran.state == "failed"
    assert writes(meisa_sandbox) == []
    written = everything_written()
    assert "it has 3, and the values in their place do not look like names" in written
    assert not [one for one in ("annika", "15112345678", "gotham") if one in written]


@pytest.mark.parametrize(
    "name",
    ["id", "E-Mail", "email_address", "createdAt", "userID", "Email Address", "UUID", "Vorname", "address2"],
)
def test_usual_names_are_shown(name):
    assert shown_name(name, may_be_record=True) == name


@pytest.mark.parametrize("name", ["kundenmail", "x", "dim_customer.key", "3"])
def test_names_that_no_file_gave_are_shown(name):
    assert shown_name(name) == name
    assert shown_name(name, may_be_record=True) == "…"


@pytest.mark.parametrize("name", ["Ann Lee", "+49 151 1234567", "tel4915112345678", "4915112345678", ""])
def test_names_that_read_like_a_person_are_never_shown(name):
    assert shown_name(name) == "…"

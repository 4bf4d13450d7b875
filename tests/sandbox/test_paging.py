"""The list of sequences comes in pages."""

from __future__ import annotations

import pytest

from airflow_provider_meisa.sandbox.paging import page_of


@pytest.fixture
def many(sandbox):
    for number in range(150):
        sandbox.put_sequence(f"flow-{number:03}", name=f"Flow {number}")
    return 150 + 4


def test_page_has_20_sequences_unless_limit_asks_for_more(live, many):
    def size(**query):
        return len(live.get("/sequences/api/list/", params={"status": "all", **query}).json()["results"])

    assert (size(), size(limit=5), size(limit=100), size(limit=1000), size(limit="many")) == (
        20,
        5,
        100,
        100,
        20,
    )


def test_links_lead_through_all_pages_and_back(live, many):
    page = live.get("/sequences/api/list/", params={"status": "all", "limit": 50}).json()
    found = [*page["results"]]
    assert (page["count"], page["previous"]) == (many, None)
    while page["next"]:
        assert "status=all" in page["next"]
        page = live.get(page["next"].partition("/api/v1")[2]).json()
        found += page["results"]
    assert len({row["slug"] for row in found}) == len(found) == many
    assert "offset=100" in page["previous"]


@pytest.mark.parametrize("offset", ["", "-5", "many", "9" * 30, "\u0665"])
def test_offset_that_is_not_a_number_counts_as_none(offset):
    assert page_of([1, 2, 3], {"offset": offset, "limit": "2"}, "/list/")["results"] == [1, 2]


def test_page_after_the_last_is_empty():
    assert page_of([1, 2, 3], {"offset": "7", "limit": "2"}, "/list/") == {
        "count": 3,
        "next": None,
        "previous": "/list/?limit=2&offset=5",
        "results": [],
    }

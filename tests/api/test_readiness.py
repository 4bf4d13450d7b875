from __future__ import annotations

import pytest

from airflow_provider_meisa.api.endpoints.sequences import SequenceInfo
from airflow_provider_meisa.api.errors import MeisaSequenceNotFoundError
from airflow_provider_meisa.api.readiness import readiness

ONBOARDING = SequenceInfo("onboarding", "Onboarding", "active", 312)
WINBACK = SequenceInfo("winback", "Win-back", "draft")
LISTED = [WINBACK, ONBOARDING]


def stand(*slugs, status="active", on_missing="wait"):
    return readiness(iter(LISTED), slugs, status=status, on_missing=on_missing)


def test_sequences_with_the_wanted_status_are_ready_in_the_order_asked_for():
    found = readiness(
        [WINBACK, ONBOARDING, SequenceInfo("a", "A", "active")],
        ["onboarding", "a"],
        status="active",
        on_missing="fail",
    )
    assert found.done
    assert [info.slug for info in found.ready] == ["onboarding", "a"]
    assert str(found) == "onboarding is active, a is active"


def test_another_status_can_be_waited_for():
    assert stand("winback", status="draft").ready == (WINBACK,)
    assert not stand("onboarding", status="draft").done


def test_a_sequence_with_another_status_is_pending():
    found = stand("onboarding", "winback")
    assert not found.done
    assert found.ready == (ONBOARDING,)
    assert found.pending == {"winback": "draft"}
    assert str(found) == "winback is draft"


def test_a_missing_sequence_can_be_waited_for():
    found = stand("nowhere", "winback")
    assert not found.done
    assert found.missing == ("nowhere",)
    assert str(found) == "winback is draft, nowhere does not exist"


def test_a_missing_sequence_can_fail_with_close_slugs():
    with pytest.raises(MeisaSequenceNotFoundError, match=r"'onboardin'\. Close ones: onboarding\. Copy"):
        stand("winback", "onboardin", on_missing="fail")


def test_no_sequence_at_all_is_ready():
    assert stand().done

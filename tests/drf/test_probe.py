"""``probe`` against the service: the shapes of its responses, and what its endpoints lack."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_meisa.cli.__main__ import main
from tests.support.drf_server import DrfServer


@pytest.fixture
def probe(
    drf: DrfServer,
    meisa_connection: Callable[..., None],
    airflow_database: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[[], str]:
    """Run the command with a test key, and return its report."""

    def run() -> str:
        monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")
        drf.use_test_key()
        meisa_connection(password=drf.key)
        with pytest.raises(SystemExit) as ended:
            main(["probe", "--sequence", "onboarding"])
        out, err = capfd.readouterr()
        assert ended.value.code == 0, err
        return out

    return run


def section(report: str, name: str) -> str:
    """Return the part of the report about a call."""
    return report.partition(f"\n## {name}")[2].partition("\n## ")[0]


def test_report_has_the_shapes_of_the_service(probe: Callable[[], str], drf: DrfServer):
    report = probe()
    assert "Read as: enrolled\n" in section(report, "POST /sequences/enroll/\n")
    assert "Read as: already_enrolled\n" in section(report, "POST /sequences/enroll/, the same")
    assert "Read as: 1 enrolled, 1 already_enrolled" in section(report, "POST /sequences/api/bulk-enroll/")
    assert "| `next` | null | inferred |" in section(report, "GET /sequences/api/list/")
    assert sorted(contact.rpartition("-")[2] for contact in drf.enrollments()) == [
        "1@example.com",
        "2@example.com",
    ]


def test_service_differs_from_the_page_in_two_more_fields(probe: Callable[[], str]):
    found = section(probe(), "What differs from the page Meisa's API").split("\n- ")[1:]
    assert [text.strip() for text in found] == [
        "`GET /sequences/api/contact-enrollments/`: `email` is not on the page",
        "`POST /contacts/upsert/`: `source` is not on the page",
    ]


def test_key_without_scopes_gets_a_report_all_the_same(probe: Callable[[], str], drf: DrfServer):
    drf.set_scopes("sequences:read")
    report = probe()
    assert "Status: 403 (not on the page)\nRead as: a failure" in section(report, "POST /sequences/enroll/\n")
    assert "Status: 200 (documented)" in section(report, "GET /sequences/api/list/")
    assert "Not sent: the contact has no id." in section(report, "POST /contacts/{id}/add_tag/")
    assert drf.enrollments() == {}


def test_report_holds_no_value(probe: Callable[[], str], drf: DrfServer):
    drf.add_sequence("secret-slug")
    report = probe()
    for value in ("secret", "Secret", "onboarding", "@example.com", "meisa-probe", "meisa_test", "Lifecycle"):
        assert value not in report


def test_live_key_is_refused(
    drf: DrfServer,
    meisa_connection: Callable[..., None],
    airflow_database: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")
    with pytest.raises(SystemExit) as ended:
        main(["probe", "--sequence", "onboarding"])
    assert ended.value.code == 2
    assert "Nothing else was sent." in capfd.readouterr().err
    assert [request.path for request in drf.requests()] == ["/api/v1/ping/"]

"""A file without a valid address fails the commands that read it."""

import pytest


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("people.csv", "id,email\n1,Ada\n2,Bob\n"),
        ("people.txt", "Ada\nBob\n"),
        ("people.jsonl", '{"email": null}\n{"email": ""}\n'),
        ("people.tsv", "email\tid\n\t1\n\t2\n"),
    ],
)
def test_a_file_without_a_valid_address_fails(meisa, meisa_sandbox, tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    previewed = meisa("preview", file, "--sequence", "onboarding")
    assert previewed.status == 1
    assert "No valid address in 2 rows." in previewed.err
    sent = meisa("enroll-file", file, "--sequence", "onboarding", "--yes")
    assert sent.status == 1
    assert "No valid address in 2 rows." in sent.err
    assert meisa_sandbox.enrollments("onboarding") == []


def test_one_valid_address_is_enough(meisa, meisa_sandbox, tmp_path):
    file = tmp_path / "people.txt"
    file.write_text("Ada\nada@example.com\n")
    assert meisa("preview", file, "--sequence", "onboarding").status == 0
    assert meisa("enroll-file", file, "--sequence", "onboarding", "--yes").status == 0
    assert len(meisa_sandbox.enrollments("onboarding")) == 1


def test_an_empty_file_is_no_failure(meisa, tmp_path):
    file = tmp_path / "people.txt"
    file.write_text("")
    assert meisa("enroll-file", file, "--sequence", "onboarding", "--yes").status == 0

import runpy
import subprocess
from pathlib import Path

import pytest

PROOF = Path(__file__).resolve().parents[1] / "dev" / "scripts" / "proof.py"
PAGE = "Before.\n\n<!-- written by make proof -->\n{}<!-- end of what make proof writes -->\n\nBehind.\n"


@pytest.fixture
def proof(tmp_path, mocker, monkeypatch):
    """Play the proof in a checkout of which only the page is there, and in which one command may fail."""
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "proof.md"
    page.write_text(PAGE.format("\nOf an earlier day.\n\n"))

    def play(failing=""):
        asked = []

        def run(command, **_):
            asked.append(command[1])
            return subprocess.CompletedProcess(command, int(command[1] == failing))

        mocker.patch("subprocess.run", run)
        monkeypatch.syspath_prepend(PROOF.parent)
        ours = runpy.run_path(str(PROOF))
        ours["main"].__globals__.update(ROOT=tmp_path, PAGE=page)
        return ours["main"](), asked, page.read_text()

    return play


def test_a_proof_that_passed_stands_on_the_page_instead_of_the_one_before(proof):
    status, asked, page = proof()
    assert status == 0
    assert [name for name in asked if f"| `make {name}` |" in page] == asked
    assert "Of an earlier day." not in page
    assert page.startswith("Before.\n\n<!-- written")
    assert page.endswith("writes -->\n\nBehind.\n")


def test_a_proof_of_which_a_part_failed_tries_the_rest_and_leaves_the_page_alone(proof, capsys):
    status, asked, page = proof(failing="matrix")
    assert "Failed: make matrix." in capsys.readouterr().out
    assert (status, page) == (1, PAGE.format("\nOf an earlier day.\n\n"))
    assert asked == proof()[1]


def test_the_proof_asks_for_targets_that_exist(proof):
    makefile = PROOF.parents[2] / "Makefile"
    targets = {
        line.partition(":")[0]
        for line in makefile.read_text().splitlines()
        if ":  ##" in line or ": ." in line
    }
    assert set(proof()[1]) <= targets

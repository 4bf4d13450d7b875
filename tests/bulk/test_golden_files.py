"""Files of each form as this version writes them: kept, read back, and written again byte for byte.

If one fails, the form has changed: raise its version, keep the old file for a test that refuses it, and add a new one.
"""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk import checkpoint, outcome_file, plan
from airflow_provider_meisa.bulk.batching import Batch
from airflow_provider_meisa.bulk.checkpoint import Checkpoint, Piece
from airflow_provider_meisa.bulk.outcome_file import OutcomeFile, text_of_cell
from airflow_provider_meisa.bulk.plan import Plan, PlanStore
from airflow_provider_meisa.transfers.sources.outcomes import read_outcomes
from tests.support.jobs import ENROLL

DATA = Path(__file__).parents[1] / "data"

OUTCOMES = [
    [
        Outcome("ada@example.com", OutcomeStatus.ENROLLED),
        Outcome("grace@example.com", OutcomeStatus.ENROLLED, "possibly twice"),
        Outcome("ü.+=x@exämple.com", OutcomeStatus.ALREADY_ENROLLED, "possibly by this run"),
        Outcome("=1+1@example.com", OutcomeStatus.SUPPRESSED, "on Meisa's list of unsubscribed addresses"),
        Outcome('a "quoted", value', OutcomeStatus.INVALID, "white space inside"),
        Outcome("", OutcomeStatus.INVALID, "no value (None)"),
        Outcome("ada@example.com", OutcomeStatus.DUPLICATE, "appears earlier in the input"),
    ],
    [
        Outcome("-joan@example.com", OutcomeStatus.FAILED, 'Meisa said: "no"'),
        Outcome("edith@example.com", OutcomeStatus.UNREPORTED, "the answer does not mention it"),
        Outcome("'lin@example.com", OutcomeStatus.UNTRIED),
    ],
]

KEEP = ["user_id", "Naïve name"]
ORIGINS = [
    [
        (row, kept, "=1+1" if row == 2 else None)
        for row, kept in enumerate([7, "u;8", None, True, 1.5, "ü", "'"], 1)
    ],
    [(row, row, 'say "no"') for row in (8, 9, 10)],
]

PLAN = Plan(
    id="5f0c8e1d2b3a4c5d6e7f8091a2b3c4d5",
    job="enroll",
    identity={"sequence_slug": "onboarding"},
    file="night-5f0c8e1d2b3a4c5d6e7f8091a2b3c4d5.jsonl",
    batches=2,
    total=8,
    to_send=3,
    requests=2,
    counts={"invalid": 2, "duplicate": 1, "unchanged": 2},
    reasons={"invalid: no @": 2, "duplicate: appears earlier in the input": 1},
    environment="live",
    keep=["user_id", "Name"],
)
BATCHES = [
    Batch(
        0,
        ("ada@example.com", "ü@exämple.com"),
        (Outcome("half ? pair", OutcomeStatus.INVALID, "no @"), Outcome("b", OutcomeStatus.INVALID, "no @")),
        origins=((2, 7, "Ada"), (4, "x-1", None)),
        origins_aside=((1, None, "\ud800"), (3, 1.5, True)),
    ),
    Batch(
        1,
        ("grace@example.com",),
        (Outcome("ada@example.com", OutcomeStatus.DUPLICATE, "appears earlier in the input"),),
        {OutcomeStatus.UNCHANGED: 2},
        origins=((5, 8, "Grace"),),
        origins_aside=((6, 7, "Ada"),),
    ),
]

CHECKPOINT = Checkpoint(
    plan=PLAN.id,
    next_batch=9,
    fingerprint="6f1d7a0c9b2e4f58a3c1d0e9b8a7f6e5",
    in_flight=(7,),
    unsent=(6, 8),
    pieces=(Piece(5, 0, 250, "resent"), Piece(5, 250, 500, "unsent")),
    counts={"enrolled": 2990, "invalid": 10},
    attention=({"address": "b***@***.com", "status": "invalid", "reason": "no @"},),
    reasons={"invalid": {"no @": 10}},
    requests=11,
    retries=1,
    rate_limited=1,
    waited=12.5,
    started_at=1795600800.25,
    resumed=True,
    resend_at=1795600900.0,
    resent=(7,),
    outcomes="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    possibly_twice=3,
)


def test_checkpoint_is_read_and_written_as_kept():
    kept = json.loads((DATA / f"checkpoint_v{checkpoint.VERSION}.json").read_text())
    assert Checkpoint.from_json(kept) == CHECKPOINT
    assert CHECKPOINT.as_json() == kept
    assert list(CHECKPOINT.as_json()) == list(kept)


def test_checkpoint_of_an_earlier_version_is_refused():
    kept = json.loads((DATA / "checkpoint_v5.json").read_text())
    with pytest.raises(MeisaInputError, match=r"another version of this provider.*Nothing was sent"):
        Checkpoint.from_json(kept)


def test_kept_plan_is_read(tmp_path):
    shutil.copy(DATA / f"plan_v{plan.VERSION}.json", tmp_path / "night.json")
    shutil.copy(DATA / f"plan_v{plan.VERSION}.jsonl", tmp_path / PLAN.file)
    store = PlanStore(tmp_path, "night")
    assert store.load(PLAN.id) == PLAN
    assert list(store.batches(PLAN)) == BATCHES


def test_plan_is_written_as_kept(tmp_path):
    store = PlanStore(tmp_path, "night")
    made = store.write(ENROLL, BATCHES, environment="live", keep=PLAN.keep)
    kept = (DATA / f"plan_v{plan.VERSION}.json").read_bytes()
    assert store.note.read_bytes().replace(made.id.encode(), PLAN.id.encode()) == kept
    assert (tmp_path / made.file).read_bytes() == (DATA / f"plan_v{plan.VERSION}.jsonl").read_bytes()


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_outcomes_file_is_written_as_kept(tmp_path, form):
    file = OutcomeFile(tmp_path / f"outcomes.{form}", keep=KEEP)
    file.begin(first_batch=0)
    for number, (outcomes, origins) in enumerate(zip(OUTCOMES, ORIGINS, strict=True)):
        items = tuple(outcome.address for outcome in outcomes)
        file.write(Batch(number, items, origins=origins), outcomes)
    assert file.finish() == 10
    assert file.path.read_bytes() == (DATA / f"outcomes_v{outcome_file.VERSION}.{form}").read_bytes()


def test_kept_outcomes_are_read():
    wanted = [
        {
            "address": one.address,
            "status": one.status.value,
            "reason": one.reason,
            "batch": number,
            "row": origin[0],
            **dict(zip(KEEP, origin[1:], strict=True)),
        }
        for number, (outcomes, origins) in enumerate(zip(OUTCOMES, ORIGINS, strict=True), 1)
        for one, origin in zip(outcomes, origins, strict=True)
    ]
    kept = DATA / f"outcomes_v{outcome_file.VERSION}.jsonl"
    assert [json.loads(line) for line in kept.read_text().splitlines()] == wanted
    rows = csv.DictReader(io.StringIO(kept.with_suffix(".csv").read_text(encoding="utf-8")))
    found = [{name: text_of_cell(cell) for name, cell in row.items()} for row in rows]
    cells = {None: "", True: "true"}
    assert found == [
        {name: cells[value] if value is None or value is True else str(value) for name, value in row.items()}
        for row in wanted
    ]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_outcomes_of_the_first_version_are_read(form):
    rows = [
        dict(zip(some.columns, row, strict=True))
        for some in read_outcomes(DATA / f"outcomes_v1.{form}")
        for row in some.rows
    ]
    assert [(row["address"], row["status"], row["batch"]) for row in rows] == [
        (one.address, one.status.value, number)
        for number, outcomes in enumerate(OUTCOMES, 1)
        for one in outcomes
    ]


def test_plan_of_an_earlier_version_is_refused(tmp_path):
    shutil.copy(DATA / "plan_v4.json", tmp_path / "night.json")
    shutil.copy(DATA / "plan_v4.jsonl", tmp_path / PLAN.file)
    with pytest.raises(MeisaInputError, match=r"another version of this provider\. Nothing was sent"):
        PlanStore(tmp_path, "night").load(PLAN.id)

"""What is kept between tries and processes, damaged in every way: the checkpoint, and the file of the rate limits."""

import json
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_meisa.api.errors import MeisaAudienceChangedError, MeisaInputError
from airflow_provider_meisa.api.outcomes import OutcomeCounter, OutcomeStatus
from airflow_provider_meisa.api.rate_limit.limiter import RateLimiter, Reservation
from airflow_provider_meisa.api.rate_limit.limits import parse_limits
from airflow_provider_meisa.api.rate_limit.state import State, to_json
from airflow_provider_meisa.api.rate_limit.storage.factory import FileStorage
from airflow_provider_meisa.bulk.checkpoint import Checkpoint
from airflow_provider_meisa.bulk.engine import BulkEngine
from tests.support.clock import Clock
from tests.support.jobs import ENROLL, enroll_batches
from tests.support.people import people

PEOPLE = people(12)
PROGRAM = Path(__file__).parents[1] / "support" / "rate_limit_process.py"
MOST = 4 * 31 * 86400.0

numbers = st.integers() | st.integers(-2, 20) | st.floats() | st.sampled_from([10**30, -(10**30), 2**63])
anything = st.recursive(
    st.none()
    | st.booleans()
    | numbers
    | st.text(max_size=6)
    | st.sampled_from([v.value for v in OutcomeStatus]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(list(OutcomeStatus)), inner, max_size=4)
    ),
    max_leaves=8,
)
in_a_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def damaged(whole):
    """Draw a JSON object with some of its values replaced, or some left out."""
    return st.dictionaries(st.sampled_from(sorted(whole)), anything, max_size=4).flatmap(
        lambda changes: st.sets(st.sampled_from(sorted(whole)), max_size=1).map(
            lambda gone: {name: value for name, value in {**whole, **changes}.items() if name not in gone}
        )
    )


@given(
    damaged(Checkpoint(next_batch=2, in_flight=(1,), unsent=(0,), counts={"enrolled": 3}).as_json())
    | anything
)
def test_a_damaged_checkpoint_is_refused_or_can_be_gone_on_with(value):
    with suppress(MeisaInputError, MeisaAudienceChangedError):
        checkpoint = Checkpoint.from_json(json.loads(json.dumps(value)))
        json.dumps(checkpoint.as_json())
        assert OutcomeCounter(checkpoint.counts, checkpoint.attention).total >= 0
        engine = BulkEngine(
            ENROLL, enroll_batches(PEOPLE, 3), lambda: Reservation("x"), checkpoint=checkpoint
        )
        engine.catch_up()
        assert engine.checkpoint().next_batch == checkpoint.next_batch


def limiter_in(folder, clock, limits="2/minute, 9/hour"):
    return RateLimiter(parse_limits(limits), FileStorage("shared", folder), clock=clock)


usual = to_json(
    State(log=(1, 2), open=(("a", 3),), granted_at=4, refused_at=5, back_off_for=6, interval=7, depth=9)
)


@example(content=json.dumps({**usual, "open": [["a", float("inf")]]}))
@example(content=json.dumps({**usual, "back_off_for": 10**18, "refused_at": 10**18}))
@example(content=json.dumps({**usual, "interval": 10**18, "granted_at": 10**18, "refused_at": 10**18}))
@example(content=json.dumps({**usual, "back_off_for": -(10**18), "interval": -(10**18), "granted_at": -5}))
@example(content=json.dumps({**usual, "log": [10**18] * 9, "open": [["a", 10**18]] * 9}))
@example(content=json.dumps({**usual, "open": [[str(number), 10**18] for number in range(20_000)]}))
@in_a_folder
@given(
    content=damaged(usual).map(json.dumps)
    | anything.map(json.dumps)
    | st.text(max_size=40)
    | st.binary(max_size=40)
)
def test_a_damaged_rate_limit_file_never_breaks_a_task_nor_locks_a_key_for_good(tmp_path, content):
    clock, folder = Clock(), tmp_path / "rate_limits"
    (folder / "shared.json").unlink(missing_ok=True)
    rate_limiter = limiter_in(folder, clock)
    rate_limiter.commit(rate_limiter.reserve())
    (folder / "shared.json").write_bytes(
        content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    )
    assert set(rate_limiter.remaining()) == {"2/minute", "9/hour"}
    assert rate_limiter.estimate(3) <= 2 * MOST
    for _ in range(40):
        if isinstance(decision := rate_limiter.reserve(), Reservation):
            break
        assert 0 < decision.seconds <= MOST
        clock.now += decision.seconds
    else:
        pytest.fail("no slot in forty waits")
    rate_limiter.back_off(1)
    rate_limiter.commit(decision)


@in_a_folder
@given(cut=st.floats(0, 1))
def test_a_rate_limit_file_cut_short_anywhere_is_noticed(tmp_path, cut):
    clock, folder = Clock(), tmp_path / "rate_limits"
    (folder / "shared.json").unlink(missing_ok=True)
    rate_limiter = limiter_in(folder, clock)
    rate_limiter.commit(rate_limiter.reserve())
    whole = (folder / "shared.json").read_bytes()
    (folder / "shared.json").write_bytes(whole[: int(cut * (len(whole) - 1))])
    assert rate_limiter.reserve().seconds == pytest.approx(60)


def test_a_file_that_is_damaged_again_and_again_while_processes_write_it_stops_none_of_them(tmp_path):
    folder, chance = tmp_path / "rate_limits", random.Random(7)
    command = [sys.executable, str(PROGRAM), "spend", str(folder), "100000/0.001s", "150"]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    while any(one.poll() is None for one in started):
        if (folder / "shared.json").exists():
            (folder / "shared.json").write_bytes(chance.randbytes(chance.randrange(60)))
        time.sleep(chance.uniform(0, 0.01))
    for one in started:
        out, err = one.communicate()
        assert one.returncode == 0, err
        assert len(out.split()) == 150

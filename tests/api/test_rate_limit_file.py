"""The rate limits in a file: several processes, their deaths, and what others may do to the folder."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.api.rate_limit.limiter import RateLimiter, Reservation, Wait
from airflow_provider_meisa.api.rate_limit.limits import parse_limits
from airflow_provider_meisa.api.rate_limit.storage import file as rate_limit_file
from airflow_provider_meisa.api.rate_limit.storage.factory import FileStorage
from airflow_provider_meisa.api.rate_limit.storage.file import default_directory
from tests.support.clock import Clock
from tests.support.threads import run_in_threads

PROGRAM = Path(__file__).parents[1] / "support" / "rate_limit_process.py"
DATA = Path(__file__).parents[1] / "data"
NEWEST = DATA / "rate_limits_v1.json"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "rate_limits"


@pytest.fixture
def process(folder):
    started = []

    def start(what, limits, times=0):
        command = [sys.executable, str(PROGRAM), what, str(folder), limits, str(times)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.communicate()


def limiter_in(folder, limits="2/minute", clock=None, **options):
    return RateLimiter(parse_limits(limits), FileStorage("shared", folder), clock=clock or Clock(), **options)


def test_four_processes_together_never_exceed_a_limit(process):
    all_four = [process("spend", "20/0.5s", 30) for _ in range(4)]
    counted = sorted(float(line) for one in all_four for line in one.communicate(timeout=60)[0].split())
    assert len(counted) == 120
    assert min(beyond - first for first, beyond in zip(counted, counted[20:], strict=False)) >= 0.5


def test_threads_together_never_get_more_than_a_window_holds(folder):
    rate_limiter, given = limiter_in(folder, "10/minute"), []
    run_in_threads(lambda: given.extend(rate_limiter.reserve() for _ in range(5)))
    assert sum(isinstance(decision, Reservation) for decision in given) == 10


def test_a_killed_process_leaves_its_slots_to_count_as_responses_later(process, folder):
    victim = process("die", "2/minute", 2)
    assert victim.stdout.readline() == "taken\n"
    victim.kill()
    victim.wait()
    clock = Clock(max(deadline for _, deadline in FileStorage("shared", folder).read(Clock())[0].open) / 1e6)
    rate_limiter = limiter_in(folder, clock=clock)
    clock.now -= 1
    assert rate_limiter.reserve() == Wait(pytest.approx(60.015, abs=1e-5))
    clock.now += 31
    assert 29.5 < rate_limiter.reserve().seconds < 30.1
    clock.now += 31
    assert isinstance(rate_limiter.reserve(), Reservation)


def test_a_process_killed_at_any_moment_leaves_a_file_that_can_be_read(process, folder, caplog):
    chance = random.Random(1)
    for _ in range(8):
        victim = process("churn", "100000/s")
        assert victim.stdout.readline() == "begun\n"
        with pytest.raises(subprocess.TimeoutExpired):
            victim.wait(timeout=chance.uniform(0, 0.05))
        victim.kill()
        victim.wait()
        assert isinstance(limiter_in(folder, "1000000/31days").reserve(), Reservation)
    assert not caplog.records


def test_a_half_written_new_file_is_overwritten(folder):
    rate_limiter = limiter_in(folder)
    rate_limiter.commit(rate_limiter.reserve())
    (folder / "shared.new").write_text('{"version":1,"lo')
    rate_limiter.commit(rate_limiter.reserve())
    assert isinstance(rate_limiter.reserve(), Wait)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "nul\0l",
        "[" * 100_000,
        "{}",
        '{"version":0}',
        '{"version":1}',
        '{"version":1,"log":[1],"open":[3]}',
        '{"version":1,"log":[],"open":[],"of":"the future"}',
        '{"version":1,"log":["a"],"open":[]}',
        '{"version":1,"log":["a",1],"open":[]}',
        '{"version":1,"log":[1.5],"open":[]}',
        '{"version":1,"log":[],"open":[],"depth":0}',
        '{"version":1,"log":[],"open":[],"interval":null}',
    ],
)
def test_a_damaged_file_is_begun_again_as_if_the_shortest_window_were_used_up(folder, content, caplog):
    clock = Clock()
    rate_limiter = limiter_in(folder, "2/minute, 9/hour", clock)
    rate_limiter.reserve()
    (folder / "shared.json").write_text(content)
    assert rate_limiter.remaining() == {"2/minute": 2, "9/hour": 9}
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert rate_limiter.reserve() == Wait(pytest.approx(60))
        assert rate_limiter.reserve() == Wait(pytest.approx(60))
    assert len(caplog.records) == 1
    assert "damaged" in caplog.text
    assert "2/minute" in caplog.text
    clock.now += 60
    assert isinstance(rate_limiter.reserve(), Reservation)


@pytest.mark.parametrize("name", ["rate_limits_0_1_0.json", "rate_limits_v1.json"])
def test_back_off_that_an_earlier_release_kept_is_obeyed(name, folder, caplog):
    content = (DATA / name).read_text()
    kept = json.loads(content)
    clock = Clock()
    clock.now = kept["refused_at"] / 1_000_000
    rate_limiter = limiter_in(folder, "60/minute, 1000/hour", clock)
    folder.mkdir(mode=0o700)
    (folder / "shared.json").write_text(content)
    used = len(kept["log"])
    assert rate_limiter.remaining() == {"60/minute": 60 - used, "1000/hour": 1000 - used}
    assert rate_limiter.reserve() == Wait(pytest.approx(60))
    assert not caplog.records
    clock.now += 60
    rate_limiter.commit(rate_limiter.reserve())
    assert json.loads((folder / "shared.json").read_text()).keys() == json.loads(NEWEST.read_text()).keys()


def test_the_folder_and_its_files_are_for_this_user_alone(folder):
    limiter_in(folder).reserve()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert {file.name for file in folder.iterdir()} == {"shared.json", "shared.lock"}


def test_the_default_folder_is_named_for_the_user(tmp_path, mocker):
    mocker.patch("tempfile.gettempdir", return_value=str(tmp_path))
    mocker.patch("os.geteuid", return_value=1234)
    assert default_directory() == tmp_path / "airflow-provider-meisa-1234"


def test_folder_of_another_user_is_refused(folder, mocker):
    folder.mkdir(mode=0o700)
    mocker.patch("os.geteuid", return_value=os.geteuid() + 1)
    with pytest.raises(MeisaInputError, match="must be a folder of this user that"):
        limiter_in(folder).reserve()


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_may_write_to_is_refused(folder, mode):
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(MeisaInputError, match="no one else may write to"):
        limiter_in(folder).reserve()


def test_a_link_in_place_of_the_folder_is_refused(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MeisaInputError, match="not a link"):
        limiter_in(folder).reserve()


def test_a_file_in_place_of_the_folder_is_refused(folder):
    folder.write_text("")
    with pytest.raises(MeisaInputError, match="must be a folder"):
        limiter_in(folder).reserve()


@pytest.mark.parametrize("name", ["shared.json", "shared.lock", "shared.new"])
def test_a_link_in_place_of_a_file_is_not_followed(folder, tmp_path, name):
    folder.mkdir(mode=0o700)
    (tmp_path / "precious").write_text("precious")
    (folder / name).symlink_to(tmp_path / "precious")
    with pytest.raises(MeisaUnreachableError, match="cannot be used"):
        limiter_in(folder).reserve()
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_folder_that_was_tidied_away_is_made_again(folder):
    rate_limiter = limiter_in(folder)
    rate_limiter.reserve()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert isinstance(rate_limiter.reserve(), Reservation)


def test_a_lock_file_that_was_tidied_away_while_waiting_for_it_is_not_relied_on(folder, mocker):
    locked = []
    real = fcntl.flock

    def tidied_up_once(descriptor, how):
        real(descriptor, how)
        if not locked:
            (folder / "shared.lock").unlink()
        locked.append(descriptor)

    mocker.patch("fcntl.flock", tidied_up_once)
    assert isinstance(limiter_in(folder).reserve(), Reservation)
    assert len(locked) == 2
    assert (folder / "shared.lock").exists()


def test_a_file_system_without_locks_is_told_from_a_refusal(folder, mocker):
    mocker.patch("fcntl.flock", side_effect=OSError(errno.ENOLCK, "No locks available"))
    with pytest.raises(MeisaUnreachableError, match=r"No locks available.*Nothing was sent"):
        limiter_in(folder).reserve()


def test_a_lock_that_a_frozen_process_holds_is_not_waited_for_for_good(folder, mocker):
    mocker.patch.object(rate_limit_file, "_LONGEST_LOCK", 0.2)
    rate_limiter = limiter_in(folder)
    rate_limiter.reserve()
    with (folder / "shared.lock").open() as frozen:
        fcntl.flock(frozen, fcntl.LOCK_EX)
        with pytest.raises(MeisaUnreachableError, match="may be frozen"):
            rate_limiter.reserve()
    assert isinstance(rate_limiter.reserve(), Reservation)


def test_a_response_is_not_lost_because_the_file_cannot_be_written(folder, mocker, caplog):
    rate_limiter = limiter_in(folder, reservation_ttl=10)
    reservation = rate_limiter.reserve()
    mocker.patch("os.open", side_effect=OSError(errno.ENOSPC, "No space left on device"))
    with caplog.at_level(logging.WARNING):
        rate_limiter.commit(reservation)
        rate_limiter.release(reservation)
        rate_limiter.back_off(5)
    assert caplog.text.count("No space left on device") == 3
    with pytest.raises(MeisaUnreachableError):
        rate_limiter.estimate(1)


def test_the_file_is_plain_json(folder):
    limiter_in(folder).reserve()
    state = json.loads((folder / "shared.json").read_text())
    assert state["version"] == 1
    assert len(state["open"]) == 1

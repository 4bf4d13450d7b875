"""Starting, stopping and starting again."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
import requests

from airflow_provider_meisa.sandbox import server
from airflow_provider_meisa.sandbox.extra import SandboxError
from airflow_provider_meisa.sandbox.server import Sandbox


def test_it_responses_as_soon_as_it_has_started_and_no_more_once_stopped(tmp_path):
    before = set(threading.enumerate())
    with Sandbox(tmp_path / "s.db") as sandbox:
        assert sandbox.api_url == sandbox.url + "/api/v1"
        assert requests.get(sandbox.url, timeout=10).status_code == 200
        assert sandbox.url in repr(sandbox)
        assert "key" not in repr(sandbox)
    with pytest.raises(requests.ConnectionError):
        requests.get(sandbox.url, timeout=10)
    assert not {thread for thread in set(threading.enumerate()) - before if thread.name == "meisa-sandbox"}


def test_what_happened_survives_a_restart(tmp_path, caller_of):
    with Sandbox(tmp_path / "s.db") as first:
        first.add_key("meisa_live_kept", ["sequences:enroll"])
        first.put_sequence("winback", status="active")
        first.put_contacts({"unsubscribed@example.com": "subscribed"})
        assert (
            caller_of(first, "meisa_live_kept").enroll("kept@example.org", slug="winback").status_code == 201
        )
    with Sandbox(tmp_path / "s.db") as second:
        live = caller_of(second, "meisa_live_kept")
        assert live.enroll("kept@example.org", slug="winback").status_code == 409
        assert live.enroll("unsubscribed@example.com", slug="winback").status_code == 201
        assert [entry["status"] for entry in second.requests()] == [201, 409, 201]


def test_a_temporary_database_goes_when_it_stops():
    with Sandbox() as sandbox:
        kept = sandbox.database
        assert kept.exists()
    assert not kept.parent.exists()


def test_stopping_twice_does_no_harm():
    with Sandbox() as sandbox:
        sandbox.stop()


def test_stopping_one_that_never_started_does_no_harm():
    sandbox = Sandbox()
    sandbox.stop()
    assert not sandbox.database.parent.exists()


def test_stopping_one_that_failed_to_start_does_no_harm(tmp_path):
    with Sandbox() as first:
        second = Sandbox(tmp_path / "s.db", port=int(first.url.rpartition(":")[2]))
        with pytest.raises(SandboxError):
            second.start()
        second.stop()
        assert requests.get(first.url, timeout=10).status_code == 200


def test_two_sandboxes_do_not_meet(tmp_path, caller_of):
    with Sandbox(tmp_path / "a.db") as first, Sandbox(tmp_path / "b.db") as second:
        assert caller_of(first).enroll().status_code == 201
        assert caller_of(second).enroll().status_code == 201


def test_latency_is_how_long_a_request_takes_at_least(tmp_path, caller_of):
    with Sandbox(tmp_path / "s.db", latency_ms=80) as sandbox:
        began = time.perf_counter()
        caller_of(sandbox).get("/ping/")
        assert time.perf_counter() - began >= 0.08


@pytest.mark.timeout(120)
def test_stopping_does_not_wait_for_slow_responses(tmp_path, caller_of):
    with Sandbox(tmp_path / "s.db") as sandbox:
        sandbox.fault("slow", seconds=600)
        caller = threading.Thread(target=_call_and_be_cut_off, args=(caller_of(sandbox),))
        caller.start()
        while not sandbox.enrollments("onboarding"):
            pass
    caller.join()


def _call_and_be_cut_off(caller):
    try:
        caller.enroll()
    except requests.ConnectionError:
        return


def test_responses_do_not_wait_for_delayed_acknowledgements(live):
    took = []
    for _ in range(20):
        began = time.perf_counter()
        live.get("/ping/")
        took.append(time.perf_counter() - began)
    assert min(took) < 0.04  # what one costs where the other side delays it, on any machine


def test_a_taken_port_is_explained():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SandboxError, match=f"port {port} .*choose another port, or 0"):
            Sandbox(port=port).start()


def test_a_port_out_of_range_is_explained():
    with pytest.raises(SandboxError, match="choose another port"):
        Sandbox(port=70000).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_other_machines_can_reach_is_refused(host):
    with pytest.raises(SandboxError, match="--allow-public"):
        Sandbox(host=host)


def test_localhost_is_allowed_and_so_is_the_public_when_asked():
    with Sandbox(host="localhost") as sandbox:
        assert requests.get(sandbox.url, timeout=10).status_code == 200
    with Sandbox(host="0.0.0.0", allow_public=True) as sandbox:
        port = sandbox.url.rpartition(":")[2]
        assert requests.get(f"http://127.0.0.1:{port}", timeout=10).status_code == 200


def this_machine_speaks_ipv6():
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.skipif(not this_machine_speaks_ipv6(), reason="this machine has no IPv6 loopback")
def test_the_address_of_a_host_with_colons_is_in_brackets():
    with Sandbox(host="::1") as sandbox:
        assert sandbox.url.startswith("http://[::1]:")
        assert requests.get(sandbox.url, timeout=10).status_code == 200


def test_a_file_that_is_no_database_is_explained(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be mistaken for one" * 9)
    with pytest.raises(SandboxError, match="choose another file"):
        Sandbox(tmp_path / "notes.txt").start()


def test_a_database_of_another_version_is_explained(tmp_path):
    connection = sqlite3.connect(tmp_path / "old.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SandboxError, match=r"another version.*choose another file"):
        Sandbox(tmp_path / "old.db").start()


def test_limits_and_latency_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="write it like"):
        Sandbox(rate_limits="often")
    with pytest.raises(ValueError, match="0 milliseconds or more"):
        Sandbox(latency_ms=-1)


def test_a_server_that_does_not_start_is_explained(tmp_path, mocker):
    mocker.patch.object(server._Server, "startup", side_effect=SystemExit(3))
    with pytest.raises(SandboxError, match="did not start"):
        Sandbox(tmp_path / "s.db").start()


def test_it_needs_nothing_of_airflow_and_nothing_else_of_ours():
    code = """
import sys
import airflow_provider_meisa.sandbox.__main__, airflow_provider_meisa.sandbox.server
ours = [m for m in sys.modules if m.startswith("airflow_provider_meisa.")]
assert all(m.startswith("airflow_provider_meisa.sandbox") for m in ours), ours
assert not {"airflow", "requests", "tenacity"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

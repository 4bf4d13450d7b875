"""The command line while Meisa responds with 503."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("command", ["ping", "sequences"])
def test_command_waits_out_a_503(meisa, meisa_sandbox, meisa_connection, command):
    meisa_connection(extra={"rate_limits": "50/1s"})
    meisa_sandbox.fault("html", status=503, headers={"Retry-After": "1"}, times=2)
    ended = meisa(command)
    assert ended.status == 0
    assert "is unavailable (503)" in ended.err


def test_command_names_a_503_that_lasts(meisa, meisa_sandbox, meisa_connection):
    meisa_connection(extra={"rate_limits": "50/1s"})
    meisa_sandbox.fault("status", status=503, headers={"Retry-After": "0.02"})
    ended = meisa("ping")
    assert ended.status == 1
    assert ended.err.splitlines()[-1].startswith("GET /ping/: Meisa is unavailable (503)")

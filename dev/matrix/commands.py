"""Check the provider and its connections with the ``airflow`` command."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from environment import Failed, output_of
from home import Home
from lines import Line
from world import KEY, Sandbox

_WITH_COMMANDS = (3, 2)
_EXTRA = {"rate_limit_storage": "memory", "rate_limits": "60/minute, 1000/hour"}


def modules(home: Home) -> str:
    """Import every module of the package that supports this Airflow.

    :raises Failed: if one cannot be imported.
    """
    response = json.loads(home.inside("modules"))
    if response["broken"]:
        raise Failed("\n".join(f"{name}: {why}" for name, why in response["broken"].items()))
    return f"{response['imported']} of {response['modules']}"


def description(home: Home) -> str:
    """Validate the description against this Airflow's schema, and check that Airflow lists the provider.

    :raises Failed: if it is invalid or missing.
    """
    home.inside("description")
    listed = json.loads(_last_json(home.airflow("providers", "list", "-o", "json")))
    if not any(each["package_name"] == "airflow-provider-meisa" for each in listed):
        raise Failed("`airflow providers list` does not list airflow-provider-meisa.")
    return "yes"


def connection(home: Home, sandbox: Sandbox) -> str:
    """Check that a connection is read as it was written, and passes its test: as URI, as JSON, from the database.

    :raises Failed: if it is read differently, or its test fails.
    """
    written = {"conn_type": "meisa", "host": sandbox.url, "password": KEY, "extra": _EXTRA}
    uri = f"meisa://:{KEY}@{quote(sandbox.url, safe='')}/?{urlencode(_EXTRA)}"
    for name, spelled in {"uri": uri, "json": json.dumps(written)}.items():
        variable = {f"AIRFLOW_CONN_MEISA_{name.upper()}": spelled}
        _compare(home.airflow("connections", "get", f"meisa_{name}", "-o", "json", **variable), written)
        _test(home, f"meisa_{name}", **variable)
    home.airflow("connections", "add", "meisa_stored", "--conn-json", json.dumps(written))
    _test(home, "meisa_stored")
    return "URI, JSON, stored"


def terminal(line: Line, home: Home, sandbox: Sandbox) -> str:
    """List the sequences in the terminal with ``airflow-meisa``, and with ``airflow meisa`` where Airflow supports it.

    :raises Failed: if a sequence is missing.
    """
    home.meet(sandbox, deferrable=False)
    ours = home.environment.folder / "bin" / "airflow-meisa"
    shown = {"airflow-meisa": output_of([ours, "sequences"], home.env(), home.folder)}
    if line.number >= _WITH_COMMANDS:
        shown["airflow meisa"] = home.airflow("meisa", "sequences")
    for name, printed in shown.items():
        if "reactivation" not in printed:
            raise Failed(f"`{name} sequences` does not list reactivation. Its output: {printed[-500:]}")
    return ", ".join(f"`{name}`" for name in shown)


def _compare(shown: str, written: dict[str, Any]) -> None:
    (found,) = json.loads(_last_json(shown))
    for ours, theirs in (("host", "host"), ("password", "password"), ("extra", "extra_dejson")):
        if found[theirs] != written[ours]:
            raise Failed(f"The {ours} of a connection was not read as it was written.")


def _test(home: Home, conn_id: str, **variable: str) -> None:
    response = home.airflow("connections", "test", conn_id, **variable)
    if "Connection success!" not in response:
        raise Failed(f"The test of {conn_id} did not succeed. Its output: {response[-500:]}")


def _last_json(printed: str) -> str:
    # Some versions print log lines before the result.
    return next(line for line in reversed(printed.splitlines()) if line.startswith("[{"))

"""What the ``airflow`` command says of the provider and of its connections."""

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
    """Import every module of ours that is for this Airflow.

    :raises Failed: if one cannot be.
    """
    response = json.loads(home.inside("modules"))
    if response["broken"]:
        raise Failed("\n".join(f"{name}: {why}" for name, why in response["broken"].items()))
    return f"{response['imported']} of {response['modules']}"


def description(home: Home) -> str:
    """Hold the description against this Airflow's schema, and see that the providers are listed with ours.

    :raises Failed: if it does not fit, or is missing.
    """
    home.inside("description")
    listed = json.loads(_last_json(home.airflow("providers", "list", "-o", "json")))
    if not any(each["package_name"] == "airflow-provider-meisa" for each in listed):
        raise Failed("`airflow providers list` does not show it.")
    return "yes"


def connection(home: Home, sandbox: Sandbox) -> str:
    """See that a connection comes back as it was written, and can be tested: as URI, as JSON, from the database.

    :raises Failed: if it comes back otherwise, or its test fails.
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
    """List the sequences in the terminal, with our own command and, where Airflow has room for it, with Airflow's.

    :raises Failed: if a sequence is not shown.
    """
    home.meet(sandbox, deferrable=False)
    ours = home.environment.folder / "bin" / "airflow-meisa"
    shown = {"airflow-meisa": output_of([ours, "sequences"], home.env(), home.folder)}
    if line.number >= _WITH_COMMANDS:
        shown["airflow meisa"] = home.airflow("meisa", "sequences")
    for name, printed in shown.items():
        if "reactivation" not in printed:
            raise Failed(f"{name} sequences said: {printed[-500:]}")
    return ", ".join(f"`{name}`" for name in shown)


def _compare(shown: str, written: dict[str, Any]) -> None:
    (found,) = json.loads(_last_json(shown))
    for ours, theirs in (("host", "host"), ("password", "password"), ("extra", "extra_dejson")):
        if found[theirs] != written[ours]:
            raise Failed(f"The {ours} of a connection came back as another.")


def _test(home: Home, conn_id: str, **variable: str) -> None:
    response = home.airflow("connections", "test", conn_id, **variable)
    if "Connection success!" not in response:
        raise Failed(f"The test of {conn_id} said: {response[-500:]}")


def _last_json(printed: str) -> str:
    # Some versions log in front of what was asked for.
    return next(line for line in reversed(printed.splitlines()) if line.startswith("[{"))

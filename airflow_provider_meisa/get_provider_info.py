"""The description that Airflow reads at start-up, in every process: plain data, no imports."""

from __future__ import annotations

from typing import Any

_PACKAGE = "airflow_provider_meisa"
_NAME = "Meisa"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description (Airflow's ``provider_info`` schema, read by 2.11 to 3.3).

    ``conn-fields``, ``ui-field-behaviour`` and ``hook-name`` define the connection form on 3.2 and later. On earlier
    versions, the hook's class methods define it from the same data.
    """
    return {
        "package-name": "airflow-provider-meisa",
        "name": _NAME,
        "description": "Update contacts of `Meisa <https://meisa.io/>`__, and enroll them into e-mail sequences.",
        "integrations": [
            _integration(_NAME, "https://meisa.io/", "service"),
            _integration("SQL", "https://peps.python.org/pep-0249/", "protocol"),
            _integration("File", "https://www.rfc-editor.org/rfc/rfc4180", "protocol"),
        ],
        "hooks": [_modules("hooks.meisa")],
        "operators": [_modules("operators.sequences", "operators.contacts", "operators.sync_contacts")],
        "sensors": [_modules("sensors.sequences")],
        "triggers": [_modules("triggers.sequences", "triggers.rate_limit")],
        "transfers": [
            _transfer("SQL", "sql_to_meisa"),
            _transfer("File", "file_to_meisa"),
            _transfer(_NAME, "meisa_to_sql", target="SQL"),
        ],
        "task-decorators": [
            {"name": "meisa_enroll", "class-name": f"{_PACKAGE}.decorators.meisa_enroll.meisa_enroll_task"},
            {
                "name": "meisa_sync_contacts",
                "class-name": f"{_PACKAGE}.decorators.meisa_sync_contacts.meisa_sync_contacts_task",
            },
        ],
        "asset-uris": [_asset_uri()],
        "dataset-uris": [_asset_uri()],  # the name in 2.11
        "extra-links": [f"{_PACKAGE}.links.meisa.MeisaSequenceLink"],
        "cli": [f"{_PACKAGE}.cli.definition.get_cli_commands"],
        "connection-types": [_connection_type()],
        "config": {"meisa": _configuration()},
    }


def _integration(name: str, url: str, tag: str) -> dict[str, Any]:
    return {"integration-name": name, "external-doc-url": url, "tags": [tag]}


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": _NAME, "python-modules": [f"{_PACKAGE}.{name}" for name in names]}


def _transfer(source: str, module: str, target: str = _NAME) -> dict[str, Any]:
    return {
        "source-integration-name": source,
        "target-integration-name": target,
        "python-module": f"{_PACKAGE}.transfers.{module}",
    }


def _asset_uri() -> dict[str, Any]:
    module = f"{_PACKAGE}.assets.sequences"
    return {
        "schemes": ["meisa"],
        "handler": f"{module}.sanitize_uri",
        "to_openlineage_converter": f"{module}.convert_asset_to_openlineage",
    }


def _connection_type() -> dict[str, Any]:
    return {
        "connection-type": "meisa",
        "hook-class-name": f"{_PACKAGE}.hooks.meisa.MeisaHook",
        "hook-name": _NAME,
        "ui-field-behaviour": {
            "hidden-fields": ["login", "port", "schema"],
            "relabeling": {"password": "API key", "host": "Base URL"},
            "placeholders": {"password": "meisa_live_…", "host": "https://api.meisa.io/api/v1"},
        },
        "conn-fields": _connection_fields(),
    }


def _connection_fields() -> dict[str, Any]:
    return {
        "rate_limits": {
            "label": "Rate limits",
            "description": "Requests that the API key may send, such as 60/minute, 1000/hour. Change it if Meisa "
            "raised your limits.",
            "schema": {"type": ["string", "null"], "default": "60/minute, 1000/hour"},
        },
        "timeout": {
            "label": "Timeout (s)",
            "description": "Seconds to wait for a response.",
            "schema": {"type": ["number", "null"], "default": 30, "minimum": 1, "maximum": 3600},
        },
        "environment": {
            "label": "Environment",
            "description": "Environment that the API key must belong to, checked before the first write. Leave empty "
            "to skip the check.",
            "schema": {"type": ["string", "null"], "enum": ["", "live", "test"], "default": ""},
        },
        "allow_override_unsubscribe": {
            "label": "Allow override_unsubscribe",
            "description": "Allow tasks to mail contacts who unsubscribed. Leave it off unless you need it.",
            "schema": {"type": ["boolean", "null"], "default": False},
        },
        "allow_http": {
            "label": "Allow http://",
            "description": "Allow a Base URL with http:// to another host. The API key is then sent unencrypted.",
            "schema": {"type": ["boolean", "null"], "default": False},
        },
        "rate_limit_storage": {
            "label": "Rate limit storage",
            "description": "Where requests are counted: empty for a file that all processes of one user on a host "
            "share, redis://… for several hosts, memory for one process.",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "dashboard_url": {
            "label": "Dashboard URL",
            "description": "Base of links to sequences; {slug} is replaced by the sequence's slug.",
            "schema": {"type": ["string", "null"], "default": "https://app.meisa.io"},
        },
    }


def _configuration() -> dict[str, Any]:
    return {
        "description": "Where the Meisa provider keeps its files, and which API keys it may use.",
        "options": {
            "ledger_path": _option(
                "Folder of all ledgers: a path or a URI of an object store that all workers reach. By default "
                "``meisa_ledger`` in ``AIRFLOW_HOME``.",
                example="s3://meisa@my-bucket/ledgers",
            ),
            "ledger_key": _option(
                "Secret of all ledgers. Without it, whoever has a ledger can find out whether an address is in it.",
                example=None,
                sensitive=True,
            ),
            "staging_path": _option(
                "Folder for the plans of tasks, which hold addresses in clear. By default a private folder on the "
                "worker's host.",
                example="s3://meisa@my-bucket/plans",
            ),
            "rate_limit_storage": _option(
                "Where requests are counted for connections that do not set ``rate_limit_storage``. By default a file "
                "on each host.",
                example="redis://redis:6379/0",
                sensitive=True,
            ),
            "required_environment": _option(
                "``test`` or ``live``: the environment that every API key must belong to. With ``test`` a live key "
                "sends nothing. Empty for any.",
                example="test",
            ),
        },
    }


def _option(description: str, *, example: str | None, sensitive: bool = False) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": "string",
        "example": example,
        "default": "",
        **({"sensitive": True} if sensitive else {}),
    }

"""The page at ``/``: sequences, the latest enrollments and contacts, and what automations would have seen."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_meisa.sandbox.world import World

LATEST = 25
_LONGEST = 200

_STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #1b2330; --soft: #5d6878;
  --line: #e2e6ec; --accent: #2f5bd7; --good: #14713f; --good-ground: #e0f4e8; --wait: #8a5a00;
  --wait-ground: #fdf0d5; --calm: #4a5568; --calm-ground: #e9edf2; }
@media (prefers-color-scheme: dark) { :root { --ground: #12161d; --card: #1a2029; --ink: #e6eaf0;
  --soft: #9aa6b6; --line: #2a323e; --accent: #8caaff; --good: #7fdca5; --good-ground: #15382a;
  --wait: #f1c878; --wait-ground: #40310f; --calm: #b9c3d0; --calm-ground: #2a323e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main, header { max-width: 64rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 2rem; }
h1 { margin: 0; font-size: 1.5rem; letter-spacing: -.01em; }
h1 small { margin-left: .4rem; color: var(--soft); font-size: .85rem; font-weight: 400; letter-spacing: 0; }
header p { margin: .25rem 0 0; color: var(--soft); }
dl { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0 0; }
dl div { flex: 1 1 10rem; padding: .7rem 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; }
dt { color: var(--soft); font-size: .8rem; }
dd { margin: 0; font-size: 1.05rem; font-weight: 600; font-variant-numeric: tabular-nums; }
section { margin: 1.5rem 0; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
table { width: 100%; border-collapse: collapse; }
caption { padding: .9rem .8rem .5rem; text-align: left; font-size: 1.05rem; font-weight: 600; }
th, td { padding: .5rem .8rem; text-align: left; border-top: 1px solid var(--line);
  max-width: 22rem; overflow-wrap: break-word; }
thead th { color: var(--soft); font-size: .8rem; font-weight: 500; white-space: nowrap; }
tbody th { font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.when { color: var(--soft); font-variant-numeric: tabular-nums; white-space: nowrap; }
dl div:first-child { flex-basis: 15rem; }
.none { padding: 1.25rem 1rem; color: var(--soft); }
.badge { display: inline-block; white-space: nowrap; padding: .05rem .6rem; border-radius: 1rem; font-size: .85rem;
  color: var(--calm); background: var(--calm-ground); }
.active { color: var(--good); background: var(--good-ground); }
.paused { color: var(--wait); background: var(--wait-ground); }
footer { max-width: 64rem; margin: 0 auto; padding: 0 1.5rem 2rem; color: var(--soft); font-size: .85rem; }
a { color: var(--accent); }
"""


def page(world: World) -> str:
    """Return the whole page; everything from requests is escaped."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5">
<title>Meisa sandbox</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>Meisa sandbox <small>{escape(__version__)}</small></h1>
<p>A sandbox of Meisa on this machine. It sends no e-mail.</p>
{_facts(world)}
</header>
<main>
{_sequences(world)}
{_latest(world)}
{_contacts(world)}
{_automation_events(world)}
</main>
<footer>Reloads every 5 seconds.
Which behaviour is documented, inferred or unknown: <a href="/_sandbox/">/_sandbox/</a></footer>
</body>
</html>
"""


def _facts(world: World) -> str:
    requests = world.journal.by_status()
    limited = requests.get("429", 0)
    facts = {
        "Rate limits per key": world.rate_limits.strip() or "none",
        "Environments with keys": " and ".join(world.store.environments()) or "none",
        "Requests": f"{sum(requests.values()):,}",
        "Refused with 429": f"{limited:,}",
    }
    shown = (f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f"<dl>{''.join(shown)}</dl>"


def _sequences(world: World) -> str:
    test = {row["slug"]: row for row in world.store.sequences("test")}
    rows = [
        f'<tr><th scope="row">{escape(row["slug"])}</th><td>{escape(row["name"])}</td>'
        f"<td>{_badge(row['status'])}</td>"
        f"{_number(row['enrolled_now'])}{_number(row['total_enrolled'])}"
        f"{_number(test[row['slug']]['total_enrolled'])}</tr>"
        for row in world.store.sequences("live")
    ]
    return _table(
        "Sequences",
        ("Slug", "Name", "Status", "#Enrolled now", "#Total enrolled", "#Total enrolled, test"),
        rows,
    )


def _latest(world: World) -> str:
    rows = [_enrollment(row) for row in world.store.latest_enrollments(LATEST)]
    return _table(
        "Latest enrollments", ("Address", "Sequence", "Status", "Environment", "Source", "When (UTC)"), rows
    )


def _contacts(world: World) -> str:
    rows = [
        f'<tr><th scope="row">{escape(row["email"])}</th><td>{escape(row["external_id"] or "")}</td>'
        f"<td>{escape(_name_of(row))}</td><td>{escape(_custom_fields(row['custom_fields']))}</td>"
        f"<td>{escape(', '.join(tag['name'] for tag in row['tags']))}</td>"
        f"<td>{_badge(row['status'])}</td><td>{escape(row['environment'])}</td>{_when(row['updated_at'])}</tr>"
        for row in world.store.latest_contacts(LATEST)
    ]
    columns = ("Address", "External id", "Name", "Custom fields", "Tags", "Status", "Environment")
    return _table("Latest contacts", (*columns, "When (UTC)"), rows)


def _name_of(row: dict[str, Any]) -> str:
    return str(row["display_name"]) or f"{row['first_name']} {row['last_name']}".strip()


def _custom_fields(custom_fields: dict[str, Any]) -> str:
    shown = ", ".join(f"{name}: {json.dumps(value)}" for name, value in custom_fields.items())
    return f"{shown[:_LONGEST]}…" if len(shown) > _LONGEST else shown


def _automation_events(world: World) -> str:
    rows = [
        f'<tr><th scope="row">{escape(row["name"])}</th><td>{escape(", ".join(row["about"]))}</td>'
        f"<td>{escape(row['email'])}</td><td>{escape(row['environment'])}</td>{_when(row['at'])}</tr>"
        for row in world.store.latest_automation_events(LATEST)
    ]
    return _table(
        "What automations would have seen",
        ("Event", "Fields or tag", "Address", "Environment", "When (UTC)"),
        rows,
    )


def _when(seconds: float) -> str:
    when = datetime.fromtimestamp(seconds, tz=UTC)
    return f'<td class="when"><time datetime="{when.isoformat()}">{when:%Y-%m-%d %H:%M:%S}</time></td>'


def _enrollment(row: dict[str, Any]) -> str:
    return (
        f'<tr><th scope="row">{escape(row["email"])}</th><td>{escape(row["sequence_slug"])}</td>'
        f"<td>{_badge(row['status'])}</td><td>{escape(row['environment'])}</td>"
        f"<td>{escape(row['trigger_source'])}</td>"
        f"{_when(row['enrolled_at'])}</tr>"
    )


def _badge(status: str) -> str:
    known = f" {status}" if status in {"active", "paused"} else ""
    return f'<span class="badge{known}">{escape(status)}</span>'


def _number(value: int) -> str:
    return f'<td class="number">{value:,}</td>'


def _table(caption: str, columns: Sequence[str], rows: Iterable[str]) -> str:
    """Return a table; a column whose name begins with # holds numbers."""
    heads = "".join(map(_head, columns))
    body = "".join(rows) or f'<tr><td class="none" colspan="{len(columns)}">None yet.</td></tr>'
    return (
        f'<section class="scroll" tabindex="0" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></section>"
    )


def _head(column: str) -> str:
    attribute = ' class="number"' if column.startswith("#") else ""
    return f'<th scope="col"{attribute}>{escape(column.lstrip("#"))}</th>'

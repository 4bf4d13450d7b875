"""Draw the badges of README from ``pyproject.toml``, so that they are true and need no network.

``badges.py FOLDER`` writes them into a folder.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "_static" / "badges"

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {value}">
<title>{label}: {value}</title>
<rect width="{width}" height="20" rx="3" fill="#555"/>
<rect x="{split}" width="{right}" height="20" rx="3" fill="#1a6fb5"/>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{left_middle}" y="14">{label}</text>
<text x="{right_middle}" y="14">{value}</text>
</g>
</svg>
"""


def badges() -> dict[str, tuple[str, str]]:
    """Return label and value of each badge, by the name of its file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (airflow,) = [each for each in project["dependencies"] if each.startswith("apache-airflow>=")]
    typed = "yes" if "Typing :: Typed" in project["classifiers"] else "no"
    return {
        "python": ("Python", _or_later(project["requires-python"])),
        "airflow": ("Airflow", _or_later(airflow.removeprefix("apache-airflow"))),
        "licence": ("licence", project["license"]),
        "typed": ("typed", typed),
    }


def _or_later(specifier: str) -> str:
    return specifier.removeprefix(">=").removesuffix(".0") + "+"


def draw(label: str, value: str) -> str:
    """Return one badge; a letter takes 7 pixels, and each half has a margin."""
    left, right = (7 * len(text) + 14 for text in (label, value))
    return _SVG.format(
        label=label,
        value=value,
        width=left + right,
        split=left,
        right=right,
        left_middle=left / 2,
        right_middle=left + right / 2,
    )


def main(folder: str = str(FOLDER)) -> None:
    """Write every badge."""
    for name, (label, value) in badges().items():
        (Path(folder) / f"{name}.svg").write_text(draw(label, value), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

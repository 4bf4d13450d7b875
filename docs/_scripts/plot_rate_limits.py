"""Draw what the rate limiter does with 2,000 requests at the default limits, in simulated time: ``rate-limits.svg``.

The times are those of `tests/support/limiter_simulation.py`: the limiter itself, four requests at a time, responses
after 50 to 400 ms, and a server that counts in sliding windows. The same script draws the same picture.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(DOCS.parent))

from airflow_provider_meisa.api.rate_limit.limits import DEFAULT_LIMITS  # noqa: E402
from tests.support.clock import START  # noqa: E402 (it lies among the tests)
from tests.support.limiter_simulation import Server, SlidingLog, run  # noqa: E402 (it lies among the tests)

REQUESTS = 2000
MINUTES = 80

WIDTH, LEFT, RIGHT = 760, 64, 24
PANEL, GAP, TOP, FOOT = 110, 46, 62, 44
BLUE, RED, GREY, INK = "#4c6ef5", "#c92a2a", "#dee2e6", "#343a40"

Points = list[tuple[float, float]]


class Witness(Server):
    """A server that notes when requests came in."""

    def __init__(self) -> None:
        super().__init__([SlidingLog(limit) for limit in DEFAULT_LIMITS])
        self.came: list[float] = []

    def ask(self, now: float) -> int | None:
        """Record the time, and respond as the server does."""
        self.came.append(now - START)
        response: int | None = super().ask(now)
        return response


def picture() -> str:
    """Return the picture as SVG."""
    server = Witness()
    run(server, DEFAULT_LIMITS, REQUESTS)
    minute, hour = DEFAULT_LIMITS
    panels = [
        _panel(0, "Requests so far", REQUESTS, None, within(server.came, float("inf"))),
        _panel(1, "In the last minute", minute.requests, str(minute), within(server.came, minute.seconds)),
        _panel(2, "In the last hour", hour.requests, str(hour), within(server.came, hour.seconds)),
    ]
    height = TOP + 3 * PANEL + 2 * GAP + FOOT
    refused = f"{len(server.refused)} responses with 429" if server.refused else "no response with 429"
    title = f"{REQUESTS:,} requests, four at a time: {server.came[-1] / 60:.0f} minutes, {refused}"
    ticks = [_text(_x(60 * each), height - 26, str(each), "middle") for each in range(0, MINUTES + 1, 10)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12">'
    )
    lines = [
        head,
        f"<title>{title}</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        _text(LEFT, 26, title, "start", weight="600"),
        *panels,
        *ticks,
        _text(_x(60 * MINUTES / 2), height - 8, "minutes", "middle"),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def within(times: Sequence[float], seconds: float) -> Points:
    """Count, at each moment where it changes, the requests of the last so many seconds."""
    changes = [(time, 1) for time in times]
    changes += [(time + seconds, -1) for time in times if time + seconds <= 60 * MINUTES]
    points, count = [(0.0, 0.0)], 0
    for time, change in sorted(changes):
        points.append((time, count))
        count += change
        points.append((time, count))
    return [*points, (60.0 * MINUTES, count)]


def _panel(number: int, name: str, most: int, limit: str | None, points: Points) -> str:
    top = TOP + number * (PANEL + GAP)
    bottom, scale = top + PANEL, PANEL / (most * 1.15)
    line = _path((_x(time), bottom - count * scale) for time, count in points)
    parts = [
        f'<path d="M{LEFT} {bottom}H{WIDTH - RIGHT}" stroke="{INK}" fill="none"/>',
        *(
            f'<path d="M{_x(60 * minute):g} {top}V{bottom}" stroke="{GREY}" fill="none"/>'
            for minute in range(10, MINUTES + 1, 10)
        ),
        f'<path d="{line}V{bottom}H{LEFT}Z" fill="{BLUE}" fill-opacity="0.15"/>',
        f'<path d="{line}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>',
        _text(LEFT, top - 8, name, "start"),
        _text(LEFT - 8, bottom + 4, "0", "end"),
        _text(LEFT - 8, bottom - most * scale + 4, f"{most:,}", "end"),
    ]
    if limit:
        y = bottom - most * scale
        parts += [
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{RED}" stroke-dasharray="5 4" fill="none"/>',
            _text(WIDTH - RIGHT, top - 8, f"limit {limit}", "end", colour=RED),
        ]
    return "\n".join(parts)


def _x(seconds: float) -> float:
    return LEFT + seconds / (60 * MINUTES) * (WIDTH - LEFT - RIGHT)


def _path(points: Iterable[tuple[float, float]]) -> str:
    """Join points by steps, to the tenth of a unit; of those above one another what there is to see."""
    columns: dict[float, list[float]] = {}
    for x, y in points:
        columns.setdefault(round(x, 1), []).append(round(y, 1))
    steps = []
    for x, ys in columns.items():
        seen = dict.fromkeys((ys[0], min(ys), max(ys), ys[-1]))
        steps.append(f"H{x:g}" + "".join(f"V{y:g}" for y in [*seen, ys[-1]]))
    return f"M{steps[0][1:].replace('V', ' ', 1)}" + "".join(steps[1:])


def _text(x: float, y: float, text: str, anchor: str, *, weight: str = "400", colour: str = INK) -> str:
    place = f'x="{x:g}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}"'
    return f"<text {place}>{text}</text>"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS / "_static" / "rate-limits.svg"
    target.write_text(picture(), encoding="utf-8")

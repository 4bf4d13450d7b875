"""Build wheel and sdist into ``dist/``, check them, and install the wheel alone: ``python dev/matrix/package.py``.

It takes about half a minute, and uploads nothing.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from environment import Environment, Failed, output_of, outside
from lines import LINES, ROOT, Line, interpreter

DIST = ROOT / "dist"
TOOLS = Path(sys.executable).parent

_NEEDS_EXTRA = "airflow_provider_meisa.sandbox."
_OF_EXTRA = ("fastapi", "starlette", "uvicorn")


def main() -> int:
    """Build and check; return 1 if a check failed."""
    try:
        wheel = build()
        for line in (LINES[0], LINES[-1]):
            print(
                f"Airflow {line.airflow} and the wheel alone: {install_alone(wheel, line)} modules imported."
            )
    except Failed as failure:
        print(failure)
        return 1
    print(f"{wheel.name} and its sdist are in {DIST.name}/.")
    return 0


def build() -> Path:
    """Build both, check them with the tools for registries and installers, and return the wheel.

    :raises Failed: if one of the tools reports a problem.
    """
    shutil.rmtree(DIST, ignore_errors=True)
    output_of([TOOLS / "validate-pyproject", "pyproject.toml"])
    output_of([sys.executable, "-m", "build", "--outdir", DIST])
    output_of([TOOLS / "twine", "check", "--strict", *DIST.iterdir()])
    (wheel,) = DIST.glob("*.whl")
    output_of([TOOLS / "check-wheel-contents", wheel])
    return wheel


def install_alone(wheel: Path, line: Line) -> int:
    """Install the wheel without extras, import all modules that need none, and return their number.

    :raises Failed: if a module cannot be imported.
    """
    python = interpreter(line.pythons[0])
    if python is None:
        raise Failed(f"There is no Python {line.pythons[0]}.")
    with tempfile.TemporaryDirectory(prefix="meisa-alone-") as folder:
        environment = Environment(Path(folder) / "environment")
        environment.make(python, wheel, line, extras="")
        program = Path(__file__).with_name("inside.py")
        env = {**outside(), "AIRFLOW_HOME": folder}
        response = json.loads(
            output_of([environment.python, program, "modules"], env, Path(folder)).splitlines()[-1]
        )
    broken = {name: why for name, why in response["broken"].items() if not _is_of_the_extra(name, why)}
    if broken:
        raise Failed(f"Airflow {line.airflow}, the wheel alone: {json.dumps(broken, indent=2)}")
    return int(response["imported"])


def _is_of_the_extra(name: str, why: str) -> bool:
    return name.startswith(_NEEDS_EXTRA) and any(f"No module named '{each}'" in why for each in _OF_EXTRA)


if __name__ == "__main__":
    sys.exit(main())

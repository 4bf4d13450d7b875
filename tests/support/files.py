"""Files of addresses, read as the transfers read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_provider_meisa.transfers.sources.files import read_addresses


def read_file(path: Path, **arguments: Any) -> list[object]:
    """Read the addresses of a file, with the defaults of `FileToMeisaSequenceOperator`."""
    defaults: dict[str, Any] = {"file_format": None, "column": None, "encoding": "utf-8-sig"}
    return list(read_addresses(path, **{**defaults, **arguments}))

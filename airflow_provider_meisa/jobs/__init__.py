"""The jobs of bulk tasks, see `airflow_provider_meisa.bulk.job`. No name is public: use the operators."""

from __future__ import annotations

__all__: list[str] = []

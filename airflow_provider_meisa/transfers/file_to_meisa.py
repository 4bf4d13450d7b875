"""From a file into a sequence, or to contacts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_meisa.operators.audience import AudienceOperator
from airflow_provider_meisa.operators.location import PathField
from airflow_provider_meisa.operators.sync_contacts import ContactSyncOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_meisa.transfers.sources.delimited import Quoting
    from airflow_provider_meisa.transfers.sources.reading import FileFormat


class FileMixin(BaseOperator):
    """Gives an operator the parameters of a file, which its own docstring describes."""

    path = PathField()

    def __init__(
        self,
        *,
        path: str | os.PathLike[str],
        format: FileFormat | None = None,  # noqa: A002 (the usual word for it)
        encoding: str = "utf-8-sig",
        delimiter: str | None = None,
        quoting: Quoting | None = None,
        conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.format = format
        self.encoding = encoding
        self.delimiter = delimiter
        self.quoting = quoting
        self.conn_id = conn_id

    def read_rows(self, email_column: str) -> Iterator[object]:
        """Return the file's rows in their order, with all their columns.

        :param email_column: the column of the addresses.
        """
        from airflow_provider_meisa.operators.location import locate
        from airflow_provider_meisa.transfers.sources.files import read_rows

        return read_rows(
            locate(self.path, self.conn_id),
            file_format=self.format,
            email_column=email_column,
            encoding=self.encoding,
            delimiter=self.delimiter,
            quoting=self.quoting,
        )

    def lineage_inputs(self) -> list[Dataset]:
        """Return the dataset of the file."""
        from airflow_provider_meisa.transfers.sources.lineage import file_dataset

        return [file_dataset(self.path)]


class FileToMeisaSequenceOperator(FileMixin, AudienceOperator):
    """Enroll any number of contacts of a file, and report the status of each.

    The file is streamed, never held in memory, and read once per run, before the first request. After a missing file
    Airflow retries the task. A line that cannot be read stops the run before anything is sent; the message has the
    number of the line, but not its content.

    :param path: a local path or a URI of any store that ``ObjectStoragePath`` supports, as text or as such an object
        (templated). Gzip is decompressed, whatever the name.
    :param format: ``csv``, ``tsv``, ``jsonl``, ``lines`` (one address per line) or ``parquet`` (needs
        ``airflow-provider-meisa[parquet]``). By default taken from the suffix: ``.csv``, ``.tsv``, ``.jsonl``,
        ``.ndjson``, ``.json``, ``.txt``, ``.parquet``.
    :param email_column: the column of the addresses; by default the only column, or the one named ``email`` in any
        case. A name is that of a column, or of a key in JSON Lines. A number from 0 is a column of a file **without**
        a header, or of Parquet. JSON may also hold only addresses in quotes; a record without the key has no
        address.
    :param encoding: the encoding of text; by default UTF-8. A byte order mark overrides it; UTF-16 is recognized.
    :param delimiter: the character between the cells of CSV or TSV. By default a tab in TSV; in CSV that of a first
        line ``sep=;``, or the comma, semicolon, pipe or tab that fits the first line.
    :param quoting: ``standard``: double quotes enclose a cell of CSV or TSV, which may hold up to 10 line breaks but
        nothing that looks like other rows. ``multiline``: neither is checked. ``none``: quotes have no meaning. By
        default ``standard`` in CSV, ``none`` in TSV.
    :param conn_id: the Airflow Connection of the store (templated); the URI may hold it instead.
    :param sequence_slug: see `AudienceOperator`, as for the other parameters.
    """

    template_fields: Sequence[str] = ("path", "conn_id", *AudienceOperator.template_fields)

    def __init__(self, *, email_column: str | int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.email_column = email_column

    def read(self, context: Context) -> Iterator[object]:
        """Return the file's addresses in their order.

        :raises MeisaInputError: if the path, the format, the column or a line cannot be used.
        :raises MeisaUnreachableError: if the file does not exist, or cannot be read.
        """
        from airflow_provider_meisa.operators.location import locate
        from airflow_provider_meisa.transfers.sources.files import read_addresses

        if self.reads_rows:
            return self.read_rows("email" if self.email_column is None else str(self.email_column))
        return read_addresses(
            locate(self.path, self.conn_id),
            file_format=self.format,
            column=self.email_column,
            encoding=self.encoding,
            delimiter=self.delimiter,
            quoting=self.quoting,
        )


class FileToMeisaContactsOperator(FileMixin, ContactSyncOperator):
    """Keep contacts in step with a file: send the rows that are new or have changed.

    The file is streamed and read once a run. CSV and TSV need a header; an empty cell is NULL, and nothing is guessed:
    ``types`` converts. JSON Lines and Parquet may hold objects and lists.

    :param path: a local path or a URI of any store that ``ObjectStoragePath`` reaches, as text or as such an object
        (templated). Gzip is decompressed on the way, whatever the name.
    :param format: ``csv``, ``tsv``, ``jsonl`` or ``parquet`` (needs ``airflow-provider-meisa[parquet]``). By default
        the name's suffix says.
    :param encoding: of text; by default UTF-8. A byte order mark in the file counts more, and UTF-16 is recognized.
    :param delimiter: the character between the cells of CSV or TSV, see `FileToMeisaSequenceOperator`.
    :param quoting: what quotes mean in CSV or TSV, see `FileToMeisaSequenceOperator`.
    :param conn_id: the Airflow Connection of the store (templated); the URI may hold it instead.
    :param ledger: and the other parameters: see `ContactSyncOperator`.
    """

    template_fields: Sequence[str] = ("path", "conn_id", *ContactSyncOperator.template_fields)
    source_name = "The file"

    def read(self, context: Context) -> Iterator[object]:
        """Return the file's rows in their order.

        :raises MeisaInputError: if the path, the format or a line cannot be used.
        :raises MeisaUnreachableError: if there is no such file, or it cannot be read.
        """
        return self.read_rows((self.fields or {}).get("email", "email"))

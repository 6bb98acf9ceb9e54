"""SQL over the tables of a scan, through duckdb: only the scan is read, nothing is written."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from khotool.errors import UsageError
from khotool.fleet.extra import require
from khotool.fleet.store import Store
from khotool.fleet.tables import TABLES
from khotool.records import dataclass

Cell = str | int | float | bool | None | dict[str, Any] | list[Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a query.

    Args:
        columns: names, in order; rows: cells of each row. Times are ISO 8601 in UTC.
    """

    columns: list[str]
    rows: list[tuple[Cell, ...]]

    def records(self) -> Iterator[dict[str, Cell]]:
        """Rows as objects."""
        for row in self.rows:
            yield dict(zip(self.columns, row, strict=True))


def connect(**stores: Store) -> Any:
    """A connection with a schema for each store and a view for each table.

    Args:
        stores: by name of the schema; the views of ``main`` need no schema in a query.
    """
    duckdb = require("duckdb")
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    folders = [str(store.folder.resolve()) for store in stores.values()]
    for schema, store in stores.items():
        if schema != "main":
            connection.execute(f"CREATE SCHEMA {schema}")
        for table in TABLES:
            path = str(store.table(table).resolve()).replace("'", "''")
            connection.execute(f"CREATE VIEW {schema}.{table} AS FROM read_parquet('{path}')")
    quoted = ", ".join("'" + folder.replace("'", "''") + "/'" for folder in folders)
    connection.execute(f"SET allowed_directories = [{quoted}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def ask(store: Store, sql: str) -> Answer:
    """The answer to a query over one scan.

    Raises:
        UsageError: it is not SQL that duckdb takes, names what is not there, or returns nothing.
    """
    return execute(connect(main=store), sql)


def execute(connection: Any, sql: str) -> Answer:
    """The answer to a query.

    Raises:
        UsageError: as ``ask``.
    """
    duckdb = require("duckdb")
    try:
        statements = duckdb.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise UsageError("query: expected one SELECT")
        found = connection.execute(sql)
        columns = [column[0] for column in found.description]
        rows = [tuple(cell(value) for value in row) for row in found.fetchall()]
    except duckdb.Error as error:
        first = str(error).strip().splitlines()[0]
        tables = ", ".join(TABLES)
        raise UsageError(f"query: {first}; tables are {tables}") from None
    return Answer(_unique(columns), rows)


def _unique(columns: list[str]) -> list[str]:
    """Names of columns, each once: a join may have the same name on both sides."""
    seen: dict[str, int] = {}
    result = []
    for name in columns:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return result


def cell(value: Any) -> Cell:
    """A value of duckdb as JSON can have it."""
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    if isinstance(value, dict):
        return {str(key): cell(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [cell(inner) for inner in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    try:
        return int(value) if value == int(value) else float(value)
    except (TypeError, ValueError, OverflowError):
        return str(value)

"""The SQL that `otsvault views` prints, run by DuckDB and DataFusion: its rows are the table's, as the SDK reads it, after random
puts, updates and deletes of rows and columns, between a base and its deltas; and the table's at each earlier moment. That of
Spark and Trino, which are not here, is parsed by their grammars."""

import os
import random
import tempfile
import time

import datafusion
import duckdb
import sqlglot
from tablestore import (INF_MAX, INF_MIN, CapacityUnit, Condition, Direction, ReservedThroughput, Row,
                        RowExistenceExpectation, TableMeta, TableOptions)

import sandbox
import vault
from sandbox import DESCRIPTION, equal

NAMES = ["a", "b", "c", "late", "A", "odd_name"]
KEYS = [("k", "STRING"), ("n", "INTEGER")]


def value(pick):
    return pick.choice([pick.randrange(-9, 9), 1.5 * pick.randrange(9), pick.choice([True, False]),
                        pick.choice(["", "x", "it's", "ümläut"]), bytearray([0, 255, pick.randrange(9)])])


def key_of(pick):
    return [("k", pick.choice(["p", "q", "ü"])), ("n", pick.randrange(40))]


def any_time():
    return Condition(RowExistenceExpectation.IGNORE)


def change(client, table, pick, names, types):
    """One random change. Timestamps lie close together, so that versions meet."""
    now = int(time.time() * 1000)
    stamp = lambda: now - pick.randrange(5)
    typed = lambda name: types.get(name, value)(pick)
    key, kind = key_of(pick), pick.randrange(10)
    if kind < 4:
        cells = [(name, typed(name), stamp()) for name in names if pick.random() < 0.6]
        client.put_row(table, Row(key, cells), any_time())
    elif kind < 9:
        update = {}
        for name in names:
            which = pick.randrange(8)
            if which < 3:
                update.setdefault("PUT", []).append((name, typed(name), stamp()))
            elif which == 3:
                update.setdefault("DELETE_ALL", []).append(name)
        if update:
            client.update_row(table, Row(key, update), any_time())
    else:
        client.delete_row(table, Row(key, []), any_time())


def read(table):
    """Every row as the SDK reads it: key to attribute to newest value."""
    client, rows = sandbox.table_store(), {}
    start, end = [(key, INF_MIN) for key, _ in KEYS], [(key, INF_MAX) for key, _ in KEYS]
    while start:
        _, start, found, _ = client.get_range(table, Direction.FORWARD, start, end, [], 5000, max_version=1)
        for row in found:
            key = tuple(part[1] for part in row.primary_key)
            rows[key] = {cell[0]: plain(cell[1]) for cell in row.attribute_columns}
    return rows


def plain(value):
    """Types that compare as Table Store's do: a bool is no number."""
    return (type(value).__name__.replace("bytearray", "bytes"), bytes(value) if isinstance(value, bytearray) else value)


def in_duckdb(statements, table):
    """Every row of the view, column to value."""
    database = duckdb.connect()
    database.execute(statements)
    result = database.execute(f'SELECT * FROM "{table}"')
    names = [column[0] for column in result.description]
    return [dict(zip(names, found)) for found in result.fetchall()]


def in_datafusion(statements, table):
    """The same; a map comes as a list of pairs."""
    context = datafusion.SessionContext()
    for statement in statements.split(";\n"):
        if statement.strip():
            context.sql(statement)
    rows = context.sql(f'SELECT * FROM "{table}"').to_pylist()
    return [{**row, "_more": dict(row["_more"] or [])} for row in rows]


ENGINES = {"duckdb": in_duckdb, "datafusion": in_datafusion}


def view(dialect, path, table, columns, *options):
    """Every row of the view, as `read` gives them; `columns`: column to attribute."""
    rows = {}
    for cells in ENGINES[dialect](statements(path, table, dialect, *options), table):
        key, more = tuple(cells.pop(key) for key, _ in KEYS), cells.pop("_more") or {}
        assert key not in rows, f"{key} is there twice"
        row = {columns[name]: plain(cell) for name, cell in cells.items() if cell is not None}
        for name, typed in more.items():
            set_members = [member for member in typed.values() if member is not None]
            equal(len(set_members), 1)
            assert name not in row, f"{name} is there twice in {key}"
            row[name] = plain(set_members[0])
        rows[key] = row
    return rows


def statements(path, table, dialect, *options):
    return vault.otsvault("views", path, table, "--dialect", dialect, *options)["sql"]


def with_records(path, table):
    """How many runs of the chain have files of records."""
    shown = vault.otsvault("show", path, table)[0]
    deltas = [shown["delta"], *(manifest["delta"] for manifest in shown.get("deltas", []))]
    return sum(delta["totals"]["files"] > 0 for delta in deltas)


def columns_of(path, table):
    shown = vault.otsvault("show", path, table)[0]
    return {column["name"]: column["attribute"] for column in shown["columns"] if column["role"] == "attribute"}


def follows_the_table(table, seed, versions, types):
    pick = random.Random(seed)
    print(f"seed {seed}")
    client = sandbox.table_store()
    client.create_table(TableMeta(table, KEYS), TableOptions(-1, versions, 1_000_000_000),
                        ReservedThroughput(CapacityUnit(0, 0)))
    for _ in range(150):
        change(client, table, pick, NAMES[:3], types)
    path = os.path.join(tempfile.mkdtemp(dir=os.environ["WORK_DIRECTORY"]), "vault")
    source = f"ots://{DESCRIPTION['instance']}/{table}"
    base = vault.otsvault("backup", source, path, "--consistency", "exact", "--enable-stream", "24",
                          "--stream-settle", "0s", "--quiet")
    moments = [(base["tables"][0]["run"], read(table))]
    for _ in range(3):
        for _ in range(pick.randrange(60)):
            change(client, table, pick, NAMES, types)
        delta = vault.otsvault("delta", source, path)
        moments.append((delta["run"], read(table)))
    columns = columns_of(path, table)
    for dialect in ENGINES:
        same(view(dialect, path, table, columns), moments[-1][1])
        for run, rows in moments:
            same(view(dialect, path, table, columns, "--at", run), rows)
    for dialect in ("spark", "trino"):
        parsed = sqlglot.parse(statements(path, table, dialect), read=dialect)
        equal(len([statement for statement in parsed if statement]), 2 + with_records(path, table))
    print(f"{table}: {sum(len(rows) for _, rows in moments)} rows at {len(moments)} moments are the same")


def same(found, expected):
    """Asserts equality and shows the rows that differ."""
    differing = {key: (found.get(key), expected.get(key)) for key in {*found, *expected}
                 if found.get(key) != expected.get(key)}
    assert expected and not differing, differing


def engines_see_the_table_at_every_moment():
    steady = {"a": lambda pick: pick.randrange(9), "b": lambda pick: pick.choice(["x", "it's", ""]),
              "c": lambda pick: pick.random()}
    for seed in range(int(os.environ.get("VIEW_SEEDS", "2"))):
        follows_the_table(f"mixed_{seed}", seed, 1, {})
        follows_the_table(f"steady_{seed}", 1000 + seed, 1, steady)
        follows_the_table(f"versions_{seed}", 2000 + seed, 3, {})


if __name__ == "__main__":
    sandbox.run([engines_see_the_table_at_every_moment])

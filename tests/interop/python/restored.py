"""Real tables backed up, restored by the program, and read back through the SDK: every row is the one in the CSV, with
the timestamps that the source has."""

import multiprocessing
import os

from tablestore import INF_MAX, INF_MIN, Direction

import loader
import nycflights
import sandbox
import vault
from sandbox import DESCRIPTION, equal

VAULT = f"oss://{DESCRIPTION['bucket']}/restored"


def read(name, keys, first):
    """The rows whose first key column has a value, in key order: the key, the attribute columns by name, and their
    timestamps."""
    client = sandbox.table_store()
    start, end = ([(keys[0], first)] + [(key, bound) for key in keys[1:]] for bound in (INF_MIN, INF_MAX))
    while start:
        _, start, rows, _ = client.get_range(name, Direction.FORWARD, start, end, [], 5000, max_version=1)
        for row in rows:
            cells = sorted(row.attribute_columns)
            yield row.primary_key, [cell[:2] for cell in cells], [cell[2] for cell in cells]


def check(part):
    """Compares one part of a restored table with its rows in the CSV, and with the table that was backed up."""
    name, keys, rows = part
    encoded = lambda value: value.encode() if isinstance(value, str) else value
    rows = sorted(rows, key=lambda row: [encoded(value) for _, value in row[0]])
    first = rows[0][0][0][1]
    tables = rows, read(f"{name}_restored", keys, first), read(name, keys, first)
    for (key, cells), restored, source in zip(*tables, strict=True):
        equal(restored, source)
        equal([tuple(column[:2]) for column in restored[0]], key)
        equal([tuple(cell) for cell in restored[1]], sorted(cells))
    return len(rows)


def is_the_csv_again(table):
    rows = list(table.rows())
    loader.load(table, rows)
    vault.backup(table.name, VAULT, "--target-file-size", "256KiB")
    target = f"ots://{DESCRIPTION['instance']}/{table.name}_restored"
    summary = vault.otsvault("restore", VAULT, table.name, target)
    equal((summary["exit_code"], summary["rows"]["written"], summary["rows"]["rejected"]), (0, len(rows), 0))
    parts = {}
    for row in map(table.split, rows):
        parts.setdefault(row[0][0][1], []).append(row)
    parts = [(table.name, table.keys, part) for part in sorted(parts.values(), key=len, reverse=True)]
    with multiprocessing.get_context("fork").Pool(max(2, os.cpu_count() or 2)) as pool:
        equal(sum(pool.imap_unordered(check, parts)), len(rows))


def weather_is_the_csv_again():
    is_the_csv_again(nycflights.WEATHER)


def flights_are_the_csv_again():
    is_the_csv_again(nycflights.FLIGHTS)


if __name__ == "__main__":
    sandbox.run([weather_is_the_csv_again, flights_are_the_csv_again])

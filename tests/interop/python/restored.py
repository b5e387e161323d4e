"""A real table backed up, restored by the program, and read back through the SDK: every row is the one in the CSV, with
the timestamps that the source has."""

from tablestore import INF_MAX, INF_MIN, Direction

import loader
import nycflights
import sandbox
import vault
from sandbox import DESCRIPTION, equal

VAULT = f"oss://{DESCRIPTION['bucket']}/restored"


def read(name, keys):
    """Every row of a table in key order: the key, the attribute columns by name, and their timestamps."""
    client = sandbox.table_store()
    start, end = [(key, INF_MIN) for key in keys], [(key, INF_MAX) for key in keys]
    while start:
        _, start, rows, _ = client.get_range(name, Direction.FORWARD, start, end, [], 5000, max_version=1)
        for row in rows:
            cells = sorted(row.attribute_columns)
            yield row.primary_key, [cell[:2] for cell in cells], [cell[2] for cell in cells]


def weather_is_the_csv_again():
    table = nycflights.WEATHER
    rows = list(table.rows())
    loader.load(table, rows)
    vault.backup(table.name, VAULT, "--target-file-size", "256KiB")
    summary = vault.otsvault("restore", VAULT, table.name, f"ots://{DESCRIPTION['instance']}/weather_restored")
    equal((summary["exit_code"], summary["rows"]["written"], summary["rows"]["rejected"]), (0, len(rows), 0))
    encoded = lambda value: value.encode() if isinstance(value, str) else value
    wanted = sorted((table.split(row) for row in rows), key=lambda row: [encoded(value) for _, value in row[0]])
    restored = list(read("weather_restored", table.keys))
    equal(len(restored), len(rows))
    for (key, cells), (key_found, cells_found, _) in zip(wanted, restored):
        equal([tuple(part[:2]) for part in key_found], key)
        equal([tuple(cell) for cell in cells_found], sorted(cells))
    for source, copy in zip(read("weather", table.keys), restored):
        equal(copy, source)


if __name__ == "__main__":
    sandbox.run([weather_is_the_csv_again])

"""The weather table with a Stream: a base, updates and deletes through the SDK, a delta, more of them, another delta. A restore
to each of the three moments is the table as it was then, read through the SDK."""

import random

from tablestore import INF_MAX, INF_MIN, Condition, Direction, Row, RowExistenceExpectation

import loader
import nycflights
import sandbox
import vault
from sandbox import DESCRIPTION, equal

VAULT = f"oss://{DESCRIPTION['bucket']}/moments"
WEATHER = nycflights.WEATHER
CHANGES = 600


def read(name):
    """Every row: key to attribute to value."""
    client, rows = sandbox.table_store(), {}
    start, end = ([(key, bound) for key in WEATHER.keys] for bound in (INF_MIN, INF_MAX))
    while start:
        _, start, found, _ = client.get_range(name, Direction.FORWARD, start, end, [], 5000, max_version=1)
        for row in found:
            rows[tuple(part[1] for part in row.primary_key)] = {cell[0]: cell[1] for cell in row.attribute_columns}
    return rows


def change(client, rows, pick):
    """Changes rows of the table and of `rows` in the same way: columns set and deleted, rows replaced, deleted and new."""
    ignore = Condition(RowExistenceExpectation.IGNORE)
    for number in range(CHANGES):
        origin, time_hour = pick.choice(sorted(rows)) if number % 5 else ("JFK", pick.randrange(10**6))
        key, cells = [("origin", origin), ("time_hour", time_hour)], rows.get((origin, time_hour), {})
        kind = pick.randrange(4)
        if kind == 0:
            client.delete_row(WEATHER.name, Row(key, []), ignore)
            rows.pop((origin, time_hour), None)
            continue
        if kind == 1:
            cells = {"temp": float(number), "remark": f"replaced {number}"}
            client.put_row(WEATHER.name, Row(key, list(cells.items())), ignore)
        else:
            gone = [name for name in cells if pick.random() < 0.2]
            update = {"PUT": [("corrected", number), ("pressure", 1000.5 + number)]}
            gone = [name for name in gone if name not in ("corrected", "pressure")]
            if gone:
                update["DELETE_ALL"] = gone
            client.update_row(WEATHER.name, Row(key, update), ignore)
            cells = {name: value for name, value in cells.items() if name not in gone} | dict(update["PUT"])
        rows[(origin, time_hour)] = cells


def a_restore_to_each_moment_is_the_table_as_it_was():
    client, pick = sandbox.table_store(), random.Random(7)
    loader.load(WEATHER, WEATHER.rows())
    rows = {tuple(value for _, value in key): dict(cells) for key, cells in map(WEATHER.split, WEATHER.rows())}
    source = f"ots://{DESCRIPTION['instance']}/{WEATHER.name}"
    base = vault.otsvault("backup", source, VAULT, "--enable-stream", "24", "--stream-settle", "0s", "--quiet")
    equal(base["tables"][0]["consistency"], "exact")
    moments = [(base["tables"][0]["run"], dict(rows))]
    for _ in range(2):
        change(client, rows, pick)
        moments.append((vault.otsvault("delta", source, VAULT)["run"], dict(rows)))
    equal(read(WEATHER.name), rows)
    for number, (run, expected) in enumerate(moments):
        target = f"weather_{number}"
        restored = vault.otsvault("restore", VAULT, WEATHER.name, f"ots://{DESCRIPTION['instance']}/{target}", "--to", run)
        equal((restored["exit_code"], restored["rows"]["rejected"]), (0, 0))
        found = read(target)
        differing = [key for key in {*found, *expected} if found.get(key) != expected.get(key)]
        assert not differing, (len(differing), [(key, found.get(key), expected.get(key)) for key in differing[:5]])
        print(f"{target}: {len(found)} rows as of {run}")


if __name__ == "__main__":
    sandbox.run([a_restore_to_each_moment_is_the_table_as_it_was])

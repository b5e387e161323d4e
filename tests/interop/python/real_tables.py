"""Real tables from CSV through the SDK into Table Store, backed up, and read by engines that know nothing of otsvault:
every value, count and null must be the one in the CSV."""

import os
import tempfile

import pyarrow.compute

import engines
import loader
import nycflights
import sandbox
import vault
from sandbox import equal

OSS_VAULT = f"oss://{sandbox.DESCRIPTION['bucket']}/nyc"
directory = tempfile.TemporaryDirectory(dir=os.environ.get("WORK_DIRECTORY"))
expected = {}


def check(table, local_vault):
    run, = vault.runs(local_vault, table.name)
    wanted = expected[table.name]
    for name, read in engines.ENGINES.items():
        found = engines.plain(read(os.path.join(run, "data", "*.parquet")))
        equal(found.column_names, wanted.column_names + ["_ts", "_overflow"])
        equal((name, found["_ts"].type, found["_ts"].null_count, found["_overflow"].null_count),
              (name, pyarrow.int64(), 0, found.num_rows))
        found = found.select(wanted.column_names).sort_by([(key, "ascending") for key in table.keys])
        equal((name, found.schema.types, found.num_rows), (name, wanted.schema.types, wanted.num_rows))
        for column in wanted.column_names:
            equal((name, column, found[column].null_count), (name, column, wanted[column].null_count))
            assert found[column].combine_chunks().equals(wanted[column].combine_chunks()), (name, column)


def backed_up_to_oss(table):
    rows = list(table.rows())
    expected[table.name] = table.arrow(rows)
    equal(loader.load(table, rows), len(rows))
    summary = vault.backup(table.name, OSS_VAULT)
    cells = sum(len(row) - len(table.keys) for row in rows)
    equal((summary["totals"]["rows"], summary["totals"]["cells"]), (len(rows), cells))
    check(table, vault.download(f"nyc/{sandbox.DESCRIPTION['instance']}/{table.name}", directory.name)
          .removesuffix(f"/{sandbox.DESCRIPTION['instance']}/{table.name}"))


def weather_backed_up_to_oss_is_the_csv_in_every_engine():
    backed_up_to_oss(nycflights.WEATHER)


def flights_backed_up_to_oss_are_the_csv_in_every_engine():
    backed_up_to_oss(nycflights.FLIGHTS)


def weather_backed_up_in_many_files_on_the_local_disk_is_the_csv_in_every_engine():
    local = os.path.join(directory.name, "local")
    summary = vault.backup("weather", local, "--target-file-size", "64KiB", "--row-group-rows", "1000")
    assert summary["totals"]["files"] > 1, summary
    check(nycflights.WEATHER, local)


def weather_in_every_encoding_profile_is_the_csv_in_every_engine():
    sizes = {}
    for profile in ["fast", "balanced", "smallest", "compatible"]:
        local = os.path.join(directory.name, profile)
        summary = vault.backup("weather", local, "--encoding-profile", profile)
        sizes[profile] = summary["totals"]["stored_bytes"]
        check(nycflights.WEATHER, local)
    assert sizes["smallest"] <= sizes["balanced"] <= sizes["compatible"], sizes


if __name__ == "__main__":
    sandbox.run([
        weather_backed_up_to_oss_is_the_csv_in_every_engine,
        weather_backed_up_in_many_files_on_the_local_disk_is_the_csv_in_every_engine,
        weather_in_every_encoding_profile_is_the_csv_in_every_engine,
        flights_backed_up_to_oss_are_the_csv_in_every_engine,
    ])

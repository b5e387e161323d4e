"""The format page, followed to the letter: a backup of the table `mixed` read without otsvault, and compared with the
table as the Python SDK reads it."""

import glob
import json
import os
import tempfile

from tablestore import INF_MAX, INF_MIN, Direction

import sandbox
import vault
from row_sum import BINARY, BOOLEAN, DOUBLE, INTEGER, STRING, row_sum
from run_directory import Run, schema
from sandbox import equal

KIND = {bool: BOOLEAN, int: INTEGER, float: DOUBLE, str: STRING, bytes: BINARY, bytearray: BINARY}

directory = tempfile.TemporaryDirectory(dir=os.environ.get("WORK_DIRECTORY"))


def table_rows(name):
    """The rows of the live table with every version: (key, cells) as the row-sum takes them."""
    client = sandbox.table_store()
    keys = [column[0] for column in client.describe_table(name).table_meta.schema_of_primary_key]
    start, end = [[(key, bound) for key in keys] for bound in (INF_MIN, INF_MAX)]
    while start:
        _, start, rows, _ = client.get_range(name, Direction.FORWARD, start, end, max_version=100)
        for row in rows:
            yield ([(KIND[type(value)], value) for _, value in row.primary_key],
                   [(name, KIND[type(value)], value, timestamp) for name, value, timestamp in row.attribute_columns])


def a_backup_is_what_the_format_page_says_and_what_the_sdk_reads():
    local = os.path.join(directory.name, "one")
    summary = vault.backup("mixed", local)
    path, = vault.runs(local, "mixed")
    live = row_sum(table_rows("mixed"))
    equal((Run(path).check(), summary["totals"]["row_sum"]), (live, live))
    equal(summary["totals"]["rows"], 5_000)


def a_backup_in_many_files_tiles_the_keys():
    local = os.path.join(directory.name, "many")
    vault.backup("larger", local, "--target-file-size", "64KiB", "--row-group-rows", "300", "--memory", "64MiB")
    path, = vault.runs(local, "larger")
    run = Run(path)
    assert len(run.entries) > 1, run.entries
    equal(run.check(), row_sum(table_rows("larger")))


def a_backup_of_a_key_range_holds_that_range():
    local = os.path.join(directory.name, "part")
    low, high = '["\ufb010000000007"]', '["\U0001d4b60000000031", 1000]'
    vault.backup("mixed", local, "--from-key", low, "--to-key", high)
    path, = vault.runs(local, "mixed")
    run = Run(path)
    equal(run.manifest["key_range"], {
        "start": [{"string": "\ufb010000000007"}, "inf_min", "inf_min"],
        "end": [{"string": "\U0001d4b60000000031"}, {"integer": 1000}, "inf_min"]})
    inside = lambda key: (key[0][1].encode() >= "\ufb010000000007".encode()
                          and (key[0][1].encode(), key[1][1]) < ("\U0001d4b60000000031".encode(), 1000))
    equal(run.check(), row_sum(row for row in table_rows("mixed") if inside(row[0])))


def an_empty_table_has_a_backup_without_a_file():
    local = os.path.join(directory.name, "empty")
    vault.backup("nothing", local)
    path, = vault.runs(local, "nothing")
    run = Run(path)
    equal((run.check(), run.manifest["totals"]["files"]), ("0" * 32, 0))


def fixtures_of_every_version_still_fit():
    fixtures = os.path.join(os.path.dirname(__file__), "..", "..", "fixtures")
    with open(os.path.join(fixtures, "manifest-v1.json"), encoding="utf-8") as file:
        schema().validate(json.load(file))
    for manifest in glob.glob(os.path.join(fixtures, "vaults", "**", "manifest.json"), recursive=True):
        Run(os.path.dirname(manifest)).check()


def the_schema_refuses_what_is_no_manifest():
    with open(os.path.join(os.path.dirname(__file__), "..", "..", "fixtures", "manifest-v1.json"), encoding="utf-8") as file:
        text = file.read()
    for wrong in [
            {"format_version": 2}, {"kind": "delta"}, {"run": "../x"}, {"started_at": "2026-11-22 17:24:19"},
            {"key_range": {"start": ["inf_min"], "end": [{"integer": 1, "string": "x"}]}},
            {"columns": json.loads(text)["columns"][3:]}, {"columns": json.loads(text)["columns"][:-1]},
            {"totals": {}}, {"file_list": {"bytes": -1, "sha256": "0" * 64, "entries": 1}}]:
        assert not schema().is_valid(json.loads(text) | wrong), wrong
    assert schema().is_valid(json.loads(text) | {"later": {"a": 1}})


sandbox.run([
    a_backup_is_what_the_format_page_says_and_what_the_sdk_reads,
    a_backup_in_many_files_tiles_the_keys,
    a_backup_of_a_key_range_holds_that_range,
    an_empty_table_has_a_backup_without_a_file,
    fixtures_of_every_version_still_fit,
    the_schema_refuses_what_is_no_manifest,
])

"""What Table Store refuses, with the service's own words, as the Python SDK shows it."""

from tablestore import (
    CapacityUnit, Condition, ReservedThroughput, Row, RowExistenceExpectation, TableMeta, TableOptions)

import sandbox
from sandbox import KEY, equal, refused

IGNORE = Condition(RowExistenceExpectation.IGNORE)
NOTHING = ReservedThroughput(CapacityUnit(0, 0))
INVALID = "OTSParameterInvalid"
client = sandbox.table_store()


def create(name, keys=(("k", "STRING"),), options=None, reserved=NOTHING, defined=()):
    client.create_table(TableMeta(name, list(keys), list(defined)), options or TableOptions(), reserved)


def put(*columns, key="k"):
    return lambda: client.put_row("limits", Row([("k", key)], list(columns)), IGNORE)


def a_wrong_key_is_refused_whatever_the_signature():
    for region in (None, sandbox.DESCRIPTION["region"]):
        for key, text in [((KEY[0], "wrong"), "Signature mismatch."), (("nobody", KEY[1]), None)]:
            stranger = sandbox.table_store(key, region=region)
            refused(stranger.list_table, "OTSAuthFailed", text)


def tables_have_limits():
    create("limits")
    refused(lambda: create("limits"), "OTSObjectAlreadyExist", "Requested table already exists.")
    for name in ("0digit", "with-hyphen", "ümlaut", "x" * 256):
        refused(lambda: create(name), INVALID, f"Invalid table name: '{name}'.")
    create("x" * 255)
    four = [(f"k{i}", "INTEGER") for i in range(4)]
    create("four", four)
    refused(lambda: create("five", four + [("k5", "INTEGER")]), INVALID,
            "The number of primary key columns must be in range: [1, 4].")
    refused(lambda: create("no_versions", options=TableOptions(-1, 0)), INVALID)
    refused(lambda: create("short_life", options=TableOptions(86_399, 1)), INVALID)
    defined = [(f"d{i}", "INTEGER") for i in range(33)]
    create("defined", defined=defined[:32])
    refused(lambda: create("too_many", defined=defined), INVALID)
    refused(lambda: client.delete_table("nowhere"), "OTSObjectNotExist", "Requested table does not exist.")


def rows_have_limits():
    put(("v", 1), key="k" * 1_024)()
    refused(put(("v", 1), key="k" * 1_025), INVALID,
            "The length of primary key column: 'k' exceeds the MaxLength:1024 with CurrentLength:1025.")
    put(("v", "x" * 2_097_152))()
    for value in ("x" * 2_097_153, bytearray(2_097_153)):
        refused(put(("v", value)), INVALID,
                "The length of attribute column: 'v' exceeds the MaxLength:2097152 with CurrentLength:2097153.")
    put(*[(f"c{i}", i) for i in range(1_024)])()
    refused(put(*[(f"c{i}", i) for i in range(1_025)]), INVALID,
            "The number of attribute columns exceeds the limit, limit count: 1024, column count: 1025.")
    refused(put(("0digit", 1)), INVALID, "Invalid column name: '0digit'.")
    refused(put(("v", 1, 5)), INVALID)  # a timestamp that far from the clock needs a table that allows it
    refused(lambda: client.put_row("limits", Row([("other", "k")], []), IGNORE), "OTSInvalidPK",
            "Validate PK name fail. Input: other, Meta: k.")
    refused(lambda: client.put_row("limits", Row([("k", "k"), ("l", "l")], []), IGNORE), "OTSInvalidPK",
            "Validate PK size fail. Input: 2, Meta: 1.")
    refused(lambda: client.put_row("nowhere", Row([("k", "k")], []), IGNORE), "OTSObjectNotExist")


def predefined_columns_keep_their_type():
    create("typed", defined=[("price", "DOUBLE")])
    write = lambda value: client.put_row("typed", Row([("k", "k")], [("price", value)]), IGNORE)
    write(1.0)
    refused(lambda: write(1), INVALID, "Invalid column type for column price expect VT_DOUBLE actual VT_INTEGER")
    _, row, _ = client.get_row("typed", [("k", "k")], max_version=1)
    equal(row.attribute_columns[0][:2], ("price", 1.0))


sandbox.run([
    a_wrong_key_is_refused_whatever_the_signature,
    tables_have_limits,
    rows_have_limits,
    predefined_columns_keep_their_type,
])

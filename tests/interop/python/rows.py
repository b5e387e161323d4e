"""Single rows through the Python SDK: every type and version written, changed, deleted, refused, and read back."""

import struct
import time

from tablestore import (
    INF_MAX, INF_MIN, PK_AUTO_INCR, CapacityUnit, ComparatorType, Condition, Direction, ReservedThroughput, ReturnType,
    Row, RowExistenceExpectation, SingleColumnCondition, TableMeta, TableOptions)

import sandbox
from sandbox import equal, refused

KEYS = [("text", "STRING"), ("number", "INTEGER"), ("bytes", "BINARY")]
FOR_EVER = 9_000_000_000  # seconds: cells may be as old as the epoch
IGNORE = Condition(RowExistenceExpectation.IGNORE)
NOW = int(time.time() * 1000)

client = sandbox.table_store()


def create(name, keys=KEYS, versions=5, deviation=FOR_EVER, defined=()):
    client.create_table(TableMeta(name, list(keys), list(defined)), TableOptions(-1, versions, deviation),
                        ReservedThroughput(CapacityUnit(0, 0)))


def read(name, key, reader=None, **options):
    """The cells of a row as comparable values, or None when there is no row."""
    options.setdefault("max_version", 100)
    _, row, _ = (reader or client).get_row(name, key, **options)
    return None if row is None else cells(row.attribute_columns)


def cells(columns):
    return [(name, exact(value), timestamp) for name, value, timestamp in columns]


def exact(value):
    """A value that is equal to another one only if type and bits are."""
    if isinstance(value, float):
        return "double", struct.pack("<d", value)
    return type(value).__name__, bytes(value) if isinstance(value, bytearray) else value


def key(text="k", number=1, data=b"\x00\xff"):
    return [("text", text), ("number", number), ("bytes", bytearray(data))]


def nan(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


EVERY_VALUE = [
    0, -1, 2**63 - 1, -2**63, 2**53 + 1,
    0.0, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), 0.1,
    nan(0x7FF8000000000000), nan(0xFFF80000DEADBEEF), nan(0x7FF0000000000001),
    True, False,
    "", "plain", "ümläut €", "\U00010348\U0001f512", "line\nbreak\0nul", "x" * 100_000,
    bytearray(b""), bytearray(b"\0"), bytearray(bytes(range(256))),
]


def every_type_and_version_comes_back_bit_for_bit():
    create("values")
    writers = {"default": client, "python": sandbox.table_store(enable_native=False),
               "v4": sandbox.table_store(region=sandbox.DESCRIPTION["region"])}
    for writer_name, writer in writers.items():
        columns = [(f"c{i:02}", value, 1_000 + i) for i, value in enumerate(EVERY_VALUE)]
        versions = [("v", value, at) for value, at in [(1, 5), ("two", 4), (bytearray(b"3"), 3), (4.5, 2), (False, 1)]]
        writer.put_row("values", Row(key(writer_name), columns + versions), IGNORE)
        expected = cells(columns + versions)
        for reader_name, reader in writers.items():
            found = read("values", key(writer_name), reader)
            assert found == expected, (writer_name, reader_name, [p for p in zip(found, expected) if p[0] != p[1]])
        equal(read("values", key(writer_name), max_version=1, columns_to_get=["v"]), cells(versions[:1]))
        equal(read("values", key(writer_name), columns_to_get=["v"], time_range=(2, 4)), cells(versions[2:4]))


def keys_of_every_type_order_as_the_service_orders_them():
    create("keys")
    ascending = [
        ("", -2**63, b""), ("", -2**63, b"\0"), ("", 0, b""), ("", 2**63 - 1, b"\xff"), ("a", -1, b""), ("a", 0, b"\x7f"),
        ("a", 0, b"\x80"), ("a\0", 0, b""), ("ab", 0, b""), ("b", 0, b""), ("\uffff", 0, b""), ("\U00010000", 0, b"")]
    for one in reversed(ascending):
        client.put_row("keys", Row(key(*one), []), IGNORE)
    low, high = [[(name, end) for name, _ in KEYS] for end in (INF_MIN, INF_MAX)]
    _, after, rows, _ = client.get_range("keys", Direction.FORWARD, low, high, max_version=1)
    found = [tuple(bytes(v) if isinstance(v, bytearray) else v for _, v in row.primary_key) for row in rows]
    equal((found, after), (ascending, None))
    assert all(row.attribute_columns == [] for row in rows), "a row of a key alone is a row"
    _, _, rows, _ = client.get_range("keys", Direction.BACKWARD, high, low, max_version=1)
    found = [tuple(bytes(v) if isinstance(v, bytearray) else v for _, v in row.primary_key) for row in rows]
    equal(found, ascending[::-1])


def a_put_replaces_the_row_and_surplus_versions_vanish():
    create("puts", versions=2)
    client.put_row("puts", Row(key(), [("a", 1, 10), ("b", 1, 10)]), IGNORE)
    client.put_row("puts", Row(key(), [("a", 2, 20)]), IGNORE)
    equal(read("puts", key()), cells([("a", 2, 20)]))
    for at in (30, 25, 40):
        client.update_row("puts", Row(key(), {"PUT": [("a", at, at)]}), IGNORE)
    equal(read("puts", key()), cells([("a", 40, 40), ("a", 30, 30)]))


def an_update_puts_deletes_versions_and_columns_and_increments():
    create("updates")
    client.put_row("updates", Row(key(), [("a", 1, 1), ("a", 2, 2), ("a", 3, 3), ("b", "x", 1), ("gone", True, 1)]), IGNORE)
    change = {"PUT": [("b", "y", 2), ("new", 1.5, 7)], "DELETE": [("a", None, 2)], "DELETE_ALL": ["gone"]}
    client.update_row("updates", Row(key(), change), IGNORE)
    equal(read("updates", key()), cells([("a", 3, 3), ("a", 1, 1), ("b", "y", 2), ("b", "x", 1), ("new", 1.5, 7)]))

    for step, total in [(5, 5), (-8, -3)]:
        client.update_row("updates", Row(key("counter"), {"INCREMENT": [("n", step)]}), IGNORE)
        (_, value, at), = read("updates", key("counter"), max_version=1)
        equal(value, exact(total))
        assert abs(at - NOW) < 600_000, at
    client.put_row("updates", Row(key("text"), [("n", "text")]), IGNORE)
    refused(lambda: client.update_row("updates", Row(key("text"), {"INCREMENT": [("n", 1)]}), IGNORE), "OTSParameterInvalid")


def a_deleted_row_is_gone_and_deleting_it_again_is_no_error():
    create("deletes")
    client.put_row("deletes", Row(key(), [("a", 1, 1)]), IGNORE)
    for _ in range(2):
        client.delete_row("deletes", Row(key()), IGNORE)
        equal(read("deletes", key()), None)


def conditions_decide_and_a_refused_change_leaves_the_row_alone():
    create("conditions")
    failed = ("OTSConditionCheckFail", "Condition check failed.")
    exist, absent = [Condition(expect) for expect in (
        RowExistenceExpectation.EXPECT_EXIST, RowExistenceExpectation.EXPECT_NOT_EXIST)]
    row = Row(key(), [("a", 1, 1)])
    refused(lambda: client.put_row("conditions", row, exist), *failed)
    client.put_row("conditions", row, absent)
    refused(lambda: client.put_row("conditions", Row(key(), [("a", 2, 2)]), absent), *failed)
    above = lambda limit: Condition(
        RowExistenceExpectation.EXPECT_EXIST, SingleColumnCondition("a", limit, ComparatorType.GREATER_THAN, False))
    refused(lambda: client.update_row("conditions", Row(key(), {"PUT": [("a", 3, 3)]}), above(1)), *failed)
    refused(lambda: client.delete_row("conditions", Row(key()), above(1)), *failed)
    equal(read("conditions", key()), cells([("a", 1, 1)]))
    client.update_row("conditions", Row(key(), {"PUT": [("a", 3, 3)]}), above(0))
    equal(read("conditions", key(), max_version=1), cells([("a", 3, 3)]))


def the_service_makes_ascending_auto_increment_values():
    create("tickets", [("queue", "STRING"), ("ticket", "INTEGER", PK_AUTO_INCR)])
    given = []
    for _ in range(20):
        _, row = client.put_row("tickets", Row([("queue", "q"), ("ticket", PK_AUTO_INCR)], [("a", len(given), 1)]),
                                IGNORE, ReturnType.RT_PK)
        given.append(dict(column[:2] for column in row.primary_key)["ticket"])
    equal(given, sorted(set(given)))
    for number, ticket in enumerate(given):
        equal(read("tickets", [("queue", "q"), ("ticket", ticket)]), cells([("a", number, 1)]))
    refused(lambda: client.put_row("tickets", Row([("queue", "q"), ("ticket", 5)], []), IGNORE), "OTSConditionCheckFail")


def a_table_describes_itself_and_goes():
    create("described", versions=3, deviation=100_000, defined=[("fixed", "INTEGER"), ("price", "DOUBLE")])
    assert "described" in client.list_table()
    described = client.describe_table("described")
    equal(described.table_meta.schema_of_primary_key, KEYS)
    equal(described.table_meta.defined_columns, [("fixed", "INTEGER"), ("price", "DOUBLE")])
    options = described.table_options
    equal((options.time_to_live, options.max_version, options.max_time_deviation), (-1, 3, 100_000))
    client.update_table("described", TableOptions(86_400 * 7, 1, 86_400, None))
    options = client.describe_table("described").table_options
    equal((options.time_to_live, options.max_version, options.max_time_deviation), (86_400 * 7, 1, 86_400))
    client.delete_table("described")
    refused(lambda: client.describe_table("described"), "OTSObjectNotExist", "Requested table does not exist.")


sandbox.run([
    every_type_and_version_comes_back_bit_for_bit,
    keys_of_every_type_order_as_the_service_orders_them,
    a_put_replaces_the_row_and_surplus_versions_vanish,
    an_update_puts_deletes_versions_and_columns_and_increments,
    a_deleted_row_is_gone_and_deleting_it_again_is_no_error,
    conditions_decide_and_a_refused_change_leaves_the_row_alone,
    the_service_makes_ascending_auto_increment_values,
    a_table_describes_itself_and_goes,
])

"""Batches through the Python SDK: several tables, mixed changes, and rows that fail alone."""

from tablestore import (
    BatchGetRowRequest, BatchWriteRowRequest, CapacityUnit, Condition, DeleteRowItem, PutRowItem, ReservedThroughput,
    Row, RowExistenceExpectation, TableInBatchGetRowItem, TableInBatchWriteRowItem, TableMeta, TableOptions,
    UpdateRowItem)

import sandbox
from sandbox import equal, refused

IGNORE = Condition(RowExistenceExpectation.IGNORE)
EXIST = Condition(RowExistenceExpectation.EXPECT_EXIST)
client = sandbox.table_store()


def create(name):
    client.create_table(TableMeta(name, [("a", "STRING"), ("b", "INTEGER")]), TableOptions(-1, 2),
                        ReservedThroughput(CapacityUnit(0, 0)))


def key(number, text="k"):
    return [("a", text), ("b", number)]


def put(number, *columns):
    return PutRowItem(Row(key(number), list(columns)), IGNORE)


def write(*tables):
    request = BatchWriteRowRequest()
    for name, items in tables:
        request.add(TableInBatchWriteRowItem(name, items))
    return client.batch_write_row(request)


def read(*tables):
    request = BatchGetRowRequest()
    for name, numbers in tables:
        request.add(TableInBatchGetRowItem(name, [key(number) for number in numbers], [], None, 1))
    return client.batch_get_row(request)


def batches_write_and_read_several_tables():
    create("one"), create("two")
    rows = [put(number, ("v", number), ("s", "x" * number)) for number in range(100)]
    assert write(("one", rows), ("two", rows)).is_all_succeed()
    found = read(("one", [5, 1_000, 6]), ("two", [99]))
    shape = [(item.is_ok, item.row and [column[:2] for column in item.row.attribute_columns])
             for item in found.get_result_by_table("one")]
    equal(shape, [(True, [("s", "x" * 5), ("v", 5)]), (True, None), (True, [("s", "x" * 6), ("v", 6)])])
    equal(found.get_result_by_table("two")[0].row.primary_key, key(99))


def one_batch_puts_updates_and_deletes():
    create("mixed")
    assert write(("mixed", [put(number, ("v", number)) for number in range(4)])).is_all_succeed()
    answer = write(("mixed", [
        put(0, ("w", "new")),
        UpdateRowItem(Row(key(1), {"PUT": [("w", 1.5)], "DELETE_ALL": ["v"]}), EXIST),
        UpdateRowItem(Row(key(2), {"INCREMENT": [("v", 40)]}), IGNORE),
        DeleteRowItem(Row(key(3)), EXIST)]))
    assert answer.is_all_succeed()
    found = read(("mixed", range(4))).get_result_by_table("mixed")
    equal([item.row and [column[:2] for column in item.row.attribute_columns] for item in found],
          [[("w", "new")], [("w", 1.5)], [("v", 42)], None])


def rows_fail_alone_and_say_why():
    create("partly")
    answer = write(("partly", [
        put(1, ("v", 1)),
        PutRowItem(Row(key(2), [("v", 2)]), EXIST),
        PutRowItem(Row([("a", 1), ("b", 1)], []), IGNORE)]))
    rows = answer.get_put_by_table("partly")
    equal([(row.is_ok, row.error_code, row.error_message) for row in rows], [
        (True, None, None),
        (False, "OTSConditionCheckFail", "Condition check failed."),
        (False, "OTSInvalidPK", "Validate PK type fail. Input: VT_INTEGER, Meta: VT_STRING.")])
    rows = write(("nowhere", [put(1)])).get_put_by_table("nowhere")
    equal([(row.is_ok, row.error_code) for row in rows], [(False, "OTSObjectNotExist")])
    found = read(("partly", [1, 2])).get_result_by_table("partly")
    equal([item.is_ok and bool(item.row) for item in found], [True, False])


def a_batch_has_limits():
    create("limits")
    assert write(("limits", [put(number) for number in range(200)])).is_all_succeed()
    refused(lambda: write(("limits", [put(number) for number in range(201)])),
            "OTSParameterInvalid", "Rows count exceeds the upper limit: 200.")
    assert len(read(("limits", range(100))).get_result_by_table("limits")) == 100
    refused(lambda: read(("limits", range(101))), "OTSParameterInvalid", "Rows count exceeds the upper limit: 100.")
    # A row has 1 + 1 and 1 + 8 bytes of key and 1 + 1,048,565 of column: 4 make 4 MiB, one byte more is refused.
    full = [put(number, ("v", "x" * 1_048_564)) for number in range(4)]
    assert write(("limits", full)).is_all_succeed()
    over = full[:3] + [put(3, ("v", "x" * 1_048_565))]
    refused(lambda: write(("limits", over)), "OTSParameterInvalid",
            "The total data size of BatchWriteRow request exceeds the limit, limit size: 4194304, data size: 4194305.")


sandbox.run([
    batches_write_and_read_several_tables,
    one_batch_puts_updates_and_deletes,
    rows_fail_alone_and_say_why,
    a_batch_has_limits,
])

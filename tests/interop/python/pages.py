"""GetRange through the Python SDK: pages of at most 5,000 rows, and what ends them."""

from tablestore import (
    INF_MAX, INF_MIN, BatchWriteRowRequest, CapacityUnit, Condition, Direction, PutRowItem, ReservedThroughput, Row,
    RowExistenceExpectation, TableInBatchWriteRowItem, TableMeta, TableOptions)

import sandbox
from sandbox import equal, refused

IGNORE = Condition(RowExistenceExpectation.IGNORE)
client = sandbox.table_store()


def table_of(name, rows, value="x"):
    client.create_table(TableMeta(name, [("id", "INTEGER")]), TableOptions(), ReservedThroughput(CapacityUnit(0, 0)))
    step = min(200, max(1, 3_000_000 // len(value)))
    for start in range(0, rows, step):
        items = [PutRowItem(Row([("id", id)], [("v", value), ("n", id)]), IGNORE)
                 for id in range(start, min(start + step, rows))]
        request = BatchWriteRowRequest()
        request.add(TableInBatchWriteRowItem(name, items))
        assert client.batch_write_row(request).is_all_succeed()


def pages(name, direction=Direction.FORWARD, **options):
    """The ids of each page."""
    low, high = [("id", INF_MIN)], [("id", INF_MAX)]
    start, end = (low, high) if direction == Direction.FORWARD else (high, low)
    while start:
        _, start, rows, _ = client.get_range(name, direction, start, end, **options)
        yield [row.primary_key[0][1] for row in rows]


def a_page_ends_after_5000_rows_and_the_last_page_has_no_next_key():
    for count, sizes in [(0, [0]), (4_999, [4_999]), (5_000, [5_000]), (5_001, [5_000, 1]), (12_345, [5_000, 5_000, 2_345])]:
        table_of(f"rows_{count}", count)
        found = list(pages(f"rows_{count}"))
        equal([len(page) for page in found], sizes)
        equal([id for page in found for id in page], list(range(count)))
    backward = list(pages("rows_12345", Direction.BACKWARD))
    equal([len(page) for page in backward], [5_000, 5_000, 2_345])
    equal([id for page in backward for id in page], list(range(12_345))[::-1])


def a_limit_makes_shorter_pages():
    equal([len(page) for page in pages("rows_5000", limit=2_000)], [2_000, 2_000, 1_000])
    equal([len(page) for page in pages("rows_5000", limit=2_500)], [2_500, 2_500])
    equal([len(page) for page in pages("rows_12345", limit=9_000)], [5_000, 5_000, 2_345])


def a_page_ends_after_4_mib():
    # A row has 2 + 8 bytes of key, 1 + 100,000 and 1 + 8 of columns: 41 rows stay below 4 MiB.
    table_of("wide", 100, "x" * 100_000)
    equal([len(page) for page in pages("wide")], [41, 41, 18])
    equal([id for page in pages("wide") for id in page], list(range(100)))


def columns_can_be_chosen():
    # A row without any of the columns is left out.
    client.put_row("rows_4999", Row([("id", 7)], [("other", 1)]), IGNORE)
    low, high = [("id", 5)], [("id", 10)]
    _, after, rows, _ = client.get_range("rows_4999", Direction.FORWARD, low, high, columns_to_get=["n"], max_version=1)
    equal(([row.attribute_columns[0][:2] for row in rows], after), ([("n", 5), ("n", 6), ("n", 8), ("n", 9)], None))


def nonsense_is_refused():
    def read(start, end, direction=Direction.FORWARD, **options):
        return client.get_range("rows_5000", direction, start, end, **options)
    low, high = [("id", 1)], [("id", 2)]
    refused(lambda: read(high, low), "OTSParameterInvalid", "Begin key must less than end key in FORWARD")
    refused(lambda: read(low, high, Direction.BACKWARD), "OTSParameterInvalid", "Begin key must more than end key in BACKWARD")
    refused(lambda: read(low, high, max_version=None), "OTSParameterInvalid", "No version condition is specified.")
    refused(lambda: read([("id", "1")], high), "OTSInvalidPK", "Validate PK type fail. Input: VT_STRING, Meta: VT_INTEGER.")
    refused(lambda: read(low, high, limit=-1), "OTSParameterInvalid")


sandbox.run([
    a_page_ends_after_5000_rows_and_the_last_page_has_no_next_key,
    a_limit_makes_shorter_pages,
    a_page_ends_after_4_mib,
    columns_can_be_chosen,
    nonsense_is_refused,
])

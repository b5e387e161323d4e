"""Rows into tables through the Python SDK, 200 at a time, in as many processes as there are cores."""

import itertools
import multiprocessing
import os

from tablestore import (
    BatchWriteRowRequest, CapacityUnit, Condition, PutRowItem, ReservedThroughput, Row, RowExistenceExpectation,
    TableInBatchWriteRowItem, TableMeta, TableOptions)

import sandbox

ROWS_PER_BATCH = 200
IGNORE = Condition(RowExistenceExpectation.IGNORE)

client = None


def connect():
    global client
    client = sandbox.table_store()


def write(batch):
    name, rows = batch
    request = BatchWriteRowRequest()
    request.add(TableInBatchWriteRowItem(name, [PutRowItem(Row(*row), IGNORE) for row in rows]))
    answer = client.batch_write_row(request)
    assert answer.is_all_succeed(), [row.error_message for row in answer.get_failed_of_put()]
    return len(rows)


def load(table, rows):
    """Creates the table and writes the rows; returns how many."""
    sandbox.table_store().create_table(
        TableMeta(table.name, table.primary_key()), TableOptions(), ReservedThroughput(CapacityUnit(0, 0)))
    split = map(table.split, rows)
    batches = iter(lambda: (table.name, list(itertools.islice(split, ROWS_PER_BATCH))), (table.name, []))
    with multiprocessing.get_context("fork").Pool(max(2, os.cpu_count() or 2), connect) as pool:
        return sum(pool.imap_unordered(write, batches, chunksize=4))

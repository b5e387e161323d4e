"""The Python SDK, as tests/interop/sdk.rs drives it: one call a line on stdin, one answer a line on stdout.

FLAVOUR: empty for the SDK's C++ encoder where it has one, `pure` for its Python one, `v4` to sign with V4.
"""

import json
import os
import struct
import sys

import tablestore
from tablestore import (
    INF_MAX, INF_MIN, PK_AUTO_INCR, BatchGetRowRequest, BatchWriteRowRequest, CapacityUnit, ComparatorType,
    CompositeColumnCondition, Condition, DeleteRowItem, Direction, LogicalOperator, PutRowItem, ReservedThroughput,
    ReturnType, Row, RowExistenceExpectation, SingleColumnCondition, TableInBatchGetRowItem, TableInBatchWriteRowItem,
    TableMeta, TableOptions, UpdateRowItem)

SANDBOX = json.loads(os.environ["SANDBOX"])
FLAVOURS = {"": {}, "pure": {"enable_native": False}, "v4": {"region": SANDBOX["region"]}}
client = tablestore.OTSClient(
    SANDBOX["ots_endpoint"], SANDBOX["access_key_id"], SANDBOX["access_key_secret"], SANDBOX["instance"],
    retry_policy=tablestore.NoRetryPolicy(), **FLAVOURS[os.environ["FLAVOUR"]])

BOUNDS = {"min": INF_MIN, "max": INF_MAX, "auto": PK_AUTO_INCR}
COMPARATORS = {
    "==": ComparatorType.EQUAL, "!=": ComparatorType.NOT_EQUAL, ">": ComparatorType.GREATER_THAN,
    ">=": ComparatorType.GREATER_EQUAL, "<": ComparatorType.LESS_THAN, "<=": ComparatorType.LESS_EQUAL}
EXISTENCE = {
    "ignore": RowExistenceExpectation.IGNORE, "exist": RowExistenceExpectation.EXPECT_EXIST,
    "not_exist": RowExistenceExpectation.EXPECT_NOT_EXIST}


class Unsupported(Exception):
    pass


def value_in(value):
    if isinstance(value, str):
        return BOUNDS[value]
    (kind, content), = value.items()
    return {
        "integer": int, "boolean": bool, "string": str, "binary": bytearray.fromhex,
        "double": lambda bits: struct.unpack(">d", bytes.fromhex(bits))[0]}[kind](content)


def value_out(value):
    if isinstance(value, bool):
        return {"boolean": value}
    if isinstance(value, int):
        return {"integer": str(value)}
    if isinstance(value, float):
        return {"double": struct.pack(">d", value).hex()}
    if isinstance(value, str):
        return {"string": value}
    return {"binary": bytes(value).hex()}


def key_in(key):
    return [(name, value_in(value)) for name, value in key]


def key_out(key):
    return None if key is None else [[column[0], value_out(column[1])] for column in key]


def row_out(row):
    if row is None or not row.primary_key:
        return None
    cells = [[name, value_out(value), at] for name, value, at in row.attribute_columns or []]
    return {"key": key_out(row.primary_key), "cells": cells}


def cell_in(cell):
    return (cell[0], value_in(cell[1]), *cell[2:])


def changes_in(changes):
    found = {}
    for kind, name, *rest in changes:
        kind, change = {
            "put": lambda: ("PUT", (name, value_in(rest[0]), *rest[1:])),
            "delete_version": lambda: ("DELETE", (name, None, *rest)),
            "delete_column": lambda: ("DELETE_ALL", name),
            "increment": lambda: ("INCREMENT", (name, int(rest[0])))}[kind]()
        found.setdefault(kind, []).append(change)
    return found


def filter_in(wanted):
    if wanted is None:
        return None
    for word, operator in [("and", LogicalOperator.AND), ("or", LogicalOperator.OR), ("not", LogicalOperator.NOT)]:
        if word in wanted:
            made = CompositeColumnCondition(operator)
            for part in [wanted[word]] if word == "not" else wanted[word]:
                made.add_sub_condition(filter_in(part))
            return made
    if "page" in wanted:
        raise Unsupported("page filter")
    return SingleColumnCondition(
        wanted["column"], value_in(wanted["value"]), COMPARATORS[wanted["is"]],
        wanted.get("pass_if_missing", True), wanted.get("latest_only", True))


def write_in(call):
    """What to do, the row, the condition and what to return."""
    row = Row(key_in(call["key"]), {
        "put": lambda: [cell_in(cell) for cell in call.get("cells", [])],
        "update": lambda: changes_in(call["changes"]),
        "delete": lambda: None}[call["op"]]())
    condition = Condition(EXISTENCE[call.get("exists", "ignore")], filter_in(call.get("filter")))
    returns = call.get("return", "none")
    if returns == "after":
        raise Unsupported("return after modify")
    return call["op"], row, condition, ReturnType.RT_PK if returns == "pk" else ReturnType.RT_NONE


def read_in(call):
    return {
        "columns_to_get": call.get("columns"), "column_filter": filter_in(call.get("filter")),
        "max_version": call.get("versions"), "time_range": call.get("times") and tuple(call["times"]),
        "start_column": call.get("start_column"), "end_column": call.get("end_column")}


def options_in(options):
    return TableOptions(options["ttl"], options["versions"], options["deviation"], options.get("allow_update"))


def create_table(call):
    if "stream" in call or "transactions" in call:
        raise Unsupported("stream or transactions at creation")
    keys = [(name, kind.upper(), *([PK_AUTO_INCR] if auto else [])) for name, kind, auto in call["keys"]]
    meta = TableMeta(call["table"], keys, [(name, kind.upper()) for name, kind in call.get("defined", [])])
    arguments = (meta, options_in(call["options"]), ReservedThroughput(CapacityUnit(0, 0)))
    if "splits" in call:
        client._create_table_ex(*arguments, split_points=[value_in(value) for value in call["splits"]])
    else:
        client.create_table(*arguments)


def list_tables(call):
    return sorted(client.list_table())


def describe_table(call):
    found = client.describe_table(call["table"])
    meta, options = found.table_meta, found.table_options
    return {
        "keys": [[name, kind.lower(), bool(option)] for name, kind, *option in meta.schema_of_primary_key],
        "defined": [[name, kind.lower()] for name, kind in meta.defined_columns],
        "options": {"ttl": options.time_to_live, "versions": options.max_version, "deviation": options.max_time_deviation}}


def update_table(call):
    if "stream" in call:
        raise Unsupported("stream")
    client.update_table(call["table"], options_in(call["options"]))


def delete_table(call):
    client.delete_table(call["table"])


def write(call):
    op, *arguments = write_in(call)
    change = {"put": client.put_row, "update": client.update_row, "delete": client.delete_row}[op]
    _, row = change(call["table"], *arguments, transaction_id=call.get("transaction"))
    return row_out(row)


def get(call):
    _, row, _ = client.get_row(
        call["table"], key_in(call["key"]), transaction_id=call.get("transaction"), **read_in(call))
    return row_out(row)


def range_(call):
    _, after, rows, _ = client.get_range(
        call["table"], Direction.BACKWARD if call.get("backward") else Direction.FORWARD, key_in(call["from"]),
        key_in(call["to"]), limit=call.get("limit"), transaction_id=call.get("transaction"), **read_in(call))
    return {"rows": [row_out(row) for row in rows], "next": key_out(after)}


def batch_get(call):
    request = BatchGetRowRequest()
    for table in call["tables"]:
        request.add(TableInBatchGetRowItem(table["table"], [key_in(key) for key in table["keys"]], **read_in(table)))
    answer = client.batch_get_row(request)
    return [[{"row": row_out(item.row)} if item.is_ok else {"error": [item.error_code, item.error_message]}
             for item in answer.get_result_by_table(table["table"])] for table in call["tables"]]


def batch_write(call):
    if call.get("atomic"):
        raise Unsupported("atomic batch")
    items = {"put": PutRowItem, "update": UpdateRowItem, "delete": DeleteRowItem}
    request = BatchWriteRowRequest()
    for table in call["tables"]:
        rows = [items[op](*arguments) for op, *arguments in map(write_in, table["rows"])]
        request.add(TableInBatchWriteRowItem(table["table"], rows))
    if "transaction" in call:
        request.set_transaction_id(call["transaction"])
    answer = client.batch_write_row(request)
    outcome = lambda item: {"row": row_out(item.row)} if item.is_ok else {"error": [item.error_code, item.error_message]}
    by_kind = (answer.table_of_put, answer.table_of_update, answer.table_of_delete)
    return [[outcome(item) for item in sorted((item for kind in by_kind for item in kind[table["table"]]),
                                              key=lambda item: item.index)] for table in call["tables"]]


def begin(call):
    return client.start_local_transaction(call["table"], key_in(call["key"]))


def commit(call):
    client.commit_transaction(call["transaction"])


def abort(call):
    client.abort_transaction(call["transaction"])


CALLS = {call.__name__.rstrip("_"): call for call in (
    create_table, list_tables, describe_table, update_table, delete_table, write, get, range_, batch_get, batch_write,
    begin, commit, abort)}

for line in sys.stdin:
    call = json.loads(line)
    try:
        if call["do"] not in CALLS:
            raise Unsupported(call["do"])
        answer = {"ok": CALLS[call["do"]](call)}
    except Unsupported as what:
        answer = {"error": ["unsupported", str(what)]}
    except tablestore.OTSServiceError as error:
        answer = {"error": [error.get_error_code(), error.get_error_message()]}
    print(json.dumps(answer), flush=True)

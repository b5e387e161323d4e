"""A committed run on the local disk, read with pyarrow and zstandard and what schemas/FORMAT.md says; no otsvault."""

import hashlib
import json
import os

import jsonschema
import pyarrow
import pyarrow.parquet
import zstandard

from row_sum import BINARY, BOOLEAN, DOUBLE, INTEGER, STRING, row_sum
from sandbox import equal

SCHEMA = os.path.join(os.path.dirname(__file__), "..", "..", "..", "schemas", "manifest-v1.schema.json")

ARROW = {INTEGER: pyarrow.int64(), DOUBLE: pyarrow.float64(), BOOLEAN: pyarrow.bool_(), STRING: pyarrow.string(),
         BINARY: pyarrow.binary()}

MEMBERS = {"i": INTEGER, "d": DOUBLE, "s": STRING, "b": BOOLEAN, "x": BINARY}


def schema(part=None):
    with open(SCHEMA, encoding="utf-8") as file:
        document = json.load(file)
    if part:
        document = {"$schema": document["$schema"], "$defs": document["$defs"], "$ref": f"#/$defs/{part}"}
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def order(key):
    """What keys compare by: inf_min, then values, then inf_max; strings bytewise."""
    def part(part):
        if part in ("inf_min", "inf_max"):
            return (0 if part == "inf_min" else 2, 0)
        (kind, value), = part.items()
        return (1, {INTEGER: lambda: value, STRING: value.encode if kind == STRING else None,
                    BINARY: lambda: bytes.fromhex(value)}[kind]())
    return [part(one) for one in key]


class Run:
    """One run: its manifest, its file list, and its rows."""

    def __init__(self, path):
        self.path = path
        self.sealed("started.json")
        self.manifest = self.sealed("manifest.json")
        schema().validate(self.manifest)
        frame = self.read(self.file_list_name())
        reference = self.manifest["file_list"]
        equal((len(frame), hashlib.sha256(frame).hexdigest()), (reference["bytes"], reference["sha256"]))
        text = zstandard.ZstdDecompressor().decompressobj().decompress(frame)
        self.entries = [json.loads(line) for line in text.splitlines()]
        equal(len(self.entries), reference["entries"])
        self.columns = self.manifest["columns"]
        self.keys = [column for column in self.columns if column["role"] == "key"]

    def file_list_name(self):
        return f"files-{self.manifest['file_list']['sha256'][:16]}.jsonl.zst"

    def read(self, *name):
        with open(os.path.join(self.path, *name), "rb") as file:
            return file.read()

    def sealed(self, *name):
        """The document, whose last field is the SHA-256 of the rest of it."""
        text = self.read(*name)
        document = json.loads(text)
        seal = document.pop("document_sha256")
        rest, field = text.rsplit(b',\n  "document_sha256": ', 1)
        equal(field, f'"{seal}"\n}}'.encode())
        equal(hashlib.sha256(rest + b"\n}").hexdigest(), seal)
        return document

    def check(self):
        """Everything that FORMAT.md promises of a run; returns its row-sum."""
        self.check_names()
        entry_schema = schema("file_entry")
        cursor = self.manifest["key_range"]["start"]
        for entry in self.entries:
            entry_schema.validate(entry)
            equal(self.sealed("journal", entry["id"] + ".json"), entry)
            equal(entry["range"]["start"], cursor)
            assert order(cursor) < order(entry["range"]["end"]), entry["range"]
            cursor = entry["range"]["end"]
            if entry["file"]:
                self.check_file(entry)
        equal(cursor, self.manifest["key_range"]["end"])
        stored = [entry["file"]["bytes"] for entry in self.entries if entry["file"]]
        total = sum(int(entry["row_sum"], 16) for entry in self.entries) % 2**128
        totals = {"files": len(stored), "stored_bytes": sum(stored), "row_sum": f"{total:032x}",
                  "read": {name: sum(entry["read"][name] for entry in self.entries)
                           for name in ("pages", "response_bytes", "capacity_units")}}
        totals |= {name: sum(entry[name] for entry in self.entries) for name in ("rows", "cells", "logical_bytes")}
        equal(totals, self.manifest["totals"])
        return totals["row_sum"]

    def check_names(self):
        *_, chain, base, run = os.path.abspath(self.path).split(os.sep)
        equal((chain, base, run), (self.manifest["chain"], "base", self.manifest["run"]))
        found = [os.path.relpath(os.path.join(directory, name), self.path)
                 for directory, _, names in os.walk(self.path) for name in names]
        expected = [self.file_list_name(), "manifest.json", "started.json"]
        expected += [f"journal/{entry['id']}.json" for entry in self.entries]
        expected += [f"data/{entry['id']}.parquet" for entry in self.entries if entry["file"]]
        equal(sorted(found), sorted(expected))

    def check_file(self, entry):
        name = entry["id"] + ".parquet"
        body = self.read("data", name)
        expected = entry["file"]
        equal((len(body), hashlib.sha256(body).hexdigest(), f"{crc64(body):016x}"),
              (expected["bytes"], expected["sha256"], expected["crc64"]))
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(body))
        self.check_schema(file)
        equal(json.loads(file.metadata.metadata[b"otsvault.entry"]), entry | {"file": None})
        rows = list(self.rows(file.read()))
        equal((len(rows), sum(len(cells) for _, cells in rows)), (entry["rows"], entry["cells"]))
        keys = [order([{kind: value.hex() if kind == BINARY else value} for kind, value in key]) for key, _ in rows]
        assert all(one < next for one, next in zip(keys, keys[1:])), "rows ascend strictly by primary key"
        assert order(entry["range"]["start"]) <= keys[0] and keys[-1] < order(entry["range"]["end"])
        equal(row_sum(rows), entry["row_sum"])

    def check_schema(self, file):
        equal(file.metadata.num_rows > 0, True)
        found = []
        for field in file.schema_arrow:
            found.append((field.name, int(field.metadata[b"PARQUET:field_id"]), field.type, field.nullable))
        equal([field[:2] for field in found], [(column["name"], column["field_id"]) for column in self.columns])
        for (_, first_id, kind, nullable), column in zip(found, self.columns):
            role = column["role"]
            equal(nullable, role != "key")
            if role in ("key", "attribute"):
                equal(kind, ARROW[column["type"]])
            elif role in ("row_timestamp", "attribute_timestamp"):
                equal(kind, pyarrow.int64())
            else:
                cell = kind.item_type.value_field
                fields = [kind.key_field, kind.item_field, cell, *cell.type]
                equal([field.name for field in fields], ["key", "value", "element", "op", "ts", "i", "d", "s", "b", "x"])
                equal([int(field.metadata[b"PARQUET:field_id"]) for field in fields],
                      list(range(first_id + 1, first_id + 11)))
        for group in range(file.metadata.num_row_groups):
            sorting = file.metadata.row_group(group).sorting_columns
            equal([(one.column_index, one.descending) for one in sorting], [(i, False) for i in range(len(self.keys))])
            chunk = file.metadata.row_group(group).column(0)
            equal((chunk.compression, chunk.is_stats_set), ("ZSTD", True))

    def rows(self, table):
        """(key, cells) of each row of a data file: the key as (type, value), the cells as (name, type, value, ts)."""
        values = {name: table[name].to_pylist() for name in table.column_names}
        by_role = lambda role: [column for column in self.columns if column["role"] == role]
        row_timestamp, = by_role("row_timestamp")
        overflow, = by_role("overflow")
        own_timestamps = {column["attribute"]: column["name"] for column in by_role("attribute_timestamp")}
        for index in range(table.num_rows):
            key = [(column["type"], values[column["name"]][index]) for column in self.keys]
            cells = []
            for column in by_role("attribute"):
                value = values[column["name"]][index]
                if value is not None:
                    own = own_timestamps.get(column["attribute"])
                    timestamp = values[own][index] if own else None
                    if timestamp is None:
                        timestamp = values[row_timestamp["name"]][index]
                    cells.append((column["attribute"], column["type"], value, timestamp))
            names = [name for name, _ in values[overflow["name"]][index] or []]
            equal(names, sorted(set(names), key=str.encode))
            for name, versions in values[overflow["name"]][index] or []:
                timestamps = [version["ts"] for version in versions]
                equal(timestamps, sorted(set(timestamps), reverse=True))
                for version in versions:
                    equal(version["op"], None)
                    (member, value), = [(m, version[m]) for m in MEMBERS if version[m] is not None]
                    cells.append((name, MEMBERS[member], value, version["ts"]))
            yield key, cells


def crc64(data):
    """CRC-64/XZ."""
    crc = 2**64 - 1
    for byte in data:
        crc = CRC64_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ (2**64 - 1)


def crc64_entry(value):
    for _ in range(8):
        value = (value >> 1) ^ (0xC96C5795D7870F42 if value & 1 else 0)
    return value


CRC64_TABLE = [crc64_entry(value) for value in range(256)]

"""GetRange pages read as a Python program reads them: the official SDK, arrays of pyarrow, Parquet with its defaults.

    python peer.py FOLDER ROUNDS SET...

Prints a JSON line per decoder, set and stage. The SDK has two native decoders: a C parser of PlainBuffer, and a C++
decoder of whole responses that loads in one version of Python only. Both run where both load.
"""

import json
import platform
import struct
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import tablestore.decoder as sdk
from tablestore.protobuf import table_store_pb2 as pb

# By type of Table Store: what the SDK makes of a value, and the Arrow type.
TYPES = {
    "INTEGER": ((int,), pa.int64()),
    "DOUBLE": ((float,), pa.float64()),
    "BOOLEAN": ((bool,), pa.bool_()),
    "STRING": ((str,), pa.string()),
    "BINARY": ((bytes, bytearray), pa.binary()),
}


class Decoder:
    """One of the SDK's native decoders, without the way back to the one in pure Python."""

    def __init__(self, peer, module, whole_response):
        self.peer = peer
        self.parser = Path(module.__file__).name
        self._decoder = sdk.OTSProtoBufferDecoder("utf-8", native_fallback=False)
        self._decoder._use_native_decoder = whole_response

    def rows(self, response):
        """The rows of one GetRange response, as `OTSClient.get_range` gives them."""
        (_, _, rows, _), _ = self._decoder.decode_response("GetRange", response, None)
        return rows


def decoders():
    """The native decoders that load here; prints a line with `skipped` for one that does not."""
    # Whatever decodes from here on is not pure Python.
    sdk.PlainBufferCodedInputStream = None
    for peer, loads, module, whole_response in [
        ("python-c-parser", sdk.NATIVE_PARSER_AVAILABLE, "tablestore.native.native_plainbuffer", False),
        ("python-cpp-decoder", sdk.NATIVE_DECODER_AVAILABLE, "tablestore.ots_sdk.ots_sdk", True),
    ]:
        if loads:
            yield Decoder(peer, sys.modules[module], whole_response)
        else:
            skipped = f"{module} does not load in Python {platform.python_version()} on {platform.machine()}"
            print(json.dumps({"peer": peer, "skipped": skipped}), flush=True)


class DataSet:
    """The pages of NAME.pages as GetRange responses, and what NAME.json says of them."""

    def __init__(self, folder, name):
        described = json.loads((folder / f"{name}.json").read_text())
        self.name, self.rows, self.cells = name, described["rows"], described.get("cells")
        self.key = [(column, TYPES[type_name.upper()][1]) for column, type_name in described["primary_key"]]
        # By name, a column for each of its types: its name in the batch, Python types, Arrow type.
        self.columns = {}
        for column, type_name in described["columns"]:
            same_name = self.columns.setdefault(column, [])
            label = f"{column}_{type_name}" if same_name else column
            same_name.append((label, *TYPES[type_name.upper()]))
        self.schema = pa.schema(
            self.key + [(label, arrow) for types in self.columns.values() for label, _, arrow in types]
        )
        self.responses = list(map(response, pages(folder / f"{name}.pages")))


def pages(path):
    """The pages of a file in which each follows its length."""
    content, at = memoryview(path.read_bytes()), 0
    while at < len(content):
        (length,) = struct.unpack_from("<I", content, at)
        yield bytes(content[at + 4 : at + 4 + length])
        at += 4 + length


def response(rows):
    """A GetRange response as it comes from the service."""
    message = pb.GetRangeResponse(rows=rows)
    message.consumed.capacity_unit.read = 1
    return message.SerializeToString()


def record_batch(data, rows):
    """The rows of a page in columns: the newest version of each cell, null where a row has none."""
    cells = {name: [None] * len(rows) for name in data.columns}
    for place, row in enumerate(rows):
        # Versions come newest first; from behind, the newest is the one that stays.
        for name, value, _ in reversed(row.attribute_columns):
            cells[name][place] = value
    arrays = [pa.array([row.primary_key[i][1] for row in rows], arrow) for i, (_, arrow) in enumerate(data.key)]
    for name, types in data.columns.items():
        for _, python_types, arrow in types:
            values = cells[name]
            if len(types) > 1:
                values = [value if type(value) in python_types else None for value in values]
            arrays.append(pa.array(values, arrow))
    return pa.record_batch(arrays, data.schema)


def decode(data, decoder):
    """Rows, page by page; returns how many, and no Parquet."""
    return sum(len(decoder.rows(body)) for body in data.responses), None


def decode_columns(data, decoder):
    """Rows and record batches, page by page; returns how many rows, and no Parquet."""
    return sum(record_batch(data, decoder.rows(body)).num_rows for body in data.responses), None


def decode_columns_parquet(data, decoder):
    """A Parquet file in memory; returns its rows and bytes."""
    table = pa.Table.from_batches([record_batch(data, decoder.rows(body)) for body in data.responses])
    file = pa.BufferOutputStream()
    pq.write_table(table, file, compression="zstd", compression_level=1)
    return table.num_rows, file.getvalue().size


STAGES = {
    "decode": decode,
    "decode+columns": decode_columns,
    "decode+columns+parquet": decode_columns_parquet,
}


def what_was_read(data, decoder):
    """Counts and a sum by which a reader that leaves something out is found; not timed."""
    cells = values = integer_sum = 0
    for body in data.responses:
        rows = decoder.rows(body)
        cells += sum(len(row.attribute_columns) for row in rows)
        batch = record_batch(data, rows)
        values += sum(len(column) - column.null_count for column in batch.columns[len(data.key) :])
        integers = [column for column in batch.columns if column.type == pa.int64()]
        integer_sum += sum(int(numpy.sum(column.drop_null().to_numpy(), dtype=numpy.int64)) for column in integers)
    if data.cells not in (None, cells):
        sys.exit(f"{decoder.peer} read {cells} cells of {data.cells} in {data.name}")
    return {"cells": cells, "values": values, "integer_sum": (integer_sum + 2**63) % 2**64 - 2**63}


def measured(data, stage, decoder):
    """CPU ms of the process, all threads, for one stage over all pages, and bytes of Parquet."""
    start = time.process_time_ns()
    rows, parquet_bytes = stage(data, decoder)
    cpu_ms = (time.process_time_ns() - start) / 1e6
    if rows != data.rows:
        sys.exit(f"{decoder.peer} read {rows} rows of {data.rows} in {data.name}")
    return cpu_ms, parquet_bytes


def main(folder, rounds, *names):
    pa.set_cpu_count(1)
    versions = [f"{package} {version(package)}" for package in ("tablestore", "pyarrow")]
    found = list(decoders())
    for name in names:
        data = DataSet(Path(folder), name)
        read = {decoder.peer: what_was_read(data, decoder) for decoder in found}
        cpu_ms, parquet_bytes = {}, {}
        for _ in range(int(rounds)):
            for decoder in found:
                for stage, run in STAGES.items():
                    took, parquet_bytes[stage] = measured(data, run, decoder)
                    cpu_ms.setdefault((decoder, stage), []).append(round(took, 3))
        for (decoder, stage), times in cpu_ms.items():
            note = f"parser: {decoder.parser}; {', '.join(versions)}, Python {platform.python_version()}"
            line = {"peer": decoder.peer, "set": name, "rows": data.rows, "stage": stage, "cpu_ms": times}
            line |= {"parquet_bytes": parquet_bytes[stage], **read[decoder.peer], "note": note}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Row-sums, written down from schemas/FORMAT.md alone."""

import struct

import xxhash

INTEGER, DOUBLE, BOOLEAN, STRING, BINARY = "integer", "double", "boolean", "string", "binary"
TYPE_CODE = {INTEGER: 0x00, DOUBLE: 0x01, BOOLEAN: 0x02, STRING: 0x03, BINARY: 0x07}
TIMESTAMP_SPREAD = 0x9E3779B97F4A7C15


def value_bytes(kind, value):
    if kind == INTEGER:
        return struct.pack("<q", value)
    if kind == DOUBLE:
        return struct.pack("<d", value)
    if kind == BOOLEAN:
        return b"\1" if value else b"\0"
    return value.encode() if kind == STRING else bytes(value)


def cell_hash(name, kind, value, timestamp):
    seed = xxhash.xxh3_64_intdigest(name.encode() + bytes([TYPE_CODE[kind]]))
    seed = (seed + timestamp * TIMESTAMP_SPREAD) % 2**64
    return xxhash.xxh3_128_intdigest(value_bytes(kind, value), seed)


def row_hash(key, cells):
    """The hash of a row: its key as (type, value) pairs, its cells as (name, type, value, timestamp)."""
    key_bytes = b""
    for kind, value in key:
        data = value_bytes(kind, value)
        length = b"" if kind == INTEGER else struct.pack("<I", len(data))
        key_bytes += bytes([TYPE_CODE[kind]]) + length + data
    total = sum(cell_hash(*cell) for cell in cells) % 2**128
    return xxhash.xxh3_128_intdigest(key_bytes + total.to_bytes(16, "little") + struct.pack("<I", len(cells)))


def row_sum(rows):
    """The row-sum of (key, cells) pairs, as the manifest writes it."""
    return f"{sum(row_hash(key, cells) for key, cells in rows) % 2**128:032x}"

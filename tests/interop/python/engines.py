"""Query engines that read a plain glob of Parquet files with no options at all, as an Arrow table."""

import glob

import duckdb
import polars
import pyarrow
import pyarrow.dataset


def read_duckdb(pattern):
    return pyarrow.table(duckdb.sql(f"from '{pattern}'").to_arrow_table())


def read_pyarrow(pattern):
    return pyarrow.dataset.dataset(glob.glob(pattern)).to_table()


def read_polars(pattern):
    return polars.read_parquet(pattern).to_arrow()


ENGINES = {"DuckDB": read_duckdb, "pyarrow": read_pyarrow, "Polars": read_polars}


def plain(table):
    """The table with one Arrow type per Parquet type, whatever the engine prefers."""
    preferred = {pyarrow.large_string(): pyarrow.string(), pyarrow.string_view(): pyarrow.string()}
    fields = [pyarrow.field(field.name, preferred.get(field.type, field.type)) for field in table.schema]
    return table.cast(pyarrow.schema(fields)).combine_chunks()

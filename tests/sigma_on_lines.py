"""Runs Sigma rules on lines of the event log: each line on standard input is a row of a table whose columns are the paths
of its keys, and each rule, as sigma-cli converts it for SQLite, is a query of that table. Prints the files of the rules with
the numbers of the lines that each finds, from 0, as one JSON object. The arguments are the rules' files."""

import json
import pathlib
import sqlite3
import subprocess
import sys


def paths(value, path=""):
    """The paths of a line's keys with what is there: a number, a text, or a list as JSON."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, f"{path}.{key}" if path else key)
    else:
        yield path, json.dumps(value) if isinstance(value, list) else value


def query_of(rule):
    """The rule's query."""
    convert = ["convert", "--target", "sqlite", "--without-pipeline", rule]
    done = subprocess.run(
        [sys.executable, "-m", "sigma.cli.main", *convert], check=True, capture_output=True, text=True
    )
    return done.stdout.strip().replace("SELECT * FROM", "SELECT line_number FROM", 1)


def main():
    rows = [dict(paths(json.loads(line))) for line in sys.stdin if line.strip()]
    queries = {rule: query_of(rule) for rule in sys.argv[1:]}
    # A column that no line has is empty in each.
    columns = {column for row in rows for column in row}
    columns |= {part for query in queries.values() for part in query.split("`")[1::2]}
    table = sqlite3.connect(":memory:")
    names = sorted(columns)
    listed = ", ".join(f'"{name}"' for name in names)
    table.execute(f"CREATE TABLE logs (line_number, {listed})")
    for number, row in enumerate(rows):
        values = [number, *(row.get(name) for name in names)]
        table.execute(f"INSERT INTO logs VALUES ({', '.join('?' * len(values))})", values)
    found = {
        pathlib.Path(rule).name: sorted(number for (number,) in table.execute(query))
        for rule, query in queries.items()
    }
    json.dump(found, sys.stdout)


main()

"""A database in memory and one in a file: transactions, functions in Python, full text, write-ahead log, threads, backup."""

import os
import sqlite3
import tempfile
import threading


def handler(event, context):
    with tempfile.TemporaryDirectory() as folder:
        return {
            "memory": memory(event["rows"]),
            "rollback": journal(os.path.join(folder, "rollback.db"), "delete", event["rows"]),
            "wal": journal(os.path.join(folder, "wal.db"), "wal", event["rows"]),
            "left": sorted(os.listdir(folder)),
        }


def memory(rows):
    db = sqlite3.connect(":memory:")
    db.create_function("twice", 1, lambda number: number * 2)
    db.execute("create table t (id integer primary key, name text unique, price real)")
    db.executemany("insert into t (name, price) values (?, ?)", ((f"n{i}", i / 4) for i in range(rows)))
    db.commit()
    try:
        with db:
            db.execute("update t set price = 0")
            db.execute("insert into t (name) values ('n1')")
    except sqlite3.IntegrityError as error:
        refused = str(error)
    db.execute("create virtual table text using fts5(body)")
    db.executemany("insert into text values (?)", [("the quick brown fox",), ("a lazy dog",)])
    return [
        db.execute("select sum(twice(price)) from t").fetchone()[0],
        refused,
        db.execute("select body from text where text match 'lazy OR cat'").fetchall(),
        db.execute("select json_extract('{\"a\": [1, 2]}', '$.a[1]')").fetchone()[0],
    ]


def journal(path, mode, rows):
    db = sqlite3.connect(path)
    answered = db.execute(f"pragma journal_mode = {mode}").fetchone()[0]
    db.execute("create table t (n integer)")
    db.commit()

    def insert(first):
        own = sqlite3.connect(path, timeout=30)
        for n in range(first, rows, 4):
            with own:
                own.execute("insert into t values (?)", (n,))
        own.close()

    threads = [threading.Thread(target=insert, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    copy = sqlite3.connect(path + ".copy")
    db.backup(copy)
    answer = [answered, *copy.execute("select count(*), sum(n) from t").fetchone()]
    answer.append(copy.execute("pragma integrity_check").fetchone()[0])
    copy.close()
    db.close()
    return answer

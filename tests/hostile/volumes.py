#!/usr/bin/python3
"""Volumes of somebody hostile, and every command tried on each of them.

A volume is made anew by its number alone: any value in any column of any table,
the schema to the letter; any bytes in the superblocks and tables of its spares; and
any journal, log and index beside it. A crash, a report of a sanitizer, a command that
does not end, an exit code that is not documented, and a refusal that is not one line
are failures.

Usage: volumes.py BUILD [--volumes N] [--first NUMBER] [--mount-every K] [--keep FOLDER]
"""
import argparse
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

LIMIT_S = 60  # for one command, with a sanitizer on a busy machine

TABLES = ["volume", "spare", "remap", "pending", "bad_slot", "fault", "history", "scrub",
          "main_identity", "main_place"]
NUMBERS = [None, -1, 0, 1, 2, 3, 511, 512, 4096, 2**31 - 1, 2**31, 2**32, 2**43, 2**43 + 1, 2**47,
           2**53, 2**62, 2**63 - 1, -2**63, 1.5, -0.0, 1e300, float("inf"), float("-inf")]
TEXTS = ["", "x", "/", "/dev/null", "/dev/zero", "/nowhere/at all", "a\nb", "a\x1b[31mb\x07", "a\0b",
         "\u202eabc\u0085", "'\"`$(x);|&<>", "%s%n%d", "9" * 30, "x" * 70000, "2026-01-01T00:00:00.000Z",
         "remapped", "opened", "closed", "read", "both", "times", "lost", "retired", "EIO", "NaN"]
BLOBS = [b"", b"\0", b"\xff" * 8, b"\x80abc", b"x" * 5000]

JOURNAL = bytes.fromhex("d9d505f920a163d7")
LOGS = [bytes.fromhex("377f0682"), bytes.fromhex("377f0683")]


# ---- making one -----------------------------------------------------------------------

def pick_value(rng, column):
    value = rng.choice(rng.choice([NUMBERS, TEXTS, BLOBS]))
    # A delay that is allowed is waited for: he can make a volume slow.
    if column == "delay_ms" and isinstance(value, (int, float)) and 20 < value <= 3600000:
        value = 20
    return value


def relax(db):
    """Types, NOT NULL, CHECKs and triggers bind statements, not who writes the file."""
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("PRAGMA ignore_check_constraints = ON")
    kept = db.execute("SELECT rowid, type, name, tbl_name, rootpage, sql FROM sqlite_master").fetchall()
    db.execute("PRAGMA writable_schema = ON")
    db.execute("DELETE FROM sqlite_master WHERE type = 'trigger'")
    db.execute("UPDATE sqlite_master SET sql = replace(replace(replace(sql, ') STRICT', ')'),"
               " 'IS NOT NULL', 'NOTNULL'), ' NOT NULL', '') WHERE type = 'table'")
    db.execute("PRAGMA writable_schema = RESET")
    return kept


def restore(db, kept):
    db.execute("PRAGMA writable_schema = ON")
    db.execute("DELETE FROM sqlite_master")
    db.executemany("INSERT INTO sqlite_master (rowid, type, name, tbl_name, rootpage, sql)"
                   " VALUES (?, ?, ?, ?, ?, ?)", kept)


def change_cell(rng, db):
    table = rng.choice(TABLES)
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    rows = [row[0] for row in db.execute(f"SELECT rowid FROM {table} LIMIT 50")]
    if not rows:
        return
    what = rng.random()
    row = rng.choice(rows)
    if what < 0.1:
        db.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
        return
    if what < 0.25:
        names = ", ".join(f'"{name}"' for name in columns)
        values = [pick_value(rng, name) for name in columns]
        marks = ", ".join("?" * len(columns))
        db.execute(f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})", values)
        return
    column = rng.choice(columns)
    db.execute(f'UPDATE OR REPLACE {table} SET "{column}" = ? WHERE rowid = ?',
               (pick_value(rng, column), row))


def change_database(rng, path):
    db = sqlite3.connect(path, isolation_level=None)
    kept = relax(db)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        try:
            change_cell(rng, db)
        except (sqlite3.Error, OverflowError):
            pass  # a key takes integers alone
    restore(db, kept)
    db.close()


def damage_bytes(rng, path):
    """A page of the database, whatever it is: what leads in circles, and cells over each other."""
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        for _ in range(rng.choice([1, 2, 5, 20])):
            file.seek(rng.randrange(100, size))
            file.write(rng.choice([b"\0", b"\xff", rng.randbytes(1), rng.randbytes(4)]))


def put_beside(rng, path):
    name = path + rng.choice(["-journal", "-wal", "-wal", "-shm"])
    head = JOURNAL if name.endswith("l") and name.endswith("journal") else rng.choice(LOGS)
    body = rng.choice([b"", head, head + rng.randbytes(28), head + (3007000).to_bytes(4, "big") +
                       (4096).to_bytes(4, "big") + rng.randbytes(20 + 4120), rng.randbytes(32768)])
    how = rng.random()
    if how < 0.1:
        os.mkfifo(name, 0o600)
    elif how < 0.2:
        os.symlink("/dev/null", name)
    else:
        with open(name, "wb") as file:
            file.write(body)


def damage_spare(rng, path):
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        for _ in range(rng.choice([1, 4, 30])):
            place = rng.choice([0, 4096, size - 4096, rng.randrange(size)])
            file.seek(min(place + rng.randrange(64), size - 8))
            file.write(rng.choice([b"\0" * 8, b"\xff" * 8, rng.randbytes(rng.randrange(1, 9))]))


def make(number, base, folder):
    """The volume of that number, a copy of the base that was changed."""
    rng = random.Random(number)
    shutil.copytree(base, folder)
    path = os.path.join(folder, "v.db")
    # The paths of a volume are absolute.
    db = sqlite3.connect(path, isolation_level=None)
    kept = relax(db)
    db.execute("UPDATE volume SET main_path = ?", (os.path.join(folder, "main.img"),))
    for spare in (1, 2):
        db.execute("UPDATE spare SET path = ? WHERE id = ?",
                   (os.path.join(folder, f"spare{spare}"), spare))
    # Which file main was, which a copy is not.
    db.execute("UPDATE main_identity SET hardware = NULL, file = NULL")
    restore(db, kept)
    db.close()
    what = rng.random()
    if what < 0.8:
        change_database(rng, path)
    if what > 0.75 and what < 0.85:
        damage_bytes(rng, path)
    if what > 0.8:
        damage_spare(rng, os.path.join(folder, rng.choice(["spare1", "spare2"])))
    if rng.random() < 0.12:
        put_beside(rng, path)
    return path


# ---- trying it ------------------------------------------------------------------------

def commands(path, folder):
    """Each with the exit codes that its manual names."""
    usual = {0, 1}
    looks = [["status"], ["status", "-J"], ["list"], ["list", "-J"], ["pending"], ["history"],
             ["history", "-J"], ["map", "--ascii"], ["map", "-J"], ["report"], ["metrics"]]
    for words in looks:
        yield words + [path], usual
    for form in ("badblocks", "ddrescue", "json", "csv"):
        yield ["export", "--format", form, path], usual
    yield ["health", path], {0, 1, 2, 3}
    yield ["doctor", path], usual
    yield ["scrub", path, "status"], usual
    yield ["inject", path, "list"], usual
    yield ["check", path], {0, 4, 8}
    yield ["inject", path, "add", "--sectors", "3-5"], usual
    yield ["inject", path, "clear", "--sectors", "3-5"], usual
    yield ["mark", path, "--sectors", "7"], usual
    yield ["unmap", path, "--sectors", "7"], usual
    yield ["set-path", path, "--main", os.path.join(folder, "main.img")], usual
    yield ["retire-spare", path, "1"], usual
    yield ["add-spare", path, os.path.join(folder, "spare3") + ",size=1M"], usual
    yield ["scrub", path, "start", "--wait"], usual
    yield ["attach", path], usual
    yield ["detach", path], usual
    yield ["upgrade", path], usual
    yield ["check", "--repair", path], {0, 1, 4, 8}


class Run:
    def __init__(self, build):
        self.build = build
        self.count = self.failed = self.refused = self.mounted = 0
        self.environment = dict(os.environ, LC_ALL="C", ASAN_OPTIONS="detect_leaks=0:exitcode=99",
                                UBSAN_OPTIONS="halt_on_error=1:exitcode=99")

    def fail(self, number, words, why, said):
        self.failed += 1
        print(f"FAIL volume {number}: {' '.join(words)}: {why}: {said[-600:]!r}", flush=True)

    def run(self, number, program, words, codes):
        self.count += 1
        try:
            done = subprocess.run([os.path.join(self.build, program)] + words, capture_output=True,
                                  timeout=LIMIT_S, env=self.environment, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as expired:
            self.fail(number, words, f"did not end within {LIMIT_S} s", expired.stderr or b"")
            return None
        said = done.stderr
        if done.returncode not in codes:
            self.fail(number, words, f"exit code {done.returncode}", said)
        elif b"Sanitizer" in said or b"runtime error" in said:
            self.fail(number, words, "a sanitizer's report", said)
        elif done.returncode and words[0] not in ("health", "doctor", "check", "status"):
            self.refused += 1
            lines = said.decode("utf-8", "replace").splitlines()
            if not any(line.startswith(program + ": ") for line in lines):
                self.fail(number, words, "no line says why", said)
        if re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", said):
            self.fail(number, words, "control characters", said)
        return done.returncode

    def mount(self, number, path, folder):
        where = os.path.join(folder, "mnt")
        os.mkdir(where)
        if self.run(number, "remapfs", [path, where], {0, 32}) != 0:
            return
        self.mounted += 1
        image = os.path.join(where, "disk.img")
        code = subprocess.run(["timeout", "-k", "5", str(LIMIT_S), "dd", f"if={image}", "of=/dev/null",
                               "bs=64K", "conv=noerror"], capture_output=True, check=False).returncode
        if code in (124, 137):
            self.fail(number, ["dd"], "reading the image did not end", b"")
        self.run(number, "remapctl", ["status", path], {0, 1})
        for how in ([], ["-l"]):
            if subprocess.run(["umount"] + how + [where], capture_output=True, timeout=LIMIT_S,
                              check=False).returncode == 0:
                break
        time.sleep(0.5)  # until its daemon has ended, mostly


def make_base(build, folder):
    remapctl = os.path.join(build, "remapctl")
    fill = os.path.join(build, "tests/cli/fill")

    def run(*words, given=None):
        subprocess.run(words, check=True, cwd=folder, input=given, capture_output=True, timeout=LIMIT_S)

    with open(os.path.join(folder, "main.img"), "wb") as file:
        file.truncate(1 << 20)
    run(remapctl, "create", "--main", "main.img", "--spare", "spare1,size=128K", "--spare",
        "spare2,size=128K", "v.db")
    run(fill, "v.db", given=b"remap 10 3 1 0\nremap 40 2 2 5\npending 100 2 0 0\npending 200 1 1 20\n"
        b"bad 1 30 2\nevent 3 10 3 1 0\nevent 5 100 2 0 0\n")
    run(remapctl, "inject", "v.db", "add", "--sectors", "500-501", "--times", "2")
    run(remapctl, "inject", "v.db", "add", "--spare", "1", "--sectors", "3", "--on", "read")
    db = sqlite3.connect(os.path.join(folder, "v.db"), isolation_level=None)
    db.execute("INSERT INTO scrub VALUES (1, 'paused', 0, 64, 0, 0, 0, 0, 0, 0, '2026-01-01T00:00:00.000Z')")
    db.execute("INSERT OR REPLACE INTO main_place VALUES (0, 0), (65536, 0)")
    db.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--volumes", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--mount-every", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=0, help="end after so long")
    parser.add_argument("--keep", help="make the volume of --first in this folder, and try nothing")
    given = parser.parse_args()
    run = Run(os.path.realpath(given.build))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="remapfs-hostile.", dir=os.environ.get("TMPDIR")) as scratch:
        base = os.path.join(scratch, "base")
        os.mkdir(base)
        make_base(run.build, base)
        if given.keep:
            make(given.first, base, os.path.realpath(given.keep))
            return 0
        done = 0
        for number in range(given.first, given.first + given.volumes):
            if given.seconds and time.monotonic() - began > given.seconds:
                break
            folder = os.path.join(scratch, "v")
            path = make(number, base, folder)
            if given.mount_every and number % given.mount_every == 0:
                run.mount(number, path, folder)
            for words, codes in commands(path, folder):
                run.run(number, "remapctl", words, codes)
            shutil.rmtree(folder, ignore_errors=True)
            done += 1
    print(f"{done} volumes, {run.count} commands ({run.refused} refused, {run.mounted} mounts), "
          f"{run.failed} failures, {time.monotonic() - began:.0f} s")
    return 1 if run.failed else 0


sys.exit(main())

"""Files in /tmp, and what may not be written: listings, times, links, locks, maps, archives, large and sparse ones."""

import errno
import fcntl
import mmap
import os
import pathlib
import shutil
import stat
import tarfile
import tempfile
import zipfile


def handler(event, context):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        checks = (tree, times, links, locked, mapped, archives, sparse, moved, unlinked, large)
        answers = {}
        for check in checks:
            inner = root / check.__name__
            inner.mkdir()
            answers[check.__name__] = check(inner)
    return {**answers, "gone": not root.exists(), "read_only": read_only(), "package": sorted(os.listdir())[:1]}


def tree(root):
    for i in range(300):
        (root / f"d{i % 3}").mkdir(exist_ok=True)
        (root / f"d{i % 3}" / f"f{i}").write_text("x" * i)
    with os.scandir(root / "d0") as entries:
        sizes = sum(entry.stat().st_size for entry in entries if entry.is_file())
    walked = sum(len(files) for _, _, files in os.walk(root))
    return [sizes, walked, len(list(root.glob("*/f1*"))), shutil.disk_usage(root).free > 0]


def times(root):
    path = root / "f"
    path.touch()
    os.utime(path, ns=(1_700_000_000_123_456_789, 1_600_000_000_987_654_321))
    path.chmod(0o640)
    status = path.stat()
    return [status.st_mtime_ns, status.st_atime_ns, stat.filemode(status.st_mode), status.st_nlink]


def links(root):
    (root / "f").write_text("content")
    (root / "soft").symlink_to("f")
    os.link(root / "f", root / "hard")
    (root / "loop").symlink_to("loop")
    try:
        (root / "loop").read_text()
    except OSError as error:
        loop = errno.errorcode[error.errno]
    return [(root / "soft").read_text(), os.readlink(root / "soft"), (root / "f").stat().st_nlink, loop]


def locked(root):
    with open(root / "f", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(file, fcntl.LOCK_UN)
        fcntl.flock(file, fcntl.LOCK_UN)
    return "locked"


def mapped(root):
    path = root / "f"
    path.write_bytes(b"a" * 10_000)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as shared:
        shared[5000:5003] = b"xyz"
        shared.flush()
        seen = file.read()[4999:5004].decode()
        private = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        private[0:1] = b"P"
        private.close()
    anonymous = mmap.mmap(-1, 1 << 20)
    anonymous[-1] = 7
    return [seen, path.read_bytes()[4999:5004].decode(), path.read_bytes()[:1].decode(), anonymous[-1]]


def archives(root):
    (root / "in").mkdir()
    (root / "in" / "a.txt").write_text("text " * 1000)
    answers = []
    for kind in ("zip", "gztar", "bztar", "xztar"):
        archive = shutil.make_archive(str(root / "out"), kind, root / "in")
        shutil.unpack_archive(archive, root / kind)
        answers.append((root / kind / "a.txt").read_text() == "text " * 1000)
    answers.append(zipfile.ZipFile(root / "out.zip").testzip() is None)
    answers.append("./a.txt" in tarfile.open(root / "out.tar.xz").getnames())
    return answers


def sparse(root):
    with open(root / "f", "wb") as file:
        file.seek(1 << 30)
        file.write(b"end")
        file.truncate((1 << 30) + 2)
    status = os.stat(root / "f")
    return [status.st_size, status.st_blocks * 512 < 1 << 20]


def moved(root):
    (root / "a").write_text("1")
    (root / "b").write_text("2")
    os.replace(root / "a", root / "b")
    shutil.copytree(root, root / "copy", ignore=shutil.ignore_patterns("copy"))
    shutil.move(root / "copy", root / "moved")
    return [(root / "moved" / "b").read_text(), sorted(os.listdir(root))]


def unlinked(root):
    with open(root / "f", "w+") as file:
        file.write("still")
        os.unlink(root / "f")
        file.seek(0)
        return file.read()


def large(root):
    block = bytes(range(256)) * 4096
    with open(root / "f", "wb") as file:
        for _ in range(16):
            file.write(block)
    with open(root / "f", "rb") as file:
        return [all(file.read(len(block)) == block for _ in range(16)), len(file.read())]


def read_only():
    answers = []
    for path in ("/var/task/new", os.__file__):
        try:
            open(path, "a").close()
            answers.append("written")
        except OSError as error:
            answers.append(errno.errorcode[error.errno])
    return answers

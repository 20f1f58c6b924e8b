"""Packages from PyPI for tests, installed by pip once and kept."""

import os
import shutil
import subprocess
import sys

from driver import GUEST_RUNTIME, PYTHON, SOURCES

sys.path.append(str(GUEST_RUNTIME / "cpython/wheels"))
import package  # noqa: E402

AWS_CLIENT = b"awslambdaric==4.2.2\nsimplejson==4.3.0\nsnapshot-restore-py==1.0.0\n"


def installed(requirements):
    """The folder where they are, with all they need."""
    return package.Builder(PYTHON, GUEST_RUNTIME.parent / "target/wheels").installed(requirements)


def add(requirements, task_root):
    """Puts them into a function's package."""
    shutil.copytree(installed(requirements), task_root, dirs_exist_ok=True)


def run(requirements, command):
    """The output of a process that can import them and the runtime."""
    path = os.pathsep.join(map(str, (installed(requirements), *SOURCES)))
    return subprocess.run(command, env={"PYTHONPATH": path}, check=True, stdout=subprocess.PIPE).stdout

"""From a function's folder to its package, with what pip installs beside it."""

import compileall
import hashlib
import io
import os
import pathlib
import py_compile
import shutil
import subprocess
import zipfile


class Builder:
    """Packages for one interpreter, kept in a folder between runs by what they are made of."""

    def __init__(self, python, work, more_requirements=b""):
        self._python = python
        self._more_requirements = more_requirements
        code = "import sys; print('python%d.%d' % sys.version_info[:2])"
        self.runtime = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
        self._work = work / self.runtime

    def build(self, function):
        """The folder that is the function's `/var/task`."""
        requirements = function / "requirements.txt"
        wanted = (requirements.read_bytes() if requirements.exists() else b"") + self._more_requirements
        handler = (function / "handler.py").read_bytes()
        installed = self.installed(wanted)
        folder = self._work / f"{function.name}-{hashlib.sha256(wanted + b'|' + handler).hexdigest()[:16]}"
        if not folder.exists():
            making = folder.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            # The same files: hard links are as good.
            shutil.copytree(installed, making, copy_function=os.link)
            (making / "handler.py").write_bytes(handler)
            making.rename(folder)
        return folder

    def installed(self, requirements):
        """A folder with what pip installs for them."""
        folder = self._work / f"installed-{hashlib.sha256(requirements).hexdigest()[:16]}"
        if folder.exists():
            return folder
        making = folder.with_suffix(".making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        if requirements:
            list_file = making / "requirements.txt"
            list_file.write_bytes(requirements)
            pip = [self._pip(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
            subprocess.run([*pip, "--only-binary", ":all:", "--target", making, "--requirement", list_file], check=True)
            _slim(making)
            _compile(self._python, making)
        making.rename(folder)
        return folder

    def _pip(self):
        """An interpreter that has pip. Debian's has none, an environment of its own does."""
        environment = self._work / "venv"
        if not (environment / "bin/pip").exists():
            subprocess.run([self._python, "-m", "venv", environment], check=True)
        return environment / "bin/python"


def _slim(folder):
    """Removes what no function needs: tests of the packages, a third of pandas, and type stubs."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and path.name in ("tests", "bin", "include") and not (path / "__main__.py").exists():
            shutil.rmtree(path)
        elif path.suffix in (".pyi", ".pxd", ".h"):
            path.unlink(missing_ok=True)


def _compile(python, folder):
    """Bytecode that counts whatever the times of files are, so that nothing is compiled when the function is deployed."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH.name.lower().replace("_", "-")
    command = [python, "-m", compileall.__name__, "-q", "-f", "--invalidation-mode", mode, "-s", folder, "-p", "/var/task"]
    subprocess.run([*command, folder], check=False)


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def archive(folder):
    """The folder as a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as packed:
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.is_file():
                packed.write(path, path.relative_to(folder))
    return buffer.getvalue()

"""Tells what an interpreter is made of. Runs in the interpreter itself, with -I -S: nobody else knows for sure."""

import json
import os
import sys
import sysconfig


def paths_of(function, *arguments):
    """The path that `function` names, if it has one."""
    try:
        return function(*arguments) or None
    except Exception:
        return None


def certificates():
    try:
        import ssl
    except ImportError:
        return {"file": None, "directory": None}
    paths = ssl.get_default_verify_paths()
    # Not `cafile` and `capath`: those depend on variables of the environment.
    return {"file": paths.openssl_cafile or None, "directory": paths.openssl_capath or None}


def zones():
    try:
        import zoneinfo
    except ImportError:
        return []
    return list(zoneinfo.TZPATH)


def libraries(names):
    """Where the loader finds each of `names`. They are loaded for that, which for these has no effect."""
    try:
        import ctypes
    except ImportError:
        return {}
    found = {}
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            directories = {os.path.dirname(line.split(None, 5)[5].strip()) for line in maps if "/" in line}
        # The mapping has the file's own name; what was loaded is the name beside it.
        for directory in sorted(directories):
            path = os.path.join(directory, name)
            if os.path.exists(path):
                found[name] = path
                break
    return found


def described():
    executable = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    return {
        "implementation": sys.implementation.name,
        "version": list(sys.version_info[:3]),
        "machine": os.uname().machine,
        "executable": executable,
        "cache_tag": sys.implementation.cache_tag,
        "prefix": sys.base_prefix,
        # With -I and -S: the archive, the library, and its extension modules.
        "library": [path for path in sys.path if os.path.exists(path)],
        "build_files": [
            path
            for path in (paths_of(sysconfig.get_makefile_filename), paths_of(sysconfig.get_config_h_filename))
            if path and os.path.isfile(path)
        ],
        "certificates": certificates(),
        "zones": [path for path in zones() if os.path.isdir(path)],
        "libraries": libraries(sys.argv[1:]),
    }


print(json.dumps(described()))

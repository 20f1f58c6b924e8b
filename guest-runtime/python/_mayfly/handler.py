"""Getting a function ready: its environment, its module, its handler."""

import gc
import importlib
import os
import sys
import time

from _mayfly import entropy, logs, restore
from _mayfly.context import of_function
from _mayfly.errors import Fault

LAYERS_PATHS = ("/opt/python/lib/python%d.%d/site-packages" % sys.version_info[:2], "/opt/python")


def initialize(meta, restored):
    """Returns the handler; raises what the import raised, or a Fault."""
    prepare(meta, restored)
    logs.install(os.environ.get("AWS_LAMBDA_LOG_FORMAT"), os.environ.get("AWS_LAMBDA_LOG_LEVEL"))
    handler = find(meta["handler"])
    restore.prepare()
    # As after warming: what the import made stays, and no collection need look at it again.
    gc.collect()
    gc.freeze()
    return handler


def prepare(meta, restored):
    """Makes this the process that the function expects: environment, working directory, where modules are found."""
    if restored:
        entropy.renew()
    logs.request_id = ""
    set_environment(meta["environment"])
    task_root = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    os.chdir(task_root)
    # PYTHONPATH is a function's too, and came too late for the interpreter to read it.
    others = [*LAYERS_PATHS, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    sys.path[:0] = [task_root, *(path for path in others if path and os.path.isdir(path))]
    for name in of_function:
        of_function[name] = meta.get(name)


def set_environment(variables):
    """Makes these the complete environment."""
    os.environ.clear()
    os.environ.update(variables)
    if hasattr(time, "tzset"):
        time.tzset()


def find(handler):
    """Imports it: `module.function`, a `/` as good as a dot. Raises a Fault, or what the import raised."""
    try:
        module_name, function_name = handler.rsplit(".", 1)
    except ValueError as error:
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{handler}': {error}") from None
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault("Runtime.BuiltInModuleConflict", f"Cannot use built-in module {module_name} as a handler module")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from None
    except SyntaxError as error:
        raise Fault(
            "Runtime.UserCodeSyntaxError",
            f"Syntax error in module '{module_name}': {error}",
            [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'],
        ) from None
    try:
        return getattr(module, function_name)
    except AttributeError:
        raise Fault("Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'") from None

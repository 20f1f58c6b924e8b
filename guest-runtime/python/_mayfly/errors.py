"""From an exception to the error object of an answer."""

import importlib
import json
import os
import traceback

from _mayfly import logs


class Fault(Exception):
    """A failure that the runtime found and not the function raised: its type is not a Python class."""

    def __init__(self, error_type, message, stack_trace=()):
        super().__init__(message)
        self.error_type = error_type
        self.stack_trace = list(stack_trace)


def describe(exception, request_id, marshalling):
    """The error object for `exception`, which it also writes to the log.

    `marshalling` says that the handler had returned and its result could not be made JSON.
    """
    if marshalling:
        exception = Fault("Runtime.MarshalError", f"Unable to marshal response: {exception}")
    if isinstance(exception, Fault):
        error_type, stack_trace = exception.error_type, exception.stack_trace
    else:
        error_type, stack_trace = type(exception).__name__, _stack_trace(exception)
    error = {
        "errorMessage": str(exception),
        "errorType": error_type,
        "requestId": request_id,
        "stackTrace": stack_trace,
    }
    logs.write_error(error)
    return error


def unmarshal_slowly(payload, is_too_deep):
    """Reads what the fast ways of the runtimes leave alone: unusual spellings, lone surrogates, and what is not JSON."""
    try:
        if is_too_deep:
            raise RecursionError("maximum recursion depth exceeded while decoding a JSON document")
        return json.loads(payload)
    except Exception as exception:
        raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {exception}") from None


def _stack_trace(exception):
    """The frames of the function: those of the runtime and of the import system, which called it, left out."""
    frames = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(exception.__traceback__)]
    first = next((i for i, frame in enumerate(frames) if not frame[0].startswith(_OURS)), 0)
    return traceback.format_list(frames[first:])


def _folders():
    """Where the runtime and `importlib` are if they are files, as for CPython, whose runtime is in folders side by side."""
    for file in (globals().get("__file__"), getattr(importlib, "__file__", None)):
        if file:
            yield os.path.dirname(file)


# How the names of the files begin whose frames are not the function's: the first ones are those of frozen modules.
_OURS = ("_mayfly", "_frozen_importlib", "importlib", "<frozen importlib", *_folders())

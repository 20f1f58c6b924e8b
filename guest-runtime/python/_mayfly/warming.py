"""Run once, before the runtime snapshot is taken. What is imported and exercised here, no function has to wait for."""

import base64
import collections
import datetime
import decimal
import enum
import functools
import gc
import hashlib
import hmac
import importlib
import io
import itertools
import json
import logging
import math
import os
import random
import re
import sys
import time
import traceback
import types
import typing
import urllib.parse
import uuid

from _mayfly import errors, invocation, logs

# CPython rewrites its bytecode for the values that it has seen, once it has run it some ten times.
ROUNDS = 30

# Of an invocation that never was.
META = b'{"request_id": "", "deadline_ms": 0, "client_context": {"client": {}}, "identity": null, "trace_id": "x"}'
_EVENT = '{"text": "a\\u00e9\\n", "numbers": [1, -2.5e3, true, null], "nested": {"list": [{}]}}'


def run():
    """Exercises the code paths of an invocation, leaving nothing behind but caches."""
    # A line must be in the log even if the function crashes or is stopped right after it.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    output, sys.stdout = sys.stdout, io.StringIO()
    logs.install(None, None)
    try:
        _exercise()
    finally:
        sys.stdout = output
        logging.getLogger().handlers.clear()
        logs.request_id = ""
    gc.collect()
    # What is there now stays: later collections need not look at it, and so do not write to its pages.
    gc.freeze()


def _exercise():
    for _ in range(ROUNDS):
        context = invocation.begin(json.loads(META), True)
        context.get_remaining_time_in_millis()
        json.loads(json.dumps(json.loads(_EVENT)))
        re.sub(r"\s+", " ", "a  b")
        datetime.datetime.now(datetime.timezone.utc).isoformat()
        try:
            raise ValueError("x")
        except ValueError as exception:
            errors.describe(exception, "", False)
        print("x", end="")
        logging.warning("x")
    hashlib.sha256(b"x").hexdigest()
    base64.b64encode(b"x")
    uuid.uuid4()
    random.random()
    time.strftime("%Y", time.gmtime(0))
    urllib.parse.urlparse("https://example.invalid/a?b=c")

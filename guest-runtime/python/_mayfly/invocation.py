"""What happens before the handler is called. Runs in every invocation: keep it short."""

import os

from _mayfly import logs, restore
from _mayfly.context import LambdaContext, of_function

_TRACE_ID = os.environ.encodekey("_X_AMZN_TRACE_ID")


def begin(meta, restored):
    """Returns the context for the handler. Raises what the function's own part in a restore raised."""
    machine = meta.get("restore")
    if machine is not None:
        _apply(machine)
    logs.request_id = meta["request_id"]
    logs.tenant_id = meta.get("tenant_id")
    _set_trace_id(meta.get("trace_id"))
    if restored or restore.is_unfinished:
        restore.renew()
    return LambdaContext(meta)


def _set_trace_id(trace_id):
    # It is another one in every invocation, and the way through `os.environ` takes longer than all the rest of this. What
    # that does more, `putenv`, is for child processes; there are none.
    variables = os.environ._data
    if trace_id is not None:
        variables[_TRACE_ID] = os.fsencode(trace_id)
    elif _TRACE_ID in variables:
        del variables[_TRACE_ID]


def _apply(machine):
    """Takes over what differs between the machine that was snapshotted and this one."""
    os.environ.update(machine.get("environment") or {})
    log_stream_name = machine.get("log_stream_name")
    if log_stream_name is not None:
        of_function["log_stream_name"] = log_stream_name

"""The Python half of the runtime: what a function sees, and what its author reads when it fails.

Both runtimes have it. Each has an event loop of its own (`guest-runtime/rustpython/src/event_loop.rs`,
`guest-runtime/cpython/python/_mayfly_cpython/event_loop.py`) that calls four functions: `initialize` once, `begin` before and
the handler itself in every invocation, `describe` when something was raised. All of it behaves as AWS's own runtime interface client
does; where a text or an order looks arbitrary, it is that client's.
"""

from _mayfly import entropy, logs, restore
from _mayfly.context import LambdaContext
from _mayfly.errors import describe, unmarshal_slowly
from _mayfly.handler import initialize
from _mayfly.invocation import begin

__all__ = ["LambdaContext", "begin", "describe", "entropy", "initialize", "logs", "restore", "unmarshal_slowly", "warm"]


def warm():
    """Does once what most functions will do, so that it is in the snapshot and not in their first invocation."""
    from _mayfly import warming

    warming.run()

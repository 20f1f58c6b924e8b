"""What happens between a restore and the first code of the function, and what happened before the snapshot.

Functions take part by `mayfly.on_restore`, or by the hooks that AWS made for SnapStart (`snapshot_restore_py` on PyPI).
"""

import sys

from _mayfly import entropy

# Of `mayfly.on_restore`.
callbacks = []
# Whether a restore was begun and a callback failed. No event may be handled in what is half renewed.
is_unfinished = False


def renew():
    """Makes what was restored a machine of its own. Raises what a callback of the function raises."""
    global is_unfinished
    is_unfinished = True
    entropy.renew()
    for callback in callbacks:
        callback()
    for function, arguments, keywords in _snap_start_hooks("get_after_restore"):
        function(*arguments, **keywords)
    is_unfinished = False


def prepare():
    """To be called before a snapshot of the function is taken."""
    # The last to be registered is the first to be called, as on Lambda.
    hooks = _snap_start_hooks("get_before_snapshot")
    while hooks:
        function, arguments, keywords = hooks.pop()
        function(*arguments, **keywords)


def _snap_start_hooks(name):
    module = sys.modules.get("snapshot_restore_py")
    return () if module is None else getattr(module, name)()

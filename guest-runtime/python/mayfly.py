"""What a function may ask of Mayfly. Works, and does nothing, anywhere else.

A function is imported once; then its memory is saved, and every machine that serves it starts from that. What must not be
the same in all of them is made new after each such start, before the next event is handled::

    import mayfly
    import numpy

    generator = numpy.random.default_rng()

    @mayfly.on_restore
    def renew():
        global generator
        generator = numpy.random.default_rng()

Renewed without being asked: the generators behind the functions of `random`, `numpy.random`, `ssl`, `uuid` and `tempfile`.
What asks the kernel each time, as `secrets` and `os.urandom` do, never repeats.
"""

try:
    from _mayfly.restore import callbacks as _callbacks
except ImportError:
    _callbacks = []

__all__ = ["on_restore"]


def on_restore(callback):
    """Has `callback()` called after every restore, in the order of registration. Returns it: also a decorator.

    What it raises is the answer to the event, and it is called again before the next one.
    """
    _callbacks.append(callback)
    return callback

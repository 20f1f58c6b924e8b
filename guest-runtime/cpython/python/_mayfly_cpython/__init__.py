"""What the runtime needs where Python is CPython: the event loop, and the ways around what a snapshot makes dear.

What a function sees of its runtime is in `_mayfly`, which RustPython has too.

| module | |
|---|---|
| `device` | the event device: records in, records out |
| `event_loop` | from an event to its answer |
| `marshalling` | events and results to and from Python objects |
| `heap` | memory, arranged for snapshots |
| `runtime_api` | Lambda's Runtime API on loopback, for `awslambdaric` in place of the event loop |
"""

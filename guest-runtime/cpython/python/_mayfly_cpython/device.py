"""The event device: a byte stream of records, read and written whole (`guest-runtime/abi/src/record.rs`).

A record is a header of four little-endian 32-bit integers (kind, flags, length of meta, length of payload), then meta
(JSON), then payload. The kernel returns no more than one record per `read`, and at most as much as fits.
"""

import collections
import os
import stat
import struct

# Kinds of events.
INIT = 1
INVOKE = 2

# Kinds of answers.
INIT_OK = 1
RESPONSE = 2
ERROR = 3

# Flag of an event: memory was restored from a snapshot since the last one.
RESTORED = 1

# What is offered to a `read` at first. Most events fit.
BUFFER_BYTES = 64 << 10
# The kernel takes and gives no larger record.
RECORD_BYTES_MAX = 8 << 20

_HEADER = struct.Struct("<4I")
PAYLOAD_BYTES_MAX = RECORD_BYTES_MAX - _HEADER.size

# The answer in place of one that no record can hold. Of those that one can, the platform says the same.
TOO_LARGE = (
    b'{"errorType":"Function.ResponseSizeTooLarge",'
    b'"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}'
)

# `meta` and `payload` are views of memory that the next event overwrites.
Event = collections.namedtuple("Event", "kind is_restored meta payload")


def open_device(path):
    """The device at `path`, or a Unix socket in its place. It is not closed before the process ends."""
    if stat.S_ISSOCK(os.stat(path).st_mode):
        import socket

        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        fd = connection.detach()
    else:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    return EventDevice(fd, fd)


class EventDevice:
    """One system call for an event, one for its answer, and always the same memory for both."""

    def __init__(self, events_fd, answers_fd):
        self._events_fd = events_fd
        self._answers_fd = answers_fd
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        # What is passed to the system calls is made once, too.
        self._into = (self._buffer,)
        self._header = bytearray(_HEADER.size)

    def next(self):
        """Waits for the next event. None: there will be no more."""
        record = self._buffer
        filled = os.readv(self._events_fd, self._into)
        if filled == 0:
            return None
        if filled < _HEADER.size:
            filled = self._fill(record, filled, _HEADER.size)
        kind, flags, meta_bytes, payload_bytes = _HEADER.unpack_from(record)
        payload_at = _HEADER.size + meta_bytes
        end = payload_at + payload_bytes
        if kind not in (INIT, INVOKE) or end > RECORD_BYTES_MAX:
            raise ValueError(f"event device: kind {kind}, {end} bytes")
        if end > filled:
            if end > BUFFER_BYTES:
                # Given back with the event: no later one would use it.
                record = memoryview(bytearray(end))
                record[:filled] = self._buffer[:filled]
            self._fill(record, filled, end)
        return Event(kind, flags & RESTORED != 0, record[_HEADER.size : payload_at], record[payload_at:end])

    def send(self, kind, payload=b""):
        """Sends an answer, in one system call where the kernel takes it whole."""
        _HEADER.pack_into(self._header, 0, kind, 0, 0, len(payload))
        written = os.writev(self._answers_fd, (self._header, payload))
        if written < _HEADER.size + len(payload):
            rest = memoryview(bytes(self._header) + payload)[written:]
            while rest:
                rest = rest[os.write(self._answers_fd, rest) :]

    def _fill(self, record, filled, wanted):
        """Reads until `wanted` bytes are there; returns how many are."""
        while filled < wanted:
            count = os.readv(self._events_fd, (record[filled:],))
            if count == 0:
                raise EOFError("event device: an event was cut short")
            filled += count
        return filled


def pack(kind, flags, meta, payload):
    """A record."""
    return _HEADER.pack(kind, flags, len(meta), len(payload)) + meta + payload

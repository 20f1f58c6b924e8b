"""MessagePack by its C extension: round trips, a stream in pieces, extension types."""

import msgpack
from msgpack import _cmsgpack


def handler(event, context):
    packed = msgpack.packb(event)
    unpacker = msgpack.Unpacker()
    stream = msgpack.packb([1, 2]) + packed + msgpack.packb(b"x")
    received = []
    for i in range(0, len(stream), 3):
        unpacker.feed(stream[i : i + 3])
        received.extend(unpacker)
    extension = msgpack.unpackb(msgpack.packb(msgpack.ExtType(5, b"data")))
    return {
        "is_native": msgpack.Packer is _cmsgpack.Packer,
        "bytes": len(packed),
        "same": msgpack.unpackb(packed) == event,
        "stream": [received[0], received[1] == event, received[2].decode()],
        "extension": [extension.code, extension.data.decode()],
    }

"""The interpreter's native modules, and native code called from Python and back."""

import array
import binascii
import bz2
import ctypes
import decimal
import hashlib
import hmac
import locale
import lzma
import math
import pickle
import struct
import unicodedata
import xml.etree.ElementTree
import zlib


def handler(event, context):
    text = event["text"].encode() * 100
    decimal.getcontext().prec = 50
    return {
        "hashes": {name: hashlib.new(name, text).hexdigest()[:8] for name in ("md5", "sha1", "sha256", "sha3_256", "blake2b")},
        "hmac": hmac.new(b"key", text, "sha256").hexdigest()[:8],
        "scrypt": hashlib.scrypt(b"p", salt=b"s", n=16, r=8, p=1, dklen=8).hex(),
        "crc": [zlib.crc32(text), binascii.crc32(b"a")],
        "packed": [codec.decompress(codec.compress(text)) == text for codec in (zlib, bz2, lzma)],
        "decimal": str(decimal.Decimal(2).sqrt()),
        "math": [math.gamma(5.5), math.erf(0.5), math.fsum([0.1] * 10), math.isqrt(10**20)],
        "pickle": pickle.loads(pickle.dumps({"a": (1, 2.5), "b": {3}}, protocol=5)) == {"a": (1, 2.5), "b": {3}},
        "struct": struct.unpack("<hIqd", struct.pack("<hIqd", -1, 2, -3, 0.5)),
        "array": sum(array.array("d", range(100))),
        "unicode": [unicodedata.name("€"), unicodedata.normalize("NFD", "é").encode().hex()],
        "xml": [element.tag for element in xml.etree.ElementTree.fromstring("<a><b/><c>é</c></a>").iter()],
        "locale": locale.setlocale(locale.LC_ALL, "C.UTF-8"),
        "ctypes": native(),
    }


def native():
    libc = ctypes.CDLL(None)
    Comparison = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    numbers = (ctypes.c_int * 5)(5, 1, 4, 2, 3)
    libc.qsort(numbers, 5, ctypes.sizeof(ctypes.c_int), Comparison(lambda a, b: a[0] - b[0]))
    buffer = ctypes.create_string_buffer(50)
    libc.snprintf(buffer, 50, b"%d %s %.2f", 5, b"text", ctypes.c_double(2.5))
    return [list(numbers), buffer.value.decode(), libc.toupper(ord("a"))]

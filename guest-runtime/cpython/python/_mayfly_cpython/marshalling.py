"""Events and results to and from Python objects, as `simplejson` has them in AWS's runtime.

The standard library's encoder is as fast as that, and differs in what few results contain: named tuples, which become
objects, `Decimal`, whose digits are kept, and bytes, which are UTF-8. Results that have any of that are encoded by Python
code.
"""

import json
import marshal
import math
import sys
from json.encoder import c_make_encoder, encode_basestring, encode_basestring_ascii

from _mayfly import errors

# From 3.12 on, AWS's runtime leaves characters outside ASCII as they are.
_quote = encode_basestring if sys.version_info >= (3, 12) else encode_basestring_ascii
_scan = json.JSONDecoder().scan_once


def decode(text):
    """The value that the JSON in `text`, UTF-8 bytes, means. Raises a Fault."""
    try:
        string = str(text, "utf-8")
        value, end = _scan(string, 0)
        if end == len(string):
            return value
    except (ValueError, StopIteration, RecursionError):
        pass
    # Space around it is fine; anything else is worth a good message.
    return errors.unmarshal_slowly(bytes(text), False)


def encode(result):
    """`result` as bytes: its own if it is bytes, JSON otherwise. Raises what says why there is no JSON for it."""
    if isinstance(result, bytes):
        return result
    try:
        # The fast encoder takes subclasses for their bases, named tuples with them. This refuses them, for a tenth of the
        # encoder's time. Version 2 looks for no values that occur twice.
        marshal.dumps(result, 2)
        text = "".join(_encode_fast(result, 0))
    except (TypeError, ValueError, RecursionError):
        text = _encode_slowly(result, _quote)
    try:
        return text.encode()
    except UnicodeEncodeError:
        # A lone surrogate. Only escapes can say that.
        return _encode_slowly(result, encode_basestring_ascii).encode()


def _refuse(value):
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


# What JSONEncoder makes anew for each call. Without the table of open containers: values that contain themselves end as too
# much nesting here, and are recognized below.
_encode_fast = c_make_encoder(None, _refuse, _quote, None, ": ", ", ", False, False, True)


def _encode_slowly(result, quote):
    encoder = _Encoder(quote)
    try:
        encoder.value(result)
    except RecursionError:
        raise RecursionError("maximum recursion depth exceeded while encoding a JSON object") from None
    return "".join(encoder.pieces)


class _Encoder:
    """Every value that has JSON, piece by piece."""

    def __init__(self, quote):
        self.pieces = []
        self._quote = quote
        # The containers around the current value, by identity. To find one that contains itself.
        self._open = set()

    def value(self, value):
        if isinstance(value, str):
            self.pieces.append(self._quote(value))
        elif value is None or isinstance(value, (int, float)):
            self.pieces.append(_scalar(value))
        elif isinstance(value, bytes):
            self.pieces.append(self._quote(str(value, "utf-8")))
        elif isinstance(value, (list, tuple, dict)) or _has_fields(value):
            self._container(value)
        elif _is_decimal(value):
            # "-NaN" and "sNaN" are no numbers in any JSON.
            self.pieces.append("NaN" if value.is_nan() else str(value))
        else:
            _refuse(value)

    def _container(self, value):
        if id(value) in self._open:
            raise ValueError("Circular reference detected")
        self._open.add(id(value))
        content = value._asdict() if not isinstance(value, dict) and _has_fields(value) else value
        if isinstance(content, dict):
            self._object(content)
        elif content is value:
            self._array(value)
        else:
            raise TypeError("_asdict() must return a dict, not " + type(content).__name__)
        self._open.remove(id(value))

    def _array(self, items):
        before = "["
        for item in items:
            self.pieces.append(before)
            self.value(item)
            before = ", "
        self.pieces.append("[]" if before == "[" else "]")

    def _object(self, members):
        before = "{"
        for key, value in members.items():
            self.pieces.append(before)
            if isinstance(key, (str, bytes)):
                self.value(key)
            elif key is None or isinstance(key, (int, float)):
                self.pieces.append(self._quote(_scalar(key)))
            else:
                raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")
            self.pieces.append(": ")
            self.value(value)
            before = ", "
        self.pieces.append("{}" if before == "{" else "}")


def _scalar(value):
    """None, a truth value, or a number: of an enumeration, too, or whatever else prints itself in another way."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if math.isfinite(value):
        return float.__repr__(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _has_fields(value):
    """Whatever has this method is taken for a named tuple."""
    return callable(getattr(value, "_asdict", None))


def _is_decimal(value):
    # Without importing a module that the function did not import.
    decimal = sys.modules.get("decimal")
    return decimal is not None and isinstance(value, decimal.Decimal)

"""The function's log: `logging` records, and what the runtime itself has to say. All of it goes to standard output.

Two formats, as on Lambda: lines of text, or an object of JSON per line (AWS_LAMBDA_LOG_FORMAT).
"""

import json
import logging
import sys
import time
import traceback

# The invocation being served; "" and None while the function is being initialized.
request_id = ""
tenant_id = None

_TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
_JSON_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_NO_BREAK_SPACE = "\u00a0"
_is_json = False


class _Handler(logging.Handler):
    def emit(self, record):
        record.aws_request_id = request_id
        record.tenant_id = tenant_id
        sys.stdout.write(self.format(record))


class _JsonFormatter(logging.Formatter):
    """The members and their order are those of Lambda; what `extra` added comes after them."""

    # What every record has.
    _USUAL = {*vars(logging.makeLogRecord({})), "message", "asctime", "aws_request_id", "tenant_id"}

    def format(self, record):
        level = min(50, max(0, record.levelno)) // 10 * 10
        exception = record.exc_info if record.exc_info and record.exc_info[0] else None
        members = {
            "timestamp": self.formatTime(record, _JSON_TIME_FORMAT),
            "level": logging.getLevelName(level),
            "message": record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage(),
            "logger": record.name,
            "stackTrace": exception and traceback.format_tb(exception[2]),
            "errorType": exception and exception[0].__name__,
            "errorMessage": exception and str(exception[1]),
            "requestId": record.aws_request_id,
            "location": exception and f"{record.pathname}:{record.funcName}:{record.lineno}",
            "tenantId": record.tenant_id,
        }
        for name, value in vars(record).items():
            if name not in self._USUAL:
                members.setdefault(name, value)
        return _to_line(members)


def _to_line(members):
    present = {name: value for name, value in members.items() if value is not None}
    # A record is not lost for something in it that has no JSON.
    return json.dumps(present, ensure_ascii=False, default=str) + "\n"


def install(format_name, level_name):
    """Puts the handler on the root logger. The names are those of AWS_LAMBDA_LOG_FORMAT and AWS_LAMBDA_LOG_LEVEL, or None."""
    global _is_json
    _is_json = (format_name or "").upper() == "JSON"
    logging.Formatter.converter = time.gmtime
    handler = _Handler()
    handler.setFormatter(_JsonFormatter() if _is_json else logging.Formatter(_TEXT_FORMAT, "%Y-%m-%dT%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    level_name = {None: "", "TRACE": "DEBUG"}.get(level_name, level_name).upper()
    if level_name in logging._nameToLevel:
        root.setLevel(level_name)


def write_error(error):
    """Writes the error object of an answer for people to read.

    Leading spaces become no-break spaces, as on Lambda, whose console would swallow them otherwise.
    """
    if _is_json:
        timestamp = time.strftime(_JSON_TIME_FORMAT, time.gmtime())
        sys.stdout.write(_to_line({"timestamp": timestamp, "level": "ERROR", **error}))
        return
    title = f"[ERROR] {error['errorType']}"
    lines = [f"{title}: {error['errorMessage']}" if error["errorMessage"] else title]
    lines.append("Traceback (most recent call last):")
    for frame in error["stackTrace"]:
        for line in frame.splitlines():
            text = line.lstrip(" ")
            lines.append(_NO_BREAK_SPACE * (len(line) - len(text)) + text)
    sys.stdout.write("\n".join(lines) + "\n")

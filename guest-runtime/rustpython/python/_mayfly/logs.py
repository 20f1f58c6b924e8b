"""The function's log: `logging` records, and what the runtime itself has to say. All of it goes to standard output."""

import logging
import sys
import time

# The invocation being served; "" while the function is being initialized.
request_id = ""

_TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
_NO_BREAK_SPACE = "\u00a0"


class _Handler(logging.Handler):
    def emit(self, record):
        record.aws_request_id = request_id
        sys.stdout.write(self.format(record))


def install(level_name):
    """Puts the handler on the root logger. `level_name` is AWS_LAMBDA_LOG_LEVEL, None if it is not set."""
    logging.Formatter.converter = time.gmtime
    handler = _Handler()
    handler.setFormatter(logging.Formatter(_TEXT_FORMAT, "%Y-%m-%dT%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    level_name = {None: "", "TRACE": "DEBUG"}.get(level_name, level_name).upper()
    if level_name in logging.getLevelNamesMapping():
        root.setLevel(level_name)


def write_error(error):
    """Writes the error object of an answer for people to read.

    Leading spaces become no-break spaces, as on Lambda, whose console would swallow them otherwise.
    """
    lines = [f"[ERROR] {error['errorType']}: {error['errorMessage']}" if error["errorMessage"] else f"[ERROR] {error['errorType']}"]
    lines.append("Traceback (most recent call last):")
    for frame in error["stackTrace"]:
        for line in frame.splitlines():
            text = line.lstrip(" ")
            lines.append(_NO_BREAK_SPACE * (len(line) - len(text)) + text)
    sys.stdout.write("\n".join(lines) + "\n")

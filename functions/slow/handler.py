"""Waits, as a function does that calls another service. Uses no processor time meanwhile."""

import time


def handler(event, context):
    before_ms = context.get_remaining_time_in_millis()
    time.sleep(event["seconds"])
    waited_ms = before_ms - context.get_remaining_time_in_millis()
    return {"slept": event["seconds"], "clock_agrees": waited_ms >= int(event["seconds"] * 1000) - 1}

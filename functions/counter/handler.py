"""Counts the invocations this machine has served. With `mayfly:state` = `reuse`, as on Lambda, the count goes up."""

count = 0


def handler(event, context):
    global count
    count += 1
    return {"count": count}

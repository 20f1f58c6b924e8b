"""Counts the invocations this machine has served. With `mayfly:state` = `fresh` every one of them is the first."""

count = 0


def handler(event, context):
    global count
    count += 1
    return {"count": count}

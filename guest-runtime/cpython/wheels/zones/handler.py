"""Time zones, their changes, and the C library's own idea of them."""

import datetime
import os
import time
import zoneinfo


def handler(event, context):
    moments = [datetime.datetime.fromisoformat(moment) for moment in event["moments"]]
    names = zoneinfo.available_timezones()
    return {
        "zones": {
            name: [moment.astimezone(zoneinfo.ZoneInfo(name)).isoformat() for moment in moments] for name in event["zones"]
        },
        "known": len(names) > 400,
        "unknown": unknown(),
        "fold": [
            datetime.datetime(2026, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=fold).utcoffset().seconds
            for fold in (0, 1)
        ],
        "libc": [in_libc(name) for name in ("Europe/Paris", ":America/New_York", "EST5EDT", ":UTC")],
        "now": abs(datetime.datetime.now(datetime.timezone.utc).timestamp() - time.time()) < 5,
    }


def unknown():
    try:
        zoneinfo.ZoneInfo("Mars/Olympus")
    except zoneinfo.ZoneInfoNotFoundError as error:
        return str(error)


def in_libc(name):
    before = os.environ.get("TZ", ":UTC")
    os.environ["TZ"] = name
    time.tzset()
    try:
        return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(1_785_000_000))
    finally:
        os.environ["TZ"] = before
        time.tzset()

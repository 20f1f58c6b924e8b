"""A CSV file read, grouped, joined, resampled and written."""

import io
import os
import tempfile

import pandas as pd


def handler(event, context):
    frame = pd.read_csv(io.StringIO(event["csv"]), parse_dates=["day"])
    by_shop = frame.groupby("shop")["amount"].agg(["sum", "mean", "count"])
    shops = pd.DataFrame({"shop": ["a", "b"], "city": ["Århus", "Bonn"]})
    joined = frame.merge(shops, on="shop", how="left")
    quarterly = frame.set_index("day")["amount"].resample("QS").sum()
    in_zone = frame["day"].dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "out.csv")
        joined.to_csv(path, index=False)
        again = pd.read_csv(path)
    return {
        "by_shop": by_shop.round(3).to_dict("index"),
        "cities": joined["city"].tolist(),
        "quarterly": {str(day.date()): value for day, value in quarterly.items()},
        "hours": in_zone.dt.hour.tolist(),
        "same": bool(again["amount"].equals(frame["amount"])),
        "pivot": joined.pivot_table(index="city", values="amount", aggfunc="max").to_dict(),
    }

"""Orders with nested lines in, revenue per customer and product out. What most functions do: JSON to other JSON."""

from collections import defaultdict


def handler(event, context):
    customers = {}
    products = defaultdict(lambda: {"units": 0, "cents": 0})
    rejected = []
    for order in event["orders"]:
        if order.get("status") == "cancelled":
            rejected.append(order["id"])
            continue
        customer = customers.setdefault(order["customer"]["id"], new_customer(order["customer"]))
        cents = sum(line_cents(line) for line in order["lines"])
        customer["orders"].append({"id": order["id"], "cents": cents})
        customer["cents"] += cents
        for line in order["lines"]:
            products[line["sku"]]["units"] += line["units"]
            products[line["sku"]]["cents"] += line_cents(line)
    return {
        "customers": sorted(customers.values(), key=lambda customer: (-customer["cents"], customer["name"])),
        "products": {sku: products[sku] for sku in sorted(products)},
        "rejected": rejected,
        "cents": sum(customer["cents"] for customer in customers.values()),
    }


def new_customer(customer):
    name = " ".join(part.capitalize() for part in customer["name"].split())
    return {"name": name, "country": customer.get("address", {}).get("country", "unknown"), "orders": [], "cents": 0}


def line_cents(line):
    """Whole cents, the discount rounded in the customer's favour."""
    full = line["units"] * line["unit_cents"]
    return full - -(-full * line.get("discount_percent", 0) // 100)

"""Models of pydantic 2: parsed, refused with reasons, and serialized again."""

from datetime import date
from decimal import Decimal
from typing import Literal, Optional, Union

from pydantic import BaseModel, Field, ValidationError, computed_field, field_validator


class Item(BaseModel):
    name: str = Field(min_length=1)
    price: Decimal = Field(gt=0, decimal_places=2)
    kind: Literal["book", "toy"]


class Order(BaseModel):
    id: int
    day: date
    items: list[Item]
    note: Optional[Union[int, str]] = None

    @field_validator("items")
    @classmethod
    def not_empty(cls, items):
        if not items:
            raise ValueError("an order without items")
        return items

    @computed_field
    @property
    def total(self) -> Decimal:
        return sum(item.price for item in self.items)


def handler(event, context):
    order = Order.model_validate(event["good"])
    try:
        Order.model_validate(event["bad"])
    except ValidationError as error:
        problems = [[".".join(map(str, problem["loc"])), problem["type"]] for problem in error.errors()]
    schema = Order.model_json_schema()
    return {"order": order.model_dump_json(), "problems": problems, "required": schema["required"]}

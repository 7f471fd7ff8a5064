"""What the models of parameters, bodies and answers are made of: the bases, and the types of their fields."""

from __future__ import annotations

import datetime as dt
from typing import Annotated
from unicodedata import category

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from lakehouse.jobs.request import parse_date
from lakehouse.market.errors import BadInput
from lakehouse.market.faults import short
from lakehouse.market.instrument import parse_secid


class Parameters(BaseModel):
    """
    The parameters of a request, each a text at most once.

    An empty one counts as left out, but for the one that the next page is asked with: that is refused (requests.py).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


class Body(BaseModel):
    """The JSON object that a request brings; nothing is taken for what it is not, nor left aside."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Answered(BaseModel):
    """
    What an operation answers, for its documentation: handlers answer plain documents.

    Built when the documentation is asked for, not when a function starts.
    """

    model_config = ConfigDict(extra="forbid", defer_build=True)


class Nothing(Answered):
    """It was done, and there is nothing to say of it."""


def is_text(text: str) -> bool:
    """Return whether the database can hold *text*: JSON has ways to write NUL and halves of surrogate pairs."""
    return "\0" not in text and not any(category(character) == "Cs" for character in text)


def _storable(text: str) -> str:
    if not is_text(text):
        raise ValueError("holds characters that cannot be kept")
    return text


def _whole(value: object) -> object:
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise ValueError(f"{short(value)} is not a whole number")
    return value


def _secid(text: str) -> str:
    try:
        return parse_secid(text)
    except BadInput as error:
        raise ValueError(str(error)) from None


Text = Annotated[str, AfterValidator(_storable)]
Secid = Annotated[str, AfterValidator(_secid), Field(description="The exchange's ticker", examples=["SBER"])]
Date = Annotated[dt.date | None, BeforeValidator(parse_date), Field(description="Moscow date, inclusive")]
PageToken = Annotated[str | None, Field(min_length=1, description="`next` of the page before; none for the first page")]
# Stands behind the bounds of a parameter that is a whole number: Annotated[int, Field(ge=1, le=500), DIGITS]
DIGITS = BeforeValidator(_whole)

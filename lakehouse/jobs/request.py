"""What a user asks to be read, checked to the last field before anything is stored."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    model_validator,
)

from lakehouse.market.errors import BadInput
from lakehouse.market.faults import printable, short, told
from lakehouse.market.instrument import parse_listing
from lakehouse.market.timeframe import Timeframe

FIRST_DATE = dt.date(1990, 1, 1)
LAST_DATE = dt.date(2999, 12, 31)
MAX_INSTRUMENTS = 1000
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _parsed_listing(text: str) -> str:
    try:
        secid, board = parse_listing(text.strip())
    except BadInput as error:
        raise ValueError(str(error)) from None
    return f"{secid}@{board}" if board else secid


def _parsed_timeframe(value: object) -> Timeframe:
    if not isinstance(value, str):
        raise ValueError(f"a timeframe is a text, one of {', '.join(Timeframe)}")
    try:
        return Timeframe.parse(value)
    except BadInput as error:
        raise ValueError(str(error)) from None


def parse_date(value: object) -> dt.date | None:
    """Return the date that *value* writes as YYYY-MM-DD, or is; raise ValueError: a number is no date here."""
    if value is None or type(value) is dt.date:
        return value
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            raise ValueError(f"there is no day {value}") from None
    raise ValueError(f"{short(value)} is not a date: write YYYY-MM-DD")


def _few_enough(value: object) -> object:
    if isinstance(value, (list, tuple)) and len(value) > MAX_INSTRUMENTS:
        raise ValueError(f"{len(value):,} were given, at most {MAX_INSTRUMENTS:,} are taken at once: split the request")
    return value


def _each_once(values: list[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


_Date = Annotated[dt.date | None, BeforeValidator(parse_date)]


class IngestRequest(BaseModel):
    """
    What to read from the exchange: instruments by timeframes, Moscow dates, both inclusive.

    *held* stands for all that is held, and names nothing: what of it is due in the ledger (bronze/held.py).
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        json_schema_extra={"required": [], "anyOf": [{"required": ["instruments"]}, {"required": ["held"]}]},
    )

    instruments: Annotated[
        list[Annotated[str, AfterValidator(_parsed_listing)]],
        BeforeValidator(_few_enough),
        AfterValidator(_each_once),
        Field(min_length=1),
    ]
    timeframes: Annotated[
        list[Annotated[Timeframe, BeforeValidator(_parsed_timeframe)]],
        BeforeValidator(_few_enough),
        AfterValidator(_each_once),
        Field(min_length=1),
    ] = [Timeframe.DAY]
    from_: _Date = Field(default=None, alias="from")
    till: _Date = None
    reread: StrictBool = False
    held: StrictBool = False

    @model_validator(mode="after")
    def _dates_in_order(self) -> IngestRequest:
        if self.from_ and self.from_ < FIRST_DATE:
            raise ValueError(
                f"from {self.from_} lies before {FIRST_DATE}: the exchange did not exist; leave from out for everything"
            )
        if self.till and self.till < FIRST_DATE:
            raise ValueError(f"till {self.till} lies before {FIRST_DATE}: the exchange did not exist")
        for name, date in (("from", self.from_), ("till", self.till)):
            if date and date > LAST_DATE:
                raise ValueError(f"{name} {date} lies after {LAST_DATE}: leave till out for all up to today")
        if self.from_ and self.till and self.till < self.from_:
            raise ValueError(f"till {self.till} lies before from {self.from_}: swap them")
        if self.reread and not self.from_:
            raise ValueError("a re-read needs from: say the first date to read again")
        return self

    @classmethod
    def parse(cls, document: object) -> IngestRequest:
        """Read a request from a JSON *document*; raise BadInput with one sentence for each thing that is wrong."""
        if isinstance(document, Mapping) and document.get("held") is True:
            return cls._of_what_is_held(document)
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise BadInput(told(error, _FIELDS)) from None

    @classmethod
    def _of_what_is_held(cls, document: Mapping[str, object]) -> IngestRequest:
        if others := [str(name) for name, value in document.items() if name != "held" and value]:
            raise BadInput(f"held: stands for all that is held: leave out {', '.join(map(printable, others))}")
        return cls.model_construct(instruments=[], timeframes=[], held=True)


_FIELDS = tuple(field.alias or name for name, field in IngestRequest.model_fields.items())

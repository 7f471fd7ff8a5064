"""
The made market's securities.

The codes, boards and corporate actions are those of the exchange (docs/iss.md section 7), so that what breaks readers
is there; every price and volume is made.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from lakehouse.simulator.calendar import FIRST_DATE, LAST_DATE

_Halt = tuple[dt.date, dt.date]


@dataclass(frozen=True)
class Code:
    """A code of an issue, and the dates on which it is traded under it."""

    secid: str
    shortname: str
    name: str
    latname: str
    isin: str | None
    first: dt.date = FIRST_DATE
    last: dt.date = LAST_DATE


@dataclass(frozen=True)
class Era:
    """
    How an issue trades up to the next era.

    Attributes:
        first: First date.
        lot: Securities in a lot.
        tick: Price step in points, 10^-decimals of the price unit.
        ratio: Raw price over the price of the last era: 100 before a split of one into a hundred.
    """

    first: dt.date = FIRST_DATE
    lot: int = 1
    tick: int = 1
    ratio: float = 1


@dataclass(frozen=True)
class Issue:
    """
    A security through all its codes.

    Attributes:
        prices: Price on the first day and in the middle of 2026 (or on the last day), in units of the last era.
        turnover: Turnover of an ordinary day, roubles; an index has a turnover and no volume.
        volatility: Of a day's own return; to it comes the market's return times *beta*.
        liquidity: Chance of a trade in an ordinary minute.
        silence: Chance of a day without trades.
        is_extended: Whether it trades in the morning, in the evening, and in weekend sessions.
        has_odd_lots: Whether some days have a row of the odd-lot board SMAL.
        halts: Spans of dates without trading, before splits.
        coupon: Of a bond, percent a year; prices are then percent of a face of 1,000 roubles.
    """

    codes: tuple[Code, ...]
    prices: tuple[float, float]
    turnover: float
    board: str = "TQBR"
    type: str = "common_share"
    decimals: int = 2
    eras: tuple[Era, ...] = (Era(),)
    volatility: float = 0.010
    beta: float = 1.0
    liquidity: float = 0.9
    silence: float = 0.0
    is_extended: bool = True
    has_odd_lots: bool = False
    halts: tuple[_Halt, ...] = ()
    coupon: float | None = None

    @property
    def key(self) -> str:
        """The first code, which names the issue."""
        return self.codes[0].secid

    @property
    def is_index(self) -> bool:
        """Whether it is an index, which has no volume."""
        return self.type == "stock_index"

    @property
    def roubles(self) -> float:
        """Roubles per security and point of price."""
        return float((10 if self.coupon is not None else 1) / 10**self.decimals)

    def era(self, date: dt.date) -> Era:
        """Return how the issue trades on *date*."""
        return next(era for era in reversed(self.eras) if era.first <= date or era is self.eras[0])

    def code(self, secid: str) -> Code:
        """Return the code called *secid*."""
        return next(code for code in self.codes if code.secid == secid)


def _date(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


ISSUES = (
    Issue(
        (Code("SBER", "Сбербанк", "Сбербанк России ПАО ао", "Sberbank", "RU0009029540"),),
        (135, 305),
        turnover=14e9,
        liquidity=0.995,
    ),
    Issue(
        (Code("GAZP", "ГАЗПРОМ ао", '"Газпром" (ПАО) ао', "Gazprom", "RU0007661625"),),
        (145, 118),
        turnover=8e9,
        eras=(Era(lot=10),),
        liquidity=0.99,
        has_odd_lots=True,
    ),
    Issue(
        (Code("LKOH", "ЛУКОЙЛ", "НК ЛУКОЙЛ (ПАО) - ао", "LUKOIL", "RU0009024277"),),
        (2650, 6150),
        turnover=6e9,
        eras=(Era(tick=50),),
        liquidity=0.98,
    ),
    Issue(
        (Code("GMKN", "ГМКНорНик", "ГМК Нор.Никель ПАО ао", "GMKNorNickel", "RU0007288411"),),
        (88, 129),
        turnover=3e9,
        eras=(Era(tick=200, ratio=100), Era(_date("2024-04-08"), lot=10, tick=2)),
        liquidity=0.95,
        halts=((_date("2024-04-02"), _date("2024-04-05")),),
    ),
    Issue(
        (Code("VTBR", "ВТБ ао", "ао ПАО Банк ВТБ", "VTB", "RU000A0JP5V6"),),
        (340, 74),
        turnover=3e9,
        decimals=6,
        eras=(Era(lot=10_000, tick=5, ratio=1 / 5000), Era(_date("2024-07-15"), tick=5000)),
        liquidity=0.95,
        has_odd_lots=True,
        halts=((_date("2024-07-09"), _date("2024-07-12")),),
    ),
    Issue(
        (
            Code(
                "TCSG",
                "ТКСХолд ао",
                "МКПАО ТКС Холдинг",
                "TCS Holding",
                "RU000A107UL4",
                first=_date("2019-10-28"),
                last=_date("2024-11-27"),
            ),
            Code("T", "Т-Техно ао", "Т-Технологии МКПАО ао", "T-Technologies", "RU000A107UL4", _date("2024-11-28")),
        ),
        (119, 272),
        turnover=4e9,
        eras=(Era(_date("2019-10-28"), tick=20, ratio=10), Era(_date("2026-04-17"), tick=2)),
        liquidity=0.96,
        halts=((_date("2026-04-13"), _date("2026-04-16")),),
    ),
    # A company that moved home: another issue under another code, and no row in changeover.json
    Issue(
        (
            Code(
                "YNDX", "Yandex clA", "Yandex N.V. class A shs", "Yandex clA", "NL0009805522", last=_date("2024-06-14")
            ),
        ),
        (1400, 4080),
        turnover=3e9,
        eras=(Era(tick=20),),
        liquidity=0.95,
    ),
    Issue(
        (Code("YDEX", "ЯНДЕКС", "МКПАО ЯНДЕКС", "YANDEX", "RU000A107T19", _date("2024-07-24")),),
        (4000, 4300),
        turnover=3e9,
        eras=(Era(tick=50),),
        liquidity=0.96,
    ),
    Issue(
        (
            Code("ISKJ", "ИСКЧ ао", "ПАО ИСКЧ ао", "ISKCH", "RU000A0JNAB6", last=_date("2023-08-16")),
            Code("ABIO", "АРТГЕН ао", "ПАО Артген ао", "Artgen", "RU000A0JNAB6", _date("2023-08-17")),
        ),
        (9, 72),
        turnover=6e7,
        eras=(Era(lot=10, tick=2),),
        volatility=0.022,
        beta=0.6,
        liquidity=0.35,
        is_extended=False,
    ),
    Issue(
        (Code("MOEX", "МосБиржа", "ПАО Московская Биржа", "MoscowExchange", "RU000A0JR4A1"),),
        (112, 172),
        turnover=1.5e9,
        eras=(Era(lot=10),),
        liquidity=0.93,
        has_odd_lots=True,
    ),
    Issue(
        (Code("ROSN", "Роснефть", "ПАО НК Роснефть", "Rosneft", "RU000A0J2Q06"),),
        (325, 415),
        turnover=3e9,
        eras=(Era(tick=5),),
        liquidity=0.95,
    ),
    Issue(
        (Code("NVTK", "Новатэк ао", 'ао ПАО "НОВАТЭК"', "Novatek", "RU000A0DKVS5"),),
        (640, 1180),
        turnover=2e9,
        eras=(Era(tick=10),),
        liquidity=0.93,
    ),
    Issue(
        (Code("MGNT", "Магнит ао", '"Магнит" ПАО ао', "Magnit", "RU000A0JKQU8"),),
        (9100, 3150),
        turnover=1.5e9,
        eras=(Era(tick=50),),
        liquidity=0.9,
    ),
    Issue(
        (Code("PLZL", "Полюс", 'ПАО "Полюс"', "Polus", "RU000A0JNAA8"),),
        (460, 2150),
        turnover=2.5e9,
        eras=(Era(tick=50, ratio=10), Era(_date("2025-03-27"), tick=20)),
        liquidity=0.92,
        halts=((_date("2025-03-24"), _date("2025-03-26")),),
    ),
    # Seven more shares for each in 2024: the price falls to an eighth, and splits.json does not say so
    Issue(
        (Code("BELU", "НоваБев ао", "ПАО НоваБев Групп", "NovaBev Group", "RU000A0HL5M1"),),
        (52, 410),
        turnover=2e8,
        eras=(Era(tick=100, ratio=8), Era(_date("2024-08-20"), tick=20)),
        volatility=0.017,
        liquidity=0.6,
        is_extended=False,
    ),
    Issue(
        (Code("NKSH", "НКШ ао", "ПАО Нижнекамскшина ао", "Nizhnekamskshina", None),),
        (39, 31),
        turnover=2.5e5,
        eras=(Era(lot=10, tick=50),),
        volatility=0.02,
        beta=0.3,
        liquidity=0.012,
        silence=0.35,
        is_extended=False,
    ),
    Issue(
        (Code("GLRX", "ГЛОРАКС", "ПАО ГЛОРАКС ао", "GloraX", None, _date("2025-10-31")),),
        (64, 57),
        turnover=1.2e8,
        eras=(Era(_date("2025-10-31"), lot=10, tick=2),),
        volatility=0.02,
        liquidity=0.5,
        is_extended=False,
    ),
    Issue(
        (Code("IMOEX", "Индекс МосБиржи", "Индекс МосБиржи", "MOEX Russia Index", "RU000A0JP7K5"),),
        (1890, 2760),
        turnover=6e10,
        board="SNDX",
        type="stock_index",
        volatility=0.0005,
        liquidity=1.0,
        is_extended=False,
    ),
    Issue(
        (Code("EQMX", "EQMX ETF", 'БПИФ "Индекс МосБиржи"', "Index MOEX ETF", "RU000A101EJ5", _date("2020-01-29")),),
        (100, 136),
        turnover=4e7,
        board="TQTF",
        type="exchange_ppif",
        eras=(Era(_date("2020-01-29"), tick=5),),
        volatility=0.001,
        liquidity=0.75,
        is_extended=False,
    ),
    Issue(
        (Code("SU26238RMFS4", "ОФЗ 26238", "ОФЗ-ПД 26238", "OFZ-PD 26238", "RU000A1038V6", first=_date("2021-06-16")),),
        (100, 61),
        turnover=9e8,
        board="TQOB",
        type="ofz_bond",
        decimals=3,
        eras=(Era(_date("2021-06-16")),),
        volatility=0.004,
        beta=0.05,
        liquidity=0.7,
        is_extended=False,
        coupon=7.1,
    ),
)
ISSUE_BY_SECID = {code.secid: issue for issue in ISSUES for code in issue.codes}

SPLITS = (
    ("2024-04-08", "GMKN", 1, 100),
    ("2024-07-15", "VTBR", 5000, 1),
    ("2025-03-27", "PLZL", 1, 10),
    ("2026-04-17", "T", 1, 10),
)
# Date of the last day under the old code (docs/iss.md section 7), old and new code
RENAMES = (("2023-08-16", "ISKJ", "ABIO"), ("2024-11-27", "TCSG", "T"))

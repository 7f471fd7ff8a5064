"""The exchange's tables that are not prices: its index, cards of securities, calendars, splits, changes of codes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from lakehouse.simulator.answer import Block, columns
from lakehouse.simulator.clock import to_seconds
from lakehouse.simulator.periods import INTERVALS
from lakehouse.simulator.query import Query
from lakehouse.simulator.security import BOARDS, ENGINE, MARKET_IDS, Board, CalendarDay, Rename, Security, Split

_ENGINE_TITLE = "Фондовый рынок и рынок депозитов"
_MARKET_TITLES = {"shares": "Рынок акций", "bonds": "Рынок облигаций", "index": "Индексы фондового рынка"}
_GROUPS = {
    6: ("stock_shares", "Т0: Основной режим"),
    9: ("stock_index", "Индексы"),
    21: ("stock_shares_sm", "Неполные лоты"),
    57: ("stock_shares_tplus", "Т+: Основной режим"),
    58: ("stock_bonds_tplus", "Т+: Основной режим - облигации"),
}
_MAIN_GROUPS = (9, 57, 58)
# Type of security, its title, and its group
_TYPES = {
    "common_share": ("Акция обыкновенная", "stock_shares", "Акции"),
    "exchange_ppif": ("Биржевой ПИФ", "stock_ppif", "Паи ПИФов"),
    "ofz_bond": ("ОФЗ", "stock_bonds", "Облигации"),
    "stock_index": ("Индекс фондового рынка", "stock_index", "Индексы"),
}
_DURATIONS = {
    1: (60, "минута"),
    10: (600, "10 минут"),
    60: (3600, "час"),
    24: (86_400, "день"),
    7: (604_800, "неделя"),
    31: (2_678_400, "месяц"),
    4: (8_035_200, "квартал"),
}

_ENGINES = columns("id:int32 name:string:45 title:string:765")
_MARKETS = columns(
    "id:int32 trade_engine_id:int32 trade_engine_name:string:45 trade_engine_title:string:765 market_name:string:45 "
    "market_title:string:765 market_id:int32"
)
_BOARDS = columns(
    "id:int32 board_group_id:int32 engine_id:int32 market_id:int32 boardid:string:12 board_title:string:381 "
    "is_traded:int32 has_candles:int32 is_primary:int32"
)
_BOARD_GROUPS = columns(
    "id:int32 trade_engine_id:int32 trade_engine_name:string:45 market_id:int32 market_name:string:45 name:string:192 "
    "title:string:765 is_default:int32 is_traded:int32"
)
_DURATION_COLUMNS = columns("interval:int32 duration:int32 title:string:765")
_TYPE_COLUMNS = columns(
    "id:int32 trade_engine_id:int32 trade_engine_name:string:45 security_type_name:string:93 "
    "security_type_title:string:765 security_group_name:string:93"
)
_SECURITY_GROUPS = columns("id:int32 name:string:93 title:string:765 is_hidden:int32")
_COLLECTIONS = columns("id:int32 name:string:96 title:string:765 security_group_id:int32")
_DESCRIPTION = columns(
    "name:string:96 title:string:765 value:string:1536 type:string:32 sort_order:int32 is_hidden:int32 precision:int32"
)
_CARD_BOARDS = columns(
    "secid:string:36 boardid:string:12 title:string:381 board_group_id:int32 market_id:int32 market:string:45 "
    "engine_id:int32 engine:string:45 is_traded:int32 decimals:int32 history_from:date history_till:date "
    "listed_from:date listed_till:date is_primary:int32 currencyid:string:9"
)
_ENGINE = columns("NAME:string:45 title:string:765")
_TIMETABLE = columns("week_day:int32 is_work_day:int32 start_time:time stop_time:time")
_DAILY_TABLE = columns("date:date is_work_day:int32 start_time:time stop_time:time")
_OFF_DAYS = columns("tradedate:date is_traded:int32 trade_session_date:date reason:string:3 updatetime:datetime")
_SPLITS = columns("tradedate:date secid:string:36 before:int32 after:int32")
_CHANGEOVER = columns("action_date:date old_secid:string:36 new_secid:string:36")
_HOURS = ("09:20:00", "23:50:00")


def index_blocks() -> list[Block]:
    """Return the index of what the exchange has."""
    groups = list(dict.fromkeys(group for _, group, _ in _TYPES.values()))
    titles = {group: title for _, group, title in _TYPES.values()}
    return [
        Block.of("engines", _ENGINES, [[1, ENGINE, _ENGINE_TITLE]]),
        Block.of(
            "markets",
            _MARKETS,
            [[id_, 1, ENGINE, _ENGINE_TITLE, name, _MARKET_TITLES[name], id_] for name, id_ in MARKET_IDS.items()],
        ),
        Block.of("boards", _BOARDS, [_index_board(board) for board in BOARDS.values()]),
        Block.of("boardgroups", _BOARD_GROUPS, [_board_group(id_) for id_ in _GROUPS]),
        Block.of("durations", _DURATION_COLUMNS, [[interval, *_DURATIONS[interval]] for interval in INTERVALS]),
        Block.of(
            "securitytypes",
            _TYPE_COLUMNS,
            [[id_, 1, ENGINE, name, title, group] for id_, (name, (title, group, _)) in enumerate(_TYPES.items(), 1)],
        ),
        Block.of(
            "securitygroups",
            _SECURITY_GROUPS,
            [[id_, name, titles[name], 0] for id_, name in enumerate(groups, 1)],
        ),
        Block.of(
            "securitycollections",
            _COLLECTIONS,
            [[id_, f"{name}_all", titles[name], id_] for id_, name in enumerate(groups, 1)],
        ),
    ]


def _index_board(board: Board) -> list[Any]:
    place = [board.board_id, board.group_id, 1, MARKET_IDS[board.market]]
    return [*place, board.board, board.title, int(board.is_traded), 1, int(board.group_id in _MAIN_GROUPS)]


def _board_group(id_: int) -> list[Any]:
    boards = [board for board in BOARDS.values() if board.group_id == id_]
    market = boards[0].market
    flags = [int(id_ in _MAIN_GROUPS), int(any(board.is_traded for board in boards))]
    return [id_, 1, ENGINE, MARKET_IDS[market], market, *_GROUPS[id_], *flags]


def card_blocks(security: Security | None) -> list[Block]:
    """Return a security's description and boards; both are empty for a code that the exchange does not know."""
    if security is None:
        return [Block.of("description", _DESCRIPTION, []), Block.of("boards", _CARD_BOARDS, [])]
    title, group, group_title = _TYPES[security.type]
    issued = min((listing.history_from for listing in security.listings if listing.history_from), default=None)
    facts = [
        ("SECID", "Код ценной бумаги", security.secid, "string"),
        ("NAME", "Полное наименование", security.name, "string"),
        ("SHORTNAME", "Краткое наименование", security.shortname, "string"),
        ("ISIN", "ISIN код", security.isin, "string"),
        ("FACEVALUE", "Номинальная стоимость", None if security.face is None else f"{security.face:g}", "number"),
        ("FACEUNIT", "Валюта номинала", None if security.type == "stock_index" else "SUR", "string"),
        ("CURRENCYID", "Валюта расчета", "RUB" if security.type == "stock_index" else None, "string"),
        ("ISSUEDATE", "Дата начала торгов", _iso(issued), "date"),
        ("LATNAME", "Английское наименование", security.latname, "string"),
        ("TYPENAME", "Вид/категория ценной бумаги", title, "string"),
        ("GROUP", "Код типа инструмента", group, "string"),
        ("TYPE", "Тип бумаги", security.type, "string"),
        ("GROUPNAME", "Типа инструмента", group_title, "string"),
    ]
    description = [[*fact, order, 0, None] for order, fact in enumerate(facts, 1) if fact[2] is not None]
    return [
        Block.of("description", _DESCRIPTION, description),
        Block.of("boards", _CARD_BOARDS, _card_boards(security)),
    ]


def _card_boards(security: Security) -> list[list[Any]]:
    rows = []
    for listing in security.listings:
        board, dates = listing.board, [_iso(listing.history_from), _iso(listing.history_till)]
        place = [board.group_id, MARKET_IDS[board.market], board.market, 1, ENGINE]
        flags = [int(listing.is_traded), security.decimals]
        names = [security.secid, board.board, board.title]
        rows.append([*names, *place, *flags, *dates, *dates, int(listing.is_primary), "RUB"])
    return rows


def timetable_blocks(calendar: Sequence[CalendarDay], today: dt.date) -> list[Block]:
    """Return the working days of the week, and this and next year's exceptions: as the exchange, not the past ones."""
    week = [[day, int(day <= 5), *_HOURS] for day in range(1, 8)]
    exceptions = [
        [_iso(day.date), int(day.has_history), *_HOURS]
        for day in calendar
        if today.year <= day.date.year <= today.year + 1 and day.has_history != (day.date.isoweekday() <= 5)
    ]
    return [
        Block.of("engine", _ENGINE, [[ENGINE, _ENGINE_TITLE]]),
        Block.of("timetable", _TIMETABLE, week),
        Block.of("dailytable", _DAILY_TABLE, exceptions),
    ]


def calendar_blocks(calendar: Sequence[CalendarDay], query: Query) -> list[Block]:
    """Return the days without ordinary trading, or all days, of a span."""
    rows = [
        [_iso(day.date), int(day.is_traded), _iso(day.session_date), day.reason, f"{day.date} 00:00:00"]
        for day in calendar
        if query.begins_from <= to_seconds(day.date) <= query.begins_till
        and (query.shows_all_days or not (day.is_traded and day.reason == "N"))
    ]
    return [Block.of("off_days", _OFF_DAYS, rows)]


def split_blocks(splits: Sequence[Split], today: dt.date, secid: str | None) -> list[Block]:
    """Return the splits up to *today*, of one code or of all."""
    rows = [
        [_iso(split.date), split.secid, split.before, split.after]
        for split in splits
        if split.date <= today and secid in (None, split.secid)
    ]
    return [Block.of("splits", _SPLITS, rows)]


def changeover_blocks(renames: Sequence[Rename], today: dt.date) -> list[Block]:
    """Return the changes of codes up to *today*."""
    rows = [[_iso(rename.date), rename.old_secid, rename.new_secid] for rename in renames if rename.date <= today]
    return [Block.of("changeover", _CHANGEOVER, rows)]


def _iso(date: dt.date | None) -> str | None:
    return None if date is None else date.isoformat()

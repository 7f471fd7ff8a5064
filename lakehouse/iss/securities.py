"""A security's card: what it is, and on which boards it trades."""

from __future__ import annotations

from lakehouse.iss.answer import Answer
from lakehouse.iss.blocks import read_block
from lakehouse.iss.client import IssClient
from lakehouse.iss.pages import segment

CARD = {
    "description": ("name", "value"),
    "boards": (
        "secid",
        "boardid",
        "market",
        "engine",
        "is_traded",
        "is_primary",
        "decimals",
        "history_from",
        "history_till",
    ),
}


async def fetch_security(client: IssClient, secid: str) -> Answer:
    """
    Fetch the card of *secid*. The exchange answers 200 and empty blocks for a code it does not know.

    Source:
        https://iss.moex.com/iss/reference/13
    """
    answer = await client.get(f"/securities/{segment(secid)}.json", {"iss.only": ",".join(CARD)})
    for name, columns in CARD.items():
        read_block(answer, name, columns)
    return answer

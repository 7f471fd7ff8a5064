"""What a client has is not sent again while the data are the same: ETag and 304 of candles and instruments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.serving.publish import publish_gold
from tests.functions_api import Api, served_functions
from tests.gold_lake import GoldLake, fact, instrument
from tests.hostile_requests import Hostile

pytestmark = pytest.mark.postgres
TARGETS = ("/v1/candles?secid=SBER", "/v1/candles?secid=SBER&format=csv", "/v1/instruments", "/v1/instruments?q=sber")


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> GoldLake:
    """Gold with ten days of one instrument."""
    lake = GoldLake(tmp_path_factory.mktemp("gold"))
    lake.create([fact(1, at, 100.0) for at in range(10)], [instrument(1, "SBER")])
    return lake


@pytest.fixture(scope="module")
def api(postgres: EmbeddedPostgres, gold: GoldLake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The functions over that."""
    with served_functions(postgres, tmp_path_factory.mktemp("etag")) as found:
        publish_gold(found.dsn, gold.lake)
        yield found


def ask(api: Api, target: str, known: str = "", role: str = "viewer") -> tuple[int, dict[str, str], bytes]:
    headers = (b"If-None-Match: " + known.encode(),) if known else ()
    return api.ask_whole(Hostile("GET", target.encode(), 200, "", role=role, headers=headers))


@pytest.mark.parametrize("target", TARGETS)
def test_what_the_client_has_is_not_sent_again(api: Api, target: str) -> None:
    """Whichever way it names the tag; caches of others keep nothing."""
    status, headers, body = ask(api, target)
    tag = headers["etag"]
    assert (status, tag[:3], bool(body)) == (200, 'W/"', True)
    assert (headers["cache-control"], headers["vary"]) == ("private, no-cache", "Authorization, Cookie")
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        status, headers, body = ask(api, target, known)
        assert (status, headers["etag"], body) == (304, tag, b"")
        assert headers["cache-control"] == "private, no-cache"
        assert not {"content-type", "content-length"} & set(headers)
    assert ask(api, target, '"other"')[0] == 200


def test_who_may_not_ask_is_told_nothing(api: Api) -> None:
    """Not even that what they know is of the present data; and a refusal carries no tag."""
    tag = ask(api, TARGETS[0])[1]["etag"]
    assert ask(api, TARGETS[0], tag, role="")[0] == 401
    status, headers, _ = ask(api, "/v1/candles?secid=NOPE")
    assert (status, "etag" in headers) == (400, False)


@pytest.mark.parametrize("target", TARGETS[:1])
def test_what_was_published_since_is_sent(api: Api, gold: GoldLake, target: str) -> None:
    """The tag of the former data fits no more; a publication that changes nothing leaves it."""
    before = ask(api, target)[1]["etag"]
    publish_gold(api.dsn, gold.lake)
    assert ask(api, target, before)[0] == 304
    gold.put(fact(1, 10, 111.0))
    publish_gold(api.dsn, gold.lake)
    status, headers, body = ask(api, target, before)
    document: Any = json.loads(body)
    assert (status, headers["etag"] != before, len(document["rows"])) == (200, True, 11)


def test_a_list_that_is_cut_off_says_so(api: Api) -> None:
    """Where there are more instruments than were asked for; a limit beyond what is given is refused."""
    added = "INSERT INTO gold.dim_instrument SELECT (jsonb_populate_record(i, %s)).* FROM gold.dim_instrument i LIMIT 1"
    api.conn.execute(added, (json.dumps({"instrument_id": 2, "secid": "SBERP", "secids": "SBERP"}),))
    for limit, secids, more in ((1, ["SBER"], True), (2, ["SBER", "SBERP"], False)):
        said = json.loads(ask(api, f"/v1/instruments?q=sber&limit={limit}")[2])
        assert ([row["secid"] for row in said["instruments"]], said["more"]) == (secids, more)
    assert [ask(api, f"/v1/instruments?limit={wrong}")[0] for wrong in ("0", "10001", "x")] == [400] * 3

"""Poison in what comes back: figures, tables, texts, errors, and documents that the program writes itself."""

from __future__ import annotations

import re
from collections.abc import Callable

from lakehouse.sandbox.host import Outcome
from tests.attacks import Attack, shown

_LIVE = re.compile(
    r"javascript:|<script|<img|<[^>]*onerror=|https?://|//evil|data:text|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]",
    re.I,
)


def _figure(name: str, figure: str, raw: bytes) -> Attack:
    return Attack(f"draw {name}", f"show({figure})\nraise SystemExit", got_out=_is_live, raw=raw)


def _is_live(outcome: Outcome) -> bool:
    """Out is what a browser would act on."""
    return _LIVE.search(shown(outcome)) is not None


def _forged(name: str, document: str, got_out: Callable[[Outcome], bool] | None = None, unsafe: str = "") -> Attack:
    """A document that the program writes to the pipe itself, and then ends at once."""
    code = f"data = {document}\nwhile data: data = data[os.write(pipe(), data):]\nos._exit(0)"
    return Attack(f"forge {name}", code, unsafe, got_out=got_out or _is_believed, raw=b"FORGED")


def _is_believed(outcome: Outcome) -> bool:
    return outcome.status in ("done", "error") and "FORGED" in shown(outcome)


_HEAD = 'b\'{"v":1,"status":"done","error":null,"items":[{"kind":"text","stream":"out","text":"FORGED"}'

ATTACKS = [
    _figure(
        "a link that runs",
        "go.Figure(go.Scatter(x=[1], y=[1], text=['<a href=\"javascript:alert(1)\">x</a>']))",
        b"javascript:",
    ),
    _figure("a script in the title", "px.scatter(x=[1], y=[1], title='<script>alert(1)</script>')", b"alert(1)"),
    _figure("a picture that tells", "go.Figure().update_layout(title='<img src=x onerror=alert(1)>')", b"onerror"),
    _figure(
        "a picture from elsewhere", "go.Figure().add_layout_image(source='https://evil.example/x.png')", b"evil.example"
    ),
    _figure(
        "a map from elsewhere",
        "go.Figure(go.Scattermap(lat=[1], lon=[1])).update_layout(map_style='https://evil.example/s.json')",
        b"evil.example",
    ),
    _figure(
        "borders from elsewhere",
        "go.Figure(go.Choropleth(geojson='https://evil.example/g.json', locations=['a'], z=[1]))",
        b"evil.example",
    ),
    _figure("an image of data", "go.Figure(go.Image(source='data:text/html,<script>alert(1)</script>'))", b"data:text"),
    _figure(
        "hovering that links",
        "go.Figure(go.Bar(x=[1], y=[1], hovertemplate='<a href=\"//evil.example\">%{y}</a>'))",
        b"evil.example",
    ),
    _figure("names that turn round", "go.Figure(go.Bar(x=[1], y=[1], name='\\u202egnp.exe'))", "\u202e".encode()),
    Attack(
        "print colours and bells",
        "print('\\x1b[31mred\\x1b[0m\\x07 \\x9b2J')\nraise SystemExit",
        got_out=_is_live,
        raw=b"\\u001b",
    ),
    Attack(
        "print a link of the terminal",
        "print('\\x1b]8;;http://evil.example\\x07x')\nraise SystemExit",
        got_out=lambda o: "\x1b" in shown(o),
        raw=b"\\u001b",
    ),
    Attack(
        "print what turns round",
        "print('abc\\u202edef\\u2066')\nraise SystemExit",
        got_out=_is_live,
        raw="\u202e".encode(),
    ),
    Attack(
        "print halves of characters",
        "print('\\ud800\\x00')\nraise SystemExit",
        got_out=lambda o: o.status != "done" or _is_live(o),
        raw=b"\\u0000",
    ),
    Attack(
        "name an error in colours",
        "class E(Exception): pass\nE.__name__ = E.__qualname__ = '\\x1b[31mE'\nraise E('\\x1b[2J\\u202e')",
        got_out=_is_live,
        raw=b"\\u001b",
    ),
    Attack(
        "name a column in colours",
        "show(pd.DataFrame({'\\x1b[31m': ['\\u202ex']}))\nraise SystemExit",
        got_out=_is_live,
        raw=b"\\u001b",
    ),
    Attack(
        "name a series in colours",
        "show(pd.Series([1], name='\\x1b[31m'))\nraise SystemExit",
        got_out=_is_live,
        raw=b"\\u001b",
    ),
    _forged("half a document", _HEAD + "'"),
    _forged("another version", _HEAD.replace('"v":1', '"v":2') + "]}'"),
    _forged("an outcome", _HEAD.replace('"done"', '"granted"') + "]}'"),
    _forged("a key twice", _HEAD + '],"status":"done"}\''),
    _forged("two documents", _HEAD + "]}' * 2"),
    _forged("a number that is none", _HEAD + '],"x":NaN}x\''),
    _forged("bytes that are no text", _HEAD + "]}\\xff'"),
    _forged("depth", _HEAD + ",' + b'[' * 100000 + b']' * 100000 + b']}'"),
    _forged("more than fits", _HEAD + "]}' + b' ' * (9 << 20)", unsafe="the runner bounds it, walls or not"),
    _forged(
        "a text that is a list",
        'b\'{"v":1,"status":"done","error":null,"items":[{"kind":"text","stream":"out","text":["FORGED"]}]}\'',
    ),
    _forged(
        "a trace of no known kind",
        'b\'{"v":1,"status":"done","error":null,"items":[{"kind":"figure","json":{"data":[{"type":"FORGED"}],"layout":{}}}]}\'',
        lambda o: any(type(i).__name__ == "Figure" for i in o.items),
    ),
    _forged(
        "a figure of many",
        'b\'{"v":1,"status":"done","error":null,"items":[{"kind":"figure","json":{"data":[\' + b\',\'.join('
        '[b\'{"type":"bar","name":"FORGED"}\'] * 50000) + b\'],"layout":{}}}]}\'',
        lambda o: any(type(i).__name__ == "Figure" for i in o.items),
    ),
    Attack(
        "forge the end of memory",
        "os._exit(101)",
        "walls or not, a program may lie about itself",
        got_out=lambda outcome: outcome.status != "memory" or bool(outcome.items),
    ),
    Attack("end with another code", "os._exit(0)", got_out=lambda o: o.status == "done" and o.message is None, raw=b""),
    Attack(
        "run what a pickle says",
        "import pickle\nclass P:\n    def __reduce__(self): return os.system, ('true',)\nif "
        "pickle.loads(pickle.dumps(P())): raise OSError",
    ),
    Attack(
        "run what an array's file says",
        "import io\nclass P:\n    def __reduce__(self): return os.listdir, ('/etc',)\nb = "
        "io.BytesIO()\nnp.save(b, np.array([P()], dtype=object), allow_pickle=True)\nb.seek(0); "
        "np.load(b, allow_pickle=True)",
    ),
    Attack("run what a frame's query says", "pd.DataFrame({'a': [1]}).query('a in @os.listdir(\"/etc\")')"),
]

"""Programs that analysts write work: every library on offer, within the limits."""

from __future__ import annotations

import pytest

from lakehouse.sandbox.document import Figure, TableItem
from lakehouse.sandbox.host import Sandbox
from tests.sandboxes import PATIENT, arrow_file, printed

# Program by what it does; each prints or shows what the second part says
HONEST = {
    "text": ("print('Сбербанк', 1 + 1)", "Сбербанк 2\n"),
    "the last value": ("len(df)", "2000\n"),
    "columns": (
        "print(list(df.columns))",
        "['secid', 'begin_at', 'open', 'high', 'low', 'close', 'value', 'volume']\n",
    ),
    "rows by ticker": ("print({name: len(frame) for name, frame in dfs.items()})", "{'SBER': 1000, 'GAZP': 1000}\n"),
    "a frame that is changed": ("df['x'] = df.close * 2\ndf.loc[0, 'close'] = 1.0\nprint(df.close[0])", "1.0\n"),
    "a frame that is changed in place": ("df.close *= 0\nprint(df.close.sum())", "0.0\n"),
    "pandas: group by": (
        "print(df.groupby('secid', observed=True).volume.count().to_dict())",
        "{'GAZP': 1000, 'SBER': 1000}\n",
    ),
    "pandas: resample": ("print(len(dfs['SBER'].set_index('begin_at').close.resample('1h').ohlc()))", "17\n"),
    "pandas: Moscow time": ("print(df.begin_at.dt.tz_convert('Europe/Moscow').dt.hour.iloc[0])", "10\n"),
    "pandas: rolling": ("print(df.close.rolling(20).std().notna().sum())", "1981\n"),
    "pandas: pivot": (
        "p = df.pivot_table(index='begin_at', columns='secid', values='close', observed=True)\nprint(p.shape)",
        "(2000, 2)\n",
    ),
    "pandas: query and eval": ("print(len(df.query('close > 0')))", "2000\n"),
    "pandas: CSV in memory": ("import io\nprint(len(pd.read_csv(io.StringIO(df.to_csv()))))", "2000\n"),
    "numpy: linear algebra": ("print(np.linalg.solve(np.eye(3) * 2, np.ones(3)))", "[0.5 0.5 0.5]\n"),
    "numpy: random numbers": ("print(np.random.default_rng(1).normal(size=3).shape)", "(3,)\n"),
    "numpy: a large product": ("a = np.ones((1000, 1000))\nprint((a @ a)[0, 0])", "1000.0\n"),
    "talib: averages": ("print(round(talib.SMA(np.arange(5.0), 3)[-1], 6))", "3.0\n"),
    "talib: indicators": (
        "print(len(talib.RSI(df.close.to_numpy())), len(talib.MACD(df.close.to_numpy())))",
        "2000 3\n",
    ),
    "scipy: statistics": ("from scipy import stats\nprint(round(stats.norm.ppf(0.975), 4))", "1.96\n"),
    "scipy: optimisation": (
        "from scipy.optimize import minimize\nprint(round(minimize(lambda x: (x[0] - 3) ** 2, [0]).x[0], 3))",
        "3.0\n",
    ),
    "scipy: signals": ("from scipy.signal import find_peaks\nprint(find_peaks([0, 1, 0, 2, 0])[0])", "[1 3]\n"),
    "scipy: a part loaded when used": ("import scipy.spatial.distance as d\nprint(d.euclidean([0], [3]))", "3.0\n"),
    "pyarrow: a table": ("import pyarrow as pa\nprint(pa.Table.from_pandas(df).num_rows)", "2000\n"),
    "pyarrow: Parquet in memory": (
        "import io\nb = io.BytesIO()\ndf.to_parquet(b)\nprint(len(pd.read_parquet(io.BytesIO(b.getvalue()))))",
        "2000\n",
    ),
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(4) as pool: print(sum(pool.map(lambda x: x * x, range(10))))",
        "285\n",
    ),
    "the standard library": (
        "import collections, datetime, decimal, heapq, itertools, json, re, sqlite3, statistics, zoneinfo\n"
        "print(sqlite3.connect(':memory:').execute('SELECT 45').fetchone()[0], zoneinfo.ZoneInfo('Europe/Moscow'))",
        "45 Europe/Moscow\n",
    ),
    "classes and pickles": (
        "import dataclasses, pickle\n@dataclasses.dataclass\nclass P:\n    x: int\n"
        "print(pickle.loads(pickle.dumps(P(4))))",
        "P(x=4)\n",
    ),
    "an exception that is caught": ("try: 1 / 0\nexcept ZeroDivisionError as e: print(e)", "division by zero\n"),
    "an early end": ("print(1)\nimport sys\nsys.exit()\nprint(2)", "1\n"),
}
FIGURES = {
    "lines": "px.line(df, x='begin_at', y='close', color='secid')",
    "candles": "go.Figure(go.Candlestick(x=df.begin_at, open=df.open, high=df.high, low=df.low, close=df.close))",
    "a histogram": "px.histogram(df.close.pct_change(), nbins=50)",
    "a heat map": "px.imshow(df[['open', 'high', 'low', 'close']].corr(), text_auto=True)",
    "subplots": (
        "from plotly.subplots import make_subplots\nf = make_subplots(rows=2)\n"
        "f.add_scatter(y=df.close, row=1, col=1)\nf"
    ),
    "a distribution": "px.violin(df, x='secid', y='close')",
}


@pytest.fixture(scope="module")
def frames() -> bytes:
    return arrow_file(2000)


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_program_works(sandbox: Sandbox, frames: bytes, name: str) -> None:
    """It prints what it would print anywhere."""
    code, expected = HONEST[name]
    outcome = sandbox.run(code, frames, user="anna", limits=PATIENT)
    assert (outcome.status, printed(outcome)) == ("done", expected), outcome


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn(sandbox: Sandbox, frames: bytes, name: str) -> None:
    """A figure as the last value comes back as one, with its data."""
    outcome = sandbox.run(FIGURES[name], frames, user="anna", limits=PATIENT)
    assert outcome.status == "done", outcome
    (figure,) = outcome.items
    assert isinstance(figure, Figure)
    assert figure.document["data"]


def test_a_table_comes_back_as_text(sandbox: Sandbox, frames: bytes) -> None:
    """The index is a column, what is missing is empty, and the first rows say how many there are."""
    code = "show(pd.DataFrame({'a': [1.5, None]}, index=pd.Index(['x', 'y'], name='k')))\ndf"
    outcome = sandbox.run(code, frames, user="anna", limits=PATIENT)
    small, large = outcome.items
    assert small == TableItem("", ("k", "a"), (("x", "1.5"), ("y", "")), 2)
    assert isinstance(large, TableItem)
    assert (large.row_count, len(large.rows)) == (2000, 2000)


def test_no_two_runs_draw_the_same_numbers(sandbox: Sandbox) -> None:
    """Children of one process have random numbers of their own."""
    code = "import random\nprint(random.random(), np.random.rand())"
    first, second = (printed(sandbox.run(code, b"", user="anna", limits=PATIENT)) for _ in range(2))
    assert first != second

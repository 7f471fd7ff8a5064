"""
Which statements run on Spark: decided on Spark's own parse of the text, before anything is resolved or read.

What a plan may consist of is listed, so what Spark learns later is refused. Spark reads any file, calls any Java method
and runs any program that a text names, and fills in variables of the environment before it parses (`lock_down`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from py4j.java_gateway import JavaObject, is_instance_of
from py4j.protocol import Py4JJavaError
from pyspark.errors import ParseException, PySparkException

from lakehouse.serving.lake_sql.process import SqlRefused
from lakehouse.serving.lake_sql.views import VIEWS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

STATEMENT_CHARACTERS = 100_000
_MOST_NODES = 20_000  # a call to the JVM and more for each
_TOO_DEEP = "the statement is nested too deep to be checked: write it with WITH, or flatter"
_TAKEN = "a single SELECT, WITH, VALUES, TABLE, FROM, DESCRIBE, SHOW TABLES, SHOW COLUMNS or EXPLAIN statement is taken"
_PLANS = frozenset(
    {
        "Aggregate", "AsOfJoin", "Deduplicate", "Distinct", "Except", "Filter", "Generate", "GlobalLimit",
        "Intersect", "Join", "LateralJoin", "LocalLimit", "LocalRelation", "Offset", "OneRowRelation", "PipeOperator",
        "Pivot", "Project", "Range", "RepartitionByExpression", "Sample", "Sort", "SubqueryAlias", "Union", "Unpivot",
        "UnresolvedHaving", "UnresolvedHint", "UnresolvedInlineTable", "UnresolvedRelation",
        "UnresolvedSubqueryColumnAliases", "UnresolvedTVFAliases", "UnresolvedTableValuedFunction", "UnresolvedWith",
        "Window", "WithWindowDefinition",
    }
)  # fmt: skip
# Whole statements, and what only they hold
_STATEMENTS = frozenset({"DescribeQueryCommand", "DescribeRelation", "ExplainCommand", "ShowColumns", "ShowTables"})
_OF_STATEMENTS = frozenset({"CurrentNamespace", "UnresolvedNamespace", "UnresolvedTableOrView"})
TABLE_FUNCTIONS = frozenset(
    {
        "explode",
        "explode_outer",
        "inline",
        "inline_outer",
        "json_tuple",
        "posexplode",
        "posexplode_outer",
        "range",
        "stack",
    }
)
# They call Java, read files that they name or are asked about, or parse what may name files (schemas, entities)
_FUNCTIONS_REFUSED = re.compile(
    r"reflect|try_reflect|java_method|python_.*|input_file_.*|xpath.*|.*xml|.*avro|.*protobuf|table_changes.*"
)
_PLACE = re.compile(r"line (\d+),? pos (\d+)")
_CONTEXT = re.compile(r"== SQL \(line (\d+), position (\d+)\)")  # of what failed while it ran, from 1
_NAMES = frozenset(view.name for view in VIEWS)


def lock_down(session: SparkSession) -> None:
    """Switch off what a text could do before it is parsed, and what a wrong check would let it do after."""
    session.conf.set("spark.sql.variable.substitute", "false")  # ${env:HOME}
    session.conf.set("spark.sql.runSQLOnFiles", "false")  # parquet.`/etc`


def tables_named(session: SparkSession, text: str) -> set[str] | None:
    """
    Return the names, in small letters, of the tables that a statement reads; None if it lists tables (SHOW TABLES).

    Names of CTEs are among those returned.

    Raises:
        SqlRefused: for anything but one read-only statement over the lake's tables.
    """
    if len(text) > STATEMENT_CHARACTERS:
        raise SqlRefused(f"the statement has {len(text):,} characters; {STATEMENT_CHARACTERS:,} are taken")
    names: set[str] = set()
    plan = _parse(session, text)
    for name, node in _nodes(session, plan):
        if name == "ExpressionWithUnresolvedIdentifier":
            raise SqlRefused("IDENTIFIER(...) is refused: write the name itself")
        if name in ("UnresolvedFunction", "UnresolvedGenerator"):
            _check_function(node, name)
        elif name == "UnresolvedTableValuedFunction":
            _check_table_function(_texts(node.name())[-1])
        elif name in ("UnresolvedRelation", "UnresolvedTableOrView"):
            names.add(_table_of(_texts(node.multipartIdentifier())))
            if name == "UnresolvedRelation" and not node.options().isEmpty():
                raise SqlRefused("options of a table (WITH) are refused: the lake's tables are read as they are")
    return None if _simple(_class_of(plan)) == "ShowTables" else names


def spark_message(error: PySparkException) -> str:
    """Return what Spark says is wrong, in one line that begins with the place."""
    said = str(error).strip()
    found, ran = _PLACE.search(said), _CONTEXT.search(said)
    first = _PLACE.sub("", said.partition("\n")[0])
    first = re.sub(r" SQLSTATE: \w+| (If necessary|To return NULL instead).*", "", first).replace("()", "").strip(" ;")
    if found is not None:
        return f"line {found.group(1)}, column {int(found.group(2)) + 1}: {first}"
    return f"line {ran.group(1)}, column {ran.group(2)}: {first}" if ran is not None else first


def _parse(session: SparkSession, text: str) -> JavaObject:
    try:
        parser: Any = session._jsparkSession
        plan: JavaObject = parser.sessionState().sqlParser().parsePlan(text)
    except ParseException as error:
        raise SqlRefused(_TOO_DEEP if "TOO_COMPLEX" in str(error.getCondition()) else spark_message(error)) from error
    except Py4JJavaError as error:  # its stack was too small
        raise SqlRefused(_TOO_DEEP) from error
    name = _simple(_class_of(plan))
    if name not in _PLANS | _STATEMENTS:
        raise SqlRefused(f"{name} is refused: {_TAKEN}")
    return plan


def _nodes(session: SparkSession, plan: JavaObject) -> Iterator[tuple[str, JavaObject]]:
    """Yield each node of a plan, wherever it hides in another's fields, with its class; refuse plans not listed."""
    gateway = session.sparkContext._gateway
    kinds: dict[str, str] = {}  # by class, as each question is a call
    waiting: list[Any] = [plan]
    seen = 0
    while waiting:
        found = waiting.pop()
        if not isinstance(found, JavaObject):
            continue
        seen += 1
        if seen > _MOST_NODES:
            raise SqlRefused(f"the statement has more than {_MOST_NODES:,} parts: more than are checked")
        class_ = _class_of(found)
        kind = kinds.get(class_) or kinds.setdefault(class_, _kind(gateway, found, class_))
        if kind == "plan" and (name := _simple(class_)) not in _PLANS:
            is_part = name in _OF_STATEMENTS or (found is plan and name in _STATEMENTS)
            if not is_part:
                raise SqlRefused(f"{name} is refused: {_TAKEN}")
        if kind in ("plan", "node"):
            yield _simple(class_), found
        if kind in ("plan", "node", "product"):
            waiting.extend(found.productElement(at) for at in range(found.productArity()))
        elif kind == "collection":
            elements = found.iterator()
            while elements.hasNext():
                waiting.append(elements.next())


def _kind(gateway: Any, found: JavaObject, class_: str) -> str:
    for kind, type_ in (
        ("plan", "org.apache.spark.sql.catalyst.plans.logical.LogicalPlan"),
        ("node", "org.apache.spark.sql.catalyst.trees.TreeNode"),
        ("product", "scala.Product"),
        ("collection", "scala.collection.Iterable"),
    ):
        if is_instance_of(gateway, found, type_):
            return kind
    return "leaf"


def _check_function(node: JavaObject, class_: str) -> None:
    name = (_texts(node.nameParts())[-1] if class_ == "UnresolvedFunction" else str(node.name().funcName())).lower()
    if class_ == "UnresolvedGenerator":
        _check_table_function(name)
    if _FUNCTIONS_REFUSED.fullmatch(name):
        raise SqlRefused(f"the function {name} is refused: it reaches beyond the lake's tables")


def _check_table_function(name: str) -> None:
    if name.lower() not in TABLE_FUNCTIONS:
        raise SqlRefused(
            f"the table function {name.lower()} is refused: the lake's tables are there by name, and of functions "
            + ", ".join(sorted(TABLE_FUNCTIONS))
        )


def _table_of(parts: list[str]) -> str:
    """Return the bare name of a table, which stands alone or in a schema of the lake."""
    lower = [part.lower() for part in parts]
    within = lower[1:] if lower[0] == "spark_catalog" else lower
    if len(within) > 1 and ".".join(within) not in _NAMES:
        shown = ".".join(parts)[:80]
        raise SqlRefused(f"{shown} is no table of the lake: SHOW TABLES IN silver lists them, and no file is read")
    return within[-1]


def _texts(parts: JavaObject) -> list[str]:
    return [str(parts.apply(at)) for at in range(parts.size())]


def _class_of(found: JavaObject) -> str:
    return str(found.getClass().getName())


def _simple(class_: str) -> str:
    return class_.rpartition(".")[2].rstrip("$")

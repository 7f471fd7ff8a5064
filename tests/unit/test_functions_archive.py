from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from infra.aws.archive import weight_by_package, write_archive
from infra.aws.own import entry, handler_names, imported_packages, own_files
from infra.aws.package import MB, Imported, import_handlers, wrong_contents, wrong_imports, wrong_sizes
from infra.aws.third_party import FUNCTIONS_LOCK, check_wheels, too_new
from infra.check_lock import other_versions, parse_pins
from infra.installing.report import SetupFailed

# The schedulers of a Dask cluster, which no function has; where AWS has these, nobody locks them
NOT_PACKED = {"distributed", "boto3", "botocore"}


def locked() -> set[str]:
    return {pin.name for pin in parse_pins(FUNCTIONS_LOCK.read_text(encoding="utf-8"))}


def test_all_that_the_handlers_import_is_locked() -> None:
    """Late imports too: a function that lacks a package fails when it is called, not when it is deployed."""
    distributions = packages_distributions()
    wanted = {
        canonicalize_name(name)
        for module in imported_packages() - NOT_PACKED
        for name in distributions.get(module, [])  # what none has is the standard library's
    }
    assert wanted - locked() == set()


def test_nothing_large_is_locked() -> None:
    """The exchange's tables are read without them."""
    assert locked() & {"pandas", "pyarrow", "polars", "deltalake", "numpy", "duckdb", "botocore", "boto3"} == set()


def test_our_part_is_what_the_handlers_import_with_its_packages() -> None:
    """Steps that ask the exchange are in, Spark's and the pages' are not."""
    files = set(own_files())
    assert {"functions/app.py", "lakehouse/__init__.py", "lakehouse/jobs/fetching.py", "lakehouse/settings.py"} < files
    assert not any(name.startswith(("gradio_app/", "lakehouse/silver/", "lakehouse/simulator/")) for name in files)


def test_the_entry_names_every_handler() -> None:
    """Chalice calls them as names of the module ``app``."""
    names = ["app", *sorted(handler_names())]
    assert {"fetch", "ingest_step", "landed"} <= set(names)
    assert f"from functions.app import {', '.join(names)}" in entry()


def test_an_archive_depends_on_its_contents_alone(tmp_path: Path) -> None:
    """Not on their order, nor on when it is made."""
    contents = {"b/two.py": b"2", "a.py": b"1" * 1000, "b/__init__.py": b""}
    write_archive(tmp_path / "one.zip", contents)
    write_archive(tmp_path / "two.zip", dict(reversed(contents.items())))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_a_package_weighs_what_its_libraries_and_metadata_weigh(tmp_path: Path) -> None:
    """Folders that a wheel brings beside its own count for it."""
    names = {"psycopg_binary/a.so": 3, "psycopg_binary.libs/libpq.so": 4, "psycopg_binary-3.3.dist-info/METADATA": 1}
    write_archive(tmp_path / "one.zip", {**{name: b"x" * size for name, size in names.items()}, "app.py": b"12"})
    assert weight_by_package(tmp_path / "one.zip") == {"psycopg_binary": 8, "app": 2}


def test_an_archive_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """By what it has and what is allowed, zipped and unpacked."""
    archive = tmp_path / "one.zip"
    write_archive(archive, {"a.py": b"1" * 2000})
    size = archive.stat().st_size
    assert list(wrong_sizes(archive, size + 1, 2001)) == []
    assert list(wrong_sizes(archive, size, 2000)) == [
        f"one.zip has {size} bytes zipped, allowed are {size - 1}: see its largest packages",
        "one.zip has 2,000 bytes unpacked, allowed are 1,999: see its largest packages",
    ]


def test_the_limits_are_the_ones_promised(tmp_path: Path) -> None:
    """50 MB as uploaded, 75 MB as run."""
    write_archive(tmp_path / "one.zip", {"a.py": b"\0" * 75 * MB})
    assert [problem.split(",")[0] for problem in wrong_sizes(tmp_path / "one.zip")] == ["one.zip has 75"]


def test_an_archive_without_our_modules_or_with_large_ones_is_refused(tmp_path: Path) -> None:
    """A library that was dropped silently, and one that came along."""
    write_archive(tmp_path / "one.zip", {"functions/app.py": b"", "pandas/__init__.py": b""})
    found = list(wrong_contents(tmp_path / "one.zip"))
    assert "lakehouse/settings.py is not in one.zip as it is here: run make package again" in found
    assert "functions/app.py is not in one.zip as it is here: run make package again" in found
    assert found[-1] == (
        "pandas is in one.zip: no handler may import it, nor the group functions name what requires it"
    )


@pytest.mark.parametrize(
    ("imported", "problems"),
    [
        (Imported(1.0, 80, [], []), []),
        (Imported(1.0, 80, ["yaml"], []), ["yaml came from outside the package: add them to the group functions"]),
        (
            Imported(1.0, 80, [], ["landed"]),
            ["the package's app.py has no handler landed, which functions/app.py declares"],
        ),
    ],
)
def test_imports_from_elsewhere_and_missing_handlers_are_refused(imported: Imported, problems: Iterable[str]) -> None:
    """On Lambda there is no elsewhere."""
    assert list(wrong_imports(imported)) == problems


@pytest.mark.parametrize(
    ("tags", "fits"),
    [
        (["py3-none-any"], True),
        (["cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64"], True),
        (["cp311-cp311-manylinux2014_x86_64"], True),
        (["cp39-abi3-manylinux_2_26_x86_64", "cp39-abi3-manylinux_2_28_x86_64"], True),
        (["cp311-cp311-manylinux_2_28_x86_64"], False),
        (["cp311-cp311-linux_x86_64"], False),
    ],
)
def test_a_wheel_must_bear_the_c_library_of_lambda(tags: Iterable[str], fits: bool, tmp_path: Path) -> None:
    """Lambda's Python 3.11 has glibc 2.26, older than what a wheel may ask for."""
    folder = tmp_path / "some-1.0.dist-info"
    folder.mkdir()
    (folder / "WHEEL").write_text("Wheel-Version: 1.0\n" + "".join(f"Tag: {tag}\n" for tag in tags))
    assert list(too_new(tmp_path, (2, 26))) == ([] if fits else ["some-1.0"])


def test_wheels_that_are_too_new_are_told_with_the_remedy(tmp_path: Path) -> None:
    """Before they are in a package that fails on its first call."""
    folder = tmp_path / "some-1.0.dist-info"
    folder.mkdir()
    (folder / "WHEEL").write_text("Tag: cp311-cp311-manylinux_2_28_x86_64\n")
    check_wheels(tmp_path, "3.12")
    with pytest.raises(SetupFailed, match=r"^Lambda's Python 3.11 has glibc 2.26, too old for some-1.0: set up with"):
        check_wheels(tmp_path, "3.11")


def test_handlers_that_cannot_be_imported_are_told_with_the_remedy(tmp_path: Path) -> None:
    """By what was missing."""
    write_archive(tmp_path / "one.zip", {"app.py": b"import some_library"})
    with pytest.raises(
        SetupFailed,
        match=r"^the handlers cannot be imported from one.zip \(ModuleNotFoundError: .* 'some_library'\): add what is",
    ):
        import_handlers(tmp_path / "one.zip")


def test_another_version_than_the_platforms_is_refused() -> None:
    """What is tested here is what runs there."""
    assert list(other_versions("one==1.0\ntwo==2.0\n", "one==1.0\ntwo==2.1\nthree==3.0\n")) == [
        "two==2.0 is not the version of requirements.lock"
    ]

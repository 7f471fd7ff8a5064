import subprocess
import sys
from pathlib import Path

import pytest

from infra.installing import browser, jars, lambda_runtime, localstack
from infra.installing.environment import ROOT
from infra.installing.java import WRAPPER
from infra.installing.minio import minio
from infra.installing.report import SetupFailed, run, telling_line
from lakehouse.engines.jars import jars_dir
from lakehouse.storage.minio import minio_program
from tests.components import require


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAKEHOUSE_CACHE_DIR", str(tmp_path / "cache"))


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_a_program_that_fails_is_told_in_one_line_with_the_remedy(tmp_path: Path) -> None:
    """The line names the program, why, what to do and where the rest is."""
    failing = program(tmp_path, "fetcher", "echo trying; echo 'error: no route to host'; echo gave up; exit 3")
    with pytest.raises(
        SetupFailed, match=r"^fetcher failed: error: no route to host; go online \(all it said: .*log\)$"
    ):
        run([failing], "go online")
    assert "gave up" in (tmp_path / "cache" / "setup.log").read_text()


def test_a_program_that_is_missing_is_told_with_the_remedy(tmp_path: Path) -> None:
    """No traceback for a tool that is not there."""
    with pytest.raises(SetupFailed, match=r"^nothing-here does not run \(.*No such file.*\); install it$"):
        run([tmp_path / "nothing-here"], "install it")


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("Retrying after failure\nERROR: none found\nHINT: x y", "ERROR: none found"),
        ("  × Failed to fetch\n  ╰─▶ dns error", "Failed to fetch"),
        (":::: ERRORS\n  HttpHandler: PKIX path building failed\n", "HttpHandler: PKIX path building failed"),
        ("one line\nlast line\n\n", "last line"),
        ("", "it said nothing"),
    ],
)
def test_the_telling_line_is_the_first_that_says_why(output: str, line: str) -> None:
    """pip, uv and Ivy each bury the cause in their own way."""
    assert telling_line(output) == line


def test_jars_that_are_not_the_committed_ones_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A registry that serves something else installs nothing."""
    maven = 'for last; do :; done; mkdir -p "${last#*=}"; echo evil > "${last#*=}/delta-storage-4.4.0.jar"'
    program(tmp_path / "bin", "mvn", maven)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(
        SetupFailed, match=r"delta-storage-4\.4\.0\.jar.* received .*not what .*jars\.sha256 says; nothing was"
    ):
        jars.install_jars(tmp_path / "venv")
    assert not jars_dir().exists()


def test_ivy_needs_the_pyspark_of_the_environment(tmp_path: Path) -> None:
    """A broken environment is told before Java is asked for anything."""
    with pytest.raises(SetupFailed, match=r"PySpark is missing in .*delete that folder, then run make setup again"):
        jars.pyspark_jars(tmp_path)


def test_javas_wrapper_drops_the_one_option_and_keeps_the_rest_in_order(tmp_path: Path) -> None:
    """Spark's other options, with spaces or empty, reach the real Java."""
    real = program(tmp_path, "real", 'for a; do printf "[%s]" "$a"; done')
    wrapper = tmp_path / "java"
    wrapper.write_text(WRAPPER.format(java=real))
    wrapper.chmod(0o755)
    given = ["-cp", "a b", "", "--add-modules=jdk.incubator.vector", "--add-modules=x", "*"]
    said = subprocess.run([wrapper, *given], capture_output=True, text=True, check=True).stdout
    assert said == "[-cp][a b][][--add-modules=x][*]"


def go_that_serves(folder: Path, answer: str) -> None:
    says = 'case "$1" in version) echo go version go1.26.8 linux/amd64;; mod) ' + answer
    program(folder, "go", f"{says};; build) exit 9;; esac")


def test_a_minio_that_is_not_the_chosen_one_is_not_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A proxy that serves another source installs nothing."""
    go_that_serves(tmp_path / "bin", """echo '{"Dir": "/tmp", "Sum": "h1:evil="}'""")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(
        SetupFailed,
        match=r"received from the Go module proxy has checksum h1:evil=, expected h1:.{44}; nothing was built",
    ):
        minio().install(wanted=True)
    assert not minio_program().exists()


def test_a_go_module_proxy_out_of_reach_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reason is Go's own, the remedy ours."""
    go_that_serves(tmp_path / "bin", """echo '{"Error": "no such host"}'; exit 1""")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(
        SetupFailed, match=r"^go mod download of MinIO failed: no such host; check that this machine reac"
    ):
        minio().install(wanted=True)


@pytest.mark.parametrize("go", [None, "go1.19.8"])
def test_a_machine_without_go_is_told_what_minio_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], go: str | None
) -> None:
    """Set-up goes on; the tests of stores will say it again."""
    if go:
        program(tmp_path, "go", f"echo go version {go} linux/amd64")
    monkeypatch.setenv("PATH", str(tmp_path))
    minio().install(wanted=True)
    assert "MinIO: missing; only the tests of object stores need it; install Go 1.21 or" in capsys.readouterr().out


def test_a_machine_without_its_python_is_told_what_localstack_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pyenv shim of a version that is not active does not count."""
    program(tmp_path, "python3.13", "exit 127")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    localstack.install_localstack(wanted=True)
    assert (
        "LocalStack: missing; only the tests of object stores need it; install Python 3.13" in capsys.readouterr().out
    )


def test_localstack_takes_a_python_of_pyenv_that_is_not_active(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The newest patch of its version."""
    for version in ("3.12.4", "3.13.0", "3.13.1"):
        (tmp_path / "versions" / version).mkdir(parents=True)
        program(tmp_path / "versions" / version / "bin", f"python{version[:4]}", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert localstack.find_python() == str(tmp_path / "versions/3.13.1/bin/python3.13")


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has its browsers elsewhere")
def test_chromium_comes_by_apt_as_root_on_debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests of the pages bring their browser by themselves where they may."""
    monkeypatch.setenv("PATH", str(tmp_path))
    install = f'[ "$1" = install ] && /bin/cp {sys.executable} {tmp_path}/chromium || echo "$@"'
    program(tmp_path, "apt-get", install)
    browser.install_browser(wanted=True, as_root=True)
    assert browser.find_chromium() == tmp_path / "chromium"


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has its browsers elsewhere")
def test_a_missing_chromium_does_not_stop_set_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    browser.install_browser(wanted=False, as_root=True)
    assert "Chromium: missing; only the tests of the pages need it; install it with" in capsys.readouterr().out


def test_a_python_too_old_for_the_platform_is_told_in_one_line(tmp_path: Path) -> None:
    """set-up runs on it and says which Python is needed where none is to be found."""
    too_old = (
        f"import sys; sys.argv = ['setup.py']; sys.path.insert(0, {str(ROOT / 'infra')!r}); import setup;"
        "sys.version_info = (3, 9, 18, 'final', 0); sys.exit(setup.main())"
    )
    ran = subprocess.run([sys.executable, "-c", too_old], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Error: Python 3.11, 3.12 or 3.13 is needed, found only 3.9.18; install one so that")


def test_a_missing_component_fails_under_ci_and_is_a_skip_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A green CI run has tested everything; a person may lack something."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"^Chromium is missing: install it$"):
        require("Chromium", "install it")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match=r"^Chromium is missing: install it$"):
        require("Chromium", "install it")


def test_a_machine_without_lambdas_python_is_told_what_needs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Set-up brings it for tests only."""
    monkeypatch.setenv("LAKEHOUSE_CACHE_DIR", str(tmp_path))
    lambda_runtime.install_lambda_runtime(wanted=False)
    assert "Lambda's Python: missing; only the tests of functions on LocalStack need it" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []

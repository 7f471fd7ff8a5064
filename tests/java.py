"""Java for processes that live for minutes: what its second compiler works for would come later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

SHORT_LIVED = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1"}


@contextmanager
def short_lived_java() -> Iterator[None]:
    """Have all JVMs that are started while the block runs live so."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SHORT_LIVED.items():
            patch.setenv(name, value)
        yield

"""What code and documents point to is there."""

import re
from collections.abc import Iterator
from pathlib import Path

from infra.installing.environment import ROOT

OURS = ("lakehouse", "functions", "gradio_app", "tests", "infra", "benchmarks")


def sections_cited() -> Iterator[str]:
    """Yield the sections of docs/iss.md that the code cites, also where a line ends in between."""
    for folder in OURS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = re.sub(r"\s*\n[\s#]*", " ", path.read_text(encoding="utf-8"))
            for numbers in re.findall(r"docs/iss\.md sections? (\d+(?:(?:, | and )\d+)*)", text):
                yield from re.findall(r"\d+", numbers)


def test_cited_facts_of_the_exchange_are_in_the_repository() -> None:
    """Each section that is cited as evidence is one of docs/iss.md."""
    there = re.findall(r"^## (\d+)\. ", (ROOT / "docs" / "iss.md").read_text(encoding="utf-8"), re.MULTILINE)
    cited = list(sections_cited())
    assert len(cited) > 30
    assert set(cited) - set(there) == set()


def links() -> Iterator[tuple[Path, str]]:
    """Yield each document, and what it links to in this repository, without the anchor."""
    for path in [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                yield path, target


def test_links_of_the_documents_lead_somewhere() -> None:
    """Each file that a document links to is there."""
    found = list(links())
    assert len(found) > 30
    assert [f"{path.name}: {target}" for path, target in found if not (path.parent / target).exists()] == []

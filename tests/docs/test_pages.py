"""What the documentation says is so: its commands run, its output is what they print, and its links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import generate
from tests.docs.blocks import Page, blocks_of, is_shown
from tests.docs.catalogue import ROOT, lay_out

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = [page for page in PAGES if blocks_of(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    blocks = blocks_of(page)
    assert [f"line {block.line}: {block.language}" for block in blocks if not block.explained] == []
    fences = re.findall(r"^[> ]*(?:```|~~~)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(blocks), "a block that is not recognised"


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_the_blocks_of_a_page_do_what_it_says(page: Path, tmp_path: Path) -> None:
    """In order, in one directory."""
    lay_out(tmp_path)
    running = Page(page.name, tmp_path)
    for block in blocks_of(page):
        running.run(block)


def test_every_test_that_is_named_as_proof_exists() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    names = {
        name for page in PAGES for name in re.findall(r"`([tT]est_?[A-Za-z_]+)`", page.read_text(encoding="utf-8"))
    }
    assert len(names) > 20
    assert [name for name in sorted(names) if not re.search(rf"^ *(?:def|class) {name}\b", source, re.MULTILINE)] == []


def test_elided_output_matches_what_lies_between() -> None:
    assert is_shown("a\n...\nd", "a  \nb\nc\nd\n")
    assert is_shown("rank 8 (...)", "rank 8 (20)")
    assert not is_shown("a\n...\nd", "a\nb\ne\n")
    assert not is_shown("a", "a\nb")


@pytest.mark.parametrize("name", generate.FILES)
def test_generated_files_are_what_the_program_says(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == generate.FILES[name](), "python docs/generate.py"


def options() -> Iterator[tuple[str, str, str | None]]:
    for name, command in generate.commands().items():
        for parameter in command.params:
            yield from ((name, option, parameter.help) for option in parameter.opts)


def test_every_command_and_option_has_help_and_a_place_in_the_reference() -> None:
    sections = dict(re.findall(r"^## clear-cli (\S+)\n(.*?)(?=^## |\Z)", generate.reference(), re.M | re.S))
    assert set(sections) == set(generate.commands())
    assert [name for name, command in generate.commands().items() if not command.help] == []
    assert [(name, option) for name, option, text in options() if not text] == []
    assert [(name, one) for name, one, _ in options() if one.startswith("-") and one not in sections[name]] == []


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """As the repository shows them; the site is built strictly, which checks its own."""
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" not in link and not (target.exists() and (not anchor or anchor in anchors(target))):
            lost.append(link)
    assert lost == []

"""Hooks of the site: files outside of docs/ that pages link to are part of it, and no page loads from another host.

Pages are written for the repository, where `../benchmarks/README.md` leads somewhere. In the site such files are below
`repository/`, and links are told so.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = (
    *("CHANGELOG.md", "sample_data/README.md", "sample_data/pictures.png"),
    *("benchmarks/*.md", "benchmarks/*.py", "benchmarks/*.txt"),
)
LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")
FOREIGN = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path in sorted(path for pattern in OUTSIDE for path in ROOT.glob(pattern)):
        name = f"repository/{path.relative_to(ROOT).as_posix()}"
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    own = page.file.src_uri
    folder = posixpath.dirname(own.removeprefix("repository/") if own.startswith("repository/") else f"docs/{own}")

    def in_the_site(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[1]))
        spot = target.removeprefix("docs/") if target.startswith("docs/") else f"repository/{target}"
        return posixpath.relpath(spot, posixpath.dirname(own) or ".")

    return LINK.sub(in_the_site, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    for path in Path(config.site_dir).rglob("*.html"):
        if found := FOREIGN.search(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path.name} loads from another host: {found[0]}")

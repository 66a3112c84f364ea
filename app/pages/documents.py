"""The documents of docs/ as pages: Markdown rendered once, formulas typeset as MathML, headings with anchors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape
from mdit_py_plugins.anchors import anchors_plugin

from app.config import beside
from app.measurements.published import MEASUREMENTS

#: The document that explains the numbers of a result.
FORMULAS = "metrics_calculation"
#: Documents in the order of the list; any other of the folder follows by name.
ORDER = (
    "metrics_calculation",
    "assumptions",
    "nomenclature",
    "accuracy",
    "api",
    "python",
    "operations",
    "architecture",
)
#: Headings of these levels are listed beside a document.
LISTED = ("h2",)
#: What a document of docs/ is called in links of the others.
LINK = re.compile(r"^([a-z_]+)\.md(#.*)?$")
#: A document that lies with the data which it describes, and how docs/ links to it.
ELSEWHERE = {"measurements": ("../app/data/measurements/README.md", MEASUREMENTS / "README.md")}
#: Marks for programs.
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
CODE = re.compile(r"`([^`]*)`")


@dataclass(frozen=True, slots=True)
class Heading:
    anchor: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """A page: its name in the address, its title, its HTML without the title, and what it lists."""

    name: str
    title: str
    html: Markup
    headings: tuple[Heading, ...]


def folder() -> Path:
    return beside() / "docs"


@cache
def documents() -> dict[str, Document]:
    """Name -> document, in the order in which they are listed."""
    found = {path.stem: path for path in sorted(folder().glob("*.md"))}
    found |= {name: path for name, (_, path) in ELSEWHERE.items()}
    names = [name for name in ORDER if name in found] + [name for name in found if name not in ORDER]
    return {name: rendered(name, found[name].read_text(encoding="utf-8")) for name in names}


@cache
def anchors(name: str) -> dict[str, str]:
    """Heading -> its anchor in one document, which is parsed for this and not rendered."""
    tokens = parser_of().parse(COMMENT.sub("", (folder() / f"{name}.md").read_text(encoding="utf-8")))
    return {
        plain(tokens[place + 1].content): str(token.attrs["id"])
        for place, token in enumerate(tokens)
        if token.type == "heading_open" and "id" in token.attrs
    }


def explanation(heading: str) -> str:
    """The address of the formulas under a heading of metrics_calculation. KeyError where there is no such heading."""
    return f"/docs/{FORMULAS}#{anchors(FORMULAS)[heading]}"


def rendered(name: str, text: str) -> Document:
    """The document of a Markdown text whose first line is its title. HTML in the text is shown, not passed on."""
    parser = parser_of()
    tokens = parser.parse(COMMENT.sub("", text))
    title, body = name, tokens
    if tokens and tokens[0].type == "heading_open" and tokens[0].tag == "h1":
        title, body = plain(tokens[1].content), tokens[3:]
    headings = tuple(
        Heading(str(token.attrs["id"]), plain(body[place + 1].content))
        for place, token in enumerate(body)
        if token.type == "heading_open" and token.tag in LISTED
    )
    label_tables(body, title)
    html = parser.renderer.render(body, parser.options, {})
    return Document(name=name, title=title, html=Markup(html), headings=headings)  # noqa: S704 - escaped by the parser


def label_tables(tokens: Sequence[Token], title: str) -> None:
    """Name every table after the heading above it, further ones under a heading of that name by their number."""
    heading, seen = title, Counter[str]()
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = plain(tokens[place + 1].content)
        elif token.type == "table_open":
            seen[heading] += 1
            number = f" ({seen[heading]})" if seen[heading] > 1 else ""
            token.attrs["aria-label"] = f"Table: {heading}{number}"


def plain(text: str) -> str:
    """A heading without the files in brackets and without marks of code."""
    return CODE.sub(r"\1", re.sub(r"\s*\((`[^)]*`)\)$", "", text))


@cache
def parser_of() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").use(anchors_plugin, max_level=4)
    parser.add_render_rule("link_open", link_open)
    parser.add_render_rule("image", image)
    parser.add_render_rule("fence", fence)
    parser.add_render_rule("table_open", table_open)
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    parser.add_render_rule("code_block", code_block)
    return parser


Options = Any
Environment = Any


def link_open(renderer: Any, tokens: Sequence[Token], index: int, options: Options, env: Environment) -> str:
    """Links between documents lead to their pages."""
    token = tokens[index]
    address = str(token.attrs.get("href", ""))
    elsewhere = {link: name for name, (link, _) in ELSEWHERE.items()}
    if address in elsewhere:
        token.attrs["href"] = f"/docs/{elsewhere[address]}"
    elif match := LINK.match(address):
        token.attrs["href"] = f"/docs/{match.group(1)}{match.group(2) or ''}"
    return str(renderer.renderToken(tokens, index, options, env))


def image(renderer: Any, tokens: Sequence[Token], index: int, options: Options, env: Environment) -> str:
    token = tokens[index]
    token.attrs["src"] = f"/docs/{token.attrs.get('src', '')}"
    token.attrs["alt"] = token.content
    return str(renderer.renderToken(tokens, index, options, env))


def table_open(renderer: Any, tokens: Sequence[Token], index: int, options: Options, env: Environment) -> str:
    """A wide table scrolls by itself, with the keyboard too."""
    label = escape(tokens[index].attrs["aria-label"])
    return f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table>'


def fence(renderer: Any, tokens: Sequence[Token], index: int, options: Options, env: Environment) -> str:
    """Code as it is; ```math typeset."""
    token = tokens[index]
    if token.info.strip() != "math":
        return f'<pre tabindex="0"><code>{escape(token.content)}</code></pre>\n'
    # The converter leaves the underscore of a name in \text{} escaped, as LaTeX must have it.
    math = convert(token.content.strip(), display="block").replace("\\_", "_")
    return f'<div class="formula" tabindex="0">{math}</div>\n'


def code_block(renderer: Any, tokens: Sequence[Token], index: int, options: Options, env: Environment) -> str:
    """What is indented are formulas in plain text."""
    return f'<pre class="formula-text" tabindex="0"><code>{escape(tokens[index].content)}</code></pre>\n'

"""HTML: what a reader of the page would read."""

from selectolax.lexbor import LexborHTMLParser, LexborNode

from services.memory.extraction.extracted import Extracted, TextBuilder
from services.memory.extraction.plain import decoded

_LEFT_OUT = frozenset(
    ("head", "script", "style", "noscript", "template", "svg", "iframe", "object", "button", "select")
)
_BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "dialog", "div", "dl", "dt"),
        *("fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "li", "main", "nav", "ol", "p", "pre"),
        *("section", "summary", "table", "tbody", "tfoot", "thead", "tr", "ul", "h1", "h2", "h3", "h4", "h5", "h6"),
    )
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_CELLS = frozenset(("td", "th"))


def html(content: bytes) -> Extracted:
    """Reads an HTML page; it takes broken ones too, as browsers do.

    Raises:
        UnreadableError: It is no text.
    """
    page = LexborHTMLParser(decoded(content))
    builder = TextBuilder()
    if page.body is not None:
        _Reader(builder).read(page.body)
    return builder.built()


class _Reader:
    """Walks through a page without recursion: hostile pages nest deeper than Python's stack."""

    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder
        self._line: list[str] = []

    def read(self, root: LexborNode) -> None:
        node: LexborNode | None = root
        while node is not None:
            below = self._enter(node)
            if below is not None:
                node = below
                continue
            while node is not None:
                self._leave(node)
                if node.mem_id == root.mem_id:
                    node = None
                    break
                if node.next is not None:
                    node = node.next
                    break
                node = node.parent
        self._flush()

    def _enter(self, node: LexborNode) -> LexborNode | None:
        """Reads the beginning of a node; returns its first child where that is to be read too."""
        tag = node.tag or ""
        if tag == "-text":
            self._line.append(node.text_content or "")
            return None
        if tag in _LEFT_OUT or tag.startswith(("-", "!")):
            return None
        if tag == "br":
            self._line.append("\n")
        elif tag in _HEADINGS:
            self._flush()
            self._builder.heading(_HEADINGS[tag], node.text(deep=True, separator=" "))
            return None
        elif tag == "pre":
            self._flush()
            self._builder.block(node.text(deep=True))
            return None
        elif tag in _BLOCKS:
            self._flush()
        return node.first_child

    def _leave(self, node: LexborNode) -> None:
        tag = node.tag or ""
        if tag in _CELLS:
            self._line.append(" | ")
        elif tag in _BLOCKS and tag not in _HEADINGS:
            self._flush()

    def _flush(self) -> None:
        lines = (" ".join(line.split()).removesuffix(" |") for line in "".join(self._line).split("\n"))
        self._builder.block("\n".join(line for line in lines if line))
        self._line.clear()

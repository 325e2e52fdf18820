"""Reads a page that Spry wrote, and refuses what none may hold: scripts, links, styles in attributes,
anything that is fetched, tags that are not closed."""
import html.parser

VOID = {"meta", "br", "hr"}
SHAPES = {"path", "rect", "circle", "polyline"}


class Page(html.parser.HTMLParser):
    """Keeps what stands in cells with a key, by table and row; tiles by key; the text of titles."""

    def __init__(self):
        super().__init__()
        self.open, self.rows, self.at, self.ids = [], {}, None, set()
        self.titles, self.lines, self.tables, self.facts, self.classes = [], [], {}, {}, []
        self.table = None

    def handle_starttag(self, tag, attributes, closed=False):
        a = dict(attributes)
        assert len(a) == len(attributes), attributes
        assert not {"src", "href", "srcset", "style", "onerror"} & set(a), (tag, a)
        assert tag not in ("script", "link", "iframe", "img"), tag
        if tag == "table":
            self.table = self.tables.setdefault(a.get("id"), [])
        if tag == "tr":
            row = next(((k, v) for k, v in attributes if k.startswith("data-")), None)
            self.at = self.rows.setdefault(row, {})
            if row is not None and row[0] == "data-row":
                self.at = {}
                self.table.append(self.at)
        if "data-key" in a and tag == "b":
            self.facts[a["data-key"]] = float(a["data-value"]) if "data-value" in a else None
        elif "data-key" in a:
            self.at[a["data-key"]] = float(a["data-value"])
        self.ids.add(a.get("id"))
        self.classes += a.get("class", "").split()
        if tag == "polyline":
            self.lines.append(a["points"].split())
        if tag not in VOID and not closed:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in SHAPES | VOID, tag
        self.handle_starttag(tag, attributes, True)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "title":
            self.titles.append(data)


def read(path):
    """Its text and its Page."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    page = Page()
    page.feed(text)
    page.close()
    assert not page.open and "url(" not in text and "@import" not in text
    assert "default-src 'none'" in text
    assert all(0 < len(line) <= 600 for line in page.lines), [len(line) for line in page.lines]
    assert "nan" not in " ".join(sum(page.lines, []))
    return text, page

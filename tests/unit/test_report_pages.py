"""Pages: what is written into them is shown, never obeyed, and they need nothing from elsewhere."""

import html.parser
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_segnet.reports.page import (
    Cell,
    Code,
    Column,
    Fold,
    Gallery,
    Key,
    Markdown,
    Page,
    Picture,
    Section,
    Table,
    Text,
    Tile,
    Tiles,
    decimal,
    embed,
    number,
    render,
    simple_table,
)

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7 * 7 }}{% for x in y %}"


class Reader(html.parser.HTMLParser):
    """Collects elements with their attributes, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, text):
        self.words.append(text)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(*parts, title="A page"):
    return Reader(render(Page(title, (Section("One", parts),))))


def every_part(text):
    picture = Picture(embed(b"png"), text, text)
    return (
        Text(text), Text(text, "warning"), Tiles((Tile(text, text, text),)), picture, Gallery((picture,), text),
        Table((Column(text, meaning=text),), ((Cell(text, text),), (Cell("", picture=picture),)), text),
        Key(text, ((text, "#ff0000"),)), Code(text), Markdown(text), Fold(text, (Text(text),)),
    )  # fmt: skip


@pytest.mark.parametrize("text", [HOSTILE, "](javascript:alert(1))", "</style></script><base href=//x>"])
def test_texts_are_shown_and_never_obeyed(text):
    found = page_of(*every_part(text), title=text)
    assert len(found.all("script")) == 1
    assert not found.all("base")
    assert all(set(image) <= {"alt", "class", "src"} and image["src"].startswith("data:") for image in found.all("img"))
    assert not any(name.startswith("on") for _, attributes in found.elements for name in attributes)
    assert text in "".join(found.words)
    assert "49" not in "".join(found.words).replace(text, "")


def test_a_page_asks_for_nothing_from_elsewhere():
    card = "![far](http://example.com/a.png) <img src='http://example.com/b.png'>\n\n[link](http://example.com/c)"
    found = page_of(*every_part("text"), Markdown(card))
    assert {tag for tag, _ in found.elements} & {
        "link",
        "iframe",
        "object",
        "embed",
        "video",
        "audio",
        "source",
    } == set()
    addresses = [a[name] for tag, a in found.elements for name in ("src", "srcset", "data", "background") if name in a]
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    policy = next(a["content"] for a in found.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_the_browser_runs_no_script_but_the_pages_own():
    text = render(Page("A page", ()))
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL).group(1)
    import base64
    import hashlib

    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


def test_a_table_is_sorted_by_numbers_not_by_how_they_are_written():
    found = page_of(simple_table(["Class", "Dice", "Pixels"], [["a", 0.12345678, 1234567], ["b", None, None]]))
    cells = found.all("td")
    assert [cell.get("data-sort") for cell in cells] == [None, "0.12345678", "1234567", None, None, None]
    assert [word for word in found.words if word in ("a", "0.1235", "1,234,567", "b", "-")] == [
        "a", "0.1235", "1,234,567", "b", "-", "-",
    ]  # fmt: skip
    assert [cell["class"] for cell in cells] == ["words", "number", "number"] * 2


def test_an_interval_stands_below_its_number():
    found = page_of(simple_table(["Dice"], [[Cell("0.9", 0.9, note="0.8 to 1.0")]]))
    assert len(found.all("small")) == 1
    assert "0.8 to 1.0" in found.words


def test_contents_link_to_sections():
    found = Reader(render(Page("A page", tuple(Section(title, ()) for title in ("One", "Two & a half", "Three")))))
    targets = [link["href"] for link in found.all("a")]
    assert targets == ["#one", "#two---a-half", "#three"]
    assert [section["id"] for section in found.all("section")] == [target[1:] for target in targets]


def test_a_card_in_markdown_becomes_headings_and_tables():
    found = page_of(Markdown("# Card\n\n*cells*\n\n| class | Dice |\n|---|---|\n| nucleus | 0.91 |\n"))
    assert {"h3", "em", "table", "th", "td"} <= {tag for tag, _ in found.elements}
    assert {"Card", "cells", "nucleus", "0.91"} <= set(found.words)
    assert len(found.all("h1")) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.91234, "0.9123"), (0.0, "0.0000"), (1.0, "1.0000"), (12.345, "12.345"), (105.0833, "105.08"),
        (1234.56, "1,234.6"), (0.00097, "0.0010"), (0.00001234, "1.234e-05"), (2.5e9, "2.500e+09"), (-0.5, "-0.5000"),
    ],
)  # fmt: skip
def test_numbers_have_as_many_digits_as_say_something(value, text):
    assert decimal(value) == text


def test_numbers_that_are_none_are_shown_as_a_dash_and_sorted_last():
    assert number(None) == number(float("nan")) == Cell("-", None)
    assert number(float("inf")).sort == "Infinity"
    assert number(3) == Cell("3", 3)


@given(st.lists(st.lists(st.one_of(st.text(), st.floats(), st.integers(), st.none()), min_size=3, max_size=3)))
def test_any_table_can_be_written(rows):
    found = page_of(simple_table(["a", "b", "c"], rows))
    assert len(found.all("td")) == 3 * len(rows)
    assert len(found.all("th")) == 3

"""A page as a person reads it, for tests that assert what is seen."""

from __future__ import annotations

from bs4 import BeautifulSoup, Tag


def soup(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


def words(element: Tag | None) -> str:
    """The text of an element with single spaces."""
    assert element is not None
    return " ".join(element.get_text(" ").split())


def control(page: BeautifulSoup, name: str) -> Tag:
    """The visible control of a field."""
    found = page.find(["input", "select"], id=name)
    assert isinstance(found, Tag)
    return found


def value(page: BeautifulSoup, name: str) -> str:
    """What stands in a field."""
    found = control(page, name)
    if found.name == "select":
        chosen = found.find("option", selected=True)
        assert isinstance(chosen, Tag)
        return str(chosen["value"])
    return str(found.get("value", ""))


def messages(page: BeautifulSoup, name: str) -> list[str]:
    """The messages beside a field."""
    field = control(page, name).find_parent(class_="field")
    assert field is not None
    return [words(message) for message in field.find_all(class_="error")]


def table(page: BeautifulSoup, heading: str) -> dict[str, list[str]]:
    """The table of the section with this id on its heading: row header -> cells."""
    title = page.find(id=heading)
    assert title is not None
    section = title.find_parent("section")
    assert section is not None
    rows = section.find("table").find("tbody").find_all("tr")
    return {words(row.find("th")): [words(cell) for cell in row.find_all("td")] for row in rows}

"""Looks through the built site: every link leads somewhere, every picture is described.

    python docs/check_site.py docs/_build/html

Links to other sites are counted and listed in `links.txt` beside the site, as this runs offline;
`sphinx -b linkcheck` follows them.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page holds that may be wrong.

    Attributes:
        links: addresses that it links to or shows.
        names: places in it that a link may lead to.
        undescribed: addresses of pictures without a text.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.undescribed: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.names |= {given[name] for name in ("id", "name") if name in given}
        if tag in ("a", "link") and "href" in given:
            self.links.append(given["href"])
        elif "src" in given:
            self.links.append(given["src"])
        # Without a text, Sphinx writes the picture's address.
        if tag == "img" and given.get("alt", "").strip() in ("", given.get("src")):
            self.undescribed.append(given.get("src", ""))


def mistakes(site: Path, pages: dict[Path, Page]) -> list[str]:
    """A line for each link that leads nowhere, and for each picture without a text."""
    lines = []
    for path, page in pages.items():
        where = path.relative_to(site)
        lines += [f"{where}: no text for the picture {source}" for source in page.undescribed]
        for link in page.links:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            if not target.exists():
                lines.append(f"{where}: {link} is not there")
            elif (
                address.fragment
                and target in pages
                and unquote(address.fragment) not in pages[target].names
            ):
                lines.append(f"{where}: {link} has no such place")
    return lines


def main() -> None:
    """Check a site, and end with an error where something is wrong."""
    site = Path(sys.argv[1]).resolve()
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    wrong = mistakes(site, pages)
    links = [link for page in pages.values() for link in page.links]
    others = sorted({link for link in links if urlsplit(link).scheme in ("http", "https")})
    (site.parent / "links.txt").write_text("\n".join(others) + "\n", encoding="utf-8")
    print(f"{len(pages)} pages, {len(links)} links, {len(others)} other sites' pages listed")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()

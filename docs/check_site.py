"""Looks through the built site: links lead somewhere, pictures are there and are described.

    python docs/check_site.py docs/_build/html

Links to other sites are counted and listed in `links.txt` beside the site, as this runs offline;
`sphinx -b linkcheck` follows them.
"""

import re
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
        texts: those of the other pictures.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.undescribed: list[str] = []
        self.texts: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.names |= {given[name] for name in ("id", "name") if name in given}
        if tag in ("a", "link") and "href" in given:
            self.links.append(given["href"])
        elif "src" in given:
            self.links.append(given["src"])
        if tag == "img":
            text = given.get("alt", "").strip()
            if text in ("", given.get("src")):  # without a text, Sphinx writes the address
                self.undescribed.append(given.get("src", ""))
            self.texts.add(text)


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


def lost_pictures(site: Path, pages: dict[Path, Page]) -> list[str]:
    """A line for each picture that a notebook has a text for, and that its page does not show."""
    lines = []
    for source in sorted((Path(__file__).parent / "notebooks").glob("*.md")):
        page = pages[site / "notebooks" / f"{source.stem}.html"]
        texts = re.findall(r'^    alt: "(.*)"$', source.read_text(encoding="utf-8"), re.MULTILINE)
        lines += [f"{source.name}: no picture: {text}" for text in texts if text not in page.texts]
    return lines


def main() -> None:
    """Check a site, and end with an error where something is wrong."""
    site = Path(sys.argv[1]).resolve()
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    wrong = [*mistakes(site, pages), *lost_pictures(site, pages)]
    links = [link for page in pages.values() for link in page.links]
    others = sorted({link for link in links if urlsplit(link).scheme in ("http", "https")})
    (site.parent / "links.txt").write_text("\n".join(others) + "\n", encoding="utf-8")
    print(f"{len(pages)} pages, {len(links)} links, {len(others)} other sites' pages listed")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Checks a page of remapctl report: page.py < PAGE.

It must be well-formed as XML and as HTML, refer to nothing outside itself, and
forbid the browser to load anything. Prints what it shows, for the tests:
JSON with texts, blocks of each state, rows of tables, and the extents.
"""
import html.parser
import json
import re
import sys
import xml.etree.ElementTree as xml

VOID = {"meta", "link"}
EMPTY_SVG = {"rect", "line"}
REFERENCES = {"src", "href", "action", "data", "poster", "background", "srcset", "formaction",
              "cite", "ping", "manifest", "{http://www.w3.org/1999/xlink}href"}
problems = []


def wrong(text):
    problems.append(text)


def check_css(css):
    for url in re.findall(r"url\(([^)]*)\)", css):
        if not url.startswith("#"):
            wrong(f"style refers to {url}")
    if "@import" in css or "expression(" in css:
        wrong("style imports")


class Html(html.parser.HTMLParser):
    """What a browser makes of it: the same elements as XML has, well nested."""

    def __init__(self):
        super().__init__()
        self.open, self.count = [], 0

    def handle_starttag(self, tag, attrs):
        self.count += 1
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            wrong(f"an attribute of {tag} is twice")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.count += 1
        if tag not in VOID | EMPTY_SVG:
            wrong(f"{tag} ends itself")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            wrong(f"</{tag}> where it is not open")


def name_of(element):
    return element.tag.rsplit("}", 1)[-1]


def check_element(element, ids):
    name = name_of(element)
    if name in {"iframe", "object", "embed", "img", "image", "use", "base", "form", "audio", "video",
                "foreignObject", "a"}:
        wrong(f"there is a {name}")
    for key, value in element.attrib.items():
        if key in REFERENCES and not (name == "link" and value == "data:,"):
            wrong(f"{name} {key}={value}")
        if key.startswith("on"):
            wrong(f"{name} has {key}")
        check_css(value)
        if key == "id":
            if value in ids:
                wrong(f"id {value} is twice")
            ids.add(value)
    if name == "style":
        check_css(element.text or "")


def check_script(element):
    text = element.text or ""
    if element.get("type") == "application/json":
        return json.loads(text)
    for word in ("http:", "https:", "fetch", "XMLHttp", "import", "eval", "innerHTML", "document.write"):
        if word in text.replace("http://www.w3.org/2000/svg", ""):
            wrong(f"the script says {word}")
    return None


source = sys.stdin.buffer.read().decode("utf-8")
root = xml.fromstring(source)
elements, ids, extents = list(root.iter()), set(), None
for each in elements:
    check_element(each, ids)
    if name_of(each) == "script":
        extents = check_script(each) or extents
parser = Html()
parser.feed(source)
parser.close()
if parser.open or parser.count != len(elements):
    wrong(f"HTML has {parser.count} elements and XML {len(elements)}; open: {parser.open}")
policy = [e.get("content") for e in elements if e.get("http-equiv") == "Content-Security-Policy"]
if len(policy) != 1 or "default-src 'none'" not in policy[0]:
    wrong("no policy that forbids loading")
if "prefers-color-scheme: dark" not in source or "color-scheme" not in source:
    wrong("no dark scheme")
for problem in problems:
    print(problem, file=sys.stderr)


def inside(id_, tag):
    found = [e for e in elements if e.get("id") == id_]
    return [e for e in found[0].iter() if name_of(e) == tag] if found else []


blocks = [e.get("class", "good") for e in inside("blocks", "rect")]
print(json.dumps({
    "title": [e.text for e in elements if name_of(e) == "title"][0],
    "facts": ["".join(e.itertext()) for e in elements if name_of(e) == "dd"],
    "tiles": ["".join(e.itertext()).strip() for e in elements if e.get("class") in ("tile", "tile alarm")],
    "blocks": {state: blocks.count(state) for state in ("c1", "c2", "c3")},
    "tables": [len([r for r in e.iter() if name_of(r) == "tr"]) - 1 for e in elements if name_of(e) == "table"],
    "extents": extents,
}))
sys.exit(1 if problems else 0)

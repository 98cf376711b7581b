#!/usr/bin/python3
"""A strict reader of the text exposition format of Prometheus, version 0.0.4.

exposition.py < FILE reports what is wrong with it: what Prometheus refuses, and
what its conventions ask for. Without an error it prints one sample a line as
JSON: [name, {label: value}, value].
"""
import json
import re
import sys

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
TYPES = {"counter", "gauge", "untyped"}


class Wrong(Exception):
    pass


def read_labels(text):
    """'name="value",...}' as dict, and what follows."""
    labels = {}
    while not text.startswith("}"):
        match = LABEL.match(text)
        if not match or text[match.end():match.end() + 2] != '="':
            raise Wrong(f"no label: {text}")
        name, text, value = match.group(), text[match.end() + 2:], ""
        while not text.startswith('"'):
            if text == "":
                raise Wrong("a value without an end")
            if text[0] == "\\":
                if text[1:2] not in ("\\", '"', "n"):
                    raise Wrong(f"no escape: {text[:2]}")
                value += "\n" if text[1] == "n" else text[1]
                text = text[2:]
            else:
                value += text[0]
                text = text[1:]
        if name in labels or name.startswith("__"):
            raise Wrong(f"label {name} is twice, or reserved")
        labels[name] = value
        text = text[1:]
        if text.startswith(","):
            text = text[1:]
        elif not text.startswith("}"):
            raise Wrong(f"neither , nor }}: {text}")
    return labels, text[1:]


def read_sample(line):
    match = NAME.match(line)
    if not match:
        raise Wrong("no name")
    rest, labels = line[match.end():], {}
    if rest.startswith("{"):
        labels, rest = read_labels(rest[1:])
    if not re.fullmatch(r" [0-9]+(\.[0-9]+)?", rest):
        raise Wrong(f"no value: {rest!r}")
    return match.group(), labels, float(rest)


def check_name(name, kind):
    """https://prometheus.io/docs/practices/naming/"""
    if not name.startswith("remapfs_"):
        raise Wrong(f"{name} is not ours")
    if (kind == "counter") != name.endswith("_total"):
        raise Wrong(f"{name} is a {kind}")
    if re.search(r"(_bytes|_seconds)_", name.removesuffix("_total")):
        raise Wrong(f"the unit is not at the end of {name}")


class Reader:
    def __init__(self):
        self.help, self.type, self.samples, self.seen = {}, {}, [], set()
        self.family = None

    def comment(self, line):
        match = re.fullmatch(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)", line)
        if not match:
            raise Wrong("neither HELP nor TYPE")
        what, name, text = match.groups()
        table = self.help if what == "HELP" else self.type
        if name in table:
            raise Wrong(f"{what} of {name} is twice")
        if what == "TYPE":
            if text not in TYPES or self.family != name:
                raise Wrong("no type, or not after its HELP")
            check_name(name, text)
        self.family = name
        table[name] = text

    def sample(self, line):
        name, labels, value = read_sample(line)
        if name != self.family or name not in self.type:
            raise Wrong(f"{name} does not follow its own HELP and TYPE")
        key = (name, tuple(sorted(labels.items())))
        if key in self.seen:
            raise Wrong("this series is there already")
        self.seen.add(key)
        self.samples.append([name, labels, value])

    def read(self, text):
        if not text.endswith("\n"):
            raise Wrong("no newline at the end")
        for number, line in enumerate(text[:-1].split("\n"), 1):
            try:
                (self.comment if line.startswith("#") else self.sample)(line)
            except Wrong as wrong:
                raise Wrong(f"line {number}: {wrong}: {line}") from None
        for name in self.help.keys() | self.type.keys():
            if name not in self.help or name not in self.type:
                raise Wrong(f"{name} lacks HELP or TYPE")


reader = Reader()
try:
    reader.read(sys.stdin.buffer.read().decode("utf-8"))
except (Wrong, UnicodeDecodeError) as wrong:
    print(wrong, file=sys.stderr)
    sys.exit(1)
for each in reader.samples:
    print(json.dumps(each))

"""As much of PromQL as is needed to see which series a query reads."""

import re

KEYWORDS = {"and", "or", "unless", "bool", "by", "without", "on", "ignoring", "group_left",
            "group_right", "offset", "inf", "nan"}
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
SELECTOR = re.compile(r"(?<![\w:$.])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?(\s*\()?")


def selectors(query):
    """The vector selectors of a query, without their ranges: 'name{matchers}'."""
    kept = []

    def keep(match):
        kept.append(match[0])
        return f"\x00{len(kept) - 1}\x00"

    text = STRING.sub(keep, query)
    text = GROUPING.sub(" ", text)
    text = re.sub(r"\[[^\]]*\]", " ", text)
    found = []
    for name, matchers, call in SELECTOR.findall(text):
        if call or name in KEYWORDS:
            continue
        restored = re.sub("\x00(\\d+)\x00", lambda m: kept[int(m[1])], matchers)
        found.append(name + restored)
    return found


def metric_name(selector):
    return selector.partition("{")[0]

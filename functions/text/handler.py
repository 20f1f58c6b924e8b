"""Counts words, as the first program of every book on text does, and a little more."""

import re
from collections import Counter

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def handler(event, context):
    text = event["text"]
    words = [word.casefold() for word in WORD.findall(text)]
    counts = Counter(words)
    return {
        "characters": len(text),
        "lines": len(text.splitlines()),
        "words": len(words),
        "distinct_words": len(counts),
        "most_common": sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: event.get("top", 5)],
        "longest_word": max(words, key=lambda word: (len(word), word), default=None),
        "initials": "".join(sorted({word[0] for word in words})),
    }

"""A second reading of XML that MuJoCo's parser takes and a strict one does not, written anew as a strict one takes it.

MuJoCo's parser ends a comment at the first ``-->``, whatever is in it, and needs no blank between attributes. Nothing
else is forgiven: a text that could mean one thing here and another thing there is not rewritten.
"""

from __future__ import annotations

import re

_NAME = rb"[A-Za-z_:\x80-\xff][A-Za-z0-9_:.\-\x80-\xff]*"
_VALUE = rb"\"[^\"<]*\"|'[^'<]*'"
_ATTRIBUTE = re.compile(rb"\s*(" + _NAME + rb")\s*=\s*(" + _VALUE + rb")")
_TAG = re.compile(rb"<(/?)(" + _NAME + rb")((?:\s*" + _NAME + rb"\s*=\s*(?:" + _VALUE + rb"))*)\s*(/?)>")
_SKIPPED = ((b"<!--", b"-->"), (b"<?", b"?>"), (b"<![CDATA[", b"]]>"))


def rewritten(text: bytes) -> bytes | None:
    """``text`` without comments and with a blank before each attribute, or ``None`` if it is broken otherwise.

    Elements, attributes and line numbers are those of ``text``.
    """
    if b"\0" in text:
        return None
    parts: list[bytes] = []
    at = 0
    while (start := text.find(b"<", at)) >= 0:
        parts.append(text[at:start])
        opened = next(((mark, end) for mark, end in _SKIPPED if text.startswith(mark, start)), None)
        if opened is not None:
            close = text.find(opened[1], start + len(opened[0]))
            if close < 0:
                return None
            at = close + len(opened[1])
            skipped = text[start:at]
            parts.append(skipped if opened[0] == b"<?" else b"\n" * skipped.count(b"\n"))
        elif (tag := _TAG.match(text, start)) is not None:
            closing, name, attributes, empty = tag.groups()
            blanks = b"\n" * tag[0].count(b"\n")
            pairs = b"".join(b" " + key + b"=" + value for key, value in _ATTRIBUTE.findall(attributes))
            lines = blanks[: max(len(blanks) - pairs.count(b"\n"), 0)]
            parts.append(b"<" + closing + name + pairs + lines + empty + b">")
            at = tag.end()
        else:
            return None
    parts.append(text[at:])
    return b"".join(parts)

"""Formulas become MathML while the pages are built: readers need no script and no network for them."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', flags=re.DOTALL)


def on_page_content(page_html: str, **_: Any) -> str:
    """Replace every formula that arithmatex marked in a page."""

    def mathml(match: re.Match[str]) -> str:
        tex = html.unescape(match[2]).strip().replace("{aligned}", "{align*}")
        if match[1] == "span":
            return convert(tex, display="inline")
        return f'<div class="formula">{convert(tex, display="block")}</div>'

    return FORMULA.sub(mathml, page_html)

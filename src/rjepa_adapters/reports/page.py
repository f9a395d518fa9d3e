"""Render a report: a jinja2 template over the one skeleton and style sheet."""

from __future__ import annotations

import functools
from typing import Any

import jinja2
from markupsafe import Markup

from rjepa_core.text import visible


def render(template: str, **values: Any) -> str:
    """Return the page that `template` renders from the values.

    The page is also well-formed XML, so that any tool can read it. Text is escaped, and characters
    that are not shown (controls, changes of direction) are written out; only `Markup`, such as the
    drawings of `svg`, is inserted unchanged.
    """
    return _templates().get_template(template).render(**values)


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("rjepa_adapters.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, Markup) else visible(str(value), keep=""),
    )

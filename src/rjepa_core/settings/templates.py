"""The texts that problems are posed with, by domain.

They are part of a store's identity: a changed text makes another latent space, and stores made with
the earlier text refuse to resume without it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import SettingsError

PLACEHOLDER = "{statement}"
MATH_TEMPLATE = (
    'Solve the problem below step by step. Start each step on a new line with "Step 1:", '
    '"Step 2:" and so on, and end with a line "Answer:" and the result.\n\n'
    "Problem: {statement}"
)
CODE_TEMPLATE = (
    "Work out the programming task below step by step. Start each step on a new line with "
    '"Step 1:", "Step 2:" and so on, and write the code in the last step.\n\n'
    "Task:\n{statement}"
)
DEFAULT_TEMPLATES: Mapping[str, str] = {"default": MATH_TEMPLATE, "code": CODE_TEMPLATE}


def check_template(template: str, where: str) -> str:
    """Return a template if it contains `{statement}` exactly once; other braces are plain text.

    Raises:
        SettingsError: it does not.
    """
    times = template.count(PLACEHOLDER)
    if times != 1:
        raise SettingsError(
            f"{where}: a prompt template holds {PLACEHOLDER} once, not {times} times"
        )
    return template

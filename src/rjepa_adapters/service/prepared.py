"""Word problems for the examples of a service that has an LLM and no store."""

from __future__ import annotations

FARM = (
    "A farmer harvested 250 potatoes. He bundled them in twenty-five's and sold each bundle for "
    "$1.90. He also harvested 320 carrots and bundled them in twenty's and sold each bundle for "
    "$2. If the farmer sold all his harvested crops, how much did he get in all?"
)
FARM_STEPS = (
    "There are 250/25 = 10 bundles of potatoes.",
    "So, 10 bundles of potatoes amount to $1.9 x 10 = $19.",
    "There are 320/20 = 16 bundles of carrots.",
    "So, 16 bundles of carrots amount to $2 x 16 = $32.",
    "Hence, the farmer got $19 + $32 = $51 in all.",
)
QUIZ = (
    "In a spelling quiz, Matt answered 8 fewer words correctly than Kelsey, who answered 35 "
    "correctly in the first round and 8 in the second. How many did Matt answer correctly?"
)
QUIZ_STEPS = (
    "Kelsey answered 35 + 8 = 43 words correctly.",
    "Matt answered 43 - 8 = 35 words correctly.",
)
# The step of the farm's solution whose place a step of the quiz's takes, and which one that is.
FOREIGN_AT, FOREIGN_STEP = 2, 0

"""What the records of damaged and edited solutions say about themselves, in their metadata."""

from __future__ import annotations

# Keys of a solution's metadata: what was done to it, the key of the trace that it was made from,
# the hash of that one's statement, the step that is wrong, and the trace a step was taken from.
KIND, OF, OF_PROBLEM, WRONG_STEP, DONOR = "kind", "of", "of_problem", "wrong_step", "donor"
# The kind of an unchanged solution that was read again.
CLEAN = "clean"

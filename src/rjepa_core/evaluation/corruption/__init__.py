"""What is done to the texts of correct solutions: damage of seven kinds, and harmless edits."""

from .edits import EDITS
from .equations import false_equations
from .kinds import KINDS
from .neighbours import Donors
from .solution import Clean, Edit
from .texts import steps_of

__all__ = ["EDITS", "KINDS", "Clean", "Donors", "Edit", "false_equations", "steps_of"]

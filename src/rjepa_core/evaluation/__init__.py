"""What a world model is worth, told with intervals and beside its baselines."""

from .damaged_store import Damaged as Damaged
from .damaged_store import damage_store as damage_store
from .prediction import Kept as Kept
from .progress import EvaluationWatch as EvaluationWatch
from .results import Evaluation as Evaluation
from .results import Line as Line
from .results import Table as Table
from .run import evaluate as evaluate
from .settings import DamageRunSettings as DamageRunSettings
from .settings import DamageSettings as DamageSettings
from .settings import EvaluateRunSettings as EvaluateRunSettings
from .settings import EvaluateSettings as EvaluateSettings

"""What a world model is worth, told with intervals and beside its baselines."""

from .prediction import Kept as Kept
from .progress import EvaluationWatch as EvaluationWatch
from .results import Evaluation as Evaluation
from .results import Line as Line
from .results import Table as Table
from .run import evaluate as evaluate
from .settings import EvaluateRunSettings as EvaluateRunSettings
from .settings import EvaluateSettings as EvaluateSettings

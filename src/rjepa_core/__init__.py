"""R-JEPA: the step latents of a frozen LLM's reasoning, and a world model over them.

The core holds the domain, the ports and the use cases. It imports no engine, file format or
command line; adapters reach it through the hooks in `rjepa_core.plugins`.
"""

from .domain.grade import Grade
from .domain.identity import Generation, Identity, LatentSpace
from .domain.latents import LatentRecord
from .domain.problem import GivenSolution, Problem
from .domain.trace import Failure, RecordKey, StepSpan, Trace
from .errors import RJepaError, UsageError
from .extraction import Summary, open_extraction, run_extraction
from .grading import GradeSummary, grade, summarise
from .plugins import Registry, hookimpl, open_store, open_world_model
from .scoring import score
from .settings import (
    AdapterSettings,
    DataSettings,
    EncodingSettings,
    ExtractionSettings,
    MaskerSettings,
    ModelSettings,
    ProblemSettings,
    PromptSettings,
    RunSettings,
    SamplingSettings,
    StepSettings,
    StoreSettings,
    TrainingSettings,
    TrainSettings,
    WorldModelSettings,
)
from .training import train_world_model
from .version import __version__ as __version__

__all__ = [
    "AdapterSettings",
    "DataSettings",
    "EncodingSettings",
    "ExtractionSettings",
    "Failure",
    "Generation",
    "GivenSolution",
    "Grade",
    "GradeSummary",
    "Identity",
    "LatentRecord",
    "LatentSpace",
    "MaskerSettings",
    "ModelSettings",
    "Problem",
    "ProblemSettings",
    "PromptSettings",
    "RJepaError",
    "RecordKey",
    "Registry",
    "RunSettings",
    "SamplingSettings",
    "StepSettings",
    "StepSpan",
    "StoreSettings",
    "Summary",
    "Trace",
    "TrainSettings",
    "TrainingSettings",
    "UsageError",
    "WorldModelSettings",
    "grade",
    "hookimpl",
    "open_extraction",
    "open_store",
    "open_world_model",
    "run_extraction",
    "score",
    "summarise",
    "train_world_model",
]

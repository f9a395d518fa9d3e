"""R-JEPA: the step latents of a frozen LLM's reasoning, and a world model over them.

The core holds the domain, the ports and the use cases. It imports no engine, file format or
command line; adapters reach it through the hooks in `rjepa_core.plugins`.
"""

from .errors import RJepaError, UsageError
from .identity import Generation, Identity, LatentSpace
from .latents import LatentRecord
from .opening import open_world_model
from .plugins import Registry, hookimpl
from .problems import GivenSolution, Problem
from .runner import Summary, open_extraction, open_store, run_extraction
from .scoring import score
from .settings import (
    AdapterSettings,
    EncodingSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    PromptSettings,
    RunSettings,
    SamplingSettings,
    StepSettings,
    StoreSettings,
)
from .traces import Failure, RecordKey, StepSpan, Trace
from .train_settings import (
    DataSettings,
    MaskerSettings,
    TrainingSettings,
    TrainSettings,
    WorldModelSettings,
)
from .world_models import train_world_model

__version__ = "0.1.0"

__all__ = [
    "AdapterSettings",
    "DataSettings",
    "EncodingSettings",
    "ExtractionSettings",
    "Failure",
    "Generation",
    "GivenSolution",
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
    "hookimpl",
    "open_extraction",
    "open_store",
    "open_world_model",
    "run_extraction",
    "score",
    "train_world_model",
]

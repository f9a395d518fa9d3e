"""What can be chosen: one set of attrs classes for the library, the command line and YAML files.

Settings of adapters stand beside their adapters; those of scoring, evaluation and benchmarks with
their use cases.
"""

from .extraction import (
    POOLINGS,
    STORE_DTYPES,
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
from .shard import Shard
from .strategies import FIRST_STRATEGIES, KEEP, STORED_STRATEGIES, rules_of
from .templates import CODE_TEMPLATE, DEFAULT_TEMPLATES, MATH_TEMPLATE, PLACEHOLDER, check_template
from .training import (
    DAMAGE,
    EDITS,
    MASKS,
    DataSettings,
    MaskerSettings,
    TrainingSettings,
    TrainSettings,
    WorldModelSettings,
)

__all__ = [
    "CODE_TEMPLATE",
    "DAMAGE",
    "DEFAULT_TEMPLATES",
    "EDITS",
    "FIRST_STRATEGIES",
    "KEEP",
    "MASKS",
    "MATH_TEMPLATE",
    "PLACEHOLDER",
    "POOLINGS",
    "STORED_STRATEGIES",
    "STORE_DTYPES",
    "AdapterSettings",
    "DataSettings",
    "EncodingSettings",
    "ExtractionSettings",
    "MaskerSettings",
    "ModelSettings",
    "ProblemSettings",
    "PromptSettings",
    "RunSettings",
    "SamplingSettings",
    "Shard",
    "StepSettings",
    "StoreSettings",
    "TrainSettings",
    "TrainingSettings",
    "WorldModelSettings",
    "check_template",
    "rules_of",
]

"""R-JEPA: the step latents of a frozen LLM's reasoning, and a world model over them.

    import rjepa_core as rj

    rj.run_extraction(rj.ExtractionSettings(model="smollm2", problems="demo", store="runs/first"))
    with rj.open_store("runs/first") as store:
        record = store["demo-01"]              # and: for record in store, "demo-01" in store
        steps = store.arrays()                 # all step latents, float32 [N, D]
    rj.train_world_model("runs/wm", rj.TrainSettings(data="runs/first"), progress=True)
    rj.score_text("runs/wm", "What is 2 + 3?", "2 + 3 = 5", model="smollm2").surprise

The distribution is called `rjepa`, the import `rjepa_core`. What needs a library stands in
`rjepa_adapters`: `rjepa_adapters.data` (pandas, Arrow, torch), `rjepa_adapters.plot` (matplotlib)
and `rjepa_adapters.hub` (the Hugging Face Hub).

This package holds the domain, the ports and the use cases. It imports no engine, file format or
command line; adapters reach it through the hooks in `rjepa_core.plugins`. Plugins find more in its
modules: `rjepa_core.ports`, `rjepa_core.errors`, `rjepa_core.testing`, ….
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .domain.grade import Grade
from .domain.identity import Generation, Identity, LatentSpace
from .domain.latents import LatentRecord
from .domain.problem import GivenSolution, Problem
from .domain.trace import Failure, RecordKey, StepSpan, Trace
from .errors import RJepaError, UsageError
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
from .version import __version__ as __version__

if TYPE_CHECKING:
    from .evaluation import EvaluateRunSettings, EvaluateSettings, Evaluation, evaluate
    from .extraction import Summary, open_extraction, run_extraction
    from .grading import GradeSummary, grade, summarise
    from .plugins import Registry, hookimpl, open_store, open_world_model
    from .ports.store import LatentStore
    from .ports.views import StepArrays
    from .ports.world_model import Context, LatentSequence, TrainSummary, TrainWatch, WorldModel
    from .scoring import Ranking, ScoredTrace, open_encoder, rank_texts, score, score_text
    from .training import train_world_model

# The use cases are loaded when one of them is asked for, so that the import takes no time.
_LATER = {
    "evaluation": ("EvaluateRunSettings", "EvaluateSettings", "Evaluation", "evaluate"),
    "extraction": ("Summary", "open_extraction", "run_extraction"),
    "grading": ("GradeSummary", "grade", "summarise"),
    "plugins": ("Registry", "hookimpl", "open_store", "open_world_model"),
    "ports.store": ("LatentStore",),
    "ports.views": ("StepArrays",),
    "ports.world_model": (
        "Context",
        "LatentSequence",
        "TrainSummary",
        "TrainWatch",
        "WorldModel",
    ),
    "scoring": (
        "Ranking",
        "ScoredTrace",
        "open_encoder",
        "rank_texts",
        "score",
        "score_text",
    ),
    "training": ("train_world_model",),
}
_MODULE_OF = {name: module for module, names in _LATER.items() for name in names}
_ROOMS = (
    "evaluation",
    "extraction",
    "grading",
    "plugins",
    "ports",
    "scoring",
    "stores",
    "training",
)


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        found = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
        globals()[name] = found
        return found
    if name in _ROOMS:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


__all__ = [
    "AdapterSettings",
    "Context",
    "DataSettings",
    "EncodingSettings",
    "EvaluateRunSettings",
    "EvaluateSettings",
    "Evaluation",
    "ExtractionSettings",
    "Failure",
    "Generation",
    "GivenSolution",
    "Grade",
    "GradeSummary",
    "Identity",
    "LatentRecord",
    "LatentSequence",
    "LatentSpace",
    "LatentStore",
    "MaskerSettings",
    "ModelSettings",
    "Problem",
    "ProblemSettings",
    "PromptSettings",
    "RJepaError",
    "Ranking",
    "RecordKey",
    "Registry",
    "RunSettings",
    "SamplingSettings",
    "ScoredTrace",
    "StepArrays",
    "StepSettings",
    "StepSpan",
    "StoreSettings",
    "Summary",
    "Trace",
    "TrainSettings",
    "TrainSummary",
    "TrainWatch",
    "TrainingSettings",
    "UsageError",
    "WorldModel",
    "WorldModelSettings",
    "evaluate",
    "grade",
    "hookimpl",
    "open_encoder",
    "open_extraction",
    "open_store",
    "open_world_model",
    "rank_texts",
    "run_extraction",
    "score",
    "score_text",
    "summarise",
    "train_world_model",
]

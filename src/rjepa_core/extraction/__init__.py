"""The extraction use case: problems in, stored latents out."""

from .batch_backend import BatchBackend, BatchSession
from .comparison import remaining
from .dry_run import DiskRoom, SizeSink, Trial, check_room, expected_room, room_after_trial
from .engine import Engine, open_engine, session_spec
from .loop import extract
from .opened import Extraction, Summary
from .outcomes import Outcomes, check_stops, end_at_stop
from .queue import Pending
from .run import open_extraction, resolve_extraction, run_extraction, run_shown
from .run_identity import as_stored, identity_of, resolve_layers, today
from .work import Survey, Worklist

__all__ = [
    "BatchBackend",
    "BatchSession",
    "DiskRoom",
    "Engine",
    "Extraction",
    "Outcomes",
    "Pending",
    "SizeSink",
    "Summary",
    "Survey",
    "Trial",
    "Worklist",
    "as_stored",
    "check_room",
    "check_stops",
    "end_at_stop",
    "expected_room",
    "extract",
    "identity_of",
    "open_engine",
    "open_extraction",
    "remaining",
    "resolve_extraction",
    "resolve_layers",
    "room_after_trial",
    "run_extraction",
    "run_shown",
    "session_spec",
    "today",
]

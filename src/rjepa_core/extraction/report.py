"""The plan, forecast and outcome of an extraction, as facts and as lines of text."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

import attrs

from ..errors import ProblemsFailedError, RJepaError, UsageError
from ..plugins import split_location
from ..ports.executor import Ending, Progress
from ..settings import ExtractionSettings, StoreSettings
from ..text import count, duration, rate, size
from .dry_run import DiskRoom, Trial
from .opened import Extraction, Summary

Facts = dict[str, Any]


def plan(extraction: Extraction) -> Facts:
    """Return what there is to do, and where."""
    survey, before, info = extraction.survey, extraction.before, extraction.info
    space, settings = extraction.identity.space, extraction.settings
    return {
        "problems": survey.problems,
        "available": survey.available,
        "duplicates": survey.duplicates,
        "domains": survey.domains,
        # The number of given solutions varies by problem.
        "samples": None if settings.problems.traces else settings.problems.samples,
        "shard": settings.problems.shard,
        "asked": survey.work,
        "stored": before.stored,
        "failed": before.failed,
        "missing": before.missing,
        "model": info.name,
        "backend": settings.backend.name,
        "device": info.device,
        "passes": info.passes,
        "compute_dtype": info.compute_dtype,
        "quantisation": info.quantisation,
        "notes": dict(info.notes),
        "date": space.prompt.date,
        "layers": list(space.layers),
        "hidden_size": space.hidden_size,
        "pooling": space.pooling,
        "store": settings.store.path,
        "store_dtype": space.store_dtype,
        **_room_facts(extraction.room),
    }


def plan_lines(facts: Facts) -> list[str]:
    """Return the plan as lines of text."""
    domains = ", ".join(f"{name} {n:,}" for name, n in facts["domains"].items())
    samples = f", {facts['samples']} samples each" if (facts["samples"] or 1) > 1 else ""
    shard = f", shard {facts['shard']}" if facts["shard"] is not None else ""
    limited = facts["available"] is not None and facts["available"] > facts["problems"]
    whole = f" of {facts['available']:,}" if limited else ""
    precision = facts["compute_dtype"]
    if facts["quantisation"] != "none":
        precision += f", {facts['quantisation']}"
    layers = ", ".join(map(str, facts["layers"]))
    lines = [
        f"problems  {count(facts['problems'], 'problem')}{whole} ({domains}){samples}{shard}: "
        f"{facts['stored']:,} stored, {facts['failed']:,} failed, {facts['missing']:,} to do",
        f"model     {facts['model']} ({precision}) on {facts['device']}; "
        f"layer{'s' if len(facts['layers']) > 1 else ''} {layers}, {facts['pooling']} pooling",
        f"store     {facts['store']} in {facts['store_dtype']}",
    ]
    if facts["bytes_needed"] is not None:
        lines[2] += (
            f": about {size(facts['bytes_needed'])} more (hidden size {facts['hidden_size']:,}, "
            f"about {count(round(facts['steps_expected']), 'step')} each); "
            f"{size(facts['bytes_free'])} free"
        )
    if facts["duplicates"]:
        lines[0] += f"; {count(facts['duplicates'], 'repeated row')} skipped"
    if facts["date"] is not None:
        lines.append(f"date      {facts['date']}: the chat template reads the clock")
    lines += [f"note      {topic}: {text}" for topic, text in facts["notes"].items()]
    return lines


def warnings_of(extraction: Extraction, asked: ExtractionSettings) -> list[str]:
    """Return warnings about the plan.

    Args:
        asked: the settings with which the extraction was opened.
    """
    warnings, settings = [], extraction.settings
    prompt = settings.prompt
    if asked.prompt.date is None:
        prompt = attrs.evolve(prompt, date=None)
    steps = asked.steps.with_stored_version(extraction.identity.space.steps)
    if prompt != asked.prompt or settings.steps.stored != steps.stored:
        warnings.append("prompt and steps are those of the stored traces, not those of this run")
    if settings.problems.traces and asked.sampling.stop:
        warnings.append("sampling.stop: given solutions are encoded whole")
    return warnings + list(extraction.doubts) + room_warnings(_room_facts(extraction.room))


def room_warnings(facts: Facts) -> list[str]:
    """Return a warning if the disk may fill up; a run certain to fill it is refused elsewhere."""
    needed, free = facts["bytes_needed"], facts["bytes_free"]
    if needed is None or needed <= free:
        return []
    guess = ""
    if not facts["steps_known"]:
        guess = (
            f", if records have about {count(round(facts['steps_expected']), 'step')}, which is a "
            "guess until some are stored"
        )
    return [f"the store needs about {size(needed)} and the disk has {size(free)} free{guess}"]


def _room_facts(room: DiskRoom | None) -> Facts:
    """Return bytes needed and free, None if the store cannot estimate them."""
    return {
        "steps_expected": round(room.steps, 2) if room else None,
        "steps_known": room.known if room else None,
        "bytes_needed": room.needed if room else None,
        "bytes_free": room.free if room else None,
    }


def forecast(extraction: Extraction, trial: Trial) -> Facts:
    """Return what the whole run would take, extrapolated from a trial."""
    todo, survey = extraction.before.missing, extraction.survey
    seconds = trial.seconds_per_problem
    facts = {
        "tried": trial.problems,
        "tried_failed": trial.progress.failures,
        "tried_seconds": round(trial.seconds, 2),
        "seconds_per_problem": round(seconds * survey.work / survey.problems, 6),
        "hours": round(todo * seconds / 3600, 6),
        **_room_facts(extraction.room_after(trial)),
    }
    if survey.available and survey.available > survey.problems:
        facts["hours_whole_source"] = round(
            survey.available * survey.work / survey.problems * seconds / 3600, 6
        )
    return facts


def forecast_lines(facts: Facts) -> list[str]:
    """Return the forecast as lines of text."""
    if not facts["tried"]:
        return ["dry run   nothing to do: everything asked for is stored"]
    lines = [
        f"dry run   {facts['tried']} tried in {duration(facts['tried_seconds'])}, none stored"
        + (f", {facts['tried_failed']} of them failed" if facts["tried_failed"] else ""),
        f"time      {duration(facts['hours'] * 3600)} at "
        f"{rate(facts['seconds_per_problem'])} s/problem",
    ]
    if facts["bytes_needed"] is not None:
        lines.append(f"disk      {size(facts['bytes_needed'])} of {size(facts['bytes_free'])} free")
    if "hours_whole_source" in facts:
        lines[1] += f"; {duration(facts['hours_whole_source'] * 3600)} for the whole source"
    return lines


def progress_facts(progress: Progress, seconds: float) -> Facts:
    """Return counts and rates of a run so far."""
    done = progress.records + progress.failures
    tokens = progress.new_tokens or progress.tokens
    seconds = max(seconds, 1e-9)
    return {
        "records": progress.records,
        "failures": progress.failures,
        "reasons": dict(progress.reasons),
        "steps": progress.steps,
        "tokens": tokens,
        "cut_off": progress.cut_off,
        "seconds": round(seconds, 3),
        "out_of_memory": progress.out_of_memory,
        "tokens_per_second": round(tokens / seconds, 2),
        "done_per_second": round(done / seconds, 4),
    }


def outcome(summary: Summary, exit_code: int) -> Facts:
    """Return what a run did."""
    survey, progress = summary.survey, summary.progress
    facts: Facts = {
        "ending": summary.ending.value,
        "exit_code": exit_code,
        **progress_facts(progress, summary.seconds),
        "failed_in_store": summary.failed_in_store,
        "store_records": summary.store.records,
        "store_bytes": summary.store.bytes_on_disk,
    }
    done = progress.records + progress.failures
    if done:
        each = summary.seconds / done * survey.work / survey.problems
        facts["seconds_per_problem"] = round(each, 6)
        if survey.available and survey.available > survey.problems:
            facts["hours_whole_source"] = round(survey.available * each / 3600, 6)
    return facts


def outcome_lines(facts: Facts, planned: Facts, settings: StoreSettings) -> list[str]:
    """Return the summary as lines of text."""
    store = settings.path
    head = "done" if facts["ending"] == Ending.DONE.value else "stopped by run.max_hours"
    if "seconds_per_problem" not in facts:
        return [f"{head}: nothing to do, everything asked for is in {store}"]
    lines = [
        f"{head}: {count(facts['records'], 'record')}, {count(facts['steps'], 'step')} and "
        f"{count(facts['tokens'], 'token')} in {duration(facts['seconds'])}: "
        f"{rate(facts['seconds_per_problem'])} s/problem, "
        f"{rate(facts['tokens_per_second'])} token/s"
    ]
    if facts["cut_off"]:
        lines.append(
            f"cut off: {facts['cut_off']:,} of {count(facts['records'], 'completion')}, at "
            "sampling.max_new_tokens"
        )
    if facts["failures"]:
        lines.append(f"failed: {reasons_text(facts['reasons'])}")
    if facts["out_of_memory"]:
        lines.append(f"out of memory: {count(facts['out_of_memory'], 'batch')} tried again smaller")
    if "hours_whole_source" in facts:
        lines.append(
            f"the whole source ({count(planned['available'], 'problem')}) would take "
            f"{duration(facts['hours_whole_source'] * 3600)} at this rate"
        )
    lines.append(
        f"store: {count(facts['store_records'], 'record')}, {size(facts['store_bytes'])} in {store}"
    )
    return lines


def reasons_text(reasons: Mapping[str, int]) -> str:
    """Format counts by reason: `3 out of memory, 1 empty completion`."""
    return ", ".join(
        f"{n:,} {reason}" for reason, n in sorted(reasons.items(), key=lambda i: -i[1])
    )


def in_memory(settings: StoreSettings) -> bool:
    """Return whether a store lives only in this process, so that no other command can open it."""
    return split_location(settings.path, settings.name)[0] == "memory"


DONE, FAILED, USAGE, PROBLEMS_FAILED, STOPPED, INTERRUPTED = 0, 1, 2, 3, 4, 130


def exit_code(summary: Summary, allowed: float) -> int:
    """Return 0, 3 or 4, from an extraction's summary and the allowed share of failures."""
    if summary.ending is Ending.STOPPED:
        return STOPPED
    if summary.failed_in_store > allowed * summary.survey.work:
        return PROBLEMS_FAILED
    return DONE


def too_many_failed(summary: Summary, settings: ExtractionSettings) -> str:
    """Return the message for exit code 3."""
    return (
        f"{summary.failed_in_store} of {summary.survey.work} failed, more than "
        f"run.allow_failures={settings.run.allow_failures * 100:g}%"
    )


def explain(error: BaseException, resumable: bool = False) -> tuple[str | None, int]:
    """Return the text and exit code of an error; the text is None for an unexpected one.

    Args:
        resumable: whether the failed run can be resumed.
    """
    remedy = "resume the run" if resumable else "try again"
    if isinstance(error, UsageError):
        return str(error), USAGE
    if isinstance(error, ProblemsFailedError):
        return str(error), PROBLEMS_FAILED
    if isinstance(error, RJepaError):
        return str(error), FAILED
    if isinstance(error, MemoryError):
        if not resumable:
            return (
                "out of memory: end other processes or use a smaller model, and try again",
                FAILED,
            )
        return (
            "out of memory: use a smaller batch size, a smaller model, or another device; "
            "what was finished is kept: resume the run",
            FAILED,
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f" ({error.filename})" if error.filename else ""
        return f"the disk is full{place}: make room and {remedy}", FAILED
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}", FAILED
    return None, FAILED


def may_pass(error: BaseException) -> bool:
    """Return whether the same run may succeed when tried again: the error's exit code is 1."""
    return isinstance(error, Exception) and explain(error)[1] == FAILED

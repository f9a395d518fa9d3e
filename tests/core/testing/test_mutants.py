"""Adapters with one fault each: their suite must fail, and say which promise was broken.

Each file of `mutants/` is run by pytest in a process of its own, as a plugin's author would.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

MUTANTS = Path(__file__).parent / "mutants"

# Of each mutant what some failure must say.
BROKEN: dict[str, dict[str, str]] = {
    "backends": {
        "DropsAProblem": "was asked for 3 completions and returned 2",
        "SessionDropsAProblem": "these problems were admitted and never came back: math-",
        "SessionRepeatsAProblem": "was finished twice",
        "SwapsTwoCompletions": "the prompt is another problem's; rows were swapped",
        "SwapsTwoTexts": r"rows were swapped: math-\w+#?\d? came back with the completion of math-",
        "SwapsTwoVectors": r"rows were swapped: math-\w+#?\d? came back with the vectors of math-",
        "WrongWidth": "latents of width 64, info.hidden_size promises 65",
        "NotANumber": "every value of a vector must be a finite number: 1 of 128 values are NaN",
        "EngineGivesNaN": "latents: every value of a vector must be a finite number",
        "SpanVectorsOneLate": "must not see the token after its span .off by one in the spans",
        "SpanVectorsOneEarly": "must see the last token of its span .off by one in the spans",
        "SpanVectorsOneTooLong": "must not see the token after its span .off by one in the",
        "SpanVectorsOneTooShort": "must see the last token of its span .off by one in the spans",
        "AlwaysTheFirstLayer": "layers 0 and 1 have the same vectors: is another layer read",
        "LayersInReverse": "layer 0 alone has other vectors than among all layers",
        "EveryLayer": "layer 0 was asked for, and 2 came",
        "LastIsTheMean": "with pooling `last` the vector of 8 tokens is not the last of theirs",
        "MaxIsTheMean": "with pooling `max` the vector of 8 tokens is not the max of theirs",
        "PromptVectorOfTheWholePrompt": "another span changes nothing",
        "IgnoresTheLimit": "40 tokens of a completion, where sampling.max_new_tokens is 24",
        "NeverSaysThatItWasCutOff": "its finish_reason is 'stop', not 'length'",
        "GoesOnBehindAStopText": "' of sampling.stop is in a completion",
        "KeepsTheTokensBehindAStopText": "up to the first of them and no further",
        "EndsAtAStopTextInABatchAlone": "' of sampling.stop is in a completion",
        "OffsetsOneLate": "off by one. Characters 0:1 of a completion belong to no token",
        "OffsetsOneEarly": "off by one. The last 1 characters of a completion belong to no token",
        "EngineSpansOneLate": r"its spans must be those that cut\(\) gave, 0:\d+",
        "StatementOneLate": r"the statement's own tokens .off by one.*: \d+:\d+ of \d+",
        "StatementOneEarly": "the statement's own tokens .off by one.*: tokens after it belong",
        "StatementOneTooLong": "the statement's own tokens .off by one.*: it begins with a token",
        "RandomnessOfTheBatch": "a row's randomness must come from seed, problem id and sample",
        "GoesOnAfterAnEnd": "a token of info.end_ids ends a completion; it goes on after one",
        "StopsWithoutAnEnd": r"ends with a token of info.end_ids, not with \d+",
        "ShowsTheDayAndDoesNotSay": "prompts change with Prompt.date, which info.reads_clock must",
        "ShowsADayOfItsOwn": "it must be Prompt.date, and another date changes nothing",
        "StandsStill": "the session makes no progress",
    },
    "stores": {
        "LosesHalfACommit": r"a commit \(commit\) is whole: records were lost: .RecordKey",
        "LosesTheFailuresOfACommit": r"a commit \(commit\) is whole: failures were lost",
        "CommitsInTwo": "tell what is committed alone",
        "ForgetsToCheckRecords": "what is written is checked: NaN and infinite values are refused: "
        "ArgumentError was promised, and nothing was raised",
        "ForgetsToCheckStatements": "a key that is written with another statement is refused: "
        "StatementChangedError was promised, and nothing was raised",
        "ForgetsToCheckTheIdentity": r"begin\(\) checks the identity: another seed is refused",
        "ForgetsWhatItLearned": r"begin\(\) keeps what the store.s identity did not know",
        "ReturnsStaleRecords": r"reading is never stale, through its own handle: get\(\)",
        "ReturnsStaleCounts": r"reading is never stale, through its own handle: len\(\) and stats",
        "ReaderIsStale": "reading is never stale, through another handle",
        "HandsOutItsOwnArrays": r"what get\(\) returned is the caller's own; differing: prompt_ids",
        "HandsOutAViewThatChanges": r"what get\(\) returned is the caller's own; another get\(\) "
        "changed it; differing: latents",
        "HandsOutAReadOnlyView": r"what get\(\) returns is the caller's own, to be written",
        "SnapshotsMove": "later writing does not show in a snapshot",
        "LetsTwoWrite": "a store has one writer at a time: StoreLockedError was promised",
        "GoesOnAtTheRecord": r"keys\(after\) gives what follows that record",
    },
    "schedulers": {
        "LosesTheRowsInFlight": "the scheduler loses sight of the rows in flight",
        "LosesADecision": "a decision was lost: fewer rows after out of memory is not told",
        "RepeatsTheSameBatch": "the scheduler repeats itself: the same batch would fail again",
        "RepeatsADecision": "a decision was told twice",
        "StallsAfterOutOfMemory": "the scheduler stalls the run: no work was admitted",
        "StallsOfEncoding": "no room for a given solution: the run stands still",
        "DecidesByChance": "hidden state decides",
        "LowersTheWrongSide": "the encoding would fail again",
        "QueueLosesWhatIsPutBack": "work was lost, it was never taken: p",
        "QueueLosesTheLast": "work was lost, it was never taken: p",
        "QueueRepeats": "work was repeated, it was taken twice: p",
        "QueueStalls": "the queue stalls: with `at_least_one` the first is given",
        "QueueHoldsForever": "a queue without work is false, or a run would never end",
        "QueueOverfills": r"\d+ tokens were given where there is room for \d+",
    },
    "sources_and_probes": {
        "SourceIsReadOnce": "a source can be read more than once: 3 rows were lost",
        "SourceNumbersItsRows": "the id row-0 stands for two statements",
        "SourceKnowsNoDomain": "problems.domain overrides the source's: {'math'}",
        "SourceLosesSolutions": "asked for solutions, a row without one is an InputError",
        "SourceRaisesWhatItMeets": "what cannot be read is an InputError: InputError was promised, "
        "not FileNotFoundError",
        "ProbeReadsZero": "used_bytes: a sensor that is absent reads None, not 0",
        "ProbeReadsMegabytes": "limit_bytes is in bytes: a limit of 8000 holds no program",
        "ProbeReadsPercent": "stalled is a share of time, 0 to 1: 12.5",
        "ProbeIsSlow": "a reading is taken after each step: 0.1",
        "ProbeSwapsItsSensors": "is measured against limit_bytes",
    },
    "grading": {
        "GraderWithoutVersion": "a version is kept with each grade, so it is not empty",
        "GraderOfAnotherName": "a grader has the name that it is asked for by",
        "GraderWithAVersionOfItsOwn": "equal graders have equal versions",
        "GraderRefusesAll": r"refuses\(\) is None for what it can grade: 'no'",
        "GraderLosesOne": r"grade\(\) gives a verdict for each submission",
        "GraderLikesAll": "'19' is wrong",
        "GraderGivesMarks": r"grade\(\) gives Verdicts: 'right'",
        "GraderLeavesNoAnswerUngraded": "a completion without an answer is not right",
        "GraderInReverse": "'18' is right",
        "GraderRemembers": "is graded alike beside others",
        "GraderHangs": "it has a time limit",
        "GraderRaisesWhatItMeets": "surrogates not allowed",
        "GraderClosesOnce": "closed already",
        "StoreKeepsNoGrades": "a store that keeps grades is a KeepsGrades",
        "StoreShowsGradesTooEarly": r"grades\(\) gives the committed alone",
        "StoreForgetsTheReason": r"grade\(\) knows the uncommitted",
        "StoreKeepsTheFirstGrade": "a later grade takes an earlier one's place",
        "StoreKeepsGradesOfReplacedRecords": "a record that is written again has no grade",
        "StoreTakesGradesWithoutRecords": "a grade needs a record",
        "StoreLosesGradesOfFailures": "a failure takes no record's grade",
    },
}
SOUND = {
    "backends": {"Sound"},
    "stores": {"Sound"},
    "schedulers": {"Sound", "AdaptiveSound", "QueueSound"},
    "sources_and_probes": {"SourceSound", "ProbeSound"},
    "grading": {"GraderSound", "GradesSound"},
}


@lru_cache
def failures(kind: str) -> dict[str, list[str]]:
    """Messages of what failed, by class, of all classes in a file of mutants."""
    with TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        searched = os.pathsep.join([str(MUTANTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(
            [
                sys.executable, "-m", "pytest", str(MUTANTS / f"{kind}.py"), f"--junitxml={report}",
                "-o", f"python_files={kind}.py", "-p", "no:cacheprovider", "-p", "no:xdist", "-q",
            ],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": searched, "HYPOTHESIS_STORAGE_DIRECTORY": place},
            timeout=500,
        )  # fmt: skip
        assert report.exists(), done.stdout + done.stderr
        found: dict[str, list[str]] = {}
        for case in ElementTree.parse(report).iter("testcase"):
            name = case.get("classname", "").rpartition(".")[2].removeprefix("Test")
            messages = found.setdefault(name, [])
            for kind_of in ("failure", "error"):
                # The message alone: a traceback shows the words of checks that held, too.
                messages += [entry.get("message", "") for entry in case.findall(kind_of)]
        return found


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_sound_passes_and_nothing_else(kind: str) -> None:
    found = failures(kind)
    assert found.keys() == BROKEN[kind].keys() | SOUND[kind]
    assert {name for name, messages in found.items() if not messages} == SOUND[kind]


@pytest.mark.parametrize(
    ("kind", "mutant"), [(kind, mutant) for kind in BROKEN for mutant in BROKEN[kind]]
)
def test_the_broken_promise_is_named(kind: str, mutant: str) -> None:
    messages = failures(kind)[mutant]
    said = re.compile(BROKEN[kind][mutant])
    assert any(said.search(message) for message in messages), "\n".join(messages)[:5000]

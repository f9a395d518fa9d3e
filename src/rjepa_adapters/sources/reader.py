"""Turn records into problems, with their solutions if they are wanted."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

from rjepa_core.domain.answer import marked_answer
from rjepa_core.domain.problem import DEFAULT_DOMAIN, Problem, derived_id
from rjepa_core.ports.source import SourceRow
from rjepa_core.settings import ProblemSettings
from rjepa_core.text import shell_word

from .choices import ANSWER_NAMES, CHOICES, ChoiceError
from .fields import CORRECT, LABELS, SOLUTION_NAMES, Fields
from .record import Record, is_null, kind_of, plain_name, scalar_text
from .solutions import LONGEST_LABEL, given_solutions
from .statement import Posed, is_mbpp, join_fields, pose_row, unposed

CODE_DOMAIN = "code"
# The answer's field in data sets for reinforcement learning from verified answers.
_NESTED_ANSWER = "reward_model.ground_truth"


@attrs.frozen
class RowReader:
    """Turns records into problems.

    Attributes:
        fields: the meaning of the fields.
        domain: overrides the records' own.
        given: whether every record must have solutions; otherwise they are ignored.
        keep_notes: keep `<<…>>` notes in solutions.
    """

    fields: Fields
    domain: str | None = None
    given: bool = False
    keep_notes: bool = False
    _warned: set[str] = attrs.field(factory=set, init=False, eq=False, repr=False)

    @classmethod
    def of(cls, problems: ProblemSettings) -> RowReader:
        """Return the reader for the settings.

        Raises:
            UsageError: `problems.fields` names a field that a problem does not have.
        """
        fields = Fields.of(problems.fields)
        return cls(fields, problems.domain, bool(problems.traces), problems.keep_notes)

    def read(self, values: Mapping[str, Any], where: str) -> SourceRow:
        """Return a record as a problem and its solutions.

        Raises:
            InputError: the record is invalid; the message names its location and the field.
        """
        record = Record.of(values, where)
        self.fields.check(record)
        record = record.with_values(self._join_fields(record))
        posed = pose_row(self.fields, record)
        domain, domain_field = self._domain(record)
        found, id_field = self._id(record)
        subdomain, subdomain_field = self._subdomain(record)
        answer, answer_field = self._answer(record, posed)
        used = {*posed.fields, domain_field, id_field, subdomain_field, answer_field}
        for theirs in self.fields.given.values():
            used |= {part.split(".")[0] for part in self.fields.parts(record, theirs)}
        problem = Problem(
            id=found or derived_id(domain, posed.text),
            statement=posed.text,
            domain=domain,
            subdomain=subdomain,
            answer=answer,
            metadata=self._metadata(record, used),
        )
        self._warn_of(record, posed, used)
        if not self.given:
            return SourceRow(problem, (), where)
        # In code, `1<<n>>2` is not a calculator note.
        keep_notes = self.keep_notes or domain == CODE_DOMAIN
        if answer_field is not None and plain_name(answer_field) in CORRECT:
            # It is the letter of the right choice, not a label of a solution.
            record = record.without(answer_field)
        reply = None if posed.chat is None else posed.chat.reply
        return SourceRow(problem, given_solutions(self.fields, record, keep_notes, reply), where)

    def _join_fields(self, record: Record) -> dict[str, Any]:
        """Return the values of the user's names for several fields, or for a nested field."""
        return {
            theirs: join_fields(record, ours, self.fields.parts(record, theirs))
            for ours, theirs in self.fields.given.items()
            if theirs and theirs not in record.names
        }

    def _warn_of(self, record: Record, posed: Posed, used: set[str | None]) -> None:
        """Warn, once per field, that it may be part of the problem but is in no prompt."""
        base = self.fields.given.get("statement") or posed.fields[0]
        joins = {field: f"{field}+{base}" for field in unposed(record, posed, used)}
        if posed.choices is not None and not posed.lettered:
            joins[posed.choices.fields[0]] = f"{base}+{CHOICES}"
        for field, join in joins.items():
            how = f"join it: problems.fields.statement={shell_word(join)}"
            if isinstance(record.values[field], Mapping) and CHOICES not in join:
                how = "write it into the statement"
            self._warn(
                field,
                f"{record.where}: the field {field!r} is in no prompt; if it belongs to the "
                f"problem, {how}",
            )
        system = posed.chat.system if posed.chat is not None else ""
        shown = " ".join(system.split())
        if system not in posed.text:
            self._warn(
                "system",
                f"{record.where}: the system's message in {base!r} ({shown:.60}) is in no prompt; "
                "give one to all problems by prompt.system, or join each: "
                f"problems.fields.statement={shell_word(f'{base}.system+{base}.user')}",
            )

    def _warn(self, topic: str, text: str) -> None:
        if topic not in self._warned:
            self._warned.add(topic)
            warnings.warn(text, stacklevel=2)

    def _id(self, record: Record) -> tuple[str | None, str | None]:
        for field in self.fields.candidates(record, "id"):
            value = record.values[field]
            if is_null(value) or (isinstance(value, str) and not value.strip()):
                continue
            if isinstance(value, Decimal) and value == value.to_integral_value():
                value = int(value)
            text = None if isinstance(value, bool) else scalar_text(value)
            if text is None:
                raise record.error(
                    f"the id in field {field!r} is {kind_of(value)}; it must be a text or a number"
                )
            return record.text(field, "id", text).strip(), field
        return None, None

    def _domain(self, record: Record) -> tuple[str, str | None]:
        if self.domain is not None:
            return self.domain, None
        for field in self.fields.candidates(record, "domain"):
            value = record.values[field]
            if is_null(value):
                continue
            if not isinstance(value, str):
                raise record.error(
                    f"the domain in field {field!r} is {kind_of(value)}; it must be a text "
                    "(problems.domain overrides it)"
                )
            if value.strip():
                return record.text(field, "domain").strip(), field
        has = record.plain
        code = "entry_point" in has and ("test" in has or "canonical_solution" in has)
        return (CODE_DOMAIN if code or is_mbpp(record) else DEFAULT_DOMAIN), None

    def _subdomain(self, record: Record) -> tuple[str | None, str | None]:
        for field in self.fields.candidates(record, "subdomain"):
            text = scalar_text(record.values[field])
            if text is not None and text.strip():
                return record.text(field, "subdomain", text).strip(), field
        return None, None

    def _answer(self, record: Record, posed: Posed) -> tuple[str | None, str | None]:
        """Return the reference answer, and the field that it was taken from."""
        for field in self.fields.candidates(record, "answer"):
            value = _unwrap_single(record.values[field])
            text = self._answer_text(record, field, value)
            if not text:
                continue
            found = marked_answer(text)
            # Lines without a mark at their end are a solution, unless named as the answer.
            if found is None and ("answer" in self.fields.given or "\n" not in text):
                found = text
            named = value if found == text else found
            return self._chosen(record, field, posed, named), field
        if "answer" not in self.fields.given:
            for field in record.present(ANSWER_NAMES) if posed.choices else ():
                found = self._choice(posed, record.values[field])
                if found is not None:
                    return found, field
            value = _unwrap_single(record.find(_NESTED_ANSWER)[1])
            if text := self._answer_text(record, _NESTED_ANSWER, value):
                return marked_answer(text) or text, _NESTED_ANSWER.split(".")[0]
        reply = posed.chat.reply if posed.chat is not None else None
        return self._reference(record) or (marked_answer(reply) if reply else None), None

    def _answer_text(self, record: Record, field: str, value: Any) -> str:
        """Return an answer as text, empty if there is none."""
        if is_null(value):
            return ""
        if isinstance(value, bytes):
            raise record.error(f"the answer in field {field!r} is binary data; it must be a text")
        text = scalar_text(value)
        if text is None:
            text = json.dumps(value, ensure_ascii=False, default=_json_number)
        return record.text(field, "answer", text).strip()

    def _chosen(self, record: Record, field: str, posed: Posed, answer: Any) -> str | None:
        """Return an answer, resolved to one of the row's choices if it has any."""
        if posed.choices is None or answer is None:
            return None if answer is None else self._answer_text(record, field, answer)
        try:
            return posed.choices.named(answer, posed.lettered)
        except ChoiceError as error:
            raise record.error(
                f"the answer in field {field!r}: {error}; name the right one: "
                "problems.fields.answer=NAME"
            ) from None

    def _choice(self, posed: Posed, value: Any) -> str | None:
        """Return the choice that a value names; None if it names none."""
        assert posed.choices is not None
        try:
            place = posed.choices.place_of(value)
        except ChoiceError:
            return None
        return None if place is None else posed.choices.named(value, posed.lettered)

    def _reference(self, record: Record) -> str | None:
        """Return the answer in a source's own solution; a labelled one may be wrong."""
        if "answer" in self.fields.given or record.present(CORRECT):
            return None
        for field in self.fields.candidates(record, "solution")[:1]:
            value = record.values[field]
            own = "solution" in self.fields.given or plain_name(field) == "solution"
            if own and isinstance(value, str):
                return marked_answer(record.text(field, "solution"))
        return None

    def _metadata(self, record: Record, used: set[str | None]) -> dict[str, str]:
        """Return the other short values; labels of solutions are left to the solutions."""
        kept = {}
        for field in record.names:
            if field in used or plain_name(field) in (*SOLUTION_NAMES, *LABELS):
                continue
            text = scalar_text(record.values[field])
            if text and len(text) <= LONGEST_LABEL:
                kept[field] = text.encode("utf-8", "replace").decode("utf-8")
        return kept


def _unwrap_single(value: Any) -> Any:
    """Return the only element of a list, also of nested ones; anything else unchanged."""
    while isinstance(value, list) and len(value) == 1:
        [value] = value
    return value


def _json_number(value: Any) -> Any:
    """Return a decimal within a list as a JSON number, anything else as text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)

"""From records to problems, with their solutions where these are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from rjepa_core.ports.problem_source import SourceRow
from rjepa_core.problems import DEFAULT_DOMAIN, Problem, derived_id
from rjepa_core.settings import ProblemSettings

from .answers import final_answer
from .fields import CORRECT, LABELS, SOLUTION_NAMES, Fields
from .record import Record, is_null, kind_of, plain_name, scalar_text
from .solutions import LONGEST_LABEL, given_solutions

CODE_DOMAIN = "code"


@attrs.frozen
class RowReader:
    """Turns records into problems.

    Attributes:
        fields: which field is what.
        domain: overrides the records' own.
        given: whether every record must bring solutions; they are not looked at otherwise.
        keep_notes: leave `<<…>>` notes in them.
    """

    fields: Fields
    domain: str | None = None
    given: bool = False
    keep_notes: bool = False

    @classmethod
    def of(cls, problems: ProblemSettings) -> RowReader:
        """The reader that the settings ask for.

        Raises:
            UsageError: `problems.fields` names something that a problem does not have.
        """
        fields = Fields.of(problems.fields)
        return cls(fields, problems.domain, bool(problems.traces), problems.keep_notes)

    def read(self, values: Mapping[str, Any], where: str) -> SourceRow:
        """One record as a problem and its solutions.

        Raises:
            InputError: naming where it stands, and the field.
        """
        record = Record.of(values, where)
        self.fields.check(record)
        statement, statement_field = self._statement(record)
        domain, domain_field = self._domain(record)
        found, id_field = self._id(record)
        subdomain, subdomain_field = self._subdomain(record)
        answer, answer_field = self._answer(record)
        used = {statement_field, domain_field, id_field, subdomain_field, answer_field}
        problem = Problem(
            id=found or derived_id(domain, statement),
            statement=statement,
            domain=domain,
            subdomain=subdomain,
            answer=answer,
            metadata=self._metadata(record, used),
        )
        if not self.given:
            return SourceRow(problem, (), where)
        # In code, `1<<n>>2` is no calculator note.
        keep_notes = self.keep_notes or domain == CODE_DOMAIN
        return SourceRow(problem, given_solutions(self.fields, record, keep_notes), where)

    def _statement(self, record: Record) -> tuple[str, str]:
        fields = self.fields.candidates(record, "statement")
        if not fields:
            raise self.fields.no_statement(record)
        field = next((f for f in fields if not is_null(record.values[f])), fields[0])
        value = record.values[field]
        statement = "" if is_null(value) else record.text(field, "statement")
        if not statement.strip():
            raise record.error(f"the statement in field {field!r} is empty")
        return statement, field

    def _id(self, record: Record) -> tuple[str | None, str | None]:
        for field in self.fields.candidates(record, "id"):
            value = record.values[field]
            if is_null(value) or (isinstance(value, str) and not value.strip()):
                continue
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
                    "(--domain NAME overrides it)"
                )
            if value.strip():
                return record.text(field, "domain").strip(), field
        has = record.plain
        code = "entry_point" in has and ("test" in has or "canonical_solution" in has)
        return (CODE_DOMAIN if code else DEFAULT_DOMAIN), None

    def _subdomain(self, record: Record) -> tuple[str | None, str | None]:
        for field in self.fields.candidates(record, "subdomain"):
            text = scalar_text(record.values[field])
            if text is not None and text.strip():
                return record.text(field, "subdomain", text).strip(), field
        return None, None

    def _answer(self, record: Record) -> tuple[str | None, str | None]:
        """The reference answer, and the field used up by it."""
        for field in self.fields.candidates(record, "answer"):
            value = record.values[field]
            if is_null(value):
                continue
            text = scalar_text(value)
            if text is None:
                text = json.dumps(value, ensure_ascii=False, default=str)
            text = record.text(field, "answer", text).strip()
            if not text:
                continue
            found = final_answer(text)
            # Lines without a mark at their end are a solution, not an answer, unless named as one.
            if found is None and ("answer" in self.fields.given or "\n" not in text):
                found = text
            return found, field
        return self._reference(record), None

    def _reference(self, record: Record) -> str | None:
        """The answer inside a source's own solution; one that carries a label may be wrong."""
        if "answer" in self.fields.given or record.present(CORRECT):
            return None
        for field in self.fields.candidates(record, "solution")[:1]:
            value = record.values[field]
            own = "solution" in self.fields.given or plain_name(field) == "solution"
            if own and isinstance(value, str):
                return final_answer(record.text(field, "solution"))
        return None

    def _metadata(self, record: Record, used: set[str | None]) -> dict[str, str]:
        """Other short values; a solution's own labels are left to the solutions."""
        used = used | set(self.fields.given.values())
        kept = {}
        for field, value in record.values.items():
            if field in used or plain_name(field) in (*SOLUTION_NAMES, *LABELS):
                continue
            text = scalar_text(value)
            if text and len(text) <= LONGEST_LABEL:
                kept[field] = text.encode("utf-8", "replace").decode("utf-8")
        return kept

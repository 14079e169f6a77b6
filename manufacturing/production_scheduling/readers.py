"""Instance files: the standard job-shop text (JSPLIB), Taillard's, the flexible job shop's (fjsp) and our JSON.

Text formats are read line by line, so that a file cut in the middle, a wrong count or trailing rubbish is told with its
line. Machines are named by their number in the file (M0, M1, ...), jobs by their place (J1, J2, ...).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from common.errors import DataError
from manufacturing.production_scheduling.problem import Job, Machine, Operation, Problem

Format = Literal["standard", "taillard", "fjsp", "json"]
Line = tuple[int, list[int]]
MOST_BYTES = 64 * 2**20


def read(path: Path, format: Format | None = None, *, without_last_zeros: bool = False) -> Problem:
    """The problem in a file, whose format is guessed where it is not given.

    A duration of 0 is an error, but for `without_last_zeros`: operations of no time that end a job are left out then,
    which changes no makespan. Of the published instances orb07 has one.

    Raises `DataError`: one sentence with the file, the line, what was got and what was expected.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError("the file is too large", where=str(path), expected=f"at most {MOST_BYTES >> 20} MB")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(path)) from None
    except UnicodeDecodeError:
        raise DataError("not a text file", where=str(path), expected="an instance as text or JSON in UTF-8") from None
    return parse(text, format, where=str(path), name=path.stem, without_last_zeros=without_last_zeros)


def parse(
    text: str,
    format: Format | None = None,
    *,
    where: str = "instance",
    name: str = "",
    without_last_zeros: bool = False,
) -> Problem:
    """As `read`, from the file's text."""
    form = format or _guess(text)
    try:
        if form == "json":
            return Problem.model_validate_json(text)
        rows = _rows(text)
        jobs, machines = {"standard": _standard, "taillard": _taillard, "fjsp": _fjsp}[form](rows)
        if without_last_zeros:
            jobs = tuple(_without_last_zeros(job) for job in jobs)
        return Problem(name=name, machines=machines, jobs=jobs)
    except ValidationError as error:
        raise DataError(sentence(error), where=where) from None
    except ValueError as error:
        raise DataError(str(error), where=where) from None


def sentence(error: ValidationError) -> str:
    """The first thing that pydantic found wrong, as one sentence that names the field."""
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    field = ".".join(str(part) for part in first["loc"])
    return f"{field}: {message}" if field else message


def write_standard(problem: Problem) -> str:
    """A classic job shop as standard text: machines are numbered from 0 in their order, line ends are LF."""
    number = {machine.name: index for index, machine in enumerate(problem.machines)}
    lines = [f"{len(problem.jobs)} {len(problem.machines)}"]
    for job in problem.jobs:
        steps = [next(iter(operation.durations.items())) for operation in job.operations]
        lines.append(" ".join(f"{number[machine]} {time}" for machine, time in steps))
    return "\n".join(lines) + "\n"


def _guess(text: str) -> Format:
    if text.lstrip()[:1] in ("{", "["):
        return "json"
    if re.search(r"^\s*times\b", text, re.IGNORECASE | re.MULTILINE):
        return "taillard"
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) > 1 and len(lines[0]) == 2 and lines[0][1].isdigit():
        width = 2 * int(lines[0][1])
        return "standard" if sum(len(line) == width for line in lines[1:]) * 2 >= len(lines) - 1 else "fjsp"
    return "fjsp"


def _rows(text: str) -> list[tuple[int, str]]:
    """Lines with content by number, without comments (`#`)."""
    lines = ((number, line.split("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in lines if line]


def _numbers(row: tuple[int, str], what: str) -> Line:
    found = []
    for token in row[1].split():
        if not re.fullmatch(r"-?\d{1,15}", token):
            raise ValueError(f"line {row[0]}: {token[:40]!r} is not a whole number, where {what} should be")
        found.append(int(token))
    return row[0], found


def _header(rows: list[tuple[int, str]], allow_fraction: bool = False) -> tuple[int, int]:
    if not rows:
        raise ValueError("the file is empty; expected a first line with the numbers of jobs and machines")
    line, text = rows[0]
    tokens = text.split()
    _, numbers = _numbers((line, " ".join(tokens[:2])), "the numbers of jobs and machines")
    fits = 2 <= len(tokens) <= 3 if allow_fraction else len(tokens) >= 2
    if not fits or min(numbers) < 1:
        raise ValueError(f"line {line}: got {text[:60]!r}, expected the numbers of jobs and machines")
    return numbers[0], numbers[1]


def _block(rows: list[tuple[int, str]], count: int, what: str) -> list[Line]:
    """Exactly `count` rows of numbers."""
    if len(rows) < count:
        last = f"line {rows[-1][0]}" if rows else "its header"
        raise ValueError(f"the file ends after {last}: got {len(rows)} of {count} {what}; it may be cut")
    if len(rows) > count:
        number, text = rows[count]
        raise ValueError(f"line {number}: {text[:40]!r} follows the last of the {count} {what}; expected the end")
    return [_numbers(row, what) for row in rows]


def _width(row: Line, width: int, job: int, what: str) -> list[int]:
    if len(row[1]) != width:
        raise ValueError(f"line {row[0]}: job {job} has {len(row[1])} numbers, expected {width} ({what})")
    return row[1]


def _machine(number: int, first: int, count: int, line: int, job: int) -> str:
    if not first <= number < first + count:
        known = f"{first} to {first + count - 1}"
        raise ValueError(f"line {line}: job {job} needs machine {number}, which does not exist; there are {known}")
    return f"M{number}"


def _named(first: int, count: int) -> tuple[Machine, ...]:
    return tuple(Machine(name=f"M{number}") for number in range(first, first + count))


def _job(place: int, steps: Iterable[tuple[str, int]]) -> Job:
    return Job(name=f"J{place}", operations=tuple(Operation(durations={machine: time}) for machine, time in steps))


def _without_last_zeros(job: Job) -> Job:
    count = len(job.operations)
    while count > 1 and not any(job.operations[count - 1].durations.values()):
        count -= 1
    return Job(name=job.name, operations=job.operations[:count])


def _standard(rows: list[tuple[int, str]]) -> tuple[tuple[Job, ...], tuple[Machine, ...]]:
    count, machines = _header(rows)
    if len(rows[0][1].split()) != 2:
        raise ValueError(f"line {rows[0][0]}: got {rows[0][1][:60]!r}, expected the numbers of jobs and machines only")
    jobs = []
    for place, row in enumerate(_block(rows[1:], count, "jobs"), 1):
        numbers = _width(row, 2 * machines, place, f"a machine and a duration for each of {machines} operations")
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        jobs.append(_job(place, ((_machine(m, 0, machines, row[0], place), time) for m, time in pairs)))
    return tuple(jobs), _named(0, machines)


def _taillard(rows: list[tuple[int, str]]) -> tuple[tuple[Job, ...], tuple[Machine, ...]]:
    """His specification: a header, `Times` with a row for each job, `Machines` (from 1) with a row for each job."""
    if rows and not rows[0][1][0].isdigit() and not rows[0][1].lower().startswith("times"):
        rows = rows[1:]
    count, machines = _header(rows)
    words = {text.lower(): index for index, (_, text) in enumerate(rows) if text[0].isalpha()}
    if list(words) != ["times", "machines"]:
        raise ValueError(f"got the headings {', '.join(words) or 'none'}, expected Times, then Machines")
    times = _block(rows[words["times"] + 1 : words["machines"]], count, "rows of times")
    orders = _block(rows[words["machines"] + 1 :], count, "rows of machines")
    jobs = []
    for place, (spans, order) in enumerate(zip(times, orders, strict=True), 1):
        durations = _width(spans, machines, place, "a time for each operation")
        numbers = _width(order, machines, place, "a machine for each operation")
        named = [_machine(m, 1, machines, order[0], place) for m in numbers]
        jobs.append(_job(place, zip(named, durations, strict=True)))
    return tuple(jobs), _named(1, machines)


def _fjsp(rows: list[tuple[int, str]]) -> tuple[tuple[Job, ...], tuple[Machine, ...]]:
    """The third number of the header, the mean number of alternatives, is rounded in places and not looked at."""
    count, machines = _header(rows, allow_fraction=True)
    jobs = []
    for place, (line, numbers) in enumerate(_block(rows[1:], count, "jobs"), 1):
        rest, operations = iter(numbers), []
        try:
            for step in range(1, next(rest) + 1):
                options = [(next(rest), next(rest)) for _ in range(next(rest))]
                if not options:
                    raise ValueError(f"line {line}: operation {step} of job {place} has no machine")
                named = {_machine(m, 1, machines, line, place): time for m, time in options}
                if len(named) < len(options):
                    raise ValueError(f"line {line}: operation {step} of job {place} names a machine twice")
                operations.append(Operation(durations=named))
        except (StopIteration, RuntimeError):
            raise ValueError(f"line {line}: job {place} ends within its operations; the file may be cut") from None
        if left := len(list(rest)):
            raise ValueError(f"line {line}: {left} numbers follow the {len(operations)} operations of job {place}")
        jobs.append(Job(name=f"J{place}", operations=tuple(operations)))
    return tuple(jobs), _named(1, machines)

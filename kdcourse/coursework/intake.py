"""Read a folder of submissions as instructors receive it, and sort it by student.

    a folder per student    |
    a platform's download   |  ->  files, zip archives opened  ->  student of each  ->  lesson of each  ->  Collected

Nothing is unpacked to the disk and no link is followed, so that no name in an archive can point outside it, nor beside
its sender. Broken files of one student don't affect the others: they become sentences in that student's problems.
Every file is accounted for: it was graded, or a sentence says why not.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import tempfile
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO

from kdcourse.coursework import notebooks
from kdcourse.coursework.finding import answered, find
from kdcourse.coursework.platforms import METADATA, Kind, Sender, senders
from kdcourse.coursework.records import MOST_NESTED, Account, Assignment, Handed, Submission, copy_at_most
from kdcourse.errors import DataError

MOST_FILES = 5_000  # per student
MOST_NOTEBOOKS = 40  # per student
MOST_ATTEMPTS = 10  # at a lesson, if the best is to count
MOST_MODULES = 20  # per student: Python files that a notebook may import
MOST_DEPTH = 12  # of nested folders
_MOST_DIRECTORY = 16_000_000  # bytes of a zip archive's list of contents
_UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error)
_JUNK = {"__macosx", "__pycache__", "node_modules", "site-packages", "venv", "thumbs.db", "desktop.ini"}
_OTHER_ARCHIVES = (".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz")
_NOTEBOOK = re.compile(r".*\.ipynb(?:\.(?:txt|json|bak))?(?:\s*\(\d+\)|-\d+)?", re.IGNORECASE | re.DOTALL)
_COPY = re.compile(
    r"\s*\(\d+\)|[\s_-]+(?:copy|kopie|copie)\s*\d*$|^(?:copy of|kopie von|copie de)\s+", re.IGNORECASE
)


@dataclass(frozen=True)
class Collected:
    """Hold what a class handed in.

    Args:
        submissions: one per student, ordered by ``student``.
        accounts: every file that was found, and what became of it.
        notes: sentences for the instructor on how the folder was understood.
        canvas_ids: student -> Canvas' number of the student, in a download of Canvas.
    """

    submissions: tuple[Submission, ...]
    accounts: tuple[Account, ...]
    notes: tuple[str, ...]
    canvas_ids: dict[str, str]


def collect(folder: Path, assignment: Assignment) -> Collected:
    """Return what a class handed in.

    Args:
        folder: holds a folder (or zip archive, or notebook) for each student, or is a download of Moodle, Canvas,
            Gradescope or Blackboard, as a folder or as the zip archive itself.
        assignment: tells which lessons to look for.

    Returns:
        Submissions, accounts and notes. In a download of a platform that numbers its students, ``student`` ends in an
        underscore and that number.

    Raises:
        DataError: the folder doesn't exist, or nothing in it can be a submission.
    """
    if not folder.exists():
        raise DataError(f"There is no folder {folder} with submissions; check the path.")
    everything = list(_entries(folder))
    junk = [
        Account(entry.path, "", "ignored: a system or tool made it") for entry in everything if entry.junk
    ]
    entries, notes = _lifted([entry for entry in everything if not entry.junk])
    students, nobodys, said = _by_student(entries, folder, assignment)
    if not students:
        raise DataError(
            f"{folder} holds no submissions: no folder, notebook or zip archive. Name the folder that has one "
            "folder per student, or the learning platform's download."
        )
    names = unique([(student.id, student.name) for student in students])
    found, accounts, canvas_ids = [], junk + nobodys, {}
    for student, name in zip(students, names, strict=True):
        submission, fates = _submission(student, name, assignment)
        found.append(submission)
        if student.canvas:
            canvas_ids[name] = student.canvas
        for place, entry in enumerate(student.entries):
            if entry.file is not None or entry.trouble:
                accounts.append(Account(entry.path, name, fates.get(place) or _fate(entry)))
    return Collected(
        tuple(sorted(found, key=lambda submission: submission.student)),
        tuple(sorted(accounts, key=lambda account: account.file)),
        (*notes, *said),
        canvas_ids,
    )


def _fate(entry: _Entry) -> str:
    return f"ignored: {entry.trouble or 'it is no notebook'}"


# -- reading the folder -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """Describe one entry of the folder.

    Args:
        parts: readable names from the class's folder down to it; an archive counts as a folder.
        file: the file to read; None for a folder, and for what can't be read.
        trouble: why it can't be read, as words that follow its name, or "".
        modified: seconds since 1970.
        path: the parts with which it was found.
        junk: whether systems and tools write such files, and no student does.
    """

    parts: tuple[str, ...]
    file: Handed | None = None
    trouble: str = ""
    modified: float = 0.0
    path: str = ""
    junk: bool = False

    def __post_init__(self) -> None:
        """Remember where it was found."""
        if not self.path:
            object.__setattr__(self, "path", "/".join(self.parts))

    @property
    def is_notebook(self) -> bool:
        """Tell by its name whether it is a notebook."""
        return self.file is not None and _NOTEBOOK.fullmatch(self.parts[-1]) is not None


def _entries(folder: Path) -> Iterator[_Entry]:
    if folder.is_file():
        top = _Entry((), Handed(folder, None, folder.name, folder.stat().st_size))
        for entry in _in_archive(top):
            if entry.trouble and not entry.parts:
                raise DataError(f"{folder} {entry.trouble}.")
            yield entry
        return
    for path in _listed(folder):
        for seen, entry in enumerate(_below(path, (readable(path.name),))):
            if seen > MOST_FILES:
                yield _Entry(
                    (readable(path.name),),
                    trouble=f"has more than {MOST_FILES:,} files; the rest was not read",
                )
                break
            yield entry


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: path.name)


def _is_junk(name: str) -> bool:
    hidden = name.startswith(".") and (name.startswith("._") or not name.casefold().endswith(".ipynb"))
    return hidden or name.casefold() in _JUNK


def _below(path: Path, parts: tuple[str, ...]) -> Iterator[_Entry]:
    """Yield a path and everything below it; archives are opened, links are not followed."""
    if _is_junk(path.name):
        yield _Entry(parts, junk=True)
        return
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            yield _Entry(parts, trouble="is a link, which is not followed")
        elif stat.S_ISDIR(found.st_mode):
            yield _Entry(parts)
            if len(parts) > MOST_DEPTH:
                yield _Entry(parts, trouble="is in too many nested folders")
                return
            for child in _listed(path):
                yield from _below(child, (*parts, readable(child.name)))
        elif stat.S_ISREG(found.st_mode):
            file = Handed(path, None, parts[-1], found.st_size)
            yield from _opened(_Entry(parts, file, modified=found.st_mtime))
        else:
            yield _Entry(parts, trouble="is not a regular file")
    except OSError as error:
        yield _Entry(parts, trouble=f"can't be read: {error.strerror or type(error).__name__}")


def _opened(entry: _Entry) -> Iterator[_Entry]:
    """Yield a file, or the entries in it if it is an archive."""
    name = entry.parts[-1].casefold()
    if name.endswith(_OTHER_ARCHIVES):
        yield _Entry(
            entry.parts,
            trouble="is an archive of a kind that can't be opened here; a .zip or .ipynb is needed",
        )
    elif not name.endswith(".zip"):
        yield entry
    else:
        yield from _in_archive(entry)


def _in_archive(entry: _Entry) -> Iterator[_Entry]:
    handed = entry.file
    assert handed is not None
    yield _Entry(entry.parts)
    if handed.inner is not None:
        yield _Entry(entry.parts, trouble="is an archive in an archive in an archive, which is not opened")
        return
    try:
        with ExitStack() as stack:
            stream = stack.enter_context(handed.open())
            if handed.member is not None:
                copy = stack.enter_context(tempfile.SpooledTemporaryFile(16_000_000))
                copy_at_most(stream, copy, MOST_NESTED)
                stream = copy
            _check_directory(stream)
            archive = stack.enter_context(zipfile.ZipFile(stream))
            members = list(_members(entry, handed, archive.infolist()))
    except _UNREADABLE as error:
        why = notebooks.short(error)
        yield _Entry(entry.parts, trouble=f"can't be opened: {why}")
        return
    for member in members:
        if member.file is None:
            yield member
        else:
            yield from _opened(member)


def _check_directory(stream: IO[bytes]) -> None:
    """Refuse a list of contents that would fill the memory, before zipfile reads it.

    Raises:
        OSError: the list is too long.
    """
    end = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, end - 65_557))
    tail = stream.read()
    stream.seek(0)
    place = tail.rfind(b"PK\5\6")
    if place >= 0 and len(tail) >= place + 16:
        (size,) = struct.unpack_from("<L", tail, place + 12)
        if size > _MOST_DIRECTORY:
            raise OSError("its list of contents is far longer than a submission's")


def _members(entry: _Entry, handed: Handed, infos: Sequence[zipfile.ZipInfo]) -> Iterator[_Entry]:
    if len(infos) > MOST_FILES and entry.parts:
        yield _Entry(entry.parts, trouble=f"holds {len(infos):,} files; the first {MOST_FILES:,} were read")
        infos = infos[:MOST_FILES]
    passed_over = set()
    for info in infos:
        names = [name for name in re.split(r"[/\\]", _zip_name(info)) if name not in ("", ".")]
        if not names:
            continue
        junk = next((place for place, name in enumerate(names) if name != ".." and _is_junk(name)), None)
        parts = (
            *entry.parts,
            *(readable(name) for name in names[: None if junk is None else junk + 1] if name != ".."),
        )
        if junk is not None:
            if parts not in passed_over:
                passed_over.add(parts)
                yield _Entry(parts, junk=True)
            continue
        if info.is_dir():
            yield _Entry(parts)
        elif ".." in names:
            yield _Entry(parts, trouble="has a name that points outside its archive, and was not read")
        elif stat.S_ISLNK(info.external_attr >> 16):
            yield _Entry(parts, trouble="is a link, which is not followed")
        elif info.flag_bits & 1:
            yield _Entry(parts, trouble="is protected by a password")
        else:
            nested = handed.member is not None
            member, inner = (handed.member, info.filename) if nested else (info.filename, None)
            yield _Entry(
                parts, Handed(handed.path, member, parts[-1], info.file_size, inner), modified=_zip_time(info)
            )


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name; programs that don't flag a name as UTF-8 often write UTF-8 anyway."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _zip_time(info: zipfile.ZipInfo) -> float:
    try:
        return time.mktime((*info.date_time, 0, 0, -1))
    except (ValueError, OverflowError):
        return 0.0


def readable(name: str) -> str:
    """Return a file's name as text for all systems: composed accents, no invisible characters."""
    with suppress(UnicodeEncodeError):  # half of a surrogate pair, which Windows allows; `clean` replaces it
        name = name.encode("utf-8", "surrogateescape").decode("utf-8", "kdcourse-latin")
    name = unicodedata.normalize("NFC", notebooks.clean(name))
    return "".join(c if unicodedata.category(c)[0] != "C" else " " for c in name)[:200].strip() or "_"


# -- the student of each entry ------------------------------------------------------------------


@dataclass
class _Student:
    """Hold one student's entries; their parts begin below the student's own folder."""

    name: str
    id: str
    entries: list[_Entry] = field(default_factory=list)
    tops: dict[str, None] = field(default_factory=dict)  # the entries of the class's folder that hold them
    canvas: str = ""  # Canvas' number


def _lifted(entries: list[_Entry]) -> tuple[list[_Entry], list[str]]:
    """Remove the folder around the whole class, or the platform's archive, if there is one; say so in a note.

    An archive beside other work is never taken for the class's: its sender could hand in for somebody else.
    """
    notes: list[str] = []
    for _ in range(3):
        entries = [entry for entry in entries if entry.parts]
        if _senders(entries):
            break
        below: dict[str, list[_Entry]] = {}
        for entry in entries:
            if len(entry.parts) > 1:
                below.setdefault(entry.parts[0], []).append(replace(entry, parts=entry.parts[1:]))
        downloads = [top for top, inside in below.items() if _senders(inside)]
        others = {entry.parts[0] for entry in entries if _kind(entry) != "other"} - set(downloads)
        if not downloads and len(others) == 1 and _holds_class(alone := next(iter(others)), below):
            downloads, others = [alone], set()
        if downloads and others:
            notes += [
                f"{top} looks like a learning platform's download, but lies beside other work: it was taken as one "
                "student's. If it holds a class, grade it by itself."
                for top in downloads
            ]
        if not downloads or others:
            break
        notes += [
            f"{top} was taken for the folder of the whole class, not for a student." for top in downloads
        ]
        entries = [
            *(entry for entry in entries if entry.parts[0] not in downloads and _kind(entry) == "other"),
            *(entry for top in downloads for entry in below[top]),
        ]
    return entries, notes


def _holds_class(top: str, below: Mapping[str, Sequence[_Entry]]) -> bool:
    """Tell whether a folder that is alone holds at least two students' folders; a lone archive is a student's."""
    inside = below.get(top, [])
    folders = {entry.parts[0] for entry in inside if len(entry.parts) > 1}
    loose = any(len(entry.parts) == 1 and entry.is_notebook for entry in inside)
    return not top.casefold().endswith(".zip") and len(folders) >= 2 and not loose


def _kind(entry: _Entry) -> Kind:
    if len(entry.parts) > 1 or (entry.file is None and not entry.trouble):
        return "work" if entry.parts[0].casefold().endswith(".zip") else "folder"
    return "work" if entry.is_notebook or entry.trouble else "other"


def _senders(entries: Sequence[_Entry]) -> dict[str, Sender]:
    """Return top -> sender if the entries are a learning platform's download, or else nothing."""
    tops: dict[str, Kind] = {}
    for entry in entries:
        if tops.get(entry.parts[0]) not in ("folder", "work"):
            tops[entry.parts[0]] = _kind(entry)
    listed = [entry.file for entry in entries if entry.parts == (METADATA,) and entry.file is not None]
    text = ""
    if listed and listed[0].size < _MOST_DIRECTORY:
        with suppress(*_UNREADABLE), listed[0].open() as stream:
            text = stream.read(_MOST_DIRECTORY).decode("utf-8", "replace")
    return senders(tops, text)


def _by_student(
    entries: Sequence[_Entry], folder: Path, assignment: Assignment
) -> tuple[list[_Student], list[Account], list[str]]:
    """Return the students, what belongs to nobody, and notes."""
    students: dict[str, _Student] = {}
    nobodys: list[Account] = []
    known, plain = _senders(entries), set()
    for entry in entries:
        top, rest = entry.parts[0], entry.parts[1:]
        given = known.get(top)
        if given is not None:
            key, name = f"number {given.number} {given.name}", given.name
            wanted = f"{slug(name)}_{given.number}" if given.number else slug(name)
            own = rest or ((given.file or top,) if entry.file or entry.trouble else ())
        elif _kind(entry) == "folder" or rest or not (entry.file or entry.trouble):
            name = re.sub(r"\.zip$", "", top, flags=re.IGNORECASE).strip()
            key, wanted, own = f"name {name}", slug(name), rest
        elif entry.is_notebook or entry.trouble:
            name = _owner(top, folder, assignment)
            key, wanted, own = f"name {name}", slug(name), (top,)
        else:  # a list of grades, the instructor's notes, or a file of the wrong kind
            nobodys.append(Account(entry.path, "", "ignored: it is no notebook, and in no student's folder"))
            continue
        if known and given is None:
            plain.add(top)
        student = students.setdefault(key, _Student(name, wanted))
        student.entries.append(replace(entry, parts=own))
        student.tops[top] = None
        student.canvas = given.number if given is not None and given.canvas else student.canvas
    found = [students[key] for key in sorted(students)]
    return found, nobodys, list(_doubts(found, known, plain, nobodys))


def _doubts(
    students: Sequence[_Student], known: Mapping[str, Sender], plain: Set[str], nobodys: Sequence[Account]
) -> Iterator[str]:
    """Yield notes on entries that may belong to another student than they were given to, or to none."""
    if plain:
        yield (
            f"{_some(sorted(plain))} {'are' if len(plain) > 1 else 'is'} not named as the learning platform names the "
            "others: taken by name."
        )
    names: dict[str, set[str]] = {}
    for sender in known.values():
        if sender.number:
            names.setdefault(sender.number, set()).add(sender.name)
    for number, several in sorted(names.items()):
        if len(several) > 1:
            yield f"The number {number} belongs to several names, which were kept apart: {_some(sorted(several))}."
    for student in students:
        if len(student.tops) > 1 and not student.tops.keys() & known.keys():
            yield f"{_some(list(student.tops))} were taken together, as the work of {student.name}."
    left = [account.file for account in nobodys if account.file.rpartition("/")[2] != METADATA]
    if left:
        yield f"No notebook, and in no student's folder, therefore ignored: {_some(left)}."


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _owner(file: str, folder: Path, assignment: Assignment) -> str:
    """Return the owner of a loose file: its name without the lesson's, or else the folder's name."""
    stem = re.sub(r"\.(?:ipynb|zip)\b.*$", "", file, flags=re.IGNORECASE | re.DOTALL)
    for lesson in assignment.lessons:
        words = [re.escape(word) for word in lesson.split("_")]
        stem = re.sub(r"[\W_]*".join(words), " ", stem, flags=re.IGNORECASE)
    name = _COPY.sub(" ", stem).strip(" _-.")
    return name or readable(folder.absolute().name)


_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "Ae", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "Oe", "đ": "d", "Đ": "D", "ð": "d"}
    | {"þ": "th", "Þ": "Th", "ł": "l", "Ł": "L", "ı": "i"}
)


def slug(name: str) -> str:
    """Return a name in letters, digits, dots, dashes and underscores; one in other scripts becomes a digest."""
    plain = unicodedata.normalize("NFKD", name.translate(_LETTERS)).encode("ascii", "ignore").decode()
    found = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")[:60]
    letters = sum(c.isalnum() for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    if sum(c.isalnum() for c in found) * 2 < letters or not found:
        found = f"student-{_short_digest(name)}"
    return f"{found}_" if re.fullmatch(r"(?i:con|prn|aux|nul|com\d|lpt\d)", found) else found


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


def unique(students: Sequence[tuple[str, str]]) -> list[str]:
    """Return an id for each student, given the wanted id and the name.

    Students with the same wanted id get a digest of their name, so that the id doesn't depend on the other students.
    """
    wanted = [student.casefold() for student, _ in students]
    found: list[str] = []
    for student, name in students:
        shared = student != name and wanted.count(student.casefold()) > 1
        found.append(f"{student}-{_short_digest(name)}" if shared else student)
    taken: set[str] = set()
    for place, student in enumerate(found):
        number = 2
        while found[place].casefold() in taken:
            found[place], number = f"{student}-{number}", number + 1
        taken.add(found[place].casefold())
    return found


# -- the lesson of each notebook ----------------------------------------------------------------


class _Candidate:
    """Hold a notebook that may belong to a lesson."""

    def __init__(self, entry: _Entry, assignment: Assignment) -> None:
        assert entry.file is not None
        self.entry = entry
        self.assignment = assignment
        label = "/".join(entry.parts)
        self.file = Handed(entry.file.path, entry.file.member, label, entry.file.size, entry.file.inner)
        self.named = lesson_named(entry.parts[-1], assignment.lessons)

    @cached_property
    def notebook(self) -> notebooks.Notebook:
        return notebooks.read(self.file)

    def answers(self, lesson: str) -> tuple[int, int]:
        """Count the tasks of a lesson that have an answer, and those that have a cell."""
        found = [find(self.notebook.cells, task) for task in self.assignment.of_lesson(lesson)]
        return sum(answered(answer) for answer in found), sum(answer.found_by != "" for answer in found)

    def lesson(self) -> str:
        """Return the lesson by file name, by the notebook's metadata, or by the tasks in it; "" if none matches."""
        if self.named:
            return self.named
        if self.notebook.lesson:
            return self.notebook.lesson if self.notebook.lesson in self.assignment.lessons else ""
        best = max(self.assignment.lessons, key=lambda lesson: self.answers(lesson)[::-1])
        return best if self.answers(best)[1] or len(self.assignment.lessons) == 1 else ""

    def rank(self, lesson: str) -> tuple[object, ...]:
        """Return a key by which the notebook that counts sorts last, see `Assignment`."""
        name = self.entry.parts[-1]
        copies = [int(number) for number in re.findall(r"(?:\(|-)(\d{1,4})\)?(?=\.ipynb)", name)]
        original = "-checkpoint" not in name
        time = (self.entry.modified, max(copies, default=0))
        if self.assignment.attempts == "latest":
            return (original, *time, *self.answers(lesson), name)
        return (original, *self.answers(lesson), *time, name)


def lesson_named(file: str, lessons: Sequence[str]) -> str:
    """Return the lesson that a file's name contains, or ""."""
    words = re.sub(r"[\W_]+", "_", _COPY.sub(" ", file.casefold()).split(".ipynb")[0]).strip("_")
    for lesson in lessons:
        if lesson in words or lesson[3:] in words:
            return lesson
    number = re.match(r"(?:.*lesson_?)?0*(\d{1,2})(?:_|$)", words)
    found = [lesson for lesson in lessons if number is not None and int(lesson[:2]) == int(number[1])]
    return found[0] if found and (words[0] == "0" or "lesson" in words) else ""


def _submission(student: _Student, name: str, assignment: Assignment) -> tuple[Submission, dict[int, str]]:
    """Return a student's submission, and what became of each notebook, by its place among the entries."""
    try:
        return _sorted_out(student, name, assignment)
    except Exception as error:  # any failure affects this student only
        said = f"The submission could not be read ({type(error).__name__}: {notebooks.short(error)})."
        fates = {place: f"not read: {said}" for place, _ in enumerate(student.entries)}
        return Submission(name, student.name, {}, (said,)), fates


def _sorted_out(student: _Student, name: str, assignment: Assignment) -> tuple[Submission, dict[int, str]]:
    problems = [f"{_quoted(entry)} {entry.trouble}." for entry in student.entries if entry.trouble]
    files = [entry for entry in student.entries if entry.file is not None]
    places = {id(entry): place for place, entry in enumerate(student.entries)}
    fates: dict[int, str] = {}
    found = [_Candidate(entry, assignment) for entry in files if entry.is_notebook]
    if len(found) > MOST_NOTEBOOKS:
        problems.append(f"There are {len(found)} notebooks; the first {MOST_NOTEBOOKS} were read.")
        for candidate in found[MOST_NOTEBOOKS:]:
            fates[places[id(candidate.entry)]] = f"ignored: only {MOST_NOTEBOOKS} notebooks are read"
        found = found[:MOST_NOTEBOOKS]
    taken: dict[str, Handed] = {}
    others: dict[str, tuple[Handed, ...]] = {}
    by_lesson: dict[str, list[_Candidate]] = {}
    for candidate in found:
        by_lesson.setdefault(candidate.lesson(), []).append(candidate)
    for candidate in by_lesson.pop("", []):
        fates[places[id(candidate.entry)]] = "ignored: it is not a notebook of this assignment"
        problems.append(
            f"{_quoted(candidate.entry)} is not a notebook of this assignment, and was set aside."
        )
    for lesson in assignment.lessons:
        candidates = by_lesson.get(lesson, [])
        if not candidates:
            problems.append(_nothing(lesson, files, found))
            continue
        if len(candidates) > 1:
            candidates.sort(key=lambda candidate: candidate.rank(lesson), reverse=True)
        taken[lesson] = candidates[0].file
        for candidate in candidates:
            fates[places[id(candidate.entry)]] = (
                f"ignored: {_quoted(candidates[0].entry)} was taken for {lesson}"
            )
        fates[places[id(candidates[0].entry)]] = f"graded as {lesson}"
        tries = _different(candidates)
        if assignment.attempts == "best" and len(tries) > 1:
            others[lesson] = tuple(candidate.file for candidate in tries[1:])
            for candidate in tries:
                fates[places[id(candidate.entry)]] = f"graded as {lesson}; the best attempt counts"
        else:
            problems += _set_aside(lesson, tries, assignment)
    modules: dict[str, Handed] = {}
    for entry in files:
        stem = entry.parts[-1].removesuffix(".py")
        if (
            entry.file is not None
            and entry.parts[-1].endswith(".py")
            and stem.isidentifier()
            and len(modules) < MOST_MODULES
        ):
            modules.setdefault(stem, entry.file)
            fates[places[id(entry)]] = "kept for notebooks that import it"
    return Submission(name, student.name, taken, tuple(dict.fromkeys(problems)), modules, others), fates


def _different(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Return the notebooks without copies of others, in the same order, at most `MOST_ATTEMPTS`."""
    found: list[_Candidate] = []
    for candidate in candidates if len(candidates) > 1 else ():
        if all(candidate.notebook.cells != other.notebook.cells for other in found):
            found.append(candidate)
    return found[:MOST_ATTEMPTS] if found else list(candidates)


def _set_aside(lesson: str, candidates: Sequence[_Candidate], assignment: Assignment) -> Iterator[str]:
    best, *others = candidates
    tasks, which = len(assignment.of_lesson(lesson)), "the latest, " * (assignment.attempts == "latest")
    for other in others:
        yield (
            f"There is more than one notebook of lesson {lesson}: {_quoted(best.entry)} was taken ({which}answers to "
            f"{best.answers(lesson)[0]} of {tasks} tasks), {_quoted(other.entry)} "
            f"({other.answers(lesson)[0]} of {tasks}) set aside."
        )


def _nothing(lesson: str, files: Sequence[_Entry], found: Sequence[_Candidate]) -> str:
    if found:
        return f"There is no notebook of lesson {lesson}."
    if not files:
        return f"There is no notebook of lesson {lesson}; no readable file was handed in."
    shown = ", ".join(_quoted(entry) for entry in files[:3]) + (" and others" if len(files) > 3 else "")
    return f"There is no notebook of lesson {lesson}, but {shown}; a file that ends in .ipynb is needed."


def _quoted(entry: _Entry) -> str:
    return f"'{'/'.join(entry.parts)}'" if entry.parts else "What was handed in"

"""Recognise a learning platform's download by the names in it, and read from each name who handed it in.

    Moodle      Zoe Mueller_12345_assignsubmission_file_/work.ipynb      (also as one file per student)
    Canvas      muellerzoe_LATE_12345_67890_work.ipynb                   (lib/content_zipper.rb of canvas-lms, 2024)
    Gradescope  submission_12345/work.ipynb, names in submission_metadata.yml
    Blackboard  gradebook_COURSE_Assignment_zmueller_attempt_2026-11-29-12-00-00_work.ipynb

Students choose names of files, and instructors choose names of folders, so a single name proves nothing: a folder
counts as a download only if nearly all names in it have the same form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal

Kind = Literal["folder", "work", "other"]  # work: a notebook, an archive, or what can't be read
NEARLY_ALL = 0.8  # of the names that may be a student's
METADATA = "submission_metadata.yml"
_MOODLE = re.compile(
    r"(?P<name>.+?)_(?P<number>\d+)_assignsubmission_(?:file|onlinetext)(?:_(?P<rest>.*))?", re.DOTALL
)
# Canvas removes _digits_ from names, so the first such group is its own.
_CANVAS = re.compile(
    r"(?P<name>.+?)_(?:LATE_)?(?P<number>\d+)_(?:\d+_(?P<rest>.+)|(?P<text>text|link)\.html)", re.DOTALL
)
_CANVAS_ANONYMOUS = re.compile(r"(?:LATE_)?(?P<name>anon_(?P<number>\w+?))_\d+_(?P<rest>.+)", re.DOTALL)
_GRADESCOPE = re.compile(r"(?P<name>submission_(?P<number>\d+))")
_BLACKBOARD = re.compile(
    r"(?P<name>.+)_attempt_\d{4}(?:-\d\d){5}(?:_(?P<rest>.+)|(?P<text>)\.txt)", re.DOTALL
)


@dataclass(frozen=True)
class Sender:
    """Say who handed in an entry: name, the platform's number or "", and the file's own name or "" for a folder.

    ``canvas`` tells whether the number is Canvas' own of the student.
    """

    name: str
    number: str
    file: str = ""
    canvas: bool = False


def senders(tops: Mapping[str, Kind], submitters: str = "") -> dict[str, Sender]:
    """Return name -> sender if these are the names of a learning platform's download, or else nothing.

    Args:
        tops: all names in the class's folder; those of files that can't be a notebook decide only if there are no
            others.
        submitters: the text of Gradescope's submission_metadata.yml.
    """
    deciding = {top for top, kind in tops.items() if kind != "other"} or set(tops)
    for pattern in (_MOODLE, _CANVAS_ANONYMOUS, _CANVAS, _GRADESCOPE, _BLACKBOARD):
        found = {top: match for top in tops if (match := pattern.fullmatch(top))}
        if pattern in (_CANVAS, _CANVAS_ANONYMOUS, _BLACKBOARD):
            found = {top: match for top, match in found.items() if tops[top] != "folder"}
        agreeing = len(deciding & found.keys())
        if not agreeing or agreeing < NEARLY_ALL * len(deciding):
            continue
        made = {top: _sender(match) for top, match in found.items()}
        if pattern is _CANVAS and _are_dates(made):
            continue
        if pattern is _GRADESCOPE:
            return _named(made, submitters)
        if pattern is _BLACKBOARD:
            return _without_course(made)
        return {top: replace(one, canvas=pattern is _CANVAS) for top, one in made.items()}
    return {}


def _sender(match: re.Match[str]) -> Sender:
    groups = match.groupdict()
    own = groups.get("rest") or (match[0] if groups.get("text") is not None else "")
    return Sender(groups["name"].strip(), groups.get("number") or "", own)


def _are_dates(made: Mapping[str, Sender]) -> bool:
    """Tell whether most numbers belong to several names, as in anna_2026_11_29.zip: then they are no students'."""
    people = {(one.name, one.number) for one in made.values()}
    return 2 * len({number for _, number in people}) <= len(people) > 1


def _named(made: Mapping[str, Sender], submitters: str) -> dict[str, Sender]:
    """Give Gradescope's submissions the names and student numbers of their submitters."""
    blocks = re.split(r"^(submission_\d+):", submitters, flags=re.MULTILINE)
    known = dict(zip(blocks[1::2], blocks[2::2], strict=False))
    found = {}
    for top, sender in made.items():
        block = known.get(top, "")
        names, numbers = (
            [value.strip().strip("'\"") for value in re.findall(rf"^[ -]*:{key}:(.*)$", block, re.MULTILINE)]
            for key in ("name", "sid")
        )
        number = numbers[0] if len(numbers) == 1 and numbers[0].isdecimal() else sender.number
        found[top] = Sender(" and ".join(name for name in names if name) or sender.name, number)
    return found


def _without_course(made: Mapping[str, Sender]) -> dict[str, Sender]:
    """Remove the course and assignment, which begin every name of Blackboard's, from the names."""
    words = {top: one.name.split("_") for top, one in made.items()}
    different = sorted(words.values())
    first, last = (
        different[0],
        different[-1],
    )  # what these two share, all that are sorted between them share too
    same = len(first) - 1
    if first != last:
        same = next(place for place, (one, other) in enumerate(zip_longest(first, last)) if one != other)
        same = min(same, *(len(word) - 1 for word in different))  # of a name something must be left
    return {top: Sender("_".join(words[top][same:]), "", one.file) for top, one in made.items()}

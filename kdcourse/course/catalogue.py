"""The lessons of a course, found by their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kdcourse.course.order import ORDER
from kdcourse.course.source import Lesson, read
from kdcourse.errors import LessonError

GLOSSARY = "glossary.md"


@dataclass(frozen=True)
class Course:
    """A folder with one folder per lesson, and the order of the lessons.

    Args:
        folder: holds a folder for each topic, and the glossary.
        order: the topics; a lesson's number is its position, from 00.
    """

    folder: Path
    order: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The lessons' names, such as 04_soft_targets, in order."""
        return [f"{number:02d}_{topic}" for number, topic in enumerate(self.order)]

    @property
    def glossary(self) -> Path:
        """The file of the glossary."""
        return self.folder / GLOSSARY

    def topics(self, words: Sequence[str]) -> list[str]:
        """Return the topics meant by ``words``, each such as "04", "4", "soft_targets" or "04_soft_targets".

        They come in the order of the course, each once.

        Raises:
            LessonError: no lesson is called so; lists those that there are.
        """
        found = set()
        for word in words:
            matching = {
                topic
                for number, (topic, name) in enumerate(zip(self.order, self.names, strict=True))
                if word in (topic, name, name[:2], str(number))
            }
            if not matching:
                raise LessonError(
                    f"There is no lesson {word!r}; there are {', '.join(self.names) or 'none'}."
                )
            found |= matching
        return [topic for topic in self.order if topic in found]

    def lesson(self, word: str) -> Lesson:
        """Read one lesson; see `topics` for how it may be called.

        Raises:
            LessonError: no such lesson, or a malformed one.
        """
        (topic,) = self.topics([word])
        return read(self.folder / topic, self.order)

    def lessons(self, words: Sequence[str] = ()) -> list[Lesson]:
        """Read the lessons that `topics` finds for ``words``, or all of them for none.

        Raises:
            LessonError: no such lesson, or a malformed one.
        """
        return [self.lesson(topic) for topic in (self.topics(words) if words else self.order)]


COURSE = Course(Path(__file__).parent, ORDER)


@cache
def lessons() -> tuple[Lesson, ...]:
    """Read all lessons of this course, in order; see `Lesson` for what each tells of itself."""
    return tuple(COURSE.lessons())

"""Errors whose message says what was wrong, what was found and what to do."""


class KdcourseError(Exception):
    """Base class; the command line prints its message without a traceback."""


class ArgumentError(KdcourseError, ValueError):
    """An argument outside what a function accepts."""


class DataError(KdcourseError):
    """Images, labels or their files are missing, damaged or not as promised."""


class DataWarning(UserWarning):
    """Files that were left out of a data set, or images that make results misleading."""


class CheckpointError(KdcourseError):
    """A stored file of weights or training state can't be used."""


class DivergedError(KdcourseError):
    """Training produced a loss that is not a finite number."""


class LessonError(KdcourseError):
    """A lesson's source is malformed, doesn't run, or what it claims doesn't hold."""


class CourseworkError(KdcourseError):
    """Coursework can't be made or graded on this machine, or not as asked."""

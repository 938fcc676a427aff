"""Define the package's errors; a message says what was wrong, what was found and what to do."""


class KdcourseError(Exception):
    """Serve as base class; the command line prints its message without a traceback."""


class ArgumentError(KdcourseError, ValueError):
    """Signal an argument that a function doesn't accept."""


class DataError(KdcourseError):
    """Signal images, labels or files that are missing, damaged or malformed."""


class DataWarning(UserWarning):
    """Files that were left out of a data set, or images that make results misleading."""


class TeacherWarning(UserWarning):
    """Warn of a teacher that seems not to know its task."""


class CheckpointError(KdcourseError):
    """Signal a stored file of weights or training state that can't be used."""


class DivergedError(KdcourseError):
    """Signal that training produced a loss that isn't a finite number."""


class LessonError(KdcourseError):
    """Signal a lesson that is malformed, doesn't run, or makes a false claim."""


class CourseworkError(KdcourseError):
    """Signal coursework that can't be made or graded as asked on this machine."""


class ClusterError(KdcourseError):
    """Signal a Ray cluster that can't be joined or used as asked."""

"""Every error a user can meet, each with its exit code. docs/exit-codes.md lists them; a test compares the two."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process says when it ends."""

    OK = 0
    JUDGED_FAILING = 1
    USAGE = 2
    COULD_NOT_JUDGE = 3
    EXTERNAL_FAILURE = 4
    INTERRUPTED = 130


class XpukitError(Exception):
    """Something a user must be told: what failed (`message`) and the next thing to do (`hint`)."""

    exit_code: ExitCode = ExitCode.EXTERNAL_FAILURE

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(XpukitError):
    """The command line or an input file is wrong."""

    exit_code = ExitCode.USAGE


class BadRecordingError(UsageError):
    """A bundle or recording cannot be read."""


class BadFactsError(UsageError):
    """A data file (ours or the user's) breaks its schema."""


class CouldNotJudgeError(XpukitError):
    """A requested measurement or fact could not be had."""

    exit_code = ExitCode.COULD_NOT_JUDGE


class ExternalError(XpukitError):
    """A build, package manager, launch or other program failed."""

    exit_code = ExitCode.EXTERNAL_FAILURE


class OutputError(ExternalError):
    """A result could not be written (disk full, no permission)."""


class InterruptedRunError(XpukitError):
    """The user stopped a run; what was done is kept."""

    exit_code = ExitCode.INTERRUPTED


class UnrecordedQuestionError(BaseException):
    """A replay was asked what its recording does not hold.

    Not an Exception: no handler that shrugs off odd machines may take this for one. The command line turns it into
    a message and exit code 3.
    """

    def __init__(self, question: tuple[str, ...], source: str) -> None:
        super().__init__(f"{source} holds no answer to: {' '.join(question)}")
        self.question = question
        self.source = source

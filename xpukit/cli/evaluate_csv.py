"""`evaluate --csv`: which form goes where."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xpukit.core.errors import UsageError

if TYPE_CHECKING:
    from xpukit.evaluate.result import Evaluation

FORMS = ("tidy", "upstream")


class CsvWish(NamedTuple):
    """A form, and the file that gets it; None is standard output."""

    form: str
    path: Path | None

    def write(self, evaluation: Evaluation) -> None:
        """Write the rows of a run or a log."""
        from xpukit.core.atomic import write_atomic
        from xpukit.evaluate.report_csv import write_tidy
        from xpukit.evaluate.upstream_rows import write_upstream_rows

        text = write_upstream_rows(evaluation) if self.form == "upstream" else write_tidy(evaluation)
        if self.path is None:
            sys.stdout.write(text)
        else:
            write_atomic(self.path, text.encode())


def choose_csv(named: Path | None, form: str, file: Path | None, *, json: bool) -> CsvWish | None:
    """What the options ask for: `--csv upstream [--csv-file FILE]`, or `--csv FILE [--csv-form FORM]`.

    Raises UsageError for a form that there is not, and where JSON wants standard output too.
    """
    if form not in FORMS:
        raise UsageError(f"--csv-form {form}: no such form", hint=f"one of {', '.join(FORMS)}")
    if named is None:
        if file is not None:
            raise UsageError("--csv-file says where, but not what", hint=f"--csv {FORMS[1]} --csv-file {file}")
        return None
    if str(named) in FORMS:
        wish = CsvWish(str(named), None if file is None or str(file) == "-" else file)
    elif file is not None:
        raise UsageError(f"--csv {named} and --csv-file {file} both name a file", hint="give --csv a form, or one file")
    else:
        wish = CsvWish(form, None if str(named) == "-" else named)
    if wish.path is None and json:
        raise UsageError("--csv and --json both want standard output", hint="give --csv a file, or add --csv-file")
    return wish

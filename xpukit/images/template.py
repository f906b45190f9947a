"""A recipe's templates and files as the files of a build context."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpukit.core.errors import BadFactsError, ExternalError
from xpukit.facts.paths import shipped_dir
from xpukit.facts.recipes import CHECK_FILE, TEMPLATE_FILE, Recipe, SettingValue
from xpukit.images import build
from xpukit.images.context import read_bytes

if TYPE_CHECKING:
    import jinja2

# Macros that every recipe may import: dockerfiles/_shared/*.j2.
_SHARED = "_shared"


def render_files(recipe: Recipe, values: Mapping[str, Any]) -> list[build.ContextFile]:
    environment = make_environment(Path(recipe.folder))
    dockerfile = _render(environment, TEMPLATE_FILE, values)
    files = [build.ContextFile(path="Dockerfile", content=dockerfile)]
    for name in _list_context(recipe):
        templated = name.endswith(".j2")
        content = _render(environment, name, values) if templated else read_bytes(Path(recipe.folder) / name)
        files.append(build.ContextFile(path=name.removesuffix(".j2"), content=content, mode=_mode_of(content)))
    return files


class Notes:
    """What the macros say while a template is rendered: the packages and files that its steps need."""

    def __init__(self) -> None:
        self.apt: set[str] = set()
        self.wheels: set[str] = set()
        self.downloads: set[str] = set()

    def note_apt(self, packages: Sequence[str]) -> str:
        self.apt.update(packages)
        return ""

    def note_wheels(self, requirements: Sequence[str]) -> str:
        self.wheels.update(requirements)
        return ""

    def note_download(self, name: str) -> str:
        self.downloads.add(name)
        return ""


def fill_settings(text: str, settings: Mapping[str, SettingValue]) -> str:
    """The text with each `{name}` replaced by that setting's value."""
    for key, value in settings.items():
        text = text.replace("{" + key + "}", str(value))
    return text


def quote_label(text: str) -> str:
    """A label's value in a Dockerfile: quoted, with what Dockerfiles treat as special escaped."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def make_environment(folder: Path) -> jinja2.Environment:
    """Templates of a recipe's folder and of the shared folder. A name that is not defined is an error."""
    try:
        import jinja2
    except ImportError as err:
        raise ExternalError("rendering a recipe needs Jinja2", hint="install it: pip install 'xpukit[docker]'") from err
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(folder), str(shipped_dir("dockerfiles") / _SHARED)]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["label"] = quote_label
    environment.filters["words"] = _join_words
    return environment


def _render(environment: jinja2.Environment, name: str, values: Mapping[str, Any]) -> bytes:
    import jinja2

    try:
        text: str = environment.get_template(name).render(values)
    except jinja2.TemplateError as err:
        line = getattr(err, "lineno", None)
        where = f"{name}:{line}" if line else name
        raise BadFactsError(f"{where}: the template fails: {err.message or err}") from err
    # Parts of a template that do not apply leave blank lines; a recipe is read by people.
    return (re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n").encode()


def _join_words(items: Sequence[str], glue: str = " \\\n      ") -> str:
    return glue.join(items)


def _list_context(recipe: Recipe) -> list[str]:
    """All files of the context by their path in the recipe's folder; a folder stands for everything in it."""
    folder = Path(recipe.folder)
    names: set[str] = set()
    wanted = list(recipe.context)
    if (folder / CHECK_FILE).exists():
        wanted.append(CHECK_FILE)
    for name in wanted:
        path = folder / name
        if path.is_dir():
            names |= {str(file.relative_to(folder)) for file in path.rglob("*") if file.is_file()}
        else:
            names.add(name)
    return sorted(names)


def _mode_of(content: bytes) -> int:
    """A script is executable, whatever the checkout, archive or umask made of its permission bits."""
    return 0o755 if content.startswith(b"#!") else 0o644

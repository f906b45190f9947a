"""A recipe's templates and files as the files of a build context."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpukit.core.errors import BadFactsError, ExternalError
from xpukit.facts.paths import shipped_dir
from xpukit.facts.recipes import CHECK_FILE, TEMPLATE_FILE, Recipe, SettingValue
from xpukit.images import build
from xpukit.images.context import link_file, read_bytes, require_file, walk_folder

if TYPE_CHECKING:
    import jinja2

# Macros that every recipe may import: dockerfiles/_shared/*.j2.
_SHARED = "_shared"
# Larger files of a recipe (a model, a wheel) stay where they are until the builder takes them.
_LARGE_BYTES = 8 << 20


def render_files(recipe: Recipe, values: Mapping[str, Any]) -> list[build.ContextFile]:
    environment = make_environment(Path(recipe.folder))
    dockerfile = _render(environment, TEMPLATE_FILE, values)
    files = [build.ContextFile(path="Dockerfile", content=dockerfile)]
    for name in _list_context(recipe):
        source = Path(recipe.folder) / name
        if name.endswith(".j2"):
            content = _render(environment, name, values)
        elif require_file(source) > _LARGE_BYTES:
            files.append(link_file(source, name))
            continue
        else:
            content = read_bytes(source)
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
    except jinja2.TemplateNotFound as err:
        raise BadFactsError(
            f"{_find_place(environment, name, err)}: includes {err.name}, which is not there",
            hint=f"files of the recipe's folder and of dockerfiles/{_SHARED} can be included",
        ) from err
    except jinja2.UndefinedError as err:
        raise BadFactsError(
            f"{_find_place(environment, name, err)}: the template fails: {err.message}",
            hint=_hint_name(str(err), values),
        ) from err
    except RecursionError as err:
        raise BadFactsError(f"{name}: the template includes or calls itself without end") from err
    except UnicodeDecodeError as err:
        raise BadFactsError(
            f"{name}: the template is no UTF-8 text: {err}", hint="name other files without .j2"
        ) from err
    except Exception as err:  # what a template computes may fail in any way: 1/0, "a" + 1
        why = getattr(err, "message", "") or f"{type(err).__name__}: {err}"
        raise BadFactsError(f"{_find_place(environment, name, err)}: the template fails: {why}") from err
    # Parts of a template that do not apply leave blank lines; a recipe is read by people.
    return (re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n").encode()


def _find_place(environment: jinja2.Environment, name: str, err: Exception) -> str:
    """`file:line` of a template's mistake, which may lie in a file that it includes."""
    line = getattr(err, "lineno", None)
    if line:
        return f"{getattr(err, 'name', None) or name}:{line}"
    # Jinja gives the frames of its generated code the template's own name and lines.
    places = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(err.__traceback__)
        if any(Path(frame.filename).is_relative_to(folder) for folder in environment.loader.searchpath)
    ]
    return places[-1] if places else name


def _hint_name(said: str, values: Mapping[str, Any]) -> str:
    """The nearest of the names that a template may use."""
    missing = re.findall(r"'(\w+)'", said)
    if not missing:
        return ""
    known = {**{f"s.{key}": key for key in values.get("s", {})}, **{key: key for key in values}}
    near = get_close_matches(missing[-1], known.values(), n=1)
    shown = next((full for full, key in known.items() if near and key == near[0]), "")
    return f"did you mean {shown}?" if shown else ""


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
            names |= {str(file.relative_to(folder)) for file in walk_folder(path)}
        else:
            names.add(name)
    return sorted(names)


def _mode_of(content: bytes) -> int:
    """A script is executable, whatever the checkout, archive or umask made of its permission bits."""
    return 0o755 if content.startswith(b"#!") else 0o644

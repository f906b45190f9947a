"""GRUB settings as machines have them, made at random together with what they mean."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

MAIN = "/etc/default/grub"
LINUX = "GRUB_CMDLINE_LINUX"
NORMAL = "GRUB_CMDLINE_LINUX_DEFAULT"
WORDS = (
    "quiet", "splash", "iommu=off", "intel_iommu=on", "intel-iommu=sm_on", "console=tty0", "console=ttyS0,115200n8",
    'dyndbg="file drivers/pci/* +p"', "crashkernel=2G-4G:320M,4G-:512M", "audit=0", "module.option=a,b", "xe.force_probe=!e20b",
    "rd.luks.uuid=luks-0f0c", "it's=odd", "cost=$5", "back\\slash",
)  # fmt: skip
PLAIN = tuple(word for word in WORDS if all(char.isalnum() or char in "=_.,:-" for char in word))
NOISE = (
    "# If you change this file, run 'update-grub' afterwards to update\n",
    "\n",
    "GRUB_DEFAULT=0\n",
    "GRUB_TIMEOUT=5   # seconds\n",
    "GRUB_DISTRIBUTOR=`( . /etc/os-release; echo ${NAME:-Debian} ) 2>/dev/null || echo Debian`\n",
    '#GRUB_CMDLINE_LINUX_DEFAULT="quiet iommu=off"\n',
    'GRUB_TERMINAL="console serial"; GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"\n',
    "if [ -d /nowhere ]; then\n  GRUB_DISABLE_OS_PROBER=true\nfi\n",
    "export GRUB_DISABLE_RECOVERY\n",
    "case $HOSTNAME in\n  a*) GRUB_TIMEOUT=1 ;;\n  *) : ;;\nesac\n",
    "GRUB_INIT_TUNE='480 440 1'\n",
)


@dataclass(frozen=True)
class GrubTree:
    """Files in the order in which they are read, and the words that the shell gets out of them."""

    files: dict[str, str]
    words: dict[str, tuple[str, ...]]


def _double(text: str) -> str:
    return '"' + "".join(f"\\{char}" if char in '\\"$`' else char for char in text) + '"'


def _single(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _bare(text: str) -> str:
    return "".join(char if char.isalnum() or char in "=_.,:-/" else f"\\{char}" for char in text)


@st.composite
def grub_trees(draw: st.DrawFn) -> GrubTree:
    """A main file and up to two of grub.d."""
    names = [MAIN]
    names += sorted(draw(st.sets(st.sampled_from(("50-cloudimg-settings", "kdump-tools", "init-select")), max_size=2)))
    files: dict[str, str] = {}
    words: dict[str, tuple[str, ...]] = {LINUX: (), NORMAL: ()}
    for name in names:
        path = name if name == MAIN else f"/etc/default/grub.d/{name}.cfg"
        files[path] = "".join(draw(st.lists(_statement(words), max_size=6)))
        # What was drawn above told nobody its words: read them off the marks, then take the marks out.
        files[path] = _settle(files[path], words)
    return GrubTree(files=files, words=words)


def _statement(words: dict[str, tuple[str, ...]]) -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(NOISE), _assignment())


@st.composite
def _assignment(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from((LINUX, NORMAL, NORMAL)))
    how = draw(st.sampled_from(("double", "single", "bare", "lines", "mixed", "extend", "extend-braces")))
    chosen = draw(st.lists(st.sampled_from(WORDS), max_size=4, unique=True))
    indent = draw(st.sampled_from(("", "  ", "export ")))
    tail = draw(st.sampled_from(("", "", "  # as the vendor wants it", " ;")))
    text = draw(st.sampled_from((" ", "  ", "\t"))).join(chosen)
    if how == "single":
        value = _single(text)
    elif how == "bare":
        value = _bare(text)
    elif how == "lines":
        value = '"' + " \\\n    ".join(_double(word)[1:-1] for word in chosen) + '"'
    elif how == "mixed":
        value = "".join(
            quote(word + (" " if i + 1 < len(chosen) else ""))
            for i, (word, quote) in enumerate(zip(chosen, (_double, _single, _bare, _double), strict=False))
        )
    elif how.startswith("extend"):
        own = f"${{{name}}}" if how == "extend-braces" else f"${name}"
        value = f'"{own} {_double(text)[1:-1]}"'
    else:
        value = _double(text)
    mark = "\x01" + name + "\x02" + ("+" if how.startswith("extend") else "=") + "\x02" + "\x02".join(chosen) + "\x03"
    return f"{mark}{indent}{name}={value}{tail}\n"


def _settle(text: str, words: dict[str, tuple[str, ...]]) -> str:
    parts = text.split("\x01")
    kept = [parts[0]]
    for part in parts[1:]:
        mark, _, rest = part.partition("\x03")
        name, how, *chosen = mark.split("\x02")
        new = tuple(word for word in chosen if word)
        words[name] = (*words[name], *new) if how == "+" else new
        kept.append(rest)
    return "".join(kept)

"""A machine of files and groups, and a stack that changes both."""

from __future__ import annotations

from pathlib import Path

from tests.unit.install.step_case import StepCase, answer, make_stack
from xpukit.facts.stacks import FileFacts, GroupFacts
from xpukit.install.step import Options

STACK = make_stack(
    files=(
        FileFacts(path="/etc/new/deep/one.conf", content="one\n", source="test"),
        FileFacts(path="/etc/there.conf", content="ours\n", source="test", mode=0o640),
    ),
    groups=(GroupFacts(name="render", source="test"), GroupFacts(name="video", source="test")),
)
GROUP_FILE = "root:x:0:\nvideo:x:44:\n"
PASSWD = "root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1000::/home/worker:/bin/sh\n"


def make_case(folder: Path) -> StepCase:
    case = StepCase(
        folder,
        stack=STACK,
        files={"/etc/there.conf": "theirs\n", "/etc/group": GROUP_FILE, "/etc/passwd": PASSWD},
        options=Options(users=("worker",), lock_wait_s=0),
    )

    def change_group(words: tuple[str, ...]) -> object:
        lines = case.read("/etc/group").splitlines()
        if words[0] == "groupadd":
            lines.append(f"{words[-1]}:x:999:")
        elif words[0] == "groupdel":
            lines = [line for line in lines if not line.startswith(f"{words[-1]}:")]
        else:
            _, flag, user, group = words
            kept = []
            for line in lines:
                name, password, gid, members = line.split(":")
                names = [member for member in members.split(",") if member and member != user]
                if name == group and flag == "-a":
                    names.append(user)
                elif name != group:
                    names = [member for member in members.split(",") if member]
                kept.append(":".join((name, password, gid, ",".join(names))))
            lines = kept
        case.write("/etc/group", "\n".join(lines) + "\n")
        return answer()

    for program in ("groupadd", "groupdel", "gpasswd"):
        case.host.commands[(program,)] = change_group  # type: ignore[assignment]
    return case

"""Which /dev/dri nodes a GPU has, and whether this process may open them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from xpukit.core.finding import Evidence, Finding
from xpukit.core.machine import Unread
from xpukit.host.answers import StatAnswer
from xpukit.host.door import Host
from xpukit.probe.question import PciFunction, Question, describe_unread

_CARD = re.compile(r"card(\d+)")
_RENDER = re.compile(r"renderD(\d+)")
_BY_PATH = "/dev/dri/by-path"


class DrmNodes(msgspec.Struct, frozen=True, kw_only=True):
    """The DRM minors of one PCI function. Card numbers count all graphics devices: card0 may be the BMC."""

    card_index: int | None = None
    card_node: str = ""
    card_sys_path: str = ""
    render_node: str = ""
    by_path: tuple[str, ...] = ()
    error: str = ""


def find_nodes(host: Host, function: PciFunction) -> DrmNodes:
    """The nodes below a function's directory in sysfs."""
    answer = host.udev("drm")
    below = f"{function.sys_path}/drm/"
    card_index: int | None = None
    card_node = card_path = render_node = ""
    links: list[str] = []
    for device in answer.devices:
        if not device.sys_path.startswith(below):
            continue
        card, render = _CARD.fullmatch(device.sys_name), _RENDER.fullmatch(device.sys_name)
        if card:
            card_index, card_path = int(card[1]), device.sys_path
            card_node = device.device_node or f"/dev/dri/{device.sys_name}"
        elif render:
            render_node = device.device_node or f"/dev/dri/{device.sys_name}"
        if card or render:
            links += (_keep_dev(link) for link in device.device_links if "/by-path/" in link)
    return DrmNodes(
        card_index=card_index,
        card_node=card_node,
        card_sys_path=card_path,
        render_node=render_node,
        by_path=tuple(sorted(links)) or _list_by_path(host, function, (card_node, render_node)),
        error=answer.error,
    )


def _list_by_path(host: Host, function: PciFunction, nodes: tuple[str, ...]) -> tuple[str, ...]:
    """The links by directory, for a container in which udev's database is missing."""
    targets = {node.rpartition("/")[2] for node in nodes if node}
    if not targets:
        return ()
    names = (name for name in host.list(_BY_PATH).names if function.bdf in name)
    return tuple(
        f"{_BY_PATH}/{name}" for name in names if host.link(f"{_BY_PATH}/{name}").target.rpartition("/")[2] in targets
    )


def _keep_dev(link: str) -> str:
    """A link below /dev; a mocked machine has its /dev elsewhere."""
    return link[link.index("/dev/dri/") :] if "/dev/dri/" in link else link


def read_nodes(host: Host, function: PciFunction, so_far: Mapping[str, Any]) -> dict[str, Any]:
    """Card and render node, their links and their permissions."""
    nodes = find_nodes(host, function)
    found: dict[str, Any] = {
        "card_node": nodes.card_node,
        "card_index": nodes.card_index,
        "render_node": nodes.render_node,
        "by_path": nodes.by_path,
        "sources": {"nodes": "udev"},
    }
    unread: list[Unread] = []
    if nodes.error and not nodes.card_node:
        unread.append(describe_unread("DRM nodes", nodes.error))
    access: dict[str, Any] = {}
    for kind, path in (("card", nodes.card_node), ("render", nodes.render_node)):
        if not path:
            continue
        answer = host.stat(path)
        if answer.error:
            unread.append(describe_unread(path, answer.error))
        else:
            access[kind] = describe_access(answer)
    if access:
        found["extra"] = {"node_access": access}
    if unread:
        found["unread"] = tuple(unread)
    denied = access.get("render") if nodes.render_node else None
    if denied and not (denied["readable"] and denied["writable"]):
        found["findings"] = (_report_denied(function.bdf, nodes.render_node, denied),)
    elif nodes.render_node and "render" not in access:
        found["findings"] = (_report_missing(function.bdf, nodes.render_node),)
    return found


def describe_access(answer: StatAnswer) -> dict[str, Any]:
    """Mode, owner and what this process may do."""
    return {
        "mode": f"{answer.mode:04o}",
        "owner": answer.owner,
        "group": answer.group,
        "readable": answer.readable,
        "writable": answer.writable,
    }


def _report_denied(bdf: str, node: str, access: Mapping[str, Any]) -> Finding:
    group = str(access["group"])
    remedy = (
        f'sudo usermod -aG {group} "$USER" and log in again'
        if group not in ("root", "") and access["mode"][-3:-1] in ("66", "76", "77")
        else "give the group 'render' access: install the udev rules of your distribution (package udev)"
    )
    return Finding(
        id="XPK-PROBE-NODE-DENIED",
        severity="critical",
        summary=f"{node} cannot be opened by this user: compute programs do not see the GPU",
        evidence=(Evidence(source=node, value=f"mode {access['mode']} {access['owner']}:{group}"),),
        remedy=(remedy,),
        subject=bdf,
    )


def _report_missing(bdf: str, node: str) -> Finding:
    return Finding(
        id="XPK-PROBE-NODE-MISSING",
        severity="critical",
        summary=f"the driver offers {node}, but it is not in /dev",
        evidence=(Evidence(source=node, value="no such file"),),
        remedy=("in a container: start it with --device /dev/dri",),
        subject=bdf,
    )


QUESTION = Question(
    name="drm",
    scope="device",
    order=20,
    summary="card and render nodes, by-path links and permissions",
    read_device=read_nodes,
)

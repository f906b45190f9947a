"""What `docker inspect` (or podman's) says of a container, as far as the checks need it. Never raises.

A command line may hold an API key and the environment tokens: of the command only what is asked about it is kept,
of the environment only the variables that steer the GPU stack.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.facts.doctor_images import ImageName, find_engine, find_image, split_image

# Variables that steer the GPU stack; none of them holds a secret.
KEPT_PREFIXES = ("ZE_", "ZES_", "ONEAPI_", "SYCL_", "UR_", "CCL_", "I_MPI_", "FI_", "NEO")
KEPT_NAMES = (
    "RenderCompressedBuffersEnabled",
    "LD_LIBRARY_PATH",
    "VLLM_OFFLOAD_WEIGHTS_BEFORE_QUANT",
    "VLLM_TARGET_DEVICE",
)
_PARALLEL = {
    "tensor": re.compile(r"(?:^|\s)(?:--tensor[-_]parallel[-_]size|--tp-size|--tp|-tp)[=\s]+(\d{1,3})\b"),
    "pipeline": re.compile(r"(?:^|\s)(?:--pipeline[-_]parallel[-_]size|--pp-size|--pp|-pp)[=\s]+(\d{1,3})\b"),
    "data": re.compile(r"(?:^|\s)(?:--data[-_]parallel[-_]size|--dp-size|--dp|-dp)[=\s]+(\d{1,3})\b"),
}
_SHELLS = ("sh", "bash", "dash")


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """One container. None: not said. `nodes` are device paths of the host that it may use below /dev/dri.

    `engine` is "" when it is no server of models that we know; `starts_engine` tells a server's command from an image
    whose command is a shell. `gpus` is how many its command line asks for. `shm_bytes` None: shared with the host.
    """

    id: str
    name: str
    image: ImageName
    state: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    engine: str = ""
    starts_engine: bool = False
    for_intel: bool = False
    sources_setvars: bool = False
    entrypoint: str = ""
    gpus: int | None = None
    privileged: bool = False
    nodes: tuple[str, ...] = ()
    has_cdi_gpu: bool = False
    has_by_path: bool = False
    other_vendor: bool = False
    shm_bytes: int | None = None
    has_ptrace: bool = False
    user: str = ""
    groups: tuple[str, ...] = ()
    keeps_groups: bool = False
    memory_bytes: int | None = None
    cpus: str = ""
    environment: dict[str, str] = {}

    @property
    def has_gpu(self) -> bool:
        """Whether any GPU of the host reaches it."""
        return self.privileged or self.has_cdi_gpu or bool(self.nodes)

    @property
    def can_exchange_pidfd(self) -> bool:
        """Whether a process in it may take another's file descriptors (pidfd_getfd), as oneCCL does."""
        return self.privileged or self.has_ptrace


def parse_inspect(data: bytes) -> tuple[Container, ...]:
    """Containers of an inspect document: an array, or one object a line; what is not one is skipped."""
    return tuple(read_container(entry) for entry in load_documents(data) if _get_map(entry, "HostConfig"))


def load_documents(data: bytes) -> tuple[dict[str, Any], ...]:
    """The objects of JSON output: an array of them, a single one, or one a line."""
    text = data.decode("utf-8", errors="replace").strip()
    for chunk in (text,), text.splitlines():
        found: list[dict[str, Any]] = []
        for part in chunk:
            try:
                document = json.loads(part)
            except BAD_JSON:
                continue
            entries = document if isinstance(document, list) else [document]
            found += [entry for entry in entries if isinstance(entry, dict)]
        if found:
            return tuple(found)
    return ()


def read_container(entry: dict[str, Any]) -> Container:
    """One inspect object; docker's and podman's keys, missing and strange values included."""
    host, config, state = (_get_map(entry, name) for name in ("HostConfig", "Config", "State"))
    image = split_image(_get_text(config, "Image") or _get_text(entry, "ImageName") or _get_text(entry, "Image"))
    words = [*_list_words(config.get("Entrypoint")), *_list_words(config.get("Cmd"))]
    command = " ".join(words)
    environment = _read_environment(config.get("Env"))
    row = find_image(image.repository)
    engine = find_engine(command)
    binds = _list_mounts(entry, host)
    nodes = _list_nodes(host, binds)
    requests = [request for request in _get_list(host, "DeviceRequests") if isinstance(request, dict)]
    cdi = " ".join(_list_words([name for request in requests for name in _get_list(request, "DeviceIDs")]))
    exit_code = state.get("ExitCode")
    return Container(
        id=(_get_text(entry, "Id") or _get_text(entry, "ID"))[:12],
        name=_get_text(entry, "Name").lstrip("/") or (_get_text(entry, "Id") or "?")[:12],
        image=image,
        state=_get_text(state, "Status").lower(),
        exit_code=exit_code if isinstance(exit_code, int) and not isinstance(exit_code, bool) else None,
        oom_killed=state.get("OOMKilled") is True,
        engine=engine or (row.engine if row is not None else ""),
        starts_engine=bool(engine),
        for_intel=bool(row is not None and row.intel)
        or environment.get("VLLM_TARGET_DEVICE") == "xpu"
        or bool(re.search(r"--device[=\s]+xpu\b", command)),
        sources_setvars="setvars.sh" in command,
        entrypoint=next(iter(_list_words(config.get("Entrypoint"))), "").rpartition("/")[2],
        gpus=_count_gpus(command) if engine else None,
        privileged=host.get("Privileged") is True,
        nodes=nodes,
        has_cdi_gpu="intel.com/gpu" in cdi,
        has_by_path=any(_covers(target, "/dev/dri/by-path") for _, target in binds),
        other_vendor=_get_text(host, "Runtime") == "nvidia" or any(_is_nvidia(request) for request in requests),
        shm_bytes=_read_shm(host, binds),
        has_ptrace=_has_ptrace(entry, host),
        user=_get_text(config, "User"),
        groups=_list_words(host.get("GroupAdd")),
        keeps_groups="keep_original_groups" in json.dumps(config.get("Annotations"), default=str)
        or "keep-groups" in _list_words(host.get("GroupAdd")),
        memory_bytes=_get_count(host, "Memory"),
        cpus=_get_text(host, "CpusetCpus"),
        environment=environment,
    )


def is_shell(program: str) -> bool:
    """Whether a container's entry point is a shell: then the image's own is overridden."""
    return program in _SHELLS


def _count_gpus(command: str) -> int:
    total = 1
    for pattern in _PARALLEL.values():
        match = pattern.search(command)
        total *= max(1, int(match.group(1))) if match else 1
    return total


def _list_mounts(entry: dict[str, Any], host: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """(source, target) of bind mounts and tmpfs; a tmpfs has the source ""."""
    found: list[tuple[str, str]] = []
    for mount in _get_list(entry, "Mounts"):
        if isinstance(mount, dict):
            found.append((_get_text(mount, "Source"), _get_text(mount, "Destination")))
    for bind in _list_words(host.get("Binds")):
        source, colon, rest = bind.partition(":")
        if colon:
            found.append((source, rest.partition(":")[0]))
    found += [("", target) for target in _get_map(host, "Tmpfs")]
    return tuple(dict.fromkeys(found))


def _list_nodes(host: dict[str, Any], binds: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Device paths below /dev/dri. A bind mount shows a node, but only --device opens it; so binds do not count."""
    found = []
    for device in _get_list(host, "Devices"):
        path = _get_text(device, "PathOnHost") if isinstance(device, dict) else ""
        if path.rstrip("/") in ("/dev/dri", "/dev") or path.startswith("/dev/dri/"):
            found.append(path.rstrip("/"))
    rules = _list_words(host.get("DeviceCgroupRules"))
    if any(rule.startswith(("c 226:", "a ")) for rule in rules):
        found += [source for source, _ in binds if source.startswith("/dev/dri")]
    return tuple(dict.fromkeys(found))


def _covers(mounted: str, path: str) -> bool:
    mounted = mounted.rstrip("/")
    return mounted in ("/dev/dri", "/dev") or mounted == path or mounted.startswith(f"{path}/")


def _read_shm(host: dict[str, Any], binds: tuple[tuple[str, str], ...]) -> int | None:
    """Bytes of /dev/shm; None when it is the host's, another's or a mount of its own."""
    ipc = _get_text(host, "IpcMode")
    if ipc == "host" or ipc.startswith("container:") or any(target in ("/dev/shm", "/dev") for _, target in binds):
        return None
    return _get_count(host, "ShmSize")


def _has_ptrace(entry: dict[str, Any], host: dict[str, Any]) -> bool:
    capabilities = {
        word.upper().removeprefix("CAP_")
        for words in (host.get("CapAdd"), entry.get("EffectiveCaps"))
        for word in _list_words(words)
    }
    unconfined = any(re.fullmatch(r"seccomp[=:]unconfined", option) for option in _list_words(host.get("SecurityOpt")))
    return unconfined or bool(capabilities & {"SYS_PTRACE", "ALL"})


def _is_nvidia(request: dict[str, Any]) -> bool:
    text = json.dumps(request, default=str).lower()
    return "nvidia" in text or '"gpu"' in text


def _read_environment(values: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in _list_words(values):
        name, equals, value = word.partition("=")
        if equals and (name.startswith(KEPT_PREFIXES) or name in KEPT_NAMES):
            found[name] = value[:500]
    return found


def _get_map(entry: Any, name: str) -> dict[str, Any]:
    value = entry.get(name) if isinstance(entry, dict) else None
    return value if isinstance(value, dict) else {}


def _get_list(entry: Any, name: str) -> list[Any]:
    value = entry.get(name) if isinstance(entry, dict) else None
    return value if isinstance(value, list) else []


def _get_text(entry: Any, name: str) -> str:
    value = entry.get(name) if isinstance(entry, dict) else None
    return value if isinstance(value, str) else ""


def _get_count(entry: dict[str, Any], name: str) -> int | None:
    value = entry.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _list_words(value: Any) -> tuple[str, ...]:
    """Strings of a list; a single string is one (older podman writes the entry point so)."""
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(word for word in value if isinstance(word, str)) if isinstance(value, list) else ()

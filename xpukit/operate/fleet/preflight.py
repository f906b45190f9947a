"""Several machines before a launch over them: what must be equal is compared, what must be reached is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.fleet import PreflightFacts, PreflightLimits, load_preflight_facts
from xpukit.host import Host
from xpukit.operate.fleet.hosts import FleetHost
from xpukit.operate.fleet.preflight_ask import Answer, ask_before
from xpukit.operate.fleet.preflight_meet import Meeting, meet_all
from xpukit.operate.fleet.preflight_result import PreflightReport, PreflightRow, Verdict, judge_rows
from xpukit.operate.fleet.ssh import SshSettings

_AT_ONCE = 16


class PreflightWish(msgspec.Struct, frozen=True, kw_only=True):
    """What the launch needs. `form`: swarm, ray or "" (neither); `ports`: TCP ports of the engine besides."""

    form: str = ""
    ports: tuple[int, ...] = ()
    image: str = ""
    model: str = ""
    full_hash: bool = False
    least_gbits: float | None = None
    bandwidth: bool = True


def look_before(
    host: Host, settings: SshSettings, hosts: Sequence[FleetHost], wish: PreflightWish, say: Callable[[str], None]
) -> PreflightReport:
    """Ask all hosts, let neighbours meet, judge. Raises UsageError for fewer than two hosts."""
    if len(hosts) < 2:
        raise UsageError("a preflight is between machines: name two or more", hint="--hosts A,B")
    facts = load_preflight_facts()
    say(f"asking {len(hosts)} hosts ...")

    def ask(index: int) -> Answer:
        others = tuple(dict.fromkeys((hosts[(index + 1) % len(hosts)], hosts[0] if index else hosts[1])))
        return ask_before(
            host, settings, hosts[index], tuple(one for one in others if one is not hosts[index]),
            image=wish.image, model=wish.model, full_hash=wish.full_hash,
        )  # fmt: skip

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        answers = tuple(pool.map(ask, range(len(hosts))))
    rows = list(judge_answers(answers, wish, facts))
    there = [answer for answer in answers if not answer.problem]
    if wish.bandwidth and len(there) > 1:
        swarm = any(answer.said.get("swarm") == "active" for answer in there)
        tcp, udp = list_ports(wish, facts)
        say(f"trying {len(tcp) + len(udp)} ports and the network between {len(there)} hosts ...")
        addresses = [answer.said.get("address") or answer.host.name for answer in there]
        meetings = meet_all(host, settings, [answer.host for answer in there], addresses, tcp, udp, facts.limits)
        rows += judge_meetings(meetings, wish, facts, swarm=swarm)
    return PreflightReport(hosts=tuple(one.name for one in hosts), rows=tuple(rows), verdict=judge_rows(rows))


def list_ports(wish: PreflightWish, facts: PreflightFacts) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """TCP and UDP ports that the form needs."""
    forms = {"swarm": ("swarm",), "ray": ("ray",), "": ()}[wish.form]
    own = [fact for fact in facts.port if fact.form in forms]
    tcp = tuple(dict.fromkeys([*(fact.number for fact in own if fact.protocol == "tcp"), *wish.ports]))
    return tcp, tuple(fact.number for fact in own if fact.protocol == "udp")


def judge_answers(answers: Sequence[Answer], wish: PreflightWish, facts: PreflightFacts) -> Iterator[PreflightRow]:
    """Rows of what each host said, and of what must be the same on all."""
    for answer in answers:
        name = answer.host.name
        if answer.problem:
            remedy = f"ssh-copy-id {answer.host.ssh}, and ssh {answer.host.ssh} once by hand"
            yield PreflightRow(name="ssh", where=name, verdict="unknown", why=answer.problem, remedy=remedy)
            continue
        yield _judge_methods(answer)
        yield _judge_clock(answer, facts.limits)
        yield from _judge_paths(answer)
    there = [answer for answer in answers if not answer.problem]
    yield _compare(
        "MTU", there, "mtu", "", "packets of the larger size are dropped or cut: make it the same everywhere"
    )
    if wish.form == "swarm":
        yield from _judge_docker(there)
    if wish.image:
        # By id: the digest of the image's own description, the same whatever name it was pulled by.
        yield _compare("image", there, "image", wish.image, f"docker pull {wish.image} by its digest on every host")
    if wish.model:
        yield _compare("model", there, "model", wish.model, "copy it again from one place (rsync --checksum)")


def _judge_methods(answer: Answer) -> PreflightRow:
    taken = [word for word in answer.methods if word in ("password", "keyboard-interactive")]
    if not answer.methods:
        return PreflightRow(name="ssh", where=answer.host.name, verdict="pass", value="by key; other ways not told")
    return PreflightRow(
        name="ssh",
        where=answer.host.name,
        verdict="warn" if taken else "pass",
        value=", ".join(answer.methods),
        why="its sshd takes passwords too" if taken else "",
        remedy="PasswordAuthentication no and KbdInteractiveAuthentication no in sshd_config" if taken else "",
    )


def _judge_clock(answer: Answer, limits: PreflightLimits) -> PreflightRow:
    if answer.clock_s is None:
        return PreflightRow(name="clock", where=answer.host.name, verdict="unknown", why="its date has no %N")
    off = abs(answer.clock_s)
    verdict: Verdict = "fail" if off > limits.clock_fail_s else "warn" if off > limits.clock_warn_s else "pass"
    synchronised = answer.said.get("synchronised", "")
    value = f"{answer.clock_s:+.3f} s" + ({"yes": ", synchronised", "no": ", not synchronised"}.get(synchronised, ""))
    return PreflightRow(
        name="clock",
        where=answer.host.name,
        verdict=verdict,
        value=value,
        why="differs from this machine's" if verdict != "pass" else "",
        remedy="start a time service (chrony, systemd-timesyncd) on all" if verdict != "pass" else "",
    )


def _judge_paths(answer: Answer) -> Iterator[PreflightRow]:
    mtu = answer.said.get("mtu", "")
    for part in filter(None, answer.said.get("paths", "").split(";")):
        state, _, other = part.partition(" ")
        where = f"{answer.host.name} -> {other}"
        if state == "ok":
            yield PreflightRow(name="path MTU", where=where, verdict="pass", value=f"{mtu} bytes pass whole")
        elif state == "short":
            yield PreflightRow(
                name="path MTU", where=where, verdict="fail", value=f"{mtu} bytes do not pass whole",
                why="something between has a smaller MTU", remedy="the same MTU on hosts and switches",
            )  # fmt: skip
        else:
            yield PreflightRow(
                name="path MTU", where=where, verdict="warn", why="no answer to ping: not known",
                remedy="allow ICMP between the hosts: without it a path's MTU cannot be found out",
            )  # fmt: skip


def _judge_docker(there: Sequence[Answer]) -> Iterator[PreflightRow]:
    for answer in there:
        problem = answer.said.get("docker_problem", "")
        yield PreflightRow(
            name="docker",
            where=answer.host.name,
            verdict="fail" if problem else "pass",
            value="" if problem else f"swarm: {answer.said.get('swarm', '')}",
            why=problem[:200],
        )


def _compare(name: str, there: Sequence[Answer], key: str, what: str, remedy: str) -> PreflightRow:
    """One value on all hosts."""
    values: dict[str, list[str]] = {}
    for answer in there:
        value = answer.said.get(key, "")
        values.setdefault(value, []).append(answer.host.name)
    where = "all" if there else "none"
    absent = values.pop("", [])
    problem = next((answer.said.get(f"{key}_problem", "") for answer in there if f"{key}_problem" in answer.said), "")
    if absent:
        why = problem or f"not there: {what}" if what else "could not be read"
        verdict: Verdict = "fail" if what else "unknown"
        return PreflightRow(name=name, where=", ".join(absent), verdict=verdict, why=why, remedy=remedy if what else "")
    if len(values) > 1:
        said = "; ".join(f"{', '.join(hosts)}: {_shorten(value)}" for value, hosts in values.items())
        return PreflightRow(name=name, where=where, verdict="fail", value=said, why="not the same", remedy=remedy)
    return PreflightRow(name=name, where=where, verdict="pass", value=_shorten(next(iter(values), "")))


def _shorten(value: str) -> str:
    return value if len(value) <= 32 else value[:19] + "…"


def judge_meetings(
    meetings: Sequence[Meeting], wish: PreflightWish, facts: PreflightFacts, *, swarm: bool
) -> Iterator[PreflightRow]:
    """Rows of what neighbours found."""
    own = {f"{fact.protocol} {fact.number}": fact for fact in facts.port}
    least = facts.limits.bandwidth_warn_gbits if wish.least_gbits is None else wish.least_gbits
    for meeting in meetings:
        where = f"{meeting.source} -> {meeting.target}"
        for port, answer in meeting.ports.items():
            fact = own.get(port)
            dockers = swarm and fact is not None and fact.in_swarm
            if port in meeting.busy and not dockers:
                yield PreflightRow(
                    name=f"port {port}", where=meeting.target, verdict="fail", why="taken by another program",
                    remedy=f"ss -lp 'sport = :{port.split()[1]}' there; end it, or choose another port",
                )  # fmt: skip
            elif port in meeting.busy and port.startswith("udp"):
                # Docker does not answer what it does not know.
                yield PreflightRow(name=f"port {port}", where=where, verdict="pass", value="taken by Docker; not tried")
            elif answer == "ok":
                yield PreflightRow(name=f"port {port}", where=where, verdict="pass", value=fact.why if fact else "")
            else:
                yield PreflightRow(
                    name=f"port {port}", where=where, verdict="fail", why=answer,
                    remedy="open it in the firewalls between the hosts",
                )  # fmt: skip
        if meeting.gbits is None:
            yield PreflightRow(name="bandwidth", where=where, verdict="unknown", why=meeting.problem or "not measured")
            continue
        slow = meeting.gbits < least
        yield PreflightRow(
            name="bandwidth",
            where=where,
            verdict=("fail" if wish.least_gbits is not None else "warn") if slow else "pass",
            value=f"{meeting.gbits:.1f} Gbit/s, one TCP stream",
            why=f"less than {least:g} Gbit/s" if slow else "",
        )

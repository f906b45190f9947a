"""`python3 - listen|send ...`: two machines try their ports and their network on each other.

Runs on the hosts, given on standard input to their own Python (3.7 and later): the standard library only, an answer a
line (NAME=VALUE). `listen SECONDS TCP,... UDP,...` opens the ports that are free and one of its own, says "ready=PORT",
and ends when the transfer is over; `send ADDRESS PORT BYTES SECONDS TCP,... UDP,...` tries the ports and then sends, at
most so many bytes for so many seconds.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import threading
import time

BLOCK = 1 << 20


def say(name: str, value: object) -> None:
    """An answer."""
    print(f"{name}={value}", flush=True)


def read_ports(text: str) -> list[int]:
    """Numbers between commas."""
    return [int(word) for word in text.split(",") if word]


def open_port(kind: socket.SocketKind, port: int) -> socket.socket | None:
    """A socket that listens on all addresses, None where the port is taken."""
    sock = socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET, kind)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if kind == socket.SOCK_STREAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("", port))
        if kind == socket.SOCK_STREAM:
            sock.listen(8)
    except OSError:
        sock.close()
        return None
    return sock


def swallow(connection: socket.socket, over: threading.Event | None) -> None:
    """Take all that comes, then say so: the time is the sender's to take."""
    connection.settimeout(30)
    with contextlib.suppress(OSError), connection:
        while connection.recv(BLOCK):
            pass
        connection.sendall(b"k")
    if over is not None:
        over.set()


def listen(seconds: float, tcp: list[int], udp: list[int]) -> None:
    """Answer until the transfer is over, at most so long."""
    streams: list[socket.socket] = []
    datagrams: list[socket.socket] = []
    for kind, ports, into, name in (
        (socket.SOCK_STREAM, tcp, streams, "tcp"),
        (socket.SOCK_DGRAM, udp, datagrams, "udp"),
    ):
        for port in ports:
            sock = open_port(kind, port)
            if sock is None:
                say(f"busy_{name}_{port}", 1)
            else:
                into.append(sock)
    own = open_port(socket.SOCK_STREAM, 0)
    if own is None:
        return
    over = threading.Event()
    say("ready", own.getsockname()[1])
    until = time.monotonic() + seconds
    while time.monotonic() < until and not over.is_set():
        for sock in select.select([*streams, own, *datagrams], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):
                if sock in datagrams:
                    content, sender = sock.recvfrom(100)
                    sock.sendto(content, sender)
                else:
                    ending = over if sock is own else None
                    threading.Thread(target=swallow, args=(sock.accept()[0], ending), daemon=True).start()


def try_tcp(address: str, port: int) -> str:
    """ "ok", or what stands in the way."""
    started = time.monotonic()
    try:
        with socket.create_connection((address, port), timeout=3):
            return "ok"
    except OSError as err:
        return "no answer" if time.monotonic() - started > 2.5 else str(err.strerror or err)


def try_udp(address: str, port: int) -> str:
    """ "ok" when what was sent comes back."""
    family = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0][0]
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.7)
        for _ in range(3):
            with contextlib.suppress(OSError):
                sock.sendto(b"xpukit", (address, port))
                if sock.recvfrom(100)[0] == b"xpukit":
                    return "ok"
    return "no answer"


def send(address: str, port: int, most_bytes: int, seconds: float, tcp: list[int], udp: list[int]) -> None:
    """Try the ports, then the network."""
    for number in tcp:
        say(f"tcp_{number}", try_tcp(address, number))
    for number in udp:
        say(f"udp_{number}", try_udp(address, number))
    block = bytes(BLOCK)
    sent = 0
    try:
        with socket.create_connection((address, port), timeout=5) as sock:
            sock.settimeout(20)
            started = time.monotonic()
            while sent < most_bytes and time.monotonic() - started < seconds:
                sock.sendall(block)
                sent += BLOCK
            sock.shutdown(socket.SHUT_WR)
            sock.recv(1)
            taken = time.monotonic() - started
    except OSError as err:
        say("unsent", err.strerror or err)
        return
    say("sent", sent)
    say("seconds", f"{taken:.6f}")


def main(words: list[str]) -> None:
    """Serve the command line."""
    if words[0] == "listen":
        listen(float(words[1]), read_ports(words[2]), read_ports(words[3]))
    else:
        send(words[1], int(words[2]), int(words[3]), float(words[4]), read_ports(words[5]), read_ports(words[6]))


if __name__ == "__main__":
    main(sys.argv[1:])

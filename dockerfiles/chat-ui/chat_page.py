"""A chat page for an OpenAI-compatible endpoint: text, images, sound and video in, streamed answers, thoughts apart."""

import argparse
import hmac
import os
import secrets
import sys
from importlib import metadata
from pathlib import Path

from chat_endpoint import Endpoint

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def read_arguments(words, environment):
    """The arguments; their defaults come from the environment. Ends with exit code 2 where they cannot be used."""
    parser = argparse.ArgumentParser(prog="chat-page", description=__doc__)
    parser.add_argument(
        "--url", default=environment.get("XPUKIT_UI_URL", "http://127.0.0.1:8000/v1"), help="http://HOST:PORT/v1"
    )
    parser.add_argument("--listen", default=environment.get("XPUKIT_LISTEN", "127.0.0.1"), metavar="ADDRESS")
    parser.add_argument("--port", type=int, default=environment.get("XPUKIT_PORT", "7860"))
    parser.add_argument(
        "--published",
        default=environment.get("XPUKIT_UI_PUBLISHED", ""),
        metavar="ADDRESS",
        help="in a container: the host's address that the port is published on",
    )
    parser.add_argument("--user", default=environment.get("XPUKIT_UI_USER", "xpukit"))
    parser.add_argument("--title", default=environment.get("XPUKIT_UI_TITLE", "Chat"))
    parser.add_argument("--max-file", default=environment.get("XPUKIT_UI_MAX_FILE", "100mb"), metavar="SIZE")
    parser.add_argument("--version", action="version", version=f"gradio {metadata.version('gradio')}")
    given = parser.parse_args(words)
    given.password = read_secret(parser, environment, "XPUKIT_UI_PASSWORD")
    given.key = read_secret(parser, environment, "XPUKIT_UI_API_KEY")
    reached_at = given.published or given.listen
    if reached_at not in LOOPBACK and not given.password:
        given.password = secrets.token_urlsafe(18)
        print(
            f"others may reach {reached_at}, and no password was set (XPUKIT_UI_PASSWORD, XPUKIT_UI_PASSWORD_FILE): "
            f"until this page ends, the user is {given.user} and the password {given.password}",
            flush=True,
        )
    return given


def read_secret(parser, environment, name):
    """The value of NAME, or what the file that NAME_FILE names holds; "" where there is neither."""
    path = environment.get(f"{name}_FILE", "")
    if not path:
        return environment.get(name, "")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as err:
        parser.error(f"{name}_FILE: {err}")


def main():
    given = read_arguments(sys.argv[1:], os.environ)

    def check(user, password):
        right = hmac.compare_digest(password.encode(), given.password.encode())
        return hmac.compare_digest(user.encode(), given.user.encode()) and right

    # Only now: it takes seconds, and --help and --version need none of it.
    from chat_view import build_page, show

    page = build_page(Endpoint(given.url, given.key), given.title)
    show(page, given, check if given.password else None)


if __name__ == "__main__":
    main()

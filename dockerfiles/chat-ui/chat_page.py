"""A chat page for an OpenAI-compatible endpoint: text, images, sound and video in, streamed answers, thoughts apart."""

import argparse
import hmac
import os
import sys
import time
from pathlib import Path

import gradio as gr
from chat_endpoint import Endpoint, EndpointError
from chat_messages import THINKING, MediaError, build_messages, build_request, read_delta, split_thought

LOOPBACK = ("127.0.0.1", "::1", "localhost")
THINKING_CHOICES = {"as the model does": None, "on": True, "off": False}
MEDIA = ["image", "audio", "video"]
# Uploads are looked at this often and removed when this old, in seconds.
CLEANING_S = (600, 3600)


def build_page(endpoint, title):
    """The page. Models are read when it is opened, so that it may start before its engine."""

    def answer(message, history, model, system, temperature, max_tokens, thinking):
        try:
            messages = build_messages(history, message, system or "")
            names = [model] if model else endpoint.list_models()
            if not names:
                raise EndpointError(f"{endpoint.url} serves no model")
            body = build_request(
                names[0],
                messages,
                temperature=temperature,
                max_tokens=max_tokens,
                thinking=THINKING_CHOICES[thinking],
            )
            yield from show_stream(endpoint.stream(body))
        except (EndpointError, MediaError) as err:
            raise gr.Error(str(err), duration=None) from err

    def read_models():
        try:
            names = endpoint.list_models()
        except EndpointError as err:
            gr.Warning(str(err))
            names = []
        return gr.Dropdown(choices=names, value=names[0] if names else None)

    # Made outside the page: ChatInterface puts them where they belong.
    model = gr.Dropdown(label="Model", choices=[], interactive=True, allow_custom_value=True, elem_id="model")
    settings = [
        model,
        gr.Textbox(label="System prompt", lines=2),
        gr.Slider(label="Temperature", minimum=0.0, maximum=2.0, step=0.05, value=0.7),
        gr.Number(label="At most so many tokens (0: as many as fit)", value=0, precision=0, minimum=0),
        gr.Radio(label=THINKING, choices=list(THINKING_CHOICES), value="as the model does"),
    ]
    textbox = gr.MultimodalTextbox(
        file_count="multiple",
        file_types=MEDIA,
        sources=["upload", "microphone"],
        placeholder="Text, and images, sound or video",
        elem_id="message",
    )
    # No button to share: it would publish the conversation on a public site.
    chatbot = gr.Chatbot(elem_id="chat", label=title, height="70vh", buttons=["copy", "copy_all"])
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=CLEANING_S) as page:
        gr.ChatInterface(
            answer,
            multimodal=True,
            textbox=textbox,
            chatbot=chatbot,
            additional_inputs=settings,
            additional_inputs_accordion="Model and settings",
            api_visibility="private",
            concurrency_limit=None,
            flagging_mode="never",
        )
        page.load(read_models, outputs=model, api_visibility="private")
    return page


def show_stream(events):
    """What the page shows after each event: the thoughts, folded, and the answer."""
    began = time.monotonic()
    thought_of_parser, text = "", ""
    ended = None
    for event in events:
        more_thought, more_text = read_delta(event)
        if not more_thought and not more_text:
            continue
        thought_of_parser += more_thought
        text += more_text
        inline, answer, still = split_thought(text)
        thought = (thought_of_parser + inline).strip()
        still = still or (bool(thought_of_parser) and not text)
        if ended is None and not still:
            ended = time.monotonic()
        shown = []
        if thought:
            metadata = {"title": THINKING, "status": "pending" if still else "done"}
            if ended is not None:
                metadata["duration"] = ended - began
            shown.append(gr.ChatMessage(content=thought, metadata=metadata))
        if answer or not thought:
            shown.append(gr.ChatMessage(content=answer))
        yield shown
    if not text and not thought_of_parser:
        raise EndpointError("the answer is empty")


def read_arguments(words, environment):
    """The arguments; their defaults come from the environment. Ends with exit code 2 where they cannot be used."""
    parser = argparse.ArgumentParser(prog="chat-page", description=__doc__)
    parser.add_argument("--url", default=environment.get("XPUKIT_UI_URL", ""), help="http://HOST:PORT/v1")
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
    parser.add_argument("--version", action="version", version=f"gradio {gr.__version__}")
    given = parser.parse_args(words)
    given.password = read_secret(parser, environment, "XPUKIT_UI_PASSWORD")
    given.key = read_secret(parser, environment, "XPUKIT_UI_API_KEY")
    if not given.url:
        parser.error("no endpoint: --url http://HOST:PORT/v1, or XPUKIT_UI_URL")
    reached_at = given.published or given.listen
    if reached_at not in LOOPBACK and not given.password:
        parser.error(
            f"the page would be open to all who reach {reached_at}: set XPUKIT_UI_PASSWORD or XPUKIT_UI_PASSWORD_FILE "
            "(the user is XPUKIT_UI_USER), or publish the port on 127.0.0.1 and say so with XPUKIT_UI_PUBLISHED"
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

    page = build_page(Endpoint(given.url, given.key), given.title)
    page.queue(default_concurrency_limit=None).launch(
        server_name=given.listen,
        server_port=given.port,
        auth=check if given.password else None,
        share=False,
        quiet=True,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        footer_links=[],
        max_file_size=given.max_file,
        # The fonts of the default theme come from the network.
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
    )


if __name__ == "__main__":
    main()

"""What the page shows: the conversation, the settings, the answer as it comes in."""

import time

import gradio as gr
from chat_endpoint import EndpointError
from chat_messages import THINKING, MediaError, build_messages, build_request, read_delta, split_thought

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


def show(page, given, check):
    """Serve the page until the process is ended. `check(user, password)` is None where nobody is asked."""
    page.queue(default_concurrency_limit=None).launch(
        server_name=given.listen,
        server_port=given.port,
        auth=check,
        share=False,
        quiet=True,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        footer_links=[],
        # Pictures in the conversation bring a button of their own, whatever the chat's `buttons` are.
        css="[aria-label=Share] { display: none !important; }",
        max_file_size=given.max_file,
        # The fonts of the default theme come from the network.
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
    )

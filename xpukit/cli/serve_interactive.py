"""`serve --interactive`: questions with the fit shown, to a plan and the line that gives it again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from xpukit.cli.serve_desk import PlanDesk, open_bundle_desk
from xpukit.cli.serve_fit_bar import draw_fit
from xpukit.cli.serve_options import ServeOptions, parse_tokens
from xpukit.cli.session import Session
from xpukit.cli.terminal_questions import Back, ask, ask_yes, say
from xpukit.core.errors import UsageError
from xpukit.serve.platforms import parse_platform
from xpukit.serve.questions import (
    Option,
    describe_fit,
    list_context_options,
    list_engine_options,
    list_form_options,
    list_gpu_options,
    list_parsers,
    list_quantization_options,
    list_sizes,
    list_version_options,
    name_platform,
    search_models,
)
from xpukit.serve.request import ServeRequest
from xpukit.serve.request_words import Output, spell_line

if TYPE_CHECKING:
    from xpukit.serve.plan_types import Plan

_HERE, _BUNDLE = "here", "bundle"
_CHOSEN_BY_PLANNER = Option(value="", label="choose for me", note="the planner's own choice")


def serve_interactive(session: Session, request: ServeRequest, options: ServeOptions) -> int:
    """Walk through the questions that the command line left open, then put out the plan.

    Raises UsageError where standard input is no terminal, InterruptedRunError when the user leaves.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "--interactive asks its questions on a terminal, and standard input is none",
            hint="say it in options (xpukit serve MODEL --platform 8xB60), or open the page: xpukit serve --web",
        )
    walk = _Walk(session, request, options)
    walk.go()
    plan = walk.desk.make_plan(walk.request)
    say()
    say("The same again:")
    say(f"  {spell_line(walk.request, walk.output, source=walk.desk.source)}")
    say()
    from xpukit.cli.serve_run import put_out

    if options.run:
        walk.desk.session.require_live("serve --run")
    try:
        return put_out(walk.desk.session, plan, msgspec.structs.replace(options, form=walk.output.form))
    finally:
        if walk.desk.session is not session:
            walk.desk.session.close()


class _Walk:
    """The state of a walk: what was answered, and which questions were asked."""

    def __init__(self, session: Session, request: ServeRequest, options: ServeOptions) -> None:
        self.session = session
        self.desk = PlanDesk(session, evaluation=options.evaluation)
        self.evaluation = options.evaluation
        self.given = request
        self.request = request
        self.output = Output(
            form=options.form,
            name=options.name,
            model_dir=options.models,
            privileged=options.privileged,
            cdi=options.cdi,
        )

    def go(self) -> None:
        """Ask; `b` goes to the last question that was really asked."""
        steps: tuple[tuple[Callable[[], bool], bool], ...] = (
            (self._ask_hardware, False),
            (self._ask_model, True),
            (self._ask_size, True),
            (self._ask_engine, True),
            (self._ask_quantization, True),
            (self._ask_context, True),
            (self._ask_concurrency, True),
            (self._ask_thinking, False),
            (self._ask_tools, False),
            (self._ask_form, False),
        )
        asked: list[tuple[int, ServeRequest, Output, PlanDesk]] = []
        number = 0
        while number < len(steps):
            step, shows_fit = steps[number]
            before = (number, self.request, self.output, self.desk)
            try:
                was_asked = step()
                if was_asked and self.request.model:
                    plan = self.desk.make_plan(self.request)
                    if shows_fit:
                        for line in draw_fit(describe_fit(plan)):
                            say(f"  {line}")
            except Back:
                if asked:
                    number, self.request, self.output, self.desk = asked.pop()
                else:
                    say("  this is the first question")
                continue
            except UsageError as err:
                if self.request == before[1]:
                    raise
                say(f"  {err.message}")
                if err.hint:
                    say(f"    {err.hint}")
                _, self.request, self.output, self.desk = before
                continue
            if was_asked:
                asked.append(before)
            number += 1

    def _set(self, **changes: object) -> None:
        self.request = msgspec.structs.replace(self.request, **changes)

    def _ask_hardware(self) -> bool:
        if self.given.platform or self.session.source is not None:
            return False
        options = (
            Option(value=_HERE, label="this machine", note="its GPUs are looked at"),
            Option(value=_BUNDLE, label="a recording", note="a bundle of xpukit sysinfo, or a directory of --record"),
            *list_gpu_options(),
        )
        answer = ask("Which hardware?", options, default=_HERE, other=_read_platform, help="or a platform as 2x8xH200")
        if answer == _HERE:
            if not self._has_gpu():
                return self._ask_hardware()
            self._set(platform="")
            return True
        if answer == _BUNDLE:
            return self._ask_bundle()
        if any(answer == one.value for one in options):
            answer = _ask_counts(answer)
        self._set(platform=parse_platform(answer).name)
        return True

    def _has_gpu(self) -> bool:
        try:
            say(f"  {self.desk.describe_machine()}")
        except UsageError as err:
            say(f"  {err.message}")
            say(f"    {err.hint}")
            return False
        return True

    def _ask_bundle(self) -> bool:
        path = ask("Where is the recording?", (), other=lambda text: text, help="a path")
        if not path:
            return self._ask_hardware()
        try:
            desk = open_bundle_desk(self.session, path, evaluation=self.evaluation)
            say(f"  {desk.describe_machine()}")
        except UsageError as err:
            say(f"  {err.message}")
            say(f"    {err.hint}")
            return self._ask_hardware()
        self.desk = desk
        self._set(platform="")
        return True

    def _ask_model(self) -> bool:
        if self.given.model:
            return False
        found = search_models()
        while True:
            options = [Option(value=one.id, label=one.id, note=", ".join(one.tasks)) for one in found]
            answer = ask(
                "Which model?" if len(found) > 1 else "This one?",
                options,
                default=options[0].value if len(options) == 1 else "",
                other=lambda text: text,
                help="words to search for, an id, or a directory",
            )
            known = any(one.value == answer for one in options)
            hits = () if known or "/" in answer else search_models(answer)
            if not hits:
                self._set(model=answer)
                return True
            found = hits

    def _ask_size(self) -> bool:
        options = () if self.given.model else list_sizes(self.request.model)
        if not options:
            return False
        model = next((one.value for one in options if one.value.lower() == self.request.model.lower()), "")
        self._set(model=ask("Which size of it?", self._note_fits(options), default=model))
        return True

    def _note_fits(self, options: tuple[Option, ...]) -> tuple[Option, ...]:
        noted = []
        for one in options:
            try:
                fit = describe_fit(self.desk.make_plan(msgspec.structs.replace(self.request, model=one.value)))
                noted.append(msgspec.structs.replace(one, note=fit.headline))
            except UsageError as err:
                noted.append(msgspec.structs.replace(one, note=err.message))
        return tuple(noted)

    def _ask_engine(self) -> bool:
        if self.given.engine or self.given.image:
            return False
        plan = self.desk.make_plan(self.request)
        options = list_engine_options(plan.machine.vendor)
        answer = ask("Which engine?", options, default=plan.engine.name, other=_read_engine, help="or NAME:VERSION")
        if ":" not in answer:
            versions = list_version_options(answer)
            newest = versions[0].value
            version = ask(
                f"Which version of {answer}?", versions, default=newest, other=_read_engine, help="or another"
            )
            taken = version if version != newest else answer
        else:
            taken = answer
        self._set(engine="" if taken == plan.engine.name and not self.request.engine else taken)
        return True

    def _ask_quantization(self) -> bool:
        if self.given.quantization:
            return False
        plan, model = self.desk.make_both(self.request)
        chosen = msgspec.structs.replace(
            _CHOSEN_BY_PLANNER, note=f"now {plan.quantization.name}: {plan.quantization.reason}"
        )
        options = (chosen, *list_quantization_options(model, plan, self.desk.make_plan))
        self._set(quantization=ask("How are the weights quantized?", options))
        return True

    def _ask_context(self) -> bool:
        if self.given.context is not None:
            return False
        plan = self.desk.make_plan(self.request)
        if not plan.memory.max_context or self._is_pooling(plan):
            return False
        chosen = msgspec.structs.replace(_CHOSEN_BY_PLANNER, note=f"now {plan.memory.asked_context:,} tokens")
        options = (chosen, *list_context_options(plan, self.desk.make_plan))
        answer = ask("How long may a request be, in tokens?", options, other=_read_tokens, help="or a number as 32k")
        self._set(context=int(answer) if answer else None)
        return True

    def _ask_concurrency(self) -> bool:
        if self.given.concurrency is not None or self.request.context is None:
            return False
        answer = ask(
            "How many of them at a time must fit?", (), other=_read_count, help="a number, empty: as many as do"
        )
        self._set(concurrency=int(answer) if answer else None)
        return True

    def _is_pooling(self, plan: Plan) -> bool:
        return plan.model.task != "generate"

    def _ask_thinking(self) -> bool:
        return self._ask_parser("reasoning", "thinking", "reasoning_parser", "Tell thinking from the answer?")

    def _ask_tools(self) -> bool:
        return self._ask_parser("tools", "tools", "tool_parser", "Let the model call tools?")

    def _ask_parser(self, kind: str, switch: str, field: str, title: str) -> bool:
        if getattr(self.given, switch) or getattr(self.given, field):
            return False
        plan = self.desk.make_plan(self.request)
        if self._is_pooling(plan):
            return False
        parsers = list_parsers(plan, kind)
        known = bool(parsers) and bool(parsers[0].note)
        if not ask_yes(title, default=False):
            self._set(**{switch: False, field: ""})
        elif known:
            self._set(**{switch: True, field: ""})
            say(f"  parser: {parsers[0].label} ({parsers[0].note})")
        else:
            say(f"  no parser is known for {plan.model.id or plan.model.asked}")
            named = ask(
                f"Which of {plan.engine.name}'s?", parsers, other=lambda text: text, help="or its name; empty: none"
            )
            self._set(**{switch: bool(named), field: named})
        return True

    def _ask_form(self) -> bool:
        answer = ask("In which form?", list_form_options(), default=self.output.form)
        self.output = msgspec.structs.replace(self.output, form=answer)
        return True


def _ask_counts(gpu: str) -> str:
    count = ask(f"How many {gpu} in a machine?", (), default="1", other=_read_count, help="a number")
    machines = ask("How many such machines?", (), default="1", other=_read_count, help="a number")
    return name_platform(gpu, int(count), int(machines))


def _read_platform(text: str) -> str:
    return parse_platform(text).name


def _read_tokens(text: str) -> str:
    return str(parse_tokens(text.replace(",", "")))


def _read_count(text: str) -> str:
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"{text!r} is not a number from 1 on")
    return text


def _read_engine(text: str) -> str:
    from xpukit.facts.engines import resolve_engine

    resolved = resolve_engine(text)
    return f"{resolved.engine}:{resolved.asked}" if resolved.asked else resolved.engine

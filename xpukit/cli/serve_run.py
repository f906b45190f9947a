"""From a request to output: read the machine, plan, then print, write, save or start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xpukit.cli.serve_options import ServeOptions
from xpukit.cli.session import Session
from xpukit.core.errors import ExitCode, UsageError
from xpukit.core.json_document import BAD_JSON

if TYPE_CHECKING:
    from xpukit.serve.forms import FormFile
    from xpukit.serve.model_types import Model
    from xpukit.serve.plan_types import Plan
    from xpukit.serve.request import ServeRequest

SCHEMA = "xpukit.plan/1"


def serve_request(session: Session, request: ServeRequest, options: ServeOptions) -> int:
    """Plan (or open a saved plan) and put it out; the exit code."""
    if options.run:
        session.require_live("serve --run")
    if options.plan:
        plan = load_plan(session, options.plan)
    elif options.calibrate:
        from xpukit.cli.serve_calibrate import calibrate

        return calibrate(session, request, options, make_host_plan)
    else:
        plan, _ = make_host_plan(session, request, options)
    return put_out(session, plan, options)


def make_host_plan(session: Session, request: ServeRequest, options: ServeOptions) -> tuple[Plan, Model]:
    """Read what the plan rests on and plan."""
    import msgspec

    from xpukit.cli.serve_surroundings import find_model, read_config_files, read_surroundings
    from xpukit.serve.adapters import adopt_adapters
    from xpukit.serve.planner import make_plan

    host = session.open_host()
    request, told = adopt_adapters(request, session.open_state())
    for text in told:
        session.warn(text)
    model = find_model(session, request)
    around = read_surroundings(session, host, request, model, evaluation=options.evaluation)
    around = msgspec.structs.replace(around, config_files=read_config_files(request))
    return make_plan(request, model, around), model


def put_out(session: Session, plan: Plan, options: ServeOptions) -> int:
    """Print the plan in the form wanted, or start it."""
    from xpukit.core.json_document import build_document, encode_json

    document = build_document(SCHEMA, plan.machine.host, plan)
    if options.save is not None:
        from xpukit.cli.output import write_text

        write_text(options.save, encode_json(document))
    if session.json:
        session.print_json(document)
        return _judge(plan)
    if not plan.memory.fits:
        from xpukit.cli.serve_tables import print_no_fit

        print_no_fit(plan, color=session.color)
        return int(ExitCode.JUDGED_FAILING)
    if options.explain:
        from xpukit.cli.serve_tables import print_plan

        print_plan(plan, color=session.color)
    problems = _report_problems(session, plan)
    if problems and not options.force:
        session.say("  next: change what is refused, or --force to go on")
        return int(ExitCode.USAGE)
    files = render_plan(plan, options)
    if options.run:
        from xpukit.cli.serve_start import start_form

        return start_form(session, plan, files, options)
    if options.out is not None:
        _write_files(session, files, options.out, is_folder=options.out_is_folder)
    elif not options.explain:
        _print_files(files)
    return int(ExitCode.OK)


def _judge(plan: Plan) -> int:
    if not plan.memory.fits:
        return int(ExitCode.JUDGED_FAILING)
    return int(ExitCode.USAGE if plan.errors else ExitCode.OK)


def _report_problems(session: Session, plan: Plan) -> bool:
    """Say what the engine would refuse, and what is worth knowing; True when something would be refused."""
    engine = f"{plan.engine.name} {plan.engine.version}"
    by = engine if plan.engine.checked_against in ("", engine) else f"{engine} ({plan.engine.checked_against})"
    for problem in plan.problems:
        text = problem.message
        if problem.severity == "error":
            session.say(f"refused by {by}: {text}")
        elif problem.severity == "warning" or session.verbose:
            session.say(f"{problem.severity}: {text}")
    return bool(plan.errors)


def render_plan(plan: Plan, options: ServeOptions) -> tuple[FormFile, ...]:
    """The files of the form that is wanted."""
    from xpukit.serve.forms import FormOptions, find_form, render_form

    if options.spare and find_form(options.form).NAME != "compose":
        raise UsageError("--spare is for engines behind a balancer", hint="--form compose")
    return render_form(
        options.form,
        plan,
        FormOptions(
            name=options.name,
            log_file=plan.request.log_file,
            models=options.models,
            privileged=options.privileged,
            cdi=options.cdi,
            balance=options.balance,
            balancer_image=options.balancer_image,
            spare=options.spare,
            with_ui=options.with_ui,
            ui_address=options.ui_address,
            ui_port=options.ui_port,
        ),
    )


def _print_files(files: tuple[FormFile, ...]) -> None:
    for file in files:
        if len(files) > 1:
            print(f"# ---- {file.name} ----")
        print(file.text, end="")


def _write_files(session: Session, files: tuple[FormFile, ...], out: Path, *, is_folder: bool) -> None:
    from xpukit.cli.output import make_folder
    from xpukit.core.atomic import write_atomic

    alone = len(files) == 1 and not is_folder and not out.is_dir()
    for file in files:
        path = out if alone else out / file.name
        make_folder(path.parent)
        write_atomic(path, file.text.encode(), mode=0o755 if file.executable else 0o644)
        session.say(f"wrote {path}")


def load_plan(session: Session, path: str) -> Plan:
    """A saved plan. Raises UsageError for anything else."""
    import msgspec

    from xpukit.serve.plan_types import Plan

    try:
        document = msgspec.json.decode(Path(path).read_bytes())
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise UsageError(f"{path}: not a plan of this version", hint="make one: xpukit serve MODEL --save FILE")
        return msgspec.convert(document, Plan)
    except (OSError, *BAD_JSON) as err:
        hint = "make one: xpukit serve MODEL --save FILE"
        raise UsageError(f"{path}: not a plan ({err})", hint=hint) from err

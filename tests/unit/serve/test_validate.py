"""What a user or the planner is told of a command: kinds, versions, replacements, guesses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpukit.core.errors import UsageError
from xpukit.facts.engines import list_engines, list_versions
from xpukit.serve.validate import Problem, accepts, reads_variable, replace_for, validate


def one(engine: str, version: str, words: str, *, program: str = "serve") -> Problem:
    problems = validate(engine, version, program, words.split()).problems
    assert len(problems) == 1, [problem.message for problem in problems]
    return problems[0]


def test_a_good_command_has_no_problems() -> None:
    found = validate("vllm", "0.21.0", "serve", ["m", "--tensor-parallel-size", "2", "--dtype", "float16"])
    assert found.accepted
    assert found.exact
    assert found.problems == ()
    assert (found.program, found.asked, found.version) == ("vllm serve", "0.21.0", "0.21.0")


def test_removed_flag_names_the_version_and_the_replacement() -> None:
    problem = one("vllm", "0.21.0", "m --task embed")
    assert (problem.kind, problem.changed_in) == ("unknown-flag", "0.13.0")
    assert problem.replacement == ("--runner", "pooling", "--convert", "embed")
    assert problem.origin == 1
    for word in ("0.21.0", "removed in vllm 0.13.0", "last in 0.12.0", "--runner pooling --convert embed"):
        assert word in problem.message


def test_flag_of_a_later_version_names_it() -> None:
    problem = one("vllm", "0.11.0", "m --numa-bind")
    assert (problem.kind, problem.changed_in, problem.replacement) == ("unknown-flag", "0.20.0", ())
    assert "added in vllm 0.20.0" in problem.message


def test_a_flag_that_came_back() -> None:
    # Removed with 0.17.0, an alias of --no-enable-log-requests from a later version on.
    problem = one("vllm", "0.21.0", "m --disable-log-requests")
    assert problem.changed_in == "0.17.0"
    assert "back in vllm" in problem.message
    assert problem.replacement == ("--no-enable-log-requests",)


def test_unknown_flag_offers_what_looks_alike() -> None:
    problem = one("vllm", "0.21.0", "m --max-modle-len 4096")
    assert problem.nearest[0] == "--max-model-len"
    assert problem.changed_in == ""


@pytest.mark.parametrize(
    ("engine", "version", "words", "kind", "argument", "said"),
    [
        ("vllm", "0.22.0", "m --dp 2", "ambiguous", "--dp", "--data-parallel-size 2"),
        ("vllm", "0.21.0", "m --kv-cache-memory-bytes x", "type", "--kv-cache-memory-bytes", "whole number"),
        ("vllm", "0.21.0", "m --dtype fp17", "choice", "--dtype", "float16"),
        ("vllm", "0.21.0", "m --port", "argument-count", "--port", "expected one"),
        ("vllm", "0.21.0", "m n", "extra-word", "n", "takes this word"),
        ("vllm", "0.11.0", "--model m", "model-option", "--model", "vllm serve MODEL"),
        ("sglang", "0.5.23", "--tp-size 2", "missing", "--model-path/--model", "is required"),
        ("vllm", "0.21.0", "m --quantization sym_int4", "registry", "--quantization", "llm-scaler-vllm has it"),
        ("vllm", "0.21.0", "m --tool-call-parser hermez", "registry", "--tool-call-parser", "hermes"),
        ("vllm", "0.21.0", "m --enable-auto-tool-choice", "combination", "--enable-auto-tool-choice", "requires"),
        ("vllm", "0.21.0", "m --numa-bind-nodes 0 1", "combination", "--numa-bind-nodes", "needs --numa-bind"),
        ("sglang", "0.5.23", "--model m --tp-size 3 --nnodes 2", "combination", "--tp-size", "evenly"),
        ("lmdeploy", "0.18.0", "m --dtype half", "choice", "--dtype", "float16"),
    ],
)  # fmt: skip
def test_errors(engine: str, version: str, words: str, kind: str, argument: str, said: str) -> None:
    problem = one(engine, version, words)
    assert (problem.kind, problem.severity, problem.argument) == (kind, "error", argument)
    assert said in problem.message


@pytest.mark.parametrize(
    ("engine", "version", "words", "kind", "severity"),
    [
        ("vllm", "0.12.0", "m --task embed", "deprecated", "warning"),
        ("vllm", "0.21.0", "m --gpu-memory-util 0.9", "abbreviation", "note"),
        ("vllm", "0.21.0", "--model m", "model-option", "note"),
        ("llm-scaler-vllm", "1.4", "m --quantization sym_int4", "combination", "warning"),
    ],
)
def test_what_works_is_no_error(engine: str, version: str, words: str, kind: str, severity: str) -> None:
    problem = one(engine, version, words)
    assert (problem.kind, problem.severity) == (kind, severity)
    assert validate(engine, version, "serve", words.split()).accepted


@pytest.mark.parametrize(
    "words",
    [
        "m --enable-auto-tool-choice --tool-call-parser hermes",
        "m --numa-bind --numa-bind-nodes 0 1",
        "m --tool-call-parser mine --tool-parser-plugin /x.py",
        "m --data-parallel-size 4 --data-parallel-size-local 4",
        "m --speculative-config.method ngram --speculative-config.num_speculative_tokens 2",
    ],
)
def test_pairs_that_fit(words: str) -> None:
    assert validate("vllm", "0.21.0", "serve", words.split()).problems == ()


def test_every_mistake_is_told_at_once_errors_first() -> None:
    words = ["m", "--gpu-memory-util", "0.9", "--task", "embed", "--dtype", "bad", "--port", "x"]
    found = validate("vllm", "0.21.0", "serve", words)
    assert {problem.kind for problem in found.errors} == {"unknown-flag", "choice", "type"}
    assert [problem.severity for problem in found.problems] == ["error"] * 3 + ["note"]
    assert all(words[problem.origin].startswith(problem.argument) for problem in found.problems)


def test_whole_commands_with_variables_and_wrappers() -> None:
    argv = ["env", "VLLM_USE_V1=0", "VLLM_NO_SUCH=1", "numactl", "-C", "0-3", "vllm", "serve", "m", "--nope"]
    found = validate("vllm", "0.21.0", "", argv)
    assert {problem.kind for problem in found.errors} == {"unknown-flag"}
    assert found.errors[0].origin == argv.index("--nope")
    assert "VLLM_NO_SUCH" in {problem.argument for problem in found.warnings if problem.kind == "environment"}
    same = validate("vllm", "0.21.0", "serve", ["m"], env={"VLLM_NO_SUCH": "1", "CCL_ANY": "1"})
    assert [problem.argument for problem in same.problems] == ["VLLM_NO_SUCH"]


def test_no_program_at_all() -> None:
    assert validate("vllm", "0.21.0", "", ["ls"]).errors[0].kind == "unknown-program"
    assert validate("vllm", "0.21.0", "", ["vllm", "chat"]).problems[0].kind == "unchecked"
    assert validate("vllm", "0.21.0", "", ["vllm", "serv", "m"]).errors[0].nearest == ("serve",)
    assert validate("vllm", "0.21.0", "", []).errors
    gone = validate("sglang", "0.5.23", "", ["python3", "-m", "sglang.bench_one_batch", "--model", "m"]).errors[0]
    assert (gone.kind, gone.changed_in) == ("unknown-program", "0.5.21")


def test_images_and_guesses() -> None:
    exact = validate("registry.example:5000/intel/llm-scaler-vllm:0.14.0-b8.3.1", "", "serve", ["m"])
    assert (exact.engine, exact.version, exact.exact) == ("llm-scaler-vllm", "0.14.0-b8.3.1", True)
    near = validate("vllm", "0.21.7", "serve", ["m", "--foo"])
    assert (near.asked, near.version, near.exact) == ("0.21.7", "0.21.0", False)
    assert near.label.startswith("guess")
    assert near.label in near.errors[0].message
    with pytest.raises(UsageError, match="not an engine"):
        validate("ollama", "1", "serve", [])
    with pytest.raises(UsageError, match="no program"):
        validate("sglang", "0.5.23", "proxy", [])


@pytest.mark.parametrize(
    ("engine", "version", "flag", "value", "expected"),
    [
        ("vllm", "0.20.0", "--numa-bind", None, True),
        ("vllm", "0.19.1", "--numa-bind", None, False),
        ("vllm", "0.21.0", "--gpu-memory-util", None, False),
        ("vllm", "0.21.0", "--dtype", "float16", True),
        ("vllm", "0.21.0", "--dtype", "fp17", False),
        ("vllm", "0.21.0", "--quantization", "sym_int4", False),
        ("llm-scaler-vllm", "0.21.0-b2", "--quantization", "sym_int4", True),
        ("vllm", "0.12.0", "--task", "embed", True),
        ("vllm", "0.21.0", "--lora-modules", ["a=/x", "b=/y"], True),
        ("vllm", "0.21.0", "--enforce-eager", True, True),
        ("vllm", "0.21.0", "--enforce-eager", False, False),
        ("vllm", "0.21.0", "--port", 8000, True),
    ],
)
def test_accepts(engine: str, version: str, flag: str, value: object, expected: bool) -> None:
    assert accepts(engine, version, flag, value) is expected  # type: ignore[arg-type]


def test_variables_by_version() -> None:
    assert reads_variable("vllm", "0.21.0", "VLLM_WORKER_MULTIPROC_METHOD") is True
    assert reads_variable("vllm", "0.21.0", "VLLM_NO_SUCH") is False
    assert reads_variable("vllm", "0.21.0", "CCL_ZE_IPC_EXCHANGE") is None
    assert reads_variable("sglang", "0.5.23", "SGLANG_ANY") is False
    assert reads_variable("sglang", "0.5.23", "FLASHINFER_WORKSPACE_BASE") is None
    # A field of its class of variables, a name in quotes, one that went, one that stands for many.
    assert reads_variable("sglang", "0.5.23", "SGLANG_GRAMMAR_POLL_INTERVAL") is True
    assert reads_variable("sglang", "0.5.20", "SGLANG_NSA_FUSE_TOPK") is True
    assert reads_variable("sglang", "0.5.23", "SGLANG_NSA_FUSE_TOPK") is False
    assert reads_variable("sglang", "0.5.23", "SGLANG_CACHE_DIT_ANY") is True
    assert reads_variable("lmdeploy", "0.18.0", "LMDEPLOY_DP_MASTER_PORT") is True
    assert reads_variable("lmdeploy", "0.18.0", "TM_GEMM_IMPORT") is True
    assert reads_variable("lmdeploy", "0.18.0", "LMDEPLOY_ANY") is False
    scaler = list_versions("llm-scaler-vllm")[-1]
    assert reads_variable("llm-scaler-vllm", scaler, "VLLM_OFFLOAD_WEIGHTS_BEFORE_QUANT") is True
    assert reads_variable("vllm", "0.21.0", "VLLM_OFFLOAD_WEIGHTS_BEFORE_QUANT") is False


@pytest.mark.parametrize(
    ("engine", "version", "name", "said"),
    [
        ("sglang", "0.5.23", "SGLANG_USE_MODELSCOP", "nearest: SGLANG_USE_MODELSCOPE"),
        ("sglang", "0.5.2", "SGLANG_USE_CUDA_IPC_TRANSPORT", "added in sglang 0.5.4.post3"),
        ("sglang", "0.5.23", "SGLANG_NSA_FUSE_TOPK", "removed in sglang 0.5.21 (last in 0.5.20)"),
        ("lmdeploy", "0.18.0", "LMDEPLOY_LOG_LEVEL", "reads no such variable"),
    ],
)
def test_a_variable_that_is_not_read_is_warned_of(engine: str, version: str, name: str, said: str) -> None:
    words = ["--model-path", "m"] if engine == "sglang" else ["m"]
    [problem] = validate(engine, version, "serve", words, env={name: "1"}).problems
    assert (problem.kind, problem.severity) == ("environment", "warning")
    assert said in problem.message


@pytest.mark.parametrize(
    ("engine", "version", "words", "refused"),
    [
        ("vllm", "0.33.0", "m -tp 2 -dcp 4", "decode context parallelism"),
        ("vllm", "0.33.0", "m -tp 2 -pcp 4 -dcp 4", ""),
        (
            "vllm",
            "0.33.0",
            "m --enable-expert-parallel --enable-eplb --enable-elastic-ep -pp 2",
            "pipeline parallelism",
        ),
        ("vllm", "0.33.0", "m --enable-per-request-metrics --disable-log-stats", "--disable-log-stats"),
        ("sglang", "0.5.23", "--model-path m --chunked-prefill-size 100 --page-size 64", "whole pages"),
        (
            "sglang",
            "0.5.23",
            "--model-path m --chunked-prefill-size 100 --page-size 64 --disaggregation-mode decode",
            "",
        ),
    ],
)
def test_pairs_that_are_refused_after_the_parser(engine: str, version: str, words: str, refused: str) -> None:
    found = [problem.message for problem in validate(engine, version, "serve", words.split()).errors]
    assert (refused in "; ".join(found)) if refused else not found


WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["--", "-", "--=", "-O", "-O3", "--a.b", "--a.b.c+", "--model", "--model=", "--task", "-tp", "{", "=x"]
    ),
    st.from_regex(r"--[a-z_.-]{0,20}(=.{0,5})?", fullmatch=True),
)


@settings(max_examples=60)
@given(st.sampled_from(["vllm", "sglang", "lmdeploy", "llm-scaler-vllm"]), st.lists(WORDS, max_size=8), st.booleans())
def test_no_argv_raises(engine: str, words: list[str], whole: bool) -> None:
    found = validate(engine, "", "" if whole else "serve", words)
    assert all(-1 <= problem.origin < len(words) for problem in found.problems)
    assert all(problem.message for problem in found.problems)


def test_all_engines_have_a_newest_version_to_fall_back_on() -> None:
    for engine in list_engines():
        assert validate(engine, "", "serve", []).version == list_versions(engine)[-1]


@pytest.mark.parametrize(
    ("engine", "version", "words", "instead"),
    [
        (
            "vllm",
            "0.11.2",
            ("--rope-scaling", '{"rope_type":"yarn"}'),
            ("--hf-overrides", '{"rope_scaling":{"rope_type":"yarn"}}'),
        ),
        ("vllm", "0.11.2", ("--rope-theta", "1000000"), ("--hf-overrides", '{"rope_theta":1000000}')),
        ("vllm", "0.33.0", ("--enable-chunked-prefill=False",), ("--no-enable-chunked-prefill",)),
        ("vllm", "0.33.0", ("--enable-prefix-caching=true",), ("--enable-prefix-caching",)),
        ("vllm", "0.33.0", ("--num-scheduler-steps", "8"), ()),
        ("vllm", "0.33.0", ("--num-lookahead-slots", "2"), ()),
        ("llm-scaler-vllm", "0.21.0-b2", ("--scheduler-delay-factor", "1"), ()),
    ],
)
def test_what_went_is_put_in_other_words(
    engine: str, version: str, words: tuple[str, ...], instead: tuple[str, ...]
) -> None:
    rewrite = replace_for(engine, version, ["vllm", "serve", "m", *words])
    assert rewrite.argv == ("vllm", "serve", "m", *instead)
    assert rewrite.accepted


@pytest.mark.parametrize(
    ("engine", "argv", "said"),
    [
        ("vllm", ("vllm", "serve", "m", "--rope-scaling", "{}"), '--hf-overrides {"rope_parameters":{}}'),
        ("vllm", ("vllm", "serve", "m", "--rope-theta", "1e6"), "--hf-overrides"),
        ("sglang", ("python", "-m", "sglang.launch_server", "--model-path", "m", "--enable-ep-moe"), "--ep-size N"),
    ],
)
def test_what_needs_a_value_that_is_not_there_is_only_said(engine: str, argv: tuple[str, ...], said: str) -> None:
    version = {"vllm": "0.33.0", "sglang": "0.5.23"}[engine]
    rewrite = replace_for(engine, version, argv)
    assert rewrite.argv == argv
    [problem] = [one for one in rewrite.problems if one.severity == "error"]
    assert f"write {said}" in problem.message
    assert problem.replacement == ()
    assert not problem.removable

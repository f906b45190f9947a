"""What the stub engine says and counts: pure values, no network."""

import contextlib
import hashlib
import math
import re
import threading

SENTENCE = "a stub engine answers with words that it counts and never with words that a model would choose to say"
WORDS = SENTENCE.split()
SUM = re.compile(r"(-?\d+)\s*(plus|minus|times|[-+*x×/])\s*(-?\d+)")
FAILURES = "empty, repeat, bad-math, nan-logprobs, crash-after=N, slow=SECONDS, no-health, oom-at-start"
BUCKETS_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.08, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
DEFAULT_MAX_TOKENS = 64
# Gauges under vLLM's names; others are ours alone.
SHOWN = ("num_requests_running", "num_requests_waiting")


def parse_failures(texts):
    """{"slow": "0.5", "empty": ""} from ["slow=0.5,empty"]. Raises ValueError for a name that does not exist."""
    names = {name.split("=")[0].strip() for name in FAILURES.split(",")}
    failures = dict(item.strip().partition("=")[::2] for text in texts for item in text.split(",") if item.strip())
    for name, value in failures.items():
        if name not in names:
            raise ValueError(f"no such failure: {name} (there are: {FAILURES})")
        if name in ("crash-after", "slow"):
            float(value)
    return failures


def compute_sum(prompt):
    """The result of the last sum in the text, None where there is none."""
    found = SUM.findall(prompt)
    if not found:
        return None
    left, sign, right = int(found[-1][0]), found[-1][1], int(found[-1][2])
    if sign in ("+", "plus"):
        return left + right
    if sign in ("-", "minus"):
        return left - right
    if sign == "/":
        return None if right == 0 else left // right if left % right == 0 else left / right
    return left * right


def compose_answer(prompt, failures, min_tokens):
    """The tokens of the answer: words with the blank before them, at least `min_tokens` of them."""
    if "empty" in failures:
        return []
    if "repeat" in failures:
        return ["the"] + [" the"] * (max(min_tokens, DEFAULT_MAX_TOKENS) - 1)
    result = compute_sum(prompt)
    tokens = []
    if result is not None:
        tokens = [str(result + 1 if "bad-math" in failures else result)]
    elif re.search(r"capital of france", prompt, re.IGNORECASE):
        tokens = ["Paris"]
    start = int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % len(WORDS)
    for index in range(0 if tokens else len(WORDS)):
        tokens.append(WORDS[(start + index) % len(WORDS)])
    while len(tokens) < min_tokens:
        tokens.append(WORDS[(start + len(tokens)) % len(WORDS)])
    return [token if index == 0 else " " + token for index, token in enumerate(tokens)]


def cut_at_stop(tokens, stops):
    """The tokens up to the first of the stop texts, and whether there was one."""
    text = "".join(tokens)
    end = min((text.index(stop) for stop in stops if stop and stop in text), default=None)
    if end is None:
        return tokens, False
    kept, used = [], 0
    for token in tokens:
        if used >= end:
            break
        kept.append(token[: end - used])
        used += len(token)
    return kept, True


def count_tokens(text):
    """A token of this server is a word."""
    return len(text.split())


def read_text(content):
    """The text of a message's content, which is text or a list of parts."""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def embed(text, size=64):
    """A unit vector that depends only on the text."""
    seed = hashlib.shake_256(text.encode()).digest(size)
    vector = [byte / 127.5 - 1 for byte in seed]
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]


def score(query, document):
    """How many of the query's words the document has, 0 to 1."""
    wanted = set(query.lower().split())
    return len(wanted & set(document.lower().split())) / max(1, len(wanted))


class Stats:
    """Counters and histograms, printed under vLLM's metric names."""

    def __init__(self, model):
        self.model = model
        self.lock = threading.Condition()
        self.gauges = dict.fromkeys(SHOWN, 0)
        self.counters = {"prompt_tokens_total": 0, "generation_tokens_total": 0}
        self.finished = {"stop": 0, "length": 0, "abort": 0}
        self.observed = {"time_to_first_token": [], "time_per_output_token": [], "e2e_request_latency": []}

    @contextlib.contextmanager
    def during(self, gauge):
        """The gauge is one higher meanwhile."""
        self.add(gauge, 1)
        try:
            yield
        finally:
            self.add(gauge, -1)

    def add(self, gauge, change):
        with self.lock:
            self.gauges[gauge] = self.gauges.get(gauge, 0) + change
            self.lock.notify_all()

    def wait_until_zero(self, gauge, timeout_s):
        """Whether the gauge came to zero within the time."""
        with self.lock:
            return self.lock.wait_for(lambda: not self.gauges.get(gauge), timeout_s)

    def count(self, reason, prompt_tokens, times, seconds):
        """A request that ended after `seconds`; `times` are seconds from its coming to each of its tokens."""
        with self.lock:
            self.finished[reason] += 1
            self.counters["prompt_tokens_total"] += prompt_tokens
            self.counters["generation_tokens_total"] += len(times)
            self.observed["e2e_request_latency"].append(seconds)
            if times:
                self.observed["time_to_first_token"].append(times[0])
            if len(times) > 1:
                self.observed["time_per_output_token"].append((times[-1] - times[0]) / (len(times) - 1))

    def render(self, slots):
        label = f'engine="0",model_name="{self.model}"'
        with self.lock:
            usage = min(1.0, self.gauges["num_requests_running"] / slots)
            gauges = {
                **{name: value for name, value in self.gauges.items() if name in SHOWN},
                "kv_cache_usage_perc": usage,
                "gpu_cache_usage_perc": usage,
            }
            lines = []
            for kind, values in (("gauge", gauges), ("counter", self.counters)):
                for name, value in values.items():
                    lines += [f"# TYPE vllm:{name} {kind}", f"vllm:{name}{{{label}}} {float(value)}"]
            lines.append("# TYPE vllm:request_success_total counter")
            for reason, value in self.finished.items():
                lines.append(f'vllm:request_success_total{{{label},finished_reason="{reason}"}} {float(value)}')
            for name, seconds in self.observed.items():
                metric = f"vllm:{name}_seconds"
                lines.append(f"# TYPE {metric} histogram")
                for limit in (*BUCKETS_S, math.inf):
                    edge = "+Inf" if limit == math.inf else limit
                    below = sum(value <= limit for value in seconds)
                    lines.append(f'{metric}_bucket{{{label},le="{edge}"}} {float(below)}')
                lines.append(f"{metric}_sum{{{label}}} {sum(seconds)}")
                lines.append(f"{metric}_count{{{label}}} {float(len(seconds))}")
        return "\n".join(lines) + "\n"

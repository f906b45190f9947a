"""Secrets that show by their own form: tokens with a prefix, JSON web tokens, password hashes."""

from __future__ import annotations

import re

from xpukit.host.redaction.rule import Rule, build_secret_rule

_EDGE = r"(?<![A-Za-z0-9])"
_END = r"(?![A-Za-z0-9])"


_AWS_ID = re.compile(r"(?:AKIA|ASIA|AGPA|AROA|AIDA)[A-Z2-7]{16}")
_LETTERS_RUN = re.compile(r"[A-Za-z]{16,}")
_LEAST_OF_EACH_CASE = 3


def _looks_random(text: str) -> bool:
    """Tokens are random; `sk-learn-contrib-packages` is not. Hugging Face's are letters only, of both cases; one in 28
    of AWS's ids has no digit."""
    if any(c.isdigit() for c in text):
        return any(c.isalpha() for c in text[3:])
    if _AWS_ID.fullmatch(text):
        return True
    return any(
        min(sum(c.isupper() for c in run), sum(c.islower() for c in run)) >= _LEAST_OF_EACH_CASE
        for run in _LETTERS_RUN.findall(text)
    )


# name, what it is, pattern, hints
_FORMS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("hf-token", "Hugging Face token", r"(?:hf|api_org)_(?:oauth_|jwt_)?[A-Za-z0-9]{16,}", ("hf_", "api_org_")),
    ("openai-key", "OpenAI or Anthropic style key", r"sk-(?:ant-|proj-|or-|svcacct-)?[A-Za-z0-9_\-]{14,}", ("sk-",)),
    ("stripe-key", "payment provider key", r"[srp]k_(?:live|test)_[A-Za-z0-9]{10,}", ("_live_", "_test_")),
    (
        "aws-key-id",
        "AWS access key id",
        r"(?:AKIA|ASIA|AGPA|AROA|AIDA)[A-Z0-9]{16}",
        ("akia", "asia", "agpa", "aroa", "aida"),
    ),
    ("github-token", "GitHub token", r"gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,}", ("gh", "github_pat_")),
    ("gitlab-token", "GitLab token", r"gl(?:pat|dt|rt|ptt|cbt|oas|soat)-[A-Za-z0-9_\-.]{16,}", ("gl",)),
    ("gitlab-token", "GitLab token", r"GR1348941[A-Za-z0-9_\-]{16,}", ("gr1348941",)),
    ("slack-token", "Slack token or hook", r"xox[a-z]-[A-Za-z0-9\-]{10,}|xapp-[A-Za-z0-9\-]{10,}", ("xox", "xapp-")),
    (
        "google-key",
        "Google API key or OAuth token",
        r"AIza[A-Za-z0-9_\-]{30,}|ya29\.[A-Za-z0-9_\-]{16,}",
        ("aiza", "ya29."),
    ),
    ("nvidia-key", "NVIDIA API key", r"nvapi-[A-Za-z0-9_\-]{16,}", ("nvapi-",)),
    ("npm-token", "npm token", r"npm_[A-Za-z0-9]{20,}", ("npm_",)),
    ("pypi-token", "PyPI token", r"pypi-[A-Za-z0-9_\-]{16,}", ("pypi-",)),
    (
        "docker-token",
        "Docker Hub or swarm token",
        r"dckr_[po]at_[A-Za-z0-9_\-]{16,}|SWMTKN-1-[a-z0-9\-]{20,}",
        ("dckr_", "swmtkn-"),
    ),
    (
        "vendor-token",
        "token of another service",
        (
            r"(?:gsk_|glsa_|lsv2_(?:pt|sk)_|GOCSPX-|1//0[a-z]|sntrys_|r8_|pplx-|xai-|dop_v1_|lin_api_|tskey-[a-z]+-|hv[sb]\.|ATATT3|dapi|rpa_"
            r"|fw_|tvly-|SG\.|AGE-SECRET-KEY-1)"
            r"[A-Za-z0-9_\-.]{24,}"
        ),
        (
            "gsk_",
            "glsa_",
            "lsv2_",
            "gocspx-",
            "1//0",
            "sntrys_",
            "r8_",
            "pplx-",
            "xai-",
            "dop_v1_",
            "lin_api_",
            "tskey-",
            "hvs.",
            "hvb.",
            "atatt3",
            "dapi",
            "rpa_",
            "fw_",
            "tvly-",
            "sg.",
            "age-secret-key-1",
        ),
    ),
    ("telegram-token", "bot token", r"\d{8,10}:AA[A-Za-z0-9_\-]{32,}", (":aa",)),
)

RULES: tuple[Rule, ...] = (
    build_secret_rule(
        "jwt",
        "JSON web token",
        _EDGE + r"(?P<s>eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{4,}(?:\.[A-Za-z0-9_\-]*)?)",
        hints=("eyj",),
    ),
    *(
        build_secret_rule(
            name,
            what,
            f"{_EDGE}(?P<s>{pattern}){_END}",
            hints=hints,
            check=_looks_random,
        )
        for name, what, pattern, hints in _FORMS
    ),
    build_secret_rule(
        "vendor-token",
        "token of another service",
        r"(?<![A-Za-z0-9])(?:SK|AC|key-)(?P<s>[0-9a-f]{32})(?![A-Za-z0-9])",
        hints=("sk", "ac", "key-"),
        probe=re.compile(r"(?:SK|AC|y-)[0-9a-f]{32}"),
    ),
    build_secret_rule(
        "vendor-token",
        "token of another service",
        r"(?<![A-Za-z0-9_~.\-])(?P<s>[A-Za-z0-9_~.\-]{3}\dQ~[A-Za-z0-9_~.\-]{31,34})(?![A-Za-z0-9_~\-])",
        hints=("q~",),
    ),
    build_secret_rule(
        "telegram-token",
        "bot token",
        # As the address of its server has it.
        r"(?<![A-Za-z0-9])bot(?P<s>\d{8,10}:AA[A-Za-z0-9_\-]{32,})",
        hints=(":aa",),
    ),
    build_secret_rule(
        "web-hook",
        "web hooks: who has the address may write",
        r"(?:discord(?:app)?\.com/api/webhooks/\d+/|webhook\.office\.com/webhookb2/\S*?IncomingWebhook/)"
        r"(?P<s>[A-Za-z0-9_\-/]{16,})",
        hints=("/webhooks/", "/webhookb2/"),
    ),
    build_secret_rule(
        "slack-token",
        "Slack token or hook",
        r"hooks\.slack\.com/(?:services|workflows)/(?P<s>[A-Za-z0-9/_\-]{10,})",
        hints=("hooks.slack.com",),
    ),
    build_secret_rule(
        "password-hash",
        "password hash as in /etc/shadow, htpasswd",
        r"(?P<s>\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|argon2id?|scrypt)\$[^\s:\"'\\]{12,})",
        hints=("$",),
    ),
    build_secret_rule(
        "password-hash",
        "password hash as in /etc/shadow, htpasswd",
        r"grub\.pbkdf2\.sha\d+\.\d+\.(?P<s>[0-9A-Fa-f.]{16,})",
        hints=("grub.pbkdf2",),
    ),
)

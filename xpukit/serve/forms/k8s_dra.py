"""A Kubernetes manifest: Deployment and Service, GPUs by dynamic resource allocation (DRA)."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.manifest import write_manifest
from xpukit.serve.plan_types import Plan

NAME = "k8s-dra"
SUMMARY = "the same with GPUs by dynamic resource allocation (Kubernetes 1.34 and later)"
ALIASES = ("kubernetes-dra", "dra")
NEEDS_IMAGE = True


def render(plan: Plan, options: FormOptions) -> tuple[FormFile, ...]:
    """One file of several documents. Raises UsageError for what one Deployment cannot be."""
    return (FormFile(name=f"{options.name}.k8s-dra.yaml", text=write_manifest(plan, options, claims=True)),)


def start(names: Sequence[str]) -> tuple[str, ...]:
    """kubectl applies it, with the context that is chosen."""
    del names
    return ()

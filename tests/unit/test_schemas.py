"""Published schemas are what the types say, and real documents fit them."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest

from xpukit.core.json_document import build_document
from xpukit.core.machine import Machine
from xpukit.host.replay import ReplayHost
from xpukit.probe.machine import probe_machine

MACHINES = sorted((Path(__file__).parent.parent / "machines" / "recorded").glob("*"))


def load_script(repo: Path) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("make_schemas", str(repo / "scripts" / "make-schemas"))
    spec = importlib.util.spec_from_loader("make_schemas", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_published_schemas_are_up_to_date(repo: Path) -> None:
    for name, content in load_script(repo).render_schemas().items():
        assert (repo / "docs" / "schemas" / name).read_text(encoding="utf-8") == content, "run scripts/make-schemas"


@pytest.mark.parametrize("recording", MACHINES, ids=lambda path: path.name)
def test_probe_documents_of_recorded_machines_fit(repo: Path, recording: Path) -> None:
    schema = json.loads((repo / "docs" / "schemas" / "xpukit.probe-1.json").read_text(encoding="utf-8"))
    machine = probe_machine(ReplayHost(recording))
    document = json.loads(json.dumps(build_document("xpukit.probe/1", "h", machine)))
    jsonschema.validate(document, schema)


def test_a_document_that_breaks_the_schema_is_refused(repo: Path) -> None:
    schema = json.loads((repo / "docs" / "schemas" / "xpukit.probe-1.json").read_text(encoding="utf-8"))
    document = build_document("xpukit.probe/1", "h", Machine())
    document["devices"] = [{"index": "zero"}]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)

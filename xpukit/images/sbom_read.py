"""Packages of any tool's SBOM, as far as it has package URLs: CycloneDX JSON, SPDX 2 as JSON or tag-value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from xpukit.core.errors import BadFactsError
from xpukit.core.json_document import BAD_JSON
from xpukit.images.inventory import Inventory, Package, PackageKind

_PURL_KINDS: dict[str, PackageKind] = {"deb": "deb", "rpm": "rpm", "pypi": "pypi"}
_NOTE = "read from an SBOM: it says nothing of environment, labels and entry point"
_HINT = "an inventory, or an SBOM as CycloneDX JSON, SPDX 2 JSON or SPDX tag-value (syft: -o cyclonedx-json)"
# Components may hold components; no tool nests them deeply.
_DEEPEST = 20


def load_document(content: bytes, *, name: str) -> Mapping[str, Any]:
    """The JSON object of a file, or an SPDX tag-value file in the shape of SPDX's JSON. Raises BadFactsError."""
    try:
        document = json.loads(content)
    except BAD_JSON as err:
        text = content.decode("utf-8-sig", errors="replace")
        if text.lstrip().startswith("SPDXVersion:"):
            return _read_tags(text)
        what = "XML is not read" if text.lstrip().startswith("<") else str(err)
        raise BadFactsError(f"{name}: {what}", hint=_HINT) from err
    return document if isinstance(document, dict) else {}


def parse_sbom(document: Mapping[str, Any], *, name: str) -> Inventory:
    """The packages of a document, ours or another tool's. Raises BadFactsError for one of another kind."""
    if document.get("bomFormat") == "CycloneDX":
        metadata = document.get("metadata")
        root = metadata.get("component") if isinstance(metadata, dict) else None
        image = str(root.get("name", "")) if isinstance(root, dict) else ""
        found = [_parse_component(component) for component in _walk_components(document)]
    elif str(document.get("spdxVersion", "")).startswith("SPDX-2."):
        image = str(document.get("name", ""))
        found = [_parse_spdx(package) for package in _list(document.get("packages"))]
    else:
        raise BadFactsError(f"{name}: {_describe(document)}", hint=_HINT)
    packages = {package for package in found if package is not None}
    return Inventory(image=image or name, image_id="", packages=tuple(sorted(packages)), notes=(_NOTE,))


def _describe(document: Mapping[str, Any]) -> str:
    if "@graph" in document or "spdx" in str(document.get("@context", "")):
        return "SPDX 3 is not read"
    if "artifacts" in document and "descriptor" in document:
        return "syft's own format is not read"
    return "no CycloneDX or SPDX document"


def _walk_components(holder: Mapping[str, Any], depth: int = 0) -> Iterator[Mapping[str, Any]]:
    for component in _list(holder.get("components")):
        yield component
        if depth < _DEEPEST:
            yield from _walk_components(component, depth + 1)


def _parse_component(component: Mapping[str, Any]) -> Package | None:
    return _make_package(component.get("purl"), component.get("name"), component.get("version"))


def _parse_spdx(package: Mapping[str, Any]) -> Package | None:
    for reference in _list(package.get("externalRefs")):
        if reference.get("referenceType") == "purl":
            found = _make_package(reference.get("referenceLocator"), package.get("name"), package.get("versionInfo"))
            if found is not None:
                return found
    return None


def _make_package(purl: object, name: object, version: object) -> Package | None:
    """None for what is no package of ours. `name` and `version` go before those of the URL."""
    path, _, query = str(purl or "").removeprefix("pkg:").lstrip("/").partition("?")
    place, _, from_purl = path.partition("#")[0].partition("@")
    kind = _PURL_KINDS.get(place.partition("/")[0].lower())
    known = str(name or "") or unquote(place.rpartition("/")[2])
    if kind is None or not known:
        return None
    qualifiers = dict(parse_qsl(query.partition("#")[0]))
    stated = unquote(str(version or "") or from_purl)
    # Some tools give an rpm's epoch with the URL only; ours are written with it, as rpm does.
    epoch = qualifiers.get("epoch", "")
    if kind == "rpm" and epoch not in ("", "0") and ":" not in stated:
        stated = f"{epoch}:{stated}"
    return Package(kind=kind, name=known, version=stated, architecture=qualifiers.get("arch", ""))


def _read_tags(text: str) -> dict[str, Any]:
    """What we need of SPDX's tag-value format."""
    document: dict[str, Any] = {"packages": []}
    for line in text.splitlines():
        tag, colon, value = (part.strip() for part in line.partition(":"))
        if not colon:
            continue
        packages = document["packages"]
        if tag == "PackageName":
            packages.append({"name": value, "externalRefs": []})
        elif tag == "PackageVersion" and packages:
            packages[-1]["versionInfo"] = value
        elif tag == "ExternalRef" and packages:
            words = value.split()
            if len(words) == 3:
                packages[-1]["externalRefs"].append({"referenceType": words[1], "referenceLocator": words[2]})
        elif tag in ("SPDXVersion", "DocumentName"):
            document.setdefault({"SPDXVersion": "spdxVersion", "DocumentName": "name"}[tag], value)
    return document


def _list(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []

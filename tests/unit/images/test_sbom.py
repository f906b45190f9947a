"""The SBOM: valid by the library's validator, the same bytes for the same image, and back again."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xpukit.core.errors import BadFactsError
from xpukit.images.inventory import Inventory, LayerSize, Package, PackageKind
from xpukit.images.sbom import make_purl, render_sbom
from xpukit.images.sbom_read import load_document, parse_sbom

validation = pytest.importorskip("cyclonedx.validation.json")

PACKAGES = (
    Package(
        kind="deb", name="libc6", version="2.36-9+deb12u10", architecture="amd64",
        licences=("LGPL-2.1+", "GPL-2"), licence_source="copyright",
    ),
    Package(kind="deb", name="held", version="2:1.0-1", architecture="all"),
    Package(kind="pypi", name="Typing_Extensions", version="4.12", place="/a", licences=("PSF-2.0",), licence_source="expression"),
    Package(kind="pypi", name="both", version="1", place="/a", licences=("MIT OR Apache-2.0",), licence_source="expression"),
    Package(kind="pypi", name="both", version="1", place="/b", licences=("MIT OR Apache-2.0",), licence_source="expression"),
    Package(kind="pypi", name="wrong", version="1", licences=("AND MIT (",), licence_source="expression"),
    Package(kind="pypi", name="vllm", version="0.21.0+xpu", licences=("Apache 2.0",), licence_source="metadata", commit="a" * 40),
)  # fmt: skip
INVENTORY = Inventory(
    image="xpukit/vllm-xpu:1", image_id="sha256:" + "0a" * 32, created="2026-11-21T10:00:00.123Z", os_id="debian",
    os_version="12", size_bytes=5, layers=(LayerSize(instruction="RUN a", size_bytes=5),), packages=PACKAGES,
    flags_sha256="f" * 64,
)  # fmt: skip


def validate(content: bytes) -> Any:
    from cyclonedx.schema import SchemaVersion

    return validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode())


def render(inventory: Inventory = INVENTORY) -> dict[str, Any]:
    content = render_sbom(inventory)
    assert validate(content) is None
    return dict(json.loads(content))


def test_the_document_is_valid_and_names_everything() -> None:
    document = render()
    components = {one["bom-ref"]: one for one in document["components"]}
    assert set(components) == {
        "operating-system",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12",
        "pkg:deb/debian/held@2:1.0-1?arch=all&distro=debian-12",
        "pkg:pypi/typing-extensions@4.12",
        "pkg:pypi/both@1",
        "pkg:pypi/wrong@1",
        "pkg:pypi/vllm@0.21.0%2Bxpu",
    }
    root = document["metadata"]["component"]
    assert (root["name"], root["type"], root["hashes"][0]["content"]) == (INVENTORY.image, "container", "0a" * 32)
    assert document["metadata"]["timestamp"].startswith("2026-11-21T10:00:00")
    assert {"name": "xpukit:layer:000", "value": "5 RUN a"} in root["properties"]
    depends = next(one for one in document["dependencies"] if one["ref"] == root["bom-ref"])
    assert set(depends["dependsOn"]) == set(components)


def test_licences_are_spdx_only_where_the_package_says_so() -> None:
    licences = {one["name"]: one.get("licenses") for one in render()["components"]}
    declared = {"acknowledgement": "declared"}
    assert [one["license"]["name"] for one in licences["libc6"]] == ["GPL-2", "LGPL-2.1+"]
    assert licences["Typing_Extensions"] == [{"license": {"id": "PSF-2.0", **declared}}]
    assert licences["both"] == [{"expression": "MIT OR Apache-2.0", **declared}]
    assert licences["wrong"] == [{"license": {"name": "AND MIT (", **declared}}]
    assert licences["vllm"] == [{"license": {"name": "Apache 2.0", **declared}}]
    assert licences["held"] is None


def test_one_package_in_two_places_is_one_component() -> None:
    both = next(one for one in render()["components"] if one["name"] == "both")
    assert sorted(one["value"] for one in both["properties"] if one["name"] == "xpukit:place") == ["/a", "/b"]


def test_the_same_image_gives_the_same_bytes() -> None:
    turned = msgspec.structs.replace(INVENTORY, packages=tuple(sorted(PACKAGES)))
    assert render_sbom(turned) == render_sbom(msgspec.structs.replace(turned))
    other = msgspec.structs.replace(INVENTORY, size_bytes=6)
    assert render(other)["serialNumber"] != render()["serialNumber"]


def test_packages_come_back() -> None:
    found = parse_sbom(render(), name="x")
    assert found.image == INVENTORY.image
    assert {(one.kind, one.name, one.version, one.architecture) for one in found.packages} == {
        (one.kind, one.name, one.version, one.architecture) for one in PACKAGES
    }
    assert found.notes


def test_other_tools_documents_are_read_as_far_as_they_have_purls() -> None:
    document = {
        "bomFormat": "CycloneDX",
        "components": [
            {"name": "zlib", "version": "1.2", "purl": "pkg:rpm/fedora/zlib@1.2?arch=x86_64"},
            {"name": "lodash", "version": "4", "purl": "pkg:npm/lodash@4"},
            {"name": "file"},
            "nonsense",
        ],
    }
    found = parse_sbom(document, name="there.json")
    assert [(one.kind, one.name, one.architecture) for one in found.packages] == [("rpm", "zlib", "x86_64")]
    assert found.image == "there.json"


# As syft and trivy write them, in our own words: roots and files without a package URL of ours, versions with an epoch.
SPDX = {
    "spdxVersion": "SPDX-2.3",
    "SPDXID": "SPDXRef-DOCUMENT",
    "name": "xpukit/smoke",
    "packages": [
        {
            "name": "xpukit/smoke",
            "versionInfo": "1",
            "primaryPackagePurpose": "CONTAINER",
            "externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:oci/xpukit/smoke@sha256%3Aab?arch=amd64"}],
        },
        {
            "name": "login",
            "versionInfo": "1:4.13+dfsg1-1",
            "externalRefs": [
                {"referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a:login:login:1:*:*:*:*:*:*:*:*"},
                {
                    "referenceCategory": "PACKAGE-MANAGER",
                    "referenceType": "purl",
                    "referenceLocator": "pkg:deb/debian/login@1%3A4.13%2Bdfsg1-1?arch=amd64&distro=debian-12",
                },
            ],
        },
        {"name": "torch", "versionInfo": "2.8.0+xpu", "externalRefs": [
            {"referenceType": "purl", "referenceLocator": "pkg:pypi/torch@2.8.0%2Bxpu"}]},
        {"name": "bare"},
    ],
}  # fmt: skip
TAGS = """SPDXVersion: SPDX-2.3
DataLicense: CC0-1.0
DocumentName: xpukit/smoke

##### Package: login
PackageName: login
SPDXID: SPDXRef-Package-deb-login
PackageVersion: 1:4.13+dfsg1-1
PackageLicenseConcluded: NOASSERTION
PackageCopyrightText: <text>Copyright: somebody
PackageName of nothing</text>
ExternalRef: SECURITY cpe23Type cpe:2.3:a:login:login:1:*:*:*:*:*:*:*:*
ExternalRef: PACKAGE-MANAGER purl pkg:deb/debian/login@1%3A4.13%2Bdfsg1-1?arch=amd64&distro=debian-12

PackageName: torch
PackageVersion: 2.8.0+xpu
ExternalRef: PACKAGE_MANAGER purl pkg:pypi/torch@2.8.0%2Bxpu
"""


@pytest.mark.parametrize("content", [json.dumps(SPDX), TAGS, "\ufeff" + TAGS], ids=["json", "tags", "mark"])
def test_spdx_is_read(content: str) -> None:
    found = parse_sbom(load_document(content.encode(), name="x"), name="x")
    assert found.image == "xpukit/smoke"
    assert [(one.kind, one.name, one.version, one.architecture) for one in found.packages] == [
        ("deb", "login", "1:4.13+dfsg1-1", "amd64"),
        ("pypi", "torch", "2.8.0+xpu", ""),
    ]


@pytest.mark.parametrize("version", ["1.4", "1.5", "1.6"])
def test_cyclonedx_of_other_tools(version: str) -> None:
    inner = {"type": "library", "name": "six", "purl": "pkg:PyPI/six@1.16.0"}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": version,
        # A list up to 1.4, an object since.
        "metadata": {"tools": [{"name": "syft"}] if version == "1.4" else {"components": [{"name": "syft"}]}},
        "components": [
            {"type": "operating-system", "name": "debian", "version": "12"},
            {"name": "bash", "version": "5.2-3", "purl": "pkg:rpm/fedora/bash@5.2-3?arch=x86_64&epoch=2"},
            {"type": "application", "name": "venv", "components": [inner]},
        ],
    }
    found = parse_sbom(document, name="x")
    assert [(one.kind, one.name, one.version) for one in found.packages] == [
        ("pypi", "six", "1.16.0"),
        ("rpm", "bash", "2:5.2-3"),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{}", "no CycloneDX or SPDX"),
        (b"[1, 2]", "no CycloneDX or SPDX"),
        (b'{"@context": "https://spdx.example/3.0/context.jsonld", "@graph": []}', "SPDX 3"),
        (b'{"artifacts": [], "descriptor": {"name": "syft"}}', "syft's own"),
        (b'<?xml version="1.0"?><bom/>', "XML"),
        (b'{"bomFormat": "Cyclo', "x: "),
        (b"\xff\x00", "x: "),
        (b"", "x: "),
        (b"[" * 100_000, "x: "),
    ],
)
def test_what_is_no_sbom_is_said(content: bytes, words: str) -> None:
    with pytest.raises(BadFactsError, match=words) as caught:
        parse_sbom(load_document(content, name="x"), name="x")
    assert "cyclonedx-json" in caught.value.hint


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["components", "purl", "name", "version", "packages", "externalRefs", "metadata", "component"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(JSON_VALUES, st.sampled_from([{"bomFormat": "CycloneDX"}, {"spdxVersion": "SPDX-2.2"}]))
def test_a_damaged_sbom_never_crashes(value: object, head: dict[str, str]) -> None:
    document = {"components": value, "packages": value, "metadata": value, **head}
    assert parse_sbom(document, name="x").image is not None


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
KINDS = st.sampled_from(["deb", "rpm", "pypi"])


@settings(max_examples=25)
@example([("deb", "\xa0", "0", "0", "")])
@given(
    st.lists(
        st.tuples(KINDS, TEXT, TEXT, TEXT, st.sampled_from(["", "expression", "metadata", "copyright"])), max_size=6
    )
)
def test_whatever_packages_call_themselves_the_document_is_valid(
    rows: list[tuple[PackageKind, str, str, str, str]],
) -> None:
    packages = tuple(
        Package(kind=kind, name=name, version=version, licences=(licence,) if source else (), licence_source=source)
        for kind, name, version, licence, source in rows
    )
    assert validate(render_sbom(msgspec.structs.replace(INVENTORY, packages=packages))) is None


def test_purls_without_a_system_or_architecture() -> None:
    bare = Inventory(image="x", image_id="")
    assert make_purl(Package(kind="deb", name="a", version="1"), bare).to_string() == "pkg:deb/a@1"

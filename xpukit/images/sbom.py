"""An inventory as a CycloneDX 1.6 document, made with the project's own library (sbom_read.py reads one)."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from xpukit import __version__
from xpukit.core.errors import ExternalError
from xpukit.images.inventory import Inventory, Package

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
    from packageurl import PackageURL

# Serial numbers are made from the content, so that the same image has the same document.
_NAMESPACE = uuid.UUID("6f1f0b3e-2f6c-5d4b-9f55-0d6f3c1a7e21")


def render_sbom(inventory: Inventory) -> bytes:
    """The document as JSON, ending in a newline; the same inventory gives the same bytes.

    Raises ExternalError where cyclonedx-python-lib is not installed.
    """
    try:
        from cyclonedx.output import make_outputter
        from cyclonedx.schema import OutputFormat, SchemaVersion
    except ImportError as err:
        hint = "pip install 'xpukit[docker]' (cyclonedx-python-lib)"
        raise ExternalError("no SBOM: cyclonedx-python-lib is not installed", hint=hint) from err
    outputter = make_outputter(_build_bom(inventory), OutputFormat.JSON, SchemaVersion.V1_6)
    document = json.loads(outputter.output_as_string())
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _build_bom(inventory: Inventory) -> Bom:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.tool import ToolRepository

    digest = inventory.image_id.removeprefix("sha256:")
    root = Component(
        type=ComponentType.CONTAINER,
        name=inventory.image,
        version=digest[:12] or None,
        bom_ref=inventory.image_id or inventory.image,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)] if len(digest) == 64 else [],
        properties=[
            Property(name="xpukit:size-bytes", value=str(inventory.size_bytes)),
            *(
                Property(name=f"xpukit:layer:{index:03d}", value=f"{layer.size_bytes} {layer.instruction}")
                for index, layer in enumerate(inventory.layers)
            ),
            *(
                [Property(name="xpukit:engine-flags-sha256", value=inventory.flags_sha256)]
                if inventory.flags_sha256
                else []
            ),
        ],
    )
    tool = Component(type=ComponentType.APPLICATION, name="xpukit", version=__version__, bom_ref="xpukit")
    bom = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, msgspec.json.encode(inventory).hex()),
        metadata=BomMetaData(
            component=root, tools=ToolRepository(components=[tool]), timestamp=_read_time(inventory.created)
        ),
    )
    if inventory.os_id:
        system = Component(
            type=ComponentType.OPERATING_SYSTEM,
            name=inventory.os_id,
            version=inventory.os_version or None,
            bom_ref="operating-system",
        )
        bom.components.add(system)
    # One package may lie in several places: a component each would make the same package many.
    merged: dict[str, list[Package]] = {}
    for package in inventory.packages:
        # Damaged metadata may hold a name of blanks, of which no URL can be made.
        if package.name.strip().strip("/").strip() and package.version.strip():
            merged.setdefault(make_purl(package, inventory).to_string(), []).append(package)
    for purl, packages in merged.items():
        bom.components.add(_build_component(purl, packages, inventory))
    bom.register_dependency(root, list(bom.components))
    return bom


def _build_component(purl: str, packages: list[Package], inventory: Inventory) -> Component:
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType

    first = packages[0]
    properties = [Property(name="xpukit:place", value=package.place) for package in packages if package.place]
    if first.licence_source:
        properties.append(Property(name="xpukit:licence-source", value=first.licence_source))
    if first.commit:
        properties.append(Property(name="xpukit:commit", value=first.commit))
    return Component(
        type=ComponentType.LIBRARY,
        name=first.name,
        version=first.version,
        bom_ref=purl,
        purl=make_purl(first, inventory),
        licenses=_build_licences(first),
        properties=properties,
    )


def _build_licences(package: Package) -> list[DisjunctiveLicense | LicenseExpression]:
    """What the package states, as SPDX only where it says itself that it is."""
    from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement, LicenseExpression
    from cyclonedx.spdx import fixup_id, is_expression

    declared = LicenseAcknowledgement.DECLARED
    if package.licence_source == "expression" and package.licences:
        text = package.licences[0]
        if known := fixup_id(text):
            return [DisjunctiveLicense(id=known, acknowledgement=declared)]
        if is_expression(text):
            return [LicenseExpression(text, acknowledgement=declared)]
    # Debian's short names and free text look like SPDX but are not: they are kept as names.
    return [DisjunctiveLicense(name=text, acknowledgement=declared) for text in package.licences]


def make_purl(package: Package, inventory: Inventory) -> PackageURL:
    """The package's URL: pkg:deb/debian/NAME@VERSION?arch=…&distro=debian-12, pkg:pypi/name@version."""
    from packageurl import PackageURL

    if package.kind == "pypi":
        return PackageURL(type="pypi", name=package.name.lower().replace("_", "-"), version=package.version)
    distro = "-".join(part for part in (inventory.os_id, inventory.os_version) if part)
    qualifiers = {"arch": package.architecture, "distro": distro}
    return PackageURL(
        type=package.kind,
        namespace=inventory.os_id or None,
        name=package.name,
        version=package.version,
        qualifiers={key: value for key, value in qualifiers.items() if value},
    )


def _read_time(text: str) -> Any:
    """The image's own time, to the second; the document does not say when it was written."""
    from datetime import datetime, timezone

    try:
        return datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return datetime.fromtimestamp(0, tz=timezone.utc)

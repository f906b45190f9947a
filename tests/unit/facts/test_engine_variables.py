"""Which names of variables are found in an engine's files."""

from __future__ import annotations

import pytest

from xpukit.facts.engine_variables import is_named, list_variables

SOURCE = b"""
class Envs:
    ENGINE_FIELD = EnvInt(None)
    ENGINE_TYPED: EnvField = EnvBool(True)
    ENGINE_LATER = EnvIntWithAlias(1, deprecated_name="ENGINE_OLD")
ENGINE_CONSTANT = 3
a = os.environ.get('ENGINE_QUOTED')
b = os.getenv(f"ENGINE_MANY_{name}_MODE")
c = "see ENGINE_TEXT for more", "OTHER_NAME"
"""


def test_names_in_python() -> None:
    found = list_variables([("a/envs.py", SOURCE), ("a/readme.md", b'"ENGINE_DOC"')], ("ENGINE_",))
    assert found == ["ENGINE_FIELD", "ENGINE_LATER", "ENGINE_MANY_", "ENGINE_OLD", "ENGINE_QUOTED", "ENGINE_TYPED"]


def test_names_in_a_library() -> None:
    content = b"\x00\x01TM_GEMM_TUNE\x00 xTM_INSIDE\x00LMDEPLOY_DIST\x00\xff\xfeTM_LOG: %d\x00"
    assert list_variables([("a/_engine.so", content)], ("LMDEPLOY_", "TM_")) == [
        "LMDEPLOY_DIST",
        "TM_GEMM_TUNE",
        "TM_LOG",
    ]


def test_bytes_that_are_no_text_are_no_harm() -> None:
    assert list_variables([("a.py", b"\xff\xfe'ENGINE_X'\x00")], ("ENGINE_",)) == ["ENGINE_X"]


@pytest.mark.parametrize(
    ("name", "known"), [("A_B", True), ("A_C_D", True), ("A_C", False), ("A", False), ("A_BX", False)]
)
def test_a_name_that_stands_for_many(name: str, known: bool) -> None:
    assert is_named(name, ("A_B", "A_C_")) is known

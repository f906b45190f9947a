"""What downloads take from the environment."""

from __future__ import annotations

from tests.machines.dict_host import DictHost
from xpukit.host.network_environment import read_network_environment, strip_credentials


def test_proxies_in_both_spellings_and_pips_own() -> None:
    wanted = {
        "HTTP_PROXY": "http://a",
        "https_proxy": "http://b",
        "ALL_PROXY": "http://c",
        "no_proxy": "d",
        "PIP_INDEX_URL": "e",
    }
    assert read_network_environment(DictHost(environment={**wanted, "HF_TOKEN": "secret", "FTP_PROXY": ""})) == wanted


def test_credentials_are_left_out() -> None:
    assert strip_credentials("https://u:p@h.example:8/a?b#c") == "https://h.example:8/a?b#c"
    assert strip_credentials("https://h.example/a") == "https://h.example/a"

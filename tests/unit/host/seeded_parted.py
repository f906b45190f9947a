"""Planted secrets whose name stands apart from them, or that are written in another way: (kind, text, what must be gone)."""

from __future__ import annotations

TEXTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("env of kubernetes", "  - name: HF_TOKEN\n    value: kuberpair-1a\n", ("kuberpair-1a",)),
    ("env of kubernetes, quoted", "- name: DB_PASSWORD\n  value: \"kube pair 2b\"\n", ("kube pair 2b",)),
    ("pair in JSON", '{"name":"VLLM_API_KEY","value":"jsonpair-3c"}\n', ("jsonpair-3c",)),
    ("pair in JSON, indented", '{\n "name": "API_KEY",\n "value": "jsonpair-4d"\n}\n', ("jsonpair-4d",)),
    ("pair in escaped JSON", '{"x": "[{\\"key\\": \\"APP_SECRET\\", \\"value\\": \\"jsonpair-5e\\"}]"}\n', ("jsonpair-5e",)),
    ("fish", "set -gx OPENAI_API_KEY fishkey-6f\n", ("fishkey-6f",)),
    ("csh", "setenv VLLM_API_KEY 'cshkey-7a'\n", ("cshkey-7a",)),
    ("encoded setting", "GET /next?to=%2Fx%3Ftoken%3Denc0ded-8b%26y%3D1 HTTP/1.1\n", ("enc0ded-8b",)),
    ("encoded key", "redirect=https%3A%2F%2Fh%2F%3Fapi_key%3Denc0ded-9c\n", ("enc0ded-9c",)),
    ("openssl", "openssl enc -aes256 -pass pass:openssl-pw1 -in x\n", ("openssl-pw1",)),
    ("keytool", "keytool -list -storepass keyt00l-pw2 -keystore k\n", ("keyt00l-pw2",)),
    ("login by a pipe", "echo pipelog1n-pw | docker login -u joe --password-stdin r.example\n", ("pipelog1n-pw",)),
    ("proxy with a Windows domain", "http_proxy=http://ACME\\joe:w1ndompw@10.1.1.1:3128\n", ("w1ndompw",)),
    ("ssh fingerprint, old", "key MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48\n", ("16:27:ac:a5:76:28",)),
    ("telegram address", "https://api.telegram.org/bot123456789:AAE1a2B3c4D5e6F7g8H9i0J1k2L3m4N5o6Q/x\n",
     ("AAE1a2B3c4D5e6F7g8H9i0J1k2L3m4N5o6Q",)),
    ("gitlab runner, old", "registered GR1348941x1Y2z3A4b5C6d7E8f9G0\n", ("x1Y2z3A4b5C6d7E8f9G0",)),
    ("mac of ifconfig without separators", "eth0 HWaddr 38EAA7123499 up\n", ("38EAA7123499",)),
    ("home in another alphabet", "model in /home/j\u00fcrgenm/models and /home/\u674e\u96f7/x\n", ("\u00fcrgenm", "\u674e\u96f7")),
    ("serial of lsusb", "  iSerial                 3 5CG1234XYZ\n", ("5CG1234XYZ",)),
    ("lldp", "SysName:      tor-switch-17.dc3.acme-corp.net\n", ("tor-switch-17", "acme-corp")),
    ("compose file in a log", "engine-1  |       - VLLM_API_KEY: \"composekey-1d\"\n", ("composekey-1d",)),
    ("systemd with several", 'Environment="A=1" "VLLM_API_KEY=unitkey-2e" B=2\n', ("unitkey-2e",)),
    ("cloud-init on the command line", "ro ds=nocloud;password=c1oudpw-3f quiet\n", ("c1oudpw-3f",)),
    ("ipv6 with the zone enp3s0", "fe80::a2b3:c4ff:fed5:e6f7%enp3s0 is up\n", ("a2b3:c4ff:fed5",)),
)  # fmt: skip

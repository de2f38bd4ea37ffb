"""The JSON Schema of profiles against the loader: they take the same documents. Judged on the examples, on hand-written documents and on
every single-step mutation of one that has nearly every key."""
import copy
import json
import os
import subprocess
from pathlib import Path

import pytest

jsonschema = pytest.importorskip("jsonschema")
BIN = Path(os.environ["NONO_BIN"]).resolve()
TOOL = BIN.parent / "tests/unit/config/profile_shape"
EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "unit/config/examples").glob("*.json*"))
pytestmark = pytest.mark.skipif(not TOOL.exists(), reason="built without tests")

FULL = {
    "$schema": "x", "extends": ["a"], "meta": {"name": "n", "version": "1", "description": None, "author": "a"},
    "network": {
        "block": False, "allow_http2": True, "network_profile": None, "allow_domain": ["a.test", {"domain": "b.test", "endpoints": [{"method": "GET", "path": "/"}]}],
        "deny_domain": ["c.test"], "credentials": ["s"], "upstream_proxy": "p.test:1", "upstream_bypass": ["d.test"], "no_proxy": ["localhost"],
        "timeouts": {"head": 1, "stall": 2}, "max_body_bytes": 1, "endpoint_glob": "path", "open_port": [1], "open_port_range": [[1, 2]],
        "listen_port": [1], "listen_port_range": [], "connect_port": [2],
        "tls_intercept": {"ca_lifecycle": "session", "ca_validity": "1h", "leaf_validity": None, "ca_env_vars": ["X_CA"]},
        "custom_credentials": {
            "s": {"upstream": "https://s.test", "credential_key": "env://S", "inject_mode": "header", "inject_header": "X-Key", "credential_format": "{}",
                  "env_var": "S", "endpoint_rules": [{"method": "*", "path": "/**"}], "keep_client_credentials": False, "cache_ttl_secs": 5,
                  "rate_limit": {"requests_per_minute": 1, "burst": 1, "max_delay_secs": 0}, "tls_ca": None,
                  "proxy": {"inject_mode": "query_param", "query_param_name": "k"}},
            "path": {"upstream": "https://s.test", "credential_key": "env://S", "inject_mode": "url_path", "path_pattern": "/x{}/", "path_replacement": "/y/{}/"},
            "o": {"upstream": "https://o.test", "auth": {"token_url": "https://t.test", "client_id": "a", "client_secret": "b", "scope": "", "extra_params": {"a": "b"}}},
            "w": {"upstream": "https://w.test", "aws_auth": {"profile": None, "region": "r", "service": "s"}},
            "f": {"upstream": "https://f.test", "spiffe": {"type": "jwt", "workload_api_socket": "/s", "audience": ["a"]}},
            "p": {"upstream": "https://p.test", "credential_key": "env://P", "endpoint_policy": {
                "default": {"decision": "approve", "backend": "t"}, "deny": [], "approve": [{"method": "GET", "path": "/", "reason": "r", "timeout_secs": 1}]}},
        }},
    "credential_capture": {"c": {"command": ["x"], "timeout_secs": 5, "ttl_secs": 1, "stdin": "request_json", "output": {"format": "json", "allow_headers": ["X-A"]}},
                           "v": {"provider": {"command": ["x"], "config": {}}, "interaction": {"stdio": True, "open_urls": {"allow_origins": ["https://a.test"]}}}},
    "credential_providers": {"p": {"type": "oauth_capture", "api_hosts": ["https://a.test"], "inject_header": "A", "credential_format": "{}",
                                   "token_endpoints": [{"host": "https://a.test", "path": "/", "response_fields": [{"path": "a"}]}]}},
    "credential_routes": [{"name": "r", "provider": "p", "upgrades": [{"origin": "https://a.test", "path": "/"}]}],
    "command_policies": {"approval_backends": {"t": {"type": "terminal"}, "h": {"type": "webhook", "url": "https://h.test"}, "x": {"type": "chain", "mode": "any", "backends": ["t", "h"]}},
                         "approval_defaults": {"backend": "t", "timeout_secs": 1}, "commands": {"true": {}}},
    "security": {"signal_mode": "isolated", "capability_elevation": True},
    "groups": {"include": ["a", {"name": "b", "when": "linux"}]}, "filesystem": {"read": ["/a", {"path": "/b", "when": ["macos", "!linux:debian"]}]},
    "env_credentials": {"env://A": "A", "env://B": {"env_var": "B", "when": "linux"}}, "environment": {"allow_vars": None, "set_vars": {"A": "1"}},
    "workdir": {"access": "read"}, "hooks": {"h": {"event": "e", "script": "s"}}, "session_hooks": {"before": {"script": "s"}}, "linux": {"sandbox_policy": "auto"},
    "platform_overrides": {"linux": {"network": {"proxy_allow": ["x.test"]}}}, "open_urls": {"allow_origins": []}, "interactive": False, "packs": ["p"],
}
BAD = [  # what a single step does not reach
    {"network": {"allow_domain": [], "proxy_allow": []}}, {"network": {"proxy_allow": [], "allow_proxy": []}}, {"undo": {}, "rollback": {}},
    {"platform_overrides": {"linux": {"extends": "a"}}}, {"network": {"open_port_range": [[1, 2, 3]]}}, {"filesystem": {"read": [{"path": "a", "when": []}]}},
]


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(subprocess.run([TOOL], capture_output=True, check=True).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def judge(files):
    out = []
    for i in range(0, len(files), 500):
        out += subprocess.run([TOOL, *files[i:i + 500]], capture_output=True, check=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in out]


def steps(value):
    """The paths to every value of a document."""
    if isinstance(value, dict):
        for k, v in value.items():
            yield (k,)
            yield from ((k, *p) for p in steps(v))
    elif isinstance(value, list):
        for i, v in enumerate(value):
            yield (i,)
            yield from ((i, *p) for p in steps(v))


def mutations(document):
    for path in steps(document):
        for new in (None, 5, -1, 5.5, "", "zz", True, [], {}, ["zz"], {"zz": 1}, "DELETE", "EXTRA"):
            d = copy.deepcopy(document)
            at = d
            for p in path[:-1]:
                at = at[p]
            if new == "DELETE":
                del at[path[-1]]
            elif new == "EXTRA":
                if not isinstance(at[path[-1]], dict):
                    continue
                at[path[-1]]["zz"] = 1
            else:
                at[path[-1]] = new
            yield path, new, d


def test_examples_fit(validator):
    for f, got in zip(EXAMPLES, judge(EXAMPLES)):
        assert got["shape"] and got["whole"], f
        errors = [f"{list(e.path)}: {e.message}" for e in validator.iter_errors(got["content"])]
        assert not errors, (f, errors)


def test_full_document_fits(validator, tmp_path):
    (tmp_path / "full.json").write_text(json.dumps(FULL))
    got, = judge([tmp_path / "full.json"])
    assert got["shape"] and got["whole"]
    errors = [f"{list(e.path)}: {e.message}" for e in validator.iter_errors(FULL)]
    assert not errors, errors


def test_bad_documents_do_not(validator, tmp_path):
    files = []
    for i, d in enumerate(BAD):
        files.append(tmp_path / f"{i}.json")
        files[-1].write_text(json.dumps(d))
    for d, got in zip(BAD, judge(files)):
        assert not got["shape"] and not validator.is_valid(d), d


def test_every_single_step_is_judged_alike(validator, tmp_path):
    cases = list(mutations(FULL))
    files = []
    for i, (_, _, d) in enumerate(cases):
        files.append(tmp_path / f"{i}.json")
        files[-1].write_text(json.dumps(d))
    apart = []
    for (path, new, d), got in zip(cases, judge(files)):
        valid = validator.is_valid(d)
        if got["whole"] != valid:
            apart.append((path, new, got["whole"], valid))
    assert not apart, f"{len(apart)} of {len(cases)}: {apart[:40]}"


def test_the_command_prints_it(validator):
    run = subprocess.run([BIN, "profile", "schema"], capture_output=True)
    if run.returncode == 2:
        pytest.skip("no such command")
    assert json.loads(run.stdout) == validator.schema

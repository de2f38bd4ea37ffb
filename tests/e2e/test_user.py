"""What a new user stumbled over: sentences that must be true and say what to do."""
import signal

import pytest
from gateway import Gateway, free_port, one, run, until


@pytest.mark.parametrize("args, line", [
    ([], "every host is allowed (no --allow-domain given)"),
    (["--deny-domain", "y.test"], "every host is allowed except 1 deny entry (no --allow-domain given)"),
    (["--deny-domain", "y.test", "--deny-domain", "z.test", "--allow-domain", "*"], "every host is allowed except 2 deny entries ('*' in --allow-domain)"),
])
def test_the_banner_counts_what_is_denied(args, line):
    with Gateway(*args) as g:
        assert f"  policy: {line}\n" in g.banner


def test_the_banner_of_a_profile_without_hosts(tmp_path):
    (tmp_path / "p.json").write_text("{}")
    with Gateway("-p", str(tmp_path / "p.json")) as g:
        assert "policy: every host is allowed (neither the profile nor --allow-domain lists any)\n" in g.banner


@pytest.mark.parametrize("entry", ["https://x.test/a?q=1", "https://x.test/a#f", "https://x.test?q", "https://x.test/?q"])
def test_a_query_is_no_part_of_an_entry(entry):
    code, _, err = run("proxy", "--allow-domain", entry)
    assert code == 1 and "a query or fragment cannot be part of an entry" in err


def test_every_failed_reload_is_told(tmp_path):
    path = tmp_path / "p.json"
    path.write_text("{}")
    with Gateway("-p", str(path)) as g:
        path.write_text("{")
        for n in (1, 2):
            g.proc.send_signal(signal.SIGHUP)
            assert until(lambda n=n: g.stderr.count("reload failed") == n)


def test_init_does_not_hide_a_built_in(tmp_path):
    code, out, err = run("profile", "init", "default", env={"HOME": str(tmp_path)})
    assert code == 1 and not out and "a built-in profile has that name" in err and not list(tmp_path.iterdir())


def test_listen_errors_say_what_to_do():
    port = free_port()
    with Gateway("--port", str(port)):
        code, _, err = run("proxy", "--port", str(port))
    assert code == 1 and "address already in use" in err and "--port 0" in err
    code, _, err = run("proxy", "--listen", "192.0.2.1")
    assert code == 1 and "no interface of this machine has that address" in err


def test_an_env_file_named_dash():
    code, _, err = run("proxy", "--env-file", "-")
    assert code == 2 and "--env-file '-'" in err and "--output json" in err


def test_a_visitor_is_told_what_this_is():
    with Gateway() as g:
        a = one(g, f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{g.port}\r\nAuthorization: Bearer {g.token}\r\n\r\n")
    assert a.status == 404 and b"use it as an HTTP proxy" in a.body and b"no service" not in a.body


def test_a_misspelt_variable_is_told_of_and_a_strange_one_is_not():
    with Gateway(env={"NONO_ALOW_DOMAIN": "x", "NONO_SOMETHING": "y", "NONO_PROT": ""}) as g:
        assert g.stderr == "  [nono] NONO_ALOW_DOMAIN has no effect; did you mean NONO_ALLOW_DOMAIN?\n"

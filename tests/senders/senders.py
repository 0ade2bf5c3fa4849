"""Real senders, one after the other: what each sends, and what the lab's phone then shows. `tests/senders/run` calls it with the lab,
tautline, and the folder in which PyPI's and npm's packages are. A sender that is not installed is skipped with a word."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

LAB, TAUTLINE, WORK = sys.argv[1], sys.argv[2], Path(sys.argv[3])
PATIENCE_S = 60
BIN = WORK / "venv" / "bin"

home = Path(tempfile.mkdtemp(prefix="tautline-senders-"))
# Whoever calls `sendmail` finds the relay's state as its user would.
env = {**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "XDG_CONFIG_HOME": str(home), "NO_COLOR": "1"}
env["PATH"] = f"{home}:{BIN}:{env['PATH']}:/usr/sbin:/sbin"
for name in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "http_proxy", "HTTP_PROXY", "ALL_PROXY"):
    env.pop(name, None)
children = []


class Lab:
    """The lab server, and all that its phones have shown."""

    def __init__(self):
        self.shown = ""
        self.changed = threading.Condition()
        self.child = start([LAB, "--listen", "127.0.0.1:0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self.read, daemon=True).start()
        self.endpoint = self.wait(r'endpoint = "([^"]*)"').group(1)

    def read(self):
        for line in self.child.stdout:
            with self.changed:
                self.shown += line
                self.changed.notify_all()

    def wait(self, pattern, since=0):
        """The first place that fits, from `since` on."""
        with self.changed:
            found = lambda: re.search(pattern, self.shown[since:], re.DOTALL)
            self.changed.wait_for(found, PATIENCE_S)
            return found()

    def type(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()


def start(command, **options):
    child = subprocess.Popen(command, env=env, **options)
    children.append(child)
    return child


def tautline(*words, **options):
    return subprocess.run([TAUTLINE, *words], env=env, capture_output=True, text=True, timeout=PATIENCE_S, **options)


def until(what, look):
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = look()
        except (ValueError, KeyError, IndexError):
            found = None
        if found:
            return found
        if time.monotonic() > end:
            raise SystemExit(f"{what} never came")
        time.sleep(0.05)


def set_up():
    """The lab, a relay that is linked to it, and where that listens: HTTP and SMTP."""
    lab = Lab()
    config = home / "tautline" / "tautline.toml"
    config.parent.mkdir()
    config.write_text(f"""
[[session]]
name = "default"
endpoint = "{lab.endpoint}"
[[route]]
name = "family"
to = ["+15550100002"]
[gateway]
listen = ["127.0.0.1:0"]
[smtp]
listen = ["127.0.0.1:0"]
""")
    (home / "sendmail").symlink_to(TAUTLINE)
    (home / ".mailrc").write_text(f"set sendmail={home}/sendmail\n")
    log = open(home / "relay.log", "w")
    start([TAUTLINE, "run"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    until("the relay", lambda: json.loads(tautline("status", "--json").stdout)["listen"])
    pairing = start([TAUTLINE, "pair", "--raw"], stdout=subprocess.PIPE, stderr=log, text=True)
    lab.type("scan " + pairing.stdout.readline().strip())
    pairing.communicate(timeout=PATIENCE_S)
    status = until("the session", lambda: online(json.loads(tautline("status", "--json").stdout)))
    return lab, status["listen"][0], status["smtp"][0]


def online(status):
    return status if status["sessions"][0]["state"] == "online" else None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name, *version):
    """The program's version, or `None` where it is not there. `version` asks for it."""
    if shutil.which(name, path=env["PATH"]) is None:
        return None
    said = subprocess.run([name, *version], env=env, capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL)
    found = re.search(r"\d+(\.\d+)+\S*", said.stdout + said.stderr)
    return found.group(0).rstrip(",;:)") if found else "?"


def module(name):
    """The version of a Python package that was installed for this."""
    python = BIN / "python"
    if not python.exists():
        return None
    ask = f"import importlib.metadata as m; print(m.version('{name}'))"
    said = subprocess.run([python, "-c", ask], capture_output=True, text=True)
    return said.stdout.strip() or None


def package(name):
    """The version of an npm package that was installed for this."""
    about = WORK / "node_modules" / name / "package.json"
    if shutil.which("node") is None or not about.exists():
        return None
    return json.loads(about.read_text())["version"]


def run(*command, text=None, **more):
    """A sender that ends. Its end and words count: most people see nothing else of it."""
    done = subprocess.run(
        [str(word) for word in command], env={**env, **more}, input=text, capture_output=True, text=True, timeout=PATIENCE_S, cwd=WORK)
    if done.returncode != 0:
        raise AssertionError(f"it ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-400:]}")
    return done.stdout


def curl(*words):
    return lambda: run("curl", "-sS", "--fail-with-body", "-m", "30", *words)


def node(code):
    file = WORK / "sender.mjs"
    file.write_text(code)
    run("node", file)


def monit(smtp):
    """It mails at every start. It stays, so it is ended once the phone has shown that."""
    host, port = smtp.rsplit(":", 1)
    config = home / "monitrc"
    config.write_text(f"""
set daemon 2
set pidfile {home}/monit.pid
set idfile {home}/monit.id
set statefile {home}/monit.state
set mailserver {host} port {port}
set mail-format {{ subject: monit-mark $EVENT }}
set alert family@tautline
check system nas
""")
    config.chmod(0o600)
    log = open(home / "monit.log", "w")
    start(["monit", "-c", str(config), "-I"], stdout=log, stderr=log)


def alertmanager(http, smtp):
    port = free_port()
    config = home / "alertmanager.yml"
    config.write_text(f"""
route: {{ receiver: both, group_wait: 0s }}
receivers:
- name: both
  webhook_configs: [{{ url: "http://{http}/v1/hooks/alertmanager/family" }}]
  email_configs: [{{ to: family@tautline, from: am@nas, smarthost: "{smtp}", require_tls: false }}]
""")
    log = open(home / "alertmanager.log", "w")
    start(["prometheus-alertmanager", f"--config.file={config}", f"--storage.path={home}/am", "--cluster.listen-address=",
           f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    until("Alertmanager", lambda: subprocess.run(["curl", "-s", "-o", home / "null", f"{url}/-/ready"]).returncode == 0)
    run("amtool", f"--alertmanager.url={url}", "alert", "add", "DiskFull", "severity=critical", "instance=nas:9100",
        "--annotation=summary=alertmanager-mark only 4 % free")


def smartd():
    """The script that smartd calls, with what it gives it."""
    run("sh", "/usr/share/smartmontools/smartd_warning.sh", SMARTD_ADDRESS="family", SMARTD_MAILER="s-nail", SMARTD_SUBJECT="SMART error (EmailTest)",
        SMARTD_PREVCNT="0", SMARTD_NEXTDAYS="", SMARTD_FAILTYPE="EmailTest", SMARTD_DEVICE="/dev/sda", SMARTD_DEVICESTRING="/dev/sda",
        SMARTD_DEVICETYPE="sat", SMARTD_DEVICEINFO="LAB DISK, S/N:1", SMARTD_MESSAGE="TEST EMAIL from smartd-mark", SMARTD_TFIRST="", SMARTD_TFIRSTEPOCH="",
        MAILRC=str(home / ".mailrc"))


def senders(http, smtp):
    """Name, version (`None`: it is not there), what sends, and the patterns of what is shown, in their order."""
    host, port = smtp.rsplit(":", 1)
    base = f"http://{http}"
    form = "Content-Type: application/x-www-form-urlencoded"
    has_curl, apprise = program("curl", "--version"), module("apprise")
    via = lambda url: lambda: run(BIN / "apprise", "-t", "Disk full", "-b", f"{url.split(':')[0]}-mark", url)
    mail = "From: root@nas\nTo: family@tautline\nSubject: msmtp-mark\n\nthe body\n"
    smtplib = f"""
import smtplib
from email.message import EmailMessage
m = EmailMessage()
m["From"], m["To"], m["Subject"] = "root@nas", "family@tautline", "Größe"
m.set_content("smtplib-mark ü")
smtplib.SMTP("{host}", {port}).send_message(m)
"""
    return [
        ("curl", has_curl, curl("-d", "curl-mark plain", f"{base}/family"), ["curl-mark plain"]),
        ("curl: headers", has_curl, curl("-H", "Title: NAS", "-H", "Tags: warning", "-H", "Click: https://nas.example/", "-d", "curl-mark headers", f"{base}/family"),
         ["NAS", "curl-mark headers", "https://nas.example/"]),
        ("curl: JSON", has_curl, curl("-d", '{"topic":"family","title":"NAS","message":"curl-mark json","tags":["x"]}', base), ["NAS", "curl-mark json"]),
        ("curl: GET", has_curl, curl(f"{base}/family/trigger?message=curl-mark%20get"), ["curl-mark get"]),
        ("curl: a template", has_curl, curl("-H", "Content-Type: application/json", "-d", '{"event":"curl-mark","desc":{"free":4}}',
                                           f"{base}/family?template=yes&title=%7B%7B.event%7D%7D&message=%7B%7B.desc.free%7D%7D%20%25%20of%20%7B%7B.desc.size%7D%7D"),
         ["curl-mark", "4 % of desc.size"]),
        ("curl: a delay", has_curl, curl("-H", "In: 10s", "-d", "curl-mark later", f"{base}/family"), ["curl-mark later"]),
        ("curl: Gotify's form", has_curl, curl("-F", "title=NAS", "-F", "message=gotify-mark", "-F", "priority=8", f"{base}/message?token=family"), ["NAS", "gotify-mark"]),
        ("curl: Pushover's form", has_curl, curl("-H", form, "-d", "token=family&user=u&message=pushover-mark", f"{base}/1/messages.json"), ["pushover-mark"]),
        ("curl: WAHA", has_curl, curl("-d", '{"session":"default","chatId":"family@c.us","text":"waha-mark"}', f"{base}/api/sendText"), ["waha-mark"]),
        ("wget", program("wget", "--version"), lambda: run("wget", "-q", "-O-", "--post-data=wget-mark", f"{base}/family"), ["wget-mark"]),
        ("ntfy", program("ntfy", "--version"), lambda: run("ntfy", "publish", "--title", "NAS", f"{base}/family", "ntfycli-mark"), ["NAS", "ntfycli-mark"]),
        ("Apprise ntfy://", apprise, via(f"ntfy://{http}/family"), ["Disk full", "ntfy-mark"]),
        ("Apprise json://", apprise, via(f"json://{http}/v1/hooks/apprise/family"), ["Disk full", "json-mark"]),
        ("Apprise form://", apprise, via(f"form://{http}/v1/hooks/apprise/family"), ["Disk full", "form-mark"]),
        ("Apprise gotify://", apprise, via(f"gotify://{http}/family"), ["Disk full", "gotify-mark"]),
        ("Apprise apprise://", apprise, via(f"apprise://{http}/family"), ["Disk full", "apprise-mark"]),
        ("Apprise mailto://", apprise, via(f"mailto://{smtp}?from=root@nas.example&to=family@tautline.example&mode=insecure&smtp={host}"), ["Disk full", "mailto-mark"]),
        ("Gotify's Python client", module("gotify"), lambda: run(BIN / "python", "-c",
            f"from gotify import Gotify\nwith Gotify(base_url='{base}', app_token='family') as g: g.create_message('pygotify-mark', title='NAS', priority=5)"),
         ["NAS", "pygotify-mark"]),
        ("Python smtplib", program("python3", "--version"), lambda: run("python3", "-c", smtplib), ["Größe", "smtplib-mark ü"]),
        ("npm ntfy", package("ntfy"), lambda: node(f"import {{publish}} from 'ntfy'; await publish({{server: '{base}', topic: 'family', title: 'Größe', message: 'npmntfy-mark'}});"),
         ["Größe", "npmntfy-mark"]),
        ("npm gotify", package("gotify"), lambda: node(f"import g from 'gotify'; await g.gotify({{server: '{base}', app: 'family', title: 'NAS', message: 'npmgotify-mark', priority: 5}});"),
         ["NAS", "npmgotify-mark"]),
        ("nodemailer", package("nodemailer"), lambda: node(f"import m from 'nodemailer'; await m.createTransport({{host: '{host}', port: {port}, ignoreTLS: true}}).sendMail("
                                                          "{from: 'root@nas', to: 'family@tautline', subject: 'NAS', text: 'nodemailer-mark'});"),
         ["NAS", "nodemailer-mark"]),
        ("swaks", program("swaks", "--version"), lambda: run("swaks", "--server", host, "--port", port, "--to", "family@tautline", "--from", "root@nas", "--header", "Subject: NAS",
                                                             "--body", "swaks-mark"), ["NAS", "swaks-mark"]),
        ("msmtp", program("msmtp", "--version"), lambda: run("msmtp", f"--host={host}", f"--port={port}", "--from=root@nas", "--auth=off", "--tls=off", "family@tautline", text=mail),
         ["msmtp-mark", "the body"]),
        ("s-nail by sendmail", program("s-nail", "--version"), lambda: run("s-nail", "-S", f"mta={home}/sendmail", "-s", "snail-mark", "family", text="the body\n"), ["snail-mark", "the body"]),
        ("smartd's script", program("smartctl", "--version") if program("s-nail", "--version") else None, smartd, ["smartd-mark"]),
        ("mdadm", None, lambda: None, []),
        ("monit", program("monit", "-V"), lambda: monit(smtp), ["monit-mark"]),
        ("Alertmanager", program("prometheus-alertmanager", "--version") if has_curl and program("amtool", "--version") else None, lambda: alertmanager(http, smtp),
         ["DiskFull", "alertmanager-mark only 4 % free", "alertmanager-mark"]),
        ("tautline publish", program(TAUTLINE, "--version"), lambda: run(TAUTLINE, "publish", "--to", "family", "publish-mark"), ["publish-mark"]),
    ]


def main():
    lab, http, smtp = set_up()
    began, failed = time.monotonic(), []
    for name, version, send, patterns in senders(http, smtp):
        if version is None:
            print(f"skipped: {name} is not here" if name != "mdadm" else "skipped: mdadm mails only where there is an array", flush=True)
            continue
        since = len(lab.shown)
        try:
            send()
            # The owner's own phone shows it too, before or after.
            pattern = r"Friend's phone: from \S+ in \S+: .*" + ".*".join(re.escape(text) for text in patterns)
            if not lab.wait(pattern, since):
                raise AssertionError(f"the phone shows no {patterns}: {lab.shown[since:]!r}")
            print(f"ok: {name} {version}", flush=True)
        except (AssertionError, subprocess.TimeoutExpired, OSError) as error:
            failed.append(name)
            print(f"FAILED: {name} {version}: {error}", flush=True)
    print(f"{time.monotonic() - began:.0f} s, {len(failed)} failed")
    return 1 if failed else 0


try:
    code = main()
finally:
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
    shutil.rmtree(home, ignore_errors=True)
sys.exit(code)

#!/usr/bin/env python3
"""The progress of long work, in a pseudo terminal:
progress_test.py trace TOOL...    all of it, of sidekick-trace
progress_test.py replay COMMAND...  of a command that replays the trace at its stdin

Long work is a trace that arrives slowly, so nothing depends on the speed of the machine."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import tempfile
import termios
import time

HERE = os.path.dirname(os.path.abspath(__file__))
LINES = open(f"{HERE}/../core/traces/channels.jsonl", "rb").read().splitlines(keepends=True)
TRACE = b"".join(LINES)
INPUTS = sum(line.startswith(b'{"in"') for line in LINES)
QUIET_S = 1.0
WAIT_S = 60


class Terminal:
    """Runs a command: stdin is a pipe, the rest a pseudo terminal unless named."""

    def __init__(self, command, term="xterm", has_stdin=True, is_background=False, **streams):
        self.raw = b""
        stdin, self.stdin = os.pipe()
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = term
            os.close(self.stdin)
            if has_stdin:
                os.dup2(stdin, 0)
            for name, file in streams.items():
                os.dup2(file, {"stdout": 1, "stderr": 2}[name])
            if is_background:
                run_in_background(command)
            os.execvp(command[0], command)
        os.close(stdin)

    def read(self, is_enough, what):
        """Until is_enough(screen), or the end if `is_enough` is None."""
        end = time.monotonic() + WAIT_S
        while is_enough is None or not is_enough(screen(self.raw)):
            if time.monotonic() > end:
                sys.exit(f"waited {WAIT_S} s for {what}; the terminal got {self.raw}")
            if not select.select([self.master], [], [], 0.1)[0]:
                continue
            try:
                part = os.read(self.master, 65536)
            except OSError:  # how a pseudo terminal says that its last user has gone
                part = b""
            self.raw += part
            if part == b"" and is_enough is not None:
                sys.exit(f"expected {what}; the command ended, and the terminal got {self.raw}")
            if part == b"":
                return

    def write(self, data):
        os.write(self.stdin, data)

    def begin(self):
        """Returns once the command has read the first line and worked for a second."""
        self.write(LINES[0])
        end = time.monotonic() + WAIT_S
        while struct.unpack("i", fcntl.ioctl(self.stdin, termios.FIONREAD, b"    ")) != (0,):
            if time.monotonic() > end:
                sys.exit(f"waited {WAIT_S} s for the command to read a line")
            time.sleep(0.05)
        time.sleep(QUIET_S + 0.2)

    def end(self, closes_stdin=True):
        """Returns the status, and what is on the screen."""
        if closes_stdin:
            os.close(self.stdin)
        self.read(None, "the end of the command")
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status), screen(self.raw)


def run_in_background(command):
    """As a shell with & does: the terminal belongs to another process group."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.execvp(command[0], command)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status))


def screen(raw):
    """What a terminal shows."""
    rows, column = [""], 0
    text = raw.decode()
    while text:
        if text.startswith("\x1b[K"):
            rows[-1], text = rows[-1][:column], text[3:]
            continue
        character, text = text[0], text[1:]
        if character == "\r":
            column = 0
        elif character == "\n":
            rows.append("")
            column = 0
        else:
            if character < " ":
                sys.exit(f"expected no {character!r} on a terminal: {raw}")
            rows[-1] = rows[-1][:column].ljust(column) + character + rows[-1][column + 1:]
            column += 1
    return "\n".join(row.rstrip() for row in rows)


def check(title, is_true, found):
    if not is_true:
        sys.exit(f"{title}; found {found!r}")


def draw(terminal):
    """Makes the command show its progress. Returns the number of lines that it has."""
    terminal.begin()
    terminal.write(LINES[1])
    terminal.read(lambda shown: " lines, " in shown, "the progress")
    return 2


def no_progress(title, command, **options):
    terminal = Terminal(command, **options)
    terminal.begin()
    terminal.write(b"".join(LINES[1:]))
    _, shown = terminal.end()
    check(f"{title}: expected no progress", b" lines, " not in terminal.raw, terminal.raw)
    check(f"{title}: expected nothing erased", b"\x1b" not in terminal.raw, terminal.raw)
    return shown


def replay(command):
    terminal = Terminal(command)
    count = draw(terminal)
    shown = screen(terminal.raw)
    check("expected lines and seconds", re.search(r": 2 lines, \d+ s$", shown), shown)
    terminal.write(b"".join(LINES[count:]))
    status, shown = terminal.end()
    check("expected success", status == 0, shown)
    expected = f" {INPUTS} inputs"
    check("expected one line, the result, and no progress",
          shown.count("\n") == 1 and expected in shown and "lines, " not in shown, shown)

    with tempfile.TemporaryFile() as errors:
        shown = no_progress("stderr is a file", command, stderr=errors.fileno())
        check("expected the result", expected in shown, shown)
        check("expected nothing on stderr", errors.seek(0, 2) == 0, "something")
    no_progress("a dumb terminal", command, term="dumb")


def interrupt(command):
    terminal = Terminal(command)
    draw(terminal)
    os.write(terminal.master, b"\x03")
    status, shown = terminal.end(closes_stdin=False)  # else it could end before the signal
    check("expected a command that Ctrl-C has ended", status == -signal.SIGINT, status)
    check("expected an empty line after Ctrl-C", shown == "", shown)


def percent(command, path):
    """Of a file: the command is stopped while it reads."""
    size = os.path.getsize(path)
    for _ in range(20):
        terminal = Terminal([*command, path], has_stdin=False)
        while not is_reading(terminal.pid, path):
            if os.waitid(os.P_PID, terminal.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
        os.kill(terminal.pid, signal.SIGSTOP)
        time.sleep(QUIET_S + 0.2)
        os.kill(terminal.pid, signal.SIGCONT)
        status, shown = terminal.end()
        check("expected success", status == 0, shown)
        if b" lines, " not in terminal.raw:
            continue  # it was too fast
        expected = f" % of {(size + 999_999) // 1_000_000} MB, ".encode()
        check(f"expected{expected.decode()}", expected in terminal.raw, terminal.raw)
        check("expected one line", shown.count("\n") == 1 and " % of " not in shown, shown)
        return
    sys.exit("expected to stop the command while it reads, in 20 tries")


def is_reading(pid, path):
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            if os.path.realpath(f"/proc/{pid}/fd/{name}") == os.path.realpath(path):
                return int(open(f"/proc/{pid}/fdinfo/{name}").readline().split()[1]) > 0
    except OSError:
        pass
    return False


def trace(tool):
    replay([tool, "replay", "-"])
    interrupt([tool, "replay", "-"])
    no_progress("in the background", [tool, "replay", "-"], is_background=True)
    shown = no_progress("the terminal shows the output", [tool, "record", "-"])
    check("expected the recording", shown.startswith('{"trace":2'), shown)
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/recorded", "wb") as out:
            terminal = Terminal([tool, "record", "-"], stdout=out.fileno())
            terminal.write(b"".join(LINES[draw(terminal):]))
            check("expected an empty screen", terminal.end() == (0, ""), terminal.raw)
        check("expected the recording", open(f"{folder}/recorded", "rb").read() == TRACE, "another")
        with open(f"{folder}/long.jsonl", "wb") as out:
            for _ in range(10_000_000 // len(TRACE)):
                out.write(TRACE)
        percent([tool, "replay"], f"{folder}/long.jsonl")
        shrink(tool, folder)


def shrink(tool, folder):
    open(f"{folder}/short.jsonl", "wb").write(TRACE)
    differs = "sed -u 's/\"out\":\"send\"/\"out\":\"Send\"/'"
    slow = f"sleep {QUIET_S + 0.5}; exec '{tool}' record - | {differs}"
    ran = ["shrink", f"{folder}/short.jsonl", "-o", f"{folder}/out.jsonl", "--against", slow]
    terminal = Terminal([tool, *ran], has_stdin=False)
    terminal.read(lambda shown: " inputs left, trial 1, " in shown, "the inputs left")
    status, shown = terminal.end()
    check("expected success", status == 0, shown)
    check("expected one line", shown.startswith(f"{folder}/out.jsonl: ") and
          shown.count("\n") == 1, shown)

    os.remove(f"{folder}/out.jsonl")
    terminal = Terminal([tool, *ran], has_stdin=False)
    terminal.read(lambda shown: " inputs left, " in shown, "the inputs left")
    os.write(terminal.master, b"\x03")
    status, shown = terminal.end()
    check("expected status 130", status == 130, status)
    check("expected one line after Ctrl-C", "interrupted; nothing found yet" in shown and
          shown.count("\n") == 1 and "inputs left" not in shown, shown)


mode, *command = sys.argv[1:]
if mode == "trace":
    trace(os.path.abspath(command[0]))
elif mode == "replay":
    replay(command)
    if command[0].endswith("node") and command[1].endswith("cli.js"):
        interrupt(command)
print("progress: as expected")

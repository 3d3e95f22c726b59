"""Errors leave the command as one line on stderr and an exit code, before any long work."""

import importlib.util
import os
import signal
import subprocess
import sys

import pytest

from fastkd import cli


def run(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def assert_one_line(err, *words):
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    assert err.startswith("fastkd: ")
    for word in words:
        assert word in err, err


HEADER = "start_ms,open,high,low,close,volume\n"


def lines(*starts):
    return "".join(f"{60_000 * start},1,2,1,2,5\n" for start in starts)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["No such file"]),
        ("", ["empty"]),
        ("hello\nworld\n", ["line 1", "start_ms"]),
        (HEADER + "0,1,2,1,x,5\n", ["line 2", "close", "'x'"]),
        (HEADER + lines(0, 2, 1), ["line 4", "earlier"]),
        (HEADER + lines(0, 1, 1), ["line 4", "duplicate"]),
        (HEADER + lines(*range(40)), ["40 candles", "at least 500"]),
    ],
    ids=["missing", "empty", "no-csv", "no-number", "unsorted", "duplicated", "too-few"],
)
def test_bad_candles(capsys, tmp_path, content, words):
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    path, output = tmp_path / "candles.csv", tmp_path / "report.html"
    if content is not None:
        path.write_text(content)
    code, out, err = run(capsys, "demo", "--quiet", path, "--output", output)
    assert code == 2
    assert out == ""
    assert_one_line(err, *words)
    assert not output.exists()


def test_bad_output_is_found_before_the_candles_are_read(capsys, tmp_path):
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    code, _, err = run(capsys, "demo", "--candles", tmp_path / "none.csv", "--output", tmp_path / "no" / "report.html")
    assert code == 2
    assert_one_line(err, "no folder")


def test_missing_extras_name_the_remedy(capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "rich" else find(name))
    code, _, err = run(capsys, "demo")
    assert code == 2
    assert_one_line(err, "rich", "pip install 'fastkd[cli]'")


def test_interrupt_ends_with_one_line(capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastkd.experiments.demo.run_demo", interrupted)
    code, _, err = run(capsys, "demo")
    assert code == 130
    assert_one_line(err, "interrupted")


def test_debug_shows_the_traceback(monkeypatch):
    def fail(*arguments, **options):
        raise ValueError("a fault")

    monkeypatch.setattr("fastkd.experiments.demo.run_demo", fail)
    assert cli.main(["demo"]) == 2
    for command in (["--debug", "demo"], ["demo", "--debug"]):
        with pytest.raises(ValueError, match="a fault"):
            cli.main(command)


TRAIN_UNTIL_STOPPED = """
import sys
from fastkd import cli
from fastkd.models import _training

one_epoch = _training.one_epoch

def one_more(plan, run):
    loss = one_epoch(plan, run)
    run.n_iter, first = 0, len(run.history["loss"]) == 1  # the training does not end before the signal comes
    if first:
        print("an epoch is over", file=sys.stderr, flush=True)
    return loss

_training.one_epoch = one_more
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_ctrl_c_amid_the_work_leaves_nothing_behind(tmp_path):
    """The signal is sent when the teacher is being trained.

    Sent amid imports it could end the process by itself: Python does so at exit when the interrupt has passed a text
    that was being executed, as the methods of a dataclass are.
    """
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    demo = ["demo", "--rows", "3000", "--output", str(tmp_path / "report.html")]
    command = [sys.executable, "-c", TRAIN_UNTIL_STOPPED, *demo]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            before = []
            for line in process.stderr:
                if line == "an epoch is over\n":
                    break
                before.append(line)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
        finally:
            process.kill()
    assert "Teacher" in before[-1]
    assert process.returncode == 130
    assert out == ""
    assert_one_line(err, "interrupted")
    assert list(tmp_path.iterdir()) == []


def test_demo_writes_the_report_and_says_so(capsys, tmp_path):
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    output = tmp_path / "report.html"
    code, out, err = run(capsys, "demo", "--rows", 600, "--few-labels", 100, "--output", output)
    assert code == 0
    assert output.read_text(encoding="utf-8").endswith("</html>\n")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert "majority" in out
    assert str(output) in out.replace("\n", "")
    assert "Teacher" in err
    assert run(capsys, "demo", "--quiet", "--rows", 600, "--output", output) == (0, "", "")


@pytest.mark.parametrize(
    "arguments",
    [
        "nonsense",
        "demo --nonsense",
        "demo --temperature 0",
        "demo --temperature nan",
        "demo --temperature inf",
        "demo --kd-weight 1.5",
        "demo --rows 2.5",
        "demo --rows 0",
        "demo --seed -1",
    ],
)
def test_bad_arguments(capsys, arguments):
    assert cli.main(arguments.split()) == 2
    assert_one_line(capsys.readouterr().err, "error")


def test_version_and_help(capsys):
    for argument, word in (("--version", "fastkd "), ("--help", "demo")):
        assert cli.main([argument]) == 0
        assert word in capsys.readouterr().out


def test_the_command_line_imports_little():
    heavy = {"matplotlib", "scipy", "pandas", "sklearn", "requests"}
    code = f"import sys, fastkd.cli; fastkd.cli.build_app(); print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_report_never_replaces_the_candles(capsys, tmp_path):
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    path = tmp_path / "candles.csv"
    path.write_text(HEADER + lines(*range(600)))
    before = path.read_text()
    code, _, err = run(capsys, "demo", "--candles", path, "--output", path)
    assert code == 2
    assert_one_line(err, "overwrite the candles")
    assert path.read_text() == before

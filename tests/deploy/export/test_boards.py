"""The vectors on other machines: aarch64, Cortex-M4 with FPU and DSP, Cortex-M0+ code; in emulators."""

import subprocess
from pathlib import Path

import pytest

from fastkd.deploy import FixedPredictor, export_c

BOARD = Path(__file__).parent / "board"
M4 = "-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard"
M0 = "-mcpu=cortex-m0plus -mthumb"
KINDS = ["relu", "tanh", "gelu", "values", "lstm_mean", "lstm_max", "cnn", "cnn_mean"]


def exported(tools, folder, kind, numbers, strict=False):
    model = tools.network(kind)
    student = model if numbers == "float" else FixedPredictor(model, tools.rows_for(model, 100), weights=numbers)
    export_c(student, folder / "student.c", vectors=6, check=False, strict=strict)


def on_cortex_m(tools, folder, machine, *more):
    """What the program answers in QEMU's MPS2 board with a Cortex-M4, which runs code of the M0+ as well."""
    compiler, emulator = tools.need("arm-none-eabi-gcc"), tools.need("qemu-system-arm")
    flags = [*machine.split(), "-std=c99", "-O2", "-DSTUDENT_QUIET", "-nostartfiles", "-T", str(BOARD / "cortex_m.ld")]
    sources = ["student.c", "student_test.c"]
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-pedantic"]
    command = [compiler, *flags, *warnings, *more, *sources, str(BOARD / "cortex_m.c"), "-o", "board.elf"]
    subprocess.run(command, cwd=folder, check=True)
    options = ["-M", "mps2-an386", "-nographic", "-monitor", "none", "-semihosting-config", "enable=on,target=native"]
    return subprocess.run(
        [emulator, *options, "-kernel", "board.elf"], cwd=folder, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("numbers", ["float", "strict", "int8", "int16"])
@pytest.mark.parametrize("kind", KINDS)
def test_vectors_on_a_cortex_m4(tools, tmp_path, kind, numbers):
    exported(tools, tmp_path, kind, "float" if numbers == "strict" else numbers, strict=numbers == "strict")
    assert on_cortex_m(tools, tmp_path, M4).returncode == 0


@pytest.mark.parametrize("numbers", ["strict", "int8", "int16"])
@pytest.mark.parametrize("kind", ["relu", "gelu", "lstm_max", "cnn"])
def test_vectors_in_code_of_a_cortex_m0(tools, tmp_path, kind, numbers):
    exported(tools, tmp_path, kind, "float" if numbers == "strict" else numbers, strict=numbers == "strict")
    assert on_cortex_m(tools, tmp_path, M0).returncode == 0


def test_a_board_finds_a_wrong_bit(tools, tmp_path):
    exported(tools, tmp_path, "relu", "int8")
    path = tmp_path / "student.c"
    path.write_text(path.read_text().replace("s0 = student_B0[o];", "s0 = student_B0[o] + 4000;"))
    assert on_cortex_m(tools, tmp_path, M4).returncode == 1


@pytest.mark.parametrize("numbers", ["strict", "int8", "int16"])
@pytest.mark.parametrize("kind", KINDS)
def test_vectors_on_aarch64(tools, tmp_path, kind, numbers):
    compiler, emulator = tools.need("aarch64-linux-gnu-gcc"), tools.need("qemu-aarch64")
    exported(tools, tmp_path, kind, "float" if numbers == "strict" else numbers, strict=numbers == "strict")
    command = [compiler, "-std=c99", "-O3", "-static", "student.c", "student_test.c", "-o", "test"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run([emulator, "test"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.filterwarnings("ignore:only .* rows to train")
@pytest.mark.parametrize("machine", [M4, M0])
def test_a_whole_forecaster_on_a_cortex_m(tools, tmp_path, machine):
    from fastkd import Forecaster
    from fastkd.market import synthetic_market
    from fastkd.models import MLPClassifier

    student = MLPClassifier((8,), epochs=2, random_state=0)
    candles = synthetic_market(600, random_state=0, interval="5m")
    forecaster = Forecaster("rich", student=student, kd_weight=0.0, random_state=0).fit(candles)
    export_c(forecaster, tmp_path / "student.c", vectors=20, check=False, strict=True)
    assert on_cortex_m(tools, tmp_path, machine, "-lm").returncode == 0

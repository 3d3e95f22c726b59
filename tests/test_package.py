"""The package as installed: what importing it costs and touches, its instruction sets, its use from Cython."""

import ast
import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fastkd
from fastkd._core._native import available_isas

HEAVY = ("scipy", "requests", "pandas", "polars", "sklearn", "matplotlib", "rich", "safetensors", "torch")


def run(code, cwd, **environment):
    """Run code in a fresh interpreter away from the source tree."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )


def test_the_tests_see_the_installed_package():
    here = Path(fastkd.__file__).parent
    if here == Path(__file__).parents[1] / "fastkd":
        reason = f"fastkd is imported from the source tree, {here}"
        if os.environ.get("FASTKD_REQUIRE_INSTALLED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    assert here.parent in map(Path, (sysconfig.get_path("platlib"), sysconfig.get_path("purelib")))
    assert importlib.metadata.version("fastkd") == fastkd.__version__


@pytest.mark.parametrize("statement", ["import fastkd", "import fastkd.losses, fastkd.models, fastkd.deploy"])
def test_importing_it_loads_little(tmp_path, statement):
    result = run(f"{statement}; import sys; print(*sorted(sys.modules))", tmp_path)
    assert result.returncode == 0, result.stderr
    loaded = result.stdout.split()
    assert "fastkd._core._native" in loaded
    assert not set(loaded) & set(HEAVY)


@pytest.mark.parametrize("name", fastkd.__all__)
def test_public_names_can_be_loaded(name):
    assert getattr(fastkd, name)


@pytest.mark.parametrize("isa", available_isas())
def test_the_environment_chooses_the_instruction_set(tmp_path, isa):
    result = run("import fastkd; print(fastkd.isa())", tmp_path, FASTKD_ISA=isa)
    assert result.stdout.strip() == isa, result.stderr


def test_without_a_choice_the_best_is_taken(tmp_path):
    result = run("import fastkd; print(fastkd.isa())", tmp_path, FASTKD_ISA="")
    assert result.stdout.strip() == available_isas()[0], result.stderr


@pytest.mark.parametrize("isa", ["altivec", "AVX2", "neon" if "neon" not in available_isas() else "avx2"])
def test_an_instruction_set_that_is_not_there_is_an_error_at_import(tmp_path, isa):
    result = run("import fastkd", tmp_path, FASTKD_ISA=isa)
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 1
    assert last.startswith("ImportError: ")
    assert repr(isa) in last
    assert ", ".join(available_isas()) in last


def test_a_build_of_one_lane_says_so(monkeypatch):
    assert fastkd._core.info.build_info()["notice"] == ""
    monkeypatch.setattr("fastkd._core._native.available_isas", lambda: ("scalar",))
    monkeypatch.setattr("platform.machine", lambda: "AMD64")
    with pytest.warns(RuntimeWarning, match="neither gcc nor clang"):
        fastkd.isa()
    assert "LLVM" in fastkd._core.info.build_info()["notice"]
    monkeypatch.setattr("platform.machine", lambda: "riscv64")  # for which there is nothing better
    assert fastkd._core.info.notice() == ""


# Which parts a part may import when it is loaded: itself and what stands before it.
ROAD = ("_version", "_defaults", "_files", "_io", "_parallel", "reference", "_core", "_check", "losses", "evaluation")
ROAD += ("market", "features", "models", "distill")
ROAD += ("aggregate", "federated", "condense", "deploy", "forecast", "flower", "experiments", "cli")
PACKAGE = Path(fastkd.__file__).parent


def imported(body, at_load):
    """(module, name) of every import from this package but those for type checkers; at load none of functions."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if at_load and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "fastkd":
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("fastkd."))
        yield from imported(ast.iter_child_nodes(node), at_load)


def module_graph():
    """Module -> the modules of this package that it imports, also within functions."""
    trees = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        trees[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text(encoding="utf-8"))
    graph = {}
    for name, tree in trees.items():
        found = {f"{m}.{n}" if f"{m}.{n}" in trees else m for m, n in imported(tree.body, at_load=False)}
        graph[name] = (found & set(trees)) - {name, "fastkd"}  # the package itself loads its parts at first use
    return graph


def circles(graph):
    """One circle of imports for each start that is on one."""
    done, found = set(), []

    def walk(module, path):
        if module in path:
            found.append([*path[path.index(module) :], module])
            return
        if module in done:
            return
        for following in sorted(graph[module]):
            walk(following, [*path, module])
        done.add(module)

    for module in graph:
        walk(module, [])
    return found


def test_imports_run_one_way():
    seen = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part in ("__init__", "__main__"):
            continue
        for module, _ in imported(ast.parse(path.read_text(encoding="utf-8")).body, at_load=True):
            if module != "fastkd":
                name = module.split(".")[1]
                assert ROAD.index(name) <= ROAD.index(part), f"{path} imports {module}"
                seen += 1
    assert seen > 20


def test_no_imports_go_in_a_circle_not_even_within_functions():
    graph = module_graph()
    assert len(graph) > 150
    assert circles(graph) == []


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c", "b"]]


def test_headers_come_along():
    names = {path.name for path in Path(fastkd.get_include()).iterdir()}
    assert {"fastkd.h", "fastkd_kernels.h", "fastkd_core.pxd", "candles.inc.h", "feed.inc.h"} <= names


def test_the_gil_stays_off(tmp_path):
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this interpreter is not free-threaded")
    code = "import fastkd, fastkd.losses, fastkd.models, fastkd.deploy, sys; print(sys._is_gil_enabled())"
    result = run(code, tmp_path, PYTHON_GIL="")
    assert result.stdout.strip() == "False", result.stderr


USER_CODE = """
# cython: language_level=3
from cpython.pycapsule cimport PyCapsule_Import
cimport fastkd_core as fkd

cdef const fkd.fkd_table *table = <const fkd.fkd_table *>PyCapsule_Import("fastkd._core._native._C_API", 0)
if table.abi != fkd.FKD_ABI:
    raise ImportError("fastkd was built for another interface")

def isa():
    return table.isa.decode()

def softmax2(double a, double b):
    cdef double[2] x = [a, b]
    cdef long long bad
    with nogil:
        bad = table.f64.softmax(x, 1, 2, 1.0, 0, x)
    return bad, x[0], x[1]

def single2(float a, float b):
    cdef float[2] x = [a, b]
    cdef long long bad = fkd.softmax(table, True, x, 1, 2, 1.0, 0, x)
    return x[0], x[1]
"""

USER_SETUP = """
import fastkd
from Cython.Build import cythonize
from setuptools import Extension, setup
include = [fastkd.get_include()]
setup(name="user", script_args=["-q", "build_ext", "--inplace"],
      ext_modules=cythonize([Extension("user", ["user.pyx"], include_dirs=include)], include_path=include, quiet=True))
"""


def test_cython_code_of_a_user(tmp_path):
    pytest.importorskip("Cython", reason="Cython is not installed")
    pytest.importorskip("setuptools", reason="needs setuptools to build with Cython")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if os.name == "nt" or shutil.which(compiler) is None:
        pytest.skip("no C compiler on the path to build Cython code with")
    (tmp_path / "user.pyx").write_text(USER_CODE)
    built = run(USER_SETUP, tmp_path)
    assert built.returncode == 0, built.stderr
    code = "import user; print(user.isa(), *user.softmax2(0.0, 0.0), user.softmax2(float('nan'), 0.0)[0])"
    code += "; print(*user.single2(0.0, 0.0))"
    used = run(f"import sys; sys.path.append({str(tmp_path)!r}); {code}", tmp_path)
    assert used.stdout.split() == [fastkd.isa(), "-1", "0.5", "0.5", "0", "0.5", "0.5"], used.stderr


IN_A_SUBINTERPRETER = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
code = '''
try:
    import fastkd
except ImportError as error:
    print("refused:", error, flush=True)
'''
{first}
interpreters.run_string(interpreters.create(), code)
import fastkd.losses
print(fastkd.losses.softmax([0.0, 0.0]).tolist())
"""


@pytest.mark.parametrize("first", ["", "import fastkd"])
def test_a_subinterpreter_is_turned_away_and_the_main_one_is_unharmed(tmp_path, first):
    result = run(IN_A_SUBINTERPRETER.format(first=first), tmp_path)
    if "No module named '_xxsubinterpreters'" in result.stderr:
        pytest.skip("this Python offers no subinterpreters")
    refused, computed = result.stdout.splitlines()
    assert refused.startswith("refused: fastkd, like NumPy, works in the main interpreter only"), result.stderr
    assert computed == "[0.5, 0.5]", result.stderr

"""The compiled module `_native`: bindings of the C core in csrc/, no algorithms of its own."""

from importlib import import_module

# Neither NumPy nor `_native` can be loaded into two interpreters of one process: the first to load them would be the
# only one, and the main interpreter's import would fail. So a subinterpreter is turned away before it loads either.
for _name in ("_interpreters", "_xxsubinterpreters"):
    try:
        _interpreters = import_module(_name)
    except ImportError:
        continue
    if _interpreters.get_current() != _interpreters.get_main():
        raise ImportError(
            "fastkd, like NumPy, works in the main interpreter only, and this is a subinterpreter: use threads or "
            "processes (under mod_wsgi: WSGIApplicationGroup %{GLOBAL})"
        )
    break

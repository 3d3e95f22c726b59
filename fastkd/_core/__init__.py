"""The compiled module `_native`: bindings of the C core in csrc/, no algorithms of its own."""

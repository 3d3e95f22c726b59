"""Guides whose examples need an optional package run where it is installed."""

import importlib.util

collect_ignore = [] if importlib.util.find_spec("flwr") else ["flower.md"]

"""Child processes of the tests see the installed package too, and not the sources in the current folder."""

import os

os.environ.setdefault("PYTHONSAFEPATH", "1")

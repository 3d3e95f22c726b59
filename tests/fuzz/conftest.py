"""The modules of this folder are imported by name, as `python tests/fuzz` does."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

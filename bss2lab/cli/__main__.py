"""``python -m bss2lab.cli``."""

import sys

from bss2lab.cli import main

sys.exit(main())

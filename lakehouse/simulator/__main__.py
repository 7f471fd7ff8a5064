"""``python -m lakehouse.simulator``."""

import sys

from lakehouse.simulator.main import main

sys.exit(main())

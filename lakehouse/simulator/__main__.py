"""``python -m lakehouse.simulator``."""

import sys

from lakehouse.lifeline import end_with_parent
from lakehouse.simulator.main import main

end_with_parent()
sys.exit(main())

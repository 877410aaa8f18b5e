"""`python -m tollwatch` is `tollwatch`."""

import sys

from tollwatch.cli import main

sys.exit(main())

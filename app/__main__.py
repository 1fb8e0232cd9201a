"""`python -m edgepose_app`."""

import sys

from .cli import main

sys.exit(main())

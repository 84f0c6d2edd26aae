"""Makes `python -m console` the same as `dsv4-console`."""

import sys

from console.cli.main import main

sys.exit(main())

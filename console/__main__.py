"""`python -m console` is `dsv4-console`."""

import sys

from console.cli.main import main

sys.exit(main())

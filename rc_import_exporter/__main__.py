"""`python -m rc_import_exporter` is `rc-import-exporter`."""

import sys

from rc_import_exporter.cli import main

sys.exit(main())

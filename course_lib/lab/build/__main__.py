"""`python -m course_lib.lab.build`: build the notebooks."""

import sys

from course_lib.lab.build import main


sys.exit(main())

"""Small Memory: a hands-on course in memory-efficient and on-device AI.

The package is built in floors; a floor imports only from the floors below it.
Floor 0 measures, loads, trains and plots; floor 1 holds one technique per module; floor 2, `lab`,
holds what only notebooks need. Importing `course_lib` itself loads nothing but this file.
"""

__version__ = "0.1.0"

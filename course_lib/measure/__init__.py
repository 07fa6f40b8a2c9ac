"""The course's scales: memory in bytes (`int`), compute in FLOPs, time in seconds."""

from course_lib.measure._format import MiB, format_bytes
from course_lib.measure._saved import SavedReport, SavedTensor, saved_activations
from course_lib.measure._show import stacked_bar, table


__all__ = [
    "MiB",
    "SavedReport",
    "SavedTensor",
    "format_bytes",
    "saved_activations",
    "stacked_bar",
    "table",
]

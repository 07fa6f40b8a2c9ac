"""The course's scales: memory in bytes (`int`), compute in FLOPs, time in seconds."""

from course_lib.measure._compare import Comparison, compare
from course_lib.measure._device import OutOfBudget, virtual_device
from course_lib.measure._flops import FlopReport, flops
from course_lib.measure._format import MiB, format_bytes
from course_lib.measure._peak import PeakReport, peak_memory
from course_lib.measure._saved import SavedReport, SavedTensor, saved_activations
from course_lib.measure._show import stacked_bar, table
from course_lib.measure._size import file_size


__all__ = [
    "Comparison",
    "FlopReport",
    "MiB",
    "OutOfBudget",
    "PeakReport",
    "SavedReport",
    "SavedTensor",
    "compare",
    "file_size",
    "flops",
    "format_bytes",
    "peak_memory",
    "saved_activations",
    "stacked_bar",
    "table",
    "virtual_device",
]

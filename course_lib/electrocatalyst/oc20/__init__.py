"""The files of the Open Catalyst 2020 data set: bring them, read them safely, learn from them.

Paper: arXiv 2010.09990; the data are under CC BY 4.0. `IS2RE`, `S2EF` and `AseLMDB` are sequences
of records on disk; `Graphs`, `energies` and `forces` turn them into what models take.
"""

from course_lib.electrocatalyst._unpickle import PickleRefused
from course_lib.electrocatalyst.oc20._archives import ARCHIVES, Archive
from course_lib.electrocatalyst.oc20._aselmdb import AseLMDB
from course_lib.electrocatalyst.oc20._datasets import IS2RE, S2EF
from course_lib.electrocatalyst.oc20._download import download, unpack
from course_lib.electrocatalyst.oc20._frames import read_frames, write_aselmdb
from course_lib.electrocatalyst.oc20._records import OC20Frame, OC20Record
from course_lib.electrocatalyst.oc20._targets import (
    IS2RE_SCALE,
    S2EF_SCALE,
    Graphs,
    Scale,
    energies,
    forces,
)


__all__ = [
    "ARCHIVES",
    "IS2RE",
    "IS2RE_SCALE",
    "S2EF",
    "S2EF_SCALE",
    "Archive",
    "AseLMDB",
    "Graphs",
    "OC20Frame",
    "OC20Record",
    "PickleRefused",
    "Scale",
    "download",
    "energies",
    "forces",
    "read_frames",
    "unpack",
    "write_aselmdb",
]

"""Atoms and their neighbors under periodic boundaries, as tensors."""

from course_lib.electrocatalyst.graphs._build import graph, graphs
from course_lib.electrocatalyst.graphs._graph import Graph, join
from course_lib.electrocatalyst.graphs._neighbors import neighbors


__all__ = ["Graph", "graph", "graphs", "join", "neighbors"]

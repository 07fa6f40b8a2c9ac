"""Atoms and their neighbors under periodic boundaries, as tensors."""

from course_lib.electrocatalyst.graphs._build import fixed_atoms, graph, graphs
from course_lib.electrocatalyst.graphs._graph import Graph, join
from course_lib.electrocatalyst.graphs._neighbors import neighbors


__all__ = ["Graph", "fixed_atoms", "graph", "graphs", "join", "neighbors"]

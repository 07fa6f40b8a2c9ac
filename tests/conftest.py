"""`make test` runs two files at a time, but what measures time has the machine to itself."""

import pytest


# First letters of the tests that run alone, before all others.
ALONE = (
    "tests/journey/test_newcomer.py::test_make_lab_twice",
    "tests/labs/test_notebooks.py::test_an_untouched_notebook",
    "tests/lib/test_lab_items.py::test_importing_the_lab_is_light",
    "tests/lib/test_massive_fits.py::test_the_profile_is_quick_enough_for_a_slider",
    "tests/lib/test_massive_fits.py::test_time_of_both_recipes",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(ALONE))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Deal out whole files; while one process runs the tests of `ALONE`, the others wait."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "alone" if nodeid.startswith(ALONE) else nodeid.split("::")[0]

        def _assign_work_unit(self, node) -> None:
            others = [work for other, work in self.assigned_work.items() if other is not node]
            if all(all(work.get("alone", {}).values()) for work in others):
                super()._assign_work_unit(node)

        def mark_test_complete(self, node, item_index: int, duration: float = 0) -> None:
            super().mark_test_complete(node, item_index, duration)
            mine = self.assigned_work[node]
            done = all(mine.get("alone", {}).values())
            if self._split_scope(self.registered_collections[node][item_index]) == "alone" and done:
                self.schedule()  # a process starts a test when it knows the next one,
                self.schedule()  # so each that waited gets two files

    config.option.loadscopereorder = False
    return Scheduling(config, log)

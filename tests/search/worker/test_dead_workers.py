"""Work of workers that were killed on this host."""

from __future__ import annotations

import pytest

from search.runtime.process_names import full_name, new_suffix, process_name
from search.study_state.snapshot import read_snapshot
from search.study_state.study import Study
from search.worker.dead_workers import sweep_all
from search.worker.lease import LEASE
from storage.records.workers import SEEN_WITHIN, Role
from storage.stores import Stores
from tests.databases import DIALECTS
from tests.search.runtime.test_process_names import ended_process


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_the_work_of_a_killed_worker_is_free_at_once(stores: Stores, stored: Study) -> None:
    suffix = new_suffix()
    killed, elsewhere = full_name(ended_process(), suffix), full_name(ended_process(), "0" * 8 + suffix[8:])
    here = process_name()
    for name in (killed, elsewhere, here):
        stores.workers.heartbeat(name, host="a", pid=1, device="cpu", role=Role.WORKER, study_id=stored.id)
        assert stores.queue.take(stored.id, name, LEASE) is not None
    supervisor = full_name(ended_process(), new_suffix())
    stores.workers.heartbeat(supervisor, host="a", pid=1, device="", role=Role.SUPERVISOR, study_id=stored.id)
    sweep_all(stores)  # the studies are swept now and not again for a while
    assert stores.queue.take(stored.id, "another", LEASE) is not None
    assert {process.name for process in stores.workers.alive(SEEN_WITHIN)}.isdisjoint({killed, supervisor})
    assert read_snapshot(stores, stored.name).workers == 2, "this process, and one of which nothing is known here"
    assert {item.worker for item in stores.queue.held(stored.id)} == {elsewhere, here, "another"}

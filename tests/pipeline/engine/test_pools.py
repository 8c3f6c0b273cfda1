"""Every pool with work gets a worker within the cluster; a request that does not fit is an error with the numbers."""

import pytest

from spatialdata_builder.pipeline.config import EngineOptions
from spatialdata_builder.pipeline.engine.pools import SHARED, Cluster, PoolPlan, plan_pools
from spatialdata_builder.pipeline.engine.runner import tasks_of
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.stage import Stage
from tests.pipeline.toys import Judge, Make, Measure

TWO_CORES = Cluster(1, 2, 0, 2, 0)


def pools(
    stages: list[Stage], cluster: Cluster = TWO_CORES, left: dict[str, int] | None = None, **resources: dict[str, float]
) -> dict[str, PoolPlan]:
    tasks = tasks_of(stages)
    options = EngineOptions.model_validate({"resources": resources})
    units = {task.layer: 100 for task in tasks} | (left or {})
    return {pool.name: pool for pool in plan_pools(tasks, units, options, cluster)}


def test_two_cores_suffice():
    found = pools([Make(), Measure(), Judge()])
    assert found["pair"].actors == 2
    assert found[SHARED].actors == 1
    assert found[SHARED].most == 2
    assert found[SHARED].layers == ("checks", "metric")
    assert sum(pool.actors * pool.cpus for pool in found.values()) <= 2


def test_one_core_and_stages_that_need_more():
    found = pools([Make(cpus=4), Measure(cpus=2), Judge()], Cluster(1, 1, 0, 1, 0))
    assert all(pool.actors == 1 for pool in found.values())
    assert sum(pool.actors * pool.cpus for pool in found.values()) <= 1


def test_a_pool_without_work_takes_no_cores():
    found = pools([Make(), Measure()], left={"pair": 0})
    assert found[SHARED].actors == 2
    assert (found["pair"].actors, found["pair"].cpus) == (1, 0)


def test_no_more_workers_than_units():
    assert pools([Make()], Cluster(1, 64, 0, 64, 0), left={"pair": 3})["pair"].actors == 3


def test_model_stages_share_too_few_gpus():
    found = pools([Make(), Measure(gpus=1), Judge(gpus=1)], Cluster(1, 8, 1, 8, 1))
    assert found["metric"].gpus == found["checks"].gpus == 0.5
    many = pools([Make(), Measure(gpus=1), Judge(gpus=1)], Cluster(2, 64, 8, 32, 4))
    assert many["metric"].actors == many["checks"].actors == 4
    assert many["metric"].gpus == 1


def test_one_blender_per_gpu():
    found = pools([Make(gpus=1), Measure(), Judge()], Cluster(2, 64, 4, 32, 2))
    assert (found["pair"].actors, found["pair"].gpus) == (4, 1)


def test_configured_resources_are_kept():
    found = pools([Make(), Measure(), Judge()], Cluster(1, 8, 0, 8, 0), pair={"actors": 3, "cpus": 2})
    assert (found["pair"].actors, found["pair"].cpus) == (3, 2)
    assert found[SHARED].cpus * found[SHARED].actors <= 2
    assert "metric" in pools([Make(), Measure()], metric={"actors": 1})


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"pair": {"actors": 3, "cpus": 1}}, "need 3"),
        ({"pair": {"gpus": 1}}, "1 GPU"),
        ({"pair": {"actors": 1, "cpus": 3}}, "3 CPU"),
    ],
)
def test_too_much_is_an_error_with_numbers(resources: dict[str, dict[str, float]], message: str):
    with pytest.raises(BadInput, match=message) as caught:
        pools([Make()], Cluster(2, 2, 0, 1, 0), **resources)
    assert "the cluster has 2 CPUs" in str(caught.value)
    assert "engine.resources.<layer>" in str(caught.value)


def test_configured_cpus_do_not_fix_the_number_of_workers():
    found = pools([Make(), Measure(), Judge()], pair={"cpus": 1})
    assert (found["pair"].actors, found["pair"].cpus, found[SHARED].cpus) == (2, 1, 0)
    both = pools([Make(), Measure(), Judge()], Cluster(1, 4, 0, 4, 0), pair={"cpus": 1}, metric={"cpus": 2})
    assert sum(pool.actors * pool.cpus for pool in both.values()) <= 4
    assert min(pool.actors for pool in both.values()) >= 1

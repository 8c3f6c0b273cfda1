"""The metrics order predictions as a person would."""

from itertools import pairwise

from spatialdata_builder.evaluation.score import score
from spatialdata_builder.evaluation.testbed import MAKERS
from tests.evaluation.scenes import scene


def test_order():
    truth = scene()
    made = {name: maker(truth) for name, maker in MAKERS.items()}
    values = {name: score(truth, one.image).values for name, one in made.items() if one is not None}
    assert set(values) == set(MAKERS)

    def falls(metric: str, *names: str) -> None:
        found = [values[name][metric] for name in names]
        assert all(a > b for a, b in pairwise(found)), (metric, found)

    for metric in ("box_iou", "mask_iou", "ms_ssim", "psnr"):
        falls(metric, "exact", "shifted by 5 px", "shifted by 20 px")
    falls("center_px", "shifted by 80 px", "shifted by 20 px", "shifted by 5 px", "exact")
    falls("center_m", "copy", "shifted by 20 px", "shifted by 5 px", "exact")
    falls("scale_error", "30 % smaller", "10 % smaller", "exact")
    falls("scale_error", "30 % larger", "10 % larger", "exact")
    falls("box_iou", "10 % larger", "30 % larger")
    falls("left_behind", "left behind and copied", "object removed")
    falls("duplicated", "left behind and copied", "exact")
    falls("found", "exact", "object removed")
    falls("preserved_ssim", "exact", "blurred", "background repainted")
    falls("relation", "exact", "wrong object moved")
    falls("psnr_object", "exact", "color cast", "object removed")

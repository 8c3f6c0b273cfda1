"""Works to cite with a dataset: the data, models and methods of its layers."""

from collections.abc import Collection, Iterable
from typing import Final

from ....sources.registry import all_sources
from ..census import VisibleAsset
from ..layer_origins import LayerOrigin

_STAGES: Final = {
    "depth_anything_v2": "Yang et al., Depth Anything V2, NeurIPS 2024, arXiv 2406.09414",
    "metric3d": "Hu et al., Metric3D v2, TPAMI 2024, arXiv 2404.15506",
    "vggt": "Wang et al., VGGT: Visual Geometry Grounded Transformer, CVPR 2025, arXiv 2503.11651",
    "sam2": "Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024, arXiv 2408.00714",
    "informative_drawings": "Chan, Durand and Isola, Learning to Generate Line Drawings that Convey Geometry and "
    "Semantics, CVPR 2022, arXiv 2203.12691",
    "xdog": "Winnemöller, Kyprianidis and Olsen, XDoG: An eXtended difference-of-Gaussians compendium, Computers & "
    "Graphics 36, 2012",
    "viescore": "Ku et al., VIEScore: Towards Explainable Metrics for Conditional Image Synthesis Evaluation, ACL "
    "2024, arXiv 2312.14867",
    "qwen3_vl": "Bai et al., Qwen3-VL Technical Report, 2025, arXiv 2511.21631",
}


def references(assets: Collection[VisibleAsset], datasets: Iterable[str], origins: Iterable[LayerOrigin]) -> list[str]:
    """One line per work, those of the sources first. Only works that a source or the table above names are listed."""
    seen = {dataset: [asset.uid for asset in assets if asset.dataset == dataset] for dataset in set(datasets)}
    stages = {"metric3d" if origin.stage == "from_metric" else origin.stage for origin in origins}
    return [
        *(work for source in all_sources() if source.kind in seen for work in source.citations(seen[source.kind])),
        *(text for name, text in _STAGES.items() if name in stages),
    ]

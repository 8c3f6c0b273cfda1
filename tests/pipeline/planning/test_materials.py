"""The HDRIs and texture sets of a plan: kept under OUT, compared when a build is resumed, repaired."""

import hashlib
import shutil
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.config import Config, load_config
from spatialdata_builder.pipeline.planning import materials as planning
from spatialdata_builder.pipeline.planning.materials import KEPT, held_materials, settle_materials, table_digest
from spatialdata_builder.pipeline.planning.request import MATERIALS
from spatialdata_builder.pipeline.planning.samples import pair_arguments, plan_build
from spatialdata_builder.pipeline.registry import build_stages
from spatialdata_builder.pipeline.store.fingerprints import fingerprint
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import PlanDamaged, read_plan
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.materials.table import Materials
from tests.sources.materials.painted_sets import ambientcg, boards, polyhaven, sky, write_hdr

SETTINGS = ("engine.kind=inline", "samples=5", "render.device=cpu", "source.variants=1")


def config_of(*settings: str) -> Config:
    return load_config(None, [*SETTINGS, *settings])


def settle(config: Config, store: LayerStore, planned: str = "") -> tuple[str, str]:
    """The digest, and what was said."""
    said: list[str] = []
    return settle_materials(config, store, planned, said.append), "\n".join(said)


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A folder with two sets and a license."""
    ambientcg(tmp_path / "user", "Bricks076", side=16)
    polyhaven(tmp_path / "user", "wood_floor_deck", boards, side=16)
    (tmp_path / "user" / "surfaces.csv").write_text("name,license,creator\nBricks076,CC0,ambientCG\n")
    return tmp_path / "user"


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(str(tmp_path / "out"))


def test_files_are_kept_by_their_content(user: Path, store: LayerStore, tmp_path: Path):
    digest, said = settle(config_of(f"scene.surfaces=[{user}]"), store)
    assert digest == table_digest(store) == hashlib.sha256((tmp_path / "out" / MATERIALS).read_bytes()).hexdigest()
    assert "wood_floor_deck of unknown license, so the dataset has none" in said and "2 texture sets" in said
    table = Materials.read(str(tmp_path / "out" / MATERIALS))
    kept = tmp_path / "out" / KEPT
    assert {path.name for path in kept.iterdir()} == set(table.sizes)
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.stem for path in kept.iterdir())
    bricks, deck = table.sets
    assert (kept / bricks.maps["color"]).read_bytes() == (user / "Bricks076_2K-JPG_Color.jpg").read_bytes()
    assert (bricks.credits.license, bricks.credits.creator, deck.credits.license) == ("cc0", "ambientCG", "unknown")
    assert settle(config_of(), store)[0] == ""


def test_a_moved_folder_gives_the_same_plan(user: Path, tmp_path: Path):
    moved = shutil.copytree(user, tmp_path / "other" / "place")
    first, second = LayerStore(str(tmp_path / "one")), LayerStore(str(tmp_path / "two"))
    assert (
        settle(config_of(f"scene.surfaces=[{user}]"), first)[0]
        == settle(config_of(f"scene.surfaces=[{moved}]"), second)[0]
    )


def test_resuming_without_the_folder(user: Path, store: LayerStore):
    config = config_of(f"scene.surfaces=[{user}]")
    digest, _ = settle(config, store)
    shutil.rmtree(user)
    again, said = settle(config, store, digest)
    assert again == digest and f"{user} does not exist: using the files in" in said
    with pytest.raises(BadInput, match=r"scene\.surfaces: .*user does not exist: give an existing path"):
        settle(config, store)


def test_resuming_with_a_changed_folder(user: Path, store: LayerStore):
    config = config_of(f"scene.surfaces=[{user}]")
    digest, _ = settle(config, store)
    table = user / "surfaces.csv"
    text = table.read_text()
    table.write_text(f"{text}wood_floor_deck,,Jo\n")
    with pytest.raises(BadInput, match=r"planned with other .*\(wood_floor_deck\): use another --out, or the original"):
        settle(config, store, digest)
    table.write_text(text)
    assert settle(config, store, digest)[0] == digest
    ambientcg(user, "Bricks077", side=16)
    with pytest.raises(BadInput, match="Bricks077"):
        settle(config, store, digest)


def test_damaged_copies_are_made_again(user: Path, store: LayerStore, tmp_path: Path):
    config = config_of(f"scene.surfaces=[{user}]")
    digest, _ = settle(config, store)
    first, second, *_ = sorted((tmp_path / "out" / KEPT).iterdir())
    before = {path: path.read_bytes() for path in (first, second, tmp_path / "out" / MATERIALS)}
    for harm in (
        lambda: first.unlink(),
        lambda: second.write_bytes(b"x"),
        lambda: (tmp_path / "out" / MATERIALS).unlink(),
    ):
        harm()
        assert held_materials(store) is None
        assert settle(config, store, digest)[0] == digest
        assert {path: path.read_bytes() for path in before} == before
    table = held_materials(store)
    assert table
    (tmp_path / "out" / KEPT / table.sets[0].maps["color"]).unlink()
    ambientcg(user, "Bricks076", boards, side=16)
    with pytest.raises(PlanDamaged, match=r"plan/materials\.json or a file in plan/materials is not the one"):
        settle(config, store, digest)
    shutil.rmtree(user)
    with pytest.raises(BadInput, match="does not exist"):
        settle(config, store, digest)


def test_licenses_that_are_not_allowed(user: Path, store: LayerStore):
    (user / "surfaces.csv").write_text("name,license\nBricks076,CC BY-NC 4.0\nwood_floor_deck,CC BY 4.0\n")
    _, said = settle(config_of(f"scene.surfaces=[{user}]"), store)
    assert "Bricks076 left out: their licenses are not among source.licenses (cc0, by, by-sa)" in said
    table = held_materials(store)
    assert table and [one.name for one in table.sets] == ["wood_floor_deck"]
    with pytest.raises(BadInput, match=r"nothing has one of the source\.licenses \(cc0\)"):
        settle(config_of(f"scene.surfaces=[{user}]", "source.licenses=[cc0]"), store)


def test_two_folders_with_one_name(user: Path, store: LayerStore, tmp_path: Path):
    ambientcg(tmp_path / "more", "Bricks076", side=16)
    with pytest.raises(BadInput, match=r"two sets are named 'Bricks076', in .*user and .*more"):
        settle(config_of(f"scene.surfaces=[{user}, {tmp_path / 'more'}]"), store)
    settle(config_of(f"scene.surfaces=[{user}, {user}]"), store)


def test_many_sets(user: Path, store: LayerStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(planning, "MOST", 2)
    for number in range(6):
        polyhaven(user, f"tiles_{number}", boards, side=8)
    chosen: list[set[str]] = []
    for seed in (0, 0, 1, 2):
        said = settle(config_of(f"scene.surfaces=[{user}]", f"seed={seed}"), store)[1]
        assert "2 of 8 are used, chosen by the seed" in said
        table = held_materials(store)
        assert table
        chosen.append({one.name for one in table.sets})
    assert chosen[0] == chosen[1] and len(set(map(frozenset, chosen))) > 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("scene.surfaces=[/no/such/folder]", "scene.surfaces: /no/such/folder does not exist"),
        ("scene.surfaces=[s3://bucket/sets]", "scene.surfaces: s3://bucket/sets is a URL; give a local path"),
        ("scene.light.hdris=[/no/such/file.hdr]", "scene.light.hdris: /no/such/file.hdr does not exist"),
        ("scene.light.hdris=[city, ./nowhere]", "scene.light.hdris: .*/nowhere does not exist"),
        ("scene.surfaces=[/etc/hostname]", "scene.surfaces: /etc/hostname does not exist|is not a folder"),
    ],
)
def test_wrong_paths(store: LayerStore, setting: str, message: str):
    with pytest.raises(BadInput, match=message):
        settle(config_of(setting), store)
    assert not store.exists(MATERIALS)


@pytest.mark.blender
def test_a_plan_with_hdris_and_its_fingerprint(user: Path, tmp_path: Path):
    """The fingerprint of the pairs follows the content of the files, not their place."""
    write_hdr(user / "sky.hdr", sky(32))
    write_hdr(user / "same.hdr", sky(32))
    write_hdr(user / "sun.hdr", sky(32, 30.0))
    moved = shutil.copytree(user, tmp_path / "moved")
    changed = shutil.copytree(user, tmp_path / "changed")
    write_hdr(changed / "sun.hdr", sky(32, 31.0))
    prints: list[str] = []
    for folder in (user, moved, changed):
        config = config_of(f"scene.light.hdris=[city, {folder}]", f"scene.surfaces=[{folder}]")
        out = LayerStore(str(tmp_path / f"out-{folder.name}"))
        plan = plan_build(config, out, lambda _: None, quiet=True)
        assert plan.config["materials"] == table_digest(out)
        arguments = pair_arguments(config, out, read_plan(out))
        (pair,) = (stage for stage in build_stages(config, arguments, out.url) if stage.layer == "pair")
        assert str(folder) not in repr(arguments["scene"])
        table = held_materials(out)
        assert table and arguments["scene"].light.hdris == ("city", *(one.file for one in table.hdris))
        assert [one.name for one in table.hdris] == ["same.hdr", "sun.hdr"]  # equal files count once
        prints.append(fingerprint(pair, {}, plan.hash))
    assert prints[0] == prints[1] != prints[2]
    with pytest.raises(BadInput, match=r"holds another plan: materials"):
        plan_build(config_of(), LayerStore(str(tmp_path / "out-user")), lambda _: None, quiet=True)


def test_out_at_a_url(user: Path, tmp_path: Path):
    """Kept there, found again without the folder, and written again where a file is cut short."""
    store = LayerStore(f"memory://{tmp_path.name}/out")
    config = config_of(f"scene.surfaces=[{user}]")
    digest, _ = settle(config, store)
    table = held_materials(store)
    assert table and digest == table_digest(store)
    name = next(iter(table.sizes))
    whole = store.read_file(f"{KEPT}/{name}")
    store.write_file(f"{KEPT}/{name}", whole[:-1])
    assert held_materials(store) is None
    assert settle(config, store, digest)[0] == digest
    assert store.read_file(f"{KEPT}/{name}") == whole
    shutil.rmtree(user)
    assert settle(config, store, digest)[0] == digest

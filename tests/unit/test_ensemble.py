"""Models that answer together: in memory, in one file, tile by tile; and the image seen at several sizes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import napari_segnet as segnet
from napari_segnet.config import LabelClass, PredictConfig
from napari_segnet.data.folds import assign_folds, split_fold
from napari_segnet.data.normalization import Normalization
from napari_segnet.errors import ConfigError, DataError, ModelFileError
from napari_segnet.models.file import join_models, load_model, write_model
from napari_segnet.models.info import METADATA_KEY, ModelInfo, read_info, same_classes
from napari_segnet.models.registry import build_network
from napari_segnet.predict.ensemble import EnsemblePredictor, fit_span, make_predictor
from napari_segnet.predict.receptive_field import receptive_field
from napari_segnet.predict.scales import all_scales, tile_strides, wide_halo
from napari_segnet.predict.tiles import plan

FP32 = PredictConfig(precision="float32", tile=32, device="cpu")


def classes(*values):
    return tuple(LabelClass(value=v, name=f"class {v}", colour="#ff0000") for v in values)


def model(seed=0, depth=2, values=(0, 1, 2), **changes):
    torch.manual_seed(seed)
    options = {"width": 4, "depth": depth, "max_width": 8}
    network = build_network("plain-unet", channels=1, outputs=len(values), options=options).eval()
    torch.nn.init.normal_(list(network.parameters())[-2], 0, 2)
    stride = 2**depth
    fields = {"network": "plain-unet", "options": options, "channels": 1, "outputs": len(values), "patch_size": 32,
              "classes": classes(*values), "stride": stride, "halo": 8 * depth,
              "normalization": Normalization(mode="none")}  # fmt: skip
    return ModelInfo(**{**fields, **changes}), network


def image(shape=(75, 90), seed=3):
    return np.random.default_rng(seed).normal(0, 1, (1, *shape)).astype(np.float32)


def answer(one, picture, config=FP32):
    predictor = make_predictor(one, config)
    arrays = predictor.empty_outputs(picture.shape[1:], probabilities=True, uncertainty=True)
    assert predictor.predict_plane(picture, **arrays)
    return arrays


def exact(depth, seed=0, **changes):
    info, network = model(seed, depth, **changes)
    return info.replace(receptive_field=receptive_field(network, 1, info.strides)), network


def test_an_ensemble_of_one_equals_its_model_to_the_bit():
    one = model()
    alone, together = answer(one, image()), answer(join_models([one]), image())
    for name, array in alone.items():
        np.testing.assert_array_equal(array, together[name])


@pytest.mark.parametrize("tile", [32, 1024])
def test_the_mean_is_that_of_the_members_each_with_its_own_stride_and_normalization(tile):
    picture = image((75, 137))
    members = [exact(2), exact(3, seed=1, normalization=Normalization(mode="image"))]
    config = FP32.replace(exact=True, tile=tile)
    mean = np.mean([answer(m, picture, config)["probabilities_out"] for m in members], axis=0)
    found = answer(join_models(members), picture, config)
    np.testing.assert_allclose(found["probabilities_out"], mean, atol=2e-6)
    np.testing.assert_array_equal(found["labels_out"], found["probabilities_out"].argmax(0))
    entropy = -(mean * np.log(mean)).sum(0) / np.log(3)
    np.testing.assert_allclose(found["uncertainty_out"], entropy, atol=1e-5)


def test_the_majority_wins_and_the_mean_decides_between_equals():
    picture = image()
    for number in (2, 3):
        members = [model(seed) for seed in range(number)]
        answers = [answer(m, picture) for m in members]
        mean = np.mean([a["probabilities_out"] for a in answers], axis=0)
        votes = sum(np.eye(3)[a["labels_out"]] for a in answers).transpose(2, 0, 1)
        expected = (votes + mean / 2).argmax(0)
        found = answer(join_models(members, "vote"), picture)["labels_out"]
        assert (found != expected).mean() < 1e-3  # equal to a rounding error, once in a while
    assert (expected != mean.argmax(0)).any()


def test_instances_are_joined_in_each_member_before_it_votes():
    members = [model(seed, task="instances") for seed in range(3)]
    picture = image()
    votes = sum(answer(m, picture)["labels_out"].astype(int) for m in members)
    found = answer(join_models(members, "vote"), picture)["labels_out"]
    np.testing.assert_array_equal(found, votes >= 2)


@pytest.mark.parametrize("length", [5, 64, 75, 137, 300])
def test_each_member_gets_tiles_of_its_stride_that_hold_its_halo(length):
    base, own, stride = 24, 8, 4
    tiles = plan((length,), 32, base, 12)
    spans = [fit_span(t.spans[0], length, base, own, stride) for t in tiles]
    padded = -(-length // stride) * stride
    assert len({s.stop - s.start for s in spans}) == 1
    for tile, span in zip(tiles, spans, strict=True):
        assert span.write == tile.spans[0].write
        assert span.start % stride == span.stop % stride == 0
        assert span.start <= max(0, span.keep_start - own)
        assert span.stop >= min(padded, span.keep_stop + own)
        assert 0 <= span.start < span.stop <= padded


def test_one_file_holds_all_members(tmp_path):
    members = [model(0), model(1, depth=3)]
    together = segnet.ensemble([segnet.Model(*m) for m in members], combine="vote")
    path = together.save(tmp_path / "all.safetensors")
    info, network = load_model(path)
    assert [m.stride for m in info.members] == [4, 8]
    assert (info.stride, info.halo, info.combine) == (8, 24, "vote")
    assert {name.split(".")[1] for name in network.state_dict()} == {"0", "1"}
    one = segnet.load(path).predict(image()[0], precision="float32", device="cpu")
    other = together.predict(image()[0], precision="float32", device="cpu")
    np.testing.assert_array_equal(one.labels, other.labels)
    nested = segnet.ensemble([path, segnet.Model(*members[0])])
    assert len(nested.info.members) == 3
    assert len(segnet.load(nested.save(tmp_path / "twice.safetensors")).info.members) == 3


def test_a_folder_of_folds_is_read_as_their_ensemble(tmp_path):
    for number in (1, 2, 10):
        (tmp_path / f"fold-{number}").mkdir()
    with pytest.raises(ModelFileError, match="None of the folds"):
        read_info(tmp_path)
    for number in (1, 10):
        write_model(tmp_path / f"fold-{number}" / "model.safetensors", *model(number))
    info, network = load_model(tmp_path)
    assert len(info.members) == len(network.member) == len(read_info(tmp_path).members) == 2


def test_a_damaged_member_is_refused(tmp_path):
    path = segnet.ensemble([segnet.Model(*model(0)), segnet.Model(*model(1))]).save(tmp_path / "m.safetensors")
    tensors, text = load_file(path), read_info(path).model_dump(mode="json")
    name = next(n for n in tensors if n.startswith("member.1.") and tensors[n].ndim == 4)

    def rewritten(changed, described):
        save_file(changed, path, {METADATA_KEY: json.dumps(described)})
        with pytest.raises(ModelFileError) as refused:
            load_model(path)
        return str(refused.value)

    assert name in rewritten({**tensors, name: tensors[name][:, :, :1].contiguous()}, text)
    assert "member.1" in rewritten({n: t for n, t in tensors.items() if not n.startswith("member.1.")}, text)
    other = json.loads(json.dumps(text))
    other["members"][1]["channels"] = 2
    assert "different channels" in rewritten(tensors, other)
    assert "is an ensemble itself" in rewritten(tensors, {**text, "members": [text]})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": (1, 2, 3)}, "different classes: 0 class 0, 1 class 1, 2 class 2 in the first, 1 class 1"),
        ({"channels": 2}, "different channels: 1 in the first, 2 in number 2"),
        ({"task": "instances"}, "different tasks: semantic in the first, instances"),
    ],
)
def test_models_of_different_jobs_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        join_models([model(0), model(1, **change)])


def test_a_crf_can_not_refine_votes():
    with pytest.raises(ConfigError, match="members of this ensemble vote"):
        make_predictor(join_models([model(0), model(1)], "vote"), FP32.replace(crf=True))


@pytest.mark.parametrize("scales", [(0.75, 1.25), (0.5,)])
@pytest.mark.parametrize("tta", [False, True])
def test_scales_leave_no_seams(scales, tta):
    config = FP32.replace(exact=True, tta_scales=scales, tta=tta)
    one, picture = exact(1), image((110, 131))
    tiles = answer(one, picture, config)["probabilities_out"]
    whole = answer(one, picture, config.replace(tile=1024))["probabilities_out"]
    np.testing.assert_allclose(tiles, whole, atol=1e-5)
    plain = answer(one, picture, FP32.replace(exact=True, tta=tta))["probabilities_out"]
    assert np.abs(tiles - plain).max() > 0.01


def test_scales_average_the_answers_for_resized_images():
    info, network = model(0)
    picture = image((64, 64))
    found = answer((info, network), picture, FP32.replace(tile=64, tta_scales=(0.5,)))["probabilities_out"]
    x = torch.from_numpy(picture[None]).clamp(-3, 3)
    with torch.inference_mode():
        small = torch.nn.functional.interpolate(x, scale_factor=0.5, mode="bilinear")
        back = torch.nn.functional.interpolate(network(small).softmax(1), scale_factor=2.0, mode="bilinear")
        expected = (network(x).softmax(1) + back) / 2
    np.testing.assert_allclose(found, expected[0].numpy(), atol=1e-5)


def test_tiles_are_multiples_of_the_stride_at_each_scale():
    scales = all_scales((0.75, 1.25, 1.0))
    assert scales == (1.0, 0.75, 1.25)
    assert tile_strides((16, 32), scales) == (64, 128)
    assert tile_strides((16,), all_scales(())) == (16,)
    assert min(wide_halo((30,), scales)) * 0.75 >= 30
    with pytest.raises(ConfigError, match="tta_scales"):
        segnet.Model(*model()).predict(image()[0], tta_scales=(0.9,))


def test_every_image_is_validated_on_once_and_its_planes_stay_together():
    rng = np.random.default_rng(0)
    targets = [rng.integers(0, 2, (8, 8)).astype(np.uint8) for _ in range(12)]
    groups = [f"image {n // 2}" for n in range(12)]
    parts = [split_fold(targets, groups, fold, 3, seed=5) for fold in (1, 2, 3)]
    assert sorted(r.pair for p in parts for r in p.validation) == list(range(12))
    for part in parts:
        inside = {groups[r.pair] for r in part.validation}
        assert not inside & {groups[r.pair] for r in part.train}
        assert len(inside) == 2
    with pytest.raises(DataError, match="7 folds need at least 7 images with annotation, but there are 6"):
        split_fold(targets, groups, 1, 7)
    with pytest.raises(ConfigError, match="doesn't say which"):
        split_fold(targets, groups, 0, 3)


def test_a_rare_class_is_spread_over_the_folds():
    counts = {f"i{n}": np.array([100, 50 if n in (0, 1) else 0]) for n in range(8)}
    folds = assign_folds(counts, 2, seed=0)
    assert all(len(fold) == 4 and len({"i0", "i1"} & set(fold)) == 1 for fold in folds)


def test_classes_are_known_by_name_then_by_value():
    old = (*classes(1, 2), LabelClass(value=0, name="background", colour="#000000"))
    shifted = (LabelClass(value=1, name="background", colour="#000000"),
               LabelClass(value=2, name="class 1", colour="#000000"),
               LabelClass(value=3, name="class 2", colour="#000000"))  # fmt: skip
    assert same_classes(old, shifted) == {0: 2, 1: 0, 2: 1}
    assert same_classes(classes(1, 2), [c.replace(name=f"cell {c.value}") for c in classes(2, 5)]) == {0: 1}


def test_the_factory_makes_what_the_model_asks_for():
    assert isinstance(make_predictor(join_models([model()]), FP32), EnsemblePredictor)
    assert not isinstance(make_predictor(model(), FP32), EnsemblePredictor)

from __future__ import annotations

import io
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", exc_type=ImportError)

from common.errors import ModelUnavailable, UsageError  # noqa: E402
from common.files import sha256  # noqa: E402
from common.training.loop import Optimisation, fit_dataset  # noqa: E402
from common.vision.backbones import cut, load_backbone  # noqa: E402
from common.vision.torchvision_ops import models  # noqa: E402

PICTURES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
MEAN, STD = (torch.tensor(values)[:, None, None] for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def published(name, seed=1):
    """A net as torchvision would publish it."""
    torch.manual_seed(seed)
    net = models.get_model(name).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
    return net


@pytest.fixture
def publish(monkeypatch, server):
    """`publish("resnet18", state)`: torchvision's url for it leads to our server, its name carries its hash."""

    def publish(name, state):
        content = io.BytesIO()
        torch.save(state, content)
        body = content.getvalue()
        file = f"{name}-{sha256(body)[:8]}.pth"
        server.answer = (200, len(body), body)
        weights = models.get_model_weights(name).DEFAULT
        monkeypatch.setattr(weights, "_value_", replace(weights.value, url=f"{server.url}/models/{file}"))
        return file, body

    return publish


@pytest.mark.parametrize(
    ("name", "channels", "strides"),
    [
        ("random", (64, 128, 256, 512), (2, 4, 8, 16)),
        ("resnet18", (64, 64, 128, 256, 512), (2, 4, 8, 16, 32)),
        ("wide_resnet50_2", (64, 256, 512, 1024, 2048), (2, 4, 8, 16, 32)),
        ("efficientnet_b0", (16, 24, 40, 112, 1280), (2, 4, 8, 16, 32)),
        ("mobilenet_v3_large", (16, 24, 40, 112, 960), (2, 4, 8, 16, 32)),
        ("convnext_tiny", (96, 192, 384, 768), (4, 8, 16, 32)),
        ("densenet121", (64, 256, 512, 1024, 1024), (2, 4, 8, 16, 32)),
        ("regnet_y_400mf", (32, 48, 104, 208, 440), (2, 4, 8, 16, 32)),
        ("shufflenet_v2_x0_5", (24, 24, 48, 96, 1024), (2, 4, 8, 16, 32)),
    ],
)
def test_maps_have_the_channels_and_strides_that_the_backbone_names(name, channels, strides):
    backbone = load_backbone(name, pretrained=False)
    assert (backbone.channels, backbone.strides) == (channels, strides)
    found = [tuple(features.shape) for features in backbone(PICTURES)]
    assert found == [(2, width, 64 // stride, 96 // stride) for width, stride in zip(channels, strides, strict=True)]
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize("name", ["random", "resnet18", "efficientnet_b0", "convnext_tiny"])
def test_cut_in_two_it_gives_the_same_maps(name):
    backbone = load_backbone(name, pretrained=False)
    pictures = torch.rand(1, 3, 64, 96)
    below, above = cut(backbone, 4, 16)
    wanted = [map_ for map_, stride in zip(backbone(pictures), backbone.strides, strict=True) if 4 < stride <= 16]
    found = above(below(pictures))
    assert len(found) == len(wanted) == 2
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
    sizes = [sum(p.numel() for p in part.parameters()) for part in (below, above, backbone)]
    assert 0 < sizes[0] < sizes[1] < sizes[2] + 1
    assert sizes[0] + sizes[1] <= sizes[2]
    assert not any(module.training for part in (below, above) for module in part.modules())


def test_training_a_part_leaves_the_whole_as_it_was():
    backbone = load_backbone("random")
    _, above = cut(backbone, 4, 16)
    with torch.no_grad():
        for parameter in above.requires_grad_(True).parameters():
            parameter += 1
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert torch.equal(
        backbone.blocks[5][1].convolution.weight, load_backbone("random").blocks[5][1].convolution.weight
    )


def test_a_copy_gives_the_same_maps():
    backbone = load_backbone("resnet18", pretrained=False)
    for ours, theirs in zip(backbone(PICTURES), deepcopy(backbone)(PICTURES), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", ["random", "resnet18"])
def test_the_seed_draws_untrained_weights_and_nothing_else(name):
    torch.manual_seed(5)
    untouched = torch.rand(1)
    torch.manual_seed(5)
    first, second, other = (load_backbone(name, pretrained=False, seed=seed)(PICTURES)[-1] for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.allclose(first, other)
    assert torch.equal(torch.rand(1), untouched)


def test_published_weights_are_downloaded_and_see_the_normalised_picture(machine, publish, server):
    net = published("resnet18")
    file, _ = publish("resnet18", net.state_dict())
    maps = load_backbone("resnet18")(PICTURES)
    assert server.asked == [f"/models/{file}"]
    with torch.no_grad():
        x = net.maxpool(net.relu(net.bn1(net.conv1(((PICTURES + 1) / 2 - MEAN) / STD))))
        for layer, features in zip((net.layer1, net.layer2, net.layer3, net.layer4), maps[1:], strict=True):
            x = layer(x)
            torch.testing.assert_close(features, x)


def test_weights_in_the_own_folder_need_no_connection(machine, publish, server, tmp_path):
    file, body = publish("mobilenet_v3_small", published("mobilenet_v3_small").state_dict())
    machine(OFFLINE="true")
    with pytest.raises(ModelUnavailable, match=f"mobilenet_v3_small: {file}: .* ESPALIER_OFFLINE is set"):
        load_backbone("mobilenet_v3_small")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / file).write_bytes(body)
    load_backbone("mobilenet_v3_small")
    assert server.asked == []


def test_the_dotted_names_in_densenet_files_are_read(machine, publish):
    net = published("densenet121")
    dotted = {key.replace("norm1", "norm.1").replace("conv2.w", "conv.2.w"): v for key, v in net.state_dict().items()}
    assert any(".norm.1." in key for key in dotted)
    publish("densenet121", dotted)
    found = load_backbone("densenet121").net.state_dict()
    key = "features.denseblock1.denselayer1.norm1.running_mean"
    assert torch.equal(found[key], net.state_dict()[key])


def test_a_file_that_runs_code_is_not_obeyed(machine, publish, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("trapped").touch, ())

    publish("resnet18", {"conv1.weight": Trap()})
    with pytest.raises(ModelUnavailable, match="not a file of weights"):
        load_backbone("resnet18")
    assert not (tmp_path / "trapped").exists()


def test_a_misspelt_name_lists_close_ones():
    with pytest.raises(UsageError, match=r"unknown backbone: got 'resnet-18', .*; close are resnet18, "):
        load_backbone("resnet-18")
    with pytest.raises(UsageError, match=r"expected mobilenet-v1-1.0-224, random or .* classifier\.$"):
        load_backbone("§§§")


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t", "alexnet"])
def test_a_net_without_maps_is_refused_in_a_sentence(name):
    with pytest.raises(UsageError, match=f"{name}: this net makes no maps .*; take a convolutional one"):
        load_backbone(name)


def test_weights_that_may_not_be_sold_are_refused(monkeypatch, publish):
    """torchvision has such for two of its largest nets only; this one gets their licence."""
    weights = models.get_model_weights("resnet18").DEFAULT
    monkeypatch.setitem(weights.meta, "license", models.RegNet_Y_128GF_Weights.DEFAULT.meta["license"])
    with pytest.raises(ModelUnavailable, match=r"resnet18: its weights are not free for commercial use; .*SWAG"):
        load_backbone("resnet18")


class Classifier(torch.nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.head = backbone, torch.nn.Linear(backbone.channels[-1], 2)

    def forward(self, pictures):
        return self.head(self.backbone(pictures)[-1].mean((2, 3)))


@pytest.mark.parametrize("thawed", [False, True], ids=["frozen", "thawed"])
def test_a_classifier_learns_on_it_frozen_or_thawed(thawed):
    backbone = load_backbone("shufflenet_v2_x0_5", pretrained=False).requires_grad_(thawed)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    dark, bright = -torch.rand(16, 3, 32, 32), torch.rand(16, 3, 32, 32)
    examples = torch.utils.data.TensorDataset(torch.cat([dark, bright]), torch.arange(32) // 16)
    settings = Optimisation(epochs=3, batch=16, learning_rate=1e-2)
    loss = torch.nn.functional.cross_entropy
    fit_dataset(Classifier(backbone), examples, loss, settings, seed=0, backbone=backbone)
    moved = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == (set(before) - {"scale", "shift"} if thawed else set())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_exports_to_onnx():
    onnxruntime = pytest.importorskip("onnxruntime")
    backbone, file = load_backbone("resnet18", pretrained=False), io.BytesIO()
    torch.onnx.export(backbone, (PICTURES,), file, dynamo=False, input_names=["pictures"])
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for ours, theirs in zip(backbone(PICTURES), session.run(None, {"pictures": PICTURES.numpy()}), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-3, atol=1e-3)

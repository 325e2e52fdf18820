#!/usr/bin/python3
"""Writes the benchmark models that are too large to ship, with seeded random weights.

Speed does not depend on what a network has learned, only on its shape, so random weights
time like trained ones as long as no value overflows, dies or turns denormal. Convolutions
and linear layers are drawn He-style and every batch normalisation takes the statistics of
random images, so that activations keep unit size through the deepest network.

    make_models.py [DIRECTORY] [--only NAME ...] [--group GROUP] [--force] [--list]

Needs Debian's python3-torch and python3-torchvision. Models already there are kept.
"""

import argparse
import os
import sys
import warnings
import zlib
from dataclasses import dataclass
from typing import Callable

OPSET = 13
OPSET_WITH_LAYER_NORMALIZATION = 17


@dataclass(frozen=True)
class Model:
    """One row of the table: how a model is built and what its exporter would be told."""

    group: str
    build: Callable
    inputs: dict
    outputs: tuple = ("logits",)
    opset: int = OPSET
    free_batch: bool = True
    activations: str = ""  # element type of quantised activations; "" for a float model


def image(size, channels=3):
    """Description of one image input: float32 [N, channels, size, size]."""
    return {"image": ("float32", (1, channels, size, size))}


def text(tokens):
    """Description of BERT's three inputs, each int64 [N, tokens]."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: ("int64", (1, tokens)) for name in names}


def resnet18():
    import torchvision

    return torchvision.models.resnet18()


def resnet50():
    import torchvision

    return torchvision.models.resnet50()


def resnet101():
    import torchvision

    return torchvision.models.resnet101()


def vgg16():
    import torchvision

    return torchvision.models.vgg16()


def mobilenet_v2():
    import torchvision

    return torchvision.models.mobilenet_v2()


def efficientnet_b0():
    import torchvision

    return torchvision.models.efficientnet_b0()


def squeezenet1_1():
    import torchvision

    return torchvision.models.squeezenet1_1()


def vit_s16():
    import networks

    return networks.VisionTransformer(224, 16, 384, 12, 6, 1536, 1000)


def bert_base():
    import networks

    return networks.QuestionAnswerer(30522, 768, 12, 12, 3072)


def bert_four():
    import networks

    return networks.QuestionAnswerer(2000, 768, 4, 12, 3072)


def small_scale():
    import networks

    return networks.Scale(8)


def small_mlp():
    from torch import nn

    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 33), nn.Tanh(),
                         nn.Linear(33, 10), nn.Softmax(dim=-1))


def small_cnn():
    import networks
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
                         networks.SmallResidual(12, 20), networks.SmallResidual(20, 28),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(28, 10))


def small_depthwise():
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(),
                         nn.Conv2d(16, 16, 5, 1, 2, groups=16), nn.Hardswish(),
                         nn.Conv2d(16, 24, 1), nn.SiLU(),
                         nn.Conv2d(24, 24, 3, 1, 2, dilation=2, groups=4), nn.Sigmoid(),
                         nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(24 * 64, 10))


def small_vit():
    import networks

    return networks.VisionTransformer(32, 8, 48, 2, 3, 96, 10)


def small_bert():
    import networks

    return networks.QuestionAnswerer(200, 48, 2, 4, 96, positions=32)


def small_recurrent():
    import networks

    return networks.Recurrent(12, 20, 7)


def small_decoder():
    from torch import nn

    return nn.Sequential(nn.ConvTranspose2d(6, 10, 4, 2, 1), nn.LeakyReLU(0.1),
                         nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
                         nn.Conv2d(10, 3, 3, padding=1, padding_mode="reflect"), nn.Tanh())


SPAN = ("start_logits", "end_logits")

MODELS = {
    "resnet18": Model("large", resnet18, image(224)),
    "resnet50": Model("large", resnet50, image(224)),
    "resnet101": Model("large", resnet101, image(224)),
    "vgg16": Model("large", vgg16, image(224)),
    "mobilenet_v2": Model("large", mobilenet_v2, image(224)),
    "efficientnet_b0": Model("large", efficientnet_b0, image(224)),
    "squeezenet1_1": Model("large", squeezenet1_1, image(224)),
    "vit_s16": Model("large", vit_s16, image(224), opset=OPSET_WITH_LAYER_NORMALIZATION),
    "bert_base_128": Model("large", bert_base, text(128), SPAN),
    "bert_base_384": Model("large", bert_base, text(384), SPAN),
    "bert_four_384": Model("large", bert_four, text(384), SPAN),
    "resnet18_qdq": Model("quantized", resnet18, image(224), activations="uint8"),
    "resnet50_qdq": Model("quantized", resnet50, image(224), activations="uint8"),
    "mobilenet_v2_qdq": Model("quantized", mobilenet_v2, image(224), activations="uint8"),
    "vit_s16_qdq": Model("quantized", vit_s16, image(224), activations="uint8",
                         opset=OPSET_WITH_LAYER_NORMALIZATION),
    "resnet18_qdq_s8": Model("quantized", resnet18, image(224), activations="int8"),
    "resnet50_qdq_s8": Model("quantized", resnet50, image(224), activations="int8"),
    "mobilenet_v2_qdq_s8": Model("quantized", mobilenet_v2, image(224), activations="int8"),
    "vit_s16_qdq_s8": Model("quantized", vit_s16, image(224), activations="int8",
                            opset=OPSET_WITH_LAYER_NORMALIZATION),
    "small_scale": Model("small", small_scale, {"x": ("float32", (1, 8))}, ("y",)),
    "small_mlp": Model("small", small_mlp, {"x": ("float32", (1, 64))}),
    "small_cnn": Model("small", small_cnn, image(32)),
    "small_cnn_qdq": Model("small", small_cnn, image(32), activations="uint8"),
    "small_vit_qdq_s8": Model("small", small_vit, image(32), activations="int8"),
    "small_depthwise": Model("small", small_depthwise, image(32), free_batch=False),
    "small_vit": Model("small", small_vit, image(32)),
    "small_bert": Model("small", small_bert, text(16), SPAN, free_batch=False),
    "small_recurrent": Model("small", small_recurrent, {"x": ("float32", (1, 9, 12))},
                             free_batch=False),
    "small_decoder": Model("small", small_decoder, image(12, channels=6), ("image_out",)),
}


def draw_weights(network, generator):
    """He-style weights; small biases so that a lost bias shows; embeddings of unit size."""
    import torch
    from torch import nn

    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            gain = 2.0 if isinstance(module, nn.Conv2d) else 1.0
            module.weight.normal_(0.0, (gain / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.normal_(0.0, 0.02, generator=generator)
        elif isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            module.weight.uniform_(0.6, 1.4, generator=generator)
            module.bias.normal_(0.0, 0.1, generator=generator)
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0.0, 0.5, generator=generator)
        elif isinstance(module, (nn.LSTM, nn.GRU)):
            for weight in module.parameters():
                weight.uniform_(-0.3, 0.3, generator=generator)
    for name, parameter in network.named_parameters():
        if torch.count_nonzero(parameter) == 0:
            parameter.normal_(0.0, 0.2, generator=generator)


def settle_batch_norms(network, inputs):
    """Gives each batch normalisation the mean and variance of what really reaches it."""
    from torch import nn

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    if norms:
        network(*inputs)
    network.eval()


def random_inputs(model, generator, batch):
    """Inputs for tracing and for the statistics above: images, ids, masks of ones."""
    import torch

    inputs = []
    for name, (dtype, shape) in model.inputs.items():
        shape = (batch, *shape[1:])
        if dtype == "float32":
            inputs.append(torch.randn(shape, generator=generator))
        elif name == "attention_mask":
            inputs.append(torch.ones(shape, dtype=torch.int64))
        else:
            inputs.append(torch.randint(0, 2, shape, generator=generator))
    return tuple(inputs)


def export(name, model, path):
    """Builds one model and moves it to `path` only when it is whole."""
    import torch

    generator = torch.Generator().manual_seed(zlib.crc32(model.build.__name__.encode()))
    with torch.no_grad():
        network = model.build().eval()
        draw_weights(network, generator)
        settle_batch_norms(network, random_inputs(model, generator, batch=4))
        if model.activations:
            import quantized

            sample = random_inputs(model, generator, batch=4)
            network = quantized.quantize(network, sample, model.activations)
        inputs = random_inputs(model, generator, batch=1)
        results = network(*inputs)
    results = results if isinstance(results, tuple) else (results,)
    if not all(torch.isfinite(result).all() for result in results):
        raise ValueError(f"{name}: outputs are not finite")
    names = (*model.inputs, *model.outputs)
    axes = {tensor: {0: "N"} for tensor in names} if model.free_batch else None
    unfinished = f"{path}.part"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each is about a value that is constant here on purpose
        torch.onnx.export(network, inputs, unfinished, opset_version=model.opset,
                          input_names=list(model.inputs), output_names=list(model.outputs),
                          dynamic_axes=axes, do_constant_folding=True)
    os.replace(unfinished, path)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Write the benchmark models as ONNX.")
    parser.add_argument("directory", nargs="?", default="build/models")
    parser.add_argument("--only", nargs="+", choices=MODELS, metavar="NAME", default=list(MODELS))
    parser.add_argument("--group", choices=("large", "quantized", "small"), help="only this group")
    parser.add_argument("--force", action="store_true", help="write again what is there")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    chosen = [name for name in arguments.only
              if arguments.group in (None, MODELS[name].group)]
    if arguments.list:
        print("\n".join(chosen))
        return 0
    os.makedirs(arguments.directory, exist_ok=True)
    for name in chosen:
        path = os.path.join(arguments.directory, f"{name}.onnx")
        if os.path.exists(path) and not arguments.force:
            print(f"{path}: kept")
            continue
        try:
            export(name, MODELS[name], path)
        except ModuleNotFoundError as missing:
            print(f"make_models: no Python module '{missing.name}'; "
                  "install python3-torch and python3-torchvision", file=sys.stderr)
            return 6
        print(f"{path}: {os.path.getsize(path) / 1e6:.1f} MB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

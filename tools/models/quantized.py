"""Turns a float network into the QDQ form in which quantised models are exchanged.

Every value that enters or leaves an operator with an integer kernel passes through a
QuantizeLinear and DequantizeLinear pair (uint8 or int8, one scale). Weights are int8 constants
with one scale per output channel, biases int32 constants, each behind a DequantizeLinear. Scales
come from the smallest and largest values in one calibration batch.
"""

import operator

import torch
from torch import fx, nn
from torch.fx.experimental import optimization

ACTIVATION_LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}
WEIGHT_LIMIT = 127
BIAS_LIMIT = 2**31 - 1
INTEGER_MODULES = (nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AdaptiveAvgPool2d)
INTEGER_FUNCTIONS = (operator.add, torch.add, operator.iadd, operator.matmul, torch.matmul)
CLAMPS = (nn.ReLU, nn.ReLU6)


def along(axis, vector, rank):
    """A vector shaped so that it applies to slices of a tensor along one axis."""
    return vector.reshape([-1 if i == axis else 1 for i in range(rank)])


class Dequantize(torch.autograd.Function):
    """DequantizeLinear of a constant with one scale per slice along an axis."""

    @staticmethod
    def forward(_, levels, scale, zero, axis):
        shifted = levels - along(axis, zero, levels.dim())
        return shifted * along(axis, scale, levels.dim())

    @staticmethod
    def symbolic(graph, levels, scale, zero, axis):
        result = graph.op("DequantizeLinear", levels, scale, zero, axis_i=axis)
        return result.setType(levels.type().with_dtype(torch.float32))


class Constant(nn.Module):
    """A tensor stored as integers with one scale per slice along an axis."""

    def __init__(self, values, scale, axis, dtype, limit):
        super().__init__()
        levels = values.double() / along(axis, scale.double(), values.dim())
        self.axis = axis
        self.register_buffer("levels", levels.round().clamp(-limit, limit).to(dtype))
        self.register_buffer("scale", scale)
        self.register_buffer("zero", torch.zeros(len(scale), dtype=dtype))

    def forward(self):
        return Dequantize.apply(self.levels, self.scale, self.zero, self.axis)


class Affine(nn.Module):
    """What convolutions and linear layers share: integer weights, and an integer bias."""

    def __init__(self, weight, axis, bias, input_scale):
        super().__init__()
        others = [i for i in range(weight.dim()) if i != axis]
        scale = weight.abs().amax(dim=others).clamp_min(1e-8) / WEIGHT_LIMIT
        bias = torch.zeros(len(scale)) if bias is None else bias
        self.weight = Constant(weight, scale, axis, torch.int8, WEIGHT_LIMIT)
        self.bias = Constant(bias, scale * input_scale, 0, torch.int32, BIAS_LIMIT)


class IntegerConv(Affine):
    """Convolution; weights [filters, channels / groups, rows, columns]."""

    def __init__(self, module, input_scale):
        super().__init__(module.weight, 0, module.bias, input_scale)
        self.geometry = (module.stride, module.padding, module.dilation, module.groups)

    def forward(self, x):
        return nn.functional.conv2d(x, self.weight(), self.bias(), *self.geometry)


class IntegerLinear(Affine):
    """Linear layer; weights [inputs, outputs]. Gemm of rows; of more dimensions, MatMul and Add
    of the float bias, for the product of more than two dimensions has no bias to quantise."""

    def __init__(self, module, input_scale):
        super().__init__(module.weight.t(), 1, module.bias, input_scale)
        self.float_bias = nn.Parameter(module.bias)

    def forward(self, x):
        if x.dim() == 2:
            return torch.addmm(self.bias(), x, self.weight())
        return torch.matmul(x, self.weight()) + self.float_bias


INTEGER_FORMS = {nn.Conv2d: IntegerConv, nn.Linear: IntegerLinear}


class Requantize(nn.Module):
    """QuantizeLinear and DequantizeLinear over a range that contains zero."""

    def __init__(self, low, high, activations):
        super().__init__()
        low, high = min(low, 0.0), max(high, 0.0)
        self.least, self.most = ACTIVATION_LIMITS[activations]
        self.scale = max(high - low, 1e-8) / (self.most - self.least)
        self.zero = self.least + round(-low / self.scale)

    def forward(self, x):
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, self.least,
                                                     self.most)


class RangeRecorder(fx.Interpreter):
    """Runs a graph and keeps the smallest and largest value of every tensor."""

    def __init__(self, graph_module):
        super().__init__(graph_module)
        self.range = {}

    def run_node(self, n):
        result = super().run_node(n)
        if isinstance(result, torch.Tensor) and result.is_floating_point():
            self.range[n] = (float(result.min()), float(result.max()))
        return result


def module_of(network, node):
    """The module a node calls, or None."""
    return network.get_submodule(node.target) if node.op == "call_module" else None


def has_integer_kernel(network, node):
    if node.op == "call_function":
        return node.target in INTEGER_FUNCTIONS
    return isinstance(module_of(network, node), INTEGER_MODULES)


def fused_result(network, node):
    """The clamp after a node where nothing else reads it (kernels fuse the two), or the node."""
    users = list(node.users)
    fuses = len(users) == 1 and isinstance(module_of(network, users[0]), CLAMPS)
    return users[0] if fuses else node


def find_quantised(network, known):
    """Nodes whose results are to be 8-bit, in order; `known` are the float tensors."""
    found = {}
    for node in network.graph.nodes:
        if has_integer_kernel(network, node):
            for value in (*node.all_input_nodes, fused_result(network, node)):
                if value in known and value.op != "get_attr":
                    found[value] = None
    return list(found)


def quantize(network, calibration, activations):
    """The network in QDQ form; `calibration` is a tuple of inputs, `activations` a type's name."""
    network = optimization.fuse(fx.symbolic_trace(network.eval()))
    recorder = RangeRecorder(network)
    recorder.run(*calibration)
    steps = {node: Requantize(*recorder.range[node], activations)
             for node in find_quantised(network, recorder.range)}
    for node in list(network.graph.nodes):
        module = module_of(network, node)
        if type(module) in INTEGER_FORMS:
            parent, _, name = node.target.rpartition(".")
            form = INTEGER_FORMS[type(module)](module, steps[node.all_input_nodes[0]].scale)
            setattr(network.get_submodule(parent), name, form)
    for index, (node, step) in enumerate(steps.items()):
        name = f"requantize{index}"
        network.add_submodule(name, step)
        with network.graph.inserting_after(node):
            pair = network.graph.call_module(name, (node,))
        node.replace_all_uses_with(pair, lambda user, pair=pair: user is not pair)
    network.recompile()
    return network.eval()

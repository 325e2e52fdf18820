#!/usr/bin/python3
"""Writes the small models of these tests. Needs Debian's python3-onnx; run it only to change them."""

import os

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save_model

HERE = os.path.dirname(os.path.abspath(__file__))
F32, I64 = TensorProto.FLOAT, TensorProto.INT64


def write(name, nodes, inputs, outputs, constants=(), domains=(("", 13),),
          sequences=()):
    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_sequence_value_info(*port) if port[0] in sequences
         else helper.make_tensor_value_info(*port) for port in outputs],
        [numpy_helper.from_array(array, key) for key, array in constants])
    model = helper.make_model(graph, producer_name="tests", ir_version=7,
                              opset_imports=[helper.make_opsetid(*d) for d in domains])
    checker.check_model(model)
    save_model(model, os.path.join(HERE, name + ".onnx"))


def main():
    write("sum", [helper.make_node("Add", ["a", "b"], ["a/sum"], "add"),
                  helper.make_node("Relu", ["a/sum"], ["positive"], "relu")],
          [("a", F32, ["batch", 2]), ("b", F32, ["batch", 2])],
          [("a/sum", F32, ["batch", 2]), ("positive", F32, ["batch", 2])])
    weights = np.arange(48 * 5, dtype=np.float32).reshape(48, 5) % 7 - 3
    write("scores", [helper.make_node("Reshape", ["image", "flat"], ["pixels"], "flatten"),
                     helper.make_node("MatMul", ["pixels", "weights"], ["scores"], "classify")],
          [("image", F32, [1, 3, 4, 4])], [("scores", F32, [1, 5])],
          [("flat", np.array([1, 48])), ("weights", weights)])
    write("points", [helper.make_node("Identity", ["x"], ["y"], "pass")],
          [("x", F32, ["N", 3])], [("y", F32, ["N", 3])])
    write("words", [helper.make_node("Mul", ["ids", "attention_mask"], ["kept"], "keep")],
          [("ids", I64, ["batch", "tokens"]), ("attention_mask", I64, ["batch", "tokens"])],
          [("kept", I64, ["batch", "tokens"])])
    write("narrow", [helper.make_node("Identity", ["a"], ["b"], "same")],
          [("a", TensorProto.BFLOAT16, ["batch", 2])], [("b", TensorProto.BFLOAT16, ["batch", 2])])
    write("pieces", [helper.make_node("SplitToSequence", ["a"], ["parts"], "split", axis=1)],
          [("a", F32, [1, 3])], [("parts", F32, None)], sequences=("parts",))
    kernel = np.linspace(-1, 1, 2 * 3 * 9, dtype=np.float32).reshape(2, 3, 3, 3)
    write("computed", [helper.make_node("Mul", ["kernel", "gain"], ["made"], "make"),
                       helper.make_node("Conv", ["image", "made"], ["edges"], "computed"),
                       helper.make_node("Conv", ["image", "kernel"], ["plain"], "plain"),
                       helper.make_node("Add", ["edges", "plain"], ["sum"], "sum")],
          [("image", F32, [1, 3, 8, 8]), ("gain", F32, [1])], [("sum", F32, [1, 2, 6, 6])],
          [("kernel", kernel)])
    square = np.cos(np.arange(64, dtype=np.float32) ** 2).reshape(8, 8)
    write("shared", [helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
                     helper.make_node("MatMul", ["a", "w"], ["b"], "second"),
                     helper.make_node("Gemm", ["b", "w"], ["y"], "third", transB=1)],
          [("x", F32, ["N", 8])], [("y", F32, ["N", 8])], [("w", square)])
    spoiled = square.copy()
    spoiled[2, 5] = np.nan
    write("spoiled", [helper.make_node("MatMul", ["x", "w"], ["a"], "sound"),
                      helper.make_node("MatMul", ["a", "v"], ["y"], "spoiled")],
          [("x", F32, ["N", 8])], [("y", F32, ["N", 8])], [("w", square), ("v", spoiled)])
    write("unsupported", [helper.make_node("Teleport", ["a"], ["b"], "beam", domain="nowhere")],
          [("a", F32, [2])], [("b", F32, [2])], domains=(("", 13), ("nowhere", 1)))


main()
